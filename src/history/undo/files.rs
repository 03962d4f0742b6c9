//! Files and directories that kept their numbers: their contents, attributes and times.

use super::{Deed, Planner, Reason, Result};
use crate::format::record::Kind;
use crate::history::Found;
use crate::history::diff::Letter;
use crate::history::doings::Span;
use crate::history::path::{self, is_below};
use crate::id::{Epoch, FileId};

impl Planner<'_, '_> {
    /// Files that kept their numbers: their contents and attributes.
    pub(super) fn files(&mut self) -> Result<()> {
        let mut changed = Vec::new();
        for (file, span) in &self.touched.files {
            if span.first <= self.oldest {
                continue;
            }
            let before = Planner::before(span.first);
            let then = path::file(self.view, before, *file)?;
            let left = path::file(self.view, span.last, *file)?;
            let (Some(then), Some(left)) = (then, left) else {
                continue;
            };
            if self.restored.contains(file) || Letter::between(&then.inode, &left.inode).is_none() {
                continue;
            }
            let Some(past) = path::place(self.view, before, &then)? else {
                continue;
            };
            changed.push((past, before, *span, then, left));
        }
        changed.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        for (past, before, span, then, left) in changed {
            self.file(past, before, span, &then, &left)?;
        }
        Ok(())
    }

    fn file(
        &mut self,
        past: Vec<u8>,
        before: Epoch,
        span: Span,
        then: &Found,
        left: &Found,
    ) -> Result<()> {
        let file = then.id;
        let path = match self.place_now(file)? {
            Some(place) => self.path_of(&place)?,
            None => None,
        };
        let concerns = |path: &Vec<u8>| is_below(&self.wish.under, path);
        if !concerns(&past) && !path.as_ref().is_some_and(concerns) {
            return Ok(());
        }
        let kind = then.inode.kind;
        let Some(now) = path::file(self.view, self.at, file)? else {
            // A file that was replaced by another came back with its name.
            if self.settled_name(file) {
                return Ok(());
            }
            self.note(past, Reason::ChangedSince, None, Some(file));
            return Ok(());
        };
        let path = path.unwrap_or_else(|| past.clone());
        if Letter::between(&then.inode, &now.inode).is_none() {
            self.plan.unchanged += 1;
            return Ok(());
        }
        let reason = if Letter::between(&left.inode, &now.inode).is_some() {
            Some(Reason::ChangedSince)
        } else if span.shared {
            Some(Reason::Shared)
        } else {
            None
        };
        if let Some(reason) = reason.filter(|_| !self.wish.force) {
            let Some(ranges) = self.own_bytes(span, then, &now)? else {
                self.note(path, reason, None, Some(file));
                return Ok(());
            };
            let expected = self.expected(file)?;
            let deed = Deed::Bytes {
                before,
                past,
                ranges,
            };
            self.step(path, kind, deed, expected);
            self.restored.insert(file);
            return Ok(());
        }
        if then.inode.content.is_missing() {
            self.note(path, Reason::Lost, None, Some(file));
            return Ok(());
        }
        let expected = self.expected(file)?;
        self.step(path, kind, Deed::Restore { before, past }, expected);
        self.restored.insert(file);
        Ok(())
    }

    /// Whether its name was to come back: that told what there is to tell.
    fn settled_name(&self, file: FileId) -> bool {
        self.origins.contains_key(&file)
    }

    /// Directories in which names came and went get back the times that they had.
    pub(super) fn times(&mut self) -> Result<()> {
        for (file, span) in &self.touched.files {
            let before = Planner::before(span.first);
            if span.shared || self.restored.contains(file) {
                continue;
            }
            let Some(then) = path::file(self.view, before, *file)? else {
                continue;
            };
            let left = path::file(self.view, span.last, *file)?;
            let now = path::file(self.view, self.at, *file)?;
            let (Some(left), Some(now)) = (left, now) else {
                continue;
            };
            let time = |found: &Found| (found.inode.kind, found.inode.mtime);
            if then.inode.kind != Kind::Dir || time(&left) != time(&now) {
                continue;
            }
            let (Some(place), Some(past)) = (
                self.place_now(*file)?,
                path::place(self.view, before, &then)?,
            ) else {
                continue;
            };
            let path = match *file == FileId::ROOT {
                true => Some(Vec::new()),
                false => self.path_of(&place)?,
            };
            if let Some(path) = path.filter(|path| is_below(&self.wish.under, path)) {
                self.step(path, Kind::Dir, Deed::Times { before, past }, None);
            }
        }
        Ok(())
    }
}
