//! The background check: all chunks are read and hashed, a piece at a time, in the order of their
//! numbers, and at the end the records are counted. How far it is stands in the store, so that it
//! goes on where the last process ended. It mends nothing.

use super::kv::{Batch, Durability};
use super::verify::{Depth, skip};
use super::{Result, Store, meta};
use crate::format::key::{self, Family};
use crate::format::value;
use crate::id::{ChunkNumber, Hash};
use crate::limits;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// How far the background check is, and what the last whole one found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scrub {
    /// When the one under way was begun; `None`: none is.
    pub begun: Option<Timestamp>,
    /// The next chunk that it looks at.
    pub next: u64,
    /// Stored bytes that it has looked at.
    pub bytes: u64,
    /// Problems that it has found so far.
    pub found: u64,
    /// When the last whole one ended.
    pub ended: Option<Timestamp>,
    /// What that found.
    pub problems: u64,
}

impl Scrub {
    /// Problems that are known: of the last whole one, or of the one under way if it has found more.
    pub fn known_problems(&self) -> u64 {
        self.problems.max(self.found)
    }
}

impl Store {
    /// How far the background check is.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn scrub_state(&self) -> Result<Scrub> {
        Ok(self.meta(meta::SCRUB)?.unwrap_or_default())
    }

    /// Keeps it for the next process. It may be lost with the power: then a piece is read twice.
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn keep_scrub(&self, scrub: &Scrub) -> Result<()> {
        let mut batch = Batch::default();
        batch.put(Family::Meta, meta::SCRUB, value::pack(scrub));
        self.write(batch, Durability::Unsynced)
    }

    /// All was checked by somebody else: `verify`.
    ///
    /// # Errors
    /// A store that can't be written.
    pub fn note_checked(&self, problems: u64) -> Result<()> {
        self.keep_scrub(&Scrub {
            ended: Some(Timestamp::now()),
            problems,
            ..Scrub::default()
        })
    }

    /// Reads and hashes chunks of about so many stored bytes. False: it has seen the last.
    ///
    /// # Errors
    /// A store that can't be read at all; damage is counted.
    pub fn scrub_piece(&self, scrub: &mut Scrub, bytes: u64) -> Result<bool> {
        let view = self.view();
        let blocks: Vec<(u64, u64)> = view.numbered(meta::BLOCK)?;
        let end = scrub.bytes + bytes;
        let mut from = Some(key::chunk(ChunkNumber(scrub.next)).to_vec());
        while let Some(begin) = from.take() {
            let mut at = begin.clone();
            let mut stretch = || -> Result<bool> {
                let mut scan = view.from(Family::Chunks, &begin)?;
                while let Some((key, envelope)) = scan.item() {
                    if scrub.bytes >= end {
                        return Ok(true);
                    }
                    let number = key::unpack_chunk(key)?;
                    scrub.bytes += envelope.len() as u64;
                    scrub.next = number.0 + 1;
                    let in_use = |(start, end): &(u64, u64)| (*start..*end).contains(&number.0);
                    let is_named = self.is_what_the_index_says(number, envelope)?;
                    if !is_named && !blocks.iter().any(in_use) {
                        scrub.found += 1;
                    }
                    key.clone_into(&mut at);
                    scan.step()?;
                }
                Ok(false)
            };
            match stretch() {
                Ok(more) => return Ok(more),
                Err(error) if error.is_damage() => {
                    scrub.found += 1;
                    from = skip::behind(&|key| view.from(Family::Chunks, key).is_ok(), &at);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// The end of a whole one: the records are counted.
    ///
    /// # Errors
    /// A store that can't be read; `finished` is false if `go_on` ended it.
    pub fn scrub_records(&self, scrub: &mut Scrub, go_on: &dyn Fn() -> bool) -> Result<bool> {
        let depth = Depth {
            hashed_percent: 0,
            seed: 0,
        };
        let report = self.verify_to(depth, &|_| go_on())?;
        if report.finished {
            *scrub = Scrub {
                ended: Some(Timestamp::now()),
                problems: scrub.found + report.problems_found,
                ..Scrub::default()
            };
        }
        Ok(report.finished)
    }

    fn is_what_the_index_says(&self, number: ChunkNumber, envelope: &[u8]) -> Result<bool> {
        let Ok(plain) = value::unpack_chunk(envelope, limits::LIST_PLAIN_MAX) else {
            return Ok(false);
        };
        for (hash, is_list) in [(Hash::of(&plain), false), (value::list_hash(&plain), true)] {
            let entry = self.index_entry(hash)?;
            if entry.is_some_and(|entry| entry.number == number && entry.is_list == is_list) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::key::hex;

    #[test]
    fn it_goes_on_where_the_last_process_ended_and_sees_each_chunk_once() {
        let store = Store::in_memory().unwrap();
        let mut relied = store.reliance();
        for n in 0..50u32 {
            store.put_chunk(&mut relied, &n.to_le_bytes()).unwrap();
        }
        let mut all = Scrub::default();
        assert!(!store.scrub_piece(&mut all, u64::MAX / 2).unwrap());
        let mut pieces = 0;
        loop {
            // As the next process finds it.
            let mut scrub = store.scrub_state().unwrap();
            let more = store.scrub_piece(&mut scrub, 20).unwrap();
            store.keep_scrub(&scrub).unwrap();
            pieces += 1;
            if !more {
                break;
            }
        }
        assert!(pieces > 10, "{pieces}");
        assert_eq!(store.scrub_state().unwrap(), all);
        assert_eq!(all.found, 0);
        drop(relied);
    }

    #[test]
    fn golden_bytes() {
        let scrub = Scrub {
            begun: Some(Timestamp(1)),
            next: 2,
            bytes: 3,
            found: 4,
            ended: None,
            problems: 5,
        };
        let bytes = value::pack(&scrub);
        assert_eq!(hex(&bytes), "010102020304".to_owned() + "0005");
        assert_eq!(value::unpack::<Scrub>(&bytes), Ok(scrub));
    }
}
