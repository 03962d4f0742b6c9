//! The scan of one directory: its names as they were when the scan began, against what the store
//! holds of them.

use super::Recorder;
use super::scan::{ScanError, Walk};
use crate::backing::DirStream;
use crate::format::record::{Dirent, Kind};
use crate::id::{Epoch, FileId};
use crate::inodes::Inode;
use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd;
use std::sync::Arc;

impl Recorder {
    /// Takes the names of `directory`, reaches every file in it, and puts its folders on `stack`
    /// (pinned).
    pub(super) fn scan_directory(
        &self,
        walk: &mut Walk,
        directory: &Arc<Inode>,
        stack: &mut Vec<Arc<Inode>>,
    ) -> Result<(), ScanError> {
        self.check_stop()?;
        let names = self.names_at_scan(directory)?;
        self.scan_names(walk, directory, &names, stack)
    }

    /// Reaches what stood under each of the names, which are all that `directory` had.
    fn scan_names(
        &self,
        walk: &mut Walk,
        directory: &Arc<Inode>,
        names: &HashSet<Vec<u8>>,
        stack: &mut Vec<Arc<Inode>>,
    ) -> Result<(), ScanError> {
        let id = self.file_id(directory)?;
        let mut known = self.names_in_store(walk, id)?;
        for name in names {
            self.check_stop()?;
            let Some(child) = self.child(directory, name)? else {
                continue;
            };
            let result = self.scan_name(walk, id, name, &child, &mut known);
            match result {
                Ok(true) => stack.push(child),
                Ok(false) => self.inodes.unpin(&child),
                Err(error) => {
                    self.inodes.unpin(&child);
                    return Err(error);
                }
            }
        }
        // From here on changes of names need not be kept.
        let mut track = directory.track.lock();
        track.names.clear();
        self.scan.names_taken(directory.ino);
        drop(track);
        for (name, (child, kind)) in known {
            walk.lost_names.push((child, kind));
            walk.names.push((id, name, Dirent::Gone));
        }
        self.commit_names(walk)
    }

    /// One name; true if it is a folder that is to be entered.
    fn scan_name(
        &self,
        walk: &mut Walk,
        directory: FileId,
        name: &[u8],
        child: &Arc<Inode>,
        known: &mut HashMap<Vec<u8>, (FileId, Kind)>,
    ) -> Result<bool, ScanError> {
        self.scan_inode(walk, child)?;
        let id = self.file_id(child)?;
        match known.remove(name) {
            Some((before, kind)) if before == id && kind == child.kind => {}
            before => {
                if let Some(before) = before {
                    walk.lost_names.push(before);
                }
                let dirent = Dirent::Present {
                    id,
                    kind: child.kind,
                };
                walk.names.push((directory, name.to_vec(), dirent));
            }
        }
        Ok(child.kind == Kind::Dir)
    }

    /// The names of a directory when the scan began: the live listing, with what was changed
    /// meanwhile laid over it.
    fn names_at_scan(&self, directory: &Arc<Inode>) -> Result<HashSet<Vec<u8>>, ScanError> {
        let mut names = HashSet::new();
        match self.list_live(directory, &mut names) {
            Ok(()) => {}
            Err(error) if is_unreadable(&error) => {
                self.note_unreadable(directory, super::deed::lost_reason(&error));
            }
            Err(error) => return Err(error.into()),
        }
        for (name, before) in &directory.track.lock().names {
            match before {
                Some(_) => names.insert(name.clone()),
                None => names.remove(name),
            };
        }
        Ok(names)
    }

    fn list_live(
        &self,
        directory: &Arc<Inode>,
        names: &mut HashSet<Vec<u8>>,
    ) -> std::io::Result<()> {
        let path = directory.path(self.inodes.backing().root())?;
        let mut stream = DirStream::open(path.as_fd())?;
        stream.read(0, &mut |entry| {
            if entry.name != b"." && entry.name != b".." {
                names.insert(entry.name.to_vec());
            }
            true
        })
    }

    /// The file that stood under a name when the scan began, pinned. The live directory is asked
    /// first: an operation that changes the name keeps what it was before it does so. Numbers
    /// would not do: that of a file which was removed since comes back with another one.
    fn child(&self, directory: &Arc<Inode>, name: &[u8]) -> Result<Option<Arc<Inode>>, ScanError> {
        let present = self.inodes.find_new(directory, name);
        let kept = directory.track.lock().names.get(name).cloned();
        if let Some(before) = kept {
            if let Some(inode) = &before {
                self.inodes.pin(inode);
            }
            if let Ok((other, _)) = present {
                self.inodes.unpin(&other);
            }
            return Ok(before);
        }
        match present {
            Ok((inode, _)) => Ok(Some(inode)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) if is_unreadable(&error) => {
                log::warn!(
                    "{} can't be looked at: {error}",
                    String::from_utf8_lossy(name)
                );
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn names_in_store(
        &self,
        walk: &Walk,
        directory: FileId,
    ) -> Result<HashMap<Vec<u8>, (FileId, Kind)>, ScanError> {
        if walk.fresh {
            return Ok(HashMap::new());
        }
        let before = Epoch(walk.epoch.0 - 1);
        let listed = self
            .store
            .view()
            .list_at(directory, before, None, usize::MAX)?;
        Ok(listed
            .into_iter()
            .map(|(name, id, kind)| (name, (id, kind)))
            .collect())
    }

    fn commit_names(&self, walk: &mut Walk) -> Result<(), ScanError> {
        if walk.names.len() as u64 >= super::commit::SCAN_BATCH {
            self.commit_facts(walk)?;
        }
        Ok(())
    }
}

fn is_unreadable(error: &std::io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EACCES | libc::EPERM | libc::EIO | libc::ENOKEY | libc::ESTALE)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backing::Backing;
    use crate::capture::{NameChange, Options, Touch};
    use crate::store::Store;
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    /// A recorder whose scan is made step by step, by the test.
    fn recorder(dir: &Path) -> Arc<Recorder> {
        let backing = Arc::new(Backing::open(dir).unwrap());
        let store = Store::in_memory().unwrap();
        let recorder = Recorder::assemble(backing, store, Options::default()).unwrap();
        recorder.begin_first_scan().unwrap();
        recorder
    }

    fn found(recorder: &Recorder, directory: &Arc<Inode>, name: &str) -> Arc<Inode> {
        recorder.inodes.find(directory, name.as_bytes()).unwrap().0
    }

    /// What a live operation does that changes `name`: notes it, and does it.
    fn change(
        recorder: &Recorder,
        directory: &Arc<Inode>,
        name: &str,
        before: Option<(&Arc<Inode>, bool)>,
        deed: impl FnOnce(),
    ) {
        let name = name.as_bytes();
        let names = [NameChange {
            directory,
            name,
            before: before.map(|(inode, _)| inode.clone()),
        }];
        let touched = before.map(|(inode, dies)| Touch { inode, dies });
        let noted = recorder.names(&names, touched.as_slice(), recorder.actor(0, 0));
        let noted = noted.unwrap();
        deed();
        noted.settle(directory, name, None);
        if let Some((inode, true)) = before {
            noted.died(inode);
            // The kernel forgets it.
            recorder.inodes.count_lookup(inode);
            recorder.inodes.unpin(inode);
            recorder.inodes.forget(inode.ino, 1);
        }
    }

    /// A file with two names, of which the scan has reached one, goes, and its number comes back
    /// with another file that takes its other name: the scan must not take that one for it.
    #[test]
    fn a_number_that_comes_back_does_not_fool_the_scan() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path();
        for name in ["a", "b"] {
            fs::create_dir(dir.join(name)).unwrap();
        }
        fs::write(dir.join("a/x"), "the old one").unwrap();
        fs::hard_link(dir.join("a/x"), dir.join("b/x")).unwrap();
        let number = fs::metadata(dir.join("a/x")).unwrap().ino();
        let recorder = recorder(dir);
        let root = recorder.inodes.root().clone();
        let (a, b) = (found(&recorder, &root, "a"), found(&recorder, &root, "b"));
        let mut walk = recorder.new_walk().unwrap();
        let mut stack = Vec::new();
        recorder.scan_inode(&mut walk, &root).unwrap();
        for directory in [&root, &a] {
            let scanned = recorder.scan_directory(&mut walk, directory, &mut stack);
            scanned.unwrap();
        }
        recorder.capture_queued();
        recorder.commit_facts(&mut walk).unwrap();
        let names = recorder.names_at_scan(&b).unwrap();
        // Now b has been read, and none of its files has been reached.
        let old = found(&recorder, &a, "x");
        let id = recorder.file_id(&old).unwrap();
        change(&recorder, &a, "x", Some((&old, false)), || {
            fs::remove_file(dir.join("a/x")).unwrap();
        });
        change(&recorder, &b, "x", Some((&old, true)), || {
            fs::remove_file(dir.join("b/x")).unwrap();
        });
        let again = (0..100).map(|n| dir.join(format!("new{n}"))).find(|path| {
            fs::write(path, "another").unwrap();
            fs::metadata(path).unwrap().ino() == number
        });
        // Where the file system never gives a number twice, any other file does.
        let again = again.unwrap_or_else(|| dir.join("new0"));
        change(&recorder, &b, "x", None, || {
            fs::rename(again, dir.join("b/x")).unwrap();
        });
        let mut rest = Vec::new();
        let scanned = recorder.scan_names(&mut walk, &b, &names, &mut rest);
        scanned.unwrap();
        let last = walk.names.last().unwrap();
        let expected = Dirent::Present {
            id,
            kind: Kind::File,
        };
        assert_eq!((last.1.as_slice(), &last.2), (&b"x"[..], &expected));
    }
}
