//! An `AF_PACKET` receive ring (`TPACKET_V2`): every frame of one interface, in
//! both directions, with the kernel's timestamps and without system calls.
//!
//! Version 2 rather than 3: it hands over each frame when it arrives, where 3
//! waits until a block is full or its timer (1 ms at best) has passed.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{BPF_JUMP_EQUAL, BPF_LOAD_WORD, BPF_RETURN, check, filter_program, instruction};

/// One frame in the ring.
pub(crate) struct Frame<'a> {
    /// When the kernel sent or received it, wall clock.
    pub(crate) timestamp_ns: u64,
    /// Whether the interface's own namespace sent it.
    pub(crate) outgoing: bool,
    /// Its length on the link, Ethernet header included.
    pub(crate) original_len: usize,
    /// As much of it as the ring's filter keeps.
    pub(crate) octets: &'a [u8],
}

/// The ring of one interface.
pub(crate) struct PacketRing {
    socket: OwnedFd,
    memory: NonNull<u8>,
    next: usize,
}

// SAFETY: the memory belongs to this value alone and is not tied to a thread.
unsafe impl Send for PacketRing {}

impl PacketRing {
    /// Opens a ring on an interface of the calling thread's namespace.
    pub(crate) fn open(interface_index: i32) -> io::Result<Self> {
        let socket = packet_socket()?;
        set_option(
            &socket,
            libc::PACKET_VERSION,
            &libc::tpacket_versions::TPACKET_V2,
        )?;
        let geometry = libc::tpacket_req {
            tp_block_size: BLOCK_OCTETS,
            tp_block_nr: narrow(RING_OCTETS) / BLOCK_OCTETS,
            tp_frame_size: narrow(FRAME_OCTETS),
            tp_frame_nr: narrow(FRAMES),
        };
        set_option(&socket, libc::PACKET_RX_RING, &geometry)?;
        let memory = map_ring(&socket)?;
        let ring = Self {
            socket,
            memory,
            next: 0,
        };
        ring.keep_received(0)?;
        ring.bind(interface_index)?;
        Ok(ring)
    }

    /// Sent frames are always kept whole; of received ones keeps the first
    /// `octets`, or drops them when that is 0.
    pub(crate) fn keep_received(&self, octets: u32) -> io::Result<()> {
        let packet_type = (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE).cast_unsigned();
        let instructions = [
            instruction(BPF_LOAD_WORD, 0, 0, packet_type),
            instruction(BPF_JUMP_EQUAL, 0, 1, libc::PACKET_OUTGOING.into()),
            instruction(BPF_RETURN, 0, 0, u32::MAX),
            instruction(BPF_RETURN, 0, 0, octets),
        ];
        let program = filter_program(&instructions);
        set_socket_option(
            &self.socket,
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            &program,
        )
    }

    /// Hands the oldest waiting frame to `take`; says whether there was one.
    pub(crate) fn next_frame(&mut self, take: impl FnOnce(Frame<'_>)) -> bool {
        let slot = self.slot(self.next);
        // SAFETY: a slot starts with its header, whose first field is the
        // 32-bit status; slots are 2048-octet aligned in the live mapping.
        let status = unsafe { AtomicU32::from_ptr(slot.cast::<u32>().as_ptr()) };
        // Acquire: the kernel writes the frame first, then the status.
        if status.load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
            return false;
        }
        take(read_frame(slot));
        // Release: all our reads happen before the kernel gets the slot back.
        status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.next = (self.next + 1) % FRAMES;
        true
    }

    /// Frames that found the ring full since the last call.
    pub(crate) fn take_overruns(&self) -> io::Result<u32> {
        let mut stats = libc::tpacket_stats {
            tp_packets: 0,
            tp_drops: 0,
        };
        let mut len = narrow(size_of::<libc::tpacket_stats>());
        // SAFETY: the kernel writes at most `len` octets to `stats`.
        check(unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut stats).cast(),
                &raw mut len,
            )
        })?;
        Ok(stats.tp_drops)
    }

    fn bind(&self, interface_index: i32) -> io::Result<()> {
        let address = libc::sockaddr_ll {
            sll_family: PACKET_FAMILY,
            sll_protocol: ALL_PROTOCOLS.to_be(),
            sll_ifindex: interface_index,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let len = narrow(size_of::<libc::sockaddr_ll>());
        // SAFETY: reads `len` octets of a live sockaddr_ll.
        let result =
            unsafe { libc::bind(self.socket.as_raw_fd(), (&raw const address).cast(), len) };
        check(result).map(drop)
    }

    fn slot(&self, index: usize) -> NonNull<u8> {
        debug_assert!(index < FRAMES);
        // SAFETY: index < FRAMES, so the slot lies inside the mapping.
        unsafe { self.memory.add(index * FRAME_OCTETS) }
    }
}

impl Drop for PacketRing {
    fn drop(&mut self) {
        // SAFETY: the mapping that `open` made, unmapped once, here.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), RING_OCTETS) };
    }
}

impl AsFd for PacketRing {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Reads a slot whose status says that it is ours.
fn read_frame<'a>(slot: NonNull<u8>) -> Frame<'a> {
    // SAFETY: the slot starts with a tpacket2_hdr that the kernel filled in
    // and leaves alone until the status is given back.
    let header: libc::tpacket2_hdr = unsafe { ptr::read(slot.cast().as_ptr()) };
    let address_at = HEADER_OCTETS.next_multiple_of(libc::TPACKET_ALIGNMENT);
    // SAFETY: still inside the slot: 32 + 20 of 2048 octets.
    let address = unsafe { slot.add(address_at) };
    // SAFETY: the kernel puts a sockaddr_ll right after the aligned header.
    let address: libc::sockaddr_ll = unsafe { ptr::read(address.cast().as_ptr()) };
    let start = usize::from(header.tp_mac).min(FRAME_OCTETS);
    let len = (header.tp_snaplen as usize).min(FRAME_OCTETS - start);
    // SAFETY: start <= FRAME_OCTETS, so at most one past the slot's end.
    let data = unsafe { slot.add(start) };
    // SAFETY: start + len <= FRAME_OCTETS, and the kernel does not write to
    // the slot while `next_frame`, which bounds the borrow, holds it.
    let octets = unsafe { std::slice::from_raw_parts(data.as_ptr(), len) };
    Frame {
        timestamp_ns: u64::from(header.tp_sec) * 1_000_000_000 + u64::from(header.tp_nsec),
        outgoing: address.sll_pkttype == libc::PACKET_OUTGOING,
        original_len: header.tp_len as usize,
        octets,
    }
}

/// A packet socket that receives nothing until it is bound.
fn packet_socket() -> io::Result<OwnedFd> {
    // SAFETY: integer arguments only.
    let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    let fd = check(fd)?;
    // SAFETY: a descriptor that was just made and that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn map_ring(socket: &OwnedFd) -> io::Result<NonNull<u8>> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let fd = socket.as_raw_fd();
    // SAFETY: a new mapping at an address of the kernel's choice.
    let memory = unsafe {
        libc::mmap(
            ptr::null_mut(),
            RING_OCTETS,
            access,
            libc::MAP_SHARED,
            fd,
            0,
        )
    };
    if memory == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(memory.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))
}

fn set_option<T>(socket: &OwnedFd, name: libc::c_int, value: &T) -> io::Result<()> {
    set_socket_option(socket, libc::SOL_PACKET, name, value)
}

fn set_socket_option<T>(
    socket: &OwnedFd,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    let len = narrow(size_of::<T>());
    // SAFETY: the kernel reads `len` octets, the size of `value`. Callers pass
    // the type that belongs to the option.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            ptr::from_ref(value).cast(),
            len,
        )
    };
    check(result).map(drop)
}

/// Sizes of the interface to the kernel, all far below 2^32.
#[expect(clippy::cast_possible_truncation, reason = "4 MiB at most")]
const fn narrow(octets: usize) -> u32 {
    octets as u32
}

/// `AF_PACKET` and `ETH_P_ALL` in the widths of `sockaddr_ll`.
const PACKET_FAMILY: u16 = 17;
const ALL_PROTOCOLS: u16 = 3;
/// A slot: header, address and a frame of 1514 octets fit.
const FRAME_OCTETS: usize = 2048;
/// At 1 Gb/s of full frames, 25 ms of traffic.
const FRAMES: usize = 2048;
const RING_OCTETS: usize = FRAME_OCTETS * FRAMES;
const BLOCK_OCTETS: u32 = 1 << 16;
const HEADER_OCTETS: usize = size_of::<libc::tpacket2_hdr>();
