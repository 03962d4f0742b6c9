//! From a request to its answer, by the one path: over the socket when a daemon has the store,
//! otherwise in this process by the same handlers.

use super::error::{Error, answered};
use super::exit::Exit;
use crate::capture::{Options, Recorder};
use crate::control::client::{Client, ClientError, Wait};
use crate::control::error::Error as Refusal;
use crate::control::folder::{Folder, FolderError};
use crate::control::hooks::Quiescing;
use crate::control::locate::Place;
use crate::control::open::{self, OpenError};
use crate::control::request::{Answer, Progress, Request};
use crate::control::service::{Service, Watch};
use crate::limits;
use crate::store::StoreOptions;
use parking_lot::Mutex;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// How often a person's interruption is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long an interrupted command may take to take back what it was making.
const INTERRUPT_WAIT: Duration = Duration::from_secs(5);

/// How long the folder of a store, and the daemon in it, may take to say who they are.
const REACH_WAIT: Duration = Duration::from_secs(20);

/// A history that can be asked.
pub enum Reach {
    Daemon(Client),
    /// The store is open in this process.
    Here(Box<Service>),
}

impl Reach {
    /// Opens the way for requests like `request`; the daemon takes one only.
    ///
    /// # Errors
    /// When the daemon of a mount does not answer, or the store can't be opened.
    pub fn open(place: &Place, request: &Request) -> Result<Reach, Error> {
        let (folder, client) = match reach(&place.store)? {
            Ok(reached) => reached,
            Err(FolderError::Missing(store)) if place.mount.is_some() => {
                return Err(Error::StoreGone {
                    dir: place.dir.clone(),
                    store,
                });
            }
            // The way to the store is closed to this user.
            Err(error @ FolderError::Unreadable { .. }) => {
                return match knock(place) {
                    Some(reach) => reach,
                    None => Err(OpenError::from(error).into()),
                };
            }
            Err(error) => return Err(OpenError::from(error).into()),
        };
        match client {
            Ok(client) => Ok(Reach::Daemon(client)),
            // Not mounted: nobody else has the store, or its lock says so.
            Err(ClientError::NoDaemon) if place.mount.is_none() => {
                Ok(Reach::Here(Box::new(open_here(place, &folder, request)?)))
            }
            // Not mounted, and not ours: that it can't be opened says more.
            Err(ClientError::Refused(_)) if place.mount.is_none() => {
                Ok(Reach::Here(Box::new(open_here(place, &folder, request)?)))
            }
            Err(error @ ClientError::Refused(_)) => match knock(place) {
                Some(reach) => reach,
                None => Err(answered(error, &place.dir)),
            },
            Err(error) => Err(answered(error, &place.dir)),
        }
    }

    /// Asks and waits.
    ///
    /// # Errors
    /// What was answered.
    pub fn ask(&self, place: &Place, request: Request, wait: &dyn Wait) -> Result<Answer, Error> {
        match self {
            Reach::Daemon(client) => client
                .ask(&request, wait)
                .map_err(|error| answered(error, &place.dir)),
            Reach::Here(service) => {
                ask_here(service, request, wait).map_err(|refusal| Error::Refused {
                    refusal,
                    dir: place.dir.clone(),
                })
            }
        }
    }
}

/// To the daemon of a mount whose store is closed to this user; `None` if there is no such way.
fn knock(place: &Place) -> Option<Result<Reach, Error>> {
    match Client::knock(place.mount.as_ref()?) {
        Ok(client) => Some(Ok(Reach::Daemon(client))),
        Err(ClientError::NoDaemon | ClientError::Refused(_)) => None,
        Err(error) => Some(Err(answered(error, &place.dir))),
    }
}

/// One request, from the place to the answer.
///
/// # Errors
/// Why there is none.
pub fn ask(place: &Place, request: Request, wait: &dyn Wait) -> Result<Answer, Error> {
    Reach::open(place, &request)?.ask(place, request, wait)
}

/// What stands behind the path of a store.
type Reached = Result<(Folder, Result<Client, ClientError>), FolderError>;

/// Its folder, and its daemon. The disk that it lies on may hang: this does not with it.
fn reach(store: &Path) -> Result<Reached, Error> {
    let (tell, told) = mpsc::channel();
    let path = store.to_owned();
    let look = move || {
        let reached = Folder::open(&path).map(|folder| {
            let client = Client::connect(&folder);
            (folder, client)
        });
        // Nobody listens any more when it comes too late.
        let _ = tell.send(reached);
    };
    let started = thread::Builder::new().spawn(look);
    started.map_err(|source| Error::System {
        action: "no thread for a request",
        source,
    })?;
    told.recv_timeout(REACH_WAIT).map_err(|_| Error::File {
        path: store.to_owned(),
        source: io::ErrorKind::TimedOut.into(),
    })
}

fn open_here(place: &Place, folder: &Folder, request: &Request) -> Result<Service, Error> {
    let options = StoreOptions {
        salvage: matches!(request, Request::Verify { repair: true, .. }),
        ..StoreOptions::default()
    };
    let store = open::open(folder, &place.dir, options)?;
    let recorder = if request.records() {
        let backing = open::directory(&place.dir)?;
        open::check_directory(&store, &place.store, &backing, &place.dir, false)?;
        let started = Recorder::start(Arc::new(backing), Arc::clone(&store), Options::default());
        let recorder = started.map_err(|error| Error::Refused {
            refusal: error.into(),
            dir: place.dir.clone(),
        })?;
        recorder.set_quiesce(Arc::new(Quiescing {
            store: Arc::clone(&store),
            recorder: Arc::downgrade(&recorder),
            replication: None,
            dir: place.dir.display().to_string(),
        }));
        Some(recorder)
    } else {
        None
    };
    Ok(Service {
        dir: place.dir.clone(),
        store_path: place.store.clone(),
        store,
        recorder,
        mount: None,
        unmounting: Mutex::new(()),
        undo: Default::default(),
        diff: Default::default(),
        replication: Default::default(),
        filling: None,
    })
}

/// Carries the request out on another thread, so that an interruption is noticed whatever that
/// one waits for. Dying in the middle is safe: the store is consistent at every moment.
fn ask_here(service: &Service, request: Request, wait: &dyn Wait) -> Result<Answer, Refusal> {
    let cancelled = AtomicBool::new(false);
    let (tell, told) = mpsc::channel::<Progress>();
    let tell = Mutex::new(tell);
    thread::scope(|scope| {
        let progress = move |progress| {
            // Nobody listens any more only when the answer is there.
            let _ = tell.lock().send(progress);
        };
        let cancelled = &cancelled;
        let worker = scope.spawn(move || {
            let is_cancelled = || cancelled.load(Ordering::Relaxed);
            let watch = Watch {
                progress: &progress,
                cancelled: &is_cancelled,
            };
            let uid = rustix::process::geteuid().as_raw();
            let answer = service.handle(request, uid, &watch);
            // Notes that all is recorded: the next mount need not look at everything.
            service.finish(&watch);
            answer
        });
        let mut since = None;
        while !worker.is_finished() {
            if service.store.longest_call() >= limits::STORE_HUNG {
                // Its thread can't be ended but with all the others.
                let hangs = Error::Refused {
                    refusal: Refusal::Store {
                        reason: "it does not answer".to_owned(),
                    },
                    dir: service.dir.clone(),
                };
                eprintln!("rewindfs: {hangs}");
                std::process::exit(i32::from(hangs.exit().code()));
            }
            if let Ok(progress) = told.recv_timeout(LOOK_EVERY) {
                wait.progress(&progress);
            }
            if wait.interrupted() {
                cancelled.store(true, Ordering::Relaxed);
                let since = *since.get_or_insert_with(Instant::now);
                if since.elapsed() > INTERRUPT_WAIT {
                    std::process::exit(i32::from(Exit::Interrupted.code()));
                }
            }
        }
        match worker.join() {
            Ok(answer) => answer,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// For an answer that does not belong to the request: only a daemon that is not ours gives one.
pub fn strange(place: &Place) -> Error {
    Error::Refused {
        refusal: Refusal::Malformed {
            reason: "the answer is one to another request".into(),
        },
        dir: place.dir.clone(),
    }
}
