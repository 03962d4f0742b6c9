//! Sending what a set is made of: chunks go into packs, packs into indexes, records into segments,
//! and each object is confirmed before it counts.

use super::backup::{Backup, Confirm};
use super::cipher::What;
use super::feed::Feed;
use super::object::*;
use super::pack::PackWriter;
use super::remembered::Reused;
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
    /// Sends all objects but what is known, and takes over what can be.
    pub(super) fn send(
        &self,
        feed: &mut dyn Feed,
        known: HashSet<Hash>,
        reused: Reused,
    ) -> Result<Sent> {
        let (give, take) = bounded::<(u64, ObjectKind, Vec<u8>)>(limits::UPLOADS);
        let done: Mutex<Vec<(u64, ObjectRecord)>> = Mutex::default();
        let failed: Mutex<Option<ArchiveError>> = Mutex::default();
        let sent = thread::scope(|scope| {
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
                reused,
                taken_over: Vec::new(),
                pack: PackWriter::default(),
                index: Index::default(),
                indexed: 0,
                missing: 0,
                made: 0,
                give,
                failed: &failed,
            };
            sender.all().map(|()| Sent {
                taken_over: sender.taken_over.len(),
                objects: sender.taken_over,
                missing: sender.missing,
                chunks: sender.known,
            })
        });
        if let Some(error) = failed.into_inner() {
            return Err(error);
        }
        let mut objects = done.into_inner();
        // As they were made: what is last in the store is last here.
        objects.sort_by_key(|(number, _)| *number);
        let mut sent = sent?;
        sent.objects
            .extend(objects.into_iter().map(|(_, object)| object));
        Ok(sent)
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

/// What was sent.
pub(super) struct Sent {
    /// What the set is made of: so many packs first that were there, then what is new.
    pub objects: Vec<ObjectRecord>,
    pub taken_over: usize,
    /// Chunks that the store does not have.
    pub missing: u64,
    /// Chunks that the set holds, and those that were known.
    pub chunks: HashSet<Hash>,
}

/// The objects of a set in the making.
struct Sending<'s, 'a> {
    backup: &'s Backup<'a>,
    feed: &'s mut dyn Feed,
    known: HashSet<Hash>,
    reused: Reused,
    /// Packs of older sets that are of this one, too.
    taken_over: Vec<ObjectRecord>,
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
        for (object, pack) in std::mem::take(&mut self.reused).into_used() {
            self.taken_over.push(object);
            self.indexed += pack.chunks.len();
            self.index.packs.push(pack);
            if self.indexed >= limits::INDEX_CHUNKS {
                self.close_index()?;
            }
        }
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
                && !self.reused.takes(hash)
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
                    && !self.reused.takes(hash)
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
                if self.reused.takes_given(&chunk) {
                    continue;
                }
                self.pack.add(&self.backup.repository.cipher, &chunk)?;
                if self.pack.len() >= self.backup.repository.objects.pack_bytes() {
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
