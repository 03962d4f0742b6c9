//! For a drill: which files are in a sample, and that what was written is what was recorded, by
//! reading it again.

use super::part::each;
use crate::backing;
use crate::cli::error::Error;
use crate::format::record::{Content, Kind, Piece};
use crate::history::path::{self, Found, join};
use crate::history::{History, HistoryError};
use crate::id::{Epoch, Hash};
use crate::restore::Asked;
use crate::store::View;
use rustix::fs::{Mode, OFlags, openat};
use serde::Serialize;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

/// Differences that are named; of more, their number is said.
const NAMED_MAX: usize = 5;
/// Bytes that are read at once.
const BUFFER: usize = 1 << 20;

/// What reading it again showed.
#[derive(Debug, Default, Serialize)]
pub struct Proved {
    pub files: u64,
    pub bytes: u64,
    pub differing: u64,
    /// The first of them.
    pub named: Vec<String>,
}

/// So many percent of the regular files whose content is kept, chosen by a number; at least one, if
/// there are any.
///
/// # Errors
/// The store's.
pub fn sample(
    history: &History,
    at: Epoch,
    percent: u8,
    seed: u64,
) -> Result<Vec<Asked>, HistoryError> {
    let view = history.view();
    let mut chosen = Vec::new();
    let mut nearest: Option<(u64, Vec<u8>)> = None;
    let root = path::walk(&view, at, [])?;
    let mut dirs: Vec<(Vec<u8>, Found)> = root.into_iter().map(|root| (Vec::new(), root)).collect();
    while let Some((above, dir)) = dirs.pop() {
        each(&view, at, &dir, |name, child| {
            let path = join(&above, name);
            if child.inode.kind == Kind::Dir {
                dirs.push((path, child));
            } else if child.inode.kind == Kind::File && !child.inode.content.is_missing() {
                let lot = lot(seed, &path);
                // Of 2^64 lots, so many percent.
                if u128::from(lot) * 100 < u128::from(percent) << 64 {
                    chosen.push(path);
                } else if chosen.is_empty() && nearest.as_ref().is_none_or(|(own, _)| lot < *own) {
                    nearest = Some((lot, path));
                }
            }
        })?;
    }
    if chosen.is_empty() {
        chosen.extend(nearest.map(|(_, path)| path));
    }
    let names = |path: &Vec<u8>| {
        path.split(|byte| *byte == b'/')
            .map(<[u8]>::to_vec)
            .collect()
    };
    Ok(chosen.iter().map(names).collect())
}

fn lot(seed: u64, path: &[u8]) -> u64 {
    let hash = Hash::of(&[&seed.to_le_bytes(), path].concat());
    let mut first = [0; 8];
    first.copy_from_slice(&hash.0[..8]);
    u64::from_le_bytes(first)
}

/// Reads what stands at and below paths in a directory, and holds it against a state.
///
/// # Errors
/// The store's.
pub fn prove(
    dir: OwnedFd,
    history: &History,
    at: Epoch,
    paths: &[Asked],
    interrupted: &dyn Fn() -> bool,
) -> Result<Proved, Error> {
    let failed = |error| Error::State {
        text: "latest".to_owned(),
        error,
    };
    let view = history.view();
    let mut proved = Proved::default();
    let dir = Rc::new(dir);
    for asked in paths {
        let mut above = Rc::clone(&dir);
        let (name, parents) = match asked.split_last() {
            Some((name, parents)) => (&name[..], parents),
            None => (&b"."[..], &[][..]),
        };
        let walked = path::walk(&view, at, asked.iter().map(Vec::as_slice));
        let Some(found) = walked.map_err(failed)? else {
            continue;
        };
        let mut there = true;
        for parent in parents {
            match open_dir(&above, parent) {
                Ok(opened) => above = Rc::new(opened),
                Err(_) => there = false,
            }
        }
        if !there {
            proved.differs(&asked.join(&b'/'), "its folder is not there");
            continue;
        }
        let mut todo = vec![(above, name.to_vec(), asked.join(&b'/'), found)];
        while let Some((above, name, path, found)) = todo.pop() {
            if interrupted() {
                return Ok(proved);
            }
            if found.inode.kind != Kind::Dir {
                if let Err(reason) = proved.file(&view, &above, &name, &found) {
                    proved.differs(&path, &reason);
                }
                continue;
            }
            let opened = match open_dir(&above, &name) {
                Ok(opened) => Rc::new(opened),
                Err(error) => {
                    proved.differs(&path, &error.to_string());
                    continue;
                }
            };
            each(&view, at, &found, |name, child| {
                todo.push((Rc::clone(&opened), name.to_vec(), join(&path, name), child));
            })
            .map_err(failed)?;
        }
    }
    Ok(proved)
}

fn open_dir(above: &OwnedFd, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(above, name, flags, Mode::empty())?)
}

impl Proved {
    fn differs(&mut self, path: &[u8], reason: &str) {
        self.differing += 1;
        if self.named.len() < NAMED_MAX {
            let path = String::from_utf8_lossy(path);
            self.named.push(format!("{path}: {reason}"));
        }
    }

    /// One that is no folder.
    fn file(
        &mut self,
        view: &View<'_>,
        above: &OwnedFd,
        name: &[u8],
        found: &Found,
    ) -> Result<(), String> {
        let inode = &found.inode;
        // What history does not have can't have been written.
        if inode.content.is_missing() || !matches!(inode.kind, Kind::File | Kind::Symlink) {
            return Ok(());
        }
        let say = |error: io::Error| error.to_string();
        let fd = backing::open_path_at(above.as_fd(), name).map_err(say)?;
        let stat = backing::stat_fd(fd.as_fd()).map_err(say)?;
        if Kind::from_mode(stat.mode) != Some(inode.kind) {
            return Err("it is of another kind".to_owned());
        }
        self.files += 1;
        if inode.kind == Kind::Symlink {
            return match backing::readlink_fd(fd.as_fd()).map_err(say)? == inode.target {
                true => Ok(()),
                false => Err("it leads elsewhere".to_owned()),
            };
        }
        if stat.size != inode.size {
            return Err(format!("it has {} bytes, not {}", stat.size, inode.size));
        }
        let fd = backing::reopen(fd.as_fd(), false).map_err(say)?;
        self.bytes += inode.size;
        match is_content(view, &mut File::from(fd), inode.content)? {
            true => Ok(()),
            false => Err("its bytes are others".to_owned()),
        }
    }
}

/// Whether a file has this content, by the hashes of its pieces.
fn is_content(view: &View<'_>, file: &mut File, content: Content) -> Result<bool, String> {
    let say = |error: io::Error| error.to_string();
    match content {
        Content::Chunk(hash) => {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(say)?;
            Ok(Hash::of(&bytes) == hash)
        }
        Content::List(hash) => {
            let list = view.list(hash).map_err(|error| error.to_string())?;
            let mut offset = 0;
            for piece in &list.pieces {
                let same = match piece {
                    Piece::Data { len, hash } => {
                        let mut bytes = vec![0; *len as usize];
                        file.seek(SeekFrom::Start(offset)).map_err(say)?;
                        file.read_exact(&mut bytes).map_err(say)?;
                        Hash::of(&bytes) == *hash
                    }
                    Piece::Hole { len } => is_hole(file, offset, offset + len).map_err(say)?,
                };
                if !same {
                    return Ok(false);
                }
                offset += piece.len();
            }
            Ok(true)
        }
        _ => Ok(true),
    }
}

fn is_hole(file: &mut File, mut offset: u64, end: u64) -> io::Result<bool> {
    let mut buffer = vec![0; BUFFER];
    while offset < end {
        match backing::seek(file.as_fd(), offset, libc::SEEK_DATA) {
            Ok(data) => offset = data,
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => return Ok(true),
            Err(error) => return Err(error),
        }
        if offset >= end {
            break;
        }
        let wanted = usize::try_from(end - offset).unwrap_or(BUFFER).min(BUFFER);
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(&mut buffer[..wanted])?;
        if buffer[..wanted].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        offset += wanted as u64;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_named_by_its_number() {
        let of = |seed, percent: u128| {
            let all = (0..1000_u32).map(|n| n.to_le_bytes());
            let in_it = |path: &[u8; 4]| u128::from(lot(seed, path)) * 100 < percent << 64;
            all.filter(in_it).collect::<Vec<_>>()
        };
        assert_eq!(of(7, 10), of(7, 10));
        assert_ne!(of(7, 10), of(8, 10));
        assert!((50..200).contains(&of(7, 10).len()), "{}", of(7, 10).len());
        assert_eq!(of(7, 100).len(), 1000);
    }

    #[test]
    fn holes_are_nothing_but_zeros() {
        let mut file = tempfile::tempfile().unwrap();
        file.set_len(5 << 20).unwrap();
        assert!(is_hole(&mut file, 0, 5 << 20).unwrap());
        crate::backing::pwrite(file.as_fd(), b"\0\0", 3 << 20).unwrap();
        assert!(is_hole(&mut file, 0, 5 << 20).unwrap());
        crate::backing::pwrite(file.as_fd(), b"x", 4 << 20).unwrap();
        assert!(is_hole(&mut file, 0, 4 << 20).unwrap());
        assert!(!is_hole(&mut file, 0, 5 << 20).unwrap());
    }
}
