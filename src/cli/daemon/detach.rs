//! Taking a mount off that no daemon takes off: one that died, hangs, or can't be reached.

use super::super::error::Error;
use super::insiders;
use crate::control::error::Error as Refusal;
use crate::control::locate::Place;
use crate::fuse;

/// Detaches the mount of a place and aborts its connection, so that no detached session goes on
/// serving.
///
/// # Errors
/// What the kernel, or fusermount3, says.
pub fn by_force(place: &Place) -> Result<(), Error> {
    let Some(mount) = &place.mount else {
        return Err(Error::NotMounted(place.dir.clone()));
    };
    fuse::take_off(&mount.point, mount.device.1).map_err(|source| Error::Detach {
        dir: mount.point.clone(),
        source,
    })
}

/// Takes the mount of a place off as umount(8) does; its daemon then ends by itself.
///
/// # Errors
/// `Busy` with the names of those who use it, and what else the kernel, or fusermount3, says: then
/// nothing was changed.
pub fn if_unused(place: &Place) -> Result<(), Error> {
    let Some(mount) = &place.mount else {
        return Err(Error::NotMounted(place.dir.clone()));
    };
    fuse::unmount(&mount.point).map_err(|source| {
        if source.raw_os_error() == Some(libc::EBUSY) {
            Error::Refused {
                refusal: Refusal::Busy {
                    users: insiders(&mount.point),
                },
                dir: place.dir.clone(),
            }
        } else {
            Error::Detach {
                dir: mount.point.clone(),
                source,
            }
        }
    })
}
