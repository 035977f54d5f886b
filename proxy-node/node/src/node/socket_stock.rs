//! Sockets made ahead of time: making one takes longer than everything else between a SYN's event
//! and the onward SYN.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::sys;

/// No spare socket is made for this long after descriptors ran out.
const PAUSE: Duration = Duration::from_secs(1);

/// A bounded stock of unconnected sockets, set up as downstream legs.
///
/// IPv4's is there from the start, IPv6's once a flow has needed one. When it is empty, sockets
/// are made as they are needed; when descriptors run out, it is given up first.
#[derive(Debug)]
pub(super) struct SocketStock {
    send_buffer: Option<u32>,
    /// Spare sockets of each family.
    capacity: usize,
    v4: RefCell<Vec<Socket>>,
    v6: RefCell<Vec<Socket>>,
    v6_is_used: Cell<bool>,
    paused_until: Cell<Option<Instant>>,
}

impl SocketStock {
    /// An empty stock for at most `capacity` sockets of each family.
    pub(super) fn new(capacity: usize, send_buffer: Option<u32>) -> Rc<Self> {
        Rc::new(Self {
            send_buffer,
            capacity,
            v4: RefCell::new(Vec::with_capacity(capacity)),
            v6: RefCell::default(),
            v6_is_used: Cell::new(false),
            paused_until: Cell::new(None),
        })
    }

    /// Makes every socket that is missing.
    pub(super) fn fill(&self) {
        while self.is_low() {
            self.refill();
        }
    }

    /// A socket that is ready to connect.
    pub(super) fn take(&self, domain: Domain) -> io::Result<Socket> {
        let spare = if domain == Domain::IPV6 {
            self.v6_is_used.set(true);
            self.v6.borrow_mut().pop()
        } else {
            self.v4.borrow_mut().pop()
        };
        match spare {
            Some(socket) => Ok(socket),
            None => match self.make(domain) {
                // The other family may have what this one lacks.
                Err(error) if is_want_of_descriptors(&error) && self.release() > 0 => {
                    self.make(domain)
                }
                made => made,
            },
        }
    }

    /// How many sockets wait.
    pub(super) fn len(&self) -> usize {
        self.v4.borrow().len() + self.v6.borrow().len()
    }

    /// Whether [`refill`](Self::refill) has something to do.
    pub(super) fn is_low(&self) -> bool {
        self.lacking().is_some() && !self.is_paused()
    }

    /// Makes one socket that is missing.
    pub(super) fn refill(&self) {
        let Some(domain) = self.lacking() else {
            return;
        };
        match self.make(domain) {
            Ok(socket) => self.shelf(domain).borrow_mut().push(socket),
            // Flows are served all the same, and tell when they are not.
            Err(_error) => self.pause(),
        }
    }

    /// Closes every spare socket, and makes none for a while: descriptors are wanted elsewhere.
    /// Returns how many there were.
    pub(super) fn release(&self) -> usize {
        self.pause();
        let released = self.len();
        self.v4.borrow_mut().clear();
        self.v6.borrow_mut().clear();
        released
    }

    fn lacking(&self) -> Option<Domain> {
        if self.v4.borrow().len() < self.capacity {
            Some(Domain::IPV4)
        } else if self.v6_is_used.get() && self.v6.borrow().len() < self.capacity {
            Some(Domain::IPV6)
        } else {
            None
        }
    }

    fn shelf(&self, domain: Domain) -> &RefCell<Vec<Socket>> {
        if domain == Domain::IPV6 {
            &self.v6
        } else {
            &self.v4
        }
    }

    fn is_paused(&self) -> bool {
        let until = self.paused_until.get();
        until.is_some_and(|until| Instant::now() < until)
    }

    fn pause(&self) {
        self.paused_until.set(Instant::now().checked_add(PAUSE));
    }

    fn make(&self, domain: Domain) -> io::Result<Socket> {
        let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        set_up_leg(&socket, self.send_buffer)?;
        Ok(socket)
    }
}

/// Sets what both legs of a flow need. Accepted sockets inherit it from their listener.
///
/// Without `TCP_NODELAY` a message smaller than a segment waits for the one before it to be
/// acknowledged (RFC 9293 section 3.7.4): a round trip of the leg. The receive buffer is left to
/// the kernel: its autotuning sizes the window that we offer.
pub(super) fn set_up_leg(socket: &Socket, send_buffer: Option<u32>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    let Some(octets) = send_buffer else {
        return Ok(());
    };
    let octets = i32::try_from(octets).unwrap_or(i32::MAX);
    // Without CAP_NET_ADMIN net.core.wmem_max caps it: slower on long legs, and still right.
    sys::force_send_buffer(socket, octets).or_else(|_not_permitted| {
        socket.set_send_buffer_size(usize::try_from(octets).unwrap_or_default())
    })
}

/// Whether closing a descriptor would help: the process's or the machine's are used up.
pub(super) fn is_want_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(capacity: usize) -> Rc<SocketStock> {
        let stock = SocketStock::new(capacity, None);
        stock.fill();
        stock
    }

    #[test]
    fn ipv6_is_kept_once_it_was_needed() {
        let stock = filled(2);
        assert_eq!(stock.len(), 2);
        let v6 = stock.take(Domain::IPV6).unwrap();
        assert_eq!(v6.domain().unwrap(), Domain::IPV6);
        stock.fill();
        assert_eq!(stock.len(), 4);
    }

    #[test]
    fn sockets_are_ready_to_connect() {
        let socket = filled(1).take(Domain::IPV4).unwrap();
        assert_eq!(socket.domain().unwrap(), Domain::IPV4);
        assert!(socket.nonblocking().unwrap());
        assert!(socket.tcp_nodelay().unwrap());
    }

    #[test]
    fn an_empty_stock_still_serves() {
        let stock = filled(0);
        assert_eq!(stock.len(), 0);
        assert!(stock.take(Domain::IPV4).is_ok());
        assert!(!stock.is_low());
    }

    #[test]
    fn released_sockets_are_not_made_again_at_once() {
        let stock = filled(3);
        assert_eq!(stock.release(), 3);
        assert_eq!(stock.len(), 0);
        assert!(!stock.is_low());
    }
}
