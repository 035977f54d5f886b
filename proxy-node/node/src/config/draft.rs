//! A configuration in the making: what was said, before defaults and checks.

use std::net::SocketAddr;

use ipnet::IpNet;
use synhop_core::{AllowTo, NextHop, Route, Timeouts};
use synhop_option::Kind;

use super::{Limits, LogFormat, Problem, Problems, SendBuffer, Settings};

/// What flags or a file said. `None` and empty lists: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// See [`Settings::listen`].
    pub listen: Option<SocketAddr>,
    /// See [`Settings::via`].
    pub via: Option<SocketAddr>,
    /// See [`Settings::routes`].
    pub routes: Vec<Route>,
    /// See [`Settings::allow_from`].
    pub allow_from: Vec<IpNet>,
    /// See [`Settings::allow_to`].
    pub allow_to: Vec<AllowTo>,
    /// See [`Settings::trust`].
    pub trust: Vec<IpNet>,
    /// See [`Settings::kind`].
    pub kind: Option<Kind>,
    /// See [`Settings::send_buffer`].
    pub send_buffer: Option<SendBuffer>,
    /// See [`Settings::status`].
    pub status: Option<SocketAddr>,
    /// See [`Settings::log_format`].
    pub log_format: Option<LogFormat>,
    /// See [`Settings::limits`].
    pub limits: Limits,
    /// See [`Settings::timeouts`].
    pub timeouts: Timeouts,
    /// Keys of the file whose value makes no sense: told already, so they are not missing.
    pub unreadable: Vec<String>,
}

impl Draft {
    /// `self`, overridden by what `flags` say. A list given by flags replaces the file's.
    /// Limits and timeouts have no flags.
    #[must_use]
    pub fn overridden_by(self, flags: Self) -> Self {
        Self {
            listen: flags.listen.or(self.listen),
            via: flags.via.or(self.via),
            routes: self.routes,
            allow_from: or(flags.allow_from, self.allow_from),
            allow_to: or(flags.allow_to, self.allow_to),
            trust: or(flags.trust, self.trust),
            kind: flags.kind.or(self.kind),
            send_buffer: flags.send_buffer.or(self.send_buffer),
            status: flags.status.or(self.status),
            log_format: flags.log_format.or(self.log_format),
            limits: self.limits,
            timeouts: self.timeouts,
            unreadable: self.unreadable,
        }
    }

    /// Every mistake that shows only when all is together.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut say = |message: &str| {
            problems.push(Problem {
                place: None,
                message: message.to_owned(),
            });
        };
        let lacks = |key: &str, is_absent| is_absent && !self.unreadable.iter().any(|it| it == key);
        if lacks("listen", self.listen.is_none()) {
            say("no address to listen on: give --listen ADDR:PORT or `listen` in the file");
        }
        if self.listen.is_some_and(|listen| listen.port() == 0) {
            say("listen: port 0 would be another one at every start; name a port");
        }
        if lacks("allow_from", self.allow_from.is_empty()) {
            say(
                "nobody may use this node: give --allow-from CIDR or `allow_from` in the file; \
                 without it the node does not start, lest it be an open proxy by accident",
            );
        }
        if lacks("allow_to", self.allow_to.is_empty()) {
            say(
                "no destination is allowed: give --allow-to CIDR or `allow_to` in the file \
                 (0.0.0.0/0 and ::/0 mean every destination)",
            );
        }
        if self.status.is_some() && self.status == self.listen {
            say("status: flows are listened for there; name another port");
        }
        for hop in self.next_hops() {
            if hop.ip().is_unspecified() || hop.port() == 0 {
                say(&format!("via {hop}: not an address and port to connect to"));
            } else if Some(hop) == self.listen {
                say(&format!("via {hop}: that is this node itself"));
            }
        }
        problems
    }

    /// The finished settings. `file` is the name for messages.
    pub fn finish(self, file: Option<&str>) -> Result<Settings, Problems> {
        let problems = self.problems();
        match self.listen {
            Some(listen) if problems.is_empty() => Ok(Settings {
                listen,
                via: self.via,
                routes: self.routes,
                allow_from: self.allow_from,
                allow_to: self.allow_to,
                trust: self.trust,
                kind: self.kind.unwrap_or_default(),
                send_buffer: self.send_buffer.unwrap_or_default(),
                status: self.status,
                log_format: self.log_format.unwrap_or_default(),
                limits: self.limits,
                timeouts: self.timeouts,
            }),
            Some(_) | None => Err(Problems {
                file: file.map(str::to_owned),
                problems,
            }),
        }
    }

    fn next_hops(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let routes = self.routes.iter().filter_map(|route| match route.next {
            NextHop::Node(node) => Some(node),
            NextHop::Destination => None,
        });
        self.via.into_iter().chain(routes)
    }
}

fn or<T>(flags: Vec<T>, file: Vec<T>) -> Vec<T> {
    if flags.is_empty() { file } else { flags }
}
