//! A repository: its marker, its key, and the chain of heads that say which sets are there.

use super::cipher::{Cipher, What, random};
use super::keys::{KeySlot, Secret};
use super::object::*;
use super::objects::Objects;
use super::{ArchiveError, Result};
use crate::format::key::hex;
use crate::format::value;
use crate::id::Hash;
use crate::limits;
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The marker, before the format.
const LINE: &str = "rewindfs repository ";

/// What was said about encryption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secrecy {
    Password(Secret),
    /// It is accepted that there is none.
    None,
    /// Nothing was said.
    Unsaid,
}

/// A repository that can be read and written.
pub struct Repository {
    pub objects: Arc<Objects>,
    pub cipher: Cipher,
    pub id: [u8; 16],
    marker: String,
}

/// What the heads say.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// Number and hash of the newest head.
    pub newest: u64,
    pub hash: Hash,
    pub lineage: u64,
    /// The store that wrote last, and when.
    pub writer: Option<([u8; 16], Timestamp)>,
    pub sets: BTreeMap<u64, SetRecord>,
}

impl Repository {
    /// Opens a repository, or makes one where nothing is.
    ///
    /// # Errors
    /// Something else is there; no or a wrong password.
    pub fn open_or_create(objects: Arc<Objects>, secrecy: &Secrecy) -> Result<Repository> {
        match Repository::open(Arc::clone(&objects), secrecy) {
            Err(ArchiveError::NoRepository { .. }) => Repository::create(objects, secrecy),
            opened => opened,
        }
    }

    /// Opens a repository.
    ///
    /// # Errors
    /// There is none; no or a wrong password.
    pub fn open(objects: Arc<Objects>, secrecy: &Secrecy) -> Result<Repository> {
        let place = objects.place().to_owned();
        let marker = match objects.get(MARKER) {
            Ok(marker) => marker,
            Err(ArchiveError::Missing { .. }) => {
                return Err(ArchiveError::NoRepository { place });
            }
            Err(error) => return Err(error),
        };
        let damaged = || ArchiveError::Damaged {
            place: place.clone(),
            name: MARKER.to_owned(),
            reason: "it does not say what it is",
        };
        let text = String::from_utf8(marker).map_err(|_| damaged())?;
        let rest = text.strip_prefix(LINE).ok_or_else(damaged)?;
        let words: Vec<&str> = rest.split_whitespace().collect();
        let [format, id, encrypted] = words[..] else {
            return Err(damaged());
        };
        let found: u32 = format.parse().map_err(|_| damaged())?;
        if found != FORMAT {
            return Err(ArchiveError::Newer {
                place,
                found,
                known: FORMAT,
            });
        }
        let id = unhex(id).ok_or_else(damaged)?;
        let key = match (encrypted, secrecy) {
            ("encrypted", Secrecy::Password(password)) => Some(find_key(&objects, id, password)?),
            ("encrypted", _) => return Err(ArchiveError::NoPassword { place }),
            // Whoever gives a password means that it is encrypted: perhaps it was replaced.
            ("plain", Secrecy::Password(_)) => return Err(ArchiveError::NotEncrypted { place }),
            ("plain", _) => None,
            _ => return Err(damaged()),
        };
        Ok(Repository {
            marker: text.clone(),
            cipher: Cipher::new(id, key.as_ref()),
            objects,
            id,
        })
    }

    fn create(objects: Arc<Objects>, secrecy: &Secrecy) -> Result<Repository> {
        let place = objects.place().to_owned();
        let password = match secrecy {
            Secrecy::Password(password) => Some(password),
            Secrecy::None => None,
            Secrecy::Unsaid => return Err(ArchiveError::Undecided),
        };
        // A key without a marker is what somebody left who died here.
        let left = |(name, _): &(String, u64)| name.starts_with("keys/");
        if !objects.list("")?.iter().all(left) {
            return Err(ArchiveError::Foreign { place });
        }
        let id: [u8; 16] = random()?;
        let mut key = None;
        if let Some(password) = password {
            let new: [u8; 32] = random()?;
            let (name, bytes) = KeySlot::new(id, &new, password)?.pack();
            objects.put(&name, bytes)?;
            key = Some(new);
        }
        let kind = if key.is_some() { "encrypted" } else { "plain" };
        let marker = format!("{LINE}{FORMAT} {} {kind}\n", hex(&id));
        if !objects.put(MARKER, marker.clone().into_bytes())? {
            return Err(ArchiveError::Raced { place });
        }
        Ok(Repository {
            marker,
            cipher: Cipher::new(id, key.as_ref()),
            objects,
            id,
        })
    }

    /// What a person calls the place.
    pub fn place(&self) -> &str {
        self.objects.place()
    }

    fn damaged(&self, name: &str, reason: &'static str) -> ArchiveError {
        ArchiveError::Damaged {
            place: self.place().to_owned(),
            name: name.to_owned(),
            reason,
        }
    }

    /// What the heads say: from the newest one that holds all sets on.
    ///
    /// # Errors
    /// A head is missing or damaged, or they are no chain.
    pub fn catalog(&self) -> Result<Catalog> {
        let listed = self.objects.list("heads")?;
        let mut newest = 0;
        for (name, _) in &listed {
            let number = name
                .strip_prefix("heads/")
                .and_then(|number| number.parse().ok());
            newest = newest.max(number.unwrap_or(0));
        }
        let mut catalog = Catalog::default();
        if newest == 0 {
            return Ok(catalog);
        }
        let first = (newest - newest % FULL_HEAD).max(1);
        for number in first..=newest {
            let name = head_name(number);
            let sealed = self.objects.get(&name)?;
            let open = self.cipher.open(What::Head(number), &sealed);
            let plain = open.ok_or_else(|| self.damaged(&name, "its seal is broken"))?;
            let head: Head =
                value::unpack(&plain).map_err(|_| self.damaged(&name, "it can't be read"))?;
            if head.number != number || (number > first && head.previous != catalog.hash) {
                return Err(self.damaged(&name, "it does not continue the one before it"));
            }
            if head.number.is_multiple_of(FULL_HEAD) {
                catalog.sets.clear();
            }
            catalog
                .sets
                .extend(head.sets.into_iter().map(|set| (set.number, set)));
            catalog.newest = number;
            catalog.hash = Hash::of(&sealed);
            catalog.lineage = head.lineage;
            catalog.writer = Some((head.writer, head.made));
        }
        Ok(catalog)
    }

    /// That the place is still the one that was opened, and has these sets.
    ///
    /// # Errors
    /// `Pulled`: it was taken away, or somebody removed something.
    pub fn check(&self, sets: &[&SetRecord]) -> Result<()> {
        let pulled = |what: String| ArchiveError::Pulled {
            place: self.place().to_owned(),
            what,
        };
        match self.objects.get(MARKER) {
            Ok(marker) if marker == self.marker.as_bytes() => {}
            Ok(_) | Err(ArchiveError::Missing { .. }) => {
                return Err(pulled("it is another place".to_owned()));
            }
            Err(error) => return Err(error),
        }
        if self.cipher.encrypts() && self.objects.list("keys")?.is_empty() {
            return Err(pulled("its keys are gone".to_owned()));
        }
        if sets.is_empty() {
            return Ok(());
        }
        match self.lacking(sets)?.first() {
            Some((_, name)) => Err(pulled(format!("{name} is gone"))),
            None => Ok(()),
        }
    }

    /// Publishes a set: from then on it is there.
    ///
    /// # Errors
    /// `Raced` if somebody else has published meanwhile.
    pub fn publish(
        &self,
        catalog: &Catalog,
        lineage: u64,
        mut set: SetRecord,
    ) -> Result<SetRecord> {
        let number = catalog.newest + 1;
        set.number = number;
        let mut sets = vec![set.clone()];
        if number.is_multiple_of(FULL_HEAD) {
            sets = catalog.sets.values().cloned().chain(sets).collect();
        }
        let head = Head {
            number,
            previous: catalog.hash,
            lineage,
            writer: set.store,
            made: Timestamp::now(),
            sets,
        };
        let sealed = self.cipher.seal(What::Head(number), &value::pack(&head))?;
        if !self.objects.put(&head_name(number), sealed.clone())? {
            return Err(ArchiveError::Raced {
                place: self.place().to_owned(),
            });
        }
        if self.objects.get(&head_name(number))? != sealed {
            return Err(self.damaged(&head_name(number), "it was not stored as it was sent"));
        }
        Ok(set)
    }

    /// The set of a number and those that it needs, the first one first.
    ///
    /// # Errors
    /// One of them is not in the list.
    pub fn chain<'c>(&self, catalog: &'c Catalog, number: u64) -> Result<Vec<&'c SetRecord>> {
        let mut chain: Vec<&SetRecord> = Vec::new();
        let mut next = Some(number);
        while let Some(number) = next {
            let set = catalog
                .sets
                .get(&number)
                .ok_or_else(|| ArchiveError::NoSet {
                    place: self.place().to_owned(),
                    number,
                })?;
            // What a set needs was there before it: so this ends.
            next = set.base.filter(|base| *base < number);
            chain.insert(0, set);
        }
        Ok(chain)
    }

    /// An object of a set, its bytes checked against its name.
    ///
    /// # Errors
    /// It is missing or damaged.
    pub fn fetch(&self, object: &ObjectRecord) -> Result<Vec<u8>> {
        let name = object.name();
        let bytes = self.objects.get(&name)?;
        match Hash::of(&bytes) == object.hash {
            true => Ok(bytes),
            false => Err(self.damaged(&name, "its bytes are not those that its name says")),
        }
    }

    /// The value in an index or a segment.
    ///
    /// # Errors
    /// It is missing or damaged.
    pub fn fetch_value<T: serde::de::DeserializeOwned>(&self, object: &ObjectRecord) -> Result<T> {
        let what = match object.kind {
            ObjectKind::Index => What::Index,
            _ => What::Segment,
        };
        let sealed = self.fetch(object)?;
        let open = self.cipher.open(what, &sealed);
        let packed = open.ok_or_else(|| self.damaged(&object.name(), "its seal is broken"))?;
        let malformed = |_| self.damaged(&object.name(), "it can't be read");
        let plain = value::unpack_chunk(&packed, limits::LIST_PLAIN_MAX).map_err(malformed)?;
        value::unpack(&plain).map_err(malformed)
    }

    /// The names of a set's objects that are not there, or are there in another length.
    ///
    /// # Errors
    /// The place can't be reached.
    pub fn lacking(&self, sets: &[&SetRecord]) -> Result<Vec<(u64, String)>> {
        let mut there: BTreeMap<String, u64> = BTreeMap::new();
        for folder in FOLDERS {
            there.extend(self.objects.list(folder)?);
        }
        let objects = |set: &&SetRecord| {
            let number = set.number;
            let lacking = |object: &&ObjectRecord| there.get(&object.name()) != Some(&object.bytes);
            let lacking = set.objects.iter().filter(lacking);
            lacking
                .map(|object| (number, object.name()))
                .collect::<Vec<_>>()
        };
        Ok(sets.iter().flat_map(objects).collect())
    }
}

fn find_key(objects: &Objects, id: [u8; 16], password: &Secret) -> Result<[u8; 32]> {
    for (name, _) in objects.list("keys")? {
        let bytes = objects.get(&name)?;
        // One that can't be read must not stand in front of others.
        let Ok(slot) = value::unpack::<KeySlot>(&bytes) else {
            continue;
        };
        if let Ok(Some(key)) = slot.open(id, password) {
            return Ok(key);
        }
    }
    let place = objects.place().to_owned();
    Err(ArchiveError::WrongPassword { place })
}

fn unhex(text: &str) -> Option<[u8; 16]> {
    let digits: Option<Vec<u8>> = text
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    digits?.try_into().ok()
}
