//! What is counted again at the end: references, and states. Nothing is recorded meanwhile.

use super::super::kv::{Batch, Durability};
use super::super::mended::Mended;
use super::super::refs::Refs;
use super::super::verify::{Depth, Problem, Verify};
use super::super::{Result, Store, meta};
use super::{Remedy, Repaired};
use crate::format::key::{self, Family};
use crate::format::value;
use crate::id::Epoch;
use crate::time::Timestamp;

/// Nothing is hashed: what can't be read was seen to before.
const COUNT: Depth = Depth {
    hashed_percent: 0,
    seed: 0,
};

impl Store {
    /// Corrects the references, then takes the states for what their records are now.
    pub(super) fn repair_counts(
        &self,
        repaired: &mut Repaired,
        problems: Vec<Problem>,
        by_uid: u32,
    ) -> Result<()> {
        let references = |problem: &Problem| matches!(problem, Problem::References { .. });
        let (references, states): (Vec<_>, Vec<_>) = problems.into_iter().partition(references);
        if !references.is_empty() {
            if !self.recount_references()? {
                repaired.report.problems.extend(references);
                return Ok(());
            }
            for problem in references {
                repaired.note(problem, Remedy::Mended);
            }
            return Ok(());
        }
        for problem in states {
            let remedy = match problem {
                Problem::State { epoch, .. } => self.restate(epoch, by_uid)?,
                Problem::Sum { .. } => self.resum()?,
                _ => None,
            };
            match remedy {
                Some(remedy) => repaired.note(problem, remedy),
                None => repaired.report.problems.push(problem),
            }
        }
        Ok(())
    }

    /// Counts what every hash is named by, and writes it down; what is named by nothing goes.
    /// False: not everything that names them can be read.
    fn recount_references(&self) -> Result<bool> {
        let committer = self.committer.lock();
        let view = self.view();
        let sum = (committer.sealed, committer.sum.clone());
        let mut verify = Verify::new(&view, COUNT, sum, &|_| true);
        verify.counts();
        let report = verify.report;
        let unsure = |problem: &Problem| !matches!(problem, Problem::References { .. });
        if report.blind || report.problems.iter().any(unsure) {
            return Ok(false);
        }
        let mut set = false;
        let mut batch = Batch::default();
        let mut refs = Refs::new(self);
        for problem in report.problems {
            if let Problem::References { hash, counted, .. } = problem {
                // A list that nothing names any more may still name it; it goes here.
                if self.index_entry(hash)?.is_some() {
                    refs.set(hash, counted)?;
                    set = true;
                }
            }
        }
        if !set {
            return Ok(false);
        }
        let settled = refs.settle(&mut batch);
        settled.write(batch, |batch| self.write(batch, Durability::Synced))?;
        Ok(true)
    }

    /// What the records of an epoch are, now that all is mended that could be, is its state.
    fn restate(&self, epoch: Epoch, by_uid: u32) -> Result<Option<Remedy>> {
        let committer = self.committer.lock();
        let view = self.view();
        let sum = (committer.sealed, committer.sum.clone());
        let mut verify = Verify::new(&view, COUNT, sum, &|_| true);
        let Some(counted) = verify.count_state(epoch) else {
            return Ok(None);
        };
        let header = view.header(epoch)?;
        let is_as_it_was = header.is_some_and(|header| header.state == counted);
        self.note_mended(epoch, by_uid, |mended| {
            mended.state = (!is_as_it_was).then_some(counted);
        })?;
        Ok(Some(if is_as_it_was {
            Remedy::Mended
        } else {
            Remedy::GivenUp
        }))
    }

    /// The sum that the next commit builds on.
    fn resum(&self) -> Result<Option<Remedy>> {
        let mut committer = self.committer.lock();
        let view = self.view();
        let sum = (committer.sealed, committer.sum.clone());
        let mut verify = Verify::new(&view, COUNT, sum, &|_| true);
        verify.states();
        let Some(sum) = verify.newest else {
            return Ok(None);
        };
        let mut batch = Batch::default();
        super::super::commit::put_sum(&mut batch, committer.sealed, &sum);
        self.write(batch, Durability::Synced)?;
        committer.sum = sum;
        Ok(Some(Remedy::Mended))
    }

    /// Changes what is noted of an epoch; a note that says nothing goes.
    pub(super) fn note_mended(
        &self,
        epoch: Epoch,
        by_uid: u32,
        change: impl FnOnce(&mut Mended),
    ) -> Result<()> {
        let key = key::meta(meta::MENDED, epoch.0);
        let former: Option<Mended> = self.meta(&key)?;
        let mut mended = Mended {
            time: Timestamp::now(),
            by_uid,
            state: former.and_then(|mended| mended.state),
            seal: former.and_then(|mended| mended.seal),
        };
        change(&mut mended);
        let mut batch = Batch::default();
        if mended.state.is_none() && mended.seal.is_none() {
            batch.delete(Family::Meta, key);
        } else {
            batch.put(Family::Meta, key, value::pack(&mended));
        }
        self.write(batch, Durability::Synced)
    }
}
