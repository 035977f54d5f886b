//! One connection over loopback that shows that the programs have an effect, not only a place.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use synhop_option::{Extra, SynOption, V4Destination};

use crate::attachment::Attachment;
use crate::event::{SynEvent, SynEvents};
use crate::listen::ListenError;
use crate::mark::{MarkError, Progress, SourceFill};
use crate::sys;

/// What the self-test missed. Each message ends with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    /// No connection over 127.0.0.1.
    #[error("127.0.0.1 cannot be reached ({0}): bring loopback up (ip link set lo up)")]
    LoopbackDown(io::Error),
    /// The programs did not see the caller's sockets.
    #[error(
        "the programs do not see this process's sockets: the caller is not below the cgroup attached to, \
         or another program holds the header callbacks (bpftool cgroup tree)"
    )]
    NotEffective,
    /// Nothing came back in time.
    #[error(
        "no SYN-ACK came over 127.0.0.1: bring loopback up (ip link set lo up); is there a firewall \
         on it?"
    )]
    NoSynAck,
    /// The SYN-ACK had no reply.
    #[error(
        "the SYN-ACK carried no reply: a firewall on loopback strips the option, or the kernel \
         always sends SYN cookies (sysctl net.ipv4.tcp_syncookies = 2)"
    )]
    NoReply,
    /// The SYN did not show up in the events or at `accept()`.
    #[error("the SYN was not seen by {0}; please report this with the kernel's release")]
    Unseen(&'static str),
    /// The SYN was seen and said something else than what was sent.
    #[error(
        "{seen:?} was seen instead of {expected}; please report this with the kernel's release"
    )]
    Disagrees {
        /// What came in.
        seen: Box<SynEvent>,
        /// What should have.
        expected: &'static str,
    },
    /// The kernel refused a step.
    #[error("{step}: {source}")]
    Io {
        /// What was being done.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// Marking failed.
    #[error(transparent)]
    Mark(#[from] MarkError),
    /// Listening failed.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

/// Runs the test; it leaves no socket, registration or event behind.
pub(crate) fn run(
    attachment: &Attachment,
    events: &mut SynEvents,
    timeout: Duration,
) -> Result<(), SelfTestError> {
    let listener = bind()?;
    match attachment.listen(&listener, 1) {
        Err(ListenError::NotEffective) => return Err(SelfTestError::NotEffective),
        result => result?,
    }
    let result = connect_and_compare(attachment, events, &listener, Instant::now() + timeout);
    attachment.unlisten(&listener)?;
    result
}

/// Only ever named in the option: TEST-NET-1 (RFC 5737), the discard port.
const DESTINATION: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 9);

fn bind() -> Result<Socket, SelfTestError> {
    let listener =
        Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).map_err(io_at("socket"))?;
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    listener
        .bind(&any_port.into())
        .map_err(SelfTestError::LoopbackDown)?;
    listener
        .set_nonblocking(true)
        .map_err(io_at("O_NONBLOCK"))?;
    Ok(listener)
}

fn connect_and_compare(
    attachment: &Attachment,
    events: &mut SynEvents,
    listener: &Socket,
    deadline: Instant,
) -> Result<(), SelfTestError> {
    let client = connect(attachment, listener, deadline)?;
    match attachment
        .mark_state(&client)
        .map_err(io_at("mark"))?
        .map(|state| state.progress)
    {
        Some(Progress::Understood { .. }) => {}
        Some(Progress::SynSent) => return Err(SelfTestError::NoSynAck),
        Some(Progress::Silent) => return Err(SelfTestError::NoReply),
        Some(Progress::Marked) | None => return Err(SelfTestError::NotEffective),
    }
    let address = client
        .local_addr()
        .map_err(io_at("getsockname"))?
        .as_socket();
    let event = await_event(events, address, deadline)?;
    let destination = event
        .option
        .ok()
        .flatten()
        .map(|option| (option.destination(0), option.claimed_source()));
    if destination != Some((DESTINATION.into(), address)) {
        return Err(SelfTestError::Disagrees {
            seen: Box::new(event),
            expected: "the marked flow",
        });
    }
    compare_saved(attachment, listener, event, deadline)
}

/// A marked connection to `listener`. It is reset when dropped: no TIME-WAIT stays.
fn connect(
    attachment: &Attachment,
    listener: &Socket,
    deadline: Instant,
) -> Result<Socket, SelfTestError> {
    let address: SockAddr = listener.local_addr().map_err(io_at("getsockname"))?;
    let client =
        Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).map_err(io_at("socket"))?;
    client.set_nonblocking(true).map_err(io_at("O_NONBLOCK"))?;
    client
        .set_linger(Some(Duration::ZERO))
        .map_err(io_at("SO_LINGER"))?;
    attachment.mark(&client, &option()?, SourceFill::FromSocket)?;
    match client.connect(&address) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(SelfTestError::LoopbackDown(error)),
    }
    let client_fd = client.as_fd();
    if !wait_for(client_fd, libc::POLLOUT, deadline).map_err(io_at("poll"))? {
        tracing::debug!("the self-test connection is not established in time");
    }
    Ok(client)
}

fn option() -> Result<SynOption, SelfTestError> {
    let destination = V4Destination::new(DESTINATION)
        .map_err(|error| io_at("option")(io::Error::other(error)))?;
    Ok(SynOption::V4 {
        source: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
        destination,
        extra: Extra::Nothing,
    })
}

fn await_event(
    events: &mut SynEvents,
    client: Option<SocketAddr>,
    deadline: Instant,
) -> Result<SynEvent, SelfTestError> {
    loop {
        while let Some(event) = events.next() {
            if Some(event.client) == client {
                return Ok(event);
            }
        }
        let events_fd = events.as_fd();
        if !wait_for(events_fd, libc::POLLIN, deadline).map_err(io_at("poll"))? {
            return Err(SelfTestError::Unseen("the event stream"));
        }
    }
}

/// `accept()` gives the same SYN as the event did.
fn compare_saved(
    attachment: &Attachment,
    listener: &Socket,
    event: SynEvent,
    deadline: Instant,
) -> Result<(), SelfTestError> {
    let listener_fd = listener.as_fd();
    if !wait_for(listener_fd, libc::POLLIN, deadline).map_err(io_at("poll"))? {
        return Err(SelfTestError::Unseen("accept()"));
    }
    let (accepted, _) = listener.accept().map_err(io_at("accept"))?;
    match attachment
        .saved_syn(&accepted)
        .map_err(io_at("TCP_SAVED_SYN"))?
    {
        Some(saved) if saved == event => Ok(()),
        Some(saved) => Err(SelfTestError::Disagrees {
            seen: Box::new(saved),
            expected: "the SYN of the event",
        }),
        None => Err(SelfTestError::Unseen("TCP_SAVED_SYN")),
    }
}

/// Whether `fd` became ready before `deadline`.
fn wait_for(fd: BorrowedFd<'_>, events: i16, deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout_ms = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
        let mut fds = [libc::pollfd {
            fd: fd.as_raw_fd(),
            events,
            revents: 0,
        }];
        match sys::poll(&mut fds, timeout_ms) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn io_at(step: &'static str) -> impl FnOnce(io::Error) -> SelfTestError {
    move |source| SelfTestError::Io { step, source }
}
