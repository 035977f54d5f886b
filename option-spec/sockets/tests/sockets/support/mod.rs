//! What the tests share: a network namespace of their own each, sockets, options.

pub(crate) mod capture;
pub(crate) mod craft;
pub(crate) mod sys;

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use synhop_option::{Cookie, Extra, HopsLeft, SynOption, V4Destination, V6Destination, V6Host};
use synhop_sockets::{Attachment, Config, MarkState, Progress, SourceFill, SynEvent, SynEvents};

/// How long any single thing may take: retransmissions come after a second.
pub(crate) const BOUND: Duration = Duration::from_secs(10);

/// Runs `test` in a thread that has a network namespace of its own, with loopback up. The namespace
/// goes with the thread and its sockets.
pub(crate) fn in_netns(name: &str, test: impl FnOnce() + Send + 'static) {
    let ran = thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || match sys::unshare_network() {
            Ok(()) => {
                run("ip", &["link", "set", "lo", "up"]);
                test();
                true
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => false,
            Err(error) => panic!("unshare: {error}"),
        })
        .expect("a thread")
        .join();
    match ran {
        Ok(true) => {}
        Ok(false) => println!("SKIP {name}: network namespaces need root"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Runs a command in the calling thread's namespace.
pub(crate) fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status();
    assert!(
        status.as_ref().is_ok_and(std::process::ExitStatus::success),
        "{program} {arguments:?}: {status:?}"
    );
}

/// Sets a sysctl of the calling thread's namespace; called within [`in_netns`] only.
pub(crate) fn sysctl(name: &str, value: &str) {
    let path = format!("/proc/sys/net/ipv4/{name}");
    fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
}

pub(crate) fn attach() -> Attachment {
    attach_with(Config::default())
}

pub(crate) fn attach_with(config: Config) -> Attachment {
    Attachment::new(config).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn events(attachment: &Attachment) -> SynEvents {
    attachment.events().expect("the stream, taken once")
}

/// A TCP socket for `address`'s family.
pub(crate) fn tcp(address: SocketAddr) -> Socket {
    let domain = Domain::for_address(address);
    Socket::new(domain, Type::STREAM, Some(Protocol::TCP)).expect("a socket")
}

/// A socket bound to `address`, which may have port 0, and where it is bound.
pub(crate) fn bound(address: &str) -> (Socket, SocketAddr) {
    let address: SocketAddr = address.parse().expect("an address");
    let socket = tcp(address);
    socket.set_reuse_address(true).expect("SO_REUSEADDR");
    socket.bind(&address.into()).expect("bind");
    let address = local(&socket);
    (socket, address)
}

/// A listener of `attachment`'s.
pub(crate) fn serve(attachment: &Attachment, address: &str) -> (Socket, SocketAddr) {
    let (socket, address) = bound(address);
    attachment.listen(&socket, 4096).expect("listen");
    (socket, address)
}

pub(crate) fn local(socket: &Socket) -> SocketAddr {
    let address = socket.local_addr().expect("getsockname");
    address.as_socket().expect("an IP address")
}

/// Marks a new socket and connects it.
pub(crate) fn connect(attachment: &Attachment, option: &SynOption, to: SocketAddr) -> Socket {
    let client = tcp(to);
    attachment
        .mark(&client, option, SourceFill::FromSocket)
        .expect("mark");
    client.connect_timeout(&to.into(), BOUND).expect("connect");
    client
}

pub(crate) fn state(attachment: &Attachment, socket: &Socket) -> MarkState {
    attachment
        .mark_state(socket)
        .expect("mark_state")
        .expect("a mark")
}

pub(crate) fn progress(attachment: &Attachment, socket: &Socket) -> Progress {
    state(attachment, socket).progress
}

/// The next event, waited for with a bound.
pub(crate) fn next_event(events: &mut SynEvents) -> SynEvent {
    let deadline = Instant::now() + BOUND;
    loop {
        if let Some(event) = events.next() {
            return event;
        }
        assert!(sys::readable(&*events, deadline), "no event came");
    }
}

/// The option in which the destination stands that the tests connect "to".
pub(crate) fn v4(extra: Extra) -> SynOption {
    SynOption::V4 {
        source: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
        destination: destination(),
        extra,
    }
}

pub(crate) fn v4_from(source: SocketAddrV4) -> SynOption {
    SynOption::V4 {
        source,
        destination: destination(),
        extra: Extra::Nothing,
    }
}

pub(crate) fn v4_withheld(cookie: Option<Cookie>) -> SynOption {
    SynOption::V4Withheld {
        destination: destination(),
        cookie,
    }
}

pub(crate) fn v6_address() -> SynOption {
    SynOption::V6Address {
        host: V6Host::new(HOST6).expect("legal"),
    }
}

pub(crate) fn v6(extra: Extra) -> SynOption {
    SynOption::V6 {
        destination: V6Destination::new(HOST6, 443).expect("legal"),
        extra,
    }
}

pub(crate) fn destination() -> V4Destination {
    V4Destination::new(SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 1), 443)).expect("legal")
}

pub(crate) const COOKIE: Cookie = Cookie::from_octets([0xc0, 0x0c, 0x1e, 0x55]);
pub(crate) const HOPS: Extra = Extra::Hops(HopsLeft::DEFAULT);
pub(crate) const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
