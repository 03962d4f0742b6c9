//! What is found after a death, held against the records.
//!
//! 1. Every whole state is, for each writer, one that he made, or one amid a write(2) of his, which
//!    the kernel may hand over in pieces; no state goes back behind the one before it.
//! 2. No state holds an operation without those, of any writer, that had returned before it began.
//! 3. A snapshot that was acknowledged is there, and holds what had returned before it was asked
//!    for, and nothing that began after it was made.
//! 4. A content that stood for `settle` before it was ended is in a state, if the end of it is in a
//!    state of the same life of the daemon.
//! 5. In a state that is not whole every file can be read, and holds something that a writer wrote.

use super::model::{Model, Plain};
use super::record::Record;
use crate::harness::Cmd;
use jiff::Timestamp;
use std::path::Path;
use std::time::Instant;

/// A line of `rewindfs list --checkpoints --json`.
#[derive(Clone, Debug)]
pub struct Listed {
    pub name: Option<String>,
    pub time: String,
    whole: bool,
    left_out: u64,
}

/// What is listed of a directory, oldest first.
pub fn list(dir: &Path) -> Vec<Listed> {
    let run = Cmd::rewindfs()
        .arg("list")
        .args(["--checkpoints", "--json"]);
    let lines = run.arg(dir).run().ok().json();
    let text = |line: &serde_json::Value, field: &str| line[field].as_str().map(str::to_owned);
    lines
        .iter()
        // A time without history, which a death leaves behind, is no state.
        .filter(|line| line["kind"] != "unrecorded")
        .map(|line| Listed {
            name: text(line, "name"),
            time: text(line, "time").expect("a time"),
            whole: line["complete"] == true,
            left_out: line["files_left_out"].as_u64().expect("a number"),
        })
        .collect()
}

/// A snapshot that somebody asked for.
pub struct Asked {
    pub name: String,
    pub begin: Instant,
    /// When the call returned, and whether it said that the snapshot is made; `None` if the daemon
    /// died before it said anything.
    pub end: Option<(Instant, bool)>,
    /// Whether it was deleted, and that was acknowledged.
    pub deleted: Option<bool>,
}

/// One life of the daemon.
pub struct Session {
    pub begin: Timestamp,
    pub end: Timestamp,
}

/// All that is known of one store.
#[derive(Default)]
pub struct Truth {
    pub records: Vec<Record>,
    pub asked: Vec<Asked>,
    pub sessions: Vec<Session>,
}

/// A whole state, with the first and the last state of each record that it can be.
struct Found {
    listed: Listed,
    time: Timestamp,
    first: Vec<usize>,
    last: Vec<usize>,
}

/// How much a check looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Looked {
    pub states: usize,
    pub partial: usize,
    pub snapshots: usize,
    pub stood: usize,
}

impl Truth {
    /// Walks every state of `listed` in the mount at `point`; fails the test if one is not as it has
    /// to be. Calls that began after `until` count as never made, and those that had not returned by
    /// `since` need not have an effect.
    pub fn check(&self, point: &Path, listed: &[Listed], since: Instant, until: Instant) -> Looked {
        let mut looked = Looked::default();
        let mut found: Vec<Found> = Vec::new();
        for listed in listed {
            let state = point.join(format!(".snapshots/@{}", listed.time));
            if !listed.whole {
                assert_eq!(listed.left_out, 0, "files were left out in {listed:?}");
                self.check_partial(&state, listed);
                looked.partial += 1;
                continue;
            }
            let fits = self.fit(&state, listed, found.last());
            self.check_order(&fits);
            found.push(fits);
        }
        looked.states = found.len();
        looked.snapshots = self.check_snapshots(&found, since, until);
        looked.stood = self.check_stood(&found);
        looked
    }

    /// 1
    fn fit(&self, state: &Path, listed: &Listed, before: Option<&Found>) -> Found {
        let mut found = Found {
            listed: listed.clone(),
            time: listed.time.parse().expect("a time"),
            first: Vec::new(),
            last: Vec::new(),
        };
        for (writer, record) in self.records.iter().enumerate() {
            let model = Model::read(&state.join(&record.name))
                .unwrap_or_else(|error| panic!("{listed:?}: {}: {error}", record.name));
            let least = before.map_or(0, |before| before.first[writer]);
            let none = Vec::new();
            let states = record.by_sum.get(&model.sum()).unwrap_or(&none);
            let mut fits = states.iter().copied().filter(|state| *state >= least);
            let first = fits.next().or_else(|| record.amid_a_write(least, &model));
            let Some(first) = first else {
                panic!("{}", self.misfit(writer, listed, &model, least));
            };
            found.first.push(first);
            found.last.push(fits.next_back().unwrap_or(first));
        }
        found
    }

    /// Says how a state differs from the nearest that there was.
    fn misfit(&self, writer: usize, listed: &Listed, model: &Model, least: usize) -> String {
        let record = &self.records[writer];
        let nearest = (0..record.states.len())
            .map(|state| (record.at(state).differences(model), state))
            .min_by_key(|(differences, _)| differences.len());
        let (differences, state) = nearest.expect("there is a state");
        let known = |plain: &Plain| record.contents.contains(&plain.hash);
        let unknown = model.files().filter(|plain| !known(plain)).count();
        format!(
            "{listed:?}: {} is in no state that there was (from {least} to {}); nearest is {state}, \
             after {:?}; {unknown} files hold what nobody wrote:\n  {}",
            record.name,
            record.states.len() - 1,
            record.states[state].op,
            differences.join("\n  ")
        )
    }

    /// 2
    fn check_order(&self, found: &Found) {
        for (writer, record) in self.records.iter().enumerate() {
            let began = record.states[found.first[writer]].begin;
            for (other, record) in self.records.iter().enumerate() {
                let Some(next) = record.states.get(found.last[other] + 1) else {
                    continue;
                };
                assert!(
                    next.end.is_none_or(|end| end >= began),
                    "{:?} holds state {} of {}, but not {} of {}, which was there before",
                    found.listed,
                    found.first[writer],
                    self.records[writer].name,
                    found.last[other] + 1,
                    record.name
                );
            }
        }
    }

    /// 3
    fn check_snapshots(&self, found: &[Found], since: Instant, until: Instant) -> usize {
        let mut checked = 0;
        for asked in &self.asked {
            let at = found
                .iter()
                .find(|found| found.listed.name.as_deref() == Some(&asked.name));
            let made = asked.end.is_some_and(|(end, made)| made && end < since);
            let refused = asked.end.is_some_and(|(end, made)| !made && end < since);
            let Some(at) = at else {
                assert!(
                    !made || asked.deleted.is_some(),
                    "the snapshot {} was made and is not there, or is not whole",
                    asked.name
                );
                continue;
            };
            assert!(!refused, "{} was refused, and is there", asked.name);
            assert!(asked.begin < until, "{} is there too early", asked.name);
            assert_ne!(asked.deleted, Some(true), "{} was deleted", asked.name);
            self.check_instant(at, asked);
            checked += 1;
        }
        checked
    }

    fn check_instant(&self, at: &Found, asked: &Asked) {
        for (writer, record) in self.records.iter().enumerate() {
            let last = at.last[writer];
            if let Some(next) = record.states.get(last + 1) {
                assert!(
                    next.end.is_none_or(|end| end >= asked.begin),
                    "{} lacks {:?} of {}, which had returned before",
                    asked.name,
                    next.op,
                    record.name
                );
            }
            let first = &record.states[at.first[writer]];
            let end = asked.end.map(|(end, _)| end);
            assert!(
                end.is_none_or(|end| first.begin <= end),
                "{} holds {:?} of {}, which began later",
                asked.name,
                first.op,
                record.name
            );
        }
    }

    /// 4
    fn check_stood(&self, found: &[Found]) -> usize {
        let mut checked = 0;
        for (writer, record) in self.records.iter().enumerate() {
            for stood in &record.stood {
                let Some(session) = self.sessions.get(stood.session) else {
                    continue;
                };
                let of_session = |found: &&Found| {
                    found.time > session.begin
                        && found.time < session.end
                        && found.first[writer] >= stood.to
                };
                let Some(later) = found.iter().find(of_session) else {
                    continue;
                };
                let holds = |found: &Found| {
                    found.first[writer] < stood.to && found.last[writer] >= stood.from
                };
                assert!(
                    found.iter().any(holds),
                    "{:?} holds state {} of {}, and no state the content that {} ended: it stood \
                     from {} to {}",
                    later.listed,
                    later.first[writer],
                    record.name,
                    stood.what,
                    stood.from,
                    stood.to
                );
                checked += 1;
            }
        }
        checked
    }

    /// 5
    fn check_partial(&self, state: &Path, listed: &Listed) {
        for record in &self.records {
            let dir = state.join(&record.name);
            if !dir.exists() {
                continue;
            }
            let model = Model::read(&dir)
                .unwrap_or_else(|error| panic!("{listed:?}: {}: {error}", record.name));
            for plain in model.files() {
                assert!(
                    record.contents.contains(&plain.hash),
                    "{listed:?}: {} holds bytes that nobody wrote: {} of them",
                    record.name,
                    plain.content.len()
                );
            }
        }
    }
}

/// Counts everything in a store again, from its bytes.
pub fn verify(store: &Path) {
    let open = rewindfs::store::Store::open(store, rewindfs::store::StoreOptions::default());
    let open = open.unwrap_or_else(|error| panic!("{}: {error}", store.display()));
    let report = open.verify(&|_| true).expect("a store can be read");
    let problems: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    assert!(problems.is_empty(), "verify: {}", problems.join("\n  "));
}
