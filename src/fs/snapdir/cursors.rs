//! Where a listing stopped. The cookie of an entry is its place in the listing, which never changes
//! since states never change; the store resumes by name. So for places where a reply ended, the
//! name is kept; a place that is not kept any more is found by counting, at the price of a listing.

use crate::history::Recent;
use crate::limits;
use parking_lot::Mutex;
use std::sync::Arc;

/// A nodeid and a number of its entries.
type Place = (u64, u64);

/// The names of the entries before the places.
pub struct Cursors {
    /// A leaf.
    names: Mutex<Recent<Place, Arc<[u8]>>>,
}

impl Cursors {
    /// None yet.
    pub fn new() -> Cursors {
        Cursors {
            names: Mutex::new(Recent::new(limits::DIR_CURSORS)),
        }
    }

    /// The name of the last of the first `count` entries of `dir`, if it is kept.
    pub fn get(&self, dir: u64, count: u64) -> Option<Arc<[u8]>> {
        self.names.lock().get(&(dir, count))
    }

    /// Keeps it.
    pub fn put(&self, dir: u64, count: u64, name: &[u8]) {
        self.names.lock().put((dir, count), name.into(), 1);
    }
}
