//! `XenStore`: the host's tree of names and values, over a ring of octets
//! (`docs/misc/xenstore.txt`, `public/io/xs_wire.h`).

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::Ordering;

use super::page::SharedPage;
use super::{hypercall, info};

/// Offsets in the page.
mod offset {
    pub(super) const REQUESTS: usize = 0;
    pub(super) const ANSWERS: usize = 1024;
    pub(super) const REQUESTS_CONSUMED: usize = 2048;
    pub(super) const REQUESTS_PRODUCED: usize = 2052;
    pub(super) const ANSWERS_CONSUMED: usize = 2056;
    pub(super) const ANSWERS_PRODUCED: usize = 2060;
}
const RING_OCTETS: u32 = 1024;

/// The longest message that the protocol allows, without its header.
const MESSAGE_OCTETS_MOST: usize = 4096;
/// Watch events that are kept. They say "look again", so that one of each kind is enough.
const EVENTS_MOST: usize = 64;
/// How long one sleep lasts at most, and how many of them an answer may take: the service is one
/// thread of dom0, which may be busy. A count, because system time can jump when a machine was held.
const SLEEP_NANOS: u64 = 500_000_000;
const SLEEPS_MOST: u32 = 120;
/// How many may end early: an event woke us, or the hypervisor's clock is ahead of ours, so that
/// every deadline has passed already.
const NAPS_MOST: u32 = 1_000_000;

/// What is asked for, and what comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Kind {
    Directory = 1,
    Read = 2,
    Watch = 4,
    Unwatch = 5,
    Write = 11,
    WatchEvent = 15,
    Error = 16,
}

/// Why the store gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreError {
    /// There is no such name.
    Missing,
    /// It said no, for some other reason.
    Refused,
    /// It did not answer in time. The ring cannot be used any more.
    Silent,
    /// What it sent breaks the protocol. The ring cannot be used any more.
    Broken,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "no such name in XenStore",
            Self::Refused => "XenStore refused",
            Self::Silent => "XenStore does not answer",
            Self::Broken => "XenStore broke its protocol",
        })
    }
}

impl core::error::Error for StoreError {}

/// The client's end of the ring.
#[derive(Debug)]
pub(super) struct Store {
    page: SharedPage,
    port: u32,
    last_id: u32,
    /// Tokens of watches that fired, not yet taken.
    events: VecDeque<String>,
    broken: bool,
}

impl Store {
    /// Over the page and the event channel that the toolstack prepared.
    pub(super) fn new(page: SharedPage, port: u32) -> Self {
        Self {
            page,
            port,
            last_id: 0,
            events: VecDeque::new(),
            broken: false,
        }
    }

    /// The event channel that signals answers and watch events.
    pub(super) fn port(&self) -> u32 {
        self.port
    }

    /// The value of `path`.
    pub(super) fn read(&mut self, path: &str) -> Result<String, StoreError> {
        text(self.request(Kind::Read, &[path, "\0"])?)
    }

    /// The value of `path` as a number; 0 where there is none, which is how features are told.
    pub(super) fn number(&mut self, path: &str) -> Result<u32, StoreError> {
        match self.read(path) {
            Ok(value) => Ok(number(Some(&value))),
            Err(StoreError::Missing) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// The values of all of these below `folder`, in their order, without waiting in between; `None`
    /// where there is none.
    pub(super) fn read_all<const N: usize>(
        &mut self,
        folder: &str,
        keys: [&str; N],
    ) -> Result<[Option<String>; N], StoreError> {
        let mut ids = Vec::with_capacity(N);
        for key in keys {
            ids.push(self.ask(Kind::Read, &[folder, "/", key, "\0"])?);
        }
        let mut values = [const { None }; N];
        for (id, value) in ids.into_iter().zip(&mut values) {
            *value = match self.answer(Kind::Read, id) {
                Ok(octets) => Some(text(octets)?),
                Err(StoreError::Missing) => None,
                Err(error) => return Err(error),
            };
        }
        Ok(values)
    }

    /// Sets `path`.
    pub(super) fn write(&mut self, path: &str, value: &str) -> Result<(), StoreError> {
        self.request(Kind::Write, &[path, "\0", value]).map(drop)
    }

    /// Sets all of these below `folder`, in their order, without waiting in between.
    pub(super) fn write_all(
        &mut self,
        folder: &str,
        values: &[(&str, u32)],
    ) -> Result<(), StoreError> {
        let mut ids = Vec::with_capacity(values.len());
        for (key, value) in values {
            let value = format!("{value}");
            ids.push(self.ask(Kind::Write, &[folder, "/", key, "\0", &value])?);
        }
        for id in ids {
            self.answer(Kind::Write, id)?;
        }
        Ok(())
    }

    /// The first name below `path`, if there is any.
    pub(super) fn first_child(&mut self, path: &str) -> Result<Option<String>, StoreError> {
        match self.request(Kind::Directory, &[path, "\0"]) {
            Ok(names) => {
                let first = names.split(|&octet| octet == 0).next().unwrap_or_default();
                Ok((!first.is_empty()).then(|| String::from_utf8_lossy(first).into_owned()))
            }
            Err(StoreError::Missing) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// From now on, and once at once, [`event`](Self::event) gives `token` when `path` changes.
    pub(super) fn watch(&mut self, path: &str, token: &str) -> Result<(), StoreError> {
        self.request(Kind::Watch, &[path, "\0", token, "\0"])
            .map(drop)
    }

    /// Ends a watch.
    pub(super) fn unwatch(&mut self, path: &str, token: &str) -> Result<(), StoreError> {
        self.request(Kind::Unwatch, &[path, "\0", token, "\0"])
            .map(drop)
    }

    /// The token of a watch that fired, if one did.
    pub(super) fn event(&mut self) -> Option<String> {
        // Before the look at the ring: what comes after it makes the port pending again.
        info::take(self.port);
        while !self.broken && self.answers() > 0 {
            // No answer can be among these: each question waits for its own.
            let _event = self.receive(&mut Patience::new());
        }
        self.events.pop_front()
    }

    /// Whether [`event`](Self::event) may have something.
    pub(super) fn has_message(&self) -> bool {
        !self.events.is_empty() || (!self.broken && self.answers() > 0)
    }

    /// Asks, and waits for the answer.
    fn request(&mut self, kind: Kind, parts: &[&str]) -> Result<Vec<u8>, StoreError> {
        let id = self.ask(kind, parts)?;
        self.answer(kind, id)
    }

    /// Writes a question into the ring: its number.
    fn ask(&mut self, kind: Kind, parts: &[&str]) -> Result<u32, StoreError> {
        if self.broken {
            return Err(StoreError::Broken);
        }
        let mut patience = Patience::new();
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        if len > MESSAGE_OCTETS_MOST {
            return Err(StoreError::Refused);
        }
        self.last_id = self.last_id.wrapping_add(1);
        let header = Header {
            kind: kind as u32,
            id: self.last_id,
            len: u32::try_from(len).map_err(|_| StoreError::Refused)?,
        };
        self.send(&header.octets(), &mut patience)?;
        for part in parts {
            self.send(part.as_bytes(), &mut patience)?;
        }
        Ok(self.last_id)
    }

    /// Waits for the answer to question `id`. Answers come in the order of the questions.
    fn answer(&mut self, kind: Kind, id: u32) -> Result<Vec<u8>, StoreError> {
        if self.broken {
            return Err(StoreError::Broken);
        }
        self.notify();
        let mut patience = Patience::new();
        loop {
            let (header, body) = self.receive(&mut patience)?;
            if header.id != id || header.kind == Kind::WatchEvent as u32 {
                continue;
            }
            return match header.kind {
                answer if answer == kind as u32 => Ok(body),
                answer if answer == Kind::Error as u32 && body.starts_with(b"ENOENT") => {
                    Err(StoreError::Missing)
                }
                answer if answer == Kind::Error as u32 => Err(StoreError::Refused),
                _ => Err(self.give_up(StoreError::Broken)),
            };
        }
    }

    /// One message; a watch event is put aside as well.
    fn receive(&mut self, patience: &mut Patience) -> Result<(Header, Vec<u8>), StoreError> {
        let mut octets = [0; Header::OCTETS];
        self.take(&mut octets, patience)?;
        let header = Header::parse(&octets);
        let len = header.len as usize;
        if len > MESSAGE_OCTETS_MOST {
            return Err(self.give_up(StoreError::Broken));
        }
        let mut body = alloc::vec![0; len];
        self.take(&mut body, patience)?;
        if header.kind == Kind::WatchEvent as u32 {
            // Path, NUL, token, NUL.
            let token = body.split(|&octet| octet == 0).nth(1).unwrap_or_default();
            let token = String::from_utf8_lossy(token).into_owned();
            if self.events.len() < EVENTS_MOST && !self.events.contains(&token) {
                self.events.push_back(token);
            }
        }
        Ok((header, body))
    }

    fn send(&mut self, mut octets: &[u8], patience: &mut Patience) -> Result<(), StoreError> {
        while !octets.is_empty() {
            let consumed = self.word(offset::REQUESTS_CONSUMED);
            let produced = self.word(offset::REQUESTS_PRODUCED);
            let used = produced.wrapping_sub(consumed);
            if used > RING_OCTETS {
                return Err(self.give_up(StoreError::Broken));
            }
            let (start, len) = stretch(produced, RING_OCTETS - used, octets.len());
            if len == 0 {
                self.wait(patience)?;
                continue;
            }
            let (now, later) = octets.split_at(len);
            self.page.write(offset::REQUESTS + start, now);
            self.advance(offset::REQUESTS_PRODUCED, produced, len);
            octets = later;
        }
        Ok(())
    }

    fn take(&mut self, mut octets: &mut [u8], patience: &mut Patience) -> Result<(), StoreError> {
        while !octets.is_empty() {
            let consumed = self.word(offset::ANSWERS_CONSUMED);
            let available = self.answers();
            if available > RING_OCTETS {
                return Err(self.give_up(StoreError::Broken));
            }
            let (start, len) = stretch(consumed, available, octets.len());
            if len == 0 {
                self.wait(patience)?;
                continue;
            }
            let (now, later) = octets.split_at_mut(len);
            self.page.read(offset::ANSWERS + start, now);
            self.advance(offset::ANSWERS_CONSUMED, consumed, len);
            octets = later;
            self.notify();
        }
        Ok(())
    }

    fn answers(&self) -> u32 {
        let produced = self.word(offset::ANSWERS_PRODUCED);
        produced.wrapping_sub(self.word(offset::ANSWERS_CONSUMED))
    }

    fn wait(&mut self, patience: &mut Patience) -> Result<(), StoreError> {
        self.notify();
        // What came before this is seen by the caller's next look at the ring or keeps the port
        // pending.
        if info::take(self.port) {
            return Ok(());
        }
        let begin = info::system_nanos();
        info::sleep(&[self.port], Some(begin + SLEEP_NANOS));
        let slept = info::system_nanos().saturating_sub(begin);
        if patience.spend(slept) {
            Ok(())
        } else {
            Err(self.give_up(StoreError::Silent))
        }
    }

    fn give_up(&mut self, error: StoreError) -> StoreError {
        self.broken = true;
        error
    }

    fn notify(&self) {
        // A port that cannot be signalled shows as silence.
        let _gone = hypercall::notify(self.port);
    }

    fn word(&self, offset: usize) -> u32 {
        self.page.word(offset).load(Ordering::Acquire)
    }

    fn advance(&self, offset: usize, from: u32, octets: usize) {
        let octets = u32::try_from(octets).unwrap_or(0);
        self.page
            .word(offset)
            .store(from.wrapping_add(octets), Ordering::Release);
    }
}

/// A value as a number; 0 where there is none, which is how features are told.
pub(super) fn number(value: Option<&String>) -> u32 {
    value
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(0)
}

/// What is left of the time that an answer may take.
#[derive(Debug)]
struct Patience {
    sleeps_left: u32,
    naps_left: u32,
}

impl Patience {
    const fn new() -> Self {
        Self {
            sleeps_left: SLEEPS_MOST,
            naps_left: NAPS_MOST,
        }
    }

    /// After a sleep of so many ns: whether there is any left.
    fn spend(&mut self, slept: u64) -> bool {
        let kind = if slept < SLEEP_NANOS / 2 {
            hypercall::give_way();
            &mut self.naps_left
        } else {
            &mut self.sleeps_left
        };
        *kind = kind.saturating_sub(1);
        *kind > 0
    }
}

/// Where the ring goes on at `index`, and how many octets fit in a row out of `free` and `wanted`.
fn stretch(index: u32, free: u32, wanted: usize) -> (usize, usize) {
    let start = index % RING_OCTETS;
    let row = (RING_OCTETS - start).min(free) as usize;
    (start as usize, row.min(wanted))
}

fn text(octets: Vec<u8>) -> Result<String, StoreError> {
    String::from_utf8(octets).map_err(|_| StoreError::Broken)
}

/// What each message starts with; the transaction is always none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    kind: u32,
    id: u32,
    len: u32,
}

impl Header {
    const OCTETS: usize = 16;

    fn octets(self) -> [u8; Self::OCTETS] {
        let mut octets = [0; Self::OCTETS];
        let words = [self.kind, self.id, 0, self.len];
        for (place, word) in octets.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        octets
    }

    fn parse(octets: &[u8; Self::OCTETS]) -> Self {
        let (words, _) = octets.as_chunks::<4>();
        let word = |n: usize| words.get(n).map_or(0, |word| u32::from_le_bytes(*word));
        Self {
            kind: word(0),
            id: word(1),
            len: word(3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_its_own_inverse() {
        let header = Header {
            kind: 2,
            id: 7,
            len: 300,
        };
        assert_eq!(Header::parse(&header.octets()), header);
    }

    #[test]
    fn the_ring_is_used_in_stretches() {
        assert_eq!(stretch(1020, 1024, 10), (1020, 4));
        assert_eq!(stretch(1024, 1024, 10), (0, 10));
        assert_eq!(stretch(u32::MAX, 3, 10), (1023, 1));
        assert_eq!(stretch(5, 0, 10), (5, 0));
    }
}
