//! Octets as people write them.

use std::fmt;

/// The text is not hexadecimal.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HexError {
    /// No digit at all.
    Empty,
    /// A character that is neither a digit nor a separator.
    Character { found: char, octet: usize },
    /// Half an octet.
    Odd { octet: usize },
}

impl fmt::Display for HexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no octets"),
            Self::Character { found, octet } => {
                write!(f, "{found:?} in octet {octet} is no hexadecimal digit")
            }
            Self::Odd { octet } => write!(f, "octet {octet} has only one digit"),
        }
    }
}

/// Skips white space, colons, commas, dashes, and 0x in front of digits.
pub(super) fn parse(text: &str) -> Result<Vec<u8>, HexError> {
    let separators = |c: char| c.is_whitespace() || ":,-".contains(c);
    let digits: String = text
        .split(separators)
        .map(|part| {
            part.strip_prefix("0x")
                .or(part.strip_prefix("0X"))
                .unwrap_or(part)
        })
        .collect();
    if let Some((index, found)) = digits
        .chars()
        .enumerate()
        .find(|(_, c)| !c.is_ascii_hexdigit())
    {
        return Err(HexError::Character {
            found,
            octet: index / 2,
        });
    }
    match digits.len() {
        0 => Err(HexError::Empty),
        len => ::hex::decode(&digits).map_err(|_| HexError::Odd { octet: len / 2 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_people_write_it() {
        for text in [
            "fd10e5f4",
            "fd 10 e5 f4",
            "FD:10:E5:F4",
            "0xfd10e5f4",
            "0xfd, 0x10 e5-f4\n",
        ] {
            assert_eq!(parse(text), Ok(vec![0xfd, 0x10, 0xe5, 0xf4]), "{text}");
        }
    }

    #[test]
    fn errors_name_the_octet() {
        assert_eq!(parse(" "), Err(HexError::Empty));
        assert_eq!(parse("fd1"), Err(HexError::Odd { octet: 1 }));
        assert_eq!(
            parse("fd1g"),
            Err(HexError::Character {
                found: 'g',
                octet: 1
            })
        );
    }
}
