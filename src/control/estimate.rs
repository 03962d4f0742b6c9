//! Whether the first import of a directory fits: what is to be read, against what history may
//! take of the disk of its store.

use crate::capture::floor;
use crate::limits;
use crate::store::{Store, StoreError};
use rustix::fs::statvfs;
use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What a directory holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    pub files: u64,
    /// Bytes that reading all of them yields, holes not counted.
    pub bytes: u64,
    /// There was no time to look at all of it: it is more.
    pub more: bool,
}

/// Bytes that history may take of the disk of its store.
///
/// # Errors
/// The file system does not answer.
pub fn room(store: &Store, min_free: Option<u64>) -> Result<u64, StoreError> {
    let (free, size) = store.free_space()?;
    Ok(free.saturating_sub(floor(min_free, size)))
}

/// What the directory holds, if that is more than `room`; `None`: it fits. Looks at every file
/// only where the use of the whole file system does not settle it.
pub fn exceeds(dir: &Path, room: u64) -> Option<Holds> {
    let used = statvfs(dir).map_or(u64::MAX, |stat| {
        let used = stat.f_blocks.saturating_sub(stat.f_bfree);
        used.saturating_mul(stat.f_frsize)
    });
    if used <= room {
        return None;
    }
    let holds = count(dir, Instant::now() + limits::ESTIMATE_WAIT);
    (holds.bytes > room).then_some(holds)
}

/// Walks the tree on its own file system. What can't be looked at does not count.
fn count(dir: &Path, until: Instant) -> Holds {
    let mut holds = Holds::default();
    let Ok(root) = dir.symlink_metadata() else {
        return holds;
    };
    let mut linked = HashSet::new();
    let mut stack: Vec<PathBuf> = vec![dir.to_owned()];
    while let Some(dir) = stack.pop() {
        if Instant::now() >= until {
            holds.more = true;
            return holds;
        }
        let Ok(entries) = std::fs::read_dir(&dir) else {
            continue;
        };
        for entry in entries.flatten() {
            let Ok(meta) = entry.metadata() else {
                continue;
            };
            if meta.is_dir() && meta.dev() == root.dev() {
                stack.push(entry.path());
            } else if meta.is_file() && (meta.nlink() == 1 || linked.insert(meta.ino())) {
                holds.files += 1;
                holds.bytes += meta.len().min(meta.blocks().saturating_mul(512));
            }
        }
    }
    holds
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn holes_and_second_names_do_not_count() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir(path("sub")).expect("made");
        std::fs::write(path("sub/data"), vec![1; 100_000]).expect("written");
        std::fs::hard_link(path("sub/data"), path("again")).expect("linked");
        let sparse = std::fs::File::create(path("sparse")).expect("made");
        sparse.set_len(1 << 40).expect("a hole");
        sparse.sync_all().expect("synced");
        std::fs::File::open(path("sub/data"))
            .and_then(|file| file.sync_all())
            .expect("synced");
        let holds = count(dir.path(), Instant::now() + Duration::from_secs(60));
        assert_eq!(holds.files, 2);
        assert_eq!(holds.bytes, 100_000);
        assert_eq!(exceeds(dir.path(), u64::MAX), None);
        assert_eq!(exceeds(dir.path(), 99_999), Some(holds));
        assert_eq!(exceeds(dir.path(), 100_000), None);
        assert!(count(dir.path(), Instant::now()).more);
    }
}
