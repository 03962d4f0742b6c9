//! A store that is made from what another one sent. Until `received` has succeeded it is none.
//!
//! 1. Chunks come first, a pack at a time: its chunks, their index entries and the note that it is
//!    here are one batch, and the note stays until the recovery has ended: a process that is killed,
//!    also while it writes files, fetches no pack twice.
//! 2. Every record is decoded before it is written, every chunk hashed.
//! 3. References and the sum are not believed but counted; the state must be that of the header.

use super::commit::{Committer, put_sum};
use super::export::is_sent;
use super::kv::{Batch, Durability};
use super::line::ChangeLine;
use super::refs::named;
use super::view::{corrupt, decode};
use super::{Result, Store, StoreError, chunks, meta};
use crate::format::key::{self, Family};
use crate::format::lthash::{self, LtHash};
use crate::format::record::*;
use crate::format::transfer::{RawChunk, RawRecord, Recovering};
use crate::format::value;
use crate::id::{ChunkNumber, Epoch, Hash};
use std::collections::{HashMap, HashSet};
use std::thread;

/// Hashes that are counted in one walk over the versions.
const COUNTED_AT_ONCE: u64 = 4 << 20;
/// Records of a batch.
const BATCH: usize = 10_000;

/// What became of what was received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Chunks that something names and that did not come.
    pub missing: u64,
    /// The records are those of the state that the header of the last epoch says, or that a repair
    /// left.
    pub is_whole: bool,
}

impl Store {
    /// The packs that are here.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn received_packs(&self) -> Result<HashSet<Hash>> {
        let packs: Vec<(u64, Hash)> = self.view().numbered(meta::RECEIVED)?;
        Ok(packs.into_iter().map(|(_, pack)| pack).collect())
    }

    /// What this store is to be, if it is being made from a repository.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn recovering(&self) -> Result<Option<Recovering>> {
        self.meta(meta::RECOVERING)
    }

    /// Notes that.
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn set_recovering(&self, recovering: &Recovering) -> Result<()> {
        self.put_meta(meta::RECOVERING, recovering)
    }

    /// It is what it was to be.
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn end_recovering(&self) -> Result<()> {
        let mut batch = self.forget_received()?;
        batch.delete(Family::Meta, meta::RECOVERING);
        self.write(batch, Durability::Synced)
    }

    /// Something of what came is to be given up: whoever begins again fetches it anew, as it may be
    /// there then.
    ///
    /// # Errors
    /// A store that can't be read or written.
    pub fn doubt_received(&self) -> Result<()> {
        let batch = self.forget_received()?;
        self.write(batch, Durability::Synced)
    }

    pub(super) fn forget_received(&self) -> Result<Batch> {
        let mut batch = Batch::default();
        let view = self.view();
        let mut notes = view.prefix(Family::Meta, &key::meta_prefix(meta::RECEIVED))?;
        while let Some((key, _)) = notes.item() {
            batch.delete(Family::Meta, key);
            notes.step()?;
        }
        Ok(batch)
    }

    /// Takes chunks; with the name of a pack, all of it is here then.
    ///
    /// # Errors
    /// One of them has not the bytes that its name says (then none is taken), or a store that can't
    /// be written.
    pub fn receive_pack(&self, pack: Option<Hash>, chunks: &[RawChunk]) -> Result<()> {
        // Who commits waits for none of this.
        let mut plain_bytes = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            plain_bytes.push(match self.index_entry(chunk.hash)? {
                Some(_) => 0,
                None => {
                    let number = ChunkNumber::default();
                    let envelope = &chunk.envelope;
                    chunks::open_chunk(chunk.hash, number, envelope, chunk.is_list)?.len()
                }
            });
        }
        let _committer = self.committer.lock();
        let mut batch = Batch::default();
        let mut numbers = Vec::new();
        let mut taken = HashSet::new();
        for (chunk, plain_bytes) in chunks.iter().zip(plain_bytes) {
            let RawChunk {
                hash,
                is_list,
                envelope,
            } = chunk;
            if !taken.insert(*hash) || self.index_entry(*hash)?.is_some() {
                continue;
            }
            let number = self.new_chunk_number()?;
            numbers.push(number);
            let too_long = |_| StoreError::TooLarge {
                bytes: envelope.len() as u64,
                limit: u64::from(u32::MAX),
            };
            let entry = IndexEntry {
                number,
                stored_bytes: u32::try_from(envelope.len()).map_err(too_long)?,
                plain_bytes: u32::try_from(plain_bytes).map_err(too_long)?,
                refs: 0,
                is_list: *is_list,
            };
            batch.put(Family::Index, key::index(*hash), value::pack(&entry));
            batch.put(Family::Chunks, key::chunk(number), envelope.clone());
        }
        if let Some(pack) = pack {
            let number = pack
                .0
                .first_chunk()
                .map_or(0, |first| u64::from_be_bytes(*first) >> 1);
            let key = key::meta(meta::RECEIVED, number);
            batch.put(Family::Meta, key, value::pack(&pack));
        }
        self.write(batch, Durability::Unsynced)?;
        numbers
            .into_iter()
            .for_each(|number| self.settle_chunk_number(number));
        Ok(())
    }

    /// Takes records; of lists that are whole only if `lists`: each set has its own.
    ///
    /// # Errors
    /// One that this program can't have written, or a store that can't be written.
    pub fn receive_records(&self, records: Vec<RawRecord>, lists: bool) -> Result<()> {
        let mut batch = Batch::default();
        for record in records {
            let family = check(&record)?;
            if lists || !matches!(family, Family::Meta | Family::Snapshots) {
                batch.put(family, record.key, record.value);
            }
        }
        self.write(batch, Durability::Unsynced)
    }

    /// The last step: counts references and the sum, and makes all of it durable.
    ///
    /// # Errors
    /// `NoEpoch` if the last epoch did not come; a store that can't be written.
    pub fn received(&self, to: Epoch) -> Result<Received> {
        let mut committer = self.committer.lock();
        let missing = self.count_received()?;
        let is_whole = self.seal_received(&mut committer, to)?;
        for family in Family::ALL {
            self.kv.flush(family)?;
        }
        Ok(Received { missing, is_whole })
    }

    /// The sum of all that is visible at an epoch: files and names are counted at the same time.
    fn sum_at(&self, at: Epoch) -> Result<LtHash> {
        let (files, names) = thread::scope(|scope| {
            let files = scope.spawn(|| {
                let mut sum = LtHash::default();
                let mut add = |id, inode: &Inode| sum.add(&lthash::inode_record(id, inode));
                self.each_file_at(at, &mut add).map(|()| sum)
            });
            let mut sum = LtHash::default();
            let mut add = |dir, name: &[u8], dirent: &Dirent| {
                sum.add(&lthash::dirent_record(dir, name, dirent));
            };
            let names = self.each_name_at(at, &mut add).map(|()| sum);
            (files.join(), names)
        });
        // It panics only if this program is wrong.
        let mut sum = files.map_err(|_| StoreError::Closed)??;
        sum.join(&names?);
        Ok(sum)
    }

    /// Counts the sum, on which what is newer builds. Whether it is that of the header.
    pub(super) fn seal_received(&self, committer: &mut Committer, to: Epoch) -> Result<bool> {
        let view = self.view();
        let header = view
            .header(to)?
            .filter(|_| matches!(view.epoch(to), Ok(Some(_))));
        let header = header.ok_or(StoreError::NoEpoch { epoch: to })?;
        let sum = self.sum_at(to)?;
        let mended = view.all_mended()?.get(&to).and_then(|mended| mended.state);
        let is_whole = sum.state() == mended.unwrap_or(header.state);
        drop(view);
        let mut batch = Batch::default();
        put_sum(&mut batch, to, &sum);
        // With it all that came before it is on the disk.
        self.write(batch, Durability::Synced)?;
        self.load_rest(committer)?;
        Ok(is_whole)
    }

    /// Writes down how often everything is named; the answer is how many of them are not here.
    pub(super) fn count_received(&self) -> Result<u64> {
        let view = self.view();
        let mut hashes = 0_u64;
        let mut index = view.from(Family::Index, &[])?;
        while index.item().is_some() {
            hashes += 1;
            index.step()?;
        }
        drop(index);
        let walks = hashes / COUNTED_AT_ONCE + 1;
        let mut missing = 0;
        for walk in 0..walks {
            let of_walk = |hash: Hash| u64::from(hash.0[0]) * walks / 256 == walk;
            let mut counts: HashMap<Hash, u64> = HashMap::new();
            let mut lists: HashSet<Hash> = HashSet::new();
            let mut inodes = view.from(Family::Inodes, &[])?;
            while let Some((key, bytes)) = inodes.item() {
                if let InodeVersion::Present(inode) = decode(Family::Inodes, key, bytes)?
                    && let Some((hash, is_list)) = named(&inode.content)
                {
                    if of_walk(hash) {
                        *counts.entry(hash).or_default() += 1;
                    }
                    if is_list {
                        lists.insert(hash);
                    }
                }
                inodes.step()?;
            }
            for list in lists {
                let Ok(list) = view.list(list) else {
                    continue;
                };
                for piece in &list.pieces {
                    if let Piece::Data { hash, .. } = piece
                        && of_walk(*hash)
                    {
                        *counts.entry(*hash).or_default() += 1;
                    }
                }
            }
            missing += self.set_counts(&counts)?;
        }
        Ok(missing)
    }

    fn set_counts(&self, counts: &HashMap<Hash, u64>) -> Result<u64> {
        let mut missing = 0;
        let mut batch = Batch::default();
        for (hash, refs) in counts {
            match self.index_entry(*hash)? {
                Some(mut entry) => {
                    entry.refs = *refs;
                    batch.put(Family::Index, key::index(*hash), value::pack(&entry));
                }
                None => missing += 1,
            }
            if batch.changes.len() >= BATCH {
                self.write(std::mem::take(&mut batch), Durability::Unsynced)?;
            }
        }
        self.write(batch, Durability::Unsynced)?;
        Ok(missing)
    }
}

/// That a record is one that a store may hold, and its family.
pub(super) fn check(record: &RawRecord) -> Result<Family> {
    let malformed = |family| corrupt(family, &record.key, value::BadValue::Malformed);
    let family = record.family().ok_or_else(|| malformed(Family::Meta))?;
    let (key, bytes) = (&record.key[..], &record.value[..]);
    match family {
        Family::Inodes => {
            key::unpack_inode(key)?;
            decode::<InodeVersion>(family, key, bytes)?;
        }
        Family::Dirents => {
            key::unpack_dirent(key)?;
            decode::<Dirent>(family, key, bytes)?;
        }
        Family::Changes => {
            key::unpack_change(key)?;
            ChangeLine::unpack(key, bytes)?;
        }
        Family::Epochs => {
            key::unpack_epoch(family, key)?;
            decode::<EpochRecord>(family, key, bytes)?;
        }
        Family::Headers => {
            key::unpack_epoch(family, key)?;
            decode::<Header>(family, key, bytes)?;
        }
        Family::Snapshots => {
            key::unpack_snapshot(key)?;
            decode::<Snapshot>(family, key, bytes)?;
        }
        Family::Actors => {
            key::unpack_actor(key)?;
            value::unpack_actor(bytes).map_err(|source| corrupt(family, key, source))?;
        }
        Family::Meta if is_sent(key) => {}
        Family::Meta | Family::Index | Family::Chunks | Family::Live => {
            return Err(malformed(family));
        }
    }
    Ok(family)
}
