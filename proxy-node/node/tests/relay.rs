//! The relay over loopback TCP: what one leg does must come out at the other.

use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use socket2::SockRef;
use synhop_node::relay::{PipePool, Relay, RelayEnd, Side};

/// No wait in these tests is longer than this; none is expected to come near it.
const BOUND: Duration = Duration::from_secs(20);
const LONG_IDLE: Duration = Duration::from_hours(1);

/// `client <-> relay <-> server`, the relay on a thread and runtime of its own.
struct Rig {
    client: TcpStream,
    server: TcpStream,
    relay: JoinHandle<Outcome>,
    /// The relay's thread in `/proc`, `PID/task/TID`.
    thread: PathBuf,
}

#[derive(Debug, PartialEq)]
struct Outcome {
    end: RelayEnd,
    up_octets: u64,
    down_octets: u64,
    lent_pipes: usize,
}

/// Both ways of moving octets must behave alike.
const POOLS: [usize; 2] = [8, 0];

impl Rig {
    fn new(max_pipes: usize, idle: Duration) -> Self {
        let (client, client_leg) = pair();
        let (server, server_leg) = pair();
        for socket in [&client, &server] {
            socket.set_read_timeout(Some(BOUND)).unwrap();
            socket.set_write_timeout(Some(BOUND)).unwrap();
            socket.set_nodelay(true).unwrap();
        }
        let (tell, told) = mpsc::channel();
        let relay = thread::spawn(move || {
            tell.send(fs::read_link("/proc/thread-self").unwrap())
                .unwrap();
            run(client_leg, server_leg, max_pipes, idle)
        });
        Self {
            client,
            server,
            relay,
            thread: told.recv().unwrap(),
        }
    }

    /// Expects that the relay spends next to no processor time, as one that waits does.
    fn assert_at_rest(&self, when: &str) {
        const LOOK: Duration = Duration::from_millis(500);
        const MOST: Duration = Duration::from_millis(50);
        let before = self.processor_time();
        thread::sleep(LOOK);
        let spent = self.processor_time().saturating_sub(before);
        assert!(spent <= MOST, "{spent:?} of {LOOK:?} when {when}");
    }

    fn processor_time(&self) -> Duration {
        /// `USER_HZ`, the same on every architecture of Linux.
        const TICK: Duration = Duration::from_millis(10);
        let stat = fs::read_to_string(Path::new("/proc").join(&self.thread).join("stat")).unwrap();
        // proc_pid_stat(5): utime and stime are fields 14 and 15; the name in field 2 may have
        // blanks and ends with the last parenthesis.
        let fields = stat.rsplit_once(") ").unwrap().1.split(' ');
        fields
            .skip(11)
            .take(2)
            .map(|ticks| TICK * ticks.parse().unwrap())
            .sum()
    }

    fn outcome(self) -> Outcome {
        drop((self.client, self.server));
        self.relay.join().unwrap()
    }
}

fn run(client: TcpStream, server: TcpStream, max_pipes: usize, idle: Duration) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let legs = [client, server].map(|leg| {
            leg.set_nonblocking(true).unwrap();
            leg.set_nodelay(true).unwrap();
            tokio::net::TcpStream::from_std(leg).unwrap()
        });
        let [client, server] = legs;
        let pool = PipePool::new(max_pipes);
        let mut relay = Relay::new(client, server, pool.clone(), idle);
        let end = relay.run().await;
        let (up_octets, down_octets) = (relay.up_octets(), relay.down_octets());
        relay.close(end);
        Outcome {
            end,
            up_octets,
            down_octets,
            lent_pipes: pool.lent(),
        }
    })
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    (near, far)
}

fn reset(socket: TcpStream) {
    SockRef::from(&socket)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(socket);
}

/// Octets that look random and are the same every time.
fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut octets = Vec::with_capacity(len + 8);
    while octets.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        octets.extend_from_slice(&state.to_ne_bytes());
    }
    octets.truncate(len);
    octets
}

fn hash(octets: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(octets);
    hasher.finish()
}

fn read_all(socket: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    socket.read_to_end(&mut octets)?;
    Ok(octets)
}

#[test]
fn client_finishes_first() {
    for pool in POOLS {
        let mut rig = Rig::new(pool, LONG_IDLE);
        rig.client.write_all(b"request").unwrap();
        rig.client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut rig.server).unwrap(), b"request");
        // The other direction is still open.
        rig.server.write_all(b"reply").unwrap();
        rig.server.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut rig.client).unwrap(), b"reply");
        let expected = Outcome {
            end: RelayEnd::Closed,
            up_octets: 7,
            down_octets: 5,
            lent_pipes: 0,
        };
        assert_eq!(rig.outcome(), expected);
    }
}

#[test]
fn server_finishes_first() {
    for pool in POOLS {
        let mut rig = Rig::new(pool, LONG_IDLE);
        rig.server.write_all(b"banner").unwrap();
        rig.server.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut rig.client).unwrap(), b"banner");
        rig.client.write_all(b"late").unwrap();
        rig.client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut rig.server).unwrap(), b"late");
        assert_eq!(rig.outcome().end, RelayEnd::Closed);
    }
}

#[test]
fn reset_passes_on_as_reset() {
    for pool in POOLS {
        for side in [Side::Client, Side::Server] {
            let rig = Rig::new(pool, LONG_IDLE);
            let (broken, mut other) = match side {
                Side::Client => (rig.client, rig.server),
                Side::Server => (rig.server, rig.client),
            };
            reset(broken);
            let error = read_all(&mut other).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{side:?}");
            assert_eq!(rig.relay.join().unwrap().end, RelayEnd::Reset(side));
        }
    }
}

#[test]
fn reset_after_a_half_close_passes_on() {
    for pool in POOLS {
        let mut rig = Rig::new(pool, LONG_IDLE);
        rig.client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut rig.server).unwrap(), b"");
        reset(rig.client);
        // The server only writes: it learns of the reset by the error of a write.
        let error = write_until_error(&mut rig.server);
        let kind = error.kind();
        assert!(
            matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
            "{error}"
        );
        let end = rig.relay.join().unwrap().end;
        assert_eq!(end, RelayEnd::Reset(Side::Client));
    }
}

/// The source of a stalled direction is not read, and its reset is noticed all the same.
#[test]
fn reset_is_seen_through_back_pressure() {
    for pool in POOLS {
        let mut rig = Rig::new(pool, LONG_IDLE);
        fill(&mut rig.client);
        reset(rig.client);
        let end = rig.relay.join().unwrap().end;
        assert_eq!(end, RelayEnd::Reset(Side::Client));
        // All that had arrived was discarded with the reset or is followed by it.
        assert!(read_all(&mut rig.server).is_err());
    }
}

/// Whatever readiness stays while sinks stall, the relay sleeps, and a reset behind octets that
/// nobody takes ends it at once.
#[test]
fn a_stalled_relay_does_not_spin() {
    for pool in POOLS {
        let mut rig = Rig::new(pool, LONG_IDLE);
        fill(&mut rig.client);
        rig.assert_at_rest("up is stalled");
        fill(&mut rig.server);
        rig.assert_at_rest("both directions are stalled");
        reset(rig.client);
        let end = rig.relay.join().unwrap().end;
        assert_eq!(end, RelayEnd::Reset(Side::Client));
    }
}

/// The same where one direction is over: what is closed stays ready for ever.
#[test]
fn a_half_closed_stalled_relay_does_not_spin() {
    for pool in POOLS {
        let mut rig = Rig::new(pool, LONG_IDLE);
        rig.server.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut rig.client).unwrap(), b"");
        fill(&mut rig.client);
        rig.assert_at_rest("down is closed, up is stalled");
        reset(rig.client);
        let end = rig.relay.join().unwrap().end;
        assert_eq!(end, RelayEnd::Reset(Side::Client));
    }
}

#[test]
fn stalled_reader_holds_the_writer_and_loses_nothing() {
    for pool in POOLS {
        let mut rig = Rig::new(pool, LONG_IDLE);
        let held = fill(&mut rig.client);
        let rest = pattern(2, 3_000_000);
        let rest_hash = hash(&rest);
        let mut client = rig.client.try_clone().unwrap();
        let writer = thread::spawn(move || {
            client.write_all(&rest).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        });
        let received = read_all(&mut rig.server).unwrap();
        writer.join().unwrap();
        assert_eq!(received.len(), held + 3_000_000);
        assert_eq!(hash(&received[..held]), hash(&pattern(1, held)));
        assert_eq!(hash(&received[held..]), rest_hash);
        rig.server.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut rig.client).unwrap(), b"");
        assert_eq!(rig.outcome().end, RelayEnd::Closed);
    }
}

#[test]
fn single_octets_are_not_delayed() {
    const ROUNDS: u32 = 200;
    for pool in POOLS {
        let mut rig = Rig::new(pool, LONG_IDLE);
        let started = Instant::now();
        for round in 0..ROUNDS {
            let octet = [round.to_le_bytes()[0]];
            // Two writes in a row: Nagle's algorithm would hold the second one back.
            for _twice in 0..2 {
                rig.client.write_all(&octet).unwrap();
            }
            let mut got = [0xa5; 2];
            rig.server.read_exact(&mut got).unwrap();
            assert_eq!(got, [octet[0]; 2]);
            rig.server.write_all(&octet).unwrap();
            let mut got = [0xa5; 1];
            rig.client.read_exact(&mut got).unwrap();
            assert_eq!(got, octet);
        }
        // A delayed acknowledgement takes 40 ms; a single one per round would take 8 s.
        let mean = started.elapsed() / ROUNDS;
        assert!(mean < Duration::from_millis(10), "{mean:?} per round");
    }
}

#[test]
fn many_octets_both_ways_at_once() {
    const LEN: usize = 64 * 1024 * 1024;
    for pool in POOLS {
        let rig = Rig::new(pool, LONG_IDLE);
        let ends = [
            (rig.client.try_clone().unwrap(), 3),
            (rig.server.try_clone().unwrap(), 4),
        ];
        let senders = ends.map(|(mut socket, seed)| {
            thread::spawn(move || {
                let octets = pattern(seed, LEN);
                socket.write_all(&octets).unwrap();
                socket.shutdown(Shutdown::Write).unwrap();
                hash(&octets)
            })
        });
        let ends = [
            rig.server.try_clone().unwrap(),
            rig.client.try_clone().unwrap(),
        ];
        let receivers =
            ends.map(|mut socket| thread::spawn(move || hash(&read_all(&mut socket).unwrap())));
        for (sender, receiver) in senders.into_iter().zip(receivers) {
            assert_eq!(sender.join().unwrap(), receiver.join().unwrap());
        }
        let expected = Outcome {
            end: RelayEnd::Closed,
            up_octets: LEN as u64,
            down_octets: LEN as u64,
            lent_pipes: 0,
        };
        assert_eq!(rig.outcome(), expected);
    }
}

#[test]
fn idle_flow_ends() {
    let mut rig = Rig::new(8, Duration::from_millis(100));
    rig.client.write_all(b"x").unwrap();
    let error = read_all(&mut rig.client).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(rig.outcome().end, RelayEnd::Idle);
}

/// More than four socket buffers hold.
const FILL_MAX: usize = 128 * 1024 * 1024;

/// Writes pattern 1 until nothing more is taken for a while; returns how much was taken.
fn fill(socket: &mut TcpStream) -> usize {
    let octets = pattern(1, FILL_MAX);
    let (written, progress) = mpsc::channel();
    let mut writer = socket.try_clone().unwrap();
    writer.set_nonblocking(true).unwrap();
    let filler = thread::spawn(move || {
        let mut len = 0;
        let mut stuck_since = Instant::now();
        while stuck_since.elapsed() < Duration::from_millis(300) {
            match writer.write(&octets[len..]) {
                Ok(more) => {
                    len += more;
                    stuck_since = Instant::now();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
        written.send(len).unwrap();
    });
    let len = progress.recv_timeout(BOUND).unwrap();
    filler.join().unwrap();
    socket.set_nonblocking(false).unwrap();
    assert!(len < FILL_MAX, "nothing held the writer back");
    len
}

fn write_until_error(socket: &mut TcpStream) -> io::Error {
    let started = Instant::now();
    while started.elapsed() < BOUND {
        if let Err(error) = socket.write_all(b"x") {
            return error;
        }
        thread::yield_now();
    }
    panic!("no reset came through");
}
