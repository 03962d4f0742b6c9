//! A database whose calls are timed while they last, so that somebody who does not wait for it can
//! tell that it has stopped answering.

use super::Result;
use super::kv::{Batch, Durability, Kv, Record, Scan, Snapshot};
use crate::format::key::Family;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Calls that are timed at once; of more, some are not.
const SLOTS: usize = 64;

/// The calls under way: when each began, microseconds since `base` and one; 0: none.
#[derive(Debug)]
pub(super) struct Calls {
    base: Instant,
    begun: [AtomicU64; SLOTS],
    /// Places that were looked for in pictures of the database: what reading costs.
    seeks: AtomicU64,
}

/// A call under way; dropping it ends it.
pub(super) struct Call<'a>(Option<&'a AtomicU64>);

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if let Some(slot) = self.0 {
            slot.store(0, Ordering::Relaxed);
        }
    }
}

impl Calls {
    pub(super) fn new() -> Calls {
        Calls {
            base: Instant::now(),
            begun: [const { AtomicU64::new(0) }; SLOTS],
            seeks: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_micros()).unwrap_or(u64::MAX - 1) + 1
    }

    /// Times what is done until the answer is dropped. A thread has one slot: of calls within a
    /// call only the outermost counts.
    pub(super) fn begin(&self) -> Call<'_> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static SLOT: Cell<usize> =
                Cell::new(NEXT.fetch_add(1, Ordering::Relaxed) % SLOTS);
        }
        let slot = &self.begun[SLOT.with(Cell::get)];
        let free = slot.compare_exchange(0, self.now(), Ordering::Relaxed, Ordering::Relaxed);
        Call(free.is_ok().then_some(slot))
    }

    fn seek(&self) -> Call<'_> {
        self.seeks.fetch_add(1, Ordering::Relaxed);
        self.begin()
    }

    /// How many places were looked for so far.
    #[cfg(test)]
    pub(super) fn seeks(&self) -> u64 {
        self.seeks.load(Ordering::Relaxed)
    }

    /// How long the oldest call under way has lasted.
    pub(super) fn longest(&self) -> Duration {
        let now = self.now();
        let begun = self.begun.iter().map(|slot| slot.load(Ordering::Relaxed));
        let oldest = begun.filter(|begun| *begun != 0).min().unwrap_or(now);
        Duration::from_micros(now.saturating_sub(oldest))
    }
}

/// Wraps a database.
#[derive(Debug)]
pub(super) struct WatchedKv {
    inner: Arc<dyn Kv>,
    calls: Arc<Calls>,
}

impl WatchedKv {
    pub(super) fn new(inner: Arc<dyn Kv>, calls: Arc<Calls>) -> WatchedKv {
        WatchedKv { inner, calls }
    }
}

impl Kv for WatchedKv {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let _call = self.calls.begin();
        self.inner.get(family, key)
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        let _call = self.calls.begin();
        Ok(Box::new(WatchedSnapshot {
            inner: self.inner.snapshot()?,
            calls: Arc::clone(&self.calls),
        }))
    }

    fn write(&self, batch: Batch, durability: Durability) -> Result<()> {
        let _call = self.calls.begin();
        self.inner.write(batch, durability)
    }

    fn flush(&self, family: Family) -> Result<()> {
        let _call = self.calls.begin();
        self.inner.flush(family)
    }

    fn reopen(&self) -> Result<()> {
        // Not timed: nothing is recorded while it lasts.
        self.inner.reopen()
    }

    fn rebuild(&self) -> Result<()> {
        // Not timed either: nobody waits for it but who asked for it.
        self.inner.rebuild()
    }

    fn stored_bytes(&self, family: Family) -> Result<u64> {
        let _call = self.calls.begin();
        self.inner.stored_bytes(family)
    }

    fn bytes_between(&self, family: Family, from: &[u8], until: &[u8]) -> Result<u64> {
        let _call = self.calls.begin();
        self.inner.bytes_between(family, from, until)
    }

    /// Takes its time without being stuck, and nobody waits for it: not watched.
    fn reclaim(&self, family: Family, from: &[u8], until: &[u8]) -> Result<()> {
        self.inner.reclaim(family, from, until)
    }

    /// Neither is this.
    fn wipe(&self, family: Family, from: &[u8], until: &[u8]) -> Result<()> {
        self.inner.wipe(family, from, until)
    }

    fn mark(&self) -> u64 {
        self.inner.mark()
    }

    fn is_seen_before(&self, mark: u64) -> Result<bool> {
        self.inner.is_seen_before(mark)
    }

    fn unwritten_bytes(&self) -> u64 {
        self.inner.unwritten_bytes()
    }

    fn log_bytes(&self) -> u64 {
        self.inner.log_bytes()
    }
}

struct WatchedSnapshot {
    inner: Box<dyn Snapshot>,
    calls: Arc<Calls>,
}

impl Snapshot for WatchedSnapshot {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let _call = self.calls.seek();
        self.inner.get(family, key)
    }

    fn scan(&self, family: Family, from: &[u8], until: &[u8]) -> Result<Box<dyn Scan + '_>> {
        let _call = self.calls.seek();
        Ok(Box::new(WatchedScan {
            inner: self.inner.scan(family, from, until)?,
            calls: &self.calls,
        }))
    }

    fn last(&self, family: Family, from: &[u8], until: &[u8]) -> Result<Option<Record>> {
        let _call = self.calls.seek();
        self.inner.last(family, from, until)
    }
}

struct WatchedScan<'a> {
    inner: Box<dyn Scan + 'a>,
    calls: &'a Calls,
}

impl Scan for WatchedScan<'_> {
    fn item(&self) -> Option<(&[u8], &[u8])> {
        self.inner.item()
    }

    fn step(&mut self) -> Result<()> {
        let _call = self.calls.begin();
        self.inner.step()
    }

    fn seek(&mut self, key: &[u8]) -> Result<()> {
        let _call = self.calls.seek();
        self.inner.seek(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_counts_while_it_lasts() {
        let calls = Calls::new();
        assert_eq!(calls.longest(), Duration::ZERO);
        let call = calls.begin();
        let inner = calls.begin();
        std::thread::sleep(Duration::from_millis(5));
        drop(inner);
        assert!(calls.longest() >= Duration::from_millis(5));
        drop(call);
        assert_eq!(calls.longest(), Duration::ZERO);
    }
}
