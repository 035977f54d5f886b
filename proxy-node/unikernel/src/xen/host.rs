//! What differs between PVH and PV once the machine runs: where pages of Xen's come from, and what a
//! page is called when another domain is told of it.

use core::cell::UnsafeCell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use super::hypercall::{self, Forget, Space, XenError};
use super::page::{PAGE_OCTETS, SharedPage};
use super::pv;
use crate::boot::Host;

/// "No such function": there is no Xen to ask.
const NOT_XEN: XenError = XenError(38);

/// A page of the image whose place Xen's pages take.
#[repr(C, align(4096))]
struct Place(UnsafeCell<[u8; PAGE_OCTETS]>);

// SAFETY: the octets are only ever reached through `SharedPage`, which needs no exclusive access.
unsafe impl Sync for Place {}

impl Place {
    const fn new() -> Self {
        Self(UnsafeCell::new([0; PAGE_OCTETS]))
    }

    fn page(&'static self) -> SharedPage {
        // SAFETY: a static is not null.
        let start = unsafe { NonNull::new_unchecked(self.0.get().cast()) };
        // SAFETY: a whole aligned page of the image, private to this module, where nothing else
        // than this function makes pointers into it.
        unsafe { SharedPage::new(start) }
    }
}

/// Frames of the grant table: 512 entries each.
pub(super) const GRANT_PAGES: usize = 2;

static SHARED_INFO: Place = Place::new();
static GRANT_TABLE: [Place; GRANT_PAGES] = [const { Place::new() }; GRANT_PAGES];

/// PV only: machine frame of each page, and how many there are.
static MACHINE_FRAMES: AtomicPtr<u64> = AtomicPtr::new(core::ptr::null_mut());
static START_INFO: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());
static PAGES: AtomicUsize = AtomicUsize::new(0);

/// Makes Xen's page of events and time appear. For PV, `machine_address` says where Xen has it.
pub(super) fn share_info(host: Host, machine_address: u64) -> Result<(), XenError> {
    let page = SHARED_INFO.page();
    match host {
        // SAFETY: the page is `SHARED_INFO`'s, which is used in no other way.
        Host::XenPvh => unsafe { hypercall::place(Space::SharedInfo, 0, own_frame(page)) },
        // SAFETY: likewise; the entry lets the page be written, as Xen means it to be.
        Host::XenPv => unsafe {
            hypercall::map(page.address(), machine_address | pv::WRITABLE, Forget::All)
        },
        Host::Plain => Err(NOT_XEN),
    }
}

/// Xen's page of events and time. All zeros before [`share_info`].
pub(super) fn info() -> SharedPage {
    SHARED_INFO.page()
}

/// Makes the grant table appear.
pub(super) fn grant_table(host: Host) -> Result<[SharedPage; GRANT_PAGES], XenError> {
    let pages = GRANT_TABLE.each_ref().map(Place::page);
    match host {
        Host::XenPvh => {
            for (index, page) in pages.iter().enumerate() {
                let frame = own_frame(*page);
                // SAFETY: the page is `GRANT_TABLE`'s, which is used in no other way.
                unsafe { hypercall::place(Space::GrantTable, index as u64, frame)? };
            }
        }
        Host::XenPv => {
            let mut frames = [0; GRANT_PAGES];
            hypercall::grant_frames(&mut frames)?;
            for (frame, page) in frames.iter().zip(&pages) {
                let entry = (frame << 12) | pv::WRITABLE;
                // SAFETY: likewise; the table is meant to be written by this domain.
                unsafe { hypercall::map(page.address(), entry, Forget::All)? };
            }
        }
        Host::Plain => return Err(NOT_XEN),
    }
    Ok(pages)
}

/// The number of a page as this program sees it.
fn own_frame(page: SharedPage) -> u64 {
    (page.address() / PAGE_OCTETS) as u64
}

/// What the page is called in grants; `None` if no such number fits there.
pub(super) fn frame(page: SharedPage) -> Option<u32> {
    u32::try_from(machine_frame(own_frame(page))?).ok()
}

/// Where the toolstack put what a guest starts with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Channels {
    /// PV: machine address of the shared info page.
    pub(super) info: u64,
    /// Frame of the console's ring.
    pub(super) console_frame: u64,
    /// Its event channel.
    pub(super) console_port: u32,
    /// Frame of `XenStore`'s ring.
    pub(super) store_frame: u64,
    /// Its event channel.
    pub(super) store_port: u32,
}

/// Parameters of a PVH guest (public/hvm/params.h).
mod parameter {
    pub(super) const STORE_FRAME: u32 = 1;
    pub(super) const STORE_PORT: u32 = 2;
    pub(super) const CONSOLE_FRAME: u32 = 17;
    pub(super) const CONSOLE_PORT: u32 = 18;
}

impl Channels {
    /// Asks Xen (PVH), or looks at what the entry was given (PV).
    pub(super) fn find(host: Host) -> Result<Self, XenError> {
        let start_info = NonNull::new(START_INFO.load(Ordering::Acquire));
        match (host, start_info) {
            (Host::XenPvh, _) => {
                let get = hypercall::parameter;
                Ok(Self {
                    info: 0,
                    console_frame: get(parameter::CONSOLE_FRAME)?,
                    console_port: low(get(parameter::CONSOLE_PORT)?),
                    store_frame: get(parameter::STORE_FRAME)?,
                    store_port: low(get(parameter::STORE_PORT)?),
                })
            }
            (Host::XenPv, Some(start)) => {
                // SAFETY: `set_start_info` took the address from a `SharedPage`.
                let page = unsafe { SharedPage::new(start) };
                let get = |offset| pv::long(page, offset);
                Ok(Self {
                    info: get(pv::offset::SHARED_INFO),
                    console_frame: get(pv::offset::CONSOLE_FRAME),
                    console_port: low(get(pv::offset::CONSOLE_PORT)),
                    store_frame: get(pv::offset::STORE_FRAME),
                    store_port: low(get(pv::offset::STORE_PORT)),
                })
            }
            (Host::XenPv | Host::Plain, _) => Err(NOT_XEN),
        }
    }
}

/// The low half of a word: ports have 32 bits, and what lies beside them is of no meaning.
fn low(value: u64) -> u32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// Remembers what the PV entry was given.
pub(super) fn set_start_info(page: SharedPage) {
    let start = core::ptr::with_exposed_provenance_mut(page.address());
    START_INFO.store(start, Ordering::Release);
}

/// Remembers the list of machine frames.
///
/// # Safety
/// `list` has `pages` entries that stay as they are for ever.
pub(super) unsafe fn set_machine_frames(list: *mut u64, pages: usize) {
    PAGES.store(pages, Ordering::Relaxed);
    MACHINE_FRAMES.store(list, Ordering::Release);
}

/// PV: the list of machine frames. Empty for PVH.
pub(super) fn machine_frames() -> &'static [u64] {
    let list = MACHINE_FRAMES.load(Ordering::Acquire);
    if list.is_null() {
        return &[];
    }
    // SAFETY: `set_machine_frames` was given a list of as many entries, never changed.
    unsafe { core::slice::from_raw_parts(list, PAGES.load(Ordering::Relaxed)) }
}

fn machine_frame(own: u64) -> Option<u64> {
    match machine_frames() {
        [] => Some(own),
        list => list.get(usize::try_from(own).ok()?).copied(),
    }
}

/// The mapped page that Xen calls `frame`: a guest frame for PVH, a machine frame for PV.
pub(super) fn page_of(frame: u64) -> Option<SharedPage> {
    let own = match machine_frames() {
        [] => usize::try_from(frame).ok()?,
        list => list.iter().position(|&machine| machine == frame)?,
    };
    let start = core::ptr::with_exposed_provenance_mut(own.checked_mul(PAGE_OCTETS)?);
    let start = NonNull::new(start)?;
    // SAFETY: callers name pages that the toolstack made for sharing; the page tables of both
    // entries map them writable, and no memory list contains them.
    Some(unsafe { SharedPage::new(start) })
}
