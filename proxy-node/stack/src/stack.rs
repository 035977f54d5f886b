//! The facade: one host with one interface.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::string::String;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetProtocol, IpProtocol,
};
use synhop_core::Config;
use synhop_engine::{Engine, Instant, Payload, Pool};

use crate::frame::{Checksum, Frame, Offload};
use crate::icmp::{self, Icmp};
use crate::inbound::{self, Inbound, Packet};
use crate::links::Links;
use crate::neighbours::{Found, Neighbours};
use crate::node::Shell;
use crate::outbound;
use crate::settings::{Settings, SettingsError};

/// See the crate. After each input the shell sends what [`poll_frame`](Self::poll_frame) gives.
#[derive(Debug)]
pub struct Stack {
    mac: EthernetAddress,
    links: Rc<Links>,
    port: u16,
    offload: Offload,
    neighbours: Neighbours,
    engine: Engine,
    shell: Shell,
    /// Frames that are no segments, or waited for a neighbour.
    out: VecDeque<Frame>,
    counters: Counters,
}

/// Totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames taken.
    pub received: u64,
    /// Frames given.
    pub sent: u64,
    /// Frames not for us, malformed, or of a kind unknown to us.
    pub ignored: u64,
    /// Segments whose checksum was wrong.
    pub corrupt: u64,
    /// Packets with no way there.
    pub unroutable: u64,
}

impl Stack {
    /// A host without flows, or what the core has against its settings. `seed` must be
    /// unpredictable.
    pub fn new(
        settings: Settings,
        mac: [u8; 6],
        offload: Offload,
        pool: Pool,
        seed: [u8; 32],
        now: Instant,
    ) -> Result<Self, SettingsError> {
        let core = Config::new(settings.core)?;
        let links = Rc::new(Links::new(settings.addresses, settings.gateways));
        let flows = core.limits().flows as usize;
        let mss = u32::from(settings.mtu.saturating_sub(60)).max(1);
        let config = synhop_engine::Config {
            mtu: settings.mtu,
            connections: 2 * flows,
            half_open: flows,
            time_wait: 2 * flows,
            burst_segments: (offload.frame_octets_most.saturating_sub(120) / mss).max(1),
            reserve_pages: (pool.total() / 16).clamp(8, 256),
            ..synhop_engine::Config::default()
        };
        let mut engine = Engine::new(config, pool, seed, now);
        for address in links.addresses() {
            engine.listen(SocketAddr::new(address, settings.port));
        }
        let mut stack = Self {
            mac: EthernetAddress(mac),
            shell: Shell::new(core, Rc::clone(&links)),
            links,
            port: settings.port,
            offload,
            neighbours: Neighbours::default(),
            engine,
            out: VecDeque::new(),
            counters: Counters::default(),
        };
        stack.announce();
        Ok(stack)
    }

    /// A frame has come, in pages of the pool.
    pub fn receive(&mut self, frame: Payload, checksum: Checksum, now: Instant) {
        self.counters.received += 1;
        match inbound::read(frame, self.mac, checksum) {
            Some(Inbound::Arp(packet)) => self.on_arp(&packet, now),
            Some(Inbound::Ip(packet)) => self.on_packet(packet, now),
            None => self.counters.ignored += 1,
        }
        self.shell.run(&mut self.engine, now);
    }

    /// The next frame to send.
    pub fn poll_frame(&mut self, now: Instant) -> Option<Frame> {
        loop {
            let frame = if let Some(frame) = self.out.pop_front() {
                frame
            } else {
                let Some(transmit) = self.engine.poll_transmit(now) else {
                    // Retired connections may have had something to say.
                    self.shell.run(&mut self.engine, now);
                    return None;
                };
                let to = transmit.destination.ip();
                let frame = outbound::tcp(transmit, self.offload);
                match self.route(frame, to, now) {
                    Some(frame) => frame,
                    None => continue,
                }
            };
            self.counters.sent += 1;
            return Some(frame);
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Instant) {
        self.engine.tick(now);
        self.shell.run(&mut self.engine, now);
        self.shell.tick(&mut self.engine, now);
        if self.neighbours.next_deadline().is_some_and(|at| at <= now) {
            for ip in self.neighbours.tick(now) {
                self.ask(ip);
            }
        }
    }

    /// When [`tick`](Self::tick) is to be called; it may be called sooner.
    pub fn next_deadline(&self) -> Option<Instant> {
        let all = [
            self.engine.next_deadline(),
            self.shell.next_deadline(),
            self.neighbours.next_deadline(),
        ];
        all.into_iter().flatten().min()
    }

    /// The next line for the log.
    pub fn next_line(&mut self) -> Option<String> {
        self.shell.next_line()
    }

    /// Refuses new flows and gives those that are there their grace; the second time it ends it.
    pub fn stop(&mut self, now: Instant) {
        for address in self.links.addresses() {
            self.engine.unlisten(SocketAddr::new(address, self.port));
        }
        self.shell.stop(&mut self.engine, now);
    }

    /// Whether it was told to stop and no flow is left.
    pub fn is_stopped(&self) -> bool {
        self.shell.is_stopped()
    }

    /// The pages that frames are received into.
    pub fn pool(&self) -> &Pool {
        self.engine.pool()
    }

    /// The totals of the lower layers.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The totals of TCP.
    pub const fn engine_counters(&self) -> &synhop_engine::Counters {
        self.engine.counters()
    }

    /// The node's decisions and totals.
    pub fn node(&self) -> &synhop_core::Node {
        self.shell.core()
    }

    fn on_packet(&mut self, packet: Packet, now: Instant) {
        let ours = self.links.owns(packet.destination);
        match packet.protocol {
            IpProtocol::Tcp if ours => {
                if packet.is_intact() {
                    self.engine
                        .receive(packet.source, packet.destination, packet.payload, now);
                } else {
                    self.counters.corrupt += 1;
                }
            }
            IpProtocol::Icmp if ours => self.on_icmp(&packet, icmp::read_v4(&packet), now),
            // Questions for an address come by multicast.
            IpProtocol::Icmpv6 => {
                let read = icmp::read_v6(&packet, self.mac, &self.links);
                self.on_icmp(&packet, read, now);
            }
            _ => self.counters.ignored += 1,
        }
    }

    fn on_icmp(&mut self, packet: &Packet, icmp: Icmp, now: Instant) {
        match icmp {
            Icmp::Nothing => self.counters.ignored += 1,
            Icmp::Answer(body) => {
                let (from, to) = (packet.destination, packet.source);
                let frame = outbound::packet(from, to, packet.protocol, &body, 64);
                self.send(frame, to, now);
            }
            Icmp::Here { body, target } => {
                self.release(packet.source, packet.mac, now);
                let to = packet.source;
                let frame = outbound::packet(target.into(), to, packet.protocol, &body, 255);
                self.push(frame, packet.mac);
            }
            Icmp::There(ip, mac) => self.release(ip.into(), mac, now),
            Icmp::Error(error, quoted) => self.engine.icmp(error, &quoted),
        }
    }

    fn on_arp(&mut self, packet: &Payload, now: Instant) {
        let octets = packet.to_vec();
        let parsed = ArpPacket::new_checked(&octets[..]);
        let Ok(ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr,
            source_protocol_addr,
            target_protocol_addr,
            ..
        }) = parsed.and_then(|packet| ArpRepr::parse(&packet))
        else {
            self.counters.ignored += 1;
            return;
        };
        let source: IpAddr = source_protocol_addr.into();
        let target: IpAddr = target_protocol_addr.into();
        if !self.links.owns(target) || source_protocol_addr.is_unspecified() {
            return;
        }
        self.release(source, source_hardware_addr, now);
        if operation == ArpOperation::Request {
            let reply = ArpRepr::EthernetIpv4 {
                operation: ArpOperation::Reply,
                source_hardware_addr: self.mac,
                source_protocol_addr: target_protocol_addr,
                target_hardware_addr: source_hardware_addr,
                target_protocol_addr: source_protocol_addr,
            };
            self.push(arp(&reply), source_hardware_addr);
        }
    }

    /// Sends what waited for a neighbour.
    fn release(&mut self, ip: IpAddr, mac: EthernetAddress, now: Instant) {
        for frame in self.neighbours.learn(ip, mac, now) {
            self.push(frame, mac);
        }
    }

    /// Addresses a frame, or keeps it until its neighbour is known.
    fn route(&mut self, mut frame: Frame, to: IpAddr, now: Instant) -> Option<Frame> {
        let Some(next) = self.links.next_hop(to) else {
            self.counters.unroutable += 1;
            return None;
        };
        match self.neighbours.find(next, &frame, now) {
            Found::At(mac) => {
                outbound::address(&mut frame, self.mac, mac);
                Some(frame)
            }
            Found::Ask => {
                self.ask(next);
                None
            }
            Found::Waits => None,
        }
    }

    fn send(&mut self, frame: Frame, to: IpAddr, now: Instant) {
        if let Some(frame) = self.route(frame, to, now)
            && self.out.len() < MAX_OUT
        {
            self.out.push_back(frame);
        }
    }

    fn push(&mut self, mut frame: Frame, to: EthernetAddress) {
        outbound::address(&mut frame, self.mac, to);
        if self.out.len() < MAX_OUT {
            self.out.push_back(frame);
        }
    }

    /// Asks the link where an address is.
    fn ask(&mut self, ip: IpAddr) {
        match ip {
            IpAddr::V4(target) => {
                if let Some(source) = self.links.own_v4() {
                    self.push(self.arp_request(source, target), EthernetAddress::BROADCAST);
                }
            }
            IpAddr::V6(target) => {
                let Some(source) = self.links.own_v6() else {
                    return;
                };
                let group = icmp::solicited_node(target);
                let body = icmp::solicitation(source, target, self.mac);
                let frame =
                    outbound::packet(source.into(), group.into(), IpProtocol::Icmpv6, &body, 255);
                self.push(frame, icmp::multicast_mac(group));
            }
        }
    }

    /// Tells the link that we are here (RFC 5227 section 3): switches and neighbours learn.
    fn announce(&mut self) {
        if let Some(own) = self.links.own_v4() {
            self.push(self.arp_request(own, own), EthernetAddress::BROADCAST);
        }
    }

    fn arp_request(&self, source: Ipv4Addr, target: Ipv4Addr) -> Frame {
        arp(&ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Request,
            source_hardware_addr: self.mac,
            source_protocol_addr: source,
            target_hardware_addr: EthernetAddress([0; 6]),
            target_protocol_addr: target,
        })
    }
}

fn arp(repr: &ArpRepr) -> Frame {
    let mut body = alloc::vec![0; repr.buffer_len()];
    repr.emit(&mut ArpPacket::new_unchecked(&mut body[..]));
    outbound::other(EthernetProtocol::Arp, &body)
}

/// Answers to floods of questions beyond that are not given.
const MAX_OUT: usize = 1024;
