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
pub(in crate::store) fn behind(reads: &dyn Fn(&[u8]) -> bool, at: &[u8]) -> Option<Vec<u8>> {
    let mut at = at.to_vec();
    at.resize(DEPTH.max(at.len()), 0);
    // The longest part of the key behind which it can be read again.
    let (mut prefix, mut good) = (0..at.len())
        .rev()
        .filter(|len| at[*len] < u8::MAX)
        .map(|len| (at[..len].to_vec(), step(&at[..len], at[len])))
        .find(|(_, next)| reads(next))?;
    // From there back, byte by byte.
    while prefix.len() < DEPTH {
        let begin = u16::from(at.get(prefix.len()).copied().unwrap_or(0));
        let (mut low, mut high) = (begin, u16::from(good[prefix.len()]));
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let mut key = prefix.clone();
            key.push(u8::try_from(middle).unwrap_or(u8::MAX));
            if reads(&key) {
                high = middle;
                good = key;
            } else {
                low = middle;
            }
        }
        prefix.push(u8::try_from(low).unwrap_or(u8::MAX));
        if !at.starts_with(&prefix) {
            at.clone_from(&prefix);
        }
        // Behind this prefix it can be read; within it, perhaps earlier.
        let mut last = prefix.clone();
        last.push(u8::MAX);
        if !reads(&last) {
            return Some(good);
        }
        good = last;
    }
    Some(good)
}

fn step(prefix: &[u8], byte: u8) -> Vec<u8> {
    let mut next = prefix.to_vec();
    next.push(byte + 1);
    next
}

#[cfg(test)]
mod tests {
    use super::*;

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
