//! What a store keeps of drills: when each replica is tried, and the end of the log of drills.

use super::kv::{Batch, Durability};
use super::{Result, Store, meta};
use crate::format::drill::{DrillPlan, DrillsEnd};
use crate::format::key::{self, Family};
use crate::format::value;

impl Store {
    /// How often each replica is tried, for those of which somebody said so.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn drill_plans(&self) -> Result<Vec<DrillPlan>> {
        let all: Vec<(u64, DrillPlan)> = self.view().numbered(meta::DRILL_PLAN)?;
        Ok(all.into_iter().map(|(_, plan)| plan).collect())
    }

    /// Says it of one.
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn put_drill_plan(&self, plan: &DrillPlan) -> Result<()> {
        let _committer = self.committer.lock();
        let all: Vec<(u64, DrillPlan)> = self.view().numbered(meta::DRILL_PLAN)?;
        let own = all.iter().find(|(_, other)| other.url == plan.url);
        let number = match own {
            Some((number, _)) => *number,
            None => all.last().map_or(1, |(number, _)| number + 1),
        };
        let mut batch = Batch::default();
        let key = key::meta(meta::DRILL_PLAN, number);
        batch.put(Family::Meta, key, value::pack(plan));
        self.write(batch, Durability::Synced)
    }

    /// How the log of drills ends; `None`: there was none.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn drills_end(&self) -> Result<Option<DrillsEnd>> {
        self.meta(meta::DRILLS)
    }

    /// Notes how it ends now.
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn set_drills_end(&self, end: DrillsEnd) -> Result<()> {
        self.put_meta(meta::DRILLS, &end)
    }
}
