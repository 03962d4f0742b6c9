//! A bounded map that keeps what was used last. Each value has a weight; when their sum exceeds the
//! bound, the ones unused for longest go, a quarter of the bound at a time, so that the search for
//! them is paid once for many insertions. The newest always stays: a value that is heavier than the
//! bound is kept alone.

use std::collections::HashMap;
use std::hash::Hash;

struct Slot<V> {
    value: V,
    weight: usize,
    used: u64,
}

/// See the module.
pub struct Recent<K, V> {
    slots: HashMap<K, Slot<V>>,
    weight: usize,
    weight_max: usize,
    clock: u64,
}

impl<K: Hash + Eq + Copy, V: Clone> Recent<K, V> {
    /// An empty one that holds values up to `weight_max` in sum.
    pub fn new(weight_max: usize) -> Recent<K, V> {
        Recent {
            slots: HashMap::new(),
            weight: 0,
            weight_max,
            clock: 0,
        }
    }

    /// A copy of the value, which becomes the one used last.
    pub fn get(&mut self, key: &K) -> Option<V> {
        self.clock += 1;
        let slot = self.slots.get_mut(key)?;
        slot.used = self.clock;
        Some(slot.value.clone())
    }

    /// Keeps a value.
    pub fn put(&mut self, key: K, value: V, weight: usize) {
        self.clock += 1;
        let slot = Slot {
            value,
            weight,
            used: self.clock,
        };
        if let Some(old) = self.slots.insert(key, slot) {
            self.weight -= old.weight;
        }
        self.weight += weight;
        if self.weight > self.weight_max {
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        let goal = self.weight_max - self.weight_max / 4;
        let mut by_use: Vec<(u64, K)> = self.slots.iter().map(|(k, s)| (s.used, *k)).collect();
        by_use.sort_unstable_by_key(|(used, _)| *used);
        // The newest.
        by_use.pop();
        for (_, key) in by_use {
            if self.weight <= goal {
                break;
            }
            if let Some(slot) = self.slots.remove(&key) {
                self.weight -= slot.weight;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_stays() {
        let mut recent = Recent::new(8);
        for key in 0..8 {
            recent.put(key, key * 10, 1);
        }
        assert_eq!(recent.get(&0), Some(0));
        recent.put(8, 80, 1);
        assert_eq!(recent.get(&0), Some(0));
        assert_eq!(recent.get(&8), Some(80));
        assert_eq!(recent.get(&1), None);
        assert!(recent.weight <= 8);
    }

    #[test]
    fn the_bound_holds_for_any_weights() {
        let mut recent = Recent::new(100);
        for key in 1..1000_usize {
            let weight = key % 103;
            recent.put(key % 50, (), weight);
            assert!(recent.weight <= 100.max(weight));
            let sum: usize = recent.slots.values().map(|slot| slot.weight).sum();
            assert_eq!(sum, recent.weight);
        }
        recent.put(7, (), 1000);
        assert_eq!(recent.get(&7), Some(()));
        assert_eq!(recent.slots.len(), 1);
        recent.put(8, (), 1);
        assert_eq!(recent.get(&7), None);
    }
}
