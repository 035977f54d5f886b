//! Every golden vector means to the codec what its file says.

use std::collections::BTreeSet;

use crate::vector::{Expect, Vector};
use synhop_option::{
    Cookie, DestinationError, Family, FormError, HopsLeft, ListError, MAX_OPTIONS_OCTETS,
    OptionError, Segment, SynAckOption, SynOption, View, syn_ack_option, syn_option,
};

#[test]
fn valid_vectors_parse_as_their_files_say() {
    for vector in Vector::all_in("valid") {
        assert_ne!(vector.expect, Expect::Error, "{}", vector.name);
        check(&vector);
    }
}

#[test]
fn malformed_vectors_are_refused_as_their_files_say() {
    for vector in Vector::all_in("malformed") {
        assert_eq!(vector.expect, Expect::Error, "{}", vector.name);
        check(&vector);
    }
}

#[test]
fn option_areas_could_stand_in_a_tcp_header() {
    for vector in all() {
        let len = vector.octets().len();
        assert!(
            len <= MAX_OPTIONS_OCTETS && len.is_multiple_of(4),
            "{}: {len} octets",
            vector.name
        );
        assert!(!vector.about.is_empty(), "{}", vector.name);
    }
}

#[test]
fn emitting_a_lone_option_gives_the_vectors_octets() {
    let mut emitted_lens = BTreeSet::new();
    for vector in Vector::all_in("valid") {
        if vector.expect != Expect::Option || vector.canonical.as_deref() == Some("no") {
            continue;
        }
        let octets = vector.octets();
        let Some(option) = lone_option(&octets) else {
            continue;
        };
        let mut buffer = [0xa5; MAX_OPTIONS_OCTETS];
        let len = emit(&vector, &mut buffer);
        assert_eq!(
            hex::encode(&buffer[..len]),
            hex::encode(option),
            "{}",
            vector.name
        );
        assert!(
            buffer[len..].iter().all(|octet| *octet == 0xa5),
            "{}: wrote behind the option",
            vector.name
        );
        emitted_lens.insert((vector.form, len));
    }
    assert_eq!(
        emitted_lens.len(),
        12,
        "every form and length: {emitted_lens:?}"
    );
}

#[test]
fn vectors_cover_every_error() {
    let covered: BTreeSet<String> = Vector::all_in("malformed")
        .into_iter()
        .filter_map(|vector| vector.error)
        .collect();
    let named: BTreeSet<String> = ERROR_NAMES.iter().map(ToString::to_string).collect();
    assert_eq!(covered, named);
}

/// The names of SPEC section 4.4.
const ERROR_NAMES: [&str; 10] = [
    "truncated",
    "bad-list-length",
    "bad-length",
    "port-zero",
    "source-port-zero",
    "unspecified",
    "multicast",
    "broadcast",
    "duplicate",
    "wrong-segment",
];

fn all() -> impl Iterator<Item = Vector> {
    Vector::all_in("valid")
        .into_iter()
        .chain(Vector::all_in("malformed"))
}

fn check(vector: &Vector) {
    let octets = vector.octets();
    let (segment, kind) = (vector.segment(), vector.kind());
    let syn = syn_option(segment, &octets, kind);
    let syn_ack = syn_ack_option(segment, &octets, kind);
    match segment {
        Segment::Syn => check_syn(vector, syn),
        Segment::SynAck => check_syn_ack(vector, syn_ack),
        Segment::Other => {
            assert_eq!(syn.err(), syn_ack.err(), "{}", vector.name);
            check_syn(vector, syn);
        }
    }
}

fn check_syn(vector: &Vector, parsed: Result<Option<SynOption>, OptionError>) {
    let name = &vector.name;
    match vector.expect {
        Expect::Option => {
            let option = parsed
                .unwrap_or_else(|error| panic!("{name}: {error}"))
                .unwrap_or_else(|| panic!("{name}: no option found"));
            let syn_port = vector.syn_port.expect("a SYN has a destination port");
            assert_eq!(Some(form(&option)), vector.form.as_deref(), "{name}");
            assert_eq!(option.claimed_source(), vector.source, "{name}");
            assert_eq!(
                Some(option.destination(syn_port)),
                vector.destination,
                "{name}"
            );
            assert_eq!(option.cookie(), cookie(vector), "{name}");
            assert_eq!(
                option.hops_left().map(HopsLeft::get),
                vector.hops_left,
                "{name}"
            );
        }
        Expect::None => assert_eq!(parsed, Ok(None), "{name}"),
        Expect::Error => check_error(vector, parsed.err()),
    }
}

fn check_syn_ack(vector: &Vector, parsed: Result<Option<SynAckOption>, OptionError>) {
    let name = &vector.name;
    match vector.expect {
        Expect::Option => {
            assert_eq!(vector.form.as_deref(), Some("understood"), "{name}");
            let expected = SynAckOption {
                family: family(vector),
                cookie: cookie(vector),
            };
            assert_eq!(parsed, Ok(Some(expected)), "{name}");
        }
        Expect::None => assert_eq!(parsed, Ok(None), "{name}"),
        Expect::Error => check_error(vector, parsed.err()),
    }
}

fn check_error(vector: &Vector, error: Option<OptionError>) {
    let named = error.map(error_name);
    assert_eq!(named, vector.error.as_deref(), "{}: {error:?}", vector.name);
}

const fn form(option: &SynOption) -> &'static str {
    match option {
        SynOption::V4 { .. } => "v4",
        SynOption::V4Withheld { .. } => "v4-withheld",
        SynOption::V6Address { .. } => "v6-address",
        SynOption::V6 { .. } => "v6",
        SynOption::V6Tuple { .. } => "v6-tuple",
    }
}

const fn error_name(error: OptionError) -> &'static str {
    match error {
        OptionError::List(ListError::Empty) => "empty",
        OptionError::List(ListError::Truncated { .. }) => "truncated",
        OptionError::List(ListError::BadLength { .. }) => "bad-list-length",
        OptionError::Form(FormError::BadLength { .. }) => "bad-length",
        OptionError::Form(FormError::Destination(error)) => match error {
            DestinationError::PortZero => "port-zero",
            DestinationError::Unspecified => "unspecified",
            DestinationError::Multicast => "multicast",
            DestinationError::Broadcast => "broadcast",
        },
        OptionError::Form(FormError::SourcePortZero) => "source-port-zero",
        OptionError::Duplicate => "duplicate",
        OptionError::WrongSegment => "wrong-segment",
    }
}

fn family(vector: &Vector) -> Family {
    match vector.family.as_deref() {
        Some("v4") => Family::V4,
        Some("v6") => Family::V6,
        other => panic!("{}: family {other:?}", vector.name),
    }
}

fn cookie(vector: &Vector) -> Option<Cookie> {
    let mut octets = [0; 4];
    let digits = vector.cookie.as_ref()?;
    hex::decode_to_slice(digits, &mut octets)
        .unwrap_or_else(|error| panic!("{}: {error}", vector.name));
    Some(Cookie::from_octets(octets))
}

/// The first option's octets, when nothing but padding follows it.
fn lone_option(octets: &[u8]) -> Option<&[u8]> {
    let (view, padding) = View::split(octets).ok()?;
    padding
        .iter()
        .all(|octet| [View::END, View::NOP].contains(octet))
        .then(|| &octets[..view.len_octets()])
}

/// Emits what the vector's octets were parsed as.
fn emit(vector: &Vector, buffer: &mut [u8]) -> usize {
    let (segment, kind, octets) = (vector.segment(), vector.kind(), vector.octets());
    let emitted = match segment {
        Segment::SynAck => syn_ack_option(segment, &octets, kind)
            .ok()
            .flatten()
            .map(|option| option.emit(kind, buffer)),
        Segment::Syn | Segment::Other => syn_option(segment, &octets, kind)
            .ok()
            .flatten()
            .map(|option| option.emit(kind, buffer)),
    };
    emitted
        .unwrap_or_else(|| panic!("{}: no option", vector.name))
        .unwrap_or_else(|error| panic!("{}: {error}", vector.name))
}
