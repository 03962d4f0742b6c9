//! Past what can't be read: the database answers with an error for every key up to the end of a
//! damaged block, and answers again behind it. Where that is has to be found by asking.

use super::super::Result;
use super::super::view::View;
use crate::format::key::Family;

/// Bytes of a key that are looked at: names of files that differ only later share the fate of the
/// block.
const DEPTH: usize = 64;

/// Calls `each` for all records of a family that can be read.
pub(in crate::store) fn readable(
    view: &View<'_>,
    family: Family,
    mut each: impl FnMut(&[u8], &[u8]),
) {
    let mut from = Some(Vec::new());
    while let Some(begin) = from.take() {
        let mut at = begin.clone();
        let mut stretch = || -> Result<()> {
            let mut scan = view.from(family, &begin)?;
            while let Some((key, value)) = scan.item() {
                each(key, value);
                key.clone_into(&mut at);
                scan.step()?;
            }
            Ok(())
        };
        if stretch().is_err() {
            from = behind(&|key| view.from(family, key).is_ok(), &at);
        }
    }
}

/// The first key behind the part that can't be read and in which `at` lies, or before which it
/// stands; `None`: nothing behind it can be read. `reads` says whether it can be read from a key on.
///
/// It is looked for from `at` on, byte after byte, not from afar: there may be other such parts further
/// on, and what lies between is not to be given up with them.
pub(in crate::store) fn behind(reads: &dyn Fn(&[u8]) -> bool, at: &[u8]) -> Option<Vec<u8>> {
    let real = at.len();
    let mut at = at.to_vec();
    at.resize(DEPTH.max(at.len()), 0);
    // Behind the key itself next to nothing stands: there larger steps do.
    let end_of_part =
        |prefix: &[u8], begin: u8| end_of_part(reads, prefix, begin, prefix.len() >= real);
    // The longest part of the key behind which it can be read again.
    let (mut prefix, (mut low, mut high)) = (0..at.len()).rev().find_map(|len| {
        let prefix = at[..len].to_vec();
        let found = end_of_part(&prefix, at[len])?;
        Some((prefix, found))
    })?;
    // From there back, byte by byte.
    loop {
        let mut good = prefix.clone();
        good.push(high);
        prefix.push(low);
        if prefix.len() >= DEPTH {
            return Some(good);
        }
        let begin = match at.starts_with(&prefix) {
            true => at[prefix.len()],
            false => 0,
        };
        match end_of_part(&prefix, begin) {
            Some(found) => (low, high) = found,
            None => return Some(good),
        }
    }
}

/// Of the bytes that may follow a prefix: one from which on it can't be read, `begin` or later, and the
/// next, from which on it can. `hastily`: not every byte is tried.
fn end_of_part(
    reads: &dyn Fn(&[u8]) -> bool,
    prefix: &[u8],
    begin: u8,
    hastily: bool,
) -> Option<(u8, u8)> {
    let reads_from = |byte: u8| {
        let mut key = prefix.to_vec();
        key.push(byte);
        reads(&key)
    };
    let mut low = begin;
    let mut step = 1_u8;
    let mut high = loop {
        let next = low.saturating_add(step);
        if next == low {
            return None;
        }
        if reads_from(next) {
            break next;
        }
        low = next;
        if hastily {
            step = step.saturating_mul(2);
        }
    };
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match reads_from(middle) {
            true => high = middle,
            false => low = middle,
        }
    }
    Some((low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_between_two_such_parts_is_not_skipped() {
        let key = |n: u64| n.to_be_bytes().to_vec();
        let parts = [(7, 8), (20, 22), (300, 1000), (1100, 90_000)];
        // Seeking to a key reads what stands from there on.
        let reads = |from: &[u8]| {
            let bad = |(from_n, to_n): &(u64, u64)| {
                from > &key(from_n - 1)[..] && from <= &key(to_n - 1)[..]
            };
            !parts.iter().any(bad)
        };
        for (before, after) in parts {
            let found = behind(&reads, &key(before - 1)).unwrap();
            assert!(
                found > key(after - 1) && found <= key(after),
                "behind {before} to {after}: {found:?}"
            );
        }
    }

    #[test]
    fn the_end_of_what_can_not_be_read_is_found_to_the_key() {
        let key = |n: u64| n.to_be_bytes().to_vec();
        // From 1000 on up to 70000 nothing can be read.
        let damaged = |from: &[u8]| from.to_vec() > key(1000) && from.to_vec() <= key(70_000);
        let found = behind(&|from| !damaged(from), &key(1000)).unwrap();
        assert!(found > key(70_000) && found < key(70_001), "{found:?}");
        assert_eq!(behind(&|_| false, &key(1000)), None);
        let names = |from: &[u8]| {
            from > b"folder/name-0010".as_slice() && from <= b"folder/name-0512".as_slice()
        };
        let found = behind(&|from| !names(from), b"folder/name-0010").unwrap();
        assert!(found > b"folder/name-0512".to_vec() && found < b"folder/name-0513".to_vec());
    }
}
