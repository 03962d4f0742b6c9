//! Which folder makes most of what is recorded: counted at each commit, by the room that new content
//! takes in the store, and told once, since by default nothing is left out. Scans do not count: what
//! was there before is no sign of what goes on.
//!
//! 1. Counted in at most `HEAVY_FOLDERS` folders; beyond, those with least are counted as part of
//!    the folder above. So the sums of all folders but the smallest are exact.
//! 2. Told of is the deepest folder with more than half of all: to leave that out takes least away.
//!    Of a cache, and what is in one, the cache is told.
//! 3. Counted anew after `HEAVY_WITHIN`.

use super::Recorder;
use super::work::Captured;
use crate::backing;
use crate::format::keeping::HintRecord;
use crate::limits;
use crate::pattern;
use crate::store::StoreError;
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::time::Instant;

/// Looked at each time that so much more has come: one part in so many of the least that matters.
const LOOKS: u64 = 8;

/// A folder, by the names from the root of the tree down.
type Folder = Vec<Vec<u8>>;

/// Bytes by folder, since some time.
pub(super) struct Heavy {
    begun: Instant,
    total: u64,
    looked: u64,
    folders: BTreeMap<Folder, u64>,
}

impl Default for Heavy {
    fn default() -> Heavy {
        Heavy {
            begun: Instant::now(),
            total: 0,
            looked: 0,
            folders: BTreeMap::new(),
        }
    }
}

/// The folder with most, and how much that is of how much.
#[derive(Debug, PartialEq, Eq)]
struct Heaviest {
    folder: Folder,
    bytes: u64,
    total: u64,
}

impl Heavy {
    fn add(&mut self, folder: Folder, bytes: u64) {
        if self.begun.elapsed() >= limits::HEAVY_WITHIN {
            *self = Heavy::default();
        }
        self.total += bytes;
        *self.folders.entry(folder).or_default() += bytes;
        while self.folders.len() > limits::HEAVY_FOLDERS {
            self.fold();
        }
    }

    /// Counts the half with least as part of the folders above.
    fn fold(&mut self) {
        let mut sizes: Vec<u64> = self.folders.values().copied().collect();
        let middle = sizes.len() / 2;
        let (_, most, _) = sizes.select_nth_unstable(middle);
        let most = *most;
        let all = std::mem::take(&mut self.folders);
        for (mut folder, bytes) in all {
            if bytes <= most {
                folder.pop();
            }
            *self.folders.entry(folder).or_default() += bytes;
        }
    }

    /// Whether it is time to look.
    fn is_due(&mut self, least: u64) -> bool {
        let due = self.total >= least && self.total - self.looked >= least / LOOKS;
        if due {
            self.looked = self.total;
        }
        due
    }

    /// The deepest folder with more than half of all; the root is none.
    fn heaviest(&self) -> Option<Heaviest> {
        let mut found = Heaviest {
            folder: Folder::new(),
            bytes: self.total,
            total: self.total,
        };
        loop {
            let depth = found.folder.len();
            let mut below: BTreeMap<&[u8], u64> = BTreeMap::new();
            for (folder, bytes) in &self.folders {
                if folder.len() > depth && folder.starts_with(&found.folder) {
                    *below.entry(&folder[depth]).or_default() += bytes;
                }
            }
            let most = below.into_iter().max_by_key(|(_, bytes)| *bytes);
            let Some((name, bytes)) = most.filter(|(_, bytes)| *bytes > self.total / 2) else {
                return (depth > 0).then_some(found);
            };
            found.folder.push(name.to_vec());
            found.bytes = bytes;
        }
    }
}

impl Recorder {
    /// Counts what a captured file brings into the store.
    pub(super) fn weigh_folder(&self, captured: &Captured) {
        let bytes = captured.relied.new_bytes();
        if bytes == 0 {
            return;
        }
        if let Some(place) = captured.inode.place() {
            let folder = self.inodes.path_of(&place.parent);
            self.heavy.lock().add(folder, bytes);
        }
    }

    /// Tells of a folder that makes most of what is recorded, if none was told of there before.
    pub(super) fn tell_heaviest(&self) -> Result<(), StoreError> {
        let heaviest = {
            let mut heavy = self.heavy.lock();
            match heavy.is_due(self.options.hooks.heavy_bytes) {
                true => heavy.heaviest(),
                false => None,
            }
        };
        let Some(Heaviest {
            mut folder,
            bytes,
            total,
        }) = heaviest
        else {
            return Ok(());
        };
        let cache = (1..=folder.len()).find(|depth| self.is_cache(&folder[..*depth]));
        if let Some(depth) = cache {
            folder.truncate(depth);
        }
        let hint = HintRecord {
            time: Timestamp::now(),
            folder: folder.join(&b'/'),
            bytes,
            total,
            is_cache: cache.is_some(),
        };
        if self.store.add_hint(&hint)? {
            let dir = self.store.root()?.map_or_else(Vec::new, |root| root.path);
            log::warn!("{}", words(&hint, &String::from_utf8_lossy(&dir)));
        }
        Ok(())
    }

    /// Whether a folder has a valid CACHEDIR.TAG.
    fn is_cache(&self, path: &[Vec<u8>]) -> bool {
        let open = || -> std::io::Result<bool> {
            let mut folder = backing::reopen(self.inodes.backing().root(), false)?;
            for name in path {
                folder = backing::open_path_at(folder.as_fd(), name)?;
            }
            super::rules::has_tag(folder.as_fd())
        };
        open().unwrap_or(false)
    }
}

/// What a person is told, with the command for the directory `dir`.
pub fn words(hint: &HintRecord, dir: &str) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let folder = String::from_utf8_lossy(&hint.folder);
    let option = match pattern::of_folder(&hint.folder) {
        _ if hint.is_cache => "--exclude-caches".to_owned(),
        Some(pattern) => format!("--exclude {}", quoted(&pattern)),
        None => "--exclude PATTERN".to_owned(),
    };
    format!(
        "{folder} made {} % of what was recorded within a day ({} MiB); if it can be made again, \
         leave it out: rewindfs policy {} {option}",
        u128::from(hint.bytes) * 100 / u128::from(hint.total.max(1)),
        hint.bytes >> 20,
        quoted(dir),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(path: &str) -> Folder {
        let names = path.split('/').filter(|name| !name.is_empty());
        names.map(|name| name.as_bytes().to_vec()).collect()
    }

    fn heaviest(all: &[(&str, u64)]) -> Option<(String, u64)> {
        let mut heavy = Heavy::default();
        for (path, bytes) in all {
            heavy.add(folder(path), *bytes);
        }
        let found = heavy.heaviest()?;
        let path = String::from_utf8(found.folder.join(&b'/')).expect("text");
        Some((path, found.bytes))
    }

    #[test]
    fn the_deepest_folder_with_more_than_half_is_told() {
        let told = |path: &str, bytes| Some((path.to_owned(), bytes));
        assert_eq!(heaviest(&[("", 10)]), None, "the root is no answer");
        assert_eq!(heaviest(&[("a", 5), ("b", 5)]), None, "half is not most");
        assert_eq!(heaviest(&[("a", 6), ("b", 5)]), told("a", 6));
        let build = [("p/target/d/x", 4), ("p/target/d/y", 4), ("p/src", 1)];
        assert_eq!(heaviest(&build), told("p/target/d", 8));
        assert_eq!(heaviest(&[("a/b", 3), ("a", 3), ("c", 5)]), told("a", 6));
        assert_eq!(heaviest(&[("ab", 6), ("a/b", 5)]), told("ab", 6));
    }

    #[test]
    fn a_folder_with_very_many_in_it_is_told_and_what_is_kept_is_bounded() {
        let mut heavy = Heavy::default();
        for n in 0..20_000 {
            heavy.add(folder(&format!("node_modules/{n}/lib/{}", n % 7)), 3);
            heavy.add(folder(&format!("src/{}", n % 10)), 2);
            assert!(heavy.folders.len() <= limits::HEAVY_FOLDERS);
        }
        assert_eq!(
            heavy.heaviest(),
            Some(Heaviest {
                folder: folder("node_modules"),
                bytes: 60_000,
                total: 100_000
            })
        );
        // However deep, and however small.
        for n in 0..5000 {
            let path = vec![b"d".to_vec(); n % 300];
            heavy.add(path, 0);
        }
        assert!(heavy.folders.len() <= limits::HEAVY_FOLDERS);
        assert_eq!(heavy.heaviest().map(|found| found.bytes), Some(60_000));
    }

    #[test]
    fn what_is_told_can_be_typed() {
        let hint = |folder: &str, is_cache| HintRecord {
            time: Timestamp(1),
            folder: folder.into(),
            bytes: 3 << 30,
            total: 4 << 30,
            is_cache,
        };
        assert_eq!(
            words(&hint("a/target", false), "/p"),
            "a/target made 75 % of what was recorded within a day (3072 MiB); if it can be made \
             again, leave it out: rewindfs policy '/p' --exclude '/a/target/'"
        );
        let told = words(&hint("it's [1]", false), "/it's");
        assert!(
            told.ends_with(r"policy '/it'\''s' --exclude '/it'\''s \[1]/'"),
            "{told}"
        );
        assert!(words(&hint("a", true), "/p").ends_with("policy '/p' --exclude-caches"));
    }

    #[test]
    fn it_is_looked_at_from_the_least_on_and_then_now_and_again() {
        let mut heavy = Heavy::default();
        heavy.add(folder("a"), 79);
        assert!(!heavy.is_due(80));
        heavy.add(folder("a"), 1);
        assert!(heavy.is_due(80) && !heavy.is_due(80));
        heavy.add(folder("a"), 9);
        assert!(!heavy.is_due(80));
        heavy.add(folder("a"), 1);
        assert!(heavy.is_due(80));
    }
}
