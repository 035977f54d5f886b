//! Every form that a Linux socket can send makes the trip: mark, SYN, event, reply, `accept()`.

use std::net::SocketAddr;

use crate::support::*;
use synhop_option::{Extra, SynOption};
use synhop_sockets::{Progress, SourceFill};

/// One connection; the event and the saved SYN say what was sent.
#[track_caller]
fn round_trip(listen: &str, connect_to: Option<&str>, options: &[SynOption]) {
    let attachment = attach();
    let mut events = events(&attachment);
    let (listener, at) = serve(&attachment, listen);
    let to = connect_to.map_or(at, |ip| {
        SocketAddr::new(ip.parse().expect("an address"), at.port())
    });
    for option in options {
        let client = connect(&attachment, option, to);
        let state = state(&attachment, &client);
        assert_eq!(state.progress, Progress::Understood { cookie: None });

        let event = next_event(&mut events);
        assert_eq!(canonical(event.client), canonical(local(&client)));
        assert_eq!(event.local.ip(), event.local.ip().to_canonical());
        assert_eq!(canonical(event.local), canonical(to));
        let received = event.option.expect("legal").expect("an option");
        assert_eq!(
            received.destination(to.port()),
            option.destination(to.port())
        );
        assert_eq!(received.len_octets(), option.len_octets());
        assert_eq!(received.cookie(), option.cookie());
        assert_eq!(received.hops_left(), option.hops_left());
        assert_eq!(received, state.option);
        if let (SynOption::V4 { .. }, SocketAddr::V4(_)) = (option, event.client) {
            assert_eq!(received.claimed_source(), Some(event.client));
        }

        let (accepted, _) = listener.accept().expect("accept");
        let saved = attachment.saved_syn(&accepted).expect("TCP_SAVED_SYN");
        assert_eq!(saved, Some(event));
        let again = attachment.saved_syn(&accepted).expect("TCP_SAVED_SYN");
        assert_eq!(again, None, "the kernel gives it once");
    }
    assert_eq!(events.next(), None);
    let counters = attachment.counters().expect("counters");
    let sent = u64::try_from(options.len()).expect("few");
    assert_eq!(counters.events, sent + 1, "and the self-test's");
    assert_eq!(counters.callbacks_failed + counters.store_failed, 0);
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn forms_beside_timestamps() -> Vec<SynOption> {
    vec![
        v4(Extra::Nothing),
        v4(Extra::Cookie(COOKIE)),
        v4(HOPS),
        v4_withheld(None),
        v4_withheld(Some(COOKIE)),
        v6_address(),
    ]
}

#[test]
fn forms_of_20_octets_fit_beside_timestamps() {
    in_netns("timestamps", || {
        round_trip("127.0.0.1:0", None, &forms_beside_timestamps());
    });
}

#[test]
fn longer_forms_fit_without_timestamps() {
    in_netns("no-timestamps", || {
        sysctl("tcp_timestamps", "0");
        let options = [v6(Extra::Nothing), v6(HOPS), v6(Extra::Cookie(COOKIE))];
        round_trip("127.0.0.1:0", None, &options);
    });
}

#[test]
fn a_listener_on_any_address_is_found() {
    in_netns("any", || {
        round_trip("0.0.0.0:0", Some("127.0.0.1"), &forms_beside_timestamps());
    });
}

#[test]
fn an_ipv6_leg_carries_flows_of_both_families() {
    in_netns("ipv6-leg", || {
        let source = "192.0.2.7:54321".parse().expect("an address");
        round_trip(
            "[::1]:0",
            None,
            &[v6_address(), v4_withheld(None), v4_from(source)],
        );
        round_trip("[::]:0", Some("::1"), &[v6_address()]);
    });
}

#[test]
fn a_dual_stack_listener_takes_ipv4() {
    in_netns("dual-stack", || {
        round_trip("[::]:0", Some("127.0.0.1"), &forms_beside_timestamps());
    });
}

#[test]
fn v4_mapped_sockets_send_ipv4_with_their_source() {
    in_netns("v4-mapped", || {
        round_trip(
            "127.0.0.1:0",
            Some("::ffff:127.0.0.1"),
            &forms_beside_timestamps(),
        );
        round_trip(
            "[::ffff:127.0.0.1]:0",
            Some("127.0.0.1"),
            &[v4(Extra::Nothing)],
        );
        round_trip("[::]:0", Some("::ffff:127.0.0.1"), &[v4(Extra::Nothing)]);
    });
}

#[test]
fn a_given_source_is_sent_as_given() {
    in_netns("as-given", || {
        let attachment = attach();
        let mut events = events(&attachment);
        let (_listener, at) = serve(&attachment, "127.0.0.1:0");
        let option = v4_from("192.0.2.7:54321".parse().expect("an address"));
        let client = tcp(at);
        let marked = attachment.mark(&client, &option, SourceFill::AsGiven);
        marked.expect("mark");
        assert_eq!(state(&attachment, &client).progress, Progress::Marked);
        client.connect_timeout(&at.into(), BOUND).expect("connect");
        assert_eq!(next_event(&mut events).option, Ok(Some(option)));
        assert_eq!(state(&attachment, &client).option, option);
    });
}
