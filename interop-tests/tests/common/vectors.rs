//! The golden vectors of option-spec, as far as these tests want them.

use std::fs;
use std::path::Path;

/// One malformed SYN.
#[derive(Clone, Debug)]
pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) error: String,
    /// The whole option area.
    pub(crate) options: Vec<u8>,
}

/// The malformed vectors of SYNs, for the default kind.
pub(crate) fn malformed_syns() -> Vec<Vector> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../option-spec/vectors/malformed");
    let files = fs::read_dir(&folder).expect("the vectors");
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    let read = |path| fs::read_to_string(path).expect("a vector");
    paths
        .iter()
        .map(read)
        .filter_map(|text| parse(&text))
        .collect()
}

fn parse(text: &str) -> Option<Vector> {
    let field = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once('='));
        let (_, value) = lines.find(|(name, _)| name.trim() == key)?;
        let value = value.split('#').next().unwrap_or_default();
        Some(value.trim().trim_matches('"').to_owned())
    };
    let is_meant = field("segment")? == "syn" && field("kind").is_none();
    is_meant.then_some(Vector {
        name: field("name")?,
        error: field("error")?,
        options: hex::decode(field("options")?).ok()?,
    })
}
