//! What questions about history cost, counted: it is in proportion to what is answered, not to the
//! number of states. `tests/soak/many-states.sh` asks for more of them.

use super::difference::Memory;
use super::request::{Answer, EventsFrom, RawPath};
use super::when::When;
use super::{events, log, versions};
use crate::history::past::{Past, at, directory};
use crate::store::Store;
use crate::time::Timestamp;

/// How many, if nobody asks for more.
const FILES: u64 = 2_000;
const STATES: u64 = 1_000;

fn asked(variable: &str, usual: u64) -> u64 {
    let said = std::env::var(variable).ok();
    said.map_or(usual, |number| number.parse().expect("a number"))
}

fn name(n: u64) -> String {
    format!("f{n:06}")
}

fn second(n: u64) -> String {
    let (hour, minute) = (10 + n / 3600, n / 60 % 60);
    format!("2026-11-20T{hour}:{minute:02}:{:02}", n % 60)
}

/// So many files, then so many states in each of which one of them is changed, but never the first.
fn past(files: u64, checkpoints: u64) -> Past {
    let mut past = Past::new();
    past.epoch("2026-11-20T09:00", |draft| {
        draft.root(directory());
        draft.put(2, 1, "src", directory());
        for n in 0..files {
            draft.bytes(10 + n, 2, &name(n), b"first");
        }
    });
    past.epoch("2026-11-20T09:01", |draft| {
        draft.bytes(10, 2, &name(0), b"second");
    });
    for n in 0..checkpoints {
        past.epoch(&second(n), |draft| {
            let file = 1 + n % (files - 1);
            draft.bytes(10 + file, 2, &name(file), second(n).as_bytes());
        });
    }
    past
}

/// Seeks of a question, and how many lines its answer has.
fn cost(store: &Store, ask: impl Fn() -> usize) -> (u64, usize) {
    let before = store.seeks();
    let lines = ask();
    (store.seeks() - before, lines)
}

/// `log` of a file, `log` of what was done last, `events` of the same, and `diff` of the last two
/// states.
fn costs(files: u64, checkpoints: u64) -> [(u64, usize); 4] {
    let past = past(files, checkpoints);
    let store = &past.store;
    let newest = store.view().newest_epoch().unwrap().unwrap().0;
    let since = When(at(&second(checkpoints - 6)));
    let all = RawPath(Vec::new());
    let long_ago = When(Timestamp::default());
    [
        cost(store, || {
            let file = RawPath(b"src/f000000".to_vec());
            match versions::page(store, long_ago, &file).unwrap() {
                Answer::Versions { lines, .. } => lines.len(),
                other => panic!("{other:?}"),
            }
        }),
        cost(store, || match log::page(store, since, &all).unwrap() {
            Answer::Doings { lines, .. } => lines.len(),
            other => panic!("{other:?}"),
        }),
        cost(store, || {
            match events::page(store, &EventsFrom::Time(since), &all).unwrap() {
                Answer::Events { lines, .. } => lines.len(),
                other => panic!("{other:?}"),
            }
        }),
        cost(store, || {
            let states = (newest - 1, newest);
            match Memory::default()
                .page(store, states, all.clone(), 0)
                .unwrap()
            {
                Answer::Diff { lines, .. } => lines.len(),
                other => panic!("{other:?}"),
            }
        }),
    ]
}

#[test]
fn a_thousand_states_cost_no_more_than_ten() {
    let files = asked("REWINDFS_COST_FILES", FILES);
    let states = asked("REWINDFS_COST_STATES", STATES);
    let (few, many) = (costs(files, 10), costs(files, states));
    println!("log of a file, log, events, diff: (seeks, lines) {few:?} and {many:?}");
    for (n, (few, many)) in few.iter().zip(&many).enumerate() {
        assert_eq!(few.1, many.1, "question {n}");
        assert!(few.1 > 0, "question {n}");
        // A time is found by halving.
        assert!(
            many.0 * 5 <= few.0 * 6 + 40,
            "question {n}: {few:?}, {many:?}"
        );
        assert!(many.0 < 200, "question {n}: {many:?}");
    }
}
