//! The life of the interface: found, connected, closed by the host, found again.
//!
//! ```text
//! Down --(back: InitWait)--> Up --(back: Closing, Closed or gone)--> Down
//! ```

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use core::fmt;

use synhop_stack::{Checksum, Frame, Offload, Payload, Pool};

use super::super::grant::{Access, Grant, GrantError, Grants};
use super::super::hypercall::{self, XenError};
use super::super::info;
use super::super::page::SharedPage;
use super::super::ring::{Notify, Ring};
use super::super::store::{Store, StoreError};
use super::back::{Back, INTERFACES, Interface};
use super::rx::Rx;
use super::tx::Tx;
use super::{Buffers, SLOTS_A_FRAME_MOST};

/// Token of the watches that concern the interface.
pub(crate) const TOKEN: &str = "net";

/// States of either end (public/io/xenbus.h).
mod state {
    pub(super) const INITIALISING: u32 = 1;
    pub(super) const INIT_WAIT: u32 = 2;
    pub(super) const CONNECTED: u32 = 4;
    pub(super) const CLOSED: u32 = 6;
}

/// Why the interface cannot be connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkError {
    /// The store did not do as asked.
    Store(StoreError),
    /// A page could not be granted.
    Grant(GrantError),
    /// Xen gave no event channel.
    Xen(XenError),
    /// There is no memory for the rings, or for the buffers of one frame.
    Memory,
    /// The back cannot copy, or names a domain that cannot be.
    Back,
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Grant(error) => error.fmt(f),
            Self::Xen(error) => write!(f, "no event channel: {error}"),
            Self::Memory => f.write_str("too little memory for the network rings"),
            Self::Back => f.write_str("a network back that this machine cannot use"),
        }
    }
}

impl core::error::Error for LinkError {}

impl From<StoreError> for LinkError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<GrantError> for LinkError {
    fn from(error: GrantError) -> Self {
        Self::Grant(error)
    }
}

#[derive(Debug)]
enum State {
    Down,
    Up(Box<Up>),
}

#[derive(Debug)]
struct Up {
    interface: Interface,
    port: u32,
    tx: Tx,
    rx: Rx,
}

/// The machine's one interface.
#[derive(Debug)]
pub(crate) struct Link {
    tx_buffers: Buffers,
    rx_buffers: Buffers,
    tx_ring: (SharedPage, Grant),
    rx_ring: (SharedPage, Grant),
    mac: Option<[u8; 6]>,
    offload: Offload,
    state: State,
    /// The back whose state is watched.
    watched: Option<String>,
}

impl Link {
    /// Takes the memory, and asks the store to tell of interfaces.
    pub(crate) fn new(
        buffers: usize,
        grants: &mut Grants,
        store: &mut Store,
    ) -> Result<Self, LinkError> {
        let mut ring = || -> Result<(SharedPage, Grant), LinkError> {
            let page = SharedPage::allocate().ok_or(LinkError::Memory)?;
            Ok((page, grants.number()?))
        };
        let (tx_ring, rx_ring) = (ring()?, ring()?);
        let tx_buffers = Buffers::new(buffers, grants)?;
        let rx_buffers = Buffers::new(buffers, grants)?;
        if rx_buffers.len() <= SLOTS_A_FRAME_MOST {
            return Err(LinkError::Memory);
        }
        store.watch(INTERFACES, TOKEN)?;
        Ok(Self {
            tx_buffers,
            rx_buffers,
            tx_ring,
            rx_ring,
            mac: None,
            offload: Offload::default(),
            state: State::Down,
            watched: None,
        })
    }

    /// The Ethernet address, once there was an interface.
    pub(crate) fn mac(&self) -> Option<[u8; 6]> {
        self.mac
    }

    /// What the back finishes; of the first back, for later ones are the same program.
    pub(crate) fn offload(&self) -> Offload {
        self.offload
    }

    /// The event channel while connected.
    pub(crate) fn port(&self) -> Option<u32> {
        match &self.state {
            State::Down => None,
            State::Up(up) => Some(up.port),
        }
    }

    /// The next frame.
    pub(crate) fn receive(&mut self, pool: &Pool) -> Option<(Payload, Checksum)> {
        let State::Up(up) = &mut self.state else {
            return None;
        };
        let frame = up.rx.receive(pool, &self.rx_buffers);
        notify(up.port, up.rx.tell(frame.is_none()));
        frame
    }

    /// Takes a frame; without a connection it is lost, as on a wire that is not plugged in.
    #[expect(
        clippy::result_large_err,
        reason = "the frame goes back by move, no error is made of it"
    )]
    pub(crate) fn send(&mut self, frame: Frame) -> Result<(), Frame> {
        match &mut self.state {
            State::Down => Ok(()),
            State::Up(up) => {
                let result = up.tx.send(frame, &self.tx_buffers);
                if result.is_err() {
                    // Nothing comes back of what the back was not shown.
                    notify(up.port, up.tx.tell());
                }
                result
            }
        }
    }

    /// Shows the back what was sent.
    pub(crate) fn flush(&mut self) {
        if let State::Up(up) = &mut self.state {
            notify(up.port, up.tx.tell());
        }
    }

    /// Asks for a signal with the next frame; false if it is no use to sleep.
    pub(crate) fn may_sleep(&self) -> bool {
        match &self.state {
            State::Down => true,
            State::Up(up) => !info::take(up.port) && up.rx.wish(),
        }
    }

    /// Something changed in the store: connects or closes, as the back wants.
    pub(crate) fn step(&mut self, grants: &Grants, store: &mut Store) -> Result<(), LinkError> {
        match core::mem::replace(&mut self.state, State::Down) {
            State::Down => self.try_connect(grants, store),
            State::Up(up) => {
                let back = store.number(&format!("{}/state", up.interface.back))?;
                if (state::INITIALISING..=state::CONNECTED).contains(&back) {
                    self.state = State::Up(up);
                    Ok(())
                } else {
                    self.close(&up, grants, store)
                }
            }
        }
    }

    fn close(&mut self, up: &Up, grants: &Grants, store: &mut Store) -> Result<(), LinkError> {
        // The back lets go of the rings before it is told that the front is closed; a page that it
        // still holds then is granted anew only when it has let go.
        let _closed = hypercall::close(up.port);
        info::take(up.port);
        let path = &up.interface.path;
        if store.number(&format!("{path}/state"))? != 0 {
            store.write(&format!("{path}/state"), number(state::CLOSED).as_str())?;
        }
        for buffers in [&self.tx_buffers, &self.rx_buffers] {
            buffers.withdraw(grants);
        }
        Ok(())
    }

    fn try_connect(&mut self, grants: &Grants, store: &mut Store) -> Result<(), LinkError> {
        let Some(interface) = Interface::find(store)? else {
            return Ok(());
        };
        self.watch(&interface, store)?;
        let back = Back::read(&interface.back, store)?;
        if back.state == state::INIT_WAIT {
            return self.connect(interface, &back, grants, store);
        }
        // A back that starts anew waits for a front that does so too.
        let front_path = format!("{}/state", interface.path);
        if back.online && back.state == state::CLOSED && store.number(&front_path)? == state::CLOSED
        {
            store.write(&front_path, number(state::INITIALISING).as_str())?;
        }
        Ok(())
    }

    /// Watches the state of this back and of no other.
    fn watch(&mut self, interface: &Interface, store: &mut Store) -> Result<(), LinkError> {
        let path = format!("{}/state", interface.back);
        if self.watched.as_ref() == Some(&path) {
            return Ok(());
        }
        if let Some(old) = self.watched.take() {
            // It went with the folder, or stays without harm.
            let _gone = store.unwatch(&old, TOKEN);
        }
        store.watch(&path, TOKEN)?;
        self.watched = Some(path);
        Ok(())
    }

    fn connect(
        &mut self,
        interface: Interface,
        back: &Back,
        grants: &Grants,
        store: &mut Store,
    ) -> Result<(), LinkError> {
        let path = &interface.path;
        if !back.copies {
            return Err(LinkError::Back);
        }
        if self.mac.is_none() {
            self.mac = Some(interface.mac.ok_or(LinkError::Back)?);
            self.offload = back.offload(self.tx_buffers.len());
        }
        let domain = interface.domain;
        let (tx, rx) = (Ring::new(self.tx_ring.0), Ring::new(self.rx_ring.0));
        grants.give(self.tx_ring.1, domain, tx.page(), Access::ReadWrite)?;
        grants.give(self.rx_ring.1, domain, rx.page(), Access::ReadWrite)?;
        self.tx_buffers.give(grants, domain, Access::Read)?;
        self.rx_buffers.give(grants, domain, Access::ReadWrite)?;
        let port = hypercall::event_channel(domain).map_err(LinkError::Xen)?;
        let tx = Tx::new(tx, &self.tx_buffers);
        let mut rx = Rx::new(rx, &self.rx_buffers);
        // The back looks at the ring when it connects.
        let _later = rx.tell(true);
        store.write_all(
            path,
            &[
                ("tx-ring-ref", self.tx_ring.1.0),
                ("rx-ring-ref", self.rx_ring.1.0),
                ("event-channel", port),
                ("request-rx-copy", 1),
                ("feature-rx-notify", 1),
                ("feature-sg", 1),
                ("feature-gso-tcpv4", 1),
                ("feature-gso-tcpv6", 1),
                ("feature-ipv6-csum-offload", 1),
                ("state", state::CONNECTED),
            ],
        )?;
        self.state = State::Up(Box::new(Up {
            interface,
            port,
            tx,
            rx,
        }));
        Ok(())
    }
}

fn number(value: u32) -> String {
    format!("{value}")
}

fn notify(port: u32, wanted: Notify) {
    match wanted {
        // A port that cannot be signalled is one whose back is going; its state will tell.
        Notify::Yes => drop(hypercall::notify(port)),
        Notify::No => {}
    }
}
