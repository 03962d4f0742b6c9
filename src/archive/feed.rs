//! A store that is to be sent: what it says of itself, its records in pages, its chunks.

use super::{ArchiveError, Result};
use crate::format::transfer::{Growth, RawChunk, RawRecord, Sent};
use crate::id::{Epoch, Hash};
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
}
