//! What a process must set for itself before it serves a mount.

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};
use std::io;

/// Prepares this process; to be called before it has threads.
///
/// # Errors
/// When `/` can't be entered.
pub fn prepare() -> io::Result<()> {
    crate::backing::bound_memory();
    // A daemon that stood below its own mount would wait for itself.
    std::env::set_current_dir("/")?;
    // What it makes is its store: nobody else's business. (The files of others are made by
    // threads that have an umask of their own.)
    umask(Mode::from_raw_mode(0o077));
    raise_files();
    // A core file would hold what people's files hold, and nobody asked for it.
    let none = Rlimit {
        current: Some(0),
        maximum: getrlimit(Resource::Core).maximum,
    };
    if let Err(error) = setrlimit(Resource::Core, none) {
        log::warn!("core files can't be switched off: {error}");
    }
    Ok(())
}

/// Takes as many open files as this process may have.
pub fn raise_files() {
    let files = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: files.maximum,
        maximum: files.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, most) {
        log::warn!("the number of open files can't be raised: {error}");
    }
}
