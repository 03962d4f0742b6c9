//! A database that fails when a test says so, and counts what is asked of it.

use super::Result;
use super::error::StoreError;
use super::kv::{Batch, Durability, Kv, Record, Scan, Snapshot};
use crate::format::key::Family;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What was asked of a database so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Values that were asked for by their key.
    pub gets: u64,
    /// Scans begun and seeks within scans.
    pub seeks: u64,
    /// Steps from one record to the next.
    pub steps: u64,
    /// Batches written.
    pub writes: u64,
    /// Changes in them.
    pub changes: u64,
    /// Families flushed.
    pub flushes: u64,
    /// Pieces of a family whose space was given back.
    pub reclaims: u64,
}

#[derive(Debug, Default)]
struct Counters {
    gets: AtomicU64,
    seeks: AtomicU64,
    steps: AtomicU64,
    writes: AtomicU64,
    changes: AtomicU64,
    flushes: AtomicU64,
    reclaims: AtomicU64,
}

/// Wraps a database.
#[derive(Debug)]
pub struct FaultyKv {
    inner: Arc<dyn Kv>,
    counters: Arc<Counters>,
    /// Writes and flushes that still succeed.
    left: AtomicU64,
    /// The same of reads.
    reads_left: AtomicU64,
    /// Whether writes fail for want of room.
    full: AtomicBool,
    /// Whether nothing is answered, and the bell for when that is over.
    held: Mutex<bool>,
    released: Condvar,
    /// After the first failure everything fails, also reads: the process is dead.
    dies: AtomicBool,
    dead: AtomicBool,
}

fn bump(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

impl FaultyKv {
    /// Fails nothing until told to.
    pub fn new(inner: Arc<dyn Kv>) -> FaultyKv {
        FaultyKv {
            inner,
            counters: Arc::new(Counters::default()),
            left: AtomicU64::new(u64::MAX),
            reads_left: AtomicU64::new(u64::MAX),
            full: AtomicBool::new(false),
            held: Mutex::new(false),
            released: Condvar::new(),
            dies: AtomicBool::new(false),
            dead: AtomicBool::new(false),
        }
    }

    /// After `left` more writes and flushes, each one fails.
    pub fn fail_after(&self, left: u64) {
        self.left.store(left, Ordering::SeqCst);
    }

    /// After `left` more writes and flushes, each one finds the disk full.
    pub fn fill_after(&self, left: u64) {
        self.full.store(true, Ordering::SeqCst);
        self.left.store(left, Ordering::SeqCst);
    }

    /// After `left` more values read by their key, each one fails.
    pub fn fail_reads_after(&self, left: u64) {
        self.reads_left.store(left, Ordering::SeqCst);
    }

    /// All is well again.
    pub fn mend(&self) {
        self.full.store(false, Ordering::SeqCst);
        self.left.store(u64::MAX, Ordering::SeqCst);
        self.reads_left.store(u64::MAX, Ordering::SeqCst);
    }

    /// From now on nothing is answered, or, if not `hold`, all is.
    pub fn hold(&self, hold: bool) {
        *self.held.lock() = hold;
        self.released.notify_all();
    }

    /// After `left` more writes and flushes, everything fails for ever.
    pub fn die_after(&self, left: u64) {
        self.dies.store(true, Ordering::SeqCst);
        self.left.store(left, Ordering::SeqCst);
    }

    /// What was asked so far.
    pub fn counts(&self) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            gets: of(&self.counters.gets),
            seeks: of(&self.counters.seeks),
            steps: of(&self.counters.steps),
            writes: of(&self.counters.writes),
            changes: of(&self.counters.changes),
            flushes: of(&self.counters.flushes),
            reclaims: of(&self.counters.reclaims),
        }
    }

    fn injected() -> StoreError {
        StoreError::Io {
            action: "write to the faulty database",
            source: std::io::Error::from_raw_os_error(libc::EIO),
        }
    }

    fn alive(&self) -> Result<()> {
        let mut held = self.held.lock();
        while *held {
            self.released.wait(&mut held);
        }
        drop(held);
        if self.dead.load(Ordering::SeqCst) {
            return Err(Self::injected());
        }
        Ok(())
    }

    fn spend(&self) -> Result<()> {
        self.alive()?;
        let spent = take(&self.left);
        self.answer(spent)
    }

    fn read(&self) -> Result<()> {
        self.alive()?;
        if take(&self.reads_left) {
            return Ok(());
        }
        Err(Self::injected())
    }

    fn answer(&self, granted: bool) -> Result<()> {
        if granted {
            return Ok(());
        }
        let dies = self.dies.load(Ordering::SeqCst);
        self.dead.store(dies, Ordering::SeqCst);
        if self.full.load(Ordering::SeqCst) {
            return Err(StoreError::Full);
        }
        Err(Self::injected())
    }
}

/// One of those that are left, if any is.
fn take(left: &AtomicU64) -> bool {
    let less = |left: u64| match left {
        u64::MAX => Some(u64::MAX),
        left => left.checked_sub(1),
    };
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
        .is_ok()
}

impl Kv for FaultyKv {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.read()?;
        bump(&self.counters.gets, 1);
        self.inner.get(family, key)
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        self.alive()?;
        Ok(Box::new(CountedSnapshot {
            inner: self.inner.snapshot()?,
            counters: Arc::clone(&self.counters),
        }))
    }

    fn write(&self, batch: Batch, durability: Durability) -> Result<()> {
        self.spend()?;
        bump(&self.counters.writes, 1);
        bump(&self.counters.changes, batch.changes.len() as u64);
        self.inner.write(batch, durability)
    }

    fn flush(&self, family: Family) -> Result<()> {
        self.spend()?;
        bump(&self.counters.flushes, 1);
        self.inner.flush(family)
    }

    fn reopen(&self) -> Result<()> {
        self.alive()?;
        self.inner.reopen()
    }

    fn stored_bytes(&self, family: Family) -> Result<u64> {
        self.inner.stored_bytes(family)
    }

    fn bytes_between(&self, family: Family, from: &[u8], until: &[u8]) -> Result<u64> {
        self.inner.bytes_between(family, from, until)
    }

    fn reclaim(&self, family: Family, from: &[u8], until: &[u8]) -> Result<()> {
        self.alive()?;
        bump(&self.counters.reclaims, 1);
        self.inner.reclaim(family, from, until)
    }
}

struct CountedSnapshot {
    inner: Box<dyn Snapshot>,
    counters: Arc<Counters>,
}

impl Snapshot for CountedSnapshot {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>> {
        bump(&self.counters.gets, 1);
        self.inner.get(family, key)
    }

    fn scan(&self, family: Family, from: &[u8], until: &[u8]) -> Result<Box<dyn Scan + '_>> {
        bump(&self.counters.seeks, 1);
        Ok(Box::new(CountedScan {
            inner: self.inner.scan(family, from, until)?,
            counters: &self.counters,
        }))
    }

    fn last(&self, family: Family, from: &[u8], until: &[u8]) -> Result<Option<Record>> {
        bump(&self.counters.seeks, 1);
        self.inner.last(family, from, until)
    }
}

struct CountedScan<'a> {
    inner: Box<dyn Scan + 'a>,
    counters: &'a Counters,
}

impl Scan for CountedScan<'_> {
    fn item(&self) -> Option<(&[u8], &[u8])> {
        self.inner.item()
    }

    fn step(&mut self) -> Result<()> {
        bump(&self.counters.steps, 1);
        self.inner.step()
    }

    fn seek(&mut self, key: &[u8]) -> Result<()> {
        bump(&self.counters.seeks, 1);
        self.inner.seek(key)
    }
}
