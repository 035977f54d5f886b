//! Links the image: no C start-up files, no C library, addresses as `link.ld` says.

use std::env;

fn main() {
    let folder = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    println!("cargo::rerun-if-changed=link.ld");
    for argument in [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,--build-id=none",
        "-Wl,--no-eh-frame-hdr",
        "-Wl,-z,max-page-size=4096",
        "-Wl,-z,norelro",
        &format!("-Wl,-T,{folder}/link.ld"),
    ] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
