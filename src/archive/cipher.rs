//! Sealing: encrypted and authenticated with XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), or in
//! a repository without encryption, with a BLAKE3 behind the bytes. What an object is and to which
//! repository it belongs is sealed with it, so that none stands for another.

use super::{ArchiveError, Result};
use crate::id::random;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};

/// Bytes of the nonce in front of what is sealed: random, as 192 bits are enough for.
const NONCE: usize = 24;
/// Bytes of the hash behind what is not encrypted.
const HASH: usize = 32;

/// What is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The key of the repository, with a password's.
    Key,
    Chunk,
    Index,
    Segment,
    /// The head of this number.
    Head(u64),
    /// A sign of life, likewise.
    Beat(u64),
    /// What was tried, likewise.
    Proof(u64),
}

impl What {
    fn label(self, repository: [u8; 16]) -> Vec<u8> {
        let (kind, number) = match self {
            What::Key => (0, 0),
            What::Chunk => (1, 0),
            What::Index => (2, 0),
            What::Segment => (3, 0),
            What::Head(number) => (4, number),
            What::Beat(number) => (5, number),
            What::Proof(number) => (6, number),
        };
        let mut label = b"rewindfs repository 1".to_vec();
        label.extend_from_slice(&repository);
        label.push(kind);
        label.extend_from_slice(&u64::to_le_bytes(number));
        label
    }
}

/// How the objects of a repository are sealed.
#[derive(Clone)]
pub struct Cipher {
    repository: [u8; 16],
    key: Option<Box<XChaCha20Poly1305>>,
}

impl Cipher {
    /// Without a key nothing is encrypted.
    pub fn new(repository: [u8; 16], key: Option<&[u8; 32]>) -> Cipher {
        let key = key.map(|key| Box::new(XChaCha20Poly1305::new(&Key::from(*key))));
        Cipher { repository, key }
    }

    /// Whether what is sealed is encrypted.
    pub fn encrypts(&self) -> bool {
        self.key.is_some()
    }

    /// Seals bytes.
    ///
    /// # Errors
    /// No random numbers.
    pub fn seal(&self, what: What, plain: &[u8]) -> Result<Vec<u8>> {
        let label = what.label(self.repository);
        let Some(key) = &self.key else {
            return Ok([plain, &hash(&label, plain)].concat());
        };
        let nonce: [u8; NONCE] = random().map_err(ArchiveError::Random)?;
        let payload = Payload {
            msg: plain,
            aad: &label,
        };
        let sealed = key.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.map_err(|_| ArchiveError::Key("it is too long to be encrypted"))?;
        Ok([&nonce[..], &sealed].concat())
    }

    /// The bytes that were sealed; `None` if these are not what was sealed so.
    pub fn open(&self, what: What, sealed: &[u8]) -> Option<Vec<u8>> {
        let label = what.label(self.repository);
        let Some(key) = &self.key else {
            let (plain, found) = sealed.split_at_checked(sealed.len().checked_sub(HASH)?)?;
            return (found == hash(&label, plain)).then(|| plain.to_vec());
        };
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>()?;
        let payload = Payload {
            msg: sealed,
            aad: &label,
        };
        key.decrypt(&XNonce::from(*nonce), payload).ok()
    }
}

fn hash(label: &[u8], plain: &[u8]) -> [u8; HASH] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(label);
    hasher.update(plain);
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::key::hex;

    #[test]
    fn what_is_sealed_comes_back_and_nothing_else_does() {
        for key in [None, Some(&[7; 32])] {
            let cipher = Cipher::new([1; 16], key);
            let sealed = cipher.seal(What::Head(3), b"plain").unwrap();
            assert_eq!(cipher.open(What::Head(3), &sealed).unwrap(), b"plain");
            assert_eq!(cipher.open(What::Head(4), &sealed), None);
            assert_eq!(cipher.open(What::Segment, &sealed), None);
            let other = Cipher::new([2; 16], key);
            assert_eq!(other.open(What::Head(3), &sealed), None);
            for bit in 0..sealed.len() * 8 {
                let mut flipped = sealed.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(cipher.open(What::Head(3), &flipped), None, "bit {bit}");
            }
            for length in 0..sealed.len() {
                assert_eq!(cipher.open(What::Head(3), &sealed[..length]), None);
            }
            assert_eq!(
                key.is_some(),
                !sealed.windows(5).any(|bytes| bytes == b"plain")
            );
        }
        let (one, other) = (
            Cipher::new([1; 16], Some(&[7; 32])),
            Cipher::new([1; 16], Some(&[8; 32])),
        );
        let sealed = one.seal(What::Chunk, b"plain").unwrap();
        assert_eq!(other.open(What::Chunk, &sealed), None);
        assert_ne!(sealed, one.seal(What::Chunk, b"plain").unwrap());
    }

    #[test]
    fn golden_label() {
        assert_eq!(
            hex(&What::Head(258).label([0xab; 16])),
            format!(
                "{}{}040201000000000000",
                hex(b"rewindfs repository 1"),
                "ab".repeat(16)
            )
        );
    }
}
