//! What comes from outside: noise, forgeries, floods. Nothing panics, nothing is believed, nothing
//! grows without bound.

#![expect(
    clippy::cast_possible_truncation,
    reason = "dice are thrown for all sizes"
)]

use std::time::Duration;

use crate::net::{Link, Net, address, stream};
use synhop_engine::{Config, ConnId, Engine, Event, Instant, Octets, Payload, Pool, State};

/// Splitmix64.
struct Dice(u64);

impl Dice {
    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> usize {
        usize::try_from(self.throw() % limit).expect("small")
    }
}

fn segment(source: u16, destination: u16, seq: u32, ack: u32, flags: u8, data: &[u8]) -> Vec<u8> {
    let mut octets = vec![0; 20];
    octets[0..2].copy_from_slice(&source.to_be_bytes());
    octets[2..4].copy_from_slice(&destination.to_be_bytes());
    octets[4..8].copy_from_slice(&seq.to_be_bytes());
    octets[8..12].copy_from_slice(&ack.to_be_bytes());
    octets[12] = 5 << 4;
    octets[13] = flags;
    octets[14..16].copy_from_slice(&4096_u16.to_be_bytes());
    octets.extend_from_slice(data);
    octets
}

fn give(engine: &mut Engine, octets: &[u8], now: Instant) {
    let payload = Payload::from(Octets::copy_of(octets));
    engine.receive(address(7), address(0), payload, now);
}

/// The header of the next segment that the engine sends: seq, ack, flags, all of it.
fn next(engine: &mut Engine, now: Instant) -> Option<(u32, u32, u8, Vec<u8>)> {
    let header = engine.poll_transmit(now)?.header;
    let octets = header.as_slice().to_vec();
    let word = |at: usize| u32::from_be_bytes(octets[at..at + 4].try_into().expect("4 octets"));
    Some((word(4), word(8), octets[13], octets))
}

/// One million segments, from noise to nearly right, in one engine with connections in many states.
#[test]
fn a_million_forged_segments_do_nothing_bad() {
    let config = Config {
        connections: 64,
        half_open: 32,
        time_wait: 32,
        ..Config::default()
    };
    let pool = Pool::new(128, 2048);
    let mut now = Instant::from_micros(1_000_000);
    let mut engine = Engine::new(config, pool, [3; 32], now);
    engine.listen((address(0), 80).into());
    let mut dice = Dice(1);
    // Numbers that were right at some time, to be used again.
    let mut seen: Vec<(u16, u32, u32)> = vec![(1000, 0, 0)];
    for number in 0..1_000_000_u32 {
        now = now + Duration::from_micros(dice.throw() % 20_000);
        let known = seen[dice.below(seen.len() as u64)];
        let port = if dice.below(3) == 0 {
            1000 + (dice.throw() % 80) as u16
        } else {
            known.0
        };
        let near = |dice: &mut Dice, base: u32| {
            base.wrapping_add(dice.throw() as u32 % 4000)
                .wrapping_sub(1000)
        };
        let (seq, ack) = match dice.below(4) {
            0 => (dice.throw() as u32, dice.throw() as u32),
            1 => (near(&mut dice, known.2), near(&mut dice, known.1)),
            _ => (known.2, known.1),
        };
        let flags = [0x02, 0x10, 0x18, 0x11, 0x04, 0x14, 0x12, 0x00, 0x3f][dice.below(9)];
        let data = vec![number.to_le_bytes()[0]; dice.below(1400)];
        let mut octets = segment(port, 80, seq, ack, flags, &data);
        if dice.below(2) == 0 {
            let words = dice.below(11);
            let options: Vec<u8> = (0..words * 4)
                .map(|_| [0, 1, 2, 3, 4, 5, 8, 10, 253, 0xe5, 0xf4, 16][dice.below(12)])
                .collect();
            octets.splice(20..20, options);
            octets[12] = (5 + words as u8) << 4;
        }
        if dice.below(20) == 0 {
            let at = dice.below(octets.len() as u64);
            octets[at] ^= dice.throw() as u8;
            octets.truncate(dice.below(octets.len() as u64 + 1));
        }
        // Through a page of the pool, as a driver does, so that leaks show.
        if let Some(mut page) = engine.pool().take() {
            page.octets_mut()[..octets.len()].copy_from_slice(&octets);
            let payload = Payload::from(page.freeze(0..octets.len()));
            engine.receive(address(7), address(0), payload, now);
        }
        while let Some((seq, ack, flags, header)) = next(&mut engine, now) {
            if flags & 0x10 != 0 && flags & 0x04 == 0 && seen.len() < 200 {
                let port = u16::from_be_bytes([header[2], header[3]]);
                seen.push((port, seq.wrapping_add(u32::from(flags & 2 != 0)), ack));
            }
        }
        while let Some(event) = engine.next_event() {
            if let Event::Accepted { connection, .. } = event {
                match dice.below(3) {
                    0 => engine.close(connection),
                    1 => drop(engine.write(connection, Octets::copy_of(&[7; 3000]))),
                    _ => {}
                }
            }
        }
        engine.tick(now);
        assert!(engine.len() <= 64 && engine.half_open() <= 32);
        if seen.len() > 150 {
            seen.drain(1..100);
        }
    }
    // Left alone, everything ends, and every page goes home.
    for _minute in 0..100_000 {
        while engine.poll_transmit(now).is_some() {}
        while engine.next_event().is_some() {}
        let Some(at) = engine.next_deadline() else {
            break;
        };
        now = now.max(at);
        engine.tick(now);
    }
    assert_eq!(engine.half_open(), 0);
}

/// A server with one connection established from port 1000, and its next numbers.
fn established(now: Instant) -> (Engine, ConnId, u32, u32) {
    let mut engine = Engine::new(Config::default(), Pool::new(64, 2048), [5; 32], now);
    engine.listen((address(0), 80).into());
    give(&mut engine, &segment(1000, 80, 99, 0, 0x02, &[]), now);
    let (iss, ack, flags, _) = next(&mut engine, now).expect("a SYN-ACK");
    assert_eq!((ack, flags), (100, 0x12));
    give(
        &mut engine,
        &segment(1000, 80, 100, iss + 1, 0x10, &[]),
        now,
    );
    let accepted = std::iter::from_fn(|| engine.next_event()).find_map(|event| match event {
        Event::Accepted { connection, .. } => Some(connection),
        _ => None,
    });
    while next(&mut engine, now).is_some() {}
    (
        engine,
        accepted.expect("accepted"),
        100,
        iss.wrapping_add(1),
    )
}

#[test]
fn only_the_exact_reset_is_believed() {
    let now = Instant::from_micros(5_000_000);
    let (mut engine, id, rcv, snd) = established(now);
    // RFC 5961 section 3.2: in the window, and not its left edge.
    give(
        &mut engine,
        &segment(1000, 80, rcv + 1, snd, 0x14, &[]),
        now,
    );
    assert_eq!(engine.state(id), Some(State::Established));
    let (seq, ack, flags, _) = next(&mut engine, now).expect("a challenge");
    assert_eq!((seq, ack, flags), (snd, rcv, 0x10));
    // Outside of it.
    give(
        &mut engine,
        &segment(1000, 80, rcv - 1, snd, 0x14, &[]),
        now,
    );
    assert!(next(&mut engine, now).is_none());
    assert_eq!(engine.state(id), Some(State::Established));
    give(&mut engine, &segment(1000, 80, rcv, snd, 0x14, &[]), now);
    assert_eq!(engine.state(id), None);
}

#[test]
fn a_syn_in_a_connection_is_challenged_and_that_rarely() {
    let now = Instant::from_micros(5_000_000);
    let (mut engine, id, rcv, snd) = established(now);
    let mut answers = 0;
    for _ in 0..100 {
        give(&mut engine, &segment(1000, 80, rcv + 5, 0, 0x02, &[]), now);
        while let Some((seq, ack, flags, _)) = next(&mut engine, now) {
            assert_eq!((seq, ack, flags), (snd, rcv, 0x10));
            answers += 1;
        }
    }
    assert_eq!((answers, engine.state(id)), (1, Some(State::Established)));
}

#[test]
fn an_ack_of_the_future_or_the_distant_past_brings_no_data() {
    let now = Instant::from_micros(5_000_000);
    let (mut engine, id, rcv, snd) = established(now);
    for ack in [snd.wrapping_add(1), snd.wrapping_sub(1_000_000)] {
        give(
            &mut engine,
            &segment(1000, 80, rcv, ack, 0x18, b"forged"),
            now,
        );
        assert!(engine.read(id).is_none());
    }
    give(
        &mut engine,
        &segment(1000, 80, rcv, snd, 0x18, b"right"),
        now,
    );
    assert_eq!(engine.read(id).expect("octets").as_slice(), b"right");
}

#[test]
fn strangers_are_reset() {
    let now = Instant::from_micros(5_000_000);
    let mut engine = Engine::new(Config::default(), Pool::new(8, 2048), [5; 32], now);
    // RFC 9293 section 3.10.7.1.
    give(&mut engine, &segment(1000, 81, 50, 77, 0x10, b"abc"), now);
    assert_eq!(
        next(&mut engine, now).map(|it| (it.0, it.1, it.2)),
        Some((77, 0, 0x04))
    );
    give(&mut engine, &segment(1000, 81, 50, 0, 0x02, &[]), now);
    assert_eq!(
        next(&mut engine, now).map(|it| (it.0, it.1, it.2)),
        Some((0, 51, 0x14))
    );
    give(&mut engine, &segment(1000, 81, 50, 0, 0x04, &[]), now);
    assert!(next(&mut engine, now).is_none());
}

#[test]
fn a_flood_of_syns_is_bounded_and_passes() {
    let mut now = Instant::from_micros(5_000_000);
    let config = Config {
        half_open: 100,
        ..Config::default()
    };
    let mut engine = Engine::new(config, Pool::new(8, 2048), [5; 32], now);
    engine.listen((address(0), 80).into());
    for port in 1..=5000 {
        give(&mut engine, &segment(port, 80, 99, 0, 0x02, &[]), now);
        while next(&mut engine, now).is_some() {}
        while engine.next_event().is_some() {}
    }
    assert_eq!(
        (engine.half_open(), engine.counters().syns_dropped),
        (100, 4900)
    );
    while let Some(at) = engine.next_deadline() {
        now = now.max(at);
        engine.tick(now);
        while next(&mut engine, now).is_some() {}
        while engine.next_event().is_some() {}
    }
    assert_eq!(engine.half_open(), 0);
}

/// Many transfers at once through a pool that cannot hold their windows.
#[test]
fn a_small_pool_slows_down_and_never_stops() {
    let config = Config {
        connections: 256,
        ..Config::default()
    };
    let link = Link {
        loss: 10,
        ..Link::new(5)
    };
    let mut net = Net::with(vec![link], 4, 512, &config);
    net.hosts[1].listen((address(1), 80).into());
    let body = Octets::copy_of(&stream(100_000));
    let now = net.now;
    let mut clients: Vec<(ConnId, Octets)> = (0..100)
        .map(|_| {
            let to = (address(1), 80).into();
            let id = net.hosts[0]
                .connect(address(0), to, None, now)
                .expect("room");
            (id, body.clone())
        })
        .collect();
    let mut servers: Vec<(ConnId, Vec<u8>)> = Vec::new();
    let until = now + Duration::from_mins(20);
    loop {
        let more = net.step(until, &mut |_, host, event| match (host, event) {
            (1, Event::Accepted { connection, .. }) => servers.push((connection, Vec::new())),
            (host, Event::Failed { failure, .. }) => panic!("{failure:?} at {host}"),
            _ => {}
        });
        for (id, rest) in &mut clients {
            if net.hosts[0].is_established(*id) {
                *rest = net.hosts[0].write(*id, rest.clone());
                if rest.is_empty() {
                    net.hosts[0].close(*id);
                }
            }
        }
        for (id, got) in &mut servers {
            while let Some(octets) = net.hosts[1].read(*id) {
                got.extend_from_slice(octets.as_slice());
            }
            if net.hosts[1].is_finished(*id) {
                net.hosts[1].close(*id);
            }
        }
        let done = servers
            .iter()
            .filter(|(_, got)| got.len() == 100_000)
            .count();
        if done == 100 {
            break;
        }
        assert!(more, "{done} of 100 done, then nothing more happens");
    }
    assert!(servers.iter().all(|(_, got)| got == body.as_slice()));
}
