//! One bell for everything that somebody may wait for: he looks, and if it is not there yet he
//! waits for the next ring.

use super::epoch::Completed;
use parking_lot::{Condvar, Mutex};
use std::time::Duration;

/// A counter that can be waited for.
#[derive(Default)]
pub struct Signal {
    count: Mutex<u64>,
    rung: Condvar,
}

impl Signal {
    /// How often it was raised.
    pub fn count(&self) -> u64 {
        *self.count.lock()
    }

    /// Wakes everybody who waits.
    pub fn raise(&self) {
        let mut count = self.count.lock();
        *count = count.wrapping_add(1);
        self.rung.notify_all();
    }

    /// Waits until the count differs from `seen`, or the time is over; returns the count.
    pub fn wait(&self, seen: u64, at_most: Duration) -> u64 {
        let mut count = self.count.lock();
        if *count == seen {
            self.rung.wait_for(&mut count, at_most);
        }
        *count
    }
}

impl Completed for Signal {
    fn completed(&self) {
        self.raise();
    }
}
