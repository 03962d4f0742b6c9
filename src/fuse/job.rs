//! A request as data: what it takes to run it, to run it again, and to answer it.

use crate::fs::{Answer, Context, Stop};
use crate::fuse::traffic::Call;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// Where a request runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// On the event loop that read it.
    Loop,
    /// In the pool for what takes long.
    Slow,
    /// In the pool for `.snapshots`.
    View,
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
    /// When it was first parked; sets it the first time.
    fn parked_since(&mut self) -> Instant;
    /// Whether it ever was.
    fn was_parked(&self) -> Option<Instant>;
}

/// A request with its reply. `run` does it (and may fill the reply), `send` answers.
pub(super) struct Job<R, T, F> {
    call: Call,
    lane: Lane,
    context: Context,
    reply: Option<R>,
    run: F,
    send: fn(T, R),
    parked_since: Option<Instant>,
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
            parked_since: None,
        }
    }
}

impl<S, R, T, F> Work<S> for Job<R, T, F>
where
    R: Refuse + Send,
    F: Fn(&S, &Context, &mut R) -> Answer<T> + Send,
{
    fn attempt(&mut self, fs: &S, may_wait: bool) -> Step {
        let Some(mut reply) = self.reply.take() else {
            return Step::Answered;
        };
        self.context.may_wait = may_wait;
        let answer = guarded(self.call, || (self.run)(fs, &self.context, &mut reply));
        match answer {
            Ok(value) => (self.send)(value, reply),
            Err(Stop::Errno(errno)) => reply.refuse(errno),
            Err(Stop::Park) => {
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
            Lane::View => Lane::View,
        }
    }

    fn parked_since(&mut self) -> Instant {
        *self.parked_since.get_or_insert_with(Instant::now)
    }

    fn was_parked(&self) -> Option<Instant> {
        self.parked_since
    }
}

/// Runs an operation; a panic becomes EIO, so that the thread goes on serving. The hook of
/// `session.rs` has logged it with its place by then.
pub(super) fn guarded<T>(call: Call, run: impl FnOnce() -> Answer<T>) -> Answer<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        log::error!("{} of inode {} panicked: answered EIO", call.name, call.ino);
        Err(Stop::Errno(libc::EIO))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_answered_with_eio() {
        let answer = guarded(Call::new("read", 1), || -> Answer<()> {
            panic!("on purpose")
        });
        assert_eq!(answer, Err(Stop::Errno(libc::EIO)));
    }
}
