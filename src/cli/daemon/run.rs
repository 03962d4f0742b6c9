//! The daemon's life: what it opens, in which order, until the mount is usable; then waiting for
//! its end; then closing in the other order.
//!
//! 1. Until `Ready` was told, every failure leaves things as they were: no mount, no new store.
//! 2. The socket is there before anybody can see a mount that answers, so a mount whose store
//!    has no socket and which does not answer has lost its daemon.

use super::super::error::Error;
use super::super::exit::Exit;
use super::super::option::Snapdir;
use super::super::quantity::{count, size};
use super::job::{Import, Job, News};
use super::log::{self as logging, Logging};
use super::metrics::Metrics;
use super::mounting::{self, Mounting};
use super::sender::Sender;
use super::{limit, rehearsal, signals};
use crate::backing::Backing;
use crate::capture::{self, Recorder};
use crate::control::door::Door;
use crate::control::estimate::{self, Holds};
use crate::control::folder::{self, Folder};
use crate::control::hooks::Quiescing;
use crate::control::mounts::Mounts;
use crate::control::open::{self, OpenError};
use crate::control::replicas::Replication;
use crate::control::service::{self, Service, Watch};
use crate::control::socket::{Keeper, Server};
use crate::filling::Filler;
use crate::fs::live::Fill;
use crate::store::{Store, StoreError, StoreOptions};
use parking_lot::Mutex;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long requests that are under way may take when the mount has gone.
const CLOSE_WAIT: Duration = Duration::from_secs(10);

/// To whom the daemon tells its news.
pub trait Teller {
    /// # Errors
    /// When nobody listens any more: then nobody wants the mount either.
    fn tell(&self, news: &News) -> io::Result<()>;
}

/// In the foreground: warnings to standard error, and the end is the command's end.
///
/// # Errors
/// Why the mount could not be made.
pub fn foreground(job: &Job, teller: &dyn Teller) -> Result<Exit, Error> {
    run(job, teller, Logging::ToStandardError)?;
    Ok(Exit::Done)
}

/// Serves a mount from beginning to end.
///
/// # Errors
/// Why the mount could not be made.
pub fn run(job: &Job, teller: &dyn Teller, logging: Logging) -> Result<(), Error> {
    limit::prepare().map_err(system("the folder / can't be entered"))?;
    let backing = open::directory(&job.dir)?;
    let (folder, store) = open_store(job, logging)?;
    let undo = Undo::of(job);
    open::check_directory(&store, &job.store, &backing, &job.dir, job.adopt)?;
    leave_pointer(job, teller)?;
    let import = import(job, &store, teller)?;
    let daemon = Daemon::start(job, &folder, backing, store, import)?;
    let listening =
        signals::listen(Arc::clone(&daemon.service)).map_err(system("signals can't be caught"));
    let told = listening.and_then(|listening| {
        ::log::info!("{} is mounted", job.mountpoint.display());
        teller
            .tell(&News::Ready)
            .map_err(system("nobody waits for this mount"))?;
        Ok(listening)
    });
    let result = match told {
        Ok(listening) => {
            undo.forget();
            daemon.session.wait();
            drop(listening);
            Ok(())
        }
        Err(error) => {
            daemon.service.abandon();
            daemon.session.wait();
            Err(error)
        }
    };
    daemon.close();
    ::log::info!("{} is unmounted", job.mountpoint.display());
    result
}

/// What becomes of content from before the first mount. If all of it does not fit, that is said,
/// and none of it is recorded: half of it would be of little use, and take all the room.
fn import(job: &Job, store: &Store, teller: &dyn Teller) -> Result<capture::Import, Error> {
    match job.import {
        Some(Import::All) => return Ok(capture::Import::Rest),
        Some(Import::Changes) => return Ok(capture::Import::Changes),
        None => {}
    }
    let unknown = |source: StoreError| Error::Refused {
        refusal: source.into(),
        dir: job.dir.clone(),
    };
    if job.options.no_history || !capture::is_first(store).map_err(unknown)? {
        return Ok(capture::Import::All);
    }
    let room = estimate::room(store, job.options.min_free).map_err(unknown)?;
    let Some(holds) = estimate::exceeds(&job.dir, room) else {
        return Ok(capture::Import::All);
    };
    let text = does_not_fit(&job.dir, holds, room);
    teller
        .tell(&News::Warning(text))
        .map_err(system("nobody waits for this mount"))?;
    Ok(capture::Import::Changes)
}

fn does_not_fit(dir: &Path, holds: Holds, room: u64) -> String {
    format!(
        "{} holds {}{} in {}, and history may take {} of the disk of its store: what is there now \
         is not recorded, only what changes from now on. To record it all: give the store another \
         place (--store PATH), or mount with --import all",
        dir.display(),
        if holds.more { "more than " } else { "" },
        size(holds.bytes),
        count(holds.files, "file"),
        size(room)
    )
}

fn system(action: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::System { action, source }
}

fn open_store(job: &Job, logging: Logging) -> Result<(Folder, Arc<Store>), Error> {
    let log_to = |folder: &Folder| {
        logging::begin(logging, folder).map_err(system("the log file can't be written"))
    };
    if job.new_store {
        let (folder, store) = open::create(&job.store, &job.dir, StoreOptions::default())?;
        log_to(&folder)?;
        Ok((folder, store))
    } else {
        let folder = Folder::open(&job.store).map_err(OpenError::from)?;
        let store = open::open(&folder, &job.dir, StoreOptions::default())?;
        log_to(&folder)?;
        Ok((folder, store))
    }
}

/// Takes back what was made for a mount that does not come about.
struct Undo<'a>(Option<&'a Job>);

impl<'a> Undo<'a> {
    fn of(job: &'a Job) -> Undo<'a> {
        Undo(Some(job))
    }

    fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        let Some(job) = self.0 else {
            return;
        };
        if job.new_store {
            open::discard(&job.store);
        }
        if has_pointer(job) {
            // If it can't go, it leads to a store that is not there, and is named as such.
            let _ = std::fs::remove_file(&job.pointer);
        }
    }
}

fn has_pointer(job: &Job) -> bool {
    job.pointer != Path::new("")
}

fn leave_pointer(job: &Job, teller: &dyn Teller) -> Result<(), Error> {
    if has_pointer(job) {
        folder::write_pointer(&job.pointer, &job.store).map_err(|source| Error::File {
            path: job.pointer.clone(),
            source,
        })?;
    } else if !folder::default_place(&job.dir).is_some_and(|place| place.exists()) {
        let text = format!(
            "nothing beside {} can lead to its store: while it is not mounted, commands about it \
             need --store {}",
            job.dir.display(),
            job.store.display()
        );
        teller
            .tell(&News::Warning(text))
            .map_err(system("nobody waits for this mount"))?;
    }
    Ok(())
}

/// All that runs while the mount stands.
struct Daemon {
    session: Arc<Mounting>,
    service: Arc<Service>,
    server: Server,
    sender: Sender,
    metrics: Option<Metrics>,
}

impl Daemon {
    fn start(
        job: &Job,
        folder: &Folder,
        backing: Backing,
        store: Arc<Store>,
        import: capture::Import,
    ) -> Result<Daemon, Error> {
        let listener = match job.metrics {
            Some(address) => Some(
                Metrics::listen(address).map_err(|source| Error::Address { address, source })?,
            ),
            None => None,
        };
        let owner = backing.root_stat().uid;
        let group = job.options.snapshot_group;
        let options = capture::Options {
            settle: job.options.settle,
            interval: job.options.interval,
            min_free: job.options.min_free,
            off: job.options.no_history,
            import,
            snapdir: (job.options.snapdir != Snapdir::Disabled)
                .then(|| job.options.snapdir_name.clone().into_bytes()),
            hooks: rehearsal::hooks(),
        };
        let recorder =
            Recorder::start(Arc::new(backing), Arc::clone(&store), options).map_err(|error| {
                Error::Refused {
                    refusal: error.into(),
                    dir: job.dir.clone(),
                }
            })?;
        let keeper = Keeper {
            owner: Box::new({
                let recorder = Arc::clone(&recorder);
                move || recorder.owner().unwrap_or(owner)
            }),
            group,
        };
        let replication: Arc<Replication> = Arc::default();
        recorder.set_quiesce(Arc::new(Quiescing {
            store: Arc::clone(&store),
            recorder: Arc::downgrade(&recorder),
            replication: Some(Arc::clone(&replication)),
            dir: job.mountpoint.display().to_string(),
        }));
        let fs = mounting::file_system(&recorder, &store, &job.options, owner);
        let filling = Filler::start(&recorder).map_err(|error| Error::System {
            action: "what is to be recovered can't go on",
            source: io::Error::other(error),
        })?;
        if let Some(filler) = &filling {
            fs.live().set_fill(Arc::clone(filler) as Arc<dyn Fill>);
        }
        let begun = Mounting::begin(job, fs, &recorder).inspect_err(|_| {
            if let Some(filler) = &filling {
                filler.end();
            }
            // What was looked at so far need not be looked at again.
            let _ = recorder.finish(&|_| ());
        });
        let session = Arc::new(begun?);
        let service = Arc::new(Service {
            dir: job.dir.clone(),
            store_path: job.store.clone(),
            store,
            recorder: Some(Arc::clone(&recorder)),
            mount: Some(Arc::clone(&session) as Arc<dyn service::Mounting>),
            unmounting: Mutex::new(()),
            undo: Default::default(),
            diff: Default::default(),
            replication,
            filling,
        });
        if let Err(error) = service.follow_replicas() {
            ::log::error!("nobody waits for synchronous replicas: {error}");
        }
        match Server::open(folder, door(job), Arc::clone(&service), keeper) {
            Ok(server) => Ok(Daemon {
                metrics: listener.map(|listener| Metrics::start(listener, Arc::clone(&service))),
                sender: Sender::start(
                    job.mountpoint.display().to_string(),
                    job.store.clone(),
                    Arc::clone(&service.store),
                    Arc::clone(&service.replication),
                    recorder,
                ),
                session,
                service,
                server,
            }),
            Err(error) => {
                service.abandon();
                session.wait();
                Err(system("the control socket can't be made")(error))
            }
        }
    }

    /// After the mount has gone: nothing changes the directory through us any more, so what is
    /// still to be recorded is recorded now.
    fn close(self) {
        if let Some(metrics) = self.metrics {
            metrics.end();
        }
        if let Some(filler) = &self.service.filling {
            filler.end();
        }
        self.service.finish(&Watch::NOBODY);
        if self.service.replication.is_in_danger() {
            // What the end has recorded goes out, too.
            self.service.replication.in_danger("the end of the mount");
        }
        self.sender.end();
        self.server.close(CLOSE_WAIT);
    }
}

/// For those to whom the store is closed. Without it they are told so, and all else works.
fn door(job: &Job) -> Option<Door> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let mounts = Mounts::read().ok()?;
    let mount = mounts.at(&job.mountpoint).filter(|mount| mount.is_ours())?;
    match Door::open(mount) {
        Ok(door) => Some(door),
        Err(error) => {
            ::log::warn!("only root can ask for this history: {error}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_told_with_figures() {
        let holds = Holds {
            files: 1,
            bytes: 9_000_000_000_000,
            more: true,
        };
        assert_eq!(
            does_not_fit(Path::new("/p"), holds, 2 << 30),
            "/p holds more than 8.1 TiB in 1 file, and history may take 2.0 GiB of the disk of its \
             store: what is there now is not recorded, only what changes from now on. To record it \
             all: give the store another place (--store PATH), or mount with --import all"
        );
    }
}
