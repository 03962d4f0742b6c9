//! A set of chunk numbers: one bit each, since they are handed out in ascending order.

use crate::id::ChunkNumber;
use crate::limits;

/// The set.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    bits: Vec<u64>,
}

impl Numbers {
    /// False: it is in it already, or is beyond what can be counted.
    pub fn insert(&mut self, number: ChunkNumber) -> bool {
        if number.0 >= limits::VERIFY_NUMBERS {
            return false;
        }
        let Ok(word) = usize::try_from(number.0 / 64) else {
            return false;
        };
        if word >= self.bits.len() {
            self.bits.resize(word + 1, 0);
        }
        let bit = 1 << (number.0 % 64);
        let new = self.bits[word] & bit == 0;
        self.bits[word] |= bit;
        new
    }

    pub fn has(&self, number: ChunkNumber) -> bool {
        let word = usize::try_from(number.0 / 64).ok();
        let word = word.and_then(|word| self.bits.get(word));
        word.is_some_and(|word| word & (1 << (number.0 % 64)) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_in_it_once_and_none_takes_all_memory() {
        let mut numbers = Numbers::default();
        for number in [0, 63, 64, 4096] {
            assert!(!numbers.has(ChunkNumber(number)));
            assert!(numbers.insert(ChunkNumber(number)));
            assert!(numbers.has(ChunkNumber(number)));
            assert!(!numbers.insert(ChunkNumber(number)));
        }
        assert!(!numbers.insert(ChunkNumber(u64::MAX)));
        assert!(!numbers.has(ChunkNumber(u64::MAX)));
        assert!(numbers.bits.len() < 100);
    }
}
