//! `umount`: asks the daemon to finish and to go, and waits until it has gone. What does not
//! answer is taken off from here.

use super::super::args;
use super::super::daemon::{self, detach};
use super::super::error::{Error, answered};
use super::super::exit::Exit;
use super::super::progress::Meter;
use super::super::quote::quote;
use super::super::reach;
use super::locate;
use super::status::still_to_come;
use crate::control::client::{Client, ClientError};
use crate::control::error::Error as Refusal;
use crate::control::folder::{Folder, FolderError};
use crate::control::locate::Place;
use crate::control::open::OpenError;
use crate::control::request::{Answer, Request};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{Write, stderr};
use std::path::PathBuf;
use std::time::Duration;

/// How long a daemon may take to close its store after the mount is off.
const END_WAIT: Duration = Duration::from_secs(120);
/// How long one may take that was told to end by a signal.
const SIGNAL_WAIT: Duration = Duration::from_secs(20);
/// How long one may live on whose mount was taken from it.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// `umount DIR [--force]`.
pub fn run(args: &args::Umount) -> Result<Exit, Error> {
    let place = locate(&args.dir.dir, args.dir.store.said().as_deref(), None)?;
    let here = Here::now();
    // This process must not be what keeps the mount busy.
    std::env::set_current_dir("/").map_err(|source| Error::System {
        action: "the folder / can't be entered",
        source,
    })?;
    let folder = match Folder::open(&place.store) {
        // Somebody removed or moved it: what is mounted must come off all the same.
        Err(FolderError::Missing(_)) if place.mount.is_some() => {
            return take_off_storeless(&place, args.force);
        }
        folder => folder.map_err(OpenError::from)?,
    };
    if args.force {
        tell_of_unfilled(&place);
    }
    match Client::connect(&folder) {
        Ok(client) => ask(&place, &client, args.force).map_err(|error| here.advise(error, &place)),
        Err(ClientError::NoDaemon) => take_off_dead(&place),
        Err(ClientError::Answered(Refusal::Version { .. }) | ClientError::Silent { .. })
            if args.force =>
        {
            end_by_signal(&place, &folder)
        }
        Err(error) => Err(answered(error, &place.dir)),
    }
}

/// Where the command was typed.
struct Here {
    /// Without links.
    directory: PathBuf,
    /// As the shell shows it.
    shown: PathBuf,
}

impl Here {
    fn now() -> Here {
        let shown = std::env::var_os("PWD").unwrap_or_default();
        Here {
            directory: std::env::current_dir().unwrap_or_default(),
            shown: PathBuf::from(shown),
        }
    }

    /// What keeps the mount busy may be nobody but the shell of who wants it off.
    fn advise(&self, error: Error, place: &Place) -> Error {
        match error {
            Error::Refused {
                refusal: Refusal::Busy { mut users },
                dir,
            } => {
                // This command holds what it was given by the shell, and ends by itself.
                if users.len() > 1 {
                    users.retain(|user| user.pid != std::process::id());
                }
                match self.way_out(place) {
                    Some(way) if daemon::is_only_caller(&users) => {
                        Error::OwnShell { dir, users, way }
                    }
                    _ => Error::Refused {
                        refusal: Refusal::Busy { users },
                        dir,
                    },
                }
            }
            error => error,
        }
    }

    /// The line to type: to the folder above the mount point, and off with it.
    fn way_out(&self, place: &Place) -> Option<String> {
        let point = &place.mount.as_ref()?.point;
        let below = self.directory.strip_prefix(point).ok()?;
        let name = quote(point.file_name()?);
        // Where the shell came by a link, `..` is the folder of the link.
        let up = if self.shown == self.directory {
            vec![".."; below.components().count() + 1].join("/")
        } else {
            quote(point.parent()?)
        };
        Some(format!("cd {up} && rewindfs umount {name}"))
    }
}

/// What stays empty: the directory is still being recovered.
fn tell_of_unfilled(place: &Place) {
    let Ok(Answer::Status(status)) = reach::ask(place, Request::Status, &Meter::new("umount"))
    else {
        return;
    };
    if let Some(filling) = status.filling.filter(|filling| !filling.is_filled) {
        // Standard error may be gone; status says it, too.
        let _ = writeln!(
            stderr(),
            "rewindfs: {}: {}; folders that nobody has looked at yet are empty: do not use it before \
             the next mount, which goes on: rewindfs mount {}",
            place.dir.display(),
            still_to_come(&filling),
            quote(&place.dir)
        );
    }
}

fn ask(place: &Place, client: &Client, force: bool) -> Result<Exit, Error> {
    let meter = Meter::new("umount");
    match client.ask(&Request::Unmount { force }, &meter) {
        Ok(_) => {}
        // It went before its answer did: gone is gone.
        Err(ClientError::Ended) => {}
        Err(ClientError::Silent { pid }) if force => {
            log::warn!("the daemon (pid {pid}) is silent");
            detach::by_force(place)?;
        }
        Err(error) => return Err(answered(error, &place.dir)),
    }
    meter.show("waiting for the daemon to close the store");
    wait_for_end(place, client, END_WAIT)
}

fn wait_for_end(place: &Place, client: &Client, at_most: Duration) -> Result<Exit, Error> {
    if client.wait_for_end(at_most) {
        Ok(Exit::Done)
    } else {
        Err(Error::Lingers {
            dir: place.dir.clone(),
            pid: client.pid(),
            seconds: at_most.as_secs(),
        })
    }
}

/// A mount without a daemon serves nobody: detaching it loses nothing.
fn take_off_dead(place: &Place) -> Result<Exit, Error> {
    if place.mount.is_none() {
        return Err(Error::NotMounted(place.dir.clone()));
    }
    detach::by_force(place)?;
    // The daemon that should have said goodbye is gone; the next mount looks at everything.
    let _ = writeln!(
        stderr(),
        "rewindfs: the daemon of {} had died; its mount is off, and the next mount records what \
         was changed since",
        place.dir.display()
    );
    Ok(Exit::Done)
}

/// With its store the daemon has lost its socket, but it serves the mount, perhaps to somebody.
fn take_off_storeless(place: &Place, force: bool) -> Result<Exit, Error> {
    if force {
        detach::by_force(place)?;
    } else {
        detach::if_unused(place)?;
    }
    // Standard error may be gone; the mount is off.
    let _ = writeln!(
        stderr(),
        "rewindfs: {} is unmounted; its store {} is not there any more",
        place.dir.display(),
        place.store.display()
    );
    Ok(Exit::Done)
}

/// A daemon of another version, or a silent one, still knows what SIGTERM means.
fn end_by_signal(place: &Place, folder: &Folder) -> Result<Exit, Error> {
    let client = Client::reach(folder).map_err(|error| answered(error, &place.dir))?;
    let pid = i32::try_from(client.pid()).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        kill_process(pid, Signal::TERM).map_err(|errno| Error::System {
            action: "the daemon can't be told to end",
            source: errno.into(),
        })?;
    }
    if !client.wait_for_end(SIGNAL_WAIT) {
        detach::by_force(place)?;
    }
    wait_for_end(place, &client, LAST_WAIT)
}
