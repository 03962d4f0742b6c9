//! A store with hostile content: values that are damaged, cut off, swapped with others of their
//! kind, or made up to be as bad as they can be. Whoever looks around in it, verifies or prunes it
//! gets answers or errors; never a panic, a hang, or a name that leads elsewhere.

use super::*;
use crate::format::key::Family;
use crate::format::record::{
    ChunkList, Content, Cutting, Dirent, EpochKind, EpochRecord, EpochStatistics, Header,
    IndexEntry, InodeVersion, SnapshotMode,
};
use crate::format::value;
use crate::id::{ChunkNumber, Epoch, Hash};
use crate::store::kv::{Batch, Durability, Kv, Record};
use crate::store::memory::MemoryKv;
use crate::store::{Store, StoreOptions};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use std::str::FromStr;

/// Stores that are looked at; each differs from a good one in a few records.
const STORES: u32 = 3_000;
/// Nodes looked at in each: a directory that holds itself has no end.
const NODES_MAX: usize = 120;
const DEPTH_MAX: usize = 10;

const NAMES: [&str; 8] = [
    ".history",
    ".incremental",
    ".differential",
    "@10:05",
    "latest",
    "latest~1",
    "third",
    "@GMT-2026.11.20-10.00.00",
];

type Records = Vec<(Family, Record)>;

fn number<T: FromStr>(variable: &str, otherwise: T) -> T {
    let set = std::env::var(variable).ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// All records of the scene's store, with a list, a hole, xattrs and lost content in it.
fn good() -> Records {
    let kv = Arc::new(MemoryKv::default());
    let mut past = Past::on(Store::on(kv.clone(), &StoreOptions::default()).expect("a store"));
    fill(&mut past);
    past.epoch("2026-11-20T10:12", |draft| {
        let piece = Piece::Data {
            len: 5,
            hash: draft.chunk(b"piece"),
        };
        let list = draft.list(vec![piece, Piece::Hole { len: 1 << 20 }, piece]);
        let mut big = file(list, (1 << 20) + 10);
        big.xattrs = vec![(b"user.a".to_vec(), b"b".to_vec())];
        draft.put(7, 5, "big", big);
        draft.put(8, 5, "lost", file(Content::Lost(LostReason::ReadError), 9));
        draft.snapshot("third");
    });
    drop(past);
    let snapshot = kv.snapshot().expect("memory");
    let mut records = Records::new();
    for family in Family::ALL {
        let mut scan = snapshot.scan(family, &[], &[]).expect("memory");
        while let Some((key, value)) = scan.item() {
            records.push((family, (key.to_vec(), value.to_vec())));
            scan.step().expect("memory");
        }
    }
    records
}

/// Changes one record.
fn spoil(random: &mut StdRng, records: &mut Records) {
    let at = random.random_range(0..records.len());
    let (family, (_, value)) = &records[at];
    let other = |random: &mut StdRng| {
        let alike: Vec<_> = records.iter().filter(|(kind, _)| kind == family).collect();
        alike[random.random_range(0..alike.len())].1.clone()
    };
    let mut value = value.clone();
    if random.random_ratio(1, 8) {
        let key = &mut records[at].1.0;
        let from = random.random_range(0..key.len());
        let fill = [0, 1, 0x7f, 0x80, 0xff][random.random_range(0..5)];
        let alone = random.random();
        let until = if alone { from + 1 } else { key.len() };
        key[from..until].fill(fill);
        return;
    }
    match random.random_range(0..6) {
        0 => value = other(random).1,
        1 => records[at].1.0 = other(random).0,
        2 => value.truncate(random.random_range(0..=value.len())),
        3 => value = evil(random, *family).unwrap_or_default(),
        _ if value.is_empty() => value.push(random.random()),
        4 => {
            let byte = random.random_range(0..value.len());
            value[byte] = random.random();
        }
        _ => {
            let byte = random.random_range(0..value.len());
            let large = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
            value.splice(byte..=byte, large);
        }
    }
    records[at].1.1 = value;
}

/// A value that decodes well and means harm.
fn evil(random: &mut StdRng, family: Family) -> Option<Vec<u8>> {
    let extremes = [0, 1, 2, i64::MAX as u64, 1 << 63, u64::MAX - 1, u64::MAX];
    let extreme = extremes[random.random_range(0..extremes.len())];
    let signed = extreme.cast_signed();
    let time = FileTime {
        sec: signed,
        nsec: u32::MAX,
    };
    Some(match family {
        Family::Inodes => value::pack(&InodeVersion::Present(Inode {
            size: extreme,
            rdev: extreme,
            mode: u32::MAX,
            mtime: time,
            ctime: time,
            atime: time,
            parent: FileId(extreme),
            name: b"../../etc".to_vec(),
            xattrs: vec![(b"user.\0a".to_vec(), vec![0; 70_000])],
            ..file(Content::Chunk(Hash([0; 32])), 1)
        })),
        Family::Dirents => value::pack(&Dirent::Present {
            id: FileId(if random.random() { 1 } else { extreme }),
            kind: Kind::Dir,
        }),
        Family::Headers => {
            let instant = Timestamp(signed);
            value::pack(&Header {
                time: instant,
                wall: instant,
                lineage: [0; 16],
                state: Hash([0; 32]),
                seal: Hash([0; 32]),
            })
        }
        Family::Epochs => value::pack(&EpochRecord {
            state: EpochState::Waiting { on: Epoch(extreme) },
            kind: EpochKind::Scan,
            quiet: true,
            unseen_mappings: true,
            statistics: EpochStatistics {
                inodes: extreme,
                dirents: extreme,
                hashed_bytes: extreme,
                new_bytes: extreme,
                stored_bytes: extreme,
                lost_files: extreme,
            },
        }),
        Family::Snapshots => value::pack(&Snapshot {
            id: SnapshotId(extreme),
            epoch: Epoch(if random.random() { 1 } else { extreme }),
            time: Timestamp(signed),
            mode: SnapshotMode::Differential,
            base: Some(Epoch(extreme)),
            hold: None,
            tags: Vec::new(),
            message: "\u{1b}[2J".to_owned(),
            by_uid: u32::MAX,
        }),
        Family::Index => value::pack(&IndexEntry {
            number: ChunkNumber(extreme),
            stored_bytes: u32::MAX,
            plain_bytes: u32::MAX,
            refs: extreme,
            is_list: random.random(),
        }),
        Family::Meta => [
            value::pack(&extreme),
            value::pack(&(extreme, extreme, extreme)),
            value::pack(&(Epoch(extreme), vec![0_u8; 2048])),
        ][random.random_range(0..3)]
        .clone(),
        Family::Chunks => value::pack_chunk(&value::pack_list(&ChunkList {
            cutting: Cutting::Fixed,
            pieces: vec![
                Piece::Hole {
                    len: extreme.max(1)
                };
                3
            ],
        })),
        _ => return None,
    })
}

fn database(records: &Records) -> Arc<MemoryKv> {
    let kv = MemoryKv::default();
    let mut batch = Batch::default();
    for (family, (key, value)) in records {
        batch.put(*family, key.clone(), value.clone());
    }
    kv.write(batch, Durability::Synced).expect("memory");
    Arc::new(kv)
}

/// Looks at everything below a node.
fn look_around(scene: &Scene, ino: u64, depth: usize, left: &mut usize) {
    let dir = &scene.dir;
    let _ = dir.getattr(&ROOT_USER, ino);
    let _ = dir.listxattr(&ROOT_USER, ino);
    let _ = dir.getxattr(&ROOT_USER, ino, b"user.a");
    let _ = dir.readlink(&ROOT_USER, ino);
    for offset in [0, 3, 1 << 20, 1 << 62, u64::MAX] {
        let mut out = Vec::new();
        let _ = dir.read(&ROOT_USER, ino, offset, 1 << 16, &mut out);
        let _ = dir.lseek(&ROOT_USER, ino, offset, libc::SEEK_DATA);
        let _ = dir.lseek(&ROOT_USER, ino, offset, libc::SEEK_HOLE);
    }
    let mut sink = Plus {
        room: 40,
        ..Plus::default()
    };
    let _ = dir.readdirplus(&ROOT_USER, ino, 0, &mut sink);
    if depth == DEPTH_MAX {
        return;
    }
    for (child, _, name) in sink.taken {
        assert!(!name.is_empty() && !name.contains(['/', '\0']), "{name:?}");
        if name == "." || name == ".." {
            continue;
        }
        if *left == 0 {
            return;
        }
        *left -= 1;
        look_around(scene, child, depth + 1, left);
    }
}

/// Opens a store with a few bad records, and does everything with it that can be done.
fn try_store(good: &Records, seed: u64) -> bool {
    let mut random = StdRng::seed_from_u64(seed);
    let mut records = good.clone();
    for _ in 0..random.random_range(1..4) {
        spoil(&mut random, &mut records);
    }
    let Ok(store) = Store::on(database(&records), &StoreOptions::default()) else {
        return false;
    };
    let scene = live_stage(Past::on(store.clone()));
    let mut left = NODES_MAX;
    for host in [ROOT, SRC, 22] {
        let top = scene.dir.lookup_top(&ROOT_USER, host).ok();
        if let Some(top) = top.and_then(|entry| entry.attributes) {
            look_around(&scene, top.ino, 0, &mut left);
            for name in NAMES {
                if let Ok(found) = scene.lookup(top.ino, name) {
                    look_around(&scene, found.ino, 0, &mut left);
                }
            }
        }
        left = left.max(20);
    }
    let _ = store.verify(&|_| true);
    let _ = store.prune(Epoch(random.random_range(1..5)));
    let _ = store.verify(&|_| true);
    true
}

#[test]
fn a_hostile_store_gives_errors_and_no_panic() {
    let quick = std::env::var_os("REWINDFS_QUICK").is_some();
    let stores = number("REWINDFS_STORES", if quick { STORES / 10 } else { STORES });
    let first = number("REWINDFS_SEED", rand::rng().next_u64() >> 16);
    let good = good();
    let (mut opened, mut bad) = (0, Vec::new());
    for seed in first..first + u64::from(stores) {
        match std::panic::catch_unwind(|| try_store(&good, seed)) {
            Ok(whole) => opened += u32::from(whole),
            Err(_) => bad.push(seed),
        }
    }
    assert!(
        bad.is_empty(),
        "{} panics; to see one: REWINDFS_STORES=1 REWINDFS_SEED={}",
        bad.len(),
        bad[0]
    );
    assert!(
        opened > stores / 2 || stores == 1,
        "{opened} of {stores} stores could be opened"
    );
}
