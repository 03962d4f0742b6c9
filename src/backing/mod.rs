//! The live directory by descriptors: system calls and nothing else.
//!
//! Everything above works on descriptors that come from here; no path string of the live tree is
//! ever resolved again after the mount, because it would lead back into ourselves. This layer has
//! no memory (but the identity of a thread, `identity.rs`), no locks and no opinions: what the
//! kernel answers is the answer, as a raw errno.
//!
//! Architecture invariant: `unsafe` stands in this layer alone.

mod apart;
mod data;
mod dir;
mod flags;
mod handle;
mod identity;
mod idle;
mod memory;
mod names;
mod open;
mod peer;
mod root;
mod stat;
mod xattr;

pub use apart::out_of_sight;
pub use data::{copy_range, fallocate, fsync, has_data, pread, pwrite, seek, truncate};
pub use dir::{DirStream, RawEntry};
pub use flags::flags_ioctl;
pub use handle::{Handle, handle_of, open_handle};
pub use identity::{as_caller, as_self, prepare_thread, without_taking_space};
pub use idle::idle_thread;
pub use memory::{bound_memory, give_memory_back};
pub use names::{
    link_fd_at, mkdir_at, mknod_at, readlink_fd, rename_at, rmdir_at, symlink_at, unlink_at,
};
pub use open::{create_at, open_path_at, reopen};
pub use peer::Peer;
pub use root::Backing;
pub use stat::{
    SetTime, Space, Stat, birth, chmod_fd, chown_fd, space, stat_at, stat_fd, utimens_fd,
};
pub use xattr::{get_xattr, list_xattrs, remove_xattr, set_xattr};

use std::os::fd::{AsRawFd, BorrowedFd};

/// The path under which this process can reach again what a descriptor refers to.
///
/// Not remembered as a descriptor of /proc/self/fd: that one would go on meaning the parent after
/// a fork.
fn proc_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}
