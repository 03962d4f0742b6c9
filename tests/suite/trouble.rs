//! A store in trouble, and files that can't be recorded: the live tree goes on, what is missing is
//! named everywhere, and history goes on by itself. (Failures at every step of a commit, and a
//! store that does not answer: `fs::live::troubled_store`.)

use crate::harness::loopfs::LoopFs;
use crate::harness::mount::{Mounted, names};
use crate::harness::run::wait_for_at_most;
use crate::harness::{Cmd, Sandbox, noise, read, sys, text, wait_for, write};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// More room than any disk has free: history stops at once.
const NO_ROOM: &str = "min-free=900000G";

/// Bytes of a file that can't be read.
const BAD_BYTES: usize = 64 << 10;

/// `mount DIR ARGS`, and what it said.
pub fn mount_at(dir: &Path, args: &[&str]) -> (String, Mounted) {
    let run = Cmd::rewindfs().arg("mount").arg(dir).args(args).run().ok();
    (run.err, Mounted::found(dir.to_owned(), dir.to_owned()))
}

/// The report of `status`, whatever its exit code.
pub fn status(mounted: &Mounted) -> Value {
    let run = mounted.command("status").arg("--json").run();
    let report = run.json().remove(0);
    let problems = report["problems"].as_array().map_or(0, Vec::len);
    assert_eq!(run.code, i32::from(problems > 0), "{report}");
    report
}

/// Whether nothing is being recorded, by what `status` says.
pub fn is_stopped(report: &Value) -> bool {
    let problems = report["problems"].as_array().expect("a list");
    let mut words = problems.iter().filter_map(Value::as_str);
    words.any(|words| words.starts_with("nothing is recorded since"))
}

/// The names of times without history in `.checkpoints`.
pub fn not_recorded(mounted: &Mounted) -> Vec<PathBuf> {
    let all = mounted.point.join(".snapshots/.checkpoints");
    let mut found = Vec::new();
    for day in names(&all) {
        for name in names(&all.join(&day)) {
            if name.ends_with(".not-recorded") {
                found.push(all.join(&day).join(name));
            }
        }
    }
    found
}

#[test]
fn a_time_without_history_is_told_everywhere_also_by_who_died_in_it() {
    let sandbox = Sandbox::new("gap");
    write(sandbox.work().join("file"), "before");
    sandbox.mount("").umount();
    let (_, mounted) = mount_at(&sandbox.work(), &["-o", NO_ROOM]);
    wait_for("the stop", || is_stopped(&status(&mounted)));
    write(mounted.join("file"), "during");
    write(mounted.join("new"), "during");
    let refused = fs::create_dir(mounted.past("refused", ""));
    assert_eq!(sys::errno(&refused), libc::EAGAIN);
    let lasting = mounted.command("status").run().exits(1);
    lasting
        .says("needs you     nothing is recorded since")
        .says("the disk is almost full");
    mounted
        .command("list")
        .run()
        .ok()
        .says("not recorded until now: the disk is almost full");
    let link = not_recorded(&mounted).remove(0);
    let says = fs::read_link(&link).expect("a link");
    assert_eq!(
        says.to_string_lossy(),
        "nothing is recorded: the disk is almost full"
    );
    // Noted in the folder, since the database may be what can't be written.
    let stopped = sandbox.store().join("stopped");
    wait_for("the note", || read(&stopped).first() != Some(&0));
    mounted.kill();

    let mounted = sandbox.mount("");
    let report = status(&mounted);
    assert!(!is_stopped(&report), "{report}");
    let stretch = &report["left_out"]["unrecorded"][0];
    assert_eq!(stretch["reason"], "the disk is almost full");
    let (from, to) = (&stretch["from"], &stretch["to"]);
    let (from, to) = (from.as_str().expect("a time"), to.as_str().expect("a time"));
    let past = mounted.command("status").run().exits(1);
    past.says("needs you     nothing was recorded from");
    let listed = mounted
        .command("list")
        .args(["--checkpoints", "--json"])
        .run();
    let unrecorded = listed.json().into_iter();
    let unrecorded: Vec<Value> = unrecorded
        .filter(|line| line["kind"] == "unrecorded")
        .collect();
    assert_eq!(unrecorded.len(), 1, "{unrecorded:?}");
    assert_eq!(unrecorded[0]["unrecorded"]["to"], to);
    // A time in it answers with the state before it.
    let within = from.replace('Z', "");
    let (second, digits) = within.split_once('.').expect("nine digits");
    let later = digits.parse::<u64>().expect("digits") + 1;
    let within = format!("@{second}.{later:09}Z");
    assert_eq!(text(mounted.past(&within, "file")), "before");
    let file = mounted.join("file");
    let cat = Cmd::rewindfs().arg("cat").arg(&file);
    let cat = cat.args(["--at", &within]).run().ok();
    assert_eq!(cat.out, "before");
    assert!(
        cat.err.starts_with("rewindfs: nothing was recorded from ")
            && cat
                .err
                .contains("(the disk is almost full); this is the state before"),
        "{}",
        cat.err
    );
    // What happened in it was found.
    mounted.snapshot("after");
    assert_eq!(text(mounted.past("after", "file")), "during");
    assert_eq!(text(mounted.past("after", "new")), "during");
    let links = not_recorded(&mounted);
    assert_eq!(links.len(), 1, "{links:?}");
    let says = fs::read_link(&links[0]).expect("a link");
    assert!(
        says.to_string_lossy()
            .starts_with("nothing was recorded until")
    );
}

#[test]
fn a_store_whose_disk_becomes_read_only_stops_history_alone() {
    let sandbox = Sandbox::new("store-ro");
    let options = "loop,errors=remount-ro";
    let disk = LoopFs::with_mount_options(&sandbox, "disk", "ext4", 256, &[], options);
    let store = disk.path().join("store");
    let store = store.to_str().expect("text");
    let (_, mounted) = mount_at(&sandbox.work(), &["--store", store]);
    mounted.settled();
    let device = Cmd::new("findmnt").args(["-no", "SOURCE"]).arg(disk.path());
    let device = device.run().ok().out.trim().replace("/dev/", "");
    let trigger = format!("/sys/fs/ext4/{device}/trigger_fs_error");
    fs::write(&trigger, "1").unwrap_or_else(|error| panic!("{trigger}: {error}"));
    for n in 0..20 {
        write(mounted.join("file"), format!("round {n}"));
    }
    let refused = fs::create_dir(mounted.past("refused", ""));
    assert_eq!(sys::errno(&refused), libc::EAGAIN);
    let report = status(&mounted);
    assert!(is_stopped(&report), "{report}");
    let reason = report["left_out"]["unrecorded"][0]["reason"].as_str();
    assert_eq!(reason, Some("the disk of the store is read-only"));
    assert_eq!(text(mounted.join("file")), "round 19");
    fs::remove_file(mounted.join("file")).expect("rm");
    mounted.umount();
}

/// What stands on a subvolume of btrfs can be made read-only while it is in use, and writable again.
#[test]
fn a_disk_that_becomes_writable_again_is_gone_on_with_also_by_the_next() {
    let sandbox = Sandbox::new("store-rw");
    let disk = LoopFs::new(&sandbox, "disk", "btrfs", 512, &[]);
    let volume = disk.path().join("volume");
    let make = Cmd::new("btrfs").args(["subvolume", "create"]);
    make.arg(&volume).run().ok();
    let read_only = |set: bool| {
        let property = Cmd::new("btrfs").args(["property", "set"]).arg(&volume);
        property
            .args(["ro", if set { "true" } else { "false" }])
            .run()
            .ok();
    };
    let store = volume.join("store");
    let store = store.to_str().expect("text").to_owned();
    let (_, mounted) = mount_at(
        &sandbox.work(),
        &["--store", &store, "-o", "interval=100ms"],
    );
    mounted.settled();
    write(mounted.join("file"), "before");
    mounted.sync();
    // What is written makes new files of the database, which are refused.
    let stop = |mounted: &Mounted| {
        read_only(true);
        let mut round = 0;
        wait_for("the stop", || {
            round += 1;
            write(mounted.join("noise"), noise(round, 9 << 20));
            is_stopped(&status(mounted))
        });
        let report = status(mounted);
        let all = report["left_out"]["unrecorded"].as_array().expect("a list");
        let reason = &all.last().expect("the time")["reason"];
        assert_eq!(reason, "the disk of the store is read-only");
        write(mounted.join("during"), noise(round, 1000));
        read(mounted.join("during"))
    };
    let during = stop(&mounted);
    mounted.kill();
    read_only(false);

    // Nobody could note that anything had stopped.
    let (_, mounted) = mount_at(
        &sandbox.work(),
        &["--store", &store, "-o", "interval=100ms"],
    );
    mounted.settled();
    assert_eq!(not_recorded(&mounted).len(), 1);
    let says = mounted.command("status").run().exits(1);
    says.says("needs you     nothing was recorded from")
        .says("rewindfs ended without an unmount");
    let report = status(&mounted);
    assert!(!is_stopped(&report), "{report}");
    let stretch = &report["left_out"]["unrecorded"][0];
    let from = stretch["from"].as_str().expect("a time").replace('Z', "");
    let (second, digits) = from.split_once('.').expect("nine digits");
    let later = digits.parse::<u64>().expect("digits") + 1;
    let within = format!("@{second}.{later:09}Z");
    assert_eq!(text(mounted.past(&within, "file")), "before");
    mounted.snapshot("found");
    assert_eq!(read(mounted.past("found", "during")), during);

    let during = stop(&mounted);
    let refused = fs::create_dir(mounted.past("refused", ""));
    assert_eq!(sys::errno(&refused), libc::EAGAIN);
    read_only(false);
    wait_for_at_most("history to go on", Duration::from_secs(90), || {
        !is_stopped(&status(&mounted))
    });
    mounted.sync();
    mounted.snapshot("again");
    assert_eq!(read(mounted.past("again", "during")), during);
    assert_eq!(not_recorded(&mounted).len(), 2);
    let listed = mounted.command("list").run().ok();
    listed.says("the disk of the store is read-only");
    mounted.umount();
}

#[test]
fn files_of_the_store_that_are_cut_off_or_gone_harm_no_live_file() {
    for delete in [false, true] {
        let sandbox = Sandbox::new("store-damage");
        for n in 0..40 {
            write(sandbox.work().join(format!("f{n}")), noise(n, 20_000));
        }
        sandbox.mount("").umount();
        let mounted = sandbox.mount("interval=100ms");
        let tables: Vec<PathBuf> = names(&sandbox.store().join("rocks"))
            .into_iter()
            .filter(|name| name.ends_with(".sst"))
            .map(|name| sandbox.store().join("rocks").join(name))
            .collect();
        assert!(!tables.is_empty(), "nothing to damage");
        for table in &tables {
            if delete {
                fs::remove_file(table).expect("rm");
            } else {
                let file = fs::OpenOptions::new().write(true).open(table);
                file.expect("open").set_len(100).expect("cut off");
            }
        }
        for n in 0..40 {
            write(mounted.join(&format!("f{n}")), noise(n + 100, 10_000));
            fs::rename(
                mounted.join(&format!("f{n}")),
                mounted.join(&format!("g{n}")),
            )
            .expect("mv");
        }
        // Recorded, or not for that reason.
        if mounted.command("sync").run().code != 0 {
            let report = status(&mounted);
            assert!(is_stopped(&report), "{report}");
            let reason = &report["left_out"]["unrecorded"][0]["reason"];
            assert_eq!(reason, "the store is damaged", "{report}");
        }
        for n in 0..40 {
            assert_eq!(read(mounted.join(&format!("g{n}"))), noise(n + 100, 10_000));
        }
        mounted.umount();
        let again = Cmd::rewindfs().arg("mount").arg(sandbox.work()).run();
        assert_ne!(again.code, 0, "a damaged store was mounted");
        assert_eq!(again.err.lines().count(), 1, "{}", again.err);
        assert_eq!(read(sandbox.work().join("g7")), noise(107, 10_000));
    }
}

/// A disk with a directory `work`, in which `bad` can't be read, and `good` can.
pub fn bad_disk(sandbox: &Sandbox) -> LoopFs {
    let mark = noise(77, BAD_BYTES);
    {
        let disk = LoopFs::new(
            sandbox,
            "disk",
            "btrfs",
            256,
            &["-m", "single", "-d", "single"],
        );
        fs::create_dir(disk.path().join("work")).expect("mkdir");
        write(disk.path().join("work/bad"), &mark);
        write(disk.path().join("work/good"), "good");
    }
    let image = sandbox.join("disk.image");
    // Another test may have a copy of the mount for a moment.
    wait_for("the disk to be free", || {
        let users = Cmd::new("losetup").arg("-j").arg(&image).run();
        users.out.trim().is_empty()
    });
    // Its checksums tell that a block is not what was written.
    let bytes = read(&image);
    let at = bytes
        .windows(64)
        .position(|window| window == &mark[4096..4160])
        .expect("the file is in the image");
    drop(bytes);
    let file = fs::OpenOptions::new()
        .write(true)
        .open(&image)
        .expect("the image");
    std::os::unix::fs::FileExt::write_all_at(&file, &[0; 64], at as u64).expect("damaged");
    drop(file);
    let disk = LoopFs::of_image(sandbox, "disk", "btrfs", "loop");
    let unread = fs::read(disk.path().join("work/bad"));
    assert_eq!(sys::errno(&unread), libc::EIO);
    disk
}

#[test]
fn a_file_that_its_disk_can_not_read_is_left_out_alone() {
    let sandbox = Sandbox::new("eio");
    let disk = bad_disk(&sandbox);
    let work = disk.path().join("work");
    let store = sandbox.join("store");
    let (_, mounted) = mount_at(&work, &["--store", store.to_str().expect("text")]);
    mounted.settled();
    assert_eq!(text(mounted.past("first", "good")), "good");
    let meta = fs::metadata(mounted.past("first", "bad")).expect("its attributes are there");
    assert_eq!(meta.len(), BAD_BYTES as u64);
    assert_eq!(
        sys::errno(&fs::read(mounted.past("first", "bad"))),
        libc::EIO
    );
    let report = status(&mounted);
    assert!(!is_stopped(&report), "{report}");
    let unreadable = &report["left_out"]["unreadable"];
    assert_eq!(unreadable[0]["path"], "bad");
    assert_eq!(unreadable.as_array().map(Vec::len), Some(1));
    // Written anew it is a file like any other.
    write(mounted.join("bad"), "mended");
    mounted.snapshot("mended");
    assert_eq!(text(mounted.past("mended", "bad")), "mended");
    mounted.umount();
}
