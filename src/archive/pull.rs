//! A copy of a repository, made and brought up to date by whoever is to have it: the same objects
//! under the same names, so it is a place like the other one, with the same passwords.
//!
//! 1. What sets are made of is there, and has the bytes that its name says, before a head that names
//!    it. Who dies in between goes on with what is there.
//! 2. A head is taken if it continues the one before it, which is the one that the copy has. What was
//!    set back, or begun anew, is not followed.
//! 3. What the other one has dropped of itself (sets in whose place newer ones are, passwords) goes
//!    here, too, when all of the newer ones is there.

use super::object::*;
use super::objects::Objects;
use super::repository::{Held, Repository, is_as_sent};
use super::{ArchiveError, Result, Traffic};
use crate::limits;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::thread;

/// What came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulled {
    pub traffic: Traffic,
    /// Sets that were not there before.
    pub sets: u64,
}

/// Brings a copy up to date.
pub struct Pull<'a> {
    pub from: &'a Repository,
    pub to: &'a Objects,
    pub progress: &'a (dyn Fn(Traffic) + Sync),
    pub cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl Pull<'_> {
    /// Fetches what is new.
    ///
    /// # Errors
    /// Something can't be had or is not what it should be; or the copy is one of another place. What
    /// came so far stays.
    pub fn run(&self) -> Result<Pulled> {
        self.begin()?;
        let catalog = self.from.catalog()?;
        let own = heads(self.to)?.1;
        let oldest = heads(&self.from.objects)?.0;
        self.continues(own, oldest, catalog.newest)?;
        let mut pulled = Pulled {
            sets: catalog.sets.range(own + 1..).count() as u64,
            traffic: Traffic::default(),
        };
        let objects = catalog.sets.values().flat_map(|set| &set.objects);
        pulled.traffic = self.objects(objects)?;
        let held = held(self.to)?;
        let sets: Vec<&SetRecord> = catalog.sets.values().collect();
        if let Some((_, name)) = held.lacking(&sets).first() {
            return Err(ArchiveError::Missing {
                place: self.to.place().to_owned(),
                name: name.clone(),
            });
        }
        for number in oldest.max(own + 1)..=catalog.newest {
            let name = head_name(number);
            let sealed = self.from.objects.get(&name)?;
            self.to.put(&name, sealed.clone())?;
            is_as_sent(self.to, &name, &sealed)?;
        }
        self.drop_old(&sets, &held, oldest)?;
        self.follow("keys")?;
        self.follow("beats")?;
        Ok(pulled)
    }

    /// Removes what no set names any more, and heads that the other one has no more.
    fn drop_old(&self, sets: &[&SetRecord], held: &Held, oldest: u64) -> Result<()> {
        let named = sets.iter().flat_map(|set| &set.objects);
        let named: BTreeSet<String> = named.map(ObjectRecord::name).collect();
        // One that shows no sets is no model for anything.
        if named.is_empty() {
            return Ok(());
        }
        for name in held.names().filter(|name| !named.contains(*name)) {
            self.to.clear(name);
        }
        for (name, _) in self.to.list("heads")? {
            if name < head_name(oldest) {
                self.to.clear(&name);
            }
        }
        Ok(())
    }

    fn go_on(&self) -> Result<()> {
        match (self.cancelled)() {
            true => Err(ArchiveError::Interrupted),
            false => Ok(()),
        }
    }

    fn differs(&self) -> ArchiveError {
        ArchiveError::NoCopy {
            place: self.from.place().to_owned(),
            copy: self.to.place().to_owned(),
        }
    }

    /// That the copy is one of this place, or nothing yet: then it begins to be one.
    fn begin(&self) -> Result<()> {
        let marker = self.from.objects.get(MARKER)?;
        match self.to.get(MARKER) {
            Ok(there) if there == marker => return Ok(()),
            Ok(_) => return Err(self.differs()),
            Err(ArchiveError::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
        let is_key = |(name, _): &(String, u64)| name.starts_with("keys/");
        if !self.to.list("")?.iter().all(is_key) {
            return Err(ArchiveError::Foreign {
                place: self.to.place().to_owned(),
            });
        }
        self.follow("keys")?;
        self.to.put(MARKER, marker.clone())?;
        is_as_sent(self.to, MARKER, &marker)
    }

    /// That what is new continues what the copy has. One that is so far behind that its head was dropped
    /// there begins with those that were not: one of them names all sets.
    fn continues(&self, own: u64, oldest: u64, newest: u64) -> Result<()> {
        if own > newest {
            return Err(self.differs());
        }
        let there = own > 0 && own >= oldest;
        if there && self.to.get(&head_name(own))? != self.from.objects.get(&head_name(own))? {
            return Err(self.differs());
        }
        self.from.is_chain(own.max(oldest).max(1), newest)
    }

    /// Fetches those that are not there, several at once.
    fn objects<'o>(&self, objects: impl Iterator<Item = &'o ObjectRecord>) -> Result<Traffic> {
        let held = held(self.to)?;
        let lacking = objects.filter(|object| !held.has(object));
        // Sets may share some.
        let lacking: BTreeMap<String, ObjectRecord> =
            lacking.map(|object| (object.name(), *object)).collect();
        let queue = Mutex::new(lacking.into_iter());
        let state: Mutex<(Traffic, Option<ArchiveError>)> = Mutex::default();
        thread::scope(|scope| {
            for _ in 0..limits::JOBS_MAX {
                scope.spawn(|| {
                    loop {
                        let next = queue.lock().next();
                        let Some((name, object)) = next else { return };
                        if state.lock().1.is_some() {
                            return;
                        }
                        let came = self.go_on().and_then(|()| self.one(&name, &object));
                        let mut state = state.lock();
                        match came {
                            Ok(()) => {
                                state.0.objects += 1;
                                state.0.bytes += object.bytes;
                                (self.progress)(state.0);
                            }
                            Err(error) => {
                                state.1.get_or_insert(error);
                            }
                        }
                    }
                });
            }
        });
        match state.into_inner() {
            (traffic, None) => Ok(traffic),
            (_, Some(error)) => Err(error),
        }
    }

    fn one(&self, name: &str, object: &ObjectRecord) -> Result<()> {
        let bytes = self.from.fetch(object)?;
        if !self.to.put(name, bytes.clone())? {
            // It is there in another length.
            self.to.mend(name, bytes.clone())?;
        }
        is_as_sent(self.to, name, &bytes)
    }

    /// A folder of small objects becomes as it is there.
    fn follow(&self, folder: &str) -> Result<()> {
        let there = self.from.objects.list(folder)?;
        let here: BTreeSet<(String, u64)> = self.to.list(folder)?.into_iter().collect();
        for entry in &there {
            if here.contains(entry) {
                continue;
            }
            let bytes = match self.from.objects.get(&entry.0) {
                Ok(bytes) => bytes,
                // A newer one has come.
                Err(ArchiveError::Missing { .. }) => continue,
                Err(error) => return Err(error),
            };
            if !self.to.put(&entry.0, bytes.clone())? {
                self.to.mend(&entry.0, bytes)?;
            }
        }
        let names: BTreeSet<&String> = there.iter().map(|(name, _)| name).collect();
        // A place that shows nothing of it may be on its way out.
        if !names.is_empty() {
            for (name, _) in here.iter().filter(|(name, _)| !names.contains(name)) {
                self.to.clear(name);
            }
        }
        Ok(())
    }
}

/// The numbers of the oldest and the newest head; 0: there is none.
fn heads(objects: &Objects) -> Result<(u64, u64)> {
    let listed = objects.list("heads")?;
    let number = |(name, _): &(String, u64)| name.strip_prefix("heads/")?.parse().ok();
    let oldest = listed.iter().filter_map(number).min();
    let newest = listed.iter().filter_map(number).max();
    Ok((oldest.unwrap_or(0), newest.unwrap_or(0)))
}

fn held(objects: &Objects) -> Result<Held> {
    let mut held = Held::default();
    for folder in FOLDERS {
        held.add(objects.list(folder)?);
    }
    Ok(held)
}
