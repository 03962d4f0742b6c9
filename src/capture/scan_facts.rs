//! What the scan found goes into the store: batch by batch as facts, each committed by itself, what
//! has gone at the end, and then the epoch with all that waited for it.

use super::scan::{FIRST, ScanError, Walk};
use super::{Recorder, commit, snapshot::NewSnapshot};
use crate::format::record::{
    Change, Dirent, EpochKind, EpochRecord, EpochState, InodeVersion, Kind, SnapshotMode, What,
};
use crate::id::{Epoch, FileId};
use crate::store::StoreError;
use std::collections::HashSet;
use std::sync::atomic::Ordering;

impl Recorder {
    /// Commits what has come together when it is much, or when somebody waits for it.
    pub(super) fn commit_due_facts(&self, walk: &mut Walk) -> Result<(), ScanError> {
        let facts = self.scan.results.lock().len().max(walk.names.len()) as u64;
        let hurried =
            facts >= commit::SCAN_BATCH / 20 && self.scan.keeps_much(self.options.hooks.scan_kept);
        if facts >= commit::SCAN_BATCH || hurried {
            self.commit_facts(walk)?;
        }
        Ok(())
    }

    /// Commits what has come together since the last time.
    pub(super) fn commit_facts(&self, walk: &mut Walk) -> Result<(), ScanError> {
        let captured = std::mem::take(&mut *self.scan.results.lock());
        let names = std::mem::take(&mut walk.names);
        if captured.is_empty() && names.is_empty() {
            return Ok(());
        }
        let mut batch = walk.batch();
        let view = self.store.view();
        let mut done = Vec::with_capacity(captured.len());
        for file in captured {
            done.push(file.inode.clone());
            file.count(&mut walk.statistics);
            self.add_inode(&mut batch, &view, file, false, &mut walk.actors)?;
        }
        drop(view);
        for (directory, name, dirent) in names {
            let actors = Vec::new();
            batch.changes.push((
                directory,
                Change::Dirent {
                    name: name.clone(),
                    actors,
                },
            ));
            batch.dirents.push((directory, name, dirent));
        }
        walk.statistics.inodes += batch.inodes.len() as u64;
        walk.statistics.dirents += batch.dirents.len() as u64;
        walk.statistics.lost_files += commit::lost_files(&batch);
        walk.facts += (batch.inodes.len() + batch.dirents.len()) as u64;
        // Read again, and found to be what the store holds: that is no change.
        let result = if batch.inodes.is_empty() && batch.dirents.is_empty() {
            self.store.note_live(&batch.live)
        } else {
            self.store.commit(batch)
        };
        for inode in done {
            self.forget_version(&inode, walk.epoch);
            self.scan.release(&self.inodes, &inode);
        }
        // Who waits for descriptors can go on.
        self.signal.raise();
        Ok(result?)
    }

    /// Everything that lost its name and was found nowhere else has gone, with all below it.
    pub(super) fn bury(&self, walk: &mut Walk) -> Result<(), ScanError> {
        let mut dead = std::mem::take(&mut walk.lost_names);
        let mut buried = HashSet::new();
        let mut batch = walk.batch();
        while let Some((id, kind)) = dead.pop() {
            if walk.seen.contains(&id) || !buried.insert(id) {
                continue;
            }
            if kind == Kind::Dir {
                self.bury_names(walk, id, &mut dead)?;
            }
            batch.inodes.push((id, InodeVersion::Gone));
            batch.changes.push((
                id,
                Change::Inode {
                    what: What::GONE,
                    actors: Vec::new(),
                    written: Vec::new(),
                },
            ));
            walk.statistics.inodes += 1;
            walk.facts += 1;
            self.exchange_gone(walk, id)?;
            if batch.inodes.len() as u64 >= commit::SCAN_BATCH {
                self.check_stop()?;
                self.store
                    .commit(std::mem::replace(&mut batch, walk.batch()))?;
            }
        }
        if !batch.inodes.is_empty() {
            self.store.commit(batch)?;
        }
        Ok(())
    }

    /// A file that has gone is not among those whose content was never imported.
    fn exchange_gone(&self, walk: &Walk, id: FileId) -> Result<(), StoreError> {
        let before = Epoch(walk.epoch.0 - 1);
        let gone = self.store.view().inode_at(id, before)?;
        let gone = gone.map(|(_, version)| version);
        self.from_before
            .lock()
            .exchange(gone.as_ref(), &InodeVersion::Gone);
        Ok(())
    }

    /// The names in a directory that has gone.
    fn bury_names(
        &self,
        walk: &mut Walk,
        directory: FileId,
        dead: &mut Vec<(FileId, Kind)>,
    ) -> Result<(), ScanError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.names_in_store(walk, directory, after.as_deref())?;
            let Some((last, ..)) = page.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            for (name, child, kind) in page {
                walk.names.push((directory, name, Dirent::Gone));
                dead.push((child, kind));
            }
            self.commit_due_facts(walk)?;
        }
    }

    /// Whether the state before the scan holds but a part of what there was.
    fn follows_a_part(&self, walk: &Walk) -> Result<bool, StoreError> {
        let view = self.store.view();
        let Some(before) = view.listed_before(walk.epoch)? else {
            return Ok(false);
        };
        let record = view.epoch(before)?;
        Ok(record.is_some_and(|record| record.state == EpochState::Partial))
    }

    /// The scan is whole, and with it everything that waited for it.
    pub(super) fn finish_walk(&self, walk: &mut Walk) -> Result<(), ScanError> {
        let _order = self.scan.commit_order();
        self.note_from_before()?;
        let time = *self.scan.time.lock();
        let first = self.scan.first.load(Ordering::Acquire);
        self.found_changes(walk.facts > 0 && !first)?;
        // What a scan that was cut off had recorded is all there is, but nobody could say so then: from
        // this state on it is whole, and can be named.
        let recorded = walk.facts > 0 || first || self.follows_a_part(walk)?;
        if recorded {
            let record = EpochRecord {
                state: EpochState::Waiting { on: walk.epoch },
                kind: EpochKind::Scan,
                quiet: false,
                unseen_mappings: false,
                statistics: walk.statistics,
            };
            let mut batch = walk.batch();
            batch.record = Some((record, time, time));
            batch.actors = self.new_actors(&walk.actors);
            self.store.commit(batch)?;
        }
        let finished = if first && self.store.view().snapshot(FIRST)?.is_none() {
            let new = NewSnapshot {
                name: FIRST.to_owned(),
                message: "the first import".to_owned(),
                mode: SnapshotMode::Full,
                by_uid: rustix::process::geteuid().as_raw(),
            };
            let snapshot = new.record(&self.store, walk.epoch, time)?;
            self.store.finish_scan_named(walk.epoch, FIRST, &snapshot)
        } else {
            self.store.finish_scan(walk.epoch, EpochState::Whole)
        };
        match finished {
            // Nothing was found and nothing waited: there is no epoch to be finished.
            Err(StoreError::NoEpoch { .. }) if !recorded => {}
            result => result?,
        }
        self.scan.running.store(false, Ordering::Release);
        self.counters.committed(time);
        log::info!(
            "scan: {} files and folders looked at, {} recorded",
            self.scan.files.load(Ordering::Relaxed),
            walk.facts
        );
        Ok(())
    }
}
