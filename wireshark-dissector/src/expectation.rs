//! What the dissector has to show of a segment, from two authorities: the vector's own fields, and
//! the codec.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use synhop_option::{
    DestinationError, Family, FormError, HopsLeft, Kind, ListError, OptionError, SynAckOption,
    SynOption, View, syn_ack_option, syn_option,
};

use crate::tshark::Row;
use crate::vector::{Expect, Segment, Vector};

/// The fields that [`Expected::check`] needs in a row.
pub const FIELDS: [&str; 12] = [
    "synhop.kind",
    "synhop.exid",
    "synhop.form",
    "synhop.src",
    "synhop.src6",
    "synhop.sport",
    "synhop.dst",
    "synhop.dst6",
    "synhop.dport",
    "synhop.cookie",
    "synhop.hops_left",
    "synhop.error",
];

/// What the dissector has to show of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// No tree of its own.
    Nothing,
    /// Exactly these of [`FIELDS`], with these values.
    Option(BTreeMap<&'static str, String>),
    /// The name of the reason; other fields as far as there are any.
    Refused(String),
}

impl Expected {
    /// What the vector says.
    ///
    /// # Panics
    /// When the vector lacks a key that it must have.
    pub fn of_vector(vector: &Vector) -> Self {
        match vector.expect {
            Expect::None => Self::Nothing,
            Expect::Error => {
                let error = vector.error.as_deref().expect("an error has a name");
                Self::refusal(error, &vector.option_octets(), vector.kind)
            }
            Expect::Option => {
                let mut shown = Shown::new(vector.kind);
                shown.set(
                    "synhop.form",
                    vector.form.as_ref().expect("an option has a form"),
                );
                shown.family(match (vector.family.as_deref(), vector.destination) {
                    (Some("v4"), _) | (_, Some(SocketAddr::V4(_))) => Family::V4,
                    _ => Family::V6,
                });
                shown.source(vector.source);
                shown.destination(vector.destination);
                shown.optional("synhop.cookie", vector.cookie.as_ref());
                shown.optional("synhop.hops_left", vector.hops_left.as_ref());
                Self::Option(shown.0)
            }
        }
    }

    /// What the codec makes of these octets.
    pub fn of_codec(kind: Kind, segment: Segment, options: &[u8], node_port: u16) -> Self {
        use synhop_option::Segment as Flags;
        let found = match segment {
            Segment::Syn => syn_option(Flags::Syn, options, kind)
                .map(|option| option.map(|option| shown_syn(kind, &option, node_port))),
            Segment::SynAck => syn_ack_option(Flags::SynAck, options, kind)
                .map(|option| option.map(|option| shown_reply(kind, option))),
            Segment::Other => syn_option(Flags::Other, options, kind)
                .map(|option| option.map(|option| shown_syn(kind, &option, node_port))),
        };
        match found {
            Ok(None) => Self::Nothing,
            Ok(Some(shown)) => Self::Option(shown.0),
            Err(error) => Self::refusal(name(error), options, kind.octet()),
        }
    }

    /// A broken list that has nothing to do with synhop is refused too, by a node that meets it;
    /// but the dissector leaves it to Wireshark.
    fn refusal(error: &str, options: &[u8], kind: u8) -> Self {
        let is_of_list = matches!(error, "truncated" | "bad-list-length");
        if is_of_list && !concerns_synhop(options, kind) {
            return Self::Nothing;
        }
        Self::Refused(error.to_owned())
    }

    /// Compares with what tshark showed; says what differs.
    pub fn check(&self, row: &Row) -> Result<(), String> {
        match self {
            Self::Nothing => check_values(&BTreeMap::new(), row),
            Self::Option(values) => check_values(values, row),
            Self::Refused(error) => match row["synhop.error"].as_slice() {
                [shown] if shown == error => Ok(()),
                shown => Err(format!("refused as {shown:?} where {error} was expected")),
            },
        }
    }
}

/// The values of [`FIELDS`] that a tree shows.
struct Shown(BTreeMap<&'static str, String>);

impl Shown {
    fn new(kind: u8) -> Self {
        Self(BTreeMap::from([("synhop.kind", kind.to_string())]))
    }

    fn set(&mut self, field: &'static str, value: &impl ToString) {
        self.0.insert(field, value.to_string());
    }

    fn optional(&mut self, field: &'static str, value: Option<&impl ToString>) {
        if let Some(value) = value {
            self.set(field, value);
        }
    }

    fn family(&mut self, family: Family) {
        let ex_id = match family {
            Family::V4 => "0xe5f4",
            Family::V6 => "0xe5f6",
        };
        self.set("synhop.exid", &ex_id);
    }

    fn source(&mut self, source: Option<SocketAddr>) {
        let Some(source) = source else { return };
        let field = if source.is_ipv4() {
            "synhop.src"
        } else {
            "synhop.src6"
        };
        self.set(field, &source.ip());
        self.set("synhop.sport", &source.port());
    }

    fn destination(&mut self, destination: Option<SocketAddr>) {
        let Some(destination) = destination else {
            return;
        };
        let field = if destination.is_ipv4() {
            "synhop.dst"
        } else {
            "synhop.dst6"
        };
        self.set(field, &destination.ip());
        self.set("synhop.dport", &destination.port());
    }
}

fn shown_syn(kind: Kind, option: &SynOption, node_port: u16) -> Shown {
    let form = match option {
        SynOption::V4 { .. } => "v4",
        SynOption::V4Withheld { .. } => "v4-withheld",
        SynOption::V6Address { .. } => "v6-address",
        SynOption::V6 { .. } => "v6",
        SynOption::V6Tuple { .. } => "v6-tuple",
    };
    let mut shown = Shown::new(kind.octet());
    shown.set("synhop.form", &form);
    shown.family(option.family());
    shown.source(option.claimed_source());
    shown.destination(Some(option.destination(node_port)));
    shown.optional(
        "synhop.cookie",
        option.cookie().map(|it| hex::encode(it.octets())).as_ref(),
    );
    shown.optional(
        "synhop.hops_left",
        option.hops_left().map(HopsLeft::get).as_ref(),
    );
    shown
}

fn shown_reply(kind: Kind, option: SynAckOption) -> Shown {
    let mut shown = Shown::new(kind.octet());
    shown.set("synhop.form", &"understood");
    shown.family(option.family);
    shown.optional(
        "synhop.cookie",
        option.cookie.map(|it| hex::encode(it.octets())).as_ref(),
    );
    shown
}

/// The error's name in the vectors.
fn name(error: OptionError) -> &'static str {
    match error {
        OptionError::List(ListError::Empty | ListError::Truncated { .. }) => "truncated",
        OptionError::List(ListError::BadLength { .. }) => "bad-list-length",
        OptionError::Form(FormError::BadLength { .. }) => "bad-length",
        OptionError::Form(FormError::SourcePortZero) => "source-port-zero",
        OptionError::Form(FormError::Destination(error)) => match error {
            DestinationError::PortZero => "port-zero",
            DestinationError::Unspecified => "unspecified",
            DestinationError::Multicast => "multicast",
            DestinationError::Broadcast => "broadcast",
        },
        OptionError::Duplicate => "duplicate",
        OptionError::WrongSegment => "wrong-segment",
    }
}

/// Whether a broken list holds the option: before the break, as what breaks it (as far as it is
/// there), or behind.
fn concerns_synhop(options: &[u8], kind: u8) -> bool {
    let is_head =
        |octets: &[u8]| matches!(octets, [head, _, 0xe5, 0xf4 | 0xf6, ..] if *head == kind);
    let mut rest = options;
    while let Ok((view, behind)) = View::split(rest) {
        if view.len_octets() >= 4 && is_head(rest) {
            return true;
        }
        rest = behind;
    }
    let is_cut_head = match rest {
        [head] | [head, _] | [head, _, 0xe5] => *head == kind,
        _ => false,
    };
    is_cut_head || (0..rest.len()).any(|at| is_head(&rest[at..]))
}

fn check_values(expected: &BTreeMap<&'static str, String>, row: &Row) -> Result<(), String> {
    for field in FIELDS {
        let expected: Vec<String> = expected.get(field).into_iter().cloned().collect();
        let shown: Vec<String> = row[field].iter().map(|value| normal(value)).collect();
        if shown != expected {
            return Err(format!(
                "{field} is {shown:?} where {expected:?} was expected"
            ));
        }
    }
    Ok(())
}

/// An address in Rust's notation, which is not Wireshark's in all cases; other values as they are.
fn normal(value: &str) -> String {
    value
        .parse::<IpAddr>()
        .map_or_else(|_| value.to_owned(), |address| address.to_string())
}
