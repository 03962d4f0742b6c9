//! Preserved bytes: what stood in a file before an operation of a later epoch changed it.
//!
//! 1. A layer with tag t holds bytes as they were at the end of epoch t; within a layer the first
//!    insertion of a byte wins.
//! 2. The file as of epoch e is the live file with the layers of tag >= e laid over it, the lowest
//!    tag winning. The live file must be read first.
//! 3. A layer is dropped when no version that is still to be captured has an epoch <= its tag.

use crate::format::ranges::RangeSet;
use crate::id::Epoch;
use std::collections::BTreeMap;
use std::ops::Range;

/// What stood in a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Old {
    Bytes(Vec<u8>),
    /// A hole, or nothing at all, of this length.
    Hole(u64),
}

impl Old {
    fn len(&self) -> u64 {
        match self {
            Old::Bytes(bytes) => bytes.len() as u64,
            Old::Hole(len) => *len,
        }
    }
}

#[derive(Debug, Default)]
struct Layer {
    covered: RangeSet,
    pieces: BTreeMap<u64, Old>,
    bytes: u64,
}

/// All layers of one file.
#[derive(Debug, Default)]
pub struct Stash {
    layers: BTreeMap<Epoch, Layer>,
}

impl Stash {
    /// The parts of `range` that the layer `tag` does not hold yet.
    pub fn missing(&self, tag: Epoch, range: Range<u64>) -> Vec<Range<u64>> {
        match self.layers.get(&tag) {
            Some(layer) => layer.covered.missing(range),
            None if range.start < range.end => vec![range],
            None => Vec::new(),
        }
    }

    /// Keeps what stood at `start`. Must lie in what `missing` said. Returns the bytes of memory
    /// that it takes.
    pub fn keep(&mut self, tag: Epoch, start: u64, old: Old) -> u64 {
        let len = old.len();
        let memory = if let Old::Bytes(_) = old { len } else { 0 };
        if len > 0 {
            let layer = self.layers.entry(tag).or_default();
            layer.covered.insert(start..start + len);
            layer.bytes += memory;
            layer.pieces.insert(start, old);
        }
        memory
    }

    /// Lays what was stashed over `buffer`, which was read from the live file at `offset`.
    pub fn lay_over(&self, epoch: Epoch, offset: u64, buffer: &mut [u8]) {
        let end = offset + buffer.len() as u64;
        for layer in self.layers.range(epoch..).rev().map(|(_, layer)| layer) {
            let first = layer
                .pieces
                .range(..=offset)
                .next_back()
                .map_or(offset, |(&at, _)| at);
            for (&at, old) in layer.pieces.range(first..end) {
                let from = at.max(offset);
                let to = (at + old.len()).min(end);
                if from >= to {
                    continue;
                }
                let target = &mut buffer[(from - offset) as usize..(to - offset) as usize];
                match old {
                    Old::Bytes(bytes) => {
                        target.copy_from_slice(&bytes[(from - at) as usize..(to - at) as usize]);
                    }
                    Old::Hole(_) => target.fill(0),
                }
            }
        }
    }

    /// Corrects the map of where the live file has data to where it had data as of `epoch`.
    pub fn correct_data_map(&self, epoch: Epoch, map: &mut RangeSet) {
        for layer in self.layers.range(epoch..).rev().map(|(_, layer)| layer) {
            for (&at, old) in &layer.pieces {
                match old {
                    Old::Bytes(bytes) => map.insert(at..at + bytes.len() as u64),
                    Old::Hole(len) => map.remove(at..at + len),
                }
            }
        }
    }

    /// Drops the layers that no version from `oldest` on needs (all if `None`). Returns the bytes
    /// of memory that were freed.
    pub fn drop_before(&mut self, oldest: Option<Epoch>) -> u64 {
        let kept = match oldest {
            Some(oldest) => self.layers.split_off(&oldest),
            None => BTreeMap::new(),
        };
        let dropped = std::mem::replace(&mut self.layers, kept);
        dropped.values().map(|layer| layer.bytes).sum()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_tag_wins_and_earlier_layers_are_not_needed_later() {
        let mut stash = Stash::default();
        // At the end of epoch 1 the file was "aaaa", of epoch 2 "abba", now it is "cccc".
        assert_eq!(stash.missing(Epoch(1), 1..3), vec![1..3]);
        stash.keep(Epoch(1), 1, Old::Bytes(b"aa".to_vec()));
        stash.keep(Epoch(2), 0, Old::Bytes(b"abba".to_vec()));
        let mut buffer = *b"cccc";
        stash.lay_over(Epoch(1), 0, &mut buffer);
        assert_eq!(&buffer, b"aaaa");
        let mut buffer = *b"cccc";
        stash.lay_over(Epoch(2), 0, &mut buffer);
        assert_eq!(&buffer, b"abba");
        let mut buffer = *b"cc";
        stash.lay_over(Epoch(2), 2, &mut buffer);
        assert_eq!(&buffer, b"ba");
        let mut buffer = *b"cccc";
        stash.lay_over(Epoch(3), 0, &mut buffer);
        assert_eq!(&buffer, b"cccc");
        assert_eq!(stash.drop_before(Some(Epoch(2))), 2);
        assert_eq!(stash.drop_before(None), 4);
        assert!(stash.is_empty());
    }

    #[test]
    fn the_first_insertion_wins_within_a_layer() {
        let mut stash = Stash::default();
        stash.keep(Epoch(4), 10, Old::Bytes(b"xyz".to_vec()));
        assert_eq!(stash.missing(Epoch(4), 8..16), vec![8..10, 13..16]);
        assert!(stash.missing(Epoch(4), 10..13).is_empty());
    }

    #[test]
    fn holes_come_back_as_holes() {
        let mut stash = Stash::default();
        stash.keep(Epoch(1), 4, Old::Hole(4));
        stash.keep(Epoch(1), 0, Old::Bytes(vec![1; 4]));
        let mut map = RangeSet::default();
        map.insert(4..12);
        stash.correct_data_map(Epoch(1), &mut map);
        assert_eq!(map.iter().collect::<Vec<_>>(), vec![0..4, 8..12]);
        let mut buffer = [9; 12];
        stash.lay_over(Epoch(1), 0, &mut buffer);
        assert_eq!(buffer, [1, 1, 1, 1, 0, 0, 0, 0, 9, 9, 9, 9]);
    }
}
