//! A mark is good for one connection.

use std::io::ErrorKind;

use synhop_option::{Extra, Segment};
use synhop_sockets::{Progress, SourceFill};

use crate::support::capture::Capture;
use crate::support::*;

#[test]
fn a_dissolved_socket_connects_without_its_mark() {
    in_netns("dissolved", || {
        let attachment = attach();
        let (_listener, at) = serve(&attachment, "127.0.0.1:0");
        let client = connect(&attachment, &v4(Extra::Nothing), at);
        sys::dissolve(&client).expect("AF_UNSPEC");
        let capture = Capture::start();
        client.connect(&at.into()).expect("connect");
        assert!(capture.next_of(Segment::Syn, at.port()).synhop().is_empty());
        assert_eq!(attachment.mark_state(&client).expect("mark_state"), None);

        // Marked anew, it carries an option anew.
        sys::dissolve(&client).expect("AF_UNSPEC");
        let marked = attachment.mark(&client, &v4(Extra::Nothing), SourceFill::FromSocket);
        marked.expect("mark");
        client.connect(&at.into()).expect("connect");
        let understood = Progress::Understood { cookie: None };
        assert_eq!(progress(&attachment, &client), understood);
    });
}

#[test]
fn a_refused_socket_connects_without_its_mark() {
    in_netns("refused", || {
        let attachment = attach();
        let (closed, at) = bound("127.0.0.1:0");
        let capture = Capture::start();
        let client = tcp(at);
        let marked = attachment.mark(&client, &v4(Extra::Nothing), SourceFill::FromSocket);
        marked.expect("mark");
        let error = client.connect(&at.into()).expect_err("nobody listens");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert!(!capture.next_of(Segment::Syn, at.port()).synhop().is_empty());
        assert_eq!(progress(&attachment, &client), Progress::SynSent);

        closed.listen(8).expect("listen");
        client.connect(&at.into()).expect("connect");
        assert!(capture.next_of(Segment::Syn, at.port()).synhop().is_empty());
        assert_eq!(attachment.mark_state(&client).expect("mark_state"), None);
    });
}
