//! Questions about more than one epoch: which names a directory ever had, the versions of a file
//! within a time, the first of them, the epoch of an instant.

use super::view::{advance, decode};
use super::{Result, View};
use crate::format::key::{self, Family};
use crate::format::record::*;
use crate::id::*;
use crate::time::Timestamp;

impl View<'_> {
    /// Up to `limit` names that stood in a directory in some epoch from `from` up to, not
    /// including, `until`, in bytewise order, beginning after `after`. One pass over the records;
    /// of each name at most two are looked at.
    ///
    /// # Errors
    /// A store that can't be read, as of all that follow.
    pub fn names_between(
        &self,
        dir: FileId,
        (from, until): (Epoch, Epoch),
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>> {
        let Some(last) = until.0.checked_sub(1).map(Epoch) else {
            return Ok(Vec::new());
        };
        let prefix = key::dir_prefix(dir);
        let begin = match after {
            Some(name) => key::after_prefix(&key::dirent_prefix(dir, name)),
            None => prefix.to_vec(),
        };
        let mut scan = self.range(Family::Dirents, &begin, &key::after_prefix(&prefix))?;
        let mut names = Vec::new();
        while names.len() < limit {
            let Some((found, _)) = scan.item() else {
                break;
            };
            let name = key::unpack_dirent(found)?.1.to_vec();
            advance(scan.as_mut(), &key::dirent(dir, &name, last))?;
            // The newest version of that time; if the name was gone by then, the one before it.
            let mut ended = until;
            for _ in 0..2 {
                let Some((found, bytes)) = scan.item() else {
                    break;
                };
                let (_, other, epoch) = key::unpack_dirent(found)?;
                if other != name || ended <= from {
                    break;
                }
                match decode(Family::Dirents, found, bytes)? {
                    Dirent::Present { .. } => {
                        names.push(name.clone());
                        break;
                    }
                    Dirent::Gone => ended = epoch,
                }
                scan.step()?;
            }
            let next = key::after_prefix(&key::dirent_prefix(dir, &name));
            advance(scan.as_mut(), &next)?;
        }
        Ok(names)
    }

    /// The versions of a file that were made after `after` and not after `upto`, newest first.
    pub fn inode_versions_between(
        &self,
        id: FileId,
        after: Epoch,
        upto: Epoch,
    ) -> Result<Vec<(Epoch, InodeVersion)>> {
        if upto <= after {
            return Ok(Vec::new());
        }
        let (from, until) = (key::inode(id, upto), key::inode(id, after));
        let mut scan = self.range(Family::Inodes, &from, &until)?;
        let mut versions = Vec::new();
        while let Some((key, bytes)) = scan.item() {
            let (_, epoch) = key::unpack_inode(key)?;
            versions.push((epoch, decode(Family::Inodes, key, bytes)?));
            scan.step()?;
        }
        Ok(versions)
    }

    /// The epoch of the oldest version of a file that is kept.
    pub fn first_version(&self, id: FileId) -> Result<Option<Epoch>> {
        let prefix = key::inode_prefix(id);
        let last = self.last(Family::Inodes, &prefix, &key::after_prefix(&prefix))?;
        let Some((key, _)) = last else {
            return Ok(None);
        };
        Ok(Some(key::unpack_inode(&key)?.1))
    }

    /// Whether a kept, listed epoch lies from `from` up to, not including, `until`.
    pub fn is_kept_between(&self, from: Epoch, until: Epoch) -> Result<bool> {
        match until.0.checked_sub(1) {
            Some(last) => Ok(!self.epochs(from, Epoch(last), 1)?.is_empty()),
            None => Ok(false),
        }
    }

    /// The oldest epoch that is not earlier than `time`, kept or not, and its time. Binary search.
    pub fn header_from(&self, time: Timestamp) -> Result<Option<(Epoch, Timestamp)>> {
        let Some((newest, _)) = self.last(Family::Headers, &[], &[])? else {
            return Ok(None);
        };
        // Times ascend with the epochs. All headers below `low` are earlier than `time`, those
        // from `high` on are not.
        let (mut low, mut high) = (0, key::unpack_epoch(Family::Headers, &newest)?.0 + 1);
        let mut found = None;
        while low < high {
            let middle = low + (high - low) / 2;
            let scan = self.from(Family::Headers, &key::epoch(Epoch(middle)))?;
            let Some((key, bytes)) = scan.item() else {
                high = middle;
                continue;
            };
            let epoch = key::unpack_epoch(Family::Headers, key)?;
            let header: Header = decode(Family::Headers, key, bytes)?;
            if header.time < time {
                low = epoch.0 + 1;
            } else {
                found = Some((epoch, header.time));
                high = middle;
            }
        }
        Ok(found)
    }

    /// The newest kept, listed epoch whose time is not later than `time`.
    pub fn epoch_at_time(&self, time: Timestamp) -> Result<Option<Epoch>> {
        let later = match time.0.checked_add(1) {
            Some(after) => self.header_from(Timestamp(after))?,
            None => None,
        };
        self.listed_before(later.map_or(Epoch::MAX, |(epoch, _)| epoch))
    }
}
