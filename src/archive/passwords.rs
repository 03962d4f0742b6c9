//! The passwords of a repository: each opens the same key, so none of what was sent has to be sent
//! again when one comes, goes or is changed. The last one stays.

use super::keys::{KeySlot, Secret};
use super::repository::{Opened, Repository, is_as_sent};
use super::{ArchiveError, Result};
use crate::format::value;

/// Where they lie.
const FOLDER: &str = "keys/";

/// A password, as far as one can tell without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordSlot {
    /// By this it is removed.
    pub name: String,
    /// It is the one that was given.
    pub is_given: bool,
    /// It can't be read: no password opens it.
    pub is_damaged: bool,
}

impl Repository {
    /// The passwords.
    ///
    /// # Errors
    /// There are none, or the place can't be reached.
    pub fn passwords(&self) -> Result<Vec<PasswordSlot>> {
        let own = self.opened()?;
        let mut slots = Vec::new();
        for (name, _) in self.objects.list("keys")? {
            let slot = self.objects.get(&name)?;
            slots.push(PasswordSlot {
                is_given: name == own.name,
                is_damaged: value::unpack::<KeySlot>(&slot).is_err(),
                name: name.strip_prefix(FOLDER).unwrap_or(&name).to_owned(),
            });
        }
        Ok(slots)
    }

    /// Adds one; its name.
    ///
    /// # Errors
    /// The repository is not encrypted; what was put there is not what comes back.
    pub fn add_password(&self, password: &Secret) -> Result<String> {
        let key = self.opened()?.key;
        let (name, bytes) = KeySlot::new(self.id, &key, password)?.pack();
        self.objects.put(&name, bytes.clone())?;
        is_as_sent(&self.objects, &name, &bytes)?;
        Ok(name.strip_prefix(FOLDER).unwrap_or(&name).to_owned())
    }

    /// Removes one.
    ///
    /// # Errors
    /// There is none of this name, or it is the last that can be read.
    pub fn remove_password(&self, name: &str) -> Result<()> {
        let place = || self.place().to_owned();
        let slots = self.passwords()?;
        if !slots.iter().any(|slot| slot.name == name) {
            return Err(ArchiveError::NoSuchPassword {
                place: place(),
                name: name.to_owned(),
            });
        }
        let is_other = |slot: &&PasswordSlot| slot.name != name && !slot.is_damaged;
        if slots.iter().find(is_other).is_none() {
            return Err(ArchiveError::LastPassword { place: place() });
        }
        let object = format!("{FOLDER}{name}");
        let bytes = self.objects.get(&object)?;
        self.objects.delete(&object)?;
        // Whoever was told that it is gone would rely on that.
        if self
            .objects
            .list("keys")?
            .iter()
            .any(|(name, _)| *name == object)
        {
            return Err(ArchiveError::Kept {
                place: place(),
                name: name.to_owned(),
            });
        }
        // Two who remove the two last ones at the same time: one of them sees it.
        if self.passwords()?.iter().all(|slot| slot.is_damaged) {
            self.objects.put(&object, bytes)?;
            return Err(ArchiveError::LastPassword { place: place() });
        }
        Ok(())
    }

    /// Puts another password in place of the one that was given; its name. Who is cut off in between
    /// has both.
    ///
    /// # Errors
    /// As of adding and removing.
    pub fn change_password(&self, password: &Secret) -> Result<String> {
        let own = self.opened()?.name.clone();
        let new = self.add_password(password)?;
        self.remove_password(own.strip_prefix(FOLDER).unwrap_or(&own))?;
        Ok(new)
    }

    fn opened(&self) -> Result<&Opened> {
        self.key.as_ref().ok_or_else(|| ArchiveError::Unencrypted {
            place: self.place().to_owned(),
        })
    }
}
