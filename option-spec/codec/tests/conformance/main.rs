//! The codec, SPEC.md and the golden vectors agree.

mod golden;
mod spec;
mod vector;
