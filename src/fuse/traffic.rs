//! What is being served right now, and what took long: counted, and told once.
//!
//! Invariant: nothing here makes a request wait, but for a lock that is held for the copy of a few
//! words.

use crate::fs::{VIRTUAL, WaitsFor};
use crate::limits;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustix::thread::gettid;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Classes of `Traffic::waits`: less than 1 ms, 2 ms, 4 ms ... and, last, all above.
pub const WAIT_CLASSES: usize = 20;

/// One request as far as status and the log care.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub name: &'static str,
    pub ino: u64,
    pub since: Instant,
}

impl Call {
    pub fn new(name: &'static str, ino: u64) -> Call {
        Call {
            name,
            ino,
            since: Instant::now(),
        }
    }
}

/// The request that one thread is running.
#[derive(Debug, Default)]
pub(super) struct Slot(Mutex<Option<Running>>);

#[derive(Clone, Copy, Debug)]
struct Running {
    call: Call,
    told: bool,
}

impl Slot {
    /// This thread runs `call` from now on. `told`: that it is late was told before.
    pub fn begin(&self, call: Call, told: bool) {
        *self.0.lock() = Some(Running { call, told });
    }

    /// It does not any more; whether it was told by now that it is late.
    pub fn end(&self) -> bool {
        let running = self.0.lock().take();
        running.is_some_and(|running| running.told)
    }
}

/// Counts of one session.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    slots: Mutex<Vec<Arc<Slot>>>,
    /// The threads that have a slot, by number.
    threads: ArcSwap<Vec<u32>>,
    /// Handed over to a pool or parked, and not answered yet.
    pub handed_over: AtomicU64,
    slow: AtomicU64,
    waits: [[AtomicU64; WAIT_CLASSES]; 4],
}

/// What is counted by classes of time, in the order of `Traffic::waits`.
fn counted(what: WaitsFor) -> Option<usize> {
    match what {
        WaitsFor::File => Some(0),
        WaitsFor::Bytes => Some(1),
        WaitsFor::States => Some(2),
        WaitsFor::Removed => Some(3),
        // That is how `.snapshots` works: no live operation does. The others are wanted.
        WaitsFor::Store | WaitsFor::Replica | WaitsFor::Filling => None,
    }
}

impl Traffic {
    /// The place of this thread, which serves requests from now on.
    pub fn slot(&self) -> Arc<Slot> {
        let slot = Arc::new(Slot::default());
        self.slots.lock().push(slot.clone());
        let own = gettid().as_raw_nonzero().get().unsigned_abs();
        self.threads.rcu(|threads| {
            let mut threads = Vec::clone(threads);
            threads.push(own);
            threads
        });
        slot
    }

    /// Whether this thread serves requests: what it asks of this mount itself may wait for a thread
    /// that waits for it.
    pub fn is_served_by(&self, tid: u32) -> bool {
        self.threads.load().contains(&tid)
    }

    /// Requests that are not answered yet, those in the queues of the kernel aside.
    pub fn in_flight(&self) -> u64 {
        let slots = self.slots.lock();
        let running = slots.iter().filter(|slot| slot.0.lock().is_some()).count();
        running as u64 + self.handed_over.load(Ordering::Relaxed)
    }

    /// Operations that took longer than `limits::SLOW_OPERATION`.
    pub fn slow(&self) -> u64 {
        self.slow.load(Ordering::Relaxed)
    }

    /// How long operations waited for this: class n counts those below 2^n ms.
    pub fn waits(&self, what: WaitsFor) -> Option<[u64; WAIT_CLASSES]> {
        let classes = &self.waits[counted(what)?];
        Some(std::array::from_fn(|class| {
            classes[class].load(Ordering::Relaxed)
        }))
    }

    /// An operation waited so long for this.
    pub fn waited(&self, what: WaitsFor, time: Duration) {
        if let Some(kind) = counted(what) {
            self.waits[kind][wait_class(time)].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What has been running for too long and was not told yet, with what it waits for; to be
    /// called about once a second.
    pub fn look(&self) -> Vec<(Call, &'static str)> {
        let mut found = Vec::new();
        for slot in self.slots.lock().iter() {
            let mut running = slot.0.lock();
            let late = running
                .as_mut()
                .filter(|running| !running.told && Traffic::is_late(running.call));
            if let Some(running) = late {
                running.told = true;
                let waits_for = if running.call.ino & VIRTUAL != 0 {
                    "the store"
                } else {
                    "the disk of the live files"
                };
                found.push((running.call, waits_for));
            }
        }
        found
    }

    /// Whether it should have been answered by now.
    pub fn is_late(call: Call) -> bool {
        call.since.elapsed() > limits::SLOW_OPERATION
    }

    /// Writes down one that is late, and counts it.
    pub fn tell(&self, call: Call, path: Option<String>, waits_for: &str) {
        self.slow.fetch_add(1, Ordering::Relaxed);
        log::warn!(
            "{} of inode {}{} has not been answered for {} s: it waits for {waits_for}",
            call.name,
            call.ino,
            path.map_or_else(String::new, |path| format!(" ({path})")),
            call.since.elapsed().as_secs()
        );
    }
}

fn wait_class(time: Duration) -> usize {
    let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let class = (u64::BITS - ms.leading_zeros()) as usize;
    class.min(WAIT_CLASSES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_counted_by_powers_of_two() {
        let class = |ms| wait_class(Duration::from_millis(ms));
        assert_eq!(
            [class(0), class(1), class(2), class(3), class(4)],
            [0, 1, 2, 2, 3]
        );
        assert_eq!(wait_class(Duration::MAX), WAIT_CLASSES - 1);
        let traffic = Traffic::default();
        traffic.waited(WaitsFor::Bytes, Duration::from_millis(5));
        traffic.waited(WaitsFor::Store, Duration::from_millis(5));
        for what in [WaitsFor::File, WaitsFor::States, WaitsFor::Removed] {
            assert_eq!(traffic.waits(what), Some([0; WAIT_CLASSES]));
        }
        let waits = traffic.waits(WaitsFor::Bytes).expect("it is counted");
        assert_eq!((waits[3], waits.iter().sum::<u64>()), (1, 1));
    }

    #[test]
    fn a_late_operation_is_told_and_counted_once() {
        let traffic = Traffic::default();
        let slot = traffic.slot();
        let late = limits::SLOW_OPERATION + Duration::from_secs(1);
        let started = Instant::now().checked_sub(late);
        let call = Call {
            name: "read",
            ino: 5,
            since: started.expect("the machine has been up for longer than that"),
        };
        slot.begin(Call::new("write", 4), false);
        assert!(traffic.look().is_empty());
        assert_eq!((traffic.slow(), traffic.in_flight()), (0, 1));
        slot.begin(call, false);
        for (call, waits_for) in [traffic.look(), traffic.look()].concat() {
            assert_eq!((call.ino, waits_for), (5, "the disk of the live files"));
            traffic.tell(call, None, waits_for);
        }
        assert_eq!(traffic.slow(), 1);
        assert!(slot.end());
        assert_eq!(traffic.in_flight(), 0);
        slot.begin(call, true);
        assert!(traffic.look().is_empty());
    }
}
