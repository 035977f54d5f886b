//! The image on QEMU's microvm.
//!
//! The network is a pair of UDP sockets on the loopback address: no root is needed. Set
//! `SYNHOP_UNIKERNEL` to the image, or build it before with `cargo build --profile image`.

mod boot;
mod frames;
mod fuzz;
mod machine;
