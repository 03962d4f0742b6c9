//! rewindfs: a FUSE file system that keeps every past state of a working directory.
//!
//! The layers, each of which knows only those below it (docs/architecture.md has the map):
//! cli, fuse, control, archive, fs, history, capture, retention, inodes, store, format, backing, and the plain
//! vocabulary of id, name, pattern, limits and time.

pub mod archive;
pub mod backing;
pub mod capture;
pub mod cli;
pub mod control;
pub mod filling;
pub mod format;
pub mod fs;
pub mod fuse;
pub mod history;
pub mod id;
pub mod inodes;
pub mod limits;
pub mod name;
pub mod pattern;
pub mod restore;
pub mod retention;
pub mod store;
pub mod time;
