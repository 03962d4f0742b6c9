//! What each snapshot added, and what deleting it alone would free: counted for all of them in one
//! walk over the records.
//!
//! A version is added by the first snapshot that shows it, and so is a chunk by the first that shows
//! one of the versions that name it. What one kept state alone shows goes with that state. A list
//! hands both on to its pieces.

use super::view::{View, decode};
use super::{Result, Store, StoreError};
use crate::format::key::{self, Family};
use crate::format::record::*;
use crate::format::value;
use crate::id::{Epoch, FileId, Hash, SnapshotId};
use crate::limits;
use std::collections::HashMap;

/// Records between two questions whether to go on.
const ASK_EVERY: u64 = 1024;
/// No snapshot shows it.
const NONE: usize = usize::MAX;

/// What a snapshot weighs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotWeight {
    /// Versions of regular files that no snapshot before shows, and their lengths.
    pub files: u64,
    pub bytes: u64,
    /// Stored bytes of the chunks that no snapshot before needs.
    pub stored_bytes: u64,
    /// Stored bytes of chunks, and bytes of records, that no other kept state needs.
    pub frees_bytes: u64,
}

/// Who needs something: one kept state, or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Nobody,
    One(Epoch),
    Several,
}

impl Owner {
    fn and(self, other: Owner) -> Owner {
        match (self, other) {
            (Owner::Nobody, owner) | (owner, Owner::Nobody) => owner,
            (one, other) if one == other => one,
            _ => Owner::Several,
        }
    }
}

/// What is known of a hash.
#[derive(Clone, Copy)]
struct Need {
    owner: Owner,
    /// Place of the first snapshot that needs it.
    first: usize,
}

struct Walk {
    kept: Vec<Epoch>,
    /// Epochs of snapshots, ascending, each once.
    named: Vec<Epoch>,
    added: Vec<SnapshotWeight>,
    /// Bytes of records by the state that alone needs them.
    records: HashMap<Epoch, u64>,
    needs: HashMap<Hash, Need>,
    exact: bool,
}

impl Store {
    /// Weighs all snapshots. False: there is too much to count, and it is at least so much.
    ///
    /// # Errors
    /// A store that can't be read; `Interrupted` when `go_on` says no.
    pub fn weigh_snapshots(
        &self,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(HashMap<SnapshotId, SnapshotWeight>, bool)> {
        let (view, sealed) = {
            let committer = self.committer.lock();
            (self.view(), committer.sealed)
        };
        let snapshots = view.snapshots()?;
        let mut walk = view.begin_weighing(&snapshots)?;
        view.weigh_inodes(&mut walk, go_on)?;
        view.weigh_dirents(&mut walk, go_on)?;
        view.weigh_lists(&mut walk)?;
        let mut freed = std::mem::take(&mut walk.records);
        for (hash, need) in &walk.needs {
            let Some(entry) = view.index_entry(*hash)? else {
                continue;
            };
            let stored = u64::from(entry.stored_bytes);
            if let Some(added) = walk.added.get_mut(need.first) {
                added.stored_bytes += stored;
            }
            if let Owner::One(epoch) = need.owner {
                let record = key::index(*hash).len() + value::pack(&entry).len();
                *freed.entry(epoch).or_default() += stored + record as u64;
            }
        }
        let mut weights = HashMap::new();
        for (_, snapshot) in &snapshots {
            let at = snapshot.epoch;
            let place = walk.named.partition_point(|epoch| *epoch < at);
            let mut weight = walk.added[place];
            let others = snapshots
                .iter()
                .filter(|(_, other)| other.id != snapshot.id);
            let mut needed = others.flat_map(|(_, other)| [Some(other.epoch), other.base]);
            // The next state builds on the newest; another name, or a base, keeps it too.
            if at < sealed && !needed.any(|epoch| epoch == Some(at)) {
                weight.frees_bytes = freed.get(&at).copied().unwrap_or(0);
            }
            weights.insert(snapshot.id, weight);
        }
        Ok((weights, walk.exact))
    }
}

impl Walk {
    /// Who needs a version that holds from one epoch up to another, and the first snapshot that
    /// shows it.
    fn need(&self, from: Epoch, until: Option<Epoch>) -> Need {
        let place = |epochs: &[Epoch], at: Epoch| epochs.partition_point(|epoch| *epoch < at);
        let end = until.map_or(self.kept.len(), |until| place(&self.kept, until));
        let begin = place(&self.kept, from);
        let owner = match end.saturating_sub(begin) {
            0 => Owner::Nobody,
            1 => Owner::One(self.kept[begin]),
            _ => Owner::Several,
        };
        let first = place(&self.named, from);
        let shows = |epoch: &Epoch| until.is_none_or(|until| *epoch < until);
        let first = self
            .named
            .get(first)
            .filter(|at| shows(at))
            .map_or(NONE, |_| first);
        Need { owner, first }
    }

    fn record(&mut self, need: Need, bytes: usize) {
        if let Owner::One(epoch) = need.owner {
            *self.records.entry(epoch).or_default() += bytes as u64;
        }
    }

    fn add(&mut self, hash: Hash, need: Need) {
        let full = self.needs.len() >= limits::WEIGHED_HASHES;
        if full && !self.needs.contains_key(&hash) {
            self.exact = false;
            return;
        }
        let known = self.needs.entry(hash).or_insert(need);
        known.owner = known.owner.and(need.owner);
        known.first = known.first.min(need.first);
    }
}

impl View<'_> {
    fn begin_weighing(&self, snapshots: &[(String, Snapshot)]) -> Result<Walk> {
        let mut kept = Vec::new();
        let mut scan = self.from(Family::Epochs, &[])?;
        while let Some((key, _)) = scan.item() {
            kept.push(key::unpack_epoch(Family::Epochs, key)?);
            scan.step()?;
        }
        let mut named: Vec<Epoch> = snapshots.iter().map(|(_, s)| s.epoch).collect();
        named.sort_unstable();
        named.dedup();
        Ok(Walk {
            kept,
            added: vec![SnapshotWeight::default(); named.len()],
            named,
            records: HashMap::new(),
            needs: HashMap::new(),
            exact: true,
        })
    }

    fn weigh_inodes(&self, walk: &mut Walk, go_on: &dyn Fn() -> bool) -> Result<()> {
        let mut newer: Option<(FileId, Epoch)> = None;
        let mut seen = 0u64;
        let mut scan = self.from(Family::Inodes, &[])?;
        while let Some((key, bytes)) = scan.item() {
            let (id, epoch) = key::unpack_inode(key)?;
            let until = newer.filter(|(other, _)| *other == id).map(|(_, at)| at);
            newer = Some((id, epoch));
            let need = walk.need(epoch, until);
            walk.record(need, key.len() + bytes.len());
            if let InodeVersion::Present(inode) = decode(Family::Inodes, key, bytes)? {
                if inode.kind == Kind::File
                    && let Some(added) = walk.added.get_mut(need.first)
                {
                    added.files += 1;
                    added.bytes += inode.size;
                }
                if let Content::Chunk(hash) | Content::List(hash) = inode.content {
                    walk.add(hash, need);
                }
            }
            seen += 1;
            if seen.is_multiple_of(ASK_EVERY) && !go_on() {
                return Err(StoreError::Interrupted);
            }
            scan.step()?;
        }
        Ok(())
    }

    fn weigh_dirents(&self, walk: &mut Walk, go_on: &dyn Fn() -> bool) -> Result<()> {
        let mut newer: Option<(FileId, Vec<u8>, Epoch)> = None;
        let mut seen = 0u64;
        let mut scan = self.from(Family::Dirents, &[])?;
        while let Some((key, bytes)) = scan.item() {
            let (dir, name, epoch) = key::unpack_dirent(key)?;
            let is_same =
                |(other, its, _): &&(FileId, Vec<u8>, Epoch)| *other == dir && its == name;
            let until = newer.as_ref().filter(is_same).map(|(.., at)| *at);
            let need = walk.need(epoch, until);
            walk.record(need, key.len() + bytes.len());
            newer = Some((dir, name.to_vec(), epoch));
            seen += 1;
            if seen.is_multiple_of(ASK_EVERY) && !go_on() {
                return Err(StoreError::Interrupted);
            }
            scan.step()?;
        }
        Ok(())
    }

    fn weigh_lists(&self, walk: &mut Walk) -> Result<()> {
        let named: Vec<(Hash, Need)> = walk.needs.iter().map(|(hash, n)| (*hash, *n)).collect();
        for (hash, need) in named {
            if !self.index_entry(hash)?.is_some_and(|entry| entry.is_list) {
                continue;
            }
            for piece in &self.list(hash)?.pieces {
                if let Piece::Data { hash, .. } = *piece {
                    walk.add(hash, need);
                }
            }
        }
        Ok(())
    }
}
