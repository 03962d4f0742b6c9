//! Backup to places elsewhere: sets of records and chunks as objects in a folder or in the cloud.
//! docs/format.md describes the objects.
//!
//! 1. An object is never changed, and written over only by the bytes that its name says, if it is
//!    damaged. What a set is made of is there, and
//!    confirmed, before the head that names it: who dies in between leaves garbage, no wrong set.
//! 2. Heads are numbered, and a number is given to one writer only: of two that write at the same
//!    time one is refused.
//! 3. A full set needs nothing else; an incremental one the set before it, a differential one the
//!    full set before it. No set uses what another one holds that it does not need.
//! 4. What comes back is believed for its hash or seal, never for its place or name.
//!
//! It knows the store and its format, and prints nothing.

mod backup;
mod cipher;
mod credentials;
mod error;
mod feed;
mod keys;
mod limit;
mod notes;
mod object;
mod objects;
mod others;
mod pace;
mod pack;
mod part;
mod passwords;
mod pull;
mod recover;
mod remembered;
mod remote;
mod repository;
mod send;
#[cfg(test)]
mod tests;

pub use backup::{Backup, Confirm, Kind, Made, Plan};
pub use error::ArchiveError;
pub use feed::{Facts, Feed, Local};
pub use keys::{KeySlot, Secret};
pub use limit::Rate;
pub use notes::{Beat, Proof, ProofKind};
pub use object::{
    Head, Index, ObjectKind, ObjectRecord, PackIndex, PackedChunk, SetKind, SetRecord,
};
pub use objects::Objects;
pub use others::{Mended, Other, Source};
pub use pace::{Far, Jobs, Pace};
pub use passwords::PasswordSlot;
pub use pull::{Pull, Pulled};
pub use recover::{FetchedPack, Gather, Gathering, Lacks, Outcome, fetch_all, pack_name};
pub use remote::serve;
pub use repository::{Catalog, Held, Repository, Secrecy};

/// What a call here answers.
pub type Result<T> = std::result::Result<T, ArchiveError>;

/// How far something is: bytes and objects that have gone over the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub objects: u64,
    pub bytes: u64,
}
