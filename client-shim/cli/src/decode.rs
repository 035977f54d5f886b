//! `synhop decode`: what an option says, for people.

mod explain;
mod hex;

use std::process::ExitCode;

/// Malformed octets, as opposed to a wrong command line.
const MALFORMED: u8 = 1;
const USAGE: u8 = 2;

/// Prints what the octets in `texts` mean.
pub(crate) fn run(texts: &[String]) -> ExitCode {
    if let [text] = texts
        && (text.contains('/') || text.contains('.'))
    {
        eprintln!("synhop decode: {text}: reading captures is not built yet, give the octets");
        return USAGE.into();
    }
    let octets = match hex::parse(&texts.join(" ")) {
        Ok(octets) => octets,
        Err(error) => {
            eprintln!("synhop decode: {error}");
            return USAGE.into();
        }
    };
    let explanation = explain::explain(&octets);
    print!("{}", explanation.text);
    if explanation.is_sound {
        ExitCode::SUCCESS
    } else {
        MALFORMED.into()
    }
}
