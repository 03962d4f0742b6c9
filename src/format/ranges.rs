//! Sets of byte ranges: what of a file was touched, by whom, what of it is stashed. Pure arithmetic.

use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Byte ranges in ascending order, neither overlapping nor touching each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeSet {
    ranges: Vec<(u64, u64)>,
}

impl RangeSet {
    /// All bytes from here on, wherever the file ends.
    pub fn from(start: u64) -> RangeSet {
        RangeSet {
            ranges: vec![(start, u64::MAX)],
        }
    }

    /// Whether it is one: what was read may be anything.
    pub fn is_sound(&self) -> bool {
        self.ranges.iter().all(|(start, end)| start < end)
            && self.ranges.windows(2).all(|pair| pair[0].1 < pair[1].0)
    }

    /// Joins all of another set in.
    pub fn add(&mut self, other: &RangeSet) {
        for range in other.iter() {
            self.insert(range);
        }
    }

    /// Whether both have a byte in common.
    pub fn meets(&self, other: &RangeSet) -> bool {
        other.iter().any(|range| self.touches(range))
    }

    /// No bytes at all.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Number of separate ranges.
    pub fn count(&self) -> usize {
        self.ranges.len()
    }

    /// Sum of the lengths, bytes.
    pub fn bytes(&self) -> u64 {
        self.ranges.iter().map(|(start, end)| end - start).sum()
    }

    /// The ranges in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.ranges.iter().map(|&(start, end)| start..end)
    }

    /// The end of the last range.
    pub fn end(&self) -> Option<u64> {
        self.ranges.last().map(|&(_, end)| end)
    }

    /// The first byte in the set.
    pub fn first(&self) -> Option<u64> {
        self.ranges.first().map(|&(start, _)| start)
    }

    /// Joins `range` into the set.
    pub fn insert(&mut self, range: Range<u64>) {
        let (mut start, mut end) = (range.start, range.end);
        if start >= end {
            return;
        }
        let from = self.ranges.partition_point(|&(_, e)| e < start);
        let to = self.ranges.partition_point(|&(s, _)| s <= end);
        if from < to {
            start = start.min(self.ranges[from].0);
            end = end.max(self.ranges[to - 1].1);
        }
        self.ranges.splice(from..to, [(start, end)]);
    }

    /// Takes `range` out of the set.
    pub fn remove(&mut self, range: Range<u64>) {
        if range.start >= range.end {
            return;
        }
        let mut kept = Vec::with_capacity(self.ranges.len() + 1);
        for &(start, end) in &self.ranges {
            if start < range.start {
                kept.push((start, end.min(range.start)));
            }
            if end > range.end {
                kept.push((start.max(range.end), end));
            }
        }
        self.ranges = kept;
    }

    /// The parts of `range` that are not in the set, in ascending order.
    pub fn missing(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut missing = Vec::new();
        let mut at = range.start;
        let from = self.ranges.partition_point(|&(_, end)| end <= range.start);
        for &(start, end) in &self.ranges[from..] {
            if start >= range.end {
                break;
            }
            if at < start {
                missing.push(at..start);
            }
            at = at.max(end);
        }
        if at < range.end {
            missing.push(at..range.end);
        }
        missing
    }

    /// Whether any byte of `range` is in the set.
    pub fn touches(&self, range: Range<u64>) -> bool {
        let from = self.ranges.partition_point(|&(_, end)| end <= range.start);
        range.start < range.end
            && self
                .ranges
                .get(from)
                .is_some_and(|&(start, _)| start < range.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against a set of single bytes, for many random operations.
    #[test]
    fn behaves_like_a_set_of_bytes() {
        let mut seed = 7u64;
        let mut random = move |below: u64| {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (seed >> 33) % below
        };
        for _ in 0..200 {
            let mut set = RangeSet::default();
            let mut bytes = [false; 64];
            for _ in 0..40 {
                let start = random(60);
                let end = start + random(10).min(64 - start);
                let put = random(3) > 0;
                if put {
                    set.insert(start..end);
                } else {
                    set.remove(start..end);
                }
                bytes[start as usize..end as usize].fill(put);
                let (a, b) = (random(32), 32 + random(32));
                let mut expected = bytes;
                for gap in set.missing(a..b) {
                    for byte in gap {
                        assert!(!expected[byte as usize]);
                        expected[byte as usize] = true;
                    }
                }
                assert!(expected[a as usize..b as usize].iter().all(|&set| set));
                assert_eq!(set.bytes(), bytes.iter().filter(|&&b| b).count() as u64);
                assert_eq!(
                    set.touches(a..b),
                    bytes[a as usize..b as usize].contains(&true)
                );
                let ranges: Vec<_> = set.iter().collect();
                assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
            }
        }
    }
}
