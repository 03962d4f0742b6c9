//! How much of something is taken that history may take for a while, and that is given back when what
//! it is for has been recorded.
//!
//! 1. While the store does not answer, nobody is refused: more is lent than may be taken (`lend`).
//! 2. Of what is given back then, half is not lent again. So when the store answers again, who takes
//!    more waits for a piece of what is to be recorded, and not for all that was put off; and what is
//!    taken comes down to the bound whatever he does.
//!
//! Does not know what is counted, nor who waits.

use std::sync::atomic::{AtomicU64, Ordering};

/// See the module's head.
#[derive(Debug, Default)]
pub struct Budget {
    taken: AtomicU64,
    /// What is lent beyond the bound.
    lent: AtomicU64,
}

impl Budget {
    /// How much is taken.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Takes more, asked or not.
    pub fn take(&self, amount: u64) {
        self.taken.fetch_add(amount, Ordering::Relaxed);
    }

    /// So much is not needed any more.
    pub fn give_back(&self, amount: u64) {
        self.taken.fetch_sub(amount, Ordering::Relaxed);
        let less = |lent: u64| (lent > 0).then(|| lent.saturating_sub(amount.div_ceil(2)));
        // Fails when nothing is lent.
        let _ = self
            .lent
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Whether so much more may be taken.
    pub fn has_room(&self, amount: u64, bound: u64) -> bool {
        self.taken() + amount <= bound.saturating_add(self.lent.load(Ordering::Relaxed))
    }

    /// So much more may be taken, though there is no room for it.
    pub fn lend(&self, amount: u64, bound: u64) {
        let beyond = (self.taken() + amount).saturating_sub(bound);
        self.lent.fetch_max(beyond, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: u64 = 100;

    #[test]
    fn what_was_lent_is_given_back_by_halves() {
        let budget = Budget::default();
        budget.take(90);
        assert!(budget.has_room(10, BOUND) && !budget.has_room(11, BOUND));
        budget.lend(910, BOUND);
        assert!(budget.has_room(910, BOUND));
        budget.take(910);
        assert!(!budget.has_room(1, BOUND), "no more than what was lent");
        // Who takes something waits for twice as much, not for 900.
        budget.give_back(20);
        assert!(budget.has_room(10, BOUND) && !budget.has_room(11, BOUND));
        let mut rounds = 0;
        while budget.lent.load(Ordering::Relaxed) > 0 {
            budget.take(10);
            budget.give_back(20);
            assert!(budget.has_room(10, BOUND), "{budget:?}");
            rounds += 1;
        }
        assert!(rounds < 100, "{rounds} rounds");
        assert_eq!(budget.taken(), BOUND - 10);
        assert!(budget.has_room(10, BOUND) && !budget.has_room(11, BOUND));
    }
}
