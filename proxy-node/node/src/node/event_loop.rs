//! The one loop: whatever happens next, SYNs first.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use synhop_sockets::{Attachment, SynEvents};
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};
use tracing::{error, info};

use super::acceptor::{Accepted, Acceptor};
use super::shell::{Message, Shell};
use super::socket_stock::SocketStock;
use crate::status::Ask;

/// SYN events in a row before everything else gets its turn.
const EVENTS_PER_TURN: usize = 256;
/// How long the loop sleeps when no deadline is set.
const NO_DEADLINE: Duration = Duration::from_hours(1);

pub(super) struct EventLoop {
    shell: Shell,
    events: AsyncFd<SynEvents>,
    /// `None` once the node stops.
    acceptor: Option<Acceptor>,
    messages: mpsc::UnboundedReceiver<Message>,
    asks: mpsc::Receiver<Ask>,
    stock: Rc<SocketStock>,
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl EventLoop {
    pub(super) fn new(
        shell: Shell,
        events: AsyncFd<SynEvents>,
        acceptor: Acceptor,
        messages: mpsc::UnboundedReceiver<Message>,
        asks: mpsc::Receiver<Ask>,
        stock: Rc<SocketStock>,
    ) -> io::Result<Self> {
        Ok(Self {
            shell,
            events,
            acceptor: Some(acceptor),
            messages,
            asks,
            stock,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Runs until a shutdown was asked for and no flow is left.
    pub(super) async fn run(mut self, attachment: &Attachment) {
        let tick = sleep_until(Instant::now() + NO_DEADLINE);
        tokio::pin!(tick);
        while !self.shell.is_drained() {
            let deadline = match self.shell.next_deadline() {
                Some(deadline) => Instant::from_std(deadline),
                None if tick.is_elapsed() => Instant::now() + NO_DEADLINE,
                None => tick.deadline(),
            };
            if deadline != tick.deadline() {
                tick.as_mut().reset(deadline);
            }
            // In this order: events before the accepts that they belong to, and accepts last,
            // because a flood of them never ends while the others do.
            tokio::select! {
                biased;
                guard = self.events.readable_mut() => match guard {
                    Ok(mut guard) => {
                        if drain(guard.get_inner_mut(), &mut self.shell) == Drained::Empty {
                            guard.clear_ready();
                        }
                    }
                    // Flows still come by accept(), late.
                    Err(error) => error!(%error, "no more SYN events"),
                },
                _ = self.terminate.recv() => self.stop(attachment),
                _ = self.interrupt.recv() => self.stop(attachment),
                _ = self.hang_up.recv() => {
                    info!("SIGHUP: the configuration is read at start only");
                }
                () = &mut tick => self.shell.tick(),
                Some(message) = self.messages.recv() => self.shell.message(message),
                Some(ask) = self.asks.recv() => {
                    // Who asked may have gone.
                    let _ = ask.send(self.shell.snapshot(self.events.get_ref().dropped()));
                }
                accepted = accept(&mut self.acceptor) => self.shell.accepted(accepted),
                // Once nothing else has happened at one more look at the sockets.
                () = yield_now(), if self.stock.is_low() => self.stock.refill(),
            }
        }
    }

    fn stop(&mut self, attachment: &Attachment) {
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.close(attachment);
            let flows = self.shell.flows();
            if flows > 0 {
                let grace_s = self.shell.shutdown_grace().as_secs_f32();
                info!(
                    flows,
                    grace_s, "stopping: flows may finish, a second signal ends them"
                );
            } else {
                info!("stopping");
            }
        } else {
            info!(
                flows = self.shell.flows(),
                "stopping at once: flows are reset"
            );
        }
        self.shell.shut_down();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drained {
    Empty,
    MoreMayWait,
}

fn drain(events: &mut SynEvents, shell: &mut Shell) -> Drained {
    for _turn in 0..EVENTS_PER_TURN {
        match events.next() {
            Some(event) => shell.syn(&event),
            None => return Drained::Empty,
        }
    }
    Drained::MoreMayWait
}

async fn accept(acceptor: &mut Option<Acceptor>) -> Accepted {
    match acceptor {
        Some(acceptor) => acceptor.next().await,
        None => std::future::pending().await,
    }
}
