//! The scan: brings the state of the tree at one instant into the store, while people work in it.
//! The first import, what happened while nothing was mounted, and the end of a time without
//! history are all this.
//!
//! 1. Until it has reached a file, the file has an implicit version of the scan's epoch. The first
//!    operation that touches it makes that explicit (`deed::enrol`): touching does not scan.
//! 2. Whether a file has one, or needs none, is decided under its `track`, once.
//! 3. A directory's listing is read live; names that were changed meanwhile are taken from what
//!    was kept of them (`Track::names`). Directories in which names changed come first, so that
//!    what is kept for them is given back soon.
//! 4. The scan goes by inode, never by path: a subtree that is moved away is followed.
//! 5. Its batches are facts: each is committed by itself, none names what is not in the store.
//!
//! One directory is in `scan_directory`, what goes into the store in `scan_facts`, and what
//! operations ask of the scan in `scan_state`.

use super::{Import, Recorder, commit};
use crate::format::record::{
    Change, Content, Dirent, EpochState, EpochStatistics, InodeVersion, Kind, LiveEntry,
    LostReason, What,
};
use crate::id::{Epoch, FileId};
use crate::inodes::Inode;
use crate::inodes::track::{Identity, Look, Version};
use crate::limits;
use crate::store::{Commit, StoreError};
use crate::time::Timestamp;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Name of the snapshot that the first import ends in.
pub const FIRST: &str = "first";

/// Why a scan ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScanError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("it was stopped")]
    Stopped,
}

/// What the scan thread carries from directory to directory.
pub(super) struct Walk {
    pub(super) epoch: Epoch,
    /// Nothing at all is in the store: no need to ask it.
    pub(super) fresh: bool,
    /// Files that a power cut may have left with new times and old bytes.
    suspects: HashSet<FileId>,
    /// Files that were found; those that lost a name and are not among them have gone.
    pub(super) seen: HashSet<FileId>,
    pub(super) lost_names: Vec<(FileId, Kind)>,
    pub(super) names: Vec<(FileId, Vec<u8>, Dirent)>,
    /// Number of the directory that is being read.
    pub(super) reading: Option<u64>,
    pub(super) actors: commit::ActorIds,
    pub(super) statistics: EpochStatistics,
    /// Records that were committed.
    pub(super) facts: u64,
    /// Content from before the first mount is not to be imported.
    names_only: bool,
}

impl Recorder {
    /// Begins the scan that each start begins with: its epoch comes before the open one.
    pub(super) fn begin_first_scan(&self) -> Result<(), StoreError> {
        let mut cutter = self.cutter.lock();
        let epoch = Epoch(cutter.next.0 - 2);
        let time = cutter.tick();
        drop(cutter);
        self.begin_scan(epoch, time, super::is_first(&self.store)?);
        Ok(())
    }

    /// Decides what a scan is of: everything as it is now. The scan thread does the rest.
    pub(super) fn begin_scan(&self, epoch: Epoch, time: Timestamp, first: bool) {
        self.scan.reached.lock().clear();
        self.scan.named.lock().clear();
        self.scan.epoch.store(epoch.0, Ordering::Release);
        *self.scan.time.lock() = time;
        self.scan.first.store(first, Ordering::Release);
        self.scan.files.store(0, Ordering::Release);
        self.scan.bytes.store(0, Ordering::Release);
        self.scan.whole.store(false, Ordering::Release);
        self.scan.running.store(true, Ordering::Release);
        self.signal.raise();
    }

    pub(super) fn stop_scan(&self) {
        self.scan.stop.store(true, Ordering::Release);
        self.signal.raise();
        while self.scan.is_running() {
            let seen = self.signal.count();
            self.signal.wait(seen, Duration::from_millis(50));
        }
    }

    pub(super) fn scan_loop(&self) {
        crate::backing::prepare_thread();
        while !self.is_ending() {
            let seen = self.signal.count();
            if self.scan.is_running() {
                self.run_scan();
            } else if self.rules.wants_scan() && self.may_rescan() {
                self.begin_rescan();
            } else {
                self.look_at_tags();
                self.signal.wait(seen, Duration::from_millis(500));
            }
        }
    }

    fn may_rescan(&self) -> bool {
        self.trouble.is_recording() && !self.scan.is_stopped() && self.has_room_for_epoch()
    }

    fn run_scan(&self) {
        // Whoever begins one again after a stop holds it until history is kept again.
        drop(self.cutter.lock());
        let result = self.await_older().and_then(|()| self.scan_all());
        let epoch = Epoch(self.scan.epoch.load(Ordering::Acquire));
        if let Err(error) = &result {
            match error {
                ScanError::Stopped => log::info!("the scan was stopped; the next mount goes on"),
                ScanError::Store(error) => self.store_failed(error),
                ScanError::Io(error) => {
                    self.stop_recording(&format!("the directory can't be read: {error}"));
                }
            }
            while self.scan.jobs.load(Ordering::Acquire) > 0 {
                let seen = self.signal.count();
                self.signal.wait(seen, Duration::from_millis(50));
            }
            let _order = self.scan.commit_order();
            for captured in std::mem::take(&mut *self.scan.results.lock()) {
                self.forget_version(&captured.inode, epoch);
            }
            match self.store.finish_scan(epoch, EpochState::Partial) {
                Ok(()) | Err(StoreError::NoEpoch { .. }) => {}
                Err(error) => log::warn!("the scan could not be marked as cut off: {error}"),
            }
            self.scan.running.store(false, Ordering::Release);
        }
        for inode in self.scan.take_kept() {
            self.forget_version(&inode, epoch);
            inode.track.lock().names.clear();
            self.inodes.unpin(&inode);
        }
        // With the memory that they took: there was an entry for each file.
        drop(std::mem::take(&mut *self.scan.reached.lock()));
        drop(std::mem::take(&mut *self.scan.named.lock()));
        self.scan.whole.store(result.is_ok(), Ordering::Release);
        self.signal.raise();
        crate::backing::give_memory_back();
        if result.is_ok() && self.is_behind().unwrap_or(true) {
            self.sync_live();
        }
    }

    /// What was cut before the scan began is in the store first: the scan compares with that.
    fn await_older(&self) -> Result<(), ScanError> {
        let epoch = Epoch(self.scan.epoch.load(Ordering::Acquire));
        loop {
            let seen = self.signal.count();
            self.check_stop()?;
            let older = |pending: &Arc<super::Pending>| pending.body.number < epoch;
            if !self.cutter.lock().pending.iter().any(older) {
                break;
            }
            self.signal.wait(seen, Duration::from_millis(50));
        }
        Ok(self.begin_rules(epoch)?)
    }

    fn scan_all(&self) -> Result<(), ScanError> {
        let mut walk = self.new_walk()?;
        let root = self.inodes.root().clone();
        self.inodes.pin(&root);
        self.scan_inode(&mut walk, &root)?;
        let mut stack = vec![root];
        while let Some(directory) = stack.pop() {
            let result = self
                .scan_urgent(&mut walk, &mut stack)
                .and_then(|()| self.scan_directory(&mut walk, &directory, &mut stack));
            self.inodes.unpin(&directory);
            result?;
        }
        self.drain_jobs(&mut walk)?;
        self.bury(&mut walk)?;
        self.commit_facts(&mut walk)?;
        self.finish_walk(&mut walk)
    }

    /// A walk that has seen nothing yet.
    pub(super) fn new_walk(&self) -> Result<Walk, ScanError> {
        let (fresh, suspects) = {
            let view = self.store.view();
            (view.newest_epoch()?.is_none(), self.suspects()?)
        };
        let first = self.scan.first.load(Ordering::Acquire);
        Ok(Walk {
            epoch: Epoch(self.scan.epoch.load(Ordering::Acquire)),
            fresh,
            suspects,
            seen: HashSet::new(),
            lost_names: Vec::new(),
            names: Vec::new(),
            reading: None,
            actors: commit::ActorIds::new(),
            statistics: EpochStatistics::default(),
            facts: 0,
            names_only: first && self.options.import == Import::Changes,
        })
    }

    pub(super) fn check_stop(&self) -> Result<(), ScanError> {
        if self.scan.is_stopped() || !self.trouble.is_recording() {
            return Err(ScanError::Stopped);
        }
        Ok(())
    }

    /// Reaches a file: decides whether it has to be read, and has that done.
    pub(super) fn scan_inode(&self, walk: &mut Walk, inode: &Arc<Inode>) -> Result<(), ScanError> {
        let live = if walk.fresh {
            None
        } else {
            self.store.live(inode.ino)?
        };
        let birth = live.and_then(|_| self.birth_of(inode));
        let live = live.filter(|live| live.birth == birth);
        let live = match live {
            Some(live) if self.is_overtaken(inode, live)? => None,
            live => live,
        };
        // Content that is not in the store can't have become other bytes behind the same times.
        let mut unread = false;
        if let Some(live) = live
            && self.from_before.lock().files > 0
            && self.is_from_before(live.id)?
        {
            unread = self.options.import != Import::Rest;
            if !unread {
                walk.suspects.insert(live.id);
            }
        }
        if !self.reach(walk, inode, live, unread) {
            if !walk.fresh {
                walk.seen.insert(self.file_id(inode)?);
            }
            return Ok(());
        }
        if !walk.fresh {
            walk.seen.insert(self.file_id(inode)?);
        }
        self.scan.jobs.fetch_add(1, Ordering::AcqRel);
        if inode.kind != Kind::File || !self.queue.scan(inode.clone()) {
            self.capture_up_to(inode, walk.epoch);
            self.scan.job_done();
        }
        self.commit_due_facts(walk)
    }

    /// Whether a file is unchanged, and yet not in the store as it is to be: it was left out and is
    /// not any more, or the other way round.
    fn is_overtaken(&self, inode: &Arc<Inode>, live: LiveEntry) -> Result<bool, StoreError> {
        if !self.rules.is_used() {
            return Ok(false);
        }
        let newest = self.store.view().inode_at(live.id, Epoch::MAX)?;
        let Some((_, InodeVersion::Present(record))) = newest else {
            return Ok(true);
        };
        let leave = match inode.kind {
            Kind::Dir => self.mark(inode) == super::Mark::Hollow,
            Kind::File => self.rules.matcher().is_too_large(record.size),
            _ => false,
        };
        Ok(record.is_left_out() != leave)
    }

    /// Whether the content of a file was not to be imported.
    fn is_from_before(&self, id: FileId) -> Result<bool, StoreError> {
        let newest = self.store.view().inode_at(id, Epoch::MAX)?;
        let Some((_, InodeVersion::Present(inode))) = newest else {
            return Ok(false);
        };
        Ok(inode.content == Content::Lost(LostReason::NotImported))
    }

    /// Marks the file as reached; true if it has a version of the scan's epoch.
    fn reach(
        &self,
        walk: &Walk,
        inode: &Arc<Inode>,
        live: Option<LiveEntry>,
        unread: bool,
    ) -> bool {
        let mut track = inode.track.lock();
        // It has a name that is recorded, whatever its others are.
        track.left = false;
        let first = self.scan.reached.lock().insert(inode.ino);
        if !first && !self.scan.meet(inode.serial()) {
            return false;
        }
        self.scan.files.fetch_add(1, Ordering::Relaxed);
        if let Some(live) = live
            && track.identity == Identity::Unknown
        {
            track.identity = Identity::Known(live.id);
        }
        if let Some(version) = track.version(walk.epoch) {
            // Changed meanwhile: what it was is kept; it need not be read if that is known.
            if version
                .look
                .is_some_and(|look| walk.is_clean(&look, live, unread))
            {
                version.dirty = crate::inodes::track::Dirty::default();
            }
            // Also if it is captured already: who does that may still be on the way to deliver it.
            return true;
        }
        if !first {
            // Enrolled, and recorded since: what it is now is of a later epoch.
            return false;
        }
        let look = self.look(inode).ok();
        if unread {
            self.unimported.insert(inode.ino);
        }
        if look.is_some_and(|look| walk.is_clean(&look, live, unread)) {
            return false;
        }
        let mut version = Version::new(walk.epoch);
        version.dirty.everything();
        version.look = look;
        version.xattrs = super::deed::read_xattrs(inode, self.inodes.backing().root()).ok();
        if walk.names_only && look.is_some_and(|look| look.stat.size > 0) {
            version.lost = Some(LostReason::NotImported);
            self.unimported.insert(inode.ino);
        }
        if look.is_none() {
            version.lost = Some(LostReason::ReadError);
        }
        self.inodes.pin(inode);
        track.add(0, version);
        true
    }

    /// Waits for the capture of all files that were handed over.
    fn drain_jobs(&self, walk: &mut Walk) -> Result<(), ScanError> {
        loop {
            let seen = self.signal.count();
            self.check_stop()?;
            if self.scan.jobs.load(Ordering::Acquire) == 0 {
                return Ok(());
            }
            self.commit_due_facts(walk)?;
            self.signal.wait(seen, Duration::from_millis(50));
        }
    }

    /// Files that were changed after the live disk was last known to be synced, when it was not
    /// unmounted since and the machine was started again: an overwrite in place may have left
    /// its new times and its old bytes.
    fn suspects(&self) -> Result<HashSet<FileId>, StoreError> {
        let mut suspects = HashSet::new();
        let Some(synced) = self.store.synced()? else {
            return Ok(suspects);
        };
        if synced.clean || synced.boot == super::actor::boot_id() {
            return Ok(suspects);
        }
        let unsure = |what: What| what.has(What::CONTENT) || what.has(What::CREATED);
        let view = self.store.view();
        for (epoch, ..) in view.epochs(synced.epoch.next(), Epoch::MAX, usize::MAX)? {
            for (id, change) in view.changes(epoch)? {
                if matches!(change, Change::Inode { what, .. } if unsure(what)) {
                    suspects.insert(id);
                }
            }
        }
        Ok(suspects)
    }

    pub(crate) fn birth_of(&self, inode: &Arc<Inode>) -> Option<crate::format::record::FileTime> {
        use std::os::fd::AsFd;
        let path = inode.path(self.inodes.backing().root()).ok()?;
        crate::backing::birth(path.as_fd()).ok().flatten()
    }
}

impl Walk {
    /// An empty batch of facts.
    pub(super) fn batch(&self) -> Commit {
        Commit {
            epoch: self.epoch,
            ..Commit::default()
        }
    }

    /// Whether the file is certainly what the store holds: same size and times, and looked at
    /// long enough after its last change that another one would show.
    fn is_clean(&self, look: &Look, live: Option<LiveEntry>, unread: bool) -> bool {
        let Some(live) = live else { return false };
        let same = (look.stat.size, look.stat.mtime, look.stat.ctime)
            == (live.size, live.mtime, live.ctime);
        let racy_s = i64::try_from(limits::RACY.as_secs()).unwrap_or(2);
        let settled =
            (live.ctime.sec + racy_s, live.ctime.nsec) < (live.looked.sec, live.looked.nsec);
        same && (settled || unread) && !self.suspects.contains(&live.id)
    }
}
