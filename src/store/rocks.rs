//! The database as RocksDB keeps it. The only file that knows RocksDB, but for `salvage.rs`.
//!
//! Bounds: one cache for blocks (with indexes and filters in it), one budget for write buffers of
//! all families, a bounded number of open files and of info logs. Chunks are not compressed (their
//! envelopes are) and come in ascending order, so they are moved through the levels, not
//! rewritten; no blob files (docs/format.md says why).

use super::error::StoreError;
use super::kv::{Batch, Change, Durability, Kv, Record, Scan, Snapshot};
use super::{Result, StoreOptions};
use crate::format::key::Family;
use crate::limits;
use parking_lot::RwLock;
use rocksdb::{
    BlockBasedOptions, BottommostLevelCompaction, Cache, ColumnFamily, ColumnFamilyDescriptor,
    CompactOptions, DB, DBCompressionType, DBRawIterator, FlushOptions, LruCacheOptions, Options,
    ReadOptions, WriteBatch, WriteOptions,
};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Write buffer of `chunks`, bytes: the size of its files.
const CHUNKS_BUFFER: usize = 32 << 20;
/// Seconds for which a file of content at the bottom is left as it is: 30 days. By then most of what is thinned
/// out is gone, with the file that held it.
const BOTTOM_REST: u32 = 30 * 24 * 3600;
/// Write buffer of every other family, bytes.
const RECORDS_BUFFER: usize = 8 << 20;
/// Files of every other family, bytes: bounds their filters, which are cached as one block each.
const RECORDS_FILE: u64 = 32 << 20;
/// The cache is cut into 2^this parts. No more: a block that is larger than its part is never
/// cached, and read again for each key that is asked for.
const CACHE_SHARD_BITS: i32 = 2;
/// Write-ahead log beyond which the oldest family in it is flushed, bytes.
const WAL_MAX: u64 = 64 << 20;
/// Info log, bytes a file and files.
const INFO_LOG: (usize, usize) = (1 << 20, 3);
/// Manifest beyond which a new one is begun, bytes.
const MANIFEST_MAX: usize = 4 << 20;
/// Disk space that is taken ahead for the manifest, bytes: a small store stays small.
const MANIFEST_AHEAD: usize = 64 << 10;
/// Bits of the bloom filters of families that are asked for keys that they do not have.
const BLOOM_BITS: f64 = 10.0;

/// Where a database is built anew, beside the one whose place it takes.
const REBUILT: &str = "rocks.new";

/// Removes what a rebuild left that did not come to its end, or was not done with the database
/// whose place it took. Only for who has the lock of the database at `path`.
pub fn discard_rebuilt(path: &Path) -> std::io::Result<()> {
    discard(&path.with_file_name(REBUILT))?;
    discard(&path.with_file_name(super::salvage::LINKED))
}

/// Removes a database, if there is one.
pub(super) fn discard(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// A RocksDB database.
pub struct RocksKv {
    path: PathBuf,
    options: StoreOptions,
    /// `None` only while `reopen` runs, or after it failed.
    db: RwLock<Option<Arc<DB>>>,
}

impl fmt::Debug for RocksKv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksKv").field("path", &self.path).finish()
    }
}

impl RocksKv {
    /// Opens the database at `path`; makes it if it is not there and `create`, and only then.
    pub fn open(path: &Path, options: &StoreOptions, create: bool) -> Result<RocksKv> {
        let db = open(path, options, create)?;
        Ok(RocksKv {
            path: path.to_path_buf(),
            options: options.clone(),
            db: RwLock::new(Some(Arc::new(db))),
        })
    }

    fn db(&self) -> Result<Arc<DB>> {
        self.db.read().clone().ok_or(StoreError::Closed)
    }

    /// Writes all that can be read into a new database beside the one at `path`.
    pub(super) fn copy_beside(&self, path: &Path) -> Result<()> {
        let beside = path.with_file_name(REBUILT);
        let io = |action| move |source| StoreError::Io { action, source };
        discard(&beside).map_err(io("remove what an earlier repair left"))?;
        if let Err(error) = self.copy_to(&beside) {
            // The disk may be full: it gets back what was taken.
            discard(&beside).map_err(io("remove what could not be finished"))?;
            return Err(error);
        }
        Ok(())
    }

    fn copy_to(&self, path: &Path) -> Result<()> {
        let new = RocksKv::open(path, &self.options, true)?;
        let old = self.snapshot()?;
        for family in Family::ALL {
            super::rebuild::copy(old.as_ref(), &new, family)?;
            new.flush(family)?;
        }
        Ok(())
    }

    fn compact(
        &self,
        family: Family,
        (from, until): (&[u8], &[u8]),
        bottom: BottommostLevelCompaction,
    ) -> Result<()> {
        let db = self.db()?;
        let mut options = CompactOptions::default();
        // Others compact meanwhile.
        options.set_exclusive_manual_compaction(false);
        options.set_bottommost_level_compaction(bottom);
        let until = Some(until).filter(|until| !until.is_empty());
        db.compact_range_cf_opt(handle(&db, family)?, Some(from), until, &options);
        Ok(())
    }
}

/// One value of a database that another process may have open: read without its lock.
pub fn peek(path: &Path, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut database = Options::default();
    database.set_max_open_files(limits::STORE_FILES);
    let db = DB::open_cf_for_read_only(&database, path, [family.name()], false)?;
    let Some(handle) = db.cf_handle(family.name()) else {
        return Ok(None);
    };
    Ok(db.get_cf(&handle, key)?)
}

fn open(path: &Path, options: &StoreOptions, create: bool) -> Result<DB> {
    let database = database_options(options, create);
    Ok(DB::open_cf_descriptors(&database, path, families(options))?)
}

/// The database that was built beside the one at `path` takes its place, and that one goes.
pub(super) fn take_place(path: &Path) -> Result<()> {
    let beside = path.with_file_name(REBUILT);
    let io = |action| move |source| StoreError::Io { action, source };
    let failed = "put the mended database in its place";
    let exchange = rustix::fs::RenameFlags::EXCHANGE;
    let cwd = rustix::fs::CWD;
    rustix::fs::renameat_with(cwd, &beside, cwd, path, exchange)
        .map_err(|errno| io(failed)(errno.into()))?;
    // Before the damaged one goes, the other is known to stand in its place.
    let folder = std::fs::File::open(path.parent().unwrap_or(Path::new(".")));
    folder
        .and_then(|folder| folder.sync_all())
        .map_err(io(failed))?;
    discard(&beside).map_err(io("remove the damaged database"))
}

fn open_to_read(path: &Path, options: &StoreOptions) -> Result<DB> {
    let database = database_options(options, false);
    let families = families(options);
    Ok(DB::open_cf_descriptors_read_only(
        &database, path, families, false,
    )?)
}

pub(super) fn database_options(options: &StoreOptions, create: bool) -> Options {
    let mut database = Options::default();
    // Space is taken when it is used, not ahead: a small store is small, also while it is open.
    if let Ok(told) = database.get_options_from_string("allow_fallocate=false") {
        database = told;
    }
    database.create_if_missing(create);
    database.create_missing_column_families(create);
    database.set_paranoid_checks(true);
    database.set_max_open_files(limits::STORE_FILES);
    database.set_db_write_buffer_size(options.write_buffers);
    database.set_max_total_wal_size(WAL_MAX);
    database.set_max_background_jobs(2);
    database.set_max_log_file_size(INFO_LOG.0);
    database.set_keep_log_file_num(INFO_LOG.1);
    database.set_recycle_log_file_num(0);
    database.set_max_manifest_file_size(MANIFEST_MAX);
    database.set_manifest_preallocation_size(MANIFEST_AHEAD);
    // Chunks lie in the order of their files: who reads one will read the next.
    database.set_advise_random_on_open(false);
    database.set_stats_dump_period_sec(0);
    database.set_stats_persist_period_sec(0);
    database.set_bytes_per_sync(1 << 20);
    database
}

fn families(options: &StoreOptions) -> Vec<ColumnFamilyDescriptor> {
    let mut shape = LruCacheOptions::default();
    shape.set_capacity(options.block_cache);
    shape.set_num_shard_bits(CACHE_SHARD_BITS);
    let cache = Cache::new_lru_cache_opts(&shape);
    let descriptor =
        |name: &str, family| ColumnFamilyDescriptor::new(name, family_options(family, &cache));
    Family::ALL
        .into_iter()
        .map(|family| descriptor(family.name(), family))
        .chain([descriptor("default", Family::Meta)])
        .collect()
}

fn family_options(family: Family, cache: &Cache) -> Options {
    let mut options = Options::default();
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_format_version(5);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_max_write_buffer_number(2);
    options.set_target_file_size_base(RECORDS_FILE);
    match family {
        Family::Chunks => {
            // What lies at the bottom is written once more when no snapshot is as old, only to leave
            // out the numbers of its writes: all content twice. Nothing is in it that is gone, but
            // where a snapshot showed it; that is why it is not never.
            let delay = format!("bottommost_file_compaction_delay={BOTTOM_REST}");
            if let Ok(told) = options.get_options_from_string(delay) {
                options = told;
            }
            options.set_compression_type(DBCompressionType::None);
            options.set_write_buffer_size(CHUNKS_BUFFER);
            options.set_target_file_size_base(CHUNKS_BUFFER as u64);
            table.set_block_size(64 << 10);
        }
        Family::Index => {
            // Asked at random, and nothing in it can be compressed: small blocks as they are.
            options.set_compression_type(DBCompressionType::None);
            options.set_write_buffer_size(RECORDS_BUFFER);
            table.set_block_size(4 << 10);
        }
        _ => {
            options.set_compression_type(DBCompressionType::Lz4);
            options.set_write_buffer_size(RECORDS_BUFFER);
            table.set_block_size(16 << 10);
        }
    }
    if matches!(family, Family::Index | Family::Live | Family::Changes) {
        table.set_bloom_filter(BLOOM_BITS, false);
    }
    options.set_block_based_table_factory(&table);
    options
}

fn handle(db: &DB, family: Family) -> Result<&ColumnFamily> {
    db.cf_handle(family.name())
        .ok_or(StoreError::NoFamily { family })
}

impl Kv for RocksKv {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let db = self.db()?;
        Ok(db.get_cf(handle(&db, family)?, key)?)
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        let snapshot = RocksSnapshot::new(self.db()?, |db| db.snapshot());
        Ok(Box::new(snapshot))
    }

    fn write(&self, batch: Batch, durability: Durability) -> Result<()> {
        let db = self.db()?;
        let mut writes = WriteBatch::default();
        for change in &batch.changes {
            match change {
                Change::Put(family, key, value) => {
                    writes.put_cf(handle(&db, *family)?, key, value);
                }
                Change::Delete(family, key) => writes.delete_cf(handle(&db, *family)?, key),
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Synced);
        options.disable_wal(durability == Durability::NoWal);
        Ok(db.write_opt(writes, &options)?)
    }

    fn flush(&self, family: Family) -> Result<()> {
        let db = self.db()?;
        let mut options = FlushOptions::default();
        options.set_wait(true);
        Ok(db.flush_cf_opt(handle(&db, family)?, &options)?)
    }

    fn reopen(&self) -> Result<()> {
        // One that could not even be read is not closed for it: what is open still answers.
        drop(open_to_read(&self.path, &self.options)?);
        let mut slot = self.db.write();
        if let Some(db) = slot.take() {
            let waits_until = Instant::now() + limits::REOPEN_WAIT;
            let mut db = db;
            loop {
                match Arc::try_unwrap(db) {
                    Ok(db) => {
                        drop(db);
                        break;
                    }
                    Err(shared) if Instant::now() < waits_until => {
                        db = shared;
                        std::thread::sleep(std::time::Duration::from_millis(1));
                    }
                    Err(shared) => {
                        *slot = Some(shared);
                        return Err(StoreError::Busy);
                    }
                }
            }
        }
        let (db, answer) = match open(&self.path, &self.options, false) {
            Ok(db) => (Some(db), Ok(())),
            // Reads go on where that is possible without writing a byte.
            Err(error) => (open_to_read(&self.path, &self.options).ok(), Err(error)),
        };
        *slot = db.map(Arc::new);
        answer
    }

    fn rebuild(&self) -> Result<()> {
        self.copy_beside(&self.path)?;
        let mut slot = self.db.write();
        if let Some(db) = slot.take()
            && let Err(shared) = Arc::try_unwrap(db)
        {
            *slot = Some(shared);
            return Err(StoreError::Busy);
        }
        let placed = take_place(&self.path);
        *slot = Some(Arc::new(open(&self.path, &self.options, false)?));
        placed
    }

    fn unwritten_bytes(&self) -> u64 {
        let Ok(db) = self.db() else { return 0 };
        let of = |family| {
            let handle = handle(&db, family).ok()?;
            let name = "rocksdb.cur-size-all-mem-tables";
            db.property_int_value_cf(handle, name).ok()?
        };
        Family::ALL.into_iter().filter_map(of).sum()
    }

    fn log_bytes(&self) -> u64 {
        let files = std::fs::read_dir(&self.path).into_iter().flatten();
        let logs = files.filter_map(|file| {
            let file = file.ok()?;
            let is_log = file.path().extension()? == "log";
            is_log.then(|| file.metadata().ok().map(|log| log.len()))?
        });
        logs.sum()
    }

    fn stored_bytes(&self, family: Family) -> Result<u64> {
        let db = self.db()?;
        let handle = handle(&db, family)?;
        let files = db.property_int_value_cf(handle, "rocksdb.total-sst-files-size")?;
        let memory = db.property_int_value_cf(handle, "rocksdb.cur-size-all-mem-tables")?;
        Ok(files.unwrap_or(0) + memory.unwrap_or(0))
    }

    fn bytes_between(&self, family: Family, from: &[u8], until: &[u8]) -> Result<u64> {
        let db = self.db()?;
        let ranges = [rocksdb::Range::new(from, until)];
        let sizes = db.get_approximate_sizes_cf(handle(&db, family)?, &ranges);
        Ok(sizes.iter().sum())
    }

    fn reclaim(&self, family: Family, from: &[u8], until: &[u8]) -> Result<()> {
        // What lies at the bottom already is rewritten only where something above it says that it
        // is gone.
        self.compact(family, (from, until), BottommostLevelCompaction::Skip)
    }

    fn wipe(&self, family: Family, from: &[u8], until: &[u8]) -> Result<()> {
        // What is gone may lie at the bottom with what says so, from when a snapshot showed it.
        self.compact(family, (from, until), BottommostLevelCompaction::Force)
    }

    fn mark(&self) -> u64 {
        self.db().map_or(0, |db| db.latest_sequence_number())
    }

    fn is_seen_before(&self, mark: u64) -> Result<bool> {
        let oldest = self
            .db()?
            .property_int_value("rocksdb.oldest-snapshot-sequence")?;
        Ok(oldest.is_some_and(|oldest| oldest != 0 && oldest < mark))
    }
}

type Inner<'a> = rocksdb::Snapshot<'a>;

self_cell::self_cell!(
    /// A RocksDB snapshot with the database that it belongs to.
    struct RocksSnapshot {
        owner: Arc<DB>,
        #[covariant]
        dependent: Inner,
    }
);

impl Snapshot for RocksSnapshot {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let handle = handle(self.borrow_owner(), family)?;
        Ok(self.borrow_dependent().get_cf(handle, key)?)
    }

    fn scan(&self, family: Family, from: &[u8], until: &[u8]) -> Result<Box<dyn Scan + '_>> {
        let mut options = ReadOptions::default();
        options.set_auto_readahead_size(true);
        if !until.is_empty() {
            options.set_iterate_upper_bound(until);
        }
        let handle = handle(self.borrow_owner(), family)?;
        let mut iterator = self.borrow_dependent().raw_iterator_cf_opt(handle, options);
        iterator.seek(from);
        iterator.status()?;
        Ok(Box::new(RocksScan {
            iterator,
            from: from.to_vec(),
        }))
    }

    fn last(&self, family: Family, from: &[u8], until: &[u8]) -> Result<Option<Record>> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(from);
        if !until.is_empty() {
            options.set_iterate_upper_bound(until);
        }
        let handle = handle(self.borrow_owner(), family)?;
        let mut iterator = self.borrow_dependent().raw_iterator_cf_opt(handle, options);
        iterator.seek_to_last();
        iterator.status()?;
        Ok(iterator
            .item()
            .map(|(key, value)| (key.to_vec(), value.to_vec())))
    }
}

struct RocksScan<'a> {
    iterator: DBRawIterator<'a>,
    from: Vec<u8>,
}

impl Scan for RocksScan<'_> {
    fn item(&self) -> Option<(&[u8], &[u8])> {
        self.iterator.item()
    }

    fn step(&mut self) -> Result<()> {
        if self.iterator.valid() {
            self.iterator.next();
        }
        Ok(self.iterator.status()?)
    }

    fn seek(&mut self, key: &[u8]) -> Result<()> {
        self.iterator.seek(key.max(&self.from));
        Ok(self.iterator.status()?)
    }
}
