//! The search for the first bad state: which one to try next, and what is known. Like `git bisect`,
//! by halves, and around those that can't be tried.

use std::collections::BTreeSet;

/// What trying a state came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Good,
    Bad,
    /// It can't be tried.
    Skip,
}

/// States by their number, ascending in time. The first is good and the last is bad.
#[derive(Debug)]
pub struct Search {
    good: usize,
    bad: usize,
    skipped: BTreeSet<usize>,
}

impl Search {
    /// Of `count` states, two at least.
    pub fn new(count: usize) -> Search {
        Search {
            good: 0,
            bad: count.saturating_sub(1),
            skipped: BTreeSet::new(),
        }
    }

    /// The state to try: of those in between the one nearest to the middle. `None`: no more can be
    /// found out.
    pub fn next(&self) -> Option<usize> {
        let middle = self.good + (self.bad - self.good) / 2;
        let open = (self.good + 1..self.bad).filter(|state| !self.skipped.contains(state));
        open.min_by_key(|state| state.abs_diff(middle))
    }

    /// Takes in what trying `state` came to.
    pub fn tell(&mut self, state: usize, verdict: Verdict) {
        match verdict {
            Verdict::Good => self.good = self.good.max(state),
            Verdict::Bad => self.bad = self.bad.min(state),
            Verdict::Skip => {
                self.skipped.insert(state);
            }
        }
    }

    /// How many more have to be tried, about.
    pub fn steps(&self) -> u32 {
        (self.bad - self.good).ilog2()
    }

    /// States between the two that are known.
    pub fn open(&self) -> usize {
        self.bad - self.good - 1
    }

    /// The last good one and the first bad one.
    pub fn ends(&self) -> (usize, usize) {
        (self.good, self.bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches among `count`, of which `first_bad` and all behind it are bad.
    fn found(count: usize, first_bad: usize, skip: &[usize]) -> ((usize, usize), usize) {
        let mut search = Search::new(count);
        let mut tried = 0;
        while let Some(state) = search.next() {
            tried += 1;
            search.tell(
                state,
                if skip.contains(&state) {
                    Verdict::Skip
                } else if state >= first_bad {
                    Verdict::Bad
                } else {
                    Verdict::Good
                },
            );
        }
        (search.ends(), tried)
    }

    #[test]
    fn the_first_bad_one_is_found_by_halves() {
        for count in 2..70 {
            for first_bad in 1..count {
                let (ends, tried) = found(count, first_bad, &[]);
                assert_eq!(ends, (first_bad - 1, first_bad));
                assert!(tried <= count.ilog2() as usize + 1, "{tried} of {count}");
            }
        }
    }

    #[test]
    fn what_can_not_be_tried_is_gone_around() {
        assert_eq!(found(10, 7, &[5, 4]).0, (6, 7));
        // What stands around it is all that can be known.
        assert_eq!(found(10, 5, &[4, 5, 6]).0, (3, 7));
        assert_eq!(found(3, 1, &[1]), ((0, 2), 1));
        assert_eq!(found(2, 1, &[]), ((0, 1), 0));
    }
}
