//! A store that is to be sent: what it says of itself, its records in pages, its chunks; and what of
//! these it has lost, to get it back.

use super::{ArchiveError, Result};
use crate::format::transfer::{Growth, RawChunk, RawRecord, Sent};
use crate::id::{Epoch, Hash};
use crate::store::repair::{Given, GivenSet, Lacking};
use crate::store::{Export, Store, StoreError};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

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
    /// The hash of its whole lists.
    pub lists: Hash,
    pub sent: Vec<Sent>,
    /// When something was purged last.
    pub purged: Option<Timestamp>,
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
    /// How the regular files, and their bytes, of the state are more than those of an epoch before
    /// it; after `NONE`, all of them.
    fn growth(&mut self, after: Epoch) -> Result<Growth>;
    /// From now on pages hold what happened after this epoch. False: it is not kept.
    fn begin(&mut self, after: Epoch) -> Result<bool>;
    /// The next page; `None` when there are no more.
    fn page(&mut self) -> Result<Option<Vec<RawRecord>>>;
    /// Chunks, as many of the first ones as fit; `None` for what the store does not have.
    fn chunks(&mut self, hashes: &[Hash]) -> Result<Vec<(Hash, Option<RawChunk>)>>;
    /// Notes what was sent.
    fn note(&mut self, sent: &Sent) -> Result<()>;
    /// Whether records are lost; if they can be put back, what follows is that.
    fn lacks_records(&mut self, go_on: &dyn Fn() -> bool) -> Result<Lacking>;
    /// Whether it keeps the state of a set, with the same history before it.
    fn has_set(&mut self, set: &GivenSet) -> Result<bool>;
    /// Gives it records of such a set; how many of them were taken.
    fn put_back_records(&mut self, records: Vec<RawRecord>) -> Result<u64>;
    /// All has come; how many of them were not needed after all.
    fn settle(&mut self) -> Result<u64>;
    /// The contents that it names and has not. All of it is read for that: `go_on` is asked now and
    /// then.
    ///
    /// # Errors
    /// `Interrupted`: `go_on` said no.
    fn lost(&mut self, go_on: &dyn Fn() -> bool) -> Result<Vec<Hash>>;
    /// Gives it such contents; how many of them were taken.
    fn put_back(&mut self, chunks: &[RawChunk]) -> Result<u64>;
}

/// A store of this process.
pub struct Local {
    store: Arc<Store>,
    host: String,
    dir: Vec<u8>,
    to: Epoch,
    export: Option<Export>,
    /// Nobody else works with the store.
    alone: bool,
    /// Records that are being put back.
    given: Option<Given>,
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
            alone: false,
            given: None,
        }
    }

    /// Nobody else works with the store, if `alone`.
    pub fn alone(mut self, alone: bool) -> Local {
        self.alone = alone;
        self
    }
}

/// What has come is made whole, also if the rest never comes.
impl Drop for Local {
    fn drop(&mut self) {
        if let Err(error) = self.settle() {
            log::warn!("what was put back could not be looked at again: {error}");
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
        Ok(Facts {
            store: self.store.id()?.unwrap_or_default(),
            host: self.host.clone(),
            dir: self.dir.clone(),
            to: self.to,
            time: header.time,
            state: header.state,
            seal: header.seal,
            lists: self.store.lists_hash(self.to)?,
            sent: self.store.all_sent()?,
            purged: self
                .store
                .tombstones()?
                .iter()
                .map(|purge| purge.time)
                .max(),
        })
    }

    fn growth(&mut self, after: Epoch) -> Result<Growth> {
        Ok(self.store.view().growth(after, self.to)?)
    }

    fn begin(&mut self, after: Epoch) -> Result<bool> {
        match self.store.export(after, self.to) {
            Ok(export) => self.export = Some(export),
            Err(StoreError::NoEpoch { epoch }) if epoch == after => return Ok(false),
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

    fn lacks_records(&mut self, go_on: &dyn Fn() -> bool) -> Result<Lacking> {
        self.settle()?;
        let (lacking, given) = self.store.lacks_records(self.alone, go_on)?;
        self.given = (lacking == Lacking::Records).then_some(given);
        match go_on() {
            true => Ok(lacking),
            false => Err(ArchiveError::Interrupted),
        }
    }

    fn has_set(&mut self, set: &GivenSet) -> Result<bool> {
        Ok(self.store.has_set(set)?)
    }

    fn put_back_records(&mut self, records: Vec<RawRecord>) -> Result<u64> {
        match &mut self.given {
            Some(given) => Ok(self.store.put_back_records(&records, given)?),
            None => Ok(0),
        }
    }

    fn settle(&mut self) -> Result<u64> {
        match self.given.take() {
            Some(given) => Ok(self.store.settle(given)?),
            None => Ok(0),
        }
    }

    fn lost(&mut self, go_on: &dyn Fn() -> bool) -> Result<Vec<Hash>> {
        let lost = self.store.lost(go_on)?;
        match go_on() {
            true => Ok(lost),
            false => Err(ArchiveError::Interrupted),
        }
    }

    fn put_back(&mut self, chunks: &[RawChunk]) -> Result<u64> {
        Ok(self.store.put_back_lost(chunks)?)
    }
}
