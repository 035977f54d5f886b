//! What does not fit, comes malformed, or comes too fast: counted, never silent.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use crate::support::capture::Capture;
use crate::support::craft::Crafted;
use crate::support::*;
use synhop_option::{Extra, FormError, OptionError, Segment};
use synhop_sockets::{Attachment, Config, ListenError, MarkError, Progress, SourceFill};

fn counters(attachment: &Attachment) -> synhop_sockets::Counters {
    attachment.counters().expect("counters")
}

#[test]
fn a_full_ring_counts_its_drops() {
    in_netns("ring", || {
        let attachment = attach_with(Config {
            event_capacity: 1,
            ..Config::default()
        });
        let mut events = events(&attachment);
        let (_listener, at) = serve(&attachment, "127.0.0.1:0");
        let clients: Vec<_> = (0..50)
            .map(|_| connect(&attachment, &v4(Extra::Nothing), at))
            .collect();
        let understood = Progress::Understood { cookie: None };
        for client in &clients {
            assert_eq!(progress(&attachment, client), understood);
        }
        let mut seen = 0;
        while events.next().is_some() {
            seen += 1;
        }
        assert!(seen > 0 && events.dropped() > 0, "{seen} seen");
        assert_eq!(seen + events.dropped(), 50);
        assert_eq!(counters(&attachment).dropped, events.dropped());

        let client = connect(&attachment, &v4(Extra::Nothing), at);
        assert_eq!(next_event(&mut events).client, local(&client), "room again");
    });
}

#[test]
fn what_does_not_fit_beside_timestamps_is_not_sent() {
    in_netns("no-room", || {
        let attachment = attach();
        let (_listener, at) = serve(&attachment, "127.0.0.1:0");
        let client = connect(&attachment, &v6(Extra::Nothing), at);
        assert_eq!(progress(&attachment, &client), Progress::Marked);
        assert_eq!(counters(&attachment).reserve_failed, 1);
    });
}

#[test]
fn without_a_source_nothing_is_sent() {
    in_netns("no-source", || {
        let attachment = attach();
        let (_listener, at) = serve(&attachment, "[::1]:0");
        let client = connect(&attachment, &v4(Extra::Nothing), at);
        assert_eq!(state(&attachment, &client).progress, Progress::Marked);
        assert_eq!(state(&attachment, &client).option, v4(Extra::Nothing));
        assert_eq!(counters(&attachment).source_unavailable, 1);
    });
}

#[test]
fn marks_without_sense_are_refused() {
    in_netns("refused", || {
        let attachment = attach();
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let error = attachment.mark(&udp, &v4(Extra::Nothing), SourceFill::FromSocket);
        assert!(matches!(error, Err(MarkError::NotTcp)), "{error:?}");
        let (client, _) = bound("127.0.0.1:0");
        let error = attachment.mark(&client, &v4(Extra::Nothing), SourceFill::AsGiven);
        assert!(matches!(error, Err(MarkError::SourcePortZero)), "{error:?}");
        let tuple = synhop_option::SynOption::V6Tuple {
            source: std::net::SocketAddrV6::new(HOST6, 54321, 0, 0),
            destination: synhop_option::V6Destination::new(HOST6, 443).expect("legal"),
        };
        let error = attachment.mark(&client, &tuple, SourceFill::AsGiven);
        assert!(
            matches!(error, Err(MarkError::NoRoom { len_octets: 40 })),
            "{error:?}"
        );
        client.listen(1).expect("listen");
        let error = attachment.listen(&client, 1);
        assert!(
            matches!(error, Err(ListenError::ListensAlready)),
            "{error:?}"
        );
        let error = attachment.listen(&tcp("127.0.0.1:0".parse().expect("an address")), 1);
        assert!(matches!(error, Err(ListenError::NotBound)), "{error:?}");
    });
}

#[test]
fn a_syn_cookie_is_no_promise() {
    in_netns("syn-cookies", || {
        let attachment = attach();
        let mut events = events(&attachment);
        let (listener, at) = serve(&attachment, "127.0.0.1:0");
        sysctl("tcp_syncookies", "2");
        let client = connect(&attachment, &v4(Extra::Nothing), at);
        assert_eq!(progress(&attachment, &client), Progress::Silent);
        assert_eq!(events.next(), None);
        assert_eq!(counters(&attachment).syn_cookies, 1);
        let (accepted, _) = listener.accept().expect("accept");
        assert_eq!(
            attachment.saved_syn(&accepted).expect("TCP_SAVED_SYN"),
            None
        );
    });
}

/// Sends a SYN with `options` to a listener; returns what its event says and the synhop options of
/// the SYN-ACK.
fn offer(
    attachment: &Attachment,
    events: &mut synhop_sockets::SynEvents,
    at: SocketAddr,
    options: &[u8],
) -> (synhop_sockets::SynEvent, Vec<Vec<u8>>) {
    let SocketAddr::V4(destination) = at else {
        panic!("an IPv4 listener");
    };
    let capture = Capture::start();
    Crafted {
        source: SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 9), 4_000),
        destination,
        sequence: 77,
        acknowledgement: None,
        options,
    }
    .send_syn();
    let event = next_event(events);
    assert_eq!(event.isn, 77);
    assert_eq!(event.client.to_string(), "127.0.0.9:4000");
    assert_eq!(event.local, at);
    assert_eq!(attachment.kind(), synhop_option::Kind::default());
    let syn_ack = capture.next_of(Segment::SynAck, at.port());
    (event, syn_ack.synhop())
}

#[test]
fn crafted_syns_are_seen_and_answered_by_their_length() {
    in_netns("crafted", || {
        let attachment = attach();
        let mut events = events(&attachment);
        let (_listener, at) = serve(&attachment, "127.0.0.1:0");
        let mut offer = |options: &[u8]| offer(&attachment, &mut events, at, options);

        // The full IPv6 tuple is the SYN's only option.
        let mut tuple = vec![0xfd, 40, 0xe5, 0xf6];
        tuple.extend(HOST6.octets());
        tuple.extend(HOST6.octets());
        tuple.extend([0xd4, 0x31, 1, 187]);
        let (event, reply) = offer(&tuple);
        let option = event.option.expect("legal").expect("an option");
        assert_eq!(option.destination(0).to_string(), "[2001:db8::1]:443");
        assert_eq!(reply, [[0xfd, 4, 0xe5, 0xf6]]);

        // A legal length with an illegal port: answered, since the programs know lengths only.
        let (event, reply) = offer(&[0xfd, 10, 0xe5, 0xf4, 1, 2, 3, 4, 0, 0, 1, 1]);
        assert!(matches!(
            event.option,
            Err(OptionError::Form(FormError::Destination(_)))
        ));
        assert_eq!(reply, [[0xfd, 4, 0xe5, 0xf4]]);

        // A length of no form.
        let (event, reply) = offer(&[0xfd, 8, 0xe5, 0xf4, 1, 2, 3, 4]);
        assert!(matches!(
            event.option,
            Err(OptionError::Form(FormError::BadLength { .. }))
        ));
        assert!(reply.is_empty());

        // Both families.
        let mut both = vec![
            0xfd, 10, 0xe5, 0xf4, 1, 2, 3, 4, 1, 187, 0xfd, 20, 0xe5, 0xf6,
        ];
        both.extend(HOST6.octets());
        both.extend([1, 1]);
        let (event, reply) = offer(&both);
        assert_eq!(event.option, Err(OptionError::Duplicate));
        assert!(reply.is_empty());
        assert_eq!(counters(&attachment).malformed, 2);
    });
}

#[test]
fn the_table_of_listeners_is_bounded() {
    in_netns("listeners", || {
        let attachment = attach();
        let mut error = None;
        let mut sockets = Vec::new();
        for _ in 0..1025 {
            let (socket, _) = bound("127.0.0.1:0");
            if let Err(full) = attachment.listen(&socket, 1) {
                error = Some(full);
                break;
            }
            sockets.push(socket);
        }
        assert!(
            matches!(error, Some(ListenError::TooMany { limit: 1024 })),
            "{error:?}"
        );
        assert_eq!(sockets.len(), 1024);
        attachment.unlisten(&sockets[0]).expect("unlisten");
        serve(&attachment, "127.0.0.1:0");
    });
}

#[test]
fn every_syn_of_many_at_once_is_seen_once() {
    const THREADS: usize = 8;
    const CONNECTIONS: usize = 200;
    in_netns("many", || {
        let attachment = attach();
        let mut events = events(&attachment);
        let (listener, at) = serve(&attachment, "127.0.0.1:0");
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        let connect = |_| {
                            let client = connect(&attachment, &v4(Extra::Nothing), at);
                            // No port comes a second time while its TIME-WAIT lasts.
                            local(&client)
                        };
                        (0..CONNECTIONS).map(connect).collect::<Vec<_>>()
                    })
                })
                .collect();
            scope.spawn(|| {
                for _ in 0..THREADS * CONNECTIONS {
                    listener.accept().expect("accept");
                }
            });
            let mut seen: Vec<_> = (0..THREADS * CONNECTIONS)
                .map(|_| next_event(&mut events).client)
                .collect();
            let clients = clients
                .into_iter()
                .map(|it| it.join().expect("connections"));
            let mut clients: Vec<_> = clients.flatten().collect();
            seen.sort_unstable();
            clients.sort_unstable();
            assert!(seen == clients, "an event per connection");
        });
        assert_eq!((events.next(), events.dropped()), (None, 0));
    });
}
