//! Running tshark with the script, and with nothing that the user or the machine has configured.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{fmt, fs};

use tempfile::TempDir;

use crate::committed;

/// The values of each field asked for in one packet; a field that occurs twice has two.
pub type Row = BTreeMap<&'static str, Vec<String>>;

/// tshark, and a home of its own.
pub struct Tshark {
    home: TempDir,
    script: Option<PathBuf>,
    kind: Option<&'static str>,
}

/// What went wrong in a run of tshark.
#[derive(Debug)]
pub enum Failure {
    /// tshark could not be started.
    Start(std::io::Error),
    /// It ended with an exit code other than 0; what it wrote to stderr.
    Exit(String),
    /// It goes on after an error in a script that it loads: it only says so on stderr.
    Stderr(String),
    /// It goes on after an error while a script dissects: it only says so in the packet's tree.
    LuaError(String),
}

/// The script as it is shipped.
pub fn shipped_script() -> PathBuf {
    committed::path("synhop.lua")
}

impl Tshark {
    /// tshark without a script; `None`, with a SKIP line for `test`, where that cannot be had: on a
    /// machine without tshark, and where the script is installed for all users.
    ///
    /// # Panics
    /// When tshark is there and does not run, or there is no temporary folder.
    pub fn plain(test: &str) -> Option<Self> {
        let tshark = Self::find(test)?;
        if let Some(copy) = tshark.global_copy() {
            let copy = copy.display();
            println!("SKIP {test}: {copy} is there, and tshark loads it whatever one tells it");
            return None;
        }
        Some(tshark)
    }

    /// tshark with the script as it is shipped; `None`, with a SKIP line for `test`, on a machine
    /// without tshark.
    ///
    /// # Panics
    /// As [`Tshark::plain`]; and when another version of the script is installed for all users.
    pub fn with_shipped_script(test: &str) -> Option<Self> {
        let mut tshark = Self::find(test)?;
        tshark.kind = Some("both");
        let Some(copy) = tshark.global_copy() else {
            return Some(tshark.script(shipped_script()));
        };
        // It is loaded in any case, and twice is an error; so it had better be what is tested.
        let is_shipped = fs::read(&copy).ok() == fs::read(shipped_script()).ok();
        let copy = copy.display();
        assert!(
            is_shipped,
            "{copy} is another version, and tshark loads it: install this one"
        );
        Some(tshark)
    }

    fn find(test: &str) -> Option<Self> {
        match Command::new("tshark").arg("--version").output() {
            Ok(output) => assert!(output.status.success(), "tshark --version: {output:?}"),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                println!(
                    "SKIP {test}: tshark is missing; `make test` installs it (package tshark)"
                );
                return None;
            }
            Err(error) => panic!("tshark: {error}"),
        }
        Some(Self {
            home: TempDir::new().expect("a temporary folder"),
            script: None,
            kind: None,
        })
    }

    /// The script in the plugins folder of all users, if it is there.
    fn global_copy(&self) -> Option<PathBuf> {
        let output = self.command().args(["-G", "folders"]).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("Global Lua Plugins:"))?;
        let path = Path::new(line.trim()).join("synhop.lua");
        path.exists().then_some(path)
    }

    /// Loads this script.
    #[must_use]
    pub fn script(mut self, path: PathBuf) -> Self {
        self.script = Some(path);
        self
    }

    /// Sets the preference `synhop.kind`: `both` (the default), `253` or `254`.
    #[must_use]
    pub fn kind(mut self, kind: &'static str) -> Self {
        self.kind = Some(kind);
        self
    }

    /// The folder that stands for the user's home.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Writes a capture file into the home, for the other functions to read.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, octets: &[u8]) -> PathBuf {
        let path = self.home().join("capture.pcap");
        fs::write(&path, octets).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// The values of `fields` in each packet of `capture` that `filter` passes; an empty filter
    /// passes all.
    pub fn fields(
        &self,
        capture: &Path,
        filter: &str,
        fields: &[&'static str],
    ) -> Result<Vec<Row>, Failure> {
        // Column 0: what a script's error while dissecting leaves behind.
        let mut args = vec!["-T", "fields", "-E", "occurrence=a", "-E", "aggregator=|"];
        args.extend(["-e", "_ws.lua.error"]);
        args.extend(fields.iter().flat_map(|field| ["-e", *field]));
        if !filter.is_empty() {
            args.extend(["-Y", filter]);
        }
        let text = self.run(capture, &args)?;
        text.lines().map(|line| row(line, fields)).collect()
    }

    /// Each packet's tree in words, protocols other than synhop's in one line.
    pub fn trees(&self, capture: &Path) -> Result<Vec<String>, Failure> {
        let text = self.run(capture, &["-V", "-O", "synhop"])?;
        Ok(packets_of(&text, "Frame "))
    }

    /// Each packet's info column.
    pub fn infos(&self, capture: &Path) -> Result<Vec<String>, Failure> {
        let text = self.run(capture, &["-o", "gui.column.format:\"Info\",\"%i\""])?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Each packet as PDML: every field that Wireshark shows, with its octets.
    pub fn pdml(&self, capture: &Path) -> Result<Vec<String>, Failure> {
        let text = self.run(capture, &["-T", "pdml"])?;
        Ok(packets_of(&text, "<packet>"))
    }

    /// What tshark writes about `capture`, run with `args`.
    pub fn run(&self, capture: &Path, args: &[&str]) -> Result<String, Failure> {
        let mut command = self.command();
        command.arg("-n").arg("-r").arg(capture).args(args);
        if let Some(script) = &self.script {
            let mut option = OsStr::new("lua_script:").to_owned();
            option.push(script);
            command.arg("-X").arg(option);
        }
        if let Some(kind) = self.kind {
            command.arg("-o").arg(format!("synhop.kind:{kind}"));
        }
        checked(&command.output().map_err(Failure::Start)?)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("tshark");
        command
            .env("HOME", self.home())
            .env_remove("WIRESHARK_CONFIG_DIR")
            .env_remove("XDG_CONFIG_HOME")
            .env("LC_ALL", "C.UTF-8")
            .env("TZ", "UTC");
        command
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => write!(f, "tshark: {error}"),
            Self::Exit(stderr) => write!(f, "tshark failed: {stderr}"),
            Self::Stderr(stderr) => write!(f, "tshark complained: {stderr}"),
            Self::LuaError(text) => write!(f, "the script failed while dissecting: {text}"),
        }
    }
}

impl std::error::Error for Failure {}

/// What tshark wrote, if it had nothing to complain about.
fn checked(output: &Output) -> Result<String, Failure> {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(Failure::Exit(stderr));
    }
    // The one thing that tshark may say: it says so to root in any case.
    let complaints = stderr
        .lines()
        .filter(|line| !line.starts_with("Running as user \"root\""));
    if complaints.count() > 0 {
        return Err(Failure::Stderr(stderr));
    }
    match stdout.lines().find(|line| line.contains("Lua Error")) {
        Some(line) => Err(Failure::LuaError(line.to_owned())),
        None => Ok(stdout),
    }
}

fn row(line: &str, fields: &[&'static str]) -> Result<Row, Failure> {
    let mut columns = line.split('\t');
    let lua_error = columns.next().unwrap_or_default();
    if !lua_error.is_empty() {
        return Err(Failure::LuaError(lua_error.to_owned()));
    }
    let values = columns.map(|column| {
        column
            .split('|')
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
            .collect()
    });
    Ok(fields.iter().copied().zip(values).collect())
}

/// `text` cut before each line that begins with `start`; what stands before the first is dropped.
fn packets_of(text: &str, start: &str) -> Vec<String> {
    let mut packets: Vec<String> = Vec::new();
    for line in text.lines() {
        if line.starts_with(start) {
            packets.push(String::new());
        }
        if let Some(packet) = packets.last_mut() {
            packet.push_str(line);
            packet.push('\n');
        }
    }
    packets
}
