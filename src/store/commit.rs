//! Commits: what was captured becomes an epoch, in one synced batch.
//!
//! What is written here of inodes and names always has its line in `changes`: the sums of epochs
//! that wait for a scan, prune and diff go by these lines alone.
//!
//! Sums. A whole epoch is sealed with its commit. One that waits for a scan gets its sum when the
//! scan is whole, counted from its lines. A scan may be far larger than memory: its facts keep up
//! what they add to the sum in a record of their own (`delta`), written with them.

use super::kv::{Batch, Durability};
use super::line::ChangeLine;
use super::refs::Refs;
use super::view::View;
use super::{Commit, Result, SnapshotAction, Store, StoreError, meta, unsettled};
use crate::format::key::{self, Family};
use crate::format::lthash::{self, LtHash};
use crate::format::record::*;
use crate::format::value;
use crate::id::*;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the next commit builds on. Its lock is the right to write records.
#[derive(Debug, Default)]
pub(super) struct Committer {
    pub lineage: [u8; 16],
    /// The newest epoch whose state is final, its seal, and the sum of all visible at it.
    pub sealed: Epoch,
    pub seal: Hash,
    pub sum: LtHash,
}

/// The record of the newest sum.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SumRecord {
    pub epoch: Epoch,
    pub sum: Vec<u8>,
}

/// How the sum of a commit's epoch comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Summing {
    /// With this commit.
    Now,
    /// Facts of a scan: kept up in its delta.
    Delta,
    /// Later, from the lines of change.
    Later,
}

impl Store {
    /// One synced batch; computes refs, state hash and seal. Serialised inside.
    ///
    /// # Errors
    /// Nothing was written if the answer is an error, except where a write failed: then the store
    /// is poisoned, and what of it is there is seen after `reopen`.
    pub fn commit(&self, commit: Commit) -> Result<()> {
        self.writable()?;
        let mut committer = self.committer.lock();
        let generation = *self.generation.read();
        if commit
            .reliances
            .iter()
            .any(|relied| relied.generation != generation)
        {
            return Err(StoreError::Stale);
        }
        self.check_folder()?;
        let view = self.view();
        let mut draft = Draft::new(self, &view, &committer, &commit)?;
        draft.records(&commit)?;
        draft.lines(&commit)?;
        let sealed = draft.epoch(&commit, &committer)?;
        let listed = draft.names(&commit)?;
        let Draft {
            mut batch, refs, ..
        } = draft;
        let settled = refs.settle(&mut batch);
        self.forget_blocks(&mut batch);
        settled.make_durable(&mut batch)?;
        settled.write(batch, |batch| self.write(batch, Durability::Synced))?;
        if let Some(sealed) = sealed {
            committer.sealed = commit.epoch;
            committer.seal = sealed.seal;
            committer.sum = sealed.sum;
        }
        if let Some(changed) = listed {
            self.list_changed(changed);
        }
        Ok(())
    }

    /// Notes what files look like whose content is recorded already. Without it they are read again.
    ///
    /// # Errors
    /// The store can't be written.
    pub fn note_live(&self, live: &[(u64, Option<LiveEntry>)]) -> Result<()> {
        if live.is_empty() {
            return Ok(());
        }
        self.writable()?;
        let _committer = self.committer.lock();
        self.check_folder()?;
        let mut batch = Batch::default();
        put_live(&mut batch, live);
        self.write(batch, Durability::Unsynced)
    }

    /// Notes of blocks that are not needed any more go with the batch.
    pub(super) fn forget_blocks(&self, batch: &mut Batch) {
        for start in self.blocks.lock().take_retired() {
            batch.delete(Family::Meta, key::meta(meta::BLOCK, start));
        }
    }

    /// Reads what the next commit builds on. That the newest header is lost is for verify to say: a
    /// store that does not open is mended by nobody.
    pub(super) fn load_committer(&self, committer: &mut Committer) -> Result<()> {
        let sum: Option<SumRecord> = self.meta(meta::SUM)?;
        let Some(SumRecord { epoch, sum }) = sum else {
            *committer = Committer {
                lineage: committer.lineage,
                ..Committer::default()
            };
            return Ok(());
        };
        committer.seal = match self.view().header(epoch) {
            Ok(Some(header)) => header.seal,
            Ok(None) => Hash::default(),
            Err(error) if error.is_damage() => Hash::default(),
            Err(error) => return Err(error),
        };
        committer.sealed = epoch;
        committer.sum = unpack_sum(meta::SUM, &sum)?;
        Ok(())
    }
}

/// A sum that was read under this key of `meta`.
pub(super) fn unpack_sum(key: &[u8], bytes: &[u8]) -> Result<LtHash> {
    LtHash::unpack(bytes)
        .ok_or_else(|| super::view::corrupt(Family::Meta, key, value::BadValue::Malformed))
}

pub(super) fn put_live(batch: &mut Batch, live: &[(u64, Option<LiveEntry>)]) {
    for (ino, entry) in live {
        match entry {
            Some(entry) => batch.put(Family::Live, key::live(*ino), value::pack(entry)),
            None => batch.delete(Family::Live, key::live(*ino)),
        }
    }
}

/// A batch in the making.
struct Draft<'a> {
    view: &'a View<'a>,
    store: &'a Store,
    epoch: Epoch,
    /// The epoch as it is recorded so far.
    existing: Option<EpochRecord>,
    summing: Summing,
    /// Something of this epoch was written before.
    continued: bool,
    sum: LtHash,
    batch: Batch,
    refs: Refs<'a>,
    lines: BTreeMap<(FileId, Option<Vec<u8>>), ChangeLine>,
}

/// What a whole epoch leaves to the next.
struct Sealed {
    seal: Hash,
    sum: LtHash,
}

impl<'a> Draft<'a> {
    fn new(
        store: &'a Store,
        view: &'a View<'a>,
        committer: &Committer,
        commit: &Commit,
    ) -> Result<Draft<'a>> {
        let epoch = commit.epoch;
        let sealed = committer.sealed;
        if epoch <= sealed {
            return Err(StoreError::Sealed { epoch, sealed });
        }
        let existing = view.epoch(epoch)?;
        let state = match (&commit.record, &existing) {
            (Some((record, ..)), _) | (None, Some(record)) => Some(record.state),
            (None, None) => None,
        };
        let summing = match state {
            Some(EpochState::Whole | EpochState::Partial) => Summing::Now,
            Some(EpochState::Waiting { on }) if on != epoch => Summing::Later,
            Some(EpochState::Waiting { .. }) | None => Summing::Delta,
        };
        let written_before = view
            .prefix(Family::Changes, &key::epoch(epoch))?
            .item()
            .is_some();
        let sum = match summing {
            Summing::Later => LtHash::default(),
            Summing::Now | Summing::Delta => view.delta(epoch)?.unwrap_or_default(),
        };
        Ok(Draft {
            view,
            store,
            epoch,
            existing,
            summing,
            continued: written_before,
            sum,
            batch: Batch::default(),
            refs: Refs::new(store),
            lines: BTreeMap::new(),
        })
    }

    /// Inodes, names, actors and the live table.
    fn records(&mut self, commit: &Commit) -> Result<()> {
        let mut inodes = BTreeMap::new();
        inodes.extend(commit.inodes.iter().map(|(id, version)| (*id, version)));
        for (id, version) in inodes {
            self.inode(id, version)?;
        }
        let mut dirents = BTreeMap::new();
        for (dir, name, version) in &commit.dirents {
            dirents.insert((*dir, name.as_slice()), version);
        }
        for ((dir, name), version) in dirents {
            self.dirent(dir, name, version)?;
        }
        for (id, actor) in &commit.actors {
            let bytes = value::pack(actor);
            self.batch.put(Family::Actors, key::actor(*id), bytes);
        }
        put_live(&mut self.batch, &commit.live);
        unsettled::put(&mut self.batch, self.view, self.epoch, &commit.unsettled)
    }

    fn inode(&mut self, id: FileId, version: &InodeVersion) -> Result<()> {
        let before = self.view.inode_at(id, self.epoch)?;
        if let Some((at, InodeVersion::Present(former))) = &before
            && *at == self.epoch
        {
            self.refs.release(&former.content)?;
        }
        if let InodeVersion::Present(inode) = version {
            self.refs.add(&inode.content)?;
        }
        let before = before.map(|(_, version)| version);
        if self.summing != Summing::Later {
            exchange_inode(&mut self.sum, id, before.as_ref(), Some(version));
        }
        let what = what_changed(before.as_ref(), version);
        let line = self.lines.entry((id, None)).or_default();
        line.what = line.what.with(what);
        let bytes = value::pack(version);
        self.batch
            .put(Family::Inodes, key::inode(id, self.epoch), bytes);
        Ok(())
    }

    fn dirent(&mut self, dir: FileId, name: &[u8], version: &Dirent) -> Result<()> {
        if self.summing != Summing::Later {
            let before = self.view.dirent_at(dir, name, self.epoch)?;
            let before = before.map(|(_, version)| version);
            exchange_dirent(&mut self.sum, dir, name, before.as_ref(), Some(version));
        }
        self.lines.entry((dir, Some(name.to_vec()))).or_default();
        let bytes = value::pack(version);
        self.batch
            .put(Family::Dirents, key::dirent(dir, name, self.epoch), bytes);
        Ok(())
    }

    /// The lines of change: what the commit says, what it left out, and what was there before.
    fn lines(&mut self, commit: &Commit) -> Result<()> {
        for (id, change) in &commit.changes {
            match change {
                Change::Inode {
                    what,
                    actors,
                    written,
                } => {
                    let line = self.lines.entry((*id, None)).or_default();
                    line.add(*what, actors, written);
                }
                Change::Dirent { name, actors } => {
                    let line = self.lines.entry((*id, Some(name.clone()))).or_default();
                    line.add(What::default(), actors, &[]);
                }
            }
        }
        for ((id, name), mut line) in std::mem::take(&mut self.lines) {
            let key = key::change(self.epoch, id, name.as_deref());
            if self.continued
                && let Some(former) = self.view.line(&key)?
            {
                line.join(&former);
            }
            self.batch.put(Family::Changes, key, line.pack());
        }
        Ok(())
    }

    /// The epoch's record and header, and what becomes of the sum.
    fn epoch(&mut self, commit: &Commit, committer: &Committer) -> Result<Option<Sealed>> {
        let epoch_key = key::epoch(self.epoch);
        if self.summing == Summing::Delta {
            let bytes = value::pack(&self.sum.pack());
            let key = key::meta(meta::DELTA, self.epoch.0);
            self.batch.put(Family::Meta, key, bytes);
        }
        let Some((record, time, wall)) = &commit.record else {
            return Ok(None);
        };
        self.batch
            .put(Family::Epochs, epoch_key, value::pack(record));
        let mut header = match (&self.existing, self.view.header(self.epoch)?) {
            (Some(_), Some(header)) => header,
            _ => Header {
                time: self.view.fitting_time(self.epoch, *time)?,
                wall: *wall,
                lineage: committer.lineage,
                state: Hash::default(),
                seal: Hash::default(),
            },
        };
        let mut sealed = None;
        if self.summing == Summing::Now {
            self.in_order(committer)?;
            let mut sum = committer.sum.clone();
            sum.join(&self.sum);
            header.state = sum.state();
            header.seal = lthash::seal(committer.seal, self.epoch, &header);
            put_sum(&mut self.batch, self.epoch, &sum);
            sealed = Some(Sealed {
                seal: header.seal,
                sum,
            });
        }
        if self.summing != Summing::Delta {
            let key = key::meta(meta::DELTA, self.epoch.0);
            self.batch.delete(Family::Meta, key);
        }
        self.batch
            .put(Family::Headers, epoch_key, value::pack(&header));
        Ok(sealed)
    }

    /// A whole epoch is sealed only when nothing before it waits, and nothing after it is there.
    fn in_order(&self, committer: &Committer) -> Result<()> {
        let epoch = self.epoch;
        let mut scan = self
            .view
            .from(Family::Epochs, &key::epoch(committer.sealed.next()))?;
        while let Some((key, _)) = scan.item() {
            let waiting = key::unpack_epoch(Family::Epochs, key)?;
            if waiting != epoch {
                return Err(StoreError::OutOfOrder { epoch, waiting });
            }
            scan.step()?;
        }
        let deltas = self.view.deltas()?;
        match deltas.into_iter().find(|waiting| *waiting != epoch) {
            Some(waiting) => Err(StoreError::OutOfOrder { epoch, waiting }),
            None => Ok(()),
        }
    }

    fn names(&mut self, commit: &Commit) -> Result<Option<Timestamp>> {
        let mut changed = None;
        for (name, snapshot) in &commit.snapshots {
            self.store.name_epoch(&mut self.batch, name, snapshot)?;
            changed = Some(self.store.note_list_change(
                &mut self.batch,
                snapshot.by_uid,
                name,
                SnapshotAction::Made,
            )?);
        }
        Ok(changed)
    }
}

/// The record of the newest sum.
pub(super) fn put_sum(batch: &mut Batch, epoch: Epoch, sum: &LtHash) {
    let record = SumRecord {
        epoch,
        sum: sum.pack(),
    };
    batch.put(Family::Meta, meta::SUM, value::pack(&record));
}

/// Takes the version of a file that was visible out of a sum, and the one that is now in.
pub(super) fn exchange_inode(
    sum: &mut LtHash,
    id: FileId,
    before: Option<&InodeVersion>,
    after: Option<&InodeVersion>,
) {
    if let Some(InodeVersion::Present(inode)) = before {
        sum.subtract(&lthash::inode_record(id, inode));
    }
    if let Some(InodeVersion::Present(inode)) = after {
        sum.add(&lthash::inode_record(id, inode));
    }
}

/// The same for a name.
pub(super) fn exchange_dirent(
    sum: &mut LtHash,
    dir: FileId,
    name: &[u8],
    before: Option<&Dirent>,
    after: Option<&Dirent>,
) {
    if let Some(dirent @ Dirent::Present { .. }) = before {
        sum.subtract(&lthash::dirent_record(dir, name, dirent));
    }
    if let Some(dirent @ Dirent::Present { .. }) = after {
        sum.add(&lthash::dirent_record(dir, name, dirent));
    }
}

/// What of a file is different.
fn what_changed(before: Option<&InodeVersion>, after: &InodeVersion) -> What {
    let (before, after) = match (before, after) {
        (_, InodeVersion::Gone) => return What::GONE,
        (None | Some(InodeVersion::Gone), InodeVersion::Present(_)) => return What::CREATED,
        (Some(InodeVersion::Present(before)), InodeVersion::Present(after)) => (before, after),
    };
    let mut what = What::default();
    if (before.size, before.content, &before.target) != (after.size, after.content, &after.target) {
        what = what.with(What::CONTENT);
    }
    if before.xattrs != after.xattrs {
        what = what.with(What::XATTRS);
    }
    let attributes = |inode: &Inode| Inode {
        size: 0,
        content: Content::Empty,
        target: Vec::new(),
        xattrs: Vec::new(),
        ..inode.clone()
    };
    if attributes(before) != attributes(after) {
        what = what.with(What::ATTRIBUTES);
    }
    what
}
