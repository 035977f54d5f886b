//! The golden vectors of `option-spec/vectors/`, read from their files.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use synhop_option::{Kind, Segment};

/// One vector file; the keys are those of `option-spec/vectors/README.md` and no others.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) about: String,
    kind: Option<u8>,
    segment: SegmentName,
    options: String,
    pub(crate) syn_port: Option<u16>,
    pub(crate) expect: Expect,
    pub(crate) form: Option<String>,
    pub(crate) source: Option<SocketAddr>,
    pub(crate) destination: Option<SocketAddr>,
    pub(crate) cookie: Option<String>,
    pub(crate) hops_left: Option<u8>,
    pub(crate) family: Option<String>,
    pub(crate) canonical: Option<String>,
    pub(crate) error: Option<String>,
}

/// What a receiver makes of the segment.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Expect {
    /// It finds the option.
    Option,
    /// It finds a sound list without the option.
    None,
    /// It refuses the option.
    Error,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum SegmentName {
    Syn,
    SynAck,
    Other,
}

impl Vector {
    /// Every vector in `folder` (`valid` or `malformed`), in the order of their names.
    pub(crate) fn all_in(folder: &str) -> Vec<Self> {
        let folder = spec_folder().join("vectors").join(folder);
        let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.expect("a readable folder").path())
            .collect();
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("a readable vector");
        let vector: Self =
            toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(
            path.file_name().and_then(|name| name.to_str()),
            Some(format!("{}.toml", vector.name).as_str()),
            "a vector is named as its file"
        );
        vector
    }

    /// The option area of the segment.
    pub(crate) fn octets(&self) -> Vec<u8> {
        hex::decode(&self.options).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// The kind the receiver is configured for.
    pub(crate) fn kind(&self) -> Kind {
        self.kind.map_or_else(Kind::default, |octet| {
            Kind::from_octet(octet).unwrap_or_else(|| panic!("{}: kind {octet}", self.name))
        })
    }

    /// What the segment's flags say.
    pub(crate) const fn segment(&self) -> Segment {
        match self.segment {
            SegmentName::Syn => Segment::Syn,
            SegmentName::SynAck => Segment::SynAck,
            SegmentName::Other => Segment::Other,
        }
    }
}

/// The folder that holds SPEC.md and the vectors.
pub(crate) fn spec_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
