//! Hostile bytes in a store or on the socket: every decoder answers with a value or an error,
//! never with a panic, and never takes memory beyond the input's size times a constant.
//!
//! A program of its own, because it counts what is allocated. `REWINDFS_SEED` replays a run,
//! `REWINDFS_DECODER_INPUTS` sets the number of inputs for each decoder.

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use rewindfs::archive::{
    Head, Index, KeySlot, ObjectKind, ObjectRecord, PackIndex, PackedChunk, Secret, SetKind,
    SetRecord,
};
use rewindfs::control::protocol::Hello;
use rewindfs::control::request::{Reply, Request};
use rewindfs::control::wire;
use rewindfs::format::alarm::{Alarm, AlarmKind};
use rewindfs::format::keeping::{
    Deleted, HintRecord, Policy, PolicyRecord, RulesRecord, Unsettled, UnsettledFile,
};
use rewindfs::format::key::{self, Family};
use rewindfs::format::lthash::LtHash;
use rewindfs::format::record::*;
use rewindfs::format::transfer::{RawChunk, RawRecord, Recovering, Sent};
use rewindfs::format::value;
use rewindfs::id::{ActorId, ChunkNumber, Epoch, FileId, Hash, SnapshotId};
use rewindfs::limits;
use rewindfs::pattern::{Matcher, Rules};
use rewindfs::store::purge::Tombstone;
use rewindfs::store::scrub::Scrub;
use rewindfs::store::{SnapshotAction, SnapshotEvent};
use rewindfs::time::Timestamp;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

/// Bytes that a decoder may take for each byte of its input. The largest is zstd's: a block of
/// four bytes stands for 128 KiB of plain ones.
const PER_BYTE: usize = 48 << 10;
/// Of records: the size of a list's element in memory, twice over while a vector grows.
const PER_BYTE_OF_RECORD: usize = 256;
/// Bytes that it may take anyhow: messages of errors, the context of zstd.
const ALWAYS: usize = 1 << 20;
const INPUTS: u32 = 200_000;

thread_local! {
    static TAKEN: Cell<usize> = const { Cell::new(0) };
}

/// Counts the bytes that a thread asks for.
struct Counting;

// SAFETY: every call is passed on to the system's allocator; the counter takes no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = TAKEN.try_with(|taken| taken.set(taken.get().saturating_add(layout.size())));
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn inputs() -> u32 {
    let wanted = number("REWINDFS_DECODER_INPUTS").and_then(|count| u32::try_from(count).ok());
    wanted.unwrap_or(if std::env::var_os("REWINDFS_QUICK").is_some() {
        INPUTS / 20
    } else {
        INPUTS
    })
}

/// Feeds a decoder with bytes that are random, and with bytes that were valid before a few of
/// them were changed, doubled, cut off or moved.
fn torture(name: &str, per_byte: usize, valid: &[Vec<u8>], decode: impl Fn(&[u8])) {
    torture_some(name, inputs(), per_byte, valid, decode);
}

/// The same with so many inputs.
fn torture_some(
    name: &str,
    inputs: u32,
    per_byte: usize,
    valid: &[Vec<u8>],
    decode: impl Fn(&[u8]),
) {
    let seed = number("REWINDFS_SEED").unwrap_or_else(|| rand::rng().next_u64());
    println!("{name}: REWINDFS_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for bytes in valid {
        decode(bytes);
    }
    for _ in 0..inputs {
        let bytes = hostile(&mut random, valid);
        TAKEN.set(0);
        decode(&bytes);
        let taken = TAKEN.get();
        assert!(
            taken <= ALWAYS + per_byte * bytes.len(),
            "{name} took {taken} bytes for {} of input: {}",
            bytes.len(),
            key::hex(&bytes)
        );
    }
}

fn hostile(random: &mut StdRng, valid: &[Vec<u8>]) -> Vec<u8> {
    let from_scratch = random.random_ratio(1, 4) || valid.is_empty();
    let mut bytes = if from_scratch {
        let mut bytes = vec![0; random.random_range(0..200)];
        random.fill_bytes(&mut bytes);
        if let Some(first) = bytes.first_mut()
            && random.random_bool(0.8)
        {
            *first = value::VERSION;
        }
        bytes
    } else {
        valid[random.random_range(0..valid.len())].clone()
    };
    for _ in 0..random.random_range(0..4) {
        change(random, &mut bytes);
    }
    bytes
}

fn change(random: &mut StdRng, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return bytes.push(random.random());
    }
    let at = random.random_range(0..bytes.len());
    match random.random_range(0..6) {
        0 => bytes[at] ^= 1 << random.random_range(0..8),
        1 => bytes[at] = random.random(),
        2 => bytes.truncate(at),
        3 => {
            // A length, or a number, as large as there can be.
            let large = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
            let length = random.random_range(1..=large.len());
            bytes.splice(at..at, large[large.len() - length..].iter().copied());
        }
        4 => {
            let end = random.random_range(at..bytes.len()) + 1;
            let piece = bytes[at..end].to_vec();
            bytes.splice(at..at, piece);
        }
        _ => {
            bytes.remove(at);
        }
    }
}

const HASH: Hash = Hash([0xaa; 32]);
const TIME: FileTime = FileTime { sec: -1, nsec: 1 };

fn inode() -> Inode {
    Inode {
        kind: Kind::File,
        mode: 0o644,
        uid: 1000,
        gid: 1001,
        rdev: 0,
        atime: TIME,
        mtime: TIME,
        ctime: TIME,
        nlink: 1,
        size: 300,
        content: Content::List(HASH),
        target: b"a/b".to_vec(),
        xattrs: vec![(b"user.a".to_vec(), b"b".to_vec()); 3],
        parent: FileId(1),
        name: b"name".to_vec(),
    }
}

fn record<T: serde::de::DeserializeOwned>(name: &str, valid: Vec<Vec<u8>>) {
    torture(name, PER_BYTE_OF_RECORD, &valid, |bytes| {
        let _ = black_box(value::unpack::<T>(bytes));
    });
}

#[test]
fn records_of_files_and_names() {
    record::<InodeVersion>(
        "inode version",
        vec![
            value::pack(&InodeVersion::Present(inode())),
            value::pack(&InodeVersion::Gone),
        ],
    );
    let present = Dirent::Present {
        id: FileId(300),
        kind: Kind::Dir,
    };
    record::<Dirent>("dirent", vec![value::pack(&present)]);
    let live = LiveEntry {
        id: FileId(1),
        birth: Some(TIME),
        size: 3,
        mtime: TIME,
        ctime: TIME,
        looked: TIME,
        epoch: Epoch(10),
    };
    record::<LiveEntry>("live entry", vec![value::pack(&live)]);
}

#[test]
fn records_of_epochs() {
    let epoch = EpochRecord {
        state: EpochState::Waiting { on: Epoch(300) },
        kind: EpochKind::Checkpoint,
        quiet: true,
        unseen_mappings: false,
        statistics: EpochStatistics::default(),
    };
    record::<EpochRecord>("epoch", vec![value::pack(&epoch)]);
    let header = Header {
        time: Timestamp(1),
        wall: Timestamp(-1),
        lineage: [0x11; 16],
        state: HASH,
        seal: HASH,
    };
    record::<Header>("header", vec![value::pack(&header)]);
    let snapshot = Snapshot {
        id: SnapshotId(1),
        epoch: Epoch(2),
        time: Timestamp(3),
        mode: SnapshotMode::Full,
        base: Some(Epoch(4)),
        hold: Some(Hold {
            by_uid: 5,
            since: Timestamp(6),
            until: None,
            reason: "why".to_owned(),
        }),
        tags: vec!["tag".to_owned(); 3],
        message: "message".to_owned(),
        by_uid: 7,
    };
    record::<Snapshot>("snapshot", vec![value::pack(&snapshot)]);
    let deleted = Deleted {
        name: "name".to_owned(),
        snapshot,
        time: Timestamp(8),
        by_uid: 9,
    };
    record::<Deleted>("deleted", vec![value::pack(&deleted)]);
    let actor = Actor {
        tgid: 1,
        start: 2,
        boot: [0x11; 16],
        uid: 3,
        comm: b"sh".to_vec(),
        command: b"sh\0-c\0".to_vec(),
        run: 4,
        ancestors: vec![(5, b"su".to_vec()); 3],
    };
    record::<Actor>("actor", vec![value::pack(&actor)]);
}

#[test]
fn records_of_the_store() {
    let entry = IndexEntry {
        number: ChunkNumber(1),
        stored_bytes: 2,
        plain_bytes: 3,
        refs: 4,
        is_list: true,
    };
    record::<IndexEntry>("index entry", vec![value::pack(&entry)]);
    let gap = Gap {
        from: Timestamp(1),
        to: None,
        reason: "disk full".to_owned(),
    };
    record::<Gap>("gap", vec![value::pack(&gap)]);
    let root = RootIdentity {
        fsid: "f".to_owned(),
        ino: 2,
        birth: None,
        path: b"/p".to_vec(),
    };
    record::<RootIdentity>("root identity", vec![value::pack(&root)]);
    let policy = value::pack(&PolicyRecord::default());
    record::<PolicyRecord>("policy", vec![policy]);
    let synced = Synced {
        epoch: Epoch(1),
        boot: [0x11; 16],
        clean: true,
    };
    record::<Synced>("synced", vec![value::pack(&synced)]);
    record::<Vec<(ActorId, u64)>>(
        "a list of numbers",
        vec![value::pack(&vec![(1_u64, 2_u64); 4])],
    );
    torture(
        "sum",
        PER_BYTE_OF_RECORD,
        &[LtHash::default().pack()],
        |bytes| {
            let _ = black_box(LtHash::unpack(bytes));
        },
    );
}

#[test]
fn records_of_what_was_done() {
    let alarm = Alarm {
        kind: AlarmKind::Destroyed,
        files: 1000,
        folder: b"a/b".to_vec(),
        tgid: 1,
        comm: b"rm".to_vec(),
        job: b"sh".to_vec(),
        before: Some(Timestamp(2)),
        until: None,
    };
    let reason = || "why".to_owned();
    let policy = Policy::default();
    let actions = [
        SnapshotAction::Made,
        SnapshotAction::Renamed { to: reason() },
        SnapshotAction::Held {
            until: Some(Timestamp(1)),
            reason: reason(),
        },
        SnapshotAction::Pruned {
            since: Timestamp(1),
            states: 2,
            bytes: 3,
        },
        SnapshotAction::Alarm(Box::new(alarm)),
        SnapshotAction::AlarmSet { files: 300 },
        SnapshotAction::LeftOut {
            rules: rules(),
            reason: reason(),
        },
        SnapshotAction::Repaired {
            mended: 1,
            given_up: 2,
        },
        SnapshotAction::Purged {
            versions: 1,
            bytes: 2,
            reason: reason(),
        },
        SnapshotAction::ReleasedFor { reason: reason() },
        SnapshotAction::PolicyFor {
            policy,
            reason: reason(),
        },
    ];
    let line = |action| SnapshotEvent {
        time: Timestamp(4),
        by_uid: 5,
        name: "name".to_owned(),
        action,
    };
    let lines = actions.map(|action| value::pack(&line(action)));
    record::<SnapshotEvent>("a line of the log", lines.to_vec());
    let run = Run {
        name: "run".to_owned(),
        command: b"make\0all\0".to_vec(),
        by_uid: 1,
        started: Timestamp(2),
        ended: Some(Timestamp(3)),
        undoes: true,
    };
    record::<Run>("run", vec![value::pack(&run)]);
    let changes = (What::CONTENT, vec![ActorId(300); 4]);
    record::<(What, Vec<ActorId>)>("a line of changes", vec![value::pack(&changes)]);
    let unsettled = Unsettled {
        files: vec![UnsettledFile {
            path: b"a/b".to_vec(),
            by: ActorId(3),
            age_ms: 300,
        }],
        more: vec![(ActorId(3), 7)],
    };
    record::<Unsettled>("unsettled", vec![value::pack(&unsettled)]);
    let tombstone = Tombstone {
        time: Timestamp(1),
        by_uid: 2,
        reason: reason(),
        contents: vec![HASH; 3],
        check: HASH,
    };
    record::<Tombstone>("tombstone", vec![value::pack(&tombstone)]);
    let mended = (Timestamp(1), 2_u32, Some(HASH), None::<Hash>);
    record::<(Timestamp, u32, Option<Hash>, Option<Hash>)>("mended", vec![value::pack(&mended)]);
    let scrub = Scrub {
        begun: Some(Timestamp(1)),
        next: 300,
        ..Scrub::default()
    };
    record::<Scrub>("background check", vec![value::pack(&scrub)]);
    let from_before = FromBefore {
        files: 300,
        bytes: 1 << 40,
    };
    record::<FromBefore>("from before", vec![value::pack(&from_before)]);
}

/// What comes back from a place to which others may write, and over the socket while a store is sent.
#[test]
fn objects_of_a_repository() {
    let set = SetRecord {
        number: 300,
        kind: SetKind::Incremental,
        base: Some(1),
        store: [0x11; 16],
        host: "host".to_owned(),
        dir: b"/d".to_vec(),
        after: Epoch(2),
        to: Epoch(3),
        time: Timestamp(4),
        made: Timestamp(5),
        state: HASH,
        seal: HASH,
        files: 6,
        data_bytes: 7,
        asked: true,
        set_bytes: 8,
        objects: vec![
            ObjectRecord {
                kind: ObjectKind::Pack,
                hash: HASH,
                bytes: 9,
            };
            3
        ],
    };
    let head = Head {
        number: 301,
        previous: HASH,
        lineage: 1,
        writer: [0x11; 16],
        made: Timestamp(6),
        sets: vec![set; 2],
    };
    record::<Head>("head", vec![value::pack(&head)]);
    let chunk = PackedChunk {
        hash: HASH,
        is_list: true,
        bytes: 300,
    };
    let index = Index {
        packs: vec![PackIndex {
            pack: HASH,
            chunks: vec![chunk; 3],
        }],
    };
    record::<Index>("index of packs", vec![value::pack(&index)]);
    let password = Secret(b"password".to_vec());
    let slot = KeySlot::new([0x11; 16], &[7; 32], &password).expect("random numbers");
    record::<KeySlot>("key slot", vec![value::pack(&slot)]);
    let raw = RawRecord::new(Family::Headers, b"key", b"value");
    record::<Vec<RawRecord>>("segment", vec![value::pack(&vec![raw; 3])]);
    let chunk = RawChunk {
        hash: HASH,
        is_list: false,
        envelope: b"envelope".to_vec(),
    };
    let answer = vec![(HASH, Some(chunk)), (HASH, None)];
    record::<Vec<(Hash, Option<RawChunk>)>>("chunks", vec![value::pack(&answer)]);
    let sent = Sent {
        repository: [0x11; 16],
        url: "file:///b".to_owned(),
        set: 300,
        epoch: Epoch(7),
        full_set: 1,
        full_epoch: Epoch(2),
        time: Timestamp(3),
        lists: HASH,
        recovered: true,
        fenced: Some(Timestamp(-1)),
    };
    record::<Sent>("sent", vec![value::pack(&sent)]);
    let recovering = Recovering {
        repository: [0x11; 16],
        set: 1,
        at: "@5m".to_owned(),
        dir: (2, 3),
    };
    record::<Recovering>("recovering", vec![value::pack(&recovering)]);
}

fn rules() -> Rules {
    Rules {
        patterns: vec!["/a/**/[b-d]*.{o,a}".to_owned(), "!keep\\ ".to_owned()],
        caches: true,
        max_file_bytes: Some(9),
    }
}

/// What a pattern is made into takes room, however few bytes it has.
const PER_PATTERN: usize = 64 << 10;

#[test]
fn rules_of_what_is_left_out() {
    let rules = RulesRecord {
        rules: rules(),
        time: Timestamp(1),
        by_uid: 7,
        from: Some(Epoch(4)),
    };
    let valid = vec![value::pack(&rules)];
    record::<RulesRecord>("rules", valid.clone());
    // Whoever loads them makes them ready.
    torture_some("ready rules", inputs() / 10, PER_PATTERN, &valid, |bytes| {
        if let Ok(record) = value::unpack::<RulesRecord>(bytes)
            && let Ok(matcher) = Matcher::new(record.rules)
        {
            let _ = black_box(matcher.pattern_for_all(b"a/x/c.o", false).is_some());
            let _ = black_box(matcher.decides_below(b"a"));
        }
    });
    let hint = HintRecord {
        time: Timestamp(1),
        folder: b"a/b".to_vec(),
        bytes: 5,
        total: 9,
        is_cache: true,
    };
    record::<HintRecord>("hint", vec![value::pack(&hint)]);
}

#[test]
fn chunk_lists() {
    let list = ChunkList {
        cutting: Cutting::ContentDefined,
        pieces: vec![
            Piece::Data {
                len: 300,
                hash: HASH,
            },
            Piece::Hole { len: 5 },
        ],
    };
    torture(
        "chunk list",
        PER_BYTE_OF_RECORD,
        &[value::pack_list(&list)],
        |bytes| {
            let _ = black_box(value::unpack_list(bytes));
        },
    );
}

#[test]
fn envelopes_of_chunks() {
    let plain: Vec<u8> = (0..4000_u32)
        .flat_map(|number| (number / 7).to_le_bytes())
        .collect();
    let valid = [
        value::pack_chunk(b"raw"),
        value::pack_chunk(&plain),
        value::pack_chunk(&[0; 1 << 20]),
    ];
    // What says that it is a long list, and is a few bytes, must not be believed.
    let mut liar = value::pack_chunk(&plain);
    liar[1..5].copy_from_slice(&limits::LIST_PLAIN_MAX.to_le_bytes());
    TAKEN.set(0);
    assert!(value::unpack_chunk(&liar[..20], limits::LIST_PLAIN_MAX).is_err());
    assert!(
        TAKEN.get() <= ALWAYS + 20 * PER_BYTE,
        "{} bytes taken",
        TAKEN.get()
    );
    for limit in [limits::CHUNK_MAX, limits::LIST_PLAIN_MAX] {
        torture("envelope", PER_BYTE, &valid, |bytes| {
            let _ = black_box(value::unpack_chunk(bytes, limit));
        });
    }
}

#[test]
fn keys() {
    let valid = [
        key::inode(FileId(1), Epoch(2)).to_vec(),
        key::dirent(FileId(1), b"name", Epoch(2)),
    ];
    torture("keys", PER_BYTE_OF_RECORD, &valid, |bytes| {
        let _ = black_box(key::unpack_inode(bytes));
        let _ = black_box(key::unpack_dirent(bytes));
        let _ = black_box(key::unpack_change(bytes));
        let _ = black_box(key::unpack_snapshot(bytes));
        let _ = black_box(key::unpack_index(bytes));
        let _ = black_box(key::unpack_chunk(bytes));
        let _ = black_box(key::unpack_live(bytes));
        let _ = black_box(key::unpack_actor(bytes));
        let _ = black_box(key::unpack_meta("block", bytes));
        for family in Family::ALL {
            let _ = black_box(key::unpack_epoch(family, bytes));
        }
    });
}

#[test]
fn messages_on_the_socket() {
    // One of each kind, as the protocol's own test writes them down.
    let lines = include_str!("../src/control/protocol.txt").lines().skip(1);
    let framed = |line: &str| {
        let length = u32::try_from(line.len()).expect("a short message");
        [&length.to_le_bytes(), line.as_bytes()].concat()
    };
    let valid: Vec<Vec<u8>> = lines.map(framed).collect();
    let mut understood = [0; 3];
    for message in &valid {
        let read = [
            wire::receive::<Hello>(&mut &message[..]).is_ok(),
            wire::receive::<Request>(&mut &message[..]).is_ok(),
            wire::receive::<Reply>(&mut &message[..]).is_ok(),
        ];
        assert!(read.contains(&true), "{}", String::from_utf8_lossy(message));
        for (count, read) in understood.iter_mut().zip(read) {
            *count += usize::from(read);
        }
    }
    assert!(understood[1] >= 30 && understood[2] >= 50, "{understood:?}");
    torture("messages", PER_BYTE_OF_RECORD, &valid, |bytes| {
        let _ = black_box(wire::receive::<Hello>(&mut &bytes[..]));
        let _ = black_box(wire::receive::<Request>(&mut &bytes[..]));
        let _ = black_box(wire::receive::<Reply>(&mut &bytes[..]));
    });
}
