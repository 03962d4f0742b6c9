//! Sizes and numbers: nothing fails that the backing file system allows. `tests/soak/limits.sh`
//! does the same with a million files.

use crate::harness::compare::{Except, Tree};
use crate::harness::{Cmd, Mounted, Sandbox, noise, read, sized, source_files, sys, text, write};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;

#[test]
fn with_1024_descriptors_a_large_tree_is_walked_read_and_changed() {
    let sandbox = Sandbox::new("descriptors");
    source_files(&sandbox.work(), sized(6_000, 2_500));
    let then = Tree::read(&sandbox.work());
    let line = format!(
        "ulimit -n 1024; {} mount -o interval=200ms {}",
        env!("CARGO_BIN_EXE_rewindfs"),
        sandbox.work().display()
    );
    Cmd::sh(&line).run().ok();
    let mounted = Mounted::found(sandbox.work(), sandbox.work());
    // Walked and read while it is imported, and then with all of it in the kernel's memory.
    then.must_equal(&Tree::read(&mounted.point), Except::default(), "during");
    mounted.settled();
    then.must_equal(&Tree::read(&mounted.point), Except::default(), "after");
    // Files that are open and have no name any more.
    let mut orphans = Vec::new();
    for n in 0..200 {
        let path = mounted.join(&format!("orphan{n}"));
        write(&path, format!("orphan {n}"));
        orphans.push(File::open(&path).expect("opened"));
        fs::remove_file(&path).expect("removed");
    }
    for (name, entry) in &then.entries {
        if entry.kind == 'f' {
            let path = mounted.point.join(OsStr::from_bytes(name));
            let file = OpenOptions::new().append(true).open(&path).expect("opened");
            std::io::Write::write_all(&mut &file, b"more\n").expect("written");
        }
    }
    mounted.snapshot("changed");
    for (n, file) in orphans.iter().enumerate() {
        let content = std::io::read_to_string(file).expect("read");
        assert_eq!(content, format!("orphan {n}"));
    }
    let live = Tree::read(&mounted.point);
    let past = Tree::read(&mounted.past("changed", ""));
    live.must_equal(&past, Except::default(), "all changed");
    for name in crate::harness::mount::names(&mounted.point) {
        let path = mounted.join(&name);
        let removed = if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    mounted.snapshot("empty");
    assert_eq!(Tree::read(&mounted.past("empty", "")).entries.len(), 1);
    drop(orphans);
    mounted.umount();
}

#[test]
fn sixty_four_writers_on_one_file() {
    const WRITERS: u64 = 64;
    const BLOCK: u64 = 4096;
    let sandbox = Sandbox::new("writers");
    write(sandbox.work().join("file"), "");
    let mounted = sandbox.mount("interval=100ms,settle=50ms");
    let rounds = sized(60, 15);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let path = mounted.join("file");
            scope.spawn(move || {
                let file = OpenOptions::new().write(true).open(path).expect("opened");
                for round in 0..rounds {
                    let at = (round % 4 * WRITERS + writer) * BLOCK;
                    let byte = u8::try_from((writer + round) % 251).expect("a byte");
                    file.write_all_at(&vec![byte; BLOCK as usize], at)
                        .expect("written");
                }
            });
        }
        for n in 0..5 {
            mounted.snapshot(&format!("s{n}"));
        }
    });
    let last = |writer: u64, slot: u64| {
        let round = (0..rounds).rev().find(|round| round % 4 == slot);
        u8::try_from((writer + round.expect("a round")) % 251).expect("a byte")
    };
    let mut expected = Vec::new();
    for slot in 0..4 {
        for writer in 0..WRITERS {
            expected.extend(vec![last(writer, slot); BLOCK as usize]);
        }
    }
    mounted.snapshot("end");
    assert!(read(mounted.join("file")) == expected);
    assert!(read(mounted.past("end", "file")) == expected);
    mounted.umount();
}

#[test]
fn names_with_every_byte() {
    let sandbox = Sandbox::new("bytes");
    let mounted = sandbox.mount("");
    let mut names = BTreeSet::new();
    for byte in (1..=255u8).filter(|&byte| byte != b'/' && byte != b'.') {
        names.insert(vec![byte]);
        names.insert([b"in ", &[byte][..], b" the midst"].concat());
    }
    names.insert((1..=255u8).filter(|&byte| byte != b'/').collect());
    names.insert(vec![0xff; 255]);
    for name in &names {
        write(mounted.point.join(OsStr::from_bytes(name)), name);
    }
    mounted.snapshot("s");
    for root in [mounted.point.clone(), mounted.past("s", "")] {
        let listed: BTreeSet<Vec<u8>> = fs::read_dir(&root)
            .expect("listed")
            .map(|entry| entry.expect("an entry").file_name().into_vec())
            .collect();
        assert_eq!(listed, names);
        for name in &names {
            assert_eq!(&read(root.join(OsStr::from_bytes(name))), name);
        }
    }
    mounted.umount();
}

#[test]
fn a_path_of_four_thousand_levels() {
    let sandbox = Sandbox::new("deep");
    let down = "for (1..4000) { mkdir 'd'; chdir 'd' or die \"$_: $!\" }";
    let bottom = "open F, '>', 'file' or die $!; print F 'deep'; close F";
    let perl = |script: &str, dir: &std::path::Path| {
        let run = Cmd::new("perl").args(["-e", script]).within(dir).run();
        run.ok()
    };
    // Half of it is there before the first mount, half is made through it.
    let half = down.replace("4000", "2000");
    perl(&half, &sandbox.work());
    let mounted = sandbox.mount("");
    perl(&format!("{down}; {bottom}"), &mounted.point);
    mounted.snapshot("deep");
    let go = "for (1..4000) { chdir 'd' or die \"$_: $!\" }";
    let look = "open F, '<', 'file' or die $!; print <F>";
    let past = perl(&format!("{go}; {look}"), &mounted.past("deep", ""));
    assert_eq!(past.out, "deep");
    assert_eq!(
        Cmd::new("find")
            .arg(mounted.past("deep", ""))
            .run()
            .ok()
            .lines()
            .len(),
        4002
    );
    let change = "open F, '>>', 'file' or die $!; print F 'er'; close F";
    perl(&format!("{go}; {change}"), &mounted.point);
    mounted.umount();
    let mounted = sandbox.mount("");
    mounted.snapshot("deeper");
    let past = perl(&format!("{go}; {look}"), &mounted.past("deeper", ""));
    assert_eq!(past.out, "deeper");
    Cmd::new("rm").arg("-r").arg(mounted.join("d")).run().ok();
    mounted.snapshot("gone");
    assert_eq!(Tree::read(&mounted.past("gone", "")).entries.len(), 1);
    mounted.umount();
}

#[test]
fn a_sparse_file_of_one_tebibyte() {
    const SIZE: u64 = 1 << 40;
    let sandbox = Sandbox::new("tebibyte");
    let mounted = sandbox.mount("interval=200ms");
    let file = File::create(mounted.join("image")).expect("made");
    file.set_len(SIZE).expect("truncate");
    let places = [0, 12_345, SIZE / 2 + 1, SIZE - 5000];
    for at in places {
        file.write_all_at(&noise(at, 5000), at).expect("written");
    }
    mounted.snapshot("first state");
    for at in places {
        file.write_all_at(&noise(at + 1, 5000), at)
            .expect("written");
    }
    mounted.snapshot("second state");
    file.set_len(10).expect("truncate");
    drop(file);
    for (state, seed) in [("first state", 0), ("second state", 1)] {
        let past = File::open(mounted.past(state, "image")).expect("opened");
        assert_eq!(past.metadata().expect("stat").len(), SIZE);
        for at in places {
            let mut bytes = vec![0; 5000];
            past.read_exact_at(&mut bytes, at).expect("read");
            let end = if at == 0 { 5000 } else { bytes.len() };
            assert!(
                bytes[..end] == noise(at + seed, 5000)[..end],
                "{state} {at}"
            );
        }
        let hole = sys::seek(&past, 1 << 20, libc::SEEK_DATA).expect("data");
        assert!(hole > SIZE / 4, "{hole}");
    }
    mounted.umount();
}

#[test]
fn a_large_directory_and_its_past() {
    let sandbox = Sandbox::new("large");
    let mounted = sandbox.mount("interval=500ms");
    let count = sized(8_000, 3_000);
    let name = |n: usize| format!("entry-{n:07}");
    fs::create_dir(mounted.join("dir")).expect("mkdir");
    let dir = mounted.join("dir");
    for n in 0..count {
        File::create(dir.join(name(n))).expect("made");
    }
    mounted.snapshot("full");
    for root in [dir.clone(), mounted.past("full", "dir")] {
        assert_eq!(fs::read_dir(&root).expect("listed").count(), count);
        for n in (0..count).step_by(37) {
            fs::metadata(root.join(name(n))).expect("stat");
        }
        let absent = fs::metadata(root.join("entry-x"));
        assert_eq!(sys::errno(&absent), libc::ENOENT);
    }
    for n in 0..count {
        fs::remove_file(dir.join(name(n))).expect("removed");
    }
    assert_eq!(fs::read_dir(&dir).expect("listed").count(), 0);
    assert_eq!(
        fs::read_dir(mounted.past("full", "dir"))
            .expect("listed")
            .count(),
        count
    );
    mounted.umount();
}

#[test]
fn many_snapshots_are_listed_and_entered() {
    let sandbox = Sandbox::new("snapshots");
    let mounted = sandbox.mount("");
    let count = sized(600, 150);
    for n in 0..count {
        write(mounted.join("file"), format!("{n}"));
        fs::create_dir(mounted.join(&format!(".snapshots/s{n}"))).expect("mkdir");
    }
    // Beside `first` and `latest`.
    assert_eq!(mounted.snapshots().len(), count + 2);
    for n in (0..count).step_by(29) {
        assert_eq!(text(mounted.past(&format!("s{n}"), "file")), format!("{n}"));
    }
    let listed = mounted.command("list").run().ok();
    assert!(listed.out.contains(&format!("s{}", count - 1)));
    mounted.umount();
}
