//! The words for an option.

use std::fmt::Write;

use synhop_option::{
    DestinationError, ExId, Extra, Family, FormError, ListError, SynAckOption, SynOption, View,
};

/// What the octets mean.
pub(super) struct Explanation {
    /// Lines, each with its newline.
    pub(super) text: String,
    /// Nothing in them is malformed.
    pub(super) is_sound: bool,
}

/// Explains an option list or, if it starts with one of our `ExIDs`, the rest of an option.
pub(super) fn explain(octets: &[u8]) -> Explanation {
    let mut out = Explanation {
        text: String::new(),
        is_sound: true,
    };
    let unframed = octets.split_first_chunk::<2>().and_then(|(ex_id, body)| {
        let family = ExId::from_octets(*ex_id).family()?;
        Some((family, body))
    });
    match unframed {
        Some((family, body)) => {
            out.line(format_args!("octet 0: {}", title(family)));
            out.forms(family, body, 2);
        }
        None => out.list(octets),
    }
    out
}

impl Explanation {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        let _ = writeln!(self.text, "{line}");
    }

    fn list(&mut self, octets: &[u8]) {
        let mut at = 0;
        while let Some(rest) = octets.get(at..).filter(|rest| !rest.is_empty()) {
            match View::split(rest) {
                Ok((view, next)) => {
                    self.option(&view, at);
                    at = octets.len() - next.len();
                    if view.is_end() {
                        break;
                    }
                }
                Err(error) => {
                    self.is_sound = false;
                    let place = match error {
                        ListError::BadLength { .. } => at + 1,
                        ListError::Empty | ListError::Truncated { .. } => at,
                    };
                    self.line(format_args!("octet {place}: malformed: {error}"));
                    break;
                }
            }
        }
        if let Some(behind) = octets
            .get(at..)
            .filter(|it| self.is_sound && !it.is_empty())
        {
            self.line(format_args!(
                "octet {at}: {} octets behind the end",
                behind.len()
            ));
        }
    }

    fn option(&mut self, view: &View<'_>, at: usize) {
        let (kind, len) = (view.kind, view.len_octets());
        if view.is_nop() {
            return self.line(format_args!("octet {at}: NOP"));
        }
        if view.is_end() {
            return self.line(format_args!("octet {at}: end of options"));
        }
        let ours = match (kind, view.data.split_first_chunk::<2>()) {
            (253 | 254, Some((ex_id, body))) => {
                let family = ExId::from_octets(*ex_id).family();
                family.map(|family| (family, body))
            }
            _ => None,
        };
        if let Some((family, body)) = ours {
            let title = title(family);
            self.line(format_args!(
                "octet {at}: kind {kind}, length {len}, {title}"
            ));
            self.forms(family, body, at + 4);
        } else {
            let name = name(kind);
            self.line(format_args!(
                "octet {at}: kind {kind}, length {len}: {name}"
            ));
        }
    }

    /// The option as a SYN's and as a SYN-ACK's: their lengths differ, so that at most one of
    /// them is sound. `at` is the place of `body`'s first octet.
    fn forms(&mut self, family: Family, body: &[u8], at: usize) {
        match (
            SynOption::parse(family, body),
            SynAckOption::parse(family, body),
        ) {
            (_, Ok(reply)) => {
                self.line(format_args!(
                    "  in a SYN-ACK: understood{}",
                    cookie(reply.cookie)
                ));
                self.line(format_args!("  in a SYN: no form"));
            }
            (Ok(option), Err(_)) => {
                self.syn(&option);
                self.line(format_args!("  in a SYN-ACK: no form"));
            }
            (Err(error), Err(_)) => {
                self.is_sound = false;
                let place = place(error, family, body.len(), at);
                self.line(format_args!("  octet {place}: malformed: {error}"));
            }
        }
    }

    fn syn(&mut self, option: &SynOption) {
        let form = match option {
            SynOption::V4 { .. } | SynOption::V6Tuple { .. } => "the flow's 4-tuple",
            SynOption::V4Withheld { .. } | SynOption::V6 { .. } => {
                "the flow's destination, source withheld"
            }
            SynOption::V6Address { .. } => "the flow's destination address",
        };
        self.line(format_args!("  in a SYN: {form}"));
        if let Some(source) = option.claimed_source() {
            self.line(format_args!("    source       {source} (a claim)"));
        }
        match option {
            SynOption::V6Address { host } => self.line(format_args!(
                "    destination  {}, port: the SYN's own destination port",
                host.get()
            )),
            SynOption::V4 { .. }
            | SynOption::V4Withheld { .. }
            | SynOption::V6 { .. }
            | SynOption::V6Tuple { .. } => {
                // These carry their port: the SYN's is not looked at.
                self.line(format_args!("    destination  {}", option.destination(0)));
            }
        }
        match option {
            SynOption::V4 { extra, .. } | SynOption::V6 { extra, .. } => match extra {
                Extra::Nothing => {}
                Extra::Cookie(it) => self.line(format_args!("    cookie       {}", octets(*it))),
                Extra::Hops(it) => self.line(format_args!("    hops left    {}", it.get())),
            },
            SynOption::V4Withheld {
                cookie: Some(it), ..
            } => {
                self.line(format_args!("    cookie       {}", octets(*it)));
            }
            SynOption::V4Withheld { cookie: None, .. }
            | SynOption::V6Address { .. }
            | SynOption::V6Tuple { .. } => {}
        }
    }
}

fn title(family: Family) -> &'static str {
    match family {
        Family::V4 => "ExID 0xE5F4: synhop, IPv4 flow",
        Family::V6 => "ExID 0xE5F6: synhop, IPv6 flow",
    }
}

fn octets(cookie: synhop_option::Cookie) -> String {
    ::hex::encode(cookie.octets())
}

fn cookie(cookie: Option<synhop_option::Cookie>) -> String {
    cookie.map_or_else(String::new, |it| format!(", cookie {}", octets(it)))
}

/// The octet that `error` is about: the length octet, or the field's first. `body_octets` tells
/// the form (SPEC section 4.2).
fn place(error: FormError, family: Family, body_octets: usize, body_at: usize) -> usize {
    // Where source port, destination address and port stand in the form's body.
    let (source_port, address, port) = match (family, body_octets) {
        (Family::V4, 6 | 10) => (0, 0, 4),
        (Family::V4, _) => (8, 4, 10),
        (Family::V6, 36) => (32, 16, 34),
        (Family::V6, _) => (0, 0, 16),
    };
    match error {
        FormError::BadLength { .. } => body_at.saturating_sub(3),
        FormError::SourcePortZero => body_at + source_port,
        FormError::Destination(DestinationError::PortZero) => body_at + port,
        FormError::Destination(
            DestinationError::Unspecified
            | DestinationError::Multicast
            | DestinationError::Broadcast,
        ) => body_at + address,
    }
}

/// IANA's TCP option kinds that occur in SYNs.
fn name(kind: u8) -> &'static str {
    match kind {
        2 => "maximum segment size",
        3 => "window scale",
        4 => "SACK permitted",
        5 => "SACK",
        8 => "timestamps",
        19 => "MD5 signature",
        29 => "TCP-AO",
        30 => "MPTCP",
        34 => "Fast Open",
        253 | 254 => "another experiment's",
        _ => "not synhop's",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::hex;

    fn of(text: &str) -> Explanation {
        explain(&hex::parse(text).unwrap())
    }

    #[test]
    fn every_form_is_explained() {
        let tuple = "c0000201 c6336401 d431 01bb";
        let v6 = "20010db8000000000000000000000001";
        for (octets, words) in [
            (format!("fd10e5f4 {tuple}"), "destination  198.51.100.1:443"),
            (
                format!("fd14e5f4 {tuple} 01020304"),
                "cookie       01020304",
            ),
            (format!("fe12e5f4 {tuple} 0700"), "hops left    7"),
            ("fd0ae5f4 c6336401 01bb".into(), "source withheld"),
            (
                "fd0ee5f4 c6336401 01bb 0a0b0c0d".into(),
                "cookie       0a0b0c0d",
            ),
            (format!("fd14e5f6 {v6}"), "the SYN's own destination port"),
            (format!("fd16e5f6 {v6} 01bb"), "[2001:db8::1]:443"),
            (
                format!("fd28e5f6 {v6} {v6} d431 01bb"),
                "source       [2001:db8::1]:54321",
            ),
            ("fd04e5f4".into(), "in a SYN-ACK: understood"),
            ("fd08e5f4 01020304".into(), "understood, cookie 01020304"),
            (format!("e5f4 {tuple}"), "destination  198.51.100.1:443"),
        ] {
            let explanation = of(&octets);
            assert!(explanation.is_sound, "{octets}");
            assert!(
                explanation.text.contains(words),
                "{octets}: {}",
                explanation.text
            );
        }
    }

    #[test]
    fn a_whole_list() {
        let text = "020405b4 0402080a 00000001 00000000 01030307 \
                    fd10e5f4c0000201c6336401d43101bb 00 00";
        let explanation = of(text);
        assert!(explanation.is_sound, "{}", explanation.text);
        for words in [
            "octet 0: kind 2, length 4: maximum segment size",
            "octet 16: NOP",
            "octet 20: kind 253, length 16, ExID 0xE5F4",
            "octet 36: end of options",
            "octet 37: 1 octets behind the end",
        ] {
            assert!(
                explanation.text.contains(words),
                "{words}: {}",
                explanation.text
            );
        }
    }

    #[test]
    fn malformed_ones_point_at_the_octet() {
        for (octets, words) in [
            (
                "fd11e5f4c0000201c6336401d43101bb00",
                "octet 1: malformed: no form",
            ),
            (
                "fd10e5f4c0000201c6336401d4310000",
                "octet 14: malformed: port 0",
            ),
            (
                "fd10e5f4c0000201c6336401000001bb",
                "octet 12: malformed: source port 0",
            ),
            (
                "fd10e5f4c0000201e0000001d43101bb",
                "octet 8: malformed: multicast",
            ),
            ("01fd0ae5f4000000000050", "octet 5: malformed: unspecified"),
            (
                "fd10e5f4c0",
                "octet 0: malformed: option of kind 253 is cut off",
            ),
            (
                "0101fd01",
                "octet 3: malformed: option of kind 253 has length 1",
            ),
        ] {
            let explanation = of(octets);
            assert!(!explanation.is_sound, "{octets}");
            assert!(
                explanation.text.contains(words),
                "{octets}: {}",
                explanation.text
            );
        }
    }

    #[test]
    fn other_experiments_are_left_to_others() {
        let explanation = of("fd06f989 0102");
        assert!(explanation.is_sound);
        assert!(explanation.text.contains("another experiment's"));
    }
}
