//! What goes with an epoch that is pruned.
//!
//! A version that was written at e1 and superseded at e2 may go if no kept epoch k has
//! e1 <= k < e2. Let p be the epoch that goes, a the kept one before it and b the one after. The
//! lines of change of p name every key with a version in (a, p], those of b every key with one in
//! (p, b]; only a key that has both has a version that was seen by p alone. Then:
//!
//! 1. a key with both loses its versions in (a, p];
//! 2. if what is left of it is "gone", with nothing older, that goes too, and its line: it was
//!    made and removed between two kept epochs;
//! 3. all other lines of p become lines of b, which so cover everything since a;
//! 4. references fall, and chunks with none go. The header of p stays.
//!
//! b is always sealed, since p is not the newest that is: no scan adds older versions to it.

use super::kv::{Batch, Durability};
use super::line::ChangeLine;
use super::prune::{Kept, Pruned};
use super::refs::Refs;
use super::view::View;
use super::{Result, Store, StoreError, meta};
use crate::format::key::{self, Family};
use crate::format::record::*;
use crate::id::*;
use serde::{Deserialize, Serialize};

/// An epoch that goes, between the kept ones before and after it: p, a and b above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Interval {
    before: Epoch,
    pub(super) epoch: Epoch,
    after: Epoch,
}

impl Interval {
    /// The one around an epoch.
    pub fn around(view: &View<'_>, epoch: Epoch) -> Result<Interval> {
        let reason = Kept::Newest;
        let after = view.kept_after(epoch)?;
        Ok(Interval {
            before: view.kept_before(epoch)?,
            epoch,
            after: after.ok_or(StoreError::Kept { epoch, reason })?,
        })
    }
}

/// What is done with lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// All at once.
    Once,
    /// They become lines of the next epoch too.
    Copy,
    /// What they name is cut, and they go. They were copied before.
    Cut,
}

impl Store {
    /// Makes the lines of an epoch lines of the next one too.
    pub(super) fn copy_lines(&self, interval: Interval, go_on: &dyn Fn() -> bool) -> Result<()> {
        let mut from = None;
        loop {
            if !go_on() {
                return Err(StoreError::Interrupted);
            }
            let _committer = self.committer.lock();
            let view = self.view();
            let mut cut = Cut::new(self, &view, interval);
            from = cut.lines(Step::Copy, from)?;
            // Not synced: the batch that drops the epoch comes after it in the log.
            self.write(std::mem::take(&mut cut.batch), Durability::Unsynced)?;
            if from.is_none() {
                return Ok(());
            }
        }
    }

    /// Cuts all that the lines of a dropped epoch still name, and the note of it.
    pub(super) fn cut_lines(&self, interval: Interval, go_on: &dyn Fn() -> bool) -> Result<Pruned> {
        let mut pruned = Pruned::default();
        let mut from = None;
        loop {
            if !go_on() {
                return Err(StoreError::Interrupted);
            }
            let _committer = self.committer.lock();
            let view = self.view();
            let mut cut = Cut::new(self, &view, interval);
            from = cut.lines(Step::Cut, from)?;
            if from.is_none() {
                cut.batch.delete(Family::Meta, meta::PRUNING);
            }
            let more = cut.write()?;
            pruned.versions += more.versions;
            pruned.chunk_bytes += more.chunk_bytes;
            if from.is_none() {
                return Ok(pruned);
            }
        }
    }
}

/// A batch of a prune in the making.
pub(super) struct Cut<'a> {
    store: &'a Store,
    view: &'a View<'a>,
    interval: Interval,
    pub batch: Batch,
    refs: Refs<'a>,
    pruned: Pruned,
}

impl<'a> Cut<'a> {
    pub fn new(store: &'a Store, view: &'a View<'a>, interval: Interval) -> Cut<'a> {
        Cut {
            store,
            view,
            interval,
            batch: Batch::default(),
            refs: Refs::new(store),
            pruned: Pruned::default(),
        }
    }

    /// Writes the batch.
    pub fn write(self) -> Result<Pruned> {
        let Cut {
            store,
            mut batch,
            refs,
            mut pruned,
            ..
        } = self;
        let removed = batch.changes.len() as u64;
        let settled = refs.settle(&mut batch);
        // Synced: the next flush of `chunks` makes the removal of chunks survive power loss, so
        // the removal of what names them must survive it too.
        pruned.chunk_bytes =
            settled.write(batch, |batch| store.write(batch, Durability::Synced))?;
        store.note_removed(removed);
        Ok(pruned)
    }

    /// Takes a step with a batch of lines, from this key on; the answer is the key to go on with.
    pub fn lines(&mut self, step: Step, from: Option<Vec<u8>>) -> Result<Option<Vec<u8>>> {
        let view = self.view;
        let prefix = key::epoch(self.interval.epoch);
        let from = from.unwrap_or_else(|| prefix.to_vec());
        let mut lines = view.range(Family::Changes, &from, &key::after_prefix(&prefix))?;
        for _ in 0..self.store.options.prune_lines {
            let Some((key, bytes)) = lines.item() else {
                return Ok(None);
            };
            self.line(step, key, bytes)?;
            lines.step()?;
        }
        Ok(lines.item().map(|(key, _)| key.to_vec()))
    }

    fn line(&mut self, step: Step, key: &[u8], bytes: &[u8]) -> Result<()> {
        let (_, id, name) = key::unpack_change(key)?;
        let line_after = key::change(self.interval.after, id, name);
        let other = self.view.line(&line_after)?;
        if step != Step::Copy {
            self.batch.delete(Family::Changes, key);
        }
        let left = match (step, &other, name) {
            (Step::Copy, _, _) | (Step::Once, None, _) => true,
            (Step::Once | Step::Cut, _, None) => self.inode(id)?,
            (Step::Once | Step::Cut, _, Some(name)) => self.dirent(id, name)?,
        };
        if !left {
            self.batch.delete(Family::Changes, line_after);
        } else if step != Step::Cut {
            let mut line = ChangeLine::unpack(key, bytes)?;
            line.join(&other.unwrap_or_default());
            self.batch.put(Family::Changes, line_after, line.pack());
        }
        Ok(())
    }

    /// Cuts the versions of a file; whether its line stays.
    fn inode(&mut self, id: FileId) -> Result<bool> {
        let mut versions = self.view.inode_versions(id)?;
        let doomed = self.doomed(&mut versions, |version| *version == InodeVersion::Gone);
        for (epoch, version) in doomed {
            if let InodeVersion::Present(inode) = &version {
                self.refs.release(&inode.content)?;
            }
            self.batch.delete(Family::Inodes, key::inode(id, epoch));
        }
        Ok(self.still_changed(&versions))
    }

    /// The same for a name.
    fn dirent(&mut self, dir: FileId, name: &[u8]) -> Result<bool> {
        let mut versions = self.view.dirent_versions(dir, name)?;
        let doomed = self.doomed(&mut versions, |version| *version == Dirent::Gone);
        for (epoch, _) in doomed {
            let key = key::dirent(dir, name, epoch);
            self.batch.delete(Family::Dirents, key);
        }
        Ok(self.still_changed(&versions))
    }

    /// Takes out of the versions of a key, newest first, those that go.
    fn doomed<V>(
        &mut self,
        versions: &mut Vec<(Epoch, V)>,
        is_gone: impl Fn(&V) -> bool,
    ) -> Vec<(Epoch, V)> {
        let superseded = versions
            .iter()
            .any(|(at, _)| *at > self.interval.epoch && *at <= self.interval.after);
        let mut doomed = Vec::new();
        if superseded {
            let (go, stay) = std::mem::take(versions)
                .into_iter()
                .partition(|(at, _)| *at > self.interval.before && *at <= self.interval.epoch);
            *versions = stay;
            doomed = go;
        }
        let oldest_is_gone = |versions: &[(Epoch, V)]| {
            versions
                .last()
                .is_some_and(|(at, version)| *at <= self.interval.after && is_gone(version))
        };
        while oldest_is_gone(versions) {
            doomed.extend(versions.pop());
        }
        self.pruned.versions += doomed.len() as u64;
        doomed
    }

    fn still_changed<V>(&self, versions: &[(Epoch, V)]) -> bool {
        versions
            .iter()
            .any(|(at, _)| *at > self.interval.before && *at <= self.interval.after)
    }
}
