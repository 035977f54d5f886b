//! TCP options: right, odd and broken ones, ours among them (SPEC section 4.2).

use super::dice::Dice;
use crate::frames::v6;

/// All options of a header at most (RFC 9293 section 3.1).
const ROOM: usize = 40;

/// Options that fill whole words, at most 40 octets.
pub(super) fn any(dice: &mut Dice, micros: u32, echoed: u32) -> Vec<u8> {
    let mut options = Vec::new();
    match dice.below(10) {
        0..=3 => {}
        4 => options = timestamps(micros, echoed),
        5 => options = timestamps(dice.long(), dice.long()),
        6 => sack(dice, &mut options),
        7 => {
            for _ in 0..dice.below(6) {
                well_formed(dice, &mut options);
            }
        }
        8 => {
            let len = dice.below(ROOM + 1);
            options.extend((0..len).map(|_| {
                let known = [0, 1, 2, 3, 4, 5, 8, 10, 253, 254, 0xe5, 0xf4, 0xf6, 16, 20];
                dice.one_of(&known)
            }));
        }
        _ => {
            let len = dice.below(ROOM + 1);
            options.extend((0..len).map(|_| dice.octet()));
        }
    }
    padded(options)
}

/// Those of a SYN with our option in some form, perhaps damaged.
pub(super) fn of_a_syn(dice: &mut Dice, micros: u32, destination: u8) -> Vec<u8> {
    let mut ours = ours(dice, destination);
    if dice.percent(25) {
        damage(dice, &mut ours);
    }
    let mut options = Vec::new();
    if dice.percent(70) {
        options.extend([2, 4]);
        let mss = [0, 1, 64, 536, 1220, 1460, 1460, 1460, 9000, 65535];
        options.extend(dice.one_of::<u16>(&mss).to_be_bytes());
    }
    if options.len() + ours.len() + 12 <= ROOM && dice.percent(60) {
        options.extend([4, 2]);
        options.extend(&timestamps(micros, 0)[2..]);
    }
    if options.len() + ours.len() + 4 <= ROOM && dice.percent(60) {
        options.extend([1, 3, 3, dice.one_of(&[0, 1, 7, 14, 15, 255])]);
    }
    let at = if dice.percent(80) { options.len() } else { 0 };
    options.splice(at..at, ours);
    if dice.percent(3) {
        well_formed(dice, &mut options);
    }
    padded(options)
}

/// Ours, to a host of the link, as every form there is.
fn ours(dice: &mut Dice, destination: u8) -> Vec<u8> {
    let port = 80_u16.to_be_bytes();
    let claimed = [192, 0, 2, dice.octet()];
    let claimed_port = (dice.word() | 1).to_be_bytes();
    let to = match dice.below(20) {
        // What every node refuses, and what nobody answers.
        0 => [127, 0, 0, 1],
        1 => [224, 0, 0, 1],
        2 => [10, 0, 0, 2],
        3 => [198, 51, 100, dice.octet()],
        _ => [10, 0, 0, destination],
    };
    let to6 = match dice.below(20) {
        0 => [0; 16],
        1 => v6(2),
        _ => v6(destination),
    };
    let four = [0xe5, 0xf4];
    let six = [0xe5, 0xf6];
    let hops = [dice.one_of(&[0, 1, 2, 8, 255]), dice.octet() % 3];
    let cookie = dice.long().to_be_bytes();
    let body = match dice.below(11) {
        0..=2 => [&four[..], &claimed, &to, &claimed_port, &port].concat(),
        3 => [&four[..], &claimed, &to, &claimed_port, &port, &cookie].concat(),
        4 => [&four[..], &claimed, &to, &claimed_port, &port, &hops].concat(),
        5 => [&four[..], &to, &port].concat(),
        6 => [&four[..], &to, &port, &cookie].concat(),
        7 => [&six[..], &to6].concat(),
        8 => [&six[..], &to6, &port].concat(),
        9 if dice.percent(50) => [&six[..], &to6, &port, &hops].concat(),
        9 => [&six[..], &to6, &port, &cookie].concat(),
        _ => [&six[..], &v6(77), &to6, &claimed_port, &port].concat(),
    };
    let kind = if dice.percent(95) { 253 } else { 254 };
    let len = u8::try_from(body.len() + 2).expect("fits");
    [&[kind, len][..], &body].concat()
}

/// One fault in an option: its length, its marks, its end, an octet of it, or there are two.
fn damage(dice: &mut Dice, option: &mut Vec<u8>) {
    match dice.below(6) {
        0 => option[1] = dice.octet(),
        1 => option[1] = dice.octet() % 42,
        2 => option[2 + dice.below(2)] = dice.octet(),
        3 => option.truncate(dice.below(option.len())),
        4 => {
            let at = dice.below(option.len());
            option[at] ^= dice.octet();
        }
        _ => option.extend(option.clone()),
    }
}

/// A known option with its right length.
fn well_formed(dice: &mut Dice, options: &mut Vec<u8>) {
    match dice.below(8) {
        0 => options.push(1),
        1 => options.push(0),
        2 => options.extend([2, 4, dice.octet(), dice.octet()]),
        3 => options.extend([3, 3, dice.octet()]),
        4 => options.extend([4, 2]),
        5 => options.extend(timestamps(dice.long(), dice.long())),
        6 => sack(dice, options),
        // Understood, without and with a cookie: where no SYN-ACK is.
        _ => options.extend([253, 4, 0xe5, dice.one_of(&[0xf4, 0xf6])]),
    }
}

fn sack(dice: &mut Dice, options: &mut Vec<u8>) {
    let blocks = dice.below(5);
    options.extend([5, u8::try_from(2 + 8 * blocks).expect("at most 34")]);
    for _ in 0..blocks {
        let start = dice.long();
        let end = start.wrapping_add(dice.long() >> dice.below(32));
        options.extend(start.to_be_bytes());
        options.extend(end.to_be_bytes());
    }
}

pub(super) fn timestamps(value: u32, echo: u32) -> Vec<u8> {
    [
        &[1, 1, 8, 10][..],
        &value.to_be_bytes(),
        &echo.to_be_bytes(),
    ]
    .concat()
}

/// The value of the timestamps among `options`.
pub(super) fn timestamp_of(mut options: &[u8]) -> Option<u32> {
    loop {
        match options {
            [8, 10, a, b, c, d, ..] => return Some(u32::from_be_bytes([*a, *b, *c, *d])),
            [1, rest @ ..] => options = rest,
            [2..=u8::MAX, len @ 2..=u8::MAX, ..] => options = options.get(usize::from(*len)..)?,
            _ => return None,
        }
    }
}

fn padded(mut options: Vec<u8>) -> Vec<u8> {
    options.resize(options.len().next_multiple_of(4).min(ROOM), 0);
    options
}
