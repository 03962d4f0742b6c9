//! What differs between two states, page by page, so that a message stays small however much that
//! is. It is found once, and remembered until its last page was told, or somebody asks for another.

use super::error::Error;
use super::request::{Answer, DiffLine, RawPath};
use crate::history::diff::{self, Difference};
use crate::history::path::is_below;
use crate::id::Epoch;
use crate::store::Store;
use parking_lot::Mutex;
use std::sync::Arc;

/// Bytes of paths in one answer: far below what a message may have.
const PAGE_BYTES: usize = 512 << 10;

/// What is compared: the two states, and the path below which.
type Asked = (Epoch, Epoch, RawPath);

/// The differences of which not all pages are told.
#[derive(Default)]
pub struct Memory(Mutex<Option<(Asked, Arc<Vec<Difference>>)>>);

impl Memory {
    /// One page.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn page(
        &self,
        store: &Store,
        (from, to): (u64, u64),
        under: RawPath,
        skip: u64,
    ) -> Result<Answer, Error> {
        let asked = (Epoch(from), Epoch(to), under);
        let known = self.0.lock().take_if(|(known, _)| *known == asked);
        let found = match known {
            // Who begins anew wants it as it is now.
            Some((_, found)) if skip > 0 => found,
            _ => {
                let mut found = diff::between(&store.view(), asked.0, asked.1)?;
                found.retain(|one| concerns(one, &asked.2.0));
                Arc::new(found)
            }
        };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let (mut lines, mut bytes) = (Vec::new(), 0);
        for one in found.iter().skip(skip) {
            bytes += one.path.len() + one.from.as_ref().map_or(0, Vec::len) + size_of::<DiffLine>();
            lines.push(line(one));
            if bytes > PAGE_BYTES {
                break;
            }
        }
        let more = skip.saturating_add(lines.len()) < found.len();
        if more {
            *self.0.lock() = Some((asked, found));
        }
        Ok(Answer::Diff { lines, more })
    }
}

fn concerns(one: &Difference, under: &[u8]) -> bool {
    is_below(under, &one.path)
        || one
            .from
            .as_deref()
            .is_some_and(|from| is_below(under, from))
}

fn line(one: &Difference) -> DiffLine {
    DiffLine {
        change: one.letter.sign(),
        path: RawPath(one.path.clone()),
        from: one.from.clone().map(RawPath),
        old_bytes: one.old_size,
        new_bytes: one.new_size,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::past::{Past, directory};

    const FILES: u64 = 4_000;

    /// 4,000 files made and all changed, then so many states in which one of them is changed.
    fn past(checkpoints: u64) -> Past {
        let mut past = Past::new();
        let name = |n: u64| format!("{n:04}-{}", "x".repeat(200));
        past.epoch("2026-11-20T09:00", |draft| {
            draft.root(directory());
            for n in 0..FILES {
                draft.bytes(10 + n, 1, &name(n), b"first");
            }
        });
        past.epoch("2026-11-20T09:01", |draft| {
            for n in 0..FILES {
                draft.bytes(10 + n, 1, &name(n), b"second");
            }
        });
        for n in 0..checkpoints {
            let time = format!("2026-11-20T10:{:02}:{:02}", n / 60, n % 60);
            past.epoch(&time, |draft| {
                draft.bytes(10 + n % 7, 1, &name(n % 7), time.as_bytes());
            });
        }
        past
    }

    /// Seeks of all pages of a difference, and how many pages and lines those are.
    fn cost(store: &Store, from: u64, to: u64) -> (u64, usize, usize) {
        let memory = Memory::default();
        let before = store.seeks();
        let (mut pages, mut told) = (0, 0);
        loop {
            let under = RawPath(Vec::new());
            let page = memory.page(store, (from, to), under, told as u64);
            let Answer::Diff { lines, more } = page.expect("readable") else {
                panic!("another answer");
            };
            pages += 1;
            told += lines.len();
            if !more {
                assert!(memory.0.lock().is_none(), "what is told is not kept");
                return (store.seeks() - before, pages, told);
            }
        }
    }

    #[test]
    fn pages_cost_nothing_and_states_after_those_that_are_compared_neither() {
        let (few, many) = (past(10), past(100));
        let (seeks, pages, lines) = cost(&few.store, 1, 2);
        assert!(pages > 2, "{pages}");
        assert_eq!(lines as u64, FILES);
        // Of each file both ends, and what tells whether it was renamed.
        assert!(seeks <= 10 * FILES, "{seeks}");
        assert_eq!(cost(&many.store, 1, 2), (seeks, pages, lines));
        let last = |past: &Past| {
            let newest = past.store.view().newest_epoch();
            newest.expect("readable").expect("one").0
        };
        let one = |past: &Past| cost(&past.store, last(past) - 1, last(past));
        assert_eq!(one(&few), one(&many));
        assert_eq!(one(&few).2, 1);
    }
}
