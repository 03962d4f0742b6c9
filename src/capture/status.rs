//! What is told of the capture, and the small books that it keeps for that.

use super::Recorder;
use crate::backing;
use crate::format::record::{Actor, LostReason};
use crate::id::{ActorId, Epoch};
use crate::inodes::Inode;
use crate::time::Timestamp;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Files named at most in a list of those that can't be read.
const NAMED_MAX: usize = 100;
/// Epochs whose beginning is remembered: more than wait at any time.
const BEGUN_MAX: usize = 1000;
/// Processes whose number is remembered.
const ACTORS_MAX: usize = 4096;

/// How far a scan is.
#[derive(Clone, Copy, Debug, Default)]
pub struct ScanProgress {
    /// Files and folders looked at.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// The first import.
    pub first: bool,
}

/// What `status` shows of the capture.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Time of the newest epoch that was committed since the start.
    pub last_recorded: Option<Timestamp>,
    /// Files and names that changed and are not recorded yet.
    pub pending_files: u64,
    /// Epochs that are cut and not committed.
    pub pending_states: u64,
    /// How long ago the oldest change was made that is not recorded, to a few hundredths of a second;
    /// `None`: all are.
    pub pending_since: Option<Duration>,
    /// Bytes of memory that hold what was preserved for them.
    pub pending_bytes: u64,
    /// A scan that is under way.
    pub scan: Option<ScanProgress>,
    /// Why nothing is being recorded.
    pub stopped: Option<String>,
    /// Files that could not be read when they were recorded last.
    pub lost_files: u64,
    /// Of them at most 100.
    pub unreadable: Vec<UnreadableFile>,
    /// Folders whose own `.snapshots` hides ours, and since when that is known.
    pub shadowed: BTreeMap<String, Timestamp>,
}

/// A file that could not be read.
#[derive(Clone, Debug)]
pub struct UnreadableFile {
    pub path: String,
    pub reason: LostReason,
    /// Since when that is known.
    pub since: Timestamp,
}

/// Files that could not be read when they were recorded last, by inode number.
#[derive(Default)]
struct Unreadable {
    all: BTreeSet<u64>,
    /// The first of them, by name: at most `NAMED_MAX`; pinned, since their paths may change.
    named: BTreeMap<u64, (Arc<Inode>, UnreadableFile)>,
}

/// See the module's head.
#[derive(Default)]
pub(super) struct Counters {
    last: Mutex<Option<Timestamp>>,
    /// When the clock saw the first change of an epoch that is not committed, in their order.
    begun: Mutex<VecDeque<(Epoch, Instant)>>,
    unreadable: Mutex<Unreadable>,
    /// By number, pinned, `NAMED_MAX` at most.
    shadowed: Mutex<BTreeMap<u64, (Arc<Inode>, Timestamp)>>,
    reserved: Mutex<BTreeSet<String>>,
    actors: Mutex<HashMap<Arc<Actor>, ActorId>>,
    cuts: AtomicU64,
    cut_entries: AtomicU64,
}

impl Counters {
    /// A cut was made, and touched so many notes.
    pub(super) fn cut(&self, entries: u64) {
        self.cuts.fetch_add(1, Ordering::Relaxed);
        self.cut_entries.fetch_add(entries, Ordering::Relaxed);
    }

    pub(super) fn cut_work(&self) -> (u64, u64) {
        let entries = self.cut_entries.load(Ordering::Relaxed);
        (self.cuts.load(Ordering::Relaxed), entries)
    }

    /// Something is noted in an epoch.
    pub(super) fn begun(&self, epoch: Epoch) {
        let mut begun = self.begun.lock();
        if begun.back().is_none_or(|(last, _)| *last < epoch) {
            begun.push_back((epoch, Instant::now()));
        }
        if begun.len() > BEGUN_MAX {
            begun.pop_front();
        }
    }

    /// How long ago that was, of the oldest epoch that is not committed.
    fn since(&self, oldest: Epoch) -> Option<Duration> {
        let mut begun = self.begun.lock();
        while begun.front().is_some_and(|(epoch, _)| *epoch < oldest) {
            begun.pop_front();
        }
        begun.front().map(|(_, since)| since.elapsed())
    }

    pub(super) fn last_committed(&self) -> Option<Timestamp> {
        *self.last.lock()
    }

    pub(super) fn committed(&self, time: Timestamp) {
        *self.last.lock() = Some(time);
    }

    /// False if somebody is making a snapshot of that name.
    pub(super) fn reserve_name(&self, name: &str) -> bool {
        self.reserved.lock().insert(name.to_owned())
    }

    pub(super) fn release_name(&self, name: &str) {
        self.reserved.lock().remove(name);
    }

    pub(super) fn actor(&self, actor: &Arc<Actor>) -> Option<ActorId> {
        self.actors.lock().get(actor).copied()
    }

    /// False if it was remembered before.
    pub(super) fn remember_actor(&self, actor: &Arc<Actor>, id: ActorId) -> bool {
        let mut actors = self.actors.lock();
        if actors.contains_key(actor) {
            return false;
        }
        if actors.len() >= ACTORS_MAX {
            actors.clear();
        }
        actors.insert(actor.clone(), id);
        true
    }
}

impl Recorder {
    /// How many files are kept as they were for the scan that is under way.
    #[cfg(test)]
    pub fn kept_for_scan(&self) -> usize {
        self.scan.kept.lock().files.len()
    }

    /// What there is to be told.
    pub fn status(&self) -> Status {
        let cutter = self.cutter.lock();
        let waiting: u64 = cutter
            .pending
            .iter()
            .map(|p| p.body.noted.load(Ordering::Relaxed))
            .sum();
        let pending_states = cutter.pending.len() as u64;
        let oldest = cutter.pending.iter().map(|p| p.body.number).min();
        drop(cutter);
        let oldest = oldest.or_else(|| self.begun_now());
        let (lost_files, mut named) = {
            let unreadable = self.counters.unreadable.lock();
            let named = unreadable.named.values();
            let named: Vec<_> = named
                .map(|(inode, file)| self.at_place(inode, file))
                .collect();
            (unreadable.all.len() as u64, named)
        };
        named.sort_by(|one, other| one.path.cmp(&other.path));
        Status {
            pending_states,
            pending_since: oldest.and_then(|oldest| self.counters.since(oldest)),
            last_recorded: *self.counters.last.lock(),
            pending_files: waiting + self.open.load().body.noted.load(Ordering::Relaxed),
            pending_bytes: self.stash_bytes.load(Ordering::Relaxed),
            scan: self.scan.progress(),
            stopped: (!self.trouble.is_recording()).then(|| self.trouble.reason()),
            lost_files,
            unreadable: named,
            shadowed: self.shadowed(),
        }
    }

    /// The open epoch, if something is noted in it.
    pub(super) fn begun_now(&self) -> Option<Epoch> {
        let open = self.open.load();
        let noted = open.body.noted.load(Ordering::Relaxed);
        (noted > 0).then_some(open.body.number)
    }

    fn shown(&self, inode: &Inode) -> String {
        let path = self.inodes.path_of(inode).join(&b'/');
        String::from_utf8_lossy(&path).into_owned()
    }

    /// Where it is now, as long as it has a name.
    fn at_place(&self, inode: &Inode, file: &UnreadableFile) -> UnreadableFile {
        let mut file = file.clone();
        if inode.place().is_some() {
            file.path = self.shown(inode);
        }
        file
    }

    pub(super) fn note_unreadable(&self, inode: &Arc<Inode>, reason: LostReason) {
        if reason == LostReason::ReadError {
            self.disk_failed();
        }
        let path = self.shown(inode);
        let mut unreadable = self.counters.unreadable.lock();
        if unreadable.all.insert(inode.ino) {
            log::warn!("the content of {path} could not be recorded: {reason:?}");
            if unreadable.named.len() < NAMED_MAX {
                let since = Timestamp::now();
                let file = UnreadableFile {
                    path,
                    reason,
                    since,
                };
                self.inodes.pin(inode);
                unreadable.named.insert(inode.ino, (inode.clone(), file));
            }
        }
    }

    /// A file was recorded, or has gone.
    pub(super) fn note_readable(&self, inode: &Inode) {
        let mut unreadable = self.counters.unreadable.lock();
        let known = match unreadable.all.remove(&inode.ino) {
            true => unreadable.named.remove(&inode.ino),
            false => None,
        };
        drop(unreadable);
        self.unpin_all(known.map(|(inode, _)| inode));
    }

    /// A folder holds a real entry of the name that the view of the past has.
    pub fn note_shadowed(&self, folder: &Arc<Inode>) {
        let mut shadowed = self.counters.shadowed.lock();
        if shadowed.len() < NAMED_MAX && !shadowed.contains_key(&folder.ino) {
            self.inodes.pin(folder);
            shadowed.insert(folder.ino, (folder.clone(), Timestamp::now()));
        }
    }

    /// Those of them that still do, by their paths of now.
    fn shadowed(&self) -> BTreeMap<String, Timestamp> {
        let known: Vec<_> = self.counters.shadowed.lock().values().cloned().collect();
        let mut all = BTreeMap::new();
        for (folder, since) in known {
            if self.is_shadowed(&folder) {
                all.insert(self.shown(&folder), since);
            } else {
                let known = self.counters.shadowed.lock().remove(&folder.ino);
                self.unpin_all(known.map(|(folder, _)| folder));
            }
        }
        all
    }

    fn is_shadowed(&self, folder: &Inode) -> bool {
        let Some(name) = &self.options.snapdir else {
            return true;
        };
        let found = folder
            .path(self.inodes.backing().root())
            .and_then(|folder| backing::stat_at(folder.as_fd(), name));
        found.is_ok()
    }
}
