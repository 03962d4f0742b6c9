//! From the paths and the state that a person typed to what can be read and written: the working
//! directory, the paths in it (which need not exist any more), and the state as a tree. Of a mounted
//! directory the state is read through `.snapshots`, so that the kernel asks whether this user
//! may; of an unmounted one from its store, by who can open that.

use super::error::Error;
use super::progress::Meter;
use super::reach::{self, Reach};
use crate::control::kept::LeavesOut;
use crate::control::locate::{self, LocateError, Place};
use crate::control::report::Unrecorded;
use crate::control::request::{Answer, Request, StateFound};
use crate::history::{History, StateName};
use crate::id::Epoch;
use crate::pattern::Matcher;
use crate::restore::{Asked, Folder, LeftOut, Recorded, Source};
use crate::time::{TimeZone, Timestamp};
use rustix::fs::{CWD, Mode, OFlags, openat, readlinkat};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

/// The name of the past in a mount that does not say another.
const SNAPDIR: &str = ".snapshots";

/// Paths of one working directory.
pub struct Paths {
    pub place: Place,
    /// Where its files are reached: the mount point, if it is mounted.
    pub root: PathBuf,
    pub asked: Vec<Asked>,
}

impl Paths {
    /// Finds the history to which all of the paths belong.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn find(paths: &[PathBuf], store: Option<&Path>) -> Result<Paths, Error> {
        let mut found: Option<Paths> = None;
        for path in paths {
            let (place, full) = place_of(path, store)?;
            let root = match &place.mount {
                Some(mount) => mount.point.clone(),
                None => place.dir.clone(),
            };
            let inside = full.strip_prefix(&place.dir);
            let inside = inside.or_else(|_| full.strip_prefix(&root));
            let names: Asked = match inside {
                Ok(inside) => inside.iter().map(|name| name.as_bytes().to_vec()).collect(),
                Err(_) => return Err(not_here(path)),
            };
            match &mut found {
                None => {
                    let asked = vec![names];
                    found = Some(Paths { place, root, asked });
                }
                Some(first) if first.place.store == place.store => first.asked.push(names),
                Some(_) => {
                    return Err(Error::TwoHistories {
                        path: paths[0].clone(),
                        other: path.clone(),
                    });
                }
            }
        }
        found.ok_or_else(|| not_here(Path::new(".")))
    }
}

fn not_here(path: &Path) -> Error {
    Error::Locate {
        error: LocateError::NotHere {
            path: path.to_owned(),
            exists: fs::symlink_metadata(path).is_ok(),
        },
        meant: None,
    }
}

/// The history of a path, and the path without links but for itself: what it names may be a link,
/// or gone with folders above it.
fn place_of(path: &Path, store: Option<&Path>) -> Result<(Place, PathBuf), Error> {
    let full = match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => locate::resolve(parent).map(|above| above.path.join(name)),
        _ => locate::resolve(path).map(|all| all.path),
    };
    let full = full.map_err(|error| Error::Locate { error, meant: None })?;
    let is_dir = fs::symlink_metadata(&full).is_ok_and(|meta| meta.is_dir());
    let mut first = None;
    for at in full.ancestors().skip(usize::from(!is_dir)) {
        match locate::find(at, store) {
            Ok(place) => return Ok((place, full)),
            // It went, or is the working directory itself, which went.
            Err(error @ LocateError::NotHere { exists: false, .. }) => {
                first.get_or_insert(error);
            }
            Err(LocateError::NotHere { .. }) => break,
            Err(error) => return Err(Error::Locate { error, meant: None }),
        }
    }
    match locate::find(&full, store) {
        Ok(place) if place.dir == full => Ok((place, full)),
        _ => Err(not_here(path)),
    }
}

/// The name of a state as a daemon elsewhere understands it.
///
/// # Errors
/// A bad time or name.
pub fn exact_name(text: &str) -> Result<String, Error> {
    let bad = |error| Error::State {
        text: text.to_owned(),
        error,
    };
    let name = StateName::parse(text, Timestamp::now(), &TimeZone::system()).map_err(bad)?;
    Ok(match name {
        StateName::Time(time) => format!("@{time}"),
        _ => text.to_owned(),
    })
}

/// A directory and its past, opened.
pub struct Past {
    place: Place,
    root: PathBuf,
    /// The store in this process, of an unmounted directory.
    here: Option<Reach>,
    /// A mount whose daemon answers others only.
    is_guest: bool,
}

/// A state, opened.
pub struct State {
    pub source: Box<dyn Source>,
    /// `None`: only the owner is told.
    pub found: Option<StateFound>,
    /// The name under which the mount shows the past.
    pub snapdir: String,
    /// Whether something may be left out, of it or now. Only known of a mount.
    pub may_leave_out: bool,
}

impl Past {
    /// Opens the way to it. `writes`: what is in the directory now will be recorded.
    ///
    /// # Errors
    /// When the store can't be opened.
    pub fn open(place: &Place, root: &Path, writes: bool) -> Result<Past, Error> {
        let first = if writes {
            Request::Sync
        } else {
            Request::Status
        };
        let mut past = Past {
            place: place.clone(),
            root: root.to_owned(),
            here: None,
            is_guest: false,
        };
        match Reach::open(place, &first) {
            Ok(Reach::Daemon(_)) => {}
            Ok(here) => past.here = Some(here),
            Err(_) if place.mount.is_some() && !rustix::process::geteuid().is_root() => {
                past.is_guest = true;
            }
            Err(error) => return Err(error),
        }
        Ok(past)
    }

    /// Whether the directory is mounted.
    pub fn is_mounted(&self) -> bool {
        self.here.is_none()
    }

    /// Asks the daemon, or the handlers in this process.
    ///
    /// # Errors
    /// What was answered.
    pub fn ask(&self, request: Request, what: &'static str) -> Result<Answer, Error> {
        let wait = Meter::new(what);
        match &self.here {
            Some(here) => here.ask(&self.place, request, &wait),
            None => reach::ask(&self.place, request, &wait),
        }
    }

    /// Records what is there now. The answer is an instant whose state holds all of it; for who may
    /// not ask for that, it holds what had been recorded by itself.
    ///
    /// # Errors
    /// When it can't be recorded.
    pub fn record(&self) -> Result<Timestamp, Error> {
        if !self.is_guest {
            match self.ask(Request::Sync, "recording what is there now") {
                Ok(_) => {}
                Err(error) if error.is_not_allowed() && self.is_mounted() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Timestamp::now())
    }

    /// Opens a state.
    ///
    /// # Errors
    /// When there is none of that name, or it can't be read.
    pub fn state(&self, text: &str) -> Result<State, Error> {
        let name = exact_name(text)?;
        let mut found = None;
        if !self.is_guest {
            match self.ask(Request::State { name: name.clone() }, "state")? {
                Answer::State(state) => {
                    if let Some(missing) = &state.unrecorded {
                        warn(missing, &state);
                    }
                    found = Some(state);
                }
                _ => return Err(reach::strange(&self.place)),
            }
        }
        if let (Some(Reach::Here(service)), Some(state)) = (&self.here, &found) {
            let history = History::new(std::sync::Arc::clone(&service.store));
            return Ok(State {
                source: Box::new(Recorded::new(history, Epoch(state.epoch))),
                snapdir: SNAPDIR.to_owned(),
                found,
                may_leave_out: false,
            });
        }
        let (name, snapdir) = match &found {
            Some(state) => {
                let shown = state.snapdir.clone();
                let shown = shown.ok_or_else(|| Error::NotShown(self.root.clone()))?;
                (format!("@{}", state.time), shown)
            }
            None => (name, SNAPDIR.to_owned()),
        };
        let view = view(&self.root, &snapdir, &name).map_err(|error| self.no_view(text, error))?;
        let view = Folder::of_state(view);
        Ok(State {
            may_leave_out: view.may_leave_out(),
            source: Box::new(view),
            found,
            snapdir,
        })
    }

    /// A state by its number and exact time.
    ///
    /// # Errors
    /// When it can't be opened.
    pub fn source(
        &self,
        epoch: Epoch,
        time: Timestamp,
        snapdir: Option<&str>,
    ) -> Result<Arc<dyn Source>, Error> {
        if let Some(Reach::Here(service)) = &self.here {
            let history = History::new(Arc::clone(&service.store));
            return Ok(Arc::new(Recorded::new(history, epoch)));
        }
        let name = format!("@{time}");
        let snapdir = snapdir.ok_or_else(|| Error::NotShown(self.root.clone()))?;
        let view = view(&self.root, snapdir, &name);
        let view = view.map_err(|error| self.no_view(&name, error))?;
        Ok(Arc::new(Folder::new(view)))
    }

    /// What is left out of the directory, and was of a state; `None`: only the owner is told.
    ///
    /// # Errors
    /// When it can't be asked.
    pub fn left_out(&self, state: &State) -> Result<Option<LeftOut>, Error> {
        let Some(found) = &state.found else {
            return Ok(None);
        };
        match self.rules(found.epoch) {
            Ok(rules) => Ok(Some(rules)),
            Err(error) if error.is_not_allowed() && self.is_mounted() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The same of now alone.
    ///
    /// # Errors
    /// When it can't be asked.
    pub fn left_out_now(&self) -> Result<LeftOut, Error> {
        Ok(LeftOut {
            then: Arc::default(),
            ..self.rules(0)?
        })
    }

    fn rules(&self, epoch: u64) -> Result<LeftOut, Error> {
        let Answer::Rules { now, then } = self.ask(Request::Rules { epoch }, "policy")? else {
            return Err(reach::strange(&self.place));
        };
        // Of what can't be read nothing was left out.
        let ready =
            |rules: LeavesOut| Matcher::new(rules.into()).map_or_else(|_| Arc::default(), Arc::new);
        Ok(LeftOut {
            now: ready(now),
            then: ready(then),
            asks: false,
        })
    }

    fn no_view(&self, text: &str, source: io::Error) -> Error {
        if source.kind() == io::ErrorKind::NotFound {
            let text = text.to_owned();
            let error = match text.strip_prefix('@') {
                Some(_) => crate::history::HistoryError::NothingRecorded,
                None => crate::history::HistoryError::NoSnapshot { name: text.clone() },
            };
            return Error::State { text, error };
        }
        Error::File {
            path: self.root.join(SNAPDIR).join(text),
            source,
        }
    }
}

/// A hole in history is never passed over in silence.
fn warn(missing: &Unrecorded, state: &StateFound) {
    let zone = TimeZone::system();
    let from = missing.from.0.local(&zone);
    let until = match &missing.to {
        Some(to) => format!("from {from} to {}", to.0.local(&zone)),
        None => format!("since {from}"),
    };
    eprintln!(
        "rewindfs: nothing was recorded {until} ({}); this is the state before, of {}",
        missing.reason,
        state.time.0.local(&zone)
    );
}

/// The directory of a state in `.snapshots` of the root: the name, or where it leads.
fn view(root: &Path, snapdir: &str, name: &str) -> io::Result<OwnedFd> {
    let open = |dir: &OwnedFd, name: &Path| -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(dir, name, flags, Mode::empty())?)
    };
    let snapdir = open(&directory(root)?, Path::new(snapdir))?;
    match readlinkat(&snapdir, name, Vec::new()) {
        Ok(target) => {
            let target = std::ffi::OsString::from_vec(target.into_bytes());
            open(&snapdir, Path::new(&target))
        }
        Err(_) => open(&snapdir, Path::new(name)),
    }
}

/// A directory, for its names only.
///
/// # Errors
/// What the kernel answers.
pub fn directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, path, flags, Mode::empty())?)
}
