//! Runs: commands whose changes are known by a number of their own, so that they can be taken back
//! as one. Bounded: the oldest are forgotten, what they changed is not.

use super::kv::{Batch, Durability};
use super::{Result, Store, meta};
use crate::format::key::{self, Family};
use crate::format::record::Run;
use crate::format::value;
use crate::limits;

impl Store {
    /// Notes a new run; the answer is its number, which no other run has had.
    ///
    /// # Errors
    /// A store that can't be read or written.
    pub fn begin_run(&self, run: &Run) -> Result<u64> {
        let _committer = self.committer.lock();
        let known = self.runs()?;
        let number = known.last().map_or(1, |(number, _)| number + 1);
        let mut batch = Batch::default();
        let most = usize::try_from(limits::RUNS_MAX).unwrap_or(usize::MAX);
        for (old, _) in known.iter().take((known.len() + 1).saturating_sub(most)) {
            batch.delete(Family::Meta, key::meta(meta::RUN, *old));
        }
        let key = key::meta(meta::RUN, number);
        batch.put(Family::Meta, key, value::pack(run));
        self.write(batch, Durability::Synced)?;
        Ok(number)
    }

    /// Replaces what is noted of a run.
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn set_run(&self, number: u64, run: &Run) -> Result<()> {
        let mut batch = Batch::default();
        let key = key::meta(meta::RUN, number);
        batch.put(Family::Meta, key, value::pack(run));
        self.write(batch, Durability::Synced)
    }

    /// The runs that are known, by number.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn runs(&self) -> Result<Vec<(u64, Run)>> {
        self.view().numbered(meta::RUN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn a_run_is_found_by_its_number_and_the_oldest_are_forgotten() {
        let store = Store::in_memory().expect("memory");
        let mut run = Run {
            name: "fix".to_owned(),
            command: b"make\0".to_vec(),
            by_uid: 1000,
            started: Timestamp(5),
            ended: None,
            undoes: false,
        };
        for number in 1..=3 {
            assert_eq!(store.begin_run(&run).expect("noted"), number);
        }
        run.ended = Some(Timestamp(7));
        store.set_run(2, &run).expect("noted");
        let runs = store.runs().expect("read");
        let ended: Vec<(u64, bool)> = runs
            .iter()
            .map(|(number, run)| (*number, run.ended.is_some()))
            .collect();
        assert_eq!(ended, [(1, false), (2, true), (3, false)]);
        for _ in 3..=limits::RUNS_MAX {
            store.begin_run(&run).expect("noted");
        }
        let runs = store.runs().expect("read");
        assert_eq!(runs.len() as u64, limits::RUNS_MAX);
        assert_eq!(runs[0].0, 2);
    }
}
