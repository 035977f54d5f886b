//! Much data, both ways at once, over bad links; and connections that close one way first.

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use common::{PROMPTLY, Site, flow_lines, synhop_run, turn};
use sha2::{Digest, Sha256};
use synhop_lab::{ChainSpec, Lab, LinkSpec, Plan, ProcessBuilder, TransferSpec, pattern_octets};

#[test]
fn a_hundred_megabytes_both_ways_over_bad_links() {
    let Some(_turn) = turn("a_hundred_megabytes_both_ways_over_bad_links") else {
        return;
    };
    let bad = LinkSpec {
        loss: 0.01,
        reorder: 0.01,
        reorder_delay: Duration::from_millis(1),
        ..LinkSpec::new(Duration::ZERO, Some(400_000_000))
    };
    let lab = Lab::builder().nodes(3).link(bad).rtt_ms(4);
    let mut site = Site::new(lab, &ChainSpec::default(), &[]);
    println!(
        "congestion control: {}",
        site.lab.congestion_control().unwrap()
    );
    let peer = site.lab.start_peer().unwrap();
    let spec = TransferSpec {
        plan: Plan {
            send: OCTETS,
            receive: OCTETS,
            ..Plan::default()
        },
        via: site.via(),
        bound: Duration::from_mins(4),
    };
    let report = site.lab.transfer(&peer, &spec).unwrap();
    let carried = site.lab.total_stats();
    println!("{report:?}\n{carried:?}");
    assert!(report.received_intact && report.sent_intact, "{report:?}");
    assert_eq!(
        (report.sent_octets, report.received_octets),
        (OCTETS, OCTETS)
    );
    assert!(
        carried.lost > 1000 && carried.reordered > 1000,
        "{carried:?}"
    );
    assert_eq!(carried.failed, 0, "{carried:?}");
    site.wait_until_idle(PROMPTLY);
    for node in site.chain.nodes() {
        let lines = flow_lines(node);
        assert_eq!(lines.len(), 1, "{}", node.failure());
        assert_eq!(lines[0].outcome(), "closed", "{}", lines[0]);
        // 24 octets say how much, 1 says whether it was intact.
        assert_eq!(lines[0].number("up_octets"), OCTETS + 24, "{}", lines[0]);
        assert_eq!(lines[0].number("down_octets"), OCTETS + 1, "{}", lines[0]);
    }
    drop(peer);
    site.close();
}

/// The client sends, closes its direction, and gets an answer to all of it.
#[test]
fn the_client_closes_its_direction_first() {
    let Some(_turn) = turn("the_client_closes_its_direction_first") else {
        return;
    };
    let (mut site, listener) = site_with_listener();
    let server = serve(listener, |stream| {
        let mut request = Vec::new();
        stream.read_to_end(&mut request)?;
        stream.write_all(Sha256::digest(&request).as_slice())?;
        stream.write_all(&pattern_octets(ANSWER_LANE, SMALL))
    });
    let printed = run_python(&site, CLIENT_FIRST);
    server.join().unwrap().unwrap();
    let mut answer = Sha256::digest(python_octets()).to_vec();
    answer.extend(pattern_octets(ANSWER_LANE, SMALL));
    assert_eq!(printed, hex::encode(Sha256::digest(&answer)));
    check_closed(&mut site, SMALL, SMALL + 32);
    site.close();
}

/// The server sends and closes its direction; the client, which has seen the end, sends then.
#[test]
fn the_server_closes_its_direction_first() {
    let Some(_turn) = turn("the_server_closes_its_direction_first") else {
        return;
    };
    let (mut site, listener) = site_with_listener();
    let server = serve(listener, |stream| {
        stream.write_all(&pattern_octets(ANSWER_LANE, SMALL))?;
        stream.shutdown(Shutdown::Write)?;
        let mut request = Vec::new();
        stream.read_to_end(&mut request)?;
        assert!(request == python_octets(), "the client's octets");
        Ok(())
    });
    let printed = run_python(&site, SERVER_FIRST);
    server.join().unwrap().unwrap();
    let answer = pattern_octets(ANSWER_LANE, SMALL);
    assert_eq!(printed, hex::encode(Sha256::digest(&answer)));
    check_closed(&mut site, SMALL, SMALL);
    site.close();
}

fn site_with_listener() -> (Site, TcpListener) {
    let lab = Lab::builder().nodes(2).rtt_ms(6);
    let site = Site::new(lab, &ChainSpec::default(), &[]);
    let address = SocketAddr::from((site.lab.server_address(), PORT));
    let listener = site.lab.server().enter(|| TcpListener::bind(address));
    (site, listener.unwrap().unwrap())
}

type Answer = fn(&mut TcpStream) -> std::io::Result<()>;

fn serve(listener: TcpListener, answer: Answer) -> JoinHandle<std::io::Result<()>> {
    thread::spawn(move || {
        let (mut stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.set_write_timeout(Some(Duration::from_secs(20)))?;
        answer(&mut stream)
    })
}

/// Runs a script in the client's namespace; gives what it printed.
fn run_python(site: &Site, script: &str) -> String {
    let mut command = synhop_run(&site.lab, site.via());
    let address = site.lab.server_address().to_string();
    command.args(["python3", "-c", script]);
    command.args([address, PORT.to_string(), SMALL.to_string()]);
    let mut python = ProcessBuilder::new("python3", command).start().unwrap();
    let status = python.wait(Duration::from_secs(30)).unwrap();
    assert!(status.success(), "{}", python.failure());
    python.lines().concat()
}

/// What the scripts send.
fn python_octets() -> Vec<u8> {
    (0..=250).cycle().take(SMALL).collect()
}

fn check_closed(site: &mut Site, up: usize, down: usize) {
    site.wait_until_idle(PROMPTLY);
    for node in site.chain.nodes() {
        let lines = flow_lines(node);
        assert_eq!(lines.len(), 1, "{}", node.failure());
        assert_eq!(lines[0].outcome(), "closed", "{}", lines[0]);
        let octets = (lines[0].number("up_octets"), lines[0].number("down_octets"));
        assert_eq!(octets, (up as u64, down as u64), "{}", lines[0]);
    }
}

const CLIENT_FIRST: &str = r"
import hashlib, socket, sys
address, port, octets = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
stream = socket.create_connection((address, port), 20)
stream.sendall((bytes(range(251)) * (octets // 251 + 1))[:octets])
stream.shutdown(socket.SHUT_WR)
digest = hashlib.sha256()
while chunk := stream.recv(65536):
    digest.update(chunk)
print(digest.hexdigest())
";
const SERVER_FIRST: &str = r"
import hashlib, socket, sys
address, port, octets = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
stream = socket.create_connection((address, port), 20)
digest = hashlib.sha256()
while chunk := stream.recv(65536):
    digest.update(chunk)
stream.sendall((bytes(range(251)) * (octets // 251 + 1))[:octets])
stream.close()
print(digest.hexdigest())
";
const OCTETS: u64 = 100_000_000;
const SMALL: usize = 1_000_000;
const ANSWER_LANE: u64 = 9;
const PORT: u16 = 7000;
