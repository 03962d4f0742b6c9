//! The numbers and hashes by which everything in a store is known, each a type of its own so
//! that one can't be passed for another. No meaning beyond identity lives here.
//!
//! What is read from a store is at most `NUMBER_MAX`: whoever counts on from it never overflows,
//! whatever somebody wrote there.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};

/// The largest number that a store may hold; none that is given out comes near it.
pub const NUMBER_MAX: u64 = i64::MAX as u64;

/// Random bytes of the system, for what nobody may guess and no other may have.
///
/// # Errors
/// The system gives none.
pub fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A number above `NUMBER_MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the number {0} is larger than any that is given out")]
pub struct TooLarge(pub u64);

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(try_from = "u64", into = "u64")]
        pub struct $name(pub u64);

        impl TryFrom<u64> for $name {
            type Error = TooLarge;

            fn try_from(number: u64) -> Result<$name, TooLarge> {
                if number > NUMBER_MAX {
                    return Err(TooLarge(number));
                }
                Ok($name(number))
            }
        }

        impl From<$name> for u64 {
            fn from(number: $name) -> u64 {
                number.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// A file of the live tree, for ever: never given to another file, survives renames.
    FileId
);
number!(
    /// A numbered instant. Every committed epoch is a complete, browsable state. 0 is "none".
    Epoch
);
number!(
    /// Where a chunk is stored; ascending in the order in which chunks were written.
    ChunkNumber
);
number!(
    /// A snapshot, for ever: a name that is deleted and made again gets another one.
    SnapshotId
);
number!(
    /// A process (or its unknown author) as recorded in the family `actors`. 0 is unknown.
    ActorId
);

impl FileId {
    /// The root of the live tree in every store.
    pub const ROOT: FileId = FileId(1);
}

impl Epoch {
    /// Before the first epoch.
    pub const NONE: Epoch = Epoch(0);
    /// Later than any epoch: "as of MAX" is the newest state that is recorded.
    pub const MAX: Epoch = Epoch(u64::MAX);

    /// The epoch after this one.
    pub fn next(self) -> Epoch {
        Epoch(
            self.0
                .checked_add(1)
                .expect("2^64 epochs are never reached"),
        )
    }
}

/// A BLAKE3 hash, 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The hash of plain bytes.
    pub fn of(bytes: &[u8]) -> Hash {
        Hash(*blake3::hash(bytes).as_bytes())
    }

    /// Lower-case hexadecimal, 64 characters.
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The hash of which these are the digits.
    pub fn from_hex(text: &str) -> Option<Hash> {
        let mut hash = Hash::default();
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (byte, digits) in hash.0.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(hash)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex()[..16])
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}
