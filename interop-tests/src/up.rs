//! `synhop-lab up`: a lab held for hand work.

use std::thread;
use std::time::Duration;

use synhop_lab::{ChainSpec, Lab, LabError, LinkSpec, Queue, find_binary, signals};

/// What the line is to be like.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Nodes between client and server, 0 to 8.
    #[arg(long, default_value_t = 1)]
    nodes: usize,
    /// Round-trip time from client to server in milliseconds, split evenly.
    #[arg(long, default_value_t = 100.0, value_name = "MS")]
    rtt_ms: f64,
    /// Rate of every link in Mbit/s; 0 for no limit.
    #[arg(long, default_value_t = 100, value_name = "MBIT")]
    rate_mbit: u64,
    /// Probability that a frame is lost, on each link and direction, 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
    /// Probability that a frame is overtaken, 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    reorder: f64,
    /// Queue in front of each link, in frames.
    #[arg(long, default_value_t = 1000, value_name = "FRAMES")]
    queue: u64,
    /// Seed of the dice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only the line: start no nodes.
    #[arg(long)]
    no_chain: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    signals::clean_up_on_signals()?;
    let rtt = Duration::try_from_secs_f64(arguments.rtt_ms / 1000.0)?;
    let lab = Lab::builder()
        .nodes(arguments.nodes)
        .link(link(arguments))
        .rtt(rtt)
        .build()?;
    let nginx = lab.start_nginx(&FILES)?;
    let start_chain = || lab.start_chain(&ChainSpec::default());
    let chain = (!arguments.no_chain).then(start_chain).transpose()?;
    explain(
        &lab,
        chain.as_ref().and_then(synhop_lab::Chain::entry),
        &nginx.url(FILES[0]),
    )?;
    // The signal thread cleans up and ends the process.
    loop {
        thread::park();
    }
}

fn link(arguments: &Arguments) -> LinkSpec {
    LinkSpec {
        rate_bits_per_second: (arguments.rate_mbit > 0).then_some(arguments.rate_mbit * 1_000_000),
        queue: Queue::Packets(arguments.queue),
        loss: arguments.loss,
        reorder: arguments.reorder,
        seed: arguments.seed,
        ..LinkSpec::default()
    }
}

fn explain(lab: &Lab, entry: Option<std::net::SocketAddr>, url: &str) -> Result<(), LabError> {
    let client = lab.client().name();
    // Not `ip netns exec`: it mounts a /sys of its own, in which cgroup2, and
    // with it eBPF's attachment, is missing.
    let enter = format!("nsenter --net=/run/netns/{client}");
    println!("client  {:<12} {client}", lab.client_address());
    for number in 1..=lab.nodes() {
        println!(
            "n{number:<6} {:<12} {}",
            lab.node_address(number),
            lab.node(number).name()
        );
    }
    println!(
        "server  {:<12} {}",
        lab.server_address(),
        lab.server().name()
    );
    println!("\nnginx serves files of {FILES:?} octets, each named by its size.");
    println!("In every namespace, `left` leads to the client and `right` to the server.\n");
    let times = "-so /dev/null -w 'first octet %{time_starttransfer} s, all %{time_total} s\\n'";
    println!("Directly:\n  {enter} curl {times} {url}");
    if let Some(entry) = entry {
        let synhop = find_binary("synhop")?;
        println!(
            "Through the nodes:\n  {enter} {} run --proxy {entry} -- \\\n    \
             curl {times} {url}",
            synhop.display()
        );
        println!(
            "Logs of the nodes:\n  tail -f {}/nodes/*.log",
            lab.directory().display()
        );
    }
    println!(
        "Watch a link:\n  {enter} tcpdump -ni {} tcp",
        lab.right_device()
    );
    println!("\nCtrl-C ends it and removes everything.");
    Ok(())
}

const FILES: [u64; 5] = [10_000, 25_000, 100_000, 500_000, 10_000_000];
