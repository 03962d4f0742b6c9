//! `.incremental` and `.differential`: what a state has that its base had not.

use super::*;

/// All names below a folder, those of folders with a slash.
fn below(scene: &Scene, path: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut open = vec![(scene.walk(scene.top, path).ino, String::new())];
    while let Some((ino, place)) = open.pop() {
        for name in scene.names(ino, 2).into_iter().skip(2) {
            let found = scene.lookup(ino, &name).expect("listed");
            match found.kind {
                Kind::Dir => {
                    all.push(format!("{place}{name}/"));
                    open.push((found.ino, format!("{place}{name}/")));
                }
                _ => all.push(format!("{place}{name}")),
            }
        }
    }
    all.sort();
    all
}

fn list(scene: &Scene, path: &str) -> String {
    let place = format!("{path}/.changes");
    let found = scene.walk(scene.top, &place);
    assert_eq!(
        (found.mode, found.uid, found.kind),
        (0o400, OWNER, Kind::File)
    );
    let mut out = Vec::new();
    for offset in 0.. {
        let mut byte = Vec::new();
        let read = scene.dir.read(&ROOT_USER, found.ino, offset, 1, &mut byte);
        read.expect("readable");
        if byte.is_empty() {
            break;
        }
        out.extend(byte);
    }
    assert_eq!(out.len() as u64, found.size, "its size is exact");
    String::from_utf8(out).expect("ASCII")
}

/// `one` (full), a checkpoint, `two`, `three`.
fn steps() -> Scene {
    let mut past = Past::new();
    past.epoch("2026-11-20T10:00", |draft| {
        draft.root(directory());
        for (id, name) in [(2, "src"), (3, "still"), (4, "moved"), (5, "deep")] {
            draft.put(id, 1, name, directory());
        }
        draft.put(6, 5, "er", directory());
        for (id, dir, name) in [
            (10, 2, "a"),
            (11, 2, "b"),
            (12, 3, "same"),
            (13, 4, "inside"),
            (14, 6, "file"),
            (15, 6, "same"),
            (16, 1, "x \u{e4}"),
        ] {
            draft.bytes(id, dir, name, name.as_bytes());
        }
        draft.full_snapshot("one");
    });
    past.epoch("2026-11-20T10:01", |draft| {
        draft.bytes(10, 2, "a", b"checkpoint")
    });
    past.epoch("2026-11-20T10:02", |draft| {
        draft.gone(11, 2, "b");
        draft.unname(1, "moved");
        draft.put(4, 1, "here", directory());
        draft.bytes(14, 6, "file", b"changed");
        draft.bytes(17, 1, "x \u{e4}", b"replaced");
        draft.snapshot("two");
    });
    past.epoch("2026-11-20T10:03", |draft| {
        draft.gone(14, 6, "file");
        draft.bytes(18, 3, ".changes", b"its own");
        draft.snapshot("three");
    });
    let live = [
        (ROOT, live_dir(ROOT, Some(1), &[])),
        (SRC, live_dir(SRC, Some(5), &["deep"])),
        (21, live_dir(21, Some(3), &["still"])),
    ];
    on_stage(past, live)
}

#[test]
fn a_folder_shows_what_changed_and_the_list_tells_it() {
    let scene = steps();
    assert_eq!(
        below(&scene, ".incremental/two"),
        [
            "deep/",
            "deep/er/",
            "deep/er/file",
            "here/",
            "here/inside",
            "src/",
            "src/a",
            "x \u{e4}",
        ]
    );
    assert_eq!(
        list(&scene, ".incremental/two"),
        "M\tdeep/er/file\nR\tmoved\there\nM\tsrc/a\nD\tsrc/b\nM\t\"x \\303\\244\"\n"
    );
    assert_eq!(scene.text(".incremental/two/src/a"), "checkpoint");
    assert_eq!(
        below(&scene, ".incremental/three"),
        ["deep/", "deep/er/", "still/", "still/.changes"]
    );
    assert_eq!(
        list(&scene, ".incremental/three"),
        "D\tdeep/er/file\nA\tstill/.changes\n"
    );
    assert_eq!(
        list(&scene, ".differential/three"),
        "D\tdeep/er/file\nR\tmoved\there\nM\tsrc/a\nD\tsrc/b\nA\tstill/.changes\n\
         M\t\"x \\303\\244\"\n"
    );
    // Nothing was before the first: all of it is new.
    for first in [".incremental/one", ".differential/one"] {
        assert_eq!(below(&scene, first), below(&scene, "one"));
        let lines = list(&scene, first);
        assert_eq!(lines.lines().count(), below(&scene, "one").len());
        assert!(lines.lines().all(|line| line.starts_with("A\t")));
    }
}

#[test]
fn a_state_by_its_time_is_compared_with_the_checkpoint_before() {
    let scene = steps();
    let incremental = scene.walk(scene.top, ".incremental").ino;
    assert_eq!(scene.target(incremental, "latest"), "three");
    assert_eq!(scene.target(incremental, "latest~1"), "two");
    let exact = "@2026-11-20T10:02:00.000000000Z";
    assert_eq!(scene.target(incremental, "@10:02:30"), exact);
    assert_eq!(
        list(&scene, &format!(".incremental/{exact}")),
        "M\tdeep/er/file\nR\tmoved\there\nD\tsrc/b\nM\t\"x \\303\\244\"\n"
    );
    let gmt = ".incremental/@GMT-2026.11.20-10.01.00";
    assert_eq!(list(&scene, gmt), "M\tsrc/a\n");
    assert_eq!(
        list(&scene, ".differential/@2026-11-20T10:01:00.000000000Z"),
        "M\tsrc/a\n"
    );
    assert_eq!(
        scene.names(incremental, 9)[2..],
        ["latest", "one", "two", "three"]
    );
    for name in ["none", "@09:00", "live", ".changes"] {
        assert_eq!(
            errno(scene.lookup(incremental, name)),
            libc::ENOENT,
            "{name}"
        );
    }
}

#[test]
fn below_the_root_a_folder_lists_what_changed_below_it() {
    let scene = steps();
    let deep = scene.top_of(SRC);
    let two = scene.walk(deep, ".incremental/two").ino;
    assert_eq!(scene.names(two, 9)[2..], ["er"]);
    let list = scene.walk(two, ".changes").ino;
    let mut out = Vec::new();
    let read = scene.dir.read(&ROOT_USER, list, 0, 99, &mut out);
    read.expect("readable");
    assert_eq!(out, b"M\ter/file\n");
    // A tree's own name of that kind is served.
    let still = scene.walk(scene.top_of(21), ".incremental/three/.changes");
    assert_eq!((still.size, still.mode), (7, 0o644));
    // Nobody else reads the list; nothing can be made.
    let made = scene.dir.mkdir(&ROOT_USER, two, b"x");
    assert_eq!(errno(made), libc::EROFS);
}
