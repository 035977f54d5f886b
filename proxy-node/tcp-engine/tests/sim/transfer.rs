//! Whole transfers between two engines, over good and bad links.

use std::time::Duration;

use crate::net::{Link, Net, address, stream};
use synhop_engine::{ConnId, Event, Instant, Octets};

/// A client that sends, a server that sends back when all has come.
struct Transfer {
    up: Vec<u8>,
    down: Vec<u8>,
    up_octets: Octets,
    down_octets: Octets,
    up_sent: usize,
    down_sent: usize,
    up_got: Vec<u8>,
    down_got: Vec<u8>,
    client: Option<ConnId>,
    server: Option<ConnId>,
    first_down_at: Option<Instant>,
    done_at: Option<Instant>,
    gone: usize,
}

impl Transfer {
    fn run(net: &mut Net, up: usize, down: usize, limit: Duration) -> Self {
        let until = net.now + limit;
        let mut this = Self {
            up: stream(up),
            down: stream(down),
            up_octets: Octets::copy_of(&stream(up)),
            down_octets: Octets::copy_of(&stream(down)),
            up_sent: 0,
            down_sent: 0,
            up_got: Vec::new(),
            down_got: Vec::new(),
            client: None,
            server: None,
            first_down_at: None,
            done_at: None,
            gone: 0,
        };
        net.hosts[1].listen((address(1), 80).into());
        let remote = (address(1), 80).into();
        let now = net.now;
        this.client = net.hosts[0].connect(address(0), remote, None, now).ok();
        loop {
            let more = net.step(until, &mut |net, host, event| match (host, event) {
                (1, Event::Accepted { connection, .. }) => this.server = Some(connection),
                (_, Event::Closed { .. }) => this.gone += 1,
                (_, Event::Failed { failure, .. }) => panic!(
                    "{failure:?} at {host}\n{}",
                    net.trace.as_deref().unwrap_or_default().join("\n")
                ),
                _ => {}
            });
            this.move_octets(net);
            if !more || this.gone == 2 {
                return this;
            }
        }
    }

    fn move_octets(&mut self, net: &mut Net) {
        if let Some(client) = self.client {
            if net.hosts[0].is_established(client) && self.up_sent < self.up.len() {
                let rest = self.up_octets.slice(self.up_sent..self.up.len());
                self.up_sent = self.up.len() - net.hosts[0].write(client, rest).len();
            }
            if self.up_sent == self.up.len() && net.hosts[0].is_established(client) {
                net.hosts[0].close(client);
            }
            while let Some(octets) = net.hosts[0].read(client) {
                self.first_down_at.get_or_insert(net.now);
                self.down_got.extend_from_slice(octets.as_slice());
            }
            if self.down_got.len() == self.down.len() {
                self.done_at.get_or_insert(net.now);
            }
        }
        if let Some(server) = self.server {
            while let Some(octets) = net.hosts[1].read(server) {
                self.up_got.extend_from_slice(octets.as_slice());
            }
            if self.up_got.len() == self.up.len() {
                if self.down_sent < self.down.len() {
                    let rest = self.down_octets.slice(self.down_sent..self.down.len());
                    self.down_sent = self.down.len() - net.hosts[1].write(server, rest).len();
                }
                if self.down_sent == self.down.len() {
                    net.hosts[1].close(server);
                }
            }
        }
        net.settle(&mut |_, _, event| {
            if matches!(event, Event::Closed { .. }) {
                self.gone += 1;
            }
        });
    }

    fn check(&self, net: &Net) {
        assert!(
            self.up_got == self.up,
            "up: {} of {}",
            self.up_got.len(),
            self.up.len()
        );
        assert!(
            self.down_got == self.down,
            "down: {} of {}",
            self.down_got.len(),
            self.down.len()
        );
        assert_eq!(self.gone, 2, "both ends are closed");
        for host in &net.hosts {
            assert!(host.is_empty());
            assert_eq!(host.pool().free(), host.pool().total());
        }
    }

    fn took_ms(&self, since: Instant) -> u128 {
        self.done_at.expect("done").since(since).as_millis()
    }
}

#[test]
fn twenty_five_kilobytes_take_two_rounds() {
    let mut net = Net::new(vec![Link::new(50)], 1);
    let start = net.now;
    let transfer = Transfer::run(&mut net, 100, 25_000, Duration::from_secs(90));
    transfer.check(&net);
    let first = transfer
        .first_down_at
        .expect("octets")
        .since(start)
        .as_millis();
    assert_eq!(first, 200);
    assert_eq!(transfer.took_ms(start), 301);
}

#[test]
fn bad_links_delay_and_change_nothing() {
    for seed in 1..=12 {
        let link = Link {
            loss: 10,
            reorder: 20,
            duplicate: 20,
            ..Link::new(10)
        };
        let mut net = Net::new(vec![link], seed);
        let start = net.now;
        let transfer = Transfer::run(&mut net, 200_000, 1_000_000, Duration::from_mins(5));
        transfer.check(&net);
        assert!(
            transfer.took_ms(start) < 5_000,
            "{}",
            transfer.took_ms(start)
        );
    }
}

#[test]
fn a_lossy_handshake_gets_there() {
    for seed in 1..=30 {
        let link = Link {
            loss: 200,
            ..Link::new(5)
        };
        let mut net = Net::new(vec![link], seed);
        net.trace = Some(Vec::new());
        let transfer = Transfer::run(&mut net, 1000, 1000, Duration::from_mins(10));
        transfer.check(&net);
    }
}

#[test]
fn a_short_queue_is_filled_and_not_overrun() {
    let link = Link {
        bits_per_second: 20_000_000,
        queue_octets: 50_000,
        ..Link::new(10)
    };
    let mut net = Net::new(vec![link], 3);
    let start = net.now;
    let transfer = Transfer::run(&mut net, 10, 10_000_000, Duration::from_mins(5));
    transfer.check(&net);
    // 10 MB at 20 Mb/s: 4 s for the octets alone.
    let took = transfer.took_ms(start);
    assert!(
        (4_100..5_200).contains(&took),
        "{took} ms, {} of {} lost",
        net.lost,
        net.carried
    );
}

/// What is late is not lost, and costs nothing once that is known.
#[test]
fn reordering_does_not_cost_the_window() {
    let took = |reorder, seed| {
        let link = Link {
            reorder,
            queue_octets: 8_000_000,
            ..Link::new(15)
        };
        let mut net = Net::new(vec![link], seed);
        let start = net.now;
        let transfer = Transfer::run(&mut net, 10, 10_000_000, Duration::from_mins(5));
        transfer.check(&net);
        transfer.took_ms(start)
    };
    let clean = took(0, 1);
    for seed in 1..=10 {
        let reordered = took(20, seed);
        assert!(
            reordered * 100 <= clean * 115,
            "{reordered} ms, {clean} without"
        );
    }
}
