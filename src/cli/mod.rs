//! The command line: what was typed (`args`) is resolved to a place and a request, asked
//! (`reach`), and shown. Only here anything is printed, and only here exit codes are chosen.

mod args;
mod attend;
mod command;
mod daemon;
mod elsewhere;
mod error;
mod exit;
mod interrupt;
mod option;
mod past;
mod progress;
mod quantity;
mod quote;
mod reach;
mod scheduled;
mod usage;

use args::Args;
use clap::FromArgMatches;
use error::Error;
use exit::Exit;
use std::io::Write;
use std::process::ExitCode;

/// The program.
pub fn main() -> ExitCode {
    let exit = match run() {
        Ok(exit) => exit,
        Err(error) => {
            if !error.is_silent() {
                // Standard error may be gone; the exit code says it too.
                let _ = writeln!(std::io::stderr(), "rewindfs: {error}");
            }
            error.exit()
        }
    };
    exit.into()
}

fn run() -> Result<Exit, Error> {
    let matches = match args::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return usage::explain(&error),
    };
    let args = Args::from_arg_matches(&matches).or_else(|error| {
        usage::explain(&error)?;
        Err(Error::Usage(error.to_string()))
    })?;
    command::run(args.command)
}
