//! How long a SYN takes to userspace, and what the programs cost a connection. To be run alone:
//! `cargo test --release -p synhop-sockets -- --ignored --nocapture latency`

use std::os::fd::AsFd;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use synhop_option::Extra;
use synhop_sockets::{Outcome, SourceFill, TcpSocket};

use crate::support::*;

const CONNECTIONS: usize = 5_000;

#[test]
#[ignore = "measures"]
fn latency_of_marking() {
    in_netns("latency-mark", || {
        let attachment = attach();
        let (option, source) = (v4(HOPS), SourceFill::FromSocket);
        let at = "127.0.0.1:1".parse().expect("an address");
        let timed = |mark: &dyn Fn(&socket2::Socket)| {
            let time = |()| {
                let client = tcp(at);
                let start = Instant::now();
                mark(&client);
                start.elapsed()
            };
            std::iter::repeat_n((), CONNECTIONS).map(time).collect()
        };
        let checked = |client: &socket2::Socket| {
            attachment.mark(client, &option, source).expect("mark");
        };
        let own = |client: &socket2::Socket| {
            let socket = TcpSocket::made_by_caller(client.as_fd());
            let marked = attachment.mark_tcp(socket, &option, source, Outcome::Asked);
            marked.expect("mark");
        };
        report("mark()", timed(&checked));
        report("mark_tcp(), made by the caller", timed(&own));
    });
}

#[test]
#[ignore = "measures"]
fn latency_from_connect_to_event() {
    in_netns("latency", || {
        // Any listener's connections, before and after: no program is attached to the first.
        let (plain, at_plain) = bound("127.0.0.1:0");
        plain.listen(128).expect("listen");
        report(
            "connect(), nothing attached",
            connects(&plain, |_| {}, at_plain),
        );

        let attachment = attach();
        report("connect(), unmarked", connects(&plain, |_| {}, at_plain));
        let (unread, at_unread) = serve(&attachment, "127.0.0.1:0");
        let mark = |client: &socket2::Socket| {
            let marked = attachment.mark(client, &v4(Extra::Nothing), SourceFill::FromSocket);
            marked.expect("mark");
        };
        let plainly = connects(&plain, mark, at_plain);
        report("connect(), marked, plain listener", plainly);
        let unread = connects(&unread, mark, at_unread);
        report("connect(), marked, nobody waits for events", unread);
        let mut events = events(&attachment);
        while events.next().is_some() {}
        let (listener, at) = serve(&attachment, "127.0.0.1:0");
        let (seen, times) = mpsc::channel();
        let reader = thread::spawn(move || {
            for _ in 0..CONNECTIONS {
                next_event(&mut events);
                let now = Instant::now();
                if seen.send(now).is_err() {
                    return;
                }
            }
        });
        let mut to_event = Vec::new();
        let connected = connects_with(&listener, mark, at, |start| {
            let seen = times.recv_timeout(BOUND).expect("an event");
            to_event.push(seen.saturating_duration_since(start));
        });
        reader.join().expect("the reader");
        report("connect(), marked", connected);
        report("connect() called to event read", to_event);
    });
}

fn connects(
    listener: &socket2::Socket,
    prepare: impl Fn(&socket2::Socket),
    to: std::net::SocketAddr,
) -> Vec<Duration> {
    connects_with(listener, prepare, to, |_| {})
}

fn connects_with(
    listener: &socket2::Socket,
    prepare: impl Fn(&socket2::Socket),
    to: std::net::SocketAddr,
    mut then: impl FnMut(Instant),
) -> Vec<Duration> {
    (0..CONNECTIONS)
        .map(|_| {
            let client = tcp(to);
            client.set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
            prepare(&client);
            let start = Instant::now();
            client.connect(&to.into()).expect("connect");
            let took = start.elapsed();
            then(start);
            drop(listener.accept().expect("accept"));
            took
        })
        .collect()
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| times[times.len() * percent / 100];
    println!("{what}: median {:?}, p99 {:?}", at(50), at(99));
}
