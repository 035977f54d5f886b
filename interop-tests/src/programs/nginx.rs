//! An unmodified nginx in the server's namespace.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::pattern::pattern_octets;
use crate::{Lab, LabError, Namespace, Process, ProcessBuilder, wait_until};

/// A running nginx; stopped when dropped.
pub struct Nginx {
    process: Process,
    files: Vec<NginxFile>,
    address: SocketAddr,
}

/// A file that nginx serves, under its size as its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NginxFile {
    /// Size in octets.
    pub octets: u64,
    /// SHA-256 of its contents, in hex.
    pub sha256: String,
}

impl Nginx {
    /// The address to fetch from.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of the file of this size.
    pub fn url(&self, octets: u64) -> String {
        format!("http://{}/{octets}", self.address)
    }

    /// What it serves.
    pub fn files(&self) -> &[NginxFile] {
        &self.files
    }

    /// The process, to be stopped, say.
    pub const fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Lab {
    /// Starts nginx on the server's port 80, with a file of each size.
    pub fn start_nginx(&self, sizes: &[u64]) -> Result<Nginx, LabError> {
        let folder = self.directory().join("nginx");
        let files = write_files(&folder.join("files"), sizes)
            .map_err(LabError::system("write the files that nginx serves"))?;
        let path = folder.join("nginx.conf");
        fs::write(&path, configuration(&folder)).map_err(LabError::system("configure nginx"))?;
        let mut command = self.server().command("nginx");
        command
            .arg("-e")
            .arg("stderr")
            .arg("-p")
            .arg(&folder)
            .arg("-c")
            .arg(&path);
        let mut process = ProcessBuilder::new("nginx", command)
            .log_to(folder.join("nginx.log"))
            .start()?;
        wait_for_port(self.server(), WEB_PORT, &mut process)?;
        let address = SocketAddr::from((self.server_address(), WEB_PORT));
        Ok(Nginx {
            process,
            files,
            address,
        })
    }
}

/// Waits until a process accepts connections, over its namespace's loopback:
/// nothing of it is seen on the links.
pub(super) fn wait_for_port(
    namespace: &Namespace,
    port: u16,
    process: &mut Process,
) -> Result<(), LabError> {
    let what = format!("{} to listen on port {port}", process.name());
    wait_until(&what, START_BOUND, || match process.status() {
        Ok(None) => {
            let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
            namespace
                .enter(connect)
                .map(|open| open.then_some(()))
                .transpose()
        }
        Ok(Some(_)) => Some(Err(process.failure())),
        Err(error) => Some(Err(error)),
    })?
}

fn write_files(folder: &Path, sizes: &[u64]) -> std::io::Result<Vec<NginxFile>> {
    fs::create_dir_all(folder)?;
    let write = |octets: &u64| {
        let size = usize::try_from(*octets).map_err(std::io::Error::other)?;
        let contents = pattern_octets(*octets, size);
        fs::write(folder.join(octets.to_string()), &contents)?;
        Ok(NginxFile {
            octets: *octets,
            sha256: hex::encode(Sha256::digest(&contents)),
        })
    };
    sizes.iter().map(write).collect()
}

/// One process: it dies with the lab, without a master that would have to
/// tell its workers.
fn configuration(folder: &Path) -> String {
    let mut text = format!(
        "daemon off;\nmaster_process off;\npid {0}/nginx.pid;\nerror_log stderr notice;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n  access_log off;\n  sendfile on;\n  tcp_nodelay on;\n\
         \x20 default_type application/octet-stream;\n",
        folder.display()
    );
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        // The built-in defaults lie outside of the lab's folder.
        let _ = writeln!(text, "  {kind}_temp_path {}/{kind};", folder.display());
    }
    let _ = writeln!(
        text,
        "  server {{ listen {WEB_PORT} backlog=4096; root {}/files; }}\n}}",
        folder.display()
    );
    text
}

/// Where nginx listens.
pub const WEB_PORT: u16 = 80;
const START_BOUND: Duration = Duration::from_secs(10);
