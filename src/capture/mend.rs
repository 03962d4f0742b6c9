//! The live tree as what a damaged store is mended from: files by their number in the store, read
//! where the newest state says that they stand. Whether they hold what is missing is not decided
//! here: who asks compares hashes.

use super::deed::{next_data, read_full};
use crate::backing::{self, Backing};
use crate::format::record::{ChunkList, Content, Cutting, InodeVersion, Piece};
use crate::id::{Epoch, FileId, Hash};
use crate::limits::{self, CHUNK_AVERAGE, CHUNK_MAX, CHUNK_MIN, FIXED_CHUNK};
use crate::store::Store;
use crate::store::repair::Mender;
use fastcdc::v2020::StreamCDC;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// Versions of a file whose lists are tried as what it was cut after.
const FORMER: usize = 8;

/// The files of a live tree.
pub struct LiveFiles {
    root: OwnedFd,
    store: Arc<Store>,
}

impl LiveFiles {
    /// Those of this directory, as this store knows them.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new(backing: &Backing, store: Arc<Store>) -> io::Result<LiveFiles> {
        let root = backing.root().try_clone_to_owned()?;
        Ok(LiveFiles { root, store })
    }

    /// Opens a file where the newest record of it says that it stands.
    fn open(&self, mut id: FileId) -> Option<OwnedFd> {
        let view = self.store.view();
        let mut names = Vec::new();
        while id != FileId::ROOT {
            let newest = view.inode_at(id, Epoch::MAX).ok()??;
            let (_, InodeVersion::Present(inode)) = newest else {
                return None;
            };
            if names.len() >= limits::DEPTH_MAX {
                return None;
            }
            names.push(inode.name);
            id = inode.parent;
        }
        let (first, below) = names.split_last()?;
        let mut here = backing::open_path_at(self.root.as_fd(), first).ok()?;
        for name in below.iter().rev() {
            here = backing::open_path_at(here.as_fd(), name).ok()?;
        }
        backing::reopen(here.as_fd(), false).ok()
    }
}

impl Mender for LiveFiles {
    fn read(&self, id: FileId, offset: u64, len: u32) -> Option<Vec<u8>> {
        let file = self.open(id)?;
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        let read = read_full(file.as_fd(), &mut bytes, offset).ok()?;
        bytes.truncate(read);
        Some(bytes)
    }

    fn lists(&self, id: FileId) -> Vec<ChunkList> {
        let Some(file) = self.open(id) else {
            return Vec::new();
        };
        let cut = |cutting| cut(&file, cutting).ok();
        let mut lists: Vec<ChunkList> = [Cutting::ContentDefined, Cutting::Fixed]
            .into_iter()
            .filter_map(cut)
            .collect();
        let former = self.former_lists(id);
        lists.extend(former.iter().filter_map(|base| cut_after(&file, base).ok()));
        lists
    }
}

impl LiveFiles {
    /// The lists of the versions of a file that can be read, newest first.
    fn former_lists(&self, id: FileId) -> Vec<Arc<ChunkList>> {
        let view = self.store.view();
        let (mut lists, mut at) = (Vec::new(), Epoch::MAX);
        while let Ok(Some((epoch, version))) = view.inode_at(id, at) {
            if let InodeVersion::Present(inode) = version
                && let Content::List(hash) = inode.content
                && let Ok(list) = view.list(hash)
            {
                lists.push(list);
            }
            if lists.len() == FORMER || epoch == Epoch::NONE {
                break;
            }
            at = Epoch(epoch.0 - 1);
        }
        lists
    }
}

/// The list of a file that was written to in place after it was `base`: the pieces that it still has,
/// and fixed places between them.
fn cut_after(file: &OwnedFd, base: &ChunkList) -> io::Result<ChunkList> {
    let size = backing::stat_fd(file.as_fd())?.size;
    let mut pieces = Vec::new();
    let (mut done, mut start) = (0, 0);
    for piece in &base.pieces {
        let end = start + piece.len();
        if end > size {
            break;
        }
        if let Piece::Data { len, hash } = *piece {
            let mut bytes = vec![0; len.min(limits::CHUNK_PLAIN_MAX) as usize];
            let read = read_full(file.as_fd(), &mut bytes, start)?;
            if read == bytes.len() && Hash::of(&bytes) == hash {
                cut_range(file, Cutting::Fixed, done..start, &mut pieces)?;
                pieces.push(*piece);
                done = end;
            }
        }
        start = end;
    }
    cut_range(file, Cutting::Fixed, done..size, &mut pieces)?;
    Ok(ChunkList {
        cutting: Cutting::Fixed,
        pieces,
    })
}

/// The list of pieces that a file is, cut from its beginning.
fn cut(file: &OwnedFd, cutting: Cutting) -> io::Result<ChunkList> {
    let size = backing::stat_fd(file.as_fd())?.size;
    let mut pieces = Vec::new();
    cut_range(file, cutting, 0..size, &mut pieces)?;
    Ok(ChunkList { cutting, pieces })
}

fn cut_range(
    file: &OwnedFd,
    cutting: Cutting,
    range: Range<u64>,
    pieces: &mut Vec<Piece>,
) -> io::Result<()> {
    let mut at = range.start;
    while at < range.end {
        let (start, stop) = next_data(file.as_fd(), at, range.end)?;
        if start > at {
            pieces.push(Piece::Hole { len: start - at });
        }
        if start < stop {
            cut_segment(file, cutting, start, stop, pieces)?;
        }
        at = stop.max(at + 1);
    }
    Ok(())
}

fn cut_segment(
    file: &OwnedFd,
    cutting: Cutting,
    start: u64,
    stop: u64,
    pieces: &mut Vec<Piece>,
) -> io::Result<()> {
    let mut add = |bytes: &[u8]| {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let hash = Hash::of(bytes);
        pieces.push(Piece::Data { len, hash });
    };
    let mut segment = Segment {
        file,
        at: start,
        end: stop,
    };
    if cutting == Cutting::ContentDefined && stop - start > u64::from(CHUNK_MIN) {
        for chunk in StreamCDC::new(segment, CHUNK_MIN, CHUNK_AVERAGE, CHUNK_MAX) {
            add(&chunk.map_err(io::Error::from)?.data);
        }
        return Ok(());
    }
    let step = match cutting {
        Cutting::ContentDefined => u64::from(CHUNK_MIN),
        Cutting::Fixed => u64::from(FIXED_CHUNK),
    };
    while segment.at < stop {
        let end = match cutting {
            Cutting::ContentDefined => stop,
            Cutting::Fixed => ((segment.at / step + 1) * step).min(stop),
        };
        let mut bytes = vec![0; usize::try_from(end - segment.at).map_err(io::Error::other)?];
        io::Read::read_exact(&mut segment, &mut bytes)?;
        add(&bytes);
    }
    Ok(())
}

/// A part of a file, to be read from front to back.
struct Segment<'a> {
    file: &'a OwnedFd,
    at: u64,
    end: u64,
}

impl io::Read for Segment<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let len = left.min(buffer.len());
        let read = read_full(self.file.as_fd(), &mut buffer[..len], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
