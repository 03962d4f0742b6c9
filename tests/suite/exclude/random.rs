//! Random work while rules about what is left out come and go. Each snapshot is compared whole with
//! what lies on the disk at that moment, without what the rules of that moment leave out: a folder that
//! is left out is an empty folder, a file is not there. Which rule means what is said here once more,
//! without the program's matcher.

use super::policy;
use crate::harness::{Cmd, Mounted, Sandbox, noise, sized};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const OPERATIONS: usize = 300;
const SNAPSHOT_EVERY: usize = 20;
const NAMES: [&str; 6] = ["a", "b", "out", "f", "x.o", "g"];

/// A pattern, and whether it leaves out what stands at a path.
type Rule = (&'static str, fn(&str, bool) -> bool);

const RULES: [Rule; 4] = [
    ("/out/", |path, is_dir| is_dir && path == "out"),
    ("b/", |path, is_dir| is_dir && name_of(path) == "b"),
    ("*.o", |path, _| path.ends_with(".o")),
    // What a folder's place decides about what is in it.
    ("/*/f", |path, _| {
        path.matches('/').count() == 1 && name_of(path) == "f"
    }),
];

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// By path: kind and mode of a folder, content of a file.
type State = BTreeMap<String, (u32, Option<blake3::Hash>)>;

/// What lies in a folder, without what these rules leave out.
fn read_state(root: &Path, path: &str, rules: &[Rule], into: &mut State) {
    let mut entries: Vec<_> = fs::read_dir(root.join(path))
        .expect("a folder")
        .map(|entry| entry.expect("an entry"))
        .collect();
    entries.retain(|entry| entry.file_name() != ".snapshots");
    for entry in entries {
        let name = entry.file_name().into_string().expect("our name");
        let below = format!("{path}/{name}").trim_start_matches('/').to_owned();
        let meta = entry.metadata().expect("its attributes");
        let is_out = rules
            .iter()
            .any(|(_, is_out)| is_out(&below, meta.is_dir()));
        let mode = meta.permissions().mode();
        if meta.is_dir() {
            into.insert(below.clone(), (mode, None));
            if !is_out {
                read_state(root, &below, rules, into);
            }
        } else if !is_out {
            let content = fs::read(entry.path()).expect("readable");
            into.insert(below, (mode, Some(blake3::hash(&content))));
        }
    }
}

fn state(root: &Path, rules: &[Rule]) -> State {
    let mut state = State::new();
    read_state(root, "", rules, &mut state);
    state
}

struct Work {
    rng: StdRng,
    root: PathBuf,
    fresh: u64,
    log: Vec<String>,
}

impl Work {
    fn path(&mut self) -> PathBuf {
        let mut path = self.root.clone();
        for _ in 0..self.rng.random_range(1..=3) {
            path.push(NAMES.choose(&mut self.rng).expect("names"));
        }
        path
    }

    /// A path that is there, if anything is.
    fn existing(&mut self) -> PathBuf {
        let mut path = self.root.clone();
        for _ in 0..self.rng.random_range(1..=3) {
            let listing = fs::read_dir(&path).into_iter().flatten().flatten();
            let mut names: Vec<_> = listing.map(|entry| entry.file_name()).collect();
            names.sort();
            match names.choose(&mut self.rng) {
                Some(name) => path.push(name),
                None => break,
            }
        }
        match path == self.root {
            true => self.path(),
            false => path,
        }
    }

    /// Errors are part of the game: the disk is the truth.
    fn operation(&mut self) {
        let (path, other) = match self.rng.random_bool(0.5) {
            true => (self.existing(), self.path()),
            false => (self.path(), self.path()),
        };
        self.fresh += 1;
        let bytes = noise(self.fresh, self.rng.random_range(0..9000));
        let kind = self.rng.random_range(0..20);
        let result: io::Result<()> = match kind {
            0..4 => fs::create_dir_all(&path),
            4..9 => fs::write(&path, bytes),
            9..15 => fs::rename(&path, &other),
            15 => fs::hard_link(&path, &other),
            16 | 17 => fs::remove_file(&path),
            18 => fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path)),
            _ => fs::metadata(&path).and_then(|meta| {
                let mode = meta.permissions().mode() ^ 0o022;
                fs::set_permissions(&path, PermissionsExt::from_mode(mode))
            }),
        };
        if result.is_ok() {
            let shown = |path: &Path| path.strip_prefix(&self.root).expect("ours").to_owned();
            let line = format!("{kind} {:?} {:?}", shown(&path), shown(&other));
            self.log.push(line);
        }
    }
}

fn compare(mounted: &Mounted, name: &str, expected: &State, log: &[String]) {
    let found = state(&mounted.past(name, ""), &[]);
    if found != *expected {
        let of = |state: &State, other: &State| -> Vec<String> {
            let only = state
                .iter()
                .filter(|(path, one)| other.get(*path) != Some(one));
            only.map(|(path, one)| format!("{path} {one:?}")).collect()
        };
        panic!(
            "{name}\nexpected {:#?}\nfound {:#?}\nafter\n  {}",
            of(expected, &found),
            of(&found, expected),
            log[log.len().saturating_sub(40)..].join("\n  ")
        );
    }
}

fn run(seed: u64) {
    println!("seed {seed}");
    let sandbox = Sandbox::new(&format!("exclude-random-{seed}"));
    let interval = if seed.is_multiple_of(2) {
        "1h"
    } else {
        "150ms"
    };
    let options = format!("interval={interval},settle=20ms");
    let mut mounted = sandbox.mount_beside(&options);
    let mut work = Work {
        rng: StdRng::seed_from_u64(seed),
        root: mounted.point.clone(),
        fresh: seed << 32,
        log: Vec::new(),
    };
    let mut rules: Vec<Rule> = Vec::new();
    let mut states: Vec<(String, State)> = Vec::new();
    for n in 1..=OPERATIONS {
        work.operation();
        if work.rng.random_ratio(1, 15) {
            let rule = *RULES.choose(&mut work.rng).expect("rules");
            let known = rules.iter().position(|(pattern, _)| *pattern == rule.0);
            let word = match known {
                Some(at) => {
                    rules.remove(at);
                    "--no-exclude"
                }
                None => {
                    rules.push(rule);
                    "--exclude"
                }
            };
            work.log.push(format!("{word} {}", rule.0));
            policy(&mounted.dir, &[word, rule.0]).ok();
        }
        if n.is_multiple_of(SNAPSHOT_EVERY) {
            // A folder that crosses while a scan is under way is recorded by the next one.
            mounted.sync();
            let name = format!("s{n}");
            mounted.snapshot(&name);
            let expected = state(&sandbox.work(), &rules);
            compare(&mounted, &name, &expected, &work.log);
            work.log.push(format!("snapshot {name}"));
            states.push((name, expected));
        }
        if n == OPERATIONS / 2 {
            mounted.umount().ok();
            work.root = sandbox.work();
            for _ in 0..20 {
                work.operation();
            }
            work.log.push("mounted".to_owned());
            mounted = sandbox.mount_beside(&options);
            work.root = mounted.point.clone();
        }
    }
    for (name, expected) in &states {
        compare(&mounted, name, expected, &work.log);
    }
    let verify = Cmd::rewindfs().arg("verify").arg(&mounted.dir);
    verify.arg("--data").run().ok().says("no problem found");
    mounted.umount().ok();
}

#[test]
fn rules_come_and_go_under_random_work() {
    let seeds = match std::env::var("REWINDFS_SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().expect("REWINDFS_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 1..1 + sized(6, 2),
    };
    seeds.for_each(run);
}
