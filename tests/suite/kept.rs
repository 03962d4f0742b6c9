//! Stores of every format that was ever written, kept in `tests/stores/`: the program of today
//! must open each, list it, show all that is in it, find it sound, and go on with it.
//! `tests/stores/make.sh` makes one when the format gets a new number.

use crate::harness::compare::{Entry, Tree};
use crate::harness::{Cmd, Mounted, Sandbox, golden};
use rewindfs::store::{Store, StoreOptions};
use std::path::{Path, PathBuf};

fn stores() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stores")
}

/// The formats of which a store is kept.
fn kept() -> Vec<u32> {
    let mut numbers: Vec<u32> = std::fs::read_dir(stores())
        .expect("kept stores")
        .filter_map(|entry| {
            let name = entry.expect("an entry").file_name();
            let name = name.into_string().expect("a plain name");
            let number = name.strip_prefix("format-")?.strip_suffix(".tar.gz")?;
            Some(number.parse().expect("a number"))
        })
        .collect();
    numbers.sort_unstable();
    numbers
}

/// A copy of a kept store, to be opened.
fn copy_of(number: u32, sandbox: &Sandbox) -> PathBuf {
    Cmd::new("tar")
        .arg("-xzf")
        .arg(stores().join(format!("format-{number}.tar.gz")))
        .arg("-C")
        .arg(sandbox.path())
        .run()
        .ok();
    sandbox.join("store")
}

fn format_line(store: &Path) -> String {
    std::fs::read_to_string(store.join("format")).expect("a format")
}

/// Everything of an entry in one line.
fn line(name: &[u8], entry: &Entry) -> String {
    let escaped = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let mut line = format!(
        "{:?} {} {:o} {}:{} links {} rdev {} size {} mtime {:?} ctime {:?}",
        escaped(name),
        entry.kind,
        entry.mode,
        entry.uid,
        entry.gid,
        entry.nlink,
        entry.rdev,
        entry.size,
        entry.mtime,
        entry.ctime
    );
    if let Some(content) = &entry.content {
        line += &format!(" content {content} data {:?}", entry.data);
    }
    if let Some(target) = &entry.target {
        line += &format!(" -> {}", escaped(target));
    }
    for (name, value) in &entry.xattrs {
        line += &format!(" {}={}", escaped(name), escaped(value));
    }
    if let Some(same) = &entry.same_as {
        line += &format!(" same as {:?}", escaped(same));
    }
    line
}

#[test]
fn every_kept_store_opens_and_holds_what_it_held() {
    for number in kept() {
        let sandbox = Sandbox::new(&format!("kept-{number}"));
        let store = copy_of(number, &sandbox);
        assert_eq!(format_line(&store), format!("rewindfs store {number}\n"));
        let opened = Store::open(&store, StoreOptions::default()).expect("it opens");
        let report = opened.verify(&|_| true).expect("it can be verified");
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        drop(opened);
        // The directory that it was of is gone: another takes its place.
        Cmd::rewindfs()
            .arg("mount")
            .arg(sandbox.work())
            .args(["--adopt", "--store"])
            .arg(&store)
            .run()
            .ok();
        let mounted = Mounted::found(sandbox.work(), sandbox.work());
        mounted.sync();
        let mut text = String::new();
        for record in mounted.command("list").arg("--json").run().ok().json() {
            let field = |name: &str| record[name].as_str().unwrap_or("").to_string();
            let name = field("name");
            text += &format!("# {name}: {} {}\n", field("mode"), field("message"));
            for (path, entry) in Tree::read(&mounted.past(&name, "")).entries {
                text += &format!("{}\n", line(&path, &entry));
            }
        }
        // Who did it is told, also of programs that did not record command lines yet.
        for command in ["log", "undo"] {
            let told = mounted.command(command).arg("--json").run().ok().json();
            let name = |line: &serde_json::Value| line["who"]["name"].as_str().map(str::to_owned);
            let names: Vec<String> = told.iter().filter_map(name).collect();
            let rm = names.iter().any(|name| name == "rm");
            assert!(rm, "{command}: {names:?}");
        }
        let recorded = mounted.checkpoints().len();
        text += &format!("# {recorded} states\n");
        golden(&format!("kept-{number}.txt"), &text);
        // It goes on: what is made now stands beside what was.
        std::fs::write(mounted.join("new"), "today").expect("write");
        mounted.snapshot("today");
        let read = std::fs::read_to_string(mounted.past("today", "new"));
        assert_eq!(read.expect("read"), "today");
        mounted.umount();
        assert_eq!(format_line(&store), format!("rewindfs store {number}\n"));
        let opened = Store::open(&store, StoreOptions::default()).expect("it opens");
        let report = opened.verify(&|_| true).expect("it can be verified");
        assert!(report.problems.is_empty(), "{:?}", report.problems);
    }
}

#[test]
fn the_format_that_is_written_today_is_kept() {
    let sandbox = Sandbox::new("format-of-today");
    sandbox.mount("").umount();
    let line = format_line(&sandbox.store());
    let number = line.trim_end().rsplit(' ').next().expect("a number");
    let number: u32 = number.parse().expect("a number");
    assert_eq!(
        kept(),
        (1..=number).collect::<Vec<u32>>(),
        "a store of each format up to {number} must be kept: tests/stores/make.sh PROGRAM"
    );
}
