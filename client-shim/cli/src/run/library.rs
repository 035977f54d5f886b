//! The preload library: where it is, and on which programs it has no effect.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

const NAME: &str = "libsynhop_preload.so";

/// The library: named by `SYNHOP_PRELOAD`, else beside this executable, else installed.
pub(super) fn find() -> Result<PathBuf> {
    let path = match std::env::var_os("SYNHOP_PRELOAD").filter(|path| !path.is_empty()) {
        Some(path) => {
            let path = std::path::absolute(path)?;
            if !path.is_file() {
                bail!("SYNHOP_PRELOAD: no file {}", path.display());
            }
            path
        }
        None => beside_executable()?,
    };
    // ld.so(8) separates by both, and knows no quoting.
    if path
        .as_os_str()
        .as_bytes()
        .iter()
        .any(|octet| b": ".contains(octet))
    {
        bail!(
            "{}: the dynamic linker takes no path with a colon or a space in it",
            path.display()
        );
    }
    Ok(path)
}

fn beside_executable() -> Result<PathBuf> {
    let executable = std::env::current_exe().context("finding the own executable")?;
    let directory = executable.parent().unwrap_or(Path::new("/"));
    let candidates = [
        directory.join(NAME),
        directory.join("../lib/synhop").join(NAME),
    ];
    let found = candidates.iter().find(|path| path.is_file());
    found.cloned().with_context(|| {
        let [beside, installed] = candidates.each_ref().map(|path| path.display());
        format!(
            "{NAME} is neither {beside} nor {installed}: install it, or name it by SYNHOP_PRELOAD"
        )
    })
}

/// Says so when the dynamic linker will not load the library into the program: its connections
/// go direct then, whatever the fallback.
pub(super) fn warn_if_ineffective(program: &OsStr) {
    let Some(path) = resolve(program) else {
        return;
    };
    let why = if fs::metadata(&path).is_ok_and(|it| it.is_file() && it.mode() & 0o6000 != 0) {
        "is setuid or setgid"
    } else if is_static_elf(&path) == Some(true) {
        "is statically linked"
    } else {
        return;
    };
    eprintln!(
        "synhop run: warning: {} {why}: its connections are not proxied",
        path.display()
    );
}

/// As execvp(3) finds it.
fn resolve(program: &OsStr) -> Option<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return Some(program.into());
    }
    std::env::split_paths(&super::search_path())
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}

/// Whether an ELF file names no interpreter; `None` for what is no 64-bit ELF file.
fn is_static_elf(path: &Path) -> Option<bool> {
    const PT_INTERP: u32 = 3;
    let mut head = Vec::new();
    // The program headers stand behind the file header, with all linkers.
    File::open(path)
        .ok()?
        .take(4096)
        .read_to_end(&mut head)
        .ok()?;
    if !head.starts_with(b"\x7fELF\x02") {
        return None;
    }
    let at = |offset: usize| head.get(offset..);
    let half = |offset| at(offset)?.first_chunk().copied().map(u16::from_ne_bytes);
    let start = usize::try_from(u64::from_ne_bytes(*at(32)?.first_chunk()?)).ok()?;
    let (size, count) = (usize::from(half(54)?), usize::from(half(56)?));
    let kinds = (0..count).map(|index| {
        let offset = start.checked_add(index.checked_mul(size)?)?;
        at(offset)?.first_chunk().copied().map(u32::from_ne_bytes)
    });
    let kinds: Vec<u32> = kinds.collect::<Option<_>>()?;
    Some(!kinds.contains(&PT_INTERP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_is_a_dynamic_program_and_a_text_is_none() {
        let own = std::env::current_exe().unwrap();
        assert_eq!(is_static_elf(&own), Some(false));
        assert_eq!(is_static_elf(Path::new("/proc/self/status")), None);
    }

    #[test]
    fn programs_are_found_as_a_shell_finds_them() {
        assert!(resolve(OsStr::new("sh")).is_some_and(|path| path.is_absolute()));
        assert_eq!(resolve(OsStr::new("no-such-program-anywhere")), None);
    }
}
