//! What every test stands on: a folder of its own, the real program mounted in it, commands that
//! cannot hang the run, and comparison of whole trees. Knows the program only from outside.

pub mod boot;
pub mod calls;
pub mod compare;
pub mod fixtures;
pub mod golden;
pub mod loopfs;
pub mod mount;
pub mod run;
pub mod sandbox;
pub mod seccomp;
pub mod sys;
pub mod twin;

pub use boot::Boot;
pub use fixtures::*;
pub use golden::golden;
pub use mount::Mounted;
pub use run::{Cmd, Run, wait_for};
pub use sandbox::Sandbox;

/// True in `tests/run.sh --quick`: the same tests with smaller numbers.
pub fn quick() -> bool {
    std::env::var_os("REWINDFS_QUICK").is_some()
}

/// `full` normally, `small` in a quick run.
pub fn sized<T>(full: T, small: T) -> T {
    if quick() { small } else { full }
}
