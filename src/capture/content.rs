//! From a file as it was at the end of an epoch to a chunk list in the store.
//!
//! 1. The live file is read first, then what was stashed is laid over it.
//! 2. Holes cut: what is no data has no chunk.
//! 3. Pieces of the version before are taken over where nothing changed: a file that is appended
//!    to or rewritten is cut by content, what is written to in place every FIXED_CHUNK bytes.

use super::Recorder;
use super::deed::{lost_reason, next_data, read_full};
use crate::format::ranges::RangeSet;
use crate::format::record::{ChunkList, Content, Cutting, LostReason, Piece};
use crate::id::{Epoch, Hash};
use crate::inodes::Inode;
use crate::inodes::track::Dirty;
use crate::limits::{CHUNK_AVERAGE, CHUNK_MAX, CHUNK_MIN, FIXED_CHUNK};
use crate::store::{Reliance, StoreError};
use std::cell::Cell;
use std::io;
use std::iter::Peekable;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// A file this large that is changed in few places is cut at fixed places from then on, bytes.
const IN_PLACE_MIN: u64 = 1 << 20;

/// So much of a file is read at once to be cut by content, bytes.
const WINDOW_BYTES: usize = 4 * CHUNK_MAX as usize;
/// FastCDC 2020 (Xia et al.) with normalization level 1: one bit more is asked for before the average
/// than it needs, one less after it.
const MASKS: (u64, u64) = {
    let bits = CHUNK_AVERAGE.trailing_zeros() as usize;
    (
        fastcdc::v2020::MASKS[bits + 1],
        fastcdc::v2020::MASKS[bits - 1],
    )
};

thread_local! {
    /// What is read to be cut: taken anew for each file, it would cost more than the cutting.
    static WINDOW: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Where the first chunk ends of bytes that are all of a segment, or as many as a chunk may have.
fn next_cut(bytes: &[u8]) -> usize {
    let (min, average, max) = (CHUNK_MIN, CHUNK_AVERAGE, CHUNK_MAX);
    let (first, second) = MASKS;
    fastcdc::v2020::cut(
        bytes,
        min as usize,
        average as usize,
        max as usize,
        first,
        second,
        first << 1,
        second << 1,
    )
    .1
}

/// A file as it was at the end of an epoch.
pub(super) struct AsOf<'a> {
    pub inode: &'a Arc<Inode>,
    pub epoch: Epoch,
    /// Its size then.
    pub size: u64,
    /// It had holes then, or may have had.
    pub sparse: bool,
    pub dirty: &'a Dirty,
    /// What it held in the version before, when that is known.
    pub before: Option<(Content, u64)>,
}

/// What came of a capture.
pub(super) struct Stored {
    pub content: Content,
    pub hashed_bytes: u64,
}

/// Why a capture failed.
#[derive(Debug)]
pub(super) enum Failed {
    /// This file alone.
    File(LostReason),
    /// The store: nothing can be recorded.
    Store(StoreError),
    /// Nothing is recorded any more.
    Stopped,
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Failed {
        Failed::Store(error)
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        match error.downcast::<StoreError>() {
            Ok(error) => Failed::Store(error),
            Err(error) => Failed::File(lost_reason(&error)),
        }
    }
}

struct Capture<'a> {
    recorder: &'a Recorder,
    file: Arc<OwnedFd>,
    of: &'a AsOf<'a>,
    relied: &'a mut Reliance,
    pieces: Vec<Piece>,
    /// Where the pieces so far end.
    done: u64,
    hashed_bytes: u64,
}

impl Recorder {
    /// Brings the content of a file into the store.
    pub(super) fn store_content(
        &self,
        of: &AsOf<'_>,
        relied: &mut Reliance,
    ) -> Result<Stored, Failed> {
        if of.size == 0 {
            return Ok(Stored {
                content: Content::Empty,
                hashed_bytes: 0,
            });
        }
        let file = self.inodes.data(of.inode, false)?;
        let mut capture = Capture {
            recorder: self,
            file,
            of,
            relied,
            pieces: Vec::new(),
            done: 0,
            hashed_bytes: 0,
        };
        let before = capture.list_before()?;
        let cutting = choose_cutting(of, before.as_ref());
        match (cutting, before) {
            (Cutting::ContentDefined, before) => capture.cut_by_content(before)?,
            (Cutting::Fixed, before) => capture.cut_fixed(before)?,
        }
        let hashed_bytes = capture.hashed_bytes;
        let pieces = std::mem::take(&mut capture.pieces);
        let content = match pieces[..] {
            [Piece::Data { hash, .. }] => Content::Chunk(hash),
            _ => Content::List(
                self.store
                    .put_list(relied, &ChunkList { cutting, pieces })?,
            ),
        };
        Ok(Stored {
            content,
            hashed_bytes,
        })
    }
}

/// Fixed places for what is written in place below its size; once so, as long as that is so.
fn choose_cutting(of: &AsOf<'_>, before: Option<&(ChunkList, u64)>) -> Cutting {
    let Some((list, size)) = before else {
        return Cutting::ContentDefined;
    };
    if of.dirty.all || of.size < IN_PLACE_MIN {
        return Cutting::ContentDefined;
    }
    let below = of.dirty.ranges.first().is_some_and(|first| first < *size);
    // Or in so many places that they were not remembered to the byte.
    let few = of.dirty.ranges.bytes() < of.size / 2 || !of.dirty.is_exact();
    match list.cutting {
        Cutting::Fixed if few => Cutting::Fixed,
        _ if below && few && of.size >= *size => Cutting::Fixed,
        _ => Cutting::ContentDefined,
    }
}

impl Capture<'_> {
    /// The chunk list of the version before, if the store has it and it is of use.
    fn list_before(&mut self) -> Result<Option<(ChunkList, u64)>, Failed> {
        let Some((content, size)) = self.of.before else {
            return Ok(None);
        };
        if self.of.dirty.all {
            return Ok(None);
        }
        let list = match content {
            Content::Chunk(hash) => {
                let Ok(len) = u32::try_from(size) else {
                    return Ok(None);
                };
                let pieces = vec![Piece::Data { len, hash }];
                ChunkList {
                    cutting: Cutting::ContentDefined,
                    pieces,
                }
            }
            Content::List(hash) => match self.recorder.store.list_of(self.relied, hash) {
                Ok(Some(list)) => ChunkList::clone(&list),
                // Not there any more, or damaged: the file is here to be read.
                Ok(None) | Err(_) => return Ok(None),
            },
            Content::Empty | Content::Lost(_) | Content::Purged(_) | Content::Damaged(_) => {
                return Ok(None);
            }
        };
        Ok(Some((list, size)))
    }

    fn cut_by_content(&mut self, before: Option<(ChunkList, u64)>) -> Result<(), Failed> {
        let mut start = 0;
        if let Some((list, size)) = before
            && list.cutting == Cutting::ContentDefined
        {
            let first = self.of.dirty.ranges.first().unwrap_or(size);
            let unchanged = first.min(size).min(self.of.size);
            // The last piece before the end of the file may have been cut by that end.
            let whole = if self.of.size == size && first >= size {
                size
            } else {
                unchanged
            };
            for piece in list.pieces {
                let end = start + piece.len();
                let ends_there = end == size && whole < self.of.size;
                if end > whole || ends_there || !self.take_over(piece)? {
                    break;
                }
                start = end;
            }
        }
        for segment in self.segments(start..self.of.size)? {
            self.hole_up_to(segment.start);
            self.cut_segment(segment)?;
        }
        self.hole_up_to(self.of.size);
        Ok(())
    }

    fn cut_segment(&mut self, segment: Range<u64>) -> Result<(), Failed> {
        if segment.end - segment.start <= u64::from(CHUNK_MIN) {
            return self.store_piece(segment);
        }
        let mut window = WINDOW.take();
        let result = self.cut_through(segment, &mut window);
        WINDOW.set(window);
        result
    }

    fn cut_through(&mut self, segment: Range<u64>, window: &mut Vec<u8>) -> Result<(), Failed> {
        window.clear();
        // Up to where the window is cut, and up to where the file is in it.
        let (mut cut, mut read) = (0, segment.start);
        loop {
            if window.len() - cut < CHUNK_MAX as usize && read < segment.end {
                window.drain(..cut);
                cut = 0;
                let old = window.len();
                let room = (WINDOW_BYTES - old) as u64;
                let more = room.min(segment.end - read);
                window.resize(old + more as usize, 0);
                if self.recorder.is_ending() && self.recorder.scan.is_stopped() {
                    return Err(io::Error::from(io::ErrorKind::Interrupted).into());
                }
                let of = self.of;
                read_as_of(&self.file, of.inode, of.epoch, &mut window[old..], read)?;
                read += more;
            }
            if cut == window.len() {
                return Ok(());
            }
            let end = cut + next_cut(&window[cut..]);
            self.store_bytes(&window[cut..end])?;
            cut = end;
        }
    }

    fn cut_fixed(&mut self, before: Option<(ChunkList, u64)>) -> Result<(), Failed> {
        let step = u64::from(FIXED_CHUNK);
        let mut to_read = RangeSet::default();
        // Also of one that was cut by content: only the pieces that were written to are cut anew.
        match &before {
            Some((_, size)) => {
                for range in self.of.dirty.ranges.iter() {
                    to_read.insert(range.start / step * step..range.end.div_ceil(step) * step);
                }
                // The end of the old file may lie inside a block.
                to_read.insert(size.min(&self.of.size) / step * step..self.of.size);
                to_read.remove(self.of.size..u64::MAX);
            }
            None => to_read.insert(0..self.of.size),
        }
        let pieces = before.map(|(list, _)| list.pieces).unwrap_or_default();
        let mut to_come = to_read.iter().peekable();
        let mut start = 0;
        for piece in pieces {
            let end = (start + piece.len()).min(self.of.size);
            for gap in to_read.missing(start..end) {
                self.read_fixed(&mut to_come, gap.start)?;
                let taken = match piece {
                    Piece::Data { .. } if gap == (start..start + piece.len()) => {
                        self.take_over(piece)?
                    }
                    Piece::Data { .. } => false,
                    Piece::Hole { .. } => {
                        self.hole_up_to(gap.end);
                        true
                    }
                };
                if !taken {
                    self.read_blocks(gap)?;
                }
            }
            start = end;
        }
        self.read_fixed(&mut to_come, self.of.size)
    }

    /// Reads what is to be read between the end of the pieces so far and `up_to`.
    fn read_fixed(
        &mut self,
        to_come: &mut Peekable<impl Iterator<Item = Range<u64>>>,
        up_to: u64,
    ) -> Result<(), Failed> {
        while let Some(range) = to_come.peek() {
            let here = range.start.max(self.done)..range.end.min(up_to);
            let is_last = range.end > up_to;
            if here.start < here.end {
                self.read_blocks(here)?;
            }
            if is_last {
                break;
            }
            to_come.next();
        }
        Ok(())
    }

    fn read_blocks(&mut self, range: Range<u64>) -> Result<(), Failed> {
        let step = u64::from(FIXED_CHUNK);
        for segment in self.segments(range.clone())? {
            self.hole_up_to(segment.start);
            let mut at = segment.start;
            while at < segment.end {
                let end = ((at / step + 1) * step).min(segment.end);
                self.store_piece(at..end)?;
                at = end;
            }
        }
        self.hole_up_to(range.end);
        Ok(())
    }

    /// Where the file had data as of the epoch, within `range`.
    fn segments(&self, range: Range<u64>) -> Result<Vec<Range<u64>>, Failed> {
        let mut map = RangeSet::default();
        if !self.of.sparse {
            map.insert(range.clone());
        } else {
            let mut at = range.start;
            while at < range.end {
                let (start, stop) = next_data(self.file.as_fd(), at, range.end)?;
                map.insert(start..stop);
                at = stop.max(at + 1);
            }
            self.of
                .inode
                .track
                .lock()
                .stash
                .correct_data_map(self.of.epoch, &mut map);
            map.remove(0..range.start);
            map.remove(range.end..u64::MAX);
        }
        Ok(map.iter().collect())
    }

    fn hole_up_to(&mut self, end: u64) {
        let more = end.saturating_sub(self.done);
        if more > 0 {
            match self.pieces.last_mut() {
                Some(Piece::Hole { len }) => *len += more,
                _ => self.pieces.push(Piece::Hole { len: more }),
            }
            self.done = end;
        }
    }

    /// Relies on a piece of the version before; false if the store has it no more.
    fn take_over(&mut self, piece: Piece) -> Result<bool, Failed> {
        match piece {
            Piece::Hole { len } => {
                let end = self.done + len;
                self.hole_up_to(end);
                Ok(true)
            }
            Piece::Data { hash, .. } => {
                let there = self.recorder.store.rely(self.relied, hash)?;
                if there {
                    self.done += piece.len();
                    self.pieces.push(piece);
                }
                Ok(there)
            }
        }
    }

    fn store_piece(&mut self, range: Range<u64>) -> Result<(), Failed> {
        let len = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
        let mut bytes = vec![0; len];
        read_as_of(
            &self.file,
            self.of.inode,
            self.of.epoch,
            &mut bytes,
            range.start,
        )?;
        self.store_bytes(&bytes)
    }

    fn store_bytes(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        let hash: Hash = self.recorder.store.put_chunk(self.relied, bytes)?;
        let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.recorder.spend_space(u64::from(len));
        if !self.recorder.trouble.is_recording() {
            return Err(Failed::Stopped);
        }
        let mut track = self.of.inode.track.lock();
        if let Some(reason) = track.version(self.of.epoch).and_then(|v| v.lost) {
            return Err(Failed::File(reason));
        }
        drop(track);
        self.hashed_bytes += u64::from(len);
        self.done += u64::from(len);
        self.pieces.push(Piece::Data { len, hash });
        Ok(())
    }
}

/// The live file first, then what was stashed over it.
fn read_as_of(
    file: &OwnedFd,
    inode: &Inode,
    epoch: Epoch,
    buffer: &mut [u8],
    offset: u64,
) -> io::Result<()> {
    read_full(file.as_fd(), buffer, offset)?;
    inode.track.lock().stash.lay_over(epoch, offset, buffer);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastcdc::v2020::StreamCDC;

    #[test]
    fn cuts_are_those_of_fastcdc() {
        let mut state = 7u64;
        let bytes: Vec<u8> = (0..3_000_000)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        let lengths = [
            CHUNK_MIN as usize + 1,
            70_000,
            300_000,
            WINDOW_BYTES,
            bytes.len(),
        ];
        for length in lengths {
            let expected: Vec<usize> =
                StreamCDC::new(&bytes[..length], CHUNK_MIN, CHUNK_AVERAGE, CHUNK_MAX)
                    .map(|chunk| chunk.expect("bytes").length)
                    .collect();
            let (mut at, mut found) = (0, Vec::new());
            while at < length {
                let end = length.min(at + WINDOW_BYTES);
                found.push(next_cut(&bytes[at..end]));
                at += found[found.len() - 1];
            }
            assert_eq!(found, expected, "{length}");
        }
    }
}
