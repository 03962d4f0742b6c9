//! What has to be done to take a doing back: steps that lead from the newest state to one without
//! what it changed, and with all that others changed.
//!
//! 1. Names and files are told apart by their numbers, so what was renamed is renamed back and
//!    keeps what others wrote into it since.
//! 2. What is not any more as the doing left it, or what others had a hand in meanwhile, is a
//!    conflict and stays as it is, unless `force` says otherwise. Of a file whose bytes others wrote
//!    elsewhere, the bytes of the doing are taken back and theirs stay.
//! 3. The steps are in the order in which they can be done, and their paths are those of that
//!    moment: a directory is there before what is in it, a name is free before it is taken.

mod back;
mod files;
mod names;
mod ranges;
#[cfg(test)]
mod tests;

use super::Result;
use super::doings::{Span, Touched};
use super::path;
use crate::format::ranges::RangeSet;
use crate::format::record::{Dirent, FileTime, Kind};
use crate::id::{Epoch, FileId};
use crate::limits;
use crate::store::{Name, View};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What is done to a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It goes; a directory only if it is empty.
    Remove,
    /// What stood at `past` in the state `before` is put there, alone.
    Restore { before: Epoch, past: Vec<u8> },
    /// These bytes of a file become what they were at `past` in the state `before`; where they have no
    /// end, its size too.
    Bytes {
        before: Epoch,
        past: Vec<u8>,
        ranges: RangeSet,
    },
    /// A directory gets the times that it had: all else in it is as it was.
    Times { before: Epoch, past: Vec<u8> },
    /// It gets the name `to`, in place of what stands there.
    Rename { to: Vec<u8> },
    /// It becomes another name of the file at `of`.
    Link { of: Vec<u8> },
}

/// What a file must still look like when its step is done: nobody has written to it meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    pub size: u64,
    pub mtime: FileTime,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub path: Vec<u8>,
    pub kind: Kind,
    pub deed: Deed,
    /// Of a regular file that is there.
    pub expected: Option<Expected>,
}

/// Why something stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is not any more as it was left.
    ChangedSince,
    /// Others changed it at the same time.
    Shared,
    /// Others have moved it here since.
    Moved(Vec<u8>),
    /// The directory in which it stood was removed by others.
    NoFolder,
    /// This is in the directory, and not of this doing.
    NotEmpty(Vec<u8>),
    /// Something that has to be done first can't be done.
    Depends,
    TooDeep,
    /// The content that it had was not recorded.
    Lost,
    /// It comes back as it was when somebody else had begun to change it.
    Older,
}

/// Something that is not, or not wholly, taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    pub path: Vec<u8>,
    pub reason: Reason,
    /// The name or file that it is about, to find who it was.
    pub name: Option<Name>,
    pub file: Option<FileId>,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub steps: Vec<Step>,
    pub conflicts: Vec<Conflict>,
    /// Is already as it was before.
    pub unchanged: u64,
}

/// What is wanted.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Only what stands at this path, or below it; nothing: everything.
    pub under: Vec<u8>,
    /// Also what others changed at the same time or since.
    pub force: bool,
}

/// A name that leads elsewhere than before.
#[derive(Clone, Copy, Debug)]
struct Move {
    span: Span,
    old: Option<(FileId, Kind)>,
    new: Option<(FileId, Kind)>,
    now: Option<(FileId, Kind)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Visit {
    Busy,
    Done,
    Failed,
}

struct Planner<'a, 'v> {
    view: &'a View<'v>,
    at: Epoch,
    /// The oldest state that is kept: what it holds has nothing before it to go back to.
    oldest: Epoch,
    touched: &'a Touched,
    wish: &'a Wish,
    moves: BTreeMap<Name, Move>,
    /// Where files stood before, of those that lost a name.
    origins: HashMap<FileId, Vec<Name>>,
    visits: HashMap<Name, Visit>,
    /// Where steps have put files.
    places: HashMap<FileId, Name>,
    paths: HashMap<FileId, Option<Vec<u8>>>,
    restored: HashSet<FileId>,
    /// Files that stepped aside under a name of ours.
    aside: HashSet<FileId>,
    depth: usize,
    asides: usize,
    plan: Plan,
}

/// Plans to take back what `touched` says, as of the state `at`.
///
/// # Errors
/// The store's.
pub fn plan(view: &View<'_>, at: Epoch, touched: &Touched, wish: &Wish) -> Result<Plan> {
    let mut planner = Planner {
        view,
        at,
        oldest: view.oldest_epoch()?.unwrap_or_default(),
        touched,
        wish,
        moves: BTreeMap::new(),
        origins: HashMap::new(),
        visits: HashMap::new(),
        places: HashMap::new(),
        paths: HashMap::new(),
        restored: HashSet::new(),
        aside: HashSet::new(),
        depth: 0,
        asides: 0,
        plan: Plan::default(),
    };
    planner.gather()?;
    planner.names()?;
    planner.files()?;
    planner.times()?;
    Ok(planner.plan)
}

fn named(view: &View<'_>, name: &Name, at: Epoch) -> Result<Option<(FileId, Kind)>> {
    Ok(match view.dirent_at(name.0, &name.1, at)? {
        Some((_, Dirent::Present { id, kind })) => Some((id, kind)),
        _ => None,
    })
}

fn id(file: Option<(FileId, Kind)>) -> Option<FileId> {
    file.map(|(id, _)| id)
}

impl Planner<'_, '_> {
    /// The state before an epoch; a number that no state has stands for the one before it.
    fn before(epoch: Epoch) -> Epoch {
        Epoch(epoch.0.saturating_sub(1))
    }

    /// A name under which a file is to be found by now.
    fn place_now(&self, file: FileId) -> Result<Option<Name>> {
        if let Some(place) = self.places.get(&file) {
            return Ok(Some(place.clone()));
        }
        Ok(path::file(self.view, self.at, file)?
            .map(|found| (found.inode.parent, found.inode.name)))
    }

    /// The path of a name when the next step is done.
    fn path_of(&mut self, name: &Name) -> Result<Option<Vec<u8>>> {
        let above = self.directory(name.0, 0)?;
        Ok(above.map(|above| path::join(&above, &name.1)))
    }

    fn directory(&mut self, directory: FileId, depth: usize) -> Result<Option<Vec<u8>>> {
        if directory == FileId::ROOT {
            return Ok(Some(Vec::new()));
        }
        if let Some(known) = self.paths.get(&directory) {
            return Ok(known.clone());
        }
        if depth > limits::RESTORE_DEPTH {
            return Ok(None);
        }
        let found = match self.place_now(directory)? {
            Some(place) => self
                .directory(place.0, depth + 1)?
                .map(|above| path::join(&above, &place.1)),
            None => None,
        };
        if self.paths.len() >= limits::PATHS_KNOWN_MAX {
            self.paths.clear();
        }
        self.paths.insert(directory, found.clone());
        Ok(found)
    }

    fn path_at(&self, directory: FileId, at: Epoch) -> Result<Option<Vec<u8>>> {
        match path::file(self.view, at, directory)? {
            Some(found) => path::place(self.view, at, &found),
            None => Ok(None),
        }
    }

    fn path_then(&self, name: &Name, before: Epoch) -> Result<Option<Vec<u8>>> {
        let above = self.path_at(name.0, before)?;
        Ok(above.map(|above| path::join(&above, &name.1)))
    }

    fn step(&mut self, path: Vec<u8>, kind: Kind, deed: Deed, expected: Option<Expected>) {
        self.plan.steps.push(Step {
            path,
            kind,
            deed,
            expected,
        });
    }

    fn note(&mut self, path: Vec<u8>, reason: Reason, name: Option<Name>, file: Option<FileId>) {
        self.plan.conflicts.push(Conflict {
            path,
            reason,
            name,
            file,
        });
    }

    /// False, for whoever wants to say that it does not work.
    fn conflict(&mut self, name: &Name, file: Option<FileId>, reason: Reason) -> Result<bool> {
        let path = match self.path_of(name)? {
            Some(path) => Some(path),
            None => self.path_then(name, Planner::before(self.moves[name].span.first))?,
        };
        let path = path.unwrap_or_else(|| name.1.clone());
        self.note(path, reason, Some(name.clone()), file);
        Ok(false)
    }
}
