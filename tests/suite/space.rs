//! Space is the user's: history leaves the last part of a disk alone, and an import that does not
//! fit is not begun.

use crate::harness::compare::{Except, Tree};
use crate::harness::loopfs::LoopFs;
use crate::harness::run::wait_for_at_most;
use crate::harness::{Sandbox, noise, read, sys, text, write};
use crate::trouble::{is_stopped, mount_at, not_recorded, status};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Bytes that are free to an ordinary user.
fn free(path: &Path) -> u64 {
    let stat = rustix::fs::statvfs(path).expect("statvfs");
    stat.f_bavail * stat.f_frsize
}

fn from_before(report: &serde_json::Value) -> (u64, u64) {
    let number = |name: &str| report["left_out"][name].as_u64().expect("a number");
    (number("files_from_before"), number("bytes_from_before"))
}

/// What the files of a folder take. Some may go while they are looked at.
fn taken(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => taken(&entry.path()),
        Ok(meta) => meta.blocks() * 512,
        Err(_) => 0,
    };
    entries.flatten().map(of).sum()
}

/// By how much a store grew at most while less than the floor was free.
fn growth_below(floor: u64, disk: &Path, store: &Path, end: &AtomicBool) -> u64 {
    let (mut before, mut most) = (None, 0);
    while !end.load(Ordering::Relaxed) {
        let is_low = free(disk) < floor;
        let size = taken(store);
        if is_low {
            let before = *before.get_or_insert(size);
            most = most.max(size.saturating_sub(before));
        } else {
            before = None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    most
}

/// Work that has been going on for a while is recorded when this returns, or not at all.
const LONG: Duration = Duration::from_secs(120);

/// What history may take of the last part, at the most: what it was just writing when the user got
/// there. That is one flush of the database's buffers (`limits::WRITE_BUFFERS`) and the log.
const GROWTH: u64 = rewindfs::limits::WRITE_BUFFERS as u64 + (8 << 20);

#[test]
fn history_leaves_the_last_part_of_a_disk_to_its_user() {
    let sandbox = Sandbox::new("floor");
    let disk = LoopFs::new(&sandbox, "disk", "ext4", 1024, &["-m", "0"]);
    let work = disk.path().join("work");
    fs::create_dir(&work).expect("mkdir");
    let floor = (1_u64 << 30) / 100 * 5;
    let (_, mounted) = mount_at(&work, &["-o", "interval=200ms"]);
    mounted.settled();
    let piece = 4 << 20;
    let mut pieces = 0;
    let fill = |n: u64| -> std::io::Result<()> {
        let mut file = File::create(mounted.join(&format!("piece{n}")))?;
        file.write_all(&noise(n, piece))?;
        file.sync_all()
    };
    let end = Arc::new(AtomicBool::new(false));
    let growth = {
        let (disk, end) = (disk.path().to_owned(), Arc::clone(&end));
        let store = disk.join(".work.rewind");
        assert!(store.is_dir());
        std::thread::spawn(move || growth_below(floor, &disk, &store, &end))
    };
    // History takes about as much as he does.
    while !is_stopped(&status(&mounted)) {
        if let Err(error) = fill(pieces) {
            // He was quicker than who looks at the free space.
            assert_eq!(error.raw_os_error(), Some(libc::ENOSPC), "piece {pieces}");
            wait_for_at_most("history to stop", LONG, || is_stopped(&status(&mounted)));
        }
        pieces += 1;
        assert!(pieces < 250, "the disk is full, and history never stopped");
    }
    // Into the last part, until the file system itself is full.
    let mut error = None;
    while error.is_none() {
        error = fill(pieces).err();
        pieces += 1;
    }
    let errno = error.and_then(|error| error.raw_os_error());
    assert_eq!(errno, Some(libc::ENOSPC));
    let rest = free(&work);
    assert!(rest < 2 << 20, "refused with {rest} bytes free");
    assert!(is_stopped(&status(&mounted)));
    end.store(true, Ordering::Relaxed);
    let growth = growth.join().expect("no panic");
    println!("history took {growth} bytes of the last {floor}");
    assert!(
        growth <= GROWTH,
        "history took {growth} bytes of the last {floor}"
    );
    for n in 0..pieces {
        if n % 4 != 0 {
            fs::remove_file(mounted.join(&format!("piece{n}"))).expect("rm");
        }
    }
    wait_for_at_most("history to go on", LONG, || !is_stopped(&status(&mounted)));
    mounted.sync();
    mounted.snapshot("after");
    Tree::read(&mounted.point).must_equal(
        &Tree::read(&mounted.past("after", "")),
        Except::default(),
        "live / after",
    );
    assert_eq!(not_recorded(&mounted).len(), 1);
    mounted.umount();
}

#[test]
fn an_import_that_does_not_fit_is_said_and_left_out_by_name() {
    let sandbox = Sandbox::new("import-room");
    let disk = LoopFs::new(&sandbox, "disk", "ext4", 256, &["-m", "0"]);
    let work = disk.path().join("work");
    fs::create_dir(&work).expect("mkdir");
    for n in 0..14 {
        write(work.join(format!("old{n}")), noise(n, 10 << 20));
    }
    write(work.join("empty"), "");
    let (said, mounted) = mount_at(&work, &[]);
    assert!(said.contains("holds 140.0 MiB in 15 files"), "{said}");
    assert!(said.contains("--import all"), "{said}");
    mounted.settled();
    let report = status(&mounted);
    assert_eq!(from_before(&report), (14, 140 << 20));
    assert!(!is_stopped(&report), "{report}");
    let told = mounted.command("status").run().ok();
    told.says("content from before the first mount (14 files, 140.0 MiB)");
    // There, with its attributes, and never as an empty file.
    let old = mounted.past("first", "old3");
    assert_eq!(fs::metadata(&old).expect("there").len(), 10 << 20);
    assert_eq!(sys::errno(&fs::read(&old)), libc::EIO);
    assert_eq!(read(mounted.past("first", "empty")), b"");
    // From now on what changes is recorded; attributes alone do not bring the content in.
    write(mounted.join("old3"), "changed");
    fs::rename(mounted.join("old4"), mounted.join("moved")).expect("mv");
    fs::remove_file(mounted.join("old5")).expect("rm");
    mounted.snapshot("changed");
    assert_eq!(text(mounted.past("changed", "old3")), "changed");
    let moved = fs::read(mounted.past("changed", "moved"));
    assert_eq!(sys::errno(&moved), libc::EIO);
    assert_eq!(from_before(&status(&mounted)), (12, 120 << 20));
    mounted.umount();
    // The next mount asks nothing, and knows what is left.
    let (said, mounted) = mount_at(&work, &[]);
    assert!(!said.contains("holds"), "{said}");
    mounted.sync();
    assert_eq!(from_before(&status(&mounted)), (12, 120 << 20));
    mounted.umount();
}

#[test]
fn what_was_left_out_is_brought_in_when_that_is_said() {
    let sandbox = Sandbox::new("import-rest");
    for n in 0..10 {
        write(sandbox.work().join(format!("old{n}")), noise(n, 50_000));
    }
    let (_, mounted) = mount_at(&sandbox.work(), &["--import", "changes"]);
    mounted.settled();
    assert_eq!(from_before(&status(&mounted)), (10, 500_000));
    mounted.umount();
    let (_, mounted) = mount_at(&sandbox.work(), &["--import", "all"]);
    mounted.sync();
    assert_eq!(from_before(&status(&mounted)), (0, 0));
    mounted.snapshot("all");
    assert_eq!(read(mounted.past("all", "old7")), noise(7, 50_000));
    let first = fs::read(mounted.past("first", "old7"));
    assert_eq!(sys::errno(&first), libc::EIO, "the past is not changed");
    mounted.umount();
}

#[test]
fn a_small_store_is_small_while_it_is_mounted() {
    let sandbox = Sandbox::new("small");
    write(sandbox.work().join("file"), "x");
    let mounted = sandbox.mount("");
    mounted.snapshot("s");
    let bytes = status(&mounted)["store"]["bytes"].as_u64();
    assert!(bytes.is_some_and(|bytes| bytes < 2 << 20), "{bytes:?}");
    mounted.umount();
}
