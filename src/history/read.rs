//! From a file's content to a range of its bytes. The chunks of a range are found by binary search
//! in the list's sums; only they are fetched.

use super::{History, HistoryError, Result};
use crate::format::record::{ChunkList, Content, Piece};
use crate::id::Hash;
use crate::store::View;
use std::sync::Arc;

/// A chunk list with the offset at which each of its pieces ends.
pub struct Layout {
    list: Arc<ChunkList>,
    ends: Vec<u64>,
    data_bytes: u64,
}

impl Layout {
    fn new(list: Arc<ChunkList>) -> Option<Layout> {
        let mut ends = Vec::with_capacity(list.pieces.len());
        let (mut end, mut data_bytes) = (0_u64, 0_u64);
        for piece in &list.pieces {
            end = end.checked_add(piece.len())?;
            ends.push(end);
            if let Piece::Data { len, .. } = piece {
                data_bytes += u64::from(*len);
            }
        }
        Some(Layout {
            list,
            ends,
            data_bytes,
        })
    }

    fn size(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The pieces from the one that holds `offset` on, each with its first byte and its end.
    fn from(&self, offset: u64) -> impl Iterator<Item = (u64, u64, &Piece)> {
        let first = self.ends.partition_point(|end| *end <= offset);
        let pieces = self.list.pieces.iter().zip(&self.ends).skip(first);
        pieces.map(|(piece, end)| (end - piece.len(), *end, piece))
    }
}

/// What to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    Data,
    Hole,
}

impl History {
    /// Appends to `out` the bytes from `offset` on, `len` at the most, of a file of `size` bytes:
    /// fewer at its end, none behind it.
    ///
    /// # Errors
    /// `Lost`, `Purged`, or damage. `out` then holds nothing that can be relied on.
    pub fn read(
        &self,
        view: &View<'_>,
        content: Content,
        size: u64,
        offset: u64,
        len: u32,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let end = size.min(offset.saturating_add(u64::from(len)));
        match content {
            Content::Lost(reason) => Err(HistoryError::Lost { reason }),
            Content::Purged(_) => Err(HistoryError::Purged),
            Content::Damaged(_) => Err(HistoryError::Damaged),
            Content::Empty if size > 0 => Err(HistoryError::Empty { size }),
            _ if offset >= end => Ok(()),
            Content::Empty => Ok(()),
            Content::Chunk(hash) => {
                let chunk = view.chunk(hash)?;
                if chunk.len() as u64 != size {
                    return Err(HistoryError::Length { hash });
                }
                append(&chunk, offset, end, out);
                Ok(())
            }
            Content::List(hash) => {
                let layout = self.layout(view, hash, size)?;
                read_pieces(view, &layout, offset, end, out)
            }
        }
    }

    /// The first byte at or after `offset` that is data, or in a hole (the end of a file is a
    /// hole); `None` (ENXIO) if there is none. Lost content counts as data, so that whoever copies
    /// it asks for it and is told.
    ///
    /// # Errors
    /// Damage.
    pub fn seek(
        &self,
        view: &View<'_>,
        content: Content,
        size: u64,
        offset: u64,
        seek: Seek,
    ) -> Result<Option<u64>> {
        if offset >= size {
            return Ok(None);
        }
        let Content::List(hash) = content else {
            return Ok(Some(match seek {
                Seek::Data => offset,
                Seek::Hole => size,
            }));
        };
        let layout = self.layout(view, hash, size)?;
        let found = layout.from(offset).find(|(_, _, piece)| match seek {
            Seek::Data => matches!(piece, Piece::Data { .. }),
            Seek::Hole => matches!(piece, Piece::Hole { .. }),
        });
        Ok(match (found, seek) {
            (Some((begin, _, _)), _) => Some(begin.max(offset)),
            (None, Seek::Data) => None,
            (None, Seek::Hole) => Some(size),
        })
    }

    /// How many of the `size` bytes are not in holes.
    ///
    /// # Errors
    /// Damage.
    pub fn data_bytes(&self, view: &View<'_>, content: Content, size: u64) -> Result<u64> {
        let Content::List(hash) = content else {
            return Ok(size);
        };
        if let Some(bytes) = self.data_bytes.lock().get(&hash) {
            return Ok(bytes);
        }
        let bytes = self.layout(view, hash, size)?.data_bytes;
        self.data_bytes.lock().put(hash, bytes, 1);
        Ok(bytes)
    }

    fn layout(&self, view: &View<'_>, hash: Hash, size: u64) -> Result<Arc<Layout>> {
        let kept = self.layouts.lock().get(&hash);
        let layout = match kept {
            Some(layout) => layout,
            None => {
                let layout = Layout::new(view.list(hash)?).ok_or(HistoryError::Length { hash })?;
                let layout = Arc::new(layout);
                let weight = layout.ends.len();
                self.layouts.lock().put(hash, layout.clone(), weight);
                layout
            }
        };
        if layout.size() != size {
            return Err(HistoryError::Length { hash });
        }
        Ok(layout)
    }
}

fn read_pieces(
    view: &View<'_>,
    layout: &Layout,
    offset: u64,
    end: u64,
    out: &mut Vec<u8>,
) -> Result<()> {
    for (piece_begin, piece_end, piece) in layout.from(offset) {
        if piece_begin >= end {
            break;
        }
        let (from, to) = (offset.max(piece_begin), end.min(piece_end));
        match *piece {
            Piece::Data { len, hash } => {
                let chunk = view.chunk(hash)?;
                if chunk.len() as u64 != u64::from(len) {
                    return Err(HistoryError::Length { hash });
                }
                append(&chunk, from - piece_begin, to - piece_begin, out);
            }
            Piece::Hole { .. } => {
                let zeros = usize::try_from(to - from).expect("a read is at most 4 GiB");
                out.resize(out.len() + zeros, 0);
            }
        }
    }
    Ok(())
}

/// `from..to` lies in the chunk: its length was compared with the list.
fn append(chunk: &[u8], from: u64, to: u64, out: &mut Vec<u8>) {
    let within = |offset: u64| usize::try_from(offset).expect("not longer than the chunk");
    out.extend_from_slice(&chunk[within(from)..within(to)]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::record::{Kind, LostReason};
    use crate::history::past::{Past, file};
    use crate::history::path;
    use crate::id::{Epoch, FileId};

    const HOLE: u64 = 1 << 40;

    fn bytes(len: usize, seed: u8) -> Vec<u8> {
        (0..len).map(|n| (n % 251) as u8 ^ seed).collect()
    }

    /// A file of data, hole, data, data, hole; and its bytes but for the big hole.
    fn sparse(past: &mut Past) -> (Content, u64) {
        let mut made = None;
        past.epoch("2026-11-20T10:00", |draft| {
            let pieces = vec![
                (Some(bytes(10, 1)), 10),
                (None, HOLE),
                (Some(bytes(5, 2)), 5),
                (Some(bytes(7, 3)), 7),
                (None, 4096),
            ];
            let size = pieces.iter().map(|(_, len)| len).sum();
            let pieces = pieces.into_iter().map(|(data, len)| match data {
                Some(data) => Piece::Data {
                    len: len as u32,
                    hash: draft.chunk(&data),
                },
                None => Piece::Hole { len },
            });
            let pieces = pieces.collect();
            let content = draft.list(pieces);
            draft.put(2, 1, "f", file(content, size));
            made = Some((content, size));
        });
        made.expect("made")
    }

    #[test]
    fn every_range_of_a_sparse_file() {
        let mut past = Past::new();
        let (content, size) = sparse(&mut past);
        let history = History::new(past.store.clone());
        let view = history.view();
        let read = |offset: u64, len: u32| {
            let mut out = Vec::new();
            let done = history.read(&view, content, size, offset, len, &mut out);
            done.expect("readable");
            out
        };
        // The hole shortened to 20 bytes, so that all can be written down.
        let cut = 20;
        let mut whole = bytes(10, 1);
        whole.resize(10 + cut, 0);
        whole.extend(bytes(5, 2));
        whole.extend(bytes(7, 3));
        whole.resize(whole.len() + 4096, 0);
        let skipped = HOLE - cut as u64;
        for from in 0..whole.len().min(60) {
            for len in 0..60 {
                let expected = &whole[from..(from + len).min(whole.len())];
                if from + len <= 10 + cut {
                    assert_eq!(read(from as u64, len as u32), expected, "{from} {len}");
                }
                if from >= 10 {
                    let offset = from as u64 + skipped;
                    assert_eq!(read(offset, len as u32), expected, "{from} {len}");
                }
            }
        }
        assert_eq!(read(size - 1, 100), [0]);
        assert!(read(size, 100).is_empty());
        assert!(read(u64::MAX, 100).is_empty());
        assert_eq!(
            history.data_bytes(&view, content, size).expect("listed"),
            22
        );
    }

    #[test]
    fn data_and_holes_are_found() {
        let mut past = Past::new();
        let (content, size) = sparse(&mut past);
        let history = History::new(past.store.clone());
        let view = history.view();
        let seek = |offset, seek| {
            let found = history.seek(&view, content, size, offset, seek);
            found.expect("readable")
        };
        let second = 10 + HOLE;
        assert_eq!(seek(3, Seek::Data), Some(3));
        assert_eq!(seek(3, Seek::Hole), Some(10));
        assert_eq!(seek(10, Seek::Data), Some(second));
        assert_eq!(seek(11, Seek::Hole), Some(11));
        assert_eq!(seek(second, Seek::Hole), Some(second + 12));
        assert_eq!(seek(second + 11, Seek::Data), Some(second + 11));
        assert_eq!(seek(second + 12, Seek::Data), None);
        assert_eq!(seek(size - 1, Seek::Hole), Some(size - 1));
        assert_eq!(seek(size, Seek::Hole), None);
        let whole = Content::Lost(LostReason::Gap);
        let found = history.seek(&view, whole, 5, 2, Seek::Hole).expect("known");
        assert_eq!(found, Some(5));
        let found = history.seek(&view, whole, 5, 2, Seek::Data).expect("known");
        assert_eq!(found, Some(2));
    }

    #[test]
    fn what_is_not_there_is_an_error_and_never_zeros() {
        let mut past = Past::new();
        let mut chunk = Hash::default();
        past.epoch("2026-11-20T10:00", |draft| {
            draft.bytes(2, 1, "f", b"12345");
            chunk = Hash::of(b"12345");
        });
        let history = History::new(past.store.clone());
        let view = history.view();
        let read = |content, size| {
            let mut out = Vec::new();
            history
                .read(&view, content, size, 0, 100, &mut out)
                .map(|()| out)
        };
        assert_eq!(read(Content::Chunk(chunk), 5).expect("readable"), b"12345");
        assert_eq!(read(Content::Empty, 0).expect("readable"), b"");
        assert!(matches!(
            read(Content::Chunk(chunk), 6),
            Err(HistoryError::Length { .. })
        ));
        assert!(matches!(
            read(Content::Empty, 6),
            Err(HistoryError::Empty { size: 6 })
        ));
        assert!(matches!(
            read(Content::Lost(LostReason::Gap), 0),
            Err(HistoryError::Lost {
                reason: LostReason::Gap
            })
        ));
        assert!(matches!(
            read(Content::Purged(chunk), 5),
            Err(HistoryError::Purged)
        ));
        assert!(matches!(
            read(Content::Chunk(Hash::of(b"other")), 5),
            Err(HistoryError::Store(_))
        ));
    }

    #[test]
    fn the_version_decides_what_is_read() {
        let mut past = Past::new();
        let first = past.epoch("2026-11-20T10:00", |draft| {
            draft.root(crate::history::past::directory());
            draft.bytes(2, 1, "f", b"old");
        });
        let second = past.epoch("2026-11-20T10:01", |draft| draft.bytes(2, 1, "f", b"newer"));
        let history = History::new(past.store.clone());
        let view = history.view();
        let read = |epoch: Epoch| {
            let found = path::walk(&view, epoch, [&b"f"[..]]).expect("readable");
            let found = found.expect("there");
            assert_eq!((found.id, found.inode.kind), (FileId(2), Kind::File));
            let mut out = Vec::new();
            let inode = found.inode;
            let done = history.read(&view, inode.content, inode.size, 0, 100, &mut out);
            done.expect("readable");
            out
        };
        assert_eq!(read(first), b"old");
        assert_eq!(read(second), b"newer");
    }
}
