//! What the store holds, as plain values. How they become bytes is `value.rs`; where they are
//! kept, `key.rs`. Documented for readers of a store in docs/format.md.

use super::ranges::RangeSet;
use crate::id::{ActorId, ChunkNumber, Epoch, FileId, Hash, SnapshotId};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    File,
    Dir,
    Symlink,
    Fifo,
    Socket,
    CharDevice,
    BlockDevice,
}

impl Kind {
    /// From the type bits of `st_mode`; `None` for a type that Linux does not have.
    pub fn from_mode(mode: u32) -> Option<Kind> {
        Some(match mode & libc::S_IFMT {
            libc::S_IFREG => Kind::File,
            libc::S_IFDIR => Kind::Dir,
            libc::S_IFLNK => Kind::Symlink,
            libc::S_IFIFO => Kind::Fifo,
            libc::S_IFSOCK => Kind::Socket,
            libc::S_IFCHR => Kind::CharDevice,
            libc::S_IFBLK => Kind::BlockDevice,
            _ => return None,
        })
    }

    /// The type bits of `st_mode`.
    pub fn mode_bits(self) -> u32 {
        match self {
            Kind::File => libc::S_IFREG,
            Kind::Dir => libc::S_IFDIR,
            Kind::Symlink => libc::S_IFLNK,
            Kind::Fifo => libc::S_IFIFO,
            Kind::Socket => libc::S_IFSOCK,
            Kind::CharDevice => libc::S_IFCHR,
            Kind::BlockDevice => libc::S_IFBLK,
        }
    }
}

/// A point of file time: seconds since 1970 (may be negative) and nanoseconds (0..1e9).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct FileTime {
    pub sec: i64,
    pub nsec: u32,
}

/// Why content that should be there is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LostReason {
    /// The backing directory answered EIO.
    ReadError,
    /// The daemon may not read the file (mode, ACL, missing key).
    NoPermission,
    /// It could not be recorded within `limits::CAPTURE_WAIT`.
    TooSlow,
    /// History was not being recorded.
    Gap,
    /// The daemon died, or the disk was full, before it was recorded.
    NotRecorded,
    /// It was there before the first mount, and was not to be imported (`--import changes`).
    NotImported,
    /// It is not to be recorded. Of a folder, which has no content: its names are not.
    LeftOut,
}

/// The bytes of a regular file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Content {
    Empty,
    /// One chunk that is the whole file.
    Chunk(Hash),
    /// A chunk list, by the hash of its encoded bytes (a hash domain of its own).
    List(Hash),
    Lost(LostReason),
    /// Removed from history on demand; the hash of the encoded `Content` before it.
    Purged(Hash),
    /// Found damaged in the store, and nothing had the bytes any more; the same hash.
    Damaged(GivenUp),
}

/// The hash in place of content that was given up. In bytes a check value follows it: one flipped bit
/// of the tag would else make purged content of it, or it of purged content, and the state counts
/// both alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "(Hash, Hash)", into = "(Hash, Hash)")]
pub struct GivenUp(pub Hash);

impl GivenUp {
    fn check(self) -> Hash {
        Hash::of(&[&b"given up"[..], &self.0.0].concat())
    }
}

impl From<GivenUp> for (Hash, Hash) {
    fn from(given_up: GivenUp) -> (Hash, Hash) {
        (given_up.0, given_up.check())
    }
}

impl TryFrom<(Hash, Hash)> for GivenUp {
    type Error = &'static str;

    fn try_from((hash, check): (Hash, Hash)) -> Result<GivenUp, &'static str> {
        let given_up = GivenUp(hash);
        match given_up.check() == check {
            true => Ok(given_up),
            false => Err("the check value of content that was given up is another"),
        }
    }
}

impl Content {
    /// Whether the bytes are in no store: lost, purged or given up.
    pub fn is_missing(&self) -> bool {
        matches!(
            self,
            Content::Lost(_) | Content::Purged(_) | Content::Damaged(_)
        )
    }
}

/// One piece of a chunk list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Piece {
    /// `len` bytes that are the chunk `hash`.
    Data { len: u32, hash: Hash },
    /// `len` bytes of hole.
    Hole { len: u64 },
}

impl Piece {
    /// Bytes of the file that this piece covers.
    pub fn len(&self) -> u64 {
        match *self {
            Piece::Data { len, .. } => u64::from(len),
            Piece::Hole { len } => len,
        }
    }

    /// Never true of a piece that was written; for completeness of the interface.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How a chunk list was cut: decides whether the next capture may reuse its pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Cutting {
    /// Content-defined (`limits::CHUNK_*`): files that are rewritten or appended to.
    ContentDefined,
    /// Every `limits::FIXED_CHUNK` bytes from the file's beginning where it was written in place; what
    /// nobody has written to may still be in the pieces of before.
    Fixed,
}

/// The pieces of a file in order; their lengths add up to its size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkList {
    pub cutting: Cutting,
    pub pieces: Vec<Piece>,
}

/// One version of a file's attributes and content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inode {
    pub kind: Kind,
    /// Permission bits and setuid, setgid, sticky (07777).
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub rdev: u64,
    pub atime: FileTime,
    pub mtime: FileTime,
    pub ctime: FileTime,
    pub nlink: u32,
    /// Bytes; of a symlink the length of its target.
    pub size: u64,
    pub content: Content,
    /// Target of a symlink; empty otherwise.
    pub target: Vec<u8>,
    /// Name and value, in bytewise order of the names.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// A directory in which it stood when this version was recorded (of a directory, the only
    /// one): leads from a change to a path. The root's is 0.
    pub parent: FileId,
    /// Its name there.
    pub name: Vec<u8>,
}

impl Inode {
    /// Whether it is not to be recorded: of a folder its names, of a file its content.
    pub fn is_left_out(&self) -> bool {
        self.content == Content::Lost(LostReason::LeftOut)
    }
}

/// What stands under (file id, epoch).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InodeVersion {
    Gone,
    Present(Inode),
}

/// What stands under (directory, name, epoch).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dirent {
    Gone,
    Present { id: FileId, kind: Kind },
}

/// What of a file changed in an epoch, bits to be joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct What(pub u16);

impl What {
    pub const CREATED: What = What(1);
    pub const GONE: What = What(2);
    pub const CONTENT: What = What(4);
    pub const ATTRIBUTES: What = What(8);
    pub const XATTRS: What = What(16);

    /// Both.
    pub fn with(self, other: What) -> What {
        What(self.0 | other.0)
    }

    /// Whether all bits of `other` are set.
    pub fn has(self, other: What) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Bytes of a file that somebody wrote, punched or allocated. Who changed its size wrote all from the
/// smaller of both sizes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    pub by: ActorId,
    pub bytes: RangeSet,
}

/// One line of an epoch's list of changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// The file of the key changed; who did it, each once; and, if its content changed and that was
    /// noted, who wrote what of it. Who is not in that list wrote nothing.
    Inode {
        what: What,
        actors: Vec<ActorId>,
        written: Vec<Written>,
    },
    /// `name` in the directory of the key changed.
    Dirent { name: Vec<u8>, actors: Vec<ActorId> },
}

/// Who did something. `boot` and `start` make the pid unique.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Actor {
    /// Thread group id (what `ps` calls the pid).
    pub tgid: u32,
    /// Start of the process, clock ticks since boot (field 22 of /proc/PID/stat).
    pub start: u64,
    /// /proc/sys/kernel/random/boot_id.
    pub boot: [u8; 16],
    pub uid: u32,
    /// /proc/PID/comm: not to be trusted, the process can set it.
    pub comm: Vec<u8>,
    /// Its command line: each argument ended by 0x00, cut off at `limits::COMMAND_MAX` bytes. Empty
    /// if the process had gone before somebody could look. Not to be trusted either.
    pub command: Vec<u8>,
    /// Run it belongs to, 0 for none.
    pub run: u64,
    /// Ancestors up to the session leader, nearest first: (tgid, comm).
    pub ancestors: Vec<(u32, Vec<u8>)>,
}

/// A command that was run so that what it changes is known by a number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// As somebody called it; may be empty.
    pub name: String,
    /// Its command line, each argument ended by 0x00, cut off at `limits::RUN_TEXT_MAX` bytes.
    pub command: Vec<u8>,
    pub by_uid: u32,
    pub started: Timestamp,
    /// `None`: it runs, or its end was never told.
    pub ended: Option<Timestamp>,
    /// It is an undo.
    pub undoes: bool,
}

/// How far an epoch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EpochState {
    /// Complete: listed.
    Whole,
    /// Recorded, but not listed until the scan `on` is whole.
    Waiting { on: Epoch },
    /// A scan (or what waited for it) that was cut off: listed, says so.
    Partial,
}

/// Why an epoch was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EpochKind {
    Checkpoint,
    Snapshot,
    Scan,
    Recovered,
}

/// Counted while the epoch was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochStatistics {
    /// Inode versions written.
    pub inodes: u64,
    /// Directory entries written.
    pub dirents: u64,
    /// Bytes that were read and hashed.
    pub hashed_bytes: u64,
    /// Plain bytes of the chunks that were new.
    pub new_bytes: u64,
    /// Stored bytes (after compression) of the chunks that were new.
    pub stored_bytes: u64,
    /// Files whose content is lost in this epoch.
    pub lost_files: u64,
}

/// An epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochRecord {
    pub state: EpochState,
    pub kind: EpochKind,
    /// Nothing had been changed for 200 ms when it was cut.
    pub quiet: bool,
    /// Shared mappings that could not be looked at before the cut.
    pub unseen_mappings: bool,
    pub statistics: EpochStatistics,
}

/// The part of an epoch that is kept for ever, also of pruned epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Strictly ascending, whatever the clock does.
    pub time: Timestamp,
    /// What the clock said.
    pub wall: Timestamp,
    /// New at each opening of the store: shows forks.
    pub lineage: [u8; 16],
    /// state(e): BLAKE3 of the LtHash sum of all records visible at e.
    pub state: Hash,
    /// seal(e) = BLAKE3(seal(e-1), header(e) without seal).
    pub seal: Hash,
}

/// Whether a snapshot can be read on its own, and how its content was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SnapshotMode {
    /// Every file was read and hashed.
    Full,
    /// What changed since the one before, as tracked.
    Incremental,
    /// Relative to the last full one.
    Differential,
}

/// A hold: the snapshot can't be deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub by_uid: u32,
    pub since: Timestamp,
    pub until: Option<Timestamp>,
    pub reason: String,
}

/// A snapshot: an epoch with a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub id: SnapshotId,
    pub epoch: Epoch,
    /// When it was asked for.
    pub time: Timestamp,
    pub mode: SnapshotMode,
    /// Of a differential one, the full one that it refers to.
    pub base: Option<Epoch>,
    pub hold: Option<Hold>,
    pub tags: Vec<String>,
    pub message: String,
    /// Who asked for it.
    pub by_uid: u32,
}

/// Where a chunk is and how many records refer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexEntry {
    pub number: ChunkNumber,
    /// Bytes of the envelope in `chunks`.
    pub stored_bytes: u32,
    /// Plain bytes.
    pub plain_bytes: u32,
    /// Contents and lists that name it. A list counts each of its pieces once per piece.
    pub refs: u64,
    /// A chunk list (its pieces are released with it).
    pub is_list: bool,
}

/// What a file looked like when it was last recorded: `live`, by backing inode number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveEntry {
    pub id: FileId,
    /// Birth time as statx gives it; `None` where the file system has none.
    pub birth: Option<FileTime>,
    pub size: u64,
    pub mtime: FileTime,
    pub ctime: FileTime,
    /// The file system's clock when it was looked at: racy if ctime is within 2 s of it.
    pub looked: FileTime,
    /// Epoch of the newest version.
    pub epoch: Epoch,
}

/// A stretch of time without history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    pub from: Timestamp,
    /// `None` while it lasts.
    pub to: Option<Timestamp>,
    pub reason: String,
}

/// Files that were there before the first mount, whose content was not to be imported, and which
/// have not been changed since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FromBefore {
    pub files: u64,
    pub bytes: u64,
}

impl FromBefore {
    /// One version less or more of that kind.
    pub fn exchange(&mut self, before: Option<&InodeVersion>, now: &InodeVersion) {
        let bytes = |version: &InodeVersion| match version {
            InodeVersion::Present(inode)
                if inode.content == Content::Lost(LostReason::NotImported) =>
            {
                Some(inode.size)
            }
            _ => None,
        };
        if let Some(bytes) = before.and_then(bytes) {
            self.files = self.files.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(bytes);
        }
        if let Some(bytes) = bytes(now) {
            self.files += 1;
            self.bytes += bytes;
        }
    }
}

/// Which directory a store belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootIdentity {
    /// File-system id (statfs f_fsid, 8 bytes, little endian) as hexadecimal.
    pub fsid: String,
    pub ino: u64,
    pub birth: Option<FileTime>,
    /// Where it was mounted last; to be shown, not compared.
    pub path: Vec<u8>,
}

/// The newest epoch that is known to be on the live disk, and the boot in which it was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Synced {
    pub epoch: Epoch,
    pub boot: [u8; 16],
    /// Ended by a clean unmount.
    pub clean: bool,
}
