//! TCP option areas, taken apart by hand: the tests do not trust the codec that they test.

/// One option as it is in the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TcpOption {
    /// Where it starts in the option area.
    pub(crate) at: usize,
    /// All of it, kind and length included.
    pub(crate) octets: Vec<u8>,
}

impl TcpOption {
    pub(crate) fn kind(&self) -> u8 {
        self.octets[0]
    }
}

/// The options of a well-formed area, NOPs left out.
///
/// # Panics
/// When the area is not well-formed.
pub(crate) fn option_list(area: &[u8]) -> Vec<TcpOption> {
    let mut list = Vec::new();
    let mut at = 0;
    while at < area.len() {
        let len = match area[at] {
            END => break,
            NOP => {
                at += 1;
                continue;
            }
            _ => usize::from(area[at + 1]),
        };
        assert!(len >= 2, "an option of length {len} in {area:02x?}");
        list.push(TcpOption {
            at,
            octets: area[at..at + len].to_vec(),
        });
        at += len;
    }
    list
}

/// Those of the experimental kinds (RFC 4727), which are synhop's in the lab.
pub(crate) fn synhop_options(area: &[u8]) -> Vec<TcpOption> {
    let mut list = option_list(area);
    list.retain(|option| matches!(option.kind(), 253 | 254));
    list
}

const END: u8 = 0;
const NOP: u8 = 1;
