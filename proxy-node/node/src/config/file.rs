//! The TOML file: every mistake is found in one go and named with its place.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;
use std::time::Duration;

use synhop_core::{NextHop, Route, Timeouts};
use synhop_option::{HopsLeft, Kind};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Draft, Limits, Place, Problem, SendBuffer, parse_allow_to, parse_prefix};

/// Reads the text of a configuration file, as much of it as makes sense.
pub fn read(text: &str) -> (Draft, Vec<Problem>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader {
        text,
        problems: Vec::new(),
    };
    let is_toml = errors.is_empty();
    for error in errors {
        reader.say(
            &error.span().unwrap_or_default(),
            error.message().to_owned(),
        );
    }
    let mut draft = Draft::default();
    if is_toml {
        draft = reader.root(table.get_ref());
    } else {
        // What was meant cannot be told, so nothing is known to be missing.
        draft.unreadable = ROOT_KEYS.iter().map(|key| (*key).to_owned()).collect();
    }
    let mut problems = reader.problems;
    problems.sort_by_key(|problem| problem.place);
    (draft, problems)
}

type Value<'i> = Spanned<DeValue<'i>>;
type Parser<T> = fn(&str) -> Result<T, String>;

const ROOT_KEYS: &[&str] = &[
    "listen",
    "via",
    "route",
    "allow_from",
    "allow_to",
    "trust",
    "kind",
    "send_buffer",
    "status",
    "log_format",
    "limits",
    "timeouts",
];
const ROUTE_KEYS: &[&str] = &["prefix", "via"];
const LIMIT_KEYS: &[&str] = &[
    "flows",
    "pending",
    "pending_per_source",
    "syn_rate_per_source",
    "syn_burst_per_source",
    "sources",
    "hops",
    "backlog",
    "pipes",
];
const TIMEOUT_KEYS: &[&str] = &[
    "connect_ms",
    "handshake_ms",
    "idle_ms",
    "shutdown_grace_ms",
    "recent_handshake_ms",
];

const ADDRESS: &str = "an address and port such as \"192.0.2.1:4040\" or \"[2001:db8::1]:4040\"";
/// 30 days: longer waits are not meant.
const TIMEOUT_MS: RangeInclusive<u64> = 1..=2_592_000_000;
/// What the core takes at most.
const COUNT: RangeInclusive<u64> = 1..=1_048_576;

struct Reader<'t> {
    text: &'t str,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn root(&mut self, table: &DeTable<'_>) -> Draft {
        let mut draft = Draft::default();
        for (key, value) in table {
            let problems_before = self.problems.len();
            match key.get_ref().as_ref() {
                "listen" => draft.listen = self.address(value),
                "via" => draft.via = self.address(value),
                "route" => draft.routes = self.routes(value),
                "allow_from" => draft.allow_from = self.list(value, parse_prefix),
                "allow_to" => draft.allow_to = self.list(value, parse_allow_to),
                "trust" => draft.trust = self.list(value, parse_prefix),
                "kind" => draft.kind = self.kind(value),
                "send_buffer" => draft.send_buffer = self.send_buffer(value),
                "status" => draft.status = self.address(value),
                "log_format" => draft.log_format = self.parsed(value, "\"text\" or \"json\""),
                "limits" => draft.limits = self.limits(value),
                "timeouts" => draft.timeouts = self.timeouts(value),
                _ => self.unknown(key, ROOT_KEYS),
            }
            if self.problems.len() > problems_before {
                draft.unreadable.push(key.get_ref().clone().into_owned());
            }
        }
        draft
    }

    fn limits(&mut self, value: &Value<'_>) -> Limits {
        let mut limits = Limits::default();
        let Some(table) = self.table(value) else {
            return limits;
        };
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "flows" => limits.flows = self.integer(value, COUNT),
                "pending" => self.set(&mut limits.core.pending, value, COUNT),
                "pending_per_source" => {
                    self.set(&mut limits.core.pending_per_source, value, COUNT);
                }
                "syn_rate_per_source" => {
                    self.set(&mut limits.core.syn_rate_per_source, value, COUNT);
                }
                "syn_burst_per_source" => {
                    self.set(&mut limits.core.syn_burst_per_source, value, COUNT);
                }
                "sources" => self.set(&mut limits.core.sources, value, COUNT),
                "hops" => {
                    if let Some(hops) = self.integer(value, 1..=255) {
                        limits.hops = HopsLeft::new(hops);
                    }
                }
                "backlog" => self.set(&mut limits.backlog, value, 1..=0x7fff_ffff),
                "pipes" => self.set(&mut limits.pipes, value, 0..=1_000_000),
                _ => self.unknown(key, LIMIT_KEYS),
            }
        }
        limits
    }

    fn timeouts(&mut self, value: &Value<'_>) -> Timeouts {
        let mut timeouts = Timeouts::default();
        let Some(table) = self.table(value) else {
            return timeouts;
        };
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "connect_ms" => self.set_ms(&mut timeouts.connect, value),
                "handshake_ms" => self.set_ms(&mut timeouts.handshake, value),
                "idle_ms" => self.set_ms(&mut timeouts.idle, value),
                "shutdown_grace_ms" => self.set_ms(&mut timeouts.shutdown_grace, value),
                "recent_handshake_ms" => self.set_ms(&mut timeouts.recent_handshake, value),
                _ => self.unknown(key, TIMEOUT_KEYS),
            }
        }
        timeouts
    }

    fn routes(&mut self, value: &Value<'_>) -> Vec<Route> {
        let DeValue::Array(entries) = value.get_ref() else {
            self.expected(value, "[[route]] sections");
            return Vec::new();
        };
        let mut routes: Vec<Route> = Vec::new();
        for entry in entries {
            let Some(route) = self.route(entry) else {
                continue;
            };
            if routes.iter().any(|other| other.prefix == route.prefix) {
                let message = format!("a second route for {}", route.prefix);
                self.say(&entry.span(), message);
            }
            routes.push(route);
        }
        routes
    }

    fn route(&mut self, entry: &Value<'_>) -> Option<Route> {
        let table = self.table(entry)?;
        let (mut prefix, mut next) = (None, None);
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "prefix" => prefix = Some(self.item(value, parse_prefix)),
                "via" => next = Some(self.next_hop(value)),
                _ => self.unknown(key, ROUTE_KEYS),
            }
        }
        for (missing, key) in [(prefix.is_none(), "prefix"), (next.is_none(), "via")] {
            if missing {
                self.say(&entry.span(), format!("this route has no `{key}`"));
            }
        }
        Some(Route {
            prefix: prefix??,
            next: next??,
        })
    }

    fn next_hop(&mut self, value: &Value<'_>) -> Option<NextHop> {
        match value.get_ref() {
            DeValue::String(text) if text == "direct" => Some(NextHop::Destination),
            _ => self
                .parsed(value, &format!("\"direct\" or {ADDRESS}"))
                .map(NextHop::Node),
        }
    }

    fn kind(&mut self, value: &Value<'_>) -> Option<Kind> {
        let octet = self.integer(value, 253..=254)?;
        Kind::from_octet(octet)
    }

    fn send_buffer(&mut self, value: &Value<'_>) -> Option<SendBuffer> {
        match value.get_ref() {
            DeValue::String(text) if text == "auto" => Some(SendBuffer::Auto),
            DeValue::Integer(_) => {
                let octets = self.integer(value, 4096..=(1 << 30) - 1)?;
                SendBuffer::octets(octets)
            }
            _ => {
                self.expected(value, "\"auto\" or a number of octets");
                None
            }
        }
    }

    fn address(&mut self, value: &Value<'_>) -> Option<SocketAddr> {
        self.parsed(value, ADDRESS)
    }

    fn list<T>(&mut self, value: &Value<'_>, parse: Parser<T>) -> Vec<T> {
        let DeValue::Array(entries) = value.get_ref() else {
            self.expected(value, "a list of prefixes such as [\"192.0.2.0/24\"]");
            return Vec::new();
        };
        let items = entries.iter().filter_map(|entry| self.item(entry, parse));
        items.collect()
    }

    fn item<T>(&mut self, value: &Value<'_>, parse: Parser<T>) -> Option<T> {
        let DeValue::String(text) = value.get_ref() else {
            self.expected(value, "a prefix such as \"192.0.2.0/24\"");
            return None;
        };
        match parse(text) {
            Ok(item) => Some(item),
            Err(message) => {
                self.say(&value.span(), message);
                None
            }
        }
    }

    fn parsed<T: FromStr>(&mut self, value: &Value<'_>, expected: &str) -> Option<T> {
        let parsed = match value.get_ref() {
            DeValue::String(text) => text.parse().ok(),
            _ => None,
        };
        if parsed.is_none() {
            self.expected(value, expected);
        }
        parsed
    }

    fn set_ms(&mut self, timeout: &mut Duration, value: &Value<'_>) {
        if let Some(ms) = self.integer(value, TIMEOUT_MS) {
            *timeout = Duration::from_millis(ms);
        }
    }

    fn set<T: TryFrom<u64>>(
        &mut self,
        limit: &mut T,
        value: &Value<'_>,
        range: RangeInclusive<u64>,
    ) {
        if let Some(number) = self.integer(value, range) {
            *limit = number;
        }
    }

    fn integer<T: TryFrom<u64>>(
        &mut self,
        value: &Value<'_>,
        range: RangeInclusive<u64>,
    ) -> Option<T> {
        let number = match value.get_ref() {
            DeValue::Integer(digits) => u64::from_str_radix(digits.as_str(), digits.radix()).ok(),
            _ => None,
        };
        let number = number
            .filter(|number| range.contains(number))
            .and_then(|number| T::try_from(number).ok());
        if number.is_none() {
            let expected = format!("a number from {} to {}", range.start(), range.end());
            self.expected(value, &expected);
        }
        number
    }

    fn table<'v, 'i>(&mut self, value: &'v Value<'i>) -> Option<&'v DeTable<'i>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.expected(value, "a section");
        }
        table
    }

    fn expected(&mut self, value: &Value<'_>, expected: &str) {
        let found = self.text.get(value.span()).unwrap_or_default();
        let found = found.lines().next().unwrap_or_default();
        self.say(&value.span(), format!("{found} is not {expected}"));
    }

    fn unknown(&mut self, key: &Spanned<Cow<'_, str>>, known: &[&str]) {
        let name = key.get_ref();
        let nearest = known
            .iter()
            .min_by_key(|candidate| distance(name, candidate));
        let message = match nearest {
            Some(nearest) if distance(name, nearest) <= 3 => {
                format!("unknown key `{name}`; is `{nearest}` meant?")
            }
            Some(_) | None => {
                format!("unknown key `{name}`; known here: {}", known.join(", "))
            }
        };
        self.say(&key.span(), message);
    }

    fn say(&mut self, span: &Range<usize>, message: String) {
        self.problems.push(Problem {
            place: Some(Place::of(self.text, span.start)),
            message,
        });
    }
}

/// Levenshtein's distance: insertions, deletions and replacements from one to the other.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (at, octet) in from.bytes().enumerate() {
        let mut diagonal = at;
        let mut left = at + 1;
        for (cell, other) in row.iter_mut().skip(1).zip(to.bytes()) {
            let replaced = diagonal + usize::from(octet != other);
            diagonal = *cell;
            left = replaced.min(left + 1).min(*cell + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = at + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn distances() {
        assert_eq!(distance("allow_from", "allow_from"), 0);
        assert_eq!(distance("alow_form", "allow_from"), 3);
        assert_eq!(distance("", "via"), 3);
        assert_eq!(distance("kind", "hops"), 4);
    }
}
