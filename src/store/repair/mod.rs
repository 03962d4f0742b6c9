//! Repair: what verify finds is mended where something still has it, and where nothing has, given
//! up in the versions that it touches and in nothing else. It goes in rounds: what one mends lets
//! the next see further.
//!
//! 1. A record that is sound is never changed, but for references, lines of change, and content
//!    that can't be read. Nothing older shows through where a newer version was lost.
//! 2. Bytes are taken from the live tree only if they have the hash that is missing.
//! 3. References are counted again only when everything that names them can be read.
//! 4. A database of which parts can't be read is built anew from the others first; what was in these
//!    parts is then missing, and mended as such.
//! 5. What can't be made as it was is noted (`mended.rs`), so that verify finds new damage there.

mod content;
mod counts;
mod given;
mod records;

pub use given::{Given, GivenSet, Lacking};

use super::verify::{Depth, Problem, Progress, Report};
use super::{Result, SnapshotAction, Store};
use crate::format::key::Family;
use crate::format::record::ChunkList;
use crate::id::{FileId, Hash};
use crate::limits;
use std::collections::HashSet;

/// What has the bytes of files as they are now.
pub trait Mender {
    /// Up to `len` bytes of a file from `offset` on; `None` if it is not there or can't be read.
    fn read(&self, id: FileId, offset: u64, len: u32) -> Option<Vec<u8>>;
    /// The lists of pieces that the file would be recorded as.
    fn lists(&self, id: FileId) -> Vec<ChunkList>;
}

/// A mender that has nothing.
#[derive(Clone, Copy, Debug)]
pub struct NoMender;

impl Mender for NoMender {
    fn read(&self, _: FileId, _: u64, _: u32) -> Option<Vec<u8>> {
        None
    }

    fn lists(&self, _: FileId) -> Vec<ChunkList> {
        Vec::new()
    }
}

/// What became of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// It is as it was, or as it must have been.
    Mended,
    /// What it touches is given up, and says so.
    GivenUp,
}

/// What a repair did.
#[derive(Debug, Default)]
pub struct Repaired {
    /// At most `limits::PROBLEMS_MAX`, in the order in which they were found.
    pub fixed: Vec<(Problem, Remedy)>,
    pub mended: u64,
    pub given_up: u64,
    /// What is left.
    pub report: Report,
}

impl Repaired {
    fn note(&mut self, problem: Problem, remedy: Remedy) {
        match remedy {
            Remedy::Mended => self.mended += 1,
            Remedy::GivenUp => self.given_up += 1,
        }
        if self.fixed.len() < limits::PROBLEMS_MAX {
            self.fixed.push((problem, remedy));
        }
    }
}

impl Store {
    /// Verifies all data, and repairs, until nothing is left to be done. `alone`: nobody else works
    /// with the store, and its database may be built anew if it is damaged as such.
    ///
    /// # Errors
    /// A store that can't be read or written. `finished` of the report is false if `go_on` ended it;
    /// what was mended until then is mended.
    pub fn repair(
        &self,
        mender: &dyn Mender,
        alone: bool,
        by_uid: u32,
        go_on: &dyn Fn(&Progress) -> bool,
    ) -> Result<Repaired> {
        self.check_filled()?;
        // What is put back must not be put back behind a prune or a purge.
        let _turn = self.pruning.lock();
        let mut repaired = Repaired::default();
        let mut rebuilt = false;
        if let Some((why, lost)) = self.take_salvaged()? {
            rebuilt = true;
            let remedy = if lost {
                Remedy::GivenUp
            } else {
                Remedy::Mended
            };
            repaired.note(Problem::Damage(why), remedy);
        }
        for _ in 0..limits::REPAIR_ROUNDS {
            repaired.report = self.verify_to(Depth::DATA, go_on)?;
            if !repaired.report.finished || repaired.report.problems.is_empty() {
                break;
            }
            if repaired.report.blind && alone && !rebuilt {
                rebuilt = true;
                let is_of_names = |problem: &Problem| {
                    let family = Family::Dirents;
                    matches!(problem, Problem::Unreadable { family: at } if *at == family)
                };
                let lost_names = repaired.report.problems.iter().any(is_of_names);
                self.rebuild()?;
                self.stand_for_root()?;
                if lost_names {
                    self.name_the_nameless()?;
                }
                for problem in std::mem::take(&mut repaired.report.problems) {
                    if let Problem::Unreadable { family } = problem {
                        repaired.note(problem, rebuilt_remedy(family));
                    }
                }
                continue;
            }
            let before = repaired.mended + repaired.given_up;
            self.repair_round(&mut repaired, mender, by_uid)?;
            if repaired.mended + repaired.given_up == before {
                break;
            }
        }
        if repaired.mended + repaired.given_up > 0 {
            let action = SnapshotAction::Repaired {
                mended: repaired.mended,
                given_up: repaired.given_up,
            };
            self.log_deed(by_uid, action)?;
        }
        Ok(repaired)
    }

    /// One step for each problem, those first that others follow from.
    fn repair_round(
        &self,
        repaired: &mut Repaired,
        mender: &dyn Mender,
        by_uid: u32,
    ) -> Result<()> {
        let problems = std::mem::take(&mut repaired.report.problems);
        let (bytes, others): (Vec<_>, Vec<_>) = problems.into_iter().partition(|problem| {
            matches!(
                problem,
                Problem::Chunk { .. } | Problem::Content { .. } | Problem::Unnamed { .. }
            )
        });
        let (counts, records): (Vec<_>, Vec<_>) = others.into_iter().partition(|problem| {
            matches!(
                problem,
                Problem::References { .. } | Problem::State { .. } | Problem::Sum { .. }
            )
        });
        let before = repaired.mended + repaired.given_up;
        self.repair_records(repaired, records, by_uid)?;
        self.repair_content(repaired, bytes, mender)?;
        // Counted last: what was mended before decides about what is to be counted.
        if repaired.mended + repaired.given_up == before && !repaired.report.blind {
            return self.repair_counts(repaired, counts, by_uid);
        }
        repaired.report.problems.extend(counts);
        Ok(())
    }
}

/// Whether the others tell what was in a part of a family that could not be read.
fn rebuilt_remedy(family: Family) -> Remedy {
    match family {
        Family::Inodes | Family::Snapshots | Family::Actors | Family::Meta => Remedy::GivenUp,
        _ => Remedy::Mended,
    }
}

/// The hashes that a set of problems is about.
fn hashes(problems: &[Problem]) -> HashSet<Hash> {
    let hash = |problem: &Problem| match problem {
        Problem::Chunk { hash, .. } | Problem::Content { hash, .. } => Some(*hash),
        _ => None,
    };
    problems.iter().filter_map(hash).collect()
}
