//! The places that a recovery is made from: the first one, and those that have the same as well.

use super::choose;
use crate::archive::{ArchiveError, Catalog, Other, Repository, SetRecord};
use crate::cli::args;
use crate::cli::elsewhere;
use crate::cli::error::Error;
use std::cmp::Reverse;
use std::io::{Write, stderr};

/// A place that answers.
pub struct Found {
    url: String,
    repository: Repository,
    catalog: Catalog,
}

/// A place with the set that is to be recovered.
#[derive(Clone, Copy)]
pub struct Chosen<'a> {
    /// As it was given.
    pub url: &'a str,
    pub repository: &'a Repository,
    pub catalog: &'a Catalog,
    pub set: &'a SetRecord,
}

/// Opens all of them; those that do not answer are told of.
///
/// # Errors
/// None answers: why the first does not.
pub fn open(args: &args::Recover) -> Result<Vec<Found>, Error> {
    let mut found = Vec::new();
    let mut failed = None;
    for url in [&args.url].into_iter().chain(&args.also) {
        match open_one(args, url) {
            Ok(place) => found.push(place),
            Err(error) if args.also.is_empty() => return Err(error),
            Err(error) => {
                tell(&error);
                failed.get_or_insert(error);
            }
        }
    }
    match failed {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found),
    }
}

fn open_one(args: &args::Recover, url: &str) -> Result<Found, Error> {
    let repository = match args.also.is_empty() {
        true => elsewhere::open(url, &args.opening)?,
        false => elsewhere::open_one_of(url, &args.opening)?,
    };
    let catalog = repository.catalog()?;
    Ok(Found {
        url: url.to_owned(),
        repository,
        catalog,
    })
}

fn tell(error: &Error) {
    let _ = writeln!(stderr(), "rewindfs: {error}; the others are asked");
}

/// The set of each place: the newest first, unless it was said which one.
///
/// # Errors
/// None has one: why the first has none.
pub fn choose<'a>(args: &args::Recover, found: &'a [Found]) -> Result<Vec<Chosen<'a>>, Error> {
    let mut chosen = Vec::new();
    let mut failed = None;
    for Found {
        url,
        repository,
        catalog,
    } in found
    {
        match choose::choose(args, repository, catalog) {
            Ok(set) => chosen.push(Chosen {
                url,
                repository,
                catalog,
                set,
            }),
            Err(error) => {
                if found.len() > 1 {
                    tell(&error);
                }
                failed.get_or_insert(error);
            }
        }
    }
    if args.at.is_none() && args.set.is_none() {
        chosen.sort_by_key(|chosen| Reverse(chosen.set.time));
    }
    match failed {
        Some(error) if chosen.is_empty() => Err(error),
        _ => Ok(chosen),
    }
}

impl<'a> Chosen<'a> {
    /// The others.
    pub fn others(&self, all: &[Chosen<'a>]) -> Vec<Other<'a>> {
        let is_other = |other: &&Chosen<'a>| !std::ptr::eq(other.repository, self.repository);
        let others = all.iter().filter(is_other);
        others
            .map(|other| Other::new(other.repository, other.catalog))
            .collect()
    }

    /// Whether the set of another place is of the same state of the same history.
    pub fn is_of_same_state(&self, other: &Chosen<'_>) -> bool {
        let state = |set: &SetRecord| (set.to, set.state, set.seal);
        state(self.set) == state(other.set)
    }
}

/// Whether another place may do better.
pub fn is_of_place(error: &ArchiveError) -> bool {
    error.is_of_object() || matches!(error, ArchiveError::Provider { .. })
}
