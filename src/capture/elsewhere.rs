//! Whoever wants to be sure waits until what he did is at the synchronous replicas, too.
//!
//! 1. Who waits joins a round, and a round is cut once for all who joined before: however many wait,
//!    there is one cut at a time.
//! 2. Only a replica that keeps up is waited for. One that does not within its bound is late: that
//!    is said once, and nobody waits for it again until it has caught up.
//! 3. Nothing here sends anything, or is asked for on the way of an operation that nobody waits for.

use super::{CaptureError, Patience, Recorder};
use crate::id::Epoch;
use crate::time::Timestamp;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Rounds whose outcome is known by heart. Who asks for an older one gets that of a later one.
const ROUNDS_KEPT: usize = 1000;
/// How often somebody who waits on a thread of his own looks.
const LOOK: Duration = Duration::from_millis(20);

/// A synchronous replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Followed {
    pub url: String,
    /// How long somebody waits for it.
    pub at_most: Duration,
    /// Past that he is refused.
    pub strict: bool,
}

/// What is to be there: a state, and the list of names as of a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reached {
    pub epoch: Epoch,
    pub listed: Timestamp,
}

/// How it stands with what somebody waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    Waits,
    There,
    /// It is not at these places yet; nobody waits any more.
    Late(String),
    /// The same, and that is not to be accepted.
    Refused(String),
}

/// A place in a round.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    round: u64,
    since: Instant,
}

struct Replica {
    is: Followed,
    reached: Reached,
    late: bool,
}

#[derive(Default)]
struct State {
    replicas: Vec<Replica>,
    /// The round that who comes now joins.
    open: u64,
    cutting: bool,
    /// The newest rounds that were cut, and what has to be there for each; `None`: that can't be said.
    cut: VecDeque<(u64, Option<Reached>)>,
}

/// See the module's head.
#[derive(Default)]
pub struct Elsewhere {
    any: AtomicBool,
    state: Mutex<State>,
}

impl Elsewhere {
    /// Whether there are synchronous replicas.
    pub fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// From now on these are waited for, each as soon as it has caught up.
    pub fn follow(&self, all: Vec<Followed>) {
        let mut state = self.state.lock();
        let mut before = std::mem::take(&mut state.replicas);
        for is in all {
            let known = before.iter().position(|replica| replica.is == is);
            state.replicas.push(match known {
                Some(at) => before.swap_remove(at),
                None => Replica {
                    is,
                    reached: Reached::default(),
                    late: true,
                },
            });
        }
        self.any
            .store(!state.replicas.is_empty(), Ordering::Release);
    }

    /// All up to here is at a replica. `lag`: the age of the oldest state that is not.
    pub fn reached(&self, url: &str, there: Reached, lag: Duration) {
        let mut state = self.state.lock();
        for replica in state
            .replicas
            .iter_mut()
            .filter(|other| other.is.url == url)
        {
            replica.reached.epoch = replica.reached.epoch.max(there.epoch);
            replica.reached.listed = replica.reached.listed.max(there.listed);
            if replica.late && lag <= replica.is.at_most {
                log::info!("the replica at {url} keeps up: it is waited for");
                replica.late = false;
            }
        }
    }

    /// Joins the round that is not cut yet. `None`: there is nobody to wait for.
    fn join(&self) -> Option<Ticket> {
        let state = self.state.lock();
        let waited_for = |replica: &Replica| !replica.late || replica.is.strict;
        state.replicas.iter().any(waited_for).then(|| Ticket {
            round: state.open,
            since: Instant::now(),
        })
    }

    /// Whether a round is cut, and what has to be there for it; or that the caller is to cut it.
    fn round(&self, round: u64) -> Round {
        let mut state = self.state.lock();
        let cut = state.cut.iter().find(|(other, _)| *other >= round);
        match cut {
            Some((_, Some(reached))) => Round::Cut(*reached),
            Some((_, None)) => Round::Failed,
            None if state.cutting => Round::Waits,
            None => {
                state.cutting = true;
                state.open += 1;
                Round::Yours
            }
        }
    }

    fn was_cut(&self, reached: Option<Reached>) {
        let mut state = self.state.lock();
        state.cutting = false;
        let round = state.open - 1;
        state.cut.push_back((round, reached));
        if state.cut.len() > ROUNDS_KEPT {
            state.cut.pop_front();
        }
    }

    /// How it stands with a state that somebody waits for since then; `None`: nobody knows which.
    fn standing(&self, wanted: Option<Reached>, since: Instant) -> Standing {
        let mut state = self.state.lock();
        let (mut waits, mut refused, mut late) = (false, false, Vec::new());
        for replica in &mut state.replicas {
            let there = wanted.is_some_and(|wanted| {
                replica.reached.epoch >= wanted.epoch && replica.reached.listed >= wanted.listed
            });
            if there {
                continue;
            }
            let over = wanted.is_none() || since.elapsed() >= replica.is.at_most;
            if !replica.late && over {
                let url = &replica.is.url;
                log::warn!(
                    "the replica at {url} did not keep up within {:.1} s: nobody waits for it until \
                     it does",
                    since.elapsed().as_secs_f64()
                );
                replica.late = true;
            }
            if !replica.late {
                waits = true;
                continue;
            }
            refused |= replica.is.strict;
            late.push(replica.is.url.clone());
        }
        match (late.is_empty(), refused, waits) {
            (_, true, _) => Standing::Refused(late.join(", ")),
            (_, false, true) => Standing::Waits,
            (true, false, false) => Standing::There,
            (false, false, false) => Standing::Late(late.join(", ")),
        }
    }
}

enum Round {
    Waits,
    /// The caller cuts it.
    Yours,
    Cut(Reached),
    Failed,
}

impl Recorder {
    /// Those who are waited for.
    pub fn elsewhere(&self) -> &Elsewhere {
        &self.elsewhere
    }

    /// Begins to wait until all that was done before is elsewhere; `None`: nobody is waited for.
    pub fn wait_elsewhere(&self) -> Option<Ticket> {
        if !self.elsewhere.any() {
            return None;
        }
        self.elsewhere.join()
    }

    /// How it stands with that. Who waits may be the one who cuts the round: that takes as long as a
    /// commit does.
    pub fn stands_elsewhere(&self, ticket: Ticket) -> Standing {
        match self.elsewhere.round(ticket.round) {
            Round::Yours => {
                let reached = self.cut_for_elsewhere();
                self.elsewhere.was_cut(reached);
                self.signal.raise();
                self.elsewhere.standing(reached, ticket.since)
            }
            Round::Waits => Standing::Waits,
            Round::Cut(reached) => self.elsewhere.standing(Some(reached), ticket.since),
            Round::Failed => self.elsewhere.standing(None, ticket.since),
        }
    }

    /// The same at once, on the caller's thread.
    ///
    /// # Errors
    /// `NotElsewhere`, where that is not to be accepted. The answer: where it is not.
    pub fn be_elsewhere(&self) -> Result<Option<String>, CaptureError> {
        let Some(ticket) = self.wait_elsewhere() else {
            return Ok(None);
        };
        loop {
            match self.stands_elsewhere(ticket) {
                Standing::There => return Ok(None),
                Standing::Late(urls) => return Ok(Some(urls)),
                Standing::Refused(urls) => return Err(CaptureError::NotElsewhere(urls)),
                Standing::Waits => {
                    let seen = self.signal.count();
                    self.signal.wait(seen, LOOK);
                }
            }
        }
    }

    /// A replica was brought up to date, as of a state and a list of names.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn is_elsewhere(&self, url: &str, there: Reached) -> Result<(), CaptureError> {
        let behind = self
            .store
            .view()
            .epochs(there.epoch.next(), Epoch::MAX, 1)?;
        let now = Timestamp::now();
        let lag = behind.first().map(|(.., header)| now.since(header.time));
        self.elsewhere.reached(url, there, lag.unwrap_or_default());
        self.signal.raise();
        Ok(())
    }

    /// `None`: what was done is not in a state that can be sent.
    fn cut_for_elsewhere(&self) -> Option<Reached> {
        self.flush_mappings();
        if let Err(error) = self.sync_cut(Patience::ENDLESS) {
            log::debug!("nothing was recorded for the replicas: {error}");
            return None;
        }
        // What waits for a scan is sent with it.
        if self.scan.is_running() {
            return None;
        }
        let epoch = self.store.view().newest_epoch().ok()??;
        let listed = self.store.snapshots_changed();
        Some(Reached { epoch, listed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(at_most: Duration, strict: bool) -> Elsewhere {
        let elsewhere = Elsewhere::default();
        assert!(!elsewhere.any());
        elsewhere.follow(vec![Followed {
            url: "u".to_owned(),
            at_most,
            strict,
        }]);
        assert!(elsewhere.any());
        elsewhere
    }

    fn at(epoch: u64) -> Reached {
        Reached {
            epoch: Epoch(epoch),
            listed: Timestamp(0),
        }
    }

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn one_that_has_not_caught_up_is_not_waited_for() {
        let elsewhere = followed(LONG, false);
        assert!(elsewhere.join().is_none());
        elsewhere.reached("u", at(5), LONG * 2);
        assert!(elsewhere.join().is_none());
        elsewhere.reached("other", at(5), Duration::ZERO);
        assert!(elsewhere.join().is_none());
        elsewhere.reached("u", at(5), Duration::ZERO);
        assert!(elsewhere.join().is_some());
        let now = Instant::now();
        assert_eq!(elsewhere.standing(Some(at(5)), now), Standing::There);
        assert_eq!(elsewhere.standing(Some(at(6)), now), Standing::Waits);
        let named = Reached {
            listed: Timestamp(1),
            ..at(5)
        };
        assert_eq!(elsewhere.standing(Some(named), now), Standing::Waits);
        elsewhere.reached("u", at(6), Duration::ZERO);
        assert_eq!(elsewhere.standing(Some(at(6)), now), Standing::There);
        elsewhere.follow(Vec::new());
        assert!(!elsewhere.any() && elsewhere.join().is_none());
    }

    #[test]
    fn one_that_is_late_is_said_so_and_then_waited_for_by_nobody() {
        let elsewhere = followed(Duration::ZERO, false);
        elsewhere.reached("u", at(5), Duration::ZERO);
        let late = Standing::Late("u".to_owned());
        assert_eq!(elsewhere.standing(Some(at(6)), Instant::now()), late);
        assert!(elsewhere.join().is_none());
        let strict = followed(Duration::ZERO, true);
        // It is refused from the beginning.
        assert!(strict.join().is_some());
        let refused = Standing::Refused("u".to_owned());
        assert_eq!(strict.standing(Some(at(6)), Instant::now()), refused);
        strict.reached("u", at(6), Duration::ZERO);
        let there = strict.standing(Some(at(6)), Instant::now());
        assert_eq!(there, Standing::There);
    }

    #[test]
    fn all_who_wait_share_one_cut_and_who_comes_later_has_another() {
        let elsewhere = followed(LONG, false);
        elsewhere.reached("u", at(1), Duration::ZERO);
        let (one, two) = (elsewhere.join().unwrap(), elsewhere.join().unwrap());
        assert!(matches!(elsewhere.round(one.round), Round::Yours));
        assert!(matches!(elsewhere.round(two.round), Round::Waits));
        // What he did may not be in the cut that is under way.
        let late = elsewhere.join().unwrap();
        assert!(matches!(elsewhere.round(late.round), Round::Waits));
        elsewhere.was_cut(Some(at(2)));
        assert!(matches!(elsewhere.round(two.round), Round::Cut(reached) if reached == at(2)));
        assert!(matches!(elsewhere.round(late.round), Round::Yours));
        elsewhere.was_cut(None);
        assert!(matches!(elsewhere.round(late.round), Round::Failed));
        assert!(matches!(elsewhere.round(one.round), Round::Cut(_)));
    }
}
