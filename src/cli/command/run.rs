//! `run`: a command whose changes are known as a run, however it goes about them, so that all of
//! them can be taken back at once.
//!
//! A process of its own keeps the run (`keeper`): the command and all that it starts descend from
//! it, also what forks twice, begins a session or outlives the command. What was typed waits for
//! the command, passes signals on to it, and ends as it ended.

use super::super::args;
use super::super::error::Error;
use super::super::exit::Exit;
use super::super::past::{Past, Paths};
use super::super::quote::quote;
use super::super::reach;
use crate::control::error::Error as Refusal;
use crate::control::report::Mode;
use crate::control::request::{Answer, RawPath, Request};
use crate::limits;
use crate::name::check_snapshot_name;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use std::io::{self, BufRead, BufReader, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process::{Child, Command};

mod keeper;

pub use keeper::run as keep;

/// What a shell answers of a command that is not there, or can't be run.
const NOT_FOUND: u8 = 127;
const NOT_RUN: u8 = 126;

/// `run DIR -- CMD`.
pub fn run(args: &args::Run) -> Result<Exit, Error> {
    let name = args.name.clone().unwrap_or_default();
    if let Some(name) = &args.name {
        let before = format!("{name}-before");
        check_snapshot_name(before.as_bytes()).map_err(|fault| Error::Name {
            name: name.into(),
            fault,
        })?;
    }
    let paths = Paths::find(
        std::slice::from_ref(&args.dir),
        args.store.said().as_deref(),
    )?;
    let past = Past::open(&paths.place, &paths.root, false)?;
    if !past.is_mounted() {
        return Err(Error::NotMounted(paths.place.dir.clone()));
    }
    let (mut keeper, mut talk) = start(args).map_err(failed)?;
    let mut command = Vec::new();
    for argument in &args.command {
        command.extend_from_slice(argument.as_bytes());
        command.push(0);
    }
    command.truncate(limits::RUN_TEXT_MAX);
    let begin = Request::BeginRun {
        pid: keeper.id(),
        name,
        command: RawPath(command),
        undoes: false,
    };
    let run = match past.ask(begin, "run")? {
        Answer::Run { run } => run,
        _ => return Err(reach::strange(&paths.place)),
    };
    note(&past, args, run, "before")?;
    let ended = talk
        .write_all(format!("{run}\n").as_bytes())
        .and_then(|()| attend(&mut talk))
        .map_err(failed);
    // It goes on as long as something lives that the command left behind.
    let _ = keeper.try_wait();
    let ended = ended?;
    note(&past, args, run, "after")?;
    let dir = quote(&paths.root);
    eprintln!(
        "rewindfs: run {run} is recorded; take back what it did: rewindfs undo {dir} --run {run}"
    );
    Ok(match ended {
        Ended::With(code) => Exit::Other(code),
        Ended::By(signal) => {
            // Whoever waits for this is told the same.
            let _ = signal_hook::low_level::emulate_default_handler(signal);
            Exit::Other(128 + u8::try_from(signal).unwrap_or(0))
        }
        Ended::NotStarted(code, reason) => {
            let program = quote(&args.command[0]);
            eprintln!("rewindfs: {program}: {reason}");
            Exit::Other(code)
        }
    })
}

fn failed(source: io::Error) -> Error {
    Error::System {
        action: "the run can't be kept",
        source,
    }
}

/// What is there now: a snapshot where the run has a name, else a checkpoint, which goes with time.
fn note(past: &Past, args: &args::Run, run: u64, when: &str) -> Result<(), Error> {
    let Some(name) = &args.name else {
        past.record()?;
        return Ok(());
    };
    let ask = |name: String| {
        let message = format!("{when} run {run}");
        let mode = Mode::Incremental;
        let request = Request::Snapshot {
            name,
            message,
            mode,
        };
        past.ask(request, "snapshot")
    };
    match ask(format!("{name}-{when}")) {
        Err(error) if matches!(error.refusal(), Some(Refusal::Exists { .. })) => {
            ask(format!("{name}-{run}-{when}"))?;
        }
        other => {
            other?;
        }
    }
    Ok(())
}

/// Starts the keeper, and waits until it speaks.
fn start(args: &args::Run) -> io::Result<(Child, UnixStream)> {
    let address = format!("rewindfs-run-{}", std::process::id());
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&address)?)?;
    let mut line = Command::new(std::env::current_exe()?);
    line.arg("keep-run").arg(&address).arg(&args.dir);
    if let Some(store) = &args.store.store {
        line.arg("--store").arg(store);
    }
    let mut keeper = line.arg("--").args(&args.command).spawn()?;
    loop {
        let wait = Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        let mut ready = [PollFd::new(&listener, PollFlags::IN)];
        if poll(&mut ready, Some(&wait))? > 0 {
            let (talk, _) = listener.accept()?;
            let peer = rustix::net::sockopt::socket_peercred(&talk)?.pid;
            if peer.as_raw_nonzero().get().unsigned_abs() == keeper.id() {
                return Ok((keeper, talk));
            }
        }
        if keeper.try_wait()?.is_some() {
            return Err(io::Error::other("its keeper ended at once"));
        }
    }
}

/// How the command ended.
enum Ended {
    With(u8),
    By(i32),
    NotStarted(u8, String),
}

/// Waits for the command, and passes signals on to it.
fn attend(talk: &mut UnixStream) -> io::Result<Ended> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2])?;
    let mut lines = BufReader::new(talk).lines();
    let mut next = move || -> io::Result<String> {
        let gone = || io::Error::other("its keeper was ended");
        lines.next().ok_or_else(gone)?
    };
    let first = next()?;
    let number = |text: &str| text.trim().parse::<i32>().map_err(io::Error::other);
    let pid = match first.split_once(' ') {
        Some(("pid", pid)) => number(pid)?,
        Some(("failed", errno)) => {
            let error = io::Error::from_raw_os_error(number(errno)?);
            let code = match error.kind() {
                io::ErrorKind::NotFound => NOT_FOUND,
                _ => NOT_RUN,
            };
            return Ok(Ended::NotStarted(code, error.to_string()));
        }
        _ => return Err(io::Error::other("its keeper says something strange")),
    };
    std::thread::spawn(move || {
        for signal in signals.forever() {
            // The terminal has given it to the command already.
            if matches!(signal, SIGINT | SIGQUIT) && is_in_front() {
                continue;
            }
            if let (Some(pid), Some(signal)) = (Pid::from_raw(pid), Signal::from_named_raw(signal))
            {
                let _ = kill_process(pid, signal);
            }
        }
    });
    let last = next()?;
    match last.split_once(' ') {
        Some(("exit", code)) => Ok(Ended::With(u8::try_from(number(code)?).unwrap_or(1))),
        Some(("signal", signal)) => Ok(Ended::By(number(signal)?)),
        _ => Err(io::Error::other("its keeper says something strange")),
    }
}

/// Whether this is what the terminal shows: fields 5 and 8 of proc_pid_stat(5).
fn is_in_front() -> bool {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = rest.split(' ').collect();
    matches!((fields.get(2), fields.get(5)), (Some(group), Some(front)) if group == front)
}
