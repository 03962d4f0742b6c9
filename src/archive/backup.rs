//! Making a set: what happened since another one goes into new objects, and is published when all
//! of them are confirmed.

use super::cipher::What;
use super::object::*;
use super::pack::PackWriter;
use super::repository::{Catalog, Repository};
use super::{ArchiveError, Result, Traffic};
use crate::format::key::Family;
use crate::format::record::{Content, InodeVersion, Piece};
use crate::format::transfer::{RawChunk, RawRecord, Sent};
use crate::format::value;
use crate::id::{Epoch, Hash};
use crate::limits;
use crate::store::{Export, Store};
use crate::time::Timestamp;
use crossbeam_channel::{Sender, bounded};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::sync::Arc;
use std::thread;

/// What a set is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Full,
    /// Full if there is nothing to build on.
    Incremental,
    Differential,
    /// Every so many sets a full one, differential ones between.
    Mixed {
        full_every: u64,
    },
}

/// How it is made sure that an object is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// It is read back.
    Read,
    /// The place has checked its checksum; where it does not, it is read back.
    Checksum,
    /// The place said so.
    None,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    pub kind: Kind,
    pub confirm: Confirm,
    /// What the target holds is looked at, not what was noted of it.
    pub compare: bool,
}

/// What a store says of itself and of the state that is to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    pub store: [u8; 16],
    pub host: String,
    pub dir: Vec<u8>,
    pub to: Epoch,
    pub time: Timestamp,
    pub state: Hash,
    pub seal: Hash,
    pub files: u64,
    pub data_bytes: u64,
    /// The hash of its whole lists.
    pub lists: Hash,
    pub sent: Vec<Sent>,
}

/// A store that is to be sent, wherever it is.
pub trait Feed {
    /// Nobody else sends to this repository until this is dropped.
    ///
    /// # Errors
    /// `Busy`: somebody does.
    fn claim(&mut self, repository: [u8; 16]) -> Result<()>;
    /// What it says of itself.
    ///
    /// # Errors
    /// A store that can't be read, as of all that follow.
    fn facts(&mut self) -> Result<Facts>;
    /// From now on pages hold what happened after this epoch. False: it is not kept.
    fn begin(&mut self, after: Epoch) -> Result<bool>;
    /// The next page; `None` when there are no more.
    fn page(&mut self) -> Result<Option<Vec<RawRecord>>>;
    /// Chunks, as many of the first ones as fit; `None` for what the store does not have.
    fn chunks(&mut self, hashes: &[Hash]) -> Result<Vec<(Hash, Option<RawChunk>)>>;
    /// Notes what was sent.
    fn note(&mut self, sent: &Sent) -> Result<()>;
}

/// A store of this process.
pub struct Local {
    store: Arc<Store>,
    host: String,
    dir: Vec<u8>,
    to: Epoch,
    export: Option<Export>,
}

impl Local {
    /// The state `to` of a store, and what is before it.
    pub fn new(store: Arc<Store>, to: Epoch, host: String, dir: Vec<u8>) -> Local {
        Local {
            store,
            host,
            dir,
            to,
            export: None,
        }
    }
}

impl Feed for Local {
    // Whoever else has the store open goes by his own claims (`control::export`).
    fn claim(&mut self, _: [u8; 16]) -> Result<()> {
        Ok(())
    }

    fn facts(&mut self) -> Result<Facts> {
        let view = self.store.view();
        let header = view.header(self.to)?;
        let header = header.ok_or(ArchiveError::NoEpoch { epoch: self.to })?;
        let (files, data_bytes) = view.data_at(self.to)?;
        Ok(Facts {
            store: self.store.id()?.unwrap_or_default(),
            host: self.host.clone(),
            dir: self.dir.clone(),
            to: self.to,
            time: header.time,
            state: header.state,
            seal: header.seal,
            files,
            data_bytes,
            lists: self.store.lists_hash(self.to)?,
            sent: self.store.all_sent()?,
        })
    }

    fn begin(&mut self, after: Epoch) -> Result<bool> {
        match self.store.export(after, self.to) {
            Ok(export) => self.export = Some(export),
            Err(crate::store::StoreError::NoEpoch { epoch }) if epoch == after => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        Ok(true)
    }

    fn page(&mut self) -> Result<Option<Vec<RawRecord>>> {
        match &mut self.export {
            Some(export) => Ok(export.page()?),
            None => Ok(None),
        }
    }

    fn chunks(&mut self, hashes: &[Hash]) -> Result<Vec<(Hash, Option<RawChunk>)>> {
        Ok(self.store.raw_chunks(hashes)?)
    }

    fn note(&mut self, sent: &Sent) -> Result<()> {
        Ok(self.store.note_sent(sent)?)
    }
}

/// What was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// `None`: nothing has happened since this set.
    pub set: Option<SetRecord>,
    pub newest: u64,
    /// Why it is full though something else was asked for.
    pub full_because: Option<&'static str>,
    /// Objects of others who did not finish, removed.
    pub garbage: u64,
    /// Contents that the store itself does not have.
    pub missing: u64,
}

/// A set that is being made.
pub struct Backup<'a> {
    pub repository: &'a Repository,
    pub plan: Plan,
    pub progress: &'a (dyn Fn(Traffic) + Sync),
    pub cancelled: &'a (dyn Fn() -> bool + Sync),
}

/// What a set builds on.
struct Base {
    kind: SetKind,
    set: Option<u64>,
    after: Epoch,
    full_because: Option<&'static str>,
}

impl Backup<'_> {
    /// Makes the set and publishes it.
    ///
    /// # Errors
    /// Then there is no new set; what was sent is garbage.
    pub fn run(&self, feed: &mut dyn Feed, facts: Facts) -> Result<Made> {
        feed.claim(self.repository.id)?;
        // One that is kept open may have been moved away: nothing is begun in its place.
        self.repository.check(&[])?;
        let catalog = self.repository.catalog()?;
        let own = facts
            .sent
            .iter()
            .find(|sent| sent.repository == self.repository.id);
        let lineage = match self.may_write(&catalog, &facts, own) {
            Err(error @ ArchiveError::Fenced { .. }) => {
                if let (Some(own), Some((_, since))) = (own, catalog.writer) {
                    let own = own.clone();
                    feed.note(&Sent {
                        fenced: Some(since),
                        ..own
                    })?;
                }
                return Err(error);
            }
            lineage => lineage?,
        };
        let mut base = self.base(&catalog, &facts, own)?;
        let newest = catalog.sets.keys().next_back().copied().unwrap_or_default();
        let same_lists = own.is_some_and(|own| own.lists == facts.lists);
        if base.after == facts.to && base.set.is_some() && same_lists {
            return Ok(Made {
                set: None,
                newest,
                full_because: None,
                garbage: 0,
                missing: 0,
            });
        }
        if !feed.begin(base.after)? {
            base = full("the state that the last set ends with is not kept any more");
            feed.begin(base.after)?;
        }
        let known = self.known(&catalog, &base)?;
        let (objects, missing) = self.send(feed, known)?;
        let set = SetRecord {
            number: 0,
            kind: base.kind,
            base: base.set,
            store: facts.store,
            host: facts.host,
            dir: facts.dir,
            after: base.after,
            to: facts.to,
            time: facts.time,
            made: Timestamp::now(),
            state: facts.state,
            seal: facts.seal,
            files: facts.files,
            data_bytes: facts.data_bytes,
            set_bytes: objects.iter().map(|object| object.bytes).sum(),
            objects,
        };
        // What it is made of, and what that needs, must be there when it is published.
        let chain = match set.base {
            Some(base) => self.repository.chain(&catalog, base)?,
            None => Vec::new(),
        };
        let all: Vec<&SetRecord> = chain.into_iter().chain([&set]).collect();
        self.repository.check(&all)?;
        let set = self.repository.publish(&catalog, lineage, set)?;
        self.repository.check(&[&set])?;
        // From here on nobody who began before can publish anything.
        let garbage = self.remove_garbage(&self.repository.catalog()?)?;
        let full = match (set.kind, own) {
            (SetKind::Full, _) | (_, None) => (set.number, set.to),
            (_, Some(own)) => (own.full_set, own.full_epoch),
        };
        let noted = feed.note(&Sent {
            repository: self.repository.id,
            url: self.repository.place().to_owned(),
            set: set.number,
            epoch: set.to,
            full_set: full.0,
            full_epoch: full.1,
            time: set.made,
            lists: facts.lists,
            recovered: false,
            fenced: None,
        });
        if let Err(error) = noted {
            // The set is there all the same; the next one builds on the one before.
            log::warn!("what was sent could not be noted: {error}");
        }
        Ok(Made {
            newest: set.number,
            set: Some(set),
            full_because: base.full_because,
            garbage,
            missing,
        })
    }

    /// The lineage under which this store writes: it was the last to write, or was made from what
    /// the last one wrote.
    fn may_write(&self, catalog: &Catalog, facts: &Facts, own: Option<&Sent>) -> Result<u64> {
        let Some((writer, since)) = catalog.writer else {
            return Ok(1);
        };
        if writer == facts.store {
            return Ok(catalog.lineage);
        }
        let newest = catalog.sets.values().next_back();
        let goes_on = own.is_some_and(|own| {
            own.recovered && newest.is_some_and(|newest| newest.number == own.set)
        });
        match goes_on {
            true => Ok(catalog.lineage + 1),
            false => Err(ArchiveError::Fenced {
                place: self.repository.place().to_owned(),
                since: since.to_string(),
            }),
        }
    }

    fn base(&self, catalog: &Catalog, facts: &Facts, own: Option<&Sent>) -> Result<Base> {
        let wanted = match self.plan.kind {
            Kind::Full => return Ok(full("")),
            Kind::Incremental => SetKind::Incremental,
            Kind::Differential => SetKind::Differential,
            Kind::Mixed { full_every } => {
                let newer = |full: u64| catalog.sets.range(full..).count() as u64;
                match own {
                    Some(own) if newer(own.full_set) < full_every => SetKind::Differential,
                    _ => return Ok(full("")),
                }
            }
        };
        let Some(own) = own else {
            return Ok(full("there is none yet"));
        };
        let (set, after) = match wanted {
            SetKind::Incremental => (own.set, own.epoch),
            _ => (own.full_set, own.full_epoch),
        };
        let Ok(chain) = self.repository.chain(catalog, set) else {
            return Ok(full(
                "the set that it would build on is not in the list any more",
            ));
        };
        if chain.last().is_none_or(|set| set.to != after) || after > facts.to {
            return Ok(full(
                "the set that it would build on is another than was noted",
            ));
        }
        let first_is_full = chain.first().is_some_and(|set| set.kind == SetKind::Full);
        if !first_is_full || !self.is_there(&chain)? {
            return Ok(full(
                "something of the sets that it would build on is missing or damaged",
            ));
        }
        Ok(Base {
            kind: wanted,
            set: Some(set),
            after,
            full_because: None,
        })
    }

    /// Whether what a set is to build on is there; with `compare`, and has the bytes that it had.
    fn is_there(&self, chain: &[&SetRecord]) -> Result<bool> {
        if !self.repository.lacking(chain)?.is_empty() {
            return Ok(false);
        }
        if !self.plan.compare {
            return Ok(true);
        }
        for object in chain.iter().flat_map(|set| &set.objects) {
            self.go_on()?;
            match self.repository.fetch(object) {
                Ok(_) => {}
                Err(error) if error.is_of_object() => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// What the sets that it builds on hold.
    fn known(&self, catalog: &Catalog, base: &Base) -> Result<HashSet<Hash>> {
        let mut known = HashSet::new();
        let Some(number) = base.set else {
            return Ok(known);
        };
        for set in self.repository.chain(catalog, number)? {
            for object in set.of_kind(ObjectKind::Index) {
                let index: Index = self.repository.fetch_value(object)?;
                let chunks = index.packs.iter().flat_map(|pack| &pack.chunks);
                known.extend(chunks.map(|chunk| chunk.hash));
            }
        }
        Ok(known)
    }

    fn go_on(&self) -> Result<()> {
        match (self.cancelled)() {
            true => Err(ArchiveError::Interrupted),
            false => Ok(()),
        }
    }

    /// Removes objects that no set names: of those who did not end, or can't publish any more, because
    /// the number of the head that they would have written is taken.
    fn remove_garbage(&self, catalog: &Catalog) -> Result<u64> {
        let named: HashSet<String> = catalog
            .sets
            .values()
            .flat_map(|set| &set.objects)
            .map(ObjectRecord::name)
            .collect();
        let mut removed = 0;
        for folder in FOLDERS {
            for (name, _) in self.repository.objects.list(folder)? {
                if !named.contains(&name) {
                    self.repository.objects.delete(&name)?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    /// Sends all objects; the answer is what they are, and how many chunks the store does not have.
    fn send(&self, feed: &mut dyn Feed, known: HashSet<Hash>) -> Result<(Vec<ObjectRecord>, u64)> {
        let (give, take) = bounded::<(ObjectKind, Vec<u8>)>(limits::UPLOADS);
        let done: Mutex<Vec<ObjectRecord>> = Mutex::default();
        let failed: Mutex<Option<ArchiveError>> = Mutex::default();
        let missing = thread::scope(|scope| {
            for _ in 0..limits::UPLOADS {
                let take = take.clone();
                let (done, failed) = (&done, &failed);
                scope.spawn(move || {
                    for (kind, bytes) in take {
                        if failed.lock().is_some() {
                            continue;
                        }
                        match self.upload(kind, bytes) {
                            Ok(object) => {
                                let mut done = done.lock();
                                done.push(object);
                                (self.progress)(Traffic {
                                    objects: done.len() as u64,
                                    bytes: done.iter().map(|object| object.bytes).sum(),
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
                give,
                failed: &failed,
            };
            sender.all().map(|()| sender.missing)
        });
        if let Some(error) = failed.into_inner() {
            return Err(error);
        }
        let mut objects = done.into_inner();
        objects.sort_by_key(|object| object.name());
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
        // What is there under this name already may be damaged: then it is not what it is called.
        if !is_new
            && self
                .repository
                .fetch(&object)
                .is_err_and(|error| error.is_of_object())
        {
            objects.delete(&name)?;
            objects.put(&name, bytes)?;
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

fn full(because: &'static str) -> Base {
    Base {
        kind: SetKind::Full,
        set: None,
        after: Epoch::NONE,
        full_because: (!because.is_empty()).then_some(because),
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
    give: Sender<(ObjectKind, Vec<u8>)>,
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
    fn fetch(&mut self, wanted: Vec<Hash>) -> Result<Vec<crate::format::record::ChunkList>> {
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
        let _ = self.give.send((kind, bytes));
        Ok(())
    }
}
