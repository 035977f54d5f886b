//! `synhop-node`: a synhop proxy node on Linux.

use std::process::ExitCode;

use clap::Parser;
use synhop_node::cli::Cli;
use synhop_node::config::{Draft, Problem, Problems, Settings, read};
use synhop_node::machine::Machine;
use synhop_node::{logging, node};

/// Wrong configuration, as clap exits for a wrong command line.
const MISCONFIGURED: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let settings = match settings(&cli) {
        Ok(settings) => settings,
        Err(problems) => {
            eprintln!("{problems}");
            if problems.file.is_none() {
                eprintln!("\nFor more information, try '--help'.");
            }
            return ExitCode::from(MISCONFIGURED);
        }
    };
    if cli.check {
        println!("the configuration is right");
        return ExitCode::SUCCESS;
    }
    logging::start(settings.log_format);
    match node::run(&settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            for line in format!("{error:#}").lines() {
                tracing::error!("{line}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Flags over file, with every mistake of both.
fn settings(cli: &Cli) -> Result<Settings, Problems> {
    let file = cli.config.as_ref().map(|path| path.display().to_string());
    let fail = |problems| Problems {
        file: file.clone(),
        problems,
    };
    let (draft, mut problems) = match &cli.config {
        Some(path) => match std::fs::read_to_string(path) {
            Ok(text) => read(&text),
            Err(error) => return Err(fail(vec![anywhere(&error)])),
        },
        None => (Draft::default(), Vec::new()),
    };
    let draft = draft.overridden_by(cli.draft());
    if !problems.is_empty() {
        problems.extend(draft.problems());
        return Err(fail(problems));
    }
    let settings = draft.finish(file.as_deref())?;
    let machine =
        Machine::survey(settings.limits.pipes).map_err(|error| fail(vec![anywhere(&error)]))?;
    match settings.core(&machine) {
        Ok(_config) => Ok(settings),
        Err(error) => Err(fail(vec![anywhere(&error)])),
    }
}

fn anywhere(error: &impl ToString) -> Problem {
    Problem {
        place: None,
        message: error.to_string(),
    }
}
