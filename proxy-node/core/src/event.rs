//! What goes into a node and what comes out of it.

use alloc::boxed::Box;
use core::net::SocketAddr;
use core::time::Duration;

use synhop_option::{Cookie, SynOption};

use crate::flow_table::FlowId;
use crate::report::{Outcome, Report};
use crate::syn::Syn;

/// What the shell tells the node. An accept has a method of its own, [`crate::Node::accepted`],
/// because it has an answer. Inputs for a flow that is over are counted and do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A SYN arrived and its SYN-ACK is on its way. May be lost, repeated, or come after the
    /// accept.
    Syn(Syn),
    /// The SYN asked for by [`Action::Connect`] is on its way. Telling it is optional: it makes
    /// the report's timings those of the shell, not of the node's decision alone.
    Connecting {
        /// For which flow.
        flow: FlowId,
    },
    /// The connection asked for by [`Action::Connect`] is established.
    Connected {
        /// For which flow.
        flow: FlowId,
        /// Whether the far end is a node.
        reply: Reply,
    },
    /// The connection asked for by [`Action::Connect`] is not to be; its socket is closed.
    ConnectFailed {
        /// For which flow.
        flow: FlowId,
        /// Why.
        cause: ConnectFailure,
    },
    /// The accepted upstream socket was reset before [`Action::StartRelay`]. Telling it is
    /// optional: without it the relay finds out.
    UpstreamReset {
        /// For which flow.
        flow: FlowId,
    },
    /// The relay is over, both sockets are closed (or reset, as the end says).
    RelayEnded {
        /// For which flow.
        flow: FlowId,
        /// How, and after how much.
        relayed: Relayed,
    },
    /// Time has passed: send it when [`crate::Node::next_deadline`] is reached. Sending it more
    /// often does no harm.
    Tick,
    /// Stop: refuse what is new, end what is pending, give the relays their grace. The second one
    /// ends the grace.
    Shutdown,
}

/// Whether the SYN-ACK of the downstream leg carried the reply (SPEC section 6.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It did: the next hop is a node.
    Understood {
        /// The cookie to use next time. Not kept yet: nodes send none (they send hops).
        cookie: Option<Cookie>,
    },
    /// The SYN carried the option, the SYN-ACK no reply.
    Silent,
    /// The SYN carried no option: the last leg.
    NotAsked,
}

/// Why a connection was not established.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectFailure {
    /// RST in answer to the SYN (`ECONNREFUSED`).
    Refused,
    /// No way there (`EHOSTUNREACH`, `ENETUNREACH`, ...).
    Unreachable,
    /// No answer (`ETIMEDOUT`).
    TimedOut,
    /// This machine could not try: no descriptor, no port, no mark. Reported as
    /// [`Outcome::Unreachable`]; the shell logs the error itself.
    Local,
}

/// What a relay did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relayed {
    /// How it ended.
    pub end: RelayEnd,
    /// Octets from client to server.
    pub up_octets: u64,
    /// Octets from server to client.
    pub down_octets: u64,
}

/// How a relay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayEnd {
    /// Both ends sent FIN and everything was delivered.
    Closed,
    /// The client's side reset the connection; the server's was reset in turn.
    ResetByClient,
    /// The server's side reset the connection; the client's was reset in turn.
    ResetByServer,
    /// Nothing moved for the idle timeout; both were reset.
    Idle,
    /// [`Action::StopRelay`] was obeyed; both were reset.
    Stopped,
}

/// What the shell is to do. After the last action for a flow, its report, the id means nothing
/// any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open the downstream leg; answer with [`Input::Connected`] or [`Input::ConnectFailed`].
    Connect {
        /// For which flow.
        flow: FlowId,
        /// Where to.
        to: SocketAddr,
        /// The option to put on the SYN; `None` on the last leg.
        option: Option<SynOption>,
    },
    /// Both legs are established: relay between them; answer with [`Input::RelayEnded`].
    StartRelay {
        /// For which flow.
        flow: FlowId,
        /// End the relay when nothing has moved for this long.
        idle_timeout: Duration,
    },
    /// Close the accepted upstream socket with RST.
    ResetUpstream {
        /// For which flow.
        flow: FlowId,
    },
    /// Give up the downstream connection, established or not: RST, no [`Input`] in answer.
    AbortDownstream {
        /// For which flow.
        flow: FlowId,
    },
    /// Reset both sides of a running relay; answer with [`Input::RelayEnded`] and
    /// [`RelayEnd::Stopped`].
    StopRelay {
        /// For which flow.
        flow: FlowId,
    },
    /// Log this: a flow is over, or a connection was refused. Exactly one for each flow.
    Report(Box<Report>),
}

/// What becomes of an accepted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its socket is the upstream leg of this flow. Note that before carrying out the actions of
    /// the same call: [`Action::StartRelay`] may be among them.
    Flow(FlowId),
    /// Close its socket with RST. The report is among the actions.
    Reject(Outcome),
}
