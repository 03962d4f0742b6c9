//! What is left out, and was: each change with who made it, when, and the first state that was made
//! by it. A change is one batch with its line of the log: there is the old rule or the new one.

use super::kv::{Batch, Durability};
use super::{Result, SnapshotAction, Store, View, meta};
use crate::format::keeping::RulesRecord;
use crate::format::key::{self, Family};
use crate::format::value;
use crate::id::Epoch;
use crate::limits;
use crate::pattern::Rules;
use crate::time::Timestamp;

impl Store {
    /// All changes of what is left out, oldest first; none: nothing ever was.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn rules(&self) -> Result<Vec<RulesRecord>> {
        let all = self.view().numbered(meta::LEFT_OUT)?;
        Ok(all.into_iter().map(|(_, record)| record).collect())
    }

    /// What is left out from the next state on. False: it was so already.
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn set_rules(&self, rules: &Rules, reason: &str, by_uid: u32) -> Result<bool> {
        let _committer = self.committer.lock();
        let before: Vec<(u64, RulesRecord)> = self.view().numbered(meta::LEFT_OUT)?;
        let (number, same) = match before.last() {
            Some((number, last)) => (number + 1, last.rules == *rules),
            None => (1, *rules == Rules::default()),
        };
        if same {
            return Ok(false);
        }
        let mut batch = Batch::default();
        let surplus = (before.len() + 1).saturating_sub(limits::RULES_KEPT);
        for (number, _) in &before[..surplus] {
            batch.delete(Family::Meta, key::meta(meta::LEFT_OUT, *number));
        }
        let action = SnapshotAction::LeftOut {
            rules: rules.clone(),
            reason: reason.to_owned(),
        };
        let time = self.note_list_change(&mut batch, by_uid, "", action)?;
        let record = RulesRecord {
            rules: rules.clone(),
            time,
            by_uid,
            from: None,
        };
        let key = key::meta(meta::LEFT_OUT, number);
        batch.put(Family::Meta, key, value::pack(&record));
        self.write(batch, Durability::Synced)?;
        self.list_changed(time);
        Ok(true)
    }

    /// The state `epoch` is the first that is made by the rules up to that time.
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn begin_rules(&self, until: Timestamp, epoch: Epoch) -> Result<()> {
        let _committer = self.committer.lock();
        let mut batch = Batch::default();
        let all: Vec<(u64, RulesRecord)> = self.view().numbered(meta::LEFT_OUT)?;
        for (number, mut record) in all {
            if record.from.is_none() && record.time <= until {
                record.from = Some(epoch);
                let key = key::meta(meta::LEFT_OUT, number);
                batch.put(Family::Meta, key, value::pack(&record));
            }
        }
        if batch.changes.is_empty() {
            return Ok(());
        }
        self.write(batch, Durability::Synced)
    }

    /// The rules by which a state was made.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn rules_at(&self, epoch: Epoch) -> Result<Rules> {
        self.view().rules_at(epoch)
    }
}

impl View<'_> {
    /// Whether something was ever left out.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn has_rules(&self) -> Result<bool> {
        let all: Vec<(u64, RulesRecord)> = self.numbered(meta::LEFT_OUT)?;
        Ok(!all.is_empty())
    }

    /// The rules by which a state was made.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn rules_at(&self, epoch: Epoch) -> Result<Rules> {
        let all: Vec<(u64, RulesRecord)> = self.numbered(meta::LEFT_OUT)?;
        let made = |record: &&(u64, RulesRecord)| record.1.from.is_some_and(|from| from <= epoch);
        let newest = all.iter().rev().find(made);
        Ok(newest
            .map(|(_, record)| record.rules.clone())
            .unwrap_or_default())
    }
}
