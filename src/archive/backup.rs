//! Making a set: what happened since another one goes into new objects, and is published when all
//! of them are confirmed.

use super::feed::{Facts, Feed};
use super::object::*;
use super::remembered::{Remembered, Reused, record_bytes, stays};
use super::repository::{Catalog, Held, Repository};
use super::{ArchiveError, Result, Traffic};
use crate::format::transfer::Sent;
use crate::id::{Epoch, Hash};
use crate::time::Timestamp;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// What a set is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Full,
    /// Full if there is nothing to build on.
    Incremental,
    Differential,
    /// Every so many sets a full one, differential ones between.
    Mixed {
        full_every: u64,
    },
    /// As keeps a replica up to date: it takes the place of some before it when these have become many
    /// (`remembered.rs`). Sets that were made so are kept for so long.
    Continuous {
        keep: Duration,
    },
}

/// How it is made sure that an object is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// It is read back.
    Read,
    /// The place has checked its checksum; where it does not, it is read back.
    Checksum,
    /// The place said so.
    None,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    pub kind: Kind,
    pub confirm: Confirm,
    /// What the target holds is looked at, not what was noted of it.
    pub compare: bool,
}

impl Plan {
    /// What a replica gets each time: what is new, confirmed. Its sets are kept for so long.
    pub fn replica(keep: Duration) -> Plan {
        Plan {
            kind: Kind::Continuous { keep },
            confirm: Confirm::Checksum,
            compare: false,
        }
    }
}

/// What was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// `None`: nothing has happened since this set.
    pub set: Option<SetRecord>,
    pub newest: u64,
    /// Why it is full though something else was asked for.
    pub full_because: Option<&'static str>,
    /// Objects of others who did not finish, removed.
    pub garbage: u64,
    /// Contents that the store itself does not have.
    pub missing: u64,
}

/// A set that is being made.
pub struct Backup<'a> {
    pub repository: &'a Repository,
    pub plan: Plan,
    pub progress: &'a (dyn Fn(Traffic) + Sync),
    pub cancelled: &'a (dyn Fn() -> bool + Sync),
}

/// What a set builds on.
struct Base {
    kind: SetKind,
    set: Option<u64>,
    after: Epoch,
    full_because: Option<&'static str>,
    /// Sets in whose place it comes.
    instead: Vec<u64>,
}

impl Backup<'_> {
    /// Makes the set and publishes it.
    ///
    /// # Errors
    /// Then there is no new set; what was sent is garbage.
    pub fn run(&self, feed: &mut dyn Feed, facts: Facts) -> Result<Made> {
        feed.claim(self.repository.id)?;
        // One that is kept open may have been moved away: nothing is begun in its place.
        self.repository.is_the_same()?;
        let is_continuous = matches!(self.plan.kind, Kind::Continuous { .. });
        let mut known = self
            .repository
            .recall(!is_continuous || self.plan.compare)?;
        let looks = known.looked.is_none();
        let mut catalog = std::mem::take(&mut known.catalog);
        let own = facts
            .sent
            .iter()
            .find(|sent| sent.repository == self.repository.id);
        let lineage = match self.may_write(&catalog, &facts, own) {
            Err(error @ ArchiveError::Fenced { .. }) => {
                if let (Some(own), Some((_, since))) = (own, catalog.writer) {
                    let own = own.clone();
                    feed.note(&Sent {
                        fenced: Some(since),
                        ..own
                    })?;
                }
                return Err(error);
            }
            lineage => lineage?,
        };
        let mut bases = self.bases(&catalog, &facts, own, looks)?.into_iter();
        let mut base = bases.next().unwrap_or_else(|| full(""));
        let newest = catalog.sets.keys().next_back().copied().unwrap_or_default();
        let same_lists = own.is_some_and(|own| own.lists == facts.lists);
        let is_same = match is_continuous {
            true => base.full_because.is_none() && own.is_some_and(|own| own.epoch == facts.to),
            false => base.after == facts.to && base.set.is_some(),
        };
        if is_same && same_lists {
            known.catalog = catalog;
            *self.repository.remembered.lock() = Some(known);
            return Ok(Made {
                set: None,
                newest,
                full_because: None,
                garbage: 0,
                missing: 0,
            });
        }
        while !feed.begin(base.after)? {
            let gone = || full("the state that the last set ends with is not kept any more");
            base = bases.next().unwrap_or_else(gone);
        }
        let (files, data_bytes) = self.data(feed, &catalog, &base)?;
        // Of another set than this store wrote last, if that could not be noted.
        let remembered = known.chunks.take();
        let remembered = remembered.filter(|(set, _)| own.is_some_and(|own| own.set == *set));
        let remembered = remembered
            .filter(|_| is_continuous)
            .map(|(_, chunks)| chunks);
        let (chunks, reused) = self.known(&catalog, &base, remembered, facts.purged)?;
        let sent = self.send(feed, chunks, reused)?;
        let missing = sent.missing;
        let set = SetRecord {
            number: 0,
            kind: base.kind,
            base: base.set,
            store: facts.store,
            host: facts.host,
            dir: facts.dir,
            after: base.after,
            to: facts.to,
            time: facts.time,
            made: Timestamp::now(),
            state: facts.state,
            seal: facts.seal,
            files,
            data_bytes,
            set_bytes: sent.objects.iter().map(|object| object.bytes).sum(),
            asked: !is_continuous,
            objects: sent.objects,
        };
        // What it is made of, and what that needs, must be there when it is published.
        let chain = match set.base {
            Some(base) => self.repository.chain(&catalog, base)?,
            None => Vec::new(),
        };
        let all: Vec<&SetRecord> = chain.into_iter().chain([&set]).collect();
        let held = match looks {
            true => Some(self.repository.check(&all)?),
            // The others were there when it was looked last.
            false => {
                self.repository.has(&set.objects[sent.taken_over..])?;
                None
            }
        };
        drop(all);
        let drops = (catalog.newest + 1).is_multiple_of(FULL_HEAD);
        if let (Kind::Continuous { keep }, true) = (self.plan.kind, drops) {
            catalog.drop_superseded(set.base, keep, Timestamp::now());
        }
        let set = self.repository.publish(&mut catalog, lineage, set)?;
        self.repository.is_the_same()?;
        let garbage = match &held {
            Some(held) => self.remove_garbage(&catalog, &set, held)?,
            None => 0,
        };
        if drops && is_continuous {
            self.remove_heads(&catalog)?;
        }
        let full = match (set.kind, own) {
            (SetKind::Full, _) | (_, None) => (set.number, set.to),
            (_, Some(own)) => (own.full_set, own.full_epoch),
        };
        let noted = feed.note(&Sent {
            repository: self.repository.id,
            url: self.repository.place().to_owned(),
            set: set.number,
            epoch: set.to,
            full_set: full.0,
            full_epoch: full.1,
            time: set.made,
            lists: facts.lists,
            recovered: false,
            fenced: None,
        });
        if let Err(error) = noted {
            // The set is there all the same; the next one builds on the one before.
            log::warn!("what was sent could not be noted: {error}");
        }
        let number = set.number;
        *self.repository.remembered.lock() = Some(Remembered {
            catalog,
            chunks: Some((number, sent.chunks)),
            looked: known.looked.or_else(|| Some(Instant::now())),
        });
        Ok(Made {
            newest: set.number,
            set: Some(set),
            full_because: base.full_because,
            garbage,
            missing,
        })
    }

    /// The lineage under which this store writes: it was the last to write, or was made from what
    /// the last one wrote.
    fn may_write(&self, catalog: &Catalog, facts: &Facts, own: Option<&Sent>) -> Result<u64> {
        let Some((writer, since)) = catalog.writer else {
            return Ok(1);
        };
        if writer == facts.store {
            return Ok(catalog.lineage);
        }
        let newest = catalog.sets.values().next_back();
        let goes_on = own.is_some_and(|own| {
            own.recovered && newest.is_some_and(|newest| newest.number == own.set)
        });
        match goes_on {
            true => Ok(catalog.lineage + 1),
            false => Err(ArchiveError::Fenced {
                place: self.repository.place().to_owned(),
                since: since.to_string(),
            }),
        }
    }

    /// What it may build on, the best first; what is not kept any more by the store can't be it.
    fn bases(
        &self,
        catalog: &Catalog,
        facts: &Facts,
        own: Option<&Sent>,
        looks: bool,
    ) -> Result<Vec<Base>> {
        let wanted = match self.plan.kind {
            Kind::Full => return Ok(vec![full("")]),
            Kind::Incremental | Kind::Continuous { .. } => SetKind::Incremental,
            Kind::Differential => SetKind::Differential,
            Kind::Mixed { full_every } => {
                let newer = |full: u64| catalog.sets.range(full..).count() as u64;
                match own {
                    Some(own) if newer(own.full_set) < full_every => SetKind::Differential,
                    _ => return Ok(vec![full("")]),
                }
            }
        };
        let Some(own) = own else {
            return Ok(vec![full("there is none yet")]);
        };
        let (set, after) = match wanted {
            SetKind::Incremental => (own.set, own.epoch),
            _ => (own.full_set, own.full_epoch),
        };
        let Ok(chain) = self.repository.chain(catalog, set) else {
            return Ok(vec![full(
                "the set that it would build on is not in the list any more",
            )]);
        };
        if chain.last().is_none_or(|set| set.to != after) || after > facts.to {
            return Ok(vec![full(
                "the set that it would build on is another than was noted",
            )]);
        }
        let first_is_full = chain.first().is_some_and(|set| set.kind == SetKind::Full);
        if !first_is_full || (looks && !self.is_there(&chain)?) {
            return Ok(vec![full(
                "something of the sets that it would build on is missing or damaged",
            )]);
        }
        let sizes: Vec<u64> = chain.iter().map(|set| record_bytes(set)).collect();
        // What somebody asked for builds on what he said, or is full and says why. Else an older one may be the
        // base when one is not kept any more; the full one is kept in any case.
        let (least, stays) = match self.plan.kind {
            Kind::Continuous { .. } => (0, stays(&sizes)),
            _ => (chain.len(), chain.len()),
        };
        let base = |stays: usize| {
            let instead = chain[stays..].iter().map(|set| set.number).collect();
            match stays.checked_sub(1).map(|last| chain[last]) {
                Some(base) => Base {
                    kind: wanted,
                    set: Some(base.number),
                    after: base.to,
                    full_because: None,
                    instead,
                },
                None => Base {
                    instead,
                    ..full("")
                },
            }
        };
        Ok((least..=stays).rev().map(base).collect())
    }

    /// Files and bytes of the state that is sent: those of the set that it builds on, and what has
    /// changed since.
    fn data(&self, feed: &mut dyn Feed, catalog: &Catalog, base: &Base) -> Result<(u64, u64)> {
        let growth = feed.growth(base.after)?;
        let set = base.set.and_then(|set| catalog.sets.get(&set));
        Ok(match set {
            Some(set) => growth.of(set.files, set.data_bytes),
            None => growth.of(0, 0),
        })
    }

    /// Whether what a set is to build on is there; with `compare`, and has the bytes that it had.
    fn is_there(&self, chain: &[&SetRecord]) -> Result<bool> {
        if !self.repository.held()?.lacking(chain).is_empty() {
            return Ok(false);
        }
        if !self.plan.compare {
            return Ok(true);
        }
        for object in chain.iter().flat_map(|set| &set.objects) {
            self.go_on()?;
            match self.repository.fetch(object) {
                Ok(_) => {}
                Err(error) if error.is_of_object() => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// What the sets that it builds on hold, and the packs of those in whose place it comes.
    /// `remembered`: what all of these hold.
    fn known(
        &self,
        catalog: &Catalog,
        base: &Base,
        remembered: Option<HashSet<Hash>>,
        purged: Option<Timestamp>,
    ) -> Result<(HashSet<Hash>, Reused)> {
        let instead = base.instead.iter();
        let instead: Vec<&SetRecord> = instead.filter_map(|set| catalog.sets.get(set)).collect();
        let (reused, theirs) = Reused::of(self.repository, &instead, purged)?;
        let Some(number) = base.set else {
            return Ok((HashSet::new(), reused));
        };
        if let Some(mut known) = remembered {
            known.retain(|hash| !theirs.contains(hash));
            return Ok((known, reused));
        }
        let mut known = HashSet::new();
        for set in self.repository.chain(catalog, number)? {
            for pack in self.repository.packs(set)? {
                known.extend(pack.chunks.iter().map(|chunk| chunk.hash));
            }
        }
        Ok((known, reused))
    }

    pub(super) fn go_on(&self) -> Result<()> {
        match (self.cancelled)() {
            true => Err(ArchiveError::Interrupted),
            false => Ok(()),
        }
    }

    /// Removes objects that were there before the set was published, and that no set names: of those
    /// who did not end, or can't publish any more, because the number of the head that they would
    /// have written is taken. What came later is of somebody who builds on this set.
    fn remove_garbage(&self, catalog: &Catalog, set: &SetRecord, held: &Held) -> Result<u64> {
        let sets = catalog.sets.values().chain([set]);
        let named: HashSet<String> = sets
            .flat_map(|set| &set.objects)
            .map(ObjectRecord::name)
            .collect();
        let mut removed = 0;
        for name in held.names().filter(|name| !named.contains(*name)) {
            removed += u64::from(self.repository.objects.clear(name));
        }
        Ok(removed)
    }

    /// Removes heads that nobody reads any more: those before the last one but one that holds all sets.
    fn remove_heads(&self, catalog: &Catalog) -> Result<()> {
        let oldest = catalog.newest.saturating_sub(FULL_HEAD);
        for (name, _) in self.repository.objects.list("heads")? {
            if name < head_name(oldest) {
                self.repository.objects.clear(&name);
            }
        }
        Ok(())
    }
}

fn full(because: &'static str) -> Base {
    Base {
        kind: SetKind::Full,
        set: None,
        after: Epoch::NONE,
        full_because: (!because.is_empty()).then_some(because),
        instead: Vec::new(),
    }
}
