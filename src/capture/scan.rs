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

use super::work::Captured;
use super::{Import, Recorder, commit, snapshot::NewSnapshot, status::ScanProgress};
use crate::format::record::{
    Change, Content, Dirent, EpochKind, EpochRecord, EpochState, EpochStatistics, InodeVersion,
    Kind, LiveEntry, LostReason, SnapshotMode, What,
};
use crate::id::{Epoch, FileId};
use crate::inodes::track::{Identity, Look, Version};
use crate::inodes::{Inode, Inodes};
use crate::limits;
use crate::store::{Commit, StoreError};
use crate::time::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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

/// Files that were touched before the scan reached them, pinned, by serial number.
#[derive(Default)]
struct Kept {
    files: HashMap<u64, Arc<Inode>>,
    /// Those that the scan has not met yet.
    unmet: HashSet<u64>,
    /// Directories among them in which names changed.
    urgent: Vec<Arc<Inode>>,
}

/// What operations and capture threads ask of the scan.
#[derive(Default)]
pub(super) struct ScanState {
    running: AtomicBool,
    stop: AtomicBool,
    whole: AtomicBool,
    epoch: AtomicU64,
    jobs: AtomicU64,
    files: AtomicU64,
    bytes: AtomicU64,
    first: AtomicBool,
    time: Mutex<Timestamp>,
    /// Files that have got a version of the scan's epoch, or need none.
    reached: Mutex<HashSet<u64>>,
    /// Directories whose names were taken.
    named: Mutex<HashSet<u64>>,
    kept: Mutex<Kept>,
    results: Mutex<Vec<Captured>>,
    order: Mutex<()>,
}

impl ScanState {
    /// A scan is under way.
    pub(super) fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    /// The last scan went through to the end.
    pub(super) fn is_whole(&self) -> bool {
        self.whole.load(Ordering::Acquire)
    }

    /// It was told to stop.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// The epoch of the scan that is under way.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.is_running()
            .then(|| Epoch(self.epoch.load(Ordering::Acquire)))
    }

    /// What a commit has to wait for.
    pub(super) fn unfinished(&self) -> Option<Epoch> {
        self.epoch()
    }

    /// Held while an epoch is committed, and while a scan is finished: so that a commit is either
    /// before that, waiting, or after it, whole.
    pub(super) fn commit_order(&self) -> MutexGuard<'_, ()> {
        self.order.lock()
    }

    /// The epoch in which a file must be enrolled before it is changed. Says so once: the caller
    /// does it. To be called under the file's `track`.
    pub(super) fn enrol(&self, ino: u64) -> Option<Epoch> {
        let epoch = self.epoch()?;
        self.reached.lock().insert(ino).then_some(epoch)
    }

    /// Whether it must be kept what the names of a directory are before they change.
    pub(super) fn keeps_names(&self, ino: u64) -> bool {
        self.is_running() && !self.are_names_taken(ino)
    }

    /// The names of a directory were taken.
    pub(super) fn names_taken(&self, ino: u64) {
        self.named.lock().insert(ino);
    }

    /// Whether they were.
    pub(super) fn are_names_taken(&self, ino: u64) -> bool {
        self.named.lock().contains(&ino)
    }

    /// A file that was made in an epoch behind the scan's is none of its business.
    pub(super) fn note_new(&self, ino: u64, epoch: Epoch) {
        if self.epoch().is_some_and(|scan| scan < epoch) {
            self.reached.lock().insert(ino);
            self.named.lock().insert(ino);
        }
    }

    /// Keeps a file reachable until the scan is done with it. `names`: it is a directory, and
    /// names in it are about to change.
    pub(super) fn keep(&self, inodes: &Inodes, inode: &Arc<Inode>, names: bool) {
        let mut kept = self.kept.lock();
        let new = kept.files.insert(inode.serial, inode.clone()).is_none();
        if new {
            kept.unmet.insert(inode.serial);
        }
        if names {
            kept.urgent.push(inode.clone());
        }
        drop(kept);
        if !new {
            return;
        }
        inodes.pin(inode);
        if let Err(error) = inodes.keep_descriptor(inode) {
            log::debug!(
                "inode {} can't be kept open for the scan: {error}",
                inode.ino
            );
        }
    }

    /// So much is kept that nothing more should be before the scan has caught up.
    pub(super) fn keeps_much(&self) -> bool {
        self.is_running() && self.kept.lock().files.len() >= limits::SCAN_KEPT_MAX
    }

    /// Something is kept, and will be given back as the scan goes on.
    pub(super) fn keeps_anything(&self) -> bool {
        self.is_running() && !self.kept.lock().files.is_empty()
    }

    fn meet(&self, serial: u64) -> bool {
        self.kept.lock().unmet.remove(&serial)
    }

    /// A directory in which names changed before they were taken.
    pub(super) fn next_urgent(&self) -> Option<Arc<Inode>> {
        self.kept.lock().urgent.pop()
    }

    /// Gives a file back when the scan needs nothing of it any more.
    pub(super) fn release(&self, inodes: &Inodes, inode: &Arc<Inode>) {
        let Some(epoch) = self.epoch() else { return };
        if !self.kept.lock().files.contains_key(&inode.serial) {
            return;
        }
        let names_wanted = inode.kind == Kind::Dir && !self.are_names_taken(inode.ino);
        if names_wanted || inode.track.lock().version(epoch).is_some() {
            return;
        }
        let mut kept = self.kept.lock();
        kept.unmet.remove(&inode.serial);
        let file = kept.files.remove(&inode.serial);
        drop(kept);
        if let Some(file) = file {
            inodes.unpin(&file);
        }
    }

    pub(super) fn takes(&self, epoch: Epoch) -> bool {
        self.epoch() == Some(epoch)
    }

    pub(super) fn deliver(&self, captured: Captured) {
        self.bytes
            .fetch_add(captured.hashed_bytes, Ordering::Relaxed);
        self.results.lock().push(captured);
    }

    pub(super) fn job_done(&self) {
        self.jobs.fetch_sub(1, Ordering::AcqRel);
    }

    pub(super) fn progress(&self) -> Option<ScanProgress> {
        self.is_running().then(|| ScanProgress {
            files: self.files.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            first: self.first.load(Ordering::Relaxed),
        })
    }
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
    actors: commit::ActorIds,
    statistics: EpochStatistics,
    facts: u64,
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
            } else {
                self.signal.wait(seen, Duration::from_millis(500));
            }
        }
    }

    fn run_scan(&self) {
        // Whoever begins one again after a stop holds it until history is kept again.
        drop(self.cutter.lock());
        let result = self.scan_all();
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
        let kept = std::mem::take(&mut *self.scan.kept.lock());
        for inode in kept.files.into_values() {
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

    /// Commits what has come together when it is much, or when somebody waits for it.
    pub(super) fn commit_due_facts(&self, walk: &mut Walk) -> Result<(), ScanError> {
        let facts = self.scan.results.lock().len().max(walk.names.len()) as u64;
        let hurried = facts >= commit::SCAN_BATCH / 20 && self.scan.keeps_much();
        if facts >= commit::SCAN_BATCH || hurried {
            self.commit_facts(walk)?;
        }
        Ok(())
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
        let first = self.scan.reached.lock().insert(inode.ino);
        if !first && !self.scan.meet(inode.serial) {
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
        if look.is_some_and(|look| walk.is_clean(&look, live, unread)) {
            return false;
        }
        let mut version = Version::new(walk.epoch);
        version.dirty.everything();
        version.look = look;
        version.xattrs = super::deed::read_xattrs(inode, self.inodes.backing().root()).ok();
        if walk.names_only && look.is_some_and(|look| look.stat.size > 0) {
            version.lost = Some(LostReason::NotImported);
        }
        if look.is_none() {
            version.lost = Some(LostReason::ReadError);
        }
        self.inodes.pin(inode);
        track.versions.insert(0, version);
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

    /// Everything that lost its name and was found nowhere else has gone, with all below it.
    fn bury(&self, walk: &mut Walk) -> Result<(), ScanError> {
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
            walk.statistics.hashed_bytes += file.hashed_bytes;
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
        let nothing = batch.inodes.is_empty() && batch.dirents.is_empty() && batch.live.is_empty();
        let result = if nothing {
            Ok(())
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

    /// The scan is whole, and with it everything that waited for it.
    fn finish_walk(&self, walk: &mut Walk) -> Result<(), ScanError> {
        let _order = self.scan.commit_order();
        self.note_from_before()?;
        let time = *self.scan.time.lock();
        let first = self.scan.first.load(Ordering::Acquire);
        self.found_changes(walk.facts > 0 && !first)?;
        if walk.facts > 0 || first {
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
            Err(StoreError::NoEpoch { .. }) if walk.facts == 0 && !first => {}
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
    fn batch(&self) -> Commit {
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
