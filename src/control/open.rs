//! Opening a store in this process: for a daemon, or for one command about a directory that is
//! not mounted.

use super::error::sentence;
use super::folder::{self, Folder, FolderError};
use super::identity;
use crate::backing::Backing;
use crate::limits;
use crate::store::{Store, StoreError, StoreOptions};
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the store {store} is in use by another process: wait for it to end, then try again")]
    Locked { store: PathBuf },
    #[error(
        "the store {store} can't be opened: {reason}; to go on with what can be read of it: \
         rewindfs verify --repair {dir}"
    )]
    Damaged {
        store: PathBuf,
        dir: PathBuf,
        reason: String,
    },
    #[error(
        "nothing of the database in {store} can be read; put the store back from a copy, or begin a new \
         history: mv {store} {store}.old; rewindfs mount {dir}"
    )]
    NothingLeft { store: PathBuf, dir: PathBuf },
    #[error("{}", refusal(.0))]
    Store(StoreError),
    #[error("the store {store} can't be made: {source}; say another place, --store PATH")]
    Make { store: PathBuf, source: io::Error },
    #[error("{dir} can't be opened: {source}")]
    Directory { dir: PathBuf, source: io::Error },
    #[error(
        "the store {store} is the history of {kept}, but this is {own}{} rewindfs mount --adopt {dir}{}",
        if *unmounted { ", and it is empty: is its volume mounted? If it is the right one:" } else { ": if that is right," },
        if *elsewhere { format!(" --store {}", store.display()) } else { String::new() }
    )]
    OtherDirectory {
        store: PathBuf,
        dir: PathBuf,
        kept: String,
        own: String,
        /// It looks like the mount point of a volume that is not mounted.
        unmounted: bool,
        /// Nothing beside the directory leads to the store.
        elsewhere: bool,
    },
    #[error(transparent)]
    Folder(#[from] FolderError),
}

fn refusal(error: &StoreError) -> String {
    let next = match error {
        StoreError::NewerFormat { .. } => "; use the program that wrote it, or a newer one",
        StoreError::NotAStore { .. } | StoreError::NotEmpty { .. } => {
            "; give the right place, --store PATH"
        }
        StoreError::Owner { .. } => "; run this as its owner",
        StoreError::Exposed { path, .. } => {
            return format!(
                "{}; close it: chmod 700 {}",
                sentence(error),
                path.display()
            );
        }
        _ => "",
    };
    sentence(error) + next
}

/// Opens the store of `dir` in an existing folder. Another command may have it for a moment, and a daemon
/// that was killed lets go of it only when its last thread has ended: waits that long.
///
/// # Errors
/// When it is locked, not ours or damaged.
pub fn open(folder: &Folder, dir: &Path, options: StoreOptions) -> Result<Arc<Store>, OpenError> {
    folder.check_owner()?;
    when_free((folder.path(), dir), || {
        Store::open(folder.path(), options.clone())
    })
}

fn when_free(
    places: (&Path, &Path),
    open: impl Fn() -> Result<Arc<Store>, StoreError>,
) -> Result<Arc<Store>, OpenError> {
    let deadline = Instant::now() + limits::STORE_WAIT;
    loop {
        match open() {
            Err(StoreError::Locked { .. }) if Instant::now() < deadline => {
                std::thread::sleep(limits::STORE_POLL);
            }
            result => return result.map_err(|error| explain(places, error)),
        }
    }
}

/// Makes a store where there is nothing, in an empty folder, or where somebody died while he made
/// one.
///
/// # Errors
/// When it can't be made; then what was made is taken away again.
pub fn create(
    path: &Path,
    dir: &Path,
    options: StoreOptions,
) -> Result<(Folder, Arc<Store>), OpenError> {
    let fresh = match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(source) => {
            return Err(OpenError::Make {
                store: path.to_owned(),
                source,
            });
        }
    };
    let made = when_free((path, dir), || Store::create(path, options.clone()))
        .and_then(|store| Ok((Folder::open(path)?, store)));
    if made.is_err() && fresh {
        discard(path);
    }
    made
}

/// Takes away a store that was just made and holds nothing yet.
pub fn discard(path: &Path) {
    if let Err(error) = fs::remove_dir_all(path) {
        log::warn!("{} is left over: {error}", path.display());
    }
}

/// That a store is the history of a directory; a new one becomes it.
///
/// # Errors
/// `OtherDirectory`, unless `adopt`.
pub fn check_directory(
    store: &Store,
    store_path: &Path,
    backing: &Backing,
    dir: &Path,
    adopt: bool,
) -> Result<(), OpenError> {
    let own = backing.identity();
    let kept = store
        .root()
        .map_err(|error| explain((store_path, dir), error))?;
    if let Some(kept) = kept.filter(|kept| !identity::same(kept, &own))
        && !adopt
    {
        return Err(OpenError::OtherDirectory {
            store: store_path.to_owned(),
            dir: dir.to_owned(),
            kept: identity::describe(&kept),
            own: identity::describe_other(&own, &kept),
            unmounted: kept.path == own.path && is_empty(dir),
            elsewhere: !leads_to(dir, store_path),
        });
    }
    // Also when it is the same: the path is kept to be shown, and may be another.
    store
        .set_root(&own)
        .map_err(|error| explain((store_path, dir), error))
}

/// Whether a command about the directory finds the store without being told.
fn leads_to(dir: &Path, store: &Path) -> bool {
    folder::default_place(dir)
        .and_then(|place| folder::at_place(&place).ok()?)
        .is_some_and(|found| found == store)
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}

/// Opens the live directory.
///
/// # Errors
/// When it can't be read.
pub fn directory(dir: &Path) -> Result<Backing, OpenError> {
    Backing::open(dir).map_err(|source| OpenError::Directory {
        dir: dir.to_owned(),
        source,
    })
}

fn explain((store, dir): (&Path, &Path), error: StoreError) -> OpenError {
    let (store, dir) = (store.to_owned(), dir.to_owned());
    match error {
        StoreError::Locked { .. } => OpenError::Locked { store },
        StoreError::NothingLeft => OpenError::NothingLeft { store, dir },
        error if error.is_damage() => {
            ::log::debug!("the store can't be opened: {error:?}");
            let reason = sentence(&error);
            OpenError::Damaged { store, dir, reason }
        }
        error => OpenError::Store(error),
    }
}
