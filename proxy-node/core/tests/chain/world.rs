//! A network without packets: handshakes of nodes, servers and clients, with delays, in one
//! process and by a fake clock.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use synhop_core::{
    Action, ConnectFailure, FlowId, Input, Node, RelayEnd, Relayed, Reply, Report, Syn, Time,
    Verdict,
};
use synhop_option::SynOption;

use crate::common::syn;

/// Whether nodes are told of SYNs before the accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Events {
    Delivered,
    Lost,
}

/// Whether clients send the last ACK of their handshakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clients {
    Finish,
    Vanish,
}

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Client,
    Node(usize, FlowId),
}

/// What is there at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Node(usize),
    /// Accepts everything and ignores options.
    Server,
    /// Answers with RST.
    Refusing,
    /// Does not answer.
    Absent,
}

/// What travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packet {
    Syn,
    SynAck,
    Ack,
    ResetToOrigin,
    ResetToHost,
}

/// One connection attempt, and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    origin: Origin,
    pub(crate) host: Host,
    pub(crate) syn: Syn,
    /// When the SYN left.
    pub(crate) sent_at: Time,
    /// When the far end had finished the handshake.
    pub(crate) accepted_at: Option<Time>,
    /// When the near end was reset.
    pub(crate) reset_at: Option<Time>,
    /// The node's flow at the far end.
    flow: Option<FlowId>,
    /// Given up at the near end.
    gone: bool,
}

/// A node with what its shell knows.
struct Machine {
    node: Node,
    address: SocketAddr,
    /// The connection of each flow onward.
    onward: BTreeMap<FlowId, usize>,
    /// The connection that each flow came by, once accepted.
    accepted: BTreeMap<FlowId, usize>,
    relaying: Vec<FlowId>,
}

pub(crate) struct World {
    pub(crate) now: Time,
    delay: Duration,
    events: Events,
    clients: Clients,
    machines: Vec<Machine>,
    hosts: BTreeMap<SocketAddr, Host>,
    pub(crate) connections: Vec<Connection>,
    /// In the order of arrival, then of sending.
    packets: BTreeMap<(Time, u64), (Packet, usize)>,
    sent: u64,
    pub(crate) reports: Vec<(usize, Report)>,
}

impl World {
    /// A world in which every packet travels for `delay`.
    pub(crate) fn new(delay: Duration, events: Events, clients: Clients) -> Self {
        Self {
            now: Time::ZERO,
            delay,
            events,
            clients,
            machines: Vec::new(),
            hosts: BTreeMap::new(),
            connections: Vec::new(),
            packets: BTreeMap::new(),
            sent: 0,
            reports: Vec::new(),
        }
    }

    pub(crate) fn add_node(&mut self, address: SocketAddr, node: Node) {
        self.hosts.insert(address, Host::Node(self.machines.len()));
        self.machines.push(Machine {
            node,
            address,
            onward: BTreeMap::new(),
            accepted: BTreeMap::new(),
            relaying: Vec::new(),
        });
    }

    pub(crate) fn add_host(&mut self, address: SocketAddr, host: Host) {
        self.hosts.insert(address, host);
    }

    pub(crate) fn node(&self, at: usize) -> &Node {
        &self.machines[at].node
    }

    /// A client connects. Returns the number of its connection.
    pub(crate) fn connect(&mut self, from: SocketAddr, to: SocketAddr, option: SynOption) -> usize {
        self.open(Origin::Client, from, to, Some(option))
    }

    /// Lets time pass until nothing is left to happen.
    pub(crate) fn run(&mut self) {
        for _ in 0..10_000 {
            let packet = self.packets.first_key_value().map(|((at, _), _)| *at);
            let deadline = self.deadline();
            let Some(next) = packet.into_iter().chain(deadline).min() else {
                return;
            };
            self.now = self.now.max(next);
            if packet == Some(next) {
                if let Some((_, (packet, connection))) = self.packets.pop_first() {
                    self.arrive(packet, connection);
                }
            } else {
                for at in 0..self.machines.len() {
                    self.input(at, Input::Tick);
                }
            }
        }
        panic!("this does not end");
    }

    /// Both ends of every relay finish.
    pub(crate) fn finish(&mut self) {
        for at in 0..self.machines.len() {
            for flow in self.machines[at].relaying.clone() {
                self.end_relay(at, flow, RelayEnd::Closed);
            }
        }
    }

    fn deadline(&self) -> Option<Time> {
        let deadlines = self.machines.iter().map(|m| m.node.next_deadline());
        deadlines.flatten().min()
    }

    fn open(
        &mut self,
        origin: Origin,
        from: SocketAddr,
        to: SocketAddr,
        option: Option<SynOption>,
    ) -> usize {
        let connection = self.connections.len();
        let isn = u32::try_from(connection).expect("few connections");
        self.connections.push(Connection {
            origin,
            host: self.hosts.get(&to).copied().unwrap_or(Host::Absent),
            syn: syn(from, to, isn, option),
            sent_at: self.now,
            accepted_at: None,
            reset_at: None,
            flow: None,
            gone: false,
        });
        self.send(Packet::Syn, connection);
        connection
    }

    fn send(&mut self, packet: Packet, connection: usize) {
        self.sent += 1;
        let arrival = (self.now.after(self.delay), self.sent);
        self.packets.insert(arrival, (packet, connection));
    }

    fn arrive(&mut self, packet: Packet, connection: usize) {
        match packet {
            Packet::Syn => self.on_syn(connection),
            Packet::SynAck => self.on_syn_ack(connection),
            Packet::Ack => self.on_ack(connection),
            Packet::ResetToOrigin => self.on_reset_at_origin(connection),
            Packet::ResetToHost => self.on_reset_at_host(connection),
        }
    }

    fn on_syn(&mut self, connection: usize) {
        match self.connections[connection].host {
            Host::Node(at) => {
                self.send(Packet::SynAck, connection);
                if self.events == Events::Delivered {
                    let syn = self.connections[connection].syn;
                    self.input(at, Input::Syn(syn));
                    // Retransmitted, or told twice: it makes no difference.
                    self.input(at, Input::Syn(syn));
                }
            }
            Host::Server => self.send(Packet::SynAck, connection),
            Host::Refusing => self.send(Packet::ResetToOrigin, connection),
            Host::Absent => {}
        }
    }

    fn on_syn_ack(&mut self, number: usize) {
        let connection = &self.connections[number];
        if connection.gone {
            return;
        }
        match connection.origin {
            Origin::Client if self.clients == Clients::Vanish => {}
            Origin::Client => self.send(Packet::Ack, number),
            Origin::Node(at, flow) => {
                let reply = match (connection.syn.option, connection.host) {
                    (Ok(None), _) => Reply::NotAsked,
                    (_, Host::Node(_)) => Reply::Understood { cookie: None },
                    (_, _) => Reply::Silent,
                };
                self.send(Packet::Ack, number);
                self.input(at, Input::Connected { flow, reply });
            }
        }
    }

    fn on_ack(&mut self, number: usize) {
        let connection = &mut self.connections[number];
        connection.accepted_at = Some(self.now);
        let (host, syn) = (connection.host, connection.syn);
        let Host::Node(at) = host else {
            return;
        };
        let mut actions = Vec::new();
        let machine = &mut self.machines[at];
        match machine
            .node
            .accepted(&syn, self.now, &mut |action| actions.push(action))
        {
            Verdict::Flow(flow) => {
                machine.accepted.insert(flow, number);
                self.connections[number].flow = Some(flow);
            }
            Verdict::Reject(_) => self.send(Packet::ResetToOrigin, number),
        }
        self.carry_out(at, actions);
    }

    fn on_reset_at_origin(&mut self, number: usize) {
        let connection = &mut self.connections[number];
        if connection.gone {
            return;
        }
        connection.reset_at = Some(self.now);
        connection.gone = true;
        if let Origin::Node(at, flow) = connection.origin {
            if self.machines[at].relaying.contains(&flow) {
                self.end_relay(at, flow, RelayEnd::ResetByServer);
            } else {
                let cause = ConnectFailure::Refused;
                self.input(at, Input::ConnectFailed { flow, cause });
            }
        }
    }

    fn on_reset_at_host(&mut self, number: usize) {
        let connection = &self.connections[number];
        if let (Host::Node(at), Some(flow)) = (connection.host, connection.flow) {
            if self.machines[at].relaying.contains(&flow) {
                self.end_relay(at, flow, RelayEnd::ResetByClient);
            } else {
                self.input(at, Input::UpstreamReset { flow });
            }
        }
    }

    /// What the relay of a real shell does at its end.
    fn end_relay(&mut self, at: usize, flow: FlowId, end: RelayEnd) {
        self.machines[at].relaying.retain(|other| *other != flow);
        match end {
            RelayEnd::Closed => {}
            RelayEnd::ResetByClient => self.abort_downstream(at, flow),
            RelayEnd::ResetByServer => self.reset_upstream(at, flow),
            RelayEnd::Idle | RelayEnd::Stopped => {
                self.abort_downstream(at, flow);
                self.reset_upstream(at, flow);
            }
        }
        let relayed = Relayed {
            end,
            up_octets: 10,
            down_octets: 20,
        };
        self.input(at, Input::RelayEnded { flow, relayed });
    }

    fn input(&mut self, at: usize, input: Input) {
        let mut actions = Vec::new();
        let sink = &mut |action| actions.push(action);
        self.machines[at].node.on(input, self.now, sink);
        self.carry_out(at, actions);
    }

    fn carry_out(&mut self, at: usize, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Connect { flow, to, option } => {
                    let port = 30_000 + u16::try_from(self.connections.len()).expect("few");
                    let from = SocketAddr::new(self.machines[at].address.ip(), port);
                    let connection = self.open(Origin::Node(at, flow), from, to, option);
                    self.machines[at].onward.insert(flow, connection);
                }
                Action::StartRelay { flow, .. } => self.machines[at].relaying.push(flow),
                Action::ResetUpstream { flow } => self.reset_upstream(at, flow),
                Action::AbortDownstream { flow } => self.abort_downstream(at, flow),
                Action::StopRelay { flow } => self.end_relay(at, flow, RelayEnd::Stopped),
                Action::Report(report) => self.reports.push((at, *report)),
            }
        }
    }

    fn reset_upstream(&mut self, at: usize, flow: FlowId) {
        let connection = self.machines[at].accepted[&flow];
        self.send(Packet::ResetToOrigin, connection);
    }

    fn abort_downstream(&mut self, at: usize, flow: FlowId) {
        let connection = self.machines[at].onward[&flow];
        self.connections[connection].gone = true;
        self.send(Packet::ResetToHost, connection);
    }
}
