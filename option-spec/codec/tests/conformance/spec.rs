//! SPEC.md holds what it says: its octets are the vectors', its section numbers exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::Hasher;
use std::path::Path;

use crate::vector::{Expect, Vector, spec_folder};

#[test]
fn examples_are_the_octets_of_their_vectors() {
    let vectors = vectors_by_name();
    let spec = spec();
    let examples = examples(&spec);
    for (name, digits) in &examples {
        let vector = vectors
            .get(*name)
            .unwrap_or_else(|| panic!("SPEC.md shows vector {name}, which there is not"));
        assert_eq!(*digits, hex::encode(vector.octets()), "vector {name}");
    }
}

#[test]
fn every_form_has_an_example() {
    let vectors = vectors_by_name();
    let spec = spec();
    let shown: BTreeSet<(Option<String>, usize)> = examples(&spec)
        .keys()
        .map(|name| &vectors[*name])
        .filter(|vector| vector.expect == Expect::Option)
        .map(|vector| (vector.form.clone(), usize::from(vector.octets()[1])))
        .collect();
    let forms = [
        ("v4-withheld", 10),
        ("v4-withheld", 14),
        ("v4", 16),
        ("v4", 18),
        ("v4", 20),
        ("v6-address", 20),
        ("v6", 22),
        ("v6", 24),
        ("v6", 26),
        ("v6-tuple", 40),
        ("understood", 4),
        ("understood", 8),
    ];
    for (form, len) in forms {
        assert!(
            shown.contains(&(Some(form.to_owned()), len)),
            "{form}, length {len}"
        );
    }
}

#[test]
fn every_error_of_the_vectors_is_named_in_section_4_4() {
    let spec = spec();
    let section = spec
        .split("\n### 4.4.")
        .nth(1)
        .and_then(|rest| rest.split("\n## ").next())
        .expect("section 4.4");
    for error in Vector::all_in("malformed")
        .iter()
        .filter_map(|vector| vector.error.as_ref())
    {
        assert!(section.contains(&format!("| `{error}` |")), "{error}");
    }
}

#[test]
fn cookie_examples_are_right() {
    let spec = spec();
    let examples: Vec<&str> = spec.split("\ncookie-example\n").skip(1).collect();
    assert_eq!(examples.len(), 2);
    for example in examples {
        let value = |key: &str| {
            let line = example
                .lines()
                .find_map(|line| line.strip_prefix(key))
                .unwrap_or_else(|| panic!("{key} in {example}"));
            hex::decode(digits(line)).expect("hex")
        };
        let (address, epoch) = (value("address "), value("epoch "));
        assert_eq!((address.len(), epoch.len()), (16, 4));
        let hash = sip_hash_2_4(&value("key "), &[address, epoch].concat());
        assert_eq!(hash[..4], value("cookie "));
    }
}

#[test]
fn sections_that_are_referred_to_exist() {
    let spec = spec();
    let sections: BTreeSet<&str> = spec
        .lines()
        .filter(|line| line.starts_with("##"))
        .filter_map(|line| line.trim_start_matches('#').split_whitespace().next())
        .map(|number| number.trim_end_matches('.'))
        .collect();
    let mut texts = vec![("SPEC.md".to_owned(), spec.clone())];
    for folder in ["src", "tests/conformance"] {
        texts.extend(rust_files(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join(folder),
        ));
    }
    for (name, text) in &texts {
        for number in references(text, name == "SPEC.md") {
            assert!(
                sections.contains(number.as_str()),
                "{name} refers to section {number}"
            );
        }
    }
}

/// The numbers behind "section" in SPEC.md, and behind "SPEC section" elsewhere. Sections of RFCs
/// are written with the RFC's number in front and are left out.
fn references(text: &str, is_spec: bool) -> Vec<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    words
        .windows(3)
        .filter(|words| words[1].trim_start_matches('(').starts_with("section"))
        .filter(|words| is_spec || words[0].ends_with("SPEC"))
        .filter_map(|words| {
            let number: String = words[2]
                .chars()
                .take_while(|c| c.is_ascii_digit() || *c == '.')
                .collect();
            let number = number.trim_end_matches('.');
            (!number.is_empty()).then(|| number.to_owned())
        })
        .collect()
}

fn rust_files(folder: &Path) -> Vec<(String, String)> {
    fs::read_dir(folder)
        .expect("a readable folder")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a readable file");
            (path.display().to_string(), text)
        })
        .collect()
}

fn spec() -> String {
    fs::read_to_string(spec_folder().join("SPEC.md")).expect("SPEC.md is there")
}

fn vectors_by_name() -> BTreeMap<String, Vector> {
    ["valid", "malformed"]
        .into_iter()
        .flat_map(Vector::all_in)
        .map(|vector| (vector.name.clone(), vector))
        .collect()
}

/// The examples of `spec`: a line `vector NAME` in a code block, and hex digits up to the next one,
/// an empty line, or the block's end.
fn examples(spec: &str) -> BTreeMap<&str, String> {
    let mut examples = BTreeMap::new();
    let mut current: Option<&str> = None;
    for line in spec.lines() {
        if let Some(rest) = line.strip_prefix("vector ") {
            let name = rest.split(';').next().unwrap_or(rest).trim();
            assert!(
                examples.insert(name, String::new()).is_none(),
                "{name} is shown twice"
            );
            current = Some(name);
        } else if line.is_empty() || line.starts_with("```") {
            current = None;
        } else if let Some(example) = current.and_then(|name| examples.get_mut(name)) {
            example.push_str(&digits(line));
        }
    }
    examples
}

/// The hex digits of a line, commentary left out.
fn digits(line: &str) -> String {
    let octets = line.split(';').next().unwrap_or(line);
    octets.split_whitespace().collect()
}

/// The one `SipHash-2-4` in the standard library.
#[expect(
    deprecated,
    reason = "deprecated as a hasher of maps; as a function it is what it is"
)]
fn sip_hash_2_4(key: &[u8], message: &[u8]) -> [u8; 8] {
    let half = |range: std::ops::Range<usize>| {
        u64::from_le_bytes(key[range].try_into().expect("a key of 16 octets"))
    };
    let mut hasher = std::hash::SipHasher::new_with_keys(half(0..8), half(8..16));
    hasher.write(message);
    hasher.finish().to_le_bytes()
}
