//! What looking around costs, counted: not more after many checkpoints than after few.

use super::*;

/// How many, if nobody asks for more.
const FILES: u64 = 100;
const STATES: u64 = 1_000;

fn asked(variable: &str, usual: u64) -> u64 {
    let said = std::env::var(variable).ok();
    said.map_or(usual, |number| number.parse().expect("a number"))
}

/// Seeks of a look at `.history`, at a folder and at a file in it, of a listing of the folder, and
/// of a state by its time; each in a picture of its own, and none looked at before.
fn seeks(files: u64, checkpoints: u64) -> [u64; 5] {
    let mut past = Past::new();
    past.epoch("2026-11-20T09:00", |draft| {
        draft.root(directory());
        draft.put(2, 1, "src", directory());
        for n in 0..files {
            draft.bytes(10 + n, 2, &format!("f{n:06}"), b"first");
        }
    });
    for n in 0..checkpoints {
        let time = format!(
            "2026-11-20T{}:{:02}:{:02}",
            10 + n / 3600,
            n / 60 % 60,
            n % 60
        );
        past.epoch(&time, |draft| {
            let file = 1 + n % (files - 1);
            let name = format!("f{file:06}");
            let chunk = Content::Chunk(draft.chunk(time.as_bytes()));
            draft.again(
                10 + file,
                2,
                &name,
                crate::history::past::file(chunk, time.len() as u64),
            );
            draft.again(2, 1, "src", directory());
        });
    }
    let store = past.store.clone();
    let scene = on_stage(past, [(ROOT, live_dir(ROOT, Some(1), &[]))]);
    let counted = |look: &dyn Fn() -> u64| {
        let before = store.seeks();
        let found = look();
        (found, store.seeks() - before)
    };
    let (history, top) = counted(&|| scene.walk(scene.top, ".history").ino);
    let (src, folder) = counted(&|| scene.walk(history, "src").ino);
    let (_, file) = counted(&|| scene.walk(src, "f000000").ino);
    let (listed, listing) = counted(&|| scene.names(src, 1000).len() as u64);
    assert_eq!(listed, files + 2);
    let (_, time) = counted(&|| {
        let state = "@2026-11-20T09:00:00.000000000Z/src/f000000";
        scene.walk(scene.top, state).ino
    });
    [top, folder, file, listing, time]
}

#[test]
fn a_thousand_checkpoints_cost_no_more_than_ten() {
    let files = asked("REWINDFS_COST_FILES", FILES);
    let states = asked("REWINDFS_COST_STATES", STATES);
    let (few, many) = (seeks(files, 10), seeks(files, states));
    println!(".history, a folder in it, a file, a listing, @TIME: seeks {few:?} and {many:?}");
    assert_eq!(few[..4], many[..4]);
    // A time is found by halving: one more for each doubling.
    assert!(many[4] <= few[4] + 12, "{} and {}", few[4], many[4]);
    assert!(many[..3].iter().all(|seeks| *seeks < 40), "{many:?}");
}

/// Whoever lists a folder asks once more when he has all of it, and is told from memory; of a place that was never
/// an end, too, what is behind it is looked for.
#[test]
fn the_end_of_a_listing_costs_nothing() {
    let mut past = Past::new();
    past.epoch("2026-11-20T09:00", |draft| {
        draft.root(directory());
        for n in 0..7 {
            draft.bytes(10 + n, 1, &format!("f{n}"), b"x");
        }
        draft.snapshot("s");
    });
    let store = past.store.clone();
    let scene = on_stage(past, [(ROOT, live_dir(ROOT, Some(1), &[]))]);
    let ino = scene.walk(scene.top, "s").ino;
    let list = |offset: u64| {
        let before = store.seeks();
        let mut sink = Plain {
            room: 100,
            ..Plain::default()
        };
        let listed = scene.dir.readdir(&ROOT_USER, ino, offset, &mut sink);
        listed.expect("listed");
        (sink.taken.len(), store.seeks() - before)
    };
    let (all, seeks) = list(0);
    assert_eq!(all, 9);
    assert!(seeks > 0);
    assert_eq!(list(9), (0, 0));
    assert_eq!(list(8).0, 1);
    assert_eq!(list(50).0, 0);
}
