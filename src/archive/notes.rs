//! Small objects beside the sets: that whoever sends is alive, and what was read back and tried. Each
//! has a number, and none is ever changed; the older ones are removed.

use super::cipher::What;
use super::repository::{Catalog, Repository};
use super::{ArchiveError, Result};
use crate::format::value;
use crate::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Of each kind, so many stay.
const BEATS_KEPT: usize = 2;
const PROOFS_KEPT: usize = 100;
/// Seconds between two signs of life where none of them is ever removed, at the least.
pub(super) const BEAT_WHERE_ALL_STAYS: u64 = 3600;
/// Signs of life that may be there beside those: of somebody who ended before he cleared. Where there are
/// more, nothing is removed.
const BEATS_MORE: usize = 3;
/// Where nothing is removed, the newest so many are looked at: another store may beat, too.
const BEATS_READ: usize = 10;
/// Numbers that are tried where others write at the same time.
const TRIES: u64 = 5;

/// A sign of life of the store that sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    pub store: [u8; 16],
    pub host: String,
    /// The working directory.
    pub dir: Vec<u8>,
    pub at: Timestamp,
    /// Seconds until the next one.
    pub every: u64,
    /// The newest state that is recorded there, be it here or not.
    pub recorded: Option<Timestamp>,
    /// Things that its `status` says a person should see to.
    pub problems: u64,
    /// It was unmounted: there is none until it is mounted again.
    pub ended: bool,
}

/// What somebody made sure of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProofKind {
    /// Every object was read.
    Verified,
    /// It was recovered: so many percent of the files.
    Drilled { percent: u8 },
}

/// That something was tried, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    pub kind: ProofKind,
    pub at: Timestamp,
    pub host: String,
    /// The sets that it is about.
    pub sets: Vec<u64>,
    /// Of a drill: milliseconds from nothing to a usable directory.
    pub rto_ms: Option<u64>,
    /// What was wrong; empty: nothing.
    pub problem: String,
}

impl Proof {
    /// Whether all was right.
    pub fn is_right(&self) -> bool {
        self.problem.is_empty()
    }

    /// Whether it says of a set that all of it was read.
    pub fn is_of_all(&self, set: u64) -> bool {
        let whole = matches!(
            self.kind,
            ProofKind::Verified | ProofKind::Drilled { percent: 100 }
        );
        whole && self.is_right() && self.sets.contains(&set)
    }
}

impl Repository {
    /// Leaves a sign of life; the seconds until the next one are those that it says, or more where the old
    /// ones stay.
    ///
    /// # Errors
    /// The place can't be reached or refuses.
    pub fn beat(&self, beat: &Beat) -> Result<u64> {
        let mut every = beat.every;
        let beat = |there: usize| {
            if there > BEATS_KEPT + BEATS_MORE {
                every = every.max(BEAT_WHERE_ALL_STAYS);
            }
            Beat {
                every,
                ..beat.clone()
            }
        };
        self.note("beats", What::Beat, beat, BEATS_KEPT)?;
        Ok(every)
    }

    /// The newest sign of life of the store that wrote last. One that another store goes on for may
    /// live, but sends nothing.
    ///
    /// # Errors
    /// The place can't be reached.
    pub fn last_beat(&self, catalog: &Catalog) -> Result<Option<Beat>> {
        let beats: Vec<Beat> = self.notes("beats", What::Beat, BEATS_READ)?;
        let writer = catalog.writer.map(|(store, _)| store);
        let own = |beat: &Beat| writer.is_none_or(|store| store == beat.store);
        Ok(beats.into_iter().rev().find(own))
    }

    /// Notes what was tried.
    ///
    /// # Errors
    /// The place can't be reached or refuses.
    pub fn prove(&self, proof: &Proof) -> Result<()> {
        self.note("proofs", What::Proof, |_| proof.clone(), PROOFS_KEPT)
    }

    /// What was tried, the oldest first.
    ///
    /// # Errors
    /// The place can't be reached.
    pub fn proofs(&self) -> Result<Vec<Proof>> {
        self.notes("proofs", What::Proof, PROOFS_KEPT)
    }

    /// `value`: by how many are there already.
    fn note<T: Serialize>(
        &self,
        folder: &str,
        what: fn(u64) -> What,
        value: impl FnOnce(usize) -> T,
        kept: usize,
    ) -> Result<()> {
        let listed = self.objects.list(folder)?;
        let mut numbers: Vec<u64> = listed.iter().filter_map(|(name, _)| number(name)).collect();
        numbers.sort_unstable();
        let newest = numbers.last().copied().unwrap_or(0);
        let value = value(numbers.len());
        for next in newest + 1..=newest + TRIES {
            let sealed = self.cipher.seal(what(next), &value::pack(&value))?;
            if !self.objects.put(&name(folder, next), sealed)? {
                continue;
            }
            let surplus = (numbers.len() + 1).saturating_sub(kept);
            for old in &numbers[..surplus.min(numbers.len())] {
                self.objects.clear(&name(folder, *old));
            }
            return Ok(());
        }
        Err(ArchiveError::Raced {
            place: self.place().to_owned(),
        })
    }

    /// The newest of a kind, the oldest of them first. One that can't be read says nothing: it is no
    /// part of what is recovered.
    fn notes<T: DeserializeOwned>(
        &self,
        folder: &str,
        what: fn(u64) -> What,
        at_most: usize,
    ) -> Result<Vec<T>> {
        let listed = self.objects.list(folder)?;
        let mut numbers: Vec<u64> = listed.iter().filter_map(|(name, _)| number(name)).collect();
        numbers.sort_unstable();
        let surplus = numbers.len().saturating_sub(at_most);
        let mut notes = Vec::new();
        for number in &numbers[surplus..] {
            let sealed = match self.objects.get(&name(folder, *number)) {
                Ok(sealed) => sealed,
                // A newer one has come, and this one has gone.
                Err(ArchiveError::Missing { .. }) => continue,
                Err(error) => return Err(error),
            };
            let plain = self.cipher.open(what(*number), &sealed);
            notes.extend(plain.and_then(|plain| value::unpack(&plain).ok()));
        }
        Ok(notes)
    }
}

fn name(folder: &str, number: u64) -> String {
    format!("{folder}/{number:020}")
}

fn number(name: &str) -> Option<u64> {
    name.rsplit('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{Objects, Secrecy, Secret};
    use crate::format::key::hex;
    use crate::format::value::{pack, unpack};
    use object_store::memory::InMemory;
    use std::sync::Arc;

    fn beat(store: u8, at: i64) -> Beat {
        Beat {
            store: [store; 16],
            host: "h".to_owned(),
            dir: b"/d".to_vec(),
            at: Timestamp(at),
            every: 300,
            recorded: Some(Timestamp(1)),
            problems: 2,
            ended: true,
        }
    }

    fn proof(kind: ProofKind, problem: &str) -> Proof {
        Proof {
            kind,
            at: Timestamp(1),
            host: "h".to_owned(),
            sets: vec![1, 2],
            rto_ms: Some(300),
            problem: problem.to_owned(),
        }
    }

    #[test]
    fn golden_bytes() {
        let one = beat(0x11, 2);
        let expected = format!("01{}0168022f6404ac0201020201", "11".repeat(16));
        assert_eq!(hex(&pack(&one)), expected);
        assert_eq!(unpack::<Beat>(&pack(&one)), Ok(one));
        let one = proof(ProofKind::Drilled { percent: 5 }, "");
        assert_eq!(
            hex(&pack(&one)),
            "010105020168020102".to_owned() + "01ac0200"
        );
        assert_eq!(unpack::<Proof>(&pack(&one)), Ok(one));
        let verified = hex(&pack(&proof(ProofKind::Verified, "x")));
        assert_eq!(verified, "0100020168020102".to_owned() + "01ac020178");
    }

    fn repository() -> Repository {
        let memory = Arc::new(InMemory::new());
        let prefix = object_store::path::Path::default();
        let objects = Objects::of(memory, prefix, "memory", true).unwrap();
        let password = Secrecy::Password(Secret(b"x".to_vec()));
        Repository::open_or_create(Arc::new(objects), &password).unwrap()
    }

    #[test]
    fn the_newest_are_kept_and_only_who_writes_is_heard() {
        let repository = repository();
        let catalog = |writer: Option<u8>| Catalog {
            writer: writer.map(|store| ([store; 16], Timestamp(0))),
            ..Catalog::default()
        };
        assert_eq!(repository.last_beat(&catalog(None)).unwrap(), None);
        for at in 1..=5 {
            repository.beat(&beat(1, at)).unwrap();
        }
        assert_eq!(repository.objects.list("beats").unwrap().len(), BEATS_KEPT);
        let last = |writer| repository.last_beat(&catalog(writer)).unwrap();
        assert_eq!(last(Some(1)), Some(beat(1, 5)));
        assert_eq!(last(None), Some(beat(1, 5)));
        // Another store has gone on.
        assert_eq!(last(Some(2)), None);
        for n in 0..u8::try_from(PROOFS_KEPT).unwrap() + 3 {
            let kind = ProofKind::Drilled { percent: n };
            repository.prove(&proof(kind, "")).unwrap();
        }
        let proofs = repository.proofs().unwrap();
        assert_eq!(proofs.len(), PROOFS_KEPT);
        assert_eq!(proofs[0].kind, ProofKind::Drilled { percent: 3 });
        // One under another number is not what it was sealed as.
        let bytes = repository.objects.get(&name("beats", 5)).unwrap();
        repository.objects.put(&name("beats", 9), bytes).unwrap();
        assert_eq!(last(Some(1)), Some(beat(1, 5)));
    }

    #[test]
    fn a_set_was_read_if_all_of_it_was() {
        assert!(proof(ProofKind::Verified, "").is_of_all(2));
        assert!(!proof(ProofKind::Verified, "").is_of_all(3));
        assert!(!proof(ProofKind::Verified, "x").is_of_all(2));
        assert!(proof(ProofKind::Drilled { percent: 100 }, "").is_of_all(2));
        assert!(!proof(ProofKind::Drilled { percent: 99 }, "").is_of_all(2));
    }
}
