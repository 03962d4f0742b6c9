//! Verify: every promise of the store counted again from the bytes. It reads one consistent
//! picture, so it may run while others write, collects what it finds, and never stops at the
//! first damage.
//!
//! 1. Every chunk has the bytes that its name says, and is named by the index, or is in a block of
//!    numbers still in use.
//! 2. Every index entry has its chunk, and as many references as there are contents and lists that
//!    name it; every content and piece has its index entry.
//! 3. Every version has its line in the changes of the kept epoch that first saw it.
//! 4. Every name of a whole epoch leads to a file of that kind.
//! 5. The state of every listed epoch is that of its header, and the headers are one chain.
//! 6. Every snapshot names an epoch that is there.

use super::chunks::open_chunk;
use super::commit::{exchange_dirent, exchange_inode};
use super::view::{View, decode, is_listed};
use super::{Result, Store, StoreError, meta};
use crate::format::key::{self, Family};
use crate::format::lthash::{self, LtHash};
use crate::format::record::*;
use crate::format::value;
use crate::id::*;
use crate::limits;
use std::collections::{HashMap, HashSet};

/// Something that is not as it was stored, or contradicts something else.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    #[error(transparent)]
    Damage(#[from] StoreError),
    #[error("the chunk {hash} (number {number}) is missing or damaged")]
    Chunk { hash: Hash, number: ChunkNumber },
    #[error("the chunk number {number} is named by nothing")]
    Unnamed { number: ChunkNumber },
    #[error("the content of file {id} as of epoch {epoch} can't be read: {hash} is damaged")]
    Content {
        id: FileId,
        epoch: Epoch,
        hash: Hash,
    },
    #[error("the chunk {hash} has {found} references, {counted} records name it")]
    References {
        hash: Hash,
        found: u64,
        counted: u64,
    },
    #[error("the change of file {id} in epoch {epoch} is not in the list of changes of {kept}")]
    InodeLine {
        id: FileId,
        epoch: Epoch,
        kept: Epoch,
    },
    #[error("a change of a name in directory {dir} in epoch {epoch} is not in the list of {kept}")]
    DirentLine {
        dir: FileId,
        epoch: Epoch,
        kept: Epoch,
    },
    #[error("a name in directory {dir} leads to file {id}, which epoch {epoch} does not have")]
    Dangling {
        dir: FileId,
        id: FileId,
        epoch: Epoch,
    },
    #[error("the records of epoch {epoch} do not have the state that its header says")]
    State { epoch: Epoch },
    #[error("the header of epoch {epoch} does not continue the one before it")]
    Seal { epoch: Epoch },
    #[error("epoch {epoch} has no header")]
    NoHeader { epoch: Epoch },
    #[error("the snapshot {name} names epoch {epoch}, which is not there")]
    Snapshot { name: String, epoch: Epoch },
}

/// How far a verify is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub chunks: u64,
    pub chunk_bytes: u64,
    /// Versions of files and names.
    pub versions: u64,
}

/// What a verify found.
#[derive(Debug, Default)]
pub struct Report {
    /// At most `limits::PROBLEMS_MAX` of them.
    pub problems: Vec<Problem>,
    /// How many there were.
    pub problems_found: u64,
    pub read: Progress,
    /// Epochs whose state was counted again.
    pub epochs: u64,
}

impl Store {
    /// Reads and checks everything. `go_on` is told of the progress now and then, and ends it by
    /// answering false.
    ///
    /// # Errors
    /// Only if nothing can be read at all; what is found wrong is in the report.
    pub fn verify(&self, go_on: &dyn Fn(&Progress) -> bool) -> Result<Report> {
        let view = self.view();
        let sealed = self.committer.lock().sealed;
        let mut verify = Verify {
            sealed: sealed.min(view.newest_epoch()?.unwrap_or_default()),
            store_view: &view,
            go_on,
            stopped: false,
            report: Report::default(),
            confirmed: HashMap::new(),
            counted: HashMap::new(),
            unreadable: HashSet::new(),
            kept: view.all_kept()?,
        };
        verify.chunks();
        verify.index();
        verify.inodes();
        verify.references();
        verify.dirents();
        verify.states();
        verify.headers();
        verify.snapshots();
        Ok(verify.report)
    }
}

impl View<'_> {
    /// All kept epochs, ascending.
    fn all_kept(&self) -> Result<Vec<(Epoch, EpochRecord)>> {
        let mut scan = self.from(Family::Epochs, &[])?;
        let mut kept = Vec::new();
        while let Some((key, bytes)) = scan.item() {
            let epoch = key::unpack_epoch(Family::Epochs, key)?;
            kept.push((epoch, decode(Family::Epochs, key, bytes)?));
            scan.step()?;
        }
        Ok(kept)
    }
}

fn beginning(hash: Hash) -> [u8; 8] {
    *hash.0.first_chunk().expect("a hash has 32 bytes")
}

struct Verify<'a> {
    store_view: &'a View<'a>,
    sealed: Epoch,
    go_on: &'a dyn Fn(&Progress) -> bool,
    stopped: bool,
    report: Report,
    /// Numbers of chunks that are what the index says, with the beginning of their hash.
    confirmed: HashMap<u64, [u8; 8]>,
    counted: HashMap<Hash, u64>,
    /// Hashes whose content can't be read, itself or a piece of it.
    unreadable: HashSet<Hash>,
    kept: Vec<(Epoch, EpochRecord)>,
}

impl Verify<'_> {
    fn problem(&mut self, problem: impl Into<Problem>) {
        self.report.problems_found += 1;
        if self.report.problems.len() < limits::PROBLEMS_MAX {
            self.report.problems.push(problem.into());
        }
    }

    /// Calls `each` for the records of a family; what it answers is collected.
    fn each(
        &mut self,
        family: Family,
        mut each: impl FnMut(&mut Self, &[u8], &[u8]) -> Result<()>,
    ) {
        let view = self.store_view;
        let mut scan = match view.from(family, &[]) {
            Ok(scan) => scan,
            Err(error) => return self.problem(error),
        };
        while let Some((key, value)) = scan.item() {
            if let Err(error) = each(self, key, value) {
                self.problem(error);
            }
            self.stopped |= !(self.go_on)(&self.report.read);
            if self.stopped {
                return;
            }
            if let Err(error) = scan.step() {
                return self.problem(error);
            }
        }
    }

    fn chunks(&mut self) {
        let blocks: Vec<(u64, u64)> = match self.store_view.numbered(meta::BLOCK) {
            Ok(blocks) => blocks,
            Err(error) => return self.problem(error),
        };
        let in_block = |number: u64| {
            blocks
                .iter()
                .any(|(start, end)| (*start..*end).contains(&number))
        };
        self.each(Family::Chunks, |verify, key, envelope| {
            let number = key::unpack_chunk(key)?;
            verify.report.read.chunks += 1;
            verify.report.read.chunk_bytes += envelope.len() as u64;
            if let Some(hash) = verify.name_of(number, envelope)? {
                verify.confirmed.insert(number.0, beginning(hash));
            } else if !in_block(number.0) {
                verify.problem(Problem::Unnamed { number });
            }
            Ok(())
        });
    }

    /// The name of a chunk, if its bytes have one in the index that leads to it.
    fn name_of(&self, number: ChunkNumber, envelope: &[u8]) -> Result<Option<Hash>> {
        let Ok(plain) = value::unpack_chunk(envelope, limits::LIST_PLAIN_MAX) else {
            return Ok(None);
        };
        let names = [(Hash::of(&plain), false), (value::list_hash(&plain), true)];
        for (hash, is_list) in names {
            let entry = self.store_view.index_entry(hash)?;
            let is_it = |entry: IndexEntry| {
                entry.number == number
                    && entry.is_list == is_list
                    && entry.stored_bytes as usize == envelope.len()
                    && entry.plain_bytes as usize == plain.len()
            };
            if entry.is_some_and(is_it) {
                return Ok(Some(hash));
            }
        }
        Ok(None)
    }

    fn index(&mut self) {
        let mut lists = Vec::new();
        self.each(Family::Index, |verify, key, bytes| {
            let hash = key::unpack_index(key)?;
            let entry: IndexEntry = decode(Family::Index, key, bytes)?;
            let number = entry.number;
            if verify.confirmed.get(&number.0) != Some(&beginning(hash)) {
                verify.unreadable.insert(hash);
                verify.problem(Problem::Chunk { hash, number });
            } else if entry.is_list {
                lists.push((hash, number));
            }
            Ok(())
        });
        for (hash, number) in lists {
            if let Err(error) = self.list(hash, number) {
                self.unreadable.insert(hash);
                self.problem(error);
            }
        }
    }

    /// Counts the pieces of a list, which must be there.
    fn list(&mut self, hash: Hash, number: ChunkNumber) -> Result<()> {
        let key = key::chunk(number);
        let envelope = self
            .store_view
            .raw(Family::Chunks, &key)?
            .ok_or(StoreError::Missing { hash })?;
        let plain = open_chunk(hash, number, &envelope, true)?;
        let list = value::unpack_list(&plain)
            .map_err(|source| super::view::corrupt(Family::Chunks, &key, source))?;
        for piece in list.pieces {
            if let Piece::Data { hash: piece, .. } = piece {
                *self.counted.entry(piece).or_default() += 1;
                if !self.is_readable(piece)? {
                    self.unreadable.insert(hash);
                }
            }
        }
        Ok(())
    }

    fn is_readable(&mut self, hash: Hash) -> Result<bool> {
        if self.unreadable.contains(&hash) {
            return Ok(false);
        }
        Ok(self.store_view.index_entry(hash)?.is_some())
    }

    fn inodes(&mut self) {
        self.each(Family::Inodes, |verify, key, bytes| {
            let (id, epoch) = key::unpack_inode(key)?;
            verify.report.read.versions += 1;
            let version: InodeVersion = decode(Family::Inodes, key, bytes)?;
            if let InodeVersion::Present(Inode {
                content: Content::Chunk(hash) | Content::List(hash),
                ..
            }) = version
            {
                *verify.counted.entry(hash).or_default() += 1;
                if !verify.is_readable(hash)? {
                    verify.problem(Problem::Content { id, epoch, hash });
                }
            }
            if let Some(kept) = verify.line_missing(epoch, id, None)? {
                verify.problem(Problem::InodeLine { id, epoch, kept });
            }
            Ok(())
        });
    }

    /// The kept epoch that should have a line for a version and has none.
    fn line_missing(&self, epoch: Epoch, id: FileId, name: Option<&[u8]>) -> Result<Option<Epoch>> {
        // Facts of a scan that has no record yet stand under their own number.
        let kept = self.kept_from(epoch).map_or(epoch, |(kept, _)| kept);
        let line = self
            .store_view
            .raw(Family::Changes, &key::change(kept, id, name))?;
        Ok(line.is_none().then_some(kept))
    }

    /// The first kept epoch that is not before this one.
    fn kept_from(&self, epoch: Epoch) -> Option<(Epoch, EpochRecord)> {
        let at = self.kept.partition_point(|(kept, _)| *kept < epoch);
        self.kept.get(at).copied()
    }

    fn references(&mut self) {
        if self.stopped {
            return;
        }
        let mut counted = std::mem::take(&mut self.counted);
        self.each(Family::Index, |verify, key, bytes| {
            let hash = key::unpack_index(key)?;
            let entry: IndexEntry = decode(Family::Index, key, bytes)?;
            let counted = counted.remove(&hash).unwrap_or(0);
            let found = entry.refs;
            // The pieces of a list that can't be read can't be counted.
            if found != counted && verify.unreadable.is_empty() || counted > found {
                verify.problem(Problem::References {
                    hash,
                    found,
                    counted,
                });
            }
            Ok(())
        });
        for (hash, counted) in counted {
            let found = 0;
            self.problem(Problem::References {
                hash,
                found,
                counted,
            });
        }
    }

    fn dirents(&mut self) {
        self.each(Family::Dirents, |verify, key, bytes| {
            let (dir, name, epoch) = key::unpack_dirent(key)?;
            verify.report.read.versions += 1;
            let version: Dirent = decode(Family::Dirents, key, bytes)?;
            if let Some(kept) = verify.line_missing(epoch, dir, Some(name))? {
                verify.problem(Problem::DirentLine { dir, epoch, kept });
            }
            let (Dirent::Present { id, kind }, Some((kept, record))) =
                (version, verify.kept_from(epoch))
            else {
                return Ok(());
            };
            if record.state != EpochState::Whole {
                return Ok(());
            }
            let inode = verify.store_view.inode_at(id, kept)?;
            let fits = |version: &InodeVersion| matches!(version, InodeVersion::Present(inode) if inode.kind == kind);
            if !inode.is_some_and(|(_, version)| fits(&version)) {
                verify.problem(Problem::Dangling {
                    dir,
                    id,
                    epoch: kept,
                });
            }
            Ok(())
        });
    }

    /// Counts the states of all listed epochs in one pass over the records for as many epochs as
    /// fit into memory: each version is added where it is first seen, and taken out where it is
    /// superseded; the sums up to an epoch are its state.
    fn states(&mut self) {
        let listed: Vec<Epoch> = self
            .kept
            .iter()
            .filter(|(epoch, record)| is_listed(record) && *epoch <= self.sealed)
            .map(|(epoch, _)| *epoch)
            .collect();
        for epochs in listed.chunks(limits::VERIFY_EPOCHS) {
            if self.stopped {
                return;
            }
            if let Err(error) = self.states_of(epochs) {
                self.problem(error);
            }
        }
    }

    fn states_of(&mut self, epochs: &[Epoch]) -> Result<()> {
        let mut steps = vec![LtHash::default(); epochs.len() + 1];
        let last = epochs.len();
        let from = |epoch: Epoch| epochs.partition_point(|listed| *listed < epoch);
        let mut newer: Option<(FileId, Epoch)> = None;
        let mut scan = self.store_view.from(Family::Inodes, &[])?;
        while let Some((key, bytes)) = scan.item() {
            let (id, epoch) = key::unpack_inode(key)?;
            let superseded = newer.filter(|(other, _)| *other == id);
            let version: Result<InodeVersion> = decode(Family::Inodes, key, bytes);
            // A record that can't be decoded was reported before; here it is one not there.
            if let Ok(version) = version {
                let (first, end) = (from(epoch), superseded.map_or(last, |(_, at)| from(at)));
                if first < end {
                    exchange_inode(&mut steps[first], id, None, Some(&version));
                    exchange_inode(&mut steps[end], id, Some(&version), None);
                }
            }
            newer = Some((id, epoch));
            scan.step()?;
        }
        let mut newer: Option<(FileId, Vec<u8>, Epoch)> = None;
        let mut scan = self.store_view.from(Family::Dirents, &[])?;
        while let Some((key, bytes)) = scan.item() {
            let (dir, name, epoch) = key::unpack_dirent(key)?;
            let superseded = newer.filter(|(other, its, _)| *other == dir && its == name);
            let version: Result<Dirent> = decode(Family::Dirents, key, bytes);
            if let Ok(version) = version {
                let (first, end) = (from(epoch), superseded.map_or(last, |(_, _, at)| from(at)));
                if first < end {
                    exchange_dirent(&mut steps[first], dir, name, None, Some(&version));
                    exchange_dirent(&mut steps[end], dir, name, Some(&version), None);
                }
            }
            newer = Some((dir, name.to_vec(), epoch));
            scan.step()?;
        }
        let mut sum = LtHash::default();
        for (epoch, step) in epochs.iter().zip(&steps) {
            sum.join(step);
            self.report.epochs += 1;
            match self.store_view.header(*epoch)? {
                Some(header) if header.state == sum.state() => {}
                Some(_) => self.problem(Problem::State { epoch: *epoch }),
                None => self.problem(Problem::NoHeader { epoch: *epoch }),
            }
        }
        Ok(())
    }

    fn headers(&mut self) {
        let mut before = (Hash::default(), i64::MIN);
        self.each(Family::Headers, |verify, key, bytes| {
            let epoch = key::unpack_epoch(Family::Headers, key)?;
            let header: Header = decode(Family::Headers, key, bytes)?;
            if epoch > verify.sealed {
                return Ok(());
            }
            let seal = lthash::seal(before.0, epoch, &header);
            if header.seal != seal || header.time.0 <= before.1 {
                verify.problem(Problem::Seal { epoch });
            }
            before = (header.seal, header.time.0);
            Ok(())
        });
    }

    fn snapshots(&mut self) {
        self.each(Family::Snapshots, |verify, key, bytes| {
            let name = key::unpack_snapshot(key)?.to_owned();
            let snapshot: Snapshot = decode(Family::Snapshots, key, bytes)?;
            let epoch = snapshot.epoch;
            if verify.store_view.epoch(epoch)?.is_none() {
                verify.problem(Problem::Snapshot { name, epoch });
            }
            Ok(())
        });
    }
}
