//! What a state has that another, its base, had not: which names of which folders, and the list of
//! it all as text. It costs in proportion to what was changed between the two.
//!
//! A folder is shown for what changed in it. What is new at its place, by another file or another
//! name, is shown whole: whoever lays all that is shown over the base has the state, but for what
//! was taken away.

use super::diff::{self, Letter};
use super::{Found, History, Result, State, path};
use crate::format::record::{Dirent, EpochKind, Kind, Snapshot, SnapshotMode};
use crate::id::{Epoch, FileId};
use crate::name::git_quoted;
use crate::store::View;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Folders within each other that are looked through for whether something changed; deeper ones are
/// shown anyway.
const DEEP: usize = 100;

/// What a state is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Since {
    /// A snapshot with the one before it, what was found by its time with the state before it.
    Before,
    /// The last full snapshot.
    Full,
}

/// The base of a state that was found by the name of its snapshot, or by its time; `NONE` if there
/// is none, then all of it is new. `all`: what `state::snapshots` says.
///
/// # Errors
/// The store's.
pub fn base(
    view: &View<'_>,
    all: &[(String, Snapshot)],
    state: &State,
    by_name: bool,
    since: Since,
) -> Result<Epoch> {
    let named = state.snapshot.as_ref().filter(|_| by_name);
    let order = |snapshot: &Snapshot| (snapshot.epoch, snapshot.id);
    let own = named.map(|(_, snapshot)| order(snapshot));
    let is_before = |other: &Snapshot| match own {
        Some(own) => order(other) < own,
        None => other.epoch < state.epoch,
    };
    let mut before = all.iter().rev().map(|(_, other)| other);
    match since {
        Since::Before if by_name => {
            let found = before.find(|other| is_before(other));
            Ok(found.map_or(Epoch::NONE, |other| other.epoch))
        }
        Since::Before => Ok(view.listed_before(state.epoch)?.unwrap_or(Epoch::NONE)),
        Since::Full => {
            if let Some((_, snapshot)) = named
                && let Some(base) = snapshot.base.filter(|base| *base < state.epoch)
                && view.epoch(base)?.is_some()
            {
                return Ok(base);
            }
            let full = before.find(|other| other.mode == SnapshotMode::Full && is_before(other));
            if let Some(full) = full {
                return Ok(full.epoch);
            }
            // The first import, when nobody calls it `first` any more.
            let oldest = view.epochs(Epoch::NONE, state.epoch, 1)?;
            let import = oldest.first().filter(|(epoch, record, _)| {
                record.kind == EpochKind::Scan && *epoch < state.epoch
            });
            Ok(import.map_or(Epoch::NONE, |(epoch, _, _)| *epoch))
        }
    }
}

/// The folders in which something changed, with the names to look at.
#[derive(Debug, Default)]
pub struct Changed {
    names: BTreeMap<FileId, BTreeSet<Vec<u8>>>,
    /// Folders whose own names are in those above them.
    placed: BTreeSet<FileId>,
}

/// A name that a folder shows.
#[derive(Debug)]
pub struct Shown {
    pub found: Found,
    /// It is a folder, and all below it is new at its place.
    pub whole: bool,
}

impl Changed {
    fn of(view: &View<'_>, base: Epoch, to: Epoch) -> Result<Changed> {
        let mut changed = Changed::default();
        let touched = diff::touched(view, base, to)?;
        for (dir, name) in touched.names {
            changed.place(view, to, dir)?;
            changed.add(dir, name);
        }
        for id in touched.files {
            if id != FileId::ROOT
                && let Some(found) = path::file(view, to, id)?
            {
                changed.place(view, to, found.inode.parent)?;
                changed.add(found.inode.parent, found.inode.name);
            }
        }
        Ok(changed)
    }

    fn add(&mut self, dir: FileId, name: Vec<u8>) {
        self.names.entry(dir).or_default().insert(name);
    }

    /// A folder, and all above it, show that something changed there.
    fn place(&mut self, view: &View<'_>, to: Epoch, mut dir: FileId) -> Result<()> {
        while self.placed.insert(dir) {
            self.names.entry(dir).or_default();
            if dir == FileId::ROOT {
                break;
            }
            let Some(found) = path::file(view, to, dir)? else {
                break;
            };
            self.add(found.inode.parent, found.inode.name);
            dir = found.inode.parent;
        }
        Ok(())
    }

    /// Whether something in a folder, or further below, may have changed.
    pub fn within(&self, dir: FileId) -> bool {
        self.names.contains_key(&dir)
    }

    /// The names to look at in a folder, in bytewise order.
    pub fn names(&self, dir: FileId) -> impl Iterator<Item = &[u8]> {
        let names = self.names.get(&dir).into_iter().flatten();
        names.map(Vec::as_slice)
    }

    /// What `name` shows in the folder `dir`; `None`: nothing changed there, or it is gone.
    ///
    /// # Errors
    /// The store's.
    pub fn shown(
        &self,
        view: &View<'_>,
        (base, to): (Epoch, Epoch),
        dir: FileId,
        name: &[u8],
    ) -> Result<Option<Shown>> {
        self.shown_at(view, (base, to), (dir, name), 0)
    }

    fn shown_at(
        &self,
        view: &View<'_>,
        (base, to): (Epoch, Epoch),
        (dir, name): (FileId, &[u8]),
        depth: usize,
    ) -> Result<Option<Shown>> {
        let names = self.names.get(&dir);
        if !names.is_some_and(|names| names.contains(name)) {
            return Ok(None);
        }
        let Some(found) = path::child(view, to, dir, name)? else {
            return Ok(None);
        };
        let old = was(view, (base, to), (dir, name), &found)?;
        let is_dir = found.inode.kind == Kind::Dir;
        let whole = is_dir && old.is_none();
        let changed = match &old {
            None => true,
            Some(old) if Letter::between(&old.inode, &found.inode).is_some() => true,
            Some(old) if is_dir && old.inode.mtime != found.inode.mtime => true,
            Some(old) if is_dir && old.id == found.id => self.within(found.id),
            Some(_) => is_dir && self.shows(view, (base, to), found.id, depth + 1)?,
        };
        Ok(changed.then_some(Shown { found, whole }))
    }

    /// Whether a folder that came back has something in it that is not as it was.
    fn shows(
        &self,
        view: &View<'_>,
        states: (Epoch, Epoch),
        dir: FileId,
        depth: usize,
    ) -> Result<bool> {
        if depth > DEEP {
            return Ok(true);
        }
        for name in self.names(dir) {
            if self.shown_at(view, states, (dir, name), depth)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What stood in the base where something stands now, and can be told from it: itself; or, of what was
/// removed with its folder and came back, what was there before.
fn was(
    view: &View<'_>,
    (base, to): (Epoch, Epoch),
    (dir, name): (FileId, &[u8]),
    found: &Found,
) -> Result<Option<Found>> {
    let Some(before) = former(view, (base, to), dir)? else {
        return Ok(None);
    };
    let old = match view.dirent_at(before, name, base)? {
        Some((_, Dirent::Present { id, .. })) => path::file(view, base, id)?,
        _ => None,
    };
    let Some(old) = old else { return Ok(None) };
    if old.id == found.id {
        return Ok(Some(old));
    }
    let same_kind = old.inode.kind == found.inode.kind;
    Ok((same_kind && !stays(view, to, &old)?).then_some(old))
}

/// The folder that stood in the base where `dir` stands: itself, or one that is gone.
fn former(view: &View<'_>, (base, to): (Epoch, Epoch), dir: FileId) -> Result<Option<FileId>> {
    if path::file(view, base, dir)?.is_some() {
        return Ok(Some(dir));
    }
    let Some(now) = path::file(view, to, dir)? else {
        return Ok(None);
    };
    let Some(place) = path::place(view, to, &now)? else {
        return Ok(None);
    };
    let old = path::walk(view, base, place.split(|byte| *byte == b'/'))?;
    Ok(match old {
        Some(old) if old.inode.kind == Kind::Dir && !stays(view, to, &old)? => Some(old.id),
        _ => None,
    })
}

/// Whether a folder is somewhere else now: then what took its place is another one.
fn stays(view: &View<'_>, to: Epoch, old: &Found) -> Result<bool> {
    Ok(old.inode.kind == Kind::Dir && path::file(view, to, old.id)?.is_some())
}

impl History {
    /// What changed from one state to another.
    ///
    /// # Errors
    /// The store's.
    pub fn changed(&self, view: &View<'_>, base: Epoch, to: Epoch) -> Result<Arc<Changed>> {
        if let Some(known) = self.changed.lock().get(&(base, to)) {
            return Ok(known);
        }
        let changed = Arc::new(Changed::of(view, base, to)?);
        let names: usize = changed.names.values().map(BTreeSet::len).sum();
        let weight = 1 + changed.names.len() + names;
        self.changed.lock().put((base, to), changed.clone(), weight);
        Ok(changed)
    }

    /// The list of what changed below the folder `top`, from one state to another: a letter, a tab
    /// and a path from there on a line, of what was renamed the old path before the new one.
    ///
    /// # Errors
    /// The store's.
    pub fn list_of_changes(
        &self,
        view: &View<'_>,
        (base, to): (Epoch, Epoch),
        top: FileId,
    ) -> Result<Arc<[u8]>> {
        if let Some(known) = self.lists.lock().get(&(base, to, top)) {
            return Ok(known);
        }
        let place = |at| -> Result<Option<Vec<u8>>> {
            match path::file(view, at, top)? {
                Some(found) => path::place(view, at, &found),
                None => Ok(None),
            }
        };
        let (was, is) = (place(base)?, place(to)?);
        let mut text = String::new();
        for one in diff::since(view, base, to)? {
            let (old, new) = match one.letter {
                Letter::Deleted => (Some(one.path), None),
                Letter::Renamed => (one.from, Some(one.path)),
                _ => (None, Some(one.path)),
            };
            let old = old.as_deref().and_then(|path| inside(path, was.as_deref()));
            let new = new.as_deref().and_then(|path| inside(path, is.as_deref()));
            let line = match (old, new) {
                (Some(old), Some(new)) => format!("R\t{}\t{}\n", git_quoted(old), git_quoted(new)),
                (Some(old), None) => format!("D\t{}\n", git_quoted(old)),
                // It came from outside.
                (None, Some(new)) if one.letter == Letter::Renamed => {
                    format!("A\t{}\n", git_quoted(new))
                }
                (None, Some(new)) => format!("{}\t{}\n", one.letter.sign(), git_quoted(new)),
                (None, None) => continue,
            };
            text += &line;
        }
        let text: Arc<[u8]> = text.into_bytes().into();
        let weight = 1 + text.len();
        self.lists.lock().put((base, to, top), text.clone(), weight);
        Ok(text)
    }
}

/// The part of `path` below `top`; `.` for itself.
fn inside<'p>(path: &'p [u8], top: Option<&[u8]>) -> Option<&'p [u8]> {
    let rest = match top? {
        b"" => path,
        top => match path.strip_prefix(top)? {
            b"" => b"",
            rest => rest.strip_prefix(b"/")?,
        },
    };
    Some(if rest.is_empty() { b"." } else { rest })
}
