//! What is left out of history, at the live tree: each entry of the table of files has a mark, and
//! whoever changes a file asks for that first.
//!
//! 1. A mark is made of the entry's name, kind and the mark of the folder above, at the first look,
//!    and is then good for one generation of rules: a change of rules, or of a folder's place, takes
//!    the next generation and touches no entry.
//! 2. A folder that is left out is recorded with its attributes and without its names. Of what is
//!    below it nothing is noted, preserved or kept, and nothing of it makes a cut.
//! 3. What is noted already is preserved until it is recorded, also of a file that is left out since
//!    (`Track::left`).
//! 4. A generation begins with a scan, at one instant (`begin_rescan`): what is left out from now on
//!    goes, what is not any more comes in whole. Versions from before go by the rules from before
//!    (`matcher_at`).
//! 5. Who changes what is left out holds an epoch as everybody does: the scan waits for him.

use super::Recorder;
use super::epoch::{self, Cut, Held};
use super::left_out::Folders;
use crate::backing;
use crate::format::record::{EpochKind, Kind};
use crate::id::Epoch;
use crate::inodes::{Inode, Place};
use crate::limits;
use crate::pattern::{CACHE_SIGNATURE, CACHE_TAG, Matcher};
use crate::store::{Store, StoreError};
use crate::time::Timestamp;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

/// How far a file is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// As everything is by default.
    Recorded = 0,
    /// A folder that is left out: itself, not what is in it.
    Hollow = 1,
    /// Not at all.
    Out = 2,
    /// It has a name where nothing is recorded, and others that may be elsewhere: as if recorded,
    /// and the capture finds out.
    Linked = 3,
    /// It was recorded; what is noted of it is still to be.
    Leaving = 4,
    /// The CACHEDIR.TAG of a folder that is left out: as `Out`, but what is done to it tells.
    Tag = 5,
    /// That of a folder that is recorded.
    RecordedTag = 6,
}

impl Mark {
    fn of(bits: u8) -> Mark {
        match bits {
            1 => Mark::Hollow,
            2 => Mark::Out,
            3 => Mark::Linked,
            4 => Mark::Leaving,
            5 => Mark::Tag,
            6 => Mark::RecordedTag,
            _ => Mark::Recorded,
        }
    }

    /// Nothing of it is recorded, nor is anything of it still to be.
    pub fn is_silent(self) -> bool {
        matches!(self, Mark::Out | Mark::Tag)
    }

    /// Nothing of it is recorded.
    pub fn is_out(self) -> bool {
        matches!(self, Mark::Out | Mark::Leaving | Mark::Tag)
    }
}

/// What is left out, and how far that has come.
pub(super) struct LiveRules {
    generation: AtomicU32,
    matcher: ArcSwap<Matcher>,
    /// The first epoch that goes by `matcher`; those before it that are still pending by `before`.
    /// There is no third: a scan waits until all that is older is recorded.
    first: AtomicU64,
    before: ArcSwap<Matcher>,
    /// What the next generation goes by, and since when that is said.
    next: Mutex<Option<(Arc<Matcher>, Timestamp)>>,
    /// A scan is to begin as soon as the one that is under way has ended.
    again: AtomicBool,
    /// Up to when what was said is in force.
    said: Mutex<Timestamp>,
    pub(super) folders: Mutex<Folders>,
    /// Folders whose CACHEDIR.TAG something was done to.
    tags: Mutex<Vec<(Arc<Inode>, Instant)>>,
    /// Marks made, for whoever counts.
    decided: AtomicU64,
}

impl LiveRules {
    /// As the store says.
    pub(super) fn load(store: &Store) -> Result<LiveRules, StoreError> {
        let rules = store.rules()?;
        let said = rules.last().map_or(Timestamp(0), |last| last.time);
        let ever = u32::from(!rules.is_empty());
        let matcher = matcher(rules.last().map(|last| &last.rules));
        Ok(LiveRules {
            generation: AtomicU32::new(ever),
            first: AtomicU64::new(0),
            before: ArcSwap::new(matcher.clone()),
            matcher: ArcSwap::new(matcher),
            next: Mutex::new(None),
            again: AtomicBool::new(false),
            said: Mutex::new(said),
            folders: Mutex::default(),
            tags: Mutex::default(),
            decided: AtomicU64::new(0),
        })
    }

    fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    /// Something was left out at some time: what the store holds may be no more, or not yet.
    pub(super) fn is_used(&self) -> bool {
        self.generation() > 0
    }

    pub(super) fn matcher(&self) -> Arc<Matcher> {
        self.matcher.load_full()
    }

    /// What was said last, whether or not a scan has begun by it.
    pub(super) fn said(&self) -> Arc<Matcher> {
        let next = self.next.lock();
        next.as_ref()
            .map_or_else(|| self.matcher(), |(next, _)| next.clone())
    }

    /// What a version of this epoch goes by.
    fn matcher_at(&self, epoch: Epoch) -> arc_swap::Guard<Arc<Matcher>> {
        match self.is_before(epoch) {
            true => self.before.load(),
            false => self.matcher.load(),
        }
    }

    /// Whether an epoch is from before the rules that are in force now.
    pub(super) fn is_before(&self, epoch: Epoch) -> bool {
        epoch.0 < self.first.load(Ordering::Acquire)
    }

    /// Whether the content of a file of so many bytes is left out of an epoch.
    pub(super) fn is_too_large(&self, epoch: Epoch, bytes: u64) -> bool {
        self.is_used() && self.matcher_at(epoch).is_too_large(bytes)
    }

    /// A scan has to follow the one that is under way.
    pub(super) fn wants_scan(&self) -> bool {
        self.again.load(Ordering::Acquire)
    }

    /// Takes the next generation, with the rules that were said meanwhile, from an epoch on. What is
    /// returned was left out until then, and is to be unpinned.
    #[must_use]
    pub(super) fn install(&self, first: Epoch) -> Vec<Arc<Inode>> {
        self.again.store(false, Ordering::Release);
        let folders = std::mem::take(&mut *self.folders.lock());
        self.before.store(self.matcher.load_full());
        self.first.store(first.0, Ordering::Release);
        if let Some((matcher, said)) = self.next.lock().take() {
            self.matcher.store(matcher);
            *self.said.lock() = said;
        }
        self.generation.fetch_add(1, Ordering::AcqRel);
        folders.into_values().map(|(folder, _)| folder).collect()
    }

    /// The same, if there is a reason.
    #[must_use]
    pub(super) fn install_said(&self, first: Epoch) -> Vec<Arc<Inode>> {
        match self.wants_scan() {
            true => self.install(first),
            false => Vec::new(),
        }
    }
}

/// What can't be read leaves nothing out: more is recorded than was wanted, not less.
fn matcher(rules: Option<&crate::pattern::Rules>) -> Arc<Matcher> {
    let matcher = rules.map(|rules| Matcher::new(rules.clone()));
    match matcher.transpose() {
        Ok(matcher) => Arc::new(matcher.unwrap_or_default()),
        Err(error) => {
            log::error!("nothing is left out: {error}");
            Arc::default()
        }
    }
}

/// Whether an open folder has a valid CACHEDIR.TAG.
pub(super) fn has_tag(folder: BorrowedFd<'_>) -> io::Result<bool> {
    let tag = backing::open_path_at(folder, CACHE_TAG)?;
    if Kind::from_mode(backing::stat_fd(tag.as_fd())?.mode) != Some(Kind::File) {
        return Ok(false);
    }
    let file = backing::reopen(tag.as_fd(), false)?;
    let mut start = vec![0; CACHE_SIGNATURE.len()];
    super::deed::read_full(file.as_fd(), &mut start, 0)?;
    Ok(start == CACHE_SIGNATURE)
}

impl Recorder {
    /// How often a mark was made.
    pub fn marks_made(&self) -> u64 {
        self.rules.decided.load(Ordering::Relaxed)
    }

    /// How far a file is recorded. Two loads, unless its mark is of an older generation.
    pub fn mark(&self, inode: &Arc<Inode>) -> Mark {
        let generation = self.rules.generation();
        match inode.mark() {
            (made, bits) if made == generation => Mark::of(bits),
            _ => self.decide(inode, generation),
        }
    }

    /// If nothing is noted of a change of `inode`: the epoch to hold until it is done. A scan by other
    /// rules, which may be by then, waits for that.
    pub(super) fn unnoted(&self, inode: &Arc<Inode>) -> Option<Arc<Held>> {
        if !self.mark(inode).is_silent() {
            return None;
        }
        let held = self.open.load_full();
        let mark = self.mark(inode);
        if mark == Mark::Tag {
            self.note_tag_of(inode);
        }
        mark.is_silent().then_some(held)
    }

    /// Makes the mark, and those of folders above that have none.
    fn decide(&self, inode: &Arc<Inode>, generation: u32) -> Mark {
        let root = self.inodes.root();
        let mut down = vec![inode.clone()];
        let mut above = loop {
            let deepest = &down[down.len() - 1];
            if Arc::ptr_eq(deepest, root) {
                break None;
            }
            let Some(place) = deepest.place() else {
                // It has no name any more: what it was, it stays.
                let (_, bits) = deepest.mark();
                let last = down.len() - 1;
                down[last].set_mark(generation, bits);
                down.pop();
                break Some(Mark::of(bits));
            };
            let (made, bits) = place.parent.mark();
            if made == generation {
                break Some(Mark::of(bits));
            }
            down.push(place.parent);
        };
        while let Some(next) = down.pop() {
            let mark = match above {
                None => Mark::Recorded,
                Some(above) => self.mark_below(above, &next),
            };
            self.rules.decided.fetch_add(1, Ordering::Relaxed);
            next.set_mark(generation, mark as u8);
            above = Some(mark);
        }
        above.unwrap_or(Mark::Recorded)
    }

    fn mark_below(&self, above: Mark, inode: &Arc<Inode>) -> Mark {
        let Some(place) = inode.place() else {
            return Mark::Recorded;
        };
        let mark = self.mark_of_place(above, inode, &place);
        if !mark.is_out() {
            if !inode.track.is_idle() {
                inode.track.lock().left = false;
            }
            return mark;
        }
        let links = || self.look(inode).map_or(1, |look| look.stat.nlink);
        if inode.kind != Kind::Dir && links() > 1 {
            return Mark::Linked;
        }
        if !inode.track.is_idle() {
            let mut track = inode.track.lock();
            if !track.versions.is_empty() {
                track.left = true;
                return Mark::Leaving;
            }
        }
        mark
    }

    fn mark_of_place(&self, above: Mark, inode: &Arc<Inode>, place: &Place) -> Mark {
        match (above == Mark::Recorded, inode.kind) {
            (true, Kind::Dir) => match self.why_hollow(inode, &place.parent, &place.name) {
                Some(pattern) => {
                    self.note_folder(inode, pattern);
                    Mark::Hollow
                }
                None => Mark::Recorded,
            },
            (true, _) if self.records_name(&place.parent, &place.name, inode.kind) => {
                let caches = self.rules.matcher.load().rules().caches;
                match caches && place.name == CACHE_TAG {
                    true => Mark::RecordedTag,
                    false => Mark::Recorded,
                }
            }
            (_, Kind::File) if place.name == CACHE_TAG => Mark::Tag,
            _ => Mark::Out,
        }
    }

    /// Why a folder in a recorded one is left out: `Some(None)` for its CACHEDIR.TAG.
    fn why_hollow(
        &self,
        inode: &Arc<Inode>,
        parent: &Arc<Inode>,
        name: &[u8],
    ) -> Option<Option<String>> {
        let matcher = self.rules.matcher.load();
        if matcher.is_empty() {
            return None;
        }
        let path = self.path_in(parent, name);
        if let Some(pattern) = matcher.pattern_for(&path, true) {
            return Some(Some(pattern.to_owned()));
        }
        (matcher.rules().caches && self.has_tag(inode)).then_some(None)
    }

    /// A name in a directory is changed: it may be what makes a cache of it.
    pub(super) fn note_tag(&self, directory: &Arc<Inode>, name: &[u8]) {
        if name == CACHE_TAG && self.rules.matcher.load().rules().caches {
            self.doubt_tag(directory);
        }
    }

    fn path_in(&self, directory: &Arc<Inode>, name: &[u8]) -> Vec<u8> {
        let mut path = self.inodes.path_of(directory);
        path.push(name.to_vec());
        path.join(&b'/')
    }

    /// Whether a name is recorded, of whatever stands or is to stand there.
    pub fn records_name(&self, directory: &Arc<Inode>, name: &[u8], kind: Kind) -> bool {
        if !self.rules.is_used() {
            return true;
        }
        if self.mark(directory) != Mark::Recorded {
            return false;
        }
        let matcher = self.rules.matcher.load();
        kind == Kind::Dir
            || matcher.rules().patterns.is_empty()
            || matcher
                .pattern_for(&self.path_in(directory, name), false)
                .is_none()
    }

    /// Something is being done to the CACHEDIR.TAG in a folder: it is looked at a little later.
    pub(super) fn doubt_tag(&self, directory: &Arc<Inode>) {
        let mut tags = self.rules.tags.lock();
        let now = Instant::now();
        match tags
            .iter_mut()
            .find(|(known, _)| Arc::ptr_eq(known, directory))
        {
            Some((_, at)) => *at = now,
            None => {
                self.inodes.pin(directory);
                tags.push((directory.clone(), now));
            }
        }
    }

    /// Looks at the folders of which that is due; a scan follows where one is a cache now, or is
    /// none any more.
    pub(super) fn look_at_tags(&self) {
        let due = {
            let mut tags = self.rules.tags.lock();
            let mut due = Vec::new();
            tags.retain(|(folder, at)| {
                let is_due = at.elapsed() >= limits::TAG_WAIT;
                if is_due {
                    due.push(folder.clone());
                }
                !is_due
            });
            due
        };
        let mut changed = false;
        for folder in due {
            let matcher = self.rules.matcher();
            let mark = self.mark(&folder);
            if let (Some(place), Mark::Recorded | Mark::Hollow) = (folder.place(), mark) {
                let path = self.path_in(&place.parent, &place.name);
                let by_pattern = matcher.pattern_for(&path, true).is_some();
                let is_cache = matcher.rules().caches && self.has_tag(&folder);
                changed |= !by_pattern && is_cache != (mark == Mark::Hollow);
            }
            self.inodes.unpin(&folder);
        }
        if changed {
            self.begin_rescan();
        }
    }

    /// What a folder, or a file, would be under another name.
    pub(super) fn mark_at(&self, inode: &Arc<Inode>, directory: &Arc<Inode>, name: &[u8]) -> Mark {
        if !self.rules.is_used() {
            return Mark::Recorded;
        }
        if inode.kind != Kind::Dir {
            let recorded = self.records_name(directory, name, inode.kind);
            return if recorded { Mark::Recorded } else { Mark::Out };
        }
        if self.mark(directory) != Mark::Recorded {
            return Mark::Out;
        }
        match self.why_hollow(inode, directory, name) {
            Some(_) => Mark::Hollow,
            None => Mark::Recorded,
        }
    }

    /// Whether a folder gets another mark by being moved: then the move is not noted, and a scan
    /// finds it.
    pub fn folder_crosses(&self, inode: &Arc<Inode>, directory: &Arc<Inode>, name: &[u8]) -> bool {
        let was = match self.mark(inode) {
            mark if mark.is_out() => Mark::Out,
            mark => mark,
        };
        inode.kind == Kind::Dir && was != self.mark_at(inode, directory, name)
    }

    /// Whether a name of a folder decides what is left out below it.
    pub fn decides_below(&self, directory: &Arc<Inode>, name: &[u8]) -> bool {
        let matcher = self.rules.matcher.load();
        matcher.is_deep() && matcher.decides_below(&self.path_in(directory, name))
    }

    /// What the store says is left out has changed: it is so from the next state on.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn rules_changed(&self) -> Result<(), StoreError> {
        let rules = self.store.rules()?;
        if let Some(last) = rules.last() {
            let next = (matcher(Some(&last.rules)), last.time);
            *self.rules.next.lock() = Some(next);
            self.begin_rescan();
        }
        Ok(())
    }

    /// Begins a scan of everything as it is now, under marks that are made anew; or, if one is under
    /// way, sees to it that another one follows.
    pub fn begin_rescan(&self) {
        let touched = epoch::entries_touched();
        let mut cutter = self.cutter.lock();
        let ready = self.trouble.is_recording() && !self.scan.is_stopped();
        if !ready || self.scan.is_running() {
            self.rules.again.store(true, Ordering::Release);
            drop(cutter);
            self.signal.raise();
            return;
        }
        let number = cutter.next;
        let before = self.rules.install(number);
        let cut = Cut {
            time: cutter.tick(),
            wall: Timestamp::now(),
            kind: EpochKind::Checkpoint,
            quiet: false,
            unseen_mappings: false,
        };
        self.begin_scan(number, cutter.tick(), false);
        let (old, _) = self.close_open(&mut cutter, number.next(), cut, Vec::new());
        drop(cutter);
        drop(old);
        self.unpin_all(before);
        self.signal.raise();
        self.counters
            .cut(epoch::entries_touched().wrapping_sub(touched));
    }

    /// A file is found under a name that is recorded: it is, whatever its other names are.
    pub(super) fn claim(&self, inode: &Arc<Inode>) {
        if self.rules.is_used()
            && inode.kind != Kind::Dir
            && matches!(
                self.mark(inode),
                Mark::Out | Mark::Linked | Mark::Leaving | Mark::Tag
            )
        {
            let (generation, _) = inode.mark();
            inode.set_mark(generation, Mark::Recorded as u8);
        }
    }

    /// All that was noted of a file that is left out since is recorded. Under its track.
    pub(super) fn has_left(&self, inode: &Inode) {
        let (generation, bits) = inode.mark();
        if Mark::of(bits) == Mark::Leaving {
            // Out, or the tag of a cache: the next look finds out.
            inode.set_mark(generation.wrapping_sub(1), Mark::Out as u8);
        }
    }

    /// The rules that are in force are those of the scan's epoch and of what follows.
    pub(super) fn begin_rules(&self, epoch: Epoch) -> Result<(), StoreError> {
        if !self.rules.is_used() {
            return Ok(());
        }
        let said = *self.rules.said.lock();
        self.store.begin_rules(said, epoch)
    }
}
