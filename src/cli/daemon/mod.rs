//! The process that serves a mount: how it is started (`launch`), what it is told (`job`), how
//! its parts are put together and taken apart again (`run`), and how it is heard (`log`).
//!
//! It is a new execution of this program, not a fork of the command: it begins without threads,
//! locks or descriptors of its parent, and the parent waits until the mount is usable.

pub mod detach;
mod insiders;
mod job;
mod launch;
mod limit;
mod log;
mod log_queue;
mod metrics;
mod mounting;
pub mod rehearsal;
mod run;
mod sender;
mod signals;

pub use insiders::{insiders, is_only_caller};
pub use job::{Import, Job, News};
pub use launch::{launch, serve};
pub use limit::raise_files;
pub use metrics::address as metrics_address;
pub use rehearsal::beat_every;
pub use run::{Teller, foreground};
