//! Peers that are no nodes, sockets that are not marked, and attachments side by side.

use std::net::{SocketAddr, SocketAddrV4};
use std::time::Duration;

use crate::support::capture::Capture;
use crate::support::craft::Crafted;
use crate::support::*;
use synhop_option::{Extra, Segment};
use synhop_sockets::{AttachError, Attachment, Config, Outcome, Progress, SelfTestError};
use synhop_sockets::{SourceFill, TcpSocket};

#[test]
fn an_unmarked_socket_carries_nothing() {
    in_netns("unmarked", || {
        let attachment = attach();
        let mut events = events(&attachment);
        let (listener, at) = serve(&attachment, "127.0.0.1:0");
        let capture = Capture::start();
        let client = tcp(at);
        client.connect(&at.into()).expect("connect");
        assert_eq!(attachment.mark_state(&client).expect("mark_state"), None);
        let (accepted, _) = listener.accept().expect("accept");
        let saved = attachment.saved_syn(&accepted).expect("TCP_SAVED_SYN");
        assert_eq!(saved.expect("a SYN").option, Ok(None));
        for segment in [Segment::Syn, Segment::SynAck] {
            let captured = capture.next_of(segment, at.port());
            assert!(captured.synhop().is_empty(), "{captured:?}");
        }
        assert_eq!(events.next(), None);
    });
}

#[test]
fn an_unmarked_again_socket_carries_nothing() {
    in_netns("unmark", || {
        let attachment = attach();
        let (_listener, at) = serve(&attachment, "127.0.0.1:0");
        let capture = Capture::start();
        let client = tcp(at);
        let marked = attachment.mark(&client, &v4(Extra::Nothing), SourceFill::FromSocket);
        marked.expect("mark");
        attachment.unmark(&client).expect("unmark");
        attachment.unmark(&client).expect("a second time");
        client.connect(&at.into()).expect("connect");
        assert!(capture.next_of(Segment::Syn, at.port()).synhop().is_empty());
    });
}

#[test]
fn a_plain_listener_is_silent() {
    in_netns("plain", || {
        let attachment = attach();
        let (listener, at) = bound("127.0.0.1:0");
        listener.listen(8).expect("listen");
        let client = connect(&attachment, &v4(Extra::Nothing), at);
        assert_eq!(progress(&attachment, &client), Progress::Silent);
    });
}

#[test]
fn a_plain_listener_in_a_nodes_place_is_silent() {
    in_netns("successor", || {
        let attachment = attach();
        let (node, at) = serve(&attachment, "127.0.0.1:0");
        drop(node);
        let (listener, _) = bound(&at.to_string());
        listener.listen(8).expect("listen");
        let client = connect(&attachment, &v4(Extra::Nothing), at);
        assert_eq!(progress(&attachment, &client), Progress::Silent);
    });
}

#[test]
fn an_unlistened_node_is_silent() {
    in_netns("unlisten", || {
        let attachment = attach();
        let (node, at) = serve(&attachment, "127.0.0.1:0");
        attachment.unlisten(&node).expect("unlisten");
        attachment.unlisten(&node).expect("a second time");
        let client = connect(&attachment, &v4(Extra::Nothing), at);
        assert_eq!(progress(&attachment, &client), Progress::Silent);
    });
}

/// The listener swallows all it gets; the SYN-ACK comes from a raw socket.
fn answer(reply: impl FnOnce(&[u8]) -> Vec<u8>) -> (Attachment, socket2::Socket) {
    answer_to(reply, Outcome::Asked)
}

pub(crate) fn answer_to(
    reply: impl FnOnce(&[u8]) -> Vec<u8>,
    outcome: Outcome,
) -> (Attachment, socket2::Socket) {
    let attachment = attach();
    let (listener, at) = bound("127.0.0.2:0");
    listener.attach_filter(&sys::drop_all()).expect("a filter");
    listener.listen(8).expect("listen");
    let capture = Capture::start();
    let client = tcp(at);
    let socket = TcpSocket::check(&client).expect("TCP");
    let (option, source) = (v4(Extra::Nothing), SourceFill::FromSocket);
    let marked = attachment.mark_tcp(socket, &option, source, outcome);
    marked.expect("mark");
    client.set_nonblocking(true).expect("O_NONBLOCK");
    client.connect(&at.into()).expect_err("in progress");
    let syn = capture.next_of(Segment::Syn, at.port());
    Crafted {
        source: ipv4(syn.destination),
        destination: ipv4(syn.source),
        sequence: 1_000,
        acknowledgement: Some(syn.sequence.wrapping_add(1)),
        options: &reply(&syn.options),
    }
    .send_syn();
    // Sent once the SYN-ACK has been taken.
    capture.next_of(Segment::Other, at.port());
    (attachment, client)
}

fn ipv4(address: SocketAddr) -> SocketAddrV4 {
    address.to_string().parse().expect("an IPv4 address")
}

#[test]
fn a_mirrored_option_is_no_reply() {
    in_netns("mirror", || {
        let (attachment, client) = answer(<[u8]>::to_vec);
        assert_eq!(progress(&attachment, &client), Progress::Silent);
    });
}

#[test]
fn a_reply_for_the_other_family_is_no_reply() {
    in_netns("other-family", || {
        let (attachment, client) = answer(|_| vec![0xfd, 4, 0xe5, 0xf6]);
        assert_eq!(progress(&attachment, &client), Progress::Silent);
    });
}

#[test]
fn a_reply_behind_a_foreign_experiment_is_understood() {
    in_netns("foreign", || {
        let (attachment, client) = answer(|_| vec![0xfd, 4, 0xf9, 0x89, 0xfd, 4, 0xe5, 0xf4]);
        let understood = Progress::Understood { cookie: None };
        assert_eq!(progress(&attachment, &client), understood);
    });
}

#[test]
fn the_cookie_of_a_reply_is_kept() {
    in_netns("cookie", || {
        let (attachment, client) = answer(|_| {
            let mut option = vec![0xfd, 8, 0xe5, 0xf4];
            option.extend(COOKIE.octets());
            option
        });
        let cookie = Some(COOKIE);
        assert_eq!(
            progress(&attachment, &client),
            Progress::Understood { cookie }
        );
    });
}

#[test]
fn two_attachments_keep_to_their_own() {
    in_netns("two", || {
        let (a, b) = (attach(), attach());
        let (mut events_a, mut events_b) = (events(&a), events(&b));
        let (_listener_a, at_a) = serve(&a, "127.0.0.1:0");
        let (_listener_b, at_b) = serve(&b, "127.0.0.1:0");
        let understood = Progress::Understood { cookie: None };

        let client = connect(&a, &v4(Extra::Nothing), at_b);
        assert_eq!(progress(&a, &client), understood);
        assert_eq!(b.mark_state(&client).expect("mark_state"), None);
        assert_eq!(next_event(&mut events_b).client, local(&client));

        let client = connect(&b, &v4(Extra::Nothing), at_a);
        assert_eq!(progress(&b, &client), understood);
        assert_eq!(next_event(&mut events_a).client, local(&client));

        assert_eq!((events_a.next(), events_b.next()), (None, None));
    });
}

#[test]
fn the_same_address_in_two_namespaces_is_two_listeners() {
    in_netns("here", || {
        let here = attach();
        let mut at_home = events(&here);
        let (_listener, at) = serve(&here, "127.0.0.1:0");
        in_netns("there", move || {
            let there = attach();
            let mut abroad = events(&there);
            let (_listener, _) = serve(&there, &at.to_string());
            let client = connect(&there, &v4(Extra::Nothing), at);
            let understood = Progress::Understood { cookie: None };
            assert_eq!(progress(&there, &client), understood);
            assert_eq!(next_event(&mut abroad).client, local(&client));
        });
        assert_eq!(at_home.next(), None);
    });
}

#[test]
fn a_dropped_attachment_is_detached() {
    in_netns("detached", || {
        let (gone, stays) = (attach(), attach());
        let (_listener, at) = serve(&stays, "127.0.0.1:0");
        let client = tcp(at);
        let marked = gone.mark(&client, &v4(Extra::Nothing), SourceFill::FromSocket);
        marked.expect("mark");
        drop(gone);
        let capture = Capture::start();
        client.connect(&at.into()).expect("connect");
        assert!(capture.next_of(Segment::Syn, at.port()).synhop().is_empty());
    });
}

#[test]
fn both_kinds_can_be_used_side_by_side() {
    in_netns("kind-254", || {
        let kind = synhop_option::Kind::Experiment2;
        let other = attach_with(Config {
            kind,
            ..Config::default()
        });
        let usual = attach();
        let (_listener, at) = serve(&other, "127.0.0.1:0");
        let capture = Capture::start();
        let client = connect(&other, &v4(Extra::Nothing), at);
        let understood = Progress::Understood { cookie: None };
        assert_eq!(progress(&other, &client), understood);
        assert_eq!(capture.next_of(Segment::Syn, at.port()).options[20], 254);
        let client = connect(&usual, &v4(Extra::Nothing), at);
        assert_eq!(progress(&usual, &client), Progress::Silent);
    });
}

#[test]
fn loopback_down_is_told() {
    in_netns("lo-down", || {
        let error = || {
            let config = Config {
                self_test_timeout: Duration::from_millis(100),
                ..Config::default()
            };
            let error = Attachment::new(config).expect_err("no loopback");
            assert!(error.to_string().contains("ip link set lo up"), "{error}");
            error
        };
        run("ip", &["link", "set", "lo", "down"]);
        let AttachError::SelfTest(SelfTestError::NoSynAck) = error() else {
            panic!("the SYN is lost in an interface that is down");
        };
        run("ip", &["address", "flush", "dev", "lo"]);
        let AttachError::SelfTest(SelfTestError::LoopbackDown(_)) = error() else {
            panic!("there is no address to bind to");
        };
    });
}

#[test]
fn a_missing_privilege_is_told() {
    in_netns("nobody", || {
        sys::become_nobody().expect("setresuid");
        let error = Attachment::new(Config::default()).expect_err("no privileges");
        assert!(
            matches!(error, AttachError::NotPermitted { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
    });
}
