//! A guest of Xen's: PVH or PV, with a console, `XenStore` and one network interface.
//!
//! Nothing interrupts the guest. It polls its rings, and sleeps in a call that ends when an event
//! channel is pending or a time has come.

mod console;
mod grant;
mod host;
mod hypercall;
mod info;
mod net;
mod page;
mod pv;
mod ring;
mod store;

use core::fmt;
use core::time::Duration;

use synhop_stack::{Checksum, Frame, Instant, Offload, Payload, Pool};

use crate::boot::Boot;
use crate::clock::Clock;
use crate::console::line;
use crate::platform::Platform;
use crate::power::Outcome;
use grant::Grants;
use host::Channels;
use hypercall::XenError;
use net::{Link, LinkError};
use store::{Store, StoreError};

/// Where the toolstack asks for an end, and the token of the watch on it.
const SHUTDOWN: &str = "control/shutdown";
/// How long the host may take until the interface's back is ready.
const BACK_PATIENCE: Duration = Duration::from_secs(20);

/// Why there is no guest to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttachError {
    /// Xen refused what every guest needs: which thing.
    Xen(&'static str, XenError),
    /// The toolstack prepared no such page.
    NoPage(&'static str),
    /// Xen does not show its clock.
    NoTime,
    /// The store did not do as asked.
    Store(StoreError),
    /// The interface cannot be used.
    Link(LinkError),
    /// There is no interface, or its back does not come up.
    NoInterface,
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Xen(what, error) => write!(f, "{what}: {error}"),
            Self::NoPage(what) => write!(f, "no page for {what}"),
            Self::NoTime => f.write_str("Xen shows no clock"),
            Self::Store(error) => error.fmt(f),
            Self::Link(error) => error.fmt(f),
            Self::NoInterface => f.write_str("no interface (vif) whose back is ready"),
        }
    }
}

impl core::error::Error for AttachError {}

impl From<StoreError> for AttachError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<LinkError> for AttachError {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

/// Takes the guest over: its console first, so that what goes wrong later can be said.
pub(crate) fn attach(boot: &Boot) -> Result<Guest, AttachError> {
    hypercall::fill();
    let named = |what| move |error| AttachError::Xen(what, error);
    let channels = Channels::find(boot.host).map_err(named("parameters"))?;
    host::share_info(boot.host, channels.info).map_err(named("shared info"))?;
    info::mask_all();
    if !info::await_time() {
        return Err(AttachError::NoTime);
    }
    if let Some(page) = host::page_of(channels.console_frame) {
        console::set(page, channels.console_port);
    }
    if let Some(error) = pv::refused() {
        line!("synhop: pages are not protected: {error}");
    }
    let page = host::page_of(channels.store_frame).ok_or(AttachError::NoPage("XenStore"))?;
    let mut store = Store::new(page, channels.store_port);
    let mut grants = Grants::new(boot.host).map_err(named("grant table"))?;
    let link = Link::new(
        net::buffers_for(boot.memory.octets()),
        &mut grants,
        &mut store,
    )?;
    store.watch(SHUTDOWN, SHUTDOWN)?;
    let mut guest = Guest {
        clock: Clock::new(info::scale(), boot.entered),
        store,
        grants,
        link,
        stop: false,
    };
    guest.announce();
    guest.await_link()?;
    Ok(guest)
}

/// Ends the guest. Works from anywhere, and without anything else being set up.
pub(crate) fn shutdown(outcome: Outcome) -> ! {
    console::drain();
    hypercall::fill();
    loop {
        hypercall::end(match outcome {
            Outcome::Done => hypercall::End::PowerOff,
            Outcome::Failed => hypercall::End::Crash,
        });
    }
}

/// The guest.
#[derive(Debug)]
pub(crate) struct Guest {
    clock: Clock,
    store: Store,
    grants: Grants,
    link: Link,
    stop: bool,
}

impl Guest {
    /// Says what this guest understands. A toolstack that does not allow it asks all the same.
    fn announce(&mut self) {
        let features = [("feature-poweroff", 1), ("feature-reboot", 1)];
        let _not_allowed = self.store.write_all("control", &features);
    }

    /// Waits until there is an interface and it is connected.
    fn await_link(&mut self) -> Result<(), AttachError> {
        let deadline = self.now() + BACK_PATIENCE;
        while self.link.port().is_none() {
            self.link.step(&self.grants, &mut self.store)?;
            if self.link.port().is_some() {
                break;
            }
            if self.now() >= deadline {
                return Err(AttachError::NoInterface);
            }
            self.handle_events();
            if self.stop {
                return Err(AttachError::NoInterface);
            }
            self.wait(Some(deadline));
        }
        Ok(())
    }

    /// Does what the store's events ask for.
    fn handle_events(&mut self) {
        while let Some(token) = self.store.event() {
            let result = match token.as_str() {
                net::TOKEN => self.link.step(&self.grants, &mut self.store),
                SHUTDOWN => self.obey().map_err(LinkError::Store),
                _ => Ok(()),
            };
            if let Err(error) = result {
                line!("synhop: {token}: {error}");
            }
        }
    }

    /// Reads what the toolstack asks for, and says that it was read.
    fn obey(&mut self) -> Result<(), StoreError> {
        let asked = match self.store.read(SHUTDOWN) {
            Ok(asked) => asked,
            Err(StoreError::Missing) => return Ok(()),
            Err(error) => return Err(error),
        };
        if asked.is_empty() {
            return Ok(());
        }
        self.store.write(SHUTDOWN, "")?;
        match asked.as_str() {
            // A restart is the toolstack's to do, after the end.
            "poweroff" | "halt" | "reboot" => self.stop = true,
            _ => line!("synhop: asked for '{asked}', which is not possible"),
        }
        Ok(())
    }
}

impl Platform for Guest {
    fn mac(&self) -> [u8; 6] {
        self.link.mac().unwrap_or_default()
    }

    fn offload(&self) -> Offload {
        self.link.offload()
    }

    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn receive(&mut self, pool: &Pool) -> Option<(Payload, Checksum)> {
        self.link.receive(pool)
    }

    fn send(&mut self, frame: Frame) -> Result<(), Frame> {
        self.link.send(frame)
    }

    fn flush(&mut self) {
        self.link.flush();
    }

    fn wait(&mut self, deadline: Option<Instant>) {
        let console = console::waiting();
        if self.store.has_message() || !self.link.may_sleep() {
            return;
        }
        let until = deadline.map(|deadline| {
            let left = deadline.since(self.clock.now()).as_nanos();
            let left = u64::try_from(left).unwrap_or(u64::MAX);
            info::system_nanos().saturating_add(left)
        });
        // At most three ports, of which there is always the first.
        let mut ports = [self.store.port(); 3];
        let mut count = 1;
        for (place, port) in ports
            .iter_mut()
            .skip(1)
            .zip(self.link.port().into_iter().chain(console))
        {
            *place = port;
            count += 1;
        }
        info::sleep(ports.get(..count).unwrap_or_default(), until);
    }

    fn stop_asked(&mut self) -> bool {
        // `wait` may not be called for long.
        let _rest = console::waiting();
        self.handle_events();
        self.stop
    }
}
