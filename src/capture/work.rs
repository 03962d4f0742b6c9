//! The capture threads: from a noted file to the records that its epoch will commit.

use super::content::{AsOf, Failed};
use super::deed::read_xattrs;
use super::{Mark, Pending, Recorder};
use crate::backing::Stat;
use crate::format::lthash;
use crate::format::ranges::RangeSet;
use crate::format::record::{
    Actor, Content, EpochStatistics, FileTime, Inode as InodeRecord, InodeVersion, Kind, LiveEntry,
    LostReason, What,
};
use crate::id::{Epoch, FileId};
use crate::inodes::Inode;
use crate::inodes::track::{Dirty, Identity, Look, Xattrs};
use crate::store::{Reliance, StoreError};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use parking_lot::Mutex;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Files of a scan that may wait for a capture thread: bounds the memory of an import.
const SCAN_QUEUE: usize = 256;

/// How often it may be rung before anybody has come: more than there are capture threads.
const BELLS: usize = 64;

/// One file in one epoch, ready to be committed.
pub(super) struct Captured {
    pub inode: Arc<Inode>,
    pub id: FileId,
    pub epoch: Epoch,
    /// `None`: it was made and removed within the epoch.
    pub version: Option<InodeVersion>,
    pub live: Option<LiveEntry>,
    pub relied: Reliance,
    pub what: What,
    pub actors: Vec<Arc<Actor>>,
    /// Who wrote what, if that was noted.
    pub written: Vec<(Arc<Actor>, RangeSet)>,
    pub hashed_bytes: u64,
    /// Where the first byte stands that was changed.
    pub first_dirty: Option<u64>,
}

impl Captured {
    /// Adds what was read and stored for it.
    pub(super) fn count(&self, statistics: &mut EpochStatistics) {
        statistics.hashed_bytes += self.hashed_bytes;
        statistics.new_bytes += self.relied.new_plain_bytes();
        statistics.stored_bytes += self.relied.new_bytes();
    }
}

enum Job {
    Epoch(Arc<Inode>, Arc<Pending>),
    Scan(Arc<Inode>),
}

/// What the capture threads are to do: waited-for files first, the scan last.
pub(super) struct Queue {
    epoch: Mutex<Option<Sender<Job>>>,
    epoch_jobs: Receiver<Job>,
    scan: Mutex<Option<Sender<Job>>>,
    scan_jobs: Receiver<Job>,
    hurried: Mutex<Vec<Arc<Inode>>>,
    /// Rung when there is something in `hurried`.
    bell: (Sender<()>, Receiver<()>),
}

impl Queue {
    pub(super) fn new() -> Queue {
        let (epoch, epoch_jobs) = unbounded();
        let (scan, scan_jobs) = bounded(SCAN_QUEUE);
        Queue {
            epoch: Mutex::new(Some(epoch)),
            epoch_jobs,
            scan: Mutex::new(Some(scan)),
            scan_jobs,
            hurried: Mutex::default(),
            bell: bounded(BELLS),
        }
    }

    /// Somebody waits for the capture of this file.
    pub(super) fn hurry(&self, inode: &Arc<Inode>) {
        let mut hurried = self.hurried.lock();
        if !hurried.iter().any(|known| Arc::ptr_eq(known, inode)) {
            hurried.push(inode.clone());
            // Full: all threads are woken already.
            let _ = self.bell.0.try_send(());
        }
    }

    pub(super) fn capture(&self, inode: Arc<Inode>, pending: Arc<Pending>) -> bool {
        let sender = self.epoch.lock().clone();
        sender.is_some_and(|sender| sender.send(Job::Epoch(inode, pending)).is_ok())
    }

    /// Waits while the queue is full.
    pub(super) fn scan(&self, inode: Arc<Inode>) -> bool {
        let sender = self.scan.lock().clone();
        sender.is_some_and(|sender| sender.send(Job::Scan(inode)).is_ok())
    }

    pub(super) fn close(&self) {
        self.epoch.lock().take();
        self.scan.lock().take();
    }
}

/// What a version says of its file, taken out under the lock.
struct Facts {
    look: Option<Look>,
    xattrs: Option<Xattrs>,
    dirty: Dirty,
    what: What,
    lost: Option<LostReason>,
    place: Option<(Arc<Inode>, Vec<u8>)>,
    gone: bool,
    actors: Vec<Arc<Actor>>,
    written: Vec<(Arc<Actor>, RangeSet)>,
    before: Option<(Content, u64)>,
}

impl Recorder {
    /// What a capture thread does until the end.
    pub(super) fn work(&self) {
        crate::backing::prepare_thread();
        self.haste.enrol();
        loop {
            let hurried = self.queue.hurried.lock().pop();
            if let Some(inode) = hurried {
                self.capture_hurried(&inode);
                continue;
            }
            if let Ok(job) = self.queue.epoch_jobs.try_recv() {
                self.run(job);
                continue;
            }
            crossbeam_channel::select! {
                recv(self.queue.epoch_jobs) -> job => match job {
                    Ok(job) => self.run(job),
                    Err(_) => return,
                },
                recv(self.queue.scan_jobs) -> job => if let Ok(job) = job { self.run(job) } else {
                    // Closed: the other queue is closed as well, and is emptied first.
                    if let Ok(job) = self.queue.epoch_jobs.recv() { self.run(job) } else { return }
                },
                recv(self.queue.bell.1) -> _ => {}
            }
        }
    }

    /// Does what the scan has handed over so far, on this thread.
    #[cfg(test)]
    pub(super) fn capture_queued(&self) {
        while let Ok(job) = self.queue.scan_jobs.try_recv() {
            self.run(job);
        }
    }

    fn run(&self, job: Job) {
        match job {
            Job::Epoch(inode, pending) => {
                self.capture_up_to(&inode, pending.body.number);
                pending.left.fetch_sub(1, Ordering::AcqRel);
                self.signal.raise();
            }
            Job::Scan(inode) => {
                if let Some(epoch) = self.scan.epoch() {
                    self.capture_up_to(&inode, epoch);
                }
                self.scan.job_done();
                self.signal.raise();
            }
        }
    }

    /// Captures every complete version of a file that somebody waits for.
    fn capture_hurried(&self, inode: &Arc<Inode>) {
        let complete = {
            let cutter = self.cutter.lock();
            let complete = cutter.pending.iter().take_while(|p| p.body.is_complete());
            complete.last().map(|pending| pending.body.number)
        };
        if let Some(epoch) = complete.or(self.scan.epoch()) {
            self.capture_up_to(inode, epoch);
        }
        self.signal.raise();
    }

    /// Captures the versions of a file up to `epoch`, oldest first.
    pub(super) fn capture_up_to(&self, inode: &Arc<Inode>, epoch: Epoch) {
        self.options.hooks.hold();
        // Two threads at one file would both find the same version.
        let _alone = inode.capturing.lock();
        loop {
            let next = {
                let track = inode.track.lock();
                let next = track
                    .versions
                    .iter()
                    .find(|v| !v.captured && v.epoch <= epoch);
                next.map(|version| version.epoch)
            };
            let Some(epoch) = next else { return };
            if let Err(error) = self.capture_version(inode, epoch) {
                self.forget_version(inode, epoch);
                self.store_failed(&error);
            }
        }
    }

    fn capture_version(&self, inode: &Arc<Inode>, epoch: Epoch) -> Result<(), StoreError> {
        if self.mark(inode) == Mark::Linked && !self.is_known(inode)? {
            self.forget_version(inode, epoch);
            return Ok(());
        }
        let id = self.file_id(inode)?;
        let facts = self.facts(inode, epoch);
        let mut captured = Captured {
            inode: inode.clone(),
            id,
            epoch,
            version: None,
            live: None,
            relied: self.store.reliance(),
            what: facts.what,
            actors: facts.actors.clone(),
            written: facts.written.clone(),
            hashed_bytes: 0,
            first_dirty: match facts.dirty.all {
                true => Some(0),
                false => facts.dirty.ranges.first(),
            },
        };
        let mut content = None;
        if facts.gone {
            if !facts.what.has(What::CREATED) {
                captured.version = Some(InodeVersion::Gone);
            }
            captured.what = captured.what.with(What::GONE);
            self.note_readable(inode);
        } else {
            let look = facts.look.unwrap_or_else(|| unseen(inode));
            let (found, hashed) =
                match self.content_of(inode, epoch, &facts, &look, &mut captured.relied) {
                    Ok(found) => found,
                    Err(Failed::Store(error)) => return Err(error),
                    Err(Failed::Stopped) => {
                        // Not even as lost: the next scan reads it.
                        self.forget_version(inode, epoch);
                        return Ok(());
                    }
                    Err(Failed::File(reason)) => (Content::Lost(reason), 0),
                };
            // Destroyed while it was read: it may be half of one state and half of another.
            let lost = inode.track.lock().version(epoch).and_then(|v| v.lost);
            let lost = lost.filter(|_| inode.kind == Kind::File);
            let (found, hashed) = lost.map_or((found, hashed), |reason| (Content::Lost(reason), 0));
            match found {
                Content::Lost(LostReason::NotImported | LostReason::LeftOut) => {}
                Content::Lost(reason) => self.note_unreadable(inode, reason),
                _ => self.note_readable(inode),
            }
            captured.hashed_bytes = hashed;
            content = Some((found, look.stat.size));
            captured.version = Some(InodeVersion::Present(
                self.record(inode, &facts, &look, found)?,
            ));
            captured.live = Some(LiveEntry {
                id,
                birth: self.birth_of(inode),
                size: look.stat.size,
                mtime: look.stat.mtime,
                ctime: look.stat.ctime,
                looked: look.at,
                epoch,
            });
        }
        self.mark_captured(inode, epoch, content);
        self.deliver(captured);
        Ok(())
    }

    /// Of a file with several names, of which we know one where nothing is recorded: whether history
    /// has it by another.
    fn is_known(&self, inode: &Arc<Inode>) -> Result<bool, StoreError> {
        if self.scan.is_running() {
            // It may be about to be found.
            return Ok(true);
        }
        let identity = inode.track.lock().identity;
        let id = match identity {
            Identity::Known(id) => id,
            Identity::New => return Ok(false),
            Identity::Unknown => match self.store.live(inode.ino)? {
                Some(live) if live.birth == self.birth_of(inode) => live.id,
                _ => return Ok(false),
            },
        };
        let newest = self.store.view().inode_at(id, Epoch::MAX)?;
        Ok(matches!(newest, Some((_, InodeVersion::Present(_)))))
    }

    /// Takes out what the version says, and looks at the file where no later operation has
    /// kept what it was.
    fn facts(&self, inode: &Arc<Inode>, epoch: Epoch) -> Facts {
        let mut track = inode.track.lock();
        let (nameless, left) = (track.nameless, track.left);
        let last = track
            .versions
            .last()
            .is_none_or(|version| version.epoch == epoch);
        let mount = self.inodes.backing().root();
        let before = track.recorded;
        let Some(version) = track.version(epoch) else {
            return Facts {
                look: None,
                xattrs: None,
                dirty: Dirty::default(),
                what: What::default(),
                lost: Some(LostReason::NotRecorded),
                place: None,
                gone: false,
                actors: Vec::new(),
                written: Vec::new(),
                before,
            };
        };
        if version.look.is_none() && version.lost.is_none() {
            match self.look(inode) {
                Ok(look) => version.look = Some(look),
                Err(error) => version.lost = Some(super::deed::lost_reason(&error)),
            }
            version.xattrs = read_xattrs(inode, mount).ok();
        }
        let unlinked = version.look.is_some_and(|look| look.stat.nlink == 0);
        Facts {
            look: version.look,
            xattrs: version.xattrs.clone(),
            dirty: version.dirty.clone(),
            what: version.what,
            lost: version.lost,
            place: version
                .place
                .clone()
                .or_else(|| inode.place().map(|place| (place.parent, place.name))),
            gone: unlinked || (last && (nameless || left) && version.what.has(What::GONE)),
            actors: version.actors.clone(),
            written: version.written(),
            before,
        }
    }

    fn content_of(
        &self,
        inode: &Arc<Inode>,
        epoch: Epoch,
        facts: &Facts,
        look: &Look,
        relied: &mut Reliance,
    ) -> Result<(Content, u64), Failed> {
        if inode.kind == Kind::Dir && self.is_hollow(inode, epoch)? {
            return Ok((Content::Lost(LostReason::LeftOut), 0));
        }
        if inode.kind != Kind::File {
            return Ok((Content::Empty, 0));
        }
        if self.rules.is_too_large(epoch, look.stat.size) {
            return Ok((Content::Lost(LostReason::LeftOut), 0));
        }
        if let Some((content, size)) = self.to_be_filled(inode)?
            && size == look.stat.size
        {
            return Ok((content, 0));
        }
        if let Some(reason) = facts.lost {
            return Ok((Content::Lost(reason), 0));
        }
        let mut before = match facts.before {
            Some(before) => Some(before),
            None => self.content_before(inode, epoch)?,
        };
        if facts.dirty.is_clean()
            && let Some((content, _)) = before
            && !self.relies_on(content, relied)?
        {
            before = self.purged_meanwhile(inode, epoch, content)?;
        }
        if facts.dirty.is_clean()
            && let Some((Content::Purged(hash), size)) = before
            && size == look.stat.size
        {
            // Who changes a mode does not bring back what was purged.
            return Ok((Content::Purged(hash), 0));
        }
        let mut all = Dirty::default();
        all.everything();
        let readable_before = before.is_some_and(|(content, _)| !content.is_missing());
        let from_before =
            before.is_some_and(|(was, _)| was == Content::Lost(LostReason::NotImported));
        if from_before && (facts.dirty.is_clean() || !self.has_room_for(look.stat.size)) {
            return Ok((Content::Lost(LostReason::NotImported), 0));
        }
        if facts.dirty.is_clean()
            && readable_before
            && let Some((content, size)) = before
            && size == look.stat.size
        {
            return Ok((content, 0));
        }
        let dirty = if facts.dirty.is_clean() {
            &all
        } else {
            &facts.dirty
        };
        let of = AsOf {
            inode,
            epoch,
            size: look.stat.size,
            sparse: look.stat.blocks.saturating_mul(512) < look.stat.size,
            dirty,
            before,
        };
        let stored = self.store_content(&of, relied)?;
        Ok((stored.content, stored.hashed_bytes))
    }

    /// Whether a folder is without its names in `epoch`.
    fn is_hollow(&self, inode: &Arc<Inode>, epoch: Epoch) -> Result<bool, StoreError> {
        if !self.rules.is_before(epoch) {
            return Ok(self.mark(inode) == Mark::Hollow);
        }
        // Its mark is by later rules: it is what it was.
        let before = self.content_before(inode, epoch)?;
        Ok(before.is_some_and(|(was, _)| was == Content::Lost(LostReason::LeftOut)))
    }

    /// Keeps content that did not change until the commit; false if the store has it no more.
    fn relies_on(&self, content: Content, relied: &mut Reliance) -> Result<bool, StoreError> {
        match content {
            // What is still to come is not dropped before.
            Content::Chunk(_) | Content::List(_) if self.store.is_filling() => Ok(true),
            Content::Chunk(hash) | Content::List(hash) => self.store.rely(relied, hash),
            _ => Ok(true),
        }
    }

    /// Of content that the store has no more: that it was purged, if it was. Nothing else that the
    /// store has instead is what the file holds.
    fn purged_meanwhile(
        &self,
        inode: &Arc<Inode>,
        epoch: Epoch,
        content: Content,
    ) -> Result<Option<(Content, u64)>, StoreError> {
        let hash = lthash::content_hash(&content);
        let before = self.content_before(inode, epoch)?;
        Ok(before.filter(|(was, _)| *was == Content::Purged(hash)))
    }

    /// What the store holds as the content of the version before `epoch`.
    fn content_before(
        &self,
        inode: &Arc<Inode>,
        epoch: Epoch,
    ) -> Result<Option<(Content, u64)>, StoreError> {
        let Identity::Known(id) = inode.track.lock().identity else {
            return Ok(None);
        };
        let before = Epoch(epoch.0.saturating_sub(1));
        Ok(match self.store.view().inode_at(id, before)? {
            Some((_, InodeVersion::Present(record))) => Some((record.content, record.size)),
            _ => None,
        })
    }

    fn record(
        &self,
        inode: &Arc<Inode>,
        facts: &Facts,
        look: &Look,
        content: Content,
    ) -> Result<InodeRecord, StoreError> {
        let stat = &look.stat;
        let target = if inode.kind == Kind::Symlink {
            inode
                .path(self.inodes.backing().root())
                .and_then(|path| crate::backing::readlink_fd(path.as_fd()))
                .unwrap_or_default()
        } else {
            Vec::new()
        };
        let (parent, name) = match &facts.place {
            Some((parent, name)) => (self.file_id(parent)?, name.clone()),
            None => (FileId(0), Vec::new()),
        };
        Ok(InodeRecord {
            kind: inode.kind,
            mode: stat.mode & 0o7777,
            uid: stat.uid,
            gid: stat.gid,
            rdev: stat.rdev,
            atime: stat.atime,
            mtime: stat.mtime,
            ctime: stat.ctime,
            nlink: stat.nlink,
            size: stat.size,
            content,
            target,
            xattrs: facts.xattrs.clone().unwrap_or_default(),
            parent,
            name,
        })
    }

    /// The file's number in the store: known, found by inode number and birth, or new.
    pub(super) fn file_id(&self, inode: &Arc<Inode>) -> Result<FileId, StoreError> {
        if inode.ino == FileId::ROOT.0 {
            return Ok(FileId::ROOT);
        }
        let (identity, birth) = {
            let track = inode.track.lock();
            (track.identity, track.birth)
        };
        let birth = || birth.unwrap_or_else(|| self.birth_of(inode));
        let id = match identity {
            Identity::Known(id) => return Ok(id),
            Identity::New => self.store.new_file_id()?,
            Identity::Unknown => match self.store.live(inode.ino)? {
                Some(live) if live.birth == birth() => live.id,
                _ => self.store.new_file_id()?,
            },
        };
        // Another thread may have been quicker.
        let mut track = inode.track.lock();
        if let Identity::Known(id) = track.identity {
            return Ok(id);
        }
        track.identity = Identity::Known(id);
        Ok(id)
    }

    /// Lets go of what was kept for a version.
    pub(super) fn mark_captured(
        &self,
        inode: &Arc<Inode>,
        epoch: Epoch,
        content: Option<(Content, u64)>,
    ) {
        let mut track = inode.track.lock();
        if content.is_some() {
            track.recorded = content;
        }
        if let Some(version) = track.version(epoch) {
            version.captured = true;
        }
        let oldest = track.oldest_pending();
        let freed = track.stash.drop_before(oldest);
        self.inodes.release_bytes(&mut track);
        drop(track);
        self.stash_bytes.fetch_sub(freed, Ordering::Relaxed);
    }

    fn deliver(&self, captured: Captured) {
        if self.scan.takes(captured.epoch) {
            self.scan.deliver(captured);
            return;
        }
        let cutter = self.cutter.lock();
        let pending = cutter
            .pending
            .iter()
            .find(|p| p.body.number == captured.epoch)
            .cloned();
        drop(cutter);
        if let Some(pending) = pending {
            pending.results.lock().push(captured);
        }
    }
}

/// Attributes of a file that could not be looked at at all.
fn unseen(inode: &Inode) -> Look {
    let none = FileTime::default();
    let stat = Stat {
        dev: 0,
        ino: inode.backing_ino,
        mode: inode.kind.mode_bits(),
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        size: 0,
        blocks: 0,
        blksize: 0,
        atime: none,
        mtime: none,
        ctime: none,
    };
    Look { stat, at: none }
}
