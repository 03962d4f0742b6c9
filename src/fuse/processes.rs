//! The processes of this machine and their mappings, as /proc tells them.

use std::io;
use std::path::{Path, PathBuf};

/// A mapping of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    pub shared: bool,
    pub writable: bool,
    /// Major and minor number of the file's device.
    pub device: (u32, u32),
    pub ino: u64,
    pub path: PathBuf,
}

/// All processes but this one.
///
/// # Errors
/// /proc can't be read.
pub(super) fn others() -> io::Result<impl Iterator<Item = u32>> {
    let own = std::process::id();
    Ok(std::fs::read_dir("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(move |&pid| pid != own))
}

/// What a process calls itself; empty when it has gone.
pub(super) fn command(pid: u32) -> String {
    std::fs::read(proc_file(pid, "comm"))
        .map(|name| String::from_utf8_lossy(&name).trim_end().to_string())
        .unwrap_or_default()
}

/// A file of a process.
pub(super) fn proc_file(pid: u32, name: &str) -> PathBuf {
    Path::new("/proc").join(pid.to_string()).join(name)
}

/// The mapped files of a process. Takes the lock of its address space: it may wait for as long as
/// the process waits for us.
///
/// # Errors
/// It has gone; it is not ours to look at.
pub(super) fn mappings(pid: u32) -> io::Result<Vec<Mapping>> {
    let text = std::fs::read(proc_file(pid, "maps"))?;
    Ok(text
        .split(|&byte| byte == b'\n')
        .filter_map(parse)
        .collect())
}

/// One line: `7f00-7f01 rw-s 00000000 fe:00 1234   /path`; `None` for memory that is no file.
fn parse(line: &[u8]) -> Option<Mapping> {
    use std::os::unix::ffi::OsStrExt;
    let mut fields = line.splitn(6, |&byte| byte == b' ');
    let mut text = || {
        fields
            .next()
            .and_then(|field| std::str::from_utf8(field).ok())
    };
    let _addresses = text()?;
    let permissions = text()?;
    let _offset = text()?;
    let (major, minor) = text()?.split_once(':')?;
    let device = (
        u32::from_str_radix(major, 16).ok()?,
        u32::from_str_radix(minor, 16).ok()?,
    );
    let ino = text()?.parse().ok().filter(|&ino| ino != 0)?;
    let path = fields.next().unwrap_or_default().trim_ascii_start();
    Some(Mapping {
        shared: permissions.ends_with('s'),
        writable: permissions.as_bytes().get(1) == Some(&b'w'),
        device,
        ino,
        path: PathBuf::from(std::ffi::OsStr::from_bytes(path)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_maps_are_read() {
        let shared = parse(b"7f0000-7f1000 rw-s 00001000 00:2a 77                  /m/a b");
        let expected = Mapping {
            shared: true,
            writable: true,
            device: (0, 42),
            ino: 77,
            path: PathBuf::from("/m/a b"),
        };
        assert_eq!(shared, Some(expected));
        let private = parse(b"7f0000-7f1000 r-xp 00000000 fe:00 9 /lib/x").expect("a file");
        assert_eq!((private.shared, private.device), (false, (0xfe, 0)));
        assert!(!private.writable);
        assert_eq!(
            parse(b"7ffd00-7ffe00 rw-p 00000000 00:00 0   [stack]"),
            None
        );
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn real_processes_are_listed_and_the_own_is_not() {
        let all: Vec<u32> = others().expect("read").collect();
        assert!(!all.contains(&std::process::id()));
        assert!(all.contains(&1));
        assert!(!mappings(std::process::id()).expect("read").is_empty());
        assert!(!command(std::process::id()).is_empty());
    }
}
