//! A part of a pack: the chunks that are needed, in as few questions as is reasonable. A place that does
//! not give parts, or gives what is not right, is asked for the whole.

use super::cipher::What;
use super::object::{PackIndex, PackedChunk};
use super::recover::pack_name;
use super::repository::Repository;
use crate::format::transfer::RawChunk;
use crate::id::Hash;
use crate::limits;
use crate::store::holds_chunk;
use std::collections::HashSet;
use std::ops::Range;

/// Chunks side by side in a pack.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    range: Range<u64>,
    chunks: Vec<PackedChunk>,
}

/// Where these chunks are. What lies between two of them comes along where that is less than another
/// question costs. `None`: the whole pack is hardly more.
fn runs(index: &PackIndex, wanted: &HashSet<Hash>) -> Option<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::new();
    // Behind the last wanted one.
    let mut between = Vec::new();
    let mut end = 0;
    for chunk in &index.chunks {
        let start = end;
        end += u64::from(chunk.bytes);
        between.push(*chunk);
        if !wanted.contains(&chunk.hash) {
            continue;
        }
        match runs.last_mut() {
            Some(run) if start - run.range.end <= limits::PART_GAP => {
                run.range.end = end;
                run.chunks.append(&mut between);
            }
            _ => runs.push(Run {
                range: start..end,
                chunks: vec![*chunk],
            }),
        }
        between.clear();
    }
    let bytes: u64 = runs.iter().map(|run| run.range.end - run.range.start).sum();
    (bytes < end / 2).then_some(runs)
}

/// Fetches these chunks, and the bytes that it took. `None`: the whole pack is to be fetched.
pub(super) fn fetch(
    repository: &Repository,
    index: &PackIndex,
    wanted: &HashSet<Hash>,
) -> Option<(Vec<RawChunk>, u64)> {
    let name = pack_name(index.pack);
    let (mut found, mut fetched) = (Vec::new(), 0);
    for run in runs(index, wanted)? {
        let bytes = repository.objects.get_range(&name, run.range)?;
        fetched += bytes.len() as u64;
        let mut rest = &bytes[..];
        for chunk in run.chunks {
            let (sealed, behind) = rest.split_at_checked(chunk.bytes as usize)?;
            rest = behind;
            if !wanted.contains(&chunk.hash) {
                continue;
            }
            let chunk = RawChunk {
                hash: chunk.hash,
                is_list: chunk.is_list,
                envelope: repository.cipher.open(What::Chunk, sealed)?,
            };
            // The seal says only that it is a chunk of this repository.
            if !holds_chunk(&chunk) {
                return None;
            }
            found.push(chunk);
        }
    }
    Some((found, fetched))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chunks of these lengths.
    fn pack(bytes: &[u32]) -> PackIndex {
        let chunks = bytes.iter().enumerate().map(|(n, bytes)| PackedChunk {
            hash: Hash::of(&n.to_le_bytes()),
            is_list: false,
            bytes: *bytes,
        });
        PackIndex {
            pack: Hash([0; 32]),
            chunks: chunks.collect(),
        }
    }

    fn ranges(index: &PackIndex, wanted: &[usize]) -> Option<Vec<(u64, u64, usize)>> {
        let wanted = wanted.iter().map(|n| index.chunks[*n].hash).collect();
        let runs = runs(index, &wanted)?;
        let told = |run: &Run| (run.range.start, run.range.end, run.chunks.len());
        Some(runs.iter().map(told).collect())
    }

    #[test]
    fn what_lies_side_by_side_is_asked_for_at_once_and_most_of_a_pack_as_a_whole() {
        let gap = u32::try_from(limits::PART_GAP).unwrap();
        let index = pack(&[10, gap, 20, gap + 1, 30, 40, 10 * gap]);
        let wide = u64::from(gap);
        assert_eq!(ranges(&index, &[]), Some(Vec::new()));
        assert_eq!(ranges(&index, &[0]), Some(vec![(0, 10, 1)]));
        assert_eq!(ranges(&index, &[0, 2]), Some(vec![(0, wide + 30, 3)]));
        let far = 2 * wide + 31;
        let apart = vec![(0, wide + 30, 3), (far, far + 70, 2)];
        assert_eq!(ranges(&index, &[0, 2, 4, 5]), Some(apart));
        let last = vec![(far + 30, far + 70, 1)];
        assert_eq!(ranges(&index, &[5]), Some(last));
        assert_eq!(ranges(&index, &[6]), None);
        assert_eq!(ranges(&pack(&[10, 10]), &[1]), None);
    }
}
