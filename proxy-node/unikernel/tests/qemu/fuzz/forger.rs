//! Who makes the segments up: client, server and stranger in one.

use std::collections::HashMap;
use std::time::Instant;

use super::dice::Dice;
use super::options::{any, of_a_syn, timestamp_of, timestamps};
use crate::frames::{self, Family, packet};

/// The node's port.
const LISTENS: u16 = 4460;
/// Clients are hosts 11 to 14, servers 51 to 54 of the link.
const CLIENTS: [u8; 4] = [11, 12, 13, 14];
const SERVERS: [u8; 4] = [51, 52, 53, 54];
/// Of each client's ports: more than the node has room for.
const PORTS: usize = 48;
/// Connections remembered at most.
const KNOWN_MOST: usize = 2048;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;

/// Whose segment it is: our end, the guest's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Tuple {
    family: Family,
    host: u8,
    port: u16,
    guest_port: u16,
}

/// The numbers that are right next, as far as the guest has told.
#[derive(Clone, Copy, Debug, Default)]
struct Numbers {
    seq: u32,
    ack: u32,
    /// The guest's last timestamp, if it sends them.
    echo: Option<u32>,
}

/// A segment to be.
struct Segment<'a> {
    tuple: Tuple,
    seq: u32,
    ack: u32,
    flags: u8,
    options: &'a [u8],
    data: &'a [u8],
}

/// What it is up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    /// It opens and serves connections, mostly.
    Plays,
    /// It wants to see none any more.
    Ends,
}

pub(super) struct Forger {
    dice: Dice,
    mood: Mood,
    begin: Instant,
    known: HashMap<Tuple, Numbers>,
    /// The keys of `known`, to throw dice for.
    order: Vec<Tuple>,
    /// Handshakes that were answered as they should be: SYNs and SYN-ACKs of the guest.
    pub(super) syns_answered: u64,
    pub(super) syn_acks_answered: u64,
}

impl Forger {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            dice: Dice::new(seed),
            mood: Mood::Plays,
            begin: Instant::now(),
            known: HashMap::new(),
            order: Vec::new(),
            syns_answered: 0,
            syn_acks_answered: 0,
        }
    }

    /// The next forged frame: a TCP segment in IP.
    pub(super) fn forge(&mut self) -> Vec<u8> {
        let mut frame = match self.dice.below(100) {
            0..=19 => self.syn(),
            20..=79 if !self.order.is_empty() => self.aimed(),
            _ => self.anything(),
        };
        if self.dice.percent(5) {
            self.damage(&mut frame);
        }
        frame
    }

    /// A SYN with our option, of the forms and their faults.
    fn syn(&mut self) -> Vec<u8> {
        let tuple = self.client();
        let destination = self.dice.one_of(&SERVERS);
        let micros = self.micros();
        let options = of_a_syn(&mut self.dice, micros, destination);
        let seq = self.dice.long();
        let flags = if self.dice.percent(95) {
            SYN
        } else {
            SYN | self.dice.octet()
        };
        let data = if self.dice.percent(5) {
            &[7; 40][..]
        } else {
            &[]
        };
        self.remember(
            tuple,
            Numbers {
                seq: seq.wrapping_add(1),
                ..Numbers::default()
            },
        );
        write(
            &Segment {
                tuple,
                seq,
                ack: 0,
                flags,
                options: &options,
                data,
            },
            &mut self.dice,
        )
    }

    /// At a connection that there is or was, with numbers that are right, nearly right or wrong.
    fn aimed(&mut self) -> Vec<u8> {
        let tuple = self.order[self.dice.below(self.order.len())];
        let numbers = self.known.get(&tuple).copied().unwrap_or_default();
        let near = |dice: &mut Dice, base: u32| {
            let reach = dice.one_of(&[4, 4000, 70_000]);
            base.wrapping_add(dice.long() % reach)
                .wrapping_sub(reach / 4)
        };
        let (seq, ack) = match self.dice.below(10) {
            0 => (self.dice.long(), self.dice.long()),
            1..=2 => (
                near(&mut self.dice, numbers.seq),
                near(&mut self.dice, numbers.ack),
            ),
            3 => (near(&mut self.dice, numbers.seq), numbers.ack),
            4 => (numbers.seq, near(&mut self.dice, numbers.ack)),
            _ => (numbers.seq, numbers.ack),
        };
        let flags = match self.dice.below(40) {
            0 => RST,
            1 => RST | ACK,
            2..=4 => FIN | ACK,
            5 => SYN,
            6 => SYN | ACK,
            7 => self.dice.octet(),
            8..=22 => ACK | PSH,
            _ => ACK,
        };
        let micros = self.micros();
        let options = match numbers.echo {
            Some(echo) if self.dice.percent(85) => timestamps(micros, echo),
            echo => any(&mut self.dice, micros, echo.unwrap_or(0)),
        };
        let fill = [self.dice.octet(); 1400];
        let len = self.length();
        write(
            &Segment {
                tuple,
                seq,
                ack,
                flags,
                options: &options,
                data: &fill[..len],
            },
            &mut self.dice,
        )
    }

    /// Anything, anywhere.
    fn anything(&mut self) -> Vec<u8> {
        let guest_port = if self.dice.percent(50) {
            LISTENS
        } else {
            self.dice.word()
        };
        let port = self.dice.word();
        let tuple = Tuple {
            port,
            guest_port,
            ..self.client()
        };
        let micros = self.micros();
        let options = any(&mut self.dice, micros, 0);
        let fill = [self.dice.octet(); 1400];
        let len = self.length();
        let (seq, ack) = (self.dice.long(), self.dice.long());
        let flags = if self.dice.percent(50) {
            self.dice.octet()
        } else {
            self.dice.one_of(&[SYN, ACK, RST, RST | ACK, SYN | ACK, 0])
        };
        write(
            &Segment {
                tuple,
                seq,
                ack,
                flags,
                options: &options,
                data: &fill[..len],
            },
            &mut self.dice,
        )
    }

    /// Mostly none or little.
    fn length(&mut self) -> usize {
        match self.dice.below(20) {
            0..=11 => 0,
            12..=18 => self.dice.below(200),
            _ => self.dice.below(1400),
        }
    }

    /// Behind the Ethernet header: flipped bits, a cut, a fragment.
    fn damage(&mut self, frame: &mut Vec<u8>) {
        match self.dice.below(4) {
            0 => frame.truncate(14 + self.dice.below(frame.len() - 14)),
            1 => frame[20] ^= 1 << self.dice.below(7),
            _ => {
                let at = 14 + self.dice.below(frame.len() - 14);
                frame[at] ^= 1 << self.dice.below(8);
            }
        }
    }

    fn client(&mut self) -> Tuple {
        Tuple {
            family: if self.dice.percent(60) {
                Family::V4
            } else {
                Family::V6
            },
            host: self.dice.one_of(&CLIENTS),
            port: 1024 + u16::try_from(self.dice.below(PORTS)).expect("few"),
            guest_port: LISTENS,
        }
    }

    /// Our timestamps count microseconds, so that no two differ by half of what they can count.
    fn micros(&self) -> u32 {
        let [a, b, c, d, ..] = self.begin.elapsed().as_micros().to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    fn remember(&mut self, tuple: Tuple, numbers: Numbers) {
        if self.known.insert(tuple, numbers).is_some() {
            return;
        }
        if self.order.len() < KNOWN_MOST {
            self.order.push(tuple);
        } else {
            let at = self.dice.below(KNOWN_MOST);
            let forgotten = core::mem::replace(&mut self.order[at], tuple);
            self.known.remove(&forgotten);
        }
    }

    fn forget(&mut self, tuple: Tuple) {
        if self.known.remove(&tuple).is_some() {
            self.order.retain(|other| *other != tuple);
        }
    }

    /// Learns from a frame of the guest's; what a neighbour, a client or a server says to it.
    pub(super) fn answer(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        if let Some(answer) = frames::neighbour_answer(frame) {
            return Some(answer);
        }
        let (family, host, segment) = tcp(frame)?;
        let word = |at: usize| Some(u16::from_be_bytes(*segment.get(at..)?.first_chunk()?));
        let long = |at: usize| Some(u32::from_be_bytes(*segment.get(at..)?.first_chunk()?));
        let tuple = Tuple {
            family,
            host,
            port: word(2)?,
            guest_port: word(0)?,
        };
        let (seq, ack, flags) = (long(4)?, long(8)?, *segment.get(13)?);
        let header = usize::from(*segment.get(12)? >> 4) * 4;
        let options = segment.get(20..header)?;
        let data = u32::try_from(segment.len() - header).ok()?;
        if flags & RST != 0 {
            self.forget(tuple);
            return None;
        }
        let before = self.known.get(&tuple).copied().unwrap_or_default();
        let ends = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        let numbers = Numbers {
            seq: if flags & ACK != 0 { ack } else { before.seq },
            ack: seq.wrapping_add(data).wrapping_add(ends),
            echo: timestamp_of(options),
        };
        if self.mood == Mood::Ends {
            self.remember(tuple, numbers);
            return (flags & SYN != 0).then(|| self.refuse(tuple, numbers));
        }
        match flags & (SYN | ACK) {
            SYN => self.serve(tuple, numbers, options),
            both if both == SYN | ACK => {
                self.remember(tuple, numbers);
                self.acknowledge(tuple, numbers)
            }
            _ => {
                self.remember(tuple, numbers);
                None
            }
        }
    }

    /// A server's SYN-ACK, more often than not.
    fn serve(&mut self, tuple: Tuple, mut numbers: Numbers, asked: &[u8]) -> Option<Vec<u8>> {
        let seq = self.dice.long();
        numbers.seq = seq.wrapping_add(1);
        self.remember(tuple, numbers);
        match self.dice.below(20) {
            0 => return None,
            1 => return Some(self.refuse(tuple, numbers)),
            _ => self.syns_answered += 1,
        }
        let mut options = [2, 4, 5, 0xb4].to_vec();
        if let Some(echo) = timestamp_of(asked)
            && self.dice.percent(80)
        {
            options.extend(timestamps(self.micros(), echo));
        } else {
            numbers.echo = None;
        }
        let segment = Segment {
            tuple,
            seq,
            ack: numbers.ack,
            flags: SYN | ACK,
            options: &options,
            data: &[],
        };
        Some(write(&segment, &mut self.dice))
    }

    fn refuse(&mut self, tuple: Tuple, numbers: Numbers) -> Vec<u8> {
        let segment = Segment {
            tuple,
            seq: numbers.seq,
            ack: numbers.ack,
            flags: RST | ACK,
            options: &[],
            data: &[],
        };
        write(&segment, &mut self.dice)
    }

    /// A client's last word of the handshake, more often than not.
    fn acknowledge(&mut self, tuple: Tuple, numbers: Numbers) -> Option<Vec<u8>> {
        if self.dice.percent(20) {
            return None;
        }
        self.syn_acks_answered += 1;
        let options = numbers.echo.map(|echo| timestamps(self.micros(), echo));
        let options = options.unwrap_or_default();
        let segment = Segment {
            tuple,
            seq: numbers.seq,
            ack: numbers.ack,
            flags: ACK,
            options: &options,
            data: &[],
        };
        Some(write(&segment, &mut self.dice))
    }

    /// Frames that end every connection that is remembered: first what brings the right number if
    /// ours is wrong, or a reset that makes us forget it; when asked again, the resets.
    pub(super) fn endings(&mut self, step: Ending) -> Vec<Vec<u8>> {
        self.mood = Mood::Ends;
        let known: Vec<_> = self.known.iter().map(|(tuple, at)| (*tuple, *at)).collect();
        let ending = |(tuple, numbers): (Tuple, Numbers)| match step {
            // Before the window: answered by an acknowledgement (RFC 9293 section 3.10.7.4).
            Ending::Probe => {
                let (seq, ack) = (numbers.seq.wrapping_sub(1), numbers.ack);
                let flags = ACK;
                let (options, data) = (&[][..], &[][..]);
                let segment = Segment {
                    tuple,
                    seq,
                    ack,
                    flags,
                    options,
                    data,
                };
                write(&segment, &mut self.dice)
            }
            Ending::Reset => self.refuse(tuple, numbers),
        };
        known.into_iter().map(ending).collect()
    }
}

/// How connections are ended whose numbers may be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Probe,
    Reset,
}

/// A plain SYN of a host that forges nothing, and what its SYN-ACK looks like.
pub(super) fn handshake() -> (Vec<u8>, impl Fn(&[u8]) -> bool) {
    let tuple = Tuple {
        family: Family::V4,
        host: 1,
        port: 999,
        guest_port: LISTENS,
    };
    let options = [
        253, 16, 0xe5, 0xf4, 10, 0, 0, 1, 10, 0, 0, 51, 0x15, 0xb3, 0, 80,
    ];
    let segment = Segment {
        tuple,
        seq: 41,
        ack: 0,
        flags: SYN,
        options: &options,
        data: &[],
    };
    let understood = |frame: &[u8]| {
        let Some((Family::V4, 1, segment)) = tcp(frame) else {
            return false;
        };
        segment.get(2..4) == Some(&999_u16.to_be_bytes())
            && segment.get(8..12) == Some(&42_u32.to_be_bytes())
            && segment.get(13) == Some(&(SYN | ACK))
            && segment.windows(4).any(|four| four == [253, 4, 0xe5, 0xf4])
    };
    (write(&segment, &mut Dice::new(0)), understood)
}

/// The frame of a segment; its window is thrown.
fn write(segment: &Segment<'_>, dice: &mut Dice) -> Vec<u8> {
    let tuple = segment.tuple;
    let mut octets = Vec::with_capacity(20 + segment.options.len() + segment.data.len());
    octets.extend(tuple.port.to_be_bytes());
    octets.extend(tuple.guest_port.to_be_bytes());
    octets.extend(segment.seq.to_be_bytes());
    octets.extend(segment.ack.to_be_bytes());
    let words = u8::try_from(5 + segment.options.len() / 4).expect("at most 15");
    // Now and then the header claims to be shorter or longer than it is.
    let words = if dice.percent(1) {
        dice.octet() & 15
    } else {
        words
    };
    octets.extend([words << 4, segment.flags]);
    let window: u16 = dice.one_of(&[0, 1, 536, 4096, 60_000, 60_000, 60_000, 65_535]);
    octets.extend(window.to_be_bytes());
    octets.extend([0, 0, 0, 0]);
    octets.extend(segment.options);
    octets.extend(segment.data);
    let sum = match tuple.family {
        Family::V4 => frames::ip_checksum(
            &[10, 0, 0, tuple.host],
            &frames::GUEST_IP,
            frames::TCP,
            &octets,
        ),
        Family::V6 => frames::ip_checksum(
            &frames::v6(tuple.host),
            &frames::v6(2),
            frames::TCP,
            &octets,
        ),
    };
    octets[16..18].copy_from_slice(&sum);
    packet(tuple.family, tuple.host, frames::TCP, &octets)
}

/// The segment in a frame of the guest's, and the last octet of whom it is for.
fn tcp(frame: &[u8]) -> Option<(Family, u8, &[u8])> {
    match frame.get(12..14)? {
        [8, 0] if *frame.get(23)? == frames::TCP => {
            let end = 14 + usize::from(u16::from_be_bytes(*frame.get(16..)?.first_chunk()?));
            Some((Family::V4, *frame.get(33)?, frame.get(34..end)?))
        }
        [0x86, 0xdd] if *frame.get(20)? == frames::TCP => {
            let end = 54 + usize::from(u16::from_be_bytes(*frame.get(18..)?.first_chunk()?));
            Some((Family::V6, *frame.get(53)?, frame.get(54..end)?))
        }
        _ => None,
    }
}
