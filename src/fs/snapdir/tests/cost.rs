//! What looking around costs, counted: not more after many checkpoints than after few.

use super::*;

const FILES: u64 = 100;

/// Seeks of a look at `.history`, at a folder and at a file in it, of a listing of the folder, and
/// of a state by its time; each in a picture of its own, and none looked at before.
fn seeks(checkpoints: u64) -> [u64; 5] {
    let mut past = Past::new();
    past.epoch("2026-11-20T09:00", |draft| {
        draft.root(directory());
        draft.put(2, 1, "src", directory());
        for n in 0..FILES {
            draft.bytes(10 + n, 2, &format!("f{n:03}"), b"first");
        }
    });
    for n in 0..checkpoints {
        let time = format!("2026-11-20T10:{:02}:{:02}", n / 60, n % 60);
        past.epoch(&time, |draft| {
            let file = 1 + n % (FILES - 1);
            let name = format!("f{file:03}");
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
    let (_, file) = counted(&|| scene.walk(src, "f000").ino);
    let (listed, listing) = counted(&|| scene.names(src, 1000).len() as u64);
    assert_eq!(listed, FILES + 2);
    let (_, time) = counted(&|| {
        let state = "@2026-11-20T09:00:00.000000000Z/src/f000";
        scene.walk(scene.top, state).ino
    });
    [top, folder, file, listing, time]
}

#[test]
fn a_thousand_checkpoints_cost_no_more_than_ten() {
    let (few, many) = (seeks(10), seeks(1000));
    assert_eq!(few[..4], many[..4]);
    // A time is found by halving: one more for each doubling.
    assert!(many[4] <= few[4] + 8, "{} and {}", few[4], many[4]);
    assert!(many[..3].iter().all(|seeks| *seeks < 40), "{many:?}");
}
