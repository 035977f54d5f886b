//! The running node: from settings to the event loop and back.

mod acceptor;
mod connect;
mod event_loop;
mod shell;
mod socket_stock;

use std::rc::Rc;

use anyhow::{Context, bail};
use synhop_core::Node;
use synhop_sockets::{Attachment, Config};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::config::{SendBuffer, Settings};
use crate::machine::{self, Machine};
use crate::relay::PipePool;
use crate::{status, sys};
use acceptor::Acceptor;
use event_loop::EventLoop;
use shell::Shell;
use socket_stock::SocketStock;

/// Tasks between two looks at the sockets: low, so that a SYN does not wait behind many relays.
const EVENT_INTERVAL: u32 = 8;

/// Runs a node until it is told to stop.
pub fn run(settings: &Settings) -> anyhow::Result<()> {
    let missing = machine::missing_prerequisites();
    if !missing.is_empty() {
        bail!("{}", missing.join("\n"));
    }
    let machine = Machine::survey(settings.limits.pipes).context("looking at this machine")?;
    let core = Node::new(settings.core(&machine)?);
    let runtime = Builder::new_current_thread()
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .build_local(LocalOptions::default())
        .context("starting the runtime")?;
    runtime.block_on(serve(settings, &machine, core))
}

async fn serve(settings: &Settings, machine: &Machine, core: Node) -> anyhow::Result<()> {
    let attachment = Rc::new(Attachment::new(Config {
        kind: settings.kind,
        ..Config::default()
    })?);
    let events = attachment.events().context("no stream of SYN events")?;
    let events = sys::watch(events).context("watching SYN events")?;
    let send_buffer = send_buffer_octets(settings.send_buffer);
    let stock = SocketStock::new(machine.spare_sockets, send_buffer);
    stock.fill();
    let backlog = settings.limits.backlog;
    let spares = Rc::clone(&stock);
    let acceptor = Acceptor::listen(settings.listen, backlog, send_buffer, spares, &attachment)
        .with_context(|| format!("listening on {}", settings.listen))?;
    let asks = serve_status(settings);
    let limits = *core.config().limits();
    let pool = PipePool::new(machine.pipes);
    let (shell, messages) = Shell::new(core, Rc::clone(&attachment), pool, Rc::clone(&stock));
    let event_loop = EventLoop::new(shell, events, acceptor, messages, asks, stock)
        .context("waiting for signals")?;
    info!(
        address = %settings.listen,
        max_flows = limits.flows,
        pipes = machine.pipes,
        send_buffer_octets = send_buffer,
        "listening"
    );
    event_loop.run(&attachment).await;
    info!("stopped");
    Ok(())
}

/// The send buffer in octets of payload; `None` leaves it to the kernel.
fn send_buffer_octets(setting: SendBuffer) -> Option<u32> {
    match setting {
        SendBuffer::Octets(octets) => Some(octets.get()),
        SendBuffer::Auto => match machine::twice_the_receive_window() {
            Ok(octets) => Some(octets),
            Err(error) => {
                warn!(%error, "the receive window is not known; the kernel sizes send buffers");
                None
            }
        },
    }
}

/// Starts the status page, if one is wanted; gives the end at which questions arrive.
fn serve_status(settings: &Settings) -> mpsc::Receiver<status::Ask> {
    let (ask, asks) = mpsc::channel(status::QUESTIONS);
    if let Some(address) = settings.status {
        tokio::task::spawn_local(async move {
            if let Err(error) = status::serve(address, ask).await {
                warn!(%error, %address, "no status page; flows are not affected");
            }
        });
    }
    asks
}
