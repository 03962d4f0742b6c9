//! What stood under a name comes back, and what was put there goes.

use super::{Deed, Expected, Planner, Reason, Result, Visit, id};
use crate::format::record::{Dirent, Kind};
use crate::history::diff::Letter;
use crate::history::doings::Span;
use crate::history::path;
use crate::id::{Epoch, FileId};
use crate::limits;
use crate::store::Name;

impl Planner<'_, '_> {
    /// A file that is still there, at `place`, gets its name back.
    pub(super) fn bring(
        &mut self,
        name: &Name,
        (old, kind): (FileId, Kind),
        place: &Name,
    ) -> Result<bool> {
        let was_put_there = self
            .moves
            .get(place)
            .is_some_and(|one| id(one.new) == Some(old));
        let steps_back = self.aside.remove(&old);
        if was_put_there || steps_back {
            self.rename(old, kind, place, name)?;
        } else if kind == Kind::Dir {
            let there = self.path_of(place)?.unwrap_or_default();
            return self.conflict(name, Some(old), Reason::Moved(there));
        } else {
            let (Some(path), Some(of)) = (self.path_of(name)?, self.path_of(place)?) else {
                return self.conflict(name, None, Reason::NoFolder);
            };
            self.step(path, kind, Deed::Link { of }, None);
        }
        Ok(true)
    }

    pub(super) fn rename(
        &mut self,
        file: FileId,
        kind: Kind,
        from: &Name,
        to: &Name,
    ) -> Result<()> {
        if let (Some(path), Some(to)) = (self.path_of(from)?, self.path_of(to)?) {
            self.step(path, kind, Deed::Rename { to }, None);
        }
        self.places.insert(file, to.clone());
        self.paths.clear();
        Ok(())
    }

    /// What is gone comes back from the past. `over`: the file that stands there.
    pub(super) fn restore(
        &mut self,
        name: &Name,
        (old, kind): (FileId, Kind),
        over: Option<FileId>,
    ) -> Result<bool> {
        let span = self.moves[name].span;
        let mut before = Planner::before(span.first);
        let mut older = span.shared;
        if let Some(file) = self.touched.files.get(&old)
            && kind != Kind::Dir
        {
            match file.shared {
                // As it was when it went: with what others wrote into it.
                true => older = true,
                false => before = before.min(Planner::before(file.first)),
            }
        }
        if span.shared {
            before = self.newest_of(name, old, span)?.unwrap_or(before);
        }
        let Some(then) = path::file(self.view, before, old)? else {
            return self.conflict(name, Some(old), Reason::Lost);
        };
        let past = match path::place(self.view, before, &then)? {
            Some(past) => past,
            None => match self.path_then(name, before)? {
                Some(past) => past,
                None => return self.conflict(name, Some(old), Reason::Lost),
            },
        };
        if then.inode.content.is_missing() {
            return self.conflict(name, Some(old), Reason::Lost);
        }
        let Some(path) = self.path_of(name)? else {
            return self.conflict(name, None, Reason::NoFolder);
        };
        let expected = match over {
            Some(over) => self.expected(over)?,
            None => None,
        };
        self.step(path, kind, Deed::Restore { before, past }, expected);
        self.places.insert(old, name.clone());
        self.restored.insert(old);
        self.paths.remove(&old);
        if older {
            self.conflict(name, Some(old), Reason::Older)?;
        }
        Ok(true)
    }

    /// The last state in which a name still led to a file, before it was taken away.
    fn newest_of(&self, name: &Name, file: FileId, span: Span) -> Result<Option<Epoch>> {
        let mut at = Planner::before(span.last);
        while at >= Planner::before(span.first) && at > Epoch::NONE {
            match self.view.dirent_at(name.0, &name.1, at)? {
                Some((_, Dirent::Present { id, .. })) if id == file => return Ok(Some(at)),
                Some((version, _)) => at = Planner::before(version),
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Takes away what was made. False: it stays, and why is noted.
    pub(super) fn remove(&mut self, name: &Name, (here, kind): (FileId, Kind)) -> Result<bool> {
        let before = Planner::before(self.moves[name].span.first);
        let was_there = path::file(self.view, before, here)?.is_some();
        if kind == Kind::Dir {
            if let Some(left) = self.empty(here)? {
                return self.conflict(name, None, Reason::NotEmpty(left));
            }
        } else if !was_there && !self.is_as_left(name, here)? {
            return self.conflict(name, Some(here), Reason::ChangedSince);
        }
        let Some(path) = self.path_of(name)? else {
            return Ok(true);
        };
        let expected = match was_there {
            true => None,
            false => self.expected(here)?,
        };
        self.step(path, kind, Deed::Remove, expected);
        Ok(true)
    }

    /// Settles what the doing put into a directory; the answer is a name that stays in it.
    fn empty(&mut self, directory: FileId) -> Result<Option<Vec<u8>>> {
        let first = (directory, Vec::new());
        let inside: Vec<Name> = self
            .moves
            .range(first..)
            .take_while(|(name, _)| name.0 == directory)
            .map(|(name, _)| name.clone())
            .collect();
        for name in inside {
            self.settle(&name)?;
        }
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self
                .view
                .list_at(directory, self.at, after.as_deref(), limits::DIR_PAGE)?;
            let is_last = page.len() < limits::DIR_PAGE;
            for (name, file, _) in &page {
                let whole = (directory, name.clone());
                let goes = self.visits.get(&whole) == Some(&Visit::Done)
                    && self.moves.get(&whole).is_some_and(|one| one.old.is_none());
                let moved = self.places.get(file).is_some_and(|place| *place != whole);
                if !goes && !moved {
                    return Ok(Some(name.clone()));
                }
            }
            after = page.last().map(|(name, _, _)| name.clone());
            if is_last {
                return Ok(None);
            }
        }
    }

    /// Whether a file that was made or put there still is as it was then.
    pub(super) fn is_as_left(&self, name: &Name, file: FileId) -> Result<bool> {
        if self.wish.force {
            return Ok(true);
        }
        let span = self.touched.files.get(&file);
        if span.is_some_and(|span| span.shared) {
            return Ok(false);
        }
        let named = self.moves[name].span.last;
        let left = span.map_or(named, |span| span.last.max(named));
        let then = path::file(self.view, left, file)?;
        let now = path::file(self.view, self.at, file)?;
        Ok(match (then, now) {
            (Some(then), Some(now)) => Letter::between(&then.inode, &now.inode).is_none(),
            _ => true,
        })
    }

    pub(super) fn expected(&self, file: FileId) -> Result<Option<Expected>> {
        if self.wish.force {
            return Ok(None);
        }
        Ok(path::file(self.view, self.at, file)?
            .filter(|found| found.inode.kind == Kind::File)
            .map(|found| Expected {
                size: found.inode.size,
                mtime: found.inode.mtime,
            }))
    }
}
