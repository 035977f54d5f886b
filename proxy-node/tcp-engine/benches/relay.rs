//! What a relayed segment costs, by the number of pairs: `cargo bench -p synhop-engine`.
//!
//! Every pair carries data from its client to its server. A relayed segment is 1,448 octets in on
//! one leg, the same out on the other, and an ACK for every two of them on both. Segments arrive in
//! batches, as a device's ring holds them: they are made, and what the engine sends is looked at,
//! outside of the time that is measured. The ACK of a segment arrives half a round through all
//! pairs later, so that with many pairs each finds what it needs out of the cache.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use synhop_engine::{Config, ConnId, Engine, Event, Instant, Payload, Pool, Transmit};

fn main() {
    // With `--bench relay -- --pairs 10000 --burst 1 --seconds 20` one alone, for a profiler.
    let args: Vec<String> = std::env::args().collect();
    let number = |name: &str| {
        let at = args.iter().position(|arg| arg == name)?;
        args.get(at + 1)?.parse::<usize>().ok()
    };
    let seconds = Duration::from_secs(number("--seconds").unwrap_or(3) as u64);
    if args.iter().any(|arg| arg == "--test") {
        // `cargo test --benches`: it runs.
        Bench::new(3, 2).run(Duration::ZERO);
        return;
    }
    if let (Some(pairs), Some(burst)) = (number("--pairs"), number("--burst")) {
        report(&[pairs], burst, seconds);
        return;
    }
    println!("As a device delivers them, {BURST} segments of a flow in a row:");
    let growth = report(&PAIRS, BURST, seconds);
    println!("At worst, each segment of another flow than the one before:");
    report(&PAIRS, 1, seconds);
    let verdict = if growth <= MOST_GROWTH {
        "met"
    } else {
        "NOT met"
    };
    println!("In rows of {BURST}, within {MOST_GROWTH} times one pair's: {verdict} ({growth:.2})");
}

/// Prints nanoseconds a segment for several numbers of pairs, the median of stretches, and how many
/// times the first figure that is; returns the most of these. The stretches of all take turns and
/// are compared turn by turn: so whatever else the machine does, it does to all of them.
fn report(pairs: &[usize], burst: usize, duration: Duration) -> f64 {
    let mut benches: Vec<Bench> = pairs
        .iter()
        .map(|pairs| Bench::new(*pairs, burst))
        .collect();
    benches.iter_mut().for_each(Bench::warm_up);
    let mut stretches: Vec<Vec<Stretch>> = pairs.iter().map(|_| Vec::new()).collect();
    for _turn in 0..STRETCHES {
        for (bench, stretches) in benches.iter_mut().zip(&mut stretches) {
            stretches.push(bench.run(duration / STRETCHES));
        }
    }
    let mut most = 0_f64;
    for (pairs, own) in pairs.iter().zip(&stretches) {
        check(own);
        let nanoseconds = median(own.iter().map(Stretch::nanoseconds));
        let turns = own.iter().zip(&stretches[0]);
        let times = median(turns.map(|(own, first)| own.nanoseconds() / first.nanoseconds()));
        println!("{pairs:>8} pairs {nanoseconds:>8.0} ns a relayed segment {times:>6.2} times");
        most = most.max(times);
    }
    most
}

/// The flows were alive: what came in went out, and once.
fn check(stretches: &[Stretch]) {
    let came: u64 = stretches.iter().map(|one| one.came).sum();
    let went: u64 = stretches.iter().map(|one| one.went).sum();
    let again: u64 = stretches.iter().map(|one| one.again).sum();
    assert!(
        came.abs_diff(went) < came / 20 && again == 0,
        "{came} segments came in, {went} went out, {again} of them again"
    );
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// What happened in some time.
#[derive(Default)]
struct Stretch {
    /// The engine's.
    spent: Duration,
    /// Segments with data that came in.
    came: u64,
    /// Those that went out, and how many of them not for the first time.
    went: u64,
    again: u64,
}

impl Stretch {
    /// For each relayed segment.
    fn nanoseconds(&self) -> f64 {
        let segments = u32::try_from(self.came).expect("a few seconds'");
        self.spent.as_secs_f64() * 1e9 / f64::from(segments)
    }
}

/// One pair, seen from its client and its server.
struct Flow {
    client: IpAddr,
    server: IpAddr,
    client_seq: u32,
    /// What the client acknowledges.
    client_ack: u32,
    server_seq: u32,
    /// What the server acknowledges.
    server_ack: u32,
    /// Of the engine's end towards the server.
    port: u16,
    /// Octets from the server's point of view that are not acknowledged.
    unacknowledged: u32,
}

struct Bench {
    engine: Engine,
    flows: Vec<Flow>,
    burst: usize,
    now: Instant,
    /// Whose turn it is, shuffled, and how far we are.
    order: Vec<usize>,
    at: usize,
    /// ACKs of servers, each with the count of visits after which it arrives.
    acks: VecDeque<(u64, usize, u32)>,
    visits: u64,
    lag: u64,
    batch_every: Duration,
    dice: u64,
}

impl Bench {
    fn new(pairs: usize, burst: usize) -> Self {
        let config = Config {
            connections: 2 * pairs,
            half_open: 16,
            ..Config::default()
        };
        // Every window shall hold two bursts.
        let pages = 3 * 2 * pairs.next_power_of_two() * (2 * burst).max(8) + 4096;
        let now = Instant::from_micros(1_000_000);
        let mut engine = Engine::new(config, Pool::new(pages, PAGE_OCTETS), [11; 32], now);
        engine.listen((LOCAL, PORT).into());
        let mut bench = Self {
            engine,
            flows: Vec::new(),
            burst,
            now,
            order: (0..pairs).collect(),
            at: 0,
            acks: VecDeque::new(),
            visits: 0,
            lag: (pairs as u64 / 2).max(1),
            batch_every: (2 * ROUND_TRIP * u32::try_from(BATCH).unwrap_or(1)
                / u32::try_from(pairs * burst).unwrap_or(1))
            .min(MOST_BETWEEN_BATCHES),
            dice: 0x9e37_79b9_7f4a_7c15,
        };
        for number in 0..pairs {
            bench.open(number);
        }
        bench
    }

    /// Past slow start, and until every flow has had its turn often.
    fn warm_up(&mut self) {
        while self.visits < 8 * self.flows.len() as u64 + 10_000 {
            self.run(Duration::from_millis(50));
        }
    }

    fn open(&mut self, number: usize) {
        let [low, high, ..] = number.to_le_bytes();
        let client = IpAddr::from([10, 1, high, low]);
        let server = IpAddr::from([10, 2, high, low]);
        let syn = header((CLIENT_PORT, PORT), (0, 0), SYN, self.now, true);
        self.give(client, &syn, 0);
        let answer = self.engine.poll_transmit(self.now).expect("a SYN-ACK");
        let client_ack = number_at(&answer, 4).wrapping_add(1);
        self.now = self.now + ROUND_TRIP;
        let ack = header((CLIENT_PORT, PORT), (1, client_ack), ACK, self.now, false);
        self.give(client, &ack, 0);
        let upstream = self.accepted();
        let to = SocketAddr::new(server, SERVER_PORT);
        let onward = self.engine.connect(LOCAL, to, None, self.now);
        let onward = onward.expect("room");
        let syn = self.engine.poll_transmit(self.now).expect("a SYN");
        let port = syn.source.port();
        let isn = number_at(&syn, 4);
        self.now = self.now + ROUND_TRIP;
        let numbers = (0, isn.wrapping_add(1));
        let syn_ack = header((SERVER_PORT, port), numbers, SYN | ACK, self.now, true);
        self.give(server, &syn_ack, 0);
        while self.engine.poll_transmit(self.now).is_some() {}
        while self.engine.next_event().is_some() {}
        assert!(self.engine.join(upstream, onward));
        self.flows.push(Flow {
            client,
            server,
            client_seq: 1,
            client_ack,
            server_seq: 1,
            server_ack: isn.wrapping_add(1),
            port,
            unacknowledged: 0,
        });
    }

    fn accepted(&mut self) -> ConnId {
        let events = std::iter::from_fn(|| self.engine.next_event());
        events
            .filter_map(|event| match event {
                Event::Accepted { connection, .. } => Some(connection),
                _ => None,
            })
            .last()
            .expect("accepted")
    }

    fn give(&mut self, source: IpAddr, header: &[u8], octets: usize) {
        let payload = self.page(header, octets);
        self.engine.receive(source, LOCAL, payload, self.now);
    }

    fn page(&self, header: &[u8], octets: usize) -> Payload {
        let mut page = self.engine.pool().take().expect("pages enough");
        page.octets_mut()[..header.len()].copy_from_slice(header);
        page.freeze(0..header.len() + octets).into()
    }

    /// Until the engine has worked so long.
    fn run(&mut self, duration: Duration) -> Stretch {
        let mut stretch = Stretch::default();
        let mut batch: Vec<(IpAddr, Payload)> = Vec::with_capacity(4 * BATCH);
        let mut sent: Vec<Transmit> = Vec::with_capacity(4 * BATCH);
        loop {
            let data = self.fill(&mut batch);
            let start = std::time::Instant::now();
            for (source, payload) in batch.drain(..) {
                self.engine.receive(source, LOCAL, payload, self.now);
            }
            while let Some(transmit) = self.engine.poll_transmit(self.now) {
                sent.push(transmit);
            }
            self.engine.tick(self.now);
            stretch.spent += start.elapsed();
            stretch.came += data;
            self.look_at(&sent, &mut stretch);
            sent.clear();
            self.now = self.now + self.batch_every;
            if stretch.spent >= duration {
                return stretch;
            }
        }
    }

    /// What a device hands over at once: some bursts of data, and the ACKs that are due.
    /// Returns how many segments with data there are.
    fn fill(&mut self, batch: &mut Vec<(IpAddr, Payload)>) -> u64 {
        let mut data = 0;
        while batch.len() < BATCH {
            while let Some((due, number, ack)) = self.acks.front().copied()
                && due <= self.visits
            {
                self.acks.pop_front();
                let flow = &self.flows[number];
                let (ports, numbers) = ((SERVER_PORT, flow.port), (flow.server_seq, ack));
                let ack = header(ports, numbers, ACK, self.now, false);
                batch.push((flow.server, self.page(&ack, 0)));
            }
            let number = self.next_flow();
            for _segment in 0..self.burst {
                let flow = &mut self.flows[number];
                let (ports, numbers) = ((CLIENT_PORT, PORT), (flow.client_seq, flow.client_ack));
                flow.client_seq = flow.client_seq.wrapping_add(MSS);
                let client = flow.client;
                let head = header(ports, numbers, ACK, self.now, false);
                batch.push((client, self.page(&head, MSS as usize)));
                data += 1;
            }
            self.visits += 1;
        }
        data
    }

    /// Every flow in its turn, in an order that is new each time round.
    fn next_flow(&mut self) -> usize {
        if self.at == self.order.len() {
            self.at = 0;
            for index in (1..self.order.len()).rev() {
                self.dice ^= self.dice << 13;
                self.dice ^= self.dice >> 7;
                self.dice ^= self.dice << 17;
                let other = self.dice % (index as u64 + 1);
                self.order
                    .swap(index, usize::try_from(other).expect("small"));
            }
        }
        self.at += 1;
        self.order[self.at - 1]
    }

    /// The servers take data, and acknowledge every second segment.
    fn look_at(&mut self, sent: &[Transmit], stretch: &mut Stretch) {
        for transmit in sent {
            let len = u32::try_from(transmit.payload.len()).expect("small");
            if len == 0 {
                continue;
            }
            let IpAddr::V4(server) = transmit.destination.ip() else {
                continue;
            };
            let [_, _, high, low] = server.octets();
            let number = usize::from(u16::from_be_bytes([high, low]));
            let (start, end) = (
                number_at(transmit, 4),
                number_at(transmit, 4).wrapping_add(len),
            );
            let flow = &mut self.flows[number];
            stretch.went += u64::from(len.div_ceil(MSS));
            if start == flow.server_ack {
                flow.server_ack = end;
            } else {
                stretch.again += 1;
            }
            flow.unacknowledged += len;
            if flow.unacknowledged >= 2 * MSS {
                flow.unacknowledged = 0;
                self.acks
                    .push_back((self.visits + self.lag, number, flow.server_ack));
            }
        }
    }
}

/// A header with timestamps, or a SYN's.
fn header(
    (source, destination): (u16, u16),
    (seq, ack): (u32, u32),
    flags: u8,
    now: Instant,
    syn: bool,
) -> Vec<u8> {
    let mut octets = vec![0; 20];
    octets[0..2].copy_from_slice(&source.to_be_bytes());
    octets[2..4].copy_from_slice(&destination.to_be_bytes());
    octets[4..8].copy_from_slice(&seq.to_be_bytes());
    octets[8..12].copy_from_slice(&ack.to_be_bytes());
    octets[13] = flags;
    octets[14..16].copy_from_slice(&u16::MAX.to_be_bytes());
    if syn {
        octets.extend([2, 4, 0x05, 0xb4, 1, 3, 3, 7, 4, 2]);
    } else {
        octets.extend([1, 1]);
    }
    octets.extend([8, 10]);
    let millis = u32::try_from(now.as_micros() / 1000).unwrap_or(0);
    octets.extend(millis.to_be_bytes());
    octets.extend([0; 4]);
    octets[12] = u8::try_from(octets.len() / 4).expect("small") << 4;
    octets
}

fn number_at(transmit: &Transmit, at: usize) -> u32 {
    let header = transmit.header.as_slice();
    u32::from_be_bytes(header[at..at + 4].try_into().expect("four octets"))
}

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const PORT: u16 = 4460;
const CLIENT_PORT: u16 = 5000;
const SERVER_PORT: u16 = 80;
const MSS: u32 = 1448;
const PAGE_OCTETS: usize = 1536;
/// Segments in a batch, about: fewer than a window that is not scaled holds, at the first.
const BATCH: usize = 32;
/// Between an ACK and its segment, about, and of the handshakes: else probes would repeat segments.
const ROUND_TRIP: Duration = Duration::from_millis(5);
/// 32 segments of 1,448 octets take that long at 10 Gb/s, about.
const MOST_BETWEEN_BATCHES: Duration = Duration::from_micros(40);
const STRETCHES: u32 = 15;
const PAIRS: [usize; 3] = [1, 1000, 10_000];
/// Segments that a sender of a busy flow has on the link in a row: Linux's initial window, for one.
const BURST: usize = 10;
/// What many pairs may cost, as a multiple of one pair's.
const MOST_GROWTH: f64 = 2.0;
