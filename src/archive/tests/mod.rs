//! Sets and repositories as a whole: random histories are sent to a folder, and what comes back is
//! held against what was there.

mod continuous;
mod cost;
mod damage;
mod estimate;
mod faults;
mod faulty;
mod kept;
mod others;
mod sets;
mod world;

use super::*;
use crate::format::transfer::{Growth, RawChunk, RawRecord, Sent};
use crate::id::{Epoch, Hash};
use crate::store::repair::{GivenSet, Lacking};
use crate::store::{Store, StoreOptions};
use std::path::Path;
use std::sync::Arc;
use world::World;

/// A folder for a repository.
struct Place {
    folder: tempfile::TempDir,
    secrecy: Secrecy,
}

impl Place {
    fn plain() -> Place {
        Place {
            folder: tempfile::tempdir().unwrap(),
            secrecy: Secrecy::None,
        }
    }

    fn encrypted() -> Place {
        Place {
            secrecy: Secrecy::Password(Secret(b"secret".to_vec())),
            ..Place::plain()
        }
    }

    fn objects(&self) -> Arc<Objects> {
        Arc::new(Objects::open(self.folder.path().to_str().unwrap(), false).unwrap())
    }

    fn open(&self) -> Repository {
        Repository::open_or_create(self.objects(), &self.secrecy).unwrap()
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
}

fn plan(kind: Kind) -> Plan {
    Plan {
        kind,
        confirm: Confirm::Checksum,
        compare: false,
    }
}

fn backup(repository: &Repository, feed: &mut dyn Feed, plan: Plan) -> Result<Made> {
    let backup = Backup {
        repository,
        plan,
        progress: &|_| (),
        cancelled: &|| false,
    };
    let facts = feed.facts()?;
    backup.run(feed, facts)
}

fn feed(store: &Arc<Store>) -> Local {
    let to = store.view().newest_epoch().unwrap().unwrap();
    Local::new(Arc::clone(store), to, "host".to_owned(), b"/dir".to_vec())
}

/// Sends the newest state; the number of the set.
fn send(place: &Place, world: &World, kind: Kind) -> SetRecord {
    let made = backup(&place.open(), &mut feed(&world.store), plan(kind)).unwrap();
    assert!(made.full_because.is_none(), "{made:?}");
    made.set.unwrap()
}

/// A new store from a set.
fn fetch(
    place: &Place,
    number: u64,
    partial: bool,
) -> (tempfile::TempDir, Result<Outcome>, Arc<Store>) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::create(&folder.path().join("store"), StoreOptions::default()).unwrap();
    let outcome = fetch_into(place, number, partial, &store);
    (folder, outcome, store)
}

fn fetch_into(place: &Place, number: u64, partial: bool, store: &Store) -> Result<Outcome> {
    let repository = place.open();
    let catalog = repository.catalog()?;
    gather(&repository, &catalog, number, store, partial, &|| false)
}

fn gather(
    repository: &Repository,
    catalog: &Catalog,
    number: u64,
    store: &Store,
    partial: bool,
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<Outcome> {
    let gather = Gather {
        source: Source::new(repository, &[]),
        catalog,
        number,
        store,
        partial,
        records_only: false,
        is_part: false,
        progress: &|_| (),
        cancelled,
        jobs: Jobs::default(),
    };
    let mut gathering = gather.begin()?;
    gathering.rest()?;
    gathering.end()
}

/// That a store which was made from a set holds what was there, and is sound.
fn check(store: &Arc<Store>, world: &World, after: Epoch, to: Epoch) {
    let listed = store
        .view()
        .epochs(Epoch::NONE, Epoch::MAX, usize::MAX)
        .unwrap();
    assert_eq!(listed.last().map(|(epoch, ..)| *epoch), Some(to));
    for (epoch, ..) in listed.iter().filter(|(epoch, ..)| *epoch > after) {
        world.check(store, *epoch);
    }
    let report = store.verify(&|_| true).unwrap();
    assert!(
        report.problems.is_empty() && report.finished,
        "{:?}",
        report.problems
    );
}

fn objects_of(place: &Place) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![place.folder.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push(path),
            }
        }
    }
    found.sort();
    found
}

fn relative<'p>(place: &Place, path: &'p Path) -> &'p str {
    path.strip_prefix(place.folder.path())
        .unwrap()
        .to_str()
        .unwrap()
}

/// A feed to which something happens on the way.
struct Disturbed<'a> {
    inner: Local,
    before_begin: Box<dyn FnMut() + 'a>,
    before_page: Box<dyn FnMut() + 'a>,
    /// When there are no more pages.
    at_end: Box<dyn FnMut() -> Result<()> + 'a>,
    /// What was sent must not be noted: nothing was.
    is_lost: bool,
}

impl<'a> Disturbed<'a> {
    fn new(inner: Local) -> Disturbed<'a> {
        Disturbed {
            inner,
            before_begin: Box::new(|| ()),
            before_page: Box::new(|| ()),
            at_end: Box::new(|| Ok(())),
            is_lost: false,
        }
    }
}

impl Feed for Disturbed<'_> {
    fn claim(&mut self, repository: [u8; 16]) -> Result<()> {
        self.inner.claim(repository)
    }

    fn facts(&mut self) -> Result<Facts> {
        self.inner.facts()
    }

    fn growth(&mut self, after: Epoch) -> Result<Growth> {
        self.inner.growth(after)
    }

    fn begin(&mut self, after: Epoch) -> Result<bool> {
        (self.before_begin)();
        self.inner.begin(after)
    }

    fn page(&mut self) -> Result<Option<Vec<RawRecord>>> {
        (self.before_page)();
        let page = self.inner.page()?;
        if page.is_none() {
            (self.at_end)()?;
        }
        Ok(page)
    }

    fn chunks(&mut self, hashes: &[Hash]) -> Result<Vec<(Hash, Option<RawChunk>)>> {
        self.inner.chunks(hashes)
    }

    fn note(&mut self, sent: &Sent) -> Result<()> {
        assert!(!self.is_lost, "nothing was sent");
        self.inner.note(sent)
    }

    fn lacks_records(&mut self, go_on: &dyn Fn() -> bool) -> Result<Lacking> {
        self.inner.lacks_records(go_on)
    }

    fn has_set(&mut self, set: &GivenSet) -> Result<bool> {
        self.inner.has_set(set)
    }

    fn put_back_records(&mut self, records: Vec<RawRecord>) -> Result<u64> {
        self.inner.put_back_records(records)
    }

    fn settle(&mut self) -> Result<u64> {
        self.inner.settle()
    }

    fn lost(&mut self, go_on: &dyn Fn() -> bool) -> Result<Vec<Hash>> {
        self.inner.lost(go_on)
    }

    fn put_back(&mut self, chunks: &[RawChunk]) -> Result<u64> {
        self.inner.put_back(chunks)
    }
}
