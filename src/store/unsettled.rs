//! What was destroyed before it was old enough to be recorded: who takes a doing back is told by name
//! what does not come back. Bounded: of the epochs that have some, the oldest are forgotten.

use super::kv::Batch;
use super::view::View;
use super::{Result, meta};
use crate::format::keeping::Unsettled;
use crate::format::key::{self, Family};
use crate::format::value;
use crate::id::Epoch;
use crate::limits;

/// Notes it with its epoch.
pub(super) fn put(
    batch: &mut Batch,
    view: &View<'_>,
    epoch: Epoch,
    unsettled: &Unsettled,
) -> Result<()> {
    if unsettled.files.is_empty() {
        return Ok(());
    }
    let known: Vec<(u64, Unsettled)> = view.numbered(meta::UNSETTLED)?;
    let over = (known.len() + 1).saturating_sub(limits::UNSETTLED_EPOCHS);
    for (old, _) in known.iter().take(over) {
        batch.delete(Family::Meta, key::meta(meta::UNSETTLED, *old));
    }
    let key = key::meta(meta::UNSETTLED, epoch.0);
    batch.put(Family::Meta, key, value::pack(unsettled));
    Ok(())
}

impl View<'_> {
    /// What was destroyed before it could be recorded, by epoch, as far as it is remembered.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn unsettled(&self) -> Result<Vec<(Epoch, Unsettled)>> {
        let all = self.numbered(meta::UNSETTLED)?;
        Ok(all.into_iter().map(|(at, one)| (Epoch(at), one)).collect())
    }
}
