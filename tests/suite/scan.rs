//! The first import while people work in the tree. The snapshot `first` is of the instant of the
//! mount, whatever is changed before the scan gets there.

use crate::harness::compare::{Except, Tree};
use crate::harness::{Cmd, Mounted, Sandbox, noise, read, sized, sys, text, wait_for, write};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Folders of the tree; each has FILES files, which two of three have a second name elsewhere.
const FOLDERS: usize = 60;

fn number(name: &str, otherwise: usize) -> usize {
    let given = std::env::var(name).ok();
    given
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}

fn folder(root: &Path, n: usize) -> PathBuf {
    root.join(format!("d{}/d{}/d{n}", n % 3, n % 7))
}

fn make_tree(root: &Path, files: usize) {
    for n in 0..FOLDERS {
        let folder = folder(root, n);
        fs::create_dir_all(&folder).expect("mkdir");
        for file in 0..files {
            let path = folder.join(format!("f{file}"));
            write(&path, format!("file {file} of folder {n}\n"));
            if file % 10 == 0 {
                write(&path, noise((n * files + file) as u64, 50_000));
            }
            if file % 3 > 0 && n > 0 {
                let other = self::folder(root, n - 1).join(format!("l{file}"));
                fs::hard_link(&path, other).expect("link");
            }
        }
        std::os::unix::fs::symlink("f0", folder.join("symlink")).expect("symlink");
    }
}

/// One random change. Most can fail, since somebody else was quicker: only that the daemon goes
/// on, and what it records, is looked at.
fn change(root: &Path, random: &mut StdRng, files: usize) {
    let one = folder(root, random.random_range(0..FOLDERS));
    let two = folder(root, random.random_range(0..FOLDERS));
    let file = |random: &mut StdRng| {
        let kind = if random.random_bool(0.7) { 'f' } else { 'l' };
        format!("{kind}{}", random.random_range(0..files))
    };
    let (a, b) = (one.join(file(random)), two.join(file(random)));
    let _ = match random.random_range(0..14) {
        0 => fs::write(&a, "overwritten"),
        1 => OpenOptions::new()
            .write(true)
            .open(&a)
            .and_then(|file| file.write_all_at(b"in the midst", 7)),
        2 => OpenOptions::new()
            .write(true)
            .open(&a)
            .and_then(|file| file.set_len(3)),
        3 | 4 => fs::remove_file(&a),
        5 => fs::rename(&a, &b),
        6 => fs::hard_link(&a, two.join(format!("new{}", random.random::<u16>()))),
        7 => sys::renameat2(&a, &b, libc::RENAME_EXCHANGE),
        8 => sys::renameat2(&one, &two, libc::RENAME_EXCHANGE),
        9 => {
            // A whole folder away and back, or not.
            let away = root.join(format!("away{}", random.random::<u16>()));
            let moved = fs::rename(&one, &away);
            if random.random_bool(0.7) {
                let _ = fs::write(away.join("guest"), "guest");
                moved.and_then(|()| fs::rename(&away, &one))
            } else {
                moved
            }
        }
        10 if random.random_bool(0.2) => fs::remove_dir_all(&one),
        10 => fs::create_dir_all(one.join("made")),
        11 => sys::set_xattr(&a, "user.x", b"changed", 0),
        12 => fs::set_permissions(
            &a,
            std::os::unix::fs::PermissionsExt::from_mode(random.random_range(0o400..0o1000)),
        ),
        _ => fs::write(one.join(format!("new{}", random.random::<u16>())), "new"),
    };
}

fn importing(mounted: &Mounted) -> bool {
    let status = mounted.command("status").arg("--json").run();
    status.out.contains("\"scan\":{")
}

#[test]
fn changes_during_the_first_import_are_not_in_it() {
    let seed = number("REWINDFS_SEED", 0xe5) as u64;
    let files = number("REWINDFS_SCAN_FILES", sized(6_000, 2_000)) / FOLDERS;
    for round in 0..number("REWINDFS_SCAN_ROUNDS", 1) as u64 {
        println!("seed {}", seed + round);
        one_import(seed + round, files);
    }
}

fn one_import(seed: u64, files: usize) {
    let sandbox = Sandbox::new("import");
    make_tree(&sandbox.work(), files);
    let then = Tree::read(&sandbox.work());
    // The import comes to its end only after some changes, however slowly they begin.
    let hold = sandbox.join("hold");
    write(&hold, "");
    let hooks = format!("hold={}", hold.display());
    let mounted = sandbox.mount_now_with("settle=50ms,interval=100ms", &hooks);
    let (done, changes) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (done, changes, root) = (&done, &changes, mounted.point.clone());
            scope.spawn(move || {
                let mut random = StdRng::seed_from_u64(seed * 10 + thread);
                while !done.load(Ordering::Relaxed) {
                    change(&root, &mut random, files);
                    changes.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        wait_for("changes", || changes.load(Ordering::Relaxed) > 20);
        fs::remove_file(&hold).expect("our folder");
        wait_for("the import", || !importing(&mounted));
        done.store(true, Ordering::Relaxed);
    });
    let changes = changes.load(Ordering::Relaxed);
    println!("{changes} changes during the import");
    assert!(changes > 20, "only {changes} changes: this shows nothing");
    mounted.snapshot("now");
    let first = Tree::read(&mounted.past("first", ""));
    then.must_equal(&first, Except::default(), "the disk before, and `first`");
    let live = Tree::read(&mounted.point);
    let now = Tree::read(&mounted.past("now", ""));
    live.must_equal(&now, Except::default(), "the disk after, and `now`");
    mounted.umount();
}

#[test]
fn a_tree_that_is_removed_while_it_is_imported_is_in_first() {
    let sandbox = Sandbox::new("import-rm");
    make_tree(&sandbox.work(), sized(200, 60));
    let then = Tree::read(&sandbox.work());
    let mounted = sandbox.mount_now("interval=100ms");
    for n in 0..3 {
        fs::remove_dir_all(mounted.join(&format!("d{n}"))).expect("removed");
    }
    mounted.settled();
    let first = Tree::read(&mounted.past("first", ""));
    then.must_equal(&first, Except::default(), "the disk before, and `first`");
    // History goes on: the removal is recorded.
    mounted.snapshot("now");
    assert_eq!(Tree::read(&mounted.past("now", "")).entries.len(), 1);
    mounted.umount();
}

#[test]
fn a_write_into_a_huge_sparse_image_waits_for_nobody() {
    let sandbox = Sandbox::new("import-image");
    let image = sandbox.work().join("image");
    let file = File::create(&image).expect("made");
    file.set_len(100 << 30).expect("truncate");
    for at in [0, 1 << 30, 50 << 30, (100 << 30) - 4096] {
        file.write_all_at(&noise(at, 4096), at).expect("written");
    }
    drop(file);
    let mounted = sandbox.mount_now("settle=50ms,interval=100ms");
    let file = OpenOptions::new().write(true).open(mounted.join("image"));
    let file = file.expect("opened");
    for at in [0, 7 << 30, 50 << 30] {
        file.write_all_at(&[9; 4096], at).expect("written");
    }
    drop(file);
    mounted.settled();
    mounted.snapshot("now");
    let piece = |state: &str, at: u64| {
        let mut bytes = vec![1; 4096];
        let file = File::open(mounted.past(state, "image")).expect("opened");
        file.read_exact_at(&mut bytes, at).expect("read");
        bytes
    };
    for at in [0, 1 << 30, 50 << 30, (100 << 30) - 4096] {
        assert!(piece("first", at) == noise(at, 4096), "at {at}");
    }
    assert!(piece("first", 7 << 30) == vec![0; 4096]);
    for at in [0, 7 << 30, 50 << 30] {
        assert!(piece("now", at) == vec![9; 4096], "at {at}");
    }
    let status = mounted.command("status").arg("--json").run().json();
    let stored = status[0]["store"]["stored_bytes"].as_u64();
    assert!(stored.is_some_and(|bytes| bytes < 1 << 20), "{stored:?}");
    mounted.umount();
}

#[test]
fn what_was_changed_while_nothing_was_mounted_is_listed_as_found() {
    let sandbox = Sandbox::new("drift-listed");
    for name in ["a", "b", "c"] {
        write(sandbox.work().join(name), "before");
    }
    sandbox.mount("").umount();
    write(sandbox.work().join("a"), "behind its back");
    fs::remove_file(sandbox.work().join("b")).expect("unlink");
    let mounted = sandbox.mount("");
    wait_for("the scan", || kinds(&mounted).len() > 1);
    assert_eq!(kinds(&mounted), ["snapshot", "scan"]);
    let shown = mounted.command("list").arg("--checkpoints").run().ok();
    shown.says("scan         (as it was found)");
    let found = mounted.checkpoints().pop().expect("a state");
    assert_eq!(text(found.join("a")), "behind its back");
    assert!(!found.join("b").exists() && found.join("c").exists());
    mounted.umount();
}

#[test]
fn a_mount_after_which_nothing_was_changed_lists_nothing() {
    let sandbox = Sandbox::new("drift-none");
    fs::create_dir_all(sandbox.work().join("a/b")).expect("mkdir");
    write(sandbox.work().join("a/file"), "before");
    let mounted = sandbox.mount("");
    // So late that the next mount has to read it again: its times prove nothing.
    write(mounted.join("a/b/file"), "at the last moment");
    mounted.umount();
    let mounted = sandbox.mount("");
    mounted.sync();
    let before = kinds(&mounted);
    assert!(!before.contains(&"scan".to_owned()), "{before:?}");
    mounted.umount();
    // What was found to be the same counts as looked at; and what is changed is still found.
    write(sandbox.work().join("a/b/file"), "behind its back...");
    let mounted = sandbox.mount("");
    mounted.sync();
    let after = kinds(&mounted);
    assert_eq!(after[..before.len()], before[..]);
    assert_eq!(after[before.len()..], ["scan"]);
    mounted.umount();
}

/// Mounts so that nothing of what is there is read.
fn mount_without_content(sandbox: &Sandbox) -> Mounted {
    let mount = Cmd::rewindfs().arg("mount").arg(sandbox.work());
    mount.args(["--import", "changes"]).run().ok();
    let mounted = Mounted::found(sandbox.work(), sandbox.work());
    mounted.settled();
    mounted
}

/// Whether a state holds this content under this name.
fn is_held(mounted: &Mounted, name: &str, content: &[u8]) -> bool {
    let states = mounted.checkpoints();
    let held = |state: &PathBuf| fs::read(state.join(name)).is_ok_and(|found| found == content);
    states.iter().any(held)
}

#[test]
fn what_was_left_out_is_kept_when_it_is_first_changed() {
    let sandbox = Sandbox::new("left-out");
    let work = sandbox.work();
    let names = [
        "over", "cut", "anew", "gone", "replaced", "mode", "later", "copied",
    ];
    let old = |name: &str| {
        noise(
            name.len() as u64 * 7 + u64::from(name.as_bytes()[0]),
            70_000,
        )
    };
    for name in names {
        write(work.join(name), old(name));
    }
    let many = sized(600, 200);
    fs::create_dir(work.join("many")).expect("mkdir");
    for n in 0..many {
        write(
            work.join(format!("many/f{n}")),
            format!("the old content of {n}"),
        );
    }
    let mounted = mount_without_content(&sandbox);
    let states = mounted.checkpoints().len();
    let opened = |name: &str| {
        let file = OpenOptions::new().write(true).open(mounted.join(name));
        file.expect("opened")
    };
    opened("over")
        .write_all_at(b"new", 30_000)
        .expect("written");
    opened("cut").set_len(10).expect("truncate");
    write(mounted.join("anew"), "new");
    fs::remove_file(mounted.join("gone")).expect("rm");
    write(mounted.join("other"), "other");
    fs::rename(mounted.join("other"), mounted.join("replaced")).expect("mv");
    // A change of attributes brings nothing in, and the content is kept all the same later.
    fs::set_permissions(
        mounted.join("mode"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .expect("chmod");
    opened("mode").write_all_at(b"new", 0).expect("written");
    let from = File::open(mounted.join("over")).expect("opened");
    let copied = sys::copy_range(&from, 0, &opened("copied"), 9_000, 5_000);
    assert_eq!(copied.expect("copied"), 5_000);
    drop(from);
    fs::remove_dir_all(mounted.join("many")).expect("rm -r");
    mounted.sync();
    for name in ["over", "cut", "anew", "gone", "replaced", "mode", "copied"] {
        assert!(is_held(&mounted, name, &old(name)), "{name}");
    }
    for n in 0..many {
        let content = format!("the old content of {n}");
        assert!(
            is_held(&mounted, &format!("many/f{n}"), content.as_bytes()),
            "{n}"
        );
    }
    let made = mounted.checkpoints().len() - states;
    assert!(made < many / 2, "{made} states for {many} files");
    mounted.snapshot("now");
    // What was never changed is still not there to be read.
    let unread = fs::read(mounted.past("now", "later"));
    assert_eq!(sys::errno(&unread), libc::EIO);
    assert_eq!(
        read(mounted.past("now", "over")),
        read(mounted.join("over"))
    );
    mounted.umount();
    // Also after another mount.
    let mounted = sandbox.mount("");
    mounted.sync();
    write(mounted.join("later"), "new");
    mounted.sync();
    assert!(is_held(&mounted, "later", &old("later")));
    mounted.umount();
}

fn kinds(mounted: &Mounted) -> Vec<String> {
    let list = mounted.command("list").args(["--checkpoints", "--json"]);
    let lines = list.run().ok().json();
    let kind = |line: serde_json::Value| line["kind"].as_str().map(str::to_owned);
    lines.into_iter().filter_map(kind).collect()
}
