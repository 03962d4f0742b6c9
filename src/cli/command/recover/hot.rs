//! A recovery into a directory that is in use at once: the records are fetched and the first names made,
//! then it is mounted; names and content follow while it is used (`crate::filling`).

use super::target::Target;
use super::told::{Clock, HotDone};
use super::{Chosen, begin};
use crate::archive::{Gather, Jobs, Objects};
use crate::cli::args;
use crate::cli::error::Error;
use crate::control::open;
use crate::filling;
use crate::format::filling::Filling;
use crate::format::replica::PasswordSource;
use crate::history::History;
use crate::store::Store;
use crate::time::Timestamp;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// A recovery whose store is there.
pub struct Hot<'a> {
    pub args: &'a args::Recover,
    pub target: &'a Target,
    pub store: &'a Arc<Store>,
    pub chosen: Chosen<'a>,
    pub places: &'a [Chosen<'a>],
}

impl Hot<'_> {
    /// Fetches the records and makes what is seen first.
    ///
    /// # Errors
    /// Nothing is lost; the same command goes on.
    pub fn prepare(&self, gathers: Vec<Gather<'_>>, clock: &mut Clock) -> Result<HotDone, Error> {
        let failed = |error| Error::Open(open::OpenError::Store(error));
        let set = self.chosen.set;
        let filling = self.filling()?;
        // From here on nobody takes what is in the directory for what it is to hold.
        self.store.begin_filling(&filling).map_err(failed)?;
        let mut gathering = begin(gathers)?;
        let history = History::new(Arc::clone(self.store));
        let at = super::state(self.args, set, &history)?;
        if at != set.to {
            return Err(Error::Usage(format!(
                "--hot gives the state with which a set ends, and what --at names is before the end of \
                 set {}: leave --at away, choose another set with --set N, or recover without --hot",
                set.number
            )));
        }
        clock.phases.fetch_seconds = clock.lap();
        let is_whole = gathering.end_records()?;
        clock.phases.verify_seconds = clock.lap();
        let fd = self.target.open_dir()?;
        drop(fd);
        let backing = open::directory(&self.target.dir)?;
        let prepared = filling::prepare(self.store, Arc::new(backing), set.to);
        let prepared = prepared.map_err(|error| Error::File {
            path: self.target.dir.clone(),
            source: match error {
                filling::FillError::Io(error) => error,
                error => io::Error::other(error),
            },
        })?;
        let first = match filling.first.is_empty() {
            true => super::kept_first(self.store)?,
            false => filling.first.clone(),
        };
        let filling = Filling {
            first,
            files: prepared.files,
            bytes: prepared.bytes,
            ..filling
        };
        self.store.begin_filling(&filling).map_err(failed)?;
        self.target.keep(self.store, None)?;
        clock.phases.write_seconds = clock.lap();
        let header = history.view().header(set.to).map_err(failed)?;
        Ok(HotDone {
            set: set.number,
            state: header.map(|header| header.time).unwrap_or_default(),
            is_whole,
            traffic: gathering.traffic(),
            prepared,
        })
    }

    fn filling(&self) -> Result<Filling, Error> {
        let mut places = Vec::new();
        let others = self
            .places
            .iter()
            .filter(|other| !std::ptr::eq(other.repository, self.chosen.repository));
        for place in std::iter::once(&self.chosen).chain(others) {
            places.push(Objects::place_of(place.url)?);
        }
        Ok(Filling {
            places,
            password: password(&self.args.opening)?,
            set: self.chosen.set.number,
            epoch: self.chosen.set.to,
            first: self.args.first.clone(),
            jobs: match self.args.jobs.0 {
                Jobs::Auto => 0,
                Jobs::Fixed(jobs) => u32::try_from(jobs).unwrap_or(0),
            },
            began: Timestamp::now(),
            files: 0,
            bytes: 0,
        })
    }
}

/// Where the password comes from when it is asked for again. That of the environment is handed down to
/// the mount, and lasts as long as that.
fn password(opening: &args::Opening) -> Result<PasswordSource, Error> {
    if opening.no_encryption {
        return Ok(PasswordSource::None);
    }
    if let Some(path) = &opening.password_file {
        let full = canonical(path)?;
        return Ok(PasswordSource::File(full.as_os_str().as_bytes().to_vec()));
    }
    Ok(match &opening.password_command {
        Some(command) => PasswordSource::Command(command.clone()),
        None => PasswordSource::Environment,
    })
}

fn canonical(path: &Path) -> Result<std::path::PathBuf, Error> {
    path.canonicalize().map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    })
}
