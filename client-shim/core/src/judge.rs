//! What a finished attempt to connect through a proxy means.

use core::fmt;

use crate::protocol::{Answer, Progress};

/// How the kernel says the connection to the proxy ended its handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    /// Established.
    Established,
    /// It failed with this `errno`.
    Failed(i32),
}

/// What it means for the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// A node took the flow: the program has its connection.
    Proxied,
    /// A node took the flow and gave it up: this `errno` is the destination's own refusal
    /// (SPEC section 6: a node propagates it as a reset).
    Refused(i32),
    /// No node took the flow: the fallback decides. Nothing of the program's was sent.
    NoNode(Why),
}

/// Why no node took the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The peer did not reply to the option: a plain server, or a middlebox stripped it.
    Silent,
    /// The SYN was not marked: the kernel's program is not effective for this process.
    NotEffective,
    /// The helper does not answer, or refuses: whether the peer is a node is unknown.
    HelperGone,
    /// The proxy cannot be connected to: this `errno`.
    Unreachable(i32),
}

/// Judges a finished attempt by the kernel's result and the helper's answer (`None`: it gave none).
pub fn judge(completion: Completion, answer: Option<Answer>) -> Judgement {
    let progress = match answer {
        Some(Answer::Flow(flow)) => Some(flow.progress),
        Some(Answer::Done | Answer::Unmarked | Answer::Refused(_)) | None => None,
    };
    match (completion, progress) {
        (Completion::Established, Some(Progress::Understood)) => Judgement::Proxied,
        (Completion::Failed(errno), Some(Progress::Understood)) => Judgement::Refused(errno),
        (Completion::Established | Completion::Failed(_), Some(Progress::Silent)) => {
            Judgement::NoNode(Why::Silent)
        }
        // Established is final: what the program did not see by then it does not see at all.
        (Completion::Established, Some(Progress::Marked | Progress::SynSent)) => {
            Judgement::NoNode(Why::NotEffective)
        }
        (Completion::Established, None) => Judgement::NoNode(match answer {
            Some(Answer::Unmarked) => Why::NotEffective,
            Some(Answer::Done | Answer::Flow(_) | Answer::Refused(_)) | None => Why::HelperGone,
        }),
        (Completion::Failed(errno), Some(Progress::Marked | Progress::SynSent) | None) => {
            Judgement::NoNode(Why::Unreachable(errno))
        }
    }
}

impl Why {
    /// Whether the reason lies with the proxy, so that the next flow would meet it too.
    pub const fn concerns_proxy(self) -> bool {
        match self {
            Self::Silent | Self::Unreachable(_) => true,
            Self::NotEffective | Self::HelperGone => false,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("no reply to the option"),
            Self::NotEffective => f.write_str("the SYN was not marked"),
            Self::HelperGone => f.write_str("no answer from the helper"),
            Self::Unreachable(errno) => write!(f, "proxy not reachable, errno {errno}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use synhop_option::V4Destination;

    use super::*;
    use crate::protocol::{Flow, Refusal};

    const ERRNO: i32 = 111;

    #[expect(clippy::unnecessary_wraps, reason = "a column of the table below")]
    fn flow(progress: Progress) -> Option<Answer> {
        let destination = V4Destination::new("198.51.100.1:443".parse().unwrap()).unwrap();
        Some(Answer::Flow(Flow {
            progress,
            destination,
        }))
    }

    #[test]
    fn every_pair_has_its_judgement() {
        use Judgement::{NoNode, Proxied, Refused};
        let table = [
            (flow(Progress::Understood), Proxied, Refused(ERRNO)),
            (
                flow(Progress::Silent),
                NoNode(Why::Silent),
                NoNode(Why::Silent),
            ),
            (
                flow(Progress::SynSent),
                NoNode(Why::NotEffective),
                NoNode(Why::Unreachable(ERRNO)),
            ),
            (
                flow(Progress::Marked),
                NoNode(Why::NotEffective),
                NoNode(Why::Unreachable(ERRNO)),
            ),
            (
                Some(Answer::Unmarked),
                NoNode(Why::NotEffective),
                NoNode(Why::Unreachable(ERRNO)),
            ),
            (
                Some(Answer::Refused(Refusal::Denied)),
                NoNode(Why::HelperGone),
                NoNode(Why::Unreachable(ERRNO)),
            ),
            (
                None,
                NoNode(Why::HelperGone),
                NoNode(Why::Unreachable(ERRNO)),
            ),
        ];
        for (answer, established, failed) in table {
            assert_eq!(
                judge(Completion::Established, answer),
                established,
                "{answer:?}"
            );
            assert_eq!(
                judge(Completion::Failed(ERRNO), answer),
                failed,
                "{answer:?}"
            );
        }
    }
}
