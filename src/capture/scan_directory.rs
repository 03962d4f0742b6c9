//! The scan of one directory: its names as they were when the scan began, against what the store
//! holds of them.
//!
//! 1. It is read page by page: neither its listing nor what the store has of it is in memory.
//! 2. Until the end of the reading operations keep what each name was before they change it
//!    (`Track::names`). What was kept decides; a listed name counts only if, after its file was
//!    looked up, nothing was kept of it.

use super::scan::{ScanError, Walk};
use super::{Mark, Recorder};
use crate::backing::{self, DirStream};
use crate::format::record::{Dirent, Kind};
use crate::id::{Epoch, FileId};
use crate::inodes::Inode;
use crate::limits;
use std::collections::HashSet;
use std::os::fd::AsFd;
use std::sync::Arc;

/// A directory while it is read.
struct Reading<'a> {
    directory: &'a Arc<Inode>,
    id: FileId,
    /// Its names are not recorded: it is as if it were empty.
    is_hollow: bool,
    /// Names that were changed since the scan began, and are done with.
    told: HashSet<Vec<u8>>,
}

impl Recorder {
    /// Takes the names of `directory`, reaches every file in it, and puts its folders on `stack`
    /// (pinned).
    pub(super) fn scan_directory(
        &self,
        walk: &mut Walk,
        directory: &Arc<Inode>,
        stack: &mut Vec<Arc<Inode>>,
    ) -> Result<(), ScanError> {
        if self.scan.are_names_taken(directory.ino) {
            return Ok(());
        }
        if self.is_to_be_listed(directory) {
            // It is as it was recorded: nobody has changed a name in it.
            self.scan.names_taken(directory.ino);
            return Ok(());
        }
        let outer = walk.reading.replace(directory.ino);
        let outermost = outer.is_none();
        let mut reading = Reading {
            directory,
            id: self.file_id(directory)?,
            is_hollow: self.mark(directory) != Mark::Recorded,
            told: HashSet::new(),
        };
        if reading.is_hollow {
            self.check_stop()?;
        } else {
            self.read_live(walk, &mut reading, outermost, stack)?;
        }
        self.find_lost_names(walk, &mut reading, stack)?;
        self.end_reading(walk, &mut reading, stack)?;
        walk.reading = outer;
        self.scan.release(&self.inodes, directory);
        Ok(())
    }

    /// Directories in which names changed before they were taken.
    pub(super) fn scan_urgent(
        &self,
        walk: &mut Walk,
        stack: &mut Vec<Arc<Inode>>,
    ) -> Result<(), ScanError> {
        while let Some(directory) = self.scan.next_urgent() {
            if walk.reading != Some(directory.ino) {
                self.scan_directory(walk, &directory, stack)?;
            }
        }
        Ok(())
    }

    fn read_live(
        &self,
        walk: &mut Walk,
        reading: &mut Reading<'_>,
        outermost: bool,
        stack: &mut Vec<Arc<Inode>>,
    ) -> Result<(), ScanError> {
        let directory = reading.directory;
        let open = || {
            let path = directory.path(self.inodes.backing().root())?;
            DirStream::open(path.as_fd())
        };
        // Who removes it keeps it open first: a way to it that was cut off is found again.
        let opened = open().or_else(|error| match is_cut_off(&error) {
            true => open(),
            false => Err(error),
        });
        let mut stream = match opened {
            Ok(stream) => stream,
            Err(error) => return self.unlisted(directory, error),
        };
        let mut cookie = 0;
        loop {
            self.check_stop()?;
            if outermost {
                self.scan_urgent(walk, stack)?;
            }
            let mut page = Vec::new();
            let listed = stream.read(cookie, &mut |entry| {
                if page.len() == limits::DIR_PAGE {
                    return false;
                }
                cookie = entry.cookie;
                page.push(entry.name.clone());
                true
            });
            if let Err(error) = listed {
                return self.unlisted(directory, error);
            }
            if page.is_empty() {
                return Ok(());
            }
            self.scan_page(walk, reading, page, stack)?;
        }
    }

    fn scan_page(
        &self,
        walk: &mut Walk,
        reading: &mut Reading<'_>,
        page: Vec<Vec<u8>>,
        stack: &mut Vec<Arc<Inode>>,
    ) -> Result<(), ScanError> {
        for name in page {
            self.take_kept(walk, reading, stack)?;
            if name != b"." && name != b".." && !reading.told.contains(&name) {
                self.scan_listed(walk, reading, &name, stack)?;
            }
        }
        Ok(())
    }

    /// A directory that can't be listed: it was removed (then all its names were kept), or it is
    /// not for us to read.
    fn unlisted(&self, directory: &Arc<Inode>, error: std::io::Error) -> Result<(), ScanError> {
        // Removed since the scan began: what it held then was kept by who took it out.
        let gone = is_cut_off(&error) && directory.track.lock().nameless;
        if gone || error.raw_os_error() == Some(libc::ENOENT) {
            return Ok(());
        }
        if is_unreadable(&error) {
            self.note_unreadable(directory, super::deed::lost_reason(&error));
            return Ok(());
        }
        Err(error.into())
    }

    fn scan_listed(
        &self,
        walk: &mut Walk,
        reading: &Reading<'_>,
        name: &[u8],
        stack: &mut Vec<Arc<Inode>>,
    ) -> Result<(), ScanError> {
        let child = match self.inodes.find_new(reading.directory, name) {
            Ok((child, _)) => child,
            // Removed since it was listed: that was kept.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(()),
            Err(error) if is_unreadable(&error) => {
                log::warn!(
                    "{} can't be looked at: {error}",
                    String::from_utf8_lossy(name)
                );
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        if self.options.snapdir.as_deref() == Some(name) {
            self.note_shadowed(reading.directory);
        }
        if !self.records_name(reading.directory, name, child.kind) {
            self.inodes.unpin(&child);
            return Ok(());
        }
        let track = &reading.directory.track;
        if !track.is_idle() && track.lock().names.contains_key(name) {
            // Changed between the listing and the look: what was kept comes next.
            self.inodes.unpin(&child);
            return Ok(());
        }
        self.scan_name(walk, reading.id, name, child, stack)
    }

    /// Takes what was kept of names since the last time.
    fn take_kept(
        &self,
        walk: &mut Walk,
        reading: &mut Reading<'_>,
        stack: &mut Vec<Arc<Inode>>,
    ) -> Result<(), ScanError> {
        if reading.directory.track.is_idle() {
            return Ok(());
        }
        let kept = std::mem::take(&mut reading.directory.track.lock().names);
        for (name, before) in kept {
            // Only what it was before the first change is of the scan's instant.
            if !reading.told.insert(name.clone()) {
                continue;
            }
            let recorded =
                |child: &Arc<Inode>| self.records_name(reading.directory, &name, child.kind);
            match before.filter(recorded) {
                Some(child) => {
                    self.inodes.pin(&child);
                    self.scan_name(walk, reading.id, &name, child, stack)?;
                }
                None => {
                    if let Some(Dirent::Present { id, kind }) =
                        self.name_in_store(walk, reading.id, &name)?
                    {
                        self.lose_name(walk, reading.id, name, (id, kind))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// From now on changes of names need not be kept.
    fn end_reading(
        &self,
        walk: &mut Walk,
        reading: &mut Reading<'_>,
        stack: &mut Vec<Arc<Inode>>,
    ) -> Result<(), ScanError> {
        loop {
            self.take_kept(walk, reading, stack)?;
            let track = reading.directory.track.lock();
            if track.names.is_empty() {
                self.scan.names_taken(reading.directory.ino);
                return Ok(());
            }
        }
    }

    /// Names that the store has and the directory had no more. A name of which nothing was kept is
    /// as it was when the scan began.
    fn find_lost_names(
        &self,
        walk: &mut Walk,
        reading: &mut Reading<'_>,
        stack: &mut Vec<Arc<Inode>>,
    ) -> Result<(), ScanError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            self.check_stop()?;
            let page = self.names_in_store(walk, reading.id, after.as_deref())?;
            let Some((last, ..)) = page.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            for (name, id, kind) in page {
                let gone = reading.is_hollow
                    || !self.records_name(reading.directory, &name, kind)
                    || self.is_absent(reading.directory, &name);
                self.take_kept(walk, reading, stack)?;
                if gone && !reading.told.contains(&name) {
                    self.lose_name(walk, reading.id, name, (id, kind))?;
                }
            }
        }
    }

    fn is_absent(&self, directory: &Arc<Inode>, name: &[u8]) -> bool {
        let path = directory.path(self.inodes.backing().root());
        path.and_then(|path| backing::stat_at(path.as_fd(), name))
            .is_err_and(|error| error.raw_os_error() == Some(libc::ENOENT))
    }

    fn lose_name(
        &self,
        walk: &mut Walk,
        directory: FileId,
        name: Vec<u8>,
        before: (FileId, Kind),
    ) -> Result<(), ScanError> {
        walk.lost_names.push(before);
        walk.names.push((directory, name, Dirent::Gone));
        self.commit_due_facts(walk)
    }

    /// One name: reaches its file, and puts it on `stack` (pinned) if it is a folder, which is to
    /// be entered.
    fn scan_name(
        &self,
        walk: &mut Walk,
        directory: FileId,
        name: &[u8],
        child: Arc<Inode>,
        stack: &mut Vec<Arc<Inode>>,
    ) -> Result<(), ScanError> {
        let result = self.scan_child(walk, directory, name, &child);
        if result.is_ok() && child.kind == Kind::Dir {
            stack.push(child);
        } else {
            self.inodes.unpin(&child);
        }
        result
    }

    fn scan_child(
        &self,
        walk: &mut Walk,
        directory: FileId,
        name: &[u8],
        child: &Arc<Inode>,
    ) -> Result<(), ScanError> {
        self.claim(child);
        self.scan_inode(walk, child)?;
        let now = Dirent::Present {
            id: self.file_id(child)?,
            kind: child.kind,
        };
        let before = self.name_in_store(walk, directory, name)?;
        if before == Some(now) {
            return Ok(());
        }
        if let Some(Dirent::Present { id, kind }) = before {
            walk.lost_names.push((id, kind));
        }
        walk.names.push((directory, name.to_vec(), now));
        self.commit_due_facts(walk)
    }

    fn name_in_store(
        &self,
        walk: &Walk,
        directory: FileId,
        name: &[u8],
    ) -> Result<Option<Dirent>, ScanError> {
        if walk.fresh {
            return Ok(None);
        }
        let before = Epoch(walk.epoch.0 - 1);
        let found = self.store.view().dirent_at(directory, name, before)?;
        Ok(found.map(|(_, dirent)| dirent))
    }

    /// The next names of a directory that the store had before the scan.
    pub(super) fn names_in_store(
        &self,
        walk: &Walk,
        directory: FileId,
        after: Option<&[u8]>,
    ) -> Result<Vec<(Vec<u8>, FileId, Kind)>, ScanError> {
        if walk.fresh {
            return Ok(Vec::new());
        }
        let before = Epoch(walk.epoch.0 - 1);
        let view = self.store.view();
        Ok(view.list_at(directory, before, after, limits::DIR_PAGE)?)
    }
}

fn is_cut_off(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESTALE))
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
        let mut reading = Reading {
            directory: &b,
            id: recorder.file_id(&b).unwrap(),
            is_hollow: false,
            told: HashSet::new(),
        };
        let page = vec![b"x".to_vec()];
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
        let scanned = recorder.scan_page(&mut walk, &mut reading, page, &mut rest);
        scanned.unwrap();
        recorder
            .end_reading(&mut walk, &mut reading, &mut rest)
            .unwrap();
        let last = walk.names.last().unwrap();
        let expected = Dirent::Present {
            id,
            kind: Kind::File,
        };
        assert_eq!((last.1.as_slice(), &last.2), (&b"x"[..], &expected));
    }
}
