//! Full, incremental and differential snapshots: what a full one finds that no tracking sees, what
//! each added, and what deleting it frees.

use crate::harness::loopfs::LoopFs;
use crate::harness::{Cmd, Mounted, Run, Sandbox, noise, text, wait_for, write};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

fn command(dir: &Path, line: &str) -> Run {
    let mut words = line.split(' ');
    let name = words.next().expect("a command");
    Cmd::rewindfs().arg(name).arg(dir).args(words).run()
}

fn number(value: &Value, field: &str) -> u64 {
    let number = value[field].as_u64();
    number.unwrap_or_else(|| panic!("{field} in {value}"))
}

/// Where the first block of a file lies on its file system, bytes.
fn on_disk(image: &Path, path: &str) -> u64 {
    let ask = |request: String| {
        let run = Cmd::new("debugfs").arg("-R").arg(request).arg(image).run();
        run.ok().out
    };
    let first = ask(format!("bmap {path} 0"));
    let block: u64 = first.trim().parse().expect("a block");
    let stats = ask("stats -h".to_owned());
    let size = stats
        .lines()
        .find_map(|line| line.strip_prefix("Block size:"));
    block
        * size
            .expect("its size")
            .trim()
            .parse::<u64>()
            .expect("a number")
}

fn flip(image: &Path, at: u64) {
    let file = fs::File::options().read(true).write(true).open(image);
    let file = file.expect("the image");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("a byte");
    file.write_all_at(&[byte[0] ^ 1], at).expect("written");
}

/// Bits flip on the disk below the file system: size and all times stay as they were.
#[test]
fn a_full_snapshot_finds_bytes_that_changed_by_themselves_and_keeps_what_they_were() {
    let sandbox = Sandbox::new("rot");
    let image = sandbox.join("disk.image");
    let disk = LoopFs::new(&sandbox, "disk", "ext4", 64, &["-m", "0"]);
    let work = disk.path().join("work");
    fs::create_dir_all(work.join("sub")).expect("a folder");
    write(work.join("sub/rots"), noise(1, 200_000));
    write(work.join("stays"), noise(2, 200_000));
    let store = sandbox.join("outside");
    let store = store.to_str().expect("UTF-8");
    let mount = || {
        let run = Cmd::rewindfs()
            .arg("mount")
            .arg(&work)
            .args(["--store", store])
            .run();
        run.ok();
        Mounted::found(work.clone(), work.clone())
    };
    // What was written just now is read again anyway, whatever its times say.
    let age = || {
        let changed = fs::metadata(work.join("stays")).expect("there").ctime();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.expect("after 1970").as_secs() as i64 - changed
    };
    wait_for("the files to be older than a look at them", || age() > 3);
    let mounted = mount();
    mounted.snapshot("good");
    command(&work, "snapshot clean --full").ok();
    mounted.umount();
    drop(disk);
    // The daemon had a mount of its own, and its end is not that of its last descriptor.
    let device = || Cmd::new("losetup").arg("-j").arg(&image).run().out;
    wait_for("the end of the loop device", || device().is_empty());
    flip(&image, on_disk(&image, "work/sub/rots"));
    let point: PathBuf = sandbox.join("disk");
    Cmd::new("mount")
        .args(["-o", "loop"])
        .arg(&image)
        .arg(&point)
        .run()
        .ok();
    let _again = Unmount(point);
    let rotten = fs::read(work.join("sub/rots")).expect("live");
    assert!(rotten != noise(1, 200_000), "a byte is another");
    let mounted = mount();
    // What is trusted sees nothing.
    mounted.snapshot("trusting");
    assert!(fs::read(mounted.past("trusting", "sub/rots")).expect("past") == noise(1, 200_000));
    let run = command(&work, "snapshot checked --full")
        .exits(1)
        .says("sub/rots: its bytes changed though its size and times did not")
        .says("in the snapshot checked-before, on hold");
    assert!(!run.out.contains("stays"), "the other file is as it was");
    for good in ["good", "trusting", "checked-before"] {
        let past = fs::read(mounted.past(good, "sub/rots")).expect("past");
        assert!(past == noise(1, 200_000), "{good}");
    }
    assert!(fs::read(mounted.past("checked", "sub/rots")).expect("past") == rotten);
    command(&work, "delete checked-before")
        .exits(2)
        .says("is held");
    command(&work, "list")
        .ok()
        .says("what 1 file held before its bytes changed by themselves");
    // Once it is recorded it is what there is.
    command(&work, "snapshot again --full").ok();
    mounted.umount();
    command(&work, "verify --data").ok();
}

struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = Cmd::new("umount").arg("-l").arg(&self.0).run();
    }
}

#[test]
fn a_full_snapshot_of_a_tree_that_is_being_changed_accuses_nobody() {
    let sandbox = Sandbox::new("full-busy");
    let mounted = sandbox.mount("");
    for n in 0..40 {
        write(mounted.join(&format!("file-{n}")), noise(n, 50_000));
    }
    mounted.snapshot("one");
    let dir = mounted.dir.clone();
    let busy = std::thread::spawn({
        let dir = dir.clone();
        move || {
            for round in 0..20 {
                for n in 0..40 {
                    write(dir.join(format!("file-{n}")), noise(n + round, 50_000));
                }
            }
        }
    });
    for n in 0..3 {
        command(&dir, &format!("snapshot full-{n} --full")).ok();
    }
    busy.join().expect("the writer");
    mounted.umount();
    // Unmounted it is the same.
    command(&dir, "snapshot full-unmounted --full").ok();
    command(&dir, "verify --data").ok();
}

#[test]
fn the_list_says_how_each_snapshot_was_made_and_to_what_it_refers() {
    let sandbox = Sandbox::new("modes");
    let mounted = sandbox.mount("");
    let dir = mounted.dir.clone();
    write(mounted.join("file"), "1");
    command(&dir, "snapshot plain --incremental").ok();
    write(mounted.join("file"), "2");
    // The first import was a full one.
    let made = command(&dir, "snapshot one --differential --json")
        .ok()
        .json();
    assert_eq!(
        (made[0]["mode"].as_str(), made[0]["base"].as_str()),
        (Some("differential"), Some("first"))
    );
    write(mounted.join("file"), "3");
    command(&dir, "snapshot whole --full").ok();
    write(mounted.join("file"), "4");
    command(&dir, "snapshot two --differential")
        .ok()
        .says("differential to whole");
    command(&dir, "snapshot x --full --differential").exits(2);
    let list = command(&dir, "list --json").ok().json();
    let modes: Vec<_> = list
        .iter()
        .map(|line| {
            (
                line["name"].as_str(),
                line["mode"].as_str(),
                line["base"].as_str(),
            )
        })
        .collect();
    assert_eq!(
        modes,
        [
            (Some("first"), Some("full"), None),
            (Some("plain"), Some("incremental"), None),
            (Some("one"), Some("differential"), Some("first")),
            (Some("whole"), Some("full"), None),
            (Some("two"), Some("differential"), Some("whole")),
        ]
    );
    command(&dir, "list").ok().says("(base whole)");
    // A base stays as long as something refers to it.
    command(&dir, "delete whole --now")
        .exits(1)
        .says("the snapshot two refers to it");
    assert_eq!(text(mounted.past("two", "file")), "4");
}

fn disk_bytes(store: &Path) -> u64 {
    let run = Cmd::new("du").arg("-sb").arg(store).run().ok();
    let first = run.out.split_whitespace().next().expect("a number");
    first.parse().expect("a number")
}

#[test]
fn what_deleting_a_snapshot_frees_is_what_the_disk_gets_back() {
    const PIECE: usize = 12 << 20;
    let sandbox = Sandbox::new("sizes");
    let mounted = sandbox.mount("interval=1h");
    let dir = mounted.dir.clone();
    write(mounted.join("stays"), noise(1, PIECE));
    mounted.snapshot("one");
    write(mounted.join("passes"), noise(2, PIECE));
    // Of another file's bytes nothing new is stored.
    write(mounted.join("same"), noise(1, PIECE));
    mounted.snapshot("two");
    fs::remove_file(mounted.join("passes")).expect("removed");
    write(mounted.join("new"), noise(3, PIECE));
    mounted.snapshot("three");
    let sizes = command(&dir, "list --size --json").ok().json();
    let of = |name: &str| {
        let found = sizes.iter().find(|line| line["name"] == name);
        found
            .unwrap_or_else(|| panic!("{name} in {sizes:?}"))
            .clone()
    };
    let near = |bytes: u64, wanted: usize| {
        let wanted = wanted as u64;
        assert!(
            bytes.abs_diff(wanted) < wanted / 50,
            "{bytes}, not {wanted}"
        );
    };
    near(number(&of("one"), "stored_bytes"), PIECE);
    assert_eq!(number(&of("two"), "files"), 2);
    assert_eq!(number(&of("two"), "bytes"), 2 * PIECE as u64);
    near(number(&of("two"), "stored_bytes"), PIECE);
    near(number(&of("three"), "stored_bytes"), PIECE);
    assert!(number(&of("one"), "frees_bytes") < 100_000, "{sizes:?}");
    let frees = number(&of("two"), "frees_bytes");
    near(frees, PIECE);
    command(&dir, "list --size")
        .ok()
        .says("two")
        .says("deleting it frees   12.0 MiB");
    mounted.umount();
    let before = disk_bytes(&sandbox.store());
    command(&dir, "delete two --now").ok();
    command(&dir, "prune").ok();
    let after = disk_bytes(&sandbox.store());
    let left = before - frees;
    assert!(
        after.abs_diff(left) < before / 50,
        "{before} before, {after} after, {frees} were to come free"
    );
    command(&dir, "verify --data").ok();
}
