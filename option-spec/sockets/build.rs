//! Compiles the BPF program with clang into `OUT_DIR`.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, exit};
use std::{env, fs};

const SOURCE: &str = "bpf/synhop.bpf.c";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Each file by name: a directory's own time does not change when a file in it does.
    for entry in fs::read_dir("bpf").into_iter().flatten().flatten() {
        println!("cargo::rerun-if-changed={}", entry.path().display());
    }
    println!("cargo::rerun-if-changed=bpf");
    println!("cargo::rerun-if-env-changed=CLANG");

    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let out_dir = env::var("OUT_DIR").unwrap_or_else(|_| fail("cargo did not set OUT_DIR"));
    let object = Path::new(&out_dir).join("synhop.bpf.o");
    let status = Command::new(&clang)
        .args(["-O2", "-g", "-target", "bpf", "-mcpu=v2", "-std=gnu11"])
        .args(["-Wall", "-Wextra", "-Werror"])
        .args(["-idirafter", &arch_headers()])
        .args(["-c", SOURCE, "-o"])
        .arg(&object)
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => fail(&format!(
            "{clang} {SOURCE}: {status}. It needs the headers of libbpf (Debian: libbpf-dev) and \
             of the kernel (linux-libc-dev)."
        )),
        Err(error) if error.kind() == ErrorKind::NotFound => fail(&format!(
            "`{clang}` is not installed. The BPF program of synhop-sockets needs clang 11 or later \
             (Debian: clang libbpf-dev); CLANG=name names another one."
        )),
        Err(error) => fail(&format!("{clang}: {error}")),
    }
}

/// Where Debian keeps `<asm/types.h>`: clang does not look there for the target bpf.
fn arch_headers() -> String {
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    format!("/usr/include/{arch}-linux-gnu")
}

fn fail(message: &str) -> ! {
    println!("cargo::error={message}");
    exit(1)
}
