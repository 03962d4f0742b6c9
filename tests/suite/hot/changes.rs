//! What has not come yet is written to, moved and removed like everything else.

use super::*;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::time::Duration;

fn content(n: u64) -> Vec<u8> {
    noise(n, 200_000 + n as usize)
}

fn files(work: &Path) {
    fs::create_dir(work.join("dir")).expect("mkdir");
    for n in 0..16 {
        write(work.join(format!("dir/file-{n}")), content(n));
    }
    write(work.join("dir/program"), "#!/bin/sh\necho it runs\n");
    fs::set_permissions(work.join("dir/program"), PermissionsExt::from_mode(0o755)).expect("chmod");
}

#[test]
fn what_has_not_come_yet_can_be_changed() {
    let world = World::new("hot-changed", &[&files]);
    let mounted = world.held("somebody waits for it");
    let file = |n: u64| mounted.join(&format!("dir/file-{n}"));
    let open = |n: u64| {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(file(n))
            .expect("open")
    };
    // In the midst, at the end, cut off, and emptied.
    open(0).write_all_at(b"changed", 70_000).expect("write");
    let mut appended = OpenOptions::new().append(true).open(file(1)).expect("open");
    appended.write_all(b"more").expect("append");
    open(2).set_len(1000).expect("truncate");
    write(file(3), "new");
    // Names.
    fs::rename(file(4), mounted.join("moved")).expect("rename");
    fs::remove_file(file(5)).expect("rm");
    fs::hard_link(file(6), mounted.join("linked")).expect("link");
    fs::rename(file(7), file(8)).expect("rename over");
    // Attributes.
    fs::set_permissions(file(9), PermissionsExt::from_mode(0o640)).expect("chmod");
    let time = (1_000_000_000, 0);
    sys::set_times(&file(9), time, time).expect("utimens");
    sys::set_xattr(&file(9), "user.note", b"x", 0).expect("setxattr");
    // Mapped, copied, run, and open without a name.
    let mapped = open(10);
    let mut mapping = sys::Mapping::shared(&mapped, 200_010).expect("mmap");
    mapping.bytes()[4096..4100].copy_from_slice(b"mmap");
    mapping.sync().expect("msync");
    drop(mapping);
    let copy = File::create(mounted.join("copy")).expect("create");
    let from = open(11);
    let mut done = 0;
    while done < 200_011 {
        let copied = sys::copy_range(&from, done, &copy, done, 200_011 - done as u64);
        done += copied.expect("copy") as i64;
    }
    assert_eq!(sys::seek(&open(12), 0, libc::SEEK_DATA).expect("seek"), 0);
    assert_eq!(
        sys::seek(&open(12), 0, libc::SEEK_HOLE).expect("seek"),
        200_012
    );
    let ran = Cmd::new(mounted.join("dir/program")).run().ok();
    assert_eq!(ran.out, "it runs\n");
    let mut nameless = open(13);
    fs::remove_file(file(13)).expect("rm");
    nameless.seek(SeekFrom::Start(150_000)).expect("seek");
    let mut rest = Vec::new();
    nameless.read_to_end(&mut rest).expect("read");
    assert_eq!(rest, content(13)[150_000..]);
    drop(nameless);
    sys::fallocate(
        &open(14),
        libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE,
        0,
        8192,
    )
    .expect("punch");
    drop((appended, mapped, copy, from));
    mounted.snapshot("changed");
    let check = |root: &dyn Fn(&str) -> PathBuf| {
        let mut expected = content(0);
        expected[70_000..70_007].copy_from_slice(b"changed");
        assert_eq!(read(root("dir/file-0")), expected);
        assert_eq!(
            read(root("dir/file-1")),
            [content(1), b"more".to_vec()].concat()
        );
        assert_eq!(read(root("dir/file-2")), content(2)[..1000]);
        assert_eq!(text(root("dir/file-3")), "new");
        assert_eq!(read(root("moved")), content(4));
        assert!(!root("dir/file-5").exists() && !root("dir/file-7").exists());
        assert_eq!(read(root("linked")), content(6));
        assert_eq!(read(root("dir/file-8")), content(7));
        assert_eq!(read(root("dir/file-9")), content(9));
        let mut expected = content(10);
        expected[4096..4100].copy_from_slice(b"mmap");
        assert_eq!(read(root("dir/file-10")), expected);
        assert_eq!(read(root("copy")), content(11));
        let mut expected = content(14);
        expected[..8192].fill(0);
        assert_eq!(read(root("dir/file-14")), expected);
        assert_eq!(read(root("dir/file-15")), content(15));
    };
    check(&|name| mounted.join(name));
    check(&|name| mounted.past("changed", name));
    for n in 0..16 {
        assert_eq!(
            read(mounted.past("sent", &format!("dir/file-{n}"))),
            content(n)
        );
    }
    world.let_go();
    wait_until_all_is_here(&mounted);
    check(&|name| mounted.join(name));
    let stat = fs::metadata(file(9)).expect("stat");
    assert_eq!(stat.permissions().mode() & 0o777, 0o640);
    assert_eq!(
        stat.modified()
            .expect("a time")
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after")
            .as_secs(),
        1_000_000_000
    );
    mounted.command("verify").arg("--data").run().ok();
    mounted.umount();
    check(&|name| world.dir().join(name));
    assert_eq!(
        sys::get_xattr(&world.dir().join("dir/file-9"), b"user.note").expect("xattr"),
        b"x"
    );
}

/// What was written is there also when the daemon dies at once.
#[test]
fn what_was_changed_outlives_the_daemon() {
    let world = World::new("hot-outlives", &[&files, &simple]);
    let mut mounted = world.held("somebody waits for it");
    for n in 0..8 {
        let name = format!("dir/file-{n}");
        match n % 4 {
            0 => write(mounted.join(&name), "new"),
            1 => OpenOptions::new()
                .write(true)
                .open(mounted.join(&name))
                .expect("open")
                .write_all_at(b"changed", 9)
                .expect("write"),
            2 => fs::remove_file(mounted.join(&name)).expect("rm"),
            _ => write(mounted.join(&format!("dir-{}/added-{n}", n % 3)), "added"),
        }
        mounted.kill();
        mounted = world.mount();
    }
    let check = |root: &Path| {
        for n in 0..8 {
            let path = root.join(format!("dir/file-{n}"));
            match n % 4 {
                0 => assert_eq!(text(path), "new"),
                1 => {
                    let mut expected = content(n);
                    expected[9..16].copy_from_slice(b"changed");
                    assert_eq!(read(path), expected);
                }
                2 => assert!(!path.exists()),
                _ => assert_eq!(text(root.join(format!("dir-{}/added-{n}", n % 3))), "added"),
            }
        }
        for n in 8..16 {
            assert_eq!(read(root.join(format!("dir/file-{n}"))), content(n));
        }
    };
    check(&world.dir());
    mounted.settled();
    mounted.snapshot("now");
    check(&mounted.past("now", ""));
    world.let_go();
    wait_until_all_is_here(&mounted);
    check(&world.dir());
    mounted.umount();
    check(&world.dir());
}

/// Whoever writes into it while nothing is mounted keeps what he wrote.
#[test]
fn what_was_written_while_it_was_not_mounted_stays() {
    let world = World::new("hot-unmounted", &[&files]);
    let mounted = world.held("");
    assert_eq!(names(&mounted.join("dir")).len(), 17);
    // So that the names are on the disk.
    std::thread::sleep(Duration::from_secs(2));
    let forced = mounted.command("umount").arg("--force").run().ok();
    forced.says("17 files").says("without content yet");
    mounted.must_be_gone();
    mounted.forget();
    let file = |n: u64| world.dir().join(format!("dir/file-{n}"));
    assert_eq!(read(file(0)), vec![0; 200_000]);
    write(file(1), "mine");
    let in_place = OpenOptions::new().write(true).open(file(2)).expect("open");
    in_place.write_all_at(b"mine", 100_000).expect("write");
    fs::remove_file(file(3)).expect("rm");
    drop(in_place);
    let mounted = world.mount();
    mounted.settled();
    world.let_go();
    wait_until_all_is_here(&mounted);
    assert_eq!(read(file(0)), content(0));
    assert_eq!(text(file(1)), "mine");
    let mut expected = vec![0; 200_002];
    expected[100_000..100_004].copy_from_slice(b"mine");
    assert_eq!(read(file(2)), expected);
    assert!(!file(3).exists());
    assert_eq!(
        text(
            mounted
                .past("latest", "dir/file-4")
                .parent()
                .expect("a folder")
                .join("program")
        ),
        "#!/bin/sh\necho it runs\n"
    );
    mounted.snapshot("now");
    assert_eq!(text(mounted.past("now", "dir/file-1")), "mine");
    assert_eq!(read(mounted.past("now", "dir/file-2")), expected);
    assert!(!mounted.past("now", "dir/file-3").exists());
    mounted.umount();
}
