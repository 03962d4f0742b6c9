//! What can go wrong with a mount, each as one sentence for the user.

use std::io;
use std::path::PathBuf;

/// Why there is no mount, or no end of one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FuseError {
    #[error("there is no /dev/fuse here: load the kernel's module with `modprobe fuse`")]
    NoDevice,
    #[error("/dev/fuse can't be opened")]
    Device(#[source] io::Error),
    #[error(
        "fusermount3, by which an ordinary user mounts, is not installed: `apt-get install fuse3`"
    )]
    NoFusermount,
    #[error(
        "allow_other and allow_root are for root alone until /etc/fuse.conf has the line \
         user_allow_other"
    )]
    AllowOther,
    #[error("fusermount3 refuses {}: {message}", path.display())]
    Fusermount { path: PathBuf, message: String },
    #[error(
        "{} can't be mounted over: root may not mount here; in a container, start it with \
         --cap-add SYS_ADMIN --device /dev/fuse",
        path.display()
    )]
    NotPermitted { path: PathBuf },
    #[error("{} can't be mounted over", path.display())]
    Mount {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the mount of {} can't be found again", path.display())]
    Vanished { path: PathBuf },
    #[error(
        "the kernel's FUSE is too old, it does not offer NO_OPENDIR_SUPPORT: rewindfs needs Linux \
         5.4 or newer (`uname -r` tells yours)"
    )]
    TooOld,
    #[error("the connection to the kernel can't be set up")]
    Session(#[source] io::Error),
}

/// For root or another user who is refused access to an ordinary user's mount.
pub const REFUSED_HINT: &str = "only the user who mounted it may enter: mount it with \
    `-o allow_root` or `-o allow_other`, for which /etc/fuse.conf needs the line user_allow_other";
