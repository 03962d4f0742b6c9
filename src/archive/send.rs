//! Sending what a set is made of: chunks go into packs, packs into indexes, records into segments,
//! and each object is confirmed before it counts.

use super::backup::{Backup, Confirm};
use super::cipher::What;
use super::feed::Feed;
use super::object::*;
use super::pack::PackWriter;
use super::{ArchiveError, Result, Traffic};
use crate::format::key::Family;
use crate::format::record::{ChunkList, Content, InodeVersion, Piece};
use crate::format::transfer::RawRecord;
use crate::format::value;
use crate::id::Hash;
use crate::limits;
use crossbeam_channel::{Sender, bounded};
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::HashSet;
use std::thread;

impl Backup<'_> {
    /// Sends all objects; the answer is what they are, and how many chunks the store does not have.
    pub(super) fn send(
        &self,
        feed: &mut dyn Feed,
        known: HashSet<Hash>,
    ) -> Result<(Vec<ObjectRecord>, u64)> {
        let (give, take) = bounded::<(u64, ObjectKind, Vec<u8>)>(limits::UPLOADS);
        let done: Mutex<Vec<(u64, ObjectRecord)>> = Mutex::default();
        let failed: Mutex<Option<ArchiveError>> = Mutex::default();
        let missing = thread::scope(|scope| {
            for _ in 0..limits::UPLOADS {
                let take = take.clone();
                let (done, failed) = (&done, &failed);
                scope.spawn(move || {
                    for (number, kind, bytes) in take {
                        if failed.lock().is_some() {
                            continue;
                        }
                        match self.upload(kind, bytes) {
                            Ok(object) => {
                                let mut done = done.lock();
                                done.push((number, object));
                                (self.progress)(Traffic {
                                    objects: done.len() as u64,
                                    bytes: done.iter().map(|(_, object)| object.bytes).sum(),
                                });
                            }
                            Err(error) => *failed.lock() = Some(error),
                        }
                    }
                });
            }
            let mut sender = Sending {
                backup: self,
                feed,
                known,
                pack: PackWriter::default(),
                index: Index::default(),
                indexed: 0,
                missing: 0,
                made: 0,
                give,
                failed: &failed,
            };
            sender.all().map(|()| sender.missing)
        });
        if let Some(error) = failed.into_inner() {
            return Err(error);
        }
        let mut objects = done.into_inner();
        // As they were made: what is last in the store is last here.
        objects.sort_by_key(|(number, _)| *number);
        let objects = objects.into_iter().map(|(_, object)| object).collect();
        Ok((objects, missing?))
    }

    /// Puts an object and makes sure that it is there.
    fn upload(&self, kind: ObjectKind, bytes: Vec<u8>) -> Result<ObjectRecord> {
        let object = ObjectRecord {
            kind,
            hash: Hash::of(&bytes),
            bytes: bytes.len() as u64,
        };
        let name = object.name();
        let objects = &self.repository.objects;
        let is_new = objects.put(&name, bytes.clone())?;
        // What is there under this name already may be damaged: then it is not what it is called. Other
        // sets may need it, and what was read may be wrong on the way only: so it is never removed.
        if !is_new
            && self
                .repository
                .fetch(&object)
                .is_err_and(|error| error.is_of_object())
        {
            objects.mend(&name, bytes)?;
        }
        let reads = match self.plan.confirm {
            Confirm::Read => true,
            Confirm::Checksum => !(is_new && objects.checks_uploads()),
            Confirm::None => !is_new,
        };
        if reads {
            self.repository.fetch(&object)?;
        }
        Ok(object)
    }
}

/// The objects of a set in the making.
struct Sending<'s, 'a> {
    backup: &'s Backup<'a>,
    feed: &'s mut dyn Feed,
    known: HashSet<Hash>,
    pack: PackWriter,
    index: Index,
    indexed: usize,
    missing: u64,
    made: u64,
    give: Sender<(u64, ObjectKind, Vec<u8>)>,
    failed: &'s Mutex<Option<ArchiveError>>,
}

impl Sending<'_, '_> {
    fn all(&mut self) -> Result<()> {
        while let Some(records) = self.feed.page()? {
            self.backup.go_on()?;
            self.contents(&records)?;
            self.value(ObjectKind::Segment, What::Segment, &records)?;
        }
        self.close_pack()?;
        self.close_index()
    }

    /// The chunks that records name and the target does not have.
    fn contents(&mut self, records: &[RawRecord]) -> Result<()> {
        let mut wanted = Vec::new();
        for record in records
            .iter()
            .filter(|record| record.family() == Some(Family::Inodes))
        {
            let version = value::unpack::<InodeVersion>(&record.value);
            let version = version.map_err(|error| ArchiveError::Feed(error.to_string()))?;
            if let InodeVersion::Present(inode) = version
                && let Content::Chunk(hash) | Content::List(hash) = inode.content
                && self.known.insert(hash)
            {
                wanted.push(hash);
            }
        }
        let lists = self.fetch(wanted)?;
        let mut wanted = Vec::new();
        for list in lists {
            for piece in list.pieces {
                if let Piece::Data { hash, .. } = piece
                    && self.known.insert(hash)
                {
                    wanted.push(hash);
                }
            }
        }
        self.fetch(wanted).map(drop)
    }

    /// Takes chunks from the store into packs; the answer is those that are lists.
    fn fetch(&mut self, wanted: Vec<Hash>) -> Result<Vec<ChunkList>> {
        let mut lists = Vec::new();
        let mut rest = &wanted[..];
        while !rest.is_empty() {
            self.backup.go_on()?;
            let chunks = self
                .feed
                .chunks(&rest[..rest.len().min(limits::EXPORT_CHUNKS)])?;
            if chunks.is_empty() {
                return Err(ArchiveError::Feed("it gives no chunks".to_owned()));
            }
            rest = &rest[chunks.len()..];
            for (_, chunk) in chunks {
                let Some(chunk) = chunk else {
                    self.missing += 1;
                    continue;
                };
                if chunk.is_list {
                    let plain = value::unpack_chunk(&chunk.envelope, limits::LIST_PLAIN_MAX);
                    match plain.and_then(|plain| value::unpack_list(&plain)) {
                        Ok(list) => lists.push(list),
                        Err(_) => self.missing += 1,
                    }
                }
                self.pack.add(&self.backup.repository.cipher, &chunk)?;
                if self.pack.is_full() {
                    self.close_pack()?;
                }
            }
        }
        Ok(lists)
    }

    fn close_pack(&mut self) -> Result<()> {
        let Some((index, bytes)) = self.pack.close() else {
            return Ok(());
        };
        self.indexed += index.chunks.len();
        self.index.packs.push(index);
        self.hand_over(ObjectKind::Pack, bytes)?;
        match self.indexed >= limits::INDEX_CHUNKS {
            true => self.close_index(),
            false => Ok(()),
        }
    }

    fn close_index(&mut self) -> Result<()> {
        self.indexed = 0;
        let index = std::mem::take(&mut self.index);
        match index.packs.is_empty() {
            true => Ok(()),
            false => self.value(ObjectKind::Index, What::Index, &index),
        }
    }

    fn value<T: Serialize>(&mut self, kind: ObjectKind, what: What, value: &T) -> Result<()> {
        let packed = value::pack_chunk(&value::pack(value));
        let sealed = self.backup.repository.cipher.seal(what, &packed)?;
        self.hand_over(kind, sealed)
    }

    fn hand_over(&mut self, kind: ObjectKind, bytes: Vec<u8>) -> Result<()> {
        if let Some(error) = self.failed.lock().take() {
            return Err(error);
        }
        // Their threads end when this does.
        let _ = self.give.send((self.made, kind, bytes));
        self.made += 1;
        Ok(())
    }
}
