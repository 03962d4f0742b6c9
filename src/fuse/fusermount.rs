//! How an ordinary user mounts: through the setuid program fusermount3.

use crate::fuse::error::FuseError;
use crate::fuse::{Access, Options};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
    recvmsg, socketpair,
};
use std::ffi::OsString;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Looked for here before PATH, which may lead into the mount.
const USUAL_PLACES: [&str; 4] = [
    "/usr/bin/fusermount3",
    "/bin/fusermount3",
    "/usr/local/bin/fusermount3",
    "/run/wrappers/bin/fusermount3",
];

/// The program, by its absolute path.
#[derive(Clone, Debug)]
pub(super) struct Fusermount(PathBuf);

impl Fusermount {
    /// # Errors
    /// It is not installed.
    pub fn find() -> Result<Fusermount, FuseError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let in_path = std::env::split_paths(&path)
            .filter(|dir| dir.is_absolute())
            .map(|dir| dir.join("fusermount3"));
        USUAL_PLACES
            .iter()
            .map(PathBuf::from)
            .chain(in_path)
            .find(|path| path.is_file())
            .map(Fusermount)
            .ok_or(FuseError::NoFusermount)
    }

    /// Mounts and gives the descriptor of /dev/fuse.
    ///
    /// # Errors
    /// What it says, in one sentence.
    pub fn mount(
        &self,
        source: &Path,
        mountpoint: &Path,
        options: &Options,
    ) -> Result<OwnedFd, FuseError> {
        let failed = |source: io::Error| FuseError::Mount {
            path: mountpoint.to_path_buf(),
            source,
        };
        let (ours, its) = socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|error| failed(error.into()))?;
        let output = self
            .command()
            // The socket is its standard input: no other descriptor need be inherited.
            .env("_FUSE_COMMFD", "0")
            .stdin(Stdio::from(its))
            .arg("-o")
            .arg(option_string(source, options))
            .arg("--")
            .arg(mountpoint)
            .output()
            .map_err(failed)?;
        if !output.status.success() {
            return Err(refusal(mountpoint, &output.stderr));
        }
        receive(ours.as_fd()).map_err(failed)
    }

    /// Unmounts; `lazy` detaches a mount that is in use.
    ///
    /// # Errors
    /// EBUSY while it is in use; another error with what it says.
    pub fn unmount(&self, mountpoint: &Path, lazy: bool) -> io::Result<()> {
        let output = self
            .command()
            .stdin(Stdio::null())
            .arg(if lazy { "-uz" } else { "-u" })
            .arg("--")
            .arg(mountpoint)
            .output()?;
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr);
        Err(if text.contains("busy") {
            io::Error::from_raw_os_error(libc::EBUSY)
        } else {
            io::Error::other(sentence(&text))
        })
    }

    /// It runs outside of any mount of ours, and talks English.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.0);
        command.current_dir("/").env_clear().env("LC_ALL", "C");
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }
}

fn option_string(source: &Path, options: &Options) -> OsString {
    let mut text = b"subtype=rewindfs,default_permissions".to_vec();
    if options.access != Access::Owner {
        text.extend_from_slice(b",allow_other");
    }
    text.extend_from_slice(if options.read_only { b",ro" } else { b",rw" });
    text.extend_from_slice(b",fsname=");
    for &byte in source.as_os_str().as_bytes() {
        if matches!(byte, b',' | b'\\') {
            text.push(b'\\');
        }
        text.push(byte);
    }
    OsString::from_vec(text)
}

/// What the program complains of, for the user.
fn refusal(mountpoint: &Path, stderr: &[u8]) -> FuseError {
    let text = String::from_utf8_lossy(stderr);
    if text.contains("user_allow_other") {
        FuseError::AllowOther
    } else if text.contains("/dev/fuse") || text.contains("fuse device not found") {
        FuseError::NoDevice
    } else {
        FuseError::Fusermount {
            path: mountpoint.to_path_buf(),
            message: sentence(&text),
        }
    }
}

/// The first line, without the name of the program.
fn sentence(text: &str) -> String {
    let line = text.lines().next().unwrap_or("no reason given").trim();
    let line = line.strip_prefix("fusermount3:").unwrap_or(line);
    line.trim().to_string()
}

/// The descriptor that the program has sent before it ended.
fn receive(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut byte)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    control
        .drain()
        .find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        })
        .ok_or_else(|| io::Error::other("fusermount3 sent no descriptor"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn options_are_escaped_for_fusermount() {
        let options = Options {
            access: Access::Everyone,
            ..Options::default()
        };
        let text = option_string(Path::new("/a,b\\c"), &options);
        let expected = "subtype=rewindfs,default_permissions,allow_other,rw,fsname=/a\\,b\\\\c";
        assert_eq!(text, OsStr::new(expected));
        let owner = option_string(Path::new("/a"), &Options::default());
        assert!(!owner.to_string_lossy().contains("allow_other"));
    }

    #[test]
    fn refusals_are_one_clear_sentence() {
        let error = |text: &str| refusal(Path::new("/m"), text.as_bytes()).to_string();
        let other = error(
            "fusermount3: option allow_other only allowed if 'user_allow_other' is set in \
             /etc/fuse.conf\n",
        );
        for word in ["allow_other", "allow_root", "/etc/fuse.conf"] {
            assert!(other.contains(word), "{other}");
        }
        let access = error("fusermount3: user has no write access to mountpoint /m\nmore\n");
        assert_eq!(
            access,
            "fusermount3 refuses /m: user has no write access to mountpoint /m"
        );
        let device = error("fusermount3: fuse device not found, try 'modprobe fuse' first\n");
        assert!(device.contains("modprobe fuse"));
    }

    #[test]
    fn a_descriptor_is_received() {
        let (ours, its) = socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .expect("a pair of sockets");
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = rustix::net::SendAncillaryBuffer::new(&mut space);
        let null = std::fs::File::open("/dev/null").expect("opened");
        let sent = [null.as_fd()];
        assert!(control.push(rustix::net::SendAncillaryMessage::ScmRights(&sent)));
        let flags = rustix::net::SendFlags::empty();
        let data = [io::IoSlice::new(b"x")];
        rustix::net::sendmsg(&its, &data, &mut control, flags).expect("sent");
        receive(ours.as_fd()).expect("received");
        drop(its);
        assert!(receive(ours.as_fd()).is_err());
    }
}
