//! The programs, loaded and attached, and what can be done with them.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aya::Ebpf;
use aya::maps::{HashMap, MapData, SkStorage};
use socket2::Socket;
use synhop_option::{Kind, SynOption};

use crate::abi::{LISTENER_MARKED, LISTENER_SHARED, LISTENER_WATCHED, ListenerKey, Mark};
use crate::cgroup::Cgroup;
use crate::counters::{CounterMap, Counters};
use crate::error::{AttachError, map_io};
use crate::event::{SynEvent, SynEvents, saved_syn};
use crate::listen::{self, ListenError};
use crate::loader::{self, LISTENERS_MAX};
use crate::mark::{self, MarkError, MarkState, Outcome, Progress, SourceFill};
use crate::tcp_socket::TcpSocket;
use crate::{self_test, sys};

/// What to attach, and where.
#[derive(Clone, Debug)]
pub struct Config {
    /// The option kind to write and to look for.
    pub kind: Kind,
    /// Whose sockets can be marked and listen.
    pub cgroup: Cgroup,
    /// How many SYN events can wait for their reader, at least; rounded up to a power of 2 of
    /// pages, at most 16 MiB (123,000 events). More are dropped and counted.
    pub event_capacity: usize,
    /// How long the self-test may take. It takes less than a millisecond.
    pub self_test_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kind: Kind::default(),
            cgroup: Cgroup::default(),
            event_capacity: 4096,
            self_test_timeout: Duration::from_secs(2),
        }
    }
}

/// The programs at work. Dropping it detaches them: marked sockets then connect without an option,
/// listeners accept without a reply.
///
/// Several can hang on the same cgroup; each knows its own marks and listeners only. They cannot be
/// told apart where they listen on the same address and port of one network namespace
/// (`SO_REUSEPORT`). The kernel takes 64 programs per cgroup.
pub struct Attachment {
    /// Held for its Drop.
    _program: Ebpf,
    kind: Kind,
    marks: Mutex<SkStorage<MapData, Mark>>,
    listener_marks: Mutex<SkStorage<MapData, u8>>,
    listeners: Mutex<HashMap<MapData, ListenerKey, u8>>,
    counters: Arc<CounterMap>,
    events: Mutex<Option<SynEvents>>,
}

impl Attachment {
    /// Loads the programs, attaches them, and proves by a connection over 127.0.0.1 in the caller's
    /// network namespace that they are effective: the SYN carries the option, the listener's side
    /// sees it, the reply comes back.
    pub fn new(config: Config) -> Result<Self, AttachError> {
        let (kind, timeout) = (config.kind, config.self_test_timeout);
        let loaded = loader::load(config)?;
        let attachment = Self {
            _program: loaded.program,
            kind,
            marks: loaded.marks,
            listener_marks: loaded.listener_marks,
            listeners: loaded.listeners,
            counters: Arc::clone(&loaded.counters),
            events: Mutex::new(None),
        };
        let mut events = SynEvents::new(loaded.ring, loaded.counters, kind);
        self_test::run(&attachment, &mut events, timeout)?;
        *lock(&attachment.events) = Some(events);
        Ok(attachment)
    }

    /// The option kind in use.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Has `option` sent in the SYN of this TCP socket, and in its retransmissions. To be called
    /// before `connect()`; a second call replaces the first. It is good for one connection: a
    /// further `connect()` of the socket, after a failure too, sends no option and drops the mark.
    ///
    /// Whether it went out tells [`mark_state`](Self::mark_state) after `connect()`: see
    /// [`Progress::Marked`]. With Linux's usual options (timestamps on) 20 octets are left; forms of
    /// more than that go out only where timestamps are off.
    pub fn mark(
        &self,
        fd: impl AsFd,
        option: &SynOption,
        source: SourceFill,
    ) -> Result<(), MarkError> {
        self.mark_tcp(TcpSocket::check(&fd)?, option, source, Outcome::Asked)
    }

    /// [`mark`](Self::mark) for a socket that is known to be one of TCP, which saves two system
    /// calls, and with a choice how its outcome is told.
    pub fn mark_tcp(
        &self,
        socket: TcpSocket<'_>,
        option: &SynOption,
        source: SourceFill,
        outcome: Outcome,
    ) -> Result<(), MarkError> {
        let mark = mark::encode(option, source, outcome, self.kind)?;
        lock(&self.marks)
            .insert(&socket.as_fd(), mark, 0)
            .map_err(|error| MarkError::Io(map_io(error)))
    }

    /// Takes the mark back; nothing happens if there is none.
    pub fn unmark(&self, fd: impl AsFd) -> io::Result<()> {
        match lock(&self.marks).remove(&fd.as_fd()).map_err(map_io) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Err(_) | Ok(()) => Ok(()),
        }
    }

    /// What became of the mark; `None` if the socket has none, or has connected again since.
    ///
    /// Once `connect()` has succeeded, or the socket is writable, the answer is final.
    pub fn mark_state(&self, fd: impl AsFd) -> io::Result<Option<MarkState>> {
        let state = self.read_mark(&fd)?;
        match state {
            // poll() can see the socket established a moment before the program has run.
            Some(MarkState {
                progress: Progress::SynSent,
                ..
            }) => {
                sys::wait_for_socket_lock(&fd)?;
                self.read_mark(&fd)
            }
            state => Ok(state),
        }
    }

    /// Makes a bound TCP socket listen with its SYNs' options seen and answered: registers its
    /// address, has the kernel save SYNs for [`saved_syn`], and calls listen(2) with `backlog`.
    ///
    /// All SYNs with an option of a legal length are answered "understood", those that userspace
    /// refuses later too: refuse them by RST. The address stays registered until
    /// [`unlisten`](Self::unlisten), which a listener that is closed for good should precede; a
    /// plain server that takes over the address is not affected either way.
    ///
    /// That the programs are effective for this socket is checked; after an error it may listen
    /// all the same.
    pub fn listen(&self, socket: &Socket, backlog: i32) -> Result<(), ListenError> {
        if socket
            .is_listener()
            .map_err(ListenError::io("SO_ACCEPTCONN"))?
        {
            return Err(ListenError::ListensAlready);
        }
        let keys = listen::keys(socket)?;
        sys::save_syn(socket).map_err(ListenError::io("TCP_SAVE_SYN"))?;
        lock(&self.listener_marks)
            .insert(&socket.as_fd(), LISTENER_MARKED, 0)
            .map_err(|error| ListenError::io("marking the listener")(map_io(error)))?;
        for key in keys {
            self.register(&key)?;
        }
        socket.listen(backlog).map_err(ListenError::io("listen"))?;
        let mark = lock(&self.listener_marks)
            .get(&socket.as_fd(), 0)
            .map_err(|error| ListenError::io("reading the listener's mark")(map_io(error)))?;
        match mark {
            LISTENER_WATCHED | LISTENER_SHARED => Ok(()),
            _ => Err(ListenError::NotEffective),
        }
    }

    /// Forgets the address of a listener. From then on the SYNs of all listeners on it (there can be
    /// several with `SO_REUSEPORT`) are neither seen nor answered.
    pub fn unlisten(&self, socket: &Socket) -> Result<(), ListenError> {
        for key in listen::keys(socket)? {
            match lock(&self.listeners).remove(&key).map_err(map_io) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(ListenError::io("removing the listener")(error));
                }
                Err(_) | Ok(()) => {}
            }
        }
        Ok(())
    }

    /// The SYNs that arrive at the listeners. There is one stream: `None` when it was taken before.
    pub fn events(&self) -> Option<SynEvents> {
        lock(&self.events).take()
    }

    /// [`saved_syn`] with this attachment's kind.
    pub fn saved_syn(&self, fd: impl AsFd) -> io::Result<Option<SynEvent>> {
        saved_syn(fd, self.kind)
    }

    /// What has been counted since the start, self-test included.
    pub fn counters(&self) -> io::Result<Counters> {
        self.counters.read()
    }

    fn read_mark(&self, fd: &impl AsFd) -> io::Result<Option<MarkState>> {
        match lock(&self.marks).get(&fd.as_fd(), 0).map_err(map_io) {
            Ok(mark) => mark::decode(&mark, self.kind)
                .map(Some)
                .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn register(&self, key: &ListenerKey) -> Result<(), ListenError> {
        lock(&self.listeners).insert(key, 1, 0).map_err(|error| {
            let error = map_io(error);
            if error.raw_os_error() == Some(libc::E2BIG) {
                ListenError::TooMany {
                    limit: LISTENERS_MAX,
                }
            } else {
                ListenError::io("registering the listener")(error)
            }
        })
    }
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachment")
            .field("kind", &self.kind)
            .field("counters", &self.counters.read())
            .finish_non_exhaustive()
    }
}

/// A thread that panicked while it held a map left it as it was: a map is the kernel's.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shared between threads and tasks.
const _: () = {
    const fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<Attachment>();
    is_send_and_sync::<SynEvents>();
};
