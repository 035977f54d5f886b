//! Shorthand that several tests share.
#![allow(dead_code, reason = "each test uses a part")]

use std::net::SocketAddr;

use synhop_core::{Config, Isn, Leg, NextHop, Own, Settings, Syn};
use synhop_option::{Extra, HopsLeft, SynOption, V4Destination, V6Destination};

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address and port")
}

/// Settings that allow everybody everything, early.
pub(crate) fn open_settings() -> Settings {
    let everywhere = ["0.0.0.0/0", "::/0"].map(|net| net.parse().expect("a prefix"));
    Settings {
        allow_from: everywhere.into(),
        allow_to: everywhere.map(Into::into).into(),
        trusted: everywhere.into(),
        ..Settings::default()
    }
}

/// The configuration of a node at `own` that sends everything to `next`.
pub(crate) fn node_at(own: SocketAddr, next: NextHop, mut settings: Settings) -> Config {
    settings.own = Own {
        addresses: vec![own.ip()],
        listens: vec![own],
    };
    settings.default_route = next;
    Config::new(settings).expect("settings that make sense")
}

/// An option with the full 4-tuple of an IPv4 flow.
pub(crate) fn v4_option(source: &str, destination: &str, hops: Option<u8>) -> SynOption {
    SynOption::V4 {
        source: source.parse().expect("an IPv4 source"),
        destination: v4_destination(destination),
        extra: extra(hops),
    }
}

/// An option with the destination of an IPv4 flow.
pub(crate) fn v4_withheld(destination: &str) -> SynOption {
    SynOption::V4Withheld {
        destination: v4_destination(destination),
        cookie: None,
    }
}

/// An option with the destination of an IPv6 flow.
pub(crate) fn v6_option(destination: &str, hops: Option<u8>) -> SynOption {
    let SocketAddr::V6(destination) = addr(destination) else {
        panic!("not an IPv6 destination");
    };
    SynOption::V6 {
        destination: V6Destination::new(*destination.ip(), destination.port())
            .expect("a legal destination"),
        extra: extra(hops),
    }
}

pub(crate) fn syn(
    client: SocketAddr,
    local: SocketAddr,
    isn: u32,
    option: Option<SynOption>,
) -> Syn {
    Syn {
        leg: Leg::new(client, local),
        isn: Isn(isn),
        option: Ok(option),
    }
}

fn v4_destination(text: &str) -> V4Destination {
    V4Destination::new(text.parse().expect("an IPv4 destination")).expect("a legal destination")
}

fn extra(hops: Option<u8>) -> Extra {
    match hops {
        Some(hops) => Extra::Hops(HopsLeft::new(hops)),
        None => Extra::Nothing,
    }
}
