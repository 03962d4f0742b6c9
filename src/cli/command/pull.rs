//! `replica pull`: the machine that is to have a copy fetches it, from a place for backups, or from a
//! directory with a history, here or elsewhere. What is fetched is a place like any other.

use super::super::args;
use super::super::elsewhere;
use super::super::error::Error;
use super::super::exit::Exit;
use super::super::progress::Meter;
use super::super::quantity::{count, size};
use super::super::reach;
use super::backup::{Line, apart, with_feed};
use super::locate;
use crate::archive::{ArchiveError, Backup, Feed, Objects, Plan, Pull};
use crate::control::export::{self, Remote};
use crate::control::request::Request;
use std::io::{Write, stderr, stdin, stdout};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What stands before the name of who fetches, where a store notes what it has sent.
pub const SCHEME: &str = "pulled://";
/// Seconds between two turns, unless somebody says otherwise.
const EVERY: u64 = 60;
/// The longest pause after turns that fail.
const LONGEST: Duration = Duration::from_secs(600);
/// How often it is looked whether somebody has had enough.
const LOOK: Duration = Duration::from_millis(100);

/// `replica pull SOURCE --to PATH`.
pub fn run(args: &args::ReplicaPull) -> Result<Exit, Error> {
    let line = Line::new("replica")?;
    if !args.watch {
        let came = pull(args, &line)?;
        writeln!(stdout(), "{}: {came}", args.to.display())?;
        return Ok(Exit::Done);
    }
    let every = Duration::from_secs(args.every.unwrap_or(EVERY));
    let (mut pause, mut said) = (every, String::new());
    loop {
        match pull(args, &line) {
            Ok(came) => {
                if !said.is_empty() || came != NOTHING {
                    writeln!(stdout(), "{}: {came}", args.to.display())?;
                }
                (pause, said) = (every, String::new());
            }
            Err(_) if line.is_pressed() => {}
            // That the password is wrong does not mend itself.
            Err(error) if error.exit() == Exit::WrongPassword => return Err(error),
            Err(error) => {
                let text = error.to_string();
                if text != said {
                    writeln!(stderr(), "rewindfs: {text}; it is tried again")?;
                }
                (pause, said) = ((pause * 2).min(LONGEST.max(every)), text);
            }
        }
        let until = Instant::now() + pause;
        while Instant::now() < until && !line.is_pressed() {
            std::thread::sleep(LOOK.min(pause));
        }
        if line.is_pressed() {
            return Ok(Exit::Interrupted);
        }
    }
}

const NOTHING: &str = "nothing new";

/// One turn; the answer is what came, in words.
fn pull(args: &args::ReplicaPull, line: &Line) -> Result<String, Error> {
    let source = args.source.to_string_lossy();
    if elsewhere::is_place(&args.source) {
        match of_place(args, &source, line) {
            Err(Error::Archive(ArchiveError::NoRepository { .. }))
                if source.starts_with("ssh://") =>
            {
                return of_machine(args, &source, line);
            }
            came => return came,
        }
    }
    let place = locate(&args.source, None, None)?;
    apart(&args.to.to_string_lossy(), &place)?;
    reach::ask(&place, Request::Sync, &Meter::new("replica"))?;
    with_feed(&place, None, line, |feed| of_history(args, feed, line))
}

/// A copy of a place.
fn of_place(args: &args::ReplicaPull, source: &str, line: &Line) -> Result<String, Error> {
    let from = elsewhere::open(source, &args.opening)?;
    let to = Objects::open(&args.to.to_string_lossy(), true)?;
    let pull = Pull {
        from: &from,
        to: &to,
        progress: &|done| line.show(done),
        cancelled: &|| line.is_pressed(),
    };
    let pulled = pull.run()?;
    Ok(match (pulled.sets, pulled.traffic.objects) {
        (0, 0) => NOTHING.to_owned(),
        (sets, _) => format!("{}, {}", count(sets, "set"), size(pulled.traffic.bytes)),
    })
}

/// A set of what a history has and the copy has not.
fn of_history(args: &args::ReplicaPull, feed: &mut dyn Feed, line: &Line) -> Result<String, Error> {
    let to = args.to.to_string_lossy();
    let facts = feed.facts()?;
    let repository = elsewhere::open_or_create(&to, &args.opening, &[], false)?;
    let backup = Backup {
        repository: &repository,
        plan: Plan::replica(Duration::from_secs(args.keep_for)),
        progress: &|done| line.show(done),
        cancelled: &|| line.is_pressed(),
    };
    let made = backup.run(feed, facts)?;
    Ok(match made.set {
        Some(set) => format!("set {}, {}", set.number, size(set.set_bytes)),
        None => NOTHING.to_owned(),
    })
}

/// That of a directory on another machine.
fn of_machine(args: &args::ReplicaPull, source: &str, line: &Line) -> Result<String, Error> {
    let failed = |source_error| Error::System {
        action: "the other machine does not give its history",
        source: source_error,
    };
    let words = Objects::history_of(source)?;
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    let output = theirs.try_clone().map_err(failed)?;
    let child = Command::new(&words[0])
        .args(&words[1..])
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::from(OwnedFd::from(output)))
        .spawn()
        .map_err(failed)?;
    let _ended = Ended(child);
    let uname = rustix::system::uname();
    let fetched_by = format!("{SCHEME}{}", uname.nodename().to_string_lossy());
    let mut remote = Remote::over(ours, fetched_by).map_err(failed)?;
    of_history(args, &mut remote, line)
}

/// Nothing is left behind that speaks with the other machine.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // What was answered is done, and nothing else was promised.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `serve --stdio --history DIR`: the history of a directory, for this program on another machine.
///
/// # Errors
/// There is none, or the line fails.
pub fn serve(dir: &Path) -> Result<Exit, Error> {
    let place = locate(dir, None, None)?;
    let meter = Meter::new("serve");
    reach::ask(&place, Request::Sync, &meter)?;
    with_feed(&place, None, &meter, |feed| {
        let relayed = export::relay(feed, stdin().lock(), stdout().lock());
        relayed.map_err(|source| Error::System {
            action: "what was asked can't be answered",
            source,
        })
    })?;
    Ok(Exit::Done)
}
