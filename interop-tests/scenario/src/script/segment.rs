//! `S. 0:0 ack 1 win 65535 <mss 1460, ...>`

use super::error::Complaint;
use super::line::{number, split};
use super::{Echo, Field, OptionPattern, Options, Others, Pattern};
use crate::wire::Flags;

/// What is expected: one, or several parted by ` | `.
pub(super) fn alternatives(text: &str) -> Result<Vec<Pattern>, Complaint> {
    text.split(" | ").map(|one| pattern(one.trim())).collect()
}

/// What is injected: nothing may be open but the window, which is 512 then.
pub(super) fn injected(text: &str) -> Result<Pattern, Complaint> {
    let mut pattern = pattern(text)?;
    if pattern.range == Field::Any || pattern.ack == Some(Field::Any) {
        return Err(Complaint::OpenInjection("*"));
    }
    if pattern.window == Field::Any {
        pattern.window = Field::Is(512);
    }
    if let Options::Listed { options, others } = &pattern.options {
        if *others == Others::Any {
            return Err(Complaint::OpenInjection("..."));
        }
        let open = options.iter().any(|option| {
            matches!(
                option,
                OptionPattern::Mss(Field::Any)
                    | OptionPattern::WindowScale(Field::Any)
                    | OptionPattern::Timestamps(Field::Any, _)
                    | OptionPattern::Timestamps(_, Echo::Any)
            )
        });
        if open {
            return Err(Complaint::OpenInjection("*"));
        }
    }
    Ok(pattern)
}

fn pattern(text: &str) -> Result<Pattern, Complaint> {
    let (head, options) = match text.split_once('<') {
        Some((head, list)) => (head.trim(), Some(list)),
        None => (text, None),
    };
    let (letters, rest) = split(head);
    let flags = flags(letters)?;
    let (range_text, mut rest) = split(rest);
    let mut pattern = Pattern {
        flags,
        range: field(range_text, range)?,
        ack: None,
        window: Field::Any,
        options: Options::Usual,
    };
    while !rest.is_empty() {
        let (name, tail) = split(rest);
        let (value, tail) = split(tail);
        match name {
            "ack" => pattern.ack = Some(field(value, number)?),
            "win" => pattern.window = field(value, number)?,
            _ => return Err(Complaint::Trailing(rest.to_owned())),
        }
        rest = tail;
    }
    if flags.has(Flags::ACK) != pattern.ack.is_some() {
        return Err(Complaint::AckMismatch);
    }
    if let Some(list) = options {
        pattern.options = option_list(list)?;
    }
    Ok(pattern)
}

fn flags(letters: &str) -> Result<Flags, Complaint> {
    let mut flags = Flags::default();
    if letters == "-" {
        return Ok(flags);
    }
    for letter in letters.chars() {
        let known = Flags::LETTERS.iter().find(|(known, _)| *known == letter);
        let (_, bit) = known.ok_or(Complaint::UnknownFlag(letter))?;
        flags.0 |= bit;
    }
    Ok(flags)
}

fn field<T>(
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, Complaint>,
) -> Result<Field<T>, Complaint> {
    if text == "*" {
        Ok(Field::Any)
    } else {
        parse(text).map(Field::Is)
    }
}

fn range(text: &str) -> Result<(i64, i64), Complaint> {
    let bad = || Complaint::BadRange(text.to_owned());
    let (start, end) = text.split_once(':').ok_or_else(bad)?;
    let (start, end): (i64, i64) = (number(start)?, number(end)?);
    if end < start {
        return Err(bad());
    }
    Ok((start, end))
}

fn option_list(text: &str) -> Result<Options, Complaint> {
    let (list, trailing) = text.split_once('>').ok_or(Complaint::UnclosedOptions)?;
    if !trailing.trim().is_empty() {
        return Err(Complaint::Trailing(trailing.trim().to_owned()));
    }
    let mut options = Vec::new();
    let mut others = Others::None;
    for item in list
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
    {
        if item == "..." {
            others = Others::Any;
        } else {
            options.push(option(item)?);
        }
    }
    Ok(Options::Listed { options, others })
}

fn option(item: &str) -> Result<OptionPattern, Complaint> {
    let (name, rest) = split(item);
    match name {
        "mss" => Ok(OptionPattern::Mss(field(rest, number)?)),
        "ws" => Ok(OptionPattern::WindowScale(field(rest, number)?)),
        "sackOK" => Ok(OptionPattern::SackPermitted),
        "ts" => {
            let (value, echo) = split(rest);
            let echo = match echo {
                "*" => Echo::Any,
                "E" => Echo::Last,
                _ => Echo::Is(number(echo)?),
            };
            Ok(OptionPattern::Timestamps(field(value, number)?, echo))
        }
        "sack" => {
            let blocks = rest.split_whitespace().map(range);
            Ok(OptionPattern::Sack(blocks.collect::<Result<_, _>>()?))
        }
        "raw" => hex(rest).map(OptionPattern::Raw),
        _ => Err(Complaint::UnknownOption(name.to_owned())),
    }
}

fn hex(text: &str) -> Result<Vec<u8>, Complaint> {
    let bad = || Complaint::BadNumber(text.to_owned());
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| {
            let pair = std::str::from_utf8(pair).map_err(|_| bad())?;
            u8::from_str_radix(pair, 16).map_err(|_| bad())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Scenario;

    fn complaint(line: &str) -> String {
        match Scenario::parse("test", line) {
            Ok(_) => "none".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn complaints_name_the_line_and_the_fault() {
        assert_eq!(
            complaint("\n< X 0:0"),
            "test.tcp:2: unknown flag `X`, in: < X 0:0"
        );
        assert_eq!(
            complaint("> . 1:1"),
            "test.tcp:1: `.` and `ack` go together, in: > . 1:1"
        );
        assert_eq!(
            complaint("< . 1:1 ack *"),
            "test.tcp:1: what is injected cannot have `*`, in: < . 1:1 ack *"
        );
        assert_eq!(
            complaint("> S 0:0 <mss 5"),
            "test.tcp:1: the list of options is not closed, in: > S 0:0 <mss 5"
        );
        assert_eq!(
            complaint("accept\nset isn 5"),
            "test.tcp:2: settings come before all statements, in: set isn 5"
        );
        assert_eq!(
            complaint("0.x < S 0:0"),
            "test.tcp:1: `0.x` is no time in seconds, in: 0.x < S 0:0"
        );
        assert_eq!(
            complaint("> S. 0:0 ack 1 <mss *, ...> | R. 0:0 ack 1"),
            "none"
        );
    }
}
