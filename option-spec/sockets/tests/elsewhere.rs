//! Sockets that the attachment's cgroup does not reach: told, never silent. One test, since it moves
//! its whole process between cgroups.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, Socket, Type};
use synhop_option::{SynOption, V4Destination};
use synhop_sockets::{
    AttachError, Attachment, Cgroup, Config, ListenError, Progress, SelfTestError, SourceFill,
};

/// A cgroup below the process's own, with the process in it; Drop moves it back and removes it.
struct Inside {
    outer: PathBuf,
    group: PathBuf,
}

impl Inside {
    fn enter() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
        let mount = mounts.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let path = fields.next()?;
            (fields.next()? == "cgroup2").then_some(path)
        })?;
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let outer = Path::new(mount).join(own);
        let group = outer.join(format!("synhop-elsewhere-test-{}", std::process::id()));
        fs::create_dir(&group).ok()?;
        let inside = Self { outer, group };
        move_to(&inside.group).ok()?;
        Some(inside)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let _stays_for_whoever_looks =
            move_to(&self.outer).and_then(|()| fs::remove_dir(&self.group));
    }
}

fn move_to(group: &Path) -> std::io::Result<()> {
    fs::write(group.join("cgroup.procs"), "0")
}

fn tcp() -> Socket {
    Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).expect("a socket")
}

fn bound() -> (Socket, SocketAddr) {
    let socket = tcp();
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&any_port.into()).expect("bind");
    let address = socket.local_addr().expect("getsockname");
    (socket, address.as_socket().expect("an IP address"))
}

#[test]
fn sockets_from_elsewhere_are_told() {
    let (listener_from_outside, _) = bound();
    let client_from_outside = tcp();
    let Some(inside) = Inside::enter() else {
        println!("SKIP sockets_from_elsewhere_are_told: cannot make a cgroup");
        return;
    };
    let attachment = match Attachment::new(Config::default()) {
        Ok(attachment) => attachment,
        Err(AttachError::NotPermitted { step }) => {
            println!("SKIP sockets_from_elsewhere_are_told: may not {step}");
            return;
        }
        Err(error) => panic!("{error}"),
    };

    let error = attachment.listen(&listener_from_outside, 1);
    assert!(matches!(error, Err(ListenError::NotEffective)), "{error:?}");

    let (listener, at) = bound();
    attachment
        .listen(&listener, 1)
        .expect("a socket of this group");
    let destination = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 1), 443);
    let option = SynOption::V4Withheld {
        destination: V4Destination::new(destination).expect("legal"),
        cookie: None,
    };
    let progress = |client: &Socket| {
        let marked = attachment.mark(client, &option, SourceFill::AsGiven);
        marked.expect("mark");
        client.connect(&at.into()).expect("connect");
        let state = attachment.mark_state(client).expect("mark_state");
        state.expect("a mark").progress
    };
    assert_eq!(progress(&client_from_outside), Progress::Marked);
    let understood = Progress::Understood { cookie: None };
    assert_eq!(progress(&tcp()), understood);

    // The group above reaches the sockets of both; a group beside reaches none of this process.
    let above = Config {
        cgroup: Cgroup::At(inside.outer.clone()),
        ..Config::default()
    };
    Attachment::new(above).expect("effective");
    Attachment::new(Config {
        cgroup: Cgroup::Topmost,
        ..Config::default()
    })
    .expect("effective");
    move_to(&inside.outer).expect("back");
    let beside = Config {
        cgroup: Cgroup::At(inside.group.clone()),
        ..Config::default()
    };
    let error = Attachment::new(beside).expect_err("the caller is not in it");
    assert!(
        matches!(error, AttachError::SelfTest(SelfTestError::NotEffective)),
        "{error:?}"
    );
}
