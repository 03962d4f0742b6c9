//! The read side: a consistent picture of the store, and the questions that it answers. Reads as
//! of an epoch: the newest version that is not later than it.

use super::cache::Verified;
use super::kv::{Record, Scan, Snapshot as KvSnapshot};
use super::line::ChangeLine;
use super::{Result, Store, StoreError};
use crate::format::key::{self, Family};
use crate::format::record::*;
use crate::format::transfer::Growth;
use crate::format::value::{self, BadValue};
use crate::id::*;
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// Records of one name that are stepped over before it is worth a seek.
const STEPS: u32 = 4;

/// A consistent picture of the store; holds a RocksDB snapshot, so keep it only for a request.
pub struct View<'a> {
    store: &'a Store,
    snapshot: Box<dyn KvSnapshot>,
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").finish_non_exhaustive()
    }
}

/// A name in a directory.
pub type Name = (FileId, Vec<u8>);

/// Names of all directories, with their versions.
#[derive(Debug, Default)]
pub struct Names {
    pub wanted: Vec<(Name, Vec<(Epoch, Dirent)>)>,
    /// The last name that was read; `None`: there are no more.
    pub next: Option<Name>,
}

/// A state, and who wrote what of a file in it.
pub type Writings = (Epoch, Vec<Written>);

/// Damage, with the place.
pub(super) fn corrupt(family: Family, key: &[u8], source: BadValue) -> StoreError {
    StoreError::Corrupt {
        family,
        key: key.to_vec(),
        source,
    }
}

/// The value of a record.
pub(super) fn decode<T: DeserializeOwned>(family: Family, key: &[u8], bytes: &[u8]) -> Result<T> {
    value::unpack(bytes).map_err(|source| corrupt(family, key, source))
}

impl<'a> View<'a> {
    pub(super) fn new(store: &'a Store) -> View<'a> {
        let snapshot = store.kv.snapshot().unwrap_or_else(|_| Box::new(Closed));
        View { store, snapshot }
    }
}

impl View<'_> {
    /// The time without history that lasts.
    pub(super) fn open_gap(&self) -> Option<Gap> {
        self.store.open_gap()
    }

    pub(super) fn get<T: DeserializeOwned>(&self, family: Family, key: &[u8]) -> Result<Option<T>> {
        let bytes = self.snapshot.get(family, key)?;
        bytes.map(|bytes| decode(family, key, &bytes)).transpose()
    }

    /// The bytes under a key.
    pub(super) fn raw(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.snapshot.get(family, key)
    }

    /// The records whose keys begin with `prefix`.
    pub(super) fn prefix(&self, family: Family, prefix: &[u8]) -> Result<Box<dyn Scan + '_>> {
        let until = key::after_prefix(prefix);
        self.snapshot.scan(family, prefix, &until)
    }

    /// The records from `from` up to, not including, `until`.
    pub(super) fn range(
        &self,
        family: Family,
        from: &[u8],
        until: &[u8],
    ) -> Result<Box<dyn Scan + '_>> {
        self.snapshot.scan(family, from, until)
    }

    /// The records from `from` to the end.
    pub(super) fn from(&self, family: Family, from: &[u8]) -> Result<Box<dyn Scan + '_>> {
        self.snapshot.scan(family, from, &[])
    }

    pub(super) fn last(&self, family: Family, from: &[u8], until: &[u8]) -> Result<Option<Record>> {
        self.snapshot.last(family, from, until)
    }

    /// All of a numbered kind in meta.
    pub(super) fn numbered<T: DeserializeOwned>(&self, name: &str) -> Result<Vec<(u64, T)>> {
        let mut scan = self.prefix(Family::Meta, &key::meta_prefix(name))?;
        let mut all = Vec::new();
        while let Some((key, bytes)) = scan.item() {
            let number = key::unpack_meta(name, key)?;
            all.push((number, decode(Family::Meta, key, bytes)?));
            scan.step()?;
        }
        Ok(all)
    }

    /// The newest version of a file that is not later than `at`, and its epoch.
    ///
    /// # Errors
    /// A store that can't be read, as of all that follow.
    pub fn inode_at(&self, id: FileId, at: Epoch) -> Result<Option<(Epoch, InodeVersion)>> {
        let until = key::after_prefix(&key::inode_prefix(id));
        let scan = self
            .snapshot
            .scan(Family::Inodes, &key::inode(id, at), &until)?;
        let Some((key, bytes)) = scan.item() else {
            return Ok(None);
        };
        let (_, epoch) = key::unpack_inode(key)?;
        Ok(Some((epoch, decode(Family::Inodes, key, bytes)?)))
    }

    /// The version of a file that was made in just this epoch: a key is looked for, not a place.
    pub fn inode_version(&self, id: FileId, epoch: Epoch) -> Result<Option<InodeVersion>> {
        self.get(Family::Inodes, &key::inode(id, epoch))
    }

    /// What several files were at an epoch, in their order. One pass: files of one folder lie near each other.
    pub fn inodes_at(
        &self,
        ids: &[FileId],
        at: Epoch,
    ) -> Result<Vec<Option<(Epoch, InodeVersion)>>> {
        let mut found = vec![None; ids.len()];
        let mut ordered: Vec<(FileId, usize)> = ids.iter().copied().zip(0..).collect();
        ordered.sort_unstable();
        let (Some((first, _)), Some((last, _))) = (ordered.first(), ordered.last()) else {
            return Ok(found);
        };
        let until = key::after_prefix(&key::inode_prefix(*last));
        let from = key::inode(*first, at);
        let mut scan = self.snapshot.scan(Family::Inodes, &from, &until)?;
        for (id, place) in ordered {
            advance(scan.as_mut(), &key::inode(id, at))?;
            let Some((key, bytes)) = scan.item() else {
                break;
            };
            let (of, epoch) = key::unpack_inode(key)?;
            if of == id {
                found[place] = Some((epoch, decode(Family::Inodes, key, bytes)?));
            }
        }
        Ok(found)
    }

    /// The newest version of a name that is not later than `at`, and its epoch.
    pub fn dirent_at(
        &self,
        dir: FileId,
        name: &[u8],
        at: Epoch,
    ) -> Result<Option<(Epoch, Dirent)>> {
        let until = key::after_prefix(&key::dirent_prefix(dir, name));
        let from = key::dirent(dir, name, at);
        let scan = self.snapshot.scan(Family::Dirents, &from, &until)?;
        let Some((key, bytes)) = scan.item() else {
            return Ok(None);
        };
        let (_, _, epoch) = key::unpack_dirent(key)?;
        Ok(Some((epoch, decode(Family::Dirents, key, bytes)?)))
    }

    /// Up to `limit` live names of a directory as of `at`, in bytewise order, beginning after
    /// `after`. One pass over the records, dead names are skipped with seeks.
    pub fn list_at(
        &self,
        dir: FileId,
        at: Epoch,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, FileId, Kind)>> {
        let prefix = key::dir_prefix(dir);
        let from = match after {
            Some(name) => key::after_prefix(&key::dirent_prefix(dir, name)),
            None => prefix.to_vec(),
        };
        let until = key::after_prefix(&prefix);
        let mut scan = self.snapshot.scan(Family::Dirents, &from, &until)?;
        let mut names = Vec::new();
        while names.len() < limit {
            let Some((found, _)) = scan.item() else {
                break;
            };
            let name = key::unpack_dirent(found)?.1.to_vec();
            // Its versions stand newest first: to the first that is not later than `at`.
            let wanted = key::dirent(dir, &name, at);
            advance(scan.as_mut(), &wanted)?;
            if let Some((found, bytes)) = scan.item() {
                if key::unpack_dirent(found)?.1 == name {
                    let version = decode(Family::Dirents, found, bytes)?;
                    if let Dirent::Present { id, kind } = version {
                        names.push((name.clone(), id, kind));
                    }
                } else {
                    continue;
                }
            }
            advance(
                scan.as_mut(),
                &key::after_prefix(&key::dirent_prefix(dir, &name)),
            )?;
        }
        Ok(names)
    }

    /// How the regular files of a state, and their bytes, are more than those of a kept state before
    /// it (after `NONE`, all of them): what it takes grows with what has changed, not with the tree.
    pub fn growth(&self, after: Epoch, to: Epoch) -> Result<Growth> {
        let mut growth = Growth::default();
        if after == Epoch::NONE {
            let (files, bytes) = self.data_at(to)?;
            growth.add((files, bytes), (0, 0));
            return Ok(growth);
        }
        let from = key::epoch(after.next());
        let mut lines = self.range(Family::Changes, &from, &key::epoch(to.next()))?;
        let mut changed = HashSet::new();
        while let Some((line, _)) = lines.item() {
            if let (_, id, None) = key::unpack_change(line)? {
                changed.insert(id);
            }
            lines.step()?;
        }
        let data = |version: Option<(Epoch, InodeVersion)>| match version {
            Some((_, InodeVersion::Present(inode))) if inode.kind == Kind::File => (1, inode.size),
            _ => (0, 0),
        };
        for id in changed {
            growth.add(
                data(self.inode_at(id, to)?),
                data(self.inode_at(id, after)?),
            );
        }
        Ok(growth)
    }

    /// The regular files of a state, and their bytes: one walk over all versions.
    fn data_at(&self, at: Epoch) -> Result<(u64, u64)> {
        let mut scan = self.from(Family::Inodes, &[])?;
        let (mut files, mut bytes) = (0, 0_u64);
        let mut seen = None;
        while let Some((key, value)) = scan.item() {
            let (id, epoch) = key::unpack_inode(key)?;
            if epoch <= at && seen != Some(id) {
                seen = Some(id);
                if let InodeVersion::Present(inode) = decode(Family::Inodes, key, value)?
                    && inode.kind == Kind::File
                {
                    files += 1;
                    bytes = bytes.saturating_add(inode.size);
                }
            }
            scan.step()?;
        }
        Ok((files, bytes))
    }

    /// All versions of a file, newest first.
    pub fn inode_versions(&self, id: FileId) -> Result<Vec<(Epoch, InodeVersion)>> {
        let mut scan = self.prefix(Family::Inodes, &key::inode_prefix(id))?;
        let mut versions = Vec::new();
        while let Some((key, bytes)) = scan.item() {
            let (_, epoch) = key::unpack_inode(key)?;
            versions.push((epoch, decode(Family::Inodes, key, bytes)?));
            scan.step()?;
        }
        Ok(versions)
    }

    /// All versions of a name, newest first.
    pub fn dirent_versions(&self, dir: FileId, name: &[u8]) -> Result<Vec<(Epoch, Dirent)>> {
        let mut scan = self.prefix(Family::Dirents, &key::dirent_prefix(dir, name))?;
        let mut versions = Vec::new();
        while let Some((key, bytes)) = scan.item() {
            let (_, _, epoch) = key::unpack_dirent(key)?;
            versions.push((epoch, decode(Family::Dirents, key, bytes)?));
            scan.step()?;
        }
        Ok(versions)
    }

    /// All versions, newest first, of those of the next `limit` names of the store that are `wanted`.
    pub fn names(
        &self,
        after: Option<&Name>,
        limit: usize,
        wanted: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Names> {
        let from = match after {
            Some((dir, name)) => key::after_prefix(&key::dirent_prefix(*dir, name)),
            None => Vec::new(),
        };
        let mut scan = self.from(Family::Dirents, &from)?;
        let mut names = Names::default();
        let mut read = 0;
        while let Some((found, _)) = scan.item() {
            let (dir, name, _) = key::unpack_dirent(found)?;
            let name = (dir, name.to_vec());
            if read == limit {
                return Ok(names);
            }
            read += 1;
            let until = key::after_prefix(&key::dirent_prefix(dir, &name.1));
            if wanted(&name.1) {
                let mut versions = Vec::new();
                while let Some((found, bytes)) =
                    scan.item().filter(|(found, _)| *found < &until[..])
                {
                    let (_, _, epoch) = key::unpack_dirent(found)?;
                    versions.push((epoch, decode(Family::Dirents, found, bytes)?));
                    scan.step()?;
                }
                names.wanted.push((name.clone(), versions));
            } else {
                advance(scan.as_mut(), &until)?;
            }
            names.next = Some(name);
        }
        names.next = None;
        Ok(names)
    }

    /// What changed since the kept epoch before, by file id; a file before the names in it.
    pub fn changes(&self, epoch: Epoch) -> Result<Vec<(FileId, Change)>> {
        let mut scan = self.prefix(Family::Changes, &key::epoch(epoch))?;
        let mut changes = Vec::new();
        while let Some((key, bytes)) = scan.item() {
            let (_, id, name) = key::unpack_change(key)?;
            let line = ChangeLine::unpack(key, bytes)?;
            let change = match name {
                None => Change::Inode {
                    what: line.what,
                    actors: line.actors,
                    written: line.written,
                },
                Some(name) => Change::Dirent {
                    name: name.to_vec(),
                    actors: line.actors,
                },
            };
            changes.push((id, change));
            scan.step()?;
        }
        Ok(changes)
    }

    /// Who changed a file, or a name in a directory, in an epoch; nobody if it did not change.
    pub fn authors(&self, epoch: Epoch, id: FileId, name: Option<&[u8]>) -> Result<Vec<ActorId>> {
        let line = self.line(&key::change(epoch, id, name))?;
        Ok(line.map(|line| line.actors).unwrap_or_default())
    }

    /// The line of change under a key.
    pub(super) fn line(&self, key: &[u8]) -> Result<Option<ChangeLine>> {
        let bytes = self.raw(Family::Changes, key)?;
        bytes
            .map(|bytes| ChangeLine::unpack(key, &bytes))
            .transpose()
    }

    /// Who wrote what of a file, or may have, in the states from one to another; each state once.
    pub fn writings(&self, id: FileId, (from, to): (Epoch, Epoch)) -> Result<Vec<Writings>> {
        let mut found = Vec::new();
        let mut last = None;
        for (version, _) in self.inode_versions(id)? {
            if version < from || version > to {
                continue;
            }
            let epoch = self.kept_from(version)?;
            if last.replace(epoch) == Some(epoch) {
                continue;
            }
            let line = self.line(&key::change(epoch, id, None))?;
            found.push((epoch, line.unwrap_or_default().who_wrote()));
        }
        Ok(found)
    }

    /// Who an actor is.
    pub fn actor(&self, id: ActorId) -> Result<Option<Actor>> {
        let key = key::actor(id);
        let bytes = self.snapshot.get(Family::Actors, &key)?;
        let decoded = bytes.map(|bytes| value::unpack_actor(&bytes));
        decoded
            .transpose()
            .map_err(|source| corrupt(Family::Actors, &key, source))
    }

    /// What is kept of an epoch for ever.
    pub fn header(&self, epoch: Epoch) -> Result<Option<Header>> {
        self.get(Family::Headers, &key::epoch(epoch))
    }

    /// A kept epoch, listed or not.
    pub fn epoch(&self, epoch: Epoch) -> Result<Option<EpochRecord>> {
        self.get(Family::Epochs, &key::epoch(epoch))
    }

    /// Kept, listed epochs (Whole or Partial) in [from, to], ascending, at most `limit`.
    pub fn epochs(
        &self,
        from: Epoch,
        to: Epoch,
        limit: usize,
    ) -> Result<Vec<(Epoch, EpochRecord, Header)>> {
        let mut scan = self.from(Family::Epochs, &key::epoch(from))?;
        let mut epochs = Vec::new();
        while epochs.len() < limit {
            let Some((key, bytes)) = scan.item() else {
                break;
            };
            let epoch = key::unpack_epoch(Family::Epochs, key)?;
            if epoch > to {
                break;
            }
            let record: EpochRecord = decode(Family::Epochs, key, bytes)?;
            if is_listed(&record) {
                let header = self.header(epoch)?.ok_or(StoreError::NoEpoch { epoch })?;
                epochs.push((epoch, record, header));
            }
            scan.step()?;
        }
        Ok(epochs)
    }

    /// The first kept epoch that is not before this one; itself if there is none.
    pub(super) fn kept_from(&self, epoch: Epoch) -> Result<Epoch> {
        let scan = self.from(Family::Epochs, &key::epoch(epoch))?;
        let kept = scan
            .item()
            .map(|(key, _)| key::unpack_epoch(Family::Epochs, key));
        Ok(kept.transpose()?.unwrap_or(epoch))
    }

    /// The newest kept, listed epoch.
    pub fn newest_epoch(&self) -> Result<Option<Epoch>> {
        self.listed_before(Epoch::MAX)
    }

    /// The oldest kept, listed epoch.
    pub fn oldest_epoch(&self) -> Result<Option<Epoch>> {
        Ok(self
            .epochs(Epoch::NONE, Epoch::MAX, 1)?
            .first()
            .map(|(epoch, _, _)| *epoch))
    }

    /// The newest kept, listed epoch before this one.
    pub fn listed_before(&self, epoch: Epoch) -> Result<Option<Epoch>> {
        let mut until = key::epoch(epoch);
        while let Some((key, bytes)) = self.last(Family::Epochs, &[], &until)? {
            let epoch = key::unpack_epoch(Family::Epochs, &key)?;
            if is_listed(&decode(Family::Epochs, &key, &bytes)?) {
                return Ok(Some(epoch));
            }
            until = key::epoch(epoch);
        }
        Ok(None)
    }

    /// By name, in bytewise order.
    pub fn snapshots(&self) -> Result<Vec<(String, Snapshot)>> {
        let mut scan = self.from(Family::Snapshots, &[])?;
        let mut snapshots = Vec::new();
        while let Some((key, bytes)) = scan.item() {
            let name = key::unpack_snapshot(key)?.to_owned();
            snapshots.push((name, decode(Family::Snapshots, key, bytes)?));
            scan.step()?;
        }
        Ok(snapshots)
    }

    /// The snapshot of this name.
    pub fn snapshot(&self, name: &str) -> Result<Option<Snapshot>> {
        self.get(Family::Snapshots, key::snapshot(name))
    }

    /// Where a chunk or list is, and how many records name it.
    pub fn index_entry(&self, hash: Hash) -> Result<Option<IndexEntry>> {
        self.get(Family::Index, &key::index(hash))
    }

    /// Plain bytes of a chunk, verified against its hash.
    pub fn chunk(&self, hash: Hash) -> Result<Arc<[u8]>> {
        if let Some(Verified::Data(plain)) = self.store.cache.lock().get(hash) {
            return Ok(plain);
        }
        let (number, envelope) = self.envelope(hash)?;
        self.store.admit_chunk(hash, number, &envelope)
    }

    /// A chunk list, verified.
    pub fn list(&self, hash: Hash) -> Result<Arc<ChunkList>> {
        if let Some(Verified::List(list)) = self.store.cache.lock().get(hash) {
            return Ok(list);
        }
        let (number, envelope) = self.envelope(hash)?;
        self.store.admit_list(hash, number, &envelope)
    }

    fn envelope(&self, hash: Hash) -> Result<(ChunkNumber, Vec<u8>)> {
        let entry = self
            .index_entry(hash)?
            .ok_or(StoreError::Missing { hash })?;
        let envelope = self
            .snapshot
            .get(Family::Chunks, &key::chunk(entry.number))?
            .ok_or(StoreError::Missing { hash })?;
        Ok((entry.number, envelope))
    }
}

/// Whether users see an epoch.
pub(super) fn is_listed(record: &EpochRecord) -> bool {
    match record.state {
        EpochState::Whole | EpochState::Partial => true,
        EpochState::Waiting { .. } => false,
    }
}

/// To the first record whose key is not less than `key`, which lies ahead: by a few steps if that
/// is enough, since a seek costs as much as many of them.
pub(super) fn advance(scan: &mut dyn Scan, key: &[u8]) -> Result<()> {
    for _ in 0..STEPS {
        match scan.item() {
            Some((found, _)) if found < key => scan.step()?,
            _ => return Ok(()),
        }
    }
    match scan.item() {
        Some((found, _)) if found < key => scan.seek(key),
        _ => Ok(()),
    }
}

/// The picture of a database that could not be opened again.
struct Closed;

impl KvSnapshot for Closed {
    fn get(&self, _: Family, _: &[u8]) -> Result<Option<Vec<u8>>> {
        Err(StoreError::Closed)
    }

    fn scan(&self, _: Family, _: &[u8], _: &[u8]) -> Result<Box<dyn Scan + '_>> {
        Err(StoreError::Closed)
    }

    fn last(&self, _: Family, _: &[u8], _: &[u8]) -> Result<Option<Record>> {
        Err(StoreError::Closed)
    }
}
