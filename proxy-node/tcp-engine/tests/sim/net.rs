//! Engines on emulated links, in virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::IpAddr;
use std::time::Duration;

use synhop_engine::{Config, Engine, Event, Instant, Octets, Payload, Pool, Transmit};

/// What a link does to segments, in each direction.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub delay: Duration,
    pub bits_per_second: u64,
    pub queue_octets: u64,
    /// Per thousand.
    pub loss: u64,
    pub reorder: u64,
    pub duplicate: u64,
}

impl Link {
    pub(crate) fn new(delay_ms: u64) -> Self {
        Self {
            delay: Duration::from_millis(delay_ms),
            bits_per_second: 100_000_000,
            queue_octets: 256_000,
            loss: 0,
            reorder: 0,
            duplicate: 0,
        }
    }
}

struct Flight {
    at: Instant,
    order: u64,
    to: usize,
    source: IpAddr,
    destination: IpAddr,
    octets: Vec<u8>,
}

impl PartialEq for Flight {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Flight {}
impl PartialOrd for Flight {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Flight {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// A line of hosts: number n has the address 10.0.0.n, neighbours are joined by links.
pub(crate) struct Net {
    pub now: Instant,
    pub hosts: Vec<Engine>,
    pub links: Vec<Link>,
    free_at: Vec<[Instant; 2]>,
    flights: BinaryHeap<Reverse<Flight>>,
    order: u64,
    dice: u64,
    pub carried: u64,
    pub lost: u64,
    /// A line per segment, when somebody wants to see.
    pub trace: Option<Vec<String>>,
}

pub(crate) fn address(host: usize) -> IpAddr {
    IpAddr::from([10, 0, 0, u8::try_from(host).expect("few hosts")])
}

impl Net {
    pub(crate) fn new(links: Vec<Link>, seed: u64) -> Self {
        Self::with(links, seed, 4096, &Config::default())
    }

    pub(crate) fn with(links: Vec<Link>, seed: u64, pages: usize, config: &Config) -> Self {
        let now = Instant::from_micros(1_000_000);
        let hosts = (0..=links.len()).map(|host| {
            let octet = u8::try_from(host).expect("few hosts") ^ seed.to_le_bytes()[0];
            Engine::new(config.clone(), Pool::new(pages, 2048), [octet; 32], now)
        });
        Self {
            now,
            hosts: hosts.collect(),
            free_at: vec![[now; 2]; links.len()],
            links,
            flights: BinaryHeap::new(),
            order: 0,
            dice: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            carried: 0,
            lost: 0,
            trace: None,
        }
    }

    fn throw(&mut self) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33
    }

    fn send(&mut self, from: usize, transmit: &Transmit) {
        let to = (0..self.hosts.len())
            .find(|host| address(*host) == transmit.destination.ip())
            .expect("a host");
        let link = from.min(to);
        assert_eq!(from.abs_diff(to), 1, "only neighbours talk");
        let mut octets = transmit.header.as_slice().to_vec();
        octets.extend(transmit.payload.to_vec());
        if let Some(trace) = &mut self.trace {
            trace.push(format!(
                "{:>9} {from}->{to} {:?} +{}",
                self.now.as_micros() - 1_000_000,
                transmit.header,
                transmit.payload.len()
            ));
        }
        let spec = self.links[link].clone();
        self.carried += 1;
        let direction = usize::from(from > to);
        let start = self.free_at[link][direction].max(self.now);
        let waits = start.since(self.now);
        let backlog =
            u64::try_from(waits.as_nanos()).expect("short") * spec.bits_per_second / 8_000_000_000;
        if backlog > spec.queue_octets || self.throw() % 1000 < spec.loss {
            self.lost += 1;
            return;
        }
        let takes = (octets.len() as u64 + 34) * 8_000_000 / spec.bits_per_second;
        let sent = start + Duration::from_micros(takes);
        self.free_at[link][direction] = sent;
        let held = if self.throw() % 1000 < spec.reorder {
            spec.delay / 4
        } else {
            Duration::ZERO
        };
        let copies = 1 + usize::from(self.throw() % 1000 < spec.duplicate);
        for _copy in 0..copies {
            self.order += 1;
            self.flights.push(Reverse(Flight {
                at: sent + spec.delay + held,
                order: self.order,
                to,
                source: transmit.source.ip(),
                destination: transmit.destination.ip(),
                octets: octets.clone(),
            }));
        }
    }

    /// Sends what waits to be sent, and hands events to `on_event`.
    pub(crate) fn settle(&mut self, on_event: &mut impl FnMut(&mut Self, usize, Event)) {
        loop {
            let mut idle = true;
            for host in 0..self.hosts.len() {
                while let Some(event) = self.hosts[host].next_event() {
                    idle = false;
                    on_event(self, host, event);
                }
                while let Some(transmit) = self.hosts[host].poll_transmit(self.now) {
                    idle = false;
                    self.send(host, &transmit);
                }
            }
            if idle {
                return;
            }
        }
    }

    /// Lets time pass until the next thing happens; false when nothing ever will, or not by `until`.
    pub(crate) fn step(
        &mut self,
        until: Instant,
        on_event: &mut impl FnMut(&mut Self, usize, Event),
    ) -> bool {
        self.settle(on_event);
        let arrival = self.flights.peek().map(|flight| flight.0.at);
        let timers = self.hosts.iter().filter_map(Engine::next_deadline);
        let Some(next) = timers.chain(arrival).min() else {
            return false;
        };
        if next > until {
            return false;
        }
        self.now = self.now.max(next);
        while self
            .flights
            .peek()
            .is_some_and(|flight| flight.0.at <= self.now)
        {
            let Reverse(flight) = self.flights.pop().expect("peeked");
            let host = &mut self.hosts[flight.to];
            // As a driver does: into a page, if there is one.
            let Some(mut page) = host.pool().take() else {
                self.lost += 1;
                continue;
            };
            page.octets_mut()[..flight.octets.len()].copy_from_slice(&flight.octets);
            let octets: Octets = page.freeze(0..flight.octets.len());
            let payload = Payload::from(octets);
            host.receive(flight.source, flight.destination, payload, self.now);
        }
        for host in &mut self.hosts {
            host.tick(self.now);
        }
        self.settle(on_event);
        true
    }
}

/// Octets that say where they belong.
pub(crate) fn stream(len: usize) -> Vec<u8> {
    let octet = |at: usize| (at * 31 + at / 251 + at / 65_521).to_le_bytes()[0];
    (0..len).map(octet).collect()
}
