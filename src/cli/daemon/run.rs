//! The daemon's life: what it opens, in which order, until the mount is usable; then waiting for
//! its end; then closing in the other order.
//!
//! 1. Until `Ready` was told, every failure leaves things as they were: no mount, no new store.
//! 2. The socket is there before anybody can see a mount that answers, so a mount whose store
//!    has no socket and which does not answer has lost its daemon.

use super::super::error::Error;
use super::super::exit::Exit;
use super::job::{Job, News};
use super::log::{self as logging, Logging};
use super::mounting::{self, Mounting};
use super::{limit, signals};
use crate::backing::Backing;
use crate::capture::{self, Recorder};
use crate::control::folder::{self, Folder};
use crate::control::open::{self, OpenError};
use crate::control::service::{self, Service, Watch};
use crate::control::socket::Server;
use crate::store::{Store, StoreOptions};
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
    let daemon = Daemon::start(job, &folder, backing, store)?;
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

fn system(action: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::System { action, source }
}

fn open_store(job: &Job, logging: Logging) -> Result<(Folder, Arc<Store>), Error> {
    let log_to = |folder: &Folder| {
        logging::begin(logging, folder).map_err(system("the log file can't be written"))
    };
    if job.new_store {
        let (folder, store) = open::create(&job.store, StoreOptions::default())?;
        log_to(&folder)?;
        Ok((folder, store))
    } else {
        let folder = Folder::open(&job.store).map_err(OpenError::from)?;
        let store = open::open(&folder, StoreOptions::default())?;
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
}

impl Daemon {
    fn start(
        job: &Job,
        folder: &Folder,
        backing: Backing,
        store: Arc<Store>,
    ) -> Result<Daemon, Error> {
        let owner = backing.root_stat().uid;
        let options = capture::Options {
            settle: job.options.settle,
            interval: job.options.interval,
            min_free: job.options.min_free,
            off: job.options.no_history,
        };
        let recorder =
            Recorder::start(Arc::new(backing), Arc::clone(&store), options).map_err(|error| {
                Error::Refused {
                    refusal: error.into(),
                    dir: job.dir.clone(),
                }
            })?;
        let fs = mounting::file_system(&recorder, &store, &job.options, owner);
        let begun = Mounting::begin(job, fs, &recorder).inspect_err(|_| {
            // What was looked at so far need not be looked at again.
            let _ = recorder.finish(&|_| ());
        });
        let session = Arc::new(begun?);
        let service = Arc::new(Service {
            dir: job.dir.clone(),
            store_path: job.store.clone(),
            store,
            recorder: Some(recorder),
            mount: Some(Arc::clone(&session) as Arc<dyn service::Mounting>),
            unmounting: Mutex::new(()),
        });
        match Server::open(folder, Arc::clone(&service), owner) {
            Ok(server) => Ok(Daemon {
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
        self.service.finish(&Watch::NOBODY);
        self.server.close(CLOSE_WAIT);
    }
}
