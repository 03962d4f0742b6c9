//! What a prune will free, to the byte, before anything is removed.
//!
//! A version goes when all kept epochs that see it have gone; a chunk when all versions and lists
//! that name it have. So one walk over the versions is enough, for any number of epochs that may go
//! one after another: each version falls with the last of those that see it, each chunk with the
//! last of the versions that name it, if these are all there are.

use super::view::{View, decode};
use super::{Result, Store, StoreError};
use crate::format::key::{self, Family};
use crate::format::record::{Content, IndexEntry, InodeVersion, Piece};
use crate::id::{Epoch, FileId, Hash};
use crate::limits;
use std::collections::{BTreeMap, HashMap};

/// What epochs weigh: stored bytes of the chunks that go with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weights {
    /// Of all that go in any case.
    pub dropped: u64,
    /// With the further ones, one after another: each with all before it.
    pub further: Vec<u64>,
    /// False: there was too much to count, and it is at least this.
    pub exact: bool,
}

/// Records between two questions whether to go on.
const ASK_EVERY: u64 = 1024;
/// A kept epoch that stays.
const NEVER: usize = usize::MAX;

/// Contents that fall: how many of their references, and with which step the last of these.
struct Falling {
    counted: HashMap<Hash, (u64, usize)>,
    exact: bool,
}

impl Falling {
    fn count(&mut self, hash: Hash, step: usize) {
        let full = self.counted.len() >= limits::WEIGHED_HASHES;
        if full && !self.counted.contains_key(&hash) {
            self.exact = false;
            return;
        }
        let (count, last) = self.counted.entry(hash).or_default();
        *count += 1;
        *last = step.max(*last);
    }
}

impl Store {
    /// Bytes of all chunks that the index names, and of all other records as they lie on disk,
    /// about.
    ///
    /// # Errors
    /// A store that can't be read; `Interrupted` when `go_on` says no.
    pub fn live_bytes(&self, go_on: &dyn Fn() -> bool) -> Result<u64> {
        let view = self.view();
        let mut scan = view.from(Family::Index, &[])?;
        let (_, mut bytes) = self.stored_bytes()?;
        let mut seen = 0u64;
        while let Some((key, value)) = scan.item() {
            let entry: IndexEntry = decode(Family::Index, key, value)?;
            bytes += u64::from(entry.stored_bytes);
            seen += 1;
            if seen.is_multiple_of(ASK_EVERY) && !go_on() {
                return Err(StoreError::Interrupted);
            }
            scan.step()?;
        }
        Ok(bytes)
    }

    /// Weighs epochs that go, and further ones that may go after them in this order, which is that
    /// of their numbers.
    ///
    /// # Errors
    /// A store that can't be read; `Interrupted` when `go_on` says no.
    pub fn weigh(
        &self,
        dropped: &[Epoch],
        further: &[Epoch],
        go_on: &dyn Fn() -> bool,
    ) -> Result<Weights> {
        let view = self.view();
        let steps = Steps::new(&view, dropped, further)?;
        let mut falling = Falling {
            counted: HashMap::new(),
            exact: true,
        };
        view.falling(&steps, &mut falling, go_on)?;
        let mut freed = vec![0u64; further.len() + 1];
        let lists = view.fallen_lists(&mut falling, &mut freed)?;
        for list in lists {
            falling.counted.remove(&list);
        }
        for (hash, (count, step)) in &falling.counted {
            if let Some(entry) = view.index_entry(*hash)?
                && entry.refs <= *count
            {
                freed[*step] += u64::from(entry.stored_bytes);
            }
        }
        for i in 1..freed.len() {
            freed[i] += freed[i - 1];
        }
        let dropped = freed.remove(0);
        Ok(Weights {
            dropped,
            further: freed,
            exact: falling.exact,
        })
    }
}

/// The kept epochs with the step at which each goes.
struct Steps {
    kept: Vec<Epoch>,
    /// Up to the epoch at the same place: the last step at which one of them goes.
    last: Vec<usize>,
    /// The place of the first from here on that stays.
    stays: Vec<usize>,
}

impl Steps {
    fn new(view: &View<'_>, dropped: &[Epoch], further: &[Epoch]) -> Result<Steps> {
        let mut step_of: BTreeMap<Epoch, usize> = BTreeMap::new();
        step_of.extend(dropped.iter().map(|epoch| (*epoch, 0)));
        step_of.extend(further.iter().zip(1..).map(|(epoch, step)| (*epoch, step)));
        let mut kept = Vec::new();
        let mut scan = view.from(Family::Epochs, &[])?;
        while let Some((key, _)) = scan.item() {
            kept.push(key::unpack_epoch(Family::Epochs, key)?);
            scan.step()?;
        }
        let steps: Vec<usize> = kept
            .iter()
            .map(|epoch| step_of.get(epoch).copied().unwrap_or(NEVER))
            .collect();
        let mut stays = vec![kept.len(); kept.len() + 1];
        for i in (0..kept.len()).rev() {
            stays[i] = if steps[i] == NEVER { i } else { stays[i + 1] };
        }
        let mut last = Vec::with_capacity(kept.len());
        let mut newest = 0;
        for step in steps {
            if step != NEVER {
                newest = step.max(newest);
            }
            last.push(newest);
        }
        Ok(Steps { kept, last, stays })
    }

    /// The step at which a version goes that was written at `from` and holds until `until`.
    fn of(&self, from: Epoch, until: Option<Epoch>) -> Option<usize> {
        let place = |epoch: Epoch| self.kept.partition_point(|kept| *kept < epoch);
        let first = place(from);
        let end = until.map_or(self.kept.len(), place);
        if first >= end || self.stays[first] < end {
            return None;
        }
        // Steps ascend with the epochs, but for those that go in any case, which are the first.
        let before = first.checked_sub(1).map_or(0, |i| self.last[i]);
        let step = self.last[end - 1];
        Some(if step > before { step } else { 0 })
    }
}

impl View<'_> {
    /// Counts what the versions that go name.
    fn falling(
        &self,
        steps: &Steps,
        falling: &mut Falling,
        go_on: &dyn Fn() -> bool,
    ) -> Result<()> {
        let mut newer: Option<(FileId, Epoch)> = None;
        let mut scan = self.from(Family::Inodes, &[])?;
        let mut seen = 0u64;
        while let Some((key, bytes)) = scan.item() {
            let (id, epoch) = key::unpack_inode(key)?;
            let until = newer.filter(|(other, _)| *other == id).map(|(_, at)| at);
            if let Some(step) = steps.of(epoch, until) {
                let version: InodeVersion = decode(Family::Inodes, key, bytes)?;
                if let InodeVersion::Present(inode) = version
                    && let Content::Chunk(hash) | Content::List(hash) = inode.content
                {
                    falling.count(hash, step);
                }
            }
            newer = Some((id, epoch));
            seen += 1;
            if seen.is_multiple_of(ASK_EVERY) && !go_on() {
                return Err(StoreError::Interrupted);
            }
            scan.step()?;
        }
        Ok(())
    }

    /// Lists of which no reference is left: their own bytes, and their pieces fall with them.
    fn fallen_lists(&self, falling: &mut Falling, freed: &mut [u64]) -> Result<Vec<Hash>> {
        let candidates: Vec<(Hash, u64, usize)> = falling
            .counted
            .iter()
            .map(|(hash, (count, step))| (*hash, *count, *step))
            .collect();
        let mut lists = Vec::new();
        for (hash, count, step) in candidates {
            let Some(entry) = self.index_entry(hash)? else {
                continue;
            };
            if !entry.is_list {
                continue;
            }
            lists.push(hash);
            if entry.refs > count {
                continue;
            }
            freed[step] += u64::from(entry.stored_bytes);
            for piece in &self.list(hash)?.pieces {
                if let Piece::Data { hash, .. } = piece {
                    falling.count(*hash, step);
                }
            }
        }
        Ok(lists)
    }
}
