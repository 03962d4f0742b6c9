//! What live operations cost, counted: the system calls that the event loops make for each. A new
//! one is a cost for everybody who works in the tree: whoever needs it raises the number here.

use crate::harness::calls::{Calls, counted};
use crate::harness::mount::Mounted;
use crate::harness::{Sandbox, fixtures, write};
use rewindfs::limits::{CHUNK_MAX, FIXED_CHUNK, NAME_TTL};
use std::fs;
use std::ops::Range;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::time::{Duration, Instant};

const FILES: u64 = 200;
/// Calls at the most to ask who it is: thread, process and 16 above them, four calls each.
const ASKED: u64 = 72;
/// What is asked and answered, and who wakes whom: counted by itself.
const TRAFFIC: [i64; 4] = [
    libc::SYS_read,
    libc::SYS_writev,
    libc::SYS_futex,
    libc::SYS_sched_yield,
];

/// Calls for each file, in hundredths: requests, and all others.
/// Once in a second /proc is asked who it is: the bounds below leave room for doing so once, not for one
/// more call for each file.
fn for_each(calls: &Calls) -> (u64, u64) {
    let requests = calls.get(&libc::SYS_writev).copied().unwrap_or(0);
    let others = calls
        .iter()
        .filter(|(number, _)| !TRAFFIC.contains(number))
        .map(|(_, count)| *count);
    (requests * 100 / FILES, others.sum::<u64>() * 100 / FILES)
}

fn count(mount: &Mounted, what: &str, at_most: (u64, u64), work: impl FnOnce()) {
    count_through(mount, what, at_most, None, work);
}

/// The same by paths with a name that the kernel keeps for so long, and then asks for once more.
fn count_through(
    mount: &Mounted,
    what: &str,
    at_most: (u64, u64),
    kept: Option<Duration>,
    work: impl FnOnce(),
) {
    let [daemon] = mount.daemons()[..] else {
        panic!("one process serves it")
    };
    let mut took = Duration::ZERO;
    let calls = counted(daemon, "fuser-", || {
        let begun = Instant::now();
        work();
        took = begun.elapsed();
    });
    let (requests, others) = for_each(&calls);
    println!("{what}: {requests} and {others}: {calls:?}");
    let again = kept.map_or(0, |kept| took.as_millis() / kept.as_millis());
    let again = FILES.min(u64::try_from(again).expect("a number")) * 100 / FILES;
    let asked = took.as_secs() * ASKED * 100 / FILES;
    assert!(
        requests <= at_most.0 + again && others <= at_most.1 + asked + 2 * again,
        "{what}: {requests} requests and {others} other calls for 100 files, not {at_most:?}: {calls:?}"
    );
}

#[test]
fn a_file_takes_no_more_system_calls_than_it_must() {
    let sandbox = Sandbox::new("cost");
    let mount = sandbox.mount("");
    mount.settled();
    let (from, to) = (mount.join("from"), mount.join("to"));
    fs::create_dir(&from).expect("a folder");
    let path = |n: u64| from.join(format!("file-{n:04}"));
    write(from.join("first"), "what is the first costs more");
    count(&mount, "to make and write", (520, 780), || {
        for n in 0..FILES {
            write(path(n), "some bytes");
        }
    });
    let look = || {
        for n in 0..FILES {
            fs::metadata(path(n)).expect("it is there");
        }
    };
    count(&mount, "to look after a write", (110, 110), look);
    count(&mount, "to look again", (5, 5), look);
    count(&mount, "to read what was written", (110, 260), || {
        for n in 0..FILES {
            assert_eq!(fs::read(path(n)).expect("it is there"), b"some bytes");
        }
    });
    fs::rename(&from, &to).expect("it can be moved");
    fs::rename(&to, &from).expect("and back");
    count(&mount, "to rename", (310, 570), || {
        for n in 0..FILES {
            fs::rename(path(n), from.join(format!("renamed-{n}"))).expect("it can be renamed");
        }
    });
    count(&mount, "to remove", (210, 670), || {
        for n in 0..FILES {
            fs::remove_file(from.join(format!("renamed-{n}"))).expect("it can be removed");
        }
    });
}

/// Bytes: read and hashed, new to the store, and these as they are stored.
fn recorded(mount: &Mounted) -> [u64; 3] {
    mount.sync();
    let status = mount.command("status").arg("--json").run().ok().json();
    let of = |name: &str| status[0]["store"][name].as_u64().expect("a number");
    [of("recorded_bytes"), of("new_bytes"), of("stored_bytes")]
}

#[test]
fn a_change_makes_it_read_and_hash_no_more_than_what_lies_around() {
    const LARGE: usize = 8 << 20;
    let around = u64::from(CHUNK_MAX);
    let sandbox = Sandbox::new("cost-hashed");
    let mount = sandbox.mount("");
    mount.settled();
    let (large, small) = (mount.join("large"), mount.join("small"));
    let changed = |what: &str, hashed: Range<u64>, new: Range<u64>, work: &dyn Fn()| {
        let before = recorded(&mount);
        work();
        let after = recorded(&mount);
        let now: Vec<u64> = after
            .iter()
            .zip(before)
            .map(|(now, then)| now - then)
            .collect();
        println!("{what}: {now:?}");
        assert!(
            hashed.contains(&now[0]),
            "{what}: hashed {}, not {hashed:?}",
            now[0]
        );
        assert!(new.contains(&now[1]), "{what}: new {}, not {new:?}", now[1]);
        assert!(
            now[2] <= now[1] + now[1] / 16 + 4096,
            "{what}: stored {now:?}"
        );
        assert_eq!(now[1] == 0, now[2] == 0, "{what}: {now:?}");
    };
    let whole = LARGE as u64;
    changed("all of it", whole..2 * whole, whole..2 * whole, &|| {
        fs::write(&large, fixtures::noise(7, LARGE)).expect("it can be written");
    });
    let at = |offset: u64, bytes: &[u8]| {
        let file = fs::File::options()
            .write(true)
            .open(&large)
            .expect("it is there");
        file.write_all_at(bytes, offset).expect("it can be written");
    };
    changed(
        "4 KiB in the midst",
        4096..3 * around,
        4096..3 * around + 64_000,
        &|| {
            at(3 << 20, &fixtures::noise(8, 4096));
        },
    );
    changed(
        "4 KiB at the end",
        4096..3 * around,
        4096..3 * around + 64_000,
        &|| {
            at(whole, &fixtures::noise(9, 4096));
        },
    );
    changed("the same once more", 1..3 * around, 0..1, &|| {
        at(whole, &fixtures::noise(9, 4096))
    });
    changed("a small file", 10..11, 10..11, &|| {
        write(&small, "some bytes")
    });
    changed("a copy of it", 10..11, 0..1, &|| {
        write(mount.join("copy"), "some bytes")
    });
    changed("another name", 0..1, 0..1, &|| {
        fs::rename(&large, mount.join("renamed")).expect("it can be renamed");
    });
    changed("another mode", 0..1, 0..1, &|| {
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(mount.join("renamed"), mode).expect("it can be changed");
    });
}

#[test]
fn what_is_written_to_in_many_places_is_not_read_as_a_whole() {
    const LARGE: usize = 64 << 20;
    const PLACES: u64 = 1500;
    let sandbox = Sandbox::new("cost-places");
    let mount = sandbox.mount("");
    mount.settled();
    let path = mount.join("image");
    fs::write(&path, fixtures::noise(7, LARGE)).expect("it can be written");
    let piece = u64::from(FIXED_CHUNK);
    let write_all = |seed: u64| {
        let file = fs::File::options()
            .write(true)
            .open(&path)
            .expect("it is there");
        for n in 0..PLACES {
            let bytes = fixtures::noise(seed + n, 512);
            file.write_all_at(&bytes, n * 2 * piece + 100)
                .expect("it can be written");
        }
    };
    recorded(&mount);
    // It was cut by content until then.
    write_all(1000);
    let before = recorded(&mount);
    write_all(9000);
    let hashed = recorded(&mount)[0] - before[0];
    println!(
        "{PLACES} places of {} pieces: {hashed}",
        LARGE as u64 / piece
    );
    // Where a state began in the midst of it, pieces at the border are read twice.
    assert!(
        (PLACES * piece..=(PLACES + 100) * piece).contains(&hashed),
        "{hashed} bytes"
    );
    let whole = fs::read(&path).expect("it is there");
    mount.snapshot("then");
    let then = fs::read(mount.past("then", "image")).expect("it is there");
    assert!(whole == then, "the state is not as it was");
}

#[test]
fn what_is_looked_at_in_a_snapshot_is_asked_for_once() {
    let sandbox = Sandbox::new("cost");
    let dir = sandbox.work();
    fs::create_dir_all(dir.join("folder")).expect("a folder");
    for n in 0..FILES {
        write(dir.join(format!("folder/file-{n:04}")), "some bytes");
    }
    let mount = sandbox.mount("");
    mount.settled();
    let folder = mount.past("first", "folder");
    // By its path each: `.snapshots` may change at any time, all else is in the caches.
    let look = || {
        for n in 0..FILES {
            fs::metadata(folder.join(format!("file-{n:04}"))).expect("it is there");
        }
    };
    let kept = Some(NAME_TTL);
    count_through(&mount, "to look by path", (250, 150), kept, look);
}
