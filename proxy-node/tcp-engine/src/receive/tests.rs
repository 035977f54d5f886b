use alloc::vec::Vec;

use quickcheck::quickcheck;

use super::*;

fn payload(octets: &[u8]) -> Payload {
    Octets::copy_of(octets).into()
}

fn taken(receiver: &mut Receiver) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(octets) = receiver.take(u64::MAX) {
        all.extend_from_slice(octets.as_slice());
    }
    all
}

#[test]
fn a_hole_holds_back_what_follows_and_the_fin() {
    let mut receiver = Receiver::new(100);
    let late = receiver.accept(4, payload(b"def"), true);
    assert_eq!((late.advanced, late.disordered), (0, true));
    assert_eq!(receiver.islands().newest(4).collect::<Vec<_>>(), [(4, 7)]);
    let filled = receiver.accept(1, payload(b"abc"), false);
    assert_eq!((filled.advanced, filled.disordered), (7, true));
    assert!(receiver.has_fin() && !receiver.is_finished());
    assert_eq!(taken(&mut receiver), b"abcdef");
    assert!(receiver.is_finished());
}

#[test]
fn duplicates_are_told() {
    let mut receiver = Receiver::new(100);
    assert_eq!(receiver.accept(1, payload(b"abc"), false).duplicate, None);
    let again = receiver.accept(1, payload(b"abcd"), false);
    assert_eq!((again.duplicate, again.advanced), (Some((1, 4)), 1));
    receiver.accept(10, payload(b"jk"), false);
    let again = receiver.accept(10, payload(b"jk"), false);
    assert_eq!(again.duplicate, Some((10, 12)));
}

#[test]
fn the_window_moves_by_segments_and_never_back() {
    let mut receiver = Receiver::new(3000);
    assert_eq!(receiver.offer(3000, 3000, 1000), 3001);
    receiver.accept(1, payload(&[0; 500]), false);
    assert_eq!(receiver.offer(3000, 3000, 1000), 3001);
    receiver.accept(501, payload(&[0; 600]), false);
    assert_eq!(receiver.offer(3000, 3000, 1000), 4101);
    assert_eq!(receiver.offer(0, 3000, 1000), 3001);
}

#[test]
fn octets_beyond_the_window_are_not_kept() {
    let mut receiver = Receiver::new(4);
    let arrived = receiver.accept(1, payload(b"abcdef"), true);
    assert_eq!((arrived.advanced, receiver.has_fin()), (4, false));
    assert_eq!(taken(&mut receiver), b"abcd");
}

quickcheck! {
    /// Segments of one stream in any order and cutting give the stream.
    fn any_arrival_gives_the_stream(cuts: Vec<(u8, u8)>) -> bool {
        let stream: Vec<u8> = (0..=255).collect();
        let mut receiver = Receiver::new(256);
        let mut have = [false; 256];
        for (start, len) in cuts {
            let (start, end) = (usize::from(start), (usize::from(start) + usize::from(len)).min(256));
            let islands = receiver.islands().newest(99).count();
            receiver.accept(1 + start as u64, payload(&stream[start..end]), end == 256);
            if islands < 31 {
                have[start..end].fill(true);
            }
        }
        let in_order = have.iter().take_while(|have| **have).count();
        let got = taken(&mut receiver);
        got.len() >= in_order && got == stream[..got.len()]
    }
}
