//! What is on the wire: the option on SYNs and SYN-ACKs and on nothing else.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use socket2::Socket;

use crate::support::capture::Capture;
use crate::support::*;
use synhop_option::{Extra, Segment};
use synhop_sockets::{Attachment, Progress, SourceFill};

const REPLY: [u8; 4] = [0xfd, 4, 0xe5, 0xf4];

#[test]
fn only_syn_and_syn_ack_carry_the_option() {
    in_netns("wire", || {
        let attachment = attach();
        let (listener, at) = serve(&attachment, "127.0.0.1:0");
        let capture = Capture::start();
        let mut client = connect(&attachment, &v4(Extra::Nothing), at);
        let (mut accepted, _) = listener.accept().expect("accept");
        client.write_all(b"request").expect("send");
        accepted.read_exact(&mut [0; 7]).expect("receive");
        accepted.write_all(b"response").expect("send");
        client.read_exact(&mut [0; 8]).expect("receive");
        let from = local(&client);
        drop(client);
        assert_eq!(accepted.read(&mut [0; 1]).expect("end"), 0);
        drop(accepted);

        let mut option = vec![0xfd, 16, 0xe5, 0xf4, 127, 0, 0, 1, 198, 51, 100, 1];
        option.extend(from.port().to_be_bytes());
        option.extend(443_u16.to_be_bytes());
        let mut fins = 0;
        let mut others = 0;
        while fins < 2 {
            let segment = capture.next();
            fins += usize::from(segment.fin);
            let expected = match segment.segment {
                Segment::Syn => vec![option.clone()],
                Segment::SynAck => vec![REPLY.to_vec()],
                Segment::Other => {
                    others += 1;
                    Vec::new()
                }
            };
            assert_eq!(segment.synhop(), expected, "{segment:?}");
            if segment.segment == Segment::Syn {
                assert_eq!(
                    segment.options.len(),
                    36,
                    "no padding beyond the option's 16 octets"
                );
                assert_eq!(segment.options[20..], option, "behind the standard ones");
            }
        }
        assert!(others >= 6, "data and acknowledgements were seen: {others}");
    });
}

#[test]
fn an_option_of_odd_length_is_padded() {
    in_netns("padding", || {
        let attachment = attach();
        let (_listener, at) = serve(&attachment, "127.0.0.1:0");
        let capture = Capture::start();
        let _client = connect(&attachment, &v4_withheld(None), at);
        let syn = capture.next_of(Segment::Syn, at.port());
        assert_eq!(
            syn.options[20..],
            [0xfd, 10, 0xe5, 0xf4, 198, 51, 100, 1, 1, 187, 1, 1]
        );
    });
}

#[test]
fn a_retransmitted_syn_carries_the_same_option() {
    in_netns("syn-again", || {
        let attachment = attach();
        let mut events = events(&attachment);
        let (listener, at) = serve(&attachment, "127.0.0.1:0");
        let capture = Capture::start();
        listener.attach_filter(&sys::drop_all()).expect("a filter");
        let client = start_connecting(&attachment, at);

        let first = capture.next_of(Segment::Syn, at.port());
        assert_eq!(progress(&attachment, &client), Progress::SynSent);
        listener.detach_filter().expect("no filter");
        let second = capture.next_of(Segment::Syn, at.port());
        assert_eq!(second.sequence, first.sequence);
        assert_eq!(second.synhop(), first.synhop());
        assert_eq!(first.synhop()[0][..4], [0xfd, 16, 0xe5, 0xf4]);

        assert_eq!(next_event(&mut events).isn, first.sequence);
        let (accepted, _) = listener.accept().expect("accept");
        let understood = Progress::Understood { cookie: None };
        assert_eq!(progress(&attachment, &client), understood);
        assert_eq!(events.next(), None);
        let saved = attachment.saved_syn(&accepted).expect("TCP_SAVED_SYN");
        assert_eq!(saved.map(|it| it.isn), Some(first.sequence));
    });
}

#[test]
fn a_retransmitted_syn_ack_carries_the_reply_and_makes_no_event() {
    in_netns("syn-ack-again", || {
        let attachment = attach();
        let mut events = events(&attachment);
        let (_listener, at) = serve(&attachment, "127.0.0.1:0");
        let capture = Capture::start();
        let client = tcp(at);
        client.attach_filter(&sys::drop_all()).expect("a filter");
        let client = start_connecting_with(&attachment, client, at);

        let first = capture.next_of(Segment::SynAck, at.port());
        let second = capture.next_of(Segment::SynAck, at.port());
        assert_eq!(first.sequence, second.sequence);
        assert_eq!(first.synhop(), [REPLY]);
        assert_eq!(second.synhop(), [REPLY]);
        client.detach_filter().expect("no filter");
        let _third = capture.next_of(Segment::SynAck, at.port());

        let event = next_event(&mut events);
        assert_eq!(event.client, local(&client));
        assert_eq!(events.next(), None, "one event per SYN");
        await_understood(&attachment, &client);
    });
}

#[test]
fn a_fast_open_syn_carries_data_and_the_option() {
    in_netns("fast-open", || {
        // Client and server, neither with a Fast Open cookie, for every listener.
        sysctl("tcp_fastopen", "1543");
        let attachment = attach();
        let mut events = events(&attachment);
        let (listener, at) = serve(&attachment, "127.0.0.1:0");
        let capture = Capture::start();
        let mut client = tcp(at);
        let marked = attachment.mark(&client, &v4(Extra::Nothing), SourceFill::FromSocket);
        marked.expect("mark");
        let sent = client.send_to_with_flags(b"request", &at.into(), libc::MSG_FASTOPEN);
        assert_eq!(sent.expect("send"), 7);

        let event = next_event(&mut events);
        assert_eq!(event.client, local(&client));
        let (mut accepted, _) = listener.accept().expect("accept");
        let saved = attachment.saved_syn(&accepted).expect("TCP_SAVED_SYN");
        assert_eq!(saved, Some(event));
        accepted.read_exact(&mut [0; 7]).expect("the request");
        accepted.write_all(b"response").expect("send");
        client.read_exact(&mut [0; 8]).expect("the response");
        let understood = Progress::Understood { cookie: None };
        assert_eq!(progress(&attachment, &client), understood);

        let syn = capture.next_of(Segment::Syn, at.port());
        assert_eq!((syn.synhop().len(), syn.payload_octets), (1, 7));
        let syn_ack = capture.next_of(Segment::SynAck, at.port());
        assert_eq!(syn_ack.synhop(), [REPLY]);
        drop(client);
        while !capture.next_of(Segment::Other, at.port()).fin {}
        let counters = attachment.counters().expect("counters");
        assert_eq!(counters.callbacks_failed + counters.store_failed, 0);
    });
}

fn start_connecting(attachment: &Attachment, to: SocketAddr) -> Socket {
    start_connecting_with(attachment, tcp(to), to)
}

fn start_connecting_with(attachment: &Attachment, client: Socket, to: SocketAddr) -> Socket {
    let marked = attachment.mark(&client, &v4(Extra::Nothing), SourceFill::FromSocket);
    marked.expect("mark");
    client.set_nonblocking(true).expect("O_NONBLOCK");
    let error = client.connect(&to.into()).expect_err("in progress");
    assert_eq!(error.raw_os_error(), Some(libc::EINPROGRESS));
    client
}

fn await_understood(attachment: &Attachment, client: &Socket) {
    let deadline = Instant::now() + BOUND;
    while progress(attachment, client) == Progress::SynSent {
        assert!(Instant::now() < deadline, "no SYN-ACK came");
        std::thread::yield_now();
    }
    let understood = Progress::Understood { cookie: None };
    assert_eq!(progress(attachment, client), understood);
}
