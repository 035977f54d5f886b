//! The system calls that neither std nor socket2 has: namespace, TUN device, poll, `TCP_INFO`.
#![expect(unsafe_code, reason = "see the module")]

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// Takes the calling thread into a new network namespace. Its other threads stay.
pub(super) fn enter_new_namespace() -> io::Result<()> {
    // SAFETY: no memory is involved.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) })
}

/// A device whose packets we read and write.
pub(super) struct Tun {
    device: File,
}

impl Tun {
    /// Makes the device in the namespace of the thread; it has an address and a peer.
    pub(super) fn open(own: Ipv4Addr, peer: Ipv4Addr) -> io::Result<Self> {
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/net/tun")?;
        let mut request = request();
        #[expect(clippy::cast_possible_truncation, reason = "two flags of 16 bits")]
        {
            request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as i16;
        }
        // SAFETY: TUNSETIFF reads and writes an ifreq, which outlives the call.
        check(unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
        let fd = device.as_raw_fd();
        // SAFETY: no memory is involved.
        check(unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK) })?;
        configure(own, peer)?;
        Ok(Self { device })
    }

    pub(super) fn write(&mut self, packet: &[u8]) -> io::Result<()> {
        self.device.write_all(packet)
    }

    /// The next packet, if one comes in time.
    pub(super) fn read(&mut self, patience: Duration) -> io::Result<Option<Vec<u8>>> {
        wait(self.device.as_raw_fd(), Readiness::Input, patience)?;
        let mut packet = vec![0; 65_536];
        match self.device.read(&mut packet) {
            Ok(len) => {
                packet.truncate(len);
                Ok(Some(packet))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Gives the device its addresses, and starts it.
fn configure(own: Ipv4Addr, peer: Ipv4Addr) -> io::Result<()> {
    let control = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    for (code, address) in [(libc::SIOCSIFADDR, own), (libc::SIOCSIFDSTADDR, peer)] {
        let mut request = request();
        request.ifr_ifru.ifru_addr = sockaddr(address);
        // SAFETY: both read an ifreq with an address, which outlives the call.
        check(unsafe { libc::ioctl(control.as_raw_fd(), code, &raw mut request) })?;
    }
    let mut request = request();
    #[expect(clippy::cast_possible_truncation, reason = "two flags of 16 bits")]
    {
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    }
    // SAFETY: SIOCSIFFLAGS reads an ifreq with flags, which outlives the call.
    check(unsafe { libc::ioctl(control.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request) })
}

/// For what to wait.
#[derive(Clone, Copy, Debug)]
pub(super) enum Readiness {
    Input,
}

/// Waits until `fd` is ready, but not for ever.
pub(super) fn wait(fd: RawFd, readiness: Readiness, patience: Duration) -> io::Result<()> {
    let events = match readiness {
        Readiness::Input => libc::POLLIN,
    };
    let mut polled = libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    let timeout = libc::timespec {
        tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(patience.subsec_nanos()),
    };
    // SAFETY: one pollfd and a timespec, which outlive the call; no signal mask.
    let ready = unsafe { libc::ppoll(&raw mut polled, 1, &raw const timeout, std::ptr::null()) };
    if ready < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(())
}

/// The state of a socket, of `linux/tcp_states.h`.
pub(super) fn tcp_state(socket: &Socket) -> io::Result<u8> {
    let mut info = [0_u8; 8];
    let mut len = libc::socklen_t::try_from(info.len()).unwrap_or(0);
    // SAFETY: the kernel writes at most `len` octets of its struct, whose first is the state.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    check(result)?;
    Ok(info[0])
}

fn request() -> libc::ifreq {
    let mut name = [0; libc::IFNAMSIZ];
    for (octet, letter) in name.iter_mut().zip(DEVICE) {
        *octet = letter.cast_signed();
    }
    libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_ifindex: 0 },
    }
}

fn sockaddr(address: Ipv4Addr) -> libc::sockaddr {
    let mut data = [0; 14];
    for (octet, value) in data[2..6].iter_mut().zip(address.octets()) {
        *octet = value.cast_signed();
    }
    libc::sockaddr {
        sa_family: libc::sa_family_t::try_from(libc::AF_INET).unwrap_or(0),
        sa_data: data,
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

const DEVICE: [u8; 4] = *b"tun0";
