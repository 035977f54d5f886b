//! Many fetches by one curl, and their bodies.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use sha2::{Digest, Sha256};
use synhop_lab::{Process, ProcessBuilder};

use super::{Site, synhop_run};

/// One curl with many transfers, each on a connection of its own.
pub(crate) struct Fetches {
    pub(crate) process: Process,
    bodies: Vec<(u64, PathBuf)>,
}

impl Fetches {
    /// `count` transfers of bodies of `sizes`, in turns.
    pub(crate) fn start(site: &Site, sizes: &[u64], count: usize, arguments: &[&str]) -> Self {
        let folder = site.lab.directory();
        let sizes = sizes.iter().copied().cycle();
        let name = |number| folder.join(format!("many-{number}"));
        let bodies: Vec<_> = sizes.zip((0..count).map(name)).collect();
        let mut config = String::new();
        for (size, path) in &bodies {
            let _ = writeln!(config, "url = \"{}\"", site.nginx.url(*size));
            let _ = writeln!(config, "output = \"{}\"", path.display());
        }
        let list = folder.join("many.conf");
        fs::write(&list, config).expect("write curl's list");
        let mut command = synhop_run(&site.lab, site.via());
        command.args(["curl", "--disable", "--silent", "--show-error"]);
        command.args(["--noproxy", "*", "--header", "Connection: close"]);
        command.args(["--write-out", "done %{http_code} %{num_connects}\\n"]);
        command.args(arguments).arg("--config").arg(&list);
        let process = ProcessBuilder::new("curl", command).start();
        Self {
            process: process.expect("curl starts"),
            bodies,
        }
    }

    /// Waits for the end; every body has to be right.
    pub(crate) fn check(mut self, site: &Site, bound: Duration) {
        let status = self.process.wait(bound).expect("curl ends");
        assert!(status.success(), "{}", self.process.failure());
        let lines = self.process.lines();
        let connected = lines.iter().filter(|line| *line == "done 200 1").count();
        assert_eq!(connected, self.bodies.len(), "{}", self.process.failure());
        for (octets, path) in &self.bodies {
            let body = fs::read(path).expect("a body");
            let hash = hex::encode(Sha256::digest(&body));
            let files = site.nginx.files().iter();
            let file = files.clone().find(|file| file.octets == *octets);
            let expected = &file.expect("nginx serves it").sha256;
            assert_eq!(&hash, expected, "{} of {octets} octets", path.display());
        }
    }
}
