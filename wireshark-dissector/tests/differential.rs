//! The dissector and the codec agree on octets that nobody chose: pieces of the vectors, joined,
//! cut and changed at random.

use quickcheck::{Arbitrary, Gen};
use synhop_dissector::expectation::{Expected, FIELDS};
use synhop_dissector::frame::{self, Leg, TcpHeader};
use synhop_dissector::pcap::{self, Packet};
use synhop_dissector::tshark::Tshark;
use synhop_dissector::vector::{self, Segment, Vector};
use synhop_option::{Kind, MAX_OPTIONS_OCTETS};

const SEGMENTS_PER_KIND: usize = 3000;

/// Octets that mean something at one place or another: kinds, lengths, identifiers, addresses.
const TELLING_OCTETS: [u8; 22] = [
    0x00, 0x01, 0x02, 0x04, 0x05, 0x08, 0x0a, 0x0e, 0x10, 0x12, 0x14, 0x16, 0x18, 0x1a, 0x28, 0xfd,
    0xfe, 0xe5, 0xf4, 0xf6, 0xe0, 0xff,
];

#[test]
fn dissector_agrees_with_the_codec() {
    let areas = ["valid", "malformed"].map(|folder| {
        let vectors = vector::load(folder);
        vectors.iter().map(Vector::option_octets).collect()
    });
    let mut random = Gen::new(0);
    for (kind, name) in [(Kind::Experiment1, "253"), (Kind::Experiment2, "254")] {
        let Some(tshark) = Tshark::with_shipped_script("dissector_agrees_with_the_codec") else {
            return;
        };
        let tshark = tshark.kind(name);
        let headers: Vec<TcpHeader> = (0..SEGMENTS_PER_KIND)
            .map(|index| TcpHeader {
                segment: *choose(
                    &mut random,
                    &[Segment::Syn, Segment::SynAck, Segment::Other],
                ),
                client_port: 10_000 + u16::try_from(index).expect("few segments"),
                node_port: 443,
                options: option_area(&mut random, &areas),
            })
            .collect();
        let packets: Vec<Packet> = headers
            .iter()
            .map(|header| Packet::whole(frame::segment(Leg::V4, header)))
            .collect();
        let capture = tshark.write(&pcap::file(&packets));
        let rows = tshark.fields(&capture, "", &FIELDS).unwrap();
        assert_eq!(rows.len(), headers.len());
        let mut outcomes = [0; 3];
        for (header, row) in headers.iter().zip(&rows) {
            let TcpHeader {
                segment,
                node_port,
                options,
                ..
            } = header;
            let expected = Expected::of_codec(kind, *segment, options, *node_port);
            let octets = hex::encode(options);
            assert_eq!(
                expected.check(row),
                Ok(()),
                "kind {name}, {segment:?}, {octets}: {row:?}"
            );
            outcomes[match expected {
                Expected::Nothing => 0,
                Expected::Option(_) => 1,
                Expected::Refused(_) => 2,
            }] += 1;
        }
        let [nothing, options, refused] = outcomes;
        println!("kind {name}: {nothing} without, {options} with the option, {refused} refused");
        assert!(
            outcomes.iter().all(|count| *count > 50),
            "the mixture is poor: {outcomes:?}"
        );
    }
}

/// SPEC section 2: beside RST or FIN a SYN opens nothing, so the option does not belong there.
#[test]
fn syn_with_rst_or_fin_is_the_wrong_segment() {
    const FLAGS_OFFSET: usize = 20 + 13;
    const SYN: u8 = 0x02;
    let Some(tshark) = Tshark::with_shipped_script("syn_with_rst_or_fin_is_the_wrong_segment")
    else {
        return;
    };
    let vectors = vector::load("valid");
    let base = vectors
        .iter()
        .find(|vector| vector.name == "v4-tuple")
        .expect("the base form has a vector");
    let flags: Vec<u8> = (0..0x20).filter(|flags| flags & SYN != 0).collect();
    let packets: Vec<Packet> = flags
        .iter()
        .map(|flags| {
            let mut octets = frame::segment(
                Leg::V4,
                &TcpHeader {
                    segment: Segment::Syn,
                    client_port: 10_000 + u16::from(*flags),
                    node_port: 443,
                    options: base.option_octets(),
                },
            );
            octets[FLAGS_OFFSET] = *flags;
            Packet::whole(octets)
        })
        .collect();
    let capture = tshark.write(&pcap::file(&packets));
    let rows = tshark.fields(&capture, "", &["synhop.error"]).unwrap();
    assert_eq!(rows.len(), flags.len());
    for (flags, row) in flags.iter().zip(&rows) {
        let segment = synhop_option::Segment::from_flags(*flags);
        let expected = match segment {
            synhop_option::Segment::Syn => "",
            // A SYN's form mirrored in a SYN-ACK has no legal length there.
            synhop_option::Segment::SynAck => "bad-length",
            synhop_option::Segment::Other => "wrong-segment",
        };
        let shown = row["synhop.error"].first().map_or("", String::as_str);
        assert_eq!(shown, expected, "flags {flags:#04x}");
    }
}

/// One or two option areas behind each other, some octets changed, cut and padded to a legal length.
fn option_area(random: &mut Gen, areas: &[Vec<Vec<u8>>]) -> Vec<u8> {
    let mut octets = any_of(random, areas);
    // Kind 254 is as common as 253.
    if bool::arbitrary(random) {
        octets
            .iter_mut()
            .filter(|octet| **octet == 0xfd)
            .for_each(|octet| *octet = 0xfe);
    }
    if bool::arbitrary(random) {
        octets.extend(any_of(random, areas));
    }
    octets.truncate(MAX_OPTIONS_OCTETS);
    for _ in 0..u8::arbitrary(random) % 3 {
        let at = usize::arbitrary(random) % octets.len().max(1);
        let telling = *choose(random, &TELLING_OCTETS);
        let value = if bool::arbitrary(random) {
            telling
        } else {
            u8::arbitrary(random)
        };
        if let Some(octet) = octets.get_mut(at) {
            *octet = value;
        }
    }
    let padding = *choose(random, &[0x00, 0x01, 0x01]);
    octets.resize(octets.len().next_multiple_of(4), padding);
    octets
}

/// A valid area as likely as a malformed one.
fn any_of(random: &mut Gen, areas: &[Vec<Vec<u8>>]) -> Vec<u8> {
    let folder = choose(random, areas);
    choose(random, folder).clone()
}

fn choose<'a, T>(random: &mut Gen, from: &'a [T]) -> &'a T {
    random.choose(from).expect("something to choose from")
}
