//! Content that can't be read: taken from the live tree, or given up.

use super::super::chunks::open_chunk;
use super::super::kv::{Batch, Durability};
use super::super::verify::{Problem, skip};
use super::super::view::decode;
use super::super::{Result, Store};
use super::{Mender, Remedy, Repaired, hashes};
use crate::format::key::{self, Family};
use crate::format::lthash;
use crate::format::record::*;
use crate::format::value;
use crate::id::*;
use crate::limits;
use std::collections::{HashMap, HashSet};

/// Where a hash stands in a file.
#[derive(Clone, Copy)]
enum Use {
    Data { id: FileId, offset: u64, len: u32 },
    List { id: FileId },
}

/// Hashes that can't be read, and the files in which they stand.
#[derive(Default)]
struct Uses {
    of: HashMap<Hash, Vec<Use>>,
    /// Lists that name them: whether they do.
    lists: HashMap<Hash, bool>,
}

impl Uses {
    fn add(&mut self, hash: Hash, at: Use) {
        if let Some(uses) = self.of.get_mut(&hash)
            && uses.len() < limits::MEND_TRIES
        {
            uses.push(at);
        }
    }
}

impl Store {
    /// Mends what the live tree has, and gives the rest up.
    pub(super) fn repair_content(
        &self,
        repaired: &mut Repaired,
        problems: Vec<Problem>,
        mender: &dyn Mender,
    ) -> Result<()> {
        if problems.is_empty() {
            return Ok(());
        }
        let mut damaged = hashes(&problems);
        let mut whole = HashSet::new();
        loop {
            whole.extend(damaged.iter().copied().filter(|hash| self.is_whole(*hash)));
            let mut adopted = false;
            if whole.len() < damaged.len() {
                for (hash, entry) in self.strays(&damaged) {
                    if whole.insert(hash) {
                        self.put_entry(Batch::default(), hash, entry)?;
                        adopted = true;
                    }
                }
            }
            // Of a list that can be read it is known which pieces are missing.
            let before = damaged.len();
            for hash in damaged.clone() {
                self.add_missing_pieces(hash, &mut damaged);
            }
            if !adopted && damaged.len() == before {
                break;
            }
        }
        let uses = self.uses(&damaged);
        // Lists first: what their pieces are is not known before.
        let mut damaged: Vec<(&Hash, &Vec<Use>)> = uses.of.iter().collect();
        damaged.sort_by_key(|(_, uses)| matches!(uses[..], [Use::Data { .. }, ..]));
        for (hash, uses) in damaged {
            if !whole.contains(hash) && self.mend(*hash, uses, mender)? {
                whole.insert(*hash);
            }
        }
        let report = &repaired.report;
        let others = report.problems_found > report.unnamed || report.blind;
        for problem in problems {
            let remedy = match &problem {
                // It may be what is missing, under a name that is not known yet.
                Problem::Unnamed { .. } if others => {
                    repaired.report.problems.push(problem);
                    continue;
                }
                Problem::Unnamed { number } => {
                    self.remove_unnamed(*number)?;
                    Remedy::Mended
                }
                Problem::Chunk { hash, .. } => {
                    if whole.contains(hash) {
                        Remedy::Mended
                    } else {
                        self.forget_chunk(*hash)?;
                        Remedy::GivenUp
                    }
                }
                Problem::Content { id, epoch, .. } => self.settle_content(*id, *epoch)?,
                _ => continue,
            };
            repaired.note(problem, remedy);
        }
        Ok(())
    }

    pub(super) fn add_missing_pieces(&self, list: Hash, damaged: &mut HashSet<Hash>) {
        let is_list = |entry: IndexEntry| entry.is_list;
        if !self.index_entry(list).ok().flatten().is_some_and(is_list) {
            return;
        }
        if let Ok(list) = self.view().list(list) {
            for piece in &list.pieces {
                if let Piece::Data { hash, .. } = piece
                    && !self.is_whole(*hash)
                {
                    damaged.insert(*hash);
                }
            }
        }
    }

    /// The files in which damaged hashes stand, themselves or as a piece.
    fn uses(&self, damaged: &HashSet<Hash>) -> Uses {
        let view = self.view();
        let mut uses = Uses::default();
        uses.of
            .extend(damaged.iter().map(|hash| (*hash, Vec::new())));
        skip::readable(&view, Family::Inodes, |key, bytes| {
            let (Ok((id, _)), Ok(InodeVersion::Present(inode))) =
                (key::unpack_inode(key), value::unpack(bytes))
            else {
                return;
            };
            match inode.content {
                Content::Chunk(hash) => {
                    let len = u32::try_from(inode.size).unwrap_or(u32::MAX);
                    let offset = 0;
                    uses.add(hash, Use::Data { id, offset, len });
                }
                Content::List(list) => {
                    uses.add(list, Use::List { id });
                    self.pieces_in_use(&mut uses, id, list, damaged);
                }
                _ => {}
            }
        });
        uses
    }

    /// Chunks that have the bytes of a hash whose index entry does not lead there.
    fn strays(&self, damaged: &HashSet<Hash>) -> HashMap<Hash, IndexEntry> {
        let mut strays = HashMap::new();
        skip::readable(&self.view(), Family::Chunks, |key, envelope| {
            let Ok(number) = key::unpack_chunk(key) else {
                return;
            };
            let Ok(plain) = value::unpack_chunk(envelope, limits::LIST_PLAIN_MAX) else {
                return;
            };
            for (hash, is_list) in [(Hash::of(&plain), false), (value::list_hash(&plain), true)] {
                if damaged.contains(&hash) {
                    strays.insert(hash, entry(number, envelope, &plain, is_list));
                }
            }
        });
        strays
    }

    fn pieces_in_use(&self, uses: &mut Uses, id: FileId, list: Hash, damaged: &HashSet<Hash>) {
        if uses.lists.get(&list) == Some(&false) {
            return;
        }
        let Ok(pieces) = self.view().list(list) else {
            return;
        };
        let (mut offset, mut names) = (0, false);
        for piece in &pieces.pieces {
            if let Piece::Data { len, hash } = *piece
                && damaged.contains(&hash)
            {
                names = true;
                uses.add(hash, Use::Data { id, offset, len });
            }
            offset += piece.len();
        }
        uses.lists.insert(list, names);
    }

    /// Whether the store has what a hash names, and that is as it should be. Not asked of what is
    /// in memory.
    pub(super) fn is_whole(&self, hash: Hash) -> bool {
        let Ok(Some(entry)) = self.index_entry(hash) else {
            return false;
        };
        let Ok(Some(envelope)) = self.kv.get(Family::Chunks, &key::chunk(entry.number)) else {
            return false;
        };
        let Ok(plain) = open_chunk(hash, entry.number, &envelope, entry.is_list) else {
            return false;
        };
        envelope.len() == entry.stored_bytes as usize && plain.len() == entry.plain_bytes as usize
    }

    /// Looks for the bytes of a hash in the live files that held them.
    fn mend(&self, hash: Hash, uses: &[Use], mender: &dyn Mender) -> Result<bool> {
        for at in uses {
            match *at {
                Use::Data { id, offset, len } => {
                    let plain = mender.read(id, offset, len.min(limits::CHUNK_PLAIN_MAX));
                    if let Some(plain) = plain.filter(|plain| Hash::of(plain) == hash) {
                        self.put_back(hash, &plain, false)?;
                        return Ok(true);
                    }
                }
                Use::List { id } => {
                    let packed = |list: ChunkList| value::pack_list(&list);
                    let mut lists = mender.lists(id).into_iter().map(packed);
                    if let Some(plain) = lists.find(|plain| value::list_hash(plain) == hash) {
                        self.put_back(hash, &plain, true)?;
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }

    /// Stores bytes under a number of their own, and has the index lead there. The references are
    /// counted later.
    pub(super) fn put_back(&self, hash: Hash, plain: &[u8], is_list: bool) -> Result<()> {
        let envelope = value::pack_chunk(plain);
        let number = self.new_chunk_number()?;
        let entry = entry(number, &envelope, plain, is_list);
        let mut batch = Batch::default();
        batch.put(Family::Chunks, key::chunk(number), envelope);
        self.put_entry(batch, hash, entry)?;
        self.settle_chunk_number(number);
        Ok(())
    }

    fn put_entry(&self, mut batch: Batch, hash: Hash, entry: IndexEntry) -> Result<()> {
        let _committer = self.committer.lock();
        let former = self.index_entry(hash).ok().flatten();
        let refs = former.map_or(entry.refs, |former| former.refs);
        let entry = IndexEntry { refs, ..entry };
        batch.put(Family::Index, key::index(hash), value::pack(&entry));
        self.write(batch, Durability::Synced)
    }

    /// Takes the index entry of what is lost away. If that led to a chunk, nothing names it now.
    fn forget_chunk(&self, hash: Hash) -> Result<()> {
        let _committer = self.committer.lock();
        let mut batch = Batch::default();
        batch.delete(Family::Index, key::index(hash));
        self.cache.lock().clear();
        self.write(batch, Durability::Synced)
    }

    /// A chunk that nothing names: nothing ever will, its number is in no block.
    fn remove_unnamed(&self, number: ChunkNumber) -> Result<()> {
        let _committer = self.committer.lock();
        let mut batch = Batch::default();
        batch.delete(Family::Chunks, key::chunk(number));
        self.write(batch, Durability::Synced)
    }

    /// A version whose content could not be read: it stays if it can be now, else its content is
    /// given up. Its state does not change by that.
    fn settle_content(&self, id: FileId, epoch: Epoch) -> Result<Remedy> {
        let _committer = self.committer.lock();
        let key = key::inode(id, epoch);
        let Some(bytes) = self.kv.get(Family::Inodes, &key)? else {
            return Ok(Remedy::Mended);
        };
        let InodeVersion::Present(mut inode) = decode(Family::Inodes, &key, &bytes)? else {
            return Ok(Remedy::Mended);
        };
        if self.is_readable(&inode.content) {
            return Ok(Remedy::Mended);
        }
        inode.content = Content::Damaged(GivenUp(lthash::content_hash(&inode.content)));
        let mut batch = Batch::default();
        let version = InodeVersion::Present(inode);
        batch.put(Family::Inodes, key, value::pack(&version));
        self.write(batch, Durability::Synced)?;
        Ok(Remedy::GivenUp)
    }

    fn is_readable(&self, content: &Content) -> bool {
        match content {
            Content::Chunk(hash) => self.is_whole(*hash),
            Content::List(hash) => {
                let list = || self.view().list(*hash).ok();
                let data = |piece: &Piece| match piece {
                    Piece::Data { hash, .. } => self.is_whole(*hash),
                    Piece::Hole { .. } => true,
                };
                self.is_whole(*hash) && list().is_some_and(|list| list.pieces.iter().all(data))
            }
            _ => true,
        }
    }
}

/// What the index says of a chunk with one reference.
fn entry(number: ChunkNumber, envelope: &[u8], plain: &[u8], is_list: bool) -> IndexEntry {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    IndexEntry {
        number,
        stored_bytes: length(envelope),
        plain_bytes: length(plain),
        refs: 1,
        is_list,
    }
}
