//! The key of a repository, wrapped by passwords: one object for each. A password is turned into a
//! key by Argon2id with the second choice of RFC 9106, section 4 (64 MiB, 3 passes, 4 lanes).

use super::cipher::{Cipher, What};
use super::{ArchiveError, Result};
use crate::format::key::hex;
use crate::format::value;
use crate::id::{Hash, random};
use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};
use std::fmt;

const MEMORY_KIB: u32 = 64 << 10;
const PASSES: u32 = 3;
const LANES: u32 = 4;
/// More is not believed of an object that somebody may have changed.
const MEMORY_KIB_MAX: u32 = 1 << 20;
const PASSES_MAX: u32 = 16;
const LANES_MAX: u32 = 64;

/// A password.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// An object below `keys/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySlot {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: [u8; 16],
    /// The key of the repository, sealed with the password's.
    wrapped: Vec<u8>,
}

impl KeySlot {
    /// Wraps a key.
    ///
    /// # Errors
    /// No random numbers.
    pub fn new(repository: [u8; 16], key: &[u8; 32], password: &Secret) -> Result<KeySlot> {
        let mut slot = KeySlot {
            memory_kib: MEMORY_KIB,
            passes: PASSES,
            lanes: LANES,
            salt: random().map_err(ArchiveError::Random)?,
            wrapped: Vec::new(),
        };
        let own = slot.stretch(password)?;
        slot.wrapped = Cipher::new(repository, Some(&own)).seal(What::Key, key)?;
        Ok(slot)
    }

    /// The key, if the password is that of this slot.
    ///
    /// # Errors
    /// Figures that are not believed.
    pub fn open(&self, repository: [u8; 16], password: &Secret) -> Result<Option<[u8; 32]>> {
        let own = self.stretch(password)?;
        let key = Cipher::new(repository, Some(&own)).open(What::Key, &self.wrapped);
        Ok(key.and_then(|key| key.try_into().ok()))
    }

    fn stretch(&self, password: &Secret) -> Result<[u8; 32]> {
        let too_much =
            self.memory_kib > MEMORY_KIB_MAX || self.passes > PASSES_MAX || self.lanes > LANES_MAX;
        if too_much {
            return Err(ArchiveError::Key(
                "it asks for more memory or time than is believed",
            ));
        }
        let bad = |_| ArchiveError::Key("its figures are not those of Argon2id");
        let params =
            Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).map_err(bad)?;
        let mut key = [0; 32];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(&password.0, &self.salt, &mut key)
            .map_err(bad)?;
        Ok(key)
    }

    /// Its name and bytes as an object.
    pub fn pack(&self) -> (String, Vec<u8>) {
        let bytes = value::pack(self);
        let name = format!("keys/{}", &hex(&Hash::of(&bytes).0)[..16]);
        (name, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_out_with_its_password_alone() {
        let slot = KeySlot::new([1; 16], &[7; 32], &Secret(b"right".to_vec())).unwrap();
        let open = |repository, password: &[u8]| {
            slot.open(repository, &Secret(password.to_vec())).unwrap()
        };
        assert_eq!(open([1; 16], b"right"), Some([7; 32]));
        assert_eq!(open([1; 16], b"wrong"), None);
        assert_eq!(open([2; 16], b"right"), None);
        let (name, bytes) = slot.pack();
        assert!(name.starts_with("keys/") && name.len() == 21, "{name}");
        assert_eq!(value::unpack::<KeySlot>(&bytes), Ok(slot.clone()));
        let greedy = KeySlot {
            memory_kib: u32::MAX,
            ..slot
        };
        assert!(greedy.open([1; 16], &Secret(b"right".to_vec())).is_err());
    }

    // The expected value was computed with the reference implementation (its Python binding).
    #[test]
    fn golden_stretch() {
        let slot = KeySlot {
            memory_kib: 64,
            passes: 3,
            lanes: 1,
            salt: *b"somesaltsomesalt",
            wrapped: Vec::new(),
        };
        let key = slot.stretch(&Secret(b"password".to_vec())).unwrap();
        assert_eq!(
            hex(&key),
            "6164c739a04e17de34a80bee65c6a58f4b8a240cbf5652f4a79e35ae02b7c616"
        );
    }
}
