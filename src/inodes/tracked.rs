//! The place of a file's `Track` in its entry. Of a million entries few are being recorded at any
//! moment: the others keep only which file of the store they are.
//!
//! 1. Nothing but the identity is lost when nobody holds the lock and the track is idle.
//! 2. A leaf lock: nothing else is taken, and no store is asked, while it is held.

use super::track::{Identity, Track};
use parking_lot::{Mutex, MutexGuard};
use std::ops::{Deref, DerefMut};

enum Slot {
    Idle(Identity),
    Busy(Box<Track>),
}

/// See the module's head.
pub struct Tracked(Mutex<Slot>);

impl Default for Tracked {
    fn default() -> Tracked {
        Tracked(Mutex::new(Slot::Idle(Identity::Unknown)))
    }
}

/// The track while it is locked.
pub struct TrackGuard<'a>(MutexGuard<'a, Slot>);

impl Tracked {
    /// Waits for the lock.
    pub fn lock(&self) -> TrackGuard<'_> {
        let mut slot = self.0.lock();
        if let Slot::Idle(identity) = *slot {
            *slot = Slot::Busy(Box::new(Track {
                identity,
                ..Track::default()
            }));
        }
        TrackGuard(slot)
    }

    /// Nothing but the identity is kept.
    pub fn is_idle(&self) -> bool {
        matches!(*self.0.lock(), Slot::Idle(_))
    }
}

impl Deref for TrackGuard<'_> {
    type Target = Track;

    fn deref(&self) -> &Track {
        match &*self.0 {
            Slot::Busy(track) => track,
            Slot::Idle(_) => unreachable!("`lock` made it busy, and only `drop` makes it idle"),
        }
    }
}

impl DerefMut for TrackGuard<'_> {
    fn deref_mut(&mut self) -> &mut Track {
        match &mut *self.0 {
            Slot::Busy(track) => track,
            Slot::Idle(_) => unreachable!("`lock` made it busy, and only `drop` makes it idle"),
        }
    }
}

impl Drop for TrackGuard<'_> {
    fn drop(&mut self) {
        if self.is_idle() {
            *self.0 = Slot::Idle(self.identity);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Epoch, FileId};
    use crate::inodes::track::Version;

    #[test]
    fn an_idle_track_keeps_its_identity_and_a_busy_one_everything() {
        let tracked = Tracked::default();
        tracked.lock().identity = Identity::Known(FileId(7));
        assert!(tracked.is_idle());
        assert_eq!(tracked.lock().identity, Identity::Known(FileId(7)));
        tracked.lock().push(Version::new(Epoch(3)));
        assert!(!tracked.is_idle());
        assert!(tracked.lock().version(Epoch(3)).is_some());
        tracked.lock().versions.clear();
        assert!(tracked.is_idle());
        tracked.lock().nameless = true;
        assert!(tracked.lock().nameless);
    }
}
