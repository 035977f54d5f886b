//! Who is where on the link: ARP (RFC 826) and NDP (RFC 4861) answers, remembered.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use hashbrown::HashMap;
use smoltcp::wire::EthernetAddress;
use synhop_engine::Instant;

use crate::frame::Frame;

/// The neighbours of one interface.
#[derive(Debug, Default)]
pub(crate) struct Neighbours {
    entries: HashMap<IpAddr, Entry>,
}

#[derive(Debug)]
struct Entry {
    mac: Option<EthernetAddress>,
    /// When it was last heard of, or asked for.
    at: Instant,
    asked: u32,
    waiting: VecDeque<Frame>,
}

/// Where a frame can go.
#[derive(Debug)]
pub(crate) enum Found {
    /// There.
    At(EthernetAddress),
    /// It waits; the question is to be asked.
    Ask,
    /// It waits for an answer, or was dropped since too many do.
    Waits,
}

impl Neighbours {
    /// Looks a neighbour up for a frame; keeps the frame if there is no answer yet.
    pub(crate) fn find(&mut self, ip: IpAddr, frame: &Frame, now: Instant) -> Found {
        let entry = self.entry(ip, now);
        if let Some(mac) = entry.mac {
            return Found::At(mac);
        }
        if entry.waiting.len() < MAX_WAITING {
            entry.waiting.push_back(frame.clone());
        }
        if entry.asked == 0 || now.since(entry.at) >= ASK_EVERY {
            entry.asked += 1;
            entry.at = now;
            return Found::Ask;
        }
        Found::Waits
    }

    /// A neighbour said where it is, asked or by asking us something. Returns the frames that waited
    /// for that.
    pub(crate) fn learn(
        &mut self,
        ip: IpAddr,
        mac: EthernetAddress,
        now: Instant,
    ) -> VecDeque<Frame> {
        if !mac.is_unicast() {
            return VecDeque::new();
        }
        let entry = self.entry(ip, now);
        entry.mac = Some(mac);
        entry.at = now;
        entry.asked = 0;
        // With its memory: there may be many neighbours, and they are kept for long.
        core::mem::take(&mut entry.waiting)
    }

    /// Asks again what was not answered, forgets what has not been confirmed for long. Returns whom
    /// to ask for.
    pub(crate) fn tick(&mut self, now: Instant) -> Vec<IpAddr> {
        let mut ask = Vec::new();
        self.entries.retain(|ip, entry| {
            let age = now.since(entry.at);
            if entry.mac.is_some() {
                // Used or not: a neighbour may have moved. The next frame asks anew.
                return age < FORGET_AFTER;
            }
            if age >= ASK_EVERY {
                if entry.asked >= MAX_ASKED {
                    return false;
                }
                entry.asked += 1;
                entry.at = now;
                ask.push(*ip);
            }
            true
        });
        ask
    }

    /// When [`tick`](Self::tick) has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let waits = self.entries.values().map(|entry| match entry.mac {
            Some(_) => entry.at + FORGET_AFTER,
            None => entry.at + ASK_EVERY,
        });
        waits.min()
    }

    /// The entry of an address; the oldest of another one gives way if there are too many.
    fn entry(&mut self, ip: IpAddr, now: Instant) -> &mut Entry {
        if self.entries.len() >= MAX_NEIGHBOURS && !self.entries.contains_key(&ip) {
            self.drop_oldest();
        }
        self.entries.entry(ip).or_insert_with(|| Entry {
            mac: None,
            at: now,
            asked: 0,
            waiting: VecDeque::new(),
        })
    }

    fn drop_oldest(&mut self) {
        let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.at);
        if let Some(ip) = oldest.map(|(ip, _)| *ip) {
            self.entries.remove(&ip);
        }
    }
}

const MAX_NEIGHBOURS: usize = 256;
const MAX_WAITING: usize = 16;
const MAX_ASKED: u32 = 5;
const ASK_EVERY: Duration = Duration::from_secs(1);
const FORGET_AFTER: Duration = Duration::from_mins(5);
