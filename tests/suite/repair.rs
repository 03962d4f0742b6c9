//! Bits that flip on the disk of the store: `verify --repair` mends what the live files still have,
//! gives up what nothing has, and leaves everything else as it was; mounted and not.

use crate::harness::{Cmd, Mounted, Run, Sandbox, noise, text, wait_for, write};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

mod opening;

fn verify(dir: &Path, how: &str) -> Run {
    let words = how.split(' ').filter(|word| !word.is_empty());
    Cmd::rewindfs().arg("verify").arg(dir).args(words).run()
}

fn number(report: &Value, field: &str) -> u64 {
    let number = report[field].as_u64();
    number.unwrap_or_else(|| panic!("{field} in {report}"))
}

/// Two snapshots: of files that stay, of one that is changed, and of one that goes. What is recorded
/// first stands first in the database.
fn history(mounted: &Mounted) {
    write(mounted.join("stays"), noise(1, 3 << 20));
    mounted.sync();
    write(mounted.join("small"), "one");
    fs::create_dir(mounted.join("folder")).expect("a folder");
    write(mounted.join("folder/inner"), "inside");
    mounted.sync();
    write(mounted.join("goes"), noise(2, 1 << 20));
    mounted.snapshot("one");
    write(mounted.join("small"), "two");
    fs::remove_file(mounted.join("goes")).expect("removed");
    mounted.snapshot("two");
}

/// The files of the database, the largest first: chunks, then records.
fn files(sandbox: &Sandbox) -> Vec<PathBuf> {
    let entries = fs::read_dir(sandbox.store().join("rocks")).expect("the database");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "sst"))
        .collect();
    files.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).expect("there").len()));
    files
}

fn flip(file: &Path, at: u64) {
    let file = fs::File::options().read(true).write(true).open(file);
    let file = file.expect("a file of the database");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("a byte");
    file.write_all_at(&[byte[0] ^ 0x20], at).expect("written");
}

/// In `stays`, the first three quarters, and in `goes`, the last.
/// Damages the largest file of a store that is not in use.
pub fn damage_content(sandbox: &Sandbox) {
    let chunks = files(sandbox).swap_remove(0);
    let size = fs::metadata(&chunks).expect("there").len();
    for part in [2, 5, 14, 15] {
        flip(&chunks, size / 16 * part);
    }
}

fn all_but_what_nothing_has(mounted: &Mounted) {
    for (state, small) in [("one", "one"), ("two", "two")] {
        let read = fs::read(mounted.past(state, "stays")).expect("mended");
        assert!(read == noise(1, 3 << 20), "{state}");
        assert_eq!(text(mounted.past(state, "small")), small);
        assert_eq!(text(mounted.past(state, "folder/inner")), "inside");
    }
    assert!(!mounted.past("two", "goes").exists());
    let error = fs::read(mounted.past("one", "goes")).expect_err("given up");
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
    // What is recorded from now on is sound too, after the database has gone over its files.
    write(mounted.join("small"), "three");
    mounted.snapshot("three");
    assert_eq!(text(mounted.past("three", "small")), "three");
}

#[test]
fn content_is_mended_from_the_live_files_or_given_up_by_name() {
    let sandbox = Sandbox::new("repair");
    let mounted = sandbox.mount("interval=1h");
    history(&mounted);
    let dir = mounted.dir.clone();
    mounted.umount();
    // Opened once more, so that all lies in files, not in the log of the database.
    sandbox.mount("").umount();
    damage_content(&sandbox);
    verify(&dir, "--data")
        .exits(1)
        .says("stays: the content of a file can't be read");
    let run = verify(&dir, "--repair").exits(1);
    run.says("stays: mended: the content of a file can't be read; state")
        .says("goes: given up: the content of a file can't be read; state")
        .says("0 left");
    let report = verify(&dir, "--data --json").ok().json().remove(0);
    assert_eq!(number(&report, "problems"), 0, "{report}");
    let log = Cmd::rewindfs()
        .arg("list")
        .arg(&dir)
        .arg("--log")
        .run()
        .ok();
    log.says("repaired the store: ");
    let mounted = sandbox.mount("");
    all_but_what_nothing_has(&mounted);
    mounted.umount();
    verify(&dir, "--data").ok();
    Cmd::rewindfs().arg("prune").arg(&dir).run().ok();
    verify(&dir, "--data").ok();
}

#[test]
fn a_mounted_store_is_mended_too_and_its_database_when_it_is_unmounted() {
    let sandbox = Sandbox::new("repair-mounted");
    let mounted = sandbox.mount("interval=1h");
    history(&mounted);
    let dir = mounted.dir.clone();
    mounted.umount();
    sandbox.mount("").umount();
    damage_content(&sandbox);
    let mounted = sandbox.mount("");
    let run = verify(&dir, "--repair").exits(1);
    run.says("stays: mended: ").says("verify --repair");
    all_but_what_nothing_has(&mounted);
    mounted.umount();
    verify(&dir, "--repair");
    verify(&dir, "--data").ok();
}

#[test]
fn records_that_are_lost_are_found_again_by_others() {
    let sandbox = Sandbox::new("repair-records");
    let mounted = sandbox.mount("interval=1h");
    history(&mounted);
    let dir = mounted.dir.clone();
    mounted.umount();
    sandbox.mount("").umount();
    let copy = sandbox.join("copy");
    let store = sandbox.store();
    let replace = |from: &Path, to: &Path| {
        Cmd::new("rm").arg("-rf").arg(to).run().ok();
        Cmd::new("cp").arg("-a").arg(from).arg(to).run().ok();
    };
    replace(&store, &copy);
    let mut mended = 0;
    for n in 1..files(&sandbox).len() {
        replace(&copy, &store);
        flip(&files(&sandbox)[n], 40);
        // One that is needed for opening says so, and is put right by nobody but a copy.
        if verify(&dir, "").code != 1 {
            continue;
        }
        mended += 1;
        let run = verify(&dir, "--repair --json");
        let report = run.json().remove(0);
        assert_eq!(
            number(&report, "problems"),
            number(&report, "mended") + number(&report, "given_up")
        );
        let lost = number(&report, "given_up") > 0;
        assert_eq!(run.code, i32::from(lost), "{report}");
        verify(&dir, "--data").ok();
        // The names of snapshots may be what was lost.
        let mounted = sandbox.mount_now("");
        mounted.sync();
        assert!(fs::read(mounted.join("stays")).expect("live") == noise(1, 3 << 20));
        write(mounted.join("small"), "after");
        mounted.snapshot("after");
        assert_eq!(text(mounted.past("after", "small")), "after");
        assert!(fs::read(mounted.past("after", "stays")).expect("recorded") == noise(1, 3 << 20));
        mounted.umount();
        verify(&dir, "--data").ok();
    }
    assert!(mended > 5, "{mended} files of records were mended");
}

fn checked(dir: &Path) -> Value {
    let run = Cmd::rewindfs().arg("status").arg(dir).arg("--json").run();
    run.json().remove(0)["checked"].clone()
}

const SOON: &str = "scrub-every=1h,scrub-quiet=0s";

#[test]
fn the_background_check_ends_and_what_it_finds_needs_somebody() {
    let sandbox = Sandbox::new("scrub");
    let mounted = sandbox.mount_with("interval=1h", SOON);
    history(&mounted);
    let dir = mounted.dir.clone();
    wait_for("the background check", || !checked(&dir)["ended"].is_null());
    assert_eq!(number(&checked(&dir), "problems"), 0);
    let status = |dir: &Path| Cmd::rewindfs().arg("status").arg(dir).run();
    status(&dir).ok().says("no problem found");
    mounted.umount();
    sandbox.mount("").umount();
    assert!(
        !checked(&dir)["ended"].is_null(),
        "also when it is not mounted"
    );
    damage_content(&sandbox);
    let mounted = sandbox.mount_with("", "scrub-every=0s,scrub-quiet=0s");
    wait_for("the damage to be found", || {
        number(&checked(&dir), "problems") > 0
    });
    status(&dir).exits(1).says("the store is damaged");
    mounted.umount();
    verify(&dir, "--repair");
    let mounted = sandbox.mount("");
    assert_eq!(number(&checked(&dir), "problems"), 0);
    status(&dir).ok();
    drop(mounted);
}
