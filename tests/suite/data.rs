//! Content: every way to write, cut, punch, map and copy it, compared with a plain directory.

use crate::harness::twin::{Side, twins};
use crate::harness::{Cmd, Sandbox, noise, read, sized, sys, write};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};

fn read_write(side: &Side, name: &str) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(side.join(name))
        .expect("open")
}

#[test]
fn appends_of_many_writers_lose_nothing() {
    let sandbox = Sandbox::new("append");
    let mounted = sandbox.mount("");
    let path = mounted.join("log");
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let path = &path;
            scope.spawn(move || {
                let mut log = OpenOptions::new()
                    .append(true)
                    .create(true)
                    .open(path)
                    .expect("open");
                for n in 0..500 {
                    // One write(2) a line.
                    log.write_all(format!("{writer} {n}\n").as_bytes())
                        .expect("write");
                }
            });
        }
    });
    let log = String::from_utf8(read(&path)).expect("text");
    for writer in 0..4 {
        let prefix = format!("{writer} ");
        let numbers: Vec<u32> = log
            .lines()
            .filter_map(|line| line.strip_prefix(&prefix))
            .map(|n| n.parse().expect("a whole line"))
            .collect();
        assert!(numbers == (0..500).collect::<Vec<u32>>(), "writer {writer}");
    }
}

#[test]
fn writes_of_every_shape() {
    twins("writes", "", |side| {
        let file = read_write(side, "file");
        let shapes = [
            (0, 1),
            (4095, 2),
            (10, 100_000),
            (1 << 20, 1),
            (131_071, 131_073),
            (3 << 20, 3 << 20),
        ];
        for (n, (offset, len)) in shapes.into_iter().enumerate() {
            let result = file.write_at(&noise(n as u64, len), offset);
            side.saw(&format!("{len} at {offset}"), result);
        }
        let result = file.write_at(b"", 5);
        side.saw("nothing", result);
        for size in [5_000_000, 7, 0, 123_456] {
            let result = file.set_len(size);
            side.saw(&format!("truncate to {size}"), result);
            let seen = file.metadata().map(|meta| meta.len());
            side.saw("size", seen);
        }
        let result = file.set_len(i64::MAX as u64);
        side.note("truncate to too much", sys::errno(&result));
        write(side.join("again"), noise(1, 50_000));
        write(side.join("again"), "shorter");
        let result = OpenOptions::new().append(true).open(side.join("again"));
        let result = result.and_then(|mut file| file.write(b" and appended"));
        side.saw("append", result);
        let read_only = File::open(side.join("again")).expect("open");
        side.note(
            "write to O_RDONLY",
            sys::errno(&read_only.write_at(b"x", 0)),
        );
        let write_only = OpenOptions::new()
            .write(true)
            .open(side.join("again"))
            .expect("open");
        let result = write_only.read_at(&mut [0; 1], 0);
        side.note("read of O_WRONLY", sys::errno(&result));
        let result = File::open(side.join("missing"));
        side.note("open of nothing", sys::errno(&result));
        let result = OpenOptions::new().write(true).open(&side.root);
        side.note("write of a directory", sys::errno(&result));
        let result = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(side.join("again"));
        side.note("O_EXCL", sys::errno(&result));
    });
}

#[test]
fn big_writes_come_back_whole() {
    let sandbox = Sandbox::new("big");
    let mounted = sandbox.mount("");
    let bytes = noise(3, sized(64 << 20, 16 << 20));
    let mut file = File::create(mounted.join("big")).expect("create");
    file.write_all(&bytes).expect("write");
    file.sync_all().expect("fsync");
    sys::drop_cache(&file);
    drop(file);
    assert!(read(mounted.join("big")) == bytes, "through the mount");
    mounted.snapshot("big");
    assert!(read(mounted.past("big", "big")) == bytes, "in the snapshot");
    mounted.umount();
    assert!(read(sandbox.work().join("big")) == bytes, "on the disk");
}

#[test]
fn direct_io_reads_and_writes() {
    twins("direct", "", |side| {
        // O_DIRECT wants aligned memory: a mapping is.
        let scratch = File::create_new(side.join("scratch")).expect("create");
        scratch.set_len(65_536).expect("truncate");
        drop(scratch);
        let scratch = read_write(side, "scratch");
        let mut memory = sys::Mapping::private(&scratch, 65_536).expect("mmap");
        memory.bytes().copy_from_slice(&noise(5, 65_536));
        let direct = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(libc::O_DIRECT)
            .open(side.join("direct"))
            .expect("open with O_DIRECT");
        let result = direct.write_at(memory.bytes(), 8192);
        side.saw("write", result);
        let buffered = read(side.join("direct"));
        side.note("seen by others", blake3::hash(&buffered));
        memory.bytes().fill(0);
        let result = direct.read_at(memory.bytes(), 8192);
        side.saw("read", result);
        side.note("read back", memory.bytes() == noise(5, 65_536));
    });
}

#[test]
fn holes_are_where_they_are_beside_the_mount() {
    twins("holes", "", |side| {
        let file = read_write(side, "file");
        file.set_len(1 << 30).expect("truncate");
        for (offset, len) in [
            (0, 10),
            (1 << 20, 100_000),
            ((1 << 30) - 1, 1),
            (700 << 20, 4096),
        ] {
            file.write_all_at(&noise(offset, len), offset)
                .expect("write");
        }
        file.sync_all().expect("fsync");
        for at in [
            0,
            5,
            4096,
            8192,
            1 << 20,
            (1 << 20) + 200_000,
            700 << 20,
            (1 << 30) - 1,
        ] {
            for (what, whence) in [("data", libc::SEEK_DATA), ("hole", libc::SEEK_HOLE)] {
                let result = sys::seek(&file, at, whence);
                side.saw(&format!("{what} after {at}"), result);
            }
        }
        for at in [1 << 30, (1 << 30) + 1] {
            let result = sys::seek(&file, at, libc::SEEK_DATA);
            side.saw("data behind the end", result);
        }
        let blocks = file.metadata().expect("stat").blocks();
        side.note("blocks", blocks);
    });
}

#[test]
fn fallocate_in_every_mode_that_linux_passes_on() {
    let modes = [
        ("plain", 0),
        ("keep size", libc::FALLOC_FL_KEEP_SIZE),
        ("punch", sys::PUNCH),
        ("zero", libc::FALLOC_FL_ZERO_RANGE),
        (
            "zero, keep size",
            libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE,
        ),
        ("punch without keep size", libc::FALLOC_FL_PUNCH_HOLE),
    ];
    twins("fallocate", "", |side| {
        for (name, mode) in modes {
            for (offset, len) in [
                (0, 4096),
                (5_000, 20_000),
                (90_000, 100_000),
                (300_000, 1),
                (0, 0),
            ] {
                let file = read_write(side, &format!("{name} {offset}"));
                file.write_all_at(&noise(1, 120_000), 0).expect("write");
                let result = sys::fallocate(&file, mode, offset, len);
                side.saw(&format!("{name} {offset}+{len}"), result);
                let seen = file.metadata().map(|meta| meta.len());
                side.saw("size", seen);
            }
        }
        let read_only = File::open(side.join("plain 0")).expect("open");
        let result = sys::fallocate(&read_only, 0, 0, 10);
        side.note("on O_RDONLY", sys::errno(&result));
    });
}

/// docs/semantics.md lists these; Linux answers before it asks us.
#[test]
fn what_linux_fuse_refuses_is_refused_as_listed() {
    let sandbox = Sandbox::new("refused");
    let mounted = sandbox.mount("");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(mounted.join("file"))
        .expect("open");
    file.write_all_at(&noise(1, 65_536), 0).expect("write");
    let refused = |what: &str, errno: i32| {
        assert_eq!(errno, libc::EOPNOTSUPP, "{what}");
    };
    for (what, mode) in [
        ("COLLAPSE_RANGE", libc::FALLOC_FL_COLLAPSE_RANGE),
        ("INSERT_RANGE", libc::FALLOC_FL_INSERT_RANGE),
        ("UNSHARE_RANGE", libc::FALLOC_FL_UNSHARE_RANGE),
    ] {
        refused(what, sys::errno(&sys::fallocate(&file, mode, 4096, 4096)));
    }
    let unnamed = sys::open(&mounted.point, libc::O_TMPFILE | libc::O_RDWR, 0o600);
    refused("O_TMPFILE", sys::errno(&unnamed));
    let other = File::create(mounted.join("other")).expect("create");
    const FICLONE: libc::c_ulong = 0x4004_9409;
    // SAFETY: FICLONE takes a descriptor.
    let result = unsafe { libc::ioctl(other.as_raw_fd(), FICLONE, file.as_raw_fd()) };
    assert_eq!(result, -1);
    refused(
        "FICLONE",
        std::io::Error::last_os_error().raw_os_error().unwrap_or(0),
    );
    assert!(
        read(mounted.join("file")) == noise(1, 65_536),
        "nothing was changed"
    );
}

#[test]
fn files_without_a_name_live_on() {
    twins("unlinked", "", |side| {
        for how in ["unlink", "rename-over"] {
            let path = side.join(how);
            write(&path, noise(2, 30_000));
            let file = read_write(side, how);
            if how == "unlink" {
                fs::remove_file(&path).expect("unlink");
            } else {
                write(side.join("new"), "new");
                fs::rename(side.join("new"), &path).expect("rename");
            }
            let links = file.metadata().map(|meta| (meta.nlink(), meta.len()));
            side.saw("links and size", links);
            let result = file.write_at(&noise(9, 10_000), 25_000);
            side.saw("write", result);
            let mut bytes = vec![0; 35_000];
            let result = file.read_at(&mut bytes, 0);
            side.saw("read", result);
            side.note("content", blake3::hash(&bytes));
            let result = file.set_len(100);
            side.saw("truncate", result);
            let result = file.set_permissions(PermissionsExt::from_mode(0o600));
            side.saw("chmod", result);
            let result = file.sync_all();
            side.saw("fsync", result);
            let again = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()));
            let size = again
                .and_then(|file| file.metadata())
                .map(|meta| meta.len());
            side.saw("opened again", size);
        }
    });
}

#[test]
fn mappings_show_and_take_what_write_does() {
    twins("mmap", "", |side| {
        write(side.join("file"), noise(4, 200_000));
        let file = read_write(side, "file");
        let mut shared = sys::Mapping::shared(&file, 200_000).expect("mmap");
        let mut private = sys::Mapping::private(&file, 200_000).expect("mmap");
        side.note("content", blake3::hash(shared.bytes()));
        shared.bytes()[100_000..100_004].copy_from_slice(b"MAPS");
        private.bytes()[5] ^= 0xff;
        let mut seen = [0; 4];
        let result = file.read_at(&mut seen, 100_000);
        side.saw("read", result);
        side.note("read sees the store", seen);
        file.write_all_at(b"WRITE", 50_000).expect("write");
        side.note(
            "the mapping sees the write",
            shared.bytes()[50_000..50_005].to_vec(),
        );
        let result = shared.sync();
        side.saw("msync", result);
        drop(shared);
        drop(private);
        let mut shared = sys::Mapping::shared(&file, 4096).expect("mmap");
        shared.bytes()[0] = b'!';
        drop(shared);
        drop(file);
        side.note("after munmap", blake3::hash(&read(side.join("file"))));
    });
}

#[test]
fn copies_inside_the_kernel() {
    twins("copies", "", |side| {
        write(side.join("from"), noise(6, 3_000_000));
        let from = File::open(side.join("from")).expect("open");
        let to = read_write(side, "to");
        for (at, to_at, len) in [
            (0, 0, 1_000_000),
            (5, 2_000_001, 70_000),
            (2_999_990, 10, 100),
        ] {
            let result = sys::copy_range(&from, at, &to, to_at, len);
            side.saw(&format!("{len} from {at} to {to_at}"), result);
        }
        let same = read_write(side, "from");
        let result = sys::copy_range(&same, 0, &same, 1_500_000, 100_000);
        side.saw("inside one file", result);
        let result = sys::copy_range(&same, 0, &same, 10, 100_000);
        side.note("overlapping", sys::errno(&result));
        drop((from, to, same));
        Cmd::sh("cp -a from copied; cp --sparse=always from sparsely; cat from from > twice")
            .within(&side.root)
            .run()
            .ok();
    });
}

#[test]
fn locks_hold_between_processes() {
    let sandbox = Sandbox::new("locks");
    let mounted = sandbox.mount("");
    let script = "flock -n lock sh -c 'flock -n lock echo taken twice || echo refused'";
    let run = Cmd::sh(script).within(&mounted.point).run().ok();
    assert_eq!(run.out, "refused\n");
}

#[test]
fn programs_run_from_the_mount() {
    let sandbox = Sandbox::new("exec");
    let mounted = sandbox.mount("");
    let script =
        "cp /bin/echo tool; ./tool runs; printf '#!/bin/sh\\necho script' > s; chmod +x s; ./s";
    let run = Cmd::sh(script).within(&mounted.point).run().ok();
    assert_eq!(run.out, "runs\nscript\n");
    mounted.snapshot("tools");
    let run = Cmd::new(mounted.past("tools", "tool"))
        .arg("old")
        .run()
        .ok();
    assert_eq!(run.out, "old\n");
}

#[test]
fn block_size_tells_programs_to_write_in_big_pieces() {
    let sandbox = Sandbox::new("blksize");
    let mounted = sandbox.mount("");
    write(mounted.join("file"), "x");
    assert!(fs::metadata(mounted.join("file")).expect("stat").blksize() >= 128 << 10);
}

#[test]
fn writeback_mode_loses_nothing_that_was_closed() {
    twins("writeback", "writeback", |side| {
        let mut file = File::create(side.join("small-pieces")).expect("create");
        for n in 0..5_000 {
            writeln!(file, "line {n}").expect("write");
        }
        drop(file);
        let file = read_write(side, "random");
        for n in 0..500_u64 {
            file.write_all_at(&noise(n, 100), (n * 7_919) % 300_000)
                .expect("write");
        }
        file.sync_all().expect("fsync");
        drop(file);
        let mut log = OpenOptions::new()
            .append(true)
            .create(true)
            .open(side.join("log"))
            .expect("open");
        for n in 0..100 {
            writeln!(log, "{n}").expect("write");
        }
    });
}

#[test]
fn writeback_snapshot_holds_what_was_closed() {
    let sandbox = Sandbox::new("writeback-past");
    let mounted = sandbox.mount("writeback");
    write(mounted.join("file"), noise(1, 300_000));
    let mut open = File::create(mounted.join("still-open")).expect("create");
    open.write_all(&noise(2, 100_000)).expect("write");
    mounted.snapshot("now");
    open.write_all(b"later").expect("write");
    assert!(read(mounted.past("now", "file")) == noise(1, 300_000));
    // Found open through /proc by the flusher.
    assert!(read(mounted.past("now", "still-open")) == noise(2, 100_000));
}

#[test]
fn a_read_only_mount_takes_nothing() {
    let sandbox = Sandbox::new("ro");
    write(sandbox.work().join("file"), "content");
    let mounted = sandbox.mount_now("ro");
    assert_eq!(read(mounted.join("file")), b"content");
    let errors = [
        sys::errno(&fs::write(mounted.join("new"), "x")),
        sys::errno(&fs::write(mounted.join("file"), "x")),
        sys::errno(&fs::remove_file(mounted.join("file"))),
        sys::errno(&fs::create_dir(mounted.join("dir"))),
        sys::errno(&fs::rename(mounted.join("file"), mounted.join("f"))),
    ];
    assert_eq!(errors, [libc::EROFS; 5]);
    let mut bytes = Vec::new();
    let mut file = File::open(mounted.join("file")).expect("open");
    file.read_to_end(&mut bytes).expect("read");
    assert_eq!(bytes, b"content");
}

#[test]
fn without_history_it_only_passes_through() {
    twins("nohistory", "nohistory", |side| {
        write(side.join("file"), noise(1, 100_000));
        fs::rename(side.join("file"), side.join("file2")).expect("rename");
        let file = read_write(side, "file2");
        file.write_all_at(b"changed", 1_000).expect("write");
    });
}

#[test]
fn free_space_is_that_of_the_disk() {
    let sandbox = Sandbox::new("statfs");
    let plain = Cmd::new("stat")
        .args(["-f", "-c", "%S %b %c %l"])
        .arg(sandbox.work())
        .run()
        .ok();
    let mounted = sandbox.mount("");
    let ours = Cmd::new("stat")
        .args(["-f", "-c", "%S %b %c %l"])
        .arg(&mounted.point)
        .run()
        .ok();
    assert_eq!(plain.out, ours.out);
}
