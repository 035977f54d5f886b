//! Taking back a recovery that nothing lost had called for (RFC 4015): what was thought lost was
//! only late, and the echoed timestamp of the ACK tells so.

use super::{Clock, Connection, Recovery};
use crate::send::cubic::Cubic;
use crate::time::Instant;
use crate::wire::Segment;

/// What a recovery in question began with.
#[derive(Clone, Debug)]
pub(super) struct Undo {
    /// As it was before.
    cubic: Cubic,
    /// The timestamp of the first repeat; none before there is one.
    first_repeat: Option<u32>,
}

impl Undo {
    pub(super) const fn new(cubic: Cubic) -> Self {
        Self {
            cubic,
            first_repeat: None,
        }
    }
}

impl Connection {
    /// Something is being sent again.
    pub(super) fn note_repeat(&mut self, now: Instant) {
        if let (
            Some(Clock { offset, .. }),
            Recovery::Fast {
                undo: Some(undo), ..
            },
        ) = (self.clock, &mut self.recovery)
        {
            undo.first_repeat.get_or_insert(now.timestamp(offset));
        }
    }

    /// The first ACK of a recovery that moves SND.UNA decides (RFC 4015 section 3.2): it answers
    /// either the repeat, or what the repeat was for. In the latter case all is as it was before.
    pub(super) fn take_back(&mut self, segment: &Segment, advanced: bool) {
        let Recovery::Fast { undo, .. } = &mut self.recovery else {
            return;
        };
        let Some(undo) = undo.take_if(|_| advanced) else {
            return;
        };
        let times = segment.options.timestamps.filter(|_| self.clock.is_some());
        let Some(echo) = times.map(|times| times.echo) else {
            return;
        };
        let is_before = |repeat: u32| echo.wrapping_sub(repeat).cast_signed() < 0;
        if undo.first_repeat.is_none_or(is_before) {
            self.cubic.restore(&undo.cubic);
            self.recovery = Recovery::Open;
            self.rack.on_needless();
            self.board.unmark_lost();
        }
    }
}
