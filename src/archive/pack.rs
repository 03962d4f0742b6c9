//! Packs: chunks one behind the other, each sealed by itself, so that one can be fetched alone.

use super::cipher::{Cipher, What};
use super::object::{PackIndex, PackedChunk};
use super::{ArchiveError, Result};
use crate::format::transfer::RawChunk;
use crate::id::Hash;

/// A pack in the making.
#[derive(Default)]
pub struct PackWriter {
    bytes: Vec<u8>,
    chunks: Vec<PackedChunk>,
}

impl PackWriter {
    /// Puts a chunk behind the others.
    ///
    /// # Errors
    /// It can't be sealed.
    pub fn add(&mut self, cipher: &Cipher, chunk: &RawChunk) -> Result<()> {
        let sealed = cipher.seal(What::Chunk, &chunk.envelope)?;
        let bytes = u32::try_from(sealed.len());
        self.chunks.push(PackedChunk {
            hash: chunk.hash,
            is_list: chunk.is_list,
            bytes: bytes.map_err(|_| ArchiveError::Key("a chunk is too long"))?,
        });
        self.bytes.extend_from_slice(&sealed);
        Ok(())
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The pack; `None` if nothing is in it.
    pub fn close(&mut self) -> Option<(PackIndex, Vec<u8>)> {
        if self.chunks.is_empty() {
            return None;
        }
        let bytes = std::mem::take(&mut self.bytes);
        let index = PackIndex {
            pack: Hash::of(&bytes),
            chunks: std::mem::take(&mut self.chunks),
        };
        Some((index, bytes))
    }
}

/// The chunks of a pack; `None` if it is not what the index says.
pub fn unpack(cipher: &Cipher, index: &PackIndex, bytes: &[u8]) -> Option<Vec<RawChunk>> {
    let mut rest = bytes;
    let mut chunks = Vec::new();
    for chunk in &index.chunks {
        let (sealed, behind) = rest.split_at_checked(chunk.bytes as usize)?;
        rest = behind;
        chunks.push(RawChunk {
            hash: chunk.hash,
            is_list: chunk.is_list,
            envelope: cipher.open(What::Chunk, sealed)?,
        });
    }
    rest.is_empty().then_some(chunks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_comes_apart_as_it_was_put_together() {
        for key in [None, Some(&[7; 32])] {
            let cipher = Cipher::new([1; 16], key);
            let chunk = |n: u8| RawChunk {
                hash: Hash([n; 32]),
                is_list: n == 2,
                envelope: vec![n; usize::from(n)],
            };
            let chunks = vec![chunk(0), chunk(1), chunk(2)];
            let mut writer = PackWriter::default();
            assert!(writer.close().is_none());
            for chunk in &chunks {
                writer.add(&cipher, chunk).unwrap();
            }
            let (index, bytes) = writer.close().unwrap();
            assert!(writer.close().is_none());
            assert_eq!(unpack(&cipher, &index, &bytes), Some(chunks));
            assert_eq!(unpack(&cipher, &index, &bytes[1..]), None);
            assert_eq!(unpack(&cipher, &index, &[&bytes[..], &[0]].concat()), None);
        }
    }
}
