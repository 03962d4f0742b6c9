//! The scan of one directory: its names as they were when the scan began, against what the store
//! holds of them.

use super::Recorder;
use super::scan::{ScanError, Walk};
use crate::backing::DirStream;
use crate::format::record::{Dirent, Kind};
use crate::id::{Epoch, FileId};
use crate::inodes::Inode;
use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::Arc;

/// What stood under a name.
enum Found {
    /// Read from the live directory: number of the backing file.
    Listed(u64),
    /// Changed since the scan began: kept by the operation that did it.
    Kept(Arc<Inode>),
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
        self.check_stop()?;
        let names = self.names_at_scan(directory)?;
        let id = self.file_id(directory)?;
        let mut known = self.names_in_store(walk, id)?;
        for (name, found) in names {
            self.check_stop()?;
            let Some(child) = self.child(directory, &name, found)? else {
                continue;
            };
            let result = self.scan_name(walk, id, &name, &child, &mut known);
            match result {
                Ok(true) => stack.push(child),
                Ok(false) => self.inodes.unpin(&child),
                Err(error) => {
                    self.inodes.unpin(&child);
                    return Err(error);
                }
            }
        }
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
    /// meanwhile laid over it. From then on changes need not be kept.
    fn names_at_scan(&self, directory: &Arc<Inode>) -> Result<HashMap<Vec<u8>, Found>, ScanError> {
        let mut names = HashMap::new();
        match self.list_live(directory, &mut names) {
            Ok(()) => {}
            Err(error) if is_unreadable(&error) => {
                self.note_unreadable(directory, super::deed::lost_reason(&error));
            }
            Err(error) => return Err(error.into()),
        }
        let mut track = directory.track.lock();
        let kept = std::mem::take(&mut track.names);
        self.scan.names_taken(directory.ino);
        drop(track);
        for (name, before) in kept {
            match before {
                Some(inode) => names.insert(name, Found::Kept(inode)),
                None => names.remove(&name),
            };
        }
        Ok(names)
    }

    fn list_live(
        &self,
        directory: &Arc<Inode>,
        names: &mut HashMap<Vec<u8>, Found>,
    ) -> std::io::Result<()> {
        let path = directory.path(self.inodes.backing().root())?;
        let mut stream = DirStream::open(path.as_fd())?;
        stream.read(0, &mut |entry| {
            if entry.name != b"." && entry.name != b".." {
                names.insert(entry.name.to_vec(), Found::Listed(entry.ino));
            }
            true
        })
    }

    /// The file under a name, pinned.
    fn child(
        &self,
        directory: &Arc<Inode>,
        name: &[u8],
        found: Found,
    ) -> Result<Option<Arc<Inode>>, ScanError> {
        let number = match found {
            Found::Kept(inode) => {
                self.inodes.pin(&inode);
                return Ok(Some(inode));
            }
            Found::Listed(number) => number,
        };
        let present = self.inodes.find_new(directory, name);
        if let Ok((inode, _)) = &present
            && inode.backing_ino == number
        {
            return Ok(Some(inode.clone()));
        }
        // Renamed or removed since the listing: then that operation enrolled it.
        if let Some(moved) = self.inodes.get(number) {
            self.inodes.pin(&moved);
            if let Ok((other, _)) = present {
                self.inodes.unpin(&other);
            }
            return Ok(Some(moved));
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
