//! `synhop`: runs unmodified programs through synhop proxies.
#![deny(unsafe_code)]

mod args;
mod config;
mod decode;
mod helper;
mod run;
#[expect(
    unsafe_code,
    reason = "signals and descriptors; they end in this module"
)]
mod sys;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use args::{Args, Command};

fn main() -> ExitCode {
    let args = Args::parse();
    let default_level = match args.command {
        Command::Helper(_) => "info",
        Command::Run(_) | Command::Decode(_) => "warn",
    };
    let filter = EnvFilter::try_from_env("SYNHOP_LOG");
    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|_| EnvFilter::new(default_level)))
        .with_ansi(is_terminal)
        .with_writer(std::io::stderr)
        .init();
    match args.command {
        Command::Run(args) => run::run(args),
        Command::Helper(args) => match helper::run(args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("synhop helper: {error:#}");
                ExitCode::FAILURE
            }
        },
        Command::Decode(args) => decode::run(&args.octets),
    }
}
