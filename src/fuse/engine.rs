//! The threads beside the event loops: two small pools, and the list of parked requests.
//!
//! Invariants:
//!  1. An event loop waits for nothing but a system call on the backing directory: what takes long,
//!     or has to wait, is handed over as data (`Job`), with its reply.
//!  2. A thread of a pool may wait a bounded time inside an operation; what has to wait for longer
//!     answers `Stop::Park` and lies on the list, without a thread, until something changes.
//!  3. The number of threads is fixed. The queues hold at most what the kernel lets be in flight.

use crate::fs::WaitsFor;
use crate::fuse::job::{Lane, Step, Work};
use crate::fuse::traffic::{Slot, Traffic};
use crate::limits;
use crossbeam_channel::{Receiver, Sender};
use parking_lot::{Condvar, Mutex};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Threads of each pool.
const POOL_THREADS: usize = 4;
/// Of so many event loops one may ask the store.
const LOOPS_PER_LOOK: usize = 4;
/// At most so often are the parked requests run again, however much changes.
const PACE: Duration = Duration::from_millis(1);
/// How often late requests are looked for.
const LOOK: Duration = Duration::from_secs(1);

/// What is served, as far as this layer asks it without a request.
pub(super) trait Served: Send + Sync + 'static {
    /// Counts what could let a parked request go on.
    fn wakeups(&self) -> u64;
    /// Waits until the count differs from `seen`, or the time is over.
    fn wait_wakeup(&self, seen: u64, at_most: Duration) -> u64;
    /// Where a file stands, for the log.
    fn path_of(&self, ino: u64) -> Option<String>;
    /// An operation has panicked: what it was about to note is not noted.
    fn panicked(&self);
    /// The disk of the live files could not read or write.
    fn disk_failed(&self) {}
    /// Whether the store answers without delay.
    fn is_store_quick(&self) -> bool;
}

/// An event loop asks the store.
pub(super) struct Looking<'a>(&'a AtomicUsize);

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Served for crate::fs::Fs {
    fn wakeups(&self) -> u64 {
        crate::fs::Fs::wakeups(self)
    }

    fn wait_wakeup(&self, seen: u64, at_most: Duration) -> u64 {
        crate::fs::Fs::wait_wakeup(self, seen, at_most)
    }

    fn path_of(&self, ino: u64) -> Option<String> {
        crate::fs::Fs::path_of(self, ino)
    }

    fn panicked(&self) {
        crate::fs::Fs::panicked(self);
    }

    fn disk_failed(&self) {
        crate::fs::Fs::disk_failed(self);
    }

    fn is_store_quick(&self) -> bool {
        crate::fs::Fs::is_store_quick(self)
    }
}

enum Message<S> {
    Run(Box<dyn Work<S>>),
    Stop,
}

struct Parked<S> {
    work: Box<dyn Work<S>>,
    /// The count of wakeups before it was run last.
    seen: u64,
}

struct List<S> {
    parked: Vec<Parked<S>>,
    stopping: bool,
}

/// Pools and parked requests of one session.
pub(super) struct Engine<S> {
    fs: Arc<S>,
    traffic: Arc<Traffic>,
    slow: Sender<Message<S>>,
    view: Sender<Message<S>>,
    /// Held for moves of list entries only.
    list: Mutex<List<S>>,
    changed: Condvar,
    threads: Mutex<Vec<JoinHandle<()>>>,
    refusing: AtomicBool,
    /// Event loops that ask the store now, and how many may.
    looking: AtomicUsize,
    looking_max: usize,
}

impl<S: Served> Engine<S> {
    /// Starts the threads beside so many event loops.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub fn start(fs: Arc<S>, traffic: Arc<Traffic>, loops: usize) -> io::Result<Arc<Engine<S>>> {
        let (slow, slow_queue) = crossbeam_channel::unbounded();
        let (view, view_queue) = crossbeam_channel::unbounded();
        let engine = Arc::new(Engine {
            fs,
            traffic,
            slow,
            view,
            list: Mutex::new(List {
                parked: Vec::new(),
                stopping: false,
            }),
            changed: Condvar::new(),
            threads: Mutex::new(Vec::new()),
            refusing: AtomicBool::new(false),
            looking: AtomicUsize::new(0),
            looking_max: loops / LOOPS_PER_LOOK,
        });
        for (name, queue) in [("slow", &slow_queue), ("view", &view_queue)] {
            for number in 0..POOL_THREADS {
                let (engine_, queue) = (engine.clone(), queue.clone());
                engine.spawn(format!("{name}-{number}"), move || engine_.serve(&queue))?;
            }
        }
        let engine_ = engine.clone();
        engine.spawn("parked".to_string(), move || engine_.tend())?;
        Ok(engine)
    }

    /// What the requests are asked of.
    pub fn fs(&self) -> &S {
        &self.fs
    }

    /// The counts of this session.
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// From now on every request is answered ENOTCONN.
    pub fn refuse_all(&self) {
        self.refusing.store(true, Ordering::Relaxed);
    }

    /// Whether it is so.
    pub fn is_refusing(&self) -> bool {
        self.refusing.load(Ordering::Relaxed)
    }

    /// The permission to ask the store on an event loop, while the answer is held: a hand-over costs
    /// two wake-ups more. So few loops get it that a store that hangs leaves the others to the live
    /// tree.
    pub fn look_here(&self) -> Option<Looking<'_>> {
        let looking = Looking(&self.looking);
        let before = self.looking.fetch_add(1, Ordering::Relaxed);
        (before < self.looking_max && self.fs.is_store_quick()).then_some(looking)
    }

    /// Requests that lie on the list now.
    pub fn parked(&self) -> usize {
        self.list.lock().parked.len()
    }

    /// A request that its event loop does not run, or not to the end.
    pub fn hand_over(&self, work: Box<dyn Work<S>>) {
        self.traffic.handed_over.fetch_add(1, Ordering::Relaxed);
        self.queue(work);
    }

    /// Ends all threads. What is still parked is answered with EIO; what is queued is run first.
    pub fn stop(&self) {
        self.list.lock().stopping = true;
        self.changed.notify_all();
        for queue in [&self.slow, &self.view] {
            for _ in 0..POOL_THREADS {
                // Fails only when the threads have gone already.
                let _ = queue.send(Message::Stop);
            }
        }
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            if thread.join().is_err() {
                log::error!("a thread of the session has panicked");
            }
        }
        for mut parked in std::mem::take(&mut self.list.lock().parked) {
            parked.work.give_up(libc::EIO);
        }
    }

    fn spawn(&self, name: String, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let thread = std::thread::Builder::new().name(name).spawn(run)?;
        self.threads.lock().push(thread);
        Ok(())
    }

    fn queue(&self, work: Box<dyn Work<S>>) {
        let queue = match work.lane() {
            Lane::Loop | Lane::Slow => &self.slow,
            Lane::View | Lane::Look => &self.view,
        };
        if let Err(refused) = queue.send(Message::Run(work))
            && let Message::Run(mut work) = refused.into_inner()
        {
            work.give_up(libc::EIO);
        }
    }

    /// A thread of a pool.
    fn serve(&self, queue: &Receiver<Message<S>>) {
        crate::backing::prepare_thread();
        let slot = self.traffic.slot();
        while let Ok(Message::Run(work)) = queue.recv() {
            self.run(work, &slot);
        }
    }

    fn run(&self, mut work: Box<dyn Work<S>>, slot: &Slot) {
        // Read before the attempt: a change during it must not be missed.
        let seen = self.fs.wakeups();
        slot.begin(work.call(), *work.told());
        let step = if self.is_refusing() {
            work.give_up(libc::ENOTCONN);
            Step::Answered
        } else {
            work.attempt(&self.fs, true)
        };
        *work.told() |= slot.end();
        match step {
            Step::Answered => {
                self.traffic.handed_over.fetch_sub(1, Ordering::Relaxed);
                for (what, time) in work.waits() {
                    self.traffic.waited(what, time);
                }
            }
            Step::Parked => self.park(work, seen),
        }
    }

    fn park(&self, work: Box<dyn Work<S>>, seen: u64) {
        let mut list = self.list.lock();
        if list.stopping {
            drop(list);
            let mut work = work;
            work.give_up(libc::EIO);
            return;
        }
        list.parked.push(Parked { work, seen });
        self.changed.notify_all();
    }

    /// The thread that puts parked requests back into their queues, and looks for late ones.
    fn tend(&self) {
        let mut looked = Instant::now();
        loop {
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                self.look();
            }
            let mut list = self.list.lock();
            if list.stopping {
                return;
            }
            let Some(seen) = list.parked.iter().map(|parked| parked.seen).min() else {
                self.changed.wait_for(&mut list, LOOK);
                continue;
            };
            drop(list);
            self.fs.wait_wakeup(seen, limits::RETRY);
            for parked in std::mem::take(&mut self.list.lock().parked) {
                self.queue(parked.work);
            }
            std::thread::sleep(PACE);
        }
    }

    fn look(&self) {
        let mut late = self.traffic.look();
        for parked in &mut self.list.lock().parked {
            let call = parked.work.call();
            if !*parked.work.told() && Traffic::is_late(call) {
                *parked.work.told() = true;
                let waits_for = parked.work.waits_for().map(WaitsFor::words);
                late.push((call, waits_for.unwrap_or("a thread")));
            }
        }
        for (call, waits_for) in late {
            self.traffic
                .tell(call, self.fs.path_of(call.ino), waits_for);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuse::job::Waits;
    use crate::fuse::traffic::Call;
    use std::sync::atomic::AtomicU64;

    /// Counts wakeups that the test makes.
    #[derive(Default)]
    struct Bell(AtomicU64);

    impl Served for Bell {
        fn wakeups(&self) -> u64 {
            self.0.load(Ordering::SeqCst)
        }

        fn wait_wakeup(&self, seen: u64, at_most: Duration) -> u64 {
            let until = Instant::now() + at_most;
            while self.wakeups() == seen && Instant::now() < until {
                std::thread::yield_now();
            }
            self.wakeups()
        }

        fn path_of(&self, _: u64) -> Option<String> {
            None
        }

        fn panicked(&self) {}

        fn is_store_quick(&self) -> bool {
            true
        }
    }

    /// Has to wait until the bell has rung `needs` times.
    struct Sleeper {
        needs: u64,
        lane: Lane,
        waits: Waits,
        since: Instant,
        told: bool,
        answers: Arc<Mutex<Vec<Result<u64, i32>>>>,
        attempts: Arc<AtomicUsize>,
    }

    impl Work<Bell> for Sleeper {
        fn attempt(&mut self, bell: &Bell, may_wait: bool) -> Step {
            assert!(may_wait);
            self.attempts.fetch_add(1, Ordering::SeqCst);
            if bell.wakeups() < self.needs {
                self.waits.begin(WaitsFor::Bytes);
                return Step::Parked;
            }
            self.answers.lock().push(Ok(self.needs));
            Step::Answered
        }

        fn give_up(&mut self, errno: i32) {
            self.answers.lock().push(Err(errno));
        }

        fn call(&self) -> Call {
            Call {
                since: self.since,
                ..Call::new("test", 1)
            }
        }

        fn lane(&self) -> Lane {
            self.lane
        }

        fn told(&mut self) -> &mut bool {
            &mut self.told
        }

        fn waits_for(&self) -> Option<WaitsFor> {
            self.waits.waits_for()
        }

        fn waits(&mut self) -> Vec<(WaitsFor, Duration)> {
            self.waits.over()
        }
    }

    fn until(condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !condition() {
            assert!(Instant::now() < deadline, "it never came true");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_parked_request_is_run_again_when_something_changes() {
        let bell = Arc::new(Bell::default());
        let traffic = Arc::new(Traffic::default());
        let engine = Engine::start(bell.clone(), traffic.clone(), 4).expect("threads");
        let answers = Arc::new(Mutex::new(Vec::new()));
        let attempts = Arc::new(AtomicUsize::new(0));
        // Far more than there are threads: a parked request holds none.
        for number in 0..100 {
            let lane = if number % 2 == 0 {
                Lane::Slow
            } else {
                Lane::View
            };
            engine.hand_over(Box::new(Sleeper {
                needs: 1 + number % 3,
                lane,
                waits: Waits::default(),
                since: Instant::now(),
                told: false,
                answers: answers.clone(),
                attempts: attempts.clone(),
            }));
        }
        until(|| attempts.load(Ordering::SeqCst) >= 100);
        assert!(answers.lock().is_empty());
        assert_eq!(traffic.handed_over.load(Ordering::SeqCst), 100);
        for rung in 1..=3 {
            bell.0.store(rung, Ordering::SeqCst);
            until(|| answers.lock().len() as u64 == [0, 34, 67, 100][rung as usize]);
        }
        until(|| traffic.handed_over.load(Ordering::SeqCst) == 0);
        // A thread counts them after its request.
        let counted = || {
            let waits = traffic.waits(WaitsFor::Bytes).expect("they are counted");
            waits.iter().sum::<u64>()
        };
        until(|| counted() >= 100);
        assert_eq!(counted(), 100);
        assert_eq!(engine.parked(), 0);
        engine.stop();
    }

    #[test]
    fn who_waits_too_long_is_told_once_however_often_he_is_run_again() {
        let bell = Arc::new(Bell::default());
        let traffic = Arc::new(Traffic::default());
        let engine = Engine::start(bell, traffic.clone(), 4).expect("threads");
        let answers = Arc::new(Mutex::new(Vec::new()));
        let attempts = Arc::new(AtomicUsize::new(0));
        let late = crate::limits::SLOW_OPERATION + Duration::from_secs(1);
        let since = Instant::now().checked_sub(late);
        engine.hand_over(Box::new(Sleeper {
            needs: u64::MAX,
            lane: Lane::Slow,
            waits: Waits::default(),
            since: since.expect("the machine has been up for longer than that"),
            told: false,
            answers,
            attempts: attempts.clone(),
        }));
        until(|| traffic.slow() == 1);
        // Long enough for two more looks.
        let told_at = Instant::now();
        let tried = attempts.load(Ordering::SeqCst);
        until(|| told_at.elapsed() > 2 * LOOK && attempts.load(Ordering::SeqCst) > tried);
        assert_eq!(traffic.slow(), 1);
        engine.stop();
    }

    #[test]
    fn at_the_end_nobody_is_left_without_an_answer() {
        let bell = Arc::new(Bell::default());
        let engine = Engine::start(bell, Arc::default(), 4).expect("threads");
        let answers = Arc::new(Mutex::new(Vec::new()));
        let attempts = Arc::new(AtomicUsize::new(0));
        for _ in 0..20 {
            engine.hand_over(Box::new(Sleeper {
                needs: u64::MAX,
                lane: Lane::Slow,
                waits: Waits::default(),
                since: Instant::now(),
                told: false,
                answers: answers.clone(),
                attempts: attempts.clone(),
            }));
        }
        until(|| attempts.load(Ordering::SeqCst) >= 20);
        engine.stop();
        assert_eq!(*answers.lock(), vec![Err(libc::EIO); 20]);
    }
}
