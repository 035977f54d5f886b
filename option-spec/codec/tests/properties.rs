//! What holds for every option and for any octets at all.

mod arbitrary;

use std::net::SocketAddr;

use arbitrary::{AnyKind, AnySegment, AnySyn, AnySynAck, OtherOptions, with_head};
use quickcheck::{TestResult, quickcheck};
use synhop_option::{
    AppendError, ExId, Family, HopsLeft, Kind, MAX_OPTIONS_OCTETS, OptionError, Options, Segment,
    SynAckOption, SynOption, View, append, syn_ack_option, syn_option,
};

quickcheck! {
    fn emit_then_parse_is_identity(option: AnySyn, kind: AnyKind) -> bool {
        let mut buffer = [0xa5; SynOption::MAX_OCTETS];
        let len = option.0.emit(kind.0, &mut buffer).expect("room for every form");
        len == option.0.len_octets()
            && buffer[len..].iter().all(|octet| *octet == 0xa5)
            && syn_option(Segment::Syn, &buffer[..len], kind.0) == Ok(Some(option.0))
    }

    fn emit_then_parse_a_reply_is_identity(option: AnySynAck, kind: AnyKind) -> bool {
        let mut buffer = [0xa5; SynAckOption::MAX_OCTETS];
        let len = option.0.emit(kind.0, &mut buffer).expect("room for every form");
        len == option.0.len_octets()
            && buffer[len..].iter().all(|octet| *octet == 0xa5)
            && syn_ack_option(Segment::SynAck, &buffer[..len], kind.0) == Ok(Some(option.0))
    }

    fn a_buffer_too_small_is_left_alone(option: AnySyn, room: usize) -> bool {
        let mut buffer = vec![0xa5; room % option.0.len_octets()];
        let error = option.0.emit(Kind::default(), &mut buffer).expect_err("no room");
        error.needed_octets == option.0.len_octets()
            && error.room_octets == buffer.len()
            && buffer.iter().all(|octet| *octet == 0xa5)
    }

    fn accessors_agree_with_the_octets(option: AnySyn, syn_port: u16) -> bool {
        let octets = emitted(&option.0, Kind::default());
        let destination = option.0.destination(syn_port);
        let address = match destination {
            SocketAddr::V4(destination) => destination.ip().octets().to_vec(),
            SocketAddr::V6(destination) => destination.ip().octets().to_vec(),
        };
        octets.windows(address.len()).any(|window| window == address)
            && option.0.family() == family_of(destination)
            && option.0.cookie().is_none_or(|cookie| octets.ends_with(&cookie.octets()))
            && option.0.hops_left().is_none_or(|hops| octets.ends_with(&[hops.get(), 0]))
    }

    fn any_octets_are_split_or_refused(octets: Vec<u8>) -> bool {
        match View::split(&octets) {
            Ok((view, rest)) => view.len_octets() + rest.len() == octets.len(),
            Err(_) => true,
        }
    }

    fn options_end_and_cover_no_more_than_there_is(octets: Vec<u8>) -> bool {
        let views: Vec<_> = Options::new(&octets).collect();
        let covered: usize = views.iter().flatten().map(View::len_octets).sum();
        let errors = views.iter().filter(|view| view.is_err()).count();
        covered <= octets.len()
            && errors <= 1
            && views.iter().rev().skip(1).all(Result::is_ok)
            && views.iter().flatten().all(|view| !view.is_end() && !view.is_nop())
    }

    fn no_octets_panic(octets: Vec<u8>, segment: AnySegment, kind: AnyKind) -> bool {
        let _ = syn_option(segment.0, &octets, kind.0);
        let _ = syn_ack_option(segment.0, &octets, kind.0);
        true
    }

    fn no_body_panics(exid_is_v4: bool, body: Vec<u8>, kind: AnyKind) -> TestResult {
        // Random octets seldom hit the ExID; this puts every body behind it.
        let family = if exid_is_v4 { Family::V4 } else { Family::V6 };
        let Some(octets) = framed(kind.0, ExId::of(family), &body) else {
            return TestResult::discard();
        };
        let parsed = syn_option(Segment::Syn, &octets, kind.0);
        // What parses was one of ours: emitting it gives the octets, flags aside.
        if let Ok(Some(option)) = parsed {
            let mut expected = octets;
            if option.hops_left().is_some() {
                *expected.last_mut().expect("a form is never empty") = 0;
            }
            return TestResult::from_bool(emitted(&option, kind.0) == expected);
        }
        TestResult::from_bool(matches!(parsed, Err(OptionError::Form(_))))
    }

    fn one_octet_changed_gives_another_option_or_an_error(
        option: AnySyn, place: usize, octet: u8, kind: AnyKind
    ) -> bool {
        let mut octets = emitted(&option.0, kind.0);
        let place = place % octets.len();
        octets[place] = octet;
        match syn_option(Segment::Syn, &octets, kind.0) {
            Ok(Some(option)) => {
                let len = option.len_octets();
                let again = emitted(&option, kind.0);
                let values = len - usize::from(option.hops_left().is_some());
                again[..values] == octets[..values]
            }
            Ok(None) | Err(_) => true,
        }
    }

    fn others_around_the_option_are_skipped(
        before: OtherOptions, option: AnySyn, behind: OtherOptions, kind: AnyKind
    ) -> bool {
        let mut octets = before.octets();
        octets.extend(emitted(&option.0, kind.0));
        octets.extend(behind.octets());
        syn_option(Segment::Syn, &octets, kind.0) == Ok(Some(option.0))
    }

    fn others_alone_hold_no_option(others: OtherOptions, kind: AnyKind, segment: AnySegment) -> bool {
        let octets = others.octets();
        syn_option(segment.0, &octets, kind.0) == Ok(None)
            && syn_ack_option(segment.0, &octets, kind.0) == Ok(None)
    }

    fn a_second_option_is_a_duplicate(one: AnySyn, between: OtherOptions, two: AnySyn) -> bool {
        let kind = Kind::default();
        let mut octets = emitted(&one.0, kind);
        octets.extend(between.octets());
        octets.extend(emitted(&two.0, kind));
        syn_option(Segment::Syn, &octets, kind) == Err(OptionError::Duplicate)
    }

    fn the_other_kind_is_not_ours(option: AnySyn) -> bool {
        let octets = emitted(&option.0, Kind::Experiment1);
        syn_option(Segment::Syn, &octets, Kind::Experiment2) == Ok(None)
    }

    fn a_mirrored_option_is_no_reply(option: AnySyn, kind: AnyKind) -> bool {
        let octets = emitted(&option.0, kind.0);
        matches!(syn_ack_option(Segment::SynAck, &octets, kind.0), Err(OptionError::Form(_)))
    }

    fn a_reply_is_no_option_of_a_syn(option: AnySynAck, kind: AnyKind) -> bool {
        let octets = emitted_reply(option.0, kind.0);
        matches!(syn_option(Segment::Syn, &octets, kind.0), Err(OptionError::Form(_)))
    }

    fn outside_a_handshake_every_option_is_refused(option: AnySyn, reply: AnySynAck) -> bool {
        let kind = Kind::default();
        [emitted(&option.0, kind), emitted_reply(reply.0, kind)].iter().all(|octets| {
            syn_option(Segment::Other, octets, kind) == Err(OptionError::WrongSegment)
                && syn_ack_option(Segment::Other, octets, kind) == Err(OptionError::WrongSegment)
        })
    }

    fn append_then_find_is_identity(others: OtherOptions, option: AnySyn, kind: AnyKind) -> bool {
        let existing = others.octets();
        let mut out = [0xa5; MAX_OPTIONS_OCTETS];
        match append(&existing, &emitted(&option.0, kind.0), &mut out) {
            Ok(len) => {
                let (list, behind) = out.split_at(len);
                len.is_multiple_of(4)
                    && behind.iter().all(|octet| *octet == 0xa5)
                    && syn_option(Segment::Syn, list, kind.0) == Ok(Some(option.0))
                    && list.starts_with(without_trailing_nops(&existing))
                    && views(list).len() == views(&existing).len() + 1
            }
            Err(AppendError::NoRoom { used_octets, needed_octets }) => {
                used_octets + needed_octets > MAX_OPTIONS_OCTETS
                    && needed_octets == option.0.len_octets()
                    && out == [0xa5; MAX_OPTIONS_OCTETS]
            }
            Err(AppendError::List(_)) => false,
        }
    }

    fn append_to_any_octets_stays_within_the_header(existing: Vec<u8>, option: AnySyn) -> bool {
        let mut out = [0; MAX_OPTIONS_OCTETS];
        match append(&existing, &emitted(&option.0, Kind::default()), &mut out) {
            Ok(len) => len <= MAX_OPTIONS_OCTETS,
            Err(AppendError::List(_)) => Options::new(&existing).any(|view| view.is_err()),
            Err(AppendError::NoRoom { used_octets, .. }) => used_octets <= existing.len(),
        }
    }

    fn append_takes_any_octets_for_an_option(existing: OtherOptions, option: Vec<u8>) -> bool {
        let mut out = [0; MAX_OPTIONS_OCTETS];
        append(&existing.octets(), &option, &mut out).is_ok_and(|len| len <= MAX_OPTIONS_OCTETS)
            || existing.octets().len() + option.len() > MAX_OPTIONS_OCTETS
    }

    fn hops_run_out(hops: u8) -> bool {
        let mut hops_left = Some(HopsLeft::new(hops));
        let mut decrements = 0_u16;
        while let Some(hops) = hops_left.and_then(HopsLeft::decremented) {
            hops_left = Some(hops);
            decrements += 1;
        }
        decrements == u16::from(hops)
    }

    fn flags_tell_the_segment(flags: u8) -> bool {
        let expected = match flags & 0b0001_0111 {
            0b0000_0010 => Segment::Syn,
            0b0001_0010 => Segment::SynAck,
            _ => Segment::Other,
        };
        Segment::from_flags(flags) == expected
    }
}

/// An option of `ex_id` with this body; `None` if its length does not fit an octet.
fn framed(kind: Kind, ex_id: ExId, body: &[u8]) -> Option<Vec<u8>> {
    let mut contents = ex_id.octets().to_vec();
    contents.extend(body);
    u8::try_from(contents.len() + 2)
        .is_ok()
        .then(|| with_head(kind.octet(), &contents))
}

fn emitted(option: &SynOption, kind: Kind) -> Vec<u8> {
    let mut buffer = [0xa5; SynOption::MAX_OCTETS];
    let len = option.emit(kind, &mut buffer).expect("room for every form");
    buffer[..len].to_vec()
}

fn emitted_reply(option: SynAckOption, kind: Kind) -> Vec<u8> {
    let mut buffer = [0xa5; SynAckOption::MAX_OCTETS];
    let len = option.emit(kind, &mut buffer).expect("room for every form");
    buffer[..len].to_vec()
}

fn views(octets: &[u8]) -> Vec<View<'_>> {
    Options::new(octets)
        .map(|view| view.expect("a sound list"))
        .collect()
}

/// `octets` up to the end of their last option that is no padding.
fn without_trailing_nops(octets: &[u8]) -> &[u8] {
    let (mut rest, mut end) = (octets, 0);
    while let Ok((view, next)) = View::split(rest) {
        rest = next;
        if !view.is_nop() {
            end = octets.len() - rest.len();
        }
    }
    &octets[..end]
}

const fn family_of(address: SocketAddr) -> Family {
    match address {
        SocketAddr::V4(_) => Family::V4,
        SocketAddr::V6(_) => Family::V6,
    }
}
