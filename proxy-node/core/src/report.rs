//! What a node says about a flow when it ends: one report each.

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use crate::flow_table::FlowId;
use crate::leg::Leg;

/// How a flow ended, or why it never began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Both ends finished.
    Closed,
    /// The client's side reset an accepted flow.
    ResetByClient,
    /// The server's side reset an established flow.
    ResetByServer,
    /// The next hop answered the SYN with RST.
    Refused,
    /// The next hop cannot be reached, or the connection attempt failed on this machine.
    Unreachable,
    /// The next hop did not answer in time.
    ConnectTimeout,
    /// The next hop is to be a node and did not reply to the option (SPEC section 6.4): what is
    /// there would get somebody else's octets.
    NextHopSilent,
    /// The client never finished its handshake, or gave it up for another.
    ClientVanished,
    /// The SYN has no option, so there is no destination.
    NoOption,
    /// The option is there and has no legal form.
    MalformedOption,
    /// The source in the IP header may not use this node.
    SourceNotAllowed,
    /// Nobody may reach this destination through this node.
    DestinationNotAllowed,
    /// The destination is this node.
    DestinationIsSelf,
    /// The SYN has passed as many nodes as it may.
    HopsExhausted,
    /// The SYN has been here before.
    Loop,
    /// The options of the onward SYN leave no room for a form that counts hops.
    NoOptionRoom,
    /// As many flows are active as there may be.
    TableFull,
    /// Nothing was sent either way for too long.
    IdleTimeout,
    /// The node stops.
    Shutdown,
}

impl Outcome {
    /// Every outcome, in a fixed order.
    pub const ALL: [Self; 19] = [
        Self::Closed,
        Self::ResetByClient,
        Self::ResetByServer,
        Self::Refused,
        Self::Unreachable,
        Self::ConnectTimeout,
        Self::NextHopSilent,
        Self::ClientVanished,
        Self::NoOption,
        Self::MalformedOption,
        Self::SourceNotAllowed,
        Self::DestinationNotAllowed,
        Self::DestinationIsSelf,
        Self::HopsExhausted,
        Self::Loop,
        Self::NoOptionRoom,
        Self::TableFull,
        Self::IdleTimeout,
        Self::Shutdown,
    ];

    /// The reason code, as logs and metrics show it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::ResetByClient => "reset-by-client",
            Self::ResetByServer => "reset-by-server",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::ConnectTimeout => "connect-timeout",
            Self::NextHopSilent => "next-hop-silent",
            Self::ClientVanished => "client-vanished",
            Self::NoOption => "no-option",
            Self::MalformedOption => "malformed-option",
            Self::SourceNotAllowed => "source-not-allowed",
            Self::DestinationNotAllowed => "destination-not-allowed",
            Self::DestinationIsSelf => "destination-is-self",
            Self::HopsExhausted => "hops-exhausted",
            Self::Loop => "loop",
            Self::NoOptionRoom => "no-option-room",
            Self::TableFull => "table-full",
            Self::IdleTimeout => "idle-timeout",
            Self::Shutdown => "shutdown",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether the onward SYN left before or after the client's handshake was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// At the client's SYN.
    Early,
    /// When the client's handshake was complete.
    Late,
}

impl Mode {
    /// `early` or `late`, as logs show it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Early => "early",
            Self::Late => "late",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// When things happened to a flow, as differences of the times the shell supplied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// From the SYN's event to [`crate::Input::Connecting`] (to [`crate::Action::Connect`] when
    /// the shell does not tell); `None` when no event led to it.
    pub syn_to_connect: Option<Duration>,
    /// From there to the established downstream leg; `None` when it never was.
    pub downstream_handshake: Option<Duration>,
    /// From the SYN's event to the accepted upstream leg; `None` when no event led to the flow, or
    /// it was never accepted.
    pub upstream_handshake: Option<Duration>,
    /// From the first that was known of the flow to its end.
    pub duration: Duration,
}

/// One flow's end, or one refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The flow that ended; `None` for a connection that was refused before it became one.
    pub flow: Option<FlowId>,
    /// The upstream leg.
    pub leg: Leg,
    /// The source that the option claims: for logs, never for authorisation.
    pub claimed_source: Option<SocketAddr>,
    /// Where the flow was going; `None` without a legal option.
    pub destination: Option<SocketAddr>,
    /// Where the onward SYN went or would have gone; `None` when it never came so far.
    pub next: Option<SocketAddr>,
    /// Early or late; `None` when no onward SYN was sent.
    pub mode: Option<Mode>,
    /// How it ended.
    pub outcome: Outcome,
    /// When things happened.
    pub timings: Timings,
    /// Octets relayed from client to server.
    pub up_octets: u64,
    /// Octets relayed from server to client.
    pub down_octets: u64,
}
