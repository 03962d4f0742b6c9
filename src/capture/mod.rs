//! How a change becomes history: operations on the live tree are noted in the open epoch
//! (`deed`), a cut takes the notes away (`epoch`), worker threads bring the changed content into
//! the store (`work`, `content`), the committer makes the epoch durable (`commit`), and the scan
//! finds what nobody noted (`scan`).
//!
//! 1. An operation takes its inode locks first, then the epoch, so that one file's operations are
//!    in the order of their epochs. It waits for nothing while it holds a lock or an epoch: what
//!    would have to wait answers `Wait`, lets go of everything, and is run again.
//! 2. No operation on the live tree asks the store for anything.
//! 3. Epochs are captured and committed one after another, in their order.
//! 4. Lock order: io (ascending numbers) < cutter < track, notes, scan sets (leaves).
//!
//! Knows nothing of FUSE: it works with a mount and without one.

pub mod actor;
mod alarm;
mod clock;
mod commit;
mod content;
mod deed;
mod elsewhere;
pub mod epoch;
#[cfg(test)]
mod failing_scan;
mod full;
mod haste;
mod heavy;
mod hooks;
mod left_out;
mod mend;
mod names_deed;
mod prune;
mod rules;
mod scan;
mod scan_directory;
mod scan_facts;
mod scan_state;
mod scrub;
mod signal;
mod snapshot;
mod status;
mod trouble;
mod unfilled;
mod unimported;
mod unsettled;
mod work;

pub use alarm::{words as alarm_words, words_for_all as alarm_words_for_all};
pub use deed::{ContentChange, NameChange, Touch, Wait};
pub use elsewhere::{Followed, Reached, Standing, Ticket};
pub use full::Checked;
pub use heavy::words as hint_words;
pub use hooks::Hooks;
pub use left_out::LeftOutFolder;
pub use mend::LiveFiles;
pub use names_deed::NamesDeed;
pub use prune::{Dropped, PruneStatus, Sketch, carry_out, plan_of, sketch};
pub use rules::Mark;
pub use snapshot::{NewSnapshot, Patience, delete_snapshot, rename_snapshot};
pub use status::{ScanProgress, Status};
pub use trouble::floor;

use crate::backing::Backing;
use crate::format::record::{EpochKind, EpochRecord, EpochState, FromBefore};
use crate::id::Epoch;
use crate::inodes::budget::Budget;
use crate::inodes::{Inode, Inodes};
use crate::limits;
use crate::store::{Store, StoreError};
use crate::time::Timestamp;
use actor::Actors;
use arc_swap::ArcSwap;
use epoch::{Cut, EpochBody, Held};
use parking_lot::Mutex;
use signal::Signal;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How history is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// Content that stood this long is kept, whatever happens to it.
    pub settle: Duration,
    /// A checkpoint is made this often while something changes.
    pub interval: Duration,
    /// Free bytes at which history stops; `None`: the default of limits.rs.
    pub min_free: Option<u64>,
    /// Nothing is recorded at all (`-o nohistory`).
    pub off: bool,
    /// What becomes of content from before the first mount.
    pub import: Import,
    /// The name under which the past is shown; `None`: it is not.
    pub snapdir: Option<Vec<u8>>,
    /// What tests set.
    pub hooks: Hooks,
}

/// What becomes of the content that a directory had before its first mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Import {
    /// It is recorded by the first scan.
    #[default]
    All,
    /// The same, and what an earlier mount left out is recorded too.
    Rest,
    /// It is not: names and attributes are, content from when it is changed.
    Changes,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            settle: limits::SETTLE,
            interval: limits::INTERVAL,
            min_free: None,
            off: false,
            import: Import::All,
            snapdir: None,
            hooks: Hooks::default(),
        }
    }
}

/// What can go wrong with keeping history.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a snapshot named {0} exists already")]
    Exists(String),
    #[error("there is no snapshot named {0}")]
    NoSnapshot(String),
    #[error("the snapshot {0} is held")]
    Held(String),
    #[error("it was not finished within the time that was given")]
    TimedOut,
    #[error("whoever asked for it has gone")]
    Cancelled,
    #[error("it is recorded, but not at {0} yet")]
    NotElsewhere(String),
    #[error("the hook before it failed: {0}")]
    Hook(String),
    #[error("nothing is being recorded: {0}")]
    Stopped(String),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Flushes what programs have stored through shared mappings and the kernel has not sent yet.
pub trait Flush: Send + Sync {
    /// Returns false when something could not be looked at or was not flushed in time.
    fn flush(&self, at_most: Duration) -> bool;
}

/// Makes programs ready for a snapshot, and lets them go on.
pub trait Quiesce: Send + Sync {
    /// Before the cut. The answer is what is to be noted with the snapshot.
    ///
    /// # Errors
    /// None is to be made, and why; `None`: it was not ready in time.
    fn before(
        &self,
        name: &str,
        uid: u32,
        patience: &Patience<'_>,
    ) -> std::result::Result<Option<String>, Option<String>>;
    /// Afterwards, whatever came of it.
    fn after(&self, name: &str, uid: u32, made: bool);
}

/// The cutter's affairs.
struct Cutter {
    next: Epoch,
    last_time: Timestamp,
    last_cut: Instant,
    /// Cut and not yet committed, in order.
    pending: VecDeque<Arc<Pending>>,
    /// Files of those that were committed since memory was given back.
    given_up: usize,
}

/// An epoch that was cut, with what came of it.
struct Pending {
    body: Arc<EpochBody>,
    /// Its notes when it was cut, and `limits::EPOCH_WEIGHT`.
    weight: u64,
    results: Mutex<Vec<work::Captured>>,
    left: AtomicU64,
    snapshots: Mutex<Vec<NewSnapshot>>,
    outcome: Mutex<Option<Outcome>>,
}

/// What became of an epoch.
#[derive(Clone, Debug)]
enum Outcome {
    /// In the store.
    Committed,
    /// Nothing had changed: the state is that of the epoch before.
    Nothing,
    Failed(String),
}

/// Owns tracking, capture threads, clock and committer.
pub struct Recorder {
    inodes: Arc<Inodes>,
    store: Arc<Store>,
    options: Options,
    actors: Actors,
    open: ArcSwap<Held>,
    cutter: Mutex<Cutter>,
    /// What the pending epochs weigh together (`limits::PENDING_WEIGHT`).
    weight: Budget,
    signal: Arc<Signal>,
    scan: scan_state::ScanState,
    rules: rules::LiveRules,
    trouble: trouble::Trouble,
    pruner: prune::Pruner,
    queue: work::Queue,
    haste: haste::Haste,
    /// Bytes of memory in all stashes.
    stash_bytes: AtomicU64,
    /// Monotonic milliseconds (since `born`) of the last change that was noted.
    last_noted_ms: AtomicU64,
    born: Instant,
    /// When it was started.
    began: Timestamp,
    /// Bytes brought into the store since its free space was looked at.
    spent: AtomicU64,
    ending: AtomicBool,
    flusher: Mutex<Option<Arc<dyn Flush>>>,
    quiesce: Mutex<Option<Arc<dyn Quiesce>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    counters: status::Counters,
    from_before: Mutex<FromBefore>,
    watch: Mutex<alarm::Watch>,
    heavy: Mutex<heavy::Heavy>,
    unimported: unimported::Unimported,
    elsewhere: elsewhere::Elsewhere,
}

/// Whether no state of a store is whole yet: the next scan is the first import.
///
/// # Errors
/// A store that can't be read.
pub fn is_first(store: &Store) -> Result<bool, StoreError> {
    let view = store.view();
    let mut at = view.newest_epoch()?;
    while let Some(epoch) = at {
        let whole = |record: EpochRecord| record.state == EpochState::Whole;
        if view.epoch(epoch)?.is_some_and(whole) {
            return Ok(false);
        }
        at = view.listed_before(epoch)?;
    }
    Ok(true)
}

impl Recorder {
    /// Starts history for a directory: threads, and in the background the scan that finds what
    /// the store does not know yet.
    ///
    /// # Errors
    /// When the store or the directory can't be read.
    pub fn start(
        backing: Arc<Backing>,
        store: Arc<Store>,
        options: Options,
    ) -> Result<Arc<Recorder>, CaptureError> {
        let recorder = Recorder::assemble(backing, store, options)?;
        if !recorder.options.off {
            recorder.look_for_unclean_end()?;
            recorder.note_begun()?;
            recorder.begin_first_scan()?;
            recorder.start_threads()?;
        }
        Ok(recorder)
    }

    /// All its parts, at rest.
    fn assemble(
        backing: Arc<Backing>,
        store: Arc<Store>,
        options: Options,
    ) -> Result<Arc<Recorder>, CaptureError> {
        let inodes = Arc::new(Inodes::new(backing)?);
        unfilled::load(&inodes, &store)?;
        let signal = Arc::new(Signal::default());
        let (last, last_time) = store.last_epoch()?;
        // The epoch between is that of the scan.
        let first = last.next().next();
        Ok(Arc::new(Recorder {
            inodes,
            actors: Actors::default(),
            open: ArcSwap::new(Held::open(first, signal.clone())),
            cutter: Mutex::new(Cutter {
                next: first.next(),
                last_time,
                last_cut: Instant::now(),
                pending: VecDeque::new(),
                given_up: 0,
            }),
            weight: Budget::default(),
            signal,
            scan: scan_state::ScanState::default(),
            rules: rules::LiveRules::load(&store)?,
            trouble: trouble::Trouble::new(!options.off),
            pruner: prune::Pruner::default(),
            queue: work::Queue::new(),
            haste: haste::Haste::default(),
            stash_bytes: AtomicU64::new(0),
            last_noted_ms: AtomicU64::new(0),
            born: Instant::now(),
            began: Timestamp::now(),
            spent: AtomicU64::new(0),
            ending: AtomicBool::new(false),
            flusher: Mutex::new(None),
            quiesce: Mutex::new(None),
            threads: Mutex::new(Vec::new()),
            counters: status::Counters::default(),
            from_before: Mutex::new(store.from_before()?),
            watch: Mutex::default(),
            heavy: Mutex::default(),
            unimported: unimported::Unimported::default(),
            elsewhere: elsewhere::Elsewhere::default(),
            store,
            options,
        }))
    }

    fn start_threads(self: &Arc<Self>) -> Result<(), CaptureError> {
        let mut threads = self.threads.lock();
        let mut start = |name: &str, work: fn(&Arc<Recorder>)| -> std::io::Result<()> {
            let recorder = self.clone();
            let body = move || {
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&recorder)))
                    .is_err()
                {
                    recorder.internal_error();
                }
            };
            threads.push(
                std::thread::Builder::new()
                    .name(name.to_owned())
                    .spawn(body)?,
            );
            Ok(())
        };
        for _ in 0..2 {
            start("capture", |recorder| recorder.work())?;
        }
        start("commit", |recorder| recorder.commit_loop())?;
        start("clock", |recorder| recorder.clock())?;
        start("scan", |recorder| recorder.scan_loop())?;
        start("watch", |recorder| recorder.watch())?;
        start("prune", |recorder| recorder.prune_loop())?;
        start("scrub", |recorder| recorder.scrub_loop())?;
        Ok(())
    }

    /// The table of files that it shares with the live tree.
    pub fn inodes(&self) -> &Arc<Inodes> {
        &self.inodes
    }

    /// The owner of the root of the directory, now.
    ///
    /// # Errors
    /// When it can't be looked at.
    pub fn owner(&self) -> std::io::Result<u32> {
        Ok(self.root()?.uid)
    }

    /// The root of the directory as it is now.
    ///
    /// # Errors
    /// When it can't be looked at.
    pub fn root(&self) -> std::io::Result<crate::backing::Stat> {
        crate::backing::stat_fd(self.inodes.backing().root())
    }

    /// Why nothing is recorded, if nothing is.
    pub fn stopped(&self) -> Option<String> {
        self.trouble.stop_reason()
    }

    /// What tests have set.
    pub fn hooks(&self) -> &Hooks {
        &self.options.hooks
    }

    /// Where history is kept.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Says who flushes shared mappings before a snapshot.
    pub fn set_flusher(&self, flusher: Arc<dyn Flush>) {
        *self.flusher.lock() = Some(flusher);
    }

    /// Says who makes programs ready for a snapshot.
    pub fn set_quiesce(&self, quiesce: Arc<dyn Quiesce>) {
        *self.quiesce.lock() = Some(quiesce);
    }

    /// Counts everything that could let a waiting operation go on.
    pub fn wakeups(&self) -> u64 {
        self.signal.count()
    }

    /// Something has happened that could: whoever waits for it looks again.
    pub fn wake(&self) {
        self.signal.raise();
    }

    /// Waits until `wakeups` differs from `seen`, or the time is over.
    pub fn wait_wakeup(&self, seen: u64, at_most: Duration) -> u64 {
        let _waiting = self.haste.wait();
        self.signal.wait(seen, at_most)
    }

    /// Cuts the open epoch, if anything is noted in it or `always`.
    fn cut(
        &self,
        kind: EpochKind,
        always: bool,
        unseen: bool,
        new: Vec<NewSnapshot>,
    ) -> Option<Arc<Pending>> {
        let touched = epoch::entries_touched();
        let mut cutter = self.cutter.lock();
        let noted = self.open.load().body.noted.load(Ordering::Acquire);
        if self.is_ending() || (!always && noted == 0) {
            return None;
        }
        let number = cutter.next;
        let cut = Cut {
            time: cutter.tick(),
            wall: Timestamp::now(),
            kind,
            quiet: self.since_last_note() >= limits::QUIET,
            unseen_mappings: unseen,
        };
        let (old, pending) = self.close_open(&mut cutter, number, cut, new);
        drop(cutter);
        drop(old);
        self.signal.raise();
        self.counters
            .cut(epoch::entries_touched().wrapping_sub(touched));
        Some(pending)
    }

    /// What is noted from here on belongs to the epoch `number`; what was noted up to here waits to be
    /// captured. What is returned first goes when the lock has gone.
    fn close_open(
        &self,
        cutter: &mut Cutter,
        number: Epoch,
        cut: Cut,
        new: Vec<NewSnapshot>,
    ) -> (Arc<Held>, Arc<Pending>) {
        cutter.next = number.next();
        let old = self.open.swap(Held::open(number, self.signal.clone()));
        *old.body.cut.lock() = Some(cut);
        let weight = old.body.noted.load(Ordering::Relaxed) + limits::EPOCH_WEIGHT;
        let pending = Arc::new(Pending {
            body: old.body.clone(),
            weight,
            results: Mutex::default(),
            left: AtomicU64::new(0),
            snapshots: Mutex::new(new),
            outcome: Mutex::new(None),
        });
        self.weight.take(weight);
        cutter.pending.push_back(pending.clone());
        cutter.last_cut = Instant::now();
        (old, pending)
    }

    /// How many cuts were made, and how many notes they touched, all together.
    pub fn cut_work(&self) -> (u64, u64) {
        self.counters.cut_work()
    }

    fn since_last_note(&self) -> Duration {
        let last = Duration::from_millis(self.last_noted_ms.load(Ordering::Relaxed));
        self.born.elapsed().saturating_sub(last)
    }

    fn pending_epochs(&self) -> usize {
        self.cutter.lock().pending.len()
    }

    /// Whether one more epoch may be cut before those that are have been captured.
    fn has_room_for_epoch(&self) -> bool {
        self.weight.has_room(1, self.options.hooks.pending_weight)
    }

    /// Whether what is noted by now leaves room for more.
    fn has_room_for_notes(&self) -> bool {
        let (open, bound) = (self.open_notes(), self.options.hooks.pending_weight);
        self.weight.has_room(open + 1, bound)
    }

    /// Makes room for one more, since the store does not answer; false if that would be too much.
    fn lend_notes(&self) -> bool {
        let (open, bound) = (self.open_notes(), self.options.hooks.pending_weight);
        let lends = self.weight.taken() + open < bound.saturating_mul(limits::NOTES_SLOW_TIMES);
        if lends {
            self.weight.lend(open + 1, bound);
        }
        lends
    }

    fn open_notes(&self) -> u64 {
        self.open.load().body.noted.load(Ordering::Relaxed)
    }

    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// Attributes of a file with the file system's clock, for a version.
    fn look(&self, inode: &Inode) -> std::io::Result<crate::inodes::track::Look> {
        let at = now_of_file_system();
        let stat = self.inodes.stat(inode)?;
        Ok(crate::inodes::track::Look { stat, at })
    }

    /// Captures and commits what is noted, stops a scan that is under way (the next start takes
    /// it up again), and notes that all is on the disk. `progress` is called now and then.
    ///
    /// # Errors
    /// When not everything could be recorded; the rest is found by the next scan.
    pub fn finish(&self, progress: &dyn Fn(&Status)) -> Result<(), CaptureError> {
        if self.options.off {
            return Ok(());
        }
        if self.store.longest_call() >= limits::STORE_STUCK && !self.trouble.is_recording() {
            // Nothing that waits for it would ever end; the next mount finds what is missing.
            return Err(CaptureError::Stopped(self.trouble.reason()));
        }
        self.stop_scan();
        let mut result = self.sync_with(Patience::ENDLESS, progress);
        let clean = result.is_ok() && self.trouble.is_recording() && self.scan.is_whole();
        {
            // Nothing is cut after this: nobody would record it.
            let _cutter = self.cutter.lock();
            self.ending.store(true, Ordering::Release);
        }
        self.signal.raise();
        self.queue.close();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            if thread.join().is_err() && result.is_ok() {
                result = Err(CaptureError::Stopped("a thread ended by itself".to_owned()));
            }
        }
        self.close_gap();
        if clean {
            self.inodes.backing().sync()?;
            self.note_synced(true)?;
            if !self.space_is_low()
                && let Err(error) = self.store.put_away()
            {
                // It is all there, and read again by who opens the store.
                log::warn!("the log of the store was not put away: {error}");
            }
        }
        result
    }
}

impl Cutter {
    /// The next instant: never the same twice, never going back.
    fn tick(&mut self) -> Timestamp {
        self.last_time = Timestamp::now().max(Timestamp(self.last_time.0.saturating_add(1)));
        self.last_time
    }
}

/// What the file systems of Linux take for "now": the clock of the last timer tick.
pub fn now_of_file_system() -> crate::format::record::FileTime {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    crate::format::record::FileTime {
        sec: now.tv_sec,
        nsec: u32::try_from(now.tv_nsec).unwrap_or(0),
    }
}
