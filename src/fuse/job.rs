//! A request as data: what it takes to run it, to run it again, and to answer it.

use crate::fs::{Answer, Context, Stop, VIRTUAL, WaitsFor};
use crate::fuse::engine::Served;
use crate::fuse::traffic::Call;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Where a request runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// On the event loop that read it.
    Loop,
    /// In the pool for what takes long.
    Slow,
    /// In the pool for `.snapshots`.
    View,
    /// The same, or on the event loop if few of them ask the store just now: it only looks.
    Look,
}

/// Any reply can be an error.
pub(super) trait Refuse {
    fn refuse(self, errno: i32);
}

macro_rules! refuse {
    ($($reply:ident)*) => {$(
        impl Refuse for fuser::$reply {
            fn refuse(self, errno: i32) {
                self.error(fuser::Errno::from_i32(errno));
            }
        }
    )*};
}

refuse!(
    ReplyAttr ReplyData ReplyDirectory ReplyDirectoryPlus ReplyEmpty ReplyEntry ReplyIoctl
    ReplyLseek ReplyStatfs ReplyWrite ReplyXattr
);

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Answered,
    /// It has to wait: nothing is held, it can be run again from the start.
    Parked,
}

/// A request that lies in a queue.
pub(super) trait Work<S>: Send {
    /// Runs it, and answers unless it has to wait.
    fn attempt(&mut self, fs: &S, may_wait: bool) -> Step;
    /// Answers with an error.
    fn give_up(&mut self, errno: i32);
    fn call(&self) -> Call;
    /// The pool in which it is run again.
    fn lane(&self) -> Lane;
    /// Whether it was told that it is late: that is done once, however often it is run again.
    fn told(&mut self) -> &mut bool;
    /// What it waits for, if it is parked.
    fn waits_for(&self) -> Option<WaitsFor>;
    /// What it waited for since it came, and how long for each; to be asked once, at its end.
    fn waits(&mut self) -> Vec<(WaitsFor, Duration)>;
}

/// What one request waited for so far.
#[derive(Debug, Default)]
pub(super) struct Waits {
    now: Option<(WaitsFor, Instant)>,
    over: Vec<(WaitsFor, Duration)>,
}

impl Waits {
    /// It has to wait, for the same as before or for something else.
    pub fn begin(&mut self, what: WaitsFor) {
        if self.now.is_none_or(|(before, _)| before != what) {
            self.end();
            self.now = Some((what, Instant::now()));
        }
    }

    /// What it waits for now.
    pub fn waits_for(&self) -> Option<WaitsFor> {
        self.now.map(|(what, _)| what)
    }

    /// It does not wait any more: what it waited for, and how long.
    pub fn over(&mut self) -> Vec<(WaitsFor, Duration)> {
        self.end();
        std::mem::take(&mut self.over)
    }

    fn end(&mut self) {
        if let Some((what, since)) = self.now.take() {
            self.over.push((what, since.elapsed()));
        }
    }
}

/// A request with its reply. `run` does it (and may fill the reply), `send` answers.
pub(super) struct Job<R, T, F> {
    call: Call,
    lane: Lane,
    context: Context,
    reply: Option<R>,
    run: F,
    send: fn(T, R),
    waits: Waits,
    told: bool,
}

impl<R, T, F> Job<R, T, F> {
    pub fn new(call: Call, lane: Lane, context: Context, reply: R, run: F, send: fn(T, R)) -> Self {
        Job {
            call,
            lane,
            context,
            reply: Some(reply),
            run,
            send,
            waits: Waits::default(),
            told: false,
        }
    }

    /// It was tried already, and has to wait.
    pub fn after(mut self, what: WaitsFor) -> Self {
        self.waits.begin(what);
        self
    }
}

impl<S, R, T, F> Work<S> for Job<R, T, F>
where
    S: Served,
    R: Refuse + Send,
    F: Fn(&S, &Context, &mut R) -> Answer<T> + Send,
{
    fn attempt(&mut self, fs: &S, may_wait: bool) -> Step {
        let Some(mut reply) = self.reply.take() else {
            return Step::Answered;
        };
        self.context.may_wait = may_wait;
        let answer = guarded(fs, self.call, || (self.run)(fs, &self.context, &mut reply));
        match answer {
            Ok(value) => (self.send)(value, reply),
            Err(Stop::Errno(errno)) => reply.refuse(errno),
            Err(Stop::Park(what)) => {
                self.waits.begin(what);
                self.reply = Some(reply);
                return Step::Parked;
            }
        }
        Step::Answered
    }

    fn give_up(&mut self, errno: i32) {
        if let Some(reply) = self.reply.take() {
            reply.refuse(errno);
        }
    }

    fn call(&self) -> Call {
        self.call
    }

    fn lane(&self) -> Lane {
        match self.lane {
            Lane::Loop | Lane::Slow => Lane::Slow,
            Lane::View | Lane::Look => Lane::View,
        }
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

/// Runs an operation; a panic becomes EIO, so that the thread goes on serving, and ends history,
/// which may have missed something. The hook of `session.rs` has logged it with its place by then.
pub(super) fn guarded<S: Served, T>(
    fs: &S,
    call: Call,
    run: impl FnOnce() -> Answer<T>,
) -> Answer<T> {
    let ended = catch_unwind(AssertUnwindSafe(run));
    if matches!(ended, Ok(Err(Stop::Errno(libc::EIO)))) && call.ino & VIRTUAL == 0 {
        fs.disk_failed();
    }
    ended.unwrap_or_else(|_| {
        log::error!("{} of inode {} panicked: answered EIO", call.name, call.ino);
        // A second one must not end the thread either.
        if catch_unwind(AssertUnwindSafe(|| fs.panicked())).is_err() {
            log::error!("history could not be stopped after that");
        }
        Err(Stop::Errno(libc::EIO))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[derive(Default)]
    struct Told(AtomicU64, AtomicU64);

    impl Served for Told {
        fn wakeups(&self) -> u64 {
            0
        }

        fn wait_wakeup(&self, seen: u64, _: Duration) -> u64 {
            seen
        }

        fn path_of(&self, _: u64) -> Option<String> {
            None
        }

        fn panicked(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }

        fn disk_failed(&self) {
            self.1.fetch_add(1, Ordering::SeqCst);
        }

        fn is_store_quick(&self) -> bool {
            true
        }
    }

    /// Keeps what it was answered.
    struct Kept(Arc<AtomicU64>);

    impl Refuse for Kept {
        fn refuse(self, errno: i32) {
            self.0.store(errno.unsigned_abs().into(), Ordering::SeqCst);
        }
    }

    const NOBODY: Context = Context {
        uid: 0,
        gid: 0,
        pid: 0,
        may_wait: false,
    };

    #[test]
    fn a_panic_is_answered_with_eio_and_told() {
        let fs = Told::default();
        let errno = Arc::new(AtomicU64::new(0));
        let run = |_: &Told, _: &Context, _: &mut Kept| -> Answer<()> { panic!("on purpose") };
        let call = Call::new("read", 1);
        let reply = Kept(errno.clone());
        let mut job = Job::new(call, Lane::Slow, NOBODY, reply, run, |(), _| ());
        assert_eq!(job.attempt(&fs, true), Step::Answered);
        assert_eq!(errno.load(Ordering::SeqCst), libc::EIO as u64);
        assert_eq!(fs.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_disk_that_fails_is_told_and_a_past_that_is_damaged_is_not() {
        let failing = |ino: u64, errno: i32| {
            let fs = Told::default();
            let call = Call::new("read", ino);
            let answer: Answer<()> = guarded(&fs, call, || Err(Stop::Errno(errno)));
            assert_eq!(answer, Err(Stop::Errno(errno)));
            fs.1.load(Ordering::SeqCst)
        };
        assert_eq!(failing(1, libc::EIO), 1);
        assert_eq!(failing(1 | VIRTUAL, libc::EIO), 0);
        assert_eq!(failing(1, libc::ENOENT), 0);
    }

    #[test]
    fn each_thing_that_was_waited_for_is_counted_once_however_often_it_was_tried() {
        let fs = Told::default();
        let tries = AtomicU64::new(0);
        let run = |_: &Told, _: &Context, _: &mut Kept| -> Answer<()> {
            match tries.fetch_add(1, Ordering::SeqCst) {
                0..3 => Err(Stop::Park(WaitsFor::File)),
                3..5 => Err(Stop::Park(WaitsFor::Bytes)),
                _ => Ok(()),
            }
        };
        let reply = Kept(Arc::default());
        let call = Call::new("write", 1);
        let mut job = Job::new(call, Lane::Slow, NOBODY, reply, run, |(), _| ());
        let mut seen = Vec::new();
        while job.attempt(&fs, true) == Step::Parked {
            seen.push(Work::<Told>::waits_for(&job).expect("it waits"));
        }
        use WaitsFor::{Bytes, File};
        assert_eq!(seen, [File, File, File, Bytes, Bytes]);
        let waits = Work::<Told>::waits(&mut job);
        let kinds: Vec<WaitsFor> = waits.iter().map(|(what, _)| *what).collect();
        assert_eq!(kinds, [File, Bytes]);
    }
}
