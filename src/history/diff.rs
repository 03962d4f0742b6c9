//! What differs between two states, by name. Only what was changed between them is looked at: the
//! epochs' own lists say which names and files that may be, and each is then compared at both ends.
//!
//! 1. A name that holds another file of the same kind is modified, not deleted and added: programs
//!    replace a file by renaming a new one over it.
//!    So is what stands in a folder that was removed and made again: a path that leads to the same as
//!    before is no difference, whatever the number of the file.
//! 2. A rename is a name that is gone and a name that is new of one file. What stands below a
//!    directory that was renamed is not listed for that; of a directory that took its place all is new.
//! 3. The result is in bytewise order of the paths.

use super::{Found, Result, path};
use crate::format::record::{Change, Inode, Kind};
use crate::id::{Epoch, FileId};
use crate::limits;
use crate::pattern::Matcher;
use crate::store::View;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Letter {
    /// First of those of one path: what else differs comes behind it.
    Renamed,
    Added,
    /// Content: bytes, the target of a symlink, the number of a device.
    Modified,
    Deleted,
    /// A file became a directory, a directory a link ...
    Type,
    /// Mode, owner, extended attributes, of files also the modification time.
    Attributes,
}

impl Letter {
    /// How two versions differ; `None` if a user would call them equal: a directory's size and time
    /// follow its names.
    pub fn between(was: &Inode, is: &Inode) -> Option<Letter> {
        let is_dir = was.kind == Kind::Dir;
        if was.kind != is.kind {
            Some(Letter::Type)
        } else if !is_dir && Letter::is_other_content(was, is) {
            Some(Letter::Modified)
        } else if (was.mode, was.uid, was.gid, &was.xattrs) != (is.mode, is.uid, is.gid, &is.xattrs)
            || (!is_dir && was.mtime != is.mtime)
        {
            Some(Letter::Attributes)
        } else {
            None
        }
    }

    /// Of content that was left out of one of them on purpose the size and time tell.
    fn is_other_content(was: &Inode, is: &Inode) -> bool {
        let same_kind = (was.size, &was.target, was.rdev) == (is.size, &is.target, is.rdev);
        let same_bytes = match was.is_left_out() != is.is_left_out() {
            true => was.mtime == is.mtime,
            false => was.content == is.content,
        };
        !(same_kind && same_bytes)
    }

    /// As git writes it.
    pub fn sign(self) -> char {
        match self {
            Letter::Added => 'A',
            Letter::Modified => 'M',
            Letter::Deleted => 'D',
            Letter::Renamed => 'R',
            Letter::Type => 'T',
            Letter::Attributes => 'm',
        }
    }
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// From the root of the tree; of a deleted one as it was.
    pub path: Vec<u8>,
    /// The file that stands there, or stood.
    pub file: FileId,
    /// The directory of the name.
    pub dir: FileId,
    pub letter: Letter,
    /// Of a renamed one.
    pub from: Option<Vec<u8>>,
    pub kind: Kind,
    /// Bytes of a regular file before and after.
    pub old_size: Option<u64>,
    pub new_size: Option<u64>,
}

/// All differences from the state `from` to the state `to`, whichever is older.
///
/// # Errors
/// The store's.
pub fn between(view: &View<'_>, from: Epoch, to: Epoch) -> Result<Vec<Difference>> {
    let mut found = all_between(view, from, to)?;
    leave_out(view, to, Letter::Deleted, &mut found)?;
    leave_out(view, from, Letter::Added, &mut found)?;
    Ok(found)
}

/// The same for who knows only the state `from`: what is there again, and was left out, is new to him.
///
/// # Errors
/// The store's.
pub fn since(view: &View<'_>, from: Epoch, to: Epoch) -> Result<Vec<Difference>> {
    let mut found = all_between(view, from, to)?;
    leave_out(view, to, Letter::Deleted, &mut found)?;
    Ok(found)
}

fn all_between(view: &View<'_>, from: Epoch, to: Epoch) -> Result<Vec<Difference>> {
    let mut work = Work {
        view,
        from,
        to,
        places: HashMap::new(),
        found: Vec::new(),
    };
    let touched = touched(view, from.min(to), from.max(to))?;
    let (mut removed, mut added) = work.names(touched.names)?;
    // What was removed with its folder, and stands there again, is compared with itself.
    let mut back = Vec::new();
    for (path, new) in std::mem::take(&mut added) {
        match removed.get(&path) {
            Some(old) if !work.moved_away(old, &new)? => back.push((path, new)),
            _ => added.push((path, new)),
        }
    }
    for (path, new) in back {
        if let Some(old) = removed.remove(&path) {
            work.compare(path, &old, &new)?;
        }
    }
    let mut removed_by_id: BTreeMap<FileId, Vec<(Vec<u8>, Found)>> = BTreeMap::new();
    for (path, old) in removed {
        let names = removed_by_id.entry(old.id).or_default();
        names.push((path, old));
    }
    let mut renamed = BTreeSet::new();
    for (path, new) in added {
        match removed_by_id.get_mut(&new.id).and_then(Vec::pop) {
            Some((was, old)) => {
                renamed.insert(new.id);
                work.push(path.clone(), Letter::Renamed, Some(was), Some(&old), &new);
                work.compare(path, &old, &new)?;
            }
            None => work.push(path, Letter::Added, None, None, &new),
        }
    }
    for (path, old) in removed_by_id.into_values().flatten() {
        let kind = old.inode.kind;
        work.found.push(Difference {
            path,
            file: old.id,
            dir: old.inode.parent,
            letter: Letter::Deleted,
            from: None,
            kind,
            old_size: size(&old),
            new_size: None,
        });
    }
    for id in touched.files.difference(&renamed) {
        let old = path::file(view, from, *id)?;
        let new = path::file(view, to, *id)?;
        if let (Some(old), Some(new)) = (old, new)
            && let Some(path) = work.place_of(&new)?
            && path::walk(view, from, path.split(|byte| *byte == b'/'))?
                .is_none_or(|was| was.id == new.id || path.is_empty())
        {
            work.compare(path, &old, &new)?;
        }
    }
    let mut found = work.found;
    found.sort_by(|a, b| (&a.path, a.letter).cmp(&(&b.path, b.letter)));
    found.dedup();
    Ok(found)
}

/// What the state `at` does not have because it was left out there is no difference: nobody knows.
fn leave_out(
    view: &View<'_>,
    at: Epoch,
    letter: Letter,
    found: &mut Vec<Difference>,
) -> Result<()> {
    let mut without = LeftOut::of(view, at)?;
    let mut result = Ok(());
    found.retain(|one| {
        one.letter != letter
            || match without.has(view, &one.path, one.kind) {
                Ok(left_out) => !left_out,
                Err(error) => {
                    result = Err(error);
                    true
                }
            }
    });
    result
}

/// What states leave out.
#[derive(Default)]
pub(super) struct AllLeftOut(HashMap<Epoch, LeftOut>);

impl AllLeftOut {
    /// Whether a path is not in a state because it is left out there.
    pub(super) fn has(
        &mut self,
        view: &View<'_>,
        at: Epoch,
        path: &[u8],
        kind: Kind,
    ) -> Result<bool> {
        let state = match self.0.entry(at) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(LeftOut::of(view, at)?),
        };
        state.has(view, path, kind)
    }
}

/// What a state leaves out.
struct LeftOut {
    at: Epoch,
    rules: Matcher,
    /// Folders without their names, as far as they were asked for.
    folders: HashMap<Vec<u8>, bool>,
}

impl LeftOut {
    fn of(view: &View<'_>, at: Epoch) -> Result<LeftOut> {
        let rules = Matcher::new(view.rules_at(at)?).unwrap_or_default();
        Ok(LeftOut {
            at,
            rules,
            folders: HashMap::new(),
        })
    }

    fn has(&mut self, view: &View<'_>, path: &[u8], kind: Kind) -> Result<bool> {
        if self.rules.is_empty() {
            return Ok(false);
        }
        if kind != Kind::Dir && self.rules.pattern_for(path, false).is_some() {
            return Ok(true);
        }
        for (end, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            let folder = &path[..end];
            let known = self.folders.get(folder).copied();
            let hollow = match known {
                Some(hollow) => hollow,
                None => {
                    let found = path::walk(view, self.at, folder.split(|byte| *byte == b'/'))?;
                    let hollow = found.is_some_and(|found| found.inode.is_left_out());
                    self.folders.insert(folder.to_vec(), hollow);
                    hollow
                }
            };
            if hollow {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What may differ.
#[derive(Default)]
pub(super) struct Touched {
    pub names: BTreeSet<(FileId, Vec<u8>)>,
    pub files: BTreeSet<FileId>,
}

pub(super) fn touched(view: &View<'_>, after: Epoch, upto: Epoch) -> Result<Touched> {
    let mut touched = Touched::default();
    let mut from = after.next();
    loop {
        let epochs = view.epochs(from, upto, limits::DIR_PAGE)?;
        for (epoch, _, _) in &epochs {
            for (id, change) in view.changes(*epoch)? {
                match change {
                    Change::Inode { .. } => {
                        touched.files.insert(id);
                    }
                    Change::Dirent { name, .. } => {
                        touched.names.insert((id, name));
                    }
                }
            }
        }
        match epochs.last() {
            Some((last, _, _)) if epochs.len() == limits::DIR_PAGE => from = last.next(),
            _ => return Ok(touched),
        }
    }
}

/// A directory in a state, and where it stood there, if it did.
type Places = HashMap<(FileId, Epoch), Option<Vec<u8>>>;

struct Work<'a> {
    view: &'a View<'a>,
    from: Epoch,
    to: Epoch,
    places: Places,
    found: Vec<Difference>,
}

/// What went, by its path, and what came.
type Names = (BTreeMap<Vec<u8>, Found>, Vec<(Vec<u8>, Found)>);

impl Work<'_> {
    /// Compares names that lead to something in both states, and says which only do in one.
    fn names(&mut self, touched: BTreeSet<(FileId, Vec<u8>)>) -> Result<Names> {
        let (mut removed, mut added) = (BTreeMap::new(), Vec::new());
        for (dir, name) in touched {
            match (self.before(dir, &name)?, self.after(dir, &name)?) {
                (Some((_, old)), Some((_, new))) if old.id == new.id => {}
                (Some((was, old)), Some((path, new))) if self.moved_away(&old, &new)? => {
                    removed.insert(was, old);
                    added.push((path, new));
                }
                (Some((_, old)), Some((path, new))) => self.compare(path, &old, &new)?,
                (Some((path, old)), None) => {
                    removed.insert(path, old);
                }
                (None, Some(new)) => added.push(new),
                (None, None) => {}
            }
        }
        Ok((removed, added))
    }

    /// Whether a folder that has another one in its place stands elsewhere now, with all that is in it.
    fn moved_away(&self, old: &Found, new: &Found) -> Result<bool> {
        let both = old.inode.kind == Kind::Dir && new.inode.kind == Kind::Dir;
        Ok(both && old.id != new.id && path::file(self.view, self.to, old.id)?.is_some())
    }

    fn before(&mut self, dir: FileId, name: &[u8]) -> Result<Option<(Vec<u8>, Found)>> {
        self.named(self.from, dir, name)
    }

    fn after(&mut self, dir: FileId, name: &[u8]) -> Result<Option<(Vec<u8>, Found)>> {
        self.named(self.to, dir, name)
    }

    fn named(&mut self, at: Epoch, dir: FileId, name: &[u8]) -> Result<Option<(Vec<u8>, Found)>> {
        let Some(found) = path::child(self.view, at, dir, name)? else {
            return Ok(None);
        };
        let above = self.place(at, dir)?;
        Ok(above.map(|above| (path::join(&above, name), found)))
    }

    /// Where the directory `dir` stood in a state.
    fn place(&mut self, at: Epoch, dir: FileId) -> Result<Option<Vec<u8>>> {
        if let Some(known) = self.places.get(&(dir, at)) {
            return Ok(known.clone());
        }
        let found = path::file(self.view, at, dir)?;
        let place = match found {
            Some(found) => path::place(self.view, at, &found)?,
            None => None,
        };
        self.places.insert((dir, at), place.clone());
        Ok(place)
    }

    fn place_of(&mut self, new: &Found) -> Result<Option<Vec<u8>>> {
        if new.id == FileId::ROOT {
            return Ok(Some(Vec::new()));
        }
        let above = self.place(self.to, new.inode.parent)?;
        Ok(above.map(|above| path::join(&above, &new.inode.name)))
    }

    fn push(
        &mut self,
        path: Vec<u8>,
        letter: Letter,
        from: Option<Vec<u8>>,
        old: Option<&Found>,
        new: &Found,
    ) {
        self.found.push(Difference {
            path,
            file: new.id,
            dir: new.inode.parent,
            letter,
            from,
            kind: new.inode.kind,
            old_size: old.and_then(size),
            new_size: size(new),
        });
    }

    fn compare(&mut self, path: Vec<u8>, old: &Found, new: &Found) -> Result<()> {
        let Some(letter) = Letter::between(&old.inode, &new.inode) else {
            return Ok(());
        };
        self.push(path, letter, None, Some(old), new);
        Ok(())
    }
}

fn size(found: &Found) -> Option<u64> {
    (found.inode.kind == Kind::File).then_some(found.inode.size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::past::{Past, directory};

    fn lines(past: &Past, from: Epoch, to: Epoch) -> Vec<String> {
        let found = between(&past.store.view(), from, to).expect("readable");
        let line = |one: &Difference| {
            let letter = match one.letter {
                Letter::Added => 'A',
                Letter::Modified => 'M',
                Letter::Deleted => 'D',
                Letter::Renamed => 'R',
                Letter::Type => 'T',
                Letter::Attributes => 'm',
            };
            let path = String::from_utf8_lossy(&one.path).into_owned();
            match &one.from {
                Some(from) => format!("{letter} {} {path}", String::from_utf8_lossy(from)),
                None => format!("{letter} {path}"),
            }
        };
        found.iter().map(line).collect()
    }

    #[test]
    fn names_say_what_happened_in_both_directions() {
        let mut past = Past::new();
        let first = past.epoch("2026-11-20T10:00", |draft| {
            draft.root(directory());
            draft.put(2, 1, "dir", directory());
            draft.bytes(3, 2, "inside", b"inside");
            draft.bytes(4, 1, "saved", b"old");
            draft.bytes(5, 1, "gone", b"gone");
            draft.bytes(6, 1, "moved", b"moved");
            draft.bytes(7, 1, "other", b"other");
            draft.bytes(8, 1, "same", b"same");
        });
        let _between = past.epoch("2026-11-20T10:01", |draft| {
            // Made and gone again: in neither.
            draft.bytes(20, 1, "swap", b"swap");
            draft.unname(1, "dir");
            draft.put(2, 1, "folder", directory());
        });
        let last = past.epoch("2026-11-20T10:02", |draft| {
            draft.gone(20, 1, "swap");
            // An editor: a new file under the old name.
            draft.bytes(9, 1, "saved", b"new");
            draft.gone(5, 1, "gone");
            draft.unname(1, "moved");
            draft.bytes(6, 2, "moved here", b"moved");
            draft.put(10, 1, "other", directory());
            draft.bytes(3, 2, "inside", b"changed");
            draft.bytes(11, 10, "new", b"new");
            let mut touched = crate::history::past::file(
                crate::format::record::Content::Chunk(draft.chunk(b"same")),
                4,
            );
            touched.mode = 0o600;
            draft.put(8, 1, "same", touched);
        });
        assert_eq!(
            lines(&past, first, last),
            [
                "R dir folder",
                "M folder/inside",
                "R moved folder/moved here",
                "D gone",
                "T other",
                "A other/new",
                "m same",
                "M saved",
            ]
        );
        assert_eq!(
            lines(&past, last, first),
            [
                "R folder dir",
                "M dir/inside",
                "A gone",
                "R folder/moved here moved",
                "T other",
                "D other/new",
                "m same",
                "M saved",
            ]
        );
        assert!(lines(&past, last, last).is_empty());
    }

    /// `src` with a folder in it, as it is made again after it was removed.
    fn source(draft: &mut crate::history::past::Draft<'_>, id: u64, names: &[(&str, &[u8])]) {
        draft.put(id, 1, "src", directory());
        draft.put(id + 1, id, "deep", directory());
        for (place, (name, bytes)) in (id + 2..).zip(names) {
            draft.bytes(place, id + 1, name, bytes);
        }
    }

    #[test]
    fn what_is_removed_and_comes_back_is_no_difference() {
        let mut past = Past::new();
        let first = past.epoch("2026-11-20T10:00", |draft| {
            draft.root(directory());
            source(draft, 10, &[("a", b"a"), ("b", b"b"), ("c", b"c")]);
        });
        let gone = past.epoch("2026-11-20T10:01", |draft| {
            for (id, name) in [(12, "a"), (13, "b"), (14, "c")] {
                draft.gone(id, 11, name);
            }
            draft.gone(11, 10, "deep");
            draft.gone(10, 1, "src");
        });
        let same = past.epoch("2026-11-20T10:02", |draft| {
            source(draft, 20, &[("a", b"a"), ("b", b"b"), ("c", b"c")]);
        });
        let other = past.epoch("2026-11-20T10:03", |draft| {
            draft.bytes(22, 21, "a", b"another");
            draft.gone(24, 21, "c");
        });
        assert_eq!(lines(&past, first, gone).len(), 5);
        assert_eq!(lines(&past, first, same), [""; 0]);
        assert_eq!(lines(&past, same, first), [""; 0]);
        let changed = ["M src/deep/a", "D src/deep/c"];
        assert_eq!(lines(&past, first, other), changed);
        assert_eq!(lines(&past, other, first), ["M src/deep/a", "A src/deep/c"]);
    }

    #[test]
    fn a_folder_that_took_the_place_of_another_is_not_the_same() {
        let mut past = Past::new();
        let first = past.epoch("2026-11-20T10:00", |draft| {
            draft.root(directory());
            draft.put(2, 1, "src", directory());
            draft.bytes(3, 2, "a", b"a");
            draft.put(4, 1, "lib", directory());
            draft.bytes(5, 4, "b", b"b");
        });
        let last = past.epoch("2026-11-20T10:01", |draft| {
            draft.unname(1, "src");
            draft.put(2, 1, "old", directory());
            draft.put(6, 1, "src", directory());
            draft.bytes(7, 6, "c", b"c");
        });
        assert_eq!(lines(&past, first, last), ["R src old", "A src", "A src/c"]);
        let swapped = past.epoch("2026-11-20T10:02", |draft| {
            draft.put(4, 1, "old", directory());
            draft.put(2, 1, "lib", directory());
        });
        assert_eq!(lines(&past, last, swapped), ["R old lib", "R lib old"]);
    }
}
