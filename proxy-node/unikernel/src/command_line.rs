//! The words that the host's administrator gave to the image.

use core::str::SplitAsciiWhitespace;

/// The longest command line that is kept, in octets.
const MOST: usize = 2048;

/// A copy of the command line that needs no heap.
#[derive(Clone)]
pub(crate) struct CommandLine {
    octets: [u8; MOST],
    len: usize,
    cut: bool,
}

impl CommandLine {
    /// No words.
    pub(crate) const fn new() -> Self {
        Self {
            octets: [0; MOST],
            len: 0,
            cut: false,
        }
    }

    /// A copy of `octets` up to the first NUL. Octets that are not ASCII become `?`.
    pub(crate) fn from_octets(octets: impl Iterator<Item = u8>) -> Self {
        let mut line = Self::new();
        for octet in octets.take_while(|&octet| octet != 0) {
            let Some(slot) = line.octets.get_mut(line.len) else {
                line.cut = true;
                break;
            };
            *slot = if octet.is_ascii() { octet } else { b'?' };
            line.len += 1;
        }
        line
    }

    /// The whole line.
    pub(crate) fn as_str(&self) -> &str {
        let octets = self.octets.get(..self.len).unwrap_or_default();
        core::str::from_utf8(octets).unwrap_or_default()
    }

    /// Whether the host's line was longer than what is kept.
    pub(crate) const fn is_cut(&self) -> bool {
        self.cut
    }

    /// The words.
    pub(crate) fn words(&self) -> SplitAsciiWhitespace<'_> {
        self.as_str().split_ascii_whitespace()
    }

    /// The values of all words `name=value`.
    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.words()
            .filter_map(|word| word.split_once('='))
            .filter(move |&(key, _)| key == name)
            .map(|(_, value)| value)
    }
}

impl core::fmt::Debug for CommandLine {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_at_nul_and_are_ascii() {
        let line = CommandLine::from_octets(b"a=1  b=\xff a=2\0 c=3".iter().copied());
        assert_eq!(line.as_str(), "a=1  b=? a=2");
        assert_eq!(line.values("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(line.values("c").count(), 0);
        assert!(!line.is_cut());
    }

    #[test]
    fn a_longer_line_is_cut() {
        let line = CommandLine::from_octets(core::iter::repeat_n(b'x', MOST + 1));
        assert_eq!((line.as_str().len(), line.is_cut()), (MOST, true));
    }
}
