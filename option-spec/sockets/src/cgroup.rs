//! Finding the cgroup to attach to: the mount point differs between distributions and layouts.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::AttachError;

/// Whose sockets the programs see: those made by processes of a cgroup and of the groups below it.
/// A socket stays with the group that its process was in when it made the socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cgroup {
    /// The caller's own group.
    #[default]
    Own,
    /// The topmost group that is visible: all processes, unless a container hides some.
    Topmost,
    /// The group with this directory. The caller has to be in it or below it, else the self-test
    /// cannot see its own connection and fails.
    At(PathBuf),
}

impl Cgroup {
    /// The group's directory, and the descriptor to attach to.
    pub(crate) fn open(self) -> Result<(PathBuf, File), AttachError> {
        let directory = match self {
            Self::Own => own(&mount_point()?)?,
            Self::Topmost => mount_point()?,
            Self::At(directory) => directory,
        };
        let file = File::open(&directory).map_err(|source| AttachError::Cgroup {
            path: directory.clone(),
            source,
        })?;
        Ok((directory, file))
    }
}

fn mount_point() -> Result<PathBuf, AttachError> {
    let mounts = read("/proc/self/mounts")?;
    parse_mount_point(&mounts).ok_or(AttachError::NoCgroup2)
}

/// The caller's own group below `mount`. A path that is not visible here (a container that sees
/// the host's paths, or `/..`) falls back to the topmost group, which contains the caller.
fn own(mount: &Path) -> Result<PathBuf, AttachError> {
    let groups = read("/proc/self/cgroup")?;
    let path = parse_own_group(&groups).ok_or(AttachError::NoCgroup2)?;
    let directory = mount.join(path.trim_start_matches('/'));
    let is_visible = !path.split('/').any(|part| part == "..") && directory.is_dir();
    Ok(if is_visible {
        directory
    } else {
        mount.to_owned()
    })
}

/// The first mount of type cgroup2, in hybrid layouts beside those of version 1.
fn parse_mount_point(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let path = fields.nth(1)?;
        (fields.next()? == "cgroup2").then(|| PathBuf::from(unescape(path)))
    })
}

/// The group of version 2 has hierarchy 0 and no controllers.
fn parse_own_group(groups: &str) -> Option<&str> {
    groups.lines().find_map(|line| line.strip_prefix("0::"))
}

/// Mount tables write space, tab, newline and backslash as `\` and three octal digits.
fn unescape(field: &str) -> String {
    let mut parts = field.split('\\');
    let mut path = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.get(..3).and_then(|it| u8::from_str_radix(it, 8).ok());
        if let Some(octet) = digits {
            path.push(char::from(octet));
            path.push_str(&part[3..]);
        } else {
            path.push('\\');
            path.push_str(part);
        }
    }
    path
}

fn read(path: &str) -> Result<String, AttachError> {
    fs::read_to_string(path).map_err(|source: io::Error| AttachError::Cgroup {
        path: path.into(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_point_of_a_hybrid_layout_is_found() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
                      cgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(
            parse_mount_point(mounts),
            Some(PathBuf::from("/sys/fs/cgroup/unified"))
        );
    }

    #[test]
    fn a_mount_point_with_a_space_is_unescaped() {
        let mounts = "none /mnt/my\\040group cgroup2 rw 0 0\n";
        assert_eq!(
            parse_mount_point(mounts),
            Some(PathBuf::from("/mnt/my group"))
        );
    }

    #[test]
    fn without_cgroup2_there_is_no_mount_point() {
        assert_eq!(parse_mount_point("proc /proc proc rw 0 0\n"), None);
    }

    #[test]
    fn the_own_group_is_the_one_of_hierarchy_0() {
        let groups = "4:memory:/x\n0::/system.slice/synhop.service\n";
        assert_eq!(
            parse_own_group(groups),
            Some("/system.slice/synhop.service")
        );
        assert_eq!(parse_own_group("4:memory:/x\n"), None);
    }
}
