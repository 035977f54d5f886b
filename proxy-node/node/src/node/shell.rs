//! Carries out what the core decides. No decision about a flow is made here.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use socket2::SockRef;
use synhop_core::{
    Action, ConnectFailure, FlowId, Input, Isn, Leg, Node, RelayEnd, Relayed, Syn, Time, Verdict,
};
use synhop_option::SynOption;
use synhop_sockets::{Attachment, SynEvent};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, spawn_local};
use tracing::error;

use super::acceptor::Accepted;
use super::connect;
use super::socket_stock::SocketStock;
use crate::logging::FlowLog;
use crate::relay::{self, PipePool, Relay, Side, abort};
use crate::status::Snapshot;

/// What a flow's task tells when it is done. At most one per flow waits at any time, so the
/// number of flows bounds the channel.
#[derive(Debug)]
pub(super) enum Message {
    /// The SYN was answered, or is not going to be.
    Connected(FlowId, io::Result<()>),
    /// The relay is over and its sockets are closed.
    Relayed(FlowId, Relayed),
}

/// The sockets of one flow.
#[derive(Debug, Default)]
struct Flow {
    upstream: Option<TcpStream>,
    downstream: Downstream,
}

/// ```text
///  None --Connect--> Connecting --answer--> Established --StartRelay--> Relaying
/// ```
#[derive(Debug, Default)]
enum Downstream {
    #[default]
    None,
    /// The task waits for the answer; both hold the socket.
    Connecting {
        socket: Rc<TcpStream>,
        option: Option<SynOption>,
        task: AbortHandle,
    },
    Established(TcpStream),
    /// The relay's task has both sockets.
    Relaying {
        #[expect(dead_code, reason = "dropping it stops the relay")]
        stop: oneshot::Sender<()>,
    },
}

pub(super) struct Shell {
    core: Node,
    origin: Instant,
    attachment: Rc<Attachment>,
    flows: HashMap<FlowId, Flow>,
    /// What the core asked for and is not done yet; empty between two calls.
    actions: VecDeque<Action>,
    messages: mpsc::UnboundedSender<Message>,
    pool: Rc<PipePool>,
    stock: Rc<SocketStock>,
    log: FlowLog,
}

impl Shell {
    pub(super) fn new(
        core: Node,
        attachment: Rc<Attachment>,
        pool: Rc<PipePool>,
        stock: Rc<SocketStock>,
    ) -> (Self, mpsc::UnboundedReceiver<Message>) {
        let (messages, inbox) = mpsc::unbounded_channel();
        let origin = Instant::now();
        let shell = Self {
            core,
            origin,
            attachment,
            flows: HashMap::new(),
            actions: VecDeque::new(),
            messages,
            pool,
            stock,
            log: FlowLog::new(origin),
        };
        (shell, inbox)
    }

    /// A SYN has arrived: connects onward before it returns, if the core says so.
    pub(super) fn syn(&mut self, event: &SynEvent) {
        self.input(Input::Syn(syn(event)));
    }

    /// A client's handshake is complete.
    pub(super) fn accepted(&mut self, Accepted { stream, peer }: Accepted) {
        let Some(syn) = self.saved_syn(&stream, peer) else {
            return abort(stream);
        };
        let now = self.now();
        let actions = &mut self.actions;
        let verdict = self
            .core
            .accepted(&syn, now, &mut |action| actions.push_back(action));
        match verdict {
            Verdict::Flow(flow) => self.flows.entry(flow).or_default().upstream = Some(stream),
            Verdict::Reject(_outcome) => abort(stream),
        }
        self.perform_all();
    }

    pub(super) fn message(&mut self, message: Message) {
        match message {
            Message::Connected(flow, result) => self.connected(flow, result),
            Message::Relayed(flow, relayed) => self.input(Input::RelayEnded { flow, relayed }),
        }
    }

    pub(super) fn tick(&mut self) {
        self.input(Input::Tick);
        self.log.flush(Instant::now());
    }

    pub(super) fn shut_down(&mut self) {
        self.input(Input::Shutdown);
    }

    pub(super) fn is_drained(&self) -> bool {
        self.core.is_drained()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let deadline = self.core.next_deadline()?;
        self.origin
            .checked_add(Duration::from_micros(deadline.as_micros()))
    }

    pub(super) fn shutdown_grace(&self) -> Duration {
        self.core.config().timeouts().shutdown_grace
    }

    pub(super) fn flows(&self) -> usize {
        self.core.flows()
    }

    pub(super) fn snapshot(&self, dropped_events: u64) -> Snapshot {
        let counters = self.core.counters();
        let outcomes = counters.outcomes();
        Snapshot {
            flows: self.core.flows(),
            pending: self.core.pending(),
            opened_total: counters.opened(),
            opened_early_total: counters.opened_early,
            dropped_events,
            pipes: self.pool.lent(),
            spare_sockets: self.stock.len(),
            outcomes: outcomes
                .map(|(outcome, count)| (outcome.as_str(), count))
                .collect(),
        }
    }

    fn now(&self) -> Time {
        let micros = self.origin.elapsed().as_micros();
        Time::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    fn input(&mut self, input: Input) {
        self.tell(input);
        self.perform_all();
    }

    fn tell(&mut self, input: Input) {
        let now = self.now();
        let actions = &mut self.actions;
        self.core
            .on(input, now, &mut |action| actions.push_back(action));
    }

    fn perform_all(&mut self) {
        while let Some(action) = self.actions.pop_front() {
            self.perform(action);
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Connect { flow, to, option } => self.connect(flow, to, option),
            Action::StartRelay { flow, idle_timeout } => self.start_relay(flow, idle_timeout),
            Action::ResetUpstream { flow } => {
                let flow = self.flows.get_mut(&flow);
                if let Some(stream) = flow.and_then(|flow| flow.upstream.take()) {
                    abort(stream);
                }
            }
            Action::AbortDownstream { flow } => {
                if let Some(flow) = self.flows.get_mut(&flow) {
                    std::mem::take(&mut flow.downstream).abort();
                }
            }
            Action::StopRelay { flow } => {
                if let Some(flow) = self.flows.get_mut(&flow) {
                    // Dropping the sender stops the relay.
                    flow.downstream = Downstream::None;
                }
            }
            Action::Report(report) => {
                if let Some(flow) = report.flow.and_then(|flow| self.flows.remove(&flow)) {
                    flow.downstream.abort();
                }
                self.log.report(&report, Instant::now());
            }
        }
    }

    fn connect(&mut self, flow: FlowId, to: SocketAddr, option: Option<SynOption>) {
        match connect::start(to, option.as_ref(), &self.stock, &self.attachment) {
            Ok(stream) => {
                self.tell(Input::Connecting { flow });
                let socket = Rc::new(stream);
                let waiting = Rc::clone(&socket);
                let messages = self.messages.clone();
                let task = spawn_local(async move {
                    let result = connect::established(&waiting).await;
                    drop(waiting);
                    // Nobody listens any more when the node has stopped.
                    let _ = messages.send(Message::Connected(flow, result));
                });
                self.flows.entry(flow).or_default().downstream = Downstream::Connecting {
                    socket,
                    option,
                    task: task.abort_handle(),
                };
            }
            Err(error) => {
                let cause = error.cause();
                if cause == ConnectFailure::Local {
                    self.complain(to, &error);
                }
                self.tell(Input::ConnectFailed { flow, cause });
            }
        }
    }

    fn connected(&mut self, id: FlowId, result: io::Result<()>) {
        let Some(flow) = self.flows.get_mut(&id) else {
            // It ended while this message was on its way.
            return;
        };
        let (socket, option) = match std::mem::take(&mut flow.downstream) {
            Downstream::Connecting { socket, option, .. } => (socket, option),
            other @ (Downstream::None
            | Downstream::Established(_)
            | Downstream::Relaying { .. }) => {
                flow.downstream = other;
                return;
            }
        };
        let Some(stream) = Rc::into_inner(socket) else {
            // The task has dropped its half before it sent the message.
            return self.connect_failed(id, ConnectFailure::Local);
        };
        let reply = match result {
            Ok(()) => connect::reply(&stream, option.as_ref(), &self.attachment),
            Err(error) => return self.connect_failed(id, connect::failure(&error)),
        };
        match reply {
            Ok(Some(reply)) => {
                flow.downstream = Downstream::Established(stream);
                self.input(Input::Connected { flow: id, reply });
            }
            Ok(None) => {
                let peer = stream.peer_addr();
                abort(stream);
                if self.log.may_complain(Instant::now()) {
                    error!(
                        ?peer,
                        "the SYN went out without its option: the sockops program has no effect \
                         on this leg, so the flow is given up. Is the program still attached, and \
                         does the SYN have room for the option?"
                    );
                }
                self.connect_failed(id, ConnectFailure::Local);
            }
            Err(error) => {
                abort(stream);
                if self.log.may_complain(Instant::now()) {
                    error!(%error, "what became of a mark cannot be read");
                }
                self.connect_failed(id, ConnectFailure::Local);
            }
        }
    }

    fn connect_failed(&mut self, flow: FlowId, cause: ConnectFailure) {
        self.input(Input::ConnectFailed { flow, cause });
    }

    fn start_relay(&mut self, id: FlowId, idle_timeout: Duration) {
        let (stop, stopped) = oneshot::channel();
        let legs = self.flows.get_mut(&id).map(|flow| flow.legs(stop));
        let (client, server) = match legs.unwrap_or(Err(RelayEnd::ResetByClient)) {
            Ok(legs) => legs,
            // Without a leg there is no flow: the other one was reset.
            Err(end) => {
                let relayed = Relayed {
                    end,
                    up_octets: 0,
                    down_octets: 0,
                };
                self.tell(Input::RelayEnded { flow: id, relayed });
                return;
            }
        };
        let relay = Relay::new(client, server, Rc::clone(&self.pool), idle_timeout);
        let messages = self.messages.clone();
        spawn_local(async move {
            let relayed = run_relay(relay, stopped).await;
            // Nobody listens any more when the node has stopped.
            let _ = messages.send(Message::Relayed(id, relayed));
        });
    }

    /// The SYN saved with an accepted socket; `None` when not even its own address can be read,
    /// which getsockname(2) does for any socket.
    fn saved_syn(&self, stream: &TcpStream, peer: SocketAddr) -> Option<Syn> {
        match self.attachment.saved_syn(stream) {
            Ok(Some(event)) => Some(syn(&event)),
            // The kernel kept none: from what it knows, the flow has no option. The peer is the one
            // that accept() named: a socket that was reset meanwhile has none any more.
            Ok(None) | Err(_) => Some(Syn {
                leg: Leg::new(peer, stream.local_addr().ok()?),
                isn: Isn(0),
                option: Ok(None),
            }),
        }
    }

    fn complain(&mut self, to: SocketAddr, error: &connect::ConnectError) {
        if self.log.may_complain(Instant::now()) {
            error!(%to, %error, "this machine cannot connect onward");
        }
    }
}

impl Flow {
    /// Gives both legs to a relay that `stop` stops; otherwise which of them is missing.
    fn legs(&mut self, stop: oneshot::Sender<()>) -> Result<(TcpStream, TcpStream), RelayEnd> {
        let downstream = std::mem::replace(&mut self.downstream, Downstream::Relaying { stop });
        let Some(client) = self.upstream.take() else {
            downstream.abort();
            return Err(RelayEnd::ResetByClient);
        };
        match downstream {
            Downstream::Established(server) => Ok((client, server)),
            Downstream::None | Downstream::Connecting { .. } | Downstream::Relaying { .. } => {
                abort(client);
                downstream.abort();
                Err(RelayEnd::ResetByServer)
            }
        }
    }
}

impl Downstream {
    fn abort(self) {
        match self {
            Self::None | Self::Relaying { .. } => {}
            Self::Connecting { socket, task, .. } => {
                // The task drops its half when the runtime gets to it; whoever is last closes.
                let _ = SockRef::from(&*socket).set_linger(Some(Duration::ZERO));
                task.abort();
            }
            Self::Established(stream) => abort(stream),
        }
    }
}

async fn run_relay(mut relay: Relay, stopped: oneshot::Receiver<()>) -> Relayed {
    let end = tokio::select! {
        end = relay.run() => end,
        _ = stopped => relay::RelayEnd::Cut,
    };
    let relayed = Relayed {
        end: match end {
            relay::RelayEnd::Closed => RelayEnd::Closed,
            relay::RelayEnd::Reset(Side::Client) => RelayEnd::ResetByClient,
            relay::RelayEnd::Reset(Side::Server) => RelayEnd::ResetByServer,
            relay::RelayEnd::Idle => RelayEnd::Idle,
            relay::RelayEnd::Cut => RelayEnd::Stopped,
        },
        up_octets: relay.up_octets(),
        down_octets: relay.down_octets(),
    };
    relay.close(end);
    relayed
}

fn syn(event: &SynEvent) -> Syn {
    Syn {
        leg: Leg::new(event.client, event.local),
        isn: Isn(event.isn),
        option: event.option,
    }
}
