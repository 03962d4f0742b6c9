//! Values as bytes: a version byte, then the fields in postcard's encoding (docs/format.md).
//! Decoding is strict: an unknown version, a malformed or a longer value is an error, and memory
//! is taken only in proportion to bytes that are there. Also the envelope in which a chunk is
//! stored, and the two domains of hashes.

use super::record::{Actor, ChunkList};
use crate::id::Hash;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;

/// Version that every value written by this program begins with.
pub const VERSION: u8 = 1;
/// BLAKE3 key-derivation context of the hashes of chunk lists.
pub const LIST_CONTEXT: &str = "rewindfs chunk list v1";
/// Level of zstd: the fastest; more costs more time than it saves space on source code.
const ZSTD_LEVEL: i32 = 1;
/// Codec byte and length in front of a payload.
const ENVELOPE_HEAD: usize = 5;
/// Plain bytes for each byte of a zstd frame, at most: a block of four bytes (three of head, one to
/// be repeated) stands for at most 128 KiB (RFC 8878, 3.1.1.2).
const ZSTD_EXPANSION: usize = 32 << 10;
/// Plain bytes from which on a sample is compressed first, and the sample: so many pieces of so many bytes, spread
/// evenly. It is a sixteenth of a chunk of average size, and meets whatever makes up an eighth of it in one place.
const SAMPLED: usize = 32 << 10;
const SAMPLE: (usize, usize) = (16, 256);
/// Room for compressed bytes that each thread keeps: what a chunk may need.
const PAYLOAD_KEPT: usize = 2 * crate::limits::CHUNK_MAX as usize;
const CODEC_RAW: u8 = 0;
const CODEC_ZSTD: u8 = 1;

/// Why bytes are not a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadValue {
    #[error("the value is empty")]
    Empty,
    #[error("the value has the version {found}, this program knows {VERSION}")]
    Version { found: u8 },
    #[error("the value is malformed")]
    Malformed,
    #[error("the value has {bytes} bytes too many")]
    Trailing { bytes: u64 },
    #[error("the chunk has the unknown codec {found}")]
    Codec { found: u8 },
    #[error("the chunk says that it has {bytes} bytes, more than the {limit} allowed")]
    TooLong { bytes: u64, limit: u64 },
    #[error("the chunk does not have the length that it says")]
    Length,
}

/// A value as bytes.
pub fn pack<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes = postcard::to_extend(value, bytes)
        .expect("a vector takes any number of bytes, and no record has a length that is not known");
    bytes
}

/// The value that these bytes are.
///
/// # Errors
/// Anything but exactly one value of a known version.
pub fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BadValue> {
    let (version, rest) = bytes.split_first().ok_or(BadValue::Empty)?;
    if *version != VERSION {
        return Err(BadValue::Version { found: *version });
    }
    let (value, trailing) = postcard::take_from_bytes(rest).map_err(|_| BadValue::Malformed)?;
    if !trailing.is_empty() {
        return Err(BadValue::Trailing {
            bytes: trailing.len() as u64,
        });
    }
    Ok(value)
}

/// Who did something, also as the first programs wrote it: without a command line, which has no
/// version byte of its own. Strict both ways, so one is not taken for the other.
///
/// # Errors
/// As `unpack`.
pub fn unpack_actor(bytes: &[u8]) -> Result<Actor, BadValue> {
    unpack(bytes).or_else(|error| {
        let first: FirstActor = unpack(bytes).map_err(|_| error)?;
        Ok(Actor {
            tgid: first.tgid,
            start: first.start,
            boot: first.boot,
            uid: first.uid,
            comm: first.comm,
            command: Vec::new(),
            run: first.run,
            ancestors: first.ancestors,
        })
    })
}

/// `Actor` before it had a command line.
#[derive(Deserialize)]
struct FirstActor {
    tgid: u32,
    start: u64,
    boot: [u8; 16],
    uid: u32,
    comm: Vec<u8>,
    run: u64,
    ancestors: Vec<(u32, Vec<u8>)>,
}

/// The hash of an encoded chunk list: never equal to that of a chunk of data with the same bytes,
/// so a file that holds a list's bytes can't release the list's pieces.
pub fn list_hash(encoded: &[u8]) -> Hash {
    // Deriving the context's key takes as long as hashing a small list: it is done once.
    static HASHER: std::sync::LazyLock<blake3::Hasher> =
        std::sync::LazyLock::new(|| blake3::Hasher::new_derive_key(LIST_CONTEXT));
    let mut hasher = HASHER.clone();
    hasher.update(encoded);
    Hash(*hasher.finalize().as_bytes())
}

/// A chunk list as bytes; its hash is `list_hash` of them.
pub fn pack_list(list: &ChunkList) -> Vec<u8> {
    pack(list)
}

/// # Errors
/// As `unpack`; also pieces of no length.
pub fn unpack_list(bytes: &[u8]) -> Result<ChunkList, BadValue> {
    let list: ChunkList = unpack(bytes)?;
    if list.pieces.iter().any(super::record::Piece::is_empty) {
        return Err(BadValue::Malformed);
    }
    Ok(list)
}

thread_local! {
    /// With room for what comes of it.
    static COMPRESSOR: RefCell<Option<(zstd::bulk::Compressor<'static>, Vec<u8>)>> =
        const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> =
        const { RefCell::new(None) };
}

/// The envelope of plain bytes: codec, plain length (u32, little endian), payload. Compressed if
/// that saves at least an eighth, as ZFS has it: less is not worth the time, each time that it is read.
pub fn pack_chunk(plain: &[u8]) -> Vec<u8> {
    let length = u32::try_from(plain.len()).expect("callers bound chunks by limits");
    let head = |codec: u8, capacity: usize| {
        let mut envelope = Vec::with_capacity(ENVELOPE_HEAD + capacity);
        envelope.push(codec);
        envelope.extend_from_slice(&length.to_le_bytes());
        envelope
    };
    let compressed = compress(plain, |payload| {
        let mut envelope = head(CODEC_ZSTD, payload.len());
        envelope.extend_from_slice(payload);
        envelope
    });
    compressed.unwrap_or_else(|| {
        let mut envelope = head(CODEC_RAW, plain.len());
        envelope.extend_from_slice(plain);
        envelope
    })
}

/// `None` if it does not pay, or zstd has no memory.
fn compress<T>(plain: &[u8], packed: impl FnOnce(&[u8]) -> T) -> Option<T> {
    COMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            let zstd = zstd::bulk::Compressor::new(ZSTD_LEVEL).ok()?;
            *slot = Some((zstd, Vec::new()));
        }
        let (zstd, payload) = slot.as_mut()?;
        if resists(zstd, plain, payload) {
            return None;
        }
        payload.clear();
        payload.reserve(zstd::zstd_safe::compress_bound(plain.len()));
        zstd.compress_to_buffer(plain, payload).ok()?;
        let pays = payload.len() < plain.len() - plain.len() / 8;
        let packed = pays.then(|| packed(payload));
        // A list may be much larger than chunks are.
        payload.shrink_to(PAYLOAD_KEPT);
        packed
    })
}

/// Whether a sample does not get smaller by a tenth (its own codes take a fiftieth): photographs, archives and what
/// is encrypted. Then the whole is not tried, which would take several times as long as its hash. What has no byte
/// more often than others, and repeats itself over longer distances only, is taken for such a thing.
fn resists(zstd: &mut zstd::bulk::Compressor<'_>, plain: &[u8], room: &mut Vec<u8>) -> bool {
    let (pieces, piece) = SAMPLE;
    if plain.len() < SAMPLED {
        return false;
    }
    let step = (plain.len() - piece) / (pieces - 1);
    let mut sample = Vec::with_capacity(pieces * piece);
    for from in plain.chunks(step).take(pieces) {
        sample.extend_from_slice(&from[..piece]);
    }
    room.clear();
    room.reserve(zstd::zstd_safe::compress_bound(sample.len()));
    match zstd.compress_to_buffer(&sample[..], room) {
        Ok(packed) => packed > sample.len() - sample.len() / 10,
        Err(_) => false,
    }
}

/// The plain bytes in an envelope. Their hash is for the caller to check.
///
/// # Errors
/// An unknown codec, a length above `limit`, or bytes that do not have the length that they say.
pub fn unpack_chunk(envelope: &[u8], limit: u32) -> Result<Vec<u8>, BadValue> {
    let (head, payload) = envelope
        .split_first_chunk::<ENVELOPE_HEAD>()
        .ok_or(BadValue::Empty)?;
    let [codec, a, b, c, d] = *head;
    let length = u32::from_le_bytes([a, b, c, d]);
    if length > limit {
        return Err(BadValue::TooLong {
            bytes: length.into(),
            limit: limit.into(),
        });
    }
    let plain = match codec {
        CODEC_RAW => payload.to_vec(),
        CODEC_ZSTD => decompress(payload, length as usize)?,
        found => return Err(BadValue::Codec { found }),
    };
    if plain.len() != length as usize {
        return Err(BadValue::Length);
    }
    Ok(plain)
}

fn decompress(payload: &[u8], length: usize) -> Result<Vec<u8>, BadValue> {
    // Memory is taken for `length` bytes before the first is read: not for a lie.
    if length > payload.len().saturating_mul(ZSTD_EXPANSION) {
        return Err(BadValue::Length);
    }
    DECOMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = zstd::bulk::Decompressor::new().ok();
        }
        slot.as_mut()
            .and_then(|zstd| zstd.decompress(payload, length).ok())
            .ok_or(BadValue::Malformed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::key::hex;
    use crate::format::record::*;
    use crate::id::*;
    use crate::time::Timestamp;
    use std::fmt::Debug;

    fn inode() -> Inode {
        Inode {
            kind: Kind::File,
            mode: 0o644,
            uid: 1000,
            gid: 1001,
            rdev: 0,
            atime: FileTime { sec: -1, nsec: 1 },
            mtime: FileTime { sec: 2, nsec: 3 },
            ctime: FileTime { sec: 4, nsec: 5 },
            nlink: 1,
            size: 300,
            content: Content::Chunk(Hash([0xaa; 32])),
            target: Vec::new(),
            xattrs: vec![(b"user.a".to_vec(), b"b".to_vec())],
            parent: FileId(1),
            name: b"n".to_vec(),
        }
    }

    /// The bytes of a value, and that they are read back as it.
    fn golden<T>(value: &T, bytes: &str)
    where
        T: Serialize + DeserializeOwned + PartialEq + Debug,
    {
        let packed = pack(value);
        assert_eq!(hex(&packed), bytes, "{value:?}");
        assert_eq!(&unpack::<T>(&packed).unwrap(), value);
    }

    #[test]
    fn golden_contents() {
        golden(&Content::Empty, "0100");
        let ee = "ee".repeat(32);
        golden(&Content::Chunk(Hash([0xee; 32])), &format!("0101{ee}"));
        golden(&Content::List(Hash([0xee; 32])), &format!("0102{ee}"));
        golden(&Content::Lost(LostReason::ReadError), "010300");
        golden(&Content::Lost(LostReason::NoPermission), "010301");
        golden(&Content::Lost(LostReason::TooSlow), "010302");
        golden(&Content::Lost(LostReason::Gap), "010303");
        golden(&Content::Lost(LostReason::NotRecorded), "010304");
        golden(&Content::Lost(LostReason::NotImported), "010305");
        golden(&Content::Lost(LostReason::LeftOut), "010306");
        golden(&Content::Purged(Hash([0xee; 32])), &format!("0104{ee}"));
        let check = "4fa89b5dc581bed0816266615d8f1e73f7ec1166c1f870c63ca51494d6740196";
        let given_up = Content::Damaged(GivenUp(Hash([0xee; 32])));
        golden(&given_up, &format!("0105{ee}{check}"));
    }

    #[test]
    fn a_flipped_bit_makes_nothing_else_of_content_that_was_purged_or_given_up() {
        let hash = Hash([0xee; 32]);
        let purged = Content::Purged(hash);
        let given_up = Content::Damaged(GivenUp(hash));
        for (content, other) in [(purged, given_up), (given_up, purged)] {
            let content_at = |content| {
                let version = InodeVersion::Present(Inode { content, ..inode() });
                pack(&version)
            };
            let bytes = content_at(content);
            // Up to the tag both are the same.
            let pairs = bytes.iter().zip(content_at(other));
            let tag = pairs.take_while(|(one, other)| *one == other).count();
            assert_eq!(bytes[tag] ^ content_at(other)[tag], 1, "{content:?}");
            let mut flipped = bytes.clone();
            flipped[tag] ^= 1;
            assert!(unpack::<InodeVersion>(&flipped).is_err(), "{content:?}");
        }
        for bit in 0..32 * 8 {
            let mut flipped = pack(&given_up);
            flipped[2 + bit / 8] ^= 1 << (bit % 8);
            assert!(unpack::<Content>(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn golden_inodes_and_dirents() {
        let aa = "aa".repeat(32);
        let bytes =
            format!("010100a403e807e9070001010403080501ac0201{aa}000106757365722e61016201016e");
        golden(&InodeVersion::Present(inode()), &bytes);
        golden(&InodeVersion::Gone, "0100");
        golden(&Dirent::Gone, "0100");
        let kinds = [
            Kind::File,
            Kind::Dir,
            Kind::Symlink,
            Kind::Fifo,
            Kind::Socket,
            Kind::CharDevice,
            Kind::BlockDevice,
        ];
        for (tag, kind) in kinds.into_iter().enumerate() {
            let id = FileId(300);
            golden(&Dirent::Present { id, kind }, &format!("0101ac020{tag}"));
        }
    }

    #[test]
    fn golden_epochs_and_headers() {
        let record = EpochRecord {
            state: EpochState::Waiting { on: Epoch(300) },
            kind: EpochKind::Recovered,
            quiet: true,
            unseen_mappings: false,
            statistics: EpochStatistics {
                inodes: 1,
                dirents: 2,
                hashed_bytes: 3,
                new_bytes: 4,
                stored_bytes: 5,
                lost_files: 6,
            },
        };
        golden(&record, "0101ac02030100010203040506");
        let header = Header {
            time: Timestamp(1),
            wall: Timestamp(-1),
            lineage: [0x11; 16],
            state: Hash([0x22; 32]),
            seal: Hash([0x33; 32]),
        };
        let rest = ["11".repeat(16), "22".repeat(32), "33".repeat(32)].concat();
        golden(&header, &format!("010201{rest}"));
    }

    #[test]
    fn golden_snapshots_and_actors() {
        let snapshot = Snapshot {
            id: SnapshotId(1),
            epoch: Epoch(2),
            time: Timestamp(3),
            mode: SnapshotMode::Differential,
            base: Some(Epoch(4)),
            hold: Some(Hold {
                by_uid: 5,
                since: Timestamp(6),
                until: None,
                reason: "r".to_owned(),
            }),
            tags: vec!["t".to_owned()],
            message: "m".to_owned(),
            by_uid: 7,
        };
        golden(&snapshot, "0101020602010401050c000172010174016d07");
        let actor = Actor {
            tgid: 1,
            start: 2,
            boot: [0x11; 16],
            uid: 3,
            comm: b"sh".to_vec(),
            command: b"sh\0-c\0".to_vec(),
            run: 4,
            ancestors: vec![(5, b"su".to_vec())],
        };
        let boot = "11".repeat(16);
        golden(
            &actor,
            &format!("010102{boot}03027368067368002d6300040105027375"),
        );
        let packed = pack(&actor);
        assert_eq!(unpack_actor(&packed), Ok(actor.clone()));
        // As it was written at first.
        let first = [&packed[..23], &packed[30..]].concat();
        assert_eq!(hex(&first), format!("010102{boot}03027368040105027375"));
        let without = Actor {
            command: Vec::new(),
            ..actor
        };
        assert_eq!(unpack_actor(&first), Ok(without));
        for bytes in [&packed, &first] {
            for cut in 0..bytes.len() {
                assert!(unpack_actor(&bytes[..cut]).is_err(), "{cut}");
            }
        }
    }

    #[test]
    fn golden_index_live_and_meta() {
        let entry = IndexEntry {
            number: ChunkNumber(1),
            stored_bytes: 2,
            plain_bytes: 3,
            refs: 4,
            is_list: true,
        };
        golden(&entry, "010102030401");
        let live = LiveEntry {
            id: FileId(1),
            birth: Some(FileTime { sec: 1, nsec: 2 }),
            size: 3,
            mtime: FileTime { sec: 2, nsec: 5 },
            ctime: FileTime { sec: 3, nsec: 7 },
            looked: FileTime { sec: 4, nsec: 9 },
            epoch: Epoch(10),
        };
        golden(&live, "0101010202030405060708090a");
        let gap = Gap {
            from: Timestamp(1),
            to: Some(Timestamp(2)),
            reason: "r".to_owned(),
        };
        golden(&gap, "010201040172");
        let root = RootIdentity {
            fsid: "f".to_owned(),
            ino: 2,
            birth: None,
            path: b"/p".to_vec(),
        };
        golden(&root, "0101660200022f70");
        let synced = Synced {
            epoch: Epoch(1),
            boot: [0x11; 16],
            clean: true,
        };
        golden(&synced, &format!("0101{}01", "11".repeat(16)));
    }

    #[test]
    fn golden_lists() {
        let list = ChunkList {
            cutting: Cutting::Fixed,
            pieces: vec![
                Piece::Data {
                    len: 300,
                    hash: Hash([0xaa; 32]),
                },
                Piece::Hole { len: 5 },
            ],
        };
        let packed = pack_list(&list);
        let aa = "aa".repeat(32);
        assert_eq!(hex(&packed), format!("01010200ac02{aa}0105"));
        assert_eq!(unpack_list(&packed), Ok(list));
        assert_eq!(
            list_hash(&packed).to_hex(),
            "27cf4c8c02b58087cbbd25274372969de2fd06e75f5e1022d76a382c7a92e20e"
        );
        assert_ne!(list_hash(&packed), Hash::of(&packed));
        let empty_piece = ChunkList {
            cutting: Cutting::ContentDefined,
            pieces: vec![Piece::Hole { len: 0 }],
        };
        assert_eq!(unpack_list(&pack(&empty_piece)), Err(BadValue::Malformed));
    }

    #[test]
    fn golden_envelopes() {
        assert_eq!(hex(&pack_chunk(b"abc")), "0003000000616263");
        assert_eq!(hex(&pack_chunk(b"")), "0000000000");
        let plain = [b'x'; 1000];
        // The frame within may differ with the version of zstd; what was written stays readable.
        let packed = pack_chunk(&plain);
        assert_eq!(hex(&packed[..5]), "01e8030000");
        assert_eq!(unpack_chunk(&packed, 1000).unwrap(), plain);
        let head = [0x01, 0xe8, 0x03, 0x00, 0x00];
        let frame = [
            0x28, 0xb5, 0x2f, 0xfd, 0x60, 0xe8, 0x02, 0x4d, 0x00, 0x00, 0x10, 0x78, 0x78, 0x01,
            0x00, 0xe3, 0x2b, 0x80, 0x05,
        ];
        let written = [&head[..], &frame].concat();
        assert_eq!(unpack_chunk(&written, 1000).unwrap(), plain);
        assert_eq!(unpack_chunk(&pack_chunk(b""), 0).unwrap(), b"");
    }

    fn noise(bytes: usize) -> Vec<u8> {
        let mut noise = vec![0; bytes];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        noise
    }

    /// What a sample says must not cost space, and what can't get smaller must be known by it.
    #[test]
    fn only_what_resists_is_not_compressed() {
        let mut zstd = zstd::bulk::Compressor::new(ZSTD_LEVEL).expect("memory");
        let mut resists = |plain: &[u8]| resists(&mut zstd, plain, &mut Vec::new());
        let stored = |plain: &[u8]| pack_chunk(plain).len() * 100 / plain.len();
        let noise = noise(256 << 10);
        for bytes in [SAMPLED, SAMPLED + 1, 64 << 10, 256 << 10] {
            assert!(resists(&noise[..bytes]));
            assert_eq!(pack_chunk(&noise[..bytes])[0], CODEC_RAW);
        }
        assert!(!resists(&noise[..SAMPLED - 1]));
        let letters: Vec<u8> = noise.iter().map(|byte| b'0' + byte % 64).collect();
        assert!(!resists(&letters));
        assert!((70..80).contains(&stored(&letters)));
        // Half of all bytes are of 16 kinds.
        let mut skewed = noise.clone();
        let half = skewed.iter_mut().step_by(2);
        half.for_each(|byte| *byte %= 16);
        assert!(!resists(&skewed));
        assert!((80..88).contains(&stored(&skewed)));
        // A fifth of zeros in one place, wherever it is.
        for at in (0..=204 << 10).step_by(6 << 10) {
            let mut holed = noise.clone();
            holed[at..at + (52 << 10)].fill(0);
            assert!(!resists(&holed), "{at}");
            assert!((78..85).contains(&stored(&holed)), "{at}");
        }
    }

    #[test]
    fn damaged_envelopes_are_errors() {
        let packed = pack_chunk(&[b'x'; 1000]);
        let unpack = |bytes: &[u8]| unpack_chunk(bytes, 1000).unwrap_err();
        assert_eq!(unpack(&packed[..4]), BadValue::Empty);
        assert!(unpack_chunk(&packed, 999).is_err());
        assert_eq!(unpack(&packed[..packed.len() - 1]), BadValue::Malformed);
        let mut other = packed.clone();
        other[0] = 2;
        assert_eq!(unpack(&other), BadValue::Codec { found: 2 });
        let mut shorter = packed.clone();
        shorter[1..5].copy_from_slice(&999u32.to_le_bytes());
        assert_eq!(unpack(&shorter), BadValue::Malformed);
        let mut raw = pack_chunk(b"abc");
        raw.push(0);
        assert_eq!(unpack(&raw), BadValue::Length);
    }

    #[test]
    fn damaged_values_are_errors() {
        let packed = pack(&InodeVersion::Present(inode()));
        let unpack = |bytes: &[u8]| unpack::<InodeVersion>(bytes).unwrap_err();
        assert_eq!(unpack(&[]), BadValue::Empty);
        assert_eq!(unpack(&[2, 0]), BadValue::Version { found: 2 });
        assert_eq!(unpack(&[1, 9]), BadValue::Malformed);
        for cut in 1..packed.len() {
            assert_eq!(unpack(&packed[..cut]), BadValue::Malformed);
        }
        let mut longer = packed.clone();
        longer.push(0);
        assert_eq!(unpack(&longer), BadValue::Trailing { bytes: 1 });
        // A length that no memory would hold is not believed.
        let huge = [1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert_eq!(super::unpack::<ChunkList>(&huge), Err(BadValue::Malformed));
    }
}
