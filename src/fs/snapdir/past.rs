//! `.history/PATH`: what a name ever held. A folder for each name; in it the versions of the files
//! and symlinks that the name was, and the names that ever were in the folders that it was. So
//! versions are files and names are folders, also where a name was both.
//!
//! A version is called by its time and the extension of the name: `2026-11-20T10-15-03.250Z.rs`.
//! The first epoch of a millisecond is named to the millisecond, others to the nanosecond, as in
//! `.checkpoints`. Where that name is taken (by another version of the same epoch, under a name
//! that came here by rename, or by a name in the folder) a `~` follows the `Z`, or more of them.
//!
//! Who may. A folder here stands for a directory at many instants, and the kernel keeps one
//! listing of it for all. So a class of users has its bits iff everybody in it had them at every
//! kept instant of every directory that it stands for: who lists a folder could have listed it
//! whenever it held any of its names, who goes through it could have gone through whenever it led
//! to what is below. What came from elsewhere by rename, and the top, also ask the directories that
//! were above them then. Hence a version can be shown with the mode, owner and ACL that it had.

use super::SnapDir;
use super::days::is_first;
use super::listing::{Emit, FIRST_COOKIE, Item};
use super::mask::{Right, kept_by_all};
use super::node::Node;
use super::top::Named;
use crate::format::record::Kind;
use crate::fs::live::LiveDir;
use crate::fs::{Answer, Attributes, Stop};
use crate::history::names::{self, Tenure, Version};
use crate::history::{Recent, path};
use crate::id::Epoch;
use crate::limits;
use crate::store::View;
use crate::time::folder::version_name;
use parking_lot::Mutex;
use std::sync::Arc;

/// A name from a live directory on.
pub(super) type Place<'a> = (u64, &'a [Box<[u8]>]);

/// Cookies of names have this bit, and their number in the listing; below are those of versions.
const NAME_COOKIE: u64 = 1 << 62;
/// Versions of one epoch that a listing can tell apart.
const SAME_EPOCH: u64 = 8;

/// A version and what it is called.
type Called = (Vec<u8>, Version);

/// Of a name, by the number of its node and the newest epoch then.
type Kept<T> = Mutex<Recent<(u128, Epoch), Arc<[T]>>>;

/// What was found out about names, as of an epoch: whoever lists a folder asks for each of them.
pub(super) struct LookedAt {
    /// Leaves both.
    tenures: Kept<Tenure>,
    versions: Kept<Called>,
}

impl LookedAt {
    pub(super) fn new() -> LookedAt {
        LookedAt {
            tenures: Mutex::new(Recent::new(limits::HISTORY_TENURES)),
            versions: Mutex::new(Recent::new(limits::HISTORY_VERSIONS)),
        }
    }
}

/// 128 bits of a hash: no two places that anybody looks at have the same.
fn key(live: &LiveDir, path: &[Box<[u8]>]) -> u128 {
    let mut hash = blake3::Hasher::new();
    hash.update(&live.id.map_or(0, |id| id.0).to_le_bytes());
    for name in &live.path {
        hash.update(name);
        hash.update(b"/");
    }
    for name in path {
        hash.update(name);
        hash.update(&[0]);
    }
    let bytes = hash.finalize();
    let first = bytes.as_bytes().first_chunk().copied();
    u128::from_le_bytes(first.expect("a hash has 32 bytes"))
}

impl SnapDir {
    pub(super) fn lookup_past(
        &self,
        view: &View<'_>,
        parent: u64,
        (host, path): Place<'_>,
        name: &[u8],
    ) -> Answer<Option<Named>> {
        if path.len() >= limits::HISTORY_DEPTH {
            return Err(Stop::Errno(libc::ENAMETOOLONG));
        }
        let below = inside(path, name);
        if !self.tenures(view, (host, &below))?.is_empty() {
            let node = Node::Past {
                parent,
                host,
                path: below,
            };
            return Ok(Some((node, None)));
        }
        if !name.first().is_some_and(u8::is_ascii_digit) {
            return Ok(None);
        }
        let versions = self.versions(view, (host, path))?;
        let found = versions.iter().find(|(called, _)| called == name);
        Ok(found.map(|(_, version)| (node_of(version), Some(version.found.clone()))))
    }

    /// The versions of a name, oldest first, then the names in it.
    pub(super) fn list_past(
        &self,
        view: &View<'_>,
        ino: u64,
        (host, path): Place<'_>,
        offset: u64,
        emit: Emit<'_>,
    ) -> Answer<()> {
        let mut rank = (Epoch::NONE, 0);
        for (called, version) in self.versions(view, (host, path))?.iter() {
            rank = match rank.0 == version.at {
                true => (version.at, (rank.1 + 1).min(SAME_EPOCH - 1)),
                false => (version.at, 0),
            };
            let number = version.at.0.saturating_mul(SAME_EPOCH) + rank.1;
            let cookie = FIRST_COOKIE + number.min(NAME_COOKIE / 2);
            if cookie <= offset {
                continue;
            }
            let item = Item {
                cookie,
                name: called,
                node: node_of(version),
                kind: version.found.inode.kind,
                found: Some(version.found.clone()),
            };
            if !emit(item)? {
                return Ok(());
            }
        }
        self.list_names_in(view, ino, (host, path), offset, emit)
    }

    /// The cookie of a name is its number; where a reply ended, the name is kept (`cursors.rs`).
    fn list_names_in(
        &self,
        view: &View<'_>,
        ino: u64,
        (host, path): Place<'_>,
        offset: u64,
        emit: Emit<'_>,
    ) -> Answer<()> {
        let tenures = self.tenures(view, (host, path))?;
        let mut count = offset.saturating_sub(NAME_COOKIE);
        let mut after = self.cursors.get(ino, NAME_COOKIE | count);
        let mut skip = match after {
            Some(_) => 0,
            None => count,
        };
        loop {
            let page = names::list(view, &tenures, after.as_deref(), limits::DIR_PAGE)?;
            for name in &page {
                if skip > 0 {
                    skip -= 1;
                } else {
                    let node = Node::Past {
                        parent: ino,
                        host,
                        path: inside(path, name),
                    };
                    let item = Item {
                        cookie: NAME_COOKIE | (count + 1),
                        name,
                        node,
                        kind: Kind::Dir,
                        found: None,
                    };
                    if !emit(item)? {
                        if let Some(last) = &after {
                            self.cursors.put(ino, NAME_COOKIE | count, last);
                        }
                        return Ok(());
                    }
                    count += 1;
                }
                after = Some(name.as_slice().into());
            }
            if page.len() < limits::DIR_PAGE {
                return Ok(());
            }
        }
    }

    /// What a folder of `.history` shows of itself.
    pub(super) fn past_attributes(&self, view: &View<'_>, place: Place<'_>) -> Answer<Attributes> {
        let mut attributes = self.made_up(self.kept_changed(view)?);
        attributes.mode = 0o555;
        let tenures = self.tenures(view, place)?;
        let Some(newest) = tenures.iter().max_by_key(|tenure| tenure.until) else {
            return Ok(attributes);
        };
        let last = Epoch(newest.until.0.saturating_sub(1));
        if let Some(found) = path::file(view, last, newest.id)? {
            attributes.uid = found.inode.uid;
            attributes.gid = found.inode.gid;
        }
        let owner = (attributes.uid, attributes.gid);
        let mut kept = 0o777;
        for tenure in tenures.iter() {
            let time = (tenure.from, tenure.until);
            if tenure.kind == Kind::Dir {
                let course = self.history.course(view, tenure.id)?;
                for (_, _, stretch) in course.between(time.0, time.1) {
                    let Some(rights) = &stretch.rights else {
                        continue;
                    };
                    // Each class needs both: the bits of the classes are masks of three.
                    let read = kept_by_all(owner, rights, Right::Read) & 0o444;
                    let search = kept_by_all(owner, rights, Right::Search) & 0o111;
                    kept &= read | search;
                }
            }
            if tenure.elsewhere {
                let whole = self.history.above(view, tenure.id, time, &mut |rights| {
                    kept &= kept_by_all(owner, rights, Right::Search);
                })?;
                if !whole {
                    kept = 0;
                }
            }
        }
        attributes.mode &= kept;
        Ok(attributes)
    }

    /// What a name held, part by part from the live directory down.
    fn tenures(&self, view: &View<'_>, (host, path): Place<'_>) -> Answer<Arc<[Tenure]>> {
        let newest = view.newest_epoch()?.unwrap_or(Epoch::NONE);
        let live = self.host.describe(host)?;
        let place = |length: usize| (key(&live, &path[..length]), newest);
        let keep = |length: usize, tenures: &Arc<[Tenure]>| {
            let mut kept = self.looked_at.tenures.lock();
            kept.put(place(length), tenures.clone(), 1 + tenures.len());
        };
        let nearest = (0..=path.len()).rev().find_map(|length| {
            let tenures = self.looked_at.tenures.lock().get(&place(length))?;
            Some((length, tenures))
        });
        let (mut length, mut tenures) = match nearest {
            Some(nearest) => nearest,
            None => {
                let found = names::directory(view, live.id, &live.path)?.into();
                keep(0, &found);
                (0, found)
            }
        };
        while length < path.len() {
            tenures = names::below(view, &tenures, &path[length])?.into();
            length += 1;
            keep(length, &tenures);
        }
        Ok(tenures)
    }

    /// The versions of a name with what they are called.
    fn versions(&self, view: &View<'_>, place: Place<'_>) -> Answer<Arc<[Called]>> {
        let newest = view.newest_epoch()?.unwrap_or(Epoch::NONE);
        let live = self.host.describe(place.0)?;
        let key = (key(&live, place.1), newest);
        if let Some(known) = self.looked_at.versions.lock().get(&key) {
            return Ok(known);
        }
        let tenures = self.tenures(view, place)?;
        let was_dir = tenures.iter().any(|tenure| tenure.kind == Kind::Dir);
        let extension = extension(place.1.last().map_or(&[], |name| name));
        let mut called: Vec<Called> = Vec::new();
        let mut before: Option<(Epoch, usize)> = None;
        for version in names::versions(view, &tenures)? {
            let first = is_first(view, version.at, version.time)?;
            let time = version_name(version.time, first);
            let mut tildes = match before {
                Some((at, tildes)) if at == version.at => tildes + 1,
                _ => 0,
            };
            let mut name = name_of(&time, tildes, extension);
            while was_dir && !names::below(view, &tenures, &name)?.is_empty() {
                tildes += 1;
                name = name_of(&time, tildes, extension);
            }
            before = Some((version.at, tildes));
            called.push((name, version));
        }
        let called: Arc<[Called]> = called.into();
        let mut kept = self.looked_at.versions.lock();
        kept.put(key, called.clone(), 1 + called.len());
        Ok(called)
    }
}

fn node_of(version: &Version) -> Node {
    Node::Version {
        id: version.found.id,
        version: version.found.version,
        at: version.at,
    }
}

fn inside(path: &[Box<[u8]>], name: &[u8]) -> Arc<[Box<[u8]>]> {
    let name: Box<[u8]> = name.into();
    path.iter().cloned().chain([name]).collect()
}

fn name_of(time: &str, tildes: usize, extension: &[u8]) -> Vec<u8> {
    let mut name = time.as_bytes().to_vec();
    name.extend(std::iter::repeat_n(b'~', tildes));
    name.extend_from_slice(extension);
    name
}

/// What follows the last dot, with the dot; nothing of a name that begins with its only dot, or
/// has a long one.
fn extension(name: &[u8]) -> &[u8] {
    let dot = name.iter().rposition(|byte| *byte == b'.');
    match dot {
        Some(dot) if dot > 0 && name.len() - dot <= limits::EXTENSION_MAX => &name[dot..],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions() {
        for (name, expected) in [
            ("main.rs", ".rs"),
            ("a.tar.gz", ".gz"),
            ("Makefile", ""),
            (".bashrc", ""),
            (".a.b", ".b"),
            ("dot.", "."),
            ("", ""),
        ] {
            assert_eq!(extension(name.as_bytes()), expected.as_bytes(), "{name}");
        }
        let long = format!("a.{}", "x".repeat(limits::EXTENSION_MAX));
        assert_eq!(extension(long.as_bytes()), b"");
    }
}
