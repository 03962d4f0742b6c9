//! What is being served right now, and what took long: counted, and told once.
//!
//! Invariant: nothing here makes a request wait, but for a lock that is held for the copy of a few
//! words.

use crate::limits;
use parking_lot::Mutex;
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
    /// This thread runs `call` from now on.
    pub fn begin(&self, call: Call) {
        *self.0.lock() = Some(Running { call, told: false });
    }

    /// It does not any more.
    pub fn end(&self) {
        *self.0.lock() = None;
    }
}

/// Counts of one session.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    slots: Mutex<Vec<Arc<Slot>>>,
    /// Handed over to a pool or parked, and not answered yet.
    pub handed_over: AtomicU64,
    slow: AtomicU64,
    waits: [AtomicU64; WAIT_CLASSES],
}

impl Traffic {
    /// The place of a new thread.
    pub fn slot(&self) -> Arc<Slot> {
        let slot = Arc::new(Slot::default());
        self.slots.lock().push(slot.clone());
        slot
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

    /// How long operations lay parked: class n counts those below 2^n ms.
    pub fn waits(&self) -> [u64; WAIT_CLASSES] {
        std::array::from_fn(|class| self.waits[class].load(Ordering::Relaxed))
    }

    /// An operation was parked for so long.
    pub fn waited(&self, time: Duration) {
        self.waits[wait_class(time)].fetch_add(1, Ordering::Relaxed);
    }

    /// Tells of what has been running for too long; to be called about once a second.
    pub fn look(&self) {
        for slot in self.slots.lock().iter() {
            let mut running = slot.0.lock();
            let late = running
                .as_mut()
                .filter(|running| !running.told && running.call.since.elapsed() > limit());
            if let Some(running) = late {
                running.told = true;
                self.tell(running.call);
            }
        }
    }

    /// Tells of one that is parked and too late; true if it is.
    pub fn look_at(&self, call: Call) -> bool {
        let late = call.since.elapsed() > limit();
        if late {
            self.tell(call);
        }
        late
    }

    fn tell(&self, call: Call) {
        self.slow.fetch_add(1, Ordering::Relaxed);
        log::warn!(
            "{} of inode {} has not been answered for {} s",
            call.name,
            call.ino,
            call.since.elapsed().as_secs()
        );
    }
}

fn limit() -> Duration {
    limits::SLOW_OPERATION
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
        traffic.waited(Duration::from_millis(5));
        assert_eq!(traffic.waits()[3], 1);
        assert_eq!(traffic.waits().iter().sum::<u64>(), 1);
    }

    #[test]
    fn a_late_operation_is_told_and_counted_once() {
        let traffic = Traffic::default();
        let slot = traffic.slot();
        let started = Instant::now().checked_sub(limit() + Duration::from_secs(1));
        let call = Call {
            name: "read",
            ino: 5,
            since: started.expect("the machine has been up for longer than that"),
        };
        slot.begin(Call::new("write", 4));
        traffic.look();
        assert_eq!((traffic.slow(), traffic.in_flight()), (0, 1));
        slot.begin(call);
        traffic.look();
        traffic.look();
        assert_eq!(traffic.slow(), 1);
        slot.end();
        assert_eq!(traffic.in_flight(), 0);
    }
}
