//! Runs TCP scenarios and says what differs.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use synhop_scenario::{On, Outcome, Scenario};

/// Runs TCP scenarios against the Linux kernel (needs root) and against the engine.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Scenario files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The host under test.
    #[arg(long, default_value = "both")]
    on: Hosts,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Hosts {
    Kernel,
    Engine,
    Both,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let hosts: &[On] = match arguments.on {
        Hosts::Kernel => &[On::Kernel],
        Hosts::Engine => &[On::Engine],
        Hosts::Both => &[On::Kernel, On::Engine],
    };
    let mut failed = false;
    for file in &arguments.files {
        let scenario = Scenario::load(file)?;
        for host in hosts {
            let name = format!("{} on {host:?}", scenario.name);
            match host.run(&scenario)? {
                Outcome::Passed => println!("pass  {name}"),
                Outcome::Failed(fault) => {
                    failed = true;
                    println!("FAIL  {name}\n    {fault}");
                }
            }
        }
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
