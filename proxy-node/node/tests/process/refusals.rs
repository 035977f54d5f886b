//! What the node does not forward: the client sees a reset, the log says why.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;

use super::rig::{BOUND, Client, EchoServer, NodeProcess, in_namespace};
use super::{NODE, SERVER};

struct Refusal {
    allow_from: &'static str,
    allow_to: &'static str,
    /// What the option says; `None`: a client that knows nothing of it.
    destination: Option<&'static str>,
    outcome: &'static str,
}

/// What goes well: each case differs from it in one thing. `SERVER` is served.
const ALLOWED: Refusal = Refusal {
    allow_from: "127.0.0.0/8",
    allow_to: "127.0.0.2/32",
    destination: Some(SERVER),
    outcome: "closed",
};

const REFUSALS: [Refusal; 6] = [
    Refusal {
        destination: None,
        outcome: "no-option",
        ..ALLOWED
    },
    Refusal {
        allow_from: "192.0.2.0/24",
        outcome: "source-not-allowed",
        ..ALLOWED
    },
    Refusal {
        allow_to: "127.0.0.3/32",
        outcome: "destination-not-allowed",
        ..ALLOWED
    },
    Refusal {
        allow_to: "127.0.0.1/32",
        destination: Some(NODE),
        outcome: "destination-is-self",
        ..ALLOWED
    },
    // Nobody listens there.
    Refusal {
        destination: Some("127.0.0.2:8"),
        outcome: "refused",
        ..ALLOWED
    },
    // The namespace has no route but to itself.
    Refusal {
        allow_to: "198.51.100.0/24",
        destination: Some("198.51.100.1:7"),
        outcome: "unreachable",
        ..ALLOWED
    },
];

/// Early (the source is trusted) and late: the outcome is the same. Malformed options and clients
/// that vanish take more than the kernel's sockets: see the tests of the whole chain.
#[test]
fn refusals_reset_the_client_and_are_named() {
    in_namespace("refusals::refusals_reset_the_client_and_are_named", || {
        let _server = EchoServer::start(SERVER);
        for trust in ["127.0.0.0/8", "192.0.2.0/24"] {
            for refusal in REFUSALS {
                check(&refusal, trust);
            }
        }
    });
}

fn check(refusal: &Refusal, trust: &str) {
    let outcome = format!("outcome={}", refusal.outcome);
    let node = NodeProcess::start(&[
        "--listen",
        NODE,
        "--allow-from",
        refusal.allow_from,
        "--allow-to",
        refusal.allow_to,
        "--trust",
        trust,
    ]);
    let stream = match refusal.destination {
        Some(destination) => Client::new().connect(NODE, destination),
        None => TcpStream::connect(NODE),
    };
    // connect() itself fails when the reset overtakes it.
    let error = match stream {
        Ok(mut stream) => {
            stream.set_read_timeout(Some(BOUND)).unwrap();
            stream.read(&mut [0]).expect_err(&outcome)
        }
        Err(error) => error,
    };
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{outcome}");
    let line = node.flow_line();
    assert!(line.contains(&outcome), "{outcome} is not in {line}");
    node.stop();
}
