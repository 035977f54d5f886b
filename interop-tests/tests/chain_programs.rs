//! Other unmodified programs than curl, and an unprivileged user's.

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::{PROMPTLY, Site, flow_lines, synhop_run, turn};
use sha2::{Digest, Sha256};
use synhop_lab::{ChainSpec, Lab, Process, ProcessBuilder, find_binary, wait_until};

#[test]
fn python_urllib() {
    let Some(_turn) = turn("python_urllib") else {
        return;
    };
    let mut site = site();
    let mut command = synhop_run(&site.lab, site.via());
    let script = "import hashlib, sys, urllib.request as r\n\
                  opener = r.build_opener(r.ProxyHandler({}))\n\
                  print(hashlib.sha256(opener.open(sys.argv[1], timeout=20).read()).hexdigest())";
    command
        .args(["python3", "-c", script])
        .arg(site.nginx.url(BODY));
    let lines = run(command);
    assert_eq!(lines, [site.nginx.files()[0].sha256.clone()]);
    check_flows(&mut site, 1);
    site.close();
}

/// Two requests on one connection are one flow.
#[test]
fn curl_keeps_its_connection() {
    let Some(_turn) = turn("curl_keeps_its_connection") else {
        return;
    };
    let mut site = site();
    let folder = site.lab.directory().to_owned();
    let mut command = synhop_run(&site.lab, site.via());
    command.args(["curl", "--disable", "--silent", "--show-error", "--http1.1"]);
    command.args([
        "--noproxy",
        "*",
        "--write-out",
        "%{http_code} %{num_connects}\\n",
    ]);
    for name in ["first", "second"] {
        command
            .arg("--output")
            .arg(folder.join(name))
            .arg(site.nginx.url(BODY));
    }
    assert_eq!(run(command), ["200 1", "200 0"]);
    for name in ["first", "second"] {
        assert_eq!(hash_of(&folder.join(name)), site.nginx.files()[0].sha256);
    }
    check_flows(&mut site, 1);
    site.close();
}

#[test]
fn ssh_runs_a_command() {
    let Some(_turn) = turn("ssh_runs_a_command") else {
        return;
    };
    let mut site = site();
    let keys = site.lab.directory().join("ssh");
    fs::create_dir(&keys).unwrap();
    for name in ["host", "user"] {
        let mut command = Command::new("ssh-keygen");
        command
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(keys.join(name));
        run(command);
    }
    let sshd = start_sshd(&site, &keys);
    let mut command = synhop_run(&site.lab, site.via());
    command.args(["ssh", "-F", "none", "-o", "BatchMode=yes"]);
    command.args([
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
    ]);
    command.args(["-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR", "-i"]);
    command
        .arg(keys.join("user"))
        .args(["-p", &SSH_PORT.to_string()]);
    command.arg(format!("root@{}", site.lab.server_address()));
    command.arg("echo $((6 * 7)); echo $SSH_CONNECTION");
    let lines = run(command);
    let server = site.lab.server_address();
    assert_eq!(lines[0], "42", "{lines:?}\n{}", sshd.failure());
    // The server sees the last node.
    let expected = format!("{} ", site.lab.node_onward_address(2));
    assert!(lines[1].starts_with(&expected), "{lines:?}");
    assert!(
        lines[1].ends_with(&format!(" {server} {SSH_PORT}")),
        "{lines:?}"
    );
    check_flows(&mut site, 1);
    drop(sshd);
    site.close();
}

/// With `/run` of its own: sshd wants a folder there, and the machine's is left alone.
fn start_sshd(site: &Site, keys: &Path) -> Process {
    let config = keys.join("sshd_config");
    let text = format!(
        "Port {SSH_PORT}\nListenAddress {}\nHostKey {}\nAuthorizedKeysFile {}\n\
         PermitRootLogin yes\nStrictModes no\nUsePAM no\nPidFile none\n",
        site.lab.server_address(),
        keys.join("host").display(),
        keys.join("user.pub").display(),
    );
    fs::write(&config, text).unwrap();
    let mut command = site.lab.server().command("unshare");
    let script = "mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && exec \"$0\" \"$@\"";
    command.args([
        "--mount",
        "sh",
        "-c",
        script,
        "/usr/sbin/sshd",
        "-D",
        "-e",
        "-f",
    ]);
    command.arg(config);
    let sshd = ProcessBuilder::new("sshd", command).start().unwrap();
    sshd.wait_for_line("Server listening", PROMPTLY).unwrap();
    sshd
}

/// A user without any privilege runs curl by the system's helper.
#[test]
fn an_unprivileged_user() {
    let Some(_turn) = turn("an_unprivileged_user") else {
        return;
    };
    let mut site = site();
    // Neither the lab's folder nor the build's need be open to others.
    let open = tempfile::Builder::new()
        .prefix("synhop-test-")
        .tempdir()
        .unwrap();
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["synhop", "libsynhop_preload.so"] {
        fs::copy(find_binary(name).unwrap(), open.path().join(name)).unwrap();
    }
    let home = open.path().join("home");
    fs::create_dir(&home).unwrap();
    chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
    let synhop = open.path().join("synhop");
    let socket = open.path().join("helper.sock");
    let unprivileged = || {
        let mut command = site.lab.client().command("setpriv");
        let id = NOBODY.to_string();
        command.args([
            "--reuid",
            &id,
            "--regid",
            &id,
            "--clear-groups",
            "--no-new-privs",
        ]);
        command
            .arg(&synhop)
            .args(["run", "--fallback", "fail", "--helper"])
            .arg(&socket);
        let entry = site.chain.entry().expect("a node").to_string();
        command.args(["--proxy", &entry, "--", "curl", "--disable", "--silent"]);
        command
            .args(["--show-error", "--noproxy", "*", "--output"])
            .arg(home.join("body"));
        command.arg(site.nginx.url(BODY)).current_dir(&home);
        command
    };
    // Without the helper there is no way.
    let mut alone = ProcessBuilder::new("synhop run", unprivileged())
        .start()
        .unwrap();
    let status = alone.wait(PROMPTLY).unwrap();
    assert_eq!(status.code(), Some(125), "{}", alone.failure());
    assert!(
        alone.lines().concat().contains("helper"),
        "{}",
        alone.failure()
    );

    let mut command = site.lab.client().command(&synhop);
    command.arg("helper").arg("--socket").arg(&socket);
    let mut helper = ProcessBuilder::new("synhop helper", command)
        .start()
        .unwrap();
    wait_until("the helper's socket", PROMPTLY, || {
        let running = helper.status().expect("a status").is_none();
        assert!(running, "{}", helper.failure());
        socket.exists().then_some(())
    })
    .unwrap();
    let mut curl = ProcessBuilder::new("curl of nobody", unprivileged())
        .start()
        .unwrap();
    let status = curl.wait(Duration::from_secs(20)).unwrap();
    assert!(status.success(), "{}\n{}", curl.failure(), helper.failure());
    assert_eq!(hash_of(&home.join("body")), site.nginx.files()[0].sha256);
    check_flows(&mut site, 1);
    let status = helper.stop(PROMPTLY).unwrap();
    assert!(status.success(), "{}", helper.failure());
    assert!(!socket.exists(), "the helper's socket is left");
    site.close();
}

fn site() -> Site {
    Site::new(
        Lab::builder().nodes(2).rtt_ms(6),
        &ChainSpec::default(),
        &[BODY],
    )
}

/// Runs a program to its end; gives what it printed.
fn run(command: Command) -> Vec<String> {
    let name = format!("{command:?}");
    let mut process = ProcessBuilder::new(name, command).start().unwrap();
    let status = process.wait(Duration::from_secs(30)).unwrap();
    assert!(status.success(), "{}", process.failure());
    process.lines()
}

fn hash_of(path: &Path) -> String {
    hex::encode(Sha256::digest(fs::read(path).unwrap()))
}

/// So many flows went through each node, and all ended well.
fn check_flows(site: &mut Site, flows: usize) {
    site.wait_until_idle(PROMPTLY);
    let destination = site.lab.server_address().to_string();
    for node in site.chain.nodes() {
        let lines = flow_lines(node);
        assert_eq!(lines.len(), flows, "{}", node.failure());
        for line in lines {
            assert_eq!(line.outcome(), "closed", "{line}");
            assert!(line.get("destination").starts_with(&destination), "{line}");
        }
    }
}

const BODY: u64 = 200_000;
const SSH_PORT: u16 = 2222;
/// Debian's nobody and nogroup.
const NOBODY: u32 = 65_534;
