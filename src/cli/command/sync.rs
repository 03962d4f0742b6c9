//! `sync`: wait until all that was changed before is recorded.

use super::super::args;
use super::super::error::Error;
use super::super::exit::Exit;
use super::super::progress::Meter;
use super::super::reach;
use super::locate;
use crate::control::request::{Answer, Request};

/// `sync DIR`.
pub fn run(args: &args::Sync) -> Result<Exit, Error> {
    let place = locate(&args.dir.dir, args.dir.store.said().as_deref(), None)?;
    let answer = reach::ask(&place, Request::Sync, &Meter::new("sync"))?;
    if let Answer::Synced { late: Some(places) } = answer {
        super::replica::warn_late(&places);
    }
    Ok(Exit::Done)
}
