//! Folders that made most of what was recorded, and were told of: each is, once.

use super::kv::{Batch, Durability};
use super::{Result, Store, meta};
use crate::format::keeping::HintRecord;
use crate::format::key::{self, Family};
use crate::format::value;
use crate::limits;

impl Store {
    /// All that was told, oldest first.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn hints(&self) -> Result<Vec<HintRecord>> {
        let all = self.view().numbered(meta::HINT)?;
        Ok(all.into_iter().map(|(_, hint)| hint).collect())
    }

    /// Notes that it is told. False: it was before, of that folder, one in it or one above it; or
    /// there were too many.
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn add_hint(&self, hint: &HintRecord) -> Result<bool> {
        let _committer = self.committer.lock();
        let before: Vec<(u64, HintRecord)> = self.view().numbered(meta::HINT)?;
        let is_told = |told: &(u64, HintRecord)| {
            is_in(&hint.folder, &told.1.folder) || is_in(&told.1.folder, &hint.folder)
        };
        if before.len() >= limits::HINTS_MAX || before.iter().any(is_told) {
            return Ok(false);
        }
        let number = before.last().map_or(1, |(number, _)| number + 1);
        let mut batch = Batch::default();
        let key = key::meta(meta::HINT, number);
        batch.put(Family::Meta, key, value::pack(hint));
        self.write(batch, Durability::Synced)?;
        Ok(true)
    }
}

/// Whether a path is that of a folder, or of something in it.
fn is_in(path: &[u8], folder: &[u8]) -> bool {
    let rest = path.strip_prefix(folder);
    rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn a_folder_is_told_of_once_and_not_what_is_around_it() {
        let store = Store::in_memory().expect("a store");
        let tell = |folder: &str| {
            let hint = HintRecord {
                time: Timestamp(1),
                folder: folder.into(),
                bytes: 2,
                total: 3,
                is_cache: false,
            };
            store.add_hint(&hint).expect("a store")
        };
        assert!(tell("p/target/debug"));
        for folder in ["p/target/debug", "p/target", "p/target/debug/deps"] {
            assert!(!tell(folder), "{folder}");
        }
        assert!(tell("p/target/debugger") && tell("q"));
        assert_eq!(store.hints().expect("a store").len(), 3);
        for n in 0..2 * limits::HINTS_MAX {
            tell(&format!("n{n}"));
        }
        assert_eq!(store.hints().expect("a store").len(), limits::HINTS_MAX);
    }
}
