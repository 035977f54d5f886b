//! What the client shim decides, and how it talks to its helper.
//!
//! No I/O, no clock, no sockets: octets, addresses and times come in as parameters. The tables
//! are arrays of atomics: the preload library reads them in other people's processes, where a
//! lock that is held across `fork` would never open again.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod judge;
mod policy;
mod protocol;
mod routes;
mod settings;
mod sockaddr;
mod tracking;
mod verdicts;

pub use judge::{Completion, Judgement, Why, judge};
pub use policy::{Decision, Fallback, PassReason, Policy, SocketKind};
pub use protocol::{
    ANSWER_OCTETS, Answer, Flow, Outcome, PUBLISHED_UNDERSTOOD, Progress, ProtocolError,
    REQUEST_OCTETS, Refusal, Request,
};
pub use routes::{MAX_ROUTES, NextHop, Route, RouteError, Routes};
pub use settings::{Settings, SettingsError, names};
pub use sockaddr::{Endpoint, Form, SockAddr};
pub use tracking::{Entry, Phase, Tracking};
pub use verdicts::Verdicts;
