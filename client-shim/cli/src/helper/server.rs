//! The helper's unix socket: who may ask, how many at a time, and for how long.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use socket2::Socket;
use synhop_client_core::{Answer, REQUEST_OCTETS, Refusal, Request};
use tracing::{debug, warn};

use super::marker::Marker;
use crate::sys;

/// How many clients are served at a time; more wait in the backlog.
const MAX_CLIENTS: usize = 256;
/// How many of them may be one user's.
const MAX_CLIENTS_PER_USER: usize = 128;
/// How long a client may take to send its request.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long to leave the listener alone after an `accept()` that failed for lack of resources.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Which users are served.
pub(crate) enum Users {
    /// Everybody who can connect to the socket.
    All,
    /// These, by number.
    Only(Vec<u32>),
}

/// Serves requests one after the other: each takes microseconds, only clients that dawdle are
/// waited for side by side.
pub(super) struct Server {
    listener: Socket,
    marker: Marker,
    users: Users,
    clients: Vec<Client>,
    accept_from: Instant,
}

struct Client {
    socket: Socket,
    uid: u32,
    pid: i32,
    deadline: Instant,
}

/// Whether a client is through.
enum Served {
    /// Answered, or gone.
    Done,
    /// Its request is still to come.
    NotYet,
}

impl Users {
    /// An empty list means everybody.
    pub(crate) fn new(uids: Vec<u32>) -> Self {
        if uids.is_empty() {
            Self::All
        } else {
            Self::Only(uids)
        }
    }

    fn contains(&self, uid: u32) -> bool {
        match self {
            Self::All => true,
            Self::Only(uids) => uids.contains(&uid),
        }
    }
}

impl Server {
    pub(super) fn new(listener: Socket, marker: Marker, users: Users) -> Self {
        Self {
            listener,
            marker,
            users,
            clients: Vec::with_capacity(MAX_CLIENTS),
            accept_from: Instant::now(),
        }
    }

    /// Serves for ever.
    pub(super) fn serve(mut self) -> ! {
        loop {
            let now = Instant::now();
            self.clients.retain(|client| client.deadline > now);
            let is_accepting = self.clients.len() < MAX_CLIENTS && self.accept_from <= now;
            let timeout = self.timeout(now);
            let mut waited: Vec<_> = self.clients.iter().map(|it| it.socket.as_fd()).collect();
            if is_accepting {
                waited.push(self.listener.as_fd());
            }
            let mut ready = sys::poll_readable(&waited, timeout);
            let has_newcomers = is_accepting && ready.pop() == Some(true);
            self.serve_ready(&ready);
            if has_newcomers {
                self.accept();
            }
        }
    }

    /// Until the first client's deadline, or until the listener is to be looked at again.
    fn timeout(&self, now: Instant) -> Option<Duration> {
        let deadlines = self.clients.iter().map(|client| client.deadline);
        let pause = Some(self.accept_from).filter(|at| *at > now);
        deadlines
            .chain(pause)
            .min()
            .map(|at| at.saturating_duration_since(now))
    }

    fn serve_ready(&mut self, ready: &[bool]) {
        let mut ready = ready.iter().copied().chain(std::iter::repeat(false));
        let (ready, waiting): (Vec<_>, Vec<_>) = self
            .clients
            .drain(..)
            .partition(|_| ready.next() == Some(true));
        self.clients = waiting;
        for client in ready {
            // Once ready is enough: what is not there now does not come.
            self.serve_client(&client);
        }
    }

    /// Bounded, so that newcomers do not keep the clients from being looked at.
    fn accept(&mut self) {
        for _ in 0..MAX_CLIENTS {
            if self.clients.len() >= MAX_CLIENTS {
                return;
            }
            match self.listener.accept() {
                Ok((socket, _)) => self.admit(socket),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    warn!(%error, "accept");
                    self.accept_from = Instant::now() + ACCEPT_PAUSE;
                    return;
                }
            }
        }
    }

    /// Most have sent their request by now: only those that have not take up room.
    fn admit(&mut self, socket: Socket) {
        let Some(peer) = sys::peer_credentials(&socket) else {
            return;
        };
        if socket.set_nonblocking(true).is_err() {
            return;
        }
        let client = Client {
            socket,
            uid: peer.uid,
            pid: peer.pid,
            deadline: Instant::now() + CLIENT_TIMEOUT,
        };
        match self.serve_client(&client) {
            Served::Done => {}
            Served::NotYet => self.keep(client),
        }
    }

    /// A user with too many clients loses the one that has dawdled longest, not the newcomer.
    fn keep(&mut self, client: Client) {
        let is_same = |it: &Client| it.uid == client.uid;
        if self.clients.iter().filter(|it| is_same(it)).count() >= MAX_CLIENTS_PER_USER
            && let Some(oldest) = self.clients.iter().position(is_same)
        {
            let given_up = self.clients.remove(oldest);
            debug!(given_up.uid, given_up.pid, "too many clients of one user");
        }
        self.clients.push(client);
    }

    fn serve_client(&mut self, client: &Client) -> Served {
        // One octet more than the longest message, so that a longer one shows.
        let mut message = [0; REQUEST_OCTETS + 1];
        // The descriptors are closed when they go out of scope, on every path.
        let (len, descriptors) = match sys::receive(&client.socket, &mut message) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Served::NotYet,
            Err(error) => {
                debug!(%error, client.uid, "receiving a request");
                return Served::Done;
            }
        };
        if len == 0 {
            return Served::Done;
        }
        // Only now: a socket that is closed with a request unread loses the answer, too.
        let answer = if self.users.contains(client.uid) {
            self.answer(&message[..len], &descriptors)
        } else {
            warn!(client.uid, "user is not served");
            Answer::Refused(Refusal::Denied)
        };
        debug!(client.uid, ?answer, "answered");
        reply(&client.socket, answer);
        Served::Done
    }

    fn answer(&mut self, message: &[u8], descriptors: &[OwnedFd]) -> Answer {
        match (Request::parse(message), descriptors) {
            (Ok(request), [fd]) => self.marker.answer(request, fd),
            (Ok(_), [] | [_, _, ..]) => Answer::Refused(Refusal::NotTcp),
            (Err(error), _) => Answer::Refused(error.into()),
        }
    }
}

/// An answer that finds no room is the client's loss: it has asked nothing else on this socket.
fn reply(socket: &Socket, answer: Answer) {
    if let Err(error) = socket.send(&answer.emit()) {
        debug!(%error, "answering");
    }
}
