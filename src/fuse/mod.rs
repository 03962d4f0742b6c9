//! FUSE: the adapter between the kernel and `fs`, mounting and unmounting, and what there is to
//! know about mounts and who uses them.
//!
//! Architecture invariant: nothing here decides what an operation does; that is `fs`. And nothing
//! outside of this folder knows fuser.

mod adapter;
mod attributes;
mod connection;
mod engine;
mod error;
mod flusher;
mod fusermount;
mod init;
mod inside;
mod job;
mod mappers;
mod mount;
mod processes;
mod refused;
mod session;
mod sink;
mod traffic;

pub use error::{FuseError, REFUSED_HINT};
pub use flusher::{Flush, Unseen};
pub use inside::{Held, Holder, Inside, device_of, inside};
pub use mount::{Mounted, mount, take_off, unmount};
pub use session::{Session, serve};
pub use traffic::WAIT_CLASSES;

/// Who may enter the mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Who mounts, alone.
    #[default]
    Owner,
    /// And root (`-o allow_root`).
    OwnerAndRoot,
    /// Everyone, as the modes of the files allow (`-o allow_other`; what root's mounts have).
    Everyone,
}

/// How a directory is mounted and served.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The kernel collects small writes (`-o writeback`).
    pub writeback: bool,
    /// Nothing can be changed (`-o ro`).
    pub read_only: bool,
    pub access: Access,
    /// Event loops; `None`: by the number of processors.
    pub loops: Option<usize>,
}
