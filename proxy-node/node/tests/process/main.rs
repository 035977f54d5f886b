//! The real program with real kernels, in a network namespace of each test's own.
//!
//! A test runs its own binary again under `unshare --net`: the namespace goes with the last
//! process in it, whatever happens.
//!
//! ```text
//!  client --option--> node (127.0.0.1:4040) --> echo server (127.0.0.2:7)
//! ```

mod descriptors;
mod refusals;
mod rig;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use rig::{BOUND, Client, EchoServer, NodeProcess, in_namespace};

const NODE: &str = "127.0.0.1:4040";
const SECOND: &str = "127.0.0.1:4041";
const SERVER: &str = "127.0.0.2:7";
const ALLOW: [&str; 4] = ["--allow-from", "127.0.0.0/8", "--allow-to", "127.0.0.2/32"];

fn node(extra: &[&str]) -> NodeProcess {
    let mut arguments = vec!["--listen", NODE];
    arguments.extend(ALLOW);
    arguments.extend(extra);
    NodeProcess::start(&arguments)
}

fn trusting_node() -> NodeProcess {
    node(&["--trust", "127.0.0.0/8"])
}

fn echo(stream: &mut TcpStream, octets: &[u8]) {
    stream.write_all(octets).unwrap();
    let mut back = vec![0xa5; octets.len()];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(back, octets);
}

fn finish(mut stream: TcpStream) {
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

fn assert_reset(mut stream: TcpStream) {
    let error = stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn flow_through_one_node() {
    in_namespace("flow_through_one_node", || {
        let node = trusting_node();
        let _server = EchoServer::start(SERVER);
        let mut stream = Client::new().connect(NODE, SERVER).unwrap();
        let local = stream.local_addr().unwrap();
        echo(&mut stream, b"hello through the node");
        finish(stream);
        let line = node.flow_line();
        for field in [
            format!("client={local}"),
            format!("claimed={local}"),
            format!("destination={SERVER}"),
            format!("next={SERVER}"),
            "mode=early".to_owned(),
            "outcome=closed".to_owned(),
            "syn_to_connect_us=".to_owned(),
            "downstream_us=".to_owned(),
            "upstream_us=".to_owned(),
            "up_octets=22".to_owned(),
            "down_octets=22".to_owned(),
            "duration_ms=".to_owned(),
        ] {
            assert!(line.contains(&field), "{field} is not in {line}");
        }
        node.stop();
    });
}

/// A source that has proven nothing waits for its handshake; the next flow is early.
#[test]
fn unproven_source_goes_late() {
    in_namespace("unproven_source_goes_late", || {
        let node = node(&[]);
        let _server = EchoServer::start(SERVER);
        for mode in ["mode=late", "mode=early"] {
            let mut stream = Client::new().connect(NODE, SERVER).unwrap();
            echo(&mut stream, b"x");
            finish(stream);
            let line = node.flow_line();
            assert!(line.contains(mode), "{line}");
        }
        node.stop();
    });
}

#[test]
fn flow_through_two_nodes() {
    in_namespace("flow_through_two_nodes", || {
        let first = node(&["--via", SECOND, "--trust", "127.0.0.0/8"]);
        let mut arguments = vec!["--listen", SECOND, "--trust", "127.0.0.0/8"];
        arguments.extend(ALLOW);
        let second = NodeProcess::start(&arguments);
        let _server = EchoServer::start(SERVER);
        let mut stream = Client::new().connect(NODE, SERVER).unwrap();
        let local = stream.local_addr().unwrap();
        echo(&mut stream, b"two hops");
        finish(stream);
        let line = first.flow_line();
        assert!(line.contains(&format!("next={SECOND}")), "{line}");
        assert!(line.contains("outcome=closed"), "{line}");
        let line = second.flow_line();
        assert!(line.contains(&format!("claimed={local}")), "{line}");
        assert!(line.contains("outcome=closed"), "{line}");
        first.stop();
        second.stop();
    });
}

/// What is no node must not get octets that are meant for somebody else.
#[test]
fn silent_next_hop_gets_nothing() {
    in_namespace("silent_next_hop_gets_nothing", || {
        let node = node(&["--via", SECOND, "--trust", "127.0.0.0/8"]);
        let plain = TcpListener::bind(SECOND).unwrap();
        let got = thread::spawn(move || {
            let (mut stream, _) = plain.accept().unwrap();
            let mut octets = Vec::new();
            let _ = stream.read_to_end(&mut octets);
            octets
        });
        // The handshake with the node may still complete before the verdict.
        if let Ok(mut stream) = Client::new().connect(NODE, SERVER) {
            let written = stream.write_all(b"secret");
            let error = written
                .and_then(|()| stream.read_exact(&mut [0]))
                .unwrap_err();
            let reset = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
            assert!(reset.contains(&error.kind()), "{error}");
        }
        assert_eq!(got.join().unwrap(), b"");
        let line = node.flow_line();
        assert!(line.contains("outcome=next-hop-silent"), "{line}");
        node.stop();
    });
}

#[test]
fn resets_are_passed_on_and_told_apart() {
    in_namespace("resets_are_passed_on_and_told_apart", || {
        let node = trusting_node();
        let listener = TcpListener::bind(SERVER).unwrap();
        for by_client in [true, false] {
            let mut client = Client::new().connect(NODE, SERVER).unwrap();
            let (mut server, _) = listener.accept().unwrap();
            server.set_read_timeout(Some(BOUND)).unwrap();
            // Once an octet has come through, the relay is at work.
            client.write_all(b"x").unwrap();
            server.read_exact(&mut [0]).unwrap();
            let (broken, other, outcome) = if by_client {
                (client, server, "outcome=reset-by-client")
            } else {
                (server, client, "outcome=reset-by-server")
            };
            SockRef::from(&broken)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
            drop(broken);
            assert_reset(other);
            let line = node.flow_line();
            assert!(line.contains(outcome), "{line}");
        }
        node.stop();
    });
}

#[test]
fn sigterm_lets_flows_finish() {
    in_namespace("sigterm_lets_flows_finish", || {
        let node = trusting_node();
        let _server = EchoServer::start(SERVER);
        let mut stream = Client::new().connect(NODE, SERVER).unwrap();
        echo(&mut stream, b"before");
        node.signal("TERM");
        node.wait_for("stopping");
        let error = TcpStream::connect(NODE).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        echo(&mut stream, b"after");
        finish(stream);
        assert!(node.flow_line().contains("outcome=closed"));
        assert_eq!(node.exit_code(), Some(0));
    });
}

#[test]
fn second_signal_ends_at_once() {
    in_namespace("second_signal_ends_at_once", || {
        let node = trusting_node();
        let _server = EchoServer::start(SERVER);
        let mut stream = Client::new().connect(NODE, SERVER).unwrap();
        echo(&mut stream, b"before");
        node.signal("TERM");
        node.wait_for("stopping");
        node.signal("INT");
        assert_reset(stream);
        assert!(node.flow_line().contains("outcome=shutdown"));
        assert_eq!(node.exit_code(), Some(0));
    });
}

#[test]
fn sighup_changes_nothing() {
    in_namespace("sighup_changes_nothing", || {
        let node = trusting_node();
        let _server = EchoServer::start(SERVER);
        node.signal("HUP");
        node.wait_for("SIGHUP");
        let mut stream = Client::new().connect(NODE, SERVER).unwrap();
        echo(&mut stream, b"still here");
        finish(stream);
        node.stop();
    });
}

#[test]
fn status_page_counts() {
    in_namespace("status_page_counts", || {
        let node = node(&["--trust", "127.0.0.0/8", "--status", "127.0.0.1:9404"]);
        let _server = EchoServer::start(SERVER);
        let mut stream = Client::new().connect(NODE, SERVER).unwrap();
        echo(&mut stream, b"x");
        let json = rig::http_get("127.0.0.1:9404", "/");
        let status: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(status["flows"], 1, "{json}");
        assert_eq!(status["pending"], 0, "{json}");
        assert_eq!(status["opened_total"], 1, "{json}");
        assert_eq!(status["dropped_events"], 0, "{json}");
        assert_eq!(status["spare_sockets"], 16, "{json}");
        finish(stream);
        node.flow_line();
        let json = rig::http_get("127.0.0.1:9404", "/");
        let status: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(status["flows"], 0, "{json}");
        assert_eq!(status["outcomes"]["closed"], 1, "{json}");
        let metrics = rig::http_get("127.0.0.1:9404", "/metrics");
        let closed = "synhop_outcomes_total{reason=\"closed\"} 1";
        assert!(metrics.contains(closed), "{metrics}");
        node.stop();
    });
}

/// A status page that cannot be served is told and harms nothing.
#[test]
fn flows_go_without_a_status_page() {
    in_namespace("flows_go_without_a_status_page", || {
        let _taken = TcpListener::bind("127.0.0.1:9404").unwrap();
        let node = node(&["--trust", "127.0.0.0/8", "--status", "127.0.0.1:9404"]);
        node.wait_for("no status page");
        let _server = EchoServer::start(SERVER);
        let mut stream = Client::new().connect(NODE, SERVER).unwrap();
        echo(&mut stream, b"x");
        finish(stream);
        assert!(node.flow_line().contains("outcome=closed"));
        node.stop();
    });
}

#[test]
fn json_lines_are_json() {
    in_namespace("json_lines_are_json", || {
        let node = node(&["--trust", "127.0.0.0/8", "--log-format", "json"]);
        let _server = EchoServer::start(SERVER);
        let mut stream = Client::new().connect(NODE, SERVER).unwrap();
        echo(&mut stream, b"x");
        finish(stream);
        let line = node.wait_for("\"flow\"");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["outcome"], "closed");
        assert_eq!(line["up_octets"], 1);
        node.stop();
    });
}

#[test]
fn large_transfer_is_intact_both_ways() {
    const LEN: usize = 32 * 1024 * 1024;
    in_namespace("large_transfer_is_intact_both_ways", || {
        let node = trusting_node();
        let _server = EchoServer::start(SERVER);
        let stream = Client::new().connect(NODE, SERVER).unwrap();
        let octets: Vec<u8> = (0..=250).cycle().take(LEN).collect();
        let sent = octets.clone();
        let mut writer = stream.try_clone().unwrap();
        let writer = thread::spawn(move || {
            writer.write_all(&sent).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut back = Vec::with_capacity(LEN);
        (&stream).read_to_end(&mut back).unwrap();
        writer.join().unwrap();
        assert!(back == octets, "{} octets came back", back.len());
        let line = node.flow_line();
        assert!(line.contains(&format!("down_octets={LEN}")), "{line}");
        node.stop();
    });
}

#[test]
fn address_in_use_is_told() {
    in_namespace("address_in_use_is_told", || {
        let address: SocketAddr = NODE.parse().unwrap();
        let _taken = TcpListener::bind(address).unwrap();
        let mut arguments = vec!["--listen", NODE];
        arguments.extend(ALLOW);
        let (code, log) = NodeProcess::run(&arguments);
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains("listening on 127.0.0.1:4040"), "{log}");
        assert!(log.contains("Address already in use"), "{log}");
    });
}
