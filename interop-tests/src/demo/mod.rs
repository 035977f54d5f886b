//! `synhop-lab demo`: what early SYN forwarding saves, shown on this machine.

mod report;

use crate::rig::{BUSY, CONGESTION_CONTROL, Fetched, Rig, RigSpec};
use crate::wakeful::{Idle, Wakeful};
use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use report::{AGREEMENT, Cell, Report, Setting, size_name};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use synhop_lab::plot::{self, Ladder, path_name};
use synhop_lab::stats::{Summary, median, millis};
use synhop_lab::{DirectionStats, signals};

/// What to do differently.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where to put the plots and the figures.
    #[arg(long, value_name = "DIR", default_value = "demo-output")]
    out: PathBuf,
    /// Fetches of each size over each path; the table shows medians.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    runs: u16,
    /// Nodes of the longest chain.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(0..=8))]
    nodes: u8,
    /// Congestion control of all hosts.
    #[arg(long, default_value = CONGESTION_CONTROL, value_name = "NAME")]
    congestion_control: String,
}

/// Measures, prints the table, saves the plots.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    signals::clean_up_on_signals().context("listen for signals")?;
    let (_until_the_end, _idle) = Wakeful::ask(Idle::Awake);
    let spec = RigSpec {
        rtt: RTT,
        rate_bit_s: RATE_BIT_S,
        congestion_control: arguments.congestion_control.clone(),
        builds: Vec::new(),
        sizes: SIZES_KB.iter().map(|kb| kb * 1024).collect(),
    };
    let runs = usize::from(arguments.runs);
    println!(
        "Fetching {} sizes with curl from nginx over {} paths, {runs} times each: RTT {:.0} ms, \
         {} Mbit/s, {}.",
        spec.sizes.len(),
        usize::from(arguments.nodes) + 1,
        millis(RTT),
        RATE_BIT_S / 1_000_000,
        spec.congestion_control,
    );
    let Measured {
        report,
        drawn,
        links,
    } = measure(&spec, arguments.nodes, runs)?;
    println!("\n{}", report.table());
    println!("{EXPLANATION}\n");
    print_agreement(&report);
    links.print();
    save(&arguments.out, &report, &drawn)
}

/// What a demo yields.
struct Measured {
    report: Report,
    drawn: Drawn,
    links: Links,
}

/// How well the emulated links kept to their own times, over all paths.
#[derive(Default)]
struct Links {
    late_p99: Duration,
    /// Frames that were not carried; in a valid run there are none.
    missing: u64,
}

impl Links {
    fn add(&mut self, stats: &DirectionStats) {
        self.late_p99 = self.late_p99.max(Duration::from_nanos(stats.late_p99_ns));
        self.missing += stats.failed + stats.queue_dropped;
    }

    fn print(&self) {
        println!(
            "The emulated links delivered 99 % of all frames at most {:.2} ms late.",
            millis(self.late_p99)
        );
        if self.late_p99 > BUSY {
            println!(
                "  That is much: this machine was busy, and the times above are longer for it."
            );
        }
        if self.missing > 0 {
            println!(
                "  {} frames found a queue full and were lost: see the spread.",
                self.missing
            );
        }
    }
}

/// Goes over all paths, from direct on; also draws one fetch through the longest chain.
fn measure(spec: &RigSpec, most_nodes: u8, runs: usize) -> anyhow::Result<Measured> {
    let progress = progress((usize::from(most_nodes) + 1) * spec.sizes.len() * runs)?;
    let mut cells = Vec::new();
    let mut drawn = None;
    let mut links = Links::default();
    for nodes in 0..=most_nodes {
        progress.set_message(path_name(nodes));
        let mut rig = Rig::new(spec, nodes)?;
        let mut fetched = vec![Vec::with_capacity(runs); spec.sizes.len()];
        for _ in 0..runs {
            for (octets, fetches) in spec.sizes.iter().zip(&mut fetched) {
                progress.set_message(format!("{}, {}", path_name(nodes), size_name(*octets)));
                fetches.push(rig.fetch(*octets)?);
                progress.inc(1);
            }
        }
        for (octets, fetches) in spec.sizes.iter().zip(&fetched) {
            cells.push(cell(nodes, *octets, fetches).context("nothing was fetched")?);
        }
        if nodes == most_nodes {
            drawn = Some(draw(&mut rig, spec, nodes)?);
        }
        links.add(&rig.links());
    }
    progress.finish_and_clear();
    cells.sort_by_key(|cell| (cell.body_octets, cell.nodes));
    let setting = Setting {
        rtt: spec.rtt,
        rate_bit_s: spec.rate_bit_s,
        congestion_control: spec.congestion_control.clone(),
        runs,
    };
    let drawn = drawn.context("no path was measured")?;
    Ok(Measured {
        report: Report { setting, cells },
        drawn,
        links,
    })
}

/// A bar on a terminal; nothing elsewhere.
fn progress(fetches: usize) -> anyhow::Result<ProgressBar> {
    let progress = ProgressBar::new(u64::try_from(fetches)?);
    let style = "{bar:32} {pos}/{len} fetches, {elapsed} of about {duration}  {msg}";
    progress.set_style(ProgressStyle::with_template(style)?);
    Ok(progress)
}

fn cell(nodes: u8, body_octets: u64, fetches: &[Fetched]) -> Option<Cell> {
    let times = |get: fn(&Fetched) -> Duration| fetches.iter().map(get).collect::<Vec<_>>();
    Some(Cell {
        body_octets,
        header_octets: fetches.first()?.header_octets,
        nodes,
        ttfb: Summary::of(&times(|fetch| fetch.wire.first_octet))?,
        ttc: Summary::of(&times(|fetch| fetch.wire.last_octet))?,
        curl_ttfb: median(&times(|fetch| fetch.curl_first))?,
        curl_ttc: median(&times(|fetch| fetch.curl_last))?,
        disagreement: fetches.iter().map(Fetched::disagreement).max()?,
    })
}

/// The ladder of one more fetch, and its packets as a file's octets.
struct Drawn {
    svg: String,
    pcap: Vec<u8>,
}

fn draw(rig: &mut Rig, spec: &RigSpec, nodes: u8) -> anyhow::Result<Drawn> {
    let smallest = spec.sizes.iter().copied().min().context("no size")?;
    rig.settle()?;
    let fetched = rig.fetch(smallest)?;
    let mut hosts = vec!["client".to_owned()];
    hosts.extend((1..=nodes).map(|node| format!("node {node}")));
    hosts.push("server".to_owned());
    let ladder = Ladder {
        title: format!(
            "One fetch through {}: all handshakes at once",
            path_name(nodes)
        ),
        subtitle: format!(
            "RTT {:.0} ms; {} by curl; times from captures at both ends of each leg; first octet \
             after {:.1} ms",
            millis(spec.rtt),
            size_name(smallest),
            millis(fetched.wire.first_octet),
        ),
        hosts,
        arrows: rig.arrows(),
    };
    Ok(Drawn {
        svg: ladder.svg()?,
        pcap: rig.pcap()?,
    })
}

/// Says whether curl's clock and the capture tell the same.
fn print_agreement(report: &Report) {
    println!(
        "Times are medians from the capture at the client's interface, first SYN out to first and \
         last payload in."
    );
    let worst = report.cells.iter().max_by_key(|cell| cell.disagreement);
    let Some(worst) = worst else { return };
    println!(
        "curl's own differ by more than {:.0} ms in {} of {} rows, at most by {:.2} ms ({}, {}).",
        millis(AGREEMENT),
        report.disagreeing(),
        report.cells.len(),
        millis(worst.disagreement),
        size_name(worst.body_octets),
        path_name(worst.nodes),
    );
}

fn save(folder: &Path, report: &Report, drawn: &Drawn) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    let folder = folder
        .canonicalize()
        .with_context(|| format!("find {}", folder.display()))?;
    let times = plot::save(&folder, "transfer-times", &report.chain_plot().svg()?)?;
    let handshakes = plot::save(&folder, "handshakes", &drawn.svg)?;
    let others = [
        ("handshakes.pcap", drawn.pcap.clone()),
        ("figures.csv", report.table().to_csv().into_bytes()),
        ("figures.json", report.json()?.into_bytes()),
    ];
    let mut written = vec![folder.clone()];
    for (name, octets) in others {
        let path = folder.join(name);
        fs::write(&path, octets).with_context(|| format!("write {}", path.display()))?;
        written.push(path);
    }
    println!("Transfer time over nodes:  {}", times.svg.display());
    println!("                           {}", times.png.display());
    println!("Handshakes of one fetch:   {}", handshakes.svg.display());
    println!("                           {}", handshakes.png.display());
    println!(
        "Its packets, and figures:  {}",
        folder.join("handshakes.pcap").display()
    );
    println!(
        "                           {}",
        folder.join("figures.csv").display()
    );
    println!(
        "                           {}",
        folder.join("figures.json").display()
    );
    written.extend([times.svg, times.png, handshakes.svg, handshakes.png]);
    give_to_caller(&written);
    Ok(())
}

/// Under sudo the files shall be the user's. Best effort: that he can read them is enough.
fn give_to_caller(paths: &[PathBuf]) {
    let id = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    let (Some(user), group) = (id("SUDO_UID"), id("SUDO_GID")) else {
        return;
    };
    for path in paths {
        if let Err(error) = std::os::unix::fs::chown(path, Some(user), group) {
            tracing::debug!(path = %path.display(), %error, "stays root's");
        }
    }
}

/// The setting that the figures of the design are stated for.
const RTT: Duration = Duration::from_millis(100);
const RATE_BIT_S: u64 = 100_000_000;
const SIZES_KB: [u64; 6] = [10, 25, 50, 100, 250, 500];
const EXPLANATION: &str = "\
Direct, the handshake and then the request each wait for the whole round trip: 2 x 100 ms.
Nodes forward the SYN as it arrives, so all legs shake hands at once: 100 ms + the longest leg.
Each leg then goes through slow start at its own short round trip, so larger bodies save more.";
