//! The kernel as the host, in real time.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::tun::{self, Readiness, Tun};
use super::{Backend, BackendError, HOST, Injection, REMOTE, SERVER_PORT};
use crate::script::{Call, Claim, IcmpKind, Settings};
use crate::wire::{checksum, stream_octet};

/// The kernel in a namespace, and the program on it.
pub(super) struct KernelHost {
    tun: Tun,
    start: Instant,
    settings: Settings,
    listener: Option<Socket>,
    connection: Option<Socket>,
    failure: Option<io::Error>,
    written: u32,
    read: u32,
}

impl KernelHost {
    /// Takes this thread into a network namespace of its own, for good.
    pub(super) fn new(settings: Settings) -> Result<Self, BackendError> {
        tun::enter_new_namespace().map_err(|error| {
            BackendError::Needs(format!("root, for a network namespace ({error})"))
        })?;
        let system = |step| move |error| BackendError::System { step, error };
        let tun = Tun::open(HOST, REMOTE).map_err(system("the TUN device"))?;
        let sysctls = [
            ("tcp_syn_retries", settings.syn_retries),
            ("tcp_synack_retries", settings.syn_ack_retries),
            // RFC 6298 from the first SYN on.
            ("tcp_syn_linear_timeouts", Some(0)),
            // RFC 1337: off by default.
            ("tcp_rfc1337", Some(1)),
        ];
        for (name, value) in sysctls {
            if let Some(value) = value {
                std::fs::write(format!("/proc/sys/net/ipv4/{name}"), value.to_string())
                    .map_err(system("a sysctl of the namespace"))?;
            }
        }
        Ok(Self {
            tun,
            start: Instant::now(),
            settings,
            listener: None,
            connection: None,
            failure: None,
            written: 0,
            read: 0,
        })
    }

    fn socket(&self) -> io::Result<Socket> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_address(true)?;
        let buffer = self.settings.kernel_buffer;
        if let Some(octets) = buffer.or(self.settings.receive_buffer) {
            // The kernel keeps half of what it doubles for its own overhead.
            socket.set_recv_buffer_size(usize::try_from(octets).unwrap_or(usize::MAX))?;
        }
        Ok(socket)
    }

    fn listen(&mut self, port: u16) -> io::Result<()> {
        let listener = self.socket()?;
        listener.bind(&SockAddr::from(SocketAddrV4::new(
            Ipv4Addr::UNSPECIFIED,
            port,
        )))?;
        listener.listen(16)?;
        self.listener = Some(listener);
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        let Some(listener) = &self.listener else {
            return Err(io::Error::other("nobody listens"));
        };
        tun::wait(listener.as_raw_fd(), Readiness::Input, PATIENCE)?;
        let (connection, _) = listener.accept()?;
        connection.set_nonblocking(true)?;
        connection.set_tcp_nodelay(true)?;
        self.connection = Some(connection);
        (self.written, self.read) = (0, 0);
        Ok(())
    }

    fn connect(&mut self) -> io::Result<()> {
        let connection = self.socket()?;
        connection.set_tcp_nodelay(true)?;
        let server = SockAddr::from(SocketAddrV4::new(REMOTE, SERVER_PORT));
        let begun = connection.connect(&server);
        self.connection = Some(connection);
        match begun {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn open(&self) -> io::Result<&Socket> {
        self.connection
            .as_ref()
            .ok_or_else(|| io::Error::other("there is no connection"))
    }

    fn write(&mut self, len: u32) -> io::Result<()> {
        let octets: Vec<u8> = (self.written + 1..=self.written + len)
            .map(stream_octet)
            .collect();
        let mut connection = self.open()?;
        let taken = connection.write(&octets)?;
        if taken < octets.len() {
            return Err(io::Error::other(format!("only {taken} octets fit")));
        }
        self.written += len;
        Ok(())
    }

    fn read(&mut self, len: u32) -> io::Result<()> {
        let mut connection = self.open()?;
        if len == 0 {
            return match connection.read(&mut [0]) {
                Ok(0) => Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                Ok(_) => Err(io::Error::other("there are octets")),
                Err(error) => Err(error),
            };
        }
        let mut octets = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        connection
            .read_exact(&mut octets)
            .map_err(|error| io::Error::other(format!("fewer octets were there ({error})")))?;
        for octet in octets {
            self.read += 1;
            if octet != stream_octet(self.read) {
                return Err(io::Error::other(format!("octet {} is wrong", self.read)));
            }
        }
        Ok(())
    }

    fn shutdown(&self) -> io::Result<()> {
        self.open()?.shutdown(Shutdown::Write)
    }

    fn abort(&mut self) -> io::Result<()> {
        self.open()?.set_linger(Some(Duration::ZERO))?;
        self.connection = None;
        Ok(())
    }

    fn is_finished(&self) -> bool {
        self.open()
            .is_ok_and(|mut connection| matches!(connection.read(&mut [0]), Ok(0)))
    }

    fn failed_with(&self, codes: &[i32]) -> bool {
        let code = self.failure.as_ref().and_then(io::Error::raw_os_error);
        code.is_some_and(|code| codes.contains(&code))
    }
}

impl Backend for KernelHost {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn tolerance(&self) -> Duration {
        TOLERANCE
    }

    fn inject(&mut self, injection: &Injection) -> Result<(), BackendError> {
        let packet = match injection {
            Injection::Segment(octets) => segment_packet(octets),
            Injection::Icmp {
                kind,
                host_port,
                remote_port,
                seq,
            } => icmp_packet(*kind, (*host_port, *remote_port), *seq),
        };
        self.tun
            .write(&packet)
            .map_err(|error| BackendError::System {
                step: "writing to the TUN device",
                error,
            })
    }

    fn next_segment(
        &mut self,
        until: Duration,
    ) -> Result<Option<(Duration, Vec<u8>)>, BackendError> {
        loop {
            let left = until.saturating_sub(self.now());
            let packet = self.tun.read(left).map_err(|error| BackendError::System {
                step: "reading from the TUN device",
                error,
            })?;
            let at = self.now();
            match packet {
                Some(packet) => {
                    if let Some(segment) = segment_of(&packet) {
                        return Ok(Some((at, segment.to_vec())));
                    }
                }
                None if at >= until => return Ok(None),
                None => {}
            }
        }
    }

    fn call(&mut self, call: Call) -> Result<(), BackendError> {
        let done = match call {
            Call::Listen(port) => self.listen(port),
            Call::Accept => self.accept(),
            Call::Connect => self.connect(),
            Call::Write(len) => self.write(len),
            Call::Read(len) => self.read(len),
            Call::Shutdown => self.shutdown(),
            Call::Abort => self.abort(),
        };
        done.map_err(|error| BackendError::Call(format!("{call:?}: {error}")))
    }

    fn claim(&mut self, claim: Claim) -> Result<(), BackendError> {
        let state = self.open().ok().and_then(|one| tun::tcp_state(one).ok());
        if let Ok(Some(error)) = self.open().and_then(Socket::take_error) {
            self.failure = Some(error);
        }
        let holds = match claim {
            Claim::Established => state == Some(TCP_ESTABLISHED),
            Claim::Closed => state.is_none_or(|state| [TCP_CLOSE, TCP_TIME_WAIT].contains(&state)),
            Claim::Reset => self.failed_with(&[libc::ECONNRESET, libc::ECONNREFUSED, libc::EPIPE]),
            Claim::TimedOut => self.failed_with(&[libc::ETIMEDOUT]),
            Claim::Unreachable => self.failed_with(&[libc::EHOSTUNREACH, libc::ENETUNREACH]),
            Claim::Finished => self.is_finished(),
        };
        if holds {
            return Ok(());
        }
        Err(BackendError::Call(format!(
            "the state is {state:?} of linux/tcp_states.h, the error {:?}",
            self.failure
        )))
    }
}

/// The TCP segment of an IPv4 packet to the remote host.
fn segment_of(packet: &[u8]) -> Option<&[u8]> {
    let header_octets = usize::from(packet.first()? & 0x0f) * 4;
    let is_ours = packet.first()? >> 4 == 4
        && *packet.get(9)? == PROTOCOL_TCP
        && packet.get(16..20)? == REMOTE.octets().as_slice();
    if is_ours {
        packet.get(header_octets..)
    } else {
        None
    }
}

fn segment_packet(octets: &[u8]) -> Vec<u8> {
    let mut segment = octets.to_vec();
    let len = u16::try_from(segment.len())
        .unwrap_or(u16::MAX)
        .to_be_bytes();
    let pseudo = [0, PROTOCOL_TCP, len[0], len[1]];
    let sum = checksum(&[&REMOTE.octets(), &HOST.octets(), &pseudo, &segment]);
    if let Some(field) = segment.get_mut(16..18) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
    ip_packet(PROTOCOL_TCP, (REMOTE, HOST), &segment)
}

/// RFC 792: the IP header and 8 octets of what could not be delivered.
fn icmp_packet(kind: IcmpKind, (host_port, remote_port): (u16, u16), seq: u32) -> Vec<u8> {
    let (code, mtu) = match kind {
        IcmpKind::Unreachable => (1, 0),
        IcmpKind::TooBig { mtu } => (4, mtu),
    };
    let mut quoted = Vec::new();
    quoted.extend(host_port.to_be_bytes());
    quoted.extend(remote_port.to_be_bytes());
    quoted.extend(seq.to_be_bytes());
    let mut message = vec![3, code, 0, 0, 0, 0];
    message.extend(mtu.to_be_bytes());
    message.extend(ip_packet(PROTOCOL_TCP, (HOST, REMOTE), &quoted));
    let sum = checksum(&[&message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    ip_packet(PROTOCOL_ICMP, (REMOTE, HOST), &message)
}

fn ip_packet(protocol: u8, (from, to): (Ipv4Addr, Ipv4Addr), content: &[u8]) -> Vec<u8> {
    let len = u16::try_from(20 + content.len()).unwrap_or(u16::MAX);
    let mut packet = vec![0x45, 0];
    packet.extend(len.to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    let sum = checksum(&[&packet]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(content);
    packet
}

const PROTOCOL_ICMP: u8 = 1;
const PROTOCOL_TCP: u8 = 6;
const TCP_ESTABLISHED: u8 = 1;
const TCP_TIME_WAIT: u8 = 6;
const TCP_CLOSE: u8 = 7;
/// How long a call waits for what must have happened.
const PATIENCE: Duration = Duration::from_secs(1);
/// A jiffy is 4 ms, and other programs run beside.
const TOLERANCE: Duration = Duration::from_millis(15);
