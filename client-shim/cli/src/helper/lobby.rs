//! Where clients wait: for their own request to arrive, and for a worker.

use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use socket2::Socket;
use tracing::{debug, warn};

use super::places::{Place, Places};
use crate::sys;

/// How many clients may wait; more do in the backlog.
const MAX_CLIENTS: usize = 512;
/// How many of them may be one user's.
const MAX_CLIENTS_PER_USER: usize = 256;
/// How long a client may take to send its request, and to get a worker.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a client may dawdle before a newcomer takes its place: on a loaded machine it may have
/// to wait for a processor between its connect and its request.
const DAWDLE: Duration = Duration::from_millis(200);
/// How long to leave the listener alone after an `accept()` that failed for lack of resources.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How many clients that are given up may wait to be closed. Beyond that they are closed by
/// whoever gives them up.
const MAX_GIVEN_UP: usize = 1024;

/// The listener and those who wait. One worker at a time holds it, and waits with them.
///
/// Nothing is closed here, and no client is: a descriptor that a client has sent would go with it,
/// and such a close can take as long as the client likes.
pub(super) struct Lobby {
    listener: Socket,
    clients: Vec<Client>,
    accept_from: Instant,
    given_up: SyncSender<Client>,
}

/// A connection.
pub(super) struct Client {
    pub(super) socket: Socket,
    pub(super) uid: u32,
    pid: i32,
    came: Instant,
    request: Arrival,
}

/// Whether a client's request is there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arrival {
    Awaited,
    Here,
}

impl Lobby {
    /// Starts the thread that closes who is given up.
    pub(super) fn open(listener: Socket) -> io::Result<Self> {
        let (given_up, to_close) = mpsc::sync_channel(MAX_GIVEN_UP);
        thread::Builder::new()
            .name("synhop-closer".into())
            .spawn(move || close_all(&to_close))?;
        Ok(Self {
            listener,
            clients: Vec::with_capacity(MAX_CLIENTS),
            accept_from: Instant::now(),
            given_up,
        })
    }

    /// Waits for a client whose request is here and whose user has a place.
    pub(super) fn next<'p>(&mut self, places: &'p Places) -> (Client, Place<'p>) {
        loop {
            let now = Instant::now();
            self.give_up_late(now);
            if let Some(found) = self.find(places) {
                return found;
            }
            self.wait(places, now);
        }
    }

    fn find<'p>(&mut self, places: &'p Places) -> Option<(Client, Place<'p>)> {
        let mut ready = (0..).zip(&self.clients).filter(|(_, it)| it.is_ready());
        let (index, place) =
            ready.find_map(|(index, client)| Some((index, places.take(client.uid)?)))?;
        Some((self.clients.remove(index), place))
    }

    /// Until a request arrives, a place is free again, or time is up for somebody.
    fn wait(&mut self, places: &Places, now: Instant) {
        let hold = self.hold(places, now);
        let is_accepting =
            hold.is_none() && self.clients.len() < MAX_CLIENTS && self.accept_from <= now;
        let awaited = |it: &&Client| !it.is_ready();
        let mut waited: Vec<_> = vec![places.freed()];
        waited.extend(
            self.clients
                .iter()
                .filter(awaited)
                .map(|it| it.socket.as_fd()),
        );
        if is_accepting {
            waited.push(self.listener.as_fd());
        }
        let mut ready = sys::poll_readable(&waited, self.timeout(hold, now));
        let has_newcomers = is_accepting && ready.pop() == Some(true);
        let mut ready = ready.into_iter();
        if ready.next() == Some(true) {
            places.notice_freed();
        }
        let awaited = self.clients.iter_mut().filter(|it| !it.is_ready());
        for (client, is_ready) in awaited.zip(ready) {
            if is_ready {
                client.request = Arrival::Here;
            }
        }
        // One by one: who has sent a request already is served before the next comes in.
        if has_newcomers {
            self.accept();
        }
    }

    /// How long to leave newcomers in the backlog because a user's clients are as many as may be,
    /// and are all about to be served or to send their request.
    fn hold(&self, places: &Places, now: Instant) -> Option<Duration> {
        if self.clients.len() < MAX_CLIENTS_PER_USER {
            return None;
        }
        let fullest = self.clients.iter().map(|it| it.uid).find(|uid| {
            let same = |it: &&Client| it.uid == *uid;
            self.clients.iter().filter(same).count() >= MAX_CLIENTS_PER_USER
        })?;
        // The first is the one that has waited longest.
        let mut idle = self.clients.iter().filter(|it| !it.is_ready());
        match idle.find(|it| it.uid == fullest) {
            Some(longest) => {
                let left = (longest.came + DAWDLE).saturating_duration_since(now);
                Some(left).filter(|left| !left.is_zero())
            }
            None => places.patience(fullest, now),
        }
    }

    /// Until the first client's deadline, or until the listener is to be looked at again.
    fn timeout(&self, hold: Option<Duration>, now: Instant) -> Option<Duration> {
        let deadlines = self.clients.iter().map(Client::deadline);
        let pause = Some(self.accept_from).filter(|at| *at > now);
        let first = deadlines.chain(pause).min();
        let first = first.map(|at| at.saturating_duration_since(now));
        first.into_iter().chain(hold).min()
    }

    fn accept(&mut self) {
        match self.listener.accept() {
            Ok((socket, _)) => self.admit(socket),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) => {}
            Err(error) => {
                warn!(%error, "accept");
                self.accept_from = Instant::now() + ACCEPT_PAUSE;
            }
        }
    }

    /// A user with too many clients loses the one that has dawdled longest, not the newcomer.
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
            came: Instant::now(),
            request: Arrival::Awaited,
        };
        let is_same = |it: &Client| it.uid == client.uid;
        if self.clients.iter().filter(|it| is_same(it)).count() >= MAX_CLIENTS_PER_USER {
            let is_idle = |it: &Client| is_same(it) && !it.is_ready();
            let longest = self.clients.iter().position(is_idle);
            if let Some(index) = longest.or_else(|| self.clients.iter().position(is_same)) {
                let given_up = self.clients.remove(index);
                debug!(given_up.uid, given_up.pid, "too many clients of one user");
                self.give_up(given_up);
            }
        }
        self.clients.push(client);
    }

    fn give_up_late(&mut self, now: Instant) {
        while let Some(index) = self.clients.iter().position(|it| it.deadline() <= now) {
            let late = self.clients.remove(index);
            self.give_up(late);
        }
    }

    fn give_up(&self, client: Client) {
        // It knows at once, however long the close takes. It may have gone already.
        let _ = client.socket.shutdown(Shutdown::Both);
        if self.given_up.try_send(client).is_err() {
            warn!("too many clients to close");
        }
    }
}

impl Client {
    fn deadline(&self) -> Instant {
        self.came + CLIENT_TIMEOUT
    }

    fn is_ready(&self) -> bool {
        self.request == Arrival::Here
    }
}

/// Closes them one after the other: what they have sent and nobody has received goes with them.
fn close_all(given_up: &Receiver<Client>) {
    given_up.iter().for_each(drop);
}
