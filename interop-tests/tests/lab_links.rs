//! What the emulated links do, seen on real traffic in captures.

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use synhop_lab::capture::Direction;
use synhop_lab::{
    Capture, CurlSpec, End, Heading, Interface, Lab, LinkSpec, Packet, Plan, Queue, Segment,
    TransferSpec, Via, skip_without_root, wait_until,
};

#[test]
fn direct_fetch_takes_two_round_trips() {
    if skip_without_root("direct_fetch_takes_two_round_trips") {
        return;
    }
    let rate = LinkSpec::new(Duration::ZERO, Some(100_000_000));
    let lab = Lab::builder()
        .nodes(3)
        .link(rate)
        .rtt_ms(100)
        .build()
        .unwrap();
    let nginx = lab.start_nginx(&[10_000]).unwrap();
    let mut first_bytes_us = Vec::new();
    for _ in 0..9 {
        let spec = CurlSpec {
            expect_octets: Some(10_000),
            ..CurlSpec::new(nginx.url(10_000), Via::Direct)
        };
        let outcome = lab.curl(&spec).unwrap();
        assert!(outcome.is_success(), "{outcome:?}");
        assert!(outcome.connect_us >= 100_000, "{outcome:?}");
        assert!(outcome.first_byte_us >= 200_000, "{outcome:?}");
        first_bytes_us.push(outcome.first_byte_us);
    }
    first_bytes_us.sort_unstable();
    println!("TTFB in us: {first_bytes_us:?}");
    report(&lab);
    // Not three round trips, however busy the machine is.
    assert!(first_bytes_us[4] < 290_000, "{first_bytes_us:?}");
}

#[test]
fn the_handshake_in_the_capture_takes_the_delay() {
    if skip_without_root("the_handshake_in_the_capture_takes_the_delay") {
        return;
    }
    let lab = Lab::builder().nodes(2).rtt_ms(30).build().unwrap();
    let capture = lab.capture().unwrap();
    handshake(&lab);
    let entry = Interface {
        link: 0,
        end: End::Left,
    };
    let sent = |packet: &&Packet| packet.interface == entry && is_syn(packet);
    let answered = |packet: &&Packet| {
        packet.interface == entry && packet.tcp.as_ref().is_some_and(Segment::is_syn_ack)
    };
    let (syn_ns, syn_ack_ns) = capture
        .wait_for("SYN and SYN-ACK at the client", BOUND, |packets| {
            let time = |packet: &Packet| packet.timestamp_ns;
            packets
                .iter()
                .find(sent)
                .map(time)
                .zip(packets.iter().find(answered).map(time))
        })
        .unwrap();
    let rtt_us = (syn_ack_ns - syn_ns) / 1000;
    println!("handshake over 30 ms took {rtt_us} us");
    // Above: how busy the machine is. Below: never.
    assert!((30_000..150_000).contains(&rtt_us), "{rtt_us}");
    // Each of three links is seen at both ends.
    let syns: Vec<_> = capture.packets().into_iter().filter(is_syn).collect();
    assert_eq!(syns.len(), 6, "{syns:?}");
    for pair in syns.chunks(2) {
        assert_eq!(
            (pair[0].direction, pair[1].direction),
            (Direction::Sent, Direction::Received)
        );
        assert_eq!(pair[0].interface.link, pair[1].interface.link);
        assert!(pair[1].timestamp_ns - pair[0].timestamp_ns >= 5_000_000);
    }
    assert_eq!(capture.cut(), 0);
}

#[test]
fn a_pcap_file_holds_what_was_captured() {
    if skip_without_root("a_pcap_file_holds_what_was_captured") {
        return;
    }
    let lab = Lab::builder().nodes(0).build().unwrap();
    let capture = lab.capture().unwrap();
    handshake(&lab);
    let path = lab.directory().join("all.pcap");
    capture
        .wait_for("a SYN", BOUND, |packets| {
            packets.iter().find_map(|p| p.tcp.clone())
        })
        .unwrap();
    capture.write_pcap(&path, None).unwrap();
    let octets = std::fs::read(&path).unwrap();
    assert_eq!(octets[..4], 0xa1b2_3c4d_u32.to_le_bytes());
    let first = capture.packets().remove(0);
    assert_eq!(octets[40..40 + first.octets.len()], first.octets);
}

#[test]
fn loss_keeps_to_its_probability_and_reordering_happens() {
    if skip_without_root("loss_keeps_to_its_probability_and_reordering_happens") {
        return;
    }
    let spec = LinkSpec {
        loss: 0.1,
        reorder: 0.05,
        duplicate: 0.05,
        seed: 3,
        ..LinkSpec::new(Duration::from_millis(1), None)
    };
    let lab = Lab::builder().nodes(0).link(spec).build().unwrap();
    let capture = lab.capture().unwrap();
    let received = send_numbers(&lab, &capture, 5_000);
    let stats = &lab.link_stats()[0].to_server;
    let lost = 5_000 - count_distinct(&received);
    println!(
        "{} of 5000 received, {lost} lost; {stats:?}",
        received.len()
    );
    assert!((400..600).contains(&lost), "{lost}");
    assert_eq!(stats.lost, lost as u64);
    assert_eq!(stats.failed, 0);
    assert!(received.len() > count_distinct(&received), "no duplicates");
    assert!(
        received.windows(2).any(|pair| pair[1] < pair[0]),
        "no reordering"
    );
}

#[test]
fn the_rate_is_kept_and_the_queue_drops_its_tail() {
    if skip_without_root("the_rate_is_kept_and_the_queue_drops_its_tail") {
        return;
    }
    let spec = LinkSpec {
        queue: Queue::Packets(100),
        ..LinkSpec::new(Duration::from_millis(1), Some(8_000_000))
    };
    let lab = Lab::builder().nodes(0).link(spec).build().unwrap();
    let capture = lab.capture().unwrap();
    let received = send_numbers(&lab, &capture, 1_000);
    let arrivals = came_out(&capture);
    let span_ns = arrivals.last().unwrap().timestamp_ns - arrivals[0].timestamp_ns;
    // The first frame's own time on the link lies before its arrival.
    let octets: usize = arrivals[1..].iter().map(|packet| packet.original_len).sum();
    let rate = octets as u64 * 8 * 1_000_000_000 / span_ns;
    let stats = &lab.link_stats()[0].to_server;
    println!(
        "{} of 1000 received at {rate} bit/s; {stats:?}",
        received.len()
    );
    assert!(stats.queue_dropped > 0);
    assert_eq!(stats.queue_dropped + received.len() as u64, 1_000);
    // Lateness of the first or last frame changes the figure a little.
    assert!((5_000_000..10_000_000).contains(&rate), "{rate}");
}

#[test]
fn a_middlebox_drops_the_first_syn_and_tcp_sends_another() {
    if skip_without_root("a_middlebox_drops_the_first_syn_and_tcp_sends_another") {
        return;
    }
    let lab = Lab::builder().nodes(0).build().unwrap();
    let capture = lab.capture().unwrap();
    let mut first = true;
    let drop_first_syn = Box::new(move |frame: &mut Vec<u8>| {
        let is_syn = Packet::tcp_of(frame).is_some_and(|tcp| tcp.is_syn());
        if is_syn && std::mem::take(&mut first) {
            synhop_lab::link::Verdict::Drop
        } else {
            synhop_lab::link::Verdict::Pass
        }
    });
    lab.set_middlebox(0, Heading::ToServer, Some(drop_first_syn))
        .unwrap();
    handshake(&lab);
    let entry = Interface {
        link: 0,
        end: End::Left,
    };
    let syns = capture.packets().into_iter().filter(|packet| {
        packet.interface == entry && is_syn(packet) && packet.direction == Direction::Sent
    });
    assert_eq!(syns.count(), 2);
    assert_eq!(lab.link_stats()[0].to_server.middlebox_dropped, 1);
}

#[test]
fn a_transfer_survives_loss_and_reordering_both_ways() {
    if skip_without_root("a_transfer_survives_loss_and_reordering_both_ways") {
        return;
    }
    let spec = LinkSpec {
        loss: 0.005,
        reorder: 0.01,
        corrupt: 0.002,
        duplicate: 0.002,
        reorder_delay: Duration::from_millis(2),
        ..LinkSpec::new(Duration::from_millis(1), Some(100_000_000))
    };
    let lab = Lab::builder().nodes(1).link(spec).build().unwrap();
    let peer = lab.start_peer().unwrap();
    let spec = TransferSpec {
        plan: Plan {
            send: MB,
            receive: MB,
            ..Plan::default()
        },
        via: Via::Direct,
        bound: 4 * BOUND,
    };
    let transfer = lab.transfer(&peer, &spec).unwrap();
    println!("{transfer:?}");
    report(&lab);
    assert!(transfer.received_intact && transfer.sent_intact);
    assert!(lab.total_stats().corrupted > 0);
}

#[test]
fn bulk_over_four_links_is_carried_whole() {
    if skip_without_root("bulk_over_four_links_is_carried_whole") {
        return;
    }
    for rate in [Some(100_000_000), None] {
        let link = LinkSpec {
            queue: Queue::Packets(4_000),
            ..LinkSpec::new(Duration::ZERO, rate)
        };
        let lab = Lab::builder()
            .nodes(3)
            .link(link)
            .rtt_ms(20)
            .build()
            .unwrap();
        let peer = lab.start_peer().unwrap();
        let spec = TransferSpec {
            plan: Plan {
                receive: 2 * MB,
                ..Plan::default()
            },
            via: Via::Direct,
            bound: 4 * BOUND,
        };
        let transfer = lab.transfer(&peer, &spec).unwrap();
        assert!(transfer.received_intact);
        let mbit = transfer.received_octets * 8 / transfer.duration_us;
        let cpu = lab.emulator_cpu_time().unwrap();
        println!(
            "{rate:?} bit/s: {mbit} Mbit/s in {} us, cpu {cpu:?}",
            transfer.duration_us
        );
        report(&lab);
        assert_eq!(lab.total_stats().failed, 0);
    }
}

/// Connects from client to server once.
fn handshake(lab: &Lab) {
    let address = SocketAddr::from((lab.server_address(), 7000));
    let listener = lab
        .server()
        .enter(|| TcpListener::bind(address))
        .unwrap()
        .unwrap();
    let connect = || TcpStream::connect_timeout(&address, BOUND);
    let stream = lab.client().enter(connect).unwrap().unwrap();
    drop(listener.accept().unwrap());
    drop(stream);
}

/// Sends numbered datagrams of 1000 octets from client to server; returns the
/// numbers that came out of the link, in the order in which they did. They are
/// taken from the capture: a busy machine's socket may overflow.
fn send_numbers(lab: &Lab, capture: &Capture, count: u32) -> Vec<u32> {
    let address = SocketAddr::from((lab.server_address(), 7000));
    let socket = lab
        .server()
        .enter(|| UdpSocket::bind(address))
        .unwrap()
        .unwrap();
    let sender = lab
        .client()
        .enter(|| UdpSocket::bind("0.0.0.0:0"))
        .unwrap()
        .unwrap();
    for number in 0..count {
        let mut datagram = [0; 1000];
        datagram[..4].copy_from_slice(&number.to_be_bytes());
        sender.send_to(&datagram, address).unwrap();
        // Spreads the load of the test itself: nothing waits for it.
        if number % 50 == 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    wait_until("every datagram's fate", BOUND, || {
        let stats = lab.link_stats().remove(0).to_server;
        let decided = stats.forwarded + stats.lost + stats.queue_dropped;
        (decided == u64::from(count) + stats.duplicated).then_some(())
    })
    .unwrap();
    drop(socket);
    let received = came_out(capture).into_iter();
    received
        .map(|p| u32::from_be_bytes(p.octets[42..46].try_into().unwrap()))
        .collect()
}

/// What came out of link 0 at the server's side.
fn came_out(capture: &Capture) -> Vec<Packet> {
    let exit = Interface {
        link: 0,
        end: End::Right,
    };
    let is_out = |p: &Packet| p.interface == exit && p.direction == Direction::Received;
    capture.packets().into_iter().filter(is_out).collect()
}

fn count_distinct(numbers: &[u32]) -> usize {
    numbers
        .iter()
        .collect::<std::collections::BTreeSet<_>>()
        .len()
}

fn is_syn(packet: &Packet) -> bool {
    packet.tcp.as_ref().is_some_and(Segment::is_syn)
}

fn report(lab: &Lab) {
    println!("{:?}: {:?}", lab.emulator_priority(), lab.total_stats());
}

const BOUND: Duration = Duration::from_secs(30);
const MB: u64 = 5_000_000;
