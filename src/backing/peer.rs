//! Who is at the other end of a unix socket, as the kernel noted it when he connected: user and all
//! his groups. /proc would tell of whoever has the number of his process now.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Somebody at the other end of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// Groups that are asked for first; a process has 65,536 at most.
const GROUPS_FIRST: usize = 64;

impl Peer {
    /// Who connected.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn of(socket: BorrowedFd<'_>) -> io::Result<Peer> {
        let credentials = rustix::net::sockopt::socket_peercred(socket)?;
        Ok(Peer {
            uid: credentials.uid.as_raw(),
            gid: credentials.gid.as_raw(),
            groups: groups(socket)?,
        })
    }

    /// Whether he is of this group.
    pub fn is_in(&self, group: u32) -> bool {
        self.gid == group || self.groups.contains(&group)
    }
}

/// SO_PEERGROUPS.
fn groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups = vec![0_u32; GROUPS_FIRST];
    loop {
        let mut bytes = libc::socklen_t::try_from(mem::size_of_val(groups.as_slice()))
            .map_err(io::Error::other)?;
        // Safe because the kernel writes at most `bytes` bytes to memory of that size.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut bytes,
            )
        };
        let number = bytes as usize / mem::size_of::<u32>();
        if result == 0 {
            groups.truncate(number);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        // ERANGE comes with the size that it takes.
        if error.raw_os_error() != Some(libc::ERANGE) || number <= groups.len() {
            return Err(error);
        }
        groups.resize(number, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn who_connected_is_known_with_his_groups() {
        let (one, _other) = UnixStream::pair().expect("a pair");
        let peer = Peer::of(one.as_fd()).expect("told");
        let own = rustix::process::getgroups().expect("told");
        let own: Vec<u32> = own.into_iter().map(|gid| gid.as_raw()).collect();
        assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
        assert_eq!(peer.gid, rustix::process::getegid().as_raw());
        assert_eq!(peer.groups, own);
        assert!(peer.is_in(peer.gid));
        assert!(own.iter().all(|group| peer.is_in(*group)));
        let foreign = (1 << 20..).find(|group| !own.contains(group) && *group != peer.gid);
        assert!(!peer.is_in(foreign.expect("a number")));
    }
}
