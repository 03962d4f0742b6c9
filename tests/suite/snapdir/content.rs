//! What a snapshot holds is exactly the state of its instant, for every kind of file and for the
//! tools that people use.

use crate::harness::compare::{Except, Tree};
use crate::harness::{
    Cmd, Sandbox, noise, one_of_everything, read, sized, source_files, sys, write,
};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};

#[test]
fn a_snapshot_holds_everything_as_it_was() {
    let sandbox = Sandbox::new("everything");
    let mounted = sandbox.mount("");
    one_of_everything(&mounted.point);
    let then = Tree::read(&mounted.point);
    mounted.snapshot("then");
    then.must_equal(
        &Tree::read(&mounted.past("then", "")),
        Except::default(),
        "live / snapshot",
    );
    // Everything changes; the snapshot does not.
    Cmd::sh(
        "chmod -R 700 dir text; rm -rf dir/deeper empty; echo changed > text; mv link l;
        setfacl -b text; setfattr -x user.colour text; ln text text3; truncate -s 9 sparse",
    )
    .within(&mounted.point)
    .run()
    .ok();
    then.must_equal(
        &Tree::read(&mounted.past("then", "")),
        Except::default(),
        "after changes",
    );
    mounted.umount();
    let mounted = sandbox.mount("");
    then.must_equal(
        &Tree::read(&mounted.past("then", "")),
        Except::default(),
        "after a remount",
    );
}

#[test]
fn an_import_holds_everything_that_was_there() {
    let sandbox = Sandbox::new("import");
    one_of_everything(&sandbox.work());
    source_files(&sandbox.work(), sized(500, 100));
    let then = Tree::read(&sandbox.work());
    let mounted = sandbox.mount("");
    then.must_equal(
        &Tree::read(&mounted.point),
        Except::default(),
        "disk / mount",
    );
    then.must_equal(
        &Tree::read(&mounted.past("first", "")),
        Except::default(),
        "disk / first",
    );
}

#[test]
fn tools_copy_a_state_exactly() {
    let sandbox = Sandbox::new("tools");
    let mounted = sandbox.mount("");
    one_of_everything(&mounted.point);
    source_files(&mounted.point, 50);
    let then = Tree::read(&mounted.point);
    mounted.snapshot("then");
    fs::remove_dir_all(mounted.join("src")).expect("rm");
    let copies = sandbox.join("copies");
    fs::create_dir(&copies).expect("mkdir");
    let past = mounted.past("then", "");
    let past = past.to_str().expect("text").trim_end_matches('/');
    let script = format!(
        "cp -a {past} by-cp
         rsync -aHAX --modify-window=-1 --sparse {past}/ by-rsync
         mkdir by-tar; tar -C {past} --acls --xattrs --xattrs-include='*' --sparse -cf - . |
             tar -C by-tar --acls --xattrs --xattrs-include='*' -xpf -"
    );
    Cmd::sh(&script).within(&copies).run().ok();
    for (name, holes) in [("by-cp", false), ("by-rsync", false), ("by-tar", false)] {
        let except = Except {
            ctime: true,
            holes: !holes,
            // tar does not keep sockets and their parents' times apart.
            ..Except::default()
        };
        let mut expected = then.clone();
        let copy = Tree::read(&copies.join(name));
        if name == "by-tar" {
            expected.entries.remove(b"socket".as_slice());
        }
        expected.must_equal(&copy, except, name);
    }
    let script = format!(
        "diff -r --no-dereference {past}/dir by-cp/dir
         rsync -aHAXn --checksum --delete --itemize-changes {past}/ by-rsync/"
    );
    let run = Cmd::sh(&script).within(&copies).run().ok();
    assert_eq!(run.out, "");
}

#[test]
fn cp_brings_a_file_back() {
    let sandbox = Sandbox::new("restore");
    let mounted = sandbox.mount("");
    for len in [0, 1, 100, 70_000, 5_000_000] {
        write(mounted.join(&format!("f{len}")), noise(len as u64, len));
    }
    crate::harness::sparse(&mounted.join("sparse"));
    let sparse = read(mounted.join("sparse"));
    fs::set_permissions(mounted.join("f100"), PermissionsExt::from_mode(0o640)).expect("chmod");
    sys::set_times(&mounted.join("f100"), (5, 5), (1_000_000, 5)).expect("utimens");
    mounted.snapshot("s");
    Cmd::sh("rm f1 f100; echo damage >> f70000; : > f5000000; truncate -s 5 sparse")
        .within(&mounted.point)
        .run()
        .ok();
    let script = "cp .snapshots/s/f1 .; cp -p .snapshots/s/f100 .; cp .snapshots/s/f70000 .;
        cp .snapshots/s/f5000000 f5000000; cp .snapshots/s/sparse .; cp .snapshots/s/f0 empty";
    Cmd::sh(script).within(&mounted.point).run().ok();
    for len in [0, 1, 100, 70_000, 5_000_000] {
        assert!(
            read(mounted.join(&format!("f{len}"))) == noise(len as u64, len),
            "{len}"
        );
    }
    assert!(read(mounted.join("sparse")) == sparse);
    let meta = fs::metadata(mounted.join("f100")).expect("stat");
    assert_eq!(
        (meta.mode() & 0o777, meta.mtime(), meta.mtime_nsec()),
        (0o640, 1_000_000, 5)
    );
    // What was restored is itself recorded.
    mounted.snapshot("restored");
    for len in [0, 1, 100, 70_000, 5_000_000] {
        assert!(
            read(mounted.past("restored", &format!("f{len}"))) == noise(len as u64, len),
            "{len}"
        );
    }
    mounted.umount();
    assert!(
        read(sandbox.work().join("f5000000")) == noise(5_000_000, 5_000_000),
        "on the disk"
    );
}

#[test]
fn cp_asks_for_the_copy_in_one_piece() {
    let sandbox = Sandbox::new("cfr");
    let mounted = sandbox.mount("");
    write(mounted.join("file"), noise(1, 3_000_000));
    mounted.snapshot("s");
    let from = File::open(mounted.past("s", "file")).expect("open");
    let to = File::create(mounted.join("copy")).expect("create");
    assert_eq!(
        sys::copy_range(&from, 0, &to, 0, 3_000_000).expect("copy_file_range"),
        3_000_000
    );
    assert!(read(mounted.join("copy")) == noise(1, 3_000_000));
    let part = sys::copy_range(&from, 1_000_001, &to, 7, 500_000).expect("copy_file_range");
    assert_eq!(part, 500_000);
    let copied = read(mounted.join("copy"));
    assert!(copied[7..500_007] == noise(1, 3_000_000)[1_000_001..1_500_001]);
}

#[test]
fn any_part_of_an_old_file_can_be_read() {
    let sandbox = Sandbox::new("ranges");
    let mounted = sandbox.mount("");
    let len = 3_000_017;
    write(mounted.join("file"), noise(1, len));
    mounted.snapshot("s");
    write(mounted.join("file"), "gone");
    let file = File::open(mounted.past("s", "file")).expect("open");
    let all = noise(1, len);
    for n in 0..300_u64 {
        let start = (n * 7_919 * 31) as usize % len;
        let want = [1, 100, 4096, 65_536, 300_000][n as usize % 5];
        let mut buffer = vec![0; want];
        let got = file.read_at(&mut buffer, start as u64).expect("read");
        assert_eq!(got, want.min(len - start));
        assert!(
            buffer[..got] == all[start..start + got],
            "{want} at {start}"
        );
    }
    let past_end = file.read_at(&mut [0; 10], len as u64).expect("read");
    assert_eq!(past_end, 0);
    let mut mapping = sys::Mapping::private(&file, len).expect("mmap");
    assert!(*mapping.bytes() == all[..], "through a mapping");
}

#[test]
fn many_states_of_one_tree_stay_apart() {
    let sandbox = Sandbox::new("many-states");
    let mounted = sandbox.mount("");
    let mut states = Vec::new();
    for n in 0..sized(30, 10) {
        for m in 0..=n {
            if (n + m) % 3 == 0 {
                write(mounted.join(&format!("f{m}")), noise(n * 100 + m, 5_000));
            }
        }
        if n % 4 == 3 {
            let _ = fs::remove_file(mounted.join(&format!("f{}", n / 2)));
        }
        states.push(Tree::read(&mounted.point));
        mounted.snapshot(&format!("s{n}"));
    }
    for (n, state) in states.iter().enumerate() {
        let past = Tree::read(&mounted.past(&format!("s{n}"), ""));
        state.must_equal(&past, Except::default(), &format!("s{n}"));
    }
}
