//! Listings, and what the kernel may keep of them.

use super::*;
use std::sync::atomic::{AtomicU64, Ordering};

#[test]
fn listings_are_whole_whatever_fits_in_a_reply() {
    let scene = scene();
    let top = [
        ".",
        "..",
        ".checkpoints",
        "latest",
        ".history",
        ".incremental",
        ".differential",
        "first",
        "second",
    ];
    let times = [".", "..", "10-00-00.000", "10-05-00.500", "10-10-00.000"];
    for room in 1..8 {
        assert_eq!(scene.names(scene.top, room), top);
        let src = scene.walk(scene.top, "first/src").ino;
        assert_eq!(scene.names(src, room), [".", "..", "link", "main.rs"]);
        let days = scene.walk(scene.top, ".checkpoints").ino;
        assert_eq!(scene.names(days, room), [".", "..", "2026-11-20"]);
        let day = scene.walk(days, "2026-11-20").ino;
        assert_eq!(scene.names(day, room), times);
    }
    for name in times.iter().skip(2) {
        assert_eq!(
            scene
                .walk(scene.top, &format!(".checkpoints/2026-11-20/{name}"))
                .kind,
            Kind::Dir
        );
    }
}

#[test]
fn a_listing_goes_on_where_it_stopped_while_snapshots_come_and_go() {
    let scene = scene();
    let mut sink = Plain {
        room: 8,
        ..Plain::default()
    };
    scene
        .dir
        .readdir(&ROOT_USER, scene.top, 0, &mut sink)
        .expect("listed");
    let (_, offset, _, last) = sink.taken.pop().expect("eight entries");
    assert_eq!(last, "first");
    scene
        .dir
        .rmdir(&ROOT_USER, scene.top, b"first")
        .expect("deleted");
    scene.dir.mkdir(&ROOT_USER, scene.top, b"0").expect("made");
    let mut rest = Plain {
        room: 9,
        ..Plain::default()
    };
    scene
        .dir
        .readdir(&ROOT_USER, scene.top, offset, &mut rest)
        .expect("listed");
    let names: Vec<_> = rest.taken.iter().map(|(_, _, _, name)| &**name).collect();
    assert_eq!(names, ["second", "0"]);
}

#[test]
fn a_big_directory_is_listed_in_pages_also_without_cursors() {
    let mut past = Past::new();
    let count = 1000_u64;
    past.epoch("2026-11-20T10:00", |draft| {
        draft.root(directory());
        for n in 0..count {
            draft.put(10 + n, 1, &format!("f{n:04}"), symlink("x"));
        }
        draft.snapshot("s");
    });
    let scene = on_stage(past, [(ROOT, live_dir(ROOT, Some(1), &[]))]);
    let ino = scene.walk(scene.top, "s").ino;
    let expected: Vec<String> = [".".to_owned(), "..".to_owned()]
        .into_iter()
        .chain((0..count).map(|n| format!("f{n:04}")))
        .collect();
    assert_eq!(scene.names(ino, 37), expected);
    // A cookie that was never a stop: counted from the beginning.
    for skip in [1, 2, 3, 130, 777, 1001, 1002, 5000] {
        let mut sink = Plain {
            room: 5,
            ..Plain::default()
        };
        scene
            .dir
            .readdir(&ROOT_USER, ino, skip, &mut sink)
            .expect("listed");
        let names: Vec<_> = sink.taken.iter().map(|(_, _, _, name)| name).collect();
        let rest: Vec<_> = expected.iter().skip(skip as usize).take(5).collect();
        assert_eq!(names, rest, "{skip}");
    }
}

#[test]
fn a_listing_names_the_numbers_that_a_lookup_gives() {
    let scene = scene();
    for path in [
        "first",
        "first/src",
        ".checkpoints",
        ".checkpoints/2026-11-20",
        ".incremental",
        ".incremental/first",
        ".incremental/second",
        ".differential/second/src",
        ".history",
        ".history/src",
        ".history/src/main.rs",
    ] {
        let ino = scene.walk(scene.top, path).ino;
        let mut sink = Plain {
            room: 99,
            ..Plain::default()
        };
        scene
            .dir
            .readdir(&ROOT_USER, ino, 2, &mut sink)
            .expect("listed");
        assert!(!sink.taken.is_empty());
        for (listed, _, kind, name) in sink.taken {
            let found = scene.lookup(ino, &name).expect("there");
            assert_eq!((found.ino, found.kind), (listed, kind), "{path}/{name}");
        }
    }
}

#[test]
fn only_what_was_taken_counts_as_looked_up() {
    let scene = scene();
    let src = scene.walk(scene.top, "first/src").ino;
    let known = scene.dir.known();
    let mut sink = Plus {
        room: 3,
        ..Plus::default()
    };
    scene
        .dir
        .readdirplus(&ROOT_USER, src, 0, &mut sink)
        .expect("listed");
    let names: Vec<_> = sink.taken.iter().map(|(_, _, name)| &**name).collect();
    assert_eq!(names, [".", "..", "link"]);
    assert_eq!(scene.dir.known(), known + 1);
    scene.dir.forget(sink.taken[2].0, 1);
    assert_eq!(scene.dir.known(), known);
}

#[test]
fn everything_is_forgotten() {
    let scene = scene();
    let mut counts = BTreeMap::new();
    let mut count = |ino| *counts.entry(ino).or_insert(0) += 1;
    count(scene.top);
    for path in [
        "first/src/main.rs",
        "latest",
        "@10:07",
        ".checkpoints/2026-11-20/10-05-00.500/src",
    ] {
        let mut ino = scene.top;
        for name in path.split('/') {
            ino = scene.lookup(ino, name).expect("there").ino;
            count(ino);
        }
    }
    for (ino, lookups) in counts {
        scene.dir.forget(ino, lookups);
    }
    assert_eq!(scene.dir.known(), 0);
    assert_eq!(
        errno(scene.dir.getattr(&ROOT_USER, scene.top)),
        libc::ESTALE
    );
}

#[test]
fn what_can_change_is_not_cached_and_the_rest_is() {
    let scene = scene();
    let entry = |parent, name: &str| {
        let entry = scene.dir.lookup(&ROOT_USER, parent, name.as_bytes());
        entry.expect("an answer")
    };
    let day = limits::TTL;
    let top = scene.dir.lookup_top(&ROOT_USER, ROOT).expect("there");
    assert_eq!((top.entry_ttl, top.attr_ttl), (day, Duration::ZERO));
    for name in ["latest", "@10:07", ".checkpoints"] {
        assert_eq!(entry(scene.top, name).entry_ttl, Duration::ZERO, "{name}");
    }
    assert_eq!(entry(scene.top, "first").entry_ttl, limits::NAME_TTL);
    let first = scene.walk(scene.top, "first").ino;
    let src = entry(first, "src");
    assert_eq!((src.entry_ttl, src.attr_ttl), (day, day));
    let absent = entry(first, "absent");
    assert!(absent.attributes.is_none());
    assert_eq!(absent.entry_ttl, day);
}

#[test]
fn the_mtime_changes_with_the_list() {
    let scene = scene();
    let mtime = || {
        let (attributes, _) = scene.dir.getattr(&ROOT_USER, scene.top).expect("there");
        attributes.mtime
    };
    assert_eq!(scene.lookup_top_attributes().mtime, mtime());
    let mut seen = BTreeSet::from([mtime()]);
    scene.dir.mkdir(&ROOT_USER, scene.top, b"x").expect("made");
    assert!(seen.insert(mtime()));
    scene
        .dir
        .rename(&ROOT_USER, scene.top, b"x", scene.top, b"y")
        .expect("renamed");
    assert!(seen.insert(mtime()));
    scene
        .dir
        .rmdir(&ROOT_USER, scene.top, b"y")
        .expect("deleted");
    assert!(seen.insert(mtime()));
}

#[test]
fn a_snapshot_of_a_scan_comes_into_view_when_the_scan_is_whole() {
    let mut past = Past::new();
    let scan = past.scan("2026-11-20T10:00", |draft| {
        draft.root(directory());
        draft.snapshot("first");
    });
    let store = past.store.clone();
    let scene = on_stage(past, [(ROOT, live_dir(ROOT, Some(1), &[]))]);
    let mtime = || scene.lookup_top_attributes().mtime;
    assert_eq!(scene.names(scene.top, 9), OURS);
    assert_eq!(errno(scene.lookup(scene.top, "first")), libc::ENOENT);
    assert_eq!(errno(scene.lookup(scene.top, "latest")), libc::ENOENT);
    let before = mtime();
    let told = watch(&scene);
    store
        .finish_scan(scan, EpochState::Whole)
        .expect("finished");
    assert!(told.load(Ordering::SeqCst) > 0);
    assert_eq!(
        scene.names(scene.top, 9),
        [&OURS[..3], &["latest"], &OURS[3..], &["first"]].concat()
    );
    assert_eq!(scene.target(scene.top, "latest"), "first");
    assert_ne!(mtime(), before);
}

/// How often the kernel would have been told that the list has changed.
fn watch(scene: &Scene) -> Arc<AtomicU64> {
    let told = Arc::<AtomicU64>::default();
    let (count, top) = (Arc::clone(&told), scene.top);
    scene.dir.watch_list(Some(Box::new(move |ino| {
        assert_eq!(ino, top);
        count.fetch_add(1, Ordering::SeqCst);
    })));
    told
}

#[test]
fn who_keeps_the_listing_is_told_of_each_change() {
    let scene = scene();
    let kept = || {
        let top = scene.dir.lookup_top(&ROOT_USER, ROOT).expect("there");
        let asked = scene.dir.getattr(&ROOT_USER, scene.top).expect("there").1;
        assert_eq!(top.attr_ttl, asked);
        asked
    };
    assert_eq!(kept(), Duration::ZERO);
    let told = watch(&scene);
    assert_eq!(kept(), limits::LIST_TTL);
    let mut before = 0;
    let mut more = |what: &str| {
        let now = told.load(Ordering::SeqCst);
        assert!(now > before, "{what}");
        before = now;
    };
    scene
        .dir
        .mkdir(&ROOT_USER, scene.top, b"new")
        .expect("made");
    more("made");
    let renamed = scene
        .dir
        .rename(&ROOT_USER, scene.top, b"new", scene.top, b"other");
    renamed.expect("renamed");
    more("renamed");
    scene
        .dir
        .rmdir(&ROOT_USER, scene.top, b"other")
        .expect("deleted");
    more("deleted");
    scene.dir.watch_list(None);
    assert_eq!(kept(), Duration::ZERO);
    scene
        .dir
        .mkdir(&ROOT_USER, scene.top, b"new")
        .expect("made");
    assert_eq!(told.load(Ordering::SeqCst), before);
}
