//! Names that ever were: each with the first and the last state that has it, under every path that
//! it had, since the folders above it may have been renamed. Reads all names of the store, in
//! pieces, and looks closer only at those that are asked for.

use super::Result;
use super::path;
use crate::format::record::{Dirent, InodeVersion, Kind};
use crate::id::{Epoch, FileId};
use crate::limits;
use crate::store::{Name, View};
use std::collections::HashMap;
use std::sync::Arc;

/// A path that was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    pub path: Vec<u8>,
    pub kind: Kind,
    /// The epoch in which it appeared; its state may have been dropped.
    pub first: Epoch,
    /// The newest kept state that has it.
    pub last: Epoch,
    /// Whether that is the newest of all.
    pub is_there: bool,
}

/// What is asked for.
pub trait Wanted {
    /// By the name alone: what is not wanted by it is passed over cheaply.
    fn name(&self, name: &[u8]) -> bool;
    /// By the path from the root of the tree.
    fn path(&self, path: &[u8]) -> bool;
}

/// Those of the next `limits::FIND_READ` names behind `after`, and the last of these; `None` at the
/// end.
///
/// # Errors
/// The store's.
pub fn page(
    view: &View<'_>,
    after: Option<&Name>,
    wanted: &dyn Wanted,
) -> Result<(Vec<Sighting>, Option<Name>)> {
    let Some(newest) = view.newest_epoch()? else {
        return Ok((Vec::new(), None));
    };
    let mut places = Places {
        view,
        runs: HashMap::new(),
    };
    let mut found = Vec::new();
    let names = view.names(after, limits::FIND_READ, &|name| wanted.name(name))?;
    for ((dir, name), versions) in names.wanted {
        let mut until = newest.next();
        let mut mine: Vec<Sighting> = Vec::new();
        // Newest first; each lasts until the one that is newer.
        for (since, version) in versions {
            if let Dirent::Present { kind, .. } = version
                && since < until
            {
                for stay in places.of(dir, since, until)? {
                    let path = path::join(&stay.path, &name);
                    if !wanted.path(&path) {
                        continue;
                    }
                    match mine.iter_mut().find(|one| one.path == path) {
                        Some(one) => one.first = stay.since,
                        None => mine.extend(sighting(view, path, kind, &stay, newest)?),
                    }
                }
            }
            until = since.min(until);
        }
        found.extend(mine);
    }
    Ok((found, names.next))
}

fn sighting(
    view: &View<'_>,
    path: Vec<u8>,
    kind: Kind,
    stay: &Stay,
    newest: Epoch,
) -> Result<Option<Sighting>> {
    // What a dropped state alone had is not to be had any more.
    let last = view.listed_before(stay.until)?;
    Ok(last
        .filter(|last| *last >= stay.since)
        .map(|last| Sighting {
            path,
            kind,
            first: stay.since,
            last,
            is_there: last == newest,
        }))
}

/// Where a directory was for a while.
#[derive(Clone, Debug)]
struct Stay {
    since: Epoch,
    /// Not in it any more.
    until: Epoch,
    path: Vec<u8>,
}

/// From an epoch on, a directory stood under this name, or nowhere.
type Run = (Epoch, Option<(FileId, Vec<u8>)>);

struct Places<'a, 'v> {
    view: &'a View<'v>,
    /// Of each directory, newest first.
    runs: HashMap<FileId, Arc<[Run]>>,
}

impl Places<'_, '_> {
    /// Where the directory was in [since, until), newest first. From below to above, without calling
    /// itself: a path may have thousands of folders.
    fn of(&mut self, dir: FileId, since: Epoch, until: Epoch) -> Result<Vec<Stay>> {
        let path = Vec::new();
        let mut stays = Vec::new();
        let mut open = vec![(dir, Stay { since, until, path }, 0)];
        while let Some((dir, stay, depth)) = open.pop() {
            if dir == FileId::ROOT {
                stays.push(stay);
                continue;
            }
            if depth > limits::DEPTH_MAX {
                continue;
            }
            let mut until = stay.until;
            for (from, place) in self.runs(dir)?.iter() {
                let since = (*from).max(stay.since);
                if let Some((parent, name)) = place
                    && since < until
                {
                    let path = match stay.path.as_slice() {
                        b"" => name.clone(),
                        below => path::join(name, below),
                    };
                    open.push((*parent, Stay { since, until, path }, depth + 1));
                }
                until = until.min(since);
                if *from <= stay.since {
                    break;
                }
            }
        }
        stays.sort_by_key(|stay| std::cmp::Reverse(stay.since));
        Ok(stays)
    }

    fn runs(&mut self, dir: FileId) -> Result<Arc<[Run]>> {
        if let Some(runs) = self.runs.get(&dir) {
            return Ok(Arc::clone(runs));
        }
        let mut runs: Vec<Run> = Vec::new();
        for (epoch, version) in self.view.inode_versions(dir)? {
            let place = match version {
                InodeVersion::Present(inode) => Some((inode.parent, inode.name)),
                InodeVersion::Gone => None,
            };
            match runs.last_mut() {
                Some((since, last)) if *last == place => *since = epoch,
                _ => runs.push((epoch, place)),
            }
        }
        let runs: Arc<[Run]> = runs.into();
        if self.runs.len() >= limits::PATHS_KNOWN_MAX {
            self.runs.clear();
        }
        self.runs.insert(dir, Arc::clone(&runs));
        Ok(runs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::past::{Past, directory};

    struct Ends(&'static str);

    impl Wanted for Ends {
        fn name(&self, name: &[u8]) -> bool {
            name.ends_with(self.0.as_bytes())
        }

        fn path(&self, _: &[u8]) -> bool {
            true
        }
    }

    fn told(past: &Past, end: &'static str) -> Vec<(String, u64, u64, bool)> {
        let view = past.store.view();
        let (found, next) = page(&view, None, &Ends(end)).expect("readable");
        assert!(next.is_none());
        let mut told: Vec<_> = found
            .into_iter()
            .map(|one| {
                let path = String::from_utf8_lossy(&one.path).into_owned();
                (path, one.first.0, one.last.0, one.is_there)
            })
            .collect();
        told.sort();
        told
    }

    #[test]
    fn a_name_is_found_under_every_path_that_it_had() {
        let mut past = Past::new();
        past.epoch("2026-11-20T10:00", |draft| {
            draft.root(directory());
            draft.put(2, 1, "src", directory());
            draft.put(3, 2, "deep", directory());
            draft.bytes(4, 3, "a.rs", b"a");
            draft.bytes(5, 1, "b.rs", b"b");
        });
        past.epoch("2026-11-20T10:01", |draft| {
            draft.unname(1, "src");
            draft.put(2, 1, "lib", directory());
            draft.gone(5, 1, "b.rs");
        });
        past.epoch("2026-11-20T10:02", |draft| {
            draft.unname(1, "lib");
            draft.put(2, 1, "core", directory());
            draft.bytes(6, 1, "b.rs", b"again");
        });
        past.epoch("2026-11-20T10:03", |draft| draft.gone(4, 3, "a.rs"));
        let path = |text: &str| text.to_owned();
        assert_eq!(
            told(&past, ".rs"),
            [
                (path("b.rs"), 1, 4, true),
                (path("core/deep/a.rs"), 3, 3, false),
                (path("lib/deep/a.rs"), 2, 2, false),
                (path("src/deep/a.rs"), 1, 1, false),
            ]
        );
        assert_eq!(told(&past, "deep").len(), 3);
        assert!(told(&past, ".py").is_empty());
    }
}
