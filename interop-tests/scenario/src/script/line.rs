//! One line: time, verb, rest.

use std::str::FromStr;
use std::time::Duration;

use super::error::Complaint;
use super::{Call, Claim, From, Icmp, IcmpKind, Statement, What, When, segment};

pub(super) fn parse(text: &str) -> Result<Statement, Complaint> {
    let (when, rest) = time(text)?;
    let (verb, rest) = split(rest);
    let what = match verb {
        "<" => inject(rest)?,
        ">" => What::Expect(segment::alternatives(rest)?),
        ">?" => What::MayCome(segment::alternatives(rest)?),
        "silence" => What::Silence(seconds(rest)?),
        "new-isn" => bare(rest, What::NewIsn)?,
        "listen" => What::Call(Call::Listen(number(rest)?)),
        "accept" => bare(rest, What::Call(Call::Accept))?,
        "connect" => bare(rest, What::Call(Call::Connect))?,
        "write" => What::Call(Call::Write(number(rest)?)),
        "read" => What::Call(Call::Read(number(rest)?)),
        "shutdown" => bare(rest, What::Call(Call::Shutdown))?,
        "abort" => bare(rest, What::Call(Call::Abort))?,
        "assert" => What::Assert(claim(rest)?),
        _ => return Err(Complaint::UnknownStatement(verb.to_owned())),
    };
    Ok(Statement {
        line: 0,
        text: String::new(),
        when,
        what,
    })
}

fn time(text: &str) -> Result<(When, &str), Complaint> {
    let (first, rest) = split(text);
    let (from, times) = match first.strip_prefix('+') {
        Some(times) => (From::StatementBefore, times),
        None if first.starts_with(|digit: char| digit.is_ascii_digit()) => (From::Start, first),
        None => {
            let now = When {
                from: From::StatementBefore,
                earliest: Duration::ZERO,
                latest: Duration::ZERO,
            };
            return Ok((now, text));
        }
    };
    let (earliest, latest) = match times.split_once("..") {
        Some((earliest, latest)) => (seconds(earliest)?, seconds(latest)?),
        None => (seconds(times)?, seconds(times)?),
    };
    let when = When {
        from,
        earliest,
        latest,
    };
    Ok((when, rest))
}

fn inject(text: &str) -> Result<What, Complaint> {
    let Some(icmp) = text.strip_prefix("icmp ") else {
        return segment::injected(text).map(What::Inject);
    };
    let mut words = icmp.split_whitespace();
    let name = words.next().unwrap_or_default();
    let kind = match name {
        "unreachable" => IcmpKind::Unreachable,
        "too-big" => IcmpKind::TooBig {
            mtu: number(words.next().unwrap_or_default())?,
        },
        _ => return Err(Complaint::UnknownStatement(name.to_owned())),
    };
    let seq = number(words.next().unwrap_or_default())?;
    Ok(What::Icmp(Icmp { kind, seq }))
}

fn claim(text: &str) -> Result<Claim, Complaint> {
    match text {
        "established" => Ok(Claim::Established),
        "closed" => Ok(Claim::Closed),
        "reset" => Ok(Claim::Reset),
        "timed-out" => Ok(Claim::TimedOut),
        "unreachable" => Ok(Claim::Unreachable),
        "finished" => Ok(Claim::Finished),
        _ => Err(Complaint::UnknownClaim(text.to_owned())),
    }
}

fn bare(rest: &str, what: What) -> Result<What, Complaint> {
    if rest.is_empty() {
        Ok(what)
    } else {
        Err(Complaint::Trailing(rest.to_owned()))
    }
}

fn seconds(text: &str) -> Result<Duration, Complaint> {
    let seconds = text.parse::<f64>().ok();
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| Complaint::BadTime(text.to_owned()))
}

/// A number of any kind.
pub(super) fn number<T: FromStr>(text: &str) -> Result<T, Complaint> {
    if text.is_empty() {
        return Err(Complaint::MissingNumber);
    }
    text.parse()
        .map_err(|_| Complaint::BadNumber(text.to_owned()))
}

/// The first word, and what follows it.
pub(super) fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim())
}
