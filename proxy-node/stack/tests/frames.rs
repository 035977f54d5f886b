//! A stack seen from the link: frames in, frames out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
    Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv4Packet, Ipv4Repr,
    Ipv6Packet, Ipv6Repr, TcpPacket,
};
use synhop_option::{Extra, Kind, SynOption, V4Destination};
use synhop_stack::{Checksum, Instant, Octets, Offload, Payload, Pool, Settings, Stack};

const US: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 2]);
const PEER: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);
const OUR_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const PEER_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// A stack and the time on its link.
struct Link {
    stack: Stack,
    now: Instant,
}

impl Link {
    fn new(more: &str) -> Self {
        let line = format!(
            "addr=10.0.0.2/24 addr=fd00::2/64 gw=10.0.0.1 allow-from=10.0.0.0/8 allow-to=any {more}"
        );
        let now = Instant::from_micros(1_000_000);
        let settings = Settings::parse(&line).expect("settings");
        let pool = Pool::new(64, 2048);
        let stack = Stack::new(settings, US.0, Offload::default(), pool, [9; 32], now);
        let mut this = Self {
            stack: stack.expect("a stack"),
            now,
        };
        let announcement = this.next().expect("a gratuitous ARP");
        assert_eq!(&announcement[..6], [0xff; 6]);
        this
    }

    fn give(&mut self, frame: &[u8]) {
        let payload = Payload::from(Octets::copy_of(frame));
        self.stack.receive(payload, Checksum::Unverified, self.now);
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        let frame = self.stack.poll_frame(self.now)?;
        Some([frame.head(), &frame.payload.to_vec()].concat())
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
        self.stack.tick(self.now);
    }
}

fn ethernet(to: EthernetAddress, protocol: EthernetProtocol, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 14];
    let mut header = EthernetFrame::new_unchecked(&mut frame[..]);
    header.set_src_addr(PEER);
    header.set_dst_addr(to);
    header.set_ethertype(protocol);
    frame.extend_from_slice(body);
    frame
}

fn ipv4(protocol: IpProtocol, body: &[u8]) -> Vec<u8> {
    let repr = Ipv4Repr {
        src_addr: PEER_IP,
        dst_addr: OUR_IP,
        next_header: protocol,
        payload_len: body.len(),
        hop_limit: 64,
    };
    let mut packet = vec![0; 20];
    repr.emit(
        &mut Ipv4Packet::new_unchecked(&mut packet[..]),
        &ChecksumCapabilities::default(),
    );
    packet.extend_from_slice(body);
    ethernet(US, EthernetProtocol::Ipv4, &packet)
}

fn arp(operation: ArpOperation, target: Ipv4Addr) -> Vec<u8> {
    let repr = ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr: PEER,
        source_protocol_addr: PEER_IP,
        target_hardware_addr: US,
        target_protocol_addr: target,
    };
    let mut body = vec![0; repr.buffer_len()];
    repr.emit(&mut ArpPacket::new_unchecked(&mut body[..]));
    ethernet(EthernetAddress::BROADCAST, EthernetProtocol::Arp, &body)
}

#[test]
fn questions_for_us_are_answered_and_others_not() {
    let mut link = Link::new("");
    link.give(&arp(ArpOperation::Request, Ipv4Addr::new(10, 0, 0, 3)));
    assert_eq!(link.next(), None);
    link.give(&arp(ArpOperation::Request, OUR_IP));
    let answer = link.next().expect("an answer");
    let frame = EthernetFrame::new_checked(&answer[..]).expect("a frame");
    assert_eq!((frame.src_addr(), frame.dst_addr()), (US, PEER));
    let repr = ArpRepr::parse(&ArpPacket::new_checked(frame.payload()).expect("ARP"));
    let Ok(ArpRepr::EthernetIpv4 {
        operation,
        source_hardware_addr,
        ..
    }) = repr
    else {
        panic!("{repr:?}");
    };
    assert_eq!((operation, source_hardware_addr), (ArpOperation::Reply, US));
}

#[test]
fn pings_are_answered() {
    let mut link = Link::new("");
    let echo = Icmpv4Repr::EchoRequest {
        ident: 7,
        seq_no: 9,
        data: b"are you there?",
    };
    let mut body = vec![0; echo.buffer_len()];
    let mut packet = Icmpv4Packet::new_unchecked(&mut body[..]);
    echo.emit(&mut packet, &ChecksumCapabilities::default());
    link.give(&arp(ArpOperation::Request, OUR_IP));
    link.next();
    link.give(&ipv4(IpProtocol::Icmp, &body));
    let answer = link.next().expect("an answer");
    let ip = Ipv4Packet::new_checked(&answer[14..]).expect("IPv4");
    assert!(ip.verify_checksum());
    let icmp = Icmpv4Packet::new_checked(ip.payload()).expect("ICMP");
    let repr = Icmpv4Repr::parse(&icmp, &ChecksumCapabilities::default());
    let expected = Icmpv4Repr::EchoReply {
        ident: 7,
        seq_no: 9,
        data: b"are you there?",
    };
    assert_eq!(repr, Ok(expected));
    // A flipped bit.
    let mut damaged = ipv4(IpProtocol::Icmp, &body);
    damaged[40] ^= 1;
    link.give(&damaged);
    assert_eq!(link.next(), None);
}

#[test]
fn ipv6_neighbours_find_us_and_ping() {
    let mut link = Link::new("");
    let peer = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
    let us = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
    let echo = Icmpv6Repr::EchoRequest {
        ident: 1,
        seq_no: 2,
        data: b"six",
    };
    let mut body = vec![0; echo.buffer_len()];
    let mut packet = Icmpv6Packet::new_unchecked(&mut body[..]);
    echo.emit(&peer, &us, &mut packet, &ChecksumCapabilities::default());
    let repr = Ipv6Repr {
        src_addr: peer,
        dst_addr: us,
        next_header: IpProtocol::Icmpv6,
        payload_len: body.len(),
        hop_limit: 64,
    };
    let mut ip = vec![0; 40];
    repr.emit(&mut Ipv6Packet::new_unchecked(&mut ip[..]));
    ip.extend_from_slice(&body);
    link.give(&ethernet(US, EthernetProtocol::Ipv6, &ip));
    // It asks for the way first: a solicitation to the group of the peer's address.
    let solicitation = link.next().expect("a question");
    assert_eq!(solicitation[..6], [0x33, 0x33, 0xff, 0, 0, 1]);
    let ip = Ipv6Packet::new_checked(&solicitation[14..]).expect("IPv6");
    assert_eq!((ip.hop_limit(), ip.src_addr()), (255, us));
    let icmp = Icmpv6Packet::new_checked(ip.payload()).expect("ICMPv6");
    assert!(icmp.verify_checksum(&ip.src_addr(), &ip.dst_addr()));
    assert_eq!(icmp.target_addr(), peer);
}

/// A SYN with the option, as octets of an Ethernet frame.
fn syn(destination: &str) -> Vec<u8> {
    let option = SynOption::V4 {
        source: "10.0.0.1:5555".parse().expect("an address"),
        destination: V4Destination::new(destination.parse().expect("one")).expect("legal"),
        extra: Extra::Nothing,
    };
    let mut octets = vec![0; 36];
    option
        .emit(Kind::default(), &mut octets[20..])
        .expect("fits");
    let mut tcp = TcpPacket::new_unchecked(&mut octets[..]);
    tcp.set_src_port(5555);
    tcp.set_dst_port(4460);
    tcp.set_syn(true);
    tcp.set_header_len(36);
    tcp.set_window_len(60_000);
    tcp.fill_checksum(&PEER_IP.into(), &OUR_IP.into());
    ipv4(IpProtocol::Tcp, &octets)
}

#[test]
fn a_trusted_syn_goes_onward_before_its_handshake_is_done() {
    let mut link = Link::new("trust=10.0.0.0/8 via=10.0.0.9:4460");
    link.give(&arp(ArpOperation::Request, OUR_IP));
    link.next();
    link.give(&syn("192.0.2.5:80"));
    // The onward SYN comes first, and waits for the way to the next node.
    let question = link.next().expect("a question");
    assert_eq!(question[..6], [0xff; 6]);
    // The SYN-ACK to the peer, with the reply.
    let syn_ack = link.next().expect("a SYN-ACK");
    let ip = Ipv4Packet::new_checked(&syn_ack[14..]).expect("IPv4");
    let tcp = TcpPacket::new_checked(ip.payload()).expect("TCP");
    assert!(tcp.verify_checksum(&OUR_IP.into(), &PEER_IP.into()));
    assert!(tcp.syn() && tcp.ack());
    let reply = [253, 4, 0xe5, 0xf4];
    assert!(
        tcp.options().windows(4).any(|four| four == reply),
        "{:?}",
        tcp.options()
    );
    assert_eq!(link.next(), None);
    let next_node = Ipv4Addr::new(10, 0, 0, 9);
    let answer = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Reply,
        source_hardware_addr: EthernetAddress([2, 0, 0, 0, 0, 9]),
        source_protocol_addr: next_node,
        target_hardware_addr: US,
        target_protocol_addr: OUR_IP,
    };
    let mut body = vec![0; answer.buffer_len()];
    answer.emit(&mut ArpPacket::new_unchecked(&mut body[..]));
    link.give(&ethernet(US, EthernetProtocol::Arp, &body));
    let onward = link.next().expect("the onward SYN");
    assert_eq!(onward[..6], [2, 0, 0, 0, 0, 9]);
    let ip = Ipv4Packet::new_checked(&onward[14..]).expect("IPv4");
    assert_eq!(IpAddr::from(ip.dst_addr()), IpAddr::from(next_node));
    let tcp = TcpPacket::new_checked(ip.payload()).expect("TCP");
    assert!(tcp.syn() && !tcp.ack() && tcp.dst_port() == 4460);
    // Node to node: the 4-tuple and the hops that are left (SPEC section 4).
    let wanted = [
        253, 18, 0xe5, 0xf4, 10, 0, 0, 1, 192, 0, 2, 5, 0x15, 0xb3, 0, 80,
    ];
    assert!(
        tcp.options().windows(16).any(|part| part == wanted),
        "{:?}",
        tcp.options()
    );
}

#[test]
fn an_unanswered_question_is_repeated_and_given_up() {
    let mut link = Link::new("trust=10.0.0.0/8 via=10.0.0.9:4460");
    link.give(&arp(ArpOperation::Request, OUR_IP));
    link.next();
    link.give(&syn("192.0.2.5:80"));
    let mut questions = 0;
    for _second in 0..60 {
        while let Some(frame) = link.next() {
            questions += usize::from(frame[..6] == [0xff; 6]);
        }
        link.wait(1);
    }
    // Five for each SYN that is sent anew, at most.
    assert!((5..=30).contains(&questions), "{questions}");
    let lines: Vec<_> = std::iter::from_fn(|| link.stack.next_line()).collect();
    assert!(
        lines
            .iter()
            .any(|line| line.contains("outcome=client-vanished")),
        "{lines:?}"
    );
}

#[test]
fn noise_is_ignored() {
    let mut link = Link::new("trust=10.0.0.0/8");
    let mut seed = 1_u64;
    for _ in 0..100_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut frame = match seed >> 61 {
            0 | 1 => syn("192.0.2.5:80"),
            2 => arp(ArpOperation::Request, OUR_IP),
            3 => ipv4(IpProtocol::Icmp, &[8; 40]),
            4 => ethernet(US, EthernetProtocol::Ipv6, &[0x60; 60]),
            _ => ethernet(US, EthernetProtocol::Ipv4, &[0x45; 60]),
        };
        for shift in [0, 16, 32] {
            let at = usize::from((seed >> shift).to_le_bytes()[1]) % frame.len();
            frame[at] ^= (seed >> shift).to_le_bytes()[0];
        }
        let len = frame.len() - usize::from(seed.to_le_bytes()[5]) % frame.len();
        link.give(&frame[..len]);
        while link.next().is_some() {}
        while link.stack.next_line().is_some() {}
    }
    assert!(link.stack.counters().ignored > 10_000);
}
