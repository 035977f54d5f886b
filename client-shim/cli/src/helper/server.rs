//! The helper's workers: who may ask, and what becomes of a request.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use socket2::Socket;
use synhop_client_core::{Answer, ProtocolError, REQUEST_OCTETS, Refusal, Request};
use tracing::{debug, warn};

use super::lobby::{Client, Lobby};
use super::marker::Marker;
use super::places::{Places, WORKERS};
use crate::sys;

/// Which users are served.
pub(crate) enum Users {
    /// Everybody who can connect to the socket.
    All,
    /// These, by number.
    Only(Vec<u32>),
}

/// Serves requests. A request takes microseconds, unless the client means harm: closing a
/// descriptor that it has sent can take as long as it likes. So one worker waits for clients, and
/// gives its post to another before it does what may take long. No request waits for a thread to
/// wake, and waking it delays no answer to a request that cannot take long.
pub(super) struct Server {
    lobby: Mutex<Lobby>,
    places: Places,
    marker: Marker,
    users: Users,
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
    /// Starts the workers; they serve to the end of the process.
    pub(super) fn start(listener: Socket, marker: Marker, users: Users) -> io::Result<()> {
        let server = Arc::new(Self {
            lobby: Mutex::new(Lobby::open(listener)?),
            places: Places::new()?,
            marker,
            users,
        });
        for _ in 0..WORKERS {
            let server = Arc::clone(&server);
            thread::Builder::new()
                .name("synhop-helper".into())
                .spawn(move || server.work())?;
        }
        Ok(())
    }

    fn work(&self) -> ! {
        loop {
            // Poisoned: a client may have been lost, which its program survives.
            let mut lobby = self.lobby.lock().unwrap_or_else(PoisonError::into_inner);
            let (client, place) = lobby.next(&self.places);
            let call = Call::receive(&client);
            match &call {
                Some(call) if call.is_short() => {
                    self.serve(&client, call);
                    drop(lobby);
                }
                Some(call) => {
                    drop(lobby);
                    self.serve(&client, call);
                }
                None => drop(lobby),
            }
            // From here on it may take long.
            drop(call);
            drop(client);
            drop(place);
        }
    }

    fn serve(&self, client: &Client, call: &Call) {
        // Only now: a socket that is closed with a request unread loses the answer, too.
        let answer = if self.users.contains(client.uid) {
            self.answer(call)
        } else {
            warn!(client.uid, "user is not served");
            Answer::Refused(Refusal::Denied)
        };
        reply(&client.socket, answer);
        debug!(client.uid, ?answer, "answered");
    }

    fn answer(&self, call: &Call) -> Answer {
        match (call.request, call.descriptors.as_slice()) {
            (Ok(request), [fd]) => self.marker.answer(request, fd),
            (Ok(_), [] | [_, _, ..]) => Answer::Refused(Refusal::NotTcp),
            (Err(error), _) => Answer::Refused(error.into()),
        }
    }
}

/// What a client has sent.
struct Call {
    request: Result<Request, ProtocolError>,
    descriptors: Vec<OwnedFd>,
}

impl Call {
    /// Never waits, and closes nothing.
    fn receive(client: &Client) -> Option<Self> {
        // One octet more than the longest message, so that a longer one shows.
        let mut message = [0; REQUEST_OCTETS + 1];
        match sys::receive(&client.socket, &mut message) {
            Ok((len, descriptors)) => Some(Self {
                request: Request::parse(&message[..len]),
                descriptors,
            }),
            Err(error) => {
                debug!(%error, client.uid, "receiving a request");
                None
            }
        }
    }

    /// Whether nothing that answering takes waits for the socket's lock, which its owner can hold.
    fn is_short(&self) -> bool {
        match self.request {
            Ok(Request::State) => false,
            Ok(Request::Mark { .. } | Request::Unmark) | Err(_) => true,
        }
    }
}

/// An answer that finds no room is the client's loss: it has asked nothing else on this socket.
fn reply(socket: &Socket, answer: Answer) {
    if let Err(error) = socket.send(&answer.emit()) {
        debug!(%error, "answering");
    }
}
