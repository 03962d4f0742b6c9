//! A secret that leaked is removed from all of history: from every state, from what the kernel keeps,
//! and from the files of the store; what is on hold stays, and what else needs the same bytes.

use crate::harness::{Cmd, Mounted, Run, Sandbox, noise, text, wait_for, write};
use rewindfs::id::Hash;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn purge(path: &Path, words: &[&str]) -> Run {
    Cmd::rewindfs().arg("purge").arg(path).args(words).run()
}

fn command(dir: &Path, line: &str) -> Run {
    let mut words = line.split(' ');
    let name = words.next().expect("a command");
    Cmd::rewindfs().arg(name).arg(dir).args(words).run()
}

/// Whether any file of a folder holds these bytes.
fn holds(folder: &Path, needle: &[u8]) -> bool {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut paths = entries.map(|entry| entry.expect("an entry").path());
    paths.any(|path: PathBuf| {
        if path.is_dir() {
            return holds(&path, needle);
        }
        // Files of the database come and go.
        let Ok(bytes) = fs::read(&path) else {
            return false;
        };
        let begins = |at: &usize| bytes[*at] == needle[0] && bytes[*at..].starts_with(needle);
        (0..bytes.len()).any(|at| begins(&at))
    })
}

/// A secret in two versions, in a snapshot each, and gone in the third; beside it what stays.
fn history(mounted: &Mounted) {
    write(mounted.join("secret"), noise(1, 100_000));
    write(mounted.join("other"), noise(2, 100_000));
    mounted.snapshot("one");
    write(mounted.join("secret"), noise(3, 1 << 20));
    mounted.snapshot("two");
    fs::remove_file(mounted.join("secret")).expect("removed");
    mounted.snapshot("three");
}

fn is_gone(mounted: &Mounted, state: &str) {
    let error = fs::read(mounted.past(state, "secret")).expect_err("purged");
    assert_eq!(error.raw_os_error(), Some(libc::EIO), "{state}");
}

#[test]
fn a_secret_goes_from_every_state_and_from_the_files_of_the_store() {
    let sandbox = Sandbox::new("purge");
    let mounted = sandbox.mount("interval=1h");
    history(&mounted);
    let secret = mounted.join("secret");
    // The kernel keeps what was read.
    assert!(fs::read(mounted.past("one", "secret")).expect("read") == noise(1, 100_000));
    assert!(fs::read(mounted.past("two", "secret")).expect("read") == noise(3, 1 << 20));
    let needles = [&noise(1, 100_000)[..64], &noise(3, 1 << 20)[5000..5064]].map(<[u8]>::to_vec);
    for needle in &needles {
        assert!(holds(&sandbox.store(), needle), "it is stored as it is");
    }
    purge(&secret, &[]).exits(2).says("say --yes");
    let plan = purge(&secret, &["--dry-run"]).ok();
    plan.says("secret  97.6 KiB in 1 state,")
        .says("secret  1.0 MiB in 1 state,")
        .says("2 versions, ");
    assert!(fs::read(mounted.past("one", "secret")).expect("still there") == noise(1, 100_000));
    purge(&secret, &["--yes", "--reason", "it leaked"])
        .ok()
        .says("purged 2 versions; 1.0 MiB came free");
    is_gone(&mounted, "one");
    is_gone(&mounted, "two");
    for needle in &needles {
        wait_for("the bytes to go", || !holds(&sandbox.store(), needle));
    }
    assert!(fs::read(mounted.past("one", "other")).expect("kept") == noise(2, 100_000));
    command(&mounted.dir, "verify --data").ok();
    command(&mounted.dir, "list --log")
        .ok()
        .says("purged the content of 2 versions, 1.0 MiB: it leaked");
    purge(&secret, &["--yes"])
        .exits(1)
        .says("history holds nothing of it");
    let dir = mounted.dir.clone();
    mounted.umount();
    command(&dir, "verify --data").ok();
    let mounted = sandbox.mount("");
    is_gone(&mounted, "one");
    assert!(fs::read(mounted.past("two", "other")).expect("kept") == noise(2, 100_000));
    write(mounted.join("secret"), "another");
    mounted.snapshot("four");
    assert_eq!(text(mounted.past("four", "secret")), "another");
}

#[test]
fn what_is_on_hold_stays_until_the_hold_ends() {
    let sandbox = Sandbox::new("purge-hold");
    let mounted = sandbox.mount("interval=1h");
    history(&mounted);
    let secret = mounted.join("secret");
    command(&mounted.dir, "hold two --until 30d").ok();
    for words in [&["--dry-run"][..], &["--yes"]] {
        purge(&secret, words).exits(2).says("two is held until");
    }
    assert!(fs::read(mounted.past("one", "secret")).expect("kept") == noise(1, 100_000));
    command(&mounted.dir, "hold one").ok();
    command(&mounted.dir, "release one --reason enough").ok();
    command(&mounted.dir, "list --log")
        .ok()
        .says("released one: enough");
    command(&mounted.dir, "release two").exits(2);
    let dir = mounted.dir.clone();
    mounted.umount();
    purge(&dir.join("secret"), &["--yes"])
        .exits(2)
        .says("two is held until");
    // A version that no state on hold shows goes by its hash.
    let hash = Hash::of(&noise(1, 100_000)).to_hex();
    purge(&dir, &["--hash", &hash, "--yes"])
        .ok()
        .says("purged 1 version");
    command(&dir, "verify --data").ok();
    let mounted = sandbox.mount("");
    is_gone(&mounted, "one");
    assert!(fs::read(mounted.past("two", "secret")).expect("held") == noise(3, 1 << 20));
}

#[test]
fn bytes_that_other_files_hold_too_stay_and_are_named_and_go_by_their_hash() {
    let sandbox = Sandbox::new("purge-shared");
    let mounted = sandbox.mount("interval=1h");
    history(&mounted);
    write(mounted.join("copy"), noise(3, 1 << 20));
    mounted.snapshot("copied");
    purge(&mounted.join("secret"), &["--yes"])
        .exits(1)
        .says("stay, since other content needs them: copy");
    is_gone(&mounted, "two");
    assert!(fs::read(mounted.past("copied", "copy")).expect("kept") == noise(3, 1 << 20));
    let hash = Hash::of(&noise(3, 1 << 20)).to_hex();
    purge(&mounted.dir, &["--hash", "5", "--yes"])
        .exits(2)
        .says("64 hexadecimal digits");
    let run = purge(&mounted.dir, &["--hash", &hash, "--yes"]).ok();
    run.says("copy is there now and stays")
        .says("purged 1 version");
    let error = fs::read(mounted.past("copied", "copy")).expect_err("purged");
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
    assert!(fs::read(mounted.join("copy")).expect("live") == noise(3, 1 << 20));
    command(&mounted.dir, "verify --data").ok();
}

#[test]
fn a_name_means_what_stood_there_while_it_stood_there() {
    let sandbox = Sandbox::new("purge-names");
    let mounted = sandbox.mount("interval=1h");
    fs::create_dir(mounted.join("a")).expect("made");
    write(mounted.join("a/file"), "in a");
    mounted.snapshot("one");
    fs::rename(mounted.join("a"), mounted.join("b")).expect("renamed");
    write(mounted.join("b/later"), "only in b");
    fs::create_dir(mounted.join("a")).expect("made");
    mounted.snapshot("two");
    purge(&mounted.join("a"), &["--yes"])
        .exits(2)
        .says("was a folder");
    purge(&mounted.join("a/later"), &["--yes"])
        .exits(2)
        .says("never held");
    purge(&mounted.join("a/file"), &["--yes"])
        .ok()
        .says("in 2 states");
    assert!(fs::read(mounted.past("two", "b/file")).is_err());
    assert_eq!(text(mounted.past("two", "b/later")), "only in b");
}

#[test]
fn a_mode_that_is_changed_brings_nothing_back_and_new_content_is_recorded() {
    let sandbox = Sandbox::new("purge-live");
    let mounted = sandbox.mount("interval=1h");
    let secret = mounted.join("secret");
    write(&secret, noise(1, 100_000));
    write(mounted.join("long"), noise(2, 3 << 20));
    mounted.snapshot("one");
    for name in ["secret", "long"] {
        purge(&mounted.join(name), &["--yes"])
            .ok()
            .says("is there now and stays");
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(mounted.join(name), mode).expect("changed");
    }
    mounted.snapshot("two");
    for name in ["secret", "long"] {
        let past = mounted.past("two", name);
        let mode = fs::metadata(&past).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
        let error = fs::read(&past).expect_err("not brought back");
        assert_eq!(error.raw_os_error(), Some(libc::EIO), "{name}");
    }
    let status = command(&mounted.dir, "status --json").ok().json().remove(0);
    // Nor did history stop for want of what was purged.
    assert_eq!(status["left_out"]["unrecorded"], serde_json::json!([]));
    command(&mounted.dir, "verify --data").ok();
    wait_for("the bytes to go", || {
        !holds(&sandbox.store(), &noise(1, 100_000)[..64])
    });
    let file = fs::File::options().append(true).open(mounted.join("long"));
    std::io::Write::write_all(&mut file.expect("opened"), b"more").expect("written");
    write(&secret, "another");
    mounted.snapshot("three");
    assert_eq!(text(mounted.past("three", "secret")), "another");
    let long = fs::read(mounted.past("three", "long")).expect("recorded again");
    assert!(long[..3 << 20] == noise(2, 3 << 20) && long.ends_with(b"more"));
    command(&mounted.dir, "verify --data").ok();
    let dir = mounted.dir.clone();
    mounted.umount();
    // The next mount finds nothing to record again either.
    let mounted = sandbox.mount("");
    mounted.snapshot("four");
    is_gone(&mounted, "two");
    command(&dir, "verify --data").ok();
}

#[test]
fn a_symlink_is_not_said_to_be_gone() {
    let sandbox = Sandbox::new("purge-link");
    let mounted = sandbox.mount("interval=1h");
    std::os::unix::fs::symlink("the secret", mounted.join("link")).expect("made");
    mounted.snapshot("one");
    purge(&mounted.join("link"), &["--yes"])
        .exits(2)
        .says("was a symlink");
}

#[test]
fn a_file_whose_mode_is_changed_all_the_time_is_purged_as_a_whole() {
    let sandbox = Sandbox::new("purge-busy");
    let mounted = sandbox.mount("");
    let secret = mounted.join("secret");
    write(&secret, noise(1, 300_000));
    mounted.snapshot("one");
    let ends = Arc::new(AtomicBool::new(false));
    let busy = std::thread::spawn({
        let (ends, secret) = (Arc::clone(&ends), secret.clone());
        move || {
            for n in 0.. {
                let mode = fs::Permissions::from_mode(0o600 + n % 8);
                fs::set_permissions(&secret, mode).expect("changed");
                if ends.load(Ordering::Relaxed) {
                    return;
                }
            }
        }
    });
    for n in 0..5 {
        mounted.snapshot(&format!("while-{n}"));
    }
    purge(&secret, &["--yes"]).ok();
    mounted.snapshot("after");
    ends.store(true, Ordering::Relaxed);
    busy.join().expect("who changes it");
    mounted.snapshot("at-rest");
    let states = ["one", "while-0", "while-4", "after", "at-rest"];
    for state in states {
        is_gone(&mounted, state);
    }
    wait_for("the bytes to go", || {
        !holds(&sandbox.store(), &noise(1, 300_000)[..64])
    });
    command(&mounted.dir, "verify --data").ok();
    command(&mounted.dir, "status").ok();
}
