//! How a store is made, opened, and opened again after a write has failed.

use super::blocks::Blocks;
use super::cache::Cache;
use super::chunks::Flushes;
use super::commit::Committer;
use super::folder::{FORMAT, Folder};
use super::ids::Ids;
use super::inflight::InFlight;
use super::kv::{Batch, Durability, Kv};
use super::memory::MemoryKv;
use super::rocks::RocksKv;
use super::watched::{Calls, WatchedKv};
use super::{Result, Store, StoreError, StoreOptions, meta, salvage};
use crate::format::key::Family;
use crate::format::record::LiveEntry;
use crate::format::{key, value};
use crate::id::{ChunkNumber, random};
use crate::time::Timestamp;
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

impl Store {
    /// Makes a store in a folder that does not exist, or is empty, and opens it. What a process
    /// left that died while it made one is taken over.
    ///
    /// # Errors
    /// The folder is in use or can't be made.
    pub fn create(dir: &Path, options: StoreOptions) -> Result<Arc<Store>> {
        let folder = Folder::create(dir)?;
        let kv = RocksKv::open(&folder.database(), &options, true)
            .map_err(|error| folder.locked(error))?;
        folder.note_lock()?;
        let store = Store::assemble(Arc::new(kv), Some(folder), &options);
        let used = store.view().last(Family::Headers, &[], &[])?.is_some();
        if let Some(folder) = &store.folder {
            // A store whose format file was lost: that is for somebody to put back.
            if used {
                return Err(folder.not_empty());
            }
            store.initialise()?;
            folder.write_format()?;
        }
        store.start()?;
        Ok(Arc::new(store))
    }

    /// Opens a store.
    ///
    /// # Errors
    /// It is in use, is none, is newer than this program, or is damaged.
    pub fn open(dir: &Path, options: StoreOptions) -> Result<Arc<Store>> {
        match Store::open_whole(dir, &options) {
            Err(why) if options.salvage && why.is_damage() => Store::salvage(dir, &options, why),
            opened => opened,
        }
    }

    fn open_whole(dir: &Path, options: &StoreOptions) -> Result<Arc<Store>> {
        let folder = Folder::open(dir)?;
        let path = folder.database();
        let kv = RocksKv::open(&path, options, false)
            .map_err(|error| salvage::blame(&path, folder.locked(error)))?;
        folder.note_lock()?;
        if let Err(error) = super::rocks::discard_rebuilt(&path) {
            log::warn!("what a repair left that was cut short can't be removed: {error}");
        }
        let store = Store::assemble(Arc::new(kv), Some(folder), options);
        store
            .start()
            .map_err(|error| salvage::blame(&path, error))?;
        Ok(Arc::new(store))
    }

    /// A new store in memory, for tests.
    ///
    /// # Errors
    /// No random numbers.
    pub fn in_memory() -> Result<Arc<Store>> {
        Store::on(Arc::new(MemoryKv::default()), &StoreOptions::default())
    }

    /// Opens the store in a database of any kind, for tests; makes it if the database is empty.
    ///
    /// # Errors
    /// As `open`.
    pub fn on(kv: Arc<dyn Kv>, options: &StoreOptions) -> Result<Arc<Store>> {
        let store = Store::assemble(kv, None, options);
        if store.meta::<u32>(meta::FORMAT)?.is_none() {
            store.initialise()?;
        }
        store.start()?;
        Ok(Arc::new(store))
    }

    pub(super) fn assemble(
        kv: Arc<dyn Kv>,
        folder: Option<Folder>,
        options: &StoreOptions,
    ) -> Store {
        let calls = Arc::new(Calls::new());
        Store {
            kv: Arc::new(WatchedKv::new(kv, Arc::clone(&calls))),
            calls,
            gap: Mutex::new(None),
            folder,
            options: options.clone(),
            committer: Mutex::new(Committer::default()),
            generation: RwLock::new(0),
            in_flight: InFlight::default(),
            blocks: Mutex::new(Blocks::default()),
            ids: Mutex::new(Ids::default()),
            cache: Mutex::new(Cache::new(options.chunk_cache)),
            pins: Mutex::new(HashMap::new()),
            pruning: Mutex::new(()),
            flushes: Flushes::default(),
            freed: Mutex::default(),
            log_lines: AtomicU64::new(0),
            poisoned: AtomicBool::new(false),
            filling: AtomicBool::new(false),
            snapshots_changed: AtomicI64::new(0),
            list_watcher: RwLock::new(None),
            alarm: std::sync::atomic::AtomicU64::new(0),
            salvaged: Mutex::default(),
        }
    }

    fn initialise(&self) -> Result<()> {
        let mut batch = Batch::default();
        batch.put(Family::Meta, meta::FORMAT, value::pack(&FORMAT));
        batch.put(Family::Meta, meta::STORE, value::pack(&new_name()?));
        self.write(batch, Durability::Synced)
    }

    /// What every opening does: a lineage of its own, no garbage, no scan that nobody goes on with.
    fn start(&self) -> Result<()> {
        let found = self.meta(meta::FORMAT)?.unwrap_or(0);
        if found != FORMAT {
            return Err(StoreError::NewerFormat {
                path: self.path().unwrap_or(Path::new("")).to_path_buf(),
                found,
                known: FORMAT,
            });
        }
        self.begin_lineage()?;
        self.load(&mut self.committer.lock())?;
        self.finish_prune(&|| true)?;
        self.cut_off_scans()?;
        self.take_over_gap()
    }

    /// The same after a salvage: what the store should say of itself may be lost, and what is garbage
    /// is not known before it is repaired.
    pub(super) fn start_salvaged(&self) -> Result<()> {
        if self.meta::<u32>(meta::FORMAT)?.is_none() {
            self.initialise()?;
        }
        self.put_right()?;
        self.begin_lineage()?;
        self.load_rest(&mut self.committer.lock())?;
        self.take_over_gap()
    }

    fn begin_lineage(&self) -> Result<()> {
        let lineage = new_name()?;
        let mut batch = Batch::default();
        batch.put(Family::Meta, meta::LINEAGE, value::pack(&lineage));
        self.write(batch, Durability::Synced)?;
        self.committer.lock().lineage = lineage;
        Ok(())
    }

    /// Reads what is kept in memory.
    fn load(&self, committer: &mut Committer) -> Result<()> {
        self.sweep_blocks()?;
        self.load_rest(committer)
    }

    /// The same without removing chunks that nothing names: that is not known yet.
    pub(super) fn load_rest(&self, committer: &mut Committer) -> Result<()> {
        let next: Option<ChunkNumber> = self.meta(meta::NEXT_CHUNK)?;
        *self.blocks.lock() = Blocks::starting_at(next.unwrap_or_default().0);
        self.load_ids()?;
        let changed: Option<Timestamp> = self.meta(meta::SNAPSHOTS_CHANGED)?;
        self.list_changed(changed.unwrap_or_default());
        self.count_log()?;
        self.load_alarm()?;
        self.load_filling()?;
        self.load_committer(committer)
    }

    /// Opens the database again after a write has failed; does nothing if none has. What was
    /// captured and not committed is lost: commits that rely on it answer `Stale`.
    ///
    /// # Errors
    /// The database can't be opened, or is being read for too long: the store stays poisoned.
    pub fn reopen(&self) -> Result<()> {
        let mut committer = self.committer.lock();
        let mut generation = self.generation.write();
        if !self.is_poisoned() {
            return Ok(());
        }
        self.check_folder()?;
        self.kv.reopen()?;
        *generation += 1;
        self.in_flight.clear();
        self.poisoned.store(false, Ordering::SeqCst);
        self.load(&mut committer).inspect_err(|_| self.poison())
    }

    /// What a file looked like when it was last recorded, by its backing inode number.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn live(&self, ino: u64) -> Result<Option<LiveEntry>> {
        self.view().get(Family::Live, &key::live(ino))
    }
}

fn new_name() -> Result<[u8; 16]> {
    random().map_err(|source| StoreError::Io {
        action: "read random numbers",
        source,
    })
}
