//! A process takes places out of its own sight, and of the sight of all that it starts: what it
//! then does, it does without them.

use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::mount::{mount, mount_change, unmount};
use rustix::process::{getegid, geteuid};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::io;
use std::path::Path;

/// Mounts that are taken off one place: more than anybody stacks.
const STACKED: usize = 16;

/// From now on nothing is found at these places. Root only needs mounts of its own for that, others
/// a user namespace as well, which a system may not allow. Before the first thread.
///
/// # Errors
/// It is not allowed; then all is as it was, or nobody should go on who relies on it.
pub fn out_of_sight(places: &[&Path]) -> io::Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    let mut flags = UnshareFlags::NEWNS;
    if !uid.is_root() {
        flags |= UnshareFlags::NEWUSER;
    }
    // SAFETY: the table of descriptors stays shared.
    unsafe { unshare_unsafe(flags) }?;
    if !uid.is_root() {
        // Everybody stays who he was.
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/uid_map", format!("{0} {0} 1", uid.as_raw()))?;
        std::fs::write("/proc/self/gid_map", format!("{0} {0} 1", gid.as_raw()))?;
    }
    // What others take off goes here as well, so that nobody's umount waits for this process; what
    // is done here is seen by nobody else.
    let ours = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", ours)?;
    for place in places {
        for _ in 0..STACKED {
            // Not one, or one that this user may not take off: it is covered.
            if unmount(*place, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).is_err() {
                break;
            }
        }
        let flags =
            MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        match mount("none", *place, "tmpfs", flags, c"size=4k") {
            // It is out of sight already.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
