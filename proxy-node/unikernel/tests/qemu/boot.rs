//! It boots, answers, ends in order, and tells of faults.

use crate::frames::{arp_request, echo, is_arp_reply, ping};
use crate::machine::{Machine, STOP};

const WORDS: &str = "addr=10.0.0.2/24 listen=4460 allow-from=10.0.0.0/8 allow-to=any";

#[test]
fn it_answers_and_ends_in_order() {
    for memory in ["2M", "4M", "64M"] {
        let Some(mut machine) = Machine::start("it_answers_and_ends_in_order", memory, WORDS)
        else {
            return;
        };
        machine.ask(&arp_request(), is_arp_reply);
        for sequence in 0..50 {
            let wanted = echo(0, sequence);
            machine.ask(&ping(sequence), |frame| frame.ends_with(&wanted));
        }
        machine.press(STOP);
        let (status, console) = machine.end();
        assert_eq!(status.code(), Some(1), "{memory}: {console}");
        assert!(console.contains("synhop: stopped"), "{memory}: {console}");
    }
}

#[test]
fn it_tells_of_faults() {
    let told = [
        ("panic", "asked for by the command line"),
        ("null", "page fault (14)"),
        ("stack", "page fault (14)"),
    ];
    for (fault, wanted) in told {
        let words = format!("{WORDS} fault={fault}");
        let Some(machine) = Machine::start("it_tells_of_faults", "4M", &words) else {
            return;
        };
        let (status, console) = machine.end();
        assert_eq!(status.code(), Some(3), "{fault}: {console}");
        assert!(console.contains(wanted), "{fault}: {console}");
    }
}

#[test]
fn it_refuses_words_it_does_not_know() {
    let Some(machine) = Machine::start("it_refuses_words_it_does_not_know", "4M", "nonsense")
    else {
        return;
    };
    let (status, console) = machine.end();
    assert_eq!(status.code(), Some(3), "{console}");
    assert!(console.contains("nonsense"), "{console}");
}
