//! From a path that a person typed to the history it belongs to: through the table of mounts
//! when it lies in a mounted directory, otherwise through the store beside the directory or one
//! of its parents. A directory that was removed is found as long as its store stands beside.
//!
//! No file system is asked about a path that lies on one of our mounts: its daemon may be dead
//! or busy, and `status` and `umount` are what one types then.

use super::folder::{self, Folder, FolderError};
use super::identity;
use super::mounts::{self, Mount, Mounts};
use crate::backing::Backing;
use crate::format::record::RootIdentity;
use crate::store::Store;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Where a history is.
#[derive(Clone, Debug)]
pub struct Place {
    /// The working directory; of a mounted one the mount point.
    pub dir: PathBuf,
    pub store: PathBuf,
    pub mount: Option<Mount>,
}

/// Why a path leads to no history.
#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    /// `exists`: the path itself does.
    #[error("{path} is not in a rewindfs directory")]
    NotHere { path: PathBuf, exists: bool },
    #[error("no directory of which {store} is the history is at or above {path}")]
    NotOfStore { path: PathBuf, store: PathBuf },
    #[error("{path}: {source}")]
    Path { path: PathBuf, source: io::Error },
    #[error("the table of mounts can't be read: {0}")]
    Mounts(io::Error),
    #[error(transparent)]
    Folder(#[from] FolderError),
}

/// Finds the history of a path. `store` is what `--store` or REWINDFS_STORE says.
///
/// # Errors
/// When there is none, or what leads to it is broken.
pub fn find(path: &Path, store: Option<&Path>) -> Result<Place, LocateError> {
    let not_here = |exists| LocateError::NotHere {
        path: path.to_owned(),
        exists,
    };
    let mounts = Mounts::read().map_err(LocateError::Mounts)?;
    if let Some(absolute) = mounts::absolute(path)
        && let Some(place) = on_mount(&mounts, &absolute)
    {
        return if is_missing_in(&place, &absolute) {
            Err(not_here(false))
        } else {
            Ok(place)
        };
    }
    let resolved = resolve(path)?;
    if let Some(place) = on_mount(&mounts, &resolved.path) {
        return if resolved.exists {
            Ok(place)
        } else {
            Err(not_here(false))
        };
    }
    if let Some(store) = store {
        return with_store(&mounts, &resolved.path, store);
    }
    let found = beside(&mounts, &resolved.path)?;
    // What is not there is no directory, unless its history is: `rm -r DIR` leaves that.
    found
        .filter(|place| resolved.exists || place.dir == resolved.path)
        .ok_or_else(|| not_here(resolved.exists))
}

/// Whether a path on a mount of ours is not there. The mount point is, and so is where this
/// process stands: what is usual is known without asking a daemon that may hang.
fn is_missing_in(place: &Place, path: &Path) -> bool {
    path != place.dir
        && std::env::current_dir().is_ok_and(|here| here != path)
        && fs::symlink_metadata(path).is_err_and(|error| is_missing(&error))
}

/// All that is mounted, in the order of mounting.
///
/// # Errors
/// When the table can't be read.
pub fn mounted() -> Result<Vec<Place>, LocateError> {
    let mounts = Mounts::read().map_err(LocateError::Mounts)?;
    Ok(mounts.ours().map(place_of).collect())
}

fn place_of(mount: &Mount) -> Place {
    Place {
        dir: mount.point.clone(),
        store: mount.store(),
        mount: Some(mount.clone()),
    }
}

fn on_mount(mounts: &Mounts, path: &Path) -> Option<Place> {
    let mount = mounts.of(path)?;
    mount.is_ours().then(|| place_of(mount))
}

/// A path without links, and whether all of it exists.
pub struct Resolved {
    pub path: PathBuf,
    pub exists: bool,
}

/// Resolves the part of a path that exists, and appends the rest as it is.
///
/// # Errors
/// When a part of it can't be looked at.
pub fn resolve(path: &Path) -> Result<Resolved, LocateError> {
    let mut missing: Vec<OsString> = Vec::new();
    let mut rest = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    loop {
        match fs::canonicalize(rest) {
            Ok(mut found) => {
                let exists = missing.is_empty();
                found.extend(missing.iter().rev());
                return Ok(Resolved {
                    path: found,
                    exists,
                });
            }
            Err(error) if is_missing(&error) => {
                let (Some(name), Some(parent)) = (rest.file_name(), rest.parent()) else {
                    return Err(at(path, error));
                };
                missing.push(name.to_owned());
                rest = if parent.as_os_str().is_empty() {
                    Path::new(".")
                } else {
                    parent
                };
            }
            Err(error) => return Err(at(path, error)),
        }
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOENT | libc::ENOTDIR | libc::ENAMETOOLONG)
    )
}

fn at(path: &Path, source: io::Error) -> LocateError {
    LocateError::Path {
        path: path.to_owned(),
        source,
    }
}

/// The store beside a directory or one of its parents, the innermost; else one whose directory
/// was renamed.
fn beside(mounts: &Mounts, path: &Path) -> Result<Option<Place>, LocateError> {
    for dir in path.ancestors() {
        let Some(place) = folder::default_place(dir) else {
            break;
        };
        if let Some(store) = folder::at_place(&place)? {
            return Ok(Some(unmounted(mounts, dir, store)));
        }
    }
    for dir in path.ancestors() {
        if let Some(store) = of_renamed(dir) {
            return Ok(Some(unmounted(mounts, dir, store)));
        }
    }
    Ok(None)
}

/// The store may be mounted elsewhere (`mount DIR MOUNTPOINT`).
fn unmounted(mounts: &Mounts, dir: &Path, store: PathBuf) -> Place {
    let mount = mounts.ours().find(|mount| mount.store() == store).cloned();
    Place {
        dir: dir.to_owned(),
        store,
        mount,
    }
}

/// The store of a directory that had another name when it was made: among the siblings
/// `.*.rewind` that belong to no directory of their own name, the one whose directory this is.
pub fn of_renamed(dir: &Path) -> Option<PathBuf> {
    let parent = dir.parent()?;
    let strays: Vec<PathBuf> = fs::read_dir(parent)
        .ok()?
        .flatten()
        .filter(|entry| folder::is_default_name(&entry.file_name()))
        .filter_map(|entry| folder::at_place(&entry.path()).ok().flatten())
        .collect();
    if strays.is_empty() {
        return None;
    }
    let own = identity_of(dir).ok()?;
    strays
        .into_iter()
        .find(|store| identity_in(store).is_some_and(|kept| identity::same(&kept, &own)))
}

/// Of the path and its parents, the one whose history the store is.
fn with_store(mounts: &Mounts, path: &Path, store: &Path) -> Result<Place, LocateError> {
    let store = fs::canonicalize(store).map_err(|_| FolderError::Missing(store.to_owned()))?;
    let mount = mounts.ours().find(|mount| mount.store() == store).cloned();
    if mount.is_some() {
        return Ok(Place {
            dir: path.to_owned(),
            store,
            mount,
        });
    }
    Folder::open(&store)?.check_owner()?;
    let kept = identity_in(&store);
    let dir = path
        .ancestors()
        .find(|dir| match (&kept, identity_of(dir)) {
            (Some(kept), Ok(own)) => identity::same(kept, &own),
            _ => false,
        });
    match dir {
        Some(dir) => Ok(unmounted(mounts, dir, store)),
        None => Err(LocateError::NotOfStore {
            path: path.to_owned(),
            store,
        }),
    }
}

/// The identity of a directory's root.
///
/// # Errors
/// When it is no directory that can be opened.
pub fn identity_of(dir: &Path) -> io::Result<RootIdentity> {
    Ok(Backing::open(dir)?.identity())
}

/// Which directory a store says it belongs to; `None` for what can't be asked.
pub fn identity_in(store: &Path) -> Option<RootIdentity> {
    let folder = Folder::open(store).ok()?;
    folder.check_owner().ok()?;
    Store::peek_root(&folder.inside("")).ok().flatten()
}
