//! Promise 3 with the clock out of the way: what stood for `settle` can be got back whatever then
//! destroyed it. The interval is an hour, so that only the hook in front of the destroying
//! operation can have saved it.

use crate::harness::{Mounted, Sandbox, noise, read, sys, write};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longer than `settle`: this time is not waited for something, it is what is tested.
const STAND: Duration = Duration::from_millis(1500);
const SMALL: usize = 10_007;
/// More than an operation may stash: the destroyer waits for the capture instead.
const BIG: usize = (20 << 20) + 12_345;

/// Makes a file in a fresh mount, lets it stand, destroys it, and looks for it in the past.
fn comes_back(name: &str, len: usize, destroy: impl FnOnce(&Mounted, &Path)) {
    let sandbox = Sandbox::new(name);
    let mounted = sandbox.mount("interval=1h");
    let path = mounted.join("precious");
    write(mounted.join("other"), noise(99, len));
    write(&path, noise(42, len));
    std::thread::sleep(STAND);
    destroy(&mounted, &path);
    assert!(
        fs::read(&path).ok() != Some(noise(42, len)),
        "it was not destroyed at all"
    );
    mounted.sync();
    must_be_in_the_past(&mounted, "precious", &noise(42, len));
    // And after a remount, out of the store alone.
    mounted.umount();
    let mounted = sandbox.mount("interval=1h");
    must_be_in_the_past(&mounted, "precious", &noise(42, len));
}

fn must_be_in_the_past(mounted: &Mounted, name: &str, content: &[u8]) {
    assert!(
        is_in_the_past(mounted, name, content),
        "{name} is in none of {:#?}",
        mounted.checkpoints()
    );
}

/// Under its name, or under one that it had a moment before or after.
fn is_in_the_past(mounted: &Mounted, name: &str, content: &[u8]) -> bool {
    let holds = |path: &Path| path.exists() && read(path) == content;
    mounted.checkpoints().iter().any(|state| {
        [name, "other", "new"]
            .iter()
            .any(|name| holds(&state.join(name)))
    })
}

fn for_writing(path: &Path) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .expect("open")
}

/// One destroyer, tried on a small file and on a big one.
macro_rules! destroyers {
    ($($name:ident: $destroy:expr;)*) => {$(
        mod $name {
            use super::*;

            #[test]
            fn small() {
                comes_back(stringify!($name), SMALL, $destroy);
            }

            #[test]
            fn big() {
                comes_back(stringify!($name), BIG, $destroy);
            }
        }
    )*};
}

destroyers! {
    truncate: |_, path| for_writing(path).set_len(3).expect("truncate");
    truncate_on_open: |_, path| drop(File::create(path).expect("open"));
    overwrite_of_a_part: |_, path| {
        for_writing(path).write_all_at(b"damage", 5_000).expect("write");
    };
    overwrite_of_all: |_, path| {
        let len = fs::metadata(path).expect("stat").len() as usize;
        for_writing(path).write_all_at(&noise(1, len), 0).expect("write");
    };
    truncate_and_write_anew: |_, path| {
        write(path, noise(1, SMALL));
        write(path, noise(2, SMALL));
    };
    rename_over: |mounted, path| fs::rename(mounted.join("other"), path).expect("rename");
    unlink: |_, path| fs::remove_file(path).expect("unlink");
    unlink_and_make_again: |_, path| {
        fs::remove_file(path).expect("unlink");
        write(path, "another file");
    };
    exchange: |mounted, path| {
        let other = mounted.join("other");
        sys::renameat2(&other, path, libc::RENAME_EXCHANGE).expect("rename");
        fs::remove_file(other).expect("unlink");
    };
    punch_hole: |_, path| {
        sys::fallocate(&for_writing(path), sys::PUNCH, 4096, 4096).expect("fallocate");
    };
    zero_range: |_, path| {
        let len = fs::metadata(path).expect("stat").len();
        sys::fallocate(&for_writing(path), libc::FALLOC_FL_ZERO_RANGE, 0, len).expect("fallocate");
    };
    copy_onto_it: |mounted, path| {
        let from = File::open(mounted.join("other")).expect("open");
        let len = from.metadata().expect("stat").len();
        sys::copy_range(&from, 0, &for_writing(path), 0, len).expect("copy");
    };
    store_through_a_mapping: |_, path| {
        let file = for_writing(path);
        let mut mapping = sys::Mapping::shared(&file, SMALL).expect("mmap");
        mapping.bytes()[100..200].fill(0);
        mapping.sync().expect("msync");
    };
    direct_overwrite: |mounted, path| {
        let script = "dd if=/dev/zero of=precious bs=4096 count=1 oflag=direct conv=notrunc";
        crate::harness::Cmd::sh(script).within(&mounted.point).run().ok();
        let _ = path;
    };
}

#[test]
fn a_removed_tree_comes_back() {
    let sandbox = Sandbox::new("rm-rf");
    let mounted = sandbox.mount("interval=1h");
    let count = 200;
    for n in 0..count {
        let dir = mounted.join(&format!("tree/d{}/e{}", n % 7, n % 3));
        fs::create_dir_all(&dir).expect("mkdir");
        write(
            dir.join(format!("f{n}")),
            noise(n, 1_000 + 300 * n as usize),
        );
    }
    std::thread::sleep(STAND);
    fs::remove_dir_all(mounted.join("tree")).expect("rm -rf");
    mounted.sync();
    let states = mounted.checkpoints();
    // A slow removal may have made others behind it.
    let is_whole = |state: &PathBuf| {
        (0..count).all(|n| {
            let path = state.join(format!("tree/d{}/e{}/f{n}", n % 7, n % 3));
            fs::read(path).is_ok_and(|bytes| bytes == noise(n, 1_000 + 300 * n as usize))
        })
    };
    assert!(states.iter().any(is_whole), "it is in none of {states:#?}");
}

#[test]
fn a_removed_folder_comes_back() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let sandbox = Sandbox::new("rmdir");
    let mounted = sandbox.mount("interval=1h");
    let dir = mounted.join("precious");
    fs::create_dir(&dir).expect("mkdir");
    fs::set_permissions(&dir, PermissionsExt::from_mode(0o751)).expect("chmod");
    sys::set_xattr(&dir, "user.kept", b"yes", 0).expect("setxattr");
    std::thread::sleep(STAND);
    fs::remove_dir(&dir).expect("rmdir");
    mounted.sync();
    let kept = mounted.checkpoints().iter().any(|state| {
        let dir = state.join("precious");
        fs::metadata(&dir).is_ok_and(|meta| meta.mode() & 0o7777 == 0o751)
            && sys::get_xattr(&dir, b"user.kept").is_ok_and(|value| value == b"yes")
    });
    assert!(kept, "it is in none of {:#?}", mounted.checkpoints());
}

/// An append destroys nothing, but it must not make the rest of the file look young.
#[test]
fn what_stood_comes_back_although_it_was_appended_to_at_last() {
    let appended = |mounted: &Mounted, name: &str| {
        let file = OpenOptions::new().append(true).open(mounted.join(name));
        let mut file = file.expect("open");
        std::io::Write::write_all(&mut file, b"a last line").expect("append");
    };
    let grown = |mounted: &Mounted, name: &str| {
        let file = for_writing(&mounted.join(name));
        file.set_len(SMALL as u64 + 100).expect("truncate");
    };
    type Way<'a> = (&'a str, &'a dyn Fn(&Mounted, &str));
    let ways: [Way<'_>; 2] = [("appended", &appended), ("grown", &grown)];
    for (way, change) in ways {
        let sandbox = Sandbox::new(way);
        let mounted = sandbox.mount("interval=1h");
        write(mounted.join("precious"), noise(42, SMALL));
        std::thread::sleep(STAND);
        change(&mounted, "precious");
        fs::remove_file(mounted.join("precious")).expect("unlink");
        mounted.sync();
        let kept = mounted.checkpoints().iter().any(|state| {
            let content = fs::read(state.join("precious")).unwrap_or_default();
            content.starts_with(&noise(42, SMALL))
        });
        assert!(kept, "{way}");
    }
}

#[test]
fn every_version_that_stood_is_kept() {
    let sandbox = Sandbox::new("versions");
    let mounted = sandbox.mount("interval=1h,settle=100ms");
    for version in 0..12 {
        let path = mounted.join("file");
        match version % 3 {
            0 => write(&path, noise(version, 40_000)),
            1 => for_writing(&path)
                .write_all_at(&noise(version, 40_000), 0)
                .expect("write"),
            _ => {
                write(mounted.join("new"), noise(version, 40_000));
                fs::rename(mounted.join("new"), &path).expect("rename");
            }
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    fs::remove_file(mounted.join("file")).expect("unlink");
    mounted.sync();
    let kept = |version: &u64| is_in_the_past(&mounted, "file", &noise(*version, 40_000));
    let lost: Vec<u64> = (0..12).filter(|version| !kept(version)).collect();
    assert!(lost.is_empty(), "versions {lost:?}");
}

#[test]
fn an_unlinked_file_that_stays_open_comes_back() {
    let sandbox = Sandbox::new("open-unlinked");
    let mounted = sandbox.mount("interval=1h");
    let path = mounted.join("precious");
    write(&path, noise(3, BIG));
    let file = for_writing(&path);
    std::thread::sleep(STAND);
    fs::remove_file(&path).expect("unlink");
    file.write_all_at(&noise(4, 1 << 20), 5 << 20)
        .expect("write");
    file.set_len(10).expect("truncate");
    mounted.sync();
    must_be_in_the_past(&mounted, "precious", &noise(3, BIG));
}
