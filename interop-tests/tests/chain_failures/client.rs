//! The client's fault: it vanishes, or knows nothing of the option.

use std::net::SocketAddr;
use std::time::Duration;

use crate::common::{Bystander, PROMPTLY, Site, synhop_run, turn, wait_for_flow};
use crate::expect::{check_reset, configured, end, flow_to, is_tcp, lab};
use synhop_lab::link::Verdict;
use synhop_lab::{ChainSpec, CurlSpec, Heading, Packet, ProcessBuilder, Via};

/// Nothing but a client's SYN arrives: what the node has begun for it ends within the configured
/// time, along the whole chain.
#[test]
fn a_client_that_vanishes_after_its_syn() {
    let Some(_turn) = turn("a_client_that_vanishes_after_its_syn") else {
        return;
    };
    let lab = lab(2).build().unwrap();
    let spec = ChainSpec {
        arguments: configured(&lab, "[timeouts]\nhandshake_ms = 800\n"),
        ..ChainSpec::default()
    };
    let mut site = Site::on(lab, &spec, &[1_000]);
    let bystander = Bystander::of_server(&site.lab, site.via());
    let capture = site.lab.capture().unwrap();
    let cut = |frame: &mut Vec<u8>| match Packet::tcp_of(frame) {
        Some(segment) if segment.source.port() == VANISHING_PORT && !segment.is_syn() => {
            Verdict::Drop
        }
        Some(_) | None => Verdict::Pass,
    };
    let result = site
        .lab
        .set_middlebox(0, Heading::ToServer, Some(Box::new(cut)));
    result.unwrap();
    let mut command = synhop_run(&site.lab, site.via());
    command.args([
        "curl",
        "--disable",
        "--silent",
        "--noproxy",
        "*",
        "--local-port",
    ]);
    command.arg(VANISHING_PORT.to_string());
    command
        .args(["--output", "/dev/null"])
        .arg(site.nginx.url(1_000));
    let mut curl = ProcessBuilder::new("curl", command).start().unwrap();
    let web = site.nginx.address();
    let first = flow_to(&mut site, 1, web);
    assert_eq!(first.outcome(), "client-vanished", "{first}");
    assert_eq!(first.get("mode"), "early", "{first}");
    let lived = first.duration();
    assert!(
        lived >= Duration::from_millis(800) && lived < PROMPTLY,
        "{first}"
    );
    let second = flow_to(&mut site, 2, web);
    assert_eq!(second.outcome(), "reset-by-client", "{second}");
    capture
        .wait_for("a reset towards the server", PROMPTLY, |packets| {
            let mut segments = packets.iter().filter(|it| it.interface.link == 2);
            segments
                .find(|it| is_tcp(it, |it| it.is_reset() && it.destination == web))
                .map(drop)
        })
        .unwrap();
    bystander.finish();
    // Not killed: `synhop run` removes its helper's folder.
    curl.stop(PROMPTLY).unwrap();
    end(site);
}

#[test]
fn a_client_without_the_option() {
    let Some(_turn) = turn("a_client_without_the_option") else {
        return;
    };
    let mut site = Site::new(lab(1), &ChainSpec::default(), &[]);
    let bystander = Bystander::of_server(&site.lab, site.via());
    let node = site.lab.node_listen_address(1);
    let spec = CurlSpec::new(format!("http://{node}/"), Via::Direct);
    let outcome = site.lab.curl(&spec).unwrap();
    check_reset(&outcome);
    let line = wait_for_flow(site.chain.node(1), PROMPTLY, |line| {
        line.outcome() == "no-option"
    });
    let client = SocketAddr::from((site.lab.client_address(), outcome.local_port));
    assert_eq!(line.get("client"), client.to_string(), "{line}");
    assert!(line.duration() < PROMPTLY, "{line}");
    bystander.finish();
    end(site);
}

const VANISHING_PORT: u16 = 61_234;
