//! The database in memory: for tests, and as the plainest statement of what `Kv` promises. It
//! also knows what would be left after the process, or the power, had gone.

use super::Result;
use super::kv::{Batch, Change, Durability, Kv, Record, Scan, Snapshot};
use crate::format::key::Family;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

type Bytes = Arc<[u8]>;
type Families = BTreeMap<Family, BTreeMap<Vec<u8>, Bytes>>;

/// How a database comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The process is killed: what was written with the WAL stays.
    Process,
    /// The power goes: what was synced or flushed stays.
    Power,
}

/// A database in memory.
#[derive(Debug, Default)]
pub struct MemoryKv {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    live: Arc<Families>,
    /// Number of the last change.
    sequence: u64,
    /// What survives power loss: number of the change that made it, and the value or its absence.
    durable: BTreeMap<(Family, Vec<u8>), (u64, Option<Bytes>)>,
    /// Changes that are not in `durable` yet.
    volatile: Vec<Volatile>,
}

#[derive(Debug, Clone)]
struct Volatile {
    sequence: u64,
    logged: bool,
    family: Family,
    key: Vec<u8>,
    value: Option<Bytes>,
}

impl State {
    fn settle(&mut self, which: impl Fn(&Volatile) -> bool) {
        let (settled, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.volatile)
            .into_iter()
            .partition(which);
        self.volatile = rest;
        for change in settled {
            let slot = self
                .durable
                .entry((change.family, change.key))
                .or_insert((0, None));
            if slot.0 < change.sequence {
                *slot = (change.sequence, change.value);
            }
        }
    }
}

impl MemoryKv {
    /// The database as the next process would find it.
    pub fn after(&self, end: End) -> MemoryKv {
        let mut state = self.state.lock();
        let volatile = state.volatile.clone();
        let durable = state.durable.clone();
        if end == End::Process {
            state.settle(|change| change.logged);
        }
        let mut live = Families::new();
        for ((family, key), (_, value)) in &state.durable {
            if let Some(value) = value {
                live.entry(*family)
                    .or_default()
                    .insert(key.clone(), Arc::clone(value));
            }
        }
        let after = State {
            live: Arc::new(live),
            sequence: state.sequence,
            durable: state.durable.clone(),
            volatile: Vec::new(),
        };
        state.volatile = volatile;
        state.durable = durable;
        MemoryKv {
            state: Mutex::new(after),
        }
    }

    /// Changes a record behind the store's back: damage, for tests of what finds it.
    pub fn damage(&self, family: Family, key: &[u8], value: Option<Vec<u8>>) {
        let mut state = self.state.lock();
        let families = Arc::make_mut(&mut state.live);
        let records = families.entry(family).or_default();
        let value: Option<Bytes> = value.map(Bytes::from);
        match &value {
            Some(value) => records.insert(key.to_vec(), Arc::clone(value)),
            None => records.remove(key),
        };
        state.sequence += 1;
        let sequence = state.sequence;
        let slot = (sequence, value);
        state.durable.insert((family, key.to_vec()), slot);
    }
}

impl Kv for MemoryKv {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let state = self.state.lock();
        let value = state.live.get(&family).and_then(|records| records.get(key));
        Ok(value.map(|value| value.to_vec()))
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        Ok(Box::new(MemorySnapshot {
            families: Arc::clone(&self.state.lock().live),
        }))
    }

    fn write(&self, batch: Batch, durability: Durability) -> Result<()> {
        let mut state = self.state.lock();
        for change in batch.changes {
            let (family, key, value) = match change {
                Change::Put(family, key, value) => (family, key, Some(Bytes::from(value))),
                Change::Delete(family, key) => (family, key, None),
            };
            state.sequence += 1;
            let records = Arc::make_mut(&mut state.live).entry(family).or_default();
            match &value {
                Some(value) => records.insert(key.clone(), Arc::clone(value)),
                None => records.remove(&key),
            };
            let change = Volatile {
                sequence: state.sequence,
                logged: durability != Durability::NoWal,
                family,
                key,
                value,
            };
            state.volatile.push(change);
        }
        if durability == Durability::Synced {
            state.settle(|change| change.logged);
        }
        Ok(())
    }

    fn flush(&self, family: Family) -> Result<()> {
        self.state.lock().settle(|change| change.family == family);
        Ok(())
    }

    fn reopen(&self) -> Result<()> {
        // A database that is closed in an orderly way writes out what it has.
        self.state.lock().settle(|_| true);
        Ok(())
    }

    fn stored_bytes(&self, family: Family) -> Result<u64> {
        let state = self.state.lock();
        let records = state.live.get(&family).into_iter().flatten();
        Ok(records
            .map(|(key, value)| (key.len() + value.len()) as u64)
            .sum())
    }

    fn bytes_between(&self, family: Family, from: &[u8], until: &[u8]) -> Result<u64> {
        let state = self.state.lock();
        let records = state.live.get(&family).into_iter().flatten();
        Ok(records
            .filter(|(key, _)| key.as_slice() >= from && key.as_slice() < until)
            .map(|(key, value)| (key.len() + value.len()) as u64)
            .sum())
    }

    fn reclaim(&self, _: Family, _: &[u8], _: &[u8]) -> Result<()> {
        Ok(())
    }
}

struct MemorySnapshot {
    families: Arc<Families>,
}

impl MemorySnapshot {
    fn range(
        &self,
        family: Family,
        from: &[u8],
        until: &[u8],
    ) -> Option<std::collections::btree_map::Range<'_, Vec<u8>, Bytes>> {
        let end = match until {
            [] => Bound::Unbounded,
            until if from >= until => return None,
            until => Bound::Excluded(until),
        };
        let records = self.families.get(&family)?;
        Some(records.range::<[u8], _>((Bound::Included(from), end)))
    }
}

impl Snapshot for MemorySnapshot {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let value = self
            .families
            .get(&family)
            .and_then(|records| records.get(key));
        Ok(value.map(|value| value.to_vec()))
    }

    fn scan(&self, family: Family, from: &[u8], until: &[u8]) -> Result<Box<dyn Scan + '_>> {
        let mut scan = MemoryScan {
            snapshot: self,
            family,
            from: from.to_vec(),
            until: until.to_vec(),
            range: None,
            item: None,
        };
        scan.seek(from)?;
        Ok(Box::new(scan))
    }

    fn last(&self, family: Family, from: &[u8], until: &[u8]) -> Result<Option<Record>> {
        let last = self
            .range(family, from, until)
            .and_then(|mut range| range.next_back());
        Ok(last.map(|(key, value)| (key.clone(), value.to_vec())))
    }
}

struct MemoryScan<'a> {
    snapshot: &'a MemorySnapshot,
    family: Family,
    from: Vec<u8>,
    until: Vec<u8>,
    range: Option<std::collections::btree_map::Range<'a, Vec<u8>, Bytes>>,
    item: Option<(&'a [u8], &'a [u8])>,
}

impl Scan for MemoryScan<'_> {
    fn item(&self) -> Option<(&[u8], &[u8])> {
        self.item
    }

    fn step(&mut self) -> Result<()> {
        let next = self.range.as_mut().and_then(Iterator::next);
        self.item = next.map(|(key, value)| (key.as_slice(), value.as_ref()));
        Ok(())
    }

    fn seek(&mut self, key: &[u8]) -> Result<()> {
        let from = key.max(&self.from);
        self.range = self.snapshot.range(self.family, from, &self.until);
        self.step()
    }
}
