//! A database of which a file is missing or damaged, so that it does not open: every command says
//! which, and what to do; `verify --repair` goes on with what the other files hold.

use super::{files, history, noise, number, verify};
use crate::harness::{Cmd, Mounted, Sandbox, text, write};
use std::fs;
use std::path::{Path, PathBuf};

/// A history, and a copy of its store as it was when it was unmounted.
struct Closed {
    sandbox: Sandbox,
    dir: PathBuf,
    copy: PathBuf,
}

impl Closed {
    fn new(name: &str) -> Closed {
        let sandbox = Sandbox::new(name);
        let mounted = sandbox.mount("interval=1h");
        history(&mounted);
        let dir = mounted.dir.clone();
        mounted.umount().ok();
        // Once more, so that all lies in files, not in the log of the database.
        sandbox.mount("").umount().ok();
        let copy = sandbox.join("copy");
        let closed = Closed { sandbox, dir, copy };
        replace(&closed.sandbox.store(), &closed.copy);
        closed
    }

    fn put_back(&self) {
        replace(&self.copy, &self.sandbox.store());
    }

    fn file(&self, name: &str) -> PathBuf {
        self.sandbox.store().join("rocks").join(name)
    }

    fn manifest(&self) -> PathBuf {
        let named = text(self.file("CURRENT"));
        self.file(named.trim_end())
    }

    /// That everybody says it, in one line, and nothing is changed by that.
    fn is_told(&self, what: &str) {
        let repair = format!("rewindfs verify --repair {}", self.dir.display());
        let mount = Cmd::rewindfs().arg("mount").arg(&self.dir).run();
        let list = Cmd::rewindfs().arg("list").arg(&self.dir).run();
        for run in [verify(&self.dir, ""), mount, list] {
            let run = run.exits(2).says(what);
            assert_eq!(run.err.lines().count(), 1, "{}", run.err);
            assert!(run.err.ends_with(&format!("{repair}\n")), "{}", run.err);
            assert!(!run.err.contains("/proc/"), "{}", run.err);
        }
    }

    /// What is recorded from now on is sound, and nothing is left of the repair.
    fn goes_on(&self) -> Mounted {
        verify(&self.dir, "--data").ok();
        let mounted = self.sandbox.mount_now("");
        mounted.sync();
        assert!(fs::read(mounted.join("stays")).expect("live") == noise(1, 3 << 20));
        write(mounted.join("small"), "after");
        write(mounted.join("new"), noise(3, 100_000));
        mounted.snapshot("after");
        assert_eq!(text(mounted.past("after", "small")), "after");
        assert!(fs::read(mounted.past("after", "new")).expect("recorded") == noise(3, 100_000));
        assert!(fs::read(mounted.past("after", "stays")).expect("recorded") == noise(1, 3 << 20));
        for left in ["rocks.new", "rocks.old"] {
            assert!(!self.sandbox.store().join(left).exists(), "{left}");
        }
        mounted
    }

    fn ends_sound(&self, mounted: Mounted) {
        mounted.umount().ok();
        verify(&self.dir, "--data").ok();
    }
}

fn replace(from: &Path, to: &Path) {
    Cmd::new("rm").arg("-rf").arg(to).run().ok();
    Cmd::new("cp").arg("-a").arg(from).arg(to).run().ok();
}

fn name_of(file: &Path) -> &str {
    let name = file.file_name().and_then(|name| name.to_str());
    name.expect("a plain name")
}

#[test]
fn a_list_of_its_files_that_is_lost_is_made_anew_and_nothing_else_is_lost() {
    let closed = Closed::new("repair-list");
    let manifest = closed.manifest();
    let listed = name_of(&manifest).to_owned();
    let garbled = |file: &Path| {
        let mut bytes = fs::read(file).expect("read");
        let middle = bytes.len() / 2;
        bytes[middle / 2..middle].fill(0x77);
        bytes
    };
    let cases: [(&str, &Path, Option<Vec<u8>>); 5] = [
        ("is missing", &manifest, None),
        ("is damaged", &manifest, Some(garbled(&manifest))),
        ("is missing", &closed.file("CURRENT"), None),
        ("is damaged", &closed.file("CURRENT"), Some(Vec::new())),
        (
            "is damaged",
            &closed.file("CURRENT"),
            Some(b"MANIF".to_vec()),
        ),
    ];
    for (what, file, left) in cases {
        closed.put_back();
        fs::remove_file(file).expect("removed");
        if let Some(bytes) = left {
            write(file, bytes);
        }
        let name = name_of(file);
        assert!(name == "CURRENT" || name == listed);
        closed.is_told(&format!("the file rocks/{name} of its database {what}; "));
        let run = verify(&closed.dir, "--repair").ok();
        run.says(&format!(
            "mended: the file rocks/{name} of its database {what}"
        ))
        .says("1 problem, 1 mended, 0 given up, 0 left");
        let mounted = closed.goes_on();
        for (state, small) in [("one", "one"), ("two", "two")] {
            assert_eq!(text(mounted.past(state, "small")), small);
            assert_eq!(text(mounted.past(state, "folder/inner")), "inside");
            assert!(fs::read(mounted.past(state, "stays")).expect("there") == noise(1, 3 << 20));
        }
        assert!(fs::read(mounted.past("one", "goes")).expect("there") == noise(2, 1 << 20));
        assert!(!mounted.past("two", "goes").exists());
        closed.ends_sound(mounted);
    }
}

#[test]
fn of_a_file_of_records_that_is_lost_nothing_else_is_lost_with_it() {
    let closed = Closed::new("repair-file");
    let all = files(&closed.sandbox);
    let mut told = 0;
    for (n, file) in all.iter().enumerate() {
        closed.put_back();
        let bytes = fs::read(file).expect("read");
        let what = ["is missing", "is damaged", "is damaged"][n % 3];
        match n % 3 {
            0 => fs::remove_file(file).expect("removed"),
            1 => write(file, &bytes[..bytes.len() / 2]),
            _ => write(file, [&bytes[..bytes.len() - 60], &[7; 60]].concat()),
        }
        let name = name_of(file);
        // One that is not looked at when it is opened is found by reading.
        if verify(&closed.dir, "").code == 2 {
            told += 1;
            closed.is_told(&format!("the file rocks/{name} of its database {what}; "));
        }
        let run = verify(&closed.dir, "--repair --json");
        let report = run.exits(1).json().remove(0);
        assert!(number(&report, "given_up") > 0, "{report}");
        let problems = number(&report, "mended") + number(&report, "given_up");
        assert_eq!(number(&report, "problems"), problems, "{report}");
        let mounted = closed.goes_on();
        closed.ends_sound(mounted);
    }
    assert!(told > 5, "{told} of {} are needed for opening", all.len());
}

#[test]
fn where_nothing_can_be_repaired_a_new_history_is_begun_as_it_is_told() {
    let closed = Closed::new("repair-nothing");
    for file in files(&closed.sandbox) {
        fs::remove_file(file).expect("removed");
    }
    fs::remove_file(closed.manifest()).expect("removed");
    let run = verify(&closed.dir, "--repair").exits(2);
    let run = run.says("nothing of the database in ");
    let (_, told) = run.err.split_once("begin a new history: ").expect("how");
    let (aside, mount) = told.trim_end().split_once("; ").expect("two commands");
    Cmd::sh(aside).run().ok();
    let dir = closed.dir.display();
    assert_eq!(mount, format!("rewindfs mount {dir}"));
    let mounted = closed.sandbox.mount("");
    assert!(!mounted.past("one", "stays").exists());
    mounted.snapshot("anew");
    assert!(fs::read(mounted.past("anew", "stays")).expect("there") == noise(1, 3 << 20));
}
