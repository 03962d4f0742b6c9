//! A database that does not open: which of its files is to blame, and what a repair makes of the
//! others. The second file that knows RocksDB, because only RocksDB reads its files one by one.
//!
//! 1. The damaged database is not written to: its files are linked into a folder beside it, and
//!    what can be read there goes into a new one, which takes its place in one step.
//! 2. All files are read at once, by the order in which their records were written: of each key the
//!    copy has the newest record that is left.
//! 3. What was handed out once is not handed out again, also where the note of it was lost.

use super::commit::{SumRecord, put_sum};
use super::folder::Folder;
use super::kv::{Batch, Durability, Kv};
use super::rocks::{self, RocksKv};
use super::verify::skip;
use super::{Result, Store, StoreError, StoreOptions, meta};
use crate::format::key::{self, Family};
use crate::format::lthash::LtHash;
use crate::format::record::{Dirent, EpochRecord, EpochState, IndexEntry, Snapshot};
use crate::format::value;
use crate::id::FileId;
use rocksdb::DB;
use rustix::fs::{FlockOperation, fcntl_lock};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

/// Where the files of a damaged database are linked to.
pub(super) const LINKED: &str = "rocks.old";

/// Names the file by which a database at `path` does not open; other errors stay what they are.
pub(super) fn blame(path: &Path, error: StoreError) -> StoreError {
    let cause = match error {
        StoreError::Damaged { source } => source,
        StoreError::Database { source } if is_of_a_file(&source) => source,
        other => return other,
    };
    let (file, missing) = culprit(path, cause.as_ref());
    StoreError::Unopenable {
        file,
        missing,
        cause,
    }
}

fn is_of_a_file(error: &rocksdb::Error) -> bool {
    let message: &str = error.as_ref();
    message.contains("No such file or directory") || message.contains("Column family not found")
}

fn culprit(path: &Path, words: &str) -> (String, bool) {
    let is_missing = |name: &str| !path.join(name).exists();
    let mut words = words.split(['/', ' ', ':', ',']);
    let table = words.find(|word| {
        word.strip_suffix(".sst")
            .is_some_and(|number| !number.is_empty())
    });
    if let Some(table) = table {
        return (table.to_owned(), is_missing(table));
    }
    let named = fs::read_to_string(path.join("CURRENT")).unwrap_or_default();
    let manifest = named.strip_suffix('\n').filter(|name| {
        name.strip_prefix("MANIFEST-")
            .is_some_and(|number| number.parse::<u64>().is_ok())
    });
    match manifest {
        Some(manifest) => (manifest.to_owned(), is_missing(manifest)),
        None => ("CURRENT".to_owned(), is_missing("CURRENT")),
    }
}

impl StoreError {
    /// Whether records went with what is damaged, and not only the list of what there is.
    pub(super) fn has_lost_records(&self) -> bool {
        !matches!(self, StoreError::Unopenable { file, .. } if !file.ends_with(".sst"))
    }
}

impl Store {
    /// Opens a store whose database does not open, `why`: builds it anew from what can be read.
    ///
    /// # Errors
    /// `NothingLeft`, or the disk; then the store is as it was.
    pub(super) fn salvage(
        dir: &Path,
        options: &StoreOptions,
        why: StoreError,
    ) -> Result<Arc<Store>> {
        let folder = Folder::open(dir)?;
        let path = folder.database();
        let is_missing = matches!(why, StoreError::Unopenable { missing: true, .. });
        let opened = RocksKv::open(&path, options, false).map_err(|error| folder.locked(error));
        match opened {
            Err(error @ StoreError::Locked { .. }) => return Err(error),
            // Only blocks in it can't be read: around these, more can than by whole files.
            Ok(kv) if !is_missing => kv.rebuild()?,
            opened => {
                drop(opened);
                from_files(&path, options)?;
            }
        }
        let kv = RocksKv::open(&path, options, false).map_err(|error| folder.locked(error))?;
        folder.note_lock()?;
        let store = Store::assemble(Arc::new(kv), Some(folder), options);
        store.start_salvaged()?;
        *store.salvaged.lock() = Some(why);
        Ok(Arc::new(store))
    }

    /// What a repair begins with, after a salvage: why there was one, and whether records are lost.
    pub(super) fn take_salvaged(&self) -> Result<Option<(StoreError, bool)>> {
        let Some(why) = self.salvaged.lock().take() else {
            return Ok(None);
        };
        let lost = why.has_lost_records();
        if lost {
            self.stand_for_root()?;
            self.name_the_nameless()?;
        }
        Ok(Some((why, lost)))
    }

    /// Where records of the store as a whole are lost, or older ones show in their place: they agree
    /// with the others again.
    pub(super) fn put_right(&self) -> Result<()> {
        self.raise_marks()?;
        self.end_scans()
    }

    /// What was sealed stays sealed, and waits for no scan.
    fn end_scans(&self) -> Result<()> {
        let view = self.view();
        let mut sealed = view.newest_epoch()?;
        if sealed.is_none()
            && let Some((key, _)) = view.last(Family::Headers, &[], &[])?
        {
            sealed = Some(key::unpack_epoch(Family::Headers, &key)?);
        }
        let Some(sealed) = sealed else { return Ok(()) };
        let mut batch = Batch::default();
        let noted = self.meta::<SumRecord>(meta::SUM).ok().flatten();
        if noted.is_none_or(|noted| noted.epoch < sealed) {
            // The sum itself is counted anew by the repair.
            put_sum(&mut batch, sealed, &LtHash::default());
        }
        for scan in view.deltas()?.into_iter().filter(|scan| *scan <= sealed) {
            batch.delete(Family::Meta, key::meta(meta::DELTA, scan.0));
        }
        skip::readable(&view, Family::Epochs, |key, bytes| {
            let record = value::unpack::<EpochRecord>(bytes);
            let epoch = key::unpack_epoch(Family::Epochs, key);
            if let (Ok(epoch), Ok(mut record)) = (epoch, record)
                && matches!(record.state, EpochState::Waiting { .. })
                && epoch <= sealed
            {
                record.state = EpochState::Partial;
                batch.put(Family::Epochs, key, value::pack(&record));
            }
        });
        self.kv.write(batch, Durability::Synced)
    }

    /// No number of a chunk, a file, an actor or a snapshot that a record has is handed out again.
    fn raise_marks(&self) -> Result<()> {
        let view = self.view();
        let (mut chunk, mut file, mut actor, mut snapshot) = (0, FileId::ROOT.0, 0, 0);
        if let Some((key, _)) = view.last(Family::Chunks, &[], &[])? {
            chunk = key::unpack_chunk(&key)?.0;
        }
        if let Some((key, _)) = view.last(Family::Actors, &[], &[])? {
            actor = key::unpack_actor(&key)?.0;
        }
        skip::readable(&view, Family::Index, |_, bytes| {
            let entry = value::unpack::<IndexEntry>(bytes);
            chunk = chunk.max(entry.map_or(0, |entry| entry.number.0));
        });
        skip::readable(&view, Family::Inodes, |key, _| {
            file = file.max(key::unpack_inode(key).map_or(0, |(id, _)| id.0));
        });
        skip::readable(&view, Family::Dirents, |_, bytes| {
            if let Ok(Dirent::Present { id, .. }) = value::unpack(bytes) {
                file = file.max(id.0);
            }
        });
        skip::readable(&view, Family::Snapshots, |_, bytes| {
            let named = value::unpack::<Snapshot>(bytes);
            snapshot = snapshot.max(named.map_or(0, |named| named.id.0));
        });
        let mut batch = Batch::default();
        for (name, used) in [
            (meta::NEXT_CHUNK, chunk),
            (meta::NEXT_FILE, file),
            (meta::NEXT_ACTOR, actor),
            (meta::NEXT_SNAPSHOT, snapshot),
        ] {
            let noted = self.meta::<u64>(name).ok().flatten();
            if noted.is_none_or(|noted| noted <= used) {
                batch.put(Family::Meta, name, value::pack(&(used + 1)));
            }
        }
        self.kv.write(batch, Durability::Synced)
    }
}

/// Builds the database at `path` anew from those of its files that can be read.
fn from_files(path: &Path, options: &StoreOptions) -> Result<()> {
    let _lock = lock(path)?;
    let linked = path.with_file_name(LINKED);
    let io = |action| move |source| StoreError::Io { action, source };
    rocks::discard(&linked).map_err(io("remove what an earlier repair left"))?;
    let copied = link(path, &linked)
        .map_err(io("link the files of the damaged database"))
        .and_then(|()| copy(path, &linked, options));
    let discarded = rocks::discard(&linked);
    copied?;
    discarded.map_err(io("remove the damaged database"))
}

/// Nobody else may take the database meanwhile for one that can be opened.
fn lock(path: &Path) -> Result<Option<File>> {
    let Ok(file) = File::options().write(true).open(path.join("LOCK")) else {
        return Ok(None);
    };
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(_) => Err(StoreError::Locked { path: path.into() }),
    }
}

fn link(path: &Path, linked: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(linked)?;
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let is_of_records = Path::new(&name)
            .extension()
            .is_some_and(|end| end == "sst" || end == "log");
        if is_of_records {
            fs::hard_link(entry.path(), linked.join(&name))
                .or_else(|_| fs::copy(entry.path(), linked.join(&name)).map(drop))?;
        }
    }
    Ok(())
}

fn copy(path: &Path, linked: &Path, options: &StoreOptions) -> Result<()> {
    let readable = rocks::database_options(options, false);
    if let Err(error) = DB::repair(&readable, linked) {
        log::warn!("no file of the database can be read: {error}");
        return Err(StoreError::NothingLeft);
    }
    let left = RocksKv::open(linked, options, true)?;
    let view = left.snapshot()?;
    let has = |family| matches!(view.last(family, &[], &[]), Ok(Some(_)));
    if !has(Family::Headers) && !has(Family::Epochs) && !has(Family::Inodes) {
        return Err(StoreError::NothingLeft);
    }
    drop(view);
    left.copy_beside(path)?;
    rocks::take_place(path)
}
