//! Purge: content is removed from all of history on demand, as a secret that leaked. The versions
//! stay, with the hash of what they held: so no state changes. A tombstone, written in the same
//! batch, says when, by whom, why, and the hash of what.
//!
//! 1. It goes in batches, each of which leaves a sound store; who comes back after one was cut short
//!    purges what is left. Nothing goes but what the plan names.
//! 2. Pieces that other content needs too stay.
//! 3. When it returns, the bytes are in no file of the store any more, unless somebody reads the
//!    store as it was before. Each batch notes where they are, and the note goes when they have
//!    gone: who comes next sees to them if this process did not (`wipe.rs`).

use super::kv::{Batch, Durability};
use super::refs::Refs;
use super::view::{View, decode};
use super::{Result, SnapshotAction, Store, StoreError, meta};
use crate::format::key::{self, Family};
use crate::format::lthash;
use crate::format::record::*;
use crate::format::value;
use crate::id::*;
use crate::limits;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Records between two questions whether to go on.
const ASK_EVERY: u64 = 1024;

/// What is to be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// All versions of these files.
    Files(HashSet<FileId>),
    /// All versions that hold these bytes: as their content, or a piece of it.
    Bytes(Hash),
}

/// A version whose content goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doomed {
    pub id: FileId,
    pub epoch: Epoch,
    /// Where the next version begins.
    pub until: Epoch,
    pub size: u64,
    pub content: Content,
}

/// What a purge removes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PurgePlan {
    pub versions: Vec<Doomed>,
    /// Stored bytes that nothing else needs.
    pub freed_bytes: u64,
    /// Pieces that other content needs too, and their plain bytes.
    pub shared: HashSet<Hash>,
    pub shared_bytes: u64,
    /// Some of the versions that need them.
    pub shared_with: Vec<(FileId, Epoch)>,
}

/// What a purge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Stored bytes that came free.
    pub freed_bytes: u64,
    /// False: somebody reads the store as it was before, and the bytes go when he is done.
    pub wiped: bool,
}

/// What a purge leaves behind for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    pub time: Timestamp,
    pub by_uid: u32,
    pub reason: String,
    /// The hashes that stand in place of the contents.
    pub contents: Vec<Hash>,
    /// BLAKE3 of the fields before, encoded with zeros here: a tombstone vouches for itself.
    pub check: Hash,
}

impl Tombstone {
    fn new(time: Timestamp, by_uid: u32, reason: &str, contents: Vec<Hash>) -> Tombstone {
        let mut tombstone = Tombstone {
            time,
            by_uid,
            reason: reason.to_owned(),
            contents,
            check: Hash::default(),
        };
        tombstone.check = tombstone.sum();
        tombstone
    }

    fn sum(&self) -> Hash {
        let blank = Tombstone {
            check: Hash::default(),
            ..self.clone()
        };
        Hash::of(&value::pack(&blank))
    }

    /// Whether it is as it was written.
    pub fn is_sound(&self) -> bool {
        self.check == self.sum()
    }
}

impl Store {
    /// What a purge of this would remove.
    ///
    /// # Errors
    /// A store that can't be read; `Interrupted` when `go_on` says no.
    pub fn plan_purge(&self, target: &Target, go_on: &dyn Fn() -> bool) -> Result<PurgePlan> {
        let view = self.view();
        let mut versions = view.doomed(target, false, go_on)?;
        if versions.is_empty() && matches!(target, Target::Bytes(_)) {
            versions = view.doomed(target, true, go_on)?;
        }
        let mut plan = view.weigh_purge(versions)?;
        if !plan.shared.is_empty() {
            plan.shared_with = view.sharers(&plan, go_on)?;
        }
        Ok(plan)
    }

    /// Removes what was planned.
    ///
    /// # Errors
    /// `Held` or `HeldUntil`: a snapshot on hold shows a version that would go; nothing was removed.
    /// `Interrupted`: what was removed until then is.
    pub fn purge(
        &self,
        plan: &PurgePlan,
        reason: &str,
        by_uid: u32,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Purged> {
        self.writable()?;
        self.check_filled()?;
        self.check_folder()?;
        let _turn = self.pruning.lock();
        self.finish_prune(go_on)?;
        self.view().check_holds(&plan.versions)?;
        let mut freed_bytes = 0;
        let batch = limits::PURGE_BATCH.min(self.options.prune_lines);
        for versions in plan.versions.chunks(batch) {
            if !go_on() {
                return Err(StoreError::Interrupted);
            }
            freed_bytes += self.purge_batch(versions, reason, by_uid)?;
        }
        let action = SnapshotAction::Purged {
            versions: plan.versions.len() as u64,
            bytes: freed_bytes,
            reason: reason.to_owned(),
        };
        self.log_deed(by_uid, action)?;
        self.cache.lock().clear();
        let wiped = self.wipe(limits::WIPE_WAIT, go_on)?;
        // Who still read the store as it was before may have brought some of it back.
        self.cache.lock().clear();
        Ok(Purged { freed_bytes, wiped })
    }

    fn purge_batch(&self, versions: &[Doomed], reason: &str, by_uid: u32) -> Result<u64> {
        let _committer = self.committer.lock();
        let view = self.view();
        view.check_holds(versions)?;
        let mut batch = Batch::default();
        let mut refs = Refs::new(self);
        let mut contents = Vec::new();
        for doomed in versions {
            let key = key::inode(doomed.id, doomed.epoch);
            let Some(InodeVersion::Present(mut inode)) = view.get(Family::Inodes, &key)? else {
                continue;
            };
            // A scan under way may have written another one since the plan was made.
            if inode.content != doomed.content {
                continue;
            }
            refs.release(&inode.content)?;
            let hash = lthash::content_hash(&inode.content);
            contents.push(hash);
            inode.content = Content::Purged(hash);
            let version = InodeVersion::Present(inode);
            batch.put(Family::Inodes, key, value::pack(&version));
        }
        if contents.is_empty() {
            return Ok(0);
        }
        contents.sort_unstable();
        contents.dedup();
        view.put_tombstone(&mut batch, by_uid, reason, contents)?;
        let settled = refs.settle(&mut batch);
        self.note_wiping(&mut batch, settled.dying())?;
        settled.write(batch, |batch| self.write(batch, Durability::Synced))
    }

    /// What was purged, oldest first.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn tombstones(&self) -> Result<Vec<Tombstone>> {
        let all = self.view().numbered(meta::PURGED)?.into_iter();
        Ok(all.map(|(_, tombstone)| tombstone).collect())
    }
}

impl View<'_> {
    /// Adds a tombstone to a batch.
    pub(super) fn put_tombstone(
        &self,
        batch: &mut Batch,
        by_uid: u32,
        reason: &str,
        contents: Vec<Hash>,
    ) -> Result<()> {
        let prefix = key::meta_prefix(meta::PURGED);
        let last = self.last(Family::Meta, &prefix, &key::after_prefix(&prefix))?;
        let last = last.map(|(key, _)| key::unpack_meta(meta::PURGED, &key));
        let number = last.transpose()?.map_or(1, |number| number + 1);
        let tombstone = Tombstone::new(Timestamp::now(), by_uid, reason, contents);
        let key = key::meta(meta::PURGED, number);
        batch.put(Family::Meta, key, value::pack(&tombstone));
        Ok(())
    }

    /// The versions with a target. `whole`: long content is read whole, to be compared with a hash
    /// that is of all of it.
    fn doomed(
        &self,
        target: &Target,
        whole: bool,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Vec<Doomed>> {
        let mut doomed = Vec::new();
        let mut known: HashMap<Hash, bool> = HashMap::new();
        let mut newer: Option<(FileId, Epoch)> = None;
        let mut seen = 0u64;
        let mut scan = self.from(Family::Inodes, &[])?;
        while let Some((key, bytes)) = scan.item() {
            let (id, epoch) = key::unpack_inode(key)?;
            let until = newer.filter(|(other, _)| *other == id);
            newer = Some((id, epoch));
            let version: InodeVersion = decode(Family::Inodes, key, bytes)?;
            if let InodeVersion::Present(inode) = version
                && let content @ (Content::Chunk(_) | Content::List(_)) = inode.content
            {
                let is_meant = match target {
                    Target::Files(files) => files.contains(&id),
                    Target::Bytes(hash) => self.holds(content, *hash, whole, &mut known)?,
                };
                if is_meant {
                    doomed.push(Doomed {
                        id,
                        epoch,
                        until: until.map_or(Epoch::MAX, |(_, at)| at),
                        size: inode.size,
                        content,
                    });
                }
            }
            seen += 1;
            if (whole || seen.is_multiple_of(ASK_EVERY)) && !go_on() {
                return Err(StoreError::Interrupted);
            }
            scan.step()?;
        }
        Ok(doomed)
    }

    fn holds(
        &self,
        content: Content,
        hash: Hash,
        whole: bool,
        known: &mut HashMap<Hash, bool>,
    ) -> Result<bool> {
        let Content::List(list) = content else {
            return Ok(content == Content::Chunk(hash));
        };
        if let Some(known) = known.get(&list) {
            return Ok(*known);
        }
        let mut holds = list == hash;
        let mut hasher = blake3::Hasher::new();
        for piece in &self.list(list)?.pieces {
            match *piece {
                Piece::Data { hash: piece, .. } => {
                    holds |= piece == hash;
                    if whole {
                        hasher.update(&self.chunk(piece)?);
                    }
                }
                Piece::Hole { len } if whole => {
                    let zeros = [0; 4096];
                    let mut left = len;
                    while left > 0 {
                        let now = usize::try_from(left)
                            .unwrap_or(zeros.len())
                            .min(zeros.len());
                        hasher.update(&zeros[..now]);
                        left -= now as u64;
                    }
                }
                Piece::Hole { .. } => {}
            }
        }
        holds |= whole && *hasher.finalize().as_bytes() == hash.0;
        known.insert(list, holds);
        Ok(holds)
    }

    fn weigh_purge(&self, versions: Vec<Doomed>) -> Result<PurgePlan> {
        let mut plan = PurgePlan::default();
        let mut released: BTreeMap<Hash, u64> = BTreeMap::new();
        for doomed in &versions {
            if let Content::Chunk(hash) | Content::List(hash) = doomed.content {
                *released.entry(hash).or_default() += 1;
            }
        }
        let named: Vec<(Hash, u64)> = released.iter().map(|(hash, n)| (*hash, *n)).collect();
        for (hash, count) in named {
            let Some(entry) = self.index_entry(hash)?.filter(|entry| entry.is_list) else {
                continue;
            };
            let goes = entry.refs <= count;
            for piece in &self.list(hash)?.pieces {
                if let Piece::Data { hash, .. } = piece {
                    *released.entry(*hash).or_default() += u64::from(goes);
                }
            }
        }
        for (hash, count) in released {
            let Some(entry) = self.index_entry(hash)? else {
                continue;
            };
            if entry.refs <= count {
                plan.freed_bytes += u64::from(entry.stored_bytes);
            } else if !entry.is_list {
                plan.shared_bytes += u64::from(entry.plain_bytes);
                plan.shared.insert(hash);
            }
        }
        plan.versions = versions;
        Ok(plan)
    }

    /// Some of the versions that need what is shared.
    fn sharers(&self, plan: &PurgePlan, go_on: &dyn Fn() -> bool) -> Result<Vec<(FileId, Epoch)>> {
        let doomed: HashSet<(FileId, Epoch)> =
            plan.versions.iter().map(|v| (v.id, v.epoch)).collect();
        let mut files = HashSet::new();
        let mut sharers = Vec::new();
        let mut known: HashMap<Hash, bool> = HashMap::new();
        let mut scan = self.from(Family::Inodes, &[])?;
        while let Some((key, bytes)) = scan.item() {
            let (id, epoch) = key::unpack_inode(key)?;
            let version: InodeVersion = decode(Family::Inodes, key, bytes)?;
            if let InodeVersion::Present(inode) = version
                && !doomed.contains(&(id, epoch))
                && self.needs(inode.content, &plan.shared, &mut known)?
                && files.insert(id)
            {
                sharers.push((id, epoch));
            }
            if sharers.len() >= limits::SHARERS_TOLD {
                break;
            }
            if !go_on() {
                return Err(StoreError::Interrupted);
            }
            scan.step()?;
        }
        Ok(sharers)
    }

    fn needs(
        &self,
        content: Content,
        shared: &HashSet<Hash>,
        known: &mut HashMap<Hash, bool>,
    ) -> Result<bool> {
        let list = match content {
            Content::Chunk(hash) => return Ok(shared.contains(&hash)),
            Content::List(list) => list,
            _ => return Ok(false),
        };
        if let Some(known) = known.get(&list) {
            return Ok(*known);
        }
        let is_shared =
            |piece: &Piece| matches!(piece, Piece::Data { hash, .. } if shared.contains(hash));
        let needs = self.list(list)?.pieces.iter().any(is_shared);
        known.insert(list, needs);
        Ok(needs)
    }

    /// That no snapshot on hold shows one of these versions.
    ///
    /// # Errors
    /// `Held` or `HeldUntil`.
    pub fn check_holds(&self, versions: &[Doomed]) -> Result<()> {
        let now = Timestamp::now();
        for (name, snapshot) in self.snapshots()? {
            let Some(hold) = snapshot.hold.filter(|hold| hold.holds(now)) else {
                continue;
            };
            let at = snapshot.epoch;
            if versions.iter().any(|v| v.epoch <= at && at < v.until) {
                return Err(match hold.until {
                    Some(until) => StoreError::HeldUntil { name, until },
                    None => StoreError::Held { name },
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::key::hex;

    #[test]
    fn golden_bytes() {
        let contents = vec![Hash([0x22; 32])];
        let tombstone = Tombstone::new(Timestamp(3), 7, "why", contents);
        let bytes = value::pack(&tombstone);
        let check = hex(&tombstone.check.0);
        let expected = format!("01060703{}01{}{check}", hex(b"why"), "22".repeat(32));
        assert_eq!(hex(&bytes), expected);
        assert_eq!(value::unpack::<Tombstone>(&bytes), Ok(tombstone.clone()));
        assert!(tombstone.is_sound());
        for bit in 8..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let read = value::unpack::<Tombstone>(&flipped);
            assert!(!read.is_ok_and(|read| read.is_sound()), "bit {bit}");
        }
    }
}
