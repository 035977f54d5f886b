//! The library that `synhop run` puts into programs by `LD_PRELOAD`.
//!
//! It stands in front of three functions of the C library, and of them only in TCP's way:
//!
//! * `connect`: asks the helper to mark the socket with its destination, and connects it to the
//!   proxy instead;
//! * `getsockopt(SO_ERROR)`: where a program learns how a non-blocking connect ended. A
//!   connection whose peer turned out to be no node is replaced here;
//! * `getpeername`: tells the destination, not the proxy.
//!
//! It is a guest in somebody else's process: no signal handlers, no exit, no threads, no lock
//! that a `fork` could break, no allocation after its start, and `errno` as the C library would
//! have left it. The decisions are `synhop-client-core`'s.
//!
//! `sys` holds all that is unsafe.
#![deny(unsafe_code)]

mod completion;
mod connect;
mod error_option;
mod guard;
mod helper;
mod peer;
mod report;
mod state;
#[expect(
    unsafe_code,
    reason = "a preload library is made of raw pointers; they end in this module"
)]
mod sys;
