//! Requests about a history, and who carries them out. A command is a `Request`; it goes over the
//! `socket` to the daemon of a mounted directory, or to the same handlers (`service`) in the
//! command's own process, on a store that it opened itself (`open`). Finding that store from what
//! a person typed is `locate`; what must hold before a directory is mounted, `check`.
//!
//! Knows nothing of FUSE: what it needs of a mount it asks through `service::Mounting`. Prints
//! nothing.

pub mod access;
pub mod check;
pub mod client;
#[cfg(test)]
mod cost;
pub mod danger;
mod difference;
pub mod door;
pub mod drills;
pub mod error;
pub mod estimate;
mod events;
pub mod export;
pub mod filling;
mod find;
pub mod folder;
pub mod hooks;
pub mod identity;
mod keeping;
pub mod kept;
pub mod left_out;
mod listing;
pub mod locate;
mod log;
pub mod missing;
pub mod mounts;
pub mod open;
pub mod protocol;
mod purge;
pub mod purged;
pub mod replicas;
pub mod report;
pub mod request;
pub mod schedules;
pub mod service;
pub mod socket;
mod status;
pub mod undo;
pub mod verified;
mod verify;
mod versions;
pub mod when;
pub mod wire;
