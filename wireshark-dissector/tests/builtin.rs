//! The script takes nothing away: all that Wireshark shows by itself is the same, octet for octet,
//! with and without it.

use synhop_dissector::committed;
use synhop_dissector::pcap::{self, Packet};
use synhop_dissector::surroundings::{self, FOREIGN};
use synhop_dissector::tshark::{self, Tshark};
use synhop_dissector::{capture, vector};

#[test]
fn wiresharks_own_rendering_stays_the_same() {
    let test = "wiresharks_own_rendering_stays_the_same";
    let Some(with) = Tshark::with_shipped_script(test) else {
        return;
    };
    let Some(without) = Tshark::plain(test) else {
        return;
    };
    let unusual: Vec<Packet> = surroundings::unusual_packets()
        .into_iter()
        .map(|(_, packet, _)| packet)
        .collect();
    let captures = [
        capture::file(&vector::load("valid")),
        capture::file(&vector::load("malformed")),
        pcap::file(&surroundings::foreign_packets()),
        pcap::file(&unusual),
    ];
    let mut added = 0;
    for octets in captures {
        let capture = with.write(&octets);
        let packets_with = with.pdml(&capture).unwrap();
        let packets_without = without.pdml(&capture).unwrap();
        assert_eq!(packets_with.len(), packets_without.len());
        for (with, without) in packets_with.iter().zip(&packets_without) {
            let (own, ours) = split_off_ours(with);
            assert!(
                own == *without,
                "{}",
                committed::first_difference(without, &own)
            );
            added += ours;
        }
    }
    assert!(added > 0, "the script added nothing: it was not there");
}

#[test]
fn options_of_others_are_shown_by_wireshark() {
    let test = "options_of_others_are_shown_by_wireshark";
    let Some(tshark) = Tshark::with_shipped_script(test) else {
        return;
    };
    let capture = tshark.write(&pcap::file(&surroundings::foreign_packets()));
    let packets = tshark.pdml(&capture).unwrap();
    assert_eq!(packets.len(), FOREIGN.len());
    for (foreign, packet) in FOREIGN.iter().zip(&packets) {
        assert!(
            packet.contains(foreign.shown),
            "{}: {packet}",
            foreign.about
        );
        let has_ours = foreign.about.contains("ours") && foreign.options.contains("e5f4");
        assert_eq!(
            packet.contains("name=\"synhop\""),
            has_ours,
            "{}",
            foreign.about
        );
    }
}

#[test]
fn capture_of_others_options_is_what_is_generated() {
    committed::check(
        "captures/foreign.pcap",
        &pcap::file(&surroundings::foreign_packets()),
    );
}

#[test]
fn option_is_found_in_unusual_places() {
    let Some(tshark) = Tshark::with_shipped_script("option_is_found_in_unusual_places") else {
        return;
    };
    let cases = surroundings::unusual_packets();
    let capture = tshark.write(&pcap::file(cases.iter().map(|(_, packet, _)| packet)));
    let fields = ["synhop.dst", "synhop.malformed", "synhop.error"];
    let rows = tshark.fields(&capture, "", &fields).unwrap();
    assert_eq!(rows.len(), cases.len());
    for ((about, _, destination), row) in cases.iter().zip(&rows) {
        let shown: Vec<&str> = row["synhop.dst"].iter().map(String::as_str).collect();
        assert_eq!(
            shown,
            destination.iter().copied().collect::<Vec<_>>(),
            "{about}"
        );
        // What the capture lacks is nobody's mistake on the wire.
        assert!(
            row["synhop.malformed"].is_empty() && row["synhop.error"].is_empty(),
            "{about}"
        );
    }
    let cut_short = tshark.run(&capture, &["-Y", "synhop.cut_short"]).unwrap();
    assert_eq!(cut_short.lines().count(), 1, "{cut_short}");
}

/// The README tells users to put the script there.
#[test]
fn script_is_found_in_the_personal_plugins_folder() {
    let test = "script_is_found_in_the_personal_plugins_folder";
    let Some(tshark) = Tshark::plain(test) else {
        return;
    };
    let folder = tshark.home().join(".local/lib/wireshark/plugins");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::copy(tshark::shipped_script(), folder.join("synhop.lua")).unwrap();
    let capture = tshark.write(&capture::file(&vector::load("valid")));
    let rows = tshark
        .fields(&capture, "synhop.dst == 198.51.100.1", &["frame.number"])
        .unwrap();
    assert!(!rows.is_empty());
}

/// A packet's PDML without the protocols that the script added, and how many these were.
///
/// `fake-field-wrapper` is a hidden item that Wireshark's Lua engine adds for any script.
fn split_off_ours(packet: &str) -> (String, usize) {
    let mut own = String::new();
    let mut ours = 0;
    let mut lines = packet.lines();
    while let Some(line) = lines.next() {
        let is_ours = line.starts_with("  <proto name=\"synhop\"");
        if is_ours || line.starts_with("  <proto name=\"fake-field-wrapper\"") {
            ours += usize::from(is_ours);
            let end = lines.find(|line| *line == "  </proto>");
            assert!(end.is_some(), "an element without end: {packet}");
        } else {
            own.push_str(line);
            own.push('\n');
        }
    }
    (own, ours)
}
