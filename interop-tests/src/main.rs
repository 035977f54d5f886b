//! `synhop-lab`: a line of namespaces with emulated links, on the command
//! line.

mod bench;
mod demo;
mod rig;
mod up;
mod wakeful;

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Parser, Subcommand};
use synhop_lab::transfer::{Order, Plan, Stall, transfer};

/// Emulated networks for trying synhop out.
#[derive(Debug, Parser)]
#[command(name = "synhop-lab", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure against the project's bounds; save the figures as JSON.
    Bench(bench::Arguments),
    /// Fetch files with curl, directly and through 1 to 3 nodes, and show what early SYN forwarding
    /// saves: a table and two plots.
    Demo(demo::Arguments),
    /// Build a line of namespaces with a chain of nodes, and hold it for hand
    /// work until Ctrl-C.
    Up(up::Arguments),
    /// Serve transfers whose every octet is checked.
    Serve {
        /// Address and port to listen on.
        address: SocketAddr,
    },
    /// Transfer octets, and check them.
    Transfer(TransferArguments),
}

#[derive(Debug, clap::Args)]
struct TransferArguments {
    /// Address and port of a `serve`.
    address: SocketAddr,
    /// Octets to send.
    #[arg(long, default_value_t = 0)]
    send: u64,
    /// Octets to receive.
    #[arg(long, default_value_t = 0)]
    receive: u64,
    /// Who sends when.
    #[arg(long, value_enum, default_value_t)]
    order: Order,
    /// Stop reading after so many octets.
    #[arg(long, value_name = "OCTETS", requires = "stall_ms")]
    stall_after: Option<u64>,
    /// For so many milliseconds.
    #[arg(long, value_name = "MS", requires = "stall_after")]
    stall_ms: Option<u64>,
    /// Leave after so many milliseconds, with what has arrived.
    #[arg(long, value_name = "MS")]
    leave_after_ms: Option<u64>,
}

impl TransferArguments {
    fn plan(&self) -> Plan {
        let stall = self.stall_after.zip(self.stall_ms);
        Plan {
            send: self.send,
            receive: self.receive,
            order: self.order,
            stall: stall.map(|(after, ms)| Stall {
                after,
                pause: Duration::from_millis(ms),
            }),
            leave_after: self.leave_after_ms.map(Duration::from_millis),
        }
    }
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match cli.command {
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Up(arguments) => up::run(&arguments),
        Command::Serve { address } => Ok(synhop_lab::transfer::serve(address)?),
        Command::Transfer(arguments) => {
            let report = transfer(arguments.address, &arguments.plan())?;
            println!("{}", serde_json::to_string(&report)?);
            anyhow::ensure!(
                report.received_intact && report.sent_intact,
                "octets were damaged"
            );
            Ok(())
        }
    }
}
