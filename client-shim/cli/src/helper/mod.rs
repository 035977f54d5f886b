//! `synhop helper`: the privileged part.

mod lobby;
mod marker;
mod places;
mod server;

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::path::Path;

use anyhow::{Context, Result, bail};
use socket2::{Domain, SockAddr, Socket, Type};
use synhop_sockets::{Attachment, Cgroup, Config};
use tracing::info;

use crate::args;
use crate::sys::{self, Signals};
use marker::Marker;
use server::Server;
pub(crate) use server::Users;

/// Connections that may wait for their `accept()`.
const BACKLOG: i32 = 512;

/// Serves until SIGTERM or SIGINT.
pub(crate) fn run(args: args::Helper) -> Result<()> {
    let signals = Signals::block(&[libc::SIGTERM, libc::SIGINT]).context("blocking signals")?;
    sys::raise_descriptor_limit();
    let attachment = Attachment::new(Config {
        kind: args.kind,
        cgroup: args.cgroup.map_or(Cgroup::Topmost, Cgroup::At),
        ..Config::default()
    })?;
    let gid = args.group.as_deref().map(group_id).transpose()?;
    if let Some(directory) = args.socket.parent()
        && !directory.as_os_str().is_empty()
    {
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    let users = Users::new(args.allow_uid);
    start(attachment, &args.socket, gid, users)?;
    info!(socket = %args.socket.display(), "listening");
    sys::notify_ready();
    let signal = signals.wait();
    info!(signal = signal.number, "stopping");
    let _ = fs::remove_file(&args.socket);
    Ok(())
}

/// Binds the socket and serves it in threads, to the end of the process.
pub(crate) fn start(
    attachment: Attachment,
    path: &Path,
    gid: Option<u32>,
    users: Users,
) -> Result<()> {
    let listener = bind(path, gid).with_context(|| path.display().to_string())?;
    Server::start(listener, Marker::new(attachment), users).context("starting the helper's threads")
}

fn bind(path: &Path, gid: Option<u32>) -> Result<Socket> {
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
    remove_stale(path, &address)?;
    socket.bind(&address)?;
    let mode = if gid.is_some() { 0o660 } else { 0o666 };
    chown(path, None, gid)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Removes the socket of a helper that is gone; never that of one at work, nor a file.
fn remove_stale(path: &Path, address: &SockAddr) -> Result<()> {
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !found.file_type().is_socket() {
        bail!("exists and is no socket");
    }
    let probe = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
    match probe.connect(address) {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).context("removing the socket of a helper that is gone")
        }
        Ok(()) => bail!("another helper listens here"),
        Err(error) => Err(error.into()),
    }
}

/// By number, or by name in /etc/group.
fn group_id(group: &str) -> Result<u32> {
    if let Ok(gid) = group.parse() {
        return Ok(gid);
    }
    let groups = fs::read_to_string("/etc/group").context("/etc/group")?;
    let line = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let gid = fields.nth(1)?;
        (name == group).then(|| gid.parse())?.ok()
    });
    line.with_context(|| format!("no group {group:?} in /etc/group"))
}
