//! Whose bytes the kernel writes back: those of the process that has the file mapped shared and
//! writable, when that is exactly one.
//!
//! A WRITE of the kernel has no caller. Who has the file mapped stands in /proc/*/maps, and for a moment
//! the mapping is still there when its bytes arrive: after msync, when the kernel cleans up, when a
//! snapshot asks for them. munmap and the end of a process write back when it has gone.
//!
//! Invariants:
//!  1. A look that answers for a WRITE began after that WRITE came: nobody is named for having had the
//!     file mapped some time ago. Many that wait share a look.
//!  2. Two, none, a process that may not be looked at (but for `INIT`), and one that had it mapped at the look before but
//!     not any more (the bytes may be its last): nobody is named.
//!  3. /proc/PID/maps may wait for a process that waits for us: it is read by a thread of its own, for
//!     which a thread of a pool waits no longer than `PATIENCE`; while a look takes longer, nobody waits.
//!  4. Looking takes at most a tenth of the time, but for a burst: beyond, nobody is named.

use super::flusher::{Scope, counts};
use super::processes::{mappings, others, proc_file};
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a WRITE waits for a look.
const PATIENCE: Duration = Duration::from_millis(250);
/// So much may be spent at once.
const BURST: Duration = Duration::from_millis(500);
/// The first process starts others; in a container not even root may look at it.
const INIT: u32 = 1;
/// One part in so many of the time may be spent.
const SHARE: u32 = 10;

/// A process and its user.
pub(super) type Process = (u32, u32);

/// Who has a file mapped shared and writable.
type Mapped = HashMap<u64, Vec<Process>>;

/// What one look found.
#[derive(Default)]
struct Found {
    mapped: Mapped,
    /// There are processes that may not be looked at.
    blind: bool,
}

#[derive(Default)]
struct State {
    /// Looks that were begun and that have ended.
    begun: u64,
    ended: u64,
    asked: bool,
    /// When the look under way began.
    since: Option<Instant>,
    last: Found,
    before: Mapped,
    /// What was spent, less what time has given back since then.
    spent: Duration,
    counted: Option<Instant>,
    over: bool,
}

impl State {
    /// Whether there is time for another look.
    fn may_look(&mut self, now: Instant) -> bool {
        let idle = self.counted.map_or(Duration::ZERO, |then| now - then);
        self.counted = Some(now);
        self.spent = self.spent.saturating_sub(idle / SHARE);
        self.spent < BURST
    }

    fn only(&self, ino: u64) -> Option<Process> {
        let now = self.last.mapped.get(&ino)?;
        let [one] = now.as_slice() else { return None };
        let others = self.before.get(&ino).into_iter().flatten();
        let alone = !self.last.blind && others.into_iter().all(|other| other == one);
        alone.then_some(*one)
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// See the module's head. The thread ends with it.
pub(super) struct Mappers(Arc<Shared>);

impl Drop for Mappers {
    fn drop(&mut self) {
        self.0.state.lock().over = true;
        self.0.changed.notify_all();
    }
}

impl Mappers {
    /// Of the mount with this device number.
    pub fn start(minor: u32, scope: Scope) -> std::io::Result<Arc<Mappers>> {
        Mappers::with(move || look((0, minor), scope))
    }

    fn with(look: impl Fn() -> Found + Send + 'static) -> std::io::Result<Arc<Mappers>> {
        let shared = Arc::<Shared>::default();
        let theirs = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("mappers".to_owned())
            .spawn(move || serve(&theirs, &look))?;
        Ok(Arc::new(Mappers(shared)))
    }

    /// Whose bytes of a file have just come; waits for a look, but not for long. Not for an event loop.
    pub fn of(&self, ino: u64) -> Option<Process> {
        let mut state = self.0.state.lock();
        let now = Instant::now();
        if state.since.is_some_and(|since| now - since > PATIENCE) || !state.may_look(now) {
            return None;
        }
        let wanted = state.begun + 1;
        state.asked = true;
        self.0.changed.notify_all();
        while state.ended < wanted && !state.over {
            let waited = self.0.changed.wait_until(&mut state, now + PATIENCE);
            if waited.timed_out() {
                return None;
            }
        }
        state.only(ino)
    }
}

fn serve(shared: &Shared, look: &dyn Fn() -> Found) {
    let mut state = shared.state.lock();
    loop {
        while !state.asked && !state.over {
            shared.changed.wait(&mut state);
        }
        if state.over {
            return;
        }
        state.asked = false;
        state.begun += 1;
        let began = Instant::now();
        state.since = Some(began);
        drop(state);
        let found = look();
        state = shared.state.lock();
        state.since = None;
        state.ended = state.begun;
        state.spent += began.elapsed();
        let before = std::mem::replace(&mut state.last, found);
        state.before = before.mapped;
        shared.changed.notify_all();
    }
}

/// Goes through all processes.
fn look(device: (u32, u32), scope: Scope) -> Found {
    let mut found = Found::default();
    let Ok(pids) = others() else {
        found.blind = true;
        return found;
    };
    for pid in pids {
        let all = match mappings(pid) {
            Ok(all) => all,
            Err(error) => {
                found.blind |= pid != INIT && counts(&error, pid, scope);
                continue;
            }
        };
        for one in all {
            if !(one.shared && one.writable && one.device == device) {
                continue;
            }
            let Ok(owner) = std::fs::metadata(proc_file(pid, "")).map(|process| process.uid())
            else {
                continue;
            };
            let known = found.mapped.entry(one.ino).or_default();
            if known.last() != Some(&(pid, owner)) {
                known.push((pid, owner));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// One look after the other finds these processes at inode 7, and inode 8 at process 1.
    fn mappers(looks: &[&[u32]]) -> Arc<Mappers> {
        let looks: VecDeque<Vec<u32>> = looks.iter().map(|pids| pids.to_vec()).collect();
        let looks = Mutex::new(looks);
        let look = move || {
            let pids = looks.lock().pop_front().unwrap_or_default();
            let at = pids.into_iter().map(|pid| (pid, 0)).collect();
            Found {
                mapped: HashMap::from([(7, at), (8, vec![(1, 0)])]),
                blind: false,
            }
        };
        Mappers::with(look).expect("a thread")
    }

    /// As `of`, but a look that takes longer than anybody waits is waited for.
    fn of(mappers: &Mappers, ino: u64) -> Option<Process> {
        let wanted = {
            let mut state = mappers.0.state.lock();
            state.spent = Duration::ZERO;
            state.begun + 1
        };
        let told = mappers.of(ino);
        if told.is_some() {
            return told;
        }
        let mut state = mappers.0.state.lock();
        while state.ended < wanted {
            mappers.0.changed.wait(&mut state);
        }
        state.only(ino)
    }

    #[test]
    fn one_that_is_alone_is_named() {
        let mappers = mappers(&[&[1], &[1, 2], &[1], &[1], &[]]);
        assert_eq!(of(&mappers, 7), Some((1, 0)));
        assert_eq!(of(&mappers, 7), None, "two");
        assert_eq!(
            of(&mappers, 7),
            None,
            "the bytes may be those of the one that is gone"
        );
        assert_eq!(of(&mappers, 7), Some((1, 0)));
        assert_eq!(of(&mappers, 7), None, "gone");
        assert_eq!(of(&mappers, 8), Some((1, 0)));
        assert_eq!(of(&mappers, 9), None);
    }

    #[test]
    fn who_may_not_look_at_all_names_nobody() {
        let blind = || Found {
            mapped: HashMap::from([(7, vec![(1, 0)])]),
            blind: true,
        };
        assert_eq!(Mappers::with(blind).expect("a thread").of(7), None);
    }

    #[test]
    fn a_look_that_hangs_keeps_nobody() {
        let (gate, wait) = crossbeam_channel::bounded::<()>(0);
        let look = move || {
            let _ = wait.recv();
            Found::default()
        };
        let mappers = Mappers::with(look).expect("a thread");
        assert_eq!(mappers.of(7), None);
        // The look may have begun a while after it was asked for.
        while mappers.0.state.lock().since.is_none() {
            std::thread::yield_now();
        }
        std::thread::sleep(PATIENCE);
        let began = Instant::now();
        for _ in 0..200 {
            assert_eq!(mappers.of(7), None);
        }
        assert!(began.elapsed() < 50 * PATIENCE, "waited again");
        drop(gate);
    }

    #[test]
    fn what_takes_too_much_time_is_left() {
        let mut state = State::default();
        let now = Instant::now();
        assert!(state.may_look(now));
        state.spent = BURST;
        assert!(!state.may_look(now));
        assert!(state.may_look(now + Duration::from_secs(1)));
        assert_eq!(state.spent, BURST - Duration::from_millis(100));
    }
}
