//! `sync`: wait until all that was changed before is recorded.

use super::super::args;
use super::super::error::Error;
use super::super::exit::Exit;
use super::super::progress::Meter;
use super::super::reach;
use super::locate;
use crate::control::request::Request;

/// `sync DIR`.
pub fn run(args: &args::Sync) -> Result<Exit, Error> {
    let place = locate(&args.dir.dir, args.dir.store.said().as_deref(), None)?;
    reach::ask(&place, Request::Sync, &Meter::new("sync"))?;
    Ok(Exit::Done)
}
