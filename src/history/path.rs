//! From a state and a path to what stood there. Name by name, within one state; a symlink is
//! something that stands there, not somewhere to go.

use super::Result;
use crate::format::record::{Dirent, Inode, InodeVersion, Kind};
use crate::id::{Epoch, FileId};
use crate::limits;
use crate::store::View;

/// A file as it was in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub id: FileId,
    /// The epoch in which it became what it was in that state.
    pub version: Epoch,
    pub inode: Inode,
}

/// The file `id` as it was in the state `at`; `None` if it did not exist then.
///
/// # Errors
/// The store's.
pub fn file(view: &View<'_>, at: Epoch, id: FileId) -> Result<Option<Found>> {
    Ok(match view.inode_at(id, at)? {
        Some((version, InodeVersion::Present(inode))) => Some(Found { id, version, inode }),
        Some((_, InodeVersion::Gone)) | None => None,
    })
}

/// The version of the file `id` that was made in just this state; `None` if none was.
///
/// # Errors
/// The store's.
pub fn version(view: &View<'_>, version: Epoch, id: FileId) -> Result<Option<Found>> {
    Ok(match view.inode_version(id, version)? {
        Some(InodeVersion::Present(inode)) => Some(Found { id, version, inode }),
        Some(InodeVersion::Gone) | None => None,
    })
}

/// What several files were in the state `at`, in their order.
///
/// # Errors
/// The store's.
pub fn files(view: &View<'_>, at: Epoch, ids: &[FileId]) -> Result<Vec<Option<Found>>> {
    let versions = view.inodes_at(ids, at)?.into_iter().zip(ids);
    let found = versions.map(|(version, id)| match version {
        Some((version, InodeVersion::Present(inode))) => Some(Found {
            id: *id,
            version,
            inode,
        }),
        Some((_, InodeVersion::Gone)) | None => None,
    });
    Ok(found.collect())
}

/// What stood under `name` in the directory `dir` in the state `at`.
///
/// # Errors
/// The store's.
pub fn child(view: &View<'_>, at: Epoch, dir: FileId, name: &[u8]) -> Result<Option<Found>> {
    match view.dirent_at(dir, name, at)? {
        Some((_, Dirent::Present { id, .. })) => file(view, at, id),
        Some((_, Dirent::Gone)) | None => Ok(None),
    }
}

/// What stood at `path`, given as names from the root of the tree down, in the state `at`. An empty
/// path is the root.
///
/// # Errors
/// The store's.
pub fn walk<'p>(
    view: &View<'_>,
    at: Epoch,
    path: impl IntoIterator<Item = &'p [u8]>,
) -> Result<Option<Found>> {
    let mut here = file(view, at, FileId::ROOT)?;
    for name in path {
        here = match here {
            Some(dir) if dir.inode.kind == Kind::Dir => child(view, at, dir.id, name)?,
            _ => return Ok(None),
        };
    }
    Ok(here)
}

/// The directories that contain `of` in the state `at`, the nearest first, the root last; empty for
/// the root itself. `None` if the records do not lead to the root name by name: then nothing is
/// known about who could get there.
///
/// # Errors
/// The store's.
pub fn ancestors(view: &View<'_>, at: Epoch, of: &Found) -> Result<Option<Vec<Found>>> {
    let mut found: Vec<Found> = Vec::new();
    while found.last().unwrap_or(of).id != FileId::ROOT {
        let below = found.last().unwrap_or(of);
        let named = view.dirent_at(below.inode.parent, &below.inode.name, at)?;
        let leads_here = matches!(named, Some((_, Dirent::Present { id, .. })) if id == below.id);
        if !leads_here || found.len() >= limits::DEPTH_MAX {
            return Ok(None);
        }
        match file(view, at, below.inode.parent)? {
            Some(above) if above.inode.kind == Kind::Dir => found.push(above),
            _ => return Ok(None),
        }
    }
    Ok(Some(found))
}

/// The path from the root of the tree to `found` in the state `at`; `None` as of `ancestors`.
///
/// # Errors
/// The store's.
pub fn place(view: &View<'_>, at: Epoch, found: &Found) -> Result<Option<Vec<u8>>> {
    let Some(above) = ancestors(view, at, found)? else {
        return Ok(None);
    };
    let mut place = Vec::new();
    // The root has no name; then each from the top down.
    let names = above.iter().rev().skip(1).chain(std::iter::once(found));
    for dir in names.filter(|dir| dir.id != FileId::ROOT) {
        place = join(&place, &dir.inode.name);
    }
    Ok(Some(place))
}

/// `path/name`; below the root just `name`.
pub fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    match path {
        b"" => name.to_vec(),
        _ => [path, b"/", name].concat(),
    }
}

/// Whether a path is `under`, or below it; all are below nothing.
pub fn is_below(under: &[u8], path: &[u8]) -> bool {
    under.is_empty()
        || path
            .strip_prefix(under)
            .is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::past::{Past, directory, symlink};

    fn names(found: Option<Vec<Found>>) -> Option<Vec<u64>> {
        found.map(|all| all.iter().map(|found| found.id.0).collect())
    }

    #[test]
    fn a_path_stays_in_its_state_and_follows_no_symlink() {
        let mut past = Past::new();
        let first = past.epoch("2026-11-20T10:00", |draft| {
            draft.root(directory());
            draft.put(2, 1, "src", directory());
            draft.bytes(3, 2, "main.rs", b"fn main() {}");
            draft.put(4, 1, "link", symlink("src"));
        });
        let second = past.epoch("2026-11-20T10:01", |draft| {
            draft.unname(1, "src");
            draft.put(2, 1, "lib", directory());
            draft.gone(3, 2, "main.rs");
        });
        let view = past.store.view();
        let walk = |epoch: Epoch, path: &str| {
            let parts = path.split('/').filter(|part| !part.is_empty());
            let found = walk(&view, epoch, parts.map(str::as_bytes));
            found.expect("readable").map(|found| found.id.0)
        };
        assert_eq!(walk(first, ""), Some(1));
        assert_eq!(walk(first, "src/main.rs"), Some(3));
        assert_eq!(walk(first, "lib"), None);
        assert_eq!(walk(first, "link"), Some(4));
        assert_eq!(walk(first, "link/main.rs"), None);
        assert_eq!(walk(first, "src/main.rs/x"), None);
        assert_eq!(walk(second, "src"), None);
        assert_eq!(walk(second, "lib"), Some(2));
        assert_eq!(walk(second, "lib/main.rs"), None);
        assert_eq!(walk(Epoch::NONE, ""), None);
    }

    #[test]
    fn ancestors_are_those_of_the_state() {
        let mut past = Past::new();
        let first = past.epoch("2026-11-20T10:00", |draft| {
            draft.root(directory());
            draft.put(2, 1, "a", directory());
            draft.put(3, 2, "b", directory());
            draft.put(4, 3, "c", directory());
        });
        let second = past.epoch("2026-11-20T10:01", |draft| {
            draft.unname(3, "c");
            draft.put(4, 1, "c", directory());
        });
        // A name that leads elsewhere: the place of 4 is not known any more.
        let third = past.epoch("2026-11-20T10:02", |draft| {
            draft.put(5, 1, "c", directory());
        });
        let view = past.store.view();
        let of = |epoch, id| {
            let found = file(&view, epoch, FileId(id)).expect("readable");
            let above = ancestors(&view, epoch, &found.expect("there"));
            names(above.expect("readable"))
        };
        assert_eq!(of(first, 1), Some(vec![]));
        assert_eq!(of(first, 4), Some(vec![3, 2, 1]));
        assert_eq!(of(second, 4), Some(vec![1]));
        assert_eq!(of(third, 4), None);
        assert_eq!(of(third, 3), Some(vec![2, 1]));
    }
}
