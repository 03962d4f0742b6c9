//! The committer: takes the oldest epoch that is complete, has its files captured, and makes it
//! durable as one batch.
//!
//! 1. Epochs are committed in their order, and the next is captured only then: so what a capture
//!    takes over from the version before is in the store.
//! 2. While a scan is under way, what follows it is committed as waiting for it, and becomes
//!    listed when it is whole.
//! 3. What turns out not to have changed leaves no record.

use super::epoch::{Cut, NameNote, Notes};
use super::work::Captured;
use super::{Outcome, Pending, Recorder, unsettled};
use crate::backing;
use crate::format::ranges::RangeSet;
use crate::format::record::{
    Actor, Change, Content, Dirent, EpochRecord, EpochState, EpochStatistics, InodeVersion, Synced,
    What, Written,
};
use crate::id::{ActorId, Epoch};
use crate::inodes::Inode;
use crate::limits;
use crate::store::{Commit, StoreError, View};
use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long the committer sleeps when nothing rings.
const IDLE: Duration = Duration::from_millis(500);
/// Files in epochs that were committed, after which the memory that they took is given back.
const MANY: usize = 5_000;
/// The live disk is synced this often, so that less has to be read again after a power cut.
const SYNC_EVERY: Duration = Duration::from_secs(300);

/// Numbers of the processes in this batch.
pub(super) type ActorIds = HashMap<Arc<Actor>, ActorId>;

impl Recorder {
    pub(super) fn commit_loop(&self) {
        crate::backing::prepare_thread();
        let mut synced = Instant::now();
        loop {
            let seen = self.signal.count();
            let (front, is_ending) = {
                let cutter = self.cutter.lock();
                (cutter.pending.front().cloned(), self.is_ending())
            };
            match front {
                Some(pending) if pending.body.is_complete() => {
                    self.complete(&pending);
                    continue;
                }
                None if is_ending => return,
                _ => {}
            }
            if synced.elapsed() >= SYNC_EVERY && !is_ending {
                if self.is_behind().unwrap_or(true) {
                    self.sync_live();
                }
                synced = Instant::now();
            }
            self.signal.wait(seen, IDLE);
        }
    }

    /// Captures and commits one epoch, whatever happens.
    fn complete(&self, pending: &Arc<Pending>) {
        let notes = pending.body.take_notes();
        let outcome = if self.trouble.is_recording() {
            self.capture_all(&notes, pending);
            match self.commit(&notes, pending) {
                Ok(outcome) => outcome,
                Err(error) => {
                    self.store_failed(&error);
                    Outcome::Failed(error.to_string())
                }
            }
        } else {
            Outcome::Failed(self.trouble.reason())
        };
        for inode in notes.inodes() {
            self.forget_version(inode, pending.body.number);
        }
        let files = notes.inode_count();
        drop(notes);
        let mut cutter = self.cutter.lock();
        self.weight.give_back(pending.weight);
        cutter.pending.pop_front();
        cutter.given_up += files;
        let many = cutter.given_up >= MANY;
        if many {
            cutter.given_up = 0;
        }
        drop(cutter);
        if many {
            backing::give_memory_back();
        }
        let time = match &outcome {
            Outcome::Committed => pending.body.cut.lock().map(|cut| cut.time),
            Outcome::Nothing | Outcome::Failed(_) => None,
        };
        // Before anybody hears of it: who waits for the state finds what there is to say of it.
        if let Some(time) = time {
            self.look_out(pending.body.number, time);
        }
        *pending.outcome.lock() = Some(outcome);
        self.signal.raise();
    }

    fn capture_all(&self, notes: &Notes, pending: &Arc<Pending>) {
        pending
            .left
            .store(notes.inode_count() as u64, Ordering::Release);
        for inode in notes.inodes() {
            if !self.queue.capture(inode.clone(), pending.clone()) {
                // The threads have ended: the committer does it alone.
                self.capture_up_to(inode, pending.body.number);
                pending.left.fetch_sub(1, Ordering::AcqRel);
            }
        }
        loop {
            let seen = self.signal.count();
            if pending.left.load(Ordering::Acquire) == 0 {
                return;
            }
            self.signal.wait(seen, IDLE);
        }
    }

    fn commit(&self, notes: &Notes, pending: &Pending) -> Result<Outcome, StoreError> {
        let number = pending.body.number;
        // Since it was stopped, nobody has kept what was changed.
        if !self.trouble.is_recording() {
            return Ok(Outcome::Failed(self.trouble.reason()));
        }
        let Some(cut) = *pending.body.cut.lock() else {
            return Ok(Outcome::Failed("an epoch was never cut".to_owned()));
        };
        let _order = self.scan.commit_order();
        let waiting = self.scan.unfinished().filter(|on| *on < number);
        let mut batch = Commit {
            epoch: number,
            ..Commit::default()
        };
        let mut statistics = EpochStatistics::default();
        let mut actors = ActorIds::new();
        self.begin_watch();
        let view = self.store.view();
        for captured in std::mem::take(&mut *pending.results.lock()) {
            self.weigh_folder(&captured);
            captured.count(&mut statistics);
            self.add_inode(&mut batch, &view, captured, waiting.is_some(), &mut actors)?;
        }
        for (name, note) in notes.names() {
            self.add_name(
                &mut batch,
                &view,
                name,
                note,
                waiting.is_some(),
                &mut actors,
            )?;
        }
        drop(view);
        if batch.inodes.is_empty() && batch.dirents.is_empty() {
            return Ok(Outcome::Nothing);
        }
        let mut by = Vec::new();
        for note in &notes.unsettled {
            by.push(self.actor_id(&note.by, &mut actors)?);
        }
        batch.unsettled = unsettled::record(&notes.unsettled, &by);
        statistics.inodes = batch.inodes.len() as u64;
        statistics.dirents = batch.dirents.len() as u64;
        statistics.lost_files = lost_files(&batch);
        let state = match waiting {
            Some(on) => EpochState::Waiting { on },
            None => EpochState::Whole,
        };
        let Cut {
            time,
            wall,
            kind,
            quiet,
            unseen_mappings,
        } = cut;
        batch.record = Some((
            EpochRecord {
                state,
                kind,
                quiet,
                unseen_mappings,
                statistics,
            },
            time,
            wall,
        ));
        batch.actors = self.new_actors(&actors);
        // A number that was given up and taken by another file is that file's.
        batch.live.sort_by_key(|(_, live)| live.is_some());
        // Held until the batch is durable: who withdraws a name either comes before, or finds it.
        let snapshots = pending.snapshots.lock();
        if waiting.is_none() && !self.rules.wants_scan() {
            for new in snapshots.iter() {
                batch
                    .snapshots
                    .push((new.name.clone(), new.record(&self.store, number, time)?));
            }
        }
        self.store.commit(batch)?;
        self.note_from_before()?;
        self.tell_heaviest()?;
        drop(snapshots);
        self.counters.committed(time);
        Ok(Outcome::Committed)
    }

    /// Adds a captured file, unless the store holds just that already.
    pub(super) fn add_inode(
        &self,
        batch: &mut Commit,
        view: &View<'_>,
        captured: Captured,
        waiting: bool,
        actors: &mut ActorIds,
    ) -> Result<(), StoreError> {
        let id = captured.id;
        let before = view
            .inode_at(id, Epoch(batch.epoch.0 - 1))?
            .map(|(_, before)| before);
        if let Some(version) = &captured.version {
            self.watch_file(before.as_ref(), version, &captured);
        }
        let Captured {
            inode,
            version,
            live,
            relied,
            what,
            actors: by,
            written,
            ..
        } = captured;
        let Some(version) = version else {
            return Ok(());
        };
        let mut what = what;
        let mut shares = Vec::new();
        match (&before, &version) {
            (None | Some(InodeVersion::Gone), InodeVersion::Gone) if !waiting => return Ok(()),
            (Some(InodeVersion::Present(before)), InodeVersion::Present(now)) => {
                if same_but_read(before, now) {
                    batch.live.push((inode.ino, live));
                    return Ok(());
                }
                what = difference(before, now);
                if what.has(What::CONTENT) {
                    shares = self.shares(&written, before.size, actors)?;
                }
            }
            (None | Some(InodeVersion::Gone), InodeVersion::Present(_)) => {
                what = what.with(What::CREATED);
            }
            _ => {}
        }
        self.from_before.lock().exchange(before.as_ref(), &version);
        let by = self.actor_ids(&by, actors)?;
        let change = Change::Inode {
            what,
            actors: by,
            written: shares,
        };
        batch.changes.push((id, change));
        batch.live.push((inode.ino, live));
        batch.inodes.push((id, version));
        batch.reliances.push(relied);
        Ok(())
    }

    /// Writes how much is left out from before the first mount, when that has become other.
    pub(super) fn note_from_before(&self) -> Result<(), StoreError> {
        let amount = *self.from_before.lock();
        if amount != self.store.from_before()? {
            self.store.set_from_before(amount)?;
        }
        Ok(())
    }

    fn add_name(
        &self,
        batch: &mut Commit,
        view: &View<'_>,
        name: &[u8],
        note: &NameNote,
        waiting: bool,
        actors: &mut ActorIds,
    ) -> Result<(), StoreError> {
        let child = if note.in_doubt {
            self.look_at_name(note, name)
        } else {
            note.child.clone()
        };
        let directory = self.file_id(&note.directory)?;
        let recorded = |child: &Arc<Inode>| self.records_name(&note.directory, name, child.kind);
        let now = match child.filter(|child| !note.in_doubt || recorded(child)) {
            Some(child) => Dirent::Present {
                id: self.file_id(&child)?,
                kind: child.kind,
            },
            None => Dirent::Gone,
        };
        let before = view.dirent_at(directory, name, Epoch(batch.epoch.0 - 1))?;
        let same = match before {
            Some((_, before)) => before == now,
            None => now == Dirent::Gone && !waiting,
        };
        if same {
            return Ok(());
        }
        if let Some((_, before)) = &before {
            self.watch_name(before, &now, &note.actors);
        }
        let by = self.actor_ids(&note.actors, actors)?;
        batch.changes.push((
            directory,
            Change::Dirent {
                name: name.to_vec(),
                actors: by,
            },
        ));
        batch.dirents.push((directory, name.to_vec(), now));
        Ok(())
    }

    /// What a name is in the live tree, when the operation on it never said.
    fn look_at_name(&self, note: &NameNote, name: &[u8]) -> Option<Arc<Inode>> {
        let path = note.directory.path(self.inodes.backing().root()).ok()?;
        backing::stat_at(path.as_fd(), name).ok()?;
        let (child, _) = self.inodes.find(&note.directory, name).ok()?;
        self.inodes.unpin(&child);
        Some(child)
    }

    fn actor_ids(
        &self,
        by: &[Arc<Actor>],
        known: &mut ActorIds,
    ) -> Result<Vec<ActorId>, StoreError> {
        let mut ids = Vec::with_capacity(by.len());
        for actor in by {
            ids.push(self.actor_id(actor, known)?);
        }
        ids.dedup();
        Ok(ids)
    }

    /// Who wrote what of a file that had `size` bytes before. What is written beyond them is another
    /// size as well.
    fn shares(
        &self,
        written: &[(Arc<Actor>, RangeSet)],
        size: u64,
        known: &mut ActorIds,
    ) -> Result<Vec<Written>, StoreError> {
        let mut shares: Vec<Written> = Vec::with_capacity(written.len());
        for (actor, bytes) in written {
            let by = self.actor_id(actor, known)?;
            let mut bytes = bytes.clone();
            if bytes.end().is_some_and(|end| end > size) {
                bytes.insert(size..u64::MAX);
            }
            match shares.iter_mut().find(|share| share.by == by) {
                Some(share) => share.bytes.add(&bytes),
                None if bytes.is_empty() => {}
                None => shares.push(Written { by, bytes }),
            }
        }
        Ok(shares)
    }

    fn actor_id(&self, actor: &Arc<Actor>, known: &mut ActorIds) -> Result<ActorId, StoreError> {
        if actor.tgid == 0 {
            // Nobody knows who: that somebody else had a part in it counts all the same.
            return Ok(ActorId::default());
        }
        if let Some(id) = known.get(actor) {
            return Ok(*id);
        }
        let id = match self.counters.actor(actor) {
            Some(id) => id,
            None => self.store.new_actor_id()?,
        };
        known.insert(actor.clone(), id);
        Ok(id)
    }

    /// The processes of a batch that the store does not have yet.
    pub(super) fn new_actors(&self, actors: &ActorIds) -> Vec<(ActorId, Actor)> {
        let mut new = Vec::new();
        for (actor, id) in actors {
            if self.counters.remember_actor(actor, *id) {
                new.push((*id, self.actors.with_details(actor)));
            }
        }
        new
    }

    /// The version is in the store, or is given up.
    pub(super) fn forget_version(&self, inode: &Arc<Inode>, epoch: Epoch) {
        let mut track = inode.track.lock();
        let before = track.versions.len();
        track.versions.retain(|version| version.epoch != epoch);
        if track.versions.is_empty() && std::mem::take(&mut track.left) {
            self.has_left(inode);
        }
        let pins = before - track.versions.len();
        let oldest = track.oldest_pending();
        let freed = track.stash.drop_before(oldest);
        self.inodes.release_bytes(&mut track);
        drop(track);
        self.stash_bytes.fetch_sub(freed, Ordering::Relaxed);
        for _ in 0..pins {
            self.inodes.unpin(inode);
        }
    }

    /// Brings the live disk up to date with what is recorded.
    pub(super) fn sync_live(&self) {
        match self.note_synced(false) {
            Ok(()) => {}
            // Nothing is written after a failed write: whoever comes next would only say that.
            Err(super::CaptureError::Store(error)) => self.store_failed(&error),
            Err(error) => log::warn!("the live disk could not be synced: {error}"),
        }
    }

    /// Notes that the live disk may be behind what is recorded from now on. A note of another
    /// boot stays until a scan has read again what it casts doubt on.
    pub(super) fn note_begun(&self) -> Result<(), StoreError> {
        let boot = super::actor::boot_id();
        let epoch = match self.store.synced()? {
            Some(synced) if synced.clean => synced.epoch,
            Some(_) => return Ok(()),
            None => Epoch::NONE,
        };
        self.store.set_synced(Synced {
            epoch,
            boot,
            clean: false,
        })
    }

    /// Whether a sync of the live disk would leave less to be read again after a power cut.
    pub(super) fn is_behind(&self) -> Result<bool, StoreError> {
        let newest = self.store.view().newest_epoch()?;
        Ok(self.store.synced()?.is_none_or(|synced| {
            synced.boot != super::actor::boot_id() || newest > Some(synced.epoch)
        }))
    }

    /// Notes that everything up to the newest epoch is on the live disk.
    pub(super) fn note_synced(&self, clean: bool) -> Result<(), super::CaptureError> {
        let newest = self.store.view().newest_epoch()?.unwrap_or(Epoch::NONE);
        self.inodes.backing().sync()?;
        self.store.set_synced(Synced {
            epoch: newest,
            boot: super::actor::boot_id(),
            clean,
        })?;
        Ok(())
    }
}

pub(super) fn lost_files(batch: &Commit) -> u64 {
    let lost = |version: &InodeVersion| matches!(version, InodeVersion::Present(record) if matches!(record.content, Content::Lost(_)) && !record.is_left_out());
    batch
        .inodes
        .iter()
        .filter(|(_, version)| lost(version))
        .count() as u64
}

/// Whether nothing changed that anybody did: reading changes the access time, and which of
/// several names is remembered is no change.
fn same_but_read(
    before: &crate::format::record::Inode,
    now: &crate::format::record::Inode,
) -> bool {
    let mut before = before.clone();
    before.atime = now.atime;
    if now.nlink > 1 && now.kind != crate::format::record::Kind::Dir || now.name.is_empty() {
        before.parent = now.parent;
        before.name.clone_from(&now.name);
    }
    before == *now
}

fn difference(before: &crate::format::record::Inode, now: &crate::format::record::Inode) -> What {
    let mut what = What::default();
    if before.content != now.content || before.target != now.target || before.size != now.size {
        what = what.with(What::CONTENT);
    }
    if before.xattrs != now.xattrs {
        what = what.with(What::XATTRS);
    }
    let attributes = |r: &crate::format::record::Inode| {
        (
            r.mode,
            r.uid,
            r.gid,
            r.rdev,
            r.mtime,
            r.nlink,
            r.parent,
            r.name.clone(),
        )
    };
    if what == What::default() || attributes(before) != attributes(now) {
        what = what.with(What::ATTRIBUTES);
    }
    what
}

/// Bounds how many records a batch of the scan may hold.
pub(super) const SCAN_BATCH: u64 = limits::NOTES_MAX / 3;
