//! Two stores with the same past: where the copy of one was, the other goes on. Whoever was first is
//! sent elsewhere, with all that is not there.

use super::super::super::error::Error;
use super::super::super::progress::Meter;
use super::super::super::reach;
use super::super::backup::Line;
use crate::archive::{Backup, Facts, Feed, Plan, Repository};
use crate::control::locate::Place;
use crate::control::request::{Answer, Request};
use std::time::Duration;

/// The places where another store goes on.
///
/// # Errors
/// There is none, or this one is one of them.
pub fn left(place: &Place, url: &str) -> Result<Vec<String>, Error> {
    let Answer::Status(status) = reach::ask(place, Request::Status, &Meter::new("replica"))? else {
        return Err(reach::strange(place));
    };
    let fenced = status
        .copies
        .into_iter()
        .filter(|copy| copy.fenced.is_some());
    let left: Vec<String> = fenced.map(|copy| copy.url).collect();
    if left.is_empty() {
        return Err(Error::Usage(
            "no other store goes on where the copies of this one are: add it without --fork"
                .to_owned(),
        ));
    }
    if left.iter().any(|other| other == url) {
        return Err(Error::Usage(format!(
            "another store goes on at {url}: choose another place"
        )));
    }
    Ok(left)
}

/// Sends all that is kept: what is not at the place that is left must be somewhere before it is kept
/// for that no more.
///
/// # Errors
/// Somebody else's backups are there; or it can't be sent.
pub fn begin(
    repository: &Repository,
    feed: &mut dyn Feed,
    facts: Facts,
    keep: u64,
    line: &Line,
) -> Result<(), Error> {
    let backup = Backup {
        repository,
        plan: Plan::replica(Duration::from_secs(keep)),
        progress: &|done| line.show(done),
        cancelled: &|| line.is_pressed(),
    };
    backup.run(feed, facts)?;
    Ok(())
}
