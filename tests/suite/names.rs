//! Names: directories, links, renames, special files, big listings. Most tests do the same work on
//! the mount and beside it and compare.

use crate::harness::compare::{Except, Tree};
use crate::harness::twin::{Side, twins};
use crate::harness::{Cmd, Sandbox, mount, read, sized, sys, text, write};
use std::collections::BTreeSet;
use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};

#[test]
fn renames_of_every_kind_end_as_beside_the_mount() {
    twins("renames", "", |side| {
        for name in ["a", "b", "dir/inner", "full/child"] {
            let path = side.join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
            write(&path, name);
        }
        fs::create_dir(side.join("void")).expect("mkdir");
        symlink("a", side.join("link")).expect("symlink");
        fs::hard_link(side.join("a"), side.join("a-too")).expect("link");
        let cases = [
            ("a", "b"),
            ("b", "a-too"),
            ("a-too", "a-too"),
            ("dir", "void"),
            ("void", "full"),
            ("void", "void/below/itself"),
            ("void", "void/itself"),
            ("full/child", "void"),
            ("void", "full/child"),
            ("missing", "a"),
            ("link", "link2"),
            ("full", "link2"),
            ("link2", "full/link"),
        ];
        for (from, to) in cases {
            let result = fs::rename(side.join(from), side.join(to));
            side.saw(&format!("{from} -> {to}"), result);
        }
    });
}

#[test]
fn rename_flags_end_as_beside_the_mount() {
    twins("rename-flags", "", |side| {
        fs::create_dir_all(side.join("dir/sub")).expect("mkdir");
        write(side.join("a"), "content of a");
        write(side.join("b"), "content of b");
        write(side.join("dir/sub/c"), "content of c");
        let mut flagged = |from: &str, to: &str, flags: u32| {
            let result = sys::renameat2(&side.join(from), &side.join(to), flags);
            side.saw(&format!("{from} -> {to} with {flags}"), result);
        };
        flagged("a", "b", libc::RENAME_NOREPLACE);
        flagged("a", "new", libc::RENAME_NOREPLACE);
        flagged("new", "b", libc::RENAME_EXCHANGE);
        flagged("b", "dir", libc::RENAME_EXCHANGE);
        flagged("dir", "b/sub/c", libc::RENAME_EXCHANGE);
        flagged("b", "b/sub", libc::RENAME_EXCHANGE);
        flagged("b", "missing", libc::RENAME_EXCHANGE);
        flagged("new", "moved", libc::RENAME_WHITEOUT);
        flagged(
            "new",
            "moved",
            libc::RENAME_WHITEOUT | libc::RENAME_EXCHANGE,
        );
        flagged("a", "z", 64);
    });
}

#[test]
fn hard_links_share_one_inode() {
    twins("links", "", |side| {
        write(side.join("file"), "x");
        fs::create_dir(side.join("dir")).expect("mkdir");
        symlink("file", side.join("soft")).expect("symlink");
        for (from, to) in [
            ("file", "dir/link"),
            ("file", "dir/link"),
            ("dir", "dir2"),
            ("soft", "soft2"),
            ("missing", "x"),
        ] {
            let result = fs::hard_link(side.join(from), side.join(to));
            side.saw(&format!("{from} -> {to}"), result);
        }
        write(side.join("dir/link"), "through the second name");
        let content = fs::read_to_string(side.join("file"));
        side.saw("content", content);
        let inode = |name| fs::metadata(side.join(name)).expect("stat").ino();
        assert_eq!(inode("file"), inode("dir/link"));
        let result = fs::remove_file(side.join("file"));
        side.saw("unlink", result);
        let links = fs::metadata(side.join("dir/link")).map(|meta| meta.nlink());
        side.saw("links left", links);
    });
}

#[test]
fn links_and_special_files_are_what_they_are_beside_the_mount() {
    twins("special", "", |side| {
        let long = "x".repeat(4095);
        for (target, name) in [
            ("", "none"),
            (&long[..], "long"),
            ("../..", "up"),
            ("gone", "no"),
        ] {
            let result = symlink(target, side.join(name));
            side.saw(&format!("symlink {name}"), result);
            let target = fs::read_link(side.join(name));
            side.saw(&format!("readlink {name}"), target);
            let followed = fs::read(side.join(name));
            side.note(&format!("open {name}"), sys::errno(&followed));
        }
        let nodes = [
            ("fifo", libc::S_IFIFO | 0o600, 0),
            ("socket", libc::S_IFSOCK | 0o666, 0),
            ("zero", libc::S_IFCHR | 0o644, sys::makedev(1, 5)),
            (
                "block",
                libc::S_IFBLK | 0o600,
                sys::makedev(259, 300_000 & 0xffff),
            ),
            ("regular", libc::S_IFREG | 0o600, 0),
        ];
        for (name, mode, device) in nodes {
            let result = sys::mknod(&side.join(name), mode, device);
            side.saw(&format!("mknod {name}"), result);
            let again = sys::mknod(&side.join(name), mode, device);
            side.saw(&format!("mknod {name} again"), again);
            let seen = fs::symlink_metadata(side.join(name));
            side.saw(name, seen.map(|meta| (meta.rdev(), meta.mode())));
        }
        let zeros = fs::File::open(side.join("zero")).and_then(|mut file| {
            let mut bytes = [1; 8];
            std::io::Read::read_exact(&mut file, &mut bytes).map(|()| bytes)
        });
        side.note("reading the device", zeros.map_err(|error| error.kind()));
    });
}

#[test]
fn a_fifo_carries_bytes_between_two_processes() {
    let sandbox = Sandbox::new("fifo");
    let mounted = sandbox.mount("");
    let script = "mkfifo pipe; (echo through the pipe > pipe) & timeout 10 cat pipe; wait";
    let run = Cmd::sh(script).within(&mounted.point).run().ok();
    assert_eq!(run.out, "through the pipe\n");
}

#[test]
fn names_of_all_bytes_and_lengths() {
    let work = |side: &mut Side| {
        for byte in (1..=255_u8).filter(|byte| *byte != b'/') {
            for name in [vec![byte], vec![byte; 255], vec![b'x', byte, byte]] {
                let path = side.join(OsStr::from_bytes(&name));
                let result = File::create(path).map(drop);
                side.saw(&format!("{name:?}"), result);
            }
        }
        let result = File::create(side.join("n".repeat(256))).map(drop);
        side.saw("256 bytes", result);
        let result = fs::create_dir(side.join("d".repeat(256)));
        side.saw("256 bytes of directory", result);
        let mut path = side.root.clone();
        for _ in 0..30 {
            path.push("deep".repeat(25));
            let result = fs::create_dir(&path);
            side.saw("a deep directory", result);
        }
        let result = File::create(path.join("leaf")).map(drop);
        side.saw("a deep file", result);
    };
    twins("bytes", "", work);
}

#[test]
fn every_name_comes_back_from_a_snapshot() {
    let sandbox = Sandbox::new("bytes-past");
    let mounted = sandbox.mount("");
    for byte in (1..=255_u8).filter(|byte| *byte != b'/' && *byte != b'.') {
        for name in [vec![byte], vec![byte; 255]] {
            write(
                mounted.join("").join(OsStr::from_bytes(&name)),
                name.clone(),
            );
        }
    }
    mounted.snapshot("all");
    let (live, past) = (
        Tree::read(&mounted.point),
        Tree::read(&mounted.past("all", "")),
    );
    live.must_equal(&past, Except::default(), "live / snapshot");
}

#[test]
fn a_big_directory_is_listed_whole() {
    let sandbox = Sandbox::new("big-dir");
    let mounted = sandbox.mount("");
    let count = sized(100_000, 10_000);
    let dir = mounted.join("many");
    fs::create_dir(&dir).expect("mkdir");
    let mut expected = BTreeSet::new();
    for n in 0..count {
        let name = format!("a-name-of-some-length-{n}");
        sys::mknod(&dir.join(&name), libc::S_IFREG | 0o644, 0).expect("mknod");
        expected.insert(name);
    }
    let listed = |dir: &std::path::Path| -> BTreeSet<String> {
        let names = mount::names(dir);
        let count = names.len();
        let set: BTreeSet<String> = names.into_iter().collect();
        assert_eq!(set.len(), count, "a name was listed twice");
        set
    };
    assert!(listed(&dir) == expected, "after creation");
    mounted.snapshot("full");
    // Every second one goes while the directory is being read.
    let mut seen = BTreeSet::new();
    for entry in fs::read_dir(&dir).expect("a listing") {
        let name = entry
            .expect("an entry")
            .file_name()
            .into_string()
            .expect("text");
        if seen.len() % 2 == 0 {
            fs::remove_file(dir.join(&name)).expect("unlink");
            expected.remove(&name);
        }
        assert!(seen.insert(name), "a name was listed twice");
    }
    assert_eq!(seen.len(), count);
    assert!(listed(&dir) == expected, "after every second one went");
    assert_eq!(listed(&mounted.past("full", "many")).len(), count);
}

#[test]
fn a_listing_can_be_continued_where_it_was() {
    let sandbox = Sandbox::new("seekdir");
    let mounted = sandbox.mount("");
    for n in 0..3_000 {
        write(mounted.join(&format!("file{n}")), "");
    }
    let path = CString::new(mounted.point.as_os_str().as_bytes()).expect("no NUL");
    // SAFETY: the stream is used by this thread alone and closed once.
    unsafe {
        let dir = libc::opendir(path.as_ptr());
        assert!(!dir.is_null());
        let next = || {
            let entry = libc::readdir(dir);
            (!entry.is_null()).then(|| {
                std::ffi::CStr::from_ptr((*entry).d_name.as_ptr())
                    .to_bytes()
                    .to_vec()
            })
        };
        for _ in 0..1_000 {
            next();
        }
        let at = libc::telldir(dir);
        let mut first = Vec::new();
        while let Some(name) = next() {
            first.push(name);
        }
        assert!(first.len() >= 2_000);
        libc::seekdir(dir, at);
        let mut second = Vec::new();
        while let Some(name) = next() {
            second.push(name);
        }
        assert!(first == second, "the second reading differs");
        libc::rewinddir(dir);
        let mut count = 0;
        while next().is_some() {
            count += 1;
        }
        assert_eq!(count, 3_002);
        libc::closedir(dir);
    }
}

#[test]
fn inode_numbers_are_those_of_the_disk_and_stay() {
    let sandbox = Sandbox::new("inodes");
    write(sandbox.work().join("before"), "x");
    fs::create_dir(sandbox.work().join("dir")).expect("mkdir");
    let numbers = |root: &std::path::Path| {
        ["", "before", "dir", "after"]
            .map(|name| fs::metadata(root.join(name)).map(|m| m.ino()).ok())
    };
    let plain = numbers(&sandbox.work());
    let mounted = sandbox.mount("");
    assert_eq!(numbers(&mounted.point), plain);
    write(mounted.join("after"), "y");
    let seen = numbers(&mounted.point);
    mounted.umount();
    assert_eq!(numbers(&sandbox.work()), seen);
    let mounted = sandbox.mount("");
    assert_eq!(numbers(&mounted.point), seen);
}

#[test]
fn removed_directories_and_dotdot_behave() {
    let work = |side: &mut Side| {
        fs::create_dir_all(side.join("a/b")).expect("mkdir");
        let script = "cd a/b; rmdir ../b; mkdir x 2>&1 | grep -o 'No such file.*'; ls -a | wc -l; cd ..; pwd -P | grep -o 'a$'";
        let run = Cmd::sh(script).within(&side.root).run();
        side.note("inside a removed directory", (run.code, run.out));
        for name in ["a", "a/..", "missing", "a/b/c", "."] {
            let result = fs::remove_dir(side.join(name));
            side.saw(&format!("rmdir {name}"), result);
        }
        write(side.join("file"), "");
        let result = fs::remove_dir(side.join("file"));
        side.saw("rmdir of a file", result);
        fs::create_dir(side.join("dir")).expect("mkdir");
        let result = fs::remove_file(side.join("dir"));
        side.saw("unlink of a directory", result);
        let result = File::create(side.join("file/below"));
        side.saw("below a file", result.map(drop));
    };
    twins("removed", "", work);
    let sandbox = Sandbox::new("dotdot");
    let mounted = sandbox.mount("");
    let up = fs::metadata(mounted.join("..")).expect("stat").ino();
    assert_eq!(up, fs::metadata(sandbox.path()).expect("stat").ino());
}

#[test]
fn two_mounts_of_the_same_names_do_not_meet() {
    let (one, two) = (Sandbox::new("one"), Sandbox::new("two"));
    let (a, b) = (one.mount(""), two.mount(""));
    write(a.join("file"), "first");
    write(b.join("file"), "second");
    a.snapshot("same");
    b.snapshot("same");
    assert_eq!(text(a.past("same", "file")), "first");
    assert_eq!(text(b.past("same", "file")), "second");
    assert_eq!(read(a.join("file")), b"first");
}

#[test]
fn negative_lookups_do_not_hide_what_comes() {
    let sandbox = Sandbox::new("negative");
    let mounted = sandbox.mount("");
    for n in 0..200 {
        let path = mounted.join(&format!("f{}", n % 7));
        assert!(fs::symlink_metadata(&path).is_err());
        match n % 5 {
            0 => write(&path, "x"),
            1 => fs::create_dir(&path).expect("mkdir"),
            2 => symlink("t", &path).expect("symlink"),
            3 => sys::mknod(&path, libc::S_IFIFO | 0o600, 0).expect("mkfifo"),
            _ => {
                write(mounted.join("other"), "y");
                fs::rename(mounted.join("other"), &path).expect("rename");
            }
        }
        let kind = fs::symlink_metadata(&path).expect("stat").file_type();
        assert_eq!(kind.is_dir(), n % 5 == 1);
        assert_eq!(kind.is_fifo(), n % 5 == 3);
        if kind.is_dir() {
            fs::remove_dir(&path).expect("rmdir");
        } else {
            fs::remove_file(&path).expect("unlink");
        }
    }
    let left: Vec<Vec<u8>> = fs::read_dir(&mounted.point)
        .expect("a listing")
        .map(|entry| entry.expect("an entry").file_name().into_vec())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
