//! The record that a writer keeps of its own directory: every state that it made, when the call that
//! made it began and when it was acknowledged; and which contents stood for how long.

use super::model::{Model, Op, Taste};
use rand::Rng;
use rand::rngs::StdRng;
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The tree after one operation.
pub struct State {
    pub sum: u128,
    pub op: Option<Op>,
    pub begin: Instant,
    /// `None`: it was never acknowledged.
    pub end: Option<Instant>,
}

/// A content that stood for a while: made by the operation that led to the state `from`, ended by
/// the one that led to the state `to`.
pub struct Stood {
    pub from: usize,
    pub to: usize,
    pub session: usize,
    pub what: String,
}

/// A content that an fsync was acknowledged for.
pub struct Flushed {
    /// All names of the file then.
    pub names: Vec<String>,
    pub hash: blake3::Hash,
    /// The state in which it was flushed.
    pub state: usize,
}

/// See the module.
pub struct Record {
    pub name: String,
    pub states: Vec<State>,
    pub by_sum: HashMap<u128, Vec<usize>>,
    pub stood: Vec<Stood>,
    pub flushed: Vec<Flushed>,
    /// Every content that any file ever had.
    pub contents: HashSet<blake3::Hash>,
    pub model: Model,
    /// Whole trees to start from when a state has to be shown.
    bases: Vec<(usize, Model)>,
    /// When each file's content was made: state, and the moment it was acknowledged.
    since: HashMap<u64, (usize, Instant)>,
    doubt: Option<Op>,
}

impl Record {
    /// Of a directory as it is.
    pub fn of(name: &str, dir: &Path) -> Record {
        let mut record = Record {
            name: name.to_owned(),
            states: Vec::new(),
            by_sum: HashMap::new(),
            stood: Vec::new(),
            flushed: Vec::new(),
            contents: HashSet::new(),
            model: Model::default(),
            bases: Vec::new(),
            since: HashMap::new(),
            doubt: None,
        };
        record.take_over(Model::read(dir).expect("the directory can be read"));
        record
    }

    fn take_over(&mut self, model: Model) {
        self.contents.extend(model.files().map(|plain| plain.hash));
        self.model = model;
        let now = Instant::now();
        self.push(None, now, Some(now));
        self.since.clear();
        let base = (self.states.len() - 1, self.model.clone());
        self.bases.push(base);
    }

    fn push(&mut self, op: Option<Op>, begin: Instant, end: Option<Instant>) {
        let sum = self.model.sum();
        self.by_sum.entry(sum).or_default().push(self.states.len());
        self.states.push(State {
            sum,
            op,
            begin,
            end,
        });
    }

    /// Works in `dir` until it is told to stop, or the daemon has died.
    pub fn work(&mut self, load: &Load<'_>, dir: &Path, random: &mut StdRng) {
        for _ in 0..load.at_most {
            if load.stop.load(Ordering::Relaxed) {
                return;
            }
            if random.random_bool(0.02) {
                std::thread::sleep(load.settle + Duration::from_millis(5));
            }
            let op = self.model.choose(random, load.taste);
            let begin = Instant::now();
            match op.perform(dir) {
                Ok(()) => self.done(op, begin, load),
                Err(error) if is_death(&error) || is_death_on_the_way(&error, dir) => {
                    self.doubt = Some(op.clone());
                    self.apply(&op);
                    self.push(Some(op), begin, None);
                    return;
                }
                Err(error) => panic!(
                    "{}: {op:?}: {error}\nonce more: {:?}\nthe daemon says:\n{}",
                    self.name,
                    op.perform(dir),
                    last_words(dir)
                ),
            }
        }
    }

    /// Whether its last operation was not acknowledged.
    pub fn is_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    fn apply(&mut self, op: &Op) -> Option<u64> {
        let made = self.model.apply(op)?;
        let state = self.model.files().map(|plain| plain.hash);
        self.contents.extend(state);
        Some(made)
    }

    fn done(&mut self, op: Op, begin: Instant, load: &Load<'_>) {
        let end = Instant::now();
        let to = self.states.len();
        if let Some(number) = self.model.ends(&op)
            && let Some((from, since)) = self.since.remove(&number)
            && begin.duration_since(since) >= load.settle
        {
            let what = format!("{op:?}");
            self.stood.push(Stood {
                from,
                to,
                session: load.session,
                what,
            });
        }
        let made = self.apply(&op);
        if let Op::Fsync(path) = &op {
            let number = self.model.number(path).expect("a file");
            let plain = self.model.files_by_number(number).expect("a file");
            self.flushed.push(Flushed {
                names: self.model.names_of(number),
                hash: plain.hash,
                state: to,
            });
        }
        self.push(Some(op), begin, Some(end));
        if let Some(number) = made {
            let empty = self
                .model
                .files_by_number(number)
                .is_none_or(|plain| plain.content.is_empty());
            if !empty {
                self.since.insert(number, (to, end));
            }
        }
    }

    /// After a death: `found` has to be what was acknowledged, with the operation that was not
    /// either done or not, or, of a write, begun.
    pub fn resolve(&mut self, found: Model) {
        let after = self.states.len() - 1;
        let as_done = found.sum() == self.states[after].sum;
        let fits = match self.doubt.take() {
            None => as_done,
            Some(op) => {
                let before = self.at(after - 1);
                as_done || found.sum() == before.sum() || half_written(&before, &op, &found)
            }
        };
        assert!(
            fits,
            "{}: the live tree is not what was acknowledged (last: {:?}):\n  {}",
            self.name,
            self.states[after].op,
            self.at(after).differences(&found).join("\n  ")
        );
        self.take_over(found);
    }

    /// The first state from `least` on that `found` is, but for a write that had begun.
    pub fn amid_a_write(&self, least: usize, found: &Model) -> Option<usize> {
        let mut model = self.at(least);
        for (state, next) in self.states.iter().enumerate().skip(least + 1) {
            let Some(op) = &next.op else {
                model = self.at(state);
                continue;
            };
            if half_written(&model, op, found) {
                return Some(state - 1);
            }
            model.apply(op);
        }
        None
    }

    /// Where a flushed file may be found: by its name, or by one that it had since it was changed
    /// itself and before a directory above it was renamed. That is no change of the file, so ext4
    /// need not flush it with the file.
    pub fn places(&self, flushed: &Flushed) -> Vec<String> {
        let mut places = vec![flushed.names[0].clone()];
        let ops = self.states[..=flushed.state].iter().rev();
        for op in ops.filter_map(|state| state.op.as_ref()) {
            let name = &places[places.len() - 1];
            if op.changes(name) {
                break;
            }
            if let Op::Rename { from, to } = op
                && let Some(rest) = name.strip_prefix(&format!("{to}/"))
            {
                places.push(format!("{from}/{rest}"));
            }
        }
        places
    }

    /// The tree in a state.
    pub fn at(&self, state: usize) -> Model {
        let base = self.bases.iter().rev().find(|(at, _)| *at <= state);
        let (from, mut model) = base.cloned().expect("the first state is a base");
        for state in &self.states[from + 1..=state] {
            if let Some(op) = &state.op {
                model.apply(op);
            }
        }
        model
    }
}

/// How a writer works.
pub struct Load<'a> {
    pub taste: Taste,
    pub settle: Duration,
    pub session: usize,
    /// Operations.
    pub at_most: usize,
    pub stop: &'a AtomicBool,
}

/// What the kernel says of a FUSE mount whose daemon has died.
pub fn is_death(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOTCONN | libc::ECONNABORTED | libc::ENODEV)
    )
}

/// Linux answers EIO to a request that it was just copying into a process which is killed. Then
/// everybody who comes later hears that there is no daemon.
fn is_death_on_the_way(error: &io::Error, dir: &Path) -> bool {
    let asked = |n: u32| std::fs::symlink_metadata(dir.join(format!("is-anybody-there-{n}")));
    error.raw_os_error() == Some(libc::EIO)
        && (0..100).any(|n| {
            std::thread::sleep(Duration::from_millis(20));
            asked(n).is_err_and(|error| is_death(&error))
        })
}

/// The end of the log of the daemon that serves `work/NAME`.
fn last_words(dir: &Path) -> String {
    let store = dir
        .ancestors()
        .nth(2)
        .map(|sandbox| sandbox.join(".work.rewind/log"));
    let log = store.and_then(|log| std::fs::read_to_string(log).ok());
    let log = log.unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// Whether `found` is `before` with the first part of a write.
fn half_written(before: &Model, op: &Op, found: &Model) -> bool {
    let Op::Write { path, at, .. } = op else {
        return false;
    };
    let mut after = before.clone();
    after.apply(op);
    let (Some(old), Some(new), Some(now)) = (before.file(path), after.file(path), found.file(path))
    else {
        return false;
    };
    let (old, new, now) = (&old.content, &new.content, &now.content);
    let ahead = now.iter().zip(new).skip(*at);
    let written = at + ahead.take_while(|(now, new)| now == new).count();
    let mut begun = old.clone();
    begun.resize(old.len().max(written), 0);
    begun[*at..written].copy_from_slice(&new[*at..written]);
    let mut expected = before.clone();
    expected.replace(path, begun);
    expected.sum() == found.sum()
}
