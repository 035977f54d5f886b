//! The option among the others of a segment: finding it, and putting it behind them.

use crate::cursor::Writer;
use crate::error::{AppendError, OptionError};
use crate::syn::SynOption;
use crate::syn_ack::SynAckOption;
use crate::units::{ExId, Family, Kind, Segment};
use crate::view::{Options, View};

/// The option space of a TCP header (RFC 9293 section 3.1).
pub const MAX_OPTIONS_OCTETS: usize = 40;

/// The synhop option of a SYN with these `options`; `None` if it has none.
///
/// Unknown kinds and the `ExID`s of other experiments are skipped (RFC 9293, MUST-6).
pub fn syn_option(
    segment: Segment,
    options: &[u8],
    kind: Kind,
) -> Result<Option<SynOption>, OptionError> {
    let Some((family, body)) = find(options, kind)? else {
        return Ok(None);
    };
    match segment {
        Segment::Syn => Ok(Some(SynOption::parse(family, body)?)),
        Segment::SynAck | Segment::Other => Err(OptionError::WrongSegment),
    }
}

/// The synhop reply of a SYN-ACK with these `options`; `None` if it has none.
pub fn syn_ack_option(
    segment: Segment,
    options: &[u8],
    kind: Kind,
) -> Result<Option<SynAckOption>, OptionError> {
    let Some((family, body)) = find(options, kind)? else {
        return Ok(None);
    };
    match segment {
        Segment::SynAck => Ok(Some(SynAckOption::parse(family, body)?)),
        Segment::Syn | Segment::Other => Err(OptionError::WrongSegment),
    }
}

/// Writes `options` and, behind them, `option` to `out`, padded with NOP to a multiple of 4 as the
/// data offset demands. Returns the length in octets.
///
/// END and all that follows it are dropped from `options`, so are NOPs at its end: the new option
/// must not stand behind the end, and padding makes room.
pub fn append(
    options: &[u8],
    option: &[u8],
    out: &mut [u8; MAX_OPTIONS_OCTETS],
) -> Result<usize, AppendError> {
    let used = used_octets(options)?;
    let len = used.len() + option.len();
    if len > MAX_OPTIONS_OCTETS {
        return Err(AppendError::NoRoom {
            used_octets: used.len(),
            needed_octets: option.len(),
        });
    }
    let padded = len.next_multiple_of(4);
    let mut writer = Writer::new(out);
    writer.put(used);
    writer.put(option);
    writer.put(&[View::NOP; 3][..padded - len]);
    Ok(padded)
}

/// Family and body of the one synhop option in `options`.
fn find(options: &[u8], kind: Kind) -> Result<Option<(Family, &[u8])>, OptionError> {
    let mut found = None;
    for view in Options::new(options) {
        let view = view?;
        if view.kind != kind.octet() {
            continue;
        }
        let Some((ex_id, body)) = view.data.split_first_chunk::<2>() else {
            continue;
        };
        let Some(family) = ExId::from_octets(*ex_id).family() else {
            continue;
        };
        if found.replace((family, body)).is_some() {
            return Err(OptionError::Duplicate);
        }
    }
    Ok(found)
}

/// `options` without END, what follows it, and trailing NOPs.
fn used_octets(options: &[u8]) -> Result<&[u8], AppendError> {
    let mut rest = options;
    let mut used = 0;
    while !rest.is_empty() {
        let (view, next) = View::split(rest)?;
        if view.is_end() {
            break;
        }
        rest = next;
        if !view.is_nop() {
            used = options.len() - rest.len();
        }
    }
    Ok(options.get(..used).unwrap_or(options))
}
