//! Writes the man pages and shell completions of `synhop` to a folder, for `make install`.
//!
//! usage: synhop-manual FOLDER

use std::io;
use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::Shell;

#[path = "../src/args.rs"]
mod args;

fn main() -> io::Result<()> {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return Err(io::Error::other("usage: synhop-manual FOLDER"));
    };
    std::fs::create_dir_all(&folder)?;
    clap_mangen::generate_to(args::Args::command(), &folder)?;
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        let mut command = args::Args::command();
        clap_complete::generate_to(shell, &mut command, "synhop", &folder)?;
    }
    Ok(())
}
