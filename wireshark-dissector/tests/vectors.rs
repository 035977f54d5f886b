//! Each golden vector, as tshark shows it with the script.

use std::fmt::Write as _;

use synhop_dissector::capture::{self, LEGS};
use synhop_dissector::committed;
use synhop_dissector::expectation::{Expected, FIELDS};
use synhop_dissector::tshark::{Row, Tshark};
use synhop_dissector::vector::{self, Expect, Vector};

/// What a filter claims of the packets that it passes.
type Claim = fn(&Vector) -> bool;

const FOLDERS: [&str; 2] = ["valid", "malformed"];

#[test]
fn captures_are_what_the_vectors_generate() {
    for folder in FOLDERS {
        let made = capture::file(&vector::load(folder));
        committed::check(&format!("captures/{folder}.pcap"), &made);
    }
}

#[test]
fn checksums_of_the_captures_hold() {
    let Some(tshark) = Tshark::with_shipped_script("checksums_of_the_captures_hold") else {
        return;
    };
    for folder in FOLDERS {
        let vectors = vector::load(folder);
        let capture = tshark.write(&capture::file(&vectors));
        let rows = tshark
            .run(
                &capture,
                &[
                    "-o",
                    "tcp.check_checksum:TRUE",
                    "-o",
                    "ip.check_checksum:TRUE",
                    "-Y",
                    "tcp.checksum.status == \"Good\" && (ipv6 || ip.checksum.status == \"Good\")",
                ],
            )
            .unwrap();
        assert_eq!(rows.lines().count(), vectors.len() * LEGS.len(), "{rows}");
    }
}

/// The receiver of a vector looks at one kind only, so each is read with the preference set to it.
#[test]
fn fields_are_what_the_vectors_say() {
    let test = "fields_are_what_the_vectors_say";
    for kind in ["253", "254"] {
        let Some(tshark) = Tshark::with_shipped_script(test) else {
            return;
        };
        let tshark = tshark.kind(kind);
        for folder in FOLDERS {
            let vectors = vector::load(folder);
            let rows = rows(&tshark, &vectors);
            let of_kind = vectors
                .iter()
                .zip(&rows)
                .filter(|(it, _)| it.kind.to_string() == kind);
            check(of_kind);
        }
    }
}

/// The default preference shows both kinds; that only differs where a vector has one for the other.
#[test]
fn fields_are_the_same_when_both_kinds_are_shown() {
    let test = "fields_are_the_same_when_both_kinds_are_shown";
    let Some(tshark) = Tshark::with_shipped_script(test) else {
        return;
    };
    for folder in FOLDERS {
        let vectors = vector::load(folder);
        let rows = rows(&tshark, &vectors);
        check(vectors.iter().zip(&rows).filter(|(vector, _)| {
            !["kind-both", "kind-other", "kind-254-other"].contains(&vector.name.as_str())
        }));
    }
}

#[test]
fn filters_find_what_the_vectors_say() {
    let Some(tshark) = Tshark::with_shipped_script("filters_find_what_the_vectors_say") else {
        return;
    };
    let tshark = tshark.kind("253");
    let filters: [(&str, Claim); 9] = [
        ("synhop.dst == 198.51.100.1", |it| {
            goes_to(it, "198.51.100.1")
        }),
        ("synhop.dst == 198.51.100.0/24", |it| {
            goes_to(it, "198.51.100.1")
        }),
        ("synhop.dst6 == 2001:db8:ffff::80", |it| {
            goes_to(it, "2001:db8:ffff::80")
        }),
        ("synhop.src == 192.0.2.1", |it| {
            it.source
                .is_some_and(|source| source.ip().to_string() == "192.0.2.1")
        }),
        ("synhop.dport == 8443", |it| {
            it.destination.is_some_and(|to| to.port() == 8443)
        }),
        ("synhop.cookie == 01:02:03:04", |it| {
            it.cookie.as_deref() == Some("01020304")
        }),
        ("synhop.hops_left <= 3", |it| {
            it.hops_left.is_some_and(|hops| hops <= 3)
        }),
        ("synhop.reply", |it| {
            it.form.as_deref() == Some("understood")
        }),
        ("synhop", |it| it.expect == Expect::Option),
    ];
    // A vector of kind 254 may hold an option of kind 253, which its receiver does not look at.
    let mut vectors = vector::load("valid");
    vectors.retain(|vector| vector.kind == 253);
    let capture = tshark.write(&capture::file(&vectors));
    for (filter, claim) in filters {
        let expected: Vec<String> = vectors
            .iter()
            .enumerate()
            .filter(|(_, vector)| claim(vector))
            .flat_map(|(index, _)| (0..LEGS.len()).map(move |leg| frame_number(index, leg)))
            .collect();
        assert!(!expected.is_empty(), "no vector for {filter}");
        let rows = tshark.fields(&capture, filter, &["frame.number"]).unwrap();
        let found: Vec<&String> = rows.iter().flat_map(|row| &row["frame.number"]).collect();
        assert_eq!(found, expected.iter().collect::<Vec<_>>(), "{filter}");
    }
}

#[test]
fn malformed_is_a_filter_for_all_that_is_refused_and_nothing_else() {
    let test = "malformed_is_a_filter_for_all_that_is_refused_and_nothing_else";
    let Some(tshark) = Tshark::with_shipped_script(test) else {
        return;
    };
    let valid = tshark.write(&capture::file(&vector::load("valid")));
    assert_eq!(tshark.run(&valid, &["-Y", "synhop.malformed"]).unwrap(), "");

    let vectors = vector::load("malformed");
    let malformed = tshark.write(&capture::file(&vectors));
    let rows = tshark
        .fields(
            &malformed,
            "!synhop.malformed || !synhop.error || !_ws.expert",
            &["frame.number"],
        )
        .unwrap();
    let passed_over: Vec<&String> = rows.iter().flat_map(|row| &row["frame.number"]).collect();
    let others: Vec<String> = vectors
        .iter()
        .enumerate()
        .filter(|(_, vector)| Expected::of_vector(vector) == Expected::Nothing)
        .flat_map(|(index, _)| (0..LEGS.len()).map(move |leg| frame_number(index, leg)))
        .collect();
    assert_eq!(passed_over, others.iter().collect::<Vec<_>>());
}

#[test]
fn text_is_as_expected() {
    let Some(tshark) = Tshark::with_shipped_script("text_is_as_expected") else {
        return;
    };
    for folder in FOLDERS {
        let vectors = vector::load(folder);
        let capture = tshark.write(&capture::file(&vectors));
        let trees = tshark.trees(&capture).unwrap();
        let infos = tshark.infos(&capture).unwrap();
        assert_eq!(trees.len(), vectors.len() * LEGS.len());
        assert_eq!(infos.len(), trees.len());
        let mut text = String::new();
        for (index, vector) in vectors.iter().enumerate() {
            let first = index * LEGS.len();
            let [v4, v6] = [first, first + 1].map(|at| shown(&infos[at], &trees[at]));
            assert_eq!(v4, v6, "{}: the leg makes a difference", vector.name);
            writeln!(text, "== {}: {}\n{v4}", vector.name, vector.about).unwrap();
        }
        committed::check(&format!("expected/{folder}.txt"), text.as_bytes());
    }
}

/// What the script adds to the info column and to the tree.
fn shown(info: &str, tree: &str) -> String {
    let info = info.find("[synhop ").map_or("", |at| &info[at..]);
    let tree: Vec<&str> = tree
        .lines()
        .skip_while(|line| !line.starts_with("synhop TCP option"))
        .filter(|line| !line.is_empty())
        .collect();
    if info.is_empty() && tree.is_empty() {
        return "(nothing)\n".to_owned();
    }
    format!("{info}\n{}\n", tree.join("\n"))
}

/// One row for each vector and leg, in the order of the capture.
fn rows(tshark: &Tshark, vectors: &[Vector]) -> Vec<[Row; 2]> {
    let capture = tshark.write(&capture::file(vectors));
    let mut rows = tshark.fields(&capture, "", &FIELDS).unwrap().into_iter();
    let mut pairs = Vec::new();
    while let (Some(v4), Some(v6)) = (rows.next(), rows.next()) {
        pairs.push([v4, v6]);
    }
    assert_eq!(pairs.len(), vectors.len());
    pairs
}

fn check<'a>(vectors: impl Iterator<Item = (&'a Vector, &'a [Row; 2])>) {
    for (vector, rows) in vectors {
        for (leg, row) in LEGS.iter().zip(rows) {
            let verdict = Expected::of_vector(vector).check(row);
            assert_eq!(verdict, Ok(()), "{} on {leg:?}: {row:?}", vector.name);
        }
    }
}

fn goes_to(vector: &Vector, address: &str) -> bool {
    vector
        .destination
        .is_some_and(|destination| destination.ip().to_string() == address)
}

/// Wireshark counts from 1.
fn frame_number(vector: usize, leg: usize) -> String {
    (vector * LEGS.len() + leg + 1).to_string()
}
