//! The outcome on the socket itself.

use std::os::fd::AsFd;

use socket2::Socket;
use synhop_option::Extra;
use synhop_sockets::{Attachment, Outcome, PUBLISHED_UNDERSTOOD, Progress, SourceFill, TcpSocket};

use crate::peers::answer_to;
use crate::support::*;

const SENTINEL: i32 = PUBLISHED_UNDERSTOOD as i32;
/// `net.ipv4.tcp_syn_retries` of a new namespace.
const DEFAULT: i32 = 6;

fn mark(attachment: &Attachment, client: &Socket, outcome: Outcome) {
    let socket = TcpSocket::made_by_caller(client.as_fd());
    let (option, source) = (v4(Extra::Nothing), SourceFill::FromSocket);
    let marked = attachment.mark_tcp(socket, &option, source, outcome);
    marked.expect("mark");
}

#[test]
fn understood_is_published_on_request_only() {
    in_netns("published", || {
        let attachment = attach();
        let (_listener, at) = serve(&attachment, "127.0.0.1:0");
        for (outcome, count) in [(Outcome::Asked, DEFAULT), (Outcome::Published, SENTINEL)] {
            let client = tcp(at);
            mark(&attachment, &client, outcome);
            assert_eq!(sys::syn_count(&client), DEFAULT);
            client.connect(&at.into()).expect("connect");
            assert_eq!(sys::syn_count(&client), count, "{outcome:?}");
            let understood = Progress::Understood { cookie: None };
            assert_eq!(progress(&attachment, &client), understood);
        }
        assert_eq!(attachment.counters().expect("counters").publish_failed, 0);
    });
}

#[test]
fn nothing_else_is_published() {
    in_netns("unpublished", || {
        let attachment = attach();
        let (plain, at) = bound("127.0.0.1:0");
        plain.listen(8).expect("listen");
        let client = tcp(at);
        mark(&attachment, &client, Outcome::Published);
        client.connect(&at.into()).expect("connect");
        assert_eq!(progress(&attachment, &client), Progress::Silent);
        assert_eq!(sys::syn_count(&client), DEFAULT);

        // A cookie has to be fetched.
        let reply = |_: &[u8]| vec![0xfd, 8, 0xe5, 0xf4, 1, 2, 3, 4];
        let (attachment, client) = answer_to(reply, Outcome::Published);
        assert!(matches!(
            progress(&attachment, &client),
            Progress::Understood { cookie: Some(_) }
        ));
        assert_eq!(sys::syn_count(&client), DEFAULT);
    });
}
