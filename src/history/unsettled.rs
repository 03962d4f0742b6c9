//! Files that a doing destroyed before they were old enough to be recorded: they are in no state, and
//! can only be told by name.

use super::Result;
use super::path::is_below;
use crate::format::record::Actor;
use crate::id::{ActorId, Epoch};
use crate::store::View;
use crate::time::Timestamp;
use std::collections::{BTreeMap, HashMap};

/// Whether what a process destroyed in an epoch is asked for.
pub type Select<'a> = dyn Fn(ActorId, Option<&Actor>, Epoch) -> bool + 'a;

/// What is in no state.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// By path: the age at which it was destroyed, in milliseconds, of the newest.
    pub files: BTreeMap<Vec<u8>, u64>,
    /// So many more were not noted by name.
    pub more: u64,
}

impl Missing {
    /// How many files.
    pub fn count(&self) -> u64 {
        self.files.len() as u64 + self.more
    }
}

/// What was destroyed so below a path, up to the state `until`, since a time.
///
/// # Errors
/// The store's.
pub fn find(
    view: &View<'_>,
    until: Epoch,
    since: Timestamp,
    under: &[u8],
    select: &Select<'_>,
) -> Result<Missing> {
    let mut missing = Missing::default();
    let mut actors = HashMap::new();
    for (epoch, unsettled) in view.unsettled()? {
        let time = view.header(epoch)?.map(|header| header.time);
        if epoch > until || time.is_none_or(|time| time < since) {
            continue;
        }
        let mut is_asked_for = |by: ActorId| -> Result<bool> {
            if let std::collections::hash_map::Entry::Vacant(free) = actors.entry(by) {
                free.insert(view.actor(by)?.filter(|actor| actor.tgid != 0));
            }
            Ok(select(by, actors[&by].as_ref(), epoch))
        };
        for file in unsettled.files {
            if is_below(under, &file.path) && is_asked_for(file.by)? {
                missing.files.insert(file.path, file.age_ms);
            }
        }
        for (by, count) in unsettled.more {
            if is_asked_for(by)? {
                missing.more += count;
            }
        }
    }
    Ok(missing)
}
