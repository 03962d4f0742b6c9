//! Where a listing stopped. The cookie of an entry is its place in the listing, which never changes
//! since states never change; the store resumes by name. So for places where a reply ended, the
//! name is kept; a place that is not kept any more is found by counting, at the price of a listing.

use crate::history::Recent;
use crate::limits;
use parking_lot::Mutex;
use std::sync::Arc;

/// A nodeid and a number of its entries.
type Place = (u64, u64);

/// What is known of a place.
#[derive(Clone)]
enum Known {
    /// The name of the entry before it.
    Behind(Arc<[u8]>),
    /// No entry is behind it.
    End,
}

/// The names of the entries before the places.
pub struct Cursors {
    /// A leaf.
    places: Mutex<Recent<Place, Known>>,
}

impl Cursors {
    /// None yet.
    pub fn new() -> Cursors {
        Cursors {
            places: Mutex::new(Recent::new(limits::DIR_CURSORS)),
        }
    }

    /// The name of the last of the first `count` entries of `dir`, if it is kept.
    pub fn get(&self, dir: u64, count: u64) -> Option<Arc<[u8]>> {
        match self.places.lock().get(&(dir, count)) {
            Some(Known::Behind(name)) => Some(name),
            Some(Known::End) | None => None,
        }
    }

    /// Keeps it.
    pub fn put(&self, dir: u64, count: u64, name: &[u8]) {
        self.keep(dir, count, Known::Behind(name.into()));
    }

    /// Whether `dir` is known to have just `count` entries. Whoever lists it asks once more at its end.
    pub fn is_end(&self, dir: u64, count: u64) -> bool {
        matches!(self.places.lock().get(&(dir, count)), Some(Known::End))
    }

    /// It has just `count`.
    pub fn ends(&self, dir: u64, count: u64) {
        self.keep(dir, count, Known::End);
    }

    fn keep(&self, dir: u64, count: u64, known: Known) {
        self.places.lock().put((dir, count), known, 1);
    }
}
