//! How many objects are fetched at once, and how long the rest will take.
//!
//! 1. The number grows while that brings more bytes a second, and shrinks when it brings none: then
//!    the line, the place or the disk of this machine gives no more.
//! 2. An object counts when it was taken in, so a slow disk holds back those who fetch.
//! 3. The rest is told by the bytes of the newest objects: what the first ones took, when fewer came
//!    at once, says little.

use super::Traffic;
use crate::limits;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A window is over when so many rounds of objects were taken in, and this long.
const ROUNDS: usize = 2;
const WINDOW: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 500 });
/// A rate that differs by less is the same.
const SAME: f64 = 0.05;
/// Objects by which the rest is told.
const REMEMBERED: usize = 64;

/// How many objects may be fetched at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Jobs {
    /// As many as bring something, up to `limits::JOBS_MAX`.
    #[default]
    Auto,
    Fixed(usize),
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Far {
    pub traffic: Traffic,
    /// Bytes that are still to come, and how long that will take, if that can be told.
    pub rest_bytes: u64,
    pub rest: Option<Duration>,
    /// Objects that are fetched at once now.
    pub jobs: usize,
}

/// Decides it.
pub struct Pace {
    is_auto: bool,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    allowed: usize,
    busy: usize,
    grows: bool,
    /// Of this window: since when, objects, bytes.
    window: (Instant, usize, u64),
    /// Bytes a second of the one before.
    rate: f64,
    /// When the newest objects were here, and how many bytes were by then.
    newest: VecDeque<(Instant, u64)>,
    bytes: u64,
}

impl Pace {
    /// Nothing is fetched yet.
    pub fn new(jobs: Jobs) -> Pace {
        let (is_auto, allowed) = match jobs {
            Jobs::Auto => (true, limits::JOBS_FIRST),
            Jobs::Fixed(jobs) => (false, jobs.max(1)),
        };
        let now = Instant::now();
        Pace {
            is_auto,
            state: Mutex::new(State {
                allowed,
                busy: 0,
                grows: true,
                window: (now, 0, 0),
                rate: 0.0,
                newest: VecDeque::from([(now, 0)]),
                bytes: 0,
            }),
            changed: Condvar::new(),
        }
    }

    /// The most that this will ever allow.
    pub fn most(&self) -> usize {
        match self.is_auto {
            true => limits::JOBS_MAX,
            false => self.state.lock().allowed,
        }
    }

    /// How many it allows now.
    pub fn jobs(&self) -> usize {
        self.state.lock().allowed
    }

    /// Waits until one more may be fetched.
    pub(super) fn begin(&self) {
        let mut state = self.state.lock();
        while state.busy >= state.allowed {
            self.changed.wait(&mut state);
        }
        state.busy += 1;
    }

    /// It was fetched and taken in; `None`: there was nothing to be fetched.
    pub(super) fn end(&self, bytes: Option<u64>) {
        self.end_at(Instant::now(), bytes);
    }

    fn end_at(&self, now: Instant, bytes: Option<u64>) {
        let mut state = self.state.lock();
        state.busy -= 1;
        if let Some(bytes) = bytes {
            state.bytes += bytes;
            let all = state.bytes;
            state.newest.push_back((now, all));
            if state.newest.len() > REMEMBERED {
                state.newest.pop_front();
            }
            state.window.1 += 1;
            state.window.2 += bytes;
            if self.is_auto {
                state.look(now);
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    /// How long so many bytes will take.
    pub fn rest(&self, bytes: u64) -> Option<Duration> {
        let state = self.state.lock();
        let (since, before) = *state.newest.front()?;
        let (until, after) = *state.newest.back()?;
        let rate = (after - before) as f64 / until.duration_since(since).as_secs_f64();
        (rate.is_finite() && rate > 0.0)
            .then(|| Duration::try_from_secs_f64(bytes as f64 / rate).unwrap_or(Duration::MAX))
    }
}

impl State {
    fn look(&mut self, now: Instant) {
        let (since, objects, bytes) = self.window;
        let took = now.duration_since(since);
        if objects < ROUNDS * self.allowed || took < WINDOW {
            return;
        }
        let rate = bytes as f64 / took.as_secs_f64();
        let (is_more, is_less) = (
            rate > self.rate * (1.0 + SAME),
            rate < self.rate * (1.0 - SAME),
        );
        self.grows = match (is_more, is_less) {
            // The last step was a good one: another.
            (true, _) => self.grows,
            (_, true) => !self.grows,
            // More brought nothing.
            _ => false,
        };
        self.allowed = match self.grows {
            true => (self.allowed * 3 / 2 + 1).min(limits::JOBS_MAX),
            false => (self.allowed - 1).max(1),
        };
        self.rate = rate;
        self.window = (now, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fetches objects of which each takes `each`, over a line that carries one in `shared`. The clock is
    /// that of the test.
    fn run(pace: &Pace, objects: usize, each: Duration, shared: Duration) -> Vec<usize> {
        let mut now = Instant::now();
        let (mut under_way, mut line) = (VecDeque::new(), now);
        let mut seen = Vec::new();
        for _ in 0..objects {
            while under_way.len() < pace.jobs() {
                pace.begin();
                line = line.max(now + each) + shared;
                under_way.push_back(line);
            }
            now = under_way.pop_front().unwrap();
            pace.end_at(now, Some(1000));
            seen.push(pace.jobs());
        }
        seen
    }

    #[test]
    fn it_grows_where_that_brings_more() {
        let pace = Pace::new(Jobs::Auto);
        let seen = run(&pace, 2000, Duration::from_millis(10), Duration::ZERO);
        assert_eq!(seen.last(), Some(&limits::JOBS_MAX), "{seen:?}");
    }

    #[test]
    fn it_shrinks_where_more_brings_nothing() {
        let pace = Pace::new(Jobs::Auto);
        let seen = run(&pace, 2000, Duration::ZERO, Duration::from_millis(5));
        let late = &seen[seen.len() / 2..];
        let few = late.iter().filter(|jobs| **jobs <= limits::JOBS_FIRST);
        assert!(few.count() > late.len() / 2, "{seen:?}");
    }

    #[test]
    fn it_stays_at_what_was_said() {
        let pace = Pace::new(Jobs::Fixed(3));
        let seen = run(&pace, 40, Duration::from_millis(1), Duration::ZERO);
        assert!(seen.iter().all(|jobs| *jobs == 3), "{seen:?}");
    }

    #[test]
    fn nothing_is_said_of_the_rest_before_anything_came() {
        assert_eq!(Pace::new(Jobs::Auto).rest(1), None);
    }
}
