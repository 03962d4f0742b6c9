//! What a *name* held, whichever file that was: programs replace a file by renaming a new one over
//! it, so the history of a file is not the history of its name.
//!
//! A path is followed part by part. What a directory's name led to is a list of *tenures*: this
//! file, from that epoch to that one. The next part is looked for in each of these directories
//! within its tenure.
//!
//! 1. What came by rename to a name that was free brings its past along: what its former name held
//!    in an unbroken row, in tenures that are marked as elsewhere. What took the place of another file does not: an editor's
//!    temporary file is no past of what was edited.
//! 2. A version is listed when its content is other than that of the one before it. A content that
//!    comes back is a version again: so the last that is not later than an instant is what the
//!    name held then.
//! 3. Nothing here is older than the picture, or newer than its newest listed epoch.

use super::{Found, Result, path};
use crate::format::record::{Content, Dirent, Inode, InodeVersion, Kind};
use crate::id::{Epoch, FileId};
use crate::store::View;
use crate::time::Timestamp;
use std::collections::BTreeSet;

/// A file under a name, for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tenure {
    pub from: Epoch,
    /// The first epoch in which that was over.
    pub until: Epoch,
    pub id: FileId,
    pub kind: Kind,
    /// It stood elsewhere at that time.
    pub elsewhere: bool,
}

impl Tenure {
    fn cut(mut self, from: Epoch, until: Epoch) -> Option<Tenure> {
        self.from = self.from.max(from);
        self.until = self.until.min(until);
        (self.from < self.until).then_some(self)
    }
}

/// A directory over all its life, and before that what stood at `path`, where it is now.
///
/// # Errors
/// The store's.
pub fn directory(view: &View<'_>, id: Option<FileId>, path: &[Vec<u8>]) -> Result<Vec<Tenure>> {
    let Some(newest) = view.newest_epoch()? else {
        return Ok(Vec::new());
    };
    let end = newest.next();
    let whole = |id| Tenure {
        from: Epoch::NONE,
        until: end,
        id,
        kind: Kind::Dir,
        elsewhere: true,
    };
    if id == Some(FileId::ROOT) || path.is_empty() {
        return Ok(vec![whole(FileId::ROOT)]);
    }
    let mut all = Vec::new();
    let mut since = end;
    if let Some(id) = id
        && let Some(first) = view.first_version(id)?
    {
        since = first;
        all.extend(whole(id).cut(first, end));
    }
    let mut at_path = vec![whole(FileId::ROOT)];
    for name in path {
        at_path = below(view, &at_path, name)?;
    }
    let before = at_path
        .into_iter()
        .filter(|tenure| tenure.kind == Kind::Dir);
    let before = before.filter_map(|tenure| tenure.cut(Epoch::NONE, since));
    all.extend(before.map(|tenure| Tenure {
        elsewhere: true,
        ..tenure
    }));
    all.sort_unstable();
    Ok(all)
}

/// What `name` held in these directories.
///
/// # Errors
/// The store's.
pub fn below(view: &View<'_>, tenures: &[Tenure], name: &[u8]) -> Result<Vec<Tenure>> {
    let mut all = Vec::new();
    for above in tenures.iter().filter(|above| above.kind == Kind::Dir) {
        let mut versions = view.dirent_versions(above.id, name)?;
        versions.reverse();
        let mut was_free = true;
        for (place, (from, dirent)) in versions.iter().enumerate() {
            let Dirent::Present { id, kind } = *dirent else {
                was_free = true;
                continue;
            };
            let until = versions
                .get(place + 1)
                .map_or(Epoch::MAX, |(next, _)| *next);
            let tenure = Tenure {
                from: *from,
                until,
                id,
                kind,
                elsewhere: false,
            };
            let Some(here) = tenure.cut(above.from, above.until) else {
                was_free = false;
                continue;
            };
            if was_free && here.from == *from {
                all.extend(former(view, above.id, name, &here)?);
            }
            all.push(here);
            was_free = false;
        }
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

/// The past of what came by rename: what its former name held without being free in between, which
/// may have come there by rename as well.
fn former(view: &View<'_>, dir: FileId, name: &[u8], here: &Tenure) -> Result<Vec<Tenure>> {
    let mut all = Vec::new();
    let mut at = (dir, name.to_vec());
    let (mut id, mut since) = (here.id, here.from);
    while let Some((old_dir, old_name)) = came_from(view, (at.0, &at.1), id, since)? {
        let mut until = since;
        for (from, dirent) in view.dirent_versions(old_dir, &old_name)? {
            if from >= until {
                continue;
            }
            let Dirent::Present { id: other, kind } = dirent else {
                break;
            };
            if until == since && other != id {
                break;
            }
            all.push(Tenure {
                from,
                until,
                id: other,
                kind,
                elsewhere: true,
            });
            (until, id) = (from, other);
        }
        if until == since {
            break;
        }
        since = until;
        at = (old_dir, old_name);
    }
    Ok(all)
}

/// The name that the file had before it came to `name` in `from`; `None` if it is new, or has only
/// got a second name.
fn came_from(
    view: &View<'_>,
    (dir, name): (FileId, &[u8]),
    id: FileId,
    from: Epoch,
) -> Result<Option<(FileId, Vec<u8>)>> {
    let Some(before) = from.0.checked_sub(1).map(Epoch) else {
        return Ok(None);
    };
    let Some(was) = path::file(view, before, id)? else {
        return Ok(None);
    };
    let old = (was.inode.parent, was.inode.name);
    if (old.0, old.1.as_slice()) == (dir, name) {
        return Ok(None);
    }
    let kept = view.dirent_at(old.0, &old.1, from)?;
    let is_kept = matches!(kept, Some((_, Dirent::Present { id: still, .. })) if still == id);
    Ok((!is_kept).then_some(old))
}

/// Up to `limit` names that ever were in these directories, in bytewise order, beginning after
/// `after`.
///
/// # Errors
/// The store's.
pub fn list(
    view: &View<'_>,
    tenures: &[Tenure],
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<Vec<u8>>> {
    let mut names = BTreeSet::new();
    for tenure in tenures.iter().filter(|tenure| tenure.kind == Kind::Dir) {
        let time = (tenure.from, tenure.until);
        names.extend(view.names_between(tenure.id, time, after, limit)?);
        while names.len() > limit {
            names.pop_last();
        }
    }
    Ok(names.into_iter().collect())
}

/// A content that a name held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// From this epoch on.
    pub at: Epoch,
    pub time: Timestamp,
    pub found: Found,
    /// It was under another name then.
    pub elsewhere: bool,
}

/// What makes two versions different.
fn substance(inode: &Inode) -> (Kind, Content, u64, &[u8]) {
    (inode.kind, inode.content, inode.size, &inode.target)
}

/// The contents of files and symlinks that a name held, oldest first.
///
/// # Errors
/// The store's.
pub fn versions(view: &View<'_>, tenures: &[Tenure]) -> Result<Vec<Version>> {
    let mut all: Vec<(Epoch, Epoch, bool, Found)> = Vec::new();
    for tenure in tenures {
        if !matches!(tenure.kind, Kind::File | Kind::Symlink) {
            continue;
        }
        let last = Epoch(tenure.until.0.saturating_sub(1));
        let later = view.inode_versions_between(tenure.id, tenure.from, last)?;
        let mut until = tenure.until;
        for (at, version) in later {
            if let InodeVersion::Present(inode) = version {
                let found = Found {
                    id: tenure.id,
                    version: at,
                    inode,
                };
                all.push((at, until, tenure.elsewhere, found));
            }
            until = at;
        }
        if let Some(found) = path::file(view, tenure.from, tenure.id)? {
            all.push((tenure.from, until, tenure.elsewhere, found));
        }
    }
    all.sort_by_key(|(at, _, elsewhere, found)| (*at, found.id, *elsewhere));
    all.dedup_by_key(|(at, _, _, found)| (*at, found.id));
    let mut versions: Vec<Version> = Vec::new();
    for (at, until, elsewhere, found) in all {
        if let Some(last) = versions.last()
            && substance(&last.found.inode) == substance(&found.inode)
        {
            continue;
        }
        // What was in no kept state together is nobody's to see.
        if !view.is_kept_between(at, until)? {
            continue;
        }
        let Some(header) = view.header(at)? else {
            continue;
        };
        versions.push(Version {
            at,
            time: header.time,
            found,
            elsewhere,
        });
    }
    Ok(versions)
}
