//! Bringing the past back: what stood below a path in a state is written into a directory, and
//! nothing else of it is touched.
//!
//! A state is read through a `Source`: the views of a mount (then the kernel asks whether this
//! user may) or the store. What is written goes through descriptors of the target, name by name.
//! It does not know who asked, and prints nothing: what happens to each path is told to `Tell`.
//!
//! 1. No symlink of the target is ever followed: every name is opened with O_NOFOLLOW, and what
//!    was opened is what is changed.
//! 2. The bytes of a state are read to their end before a byte of a file is changed: what can't
//!    be read leaves the file that is there as it is.
//! 3. What is made appears under its name when it is complete (a rename). A file that is there is
//!    changed in place where its changes are recorded, and replaced by a rename elsewhere.
//! 4. Nothing outside the paths that were asked for is changed but the directories that lead to
//!    them: those that are missing are made, and making a name changes the time of its directory.

mod attributes;
mod content;
mod file;
mod folder;
mod item;
mod left_out;
mod paths;
mod recorded;
mod remove;
mod steps;
mod tally;
mod tree;

#[cfg(test)]
mod tests;

pub use attributes::set_attributes;
pub use folder::Folder;
pub use item::{Bytes, Facts, Fault, Item, Source, walk};
pub use paths::{Asked, LeftOut, Options, Overwrite, restore};
pub use recorded::Recorded;
pub use steps::{States, carry_out};
pub use tally::{Change, Tally, Tell, Trouble};
pub use tree::remove_temporary;
