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
use super::ranges::RangeSet;
use super::stash::Stash;
use crate::backing::Stat;
use crate::format::record::{Actor, Content, FileTime, LostReason, What};
use crate::id::{Epoch, FileId};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

/// Ranges beyond which a file counts as changed as a whole.
const RANGES_MAX: usize = 256;

/// Which bytes of a file changed in an epoch.
#[derive(Clone, Debug, Default)]
pub struct Dirty {
    /// All of it, or more places than are worth remembering.
    pub all: bool,
    pub ranges: RangeSet,
}

impl Dirty {
    /// Nothing changed.
    pub fn is_clean(&self) -> bool {
        !self.all && self.ranges.is_empty()
    }

    /// Joins a range in.
    pub fn insert(&mut self, range: std::ops::Range<u64>) {
        if !self.all {
            self.ranges.insert(range);
            if self.ranges.count() > RANGES_MAX {
                self.everything();
            }
        }
    }

    /// All bytes changed.
    pub fn everything(&mut self) {
        self.all = true;
        self.ranges = RangeSet::default();
    }
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
        }
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
