//! Writes the man pages and shell completions of `synhop-node` to a folder, for `make install`.
//!
//! usage: synhop-node-manual FOLDER

use std::io;
use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::Shell;
use synhop_node::cli::Cli;

fn main() -> io::Result<()> {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return Err(io::Error::other("usage: synhop-node-manual FOLDER"));
    };
    std::fs::create_dir_all(&folder)?;
    clap_mangen::generate_to(Cli::command(), &folder)?;
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        let mut command = Cli::command();
        clap_complete::generate_to(shell, &mut command, "synhop-node", &folder)?;
    }
    Ok(())
}
