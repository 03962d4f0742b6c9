//! What is remembered of a file between a change and its record in the store: the versions that
//! are not committed yet, the bytes that were preserved for them, and where the scan is with it.
//! Pure state: who changes it and when is the affair of `capture`.
//!
//! 1. `versions` are in ascending order of their epochs; only the last one can belong to the
//!    open epoch.
//! 2. A version whose file was touched in a later epoch holds the `stat` of its own epoch.
//! 3. A directory that the scan has not reached holds in `names` what each changed name was when
//!    the scan began.

use super::inode::Inode;
use super::stash::Stash;
use crate::backing::Stat;
use crate::format::ranges::RangeSet;
use crate::format::record::{Actor, Content, FileTime, LostReason, What};
use crate::id::{Epoch, FileId};
use crate::limits;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

/// Separate ranges that are remembered to the byte.
const RANGES_EXACT: usize = 1024;
/// Beyond, as many as this of whole blocks, which are as large as it takes: what is written to at
/// random (a database, the image of a disk) is not read as a whole each time.
const RANGES_MAX: usize = 8192;

/// Which bytes of a file changed in an epoch.
#[derive(Clone, Debug, Default)]
pub struct Dirty {
    /// All of it.
    pub all: bool,
    /// What changed, and what lies in the same block if there was too much of it (`is_exact`); the
    /// last block may reach beyond the end of the file.
    pub ranges: RangeSet,
    /// Size of the blocks, bytes; 0 to the byte.
    block: u64,
}

impl Dirty {
    /// Nothing changed.
    pub fn is_clean(&self) -> bool {
        !self.all && self.ranges.is_empty()
    }

    /// Whether nothing but what changed is in it.
    pub fn is_exact(&self) -> bool {
        !self.all && self.block == 0
    }

    /// Joins a range in.
    pub fn insert(&mut self, range: Range<u64>) {
        if self.all || range.is_empty() {
            return;
        }
        self.ranges.insert(blocks_of(&range, self.block));
        let max = match self.block {
            0 => RANGES_EXACT,
            _ => RANGES_MAX,
        };
        if self.ranges.count() > max {
            self.coarsen();
        }
    }

    /// Blocks so large that half as many would do.
    fn coarsen(&mut self) {
        while self.block == 0 || self.ranges.count() > RANGES_MAX / 2 {
            self.block = (2 * self.block).max(limits::FIXED_CHUNK.into());
            let mut coarse = RangeSet::default();
            for range in self.ranges.iter() {
                coarse.insert(blocks_of(&range, self.block));
            }
            self.ranges = coarse;
        }
    }

    /// All bytes changed.
    pub fn everything(&mut self) {
        *self = Dirty {
            all: true,
            ..Dirty::default()
        };
    }
}

/// The blocks in which a range lies.
fn blocks_of(range: &Range<u64>, block: u64) -> Range<u64> {
    if block == 0 {
        return range.clone();
    }
    let end = range.end.checked_next_multiple_of(block);
    range.start / block * block..end.unwrap_or(u64::MAX)
}

/// Attributes and the file system's clock when they were looked at.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub stat: Stat,
    pub at: FileTime,
}

/// Extended attributes by name.
pub type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// One file in one epoch that is not committed yet.
#[derive(Debug)]
pub struct Version {
    pub epoch: Epoch,
    pub what: What,
    pub dirty: Dirty,
    /// As of the end of the epoch; kept by the first operation of a later one.
    pub look: Option<Look>,
    /// Likewise, kept before they change.
    pub xattrs: Option<Xattrs>,
    /// Where it stood then, when it has moved since.
    pub place: Option<(Arc<Inode>, Vec<u8>)>,
    /// Its content is in the store, or is known to be lost.
    pub captured: bool,
    pub lost: Option<LostReason>,
    /// Since when an operation waits for its capture.
    pub awaited: Option<Instant>,
    /// Content of it that others had just written was overwritten, and that is noted.
    pub overwritten: bool,
    pub actors: Vec<Arc<Actor>>,
    /// Who of them changed what of the content; nobody: it is not noted.
    pub writers: Vec<Writer>,
}

/// Who changed content, and where.
#[derive(Clone, Debug)]
pub struct Writer {
    pub by: Arc<Actor>,
    /// Of one who is alone it is that of the version.
    pub dirty: Dirty,
    /// The smallest size that it set, or changed.
    pub resized: Option<u64>,
}

impl Writer {
    fn bytes(&self, dirty: &Dirty) -> RangeSet {
        // What others wrote in the same block is not his.
        if !dirty.is_exact() {
            return RangeSet::from(0);
        }
        let mut bytes = dirty.ranges.clone();
        if let Some(from) = self.resized {
            bytes.insert(from..u64::MAX);
        }
        bytes
    }
}

impl Version {
    /// Nothing changed yet.
    pub fn new(epoch: Epoch) -> Version {
        Version {
            epoch,
            what: What::default(),
            dirty: Dirty::default(),
            look: None,
            xattrs: None,
            place: None,
            captured: false,
            lost: None,
            awaited: None,
            overwritten: false,
            actors: Vec::new(),
            writers: Vec::new(),
        }
    }

    /// Content changes: `range`; by a new size (`to`) from the smaller one on.
    pub fn note_content(&mut self, actor: &Arc<Actor>, range: Range<u64>, to: Option<u64>) {
        self.note_writer(actor, &range, to.is_some());
        match to {
            Some(0) => self.dirty.everything(),
            _ => self.dirty.insert(range),
        }
    }

    /// What is new is not noted by its bytes: all of it is.
    fn note_writer(&mut self, actor: &Arc<Actor>, range: &Range<u64>, is_size: bool) {
        let unnoted = self.writers.is_empty() && !self.dirty.is_clean();
        if unnoted || self.what.has(What::CREATED) {
            return;
        }
        let is_this = |writer: &Writer| Arc::ptr_eq(&writer.by, actor) || writer.by == *actor;
        let at = match self.writers.iter().position(is_this) {
            Some(at) => at,
            None => {
                if let [alone] = self.writers.as_mut_slice() {
                    alone.dirty = self.dirty.clone();
                }
                self.writers.reserve_exact(1);
                self.writers.push(Writer {
                    by: actor.clone(),
                    dirty: Dirty::default(),
                    resized: None,
                });
                self.writers.len() - 1
            }
        };
        let is_alone = self.writers.len() == 1;
        let writer = &mut self.writers[at];
        if is_size {
            writer.resized = Some(writer.resized.map_or(range.start, |at| at.min(range.start)));
        }
        if !is_alone {
            writer.dirty.insert(range.clone());
        }
    }

    /// Who wrote what; nothing: it is not noted.
    pub fn written(&self) -> Vec<(Arc<Actor>, RangeSet)> {
        let is_alone = self.writers.len() == 1;
        let of = |writer: &Writer| {
            let dirty = match is_alone {
                true => &self.dirty,
                false => &writer.dirty,
            };
            (writer.by.clone(), writer.bytes(dirty))
        };
        self.writers.iter().map(of).collect()
    }

    /// Adds who changed it.
    pub fn note_actor(&mut self, actor: &Arc<Actor>) {
        if !self
            .actors
            .iter()
            .any(|known| Arc::ptr_eq(known, actor) || known == actor)
        {
            self.actors.push(actor.clone());
        }
    }
}

/// Which file of the store this is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// To be looked up by inode number and birth.
    #[default]
    Unknown,
    /// Made while we watched: certainly not in the store.
    New,
    Known(FileId),
}

/// See the module's head.
#[derive(Debug, Default)]
pub struct Track {
    pub identity: Identity,
    /// Its birth, kept when its last name goes: with the number it tells which file of the store
    /// it was, also when it can't be looked at any more.
    pub birth: Option<Option<FileTime>>,
    /// When and in which epoch its content changed last.
    pub changed: Option<(Instant, Epoch)>,
    /// The same of its names: content is to be found under the name that it had.
    pub named: Option<(Instant, Epoch)>,
    pub versions: Vec<Version>,
    pub stash: Stash,
    /// What the newest captured version holds, and its size.
    pub recorded: Option<(Content, u64)>,
    /// It has no name any more: nothing of it is noted.
    pub nameless: bool,
    /// It was recorded and is left out now: nothing of it is noted, and what is noted is preserved.
    pub left: bool,
    /// Bytes of the live disk that it takes because it is not captured, though it has no name.
    pub kept_bytes: u64,
    /// Of a directory that is not scanned: what the changed names were when the scan began.
    pub names: HashMap<Vec<u8>, Option<Arc<Inode>>>,
}

impl Track {
    /// Nothing is left to be recorded or kept: `changed`, `named` and `recorded` speed up what
    /// follows on a version, and are of no use without one.
    pub(super) fn is_idle(&self) -> bool {
        self.versions.is_empty()
            && self.stash.is_empty()
            && self.names.is_empty()
            && self.birth.is_none()
            && !self.nameless
            && !self.left
    }

    /// Puts a version before the one that is `at` by now. Most files have one at a time, and there may
    /// be many files: room for no more than that.
    pub fn add(&mut self, at: usize, version: Version) {
        self.versions.reserve_exact(1);
        self.versions.insert(at, version);
    }

    /// The same behind all others.
    pub fn push(&mut self, version: Version) {
        self.add(self.versions.len(), version);
    }

    /// The newest version before `epoch` that is not captured yet.
    pub fn older_pending(&mut self, epoch: Epoch) -> Option<&mut Version> {
        self.versions
            .iter_mut()
            .rev()
            .find(|v| v.epoch < epoch && !v.captured)
    }

    /// What the versions before `epoch` hold is destroyed without being kept. A capture that reads it
    /// just then looks at this again when it has read.
    pub fn lose_before(&mut self, epoch: Epoch, reason: LostReason) {
        for version in &mut self.versions {
            if version.epoch < epoch && !version.captured {
                version.lost.get_or_insert(reason);
            }
        }
    }

    /// The version of exactly this epoch.
    pub fn version(&mut self, epoch: Epoch) -> Option<&mut Version> {
        self.versions.iter_mut().rev().find(|v| v.epoch == epoch)
    }

    /// Whether its content is still to be captured.
    pub fn is_pending(&self) -> bool {
        let needs = |v: &Version| !v.captured && !v.what.has(What::GONE);
        self.versions.iter().any(needs)
    }

    /// The oldest epoch that still needs preserved bytes.
    pub fn oldest_pending(&self) -> Option<Epoch> {
        self.versions.iter().find(|v| !v.captured).map(|v| v.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(tgid: u32) -> Arc<Actor> {
        Arc::new(Actor {
            tgid,
            start: 0,
            boot: [0; 16],
            uid: 0,
            comm: Vec::new(),
            command: Vec::new(),
            run: 0,
            ancestors: Vec::new(),
        })
    }

    fn told(version: &Version) -> Vec<(u32, Vec<(u64, u64)>)> {
        let ends = |bytes: RangeSet| bytes.iter().map(|range| (range.start, range.end)).collect();
        let written = version.written().into_iter();
        written.map(|(by, bytes)| (by.tgid, ends(bytes))).collect()
    }

    #[test]
    fn each_writer_has_its_own_ranges() {
        let (one, two) = (actor(1), actor(2));
        let mut version = Version::new(Epoch(1));
        version.note_content(&one, 0..10, None);
        version.note_content(&one, 20..30, None);
        assert_eq!(told(&version), [(1, vec![(0, 10), (20, 30)])]);
        version.note_content(&two, 50..60, None);
        version.note_content(&one, 10..20, None);
        let both = [(1, vec![(0, 30)]), (2, vec![(50, 60)])];
        assert_eq!(told(&version), both);
        let ranges: Vec<Range<u64>> = version.dirty.ranges.iter().collect();
        assert_eq!(ranges, [0..30, 50..60]);
    }

    #[test]
    fn many_places_are_remembered_by_blocks_and_never_as_less_than_they_are() {
        let block = u64::from(limits::FIXED_CHUNK);
        let mut dirty = Dirty::default();
        for n in 0..1024 {
            dirty.insert(n * 5 * block + 10..n * 5 * block + 20);
        }
        assert!(dirty.is_exact());
        assert_eq!(dirty.ranges.bytes(), 10 * 1024);
        dirty.insert(7 * block + 1..7 * block + 2);
        assert!(!dirty.is_exact() && !dirty.all);
        assert_eq!(dirty.ranges.count(), 1025);
        assert_eq!(dirty.ranges.bytes(), 1025 * block);
        // At random in a file of 100 GiB, more than is remembered even so.
        let (mut seed, mut places) = (7u64, Vec::new());
        for _ in 0..40_000 {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            places.push((seed >> 20) % (100 << 30));
            dirty.insert(places[places.len() - 1]..places[places.len() - 1] + 4096);
            assert!(dirty.ranges.count() <= RANGES_MAX);
        }
        assert!(
            places
                .iter()
                .all(|at| dirty.ranges.missing(*at..at + 4096).is_empty())
        );
        assert!(
            dirty.ranges.bytes() < 99 << 30,
            "not all of it: {}",
            dirty.ranges.bytes()
        );
        dirty.insert(u64::MAX - 1..u64::MAX);
        assert_eq!(dirty.ranges.end(), Some(u64::MAX));
    }

    #[test]
    fn who_wrote_more_places_than_are_remembered_to_the_byte_wrote_anywhere() {
        let mut version = Version::new(Epoch(1));
        for n in 0..1025 {
            version.note_content(&actor(1), n * 100..n * 100 + 1, None);
        }
        assert_eq!(told(&version), [(1, vec![(0, u64::MAX)])]);
    }

    #[test]
    fn a_size_is_all_from_the_smaller_one_on() {
        let (one, two) = (actor(1), actor(2));
        let mut version = Version::new(Epoch(1));
        version.note_content(&one, 80..100, Some(80));
        assert_eq!(told(&version), [(1, vec![(80, u64::MAX)])]);
        version.note_content(&two, 0..80, Some(0));
        version.note_content(&two, 0..5, None);
        assert_eq!(told(&version)[1], (2, vec![(0, u64::MAX)]));
    }

    #[test]
    fn what_is_new_or_was_changed_unseen_is_not_noted() {
        let mut version = Version::new(Epoch(1));
        version.what = What::CREATED;
        version.note_content(&actor(1), 0..10, None);
        assert!(version.written().is_empty());
        let mut version = Version::new(Epoch(1));
        version.dirty.everything();
        version.note_content(&actor(1), 0..10, None);
        assert!(version.written().is_empty());
    }
}
