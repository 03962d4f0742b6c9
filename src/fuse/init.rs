//! What is agreed with the kernel at the start of a session.

use crate::limits;
use fuser::{InitFlags, KernelConfig};
use std::io;

/// Requests that the kernel may have in flight by itself (read-ahead, write-back).
const MAX_BACKGROUND: u16 = 64;
/// Above this it waits before it sends more.
const CONGESTION: u16 = 48;

/// Wanted where the kernel offers it. Never: SETXATTR_EXT, SECURITY_CTX, CREATE_SUPP_GROUP,
/// ALLOW_IDMAP and OVER_IO_URING, which fuser 0.18 does not understand; POSIX_LOCKS and
/// FLOCK_LOCKS, since the kernel's own locks are right for one machine and keep no thread waiting;
/// ATOMIC_O_TRUNC, which needs OPEN; AUTO_INVAL_DATA, since nobody else changes the tree.
const WANTED: InitFlags = InitFlags::FUSE_ASYNC_READ
    .union(InitFlags::FUSE_BIG_WRITES)
    .union(InitFlags::FUSE_MAX_PAGES)
    .union(InitFlags::FUSE_PARALLEL_DIROPS)
    .union(InitFlags::FUSE_DO_READDIRPLUS)
    .union(InitFlags::FUSE_READDIRPLUS_AUTO)
    .union(InitFlags::FUSE_HANDLE_KILLPRIV_V2)
    .union(InitFlags::FUSE_POSIX_ACL)
    .union(InitFlags::FUSE_DONT_MASK)
    .union(InitFlags::FUSE_CACHE_SYMLINKS)
    .union(InitFlags::FUSE_EXPLICIT_INVAL_DATA)
    .union(InitFlags::FUSE_ASYNC_DIO)
    .union(InitFlags::FUSE_HAS_IOCTL_DIR)
    .union(NEEDED);

/// For tests: only the flags below this bit are believed to be offered.
const FLAGS_BELOW: &str = "REWINDFS_INIT_FLAGS_BELOW";

/// Without these nothing here works.
const NEEDED: InitFlags = InitFlags::FUSE_NO_OPEN_SUPPORT.union(InitFlags::FUSE_NO_OPENDIR_SUPPORT);

/// Fills in our side.
///
/// # Errors
/// Unsupported: the kernel lacks what the no-open protocol needs.
pub(super) fn negotiate(config: &mut KernelConfig, writeback: bool) -> io::Result<()> {
    let flags = choose(config.capabilities() & believed(), writeback)?;
    let size = config.set_max_write(limits::MAX_WRITE).map(drop);
    let background = config.set_max_background(MAX_BACKGROUND).map(drop);
    let congestion = config.set_congestion_threshold(CONGESTION).map(drop);
    debug_assert!(size.is_ok() && background.is_ok() && congestion.is_ok());
    config
        .add_capabilities(flags)
        .map_err(|missing| io::Error::other(format!("the kernel does not offer {missing:?}")))
}

/// Flags that count if the kernel offers them: all of them, or in tests those of an older kernel,
/// which gave them out in ascending order.
fn believed() -> InitFlags {
    let below = std::env::var(FLAGS_BELOW)
        .ok()
        .and_then(|text| text.parse::<u32>().ok());
    match below {
        Some(bits) if bits < u64::BITS => InitFlags::from_bits_retain((1 << bits) - 1),
        _ => InitFlags::all(),
    }
}

fn choose(offered: InitFlags, writeback: bool) -> io::Result<InitFlags> {
    if !offered.contains(NEEDED) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let mut wanted = WANTED;
    if writeback {
        wanted |= InitFlags::FUSE_WRITEBACK_CACHE;
    }
    if writeback && !offered.contains(InitFlags::FUSE_WRITEBACK_CACHE) {
        log::warn!("the kernel does not offer write-back caching: mounted without");
    }
    Ok(wanted & offered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_offered_and_understood_is_requested() {
        let all = choose(InitFlags::all(), false).expect("enough");
        assert!(all.contains(InitFlags::FUSE_HANDLE_KILLPRIV_V2));
        for never in [
            InitFlags::FUSE_SETXATTR_EXT,
            InitFlags::FUSE_SECURITY_CTX,
            InitFlags::FUSE_CREATE_SUPP_GROUP,
            InitFlags::FUSE_ALLOW_IDMAP,
            InitFlags::FUSE_OVER_IO_URING,
            InitFlags::FUSE_POSIX_LOCKS,
            InitFlags::FUSE_FLOCK_LOCKS,
            InitFlags::FUSE_ATOMIC_O_TRUNC,
            InitFlags::FUSE_AUTO_INVAL_DATA,
            InitFlags::FUSE_PASSTHROUGH,
            InitFlags::FUSE_WRITEBACK_CACHE,
        ] {
            assert!(!all.intersects(never), "{never:?}");
        }
        let few = NEEDED.union(InitFlags::FUSE_DONT_MASK);
        assert_eq!(choose(few, true).expect("enough"), few);
        let writeback = choose(InitFlags::all(), true).expect("enough");
        assert!(writeback.contains(InitFlags::FUSE_WRITEBACK_CACHE));
        assert!(choose(InitFlags::FUSE_NO_OPEN_SUPPORT, false).is_err());
    }
}
