//! Both sides of the start: the command, which waits for the daemon's news, and the daemon, until
//! it stands on its own.

use super::super::error::Error;
use super::super::exit::Exit;
use super::super::progress::Meter;
use super::job::{Job, News};
use super::log::{self as logging, Logging};
use super::run::{self, Teller};
use crate::control::wire;
use rustix::stdio::{dup2_stdin, dup2_stdout};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, stdin};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// How long the daemon may take until the mount is usable. Opening a store after a crash replays
/// its journal, which is bounded to some tens of megabytes.
const START_WAIT: Duration = Duration::from_secs(120);
/// How often a person who waits is told so.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// Starts a daemon and returns when the mount is usable.
///
/// # Errors
/// What the daemon says, or that it says nothing.
pub fn launch(job: &Job, warn: &dyn Fn(&str)) -> Result<(), Error> {
    let mut child = Command::new("/proc/self/exe")
        .arg0("rewindfs")
        .arg("serve")
        .arg(&job.dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|source| Error::System {
            action: "the daemon can't be started",
            source,
        })?;
    let told = tell(&mut child, job);
    let ended = |_| Error::Vanished {
        log: job.store.join(super::log::NAME),
    };
    told.map_err(ended)?;
    match hear(&mut child, warn) {
        Some(News::Ready) => Ok(()),
        Some(News::Failed { message, exit }) => {
            // It has cleaned up and ends by itself.
            let _ = child.wait();
            Err(Error::Start {
                message,
                exit: Exit::from_code(exit),
            })
        }
        _ => {
            let _ = child.kill();
            let _ = child.wait();
            Err(ended(()))
        }
    }
}

fn tell(child: &mut Child, job: &Job) -> Result<(), ()> {
    // Taken, so that it is closed: the daemon reads to the end.
    let mut pipe = child.stdin.take().ok_or(())?;
    wire::send(&mut pipe, job).map_err(|_| ())
}

/// News until the decisive one; `None` when the daemon ended, or says nothing for too long.
fn hear(child: &mut Child, warn: &dyn Fn(&str)) -> Option<News> {
    let mut pipe = child.stdout.take()?;
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        while let Ok(news) = wire::receive::<News>(&mut pipe) {
            if tell.send(news).is_err() {
                return;
            }
        }
    });
    let meter = Meter::new("mount");
    let since = Instant::now();
    loop {
        match told.recv_timeout(TELL_EVERY) {
            Ok(News::Warning(text)) => warn(&text),
            Ok(news) => return Some(news),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) if since.elapsed() > START_WAIT => return None,
            Err(RecvTimeoutError::Timeout) => meter.show("opening the store"),
        }
    }
}

/// The daemon's side: the command `serve`.
///
/// # Errors
/// Only when it was not started by `launch`; the rest is told to the command that did.
pub fn serve() -> Result<Exit, Error> {
    let mut told = Vec::new();
    let bound = u64::from(wire::MESSAGE_MAX);
    let read = stdin().lock().take(bound).read_to_end(&mut told);
    let job = read.and_then(|_| wire::receive::<Job>(&mut told.as_slice()));
    let Ok(job) = job else {
        return Err(Error::Usage(
            "serve is started by mount: rewindfs mount DIR".into(),
        ));
    };
    let pipe = leave_terminal().map_err(|source| Error::System {
        action: "the daemon can't leave its terminal",
        source,
    })?;
    let teller = Pipe(pipe);
    let exit = match run::run(&job, &teller, Logging::ToFile) {
        Ok(()) => Exit::Done,
        Err(error) => {
            let exit = error.exit();
            ::log::error!("{error}");
            let message = error.to_string();
            let exit_code = exit.code();
            // Whoever waited may have gone; the log has it too.
            let _ = teller.tell(&News::Failed {
                message,
                exit: exit_code,
            });
            exit
        }
    };
    logging::end();
    Ok(exit)
}

/// A session of its own, and no descriptor to what it was started from but the pipe for news.
fn leave_terminal() -> io::Result<File> {
    rustix::process::setsid()?;
    // It was started as /proc/self/exe, and would be listed as `exe`.
    rustix::thread::set_name(c"rewindfs")?;
    let pipe = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let nothing = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    dup2_stdin(&nothing)?;
    dup2_stdout(&nothing)?;
    Ok(pipe)
}

/// News through the pipe to the command that waits.
struct Pipe(File);

impl Teller for Pipe {
    fn tell(&self, news: &News) -> io::Result<()> {
        wire::send(&mut &self.0, news)
    }
}
