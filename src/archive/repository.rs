//! A repository: its marker, its key, and the chain of heads that say which sets are there.

use super::cipher::{Cipher, What};
use super::keys::{KeySlot, Secret};
use super::object::*;
use super::objects::Objects;
use super::remembered::Remembered;
use super::{ArchiveError, Result};
use crate::format::key::{self, Family, hex};
use crate::format::transfer::RawRecord;
use crate::format::value;
use crate::id::{Hash, random};
use crate::limits;
use crate::time::Timestamp;
use parking_lot::Mutex;
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
    /// Its key, and the object from which the password took it; `None` without encryption.
    pub(super) key: Option<Opened>,
    marker: String,
    /// What is known of it since the last set was made here.
    pub(super) remembered: Mutex<Option<Remembered>>,
}

/// A key that a password has opened.
#[derive(Clone)]
pub(super) struct Opened {
    pub name: String,
    pub key: [u8; 32],
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

/// The objects of sets that a place holds, with their lengths.
#[derive(Debug, Default)]
pub struct Held(BTreeMap<String, u64>);

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
        let found: u32 = words
            .first()
            .and_then(|format| format.parse().ok())
            .ok_or_else(damaged)?;
        // Whoever reads it as another number than it is has read it wrongly.
        if marker_sum(&text).is_none_or(|sum| words.last() != Some(&&sum[..])) {
            return Err(damaged());
        }
        if found != FORMAT {
            return Err(ArchiveError::Newer {
                place,
                found,
                known: FORMAT,
            });
        }
        let [_, id, encrypted, _] = words[..] else {
            return Err(damaged());
        };
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
            remembered: Mutex::default(),
            cipher: Cipher::new(id, key.as_ref().map(|opened| &opened.key)),
            objects,
            id,
            key,
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
        let id: [u8; 16] = random().map_err(ArchiveError::Random)?;
        let mut key = None;
        if let Some(password) = password {
            let new: [u8; 32] = random().map_err(ArchiveError::Random)?;
            let (name, bytes) = KeySlot::new(id, &new, password)?.pack();
            objects.put(&name, bytes.clone())?;
            is_as_sent(&objects, &name, &bytes)?;
            key = Some(Opened { name, key: new });
        }
        let kind = if key.is_some() { "encrypted" } else { "plain" };
        let marker = format!("{LINE}{FORMAT} {} {kind} ", hex(&id));
        let sum = marker_sum(&marker).unwrap_or_default();
        let marker = format!("{marker}{sum}\n");
        if !objects.put(MARKER, marker.clone().into_bytes())? {
            return Err(ArchiveError::Raced { place });
        }
        // Another one may have been made in its place at the same time.
        is_as_sent(&objects, MARKER, marker.as_bytes())?;
        Ok(Repository {
            marker,
            remembered: Mutex::default(),
            cipher: Cipher::new(id, key.as_ref().map(|opened| &opened.key)),
            objects,
            id,
            key,
        })
    }

    /// The same, reached in another way.
    #[cfg(test)]
    pub fn over(&self, objects: Arc<Objects>) -> Repository {
        Repository {
            objects,
            cipher: self.cipher.clone(),
            id: self.id,
            key: self.key.clone(),
            marker: self.marker.clone(),
            remembered: Mutex::default(),
        }
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
            let (sealed, head) = self.head(number)?;
            if number > first && head.previous != catalog.hash {
                return Err(self.is_no_chain(number));
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

    /// Whether no head has come after the newest one that a catalog knows.
    ///
    /// # Errors
    /// The place can't be reached.
    pub(super) fn is_newest(&self, catalog: &Catalog) -> Result<bool> {
        match self.objects.length(&head_name(catalog.newest + 1)) {
            Ok(_) => Ok(false),
            Err(ArchiveError::Missing { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// A head, sealed and open.
    fn head(&self, number: u64) -> Result<(Vec<u8>, Head)> {
        let name = head_name(number);
        let sealed = self.objects.get(&name)?;
        let open = self.cipher.open(What::Head(number), &sealed);
        let plain = open.ok_or_else(|| self.damaged(&name, "its seal is broken"))?;
        let head: Head =
            value::unpack(&plain).map_err(|_| self.damaged(&name, "it can't be read"))?;
        match head.number == number {
            true => Ok((sealed, head)),
            false => Err(self.is_no_chain(number)),
        }
    }

    fn is_no_chain(&self, number: u64) -> ArchiveError {
        self.damaged(&head_name(number), "it does not continue the one before it")
    }

    /// That each of these heads continues the one before it.
    ///
    /// # Errors
    /// One is missing or damaged, or does not.
    pub fn is_chain(&self, first: u64, last: u64) -> Result<()> {
        let mut before = None;
        for number in first..=last {
            let (sealed, head) = self.head(number)?;
            if before.is_some_and(|hash| hash != head.previous) {
                return Err(self.is_no_chain(number));
            }
            before = Some(Hash::of(&sealed));
        }
        Ok(())
    }

    /// That the place is still the one that was opened.
    ///
    /// # Errors
    /// `Pulled`: it was taken away, or another one is there.
    pub fn is_the_same(&self) -> Result<()> {
        match self.objects.get(MARKER) {
            Ok(marker) if marker == self.marker.as_bytes() => {}
            Ok(_) | Err(ArchiveError::Missing { .. }) => {
                return Err(self.pulled("it is another place".to_owned()));
            }
            Err(error) => return Err(error),
        }
        if self.cipher.encrypts() && self.objects.list("keys")?.is_empty() {
            return Err(self.pulled("its keys are gone".to_owned()));
        }
        Ok(())
    }

    fn pulled(&self, what: String) -> ArchiveError {
        ArchiveError::Pulled {
            place: self.place().to_owned(),
            what,
        }
    }

    /// That, and that it has these sets; what it holds.
    ///
    /// # Errors
    /// `Pulled`, also if somebody removed something.
    pub fn check(&self, sets: &[&SetRecord]) -> Result<Held> {
        self.is_the_same()?;
        let held = self.held()?;
        match held.lacking(sets).first() {
            Some((_, name)) => Err(self.pulled(format!("{name} is gone"))),
            None => Ok(held),
        }
    }

    /// That these objects are there, one by one, in their length.
    ///
    /// # Errors
    /// `Pulled` if one is not.
    pub(super) fn has(&self, objects: &[ObjectRecord]) -> Result<()> {
        for object in objects {
            let name = object.name();
            match self.objects.length(&name) {
                Ok(bytes) if bytes == object.bytes => {}
                Ok(_) | Err(ArchiveError::Missing { .. }) => {
                    return Err(self.pulled(format!("{name} is gone")));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What it holds: one look at the list of all objects of sets.
    ///
    /// # Errors
    /// The place can't be reached.
    pub fn held(&self) -> Result<Held> {
        let mut held = Held::default();
        for folder in FOLDERS {
            held.0.extend(self.objects.list(folder)?);
        }
        Ok(held)
    }

    /// Publishes a set: from then on it is there, and in the catalog.
    ///
    /// # Errors
    /// `Raced` if somebody else has published meanwhile.
    pub fn publish(
        &self,
        catalog: &mut Catalog,
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
        let name = head_name(number);
        let raced = || ArchiveError::Raced {
            place: self.place().to_owned(),
        };
        // Not every provider refuses to write over what is there.
        match self.objects.length(&name) {
            Ok(_) => return Err(raced()),
            Err(ArchiveError::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
        // Whatever the answer was, what is there tells: one that was lost on the way came after all,
        // and one that was sent again finds itself there.
        match (
            self.objects.put(&name, sealed.clone()),
            self.objects.get(&name),
        ) {
            (_, Ok(found)) if found == sealed => {
                catalog.newest = number;
                catalog.hash = Hash::of(&sealed);
                catalog.lineage = lineage;
                catalog.writer = Some((head.writer, head.made));
                catalog.sets.insert(number, set.clone());
                Ok(set)
            }
            (Err(error), _) | (Ok(_), Err(error)) => Err(error),
            (Ok(true), Ok(_)) => Err(self.damaged(&name, "it was not stored as it was sent")),
            (Ok(false), Ok(_)) => Err(raced()),
        }
    }

    /// The names of snapshots that stood in the store when a set was made.
    ///
    /// # Errors
    /// The object that holds them is missing or damaged.
    pub fn names(&self, set: &SetRecord) -> Result<Vec<String>> {
        let segments: Vec<&ObjectRecord> = set.of_kind(ObjectKind::Segment).collect();
        // What goes out as whole lists goes out last, and all of it in one.
        for segment in segments.into_iter().rev() {
            let records: Vec<RawRecord> = self.fetch_value(segment)?;
            let of = |family| move |record: &&RawRecord| record.family() == Some(family);
            if !records.iter().any(|record| of(Family::Meta)(&record)) {
                continue;
            }
            let names = records.iter().filter(of(Family::Snapshots));
            let names = names.filter_map(|record| key::unpack_snapshot(&record.key).ok());
            return Ok(names.map(str::to_owned).collect());
        }
        Ok(Vec::new())
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

    /// The packs of a set, as its indexes name them.
    ///
    /// # Errors
    /// An index is missing or damaged.
    pub(super) fn packs(&self, set: &SetRecord) -> Result<Vec<PackIndex>> {
        let mut packs = Vec::new();
        for object in set.of_kind(ObjectKind::Index) {
            packs.extend(self.fetch_value::<Index>(object)?.packs);
        }
        Ok(packs)
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
}

impl Held {
    /// The names of the objects.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// Adds names with their lengths.
    pub(super) fn add(&mut self, listed: Vec<(String, u64)>) {
        self.0.extend(listed);
    }

    /// Whether an object is there, in its length.
    pub(super) fn has(&self, object: &ObjectRecord) -> bool {
        self.0.get(&object.name()) == Some(&object.bytes)
    }

    /// What sets need that is not there, or is there in another length.
    pub fn lacking(&self, sets: &[&SetRecord]) -> Vec<(u64, String)> {
        let objects = |set: &&SetRecord| {
            let number = set.number;
            let lacking =
                |object: &&ObjectRecord| self.0.get(&object.name()) != Some(&object.bytes);
            let lacking = set.objects.iter().filter(lacking);
            lacking
                .map(|object| (number, object.name()))
                .collect::<Vec<_>>()
        };
        sets.iter().flat_map(objects).collect()
    }
}

/// That an object is there as it was sent, whatever was said of it.
///
/// # Errors
/// It is not.
pub(super) fn is_as_sent(objects: &Objects, name: &str, bytes: &[u8]) -> Result<()> {
    match objects.get(name)? == bytes {
        true => Ok(()),
        false => Err(ArchiveError::Damaged {
            place: objects.place().to_owned(),
            name: name.to_owned(),
            reason: "it was not stored as it was sent",
        }),
    }
}

/// The last word of the marker: of what stands before it.
fn marker_sum(text: &str) -> Option<String> {
    let end = text.rfind(' ')?;
    Some(hex(&Hash::of(&text.as_bytes()[..=end]).0[..8]))
}

fn find_key(objects: &Objects, id: [u8; 16], password: &Secret) -> Result<Opened> {
    for (name, _) in objects.list("keys")? {
        let bytes = objects.get(&name)?;
        // One that can't be read must not stand in front of others.
        let Ok(slot) = value::unpack::<KeySlot>(&bytes) else {
            continue;
        };
        if let Ok(Some(key)) = slot.open(id, password) {
            return Ok(Opened { name, key });
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
