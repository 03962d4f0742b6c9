//! What happened, change by change in the order of the states: how each differs from the one
//! before, and who did it. Whoever reads them can stop anywhere and go on from there later.
//!
//! A state that was dropped meanwhile has left its changes to the next one: they may then be told
//! once more, but none is left out.

use super::Result;
use super::diff::{self, Difference};
use crate::format::record::{Actor, Change};
use crate::id::{ActorId, Epoch, FileId};
use crate::limits;
use crate::store::View;
use crate::time::Timestamp;
use std::collections::{BTreeMap, HashMap};

/// How far somebody has read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The state of the last change that was read.
    pub epoch: Epoch,
    /// The state with which it was compared.
    pub base: Epoch,
    /// Changes of it that were read; `None`: all.
    pub read: Option<u64>,
}

impl Place {
    /// All of a state, and of those before it, was read.
    pub fn after(epoch: Epoch) -> Place {
        Place {
            epoch,
            ..Place::default()
        }
    }
}

/// One change.
#[derive(Clone, Debug)]
pub struct Event {
    /// Behind this change.
    pub place: Place,
    /// Of the state that has it first.
    pub time: Timestamp,
    pub difference: Difference,
    /// Who did it, as far as it is known.
    pub actors: Vec<Actor>,
}

/// Some changes, in order.
#[derive(Debug)]
pub struct Events {
    pub all: Vec<Event>,
    /// From where to go on, also if there are none.
    pub place: Place,
    /// There are others behind these.
    pub more: bool,
}

/// Where somebody begins who wants what happened after `time`; without one, after the oldest
/// state: that was found, not made.
///
/// # Errors
/// The store's.
pub fn start(view: &View<'_>, time: Option<Timestamp>) -> Result<Place> {
    let before = match time {
        Some(time) => view.epoch_at_time(time)?,
        None => None,
    };
    let first = match before {
        Some(epoch) => Some(epoch),
        None => view.oldest_epoch()?,
    };
    Ok(Place::after(first.unwrap_or_default()))
}

/// The changes behind `place`: those of at least one state, if there is one, and not many more than
/// `limits::EVENTS_READ`.
///
/// # Errors
/// The store's.
pub fn after(view: &View<'_>, place: Place) -> Result<Events> {
    let mut reader = Reader {
        view,
        actors: HashMap::new(),
    };
    let mut events = Events {
        all: Vec::new(),
        place,
        more: false,
    };
    let (mut next, mut passed) = match place.read {
        // Some of it is to be told yet; all of it if it was compared with another one then.
        Some(read) => {
            let is_same = view.listed_before(place.epoch)?.unwrap_or_default() == place.base;
            (place.epoch, if is_same { read } else { 0 })
        }
        None => (place.epoch.next(), 0),
    };
    while let Some((epoch, _, header)) = view.epochs(next, Epoch::MAX, 1)?.pop() {
        let base = view.listed_before(epoch)?.unwrap_or_default();
        if epoch != place.epoch {
            passed = 0;
        }
        let differences = diff::between(view, base, epoch)?;
        let count = differences.len() as u64;
        let authors = reader.authors(epoch)?;
        for (number, difference) in (1..).zip(differences) {
            if number <= passed {
                continue;
            }
            if events.all.len() >= limits::EVENTS_READ {
                events.more = true;
                return Ok(events);
            }
            let place = Place {
                epoch,
                base,
                read: (number < count).then_some(number),
            };
            events.place = place;
            events.all.push(Event {
                place,
                time: header.time,
                actors: reader.named(&authors.of(&difference))?,
                difference,
            });
        }
        events.place = Place::after(epoch);
        next = epoch.next();
    }
    Ok(events)
}

/// Who touched what in one state.
#[derive(Default)]
struct Authors {
    files: BTreeMap<FileId, Vec<ActorId>>,
    names: BTreeMap<(FileId, Vec<u8>), Vec<ActorId>>,
}

impl Authors {
    /// Of a name that leads elsewhere, who did that; else who changed the file.
    fn of(&self, one: &Difference) -> Vec<ActorId> {
        let name = one.path.rsplit(|byte| *byte == b'/').next();
        let name = (one.dir, name.unwrap_or_default().to_vec());
        let found = match one.letter {
            diff::Letter::Attributes => self.files.get(&one.file),
            _ => self.names.get(&name).or_else(|| self.files.get(&one.file)),
        };
        found.cloned().unwrap_or_default()
    }
}

struct Reader<'a, 'v> {
    view: &'a View<'v>,
    actors: HashMap<ActorId, Option<Actor>>,
}

impl Reader<'_, '_> {
    fn authors(&self, epoch: Epoch) -> Result<Authors> {
        let mut authors = Authors::default();
        for (id, change) in self.view.changes(epoch)? {
            match change {
                Change::Inode { actors, .. } => {
                    authors.files.insert(id, actors);
                }
                Change::Dirent { name, actors } => {
                    authors.names.insert((id, name), actors);
                }
            }
        }
        Ok(authors)
    }

    fn named(&mut self, ids: &[ActorId]) -> Result<Vec<Actor>> {
        let mut named = Vec::new();
        for id in ids {
            let known = match self.actors.get(id) {
                Some(known) => known.clone(),
                None => {
                    let actor = self.view.actor(*id)?.filter(|actor| actor.tgid != 0);
                    self.actors.insert(*id, actor.clone());
                    actor
                }
            };
            named.extend(known);
        }
        Ok(named)
    }
}
