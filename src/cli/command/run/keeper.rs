//! The process from which a run descends: what loses its parent becomes its child, so that all that
//! the command starts is found to belong to the run. It ends when the last of them has.

use super::super::super::args;
use super::super::super::error::Error;
use super::super::super::exit::Exit;
use super::super::super::past::{Past, Paths};
use super::failed;
use crate::control::request::Request;
use rustix::process::{WaitOptions, set_child_subreaper, wait};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// `keep-run`.
pub fn run(args: &args::KeepRun) -> Result<Exit, Error> {
    // Before it leaves the directory from which the path counts.
    let paths = Paths::find(
        std::slice::from_ref(&args.dir),
        args.store.said().as_deref(),
    )?;
    let run = keep(args).map_err(failed)?;
    if let Some(run) = run {
        let past = Past::open(&paths.place, &paths.root, false)?;
        past.ask(Request::EndRun { run }, "run")?;
    }
    Ok(Exit::Done)
}

/// Returns when nothing lives any more that belongs to the run; its number.
fn keep(args: &args::KeepRun) -> io::Result<Option<u64>> {
    let address = SocketAddr::from_abstract_name(&args.address)?;
    let mut talk = UnixStream::connect_addr(&address)?;
    set_child_subreaper(rustix::process::Pid::from_raw(1))?;
    // What a terminal sends is for the command. A handler, unlike a signal that is ignored, is
    // not handed down to it.
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    let mut go = String::new();
    BufReader::new(talk.try_clone()?).read_line(&mut go)?;
    let Ok(run) = go.trim().parse::<u64>() else {
        // Whoever typed it has gone: nothing was begun.
        return Ok(None);
    };
    let started = Command::new(&args.command[0])
        .args(&args.command[1..])
        .spawn();
    let command = match started {
        Ok(command) => command.id(),
        Err(error) => {
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            talk.write_all(format!("failed {errno}\n").as_bytes())?;
            return Ok(Some(run));
        }
    };
    leave()?;
    // Who listens may have been ended; the command goes on.
    let _ = talk.write_all(format!("pid {command}\n").as_bytes());
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) => {
                if pid.as_raw_nonzero().get().unsigned_abs() == command {
                    let text = match (status.exit_status(), status.terminating_signal()) {
                        (Some(code), _) => format!("exit {code}\n"),
                        (None, Some(signal)) => format!("signal {signal}\n"),
                        (None, None) => continue,
                    };
                    let _ = talk.write_all(text.as_bytes());
                }
            }
            Err(rustix::io::Errno::INTR) | Ok(None) => {}
            Err(_) => return Ok(Some(run)),
        }
    }
}

/// Nobody waits for this process, and it holds nothing: neither what a pipe reads to its end nor
/// the directory in which it was started.
fn leave() -> io::Result<()> {
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    std::env::set_current_dir("/")
}
