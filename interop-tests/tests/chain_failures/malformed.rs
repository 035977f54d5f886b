//! The client's fault: an option that breaks the specification.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::common::{
    Bystander, PROMPTLY, Site, Vector, malformed_syns, outcomes, rewrite_options, synhop_options,
    turn, wait_for_flow,
};
use crate::expect::{end, is_tcp, lab};
use synhop_lab::link::Verdict;
use synhop_lab::{Capture, ChainSpec, Heading, Lab, Packet, Segment};

/// Each malformed vector, put on the SYN of a plain client by a middlebox.
#[test]
fn malformed_options() {
    let Some(_turn) = turn("malformed_options") else {
        return;
    };
    let mut site = Site::new(lab(1), &ChainSpec::default(), &[]);
    let bystander = Bystander::of_server(&site.lab, site.via());
    let capture = site.lab.capture().unwrap();
    let area = replace_options_of_syns(&site.lab);
    let vectors = malformed_syns();
    assert!(vectors.len() > 50, "only {} vectors", vectors.len());
    let mut dropped = Vec::new();
    for vector in &vectors {
        area.lock().unwrap().clone_from(&vector.options);
        capture.clear();
        match connect_plainly(&site.lab, patience(vector)) {
            Answer::Reset { client } => check_refusal(&mut site, &capture, vector, client),
            Answer::Silence => {
                check_drop(&capture, vector);
                dropped.push(vector.name.as_str());
            }
        }
    }
    dropped.sort_unstable();
    println!("dropped by the kernel: {dropped:?}");
    let known: [&[&str]; 3] = [&[], &DROPPED_FOR_MD5, &DROPPED_FOR_AO];
    assert!(known.contains(&dropped.as_slice()), "{dropped:?}");
    let status = site.lab.node_status(1).unwrap();
    // The bystander.
    assert_eq!(status["opened_total"], 1, "{status}");
    assert_eq!(status["flows"], 1, "{status}");
    let refused = u64::try_from(vectors.len() - dropped.len()).unwrap();
    assert_eq!(
        outcomes(&status),
        [("malformed-option".to_owned(), refused)]
    );
    bystander.finish();
    end(site);
}

/// Has the client's SYNs carry these option areas instead of their own.
fn replace_options_of_syns(lab: &Lab) -> Arc<Mutex<Vec<u8>>> {
    let area = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&area);
    let rewrite = move |frame: &mut Vec<u8>| {
        if Packet::tcp_of(frame).is_some_and(|segment| segment.is_syn()) {
            let area = shared.lock().unwrap_or_else(PoisonError::into_inner);
            rewrite_options(frame, &area);
        }
        Verdict::Pass
    };
    lab.set_middlebox(0, Heading::ToServer, Some(Box::new(rewrite)))
        .unwrap();
    area
}

/// What a client without a shim sees of the node.
enum Answer {
    Reset { client: SocketAddr },
    Silence,
}

fn connect_plainly(lab: &Lab, patience: Duration) -> Answer {
    let node = lab.node_listen_address(1);
    let attempt = || {
        let mut stream = TcpStream::connect_timeout(&node, patience)?;
        stream.set_read_timeout(Some(PROMPTLY))?;
        let client = stream.local_addr()?;
        Ok::<_, std::io::Error>((client, stream.read(&mut [0]).map_err(|it| it.kind())))
    };
    match lab.client().enter(attempt).unwrap() {
        Ok((client, read)) => {
            assert_eq!(read, Err(ErrorKind::ConnectionReset));
            Answer::Reset { client }
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
            Answer::Silence
        }
    }
}

/// The node says why, replies only to what has the length of a form, and connects nowhere.
fn check_refusal(site: &mut Site, capture: &Capture, vector: &Vector, client: SocketAddr) {
    let name = &vector.name;
    let line = wait_for_flow(site.chain.node(1), PROMPTLY, |line| {
        line.get("client") == client.to_string()
    });
    assert_eq!(line.outcome(), "malformed-option", "{name}: {line}");
    assert!(line.duration() < PROMPTLY, "{name}: {line}");
    let packets = capture.packets();
    let answers = packets.iter().filter(|it| is_tcp(it, Segment::is_syn_ack));
    for answer in answers.filter_map(|packet| packet.tcp.as_ref()) {
        // SPEC section 6.1.
        let is_reply = !synhop_options(&answer.options).is_empty();
        assert!(!is_reply || vector.error != "bad-length", "{name}");
    }
    let onward = packets
        .iter()
        .find(|it| it.interface.link == 1 && is_tcp(it, Segment::is_syn));
    assert!(onward.is_none(), "{name}: {onward:?}");
}

/// Nothing of it got to the node.
fn check_drop(capture: &Capture, vector: &Vector) {
    let packets = capture.packets();
    let mut answers = packets.iter().filter(|it| is_tcp(it, Segment::is_syn_ack));
    let answer = answers.next();
    assert!(
        answer.is_none(),
        "{}: no reset after {answer:?}",
        vector.name
    );
}

/// How long to wait for the answer to this SYN.
fn patience(vector: &Vector) -> Duration {
    if DROPPED_FOR_AO.contains(&vector.name.as_str()) {
        Duration::from_millis(500)
    } else {
        PROMPTLY
    }
}

/// Linux 6.7 and later look for the options of TCP-MD5 (RFC 2385) and TCP-AO (RFC 5925) in each SYN,
/// and drop it when they meet an option of impossible length before what is left is too short for
/// those they look for: these, where 18 octets are left (a kernel without TCP-AO) ...
const DROPPED_FOR_MD5: [&str; 2] = ["list-length-0-before", "truncated-v6-tuple"];
/// ... and these, where 5 are (a kernel with TCP-AO). No node sees them. Older kernels drop none.
const DROPPED_FOR_AO: [&str; 6] = [
    "list-length-0",
    "list-length-0-before",
    "list-length-1",
    "truncated-by-one",
    "truncated-v4-tuple",
    "truncated-v6-tuple",
];
