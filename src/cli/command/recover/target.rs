//! Where a recovery goes: the directory, and the store that is made beside it under another name
//! until it is whole.

use super::files;
use super::places::Chosen;
use crate::cli::args;
use crate::cli::error::Error;
use crate::cli::past;
use crate::cli::quote::quote;
use crate::control::{folder, open};
use crate::format::transfer::Recovering;
use crate::id::Epoch;
use crate::restore::{self, Folder};
use crate::store::{Store, StoreOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is behind the name of a store that is being made.
const UNDER_WAY: &str = ".recovering";

/// Where it goes.
pub struct Target {
    pub dir: PathBuf,
    /// The store, when it is whole.
    store: PathBuf,
    pub under_way: PathBuf,
    /// Where commands about the directory look for it.
    place: PathBuf,
    /// It is in use before all is there.
    hot: bool,
    /// Only a few paths are wanted: the store goes when it was used.
    passing: bool,
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.passing && self.under_way.exists() {
            open::discard(&self.under_way);
        }
    }
}

impl Target {
    pub fn choose(args: &args::Recover) -> Result<Target, Error> {
        let file = |source| Error::File {
            path: args.to.clone(),
            source,
        };
        let above = match args.to.parent() {
            Some(above) if above.as_os_str().is_empty() => Path::new("."),
            Some(above) => above,
            None => {
                return Err(Error::Usage(
                    "the root of the system can't be a target".to_owned(),
                ));
            }
        };
        let name = args.to.file_name().ok_or_else(|| {
            Error::Usage(format!(
                "{}: give the directory by its name",
                args.to.display()
            ))
        })?;
        let dir = above.canonicalize().map_err(file)?.join(name);
        let place = folder::default_place(&dir)
            .ok_or_else(|| Error::Usage(format!("{}: it has no folder above it", dir.display())))?;
        let store = match args.store.said() {
            Some(store) => std::path::absolute(store).map_err(file)?,
            None => place.clone(),
        };
        let mut under_way = store.clone().into_os_string();
        under_way.push(UNDER_WAY);
        let passing = args.is_part();
        if passing {
            under_way.push(format!("-{}", std::process::id()));
        }
        let target = Target {
            hot: args.hot,
            passing,
            under_way: under_way.into(),
            dir,
            store,
            place,
        };
        if !args.is_part() {
            target.check_free()?;
        }
        Ok(target)
    }

    /// That nothing is there which would be mixed with what comes back, but for an earlier try.
    fn check_free(&self) -> Result<(), Error> {
        for store in [&self.store, &self.place] {
            if self.hot && Store::peek_is_filling(store).unwrap_or(false) {
                return Err(Error::Usage(format!(
                    "{} is being recovered already, and goes on when it is mounted: rewindfs mount {}",
                    self.dir.display(),
                    quote(&self.dir)
                )));
            }
            if store.symlink_metadata().is_ok() {
                return Err(Error::Usage(format!(
                    "{} is there already: a history that goes on is not written over; move it \
                     away, or choose another --to DIR",
                    store.display()
                )));
            }
        }
        Ok(())
    }

    /// Whether nothing is in the directory.
    fn is_free(&self) -> Result<bool, Error> {
        match std::fs::read_dir(&self.dir) {
            Ok(mut entries) => Ok(entries.next().is_none()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(source) => Err(Error::File {
                path: self.dir.clone(),
                source,
            }),
        }
    }

    /// The store that is made, and of which set: what was begun for the same purpose goes on, and
    /// nothing else does.
    pub fn open_store<'c>(
        &self,
        places: &[Chosen<'c>],
        at: &str,
        is_chosen: bool,
    ) -> Result<(Arc<Store>, Chosen<'c>), Error> {
        let first = places[0];
        let options = StoreOptions::default();
        if self.passing {
            return Ok((open::create(&self.under_way, &self.dir, options)?.1, first));
        }
        let is_free = self.is_free()?;
        let half = Store::is_half_made(&self.under_way).unwrap_or(false);
        if self.under_way.exists() && !half {
            let folder = folder::Folder::open(&self.under_way).map_err(open::OpenError::from)?;
            let store = open::open(&folder, &self.dir, options.clone())?;
            let failed = |error| Error::Open(open::OpenError::Store(error));
            let noted = store.recovering().map_err(failed)?;
            let of_place = |noted: &Recovering, place: &Chosen<'c>| {
                let begun = place.catalog.sets.get(&noted.set);
                let same = noted.repository == place.repository.id
                    && noted.at == at
                    && (!is_chosen || noted.set == place.set.number)
                    && self.identity().is_ok_and(|dir| dir == noted.dir);
                let begun = begun.filter(|_| same);
                begun.map(|set| Chosen { set, ..*place })
            };
            let begun = noted.and_then(|noted| {
                let mut places = places.iter();
                places.find_map(|place| of_place(&noted, place))
            });
            if let Some(begun) = begun {
                if store.is_filling() != self.hot {
                    return Err(Error::Usage(format!(
                        "{} was begun {} --hot: say it so again, or remove {} and what is in {}",
                        self.dir.display(),
                        if self.hot { "without" } else { "with" },
                        self.under_way.display(),
                        self.dir.display()
                    )));
                }
                restore::remove_temporary(&Folder::new(self.open_dir()?));
                return Ok((store, begun));
            }
            drop(store);
            if is_free {
                open::discard(&self.under_way);
            }
        }
        if !is_free {
            return Err(Error::Usage(format!(
                "{} is not empty, and what is in it is of no recovery that could go on: move it \
                 away, or choose another --to DIR",
                self.dir.display()
            )));
        }
        let store = open::create(&self.under_way, &self.dir, options)?.1;
        drop(self.open_dir()?);
        let recovering = Recovering {
            repository: first.repository.id,
            set: first.set.number,
            at: at.to_owned(),
            dir: self.identity()?,
        };
        store
            .set_recovering(&recovering)
            .map_err(|error| Error::Open(open::OpenError::Store(error)))?;
        Ok((store, first))
    }

    /// Device and inode of the directory.
    fn identity(&self) -> Result<(u64, u64), Error> {
        let stat = std::fs::metadata(&self.dir).map_err(|source| Error::File {
            path: self.dir.clone(),
            source,
        })?;
        Ok((stat.dev(), stat.ino()))
    }

    /// The directory, made if it is not there.
    pub fn open_dir(&self) -> Result<OwnedFd, Error> {
        let file = |source| Error::File {
            path: self.dir.clone(),
            source,
        };
        if !self.dir.exists() {
            std::fs::create_dir(&self.dir).map_err(file)?;
        }
        past::directory(&self.dir).map_err(file)
    }

    /// The store becomes that of the directory.
    /// `epoch`: what was written into it; `None`: nothing is noted of the files, or that was done.
    pub fn keep(&self, store: &Arc<Store>, epoch: Option<Epoch>) -> Result<(), Error> {
        let backing = open::directory(&self.dir)?;
        open::check_directory(store, &self.store, &backing, &self.dir, true)?;
        if let Some(epoch) = epoch
            && store.view().newest_epoch().ok().flatten() == Some(epoch)
        {
            files::note_live(store, &backing, epoch)?;
        }
        backing.sync().map_err(|source| Error::File {
            path: self.dir.clone(),
            source,
        })?;
        let file = |source| Error::File {
            path: self.store.clone(),
            source,
        };
        let failed = |error| Error::Open(open::OpenError::Store(error));
        std::fs::rename(&self.under_way, &self.store).map_err(file)?;
        // Behind it: without this note nobody would go on.
        store.end_recovering().map_err(failed)?;
        if self.store != self.place {
            folder::write_pointer(&self.place, &self.store).map_err(file)?;
        }
        for changed in [self.store.parent(), self.place.parent()]
            .into_iter()
            .flatten()
        {
            std::fs::File::open(changed)
                .and_then(|above| above.sync_all())
                .map_err(file)?;
        }
        Ok(())
    }
}
