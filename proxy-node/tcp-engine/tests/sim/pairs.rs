//! Pairs: early SYNs, half-close, resets, back-pressure, memory.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use crate::net::{Link, Net, address, stream};
use synhop_engine::{Config, ConnId, Engine, Event, Failure, Octets, PairEnd, State};
use synhop_option::{Extra, Kind, SynOption, V4Destination};

/// A proxy on host 1 that sends each SYN onward to host 2 the moment it comes, and nothing else.
#[derive(Default)]
struct Proxy {
    early: Vec<(SocketAddr, ConnId)>,
    accepted: Vec<(SocketAddr, ConnId)>,
    connected: Vec<ConnId>,
    ended: Vec<PairEnd>,
    failed: Vec<Failure>,
    abandoned: usize,
}

impl Proxy {
    fn on_event(&mut self, net: &mut Net, event: Event) {
        let now = net.now;
        let engine: &mut Engine = &mut net.hosts[1];
        match event {
            Event::Syn(syn) => {
                let option = syn.option.expect("well-formed").expect("an option");
                let to = option.destination(0);
                let onward = engine.connect(address(1), to, None, now).expect("room");
                self.early.push((syn.client, onward));
            }
            Event::Accepted { connection, syn } => self.accepted.push((syn.client, connection)),
            Event::Connected { connection, .. } => self.connected.push(connection),
            Event::PairEnded(end) => self.ended.push(end),
            Event::Failed {
                connection,
                failure,
            } => {
                self.failed.push(failure);
                let early = self.early.iter().find(|(_, onward)| *onward == connection);
                let client = early.map(|(client, _)| *client).expect("ours");
                engine.refuse(client, (address(1), 7000).into());
                if let Some((_, upstream)) = self.accepted.iter().find(|(from, _)| *from == client)
                {
                    engine.abort(*upstream);
                }
            }
            Event::Abandoned { client, .. } => {
                self.abandoned += 1;
                let early = self.early.iter().find(|(from, _)| *from == client);
                engine.abort(early.expect("ours").1);
            }
            Event::Closed { .. } => panic!("all are in pairs"),
        }
        for (client, upstream) in &self.accepted {
            let onward = self.early.iter().find(|(from, _)| from == client);
            let onward = onward.expect("the SYN came first").1;
            if self.connected.contains(&onward) {
                engine.join(*upstream, onward);
            }
        }
    }
}

fn option() -> SynOption {
    SynOption::V4 {
        source: SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 4444),
        destination: V4Destination::new(SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 2), 80))
            .expect("legal"),
        extra: Extra::Nothing,
    }
}

/// One client on host 0, through the proxy on host 1 to the server on host 2.
struct Chain {
    net: Net,
    proxy: Proxy,
    client: ConnId,
    server: Option<ConnId>,
    client_events: Vec<Event>,
    server_events: Vec<Event>,
}

impl Chain {
    fn new(net: Net) -> Self {
        let mut net = net;
        net.hosts[1].listen((address(1), 7000).into());
        net.hosts[2].listen((address(2), 80).into());
        let now = net.now;
        let to = (address(1), 7000).into();
        let client = net.hosts[0].connect(address(0), to, Some(&option()), now);
        Self {
            net,
            proxy: Proxy::default(),
            client: client.expect("room"),
            server: None,
            client_events: Vec::new(),
            server_events: Vec::new(),
        }
    }

    fn step(&mut self) -> bool {
        let until = self.net.now + Duration::from_mins(5);
        let Self {
            net,
            proxy,
            server,
            client_events,
            server_events,
            ..
        } = self;
        net.step(until, &mut |net, host, event| match host {
            0 => client_events.push(event),
            1 => proxy.on_event(net, event),
            _ => {
                if let Event::Accepted { connection, .. } = event {
                    *server = Some(connection);
                }
                server_events.push(event);
            }
        })
    }

    fn run_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        for _step in 0..2_000_000 {
            if done(self) {
                return;
            }
            assert!(self.step(), "nothing more will happen");
        }
        panic!("too long");
    }

    fn is_connected(&self) -> bool {
        let connected = |event: &Event| matches!(event, Event::Connected { .. });
        self.client_events.iter().any(connected) && self.server.is_some()
    }
}

#[test]
fn the_handshakes_run_in_parallel() {
    let mut chain = Chain::new(Net::new(vec![Link::new(25), Link::new(25)], 1));
    let start = chain.net.now;
    let mut got = false;
    let mut request_sent = false;
    chain.run_until(|chain| {
        if chain.is_connected() || chain.net.hosts[0].is_established(chain.client) {
            if !request_sent {
                request_sent = true;
                let request = Octets::copy_of(b"GET");
                assert!(chain.net.hosts[0].write(chain.client, request).is_empty());
            }
            if let Some(server) = chain.server
                && chain.net.hosts[2].read(server).is_some()
            {
                chain.net.hosts[2].write(server, Octets::copy_of(b"200"));
            }
            got |= chain.net.hosts[0].read(chain.client).is_some();
        }
        got
    });
    // s + max r = 100 + 50, and the serialisation of a few small segments.
    let took = chain.net.now.since(start).as_micros();
    assert!((150_000..150_200).contains(&took), "{took}");
    let Event::Connected { reply, .. } = chain.client_events[0] else {
        panic!("{:?}", chain.client_events);
    };
    assert!(reply.is_some());
}

#[test]
fn the_option_is_on_syns_alone() {
    let net = Net::new(
        vec![
            Link {
                loss: 400,
                ..Link::new(5)
            },
            Link::new(5),
        ],
        6,
    );
    let mut chain = Chain::new(net);
    chain.net.trace = Some(Vec::new());
    chain.run_until(|chain| chain.is_connected());
    let mut octets = [0; 40];
    let len = option().emit(Kind::default(), &mut octets).expect("fits");
    assert_eq!(len, 16);
    let trace = chain.net.trace.take().expect("on");
    let syns = trace
        .iter()
        .filter(|line| line.contains("0->1") && line.contains("flags: S,"));
    assert!(
        syns.clone().count() > 1,
        "the dice lose no SYN: choose another seed"
    );
    for line in trace.iter().filter(|line| line.contains("0->1")) {
        // 20 of the header, 20 of the usual options, 16 of ours.
        assert_eq!(
            line.contains("octets: 56,"),
            line.contains("flags: S,"),
            "{line}"
        );
    }
}

#[test]
fn octets_and_ends_pass_both_ways() {
    for seed in 1..=6 {
        let link = Link {
            loss: 10,
            reorder: 10,
            duplicate: 10,
            ..Link::new(8)
        };
        let mut chain = Chain::new(Net::new(vec![link.clone(), link], seed));
        let (up, down) = (stream(300_000), stream(700_000));
        let (mut up_rest, mut down_rest) = (Octets::copy_of(&up), Octets::copy_of(&down));
        let (mut up_got, mut down_got) = (Vec::new(), Vec::new());
        chain.run_until(|chain| {
            let (client, Some(server)) = (chain.client, chain.server) else {
                return false;
            };
            let hosts = &mut chain.net.hosts;
            up_rest = hosts[0].write(client, up_rest.clone());
            if up_rest.is_empty() {
                hosts[0].close(client);
            }
            while let Some(octets) = hosts[2].read(server) {
                up_got.extend_from_slice(octets.as_slice());
            }
            // The server answers only when it has heard all: a half-closed flow.
            if hosts[2].is_finished(server) {
                down_rest = hosts[2].write(server, down_rest.clone());
                if down_rest.is_empty() {
                    hosts[2].close(server);
                }
            }
            while let Some(octets) = hosts[0].read(client) {
                down_got.extend_from_slice(octets.as_slice());
            }
            !chain.proxy.ended.is_empty()
        });
        assert!(up_got == up && down_got == down, "seed {seed}");
        let end = chain.proxy.ended[0];
        assert_eq!(
            (end.forth_octets, end.back_octets, end.broken),
            (300_000, 700_000, None)
        );
        let proxy = &chain.net.hosts[1];
        assert_eq!((proxy.len(), proxy.half_open()), (0, 0));
        assert_eq!(proxy.pool().free(), proxy.pool().total());
    }
}

/// What the client says before the server has answered waits at the proxy, and its FIN does.
#[test]
fn early_data_waits_for_the_onward_handshake() {
    let mut chain = Chain::new(Net::new(vec![Link::new(5), Link::new(100)], 1));
    chain.run_until(|chain| chain.net.hosts[0].is_established(chain.client));
    let up = stream(5_000);
    let left = chain.net.hosts[0].write(chain.client, Octets::copy_of(&up));
    assert!(left.is_empty());
    chain.net.hosts[0].close(chain.client);
    // The proxy has acknowledged all of it.
    chain.run_until(|chain| chain.net.hosts[0].state(chain.client) == Some(State::FinWait2));
    assert!(chain.proxy.connected.is_empty() && chain.server.is_none());
    let mut got = Vec::new();
    chain.run_until(|chain| {
        let Some(server) = chain.server else {
            return false;
        };
        while let Some(octets) = chain.net.hosts[2].read(server) {
            got.extend_from_slice(octets.as_slice());
        }
        chain.net.hosts[2].is_finished(server)
    });
    assert!(got == up);
}

#[test]
fn a_reset_passes_on() {
    let mut chain = Chain::new(Net::new(vec![Link::new(5), Link::new(5)], 1));
    chain.run_until(|chain| chain.is_connected());
    chain.run_until(|chain| chain.proxy.connected.len() == 1 && chain.proxy.accepted.len() == 1);
    let server = chain.server.expect("accepted");
    chain.net.hosts[2].abort(server);
    chain.run_until(|chain| chain.net.hosts[0].is_empty());
    let failed = |event: &Event| {
        matches!(
            event,
            Event::Failed {
                failure: Failure::Reset,
                ..
            }
        )
    };
    assert!(chain.client_events.iter().any(failed));
    let (id, failure) = chain.proxy.ended[0].broken.expect("broken");
    assert_eq!((id, failure), (chain.proxy.early[0].1, Failure::Reset));
}

#[test]
fn a_refusal_comes_back_as_a_reset() {
    let mut chain = Chain::new(Net::new(vec![Link::new(5), Link::new(5)], 1));
    chain.net.hosts[2].unlisten((address(2), 80).into());
    chain.run_until(|chain| chain.net.hosts[0].is_empty());
    assert_eq!(chain.proxy.failed, [Failure::Reset]);
    assert!(chain.net.hosts[1].is_empty());
}

#[test]
fn a_client_that_vanishes_leaves_nothing() {
    let mut chain = Chain::new(Net::new(vec![Link::new(5), Link::new(5)], 1));
    chain.run_until(|chain| !chain.proxy.early.is_empty());
    chain.net.links[0].loss = 1000;
    chain.run_until(|chain| chain.proxy.abandoned == 1);
    chain.run_until(|chain| chain.net.hosts[1].is_empty());
    assert_eq!(chain.net.hosts[1].half_open(), 0);
}

#[test]
fn a_reader_that_stalls_holds_the_sender_back_and_not_for_ever() {
    let mut chain = Chain::new(Net::new(vec![Link::new(5), Link::new(5)], 1));
    chain.run_until(|chain| chain.is_connected());
    let server = chain.server.expect("accepted");
    let down = stream(40_000_000);
    let mut rest = Octets::copy_of(&down);
    // Nobody reads at the client: the buffers on the way fill, and then nothing moves.
    let mut sent_at = chain.net.now;
    chain.run_until(|chain| {
        let before = rest.len();
        rest = chain.net.hosts[2].write(server, rest.clone());
        if rest.len() < before {
            sent_at = chain.net.now;
        }
        chain.net.now.since(sent_at) > Duration::from_secs(20)
    });
    assert!(rest.len() > 10_000_000, "{} of 40 MB left", rest.len());
    let proxy = &chain.net.hosts[1];
    assert!(proxy.pool().free() >= Config::default().reserve_pages);
    let mut got = Vec::new();
    chain.run_until(|chain| {
        rest = chain.net.hosts[2].write(server, rest.clone());
        while let Some(octets) = chain.net.hosts[0].read(chain.client) {
            got.extend_from_slice(octets.as_slice());
        }
        got.len() == down.len()
    });
    assert!(got == down);
}
