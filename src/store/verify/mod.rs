//! Verify: every promise of the store counted again from the bytes. It reads one consistent
//! picture, so it may run while others write, collects what it finds, and never stops at the
//! first damage. Memory is bounded: what is counted by hash is counted in as many walks as it takes.
//!
//! 1. Every chunk is named by the index, or is in a block of numbers still in use; with `data` it
//!    has the bytes that its name says.
//! 2. Every index entry has its chunk, and as many references as there are contents and lists that
//!    name it; every content and piece has its index entry.
//! 3. Every version has its line in the changes of the kept epoch that first saw it.
//! 4. Every name of a whole epoch leads to a file of that kind.
//!    Lines of change stand under kept epochs only.
//! 5. The state of every listed epoch is that of its header, or what a repair left of it, and the
//!    headers are one chain, or begin anew where a repair says so.
//! 6. Every snapshot names an epoch that is there; every name that was given and not taken away, as
//!    the log says, is there.
//! 7. Purged content has a tombstone, which is as it was written.
//! 8. A part of a family that can't be read is stepped over, and what lies behind it is checked.

mod chunks;
mod numbers;
mod records;
pub(super) mod skip;
mod states;

use super::mended::Mended;
use super::view::{View, decode, is_listed};
use super::{Result, Store, StoreError};
use crate::format::key::{self, Family};
use crate::format::lthash::LtHash;
use crate::format::record::*;
use crate::id::*;
use crate::limits;
use numbers::Numbers;
use std::collections::{HashMap, HashSet};

/// Something that is not as it was stored, or contradicts something else.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    #[error(transparent)]
    Damage(#[from] StoreError),
    #[error("a part of the family {family} can't be read")]
    Unreadable { family: Family },
    #[error("the chunk {hash} (number {number}) is missing or damaged")]
    Chunk { hash: Hash, number: ChunkNumber },
    #[error("the chunk number {number} is named by nothing")]
    Unnamed { number: ChunkNumber },
    #[error("the content of file {id} as of epoch {epoch} can't be read: {hash} is damaged")]
    Content {
        id: FileId,
        epoch: Epoch,
        hash: Hash,
    },
    #[error("the chunk {hash} has {found} references, {counted} records name it")]
    References {
        hash: Hash,
        found: u64,
        counted: u64,
    },
    #[error("the change of file {id} in epoch {epoch} is not in the list of changes of {kept}")]
    InodeLine {
        id: FileId,
        epoch: Epoch,
        kept: Epoch,
    },
    #[error("a change of a name in directory {dir} in epoch {epoch} is not in the list of {kept}")]
    DirentLine {
        dir: FileId,
        name: Vec<u8>,
        epoch: Epoch,
        kept: Epoch,
    },
    #[error("a name in directory {dir} leads to file {id}, which epoch {epoch} does not have")]
    Dangling {
        dir: FileId,
        id: FileId,
        epoch: Epoch,
    },
    #[error("the records of epoch {epoch} do not have the state that its header says")]
    State { epoch: Epoch, counted: Hash },
    #[error("the sum that the next state builds on is not that of the newest one")]
    Sum { epoch: Epoch },
    #[error("the header of epoch {epoch} does not continue the one before it")]
    Seal { epoch: Epoch },
    #[error("epoch {epoch} has changes and no record")]
    NoEpoch { epoch: Epoch },
    #[error("epoch {epoch} has no header")]
    NoHeader { epoch: Epoch },
    #[error("the content of file {id} as of epoch {epoch} was purged, and no tombstone says so")]
    NoTombstone { id: FileId, epoch: Epoch },
    #[error("the tombstone {number} is not as it was written")]
    Tombstone { number: u64 },
    #[error("the snapshot {name} names epoch {epoch}, which is not there")]
    Snapshot { name: String, epoch: Epoch },
    #[error("the snapshot {name} is not in the list, and nobody deleted it")]
    LostName { name: String },
}

/// How far a verify is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub chunks: u64,
    pub chunk_bytes: u64,
    /// Versions of files and names.
    pub versions: u64,
}

/// What a verify found.
#[derive(Debug, Default)]
pub struct Report {
    /// At most `limits::PROBLEMS_MAX` of them.
    pub problems: Vec<Problem>,
    /// How many there were.
    pub problems_found: u64,
    /// How many of them are chunks that nothing names.
    pub unnamed: u64,
    pub read: Progress,
    /// Epochs whose state was counted again.
    pub epochs: u64,
    /// Epochs that are what a repair left of them.
    pub mended: u64,
    /// A part of the database could not be read: what was counted is too little.
    pub blind: bool,
    /// False: it was ended before.
    pub finished: bool,
}

/// How thorough a verify is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Of the chunks, so many percent are decompressed and hashed; all are looked for.
    pub hashed_percent: u8,
    /// Which of them, if not all: another number, other chunks.
    pub seed: u64,
}

impl Depth {
    /// Every chunk is hashed.
    pub const DATA: Depth = Depth {
        hashed_percent: 100,
        seed: 0,
    };

    fn hashes(self, number: ChunkNumber) -> bool {
        // Neighbours must not share their fate: they are one file.
        let mixed = (number.0 ^ self.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) % 100 < u64::from(self.hashed_percent)
    }
}

impl Store {
    /// Reads and checks everything. `go_on` is told of the progress now and then, and ends it by
    /// answering false.
    ///
    /// # Errors
    /// Only if nothing can be read at all; what is found wrong is in the report.
    pub fn verify(&self, go_on: &dyn Fn(&Progress) -> bool) -> Result<Report> {
        self.verify_to(Depth::DATA, go_on)
    }

    /// The same, as thorough as it says.
    ///
    /// # Errors
    /// As `verify`.
    pub fn verify_to(&self, depth: Depth, go_on: &dyn Fn(&Progress) -> bool) -> Result<Report> {
        self.check_filled()?;
        let (view, sealed, sum) = {
            let committer = self.committer.lock();
            (self.view(), committer.sealed, committer.sum.clone())
        };
        let mut verify = Verify::new(&view, depth, (sealed, sum), go_on);
        verify.tombstones();
        verify.counts();
        verify.dirents();
        verify.others();
        verify.states();
        verify.headers();
        verify.snapshots();
        verify.report.finished = !verify.stopped;
        Ok(verify.report)
    }
}

/// The hashes of one walk: those whose first two bytes say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    number: u64,
    of: u64,
}

impl Part {
    fn has(self, hash: Hash) -> bool {
        let begins = u64::from(u16::from_be_bytes([hash.0[0], hash.0[1]]));
        (begins * self.of) >> 16 == self.number
    }

    fn is_first(self) -> bool {
        self.number == 0
    }
}

pub(super) struct Verify<'a> {
    store_view: &'a View<'a>,
    depth: Depth,
    sealed: Epoch,
    go_on: &'a dyn Fn(&Progress) -> bool,
    stopped: bool,
    pub(super) report: Report,
    /// Numbers of chunks that the index names.
    named: Numbers,
    /// Numbers of chunks that are there and, if they were hashed, are what the index says.
    good: Numbers,
    /// In the index.
    entries: u64,
    part: Part,
    /// How often the hashes of this part were named.
    counted: HashMap<Hash, u64>,
    /// Hashes whose content can't be read, itself or a piece of it.
    unreadable: HashSet<Hash>,
    kept: Vec<(Epoch, EpochRecord)>,
    /// The sum of the newest sealed epoch, as the next commit takes it.
    sum: (Epoch, LtHash),
    /// The same, counted.
    pub(super) newest: Option<LtHash>,
    mended: HashMap<Epoch, Mended>,
    /// What tombstones say was purged.
    purged: HashSet<Hash>,
    /// The state that was counted last.
    counting: Option<Hash>,
}

impl<'a> Verify<'a> {
    /// Nothing is read yet but the list of epochs.
    pub(super) fn new(
        view: &'a View<'a>,
        depth: Depth,
        sum: (Epoch, LtHash),
        go_on: &'a dyn Fn(&Progress) -> bool,
    ) -> Verify<'a> {
        let mut verify = Verify {
            depth,
            sealed: Epoch::NONE,
            store_view: view,
            go_on,
            stopped: false,
            report: Report::default(),
            named: Numbers::default(),
            good: Numbers::default(),
            entries: 0,
            part: Part { number: 0, of: 1 },
            counted: HashMap::new(),
            unreadable: HashSet::new(),
            kept: Vec::new(),
            sum,
            newest: None,
            mended: HashMap::new(),
            purged: HashSet::new(),
            counting: None,
        };
        verify.epochs();
        let listed = verify.kept.iter().filter(|(_, record)| is_listed(record));
        let newest = listed.map(|(epoch, _)| *epoch).max();
        verify.sealed = verify.sum.0.min(newest.unwrap_or_default());
        match view.all_mended() {
            Ok(mended) => verify.mended = mended,
            Err(error) => verify.problem(error),
        }
        verify
    }

    /// Chunks, the index, and references counted again.
    pub(super) fn counts(&mut self) {
        self.named();
        self.chunks();
        self.index();
        let parts = (self.entries / limits::VERIFY_HASHES).saturating_add(1);
        for number in 0..parts {
            self.part = Part { number, of: parts };
            self.lists();
            self.inodes();
            self.references();
        }
    }
}

impl Verify<'_> {
    fn problem(&mut self, problem: impl Into<Problem>) {
        self.report.problems_found += 1;
        if self.report.problems.len() < limits::PROBLEMS_MAX {
            self.report.problems.push(problem.into());
        }
    }

    /// Content that can't be read. Bounded: beyond, what needs it is not named one by one.
    fn is_unreadable(&mut self, hash: Hash) {
        if self.unreadable.len() < limits::PROBLEMS_MAX {
            self.unreadable.insert(hash);
        }
    }

    /// All kept epochs, ascending.
    fn epochs(&mut self) {
        self.each(Family::Epochs, |verify, key, bytes| {
            let epoch = key::unpack_epoch(Family::Epochs, key)?;
            let record = decode(Family::Epochs, key, bytes)?;
            verify.kept.push((epoch, record));
            Ok(())
        });
    }

    /// The first kept epoch that is not before this one.
    fn kept_from(&self, epoch: Epoch) -> Option<(Epoch, EpochRecord)> {
        let at = self.kept.partition_point(|(kept, _)| *kept < epoch);
        self.kept.get(at).copied()
    }

    /// Calls `each` for the records of a family; what it answers is collected. A part that can't be
    /// read is stepped over.
    fn each(&mut self, family: Family, each: impl FnMut(&mut Self, &[u8], &[u8]) -> Result<()>) {
        self.each_between(family, (&[], &[]), each);
    }

    /// The same for the records from a key up to another (empty: to the end).
    fn each_between(
        &mut self,
        family: Family,
        (first, until): (&[u8], &[u8]),
        mut each: impl FnMut(&mut Self, &[u8], &[u8]) -> Result<()>,
    ) {
        let view = self.store_view;
        let mut from = Some(first.to_vec());
        while let Some(begin) = from.take() {
            if !until.is_empty() && begin.as_slice() >= until {
                return;
            }
            let mut at = begin.clone();
            let range = (begin.as_slice(), until);
            let result = self.stretch(family, range, &mut at, &mut each);
            if let Err(error) = result {
                self.report.blind = true;
                match error {
                    StoreError::Damaged { .. } => self.problem(Problem::Unreadable { family }),
                    error => self.problem(error),
                }
                from = skip::behind(&|key| view.from(family, key).is_ok(), &at);
            }
        }
    }

    /// From a key to the end, or to what can't be read; `at` is the last key that could.
    fn stretch(
        &mut self,
        family: Family,
        (begin, until): (&[u8], &[u8]),
        at: &mut Vec<u8>,
        each: &mut impl FnMut(&mut Self, &[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        let view = self.store_view;
        let mut scan = view.range(family, begin, until)?;
        while let Some((key, value)) = scan.item() {
            if let Err(error) = each(self, key, value) {
                self.problem(error);
            }
            self.stopped |= !(self.go_on)(&self.report.read);
            if self.stopped {
                return Ok(());
            }
            key.clone_into(at);
            scan.step()?;
        }
        Ok(())
    }
}
