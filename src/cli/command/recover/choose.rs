//! Which set a recovery begins with, and what of it is wanted.

use crate::archive::{ArchiveError, Catalog, Repository, SetRecord};
use crate::cli::args;
use crate::cli::error::Error;
use crate::cli::quote::quote;
use crate::history::StateName;
use crate::restore::Asked;
use crate::time::{TimeZone, Timestamp};
use std::ffi::OsString;
use std::io::{Write, stderr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Objects that are named when some are missing; of more, their number is said.
const NAMED_MAX: usize = 5;

/// Paths as they were written, name by name.
pub fn asked(paths: &[OsString]) -> Result<Vec<Asked>, Error> {
    let names = |path: &OsString| {
        let parts = Path::new(path).components();
        let parts = parts.filter(|part| *part != std::path::Component::CurDir);
        let names = parts.map(|part| match part {
            std::path::Component::Normal(name) => Ok(name.as_bytes().to_vec()),
            _ => Err(Error::Usage(format!(
                "{}: give paths from the top of the directory, as src/main.rs",
                quote(Path::new(path))
            ))),
        });
        names.collect()
    };
    paths.iter().map(names).collect()
}

/// The set in which the state is: of a time, the first that is not older; of a name, the newest
/// that knows it; otherwise the newest.
pub fn choose<'c>(
    args: &args::Recover,
    repository: &Repository,
    catalog: &'c Catalog,
) -> Result<&'c SetRecord, Error> {
    let place = || repository.place().to_owned();
    let mut sets: Vec<&SetRecord> = catalog.sets.values().collect();
    // A set that was made of an older state is not the newest for that.
    sets.sort_by_key(|set| std::cmp::Reverse((set.time, set.number)));
    let newest = *sets
        .first()
        .ok_or_else(|| ArchiveError::NoSets { place: place() })?;
    if let Some(number) = args.set {
        let set = catalog.sets.get(&number);
        return Ok(set.ok_or_else(|| ArchiveError::NoSet {
            place: place(),
            number,
        })?);
    }
    let Some(at) = &args.at else {
        return Ok(newest);
    };
    match parse(at)? {
        StateName::Time(time) => {
            let found = catalog.sets.values().find(|set| set.time >= time);
            Ok(found.unwrap_or(newest))
        }
        StateName::Snapshot { name, .. } => knows(repository, &sets, &name, newest),
        StateName::Live | StateName::Latest { .. } => Ok(newest),
    }
}

/// The first of these sets whose names hold this one; of those that can't be read it is not known.
fn knows<'c>(
    repository: &Repository,
    sets: &[&'c SetRecord],
    name: &str,
    newest: &'c SetRecord,
) -> Result<&'c SetRecord, Error> {
    for set in sets {
        match repository.names(set) {
            Ok(names) if names.iter().any(|other| other == name) => return Ok(set),
            Ok(_) => {}
            Err(error) if error.is_of_object() => {
                let _ = writeln!(stderr(), "rewindfs: set {}: {error}", set.number);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(newest)
}

/// The name of a state.
pub fn parse(at: &str) -> Result<StateName, Error> {
    StateName::parse(at, Timestamp::now(), &TimeZone::system()).map_err(|error| Error::State {
        text: at.to_owned(),
        error,
    })
}

/// That all objects are there; if not, what is missing, and the newest set that is whole.
pub fn whole(repository: &Repository, catalog: &Catalog, set: &SetRecord) -> Result<(), Error> {
    let held = repository.held()?;
    let lacking = held.lacking(&repository.chain(catalog, set.number)?);
    if lacking.is_empty() {
        return Ok(());
    }
    let named: Vec<String> = lacking
        .iter()
        .take(NAMED_MAX)
        .map(|(set, name)| format!("{name} (set {set})"))
        .collect();
    let more = match lacking.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let mut instead = String::new();
    for other in catalog
        .sets
        .values()
        .rev()
        .filter(|other| other.number != set.number)
    {
        let chain = repository.chain(catalog, other.number);
        if chain.is_ok_and(|chain| held.lacking(&chain).is_empty()) {
            instead = format!(
                "; the newest that is whole is of {}: --set {}",
                other.time.local(&TimeZone::system()),
                other.number
            );
            break;
        }
    }
    Err(Error::Usage(format!(
        "{}: set {} can't be recovered as a whole, missing or cut off: {}{more}{instead}; what does \
         not need them: --partial",
        repository.place(),
        set.number,
        named.join(", ")
    )))
}
