//! The golden vectors of `option-spec/vectors`, as their README describes them.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The destination port of a SYN whose vector names none: those without an option that needs it.
const DEFAULT_SYN_PORT: u16 = 443;

/// One case: the option area of a segment, and what a receiver makes of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// The file's stem.
    pub name: String,
    /// One sentence.
    pub about: String,
    /// The option kind that the receiver is configured for, 253 or 254.
    #[serde(default = "default_kind")]
    pub kind: u8,
    /// The flags of the segment.
    pub segment: Segment,
    /// The whole option area in hex.
    pub options: String,
    /// The destination port of the SYN.
    #[serde(default = "default_syn_port")]
    pub syn_port: u16,
    /// What the receiver finds.
    pub expect: Expect,
    /// The name of the form.
    pub form: Option<String>,
    /// The source, in forms that have one.
    pub source: Option<SocketAddr>,
    /// The destination, in forms that have one.
    pub destination: Option<SocketAddr>,
    /// 8 hex digits, in forms that have a cookie.
    pub cookie: Option<String>,
    /// In forms that have it.
    pub hops_left: Option<u8>,
    /// The family of the flow that a reply answers: `v4` or `v6`.
    pub family: Option<String>,
    /// `no`: a sender writes other octets. Of no interest here.
    pub canonical: Option<String>,
    /// The name of the error.
    pub error: Option<String>,
}

/// The flags of the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Segment {
    /// SYN without ACK.
    Syn,
    /// SYN with ACK.
    SynAck,
    /// Any without SYN.
    Other,
}

/// What a receiver finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expect {
    /// The option.
    Option,
    /// A sound list, and no option in it.
    None,
    /// A reason to refuse the segment.
    Error,
}

impl Vector {
    /// The option area.
    ///
    /// # Panics
    /// When the vector's hex is none.
    pub fn option_octets(&self) -> Vec<u8> {
        hex::decode(&self.options).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }
}

/// The vectors in `option-spec/vectors/<folder>`, in the order of their names.
///
/// # Panics
/// When the folder or a file in it cannot be read: without vectors there is nothing to test.
pub fn load(folder: &str) -> Vec<Vector> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../option-spec/vectors")
        .join(folder);
    let entries =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no vectors in {}", folder.display());
    paths.iter().map(|path| load_file(path)).collect()
}

fn load_file(path: &Path) -> Vector {
    let text =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let vector: Vector =
        toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(
        Some(vector.name.as_ref()),
        path.file_stem(),
        "the name is the file's stem"
    );
    vector
}

fn default_kind() -> u8 {
    253
}

fn default_syn_port() -> u16 {
    DEFAULT_SYN_PORT
}
