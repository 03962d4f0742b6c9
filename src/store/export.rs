//! What another store needs to have the same history: the records of a stretch of epochs, in pages.
//!
//! 1. A version belongs to the kept epoch whose lines of change name it, so each goes out once.
//! 2. What a page holds is true whatever is pruned between two pages, because the epoch up to which
//!    everything has gone out stays pinned: where a name ended behind it, that end is still there.
//! 3. What is a list as a whole (names of snapshots, policy, gaps) goes out whole, last.

use super::kv::Scan;
use super::view::{View, decode};
use super::{Pin, Result, SnapshotAction, SnapshotEvent, Store, StoreError, meta};
use crate::format::keeping::Deleted;
use crate::format::key::{self, Family};
use crate::format::record::Snapshot;
use crate::format::transfer::{RawChunk, RawRecord, Sent};
use crate::format::value;
use crate::id::{ActorId, Epoch, Hash};
use crate::limits;
use std::collections::HashSet;
use std::sync::Arc;

/// Names in `meta` that go out as they are.
const WHOLE: [&[u8]; 4] = [
    meta::POLICY,
    meta::FIRST,
    meta::FROM_BEFORE,
    meta::SNAPSHOTS_CHANGED,
];
/// Numbers that must not be given out again.
const COUNTERS: [&[u8]; 3] = [meta::NEXT_FILE, meta::NEXT_ACTOR, meta::NEXT_SNAPSHOT];
/// Numbered kinds that go out whole.
const NUMBERED: [&str; 4] = [meta::LEFT_OUT, meta::PURGED, meta::RUN, meta::GAP];
/// Kinds numbered by epoch: those up to the last.
const BY_EPOCH: [&str; 2] = [meta::MENDED, meta::UNSETTLED];

/// An export under way. While it lasts what it builds on, and ends with, is kept.
pub struct Export {
    store: Arc<Store>,
    after: Epoch,
    to: Epoch,
    _end: Pin,
    /// Everything up to here has gone out.
    sent: Epoch,
    _sent: Option<Pin>,
    stage: Stage,
    actors: HashSet<ActorId>,
}

enum Stage {
    /// The lines of change of the kept epoch after `sent`, from a key on.
    Lines(Option<(Pin, Vec<u8>)>),
    Headers(Vec<u8>),
    Rest,
    Done,
}

impl Store {
    /// Begins to send what happened after an epoch (all of it, after `NONE`), up to another one.
    ///
    /// # Errors
    /// One of them is not kept, or is not listed.
    pub fn export(self: &Arc<Self>, after: Epoch, to: Epoch) -> Result<Export> {
        self.check_filled()?;
        let end = self.pin(to)?;
        let sent = match after {
            Epoch::NONE => None,
            after => Some(self.pin(after)?),
        };
        let sealed = self.committer.lock().sealed;
        if to > sealed || after > to {
            return Err(StoreError::NoEpoch { epoch: to });
        }
        Ok(Export {
            store: Arc::clone(self),
            after,
            to,
            _end: end,
            sent: after,
            _sent: sent,
            stage: match after == to {
                true => Stage::Rest,
                false => Stage::Lines(None),
            },
            actors: HashSet::new(),
        })
    }

    /// Chunks and lists as they are stored; what is missing is left out. At least one, then as many
    /// as fit.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn raw_chunks(&self, hashes: &[Hash]) -> Result<Vec<(Hash, Option<RawChunk>)>> {
        let view = self.view();
        let (mut chunks, mut bytes) = (Vec::new(), 0);
        for hash in hashes {
            if bytes >= limits::EXPORT_PAGE {
                break;
            }
            // What is damaged must not keep all else from being sent.
            let chunk = match raw_chunk(&view, *hash) {
                Err(error) if error.is_damage() => None,
                chunk => chunk?,
            };
            bytes += chunk.as_ref().map_or(0, |chunk| chunk.envelope.len());
            chunks.push((*hash, chunk));
        }
        Ok(chunks)
    }

    /// What was sent to which repositories.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn all_sent(&self) -> Result<Vec<Sent>> {
        self.view().sent()
    }

    /// The hash of what goes out as whole lists, but for counters: whether any of it has changed.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn lists_hash(&self, to: Epoch) -> Result<Hash> {
        let mut page = Page::default();
        rest(&self.view(), to, false, &mut page)?;
        Ok(Hash::of(&value::pack(&page.records)))
    }

    /// Notes what was sent to a repository, in place of what was noted before.
    ///
    /// # Errors
    /// The epochs are not kept, or a store that can't be written.
    pub fn note_sent(&self, sent: &Sent) -> Result<()> {
        let _committer = self.committer.lock();
        let view = self.view();
        for epoch in [sent.epoch, sent.full_epoch] {
            view.epoch(epoch)?.ok_or(StoreError::NoEpoch { epoch })?;
        }
        let all: Vec<(u64, Sent)> = view.numbered(meta::SENT)?;
        let own = all
            .iter()
            .find(|(_, other)| other.repository == sent.repository);
        let number = match own {
            Some((number, _)) => *number,
            None => all.last().map_or(1, |(number, _)| number + 1),
        };
        let mut batch = super::kv::Batch::default();
        // What was at this place before is not there any more.
        let gone = |other: &Sent| other.url == sent.url && other.repository != sent.repository;
        for (number, _) in all.iter().filter(|(_, other)| gone(other)) {
            batch.delete(Family::Meta, key::meta(meta::SENT, *number));
        }
        let key = key::meta(meta::SENT, number);
        batch.put(Family::Meta, key, value::pack(sent));
        self.write(batch, super::kv::Durability::Synced)
    }
}

fn raw_chunk(view: &View<'_>, hash: Hash) -> Result<Option<RawChunk>> {
    let Some(entry) = view.index_entry(hash)? else {
        return Ok(None);
    };
    let envelope = view.raw(Family::Chunks, &key::chunk(entry.number))?;
    Ok(envelope.map(|envelope| RawChunk {
        hash,
        is_list: entry.is_list,
        envelope,
    }))
}

impl View<'_> {
    /// What was sent to which repositories.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn sent(&self) -> Result<Vec<Sent>> {
        let all = self.numbered(meta::SENT)?.into_iter();
        Ok(all.map(|(_, sent)| sent).collect())
    }
}

impl Export {
    /// The next page; `None` when all has gone out.
    ///
    /// # Errors
    /// A store that can't be read, or is damaged.
    pub fn page(&mut self) -> Result<Option<Vec<RawRecord>>> {
        let store = Arc::clone(&self.store);
        let mut page = Page::default();
        loop {
            match std::mem::replace(&mut self.stage, Stage::Done) {
                Stage::Lines(None) => self.stage = self.begin_epoch()?,
                Stage::Lines(Some((pin, from))) => {
                    self.stage = self.lines(&store.view(), pin, from, &mut page)?;
                }
                Stage::Headers(from) => {
                    self.stage = self.headers(&store.view(), &from, &mut page)?
                }
                Stage::Rest => rest(&store.view(), self.to, true, &mut page)?,
                Stage::Done if page.records.is_empty() => return Ok(None),
                Stage::Done => return Ok(Some(page.records)),
            }
            if page.is_full() {
                return Ok(Some(page.records));
            }
        }
    }

    fn begin_epoch(&self) -> Result<Stage> {
        loop {
            let next = self.store.view().kept_after(self.sent)?;
            let next = next.filter(|next| *next <= self.to).unwrap_or(self.to);
            match self.store.pin(next) {
                Ok(pin) => return Ok(Stage::Lines(Some((pin, key::epoch(next).to_vec())))),
                // Pruned just now: its lines are those of the next one.
                Err(StoreError::NoEpoch { .. }) if next != self.to => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Lines of change with the versions that they name, then the epoch's own record.
    fn lines(
        &mut self,
        view: &View<'_>,
        pin: Pin,
        from: Vec<u8>,
        page: &mut Page,
    ) -> Result<Stage> {
        let epoch = pin.epoch();
        let until = key::after_prefix(&key::epoch(epoch));
        let mut lines = view.range(Family::Changes, &from, &until)?;
        while let Some((line, bytes)) = lines.item() {
            if page.is_full() {
                let from = line.to_vec();
                return Ok(Stage::Lines(Some((pin, from))));
            }
            page.add(Family::Changes, line, bytes);
            let change = super::line::ChangeLine::unpack(line, bytes)?;
            for actor in change.actors {
                self.actor(view, actor, page)?;
            }
            let (_, id, name) = key::unpack_change(line)?;
            let versions = match name {
                None => (
                    Family::Inodes,
                    key::inode(id, epoch).to_vec(),
                    key::inode(id, self.sent).to_vec(),
                ),
                Some(name) => (
                    Family::Dirents,
                    key::dirent(id, name, epoch),
                    key::dirent(id, name, self.sent),
                ),
            };
            page.all(
                versions.0,
                view.range(versions.0, &versions.1, &versions.2)?,
            )?;
            lines.step()?;
        }
        drop(lines);
        let own = key::epoch(epoch);
        let record = view.raw(Family::Epochs, &own)?;
        page.add(
            Family::Epochs,
            &own,
            &record.ok_or(StoreError::NoEpoch { epoch })?,
        );
        self.sent = epoch;
        self._sent = Some(pin);
        Ok(match epoch < self.to {
            true => Stage::Lines(None),
            false => Stage::Headers(key::epoch(self.after.next()).to_vec()),
        })
    }

    fn actor(&mut self, view: &View<'_>, id: ActorId, page: &mut Page) -> Result<()> {
        if !self.actors.insert(id) {
            return Ok(());
        }
        let key = key::actor(id);
        if let Some(bytes) = view.raw(Family::Actors, &key)? {
            page.add(Family::Actors, &key, &bytes);
        }
        Ok(())
    }
}

impl Export {
    /// All headers, also of epochs that were pruned: the chain has no holes.
    fn headers(&self, view: &View<'_>, from: &[u8], page: &mut Page) -> Result<Stage> {
        let mut headers = view.range(Family::Headers, from, &key::epoch(self.to.next()))?;
        while let Some((key, bytes)) = headers.item() {
            if page.is_full() {
                return Ok(Stage::Headers(key.to_vec()));
            }
            page.add(Family::Headers, key, bytes);
            headers.step()?;
        }
        Ok(Stage::Rest)
    }
}

/// What is a list as a whole.
fn rest(view: &View<'_>, to: Epoch, counters: bool, page: &mut Page) -> Result<()> {
    let mut names = view.from(Family::Snapshots, &[])?;
    while let Some((key, bytes)) = names.item() {
        let snapshot: Snapshot = decode(Family::Snapshots, key, bytes)?;
        if snapshot.epoch <= to {
            page.add(Family::Snapshots, key, bytes);
        }
        names.step()?;
    }
    for name in WHOLE
        .into_iter()
        .chain(COUNTERS.into_iter().filter(|_| counters))
    {
        if let Some(bytes) = view.raw(Family::Meta, name)? {
            page.add(Family::Meta, name, &bytes);
        }
    }
    for name in NUMBERED {
        page.all(
            Family::Meta,
            view.prefix(Family::Meta, &key::meta_prefix(name))?,
        )?;
    }
    log(view, to, page)?;
    for name in BY_EPOCH {
        let until = key::meta(name, to.0 + 1);
        let range = view.range(Family::Meta, &key::meta_prefix(name), &until)?;
        page.all(Family::Meta, range)?;
    }
    let mut deleted = view.prefix(Family::Meta, &key::meta_prefix(meta::DELETED))?;
    while let Some((key, bytes)) = deleted.item() {
        let was: Deleted = decode(Family::Meta, key, bytes)?;
        if was.snapshot.epoch <= to {
            page.add(Family::Meta, key, bytes);
        }
        deleted.step()?;
    }
    Ok(())
}

/// The log of the list of snapshots, without the lines about those that are younger than the last
/// epoch: their names do not go out.
fn log(view: &View<'_>, to: Epoch, page: &mut Page) -> Result<()> {
    let mut young: HashSet<String> = HashSet::new();
    let snapshots = view.snapshots()?.into_iter();
    young.extend(
        snapshots
            .filter(|(_, s)| s.epoch > to)
            .map(|(name, _)| name),
    );
    let deleted = view.deleted()?.into_iter();
    young.extend(
        deleted
            .filter(|was| was.snapshot.epoch > to)
            .map(|was| was.name),
    );
    let mut lines = Page::default();
    lines.all(
        Family::Meta,
        view.prefix(Family::Meta, &key::meta_prefix(meta::SNAPSHOT_LOG))?,
    )?;
    // Backwards: a line about a new name says which name it had before.
    lines.records.reverse();
    let mut kept = Vec::new();
    for record in lines.records {
        let line: SnapshotEvent = decode(Family::Meta, &record.key, &record.value)?;
        let is_young = match line.action {
            SnapshotAction::Renamed { to } if young.contains(&to) => {
                young.insert(line.name);
                true
            }
            _ => young.contains(&line.name),
        };
        if !is_young {
            kept.push(record);
        }
    }
    kept.reverse();
    for record in kept {
        page.add(Family::Meta, &record.key, &record.value);
    }
    Ok(())
}

/// Whether a key of `meta` is one that goes from one store to another.
pub(super) fn is_sent(key: &[u8]) -> bool {
    let others = [meta::DELETED, meta::SNAPSHOT_LOG];
    let numbered = NUMBERED.into_iter().chain(BY_EPOCH).chain(others);
    WHOLE.contains(&key)
        || COUNTERS.contains(&key)
        || numbered
            .into_iter()
            .any(|name| key::unpack_meta(name, key).is_ok())
}

#[derive(Default)]
struct Page {
    records: Vec<RawRecord>,
    bytes: usize,
}

impl Page {
    fn is_full(&self) -> bool {
        self.bytes >= limits::EXPORT_PAGE
    }

    fn add(&mut self, family: Family, key: &[u8], value: &[u8]) {
        let record = RawRecord::new(family, key, value);
        self.bytes += record.bytes();
        self.records.push(record);
    }

    fn all(&mut self, family: Family, mut scan: Box<dyn Scan + '_>) -> Result<()> {
        while let Some((key, value)) = scan.item() {
            self.add(family, key, value);
            scan.step()?;
        }
        Ok(())
    }
}
