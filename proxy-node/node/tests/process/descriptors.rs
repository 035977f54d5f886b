//! Descriptors: none is left over, and a want of them is survived.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::rig::{Client, EchoServer, NodeProcess, http_get, in_namespace, wait_until};
use super::{ALLOW, NODE, SERVER, echo, finish, node, trusting_node};

#[test]
fn no_descriptor_is_left() {
    in_namespace("descriptors::no_descriptor_is_left", || {
        let node = trusting_node();
        let server = EchoServer::start(SERVER);
        let client = Client::new();
        let round = |count: usize| {
            for _ in 0..count {
                let mut stream = client.connect(NODE, SERVER).unwrap();
                echo(&mut stream, b"some octets");
                finish(stream);
                assert!(node.flow_line().contains("outcome=closed"));
            }
        };
        round(1);
        let idle = node.descriptors();
        round(100);
        let mut streams: Vec<_> = (0..100)
            .map(|_| client.connect(NODE, SERVER).unwrap())
            .collect();
        for stream in &mut streams {
            echo(stream, b"all at once");
        }
        // Two sockets for each idle flow, and no pipe beyond the spare ones.
        let busy = node.descriptors();
        assert!(busy <= idle + 200 + 8, "{busy} descriptors, {idle} idle");
        for stream in streams {
            finish(stream);
            assert!(node.flow_line().contains("outcome=closed"));
        }
        // Flows that come to nothing, each in its way.
        drop(server);
        for _ in 0..50 {
            let _ = client.connect(NODE, SERVER);
            node.flow_line();
            let _ = TcpStream::connect(NODE);
            node.flow_line();
        }
        wait_until("descriptors are closed", || node.descriptors() <= idle);
        node.stop();
    });
}

/// With few descriptors the node refuses what is too much and keeps what it has.
#[test]
fn full_table_refuses_and_keeps() {
    in_namespace("descriptors::full_table_refuses_and_keeps", || {
        let mut arguments = vec!["--listen", NODE, "--trust", "127.0.0.0/8"];
        arguments.extend(ALLOW);
        let node = NodeProcess::start_with_descriptors(160, &arguments);
        let _server = EchoServer::start(SERVER);
        let (kept, refused) = connect_many(&Client::new());
        assert!(kept.len() >= 5, "{} kept", kept.len());
        assert!(refused >= 20, "{refused} refused");
        assert!(node.flow_line().contains("outcome=table-full"));
        serve_and_finish(kept);
        node.stop();
    });
}

/// Spare sockets go first, then new connections; what is there stays, and all comes back.
#[test]
fn want_of_descriptors_passes() {
    const STATUS: &str = "127.0.0.1:9404";
    in_namespace("descriptors::want_of_descriptors_passes", || {
        let node = node(&["--trust", "127.0.0.0/8", "--status", STATUS]);
        let _server = EchoServer::start(SERVER);
        let client = Client::new();
        wait_until("spare sockets are there", || spare_sockets(STATUS) == 16);
        node.limit_descriptors(node.descriptors() + 4);
        let (kept, refused) = connect_many(&client);
        // Two for each flow: the four and the sixteen that were spare.
        assert!(kept.len() >= 8, "{} kept", kept.len());
        assert!(refused >= 30, "{refused} refused");
        node.wait_for("connections are refused");
        serve_and_finish(kept);
        wait_until("a flow is served again", || {
            connect_and_echo(&client).is_ok()
        });
        node.limit_descriptors(1000);
        wait_until("spare sockets are back", || spare_sockets(STATUS) == 16);
        node.stop();
    });
}

fn spare_sockets(status: &str) -> u64 {
    let json = http_get(status, "/");
    let status: serde_json::Value = serde_json::from_str(&json).unwrap();
    status["spare_sockets"].as_u64().unwrap()
}

/// Opens more flows than there is room for; gives those that are served, and how many are not.
fn connect_many(client: &Client) -> (Vec<TcpStream>, usize) {
    let mut kept = Vec::new();
    let mut refused = 0;
    for _ in 0..60 {
        match connect_and_echo(client) {
            Ok(stream) => kept.push(stream),
            Err(_reset) => refused += 1,
        }
    }
    (kept, refused)
}

fn serve_and_finish(mut kept: Vec<TcpStream>) {
    for stream in &mut kept {
        echo(stream, b"still served");
    }
    for stream in kept {
        finish(stream);
    }
}

fn connect_and_echo(client: &Client) -> std::io::Result<TcpStream> {
    let mut stream = client.connect(NODE, SERVER)?;
    stream.write_all(b"x")?;
    stream.read_exact(&mut [0])?;
    Ok(stream)
}
