//! Threads that only do what nobody waits for.

/// Whom: this thread.
const WHO_PROCESS: i32 = 1;
/// The class that gets the disk when nobody else wants it.
const CLASS_IDLE: i32 = 3;
const CLASS_SHIFT: i32 = 13;

/// From now on this thread runs, and reads from disks, only when nobody else wants to, as far as the
/// system does that.
pub fn idle_thread() {
    if let Err(error) = rustix::process::setpriority_process(None, 19) {
        log::debug!("a background thread runs at the usual priority: {error}");
    }
    // Safe because ioprio_set takes three numbers, and 0 means the calling thread.
    let set = unsafe {
        libc::syscall(
            libc::SYS_ioprio_set,
            WHO_PROCESS,
            0,
            CLASS_IDLE << CLASS_SHIFT,
        )
    };
    if set != 0 {
        log::debug!("a background thread reads at the usual priority");
    }
}
