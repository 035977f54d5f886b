//! What the helper does with a socket.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use socket2::SockRef;
use synhop_client_core::{Answer, Flow, Outcome, Progress, Refusal, Request};
use synhop_option::{Cookie, Extra, SynOption, V4Destination};
use synhop_sockets::{
    Attachment, MarkState, Outcome as MarkOutcome, Progress as MarkProgress, SourceFill, TcpSocket,
};
use tracing::{debug, warn};

/// How many proxies' cookies are remembered; then all are forgotten, which costs each proxy's
/// next flow its early forwarding.
const MAX_COOKIES: usize = 1024;

/// The attachment, and the cookies that proxies gave.
pub(super) struct Marker {
    attachment: Attachment,
    cookies: Mutex<HashMap<Place, Cookie>>,
}

/// A cookie is good for one client address at one proxy: the address is not known before
/// `connect()`, the network namespace stands for it. A wrong cookie costs latency only, and brings
/// the right one (SPEC section 7).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Place {
    netns: u64,
    proxy: SocketAddrV4,
}

impl Marker {
    pub(super) fn new(attachment: Attachment) -> Self {
        Self {
            attachment,
            cookies: Mutex::default(),
        }
    }

    /// Does what `request` asks, if the descriptor is a TCP socket.
    pub(super) fn answer(&self, request: Request, fd: &OwnedFd) -> Answer {
        let Ok(socket) = TcpSocket::check(fd) else {
            return Answer::Refused(Refusal::NotTcp);
        };
        match request {
            Request::Mark {
                destination,
                proxy,
                outcome,
            } => self.mark(socket, destination, proxy, outcome),
            Request::State => self.state(fd),
            Request::Unmark => match self.attachment.unmark(fd) {
                Ok(()) => Answer::Done,
                Err(error) => failed("unmark", &error),
            },
        }
    }

    fn mark(
        &self,
        socket: TcpSocket<'_>,
        destination: V4Destination,
        proxy: SocketAddrV4,
        outcome: Outcome,
    ) -> Answer {
        let cookie = place(socket, proxy).and_then(|place| self.cookies().get(&place).copied());
        let option = SynOption::V4 {
            // The kernel's program fills in what connect() chooses.
            source: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
            destination,
            extra: cookie.map_or(Extra::Nothing, Extra::Cookie),
        };
        let outcome = match outcome {
            Outcome::Asked => MarkOutcome::Asked,
            Outcome::Published => MarkOutcome::Published,
        };
        let source = SourceFill::FromSocket;
        match self.attachment.mark_tcp(socket, &option, source, outcome) {
            Ok(()) => Answer::Done,
            Err(error) => failed("mark", &error),
        }
    }

    fn state(&self, fd: &OwnedFd) -> Answer {
        let MarkState { option, progress } = match self.attachment.mark_state(fd) {
            Ok(Some(state)) => state,
            Ok(None) => return Answer::Unmarked,
            Err(error) => return failed("state", &error),
        };
        let (SynOption::V4 { destination, .. } | SynOption::V4Withheld { destination, .. }) =
            option
        else {
            debug!(?option, "a mark of a form that this helper does not make");
            return Answer::Refused(Refusal::Failed);
        };
        if let MarkProgress::Understood { cookie } = progress {
            self.remember(fd, cookie);
        }
        Answer::Flow(Flow {
            destination,
            progress: match progress {
                MarkProgress::Marked => Progress::Marked,
                MarkProgress::SynSent => Progress::SynSent,
                MarkProgress::Silent => Progress::Silent,
                MarkProgress::Understood { .. } => Progress::Understood,
            },
        })
    }

    /// Remembers the cookie that the peer gave; no new one leaves the old one valid.
    fn remember(&self, fd: &OwnedFd, cookie: Option<Cookie>) {
        let Some((cookie, place)) = cookie.zip(peer(fd).and_then(|peer| place(fd, peer))) else {
            return;
        };
        let mut cookies = self.cookies();
        if cookies.len() >= MAX_COOKIES && !cookies.contains_key(&place) {
            cookies.clear();
        }
        cookies.insert(place, cookie);
    }

    fn cookies(&self) -> MutexGuard<'_, HashMap<Place, Cookie>> {
        // Each entry is whole or not there.
        self.cookies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Both sides of the client's socket mean the same.
const _: () =
    assert!(synhop_client_core::PUBLISHED_UNDERSTOOD == synhop_sockets::PUBLISHED_UNDERSTOOD);

fn failed(what: &str, error: &dyn std::error::Error) -> Answer {
    warn!(what, %error, "request failed");
    Answer::Refused(Refusal::Failed)
}

fn place(fd: impl AsFd, proxy: SocketAddrV4) -> Option<Place> {
    let netns = crate::sys::netns_cookie(fd)?;
    Some(Place { netns, proxy })
}

/// The peer's IPv4 address, however the socket writes it.
fn peer(fd: &OwnedFd) -> Option<SocketAddrV4> {
    let peer: SocketAddr = SockRef::from(fd).peer_addr().ok()?.as_socket()?;
    match peer.ip().to_canonical() {
        IpAddr::V4(ip) => Some(SocketAddrV4::new(ip, peer.port())),
        IpAddr::V6(_) => None,
    }
}
