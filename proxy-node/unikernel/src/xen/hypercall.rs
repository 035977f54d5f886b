//! Calls into Xen. Numbers and layouts are those of Xen's public interface (xen/include/public).

#[cfg(not(test))]
mod call {
    use core::arch::{asm, global_asm};

    // Xen fills this page with one stub of 32 octets for each call: for PV while it loads the image
    // (note HYPERCALL_PAGE), for PVH when its address is written to the MSR that CPUID names.
    global_asm!(
        r#"
        .section .text.hypercall_page, "ax", @progbits
        .balign 4096
        .global hypercall_page
        hypercall_page:
        .fill 4096, 1, 0xcc
        .text
        "#,
        options(att_syntax),
    );

    unsafe extern "C" {
        #[link_name = "hypercall_page"]
        static PAGE: [u8; 4096];
    }

    const UNFILLED: u8 = 0xcc;

    /// Makes the stubs, unless the toolstack (PV) or an earlier call did.
    pub(in crate::xen) fn fill() {
        // SAFETY: the page is there; the read is volatile because Xen writes to it.
        if unsafe { (&raw const PAGE).cast::<u8>().read_volatile() } != UNFILLED {
            return;
        }
        let Some(base) = crate::cpu::xen_base() else {
            return;
        };
        let msr = crate::cpu::identify(base + 2).ebx;
        let address = (&raw const PAGE).expose_provenance();
        // SAFETY: CPUID names this MSR as the one that makes Xen write stubs into the page at the
        // physical address given, which is this page, reserved for that and mapped one to one.
        unsafe { crate::cpu::write_msr(msr, address as u64) };
    }

    /// Call `number` with up to four arguments; what it returns, negative for an error of Xen's.
    ///
    /// # Safety
    /// The stubs are there, and what the call reads or writes through its arguments is memory that
    /// it may read or write so.
    pub(in crate::xen) unsafe fn call(number: usize, arguments: [usize; 4]) -> isize {
        let stub = (&raw const PAGE).expose_provenance() + number * 32;
        let result: isize;
        // SAFETY: the stub returns with `ret` and, as the interface says, changes no more than the
        // registers named here. The stack pointer is aligned by `asm!` and there is no red zone to
        // lose: the block is allowed to push.
        unsafe {
            asm!(
                "call {stub}",
                stub = in(reg) stub,
                inout("rdi") arguments[0] => _,
                inout("rsi") arguments[1] => _,
                inout("rdx") arguments[2] => _,
                inout("r10") arguments[3] => _,
                out("r8") _,
                out("rcx") _,
                out("r11") _,
                out("rax") result,
            );
        }
        result
    }
}

/// On the host, where the tests run, there is no Xen.
#[cfg(test)]
mod call {
    pub(in crate::xen) fn fill() {}

    pub(in crate::xen) unsafe fn call(_number: usize, _arguments: [usize; 4]) -> isize {
        -38
    }
}

use call::call;
pub(super) use call::fill;

/// Why Xen said no: its error number, positive (as in errno.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct XenError(pub(crate) isize);

impl core::fmt::Display for XenError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Xen's error {}", self.0)
    }
}

const UPDATE_VA_MAPPING: usize = 14;
const MEMORY_OP: usize = 12;
const MMU_UPDATE: usize = 1;
const GRANT_TABLE_OP: usize = 20;
const SCHED_OP: usize = 29;
const EVENT_CHANNEL_OP: usize = 32;
const HVM_OP: usize = 34;

/// The caller itself, where a domain is to be named.
pub(super) const DOMID_SELF: u16 = 0x7ff0;

fn checked(result: isize) -> Result<usize, XenError> {
    usize::try_from(result).map_err(|_| XenError(-result))
}

/// One call with a sub-operation and its structure.
fn operation<T>(number: usize, sub: usize, argument: &mut T) -> Result<usize, XenError> {
    let address = (&raw mut *argument).expose_provenance();
    // SAFETY: every caller in this file passes the structure that the sub-operation is defined
    // with; it is a unique reference, so Xen may read and write it.
    checked(unsafe { call(number, [sub, address, 0, 0]) })
}

/// Which space a page is taken from.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(super) enum Space {
    SharedInfo = 0,
    GrantTable = 1,
}

#[repr(C)]
struct AddToPhysmap {
    domain: u16,
    size: u16,
    space: u32,
    index: u64,
    frame: u64,
}

/// PVH: puts a page of Xen's where page `frame` of this machine is; what was there is gone.
///
/// # Safety
/// Nothing uses the page as memory of its own.
pub(super) unsafe fn place(space: Space, index: u64, frame: u64) -> Result<(), XenError> {
    let mut argument = AddToPhysmap {
        domain: DOMID_SELF,
        size: 0,
        space: space as u32,
        index,
        frame,
    };
    operation(MEMORY_OP, 7, &mut argument).map(drop)
}

#[repr(C)]
struct HvmParam {
    domain: u16,
    pad: u16,
    index: u32,
    value: u64,
}

/// PVH: a parameter that the toolstack has set.
pub(super) fn parameter(index: u32) -> Result<u64, XenError> {
    let mut argument = HvmParam {
        domain: DOMID_SELF,
        pad: 0,
        index,
        value: 0,
    };
    operation(HVM_OP, 1, &mut argument)?;
    Ok(argument.value)
}

#[repr(C)]
struct SetupTable {
    domain: u16,
    pad: u16,
    frames: u32,
    status: i16,
    pad2: [u16; 3],
    list: u64,
}

/// PV: the machine frames of the grant table, grown to as many as `frames` has.
pub(super) fn grant_frames(frames: &mut [u64]) -> Result<(), XenError> {
    let mut argument = SetupTable {
        domain: DOMID_SELF,
        pad: 0,
        frames: u32::try_from(frames.len()).unwrap_or(u32::MAX),
        status: 0,
        pad2: [0; 3],
        list: frames.as_mut_ptr().expose_provenance() as u64,
    };
    let address = (&raw mut argument).expose_provenance();
    // SAFETY: Xen fills `list`, which has as many entries as `frames` says, and the structure.
    let result = unsafe { call(GRANT_TABLE_OP, [2, address, 1, 0]) };
    checked(result)?;
    match argument.status {
        0 => Ok(()),
        status => Err(XenError(-isize::from(status))),
    }
}

#[repr(C)]
struct AllocUnbound {
    domain: u16,
    remote: u16,
    port: u32,
}

/// A new event channel that domain `remote` may bind.
pub(super) fn event_channel(remote: u16) -> Result<u32, XenError> {
    let mut argument = AllocUnbound {
        domain: DOMID_SELF,
        remote,
        port: 0,
    };
    operation(EVENT_CHANNEL_OP, 6, &mut argument)?;
    Ok(argument.port)
}

/// Ends an event channel.
pub(super) fn close(mut port: u32) -> Result<(), XenError> {
    operation(EVENT_CHANNEL_OP, 3, &mut port).map(drop)
}

/// Signals the other end of an event channel.
pub(super) fn notify(mut port: u32) -> Result<(), XenError> {
    operation(EVENT_CHANNEL_OP, 4, &mut port).map(drop)
}

#[repr(C)]
struct Poll {
    ports: u64,
    count: u32,
    pad: u32,
    timeout: u64,
}

/// Sleeps until one of `ports` is pending or the system time (in ns) is `timeout`; 0: no timeout.
/// It also returns early at times.
pub(super) fn poll(ports: &[u32], timeout: u64) -> Result<(), XenError> {
    let mut argument = Poll {
        ports: ports.as_ptr().expose_provenance() as u64,
        count: u32::try_from(ports.len()).unwrap_or(u32::MAX),
        pad: 0,
        timeout,
    };
    operation(SCHED_OP, 3, &mut argument).map(drop)
}

/// Lets others run for a moment.
pub(super) fn give_way() {
    let _never_refused = operation(SCHED_OP, 0, &mut 0_u64);
}

/// How a guest ends.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(super) enum End {
    PowerOff = 0,
    Crash = 3,
}

/// Ends this guest; returns only if Xen refuses.
pub(super) fn end(reason: End) {
    let mut argument = reason as u32;
    let _refused = operation(SCHED_OP, 2, &mut argument);
}

/// What else a new mapping makes Xen forget.
#[derive(Clone, Copy, Debug)]
#[repr(usize)]
pub(super) enum Forget {
    /// All translations: after a series of [`set_entries`].
    All = 1,
    /// That of the address.
    One = 2,
}

/// PV: maps what `entry` says at the address `address`, whose table is there.
///
/// # Safety
/// Nothing uses what is mapped there now, and the entry gives no right to change memory that this
/// program uses in another way.
pub(super) unsafe fn map(address: usize, entry: u64, forget: Forget) -> Result<(), XenError> {
    #[expect(clippy::cast_possible_truncation, reason = "usize has 64 bits here")]
    let arguments = [address, entry as usize, forget as usize, 0];
    // SAFETY: by this function's own contract.
    checked(unsafe { call(UPDATE_VA_MAPPING, arguments) }).map(drop)
}

/// PV: a page table entry to be written.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct Entry {
    /// Its machine address.
    pub(super) place: u64,
    /// What it is to be.
    pub(super) value: u64,
}

/// PV: writes page table entries. What the processor remembers of those before stays.
///
/// # Safety
/// As for [`map`].
pub(super) unsafe fn set_entries(entries: &[Entry]) -> Result<(), XenError> {
    let address = entries.as_ptr().expose_provenance();
    let arguments = [address, entries.len(), 0, usize::from(DOMID_SELF)];
    // SAFETY: as many entries are read as there are; no count of those done is asked for (0). What
    // is changed is covered by this function's own contract.
    checked(unsafe { call(MMU_UPDATE, arguments) }).map(drop)
}
