//! What it came to: of names and files that were touched, which are different after than before.
//! What was made and removed in between does not show; a file that only has another name does, as
//! renamed.

use super::diff::{AllLeftOut, Letter};
use super::path;
use super::{Result, doings};
use crate::format::record::{Dirent, Kind};
use crate::id::{Epoch, FileId};
use crate::limits;
use crate::store::{Name, View};
use doings::{Span, Touched};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// One path that is different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Net {
    pub letter: Letter,
    /// From the root of the tree: where it is now, or would be.
    pub path: Vec<u8>,
    /// Where it was before.
    pub past: Vec<u8>,
    /// The name that leads elsewhere than before; `None` if only the file changed.
    pub name: Option<Name>,
    /// Of what was renamed: where it was.
    pub from: Option<Vec<u8>>,
    /// The state before the first touch.
    pub before: Epoch,
    /// The file that stood there before, and the one after.
    pub old: Option<FileId>,
    pub new: Option<FileId>,
    pub kind: Kind,
    pub span: Span,
}

/// Before the epoch in which something was touched first.
fn before(span: Span) -> Epoch {
    Epoch(span.first.0.saturating_sub(1))
}

/// The differences that a doing made, in bytewise order of their paths.
///
/// # Errors
/// The store's.
pub fn of(view: &View<'_>, touched: &Touched) -> Result<Vec<Net>> {
    let mut paths = Paths {
        view,
        newest: view.newest_epoch()?.unwrap_or_default(),
        known: HashMap::new(),
    };
    let mut names = Names::default();
    for (name, span) in &touched.names {
        names.add(view, name, *span)?;
    }
    let mut nets = Vec::new();
    names.renamed_and_moved(&mut paths, &mut nets)?;
    for (id, span) in &touched.files {
        if names.settled.contains(id) {
            continue;
        }
        if let Some(net) = file(&mut paths, *id, *span)? {
            nets.push(net);
        }
    }
    leave_out(view, &mut nets)?;
    nets.sort_by(|a, b| (&a.path, a.letter).cmp(&(&b.path, b.letter)));
    Ok(nets)
}

/// What came to be left out was not deleted, and what is not any more was not made: nobody did that.
fn leave_out(view: &View<'_>, nets: &mut Vec<Net>) -> Result<()> {
    if !view.has_rules()? {
        return Ok(());
    }
    let mut left_out = AllLeftOut::default();
    let mut result = Ok(());
    nets.retain(|net| {
        let without = match net.letter {
            Letter::Added => net.before,
            Letter::Deleted => net.span.last,
            _ => return true,
        };
        match left_out.has(view, without, &net.path, net.kind) {
            Ok(left_out) => !left_out,
            Err(error) => {
                result = Err(error);
                true
            }
        }
    });
    result
}

/// A file that kept its names.
fn file(paths: &mut Paths<'_, '_>, id: FileId, span: Span) -> Result<Option<Net>> {
    let view = paths.view;
    let (old, new) = (
        path::file(view, before(span), id)?,
        path::file(view, span.last, id)?,
    );
    let (Some(old), Some(new)) = (old, new) else {
        return Ok(None);
    };
    let (old, new) = (old.inode, new.inode);
    let Some(letter) = Letter::between(&old, &new) else {
        return Ok(None);
    };
    let Some(path) = paths.now(new.parent, &new.name, span, id)? else {
        return Ok(None);
    };
    let past = paths.of(old.parent, &old.name, before(span), id)?;
    Ok(Some(Net {
        letter,
        past: past.unwrap_or_else(|| path.clone()),
        path,
        name: None,
        from: None,
        before: before(span),
        old: Some(id),
        new: Some(id),
        kind: new.kind,
        span,
    }))
}

fn named(view: &View<'_>, (directory, name): &Name, at: Epoch) -> Result<Option<(FileId, Kind)>> {
    Ok(match view.dirent_at(*directory, name, at)? {
        Some((_, Dirent::Present { id, kind })) => Some((id, kind)),
        _ => None,
    })
}

/// A name that leads elsewhere than before.
struct Moved {
    name: Name,
    span: Span,
    old: Option<(FileId, Kind)>,
    new: Option<(FileId, Kind)>,
}

#[derive(Default)]
struct Names {
    moved: Vec<Moved>,
    /// Files that lost a name, and the place in `moved`.
    lost: BTreeMap<FileId, usize>,
    /// Files whose names tell all that there is to tell.
    settled: BTreeSet<FileId>,
}

impl Names {
    fn add(&mut self, view: &View<'_>, name: &Name, span: Span) -> Result<()> {
        let old = named(view, name, before(span))?;
        let new = named(view, name, span.last)?;
        if old.map(|(id, _)| id) == new.map(|(id, _)| id) {
            return Ok(());
        }
        if let Some((id, _)) = old {
            self.lost.insert(id, self.moved.len());
        }
        self.moved.push(Moved {
            name: name.clone(),
            span,
            old,
            new,
        });
        Ok(())
    }

    fn renamed_and_moved(&mut self, paths: &mut Paths<'_, '_>, nets: &mut Vec<Net>) -> Result<()> {
        // A file that lost one name and got another one was renamed.
        let mut from = HashMap::new();
        for (place, moved) in self.moved.iter().enumerate() {
            let Some((id, _)) = moved.new else { continue };
            if let Some(old) = self.lost.get(&id) {
                from.insert(place, *old);
            }
        }
        let gone: BTreeSet<usize> = from.values().copied().collect();
        for (place, moved) in self.moved.iter().enumerate() {
            let origin = from.get(&place).map(|place| &self.moved[*place]);
            let letter = match (moved.old, moved.new) {
                (_, Some(_)) if origin.is_some() => Letter::Renamed,
                (None, Some(_)) => Letter::Added,
                (Some((_, old)), Some((_, new))) if old != new => Letter::Type,
                (Some(_), Some(_)) => Letter::Modified,
                // Its new name tells it.
                (Some(_), None) if gone.contains(&place) => continue,
                (Some(_), None) => Letter::Deleted,
                (None, None) => continue,
            };
            let Some((id, kind)) = moved.new.or(moved.old) else {
                continue;
            };
            let (directory, name) = &moved.name;
            let Some(path) = paths.now(*directory, name, moved.span, id)? else {
                continue;
            };
            let past = paths.of(*directory, name, before(moved.span), id)?;
            let from = match origin {
                Some(origin) => {
                    let (directory, name) = &origin.name;
                    paths.of(*directory, name, before(origin.span), id)?
                }
                None => None,
            };
            if letter != Letter::Renamed {
                self.settled.insert(id);
            }
            nets.push(Net {
                letter,
                past: past.unwrap_or_else(|| path.clone()),
                path,
                name: Some(moved.name.clone()),
                from,
                before: before(moved.span),
                old: moved.old.map(|(id, _)| id),
                new: moved.new.map(|(id, _)| id),
                kind,
                span: moved.span,
            });
        }
        Ok(())
    }
}

/// From a directory's id to its path in a state; each is looked up once.
struct Paths<'a, 'v> {
    view: &'a View<'v>,
    newest: Epoch,
    known: HashMap<(FileId, Epoch), Option<Vec<u8>>>,
}

impl Paths<'_, '_> {
    /// The path of a name; `None` if its directory can't be reached in that state. `id` is what
    /// stands there: the root has no name.
    fn of(
        &mut self,
        directory: FileId,
        name: &[u8],
        at: Epoch,
        id: FileId,
    ) -> Result<Option<Vec<u8>>> {
        if id == FileId::ROOT {
            return Ok(Some(b".".to_vec()));
        }
        let above = self.directory(directory, at)?;
        Ok(above.map(|above| path::join(&above, name)))
    }

    /// Where a name stands now; of a directory that is gone, where it stood.
    fn now(
        &mut self,
        directory: FileId,
        name: &[u8],
        span: Span,
        id: FileId,
    ) -> Result<Option<Vec<u8>>> {
        for at in [self.newest, span.last, before(span)] {
            let path = self.of(directory, name, at, id)?;
            if path.is_some() {
                return Ok(path);
            }
        }
        Ok(None)
    }

    fn directory(&mut self, id: FileId, at: Epoch) -> Result<Option<Vec<u8>>> {
        if id == FileId::ROOT {
            return Ok(Some(Vec::new()));
        }
        if let Some(known) = self.known.get(&(id, at)) {
            return Ok(known.clone());
        }
        let found = match path::file(self.view, at, id)? {
            Some(found) => path::place(self.view, at, &found)?,
            None => None,
        };
        if self.known.len() >= limits::PATHS_KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert((id, at), found.clone());
        Ok(found)
    }
}
