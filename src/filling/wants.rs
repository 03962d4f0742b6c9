//! What is asked of the places, in which order, and what they say. The process that speaks to them
//! (`cli::attend`) takes it from here.

use crate::id::Hash;
use crate::limits;
use crate::time::Timestamp;
use parking_lot::{Condvar, Mutex};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// Somebody waits for it, or somebody will.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    Soon,
    Now,
}

/// What is asked for since the last time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// First of all.
    pub now: Vec<Hash>,
    /// Before the rest.
    pub soon: Vec<Hash>,
}

/// How it goes.
#[derive(Clone, Debug, Default)]
pub struct Going {
    /// Why nothing comes, and since when.
    pub trouble: Option<(String, Timestamp)>,
    /// Objects that can't be had, and why.
    pub lost: BTreeMap<String, String>,
    /// Bytes that are still to be fetched, once that is known, and how long that will take.
    pub rest_bytes: Option<u64>,
    pub rest_seconds: Option<u64>,
    /// All that was to come is here.
    pub is_all_here: bool,
}

/// See the module's head.
#[derive(Default)]
pub struct Wants {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    asked: HashMap<Hash, (Urgency, Instant)>,
    news: News,
    /// Chunks of objects that can't be had.
    lost: HashMap<Hash, String>,
    going: Going,
    last_came: Option<Instant>,
    came: u64,
}

impl Wants {
    /// Asks for a chunk. False: it will not come soon, and nobody should wait.
    pub fn ask(&self, hash: Hash, urgency: Urgency) -> bool {
        let mut state = self.state.lock();
        let now = Instant::now();
        let before = state.asked.get(&hash).copied();
        if before.is_none_or(|(before, _)| before < urgency) {
            let since = before.map_or(now, |(_, since)| since);
            state.asked.insert(hash, (urgency, since));
            match urgency {
                Urgency::Now => state.news.now.push(hash),
                Urgency::Soon => state.news.soon.push(hash),
            }
            self.changed.notify_all();
        }
        let since = state.asked.get(&hash).map_or(now, |(_, since)| *since);
        let since = state.last_came.map_or(since, |came| came.max(since));
        state.going.trouble.is_none()
            && !state.lost.contains_key(&hash)
            && since.elapsed() < limits::FILL_SILENCE
    }

    /// What is new, at once or when something is, at most so much later.
    pub fn next(&self, at_most: Duration) -> News {
        let mut state = self.state.lock();
        if state.news == News::default() {
            self.changed.wait_for(&mut state, at_most);
        }
        std::mem::take(&mut state.news)
    }

    /// Whoever asks for the news is a new one: he is told of all.
    pub fn begin_anew(&self) {
        let mut state = self.state.lock();
        let mut news = News::default();
        for (hash, (urgency, _)) in &state.asked {
            match urgency {
                Urgency::Now => news.now.push(*hash),
                Urgency::Soon => news.soon.push(*hash),
            }
        }
        state.news = news;
        state.going.is_all_here = false;
        state.last_came = Some(Instant::now());
        self.changed.notify_all();
    }

    /// Chunks have come.
    pub fn came<'h>(&self, hashes: impl Iterator<Item = &'h Hash>) {
        let mut state = self.state.lock();
        for hash in hashes {
            state.asked.remove(hash);
            state.lost.remove(hash);
        }
        state.last_came = Some(Instant::now());
        state.came += 1;
        self.changed.notify_all();
    }

    /// An object can't be had, with all of these chunks.
    pub fn lose(&self, name: String, hashes: &[Hash], reason: &str) {
        let mut state = self.state.lock();
        for hash in hashes {
            state.lost.insert(*hash, name.clone());
        }
        if state
            .going
            .lost
            .insert(name.clone(), reason.to_owned())
            .is_none()
        {
            log::error!("{name} can't be had, and what needs it stays empty: {reason}");
        }
        state.came += 1;
        self.changed.notify_all();
    }

    /// Whether one of these can't be had.
    pub fn has_lost(&self, hashes: &[Hash]) -> bool {
        let state = self.state.lock();
        !state.lost.is_empty() && hashes.iter().any(|hash| state.lost.contains_key(hash))
    }

    /// An object is here, after all.
    pub fn found(&self, name: &str) {
        let mut state = self.state.lock();
        if state.going.lost.remove(name).is_some() {
            state.lost.retain(|_, of| of != name);
        }
    }

    /// Why nothing comes; nothing: it does.
    pub fn tell(&self, trouble: Option<String>) {
        let mut state = self.state.lock();
        match (&state.going.trouble, trouble) {
            (None, None) => {}
            (before, Some(reason)) => {
                let since = before.as_ref().map(|(_, since)| *since);
                if before.is_none() {
                    log::warn!("nothing comes any more of what is to be recovered: {reason}");
                }
                state.going.trouble = Some((reason, since.unwrap_or_else(Timestamp::now)));
            }
            (Some(_), None) => {
                log::info!("what is to be recovered comes again");
                state.going.trouble = None;
            }
        }
        self.changed.notify_all();
    }

    /// How far the fetching is.
    pub fn far(&self, rest_bytes: u64, rest_seconds: Option<u64>) {
        let mut state = self.state.lock();
        state.going.rest_bytes = Some(rest_bytes);
        state.going.rest_seconds = rest_seconds;
    }

    /// Nothing more will come: all is here that can be had.
    pub fn finish(&self) {
        let mut state = self.state.lock();
        state.going.is_all_here = state.lost.is_empty();
        state.going.rest_bytes = Some(0);
        state.came += 1;
        self.changed.notify_all();
    }

    /// How it goes.
    pub fn going(&self) -> Going {
        self.state.lock().going.clone()
    }

    /// Waits until something has come since the count was this, or so long; the count then.
    pub fn wait(&self, seen: u64, at_most: Duration) -> u64 {
        let mut state = self.state.lock();
        let until = Instant::now() + at_most;
        while state.came == seen {
            if self.changed.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        state.came
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(1);

    fn hash(n: u8) -> Hash {
        Hash([n; 32])
    }

    #[test]
    fn what_somebody_waits_for_comes_first_and_is_asked_for_once() {
        let wants = Wants::default();
        assert!(wants.ask(hash(1), Urgency::Soon) && wants.ask(hash(2), Urgency::Soon));
        assert!(wants.ask(hash(2), Urgency::Now) && wants.ask(hash(2), Urgency::Now));
        let news = wants.next(SOON);
        assert_eq!(
            (news.now, news.soon),
            (vec![hash(2)], vec![hash(1), hash(2)])
        );
        assert!(wants.ask(hash(1), Urgency::Soon));
        assert_eq!(wants.next(SOON), News::default());
        // A new process is told of all that has not come.
        wants.came([hash(1)].iter());
        wants.begin_anew();
        assert_eq!(wants.next(SOON).now, [hash(2)]);
    }

    #[test]
    fn nobody_waits_for_what_will_not_come() {
        let wants = Wants::default();
        wants.lose("packs/x".to_owned(), &[hash(1)], "it is missing");
        assert!(!wants.ask(hash(1), Urgency::Now) && wants.ask(hash(2), Urgency::Now));
        wants.tell(Some("it does not answer".to_owned()));
        assert!(!wants.ask(hash(2), Urgency::Now));
        wants.tell(None);
        assert!(wants.ask(hash(2), Urgency::Now));
        // It is there after all.
        wants.came([hash(1)].iter());
        assert!(wants.ask(hash(1), Urgency::Now));
    }
}
