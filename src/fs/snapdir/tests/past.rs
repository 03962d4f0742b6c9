//! `.history`: what names held.

use super::*;
use crate::fs::snapdir::mask::ACL;

fn with(mode: u32, uid: u32, mut inode: Inode) -> Inode {
    inode.mode = mode;
    inode.uid = uid;
    inode
}

fn content(scene: &Scene, path: &str) -> String {
    scene.text(&format!(".history/{path}"))
}

fn contents(scene: &Scene, path: &str) -> Vec<String> {
    let names = shown(scene, path);
    let text = |name: &String| content(scene, &format!("{path}/{name}"));
    names.iter().map(text).collect()
}

fn shown(scene: &Scene, path: &str) -> Vec<String> {
    let place = match path {
        "" => ".history".to_owned(),
        path => format!(".history/{path}"),
    };
    let ino = scene.walk(scene.top, &place).ino;
    let names = scene.names(ino, 3);
    assert_eq!(names, scene.names(ino, 100), "whatever fits in a reply");
    names.into_iter().skip(2).collect()
}

fn at_root(past: Past) -> Scene {
    on_stage(past, [(ROOT, live_dir(ROOT, Some(1), &[]))])
}

fn minute(minute: u32) -> String {
    format!("2026-11-20T10:{minute:02}")
}

#[test]
fn a_name_that_is_replaced_keeps_its_versions() {
    let mut past = Past::new();
    past.epoch(&minute(0), |draft| {
        draft.root(directory());
        draft.bytes(10, 1, "main.rs", b"one");
    });
    // An editor: a temporary file, renamed over the old one; it was recorded half-written.
    past.epoch(&minute(1), |draft| draft.bytes(11, 1, "tmp", b"tw"));
    past.epoch(&minute(2), |draft| {
        draft.unname(1, "tmp");
        draft.bytes(11, 1, "main.rs", b"two");
    });
    // Only its mode; then its content again; then what it was before.
    past.epoch(&minute(3), |draft| {
        let chunk = Content::Chunk(draft.chunk(b"two"));
        draft.put(11, 1, "main.rs", with(0o600, 0, file(chunk, 3)));
    });
    past.epoch("2026-11-20T10:04:00.000000001", |draft| {
        draft.bytes(11, 1, "main.rs", b"three")
    });
    past.epoch("2026-11-20T10:04:00.000000002", |draft| {
        draft.bytes(11, 1, "main.rs", b"one")
    });
    let scene = at_root(past);
    assert_eq!(shown(&scene, ""), ["main.rs", "tmp"]);
    let names = [
        "2026-11-20T10-00-00.000Z.rs",
        "2026-11-20T10-02-00.000Z.rs",
        "2026-11-20T10-04-00.000Z.rs",
        "2026-11-20T10-04-00.000000002Z.rs",
    ];
    assert_eq!(shown(&scene, "main.rs"), names);
    assert_eq!(contents(&scene, "main.rs"), ["one", "two", "three", "one"]);
    assert_eq!(contents(&scene, "tmp"), ["tw"]);
    let shown = scene.walk(scene.top, &format!(".history/main.rs/{}", names[1]));
    assert_eq!((shown.kind, shown.size, shown.nlink), (Kind::File, 3, 1));
    assert_eq!(shown.mtime, file_time(at(&minute(2))));
    for name in [
        "2026-11-20T10-02-00.000Z",
        "2026-11-20T10-02-00.000Z.txt",
        "2026-11-20T10-02-00.000Z~.rs",
        "2026-11-20T10-03-00.000Z.rs",
        "2026-11-20T10-04-00.000000001Z.rs",
    ] {
        let folder = scene.walk(scene.top, ".history/main.rs").ino;
        assert_eq!(errno(scene.lookup(folder, name)), libc::ENOENT, "{name}");
    }
}

#[test]
fn what_came_by_rename_brings_its_past_along() {
    let mut past = Past::new();
    past.epoch(&minute(0), |draft| {
        draft.root(directory());
        draft.put(2, 1, "src", directory());
        draft.bytes(10, 2, "a.rs", b"1");
        draft.bytes(12, 1, "b.rs", b"other");
    });
    past.epoch(&minute(1), |draft| {
        draft.bytes(10, 2, "a.rs", b"2");
        draft.bytes(12, 1, "b.rs", b"same time");
    });
    past.epoch(&minute(2), |draft| draft.gone(12, 1, "b.rs"));
    past.epoch(&minute(3), |draft| {
        draft.unname(2, "a.rs");
        draft.bytes(10, 2, "b.rs", b"2");
    });
    past.epoch(&minute(4), |draft| {
        draft.unname(1, "src");
        draft.put(2, 1, "lib", directory());
        draft.bytes(10, 2, "b.rs", b"3");
    });
    // Out of its folder, to a name that another file had, which was changed at the same time.
    past.epoch(&minute(5), |draft| {
        draft.unname(2, "b.rs");
        draft.bytes(10, 1, "b.rs", b"4");
    });
    past.epoch(&minute(6), |draft| {
        draft.name(10, 1, "second name", Kind::File)
    });
    let scene = at_root(past);
    assert_eq!(shown(&scene, ""), ["b.rs", "lib", "second name", "src"]);
    assert_eq!(shown(&scene, "src"), ["a.rs", "b.rs"]);
    assert_eq!(contents(&scene, "src/a.rs"), ["1", "2"]);
    assert_eq!(contents(&scene, "src/b.rs"), ["1", "2"]);
    assert_eq!(shown(&scene, "lib"), ["a.rs", "b.rs"]);
    assert_eq!(contents(&scene, "lib/b.rs"), ["1", "2", "3"]);
    assert_eq!(
        shown(&scene, "b.rs"),
        [
            "2026-11-20T10-00-00.000Z.rs",
            "2026-11-20T10-00-00.000Z~.rs",
            "2026-11-20T10-01-00.000Z.rs",
            "2026-11-20T10-01-00.000Z~.rs",
            "2026-11-20T10-03-00.000Z.rs",
            "2026-11-20T10-04-00.000Z.rs",
            "2026-11-20T10-05-00.000Z.rs",
        ]
    );
    // After what it held itself, what it was given is another content.
    let all = ["1", "other", "2", "same time", "2", "3", "4"];
    assert_eq!(contents(&scene, "b.rs"), all);
    assert_eq!(contents(&scene, "second name"), ["4"], "no rename");
}

#[test]
fn a_rename_brings_along_what_its_former_name_held_in_a_row() {
    let mut past = Past::new();
    past.epoch(&minute(0), |draft| {
        draft.root(directory());
        draft.bytes(10, 1, "a", b"another");
        draft.bytes(20, 1, "z", b"zero");
    });
    past.epoch(&minute(1), |draft| draft.gone(10, 1, "a"));
    // To and fro between two names, each time replaced under the name.
    for n in 1..20_u64 {
        let (from, to) = match n % 2 {
            1 => ("z", "a"),
            _ => ("a", "z"),
        };
        past.epoch(&format!("2026-11-20T10:{:02}", 2 * n), |draft| {
            draft.unname(1, from);
            draft.name(19 + n, 1, to, Kind::File);
            let chunk = Content::Chunk(draft.chunk(format!("{}", n - 1).as_bytes()));
            draft.put(
                19 + n,
                1,
                to,
                file(chunk, format!("{}", n - 1).len() as u64),
            );
        });
        past.epoch(&format!("2026-11-20T10:{:02}", 2 * n + 1), |draft| {
            draft.bytes(20 + n, 1, to, format!("{n}").as_bytes());
        });
    }
    let scene = at_root(past);
    let row: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let mut expected = vec!["another".to_owned(), "zero".to_owned()];
    expected.extend(row);
    let mut held = contents(&scene, "a");
    held.dedup();
    assert_eq!(held, expected);
}

#[test]
fn a_name_that_was_a_file_and_a_folder_shows_both() {
    let mut past = Past::new();
    past.epoch(&minute(0), |draft| {
        draft.root(directory());
        draft.bytes(10, 1, "x.d", b"file");
    });
    past.epoch(&minute(1), |draft| {
        draft.gone(10, 1, "x.d");
        draft.put(2, 1, "x.d", directory());
        // As if somebody had copied our history here.
        draft.bytes(11, 2, "2026-11-20T10-00-00.000Z.d", b"a copy");
        draft.put(12, 2, "link", symlink("there"));
    });
    past.epoch(&minute(2), |draft| {
        draft.gone(11, 2, "2026-11-20T10-00-00.000Z.d");
        draft.gone(12, 2, "link");
        draft.gone(2, 1, "x.d");
        draft.put(13, 1, "x.d", symlink("elsewhere"));
    });
    let scene = at_root(past);
    assert_eq!(
        shown(&scene, "x.d"),
        [
            "2026-11-20T10-00-00.000Z~.d",
            "2026-11-20T10-02-00.000Z.d",
            "2026-11-20T10-00-00.000Z.d",
            "link",
        ]
    );
    assert_eq!(content(&scene, "x.d/2026-11-20T10-00-00.000Z~.d"), "file");
    let copied = "x.d/2026-11-20T10-00-00.000Z.d";
    assert_eq!(contents(&scene, copied), ["a copy"]);
    let folder = scene.walk(scene.top, ".history/x.d").ino;
    let target = scene.target(folder, "2026-11-20T10-02-00.000Z.d");
    assert_eq!(target, "elsewhere");
    let link = scene.walk(folder, "link").ino;
    assert_eq!(scene.target(link, "2026-11-20T10-01-00.000Z"), "there");
}

#[test]
fn a_folder_entered_by_itself_shows_what_stood_at_its_place_before() {
    let mut past = Past::new();
    past.epoch(&minute(0), |draft| {
        draft.root(directory());
        draft.put(2, 1, "src", directory());
        draft.bytes(10, 2, "a", b"before");
    });
    past.epoch(&minute(1), |draft| {
        draft.gone(10, 2, "a");
        draft.gone(2, 1, "src");
    });
    past.epoch(&minute(2), |draft| {
        draft.put(3, 1, "src", directory());
        draft.bytes(11, 3, "a", b"after");
    });
    let live = [
        (ROOT, live_dir(ROOT, Some(1), &[])),
        (SRC, live_dir(SRC, Some(3), &["src"])),
        (21, live_dir(21, None, &["unheard-of"])),
    ];
    let scene = on_stage(past, live);
    for (top, path) in [(scene.top, "src/a"), (scene.top_of(SRC), "a")] {
        let folder = scene.walk(top, &format!(".history/{path}")).ino;
        let names = scene.names(folder, 9);
        let expected = ["2026-11-20T10-00-00.000Z", "2026-11-20T10-02-00.000Z"];
        assert_eq!(names[2..], expected);
    }
    let history = scene.walk(scene.top_of(21), ".history").ino;
    assert_eq!(scene.names(history, 9), [".", ".."]);
}

/// Mode and owner of a folder of `.history`.
fn rights(scene: &Scene, path: &str) -> (u32, u32) {
    let shown = scene.walk(scene.top, &format!(".history{path}"));
    (shown.mode, shown.uid)
}

#[test]
fn a_folder_is_open_to_whom_it_was_always_open() {
    let mut past = Past::new();
    past.epoch(&minute(0), |draft| {
        draft.root(directory());
        for (id, name, mode) in [
            (2, "open", 0o755),
            (3, "closed", 0o700),
            (4, "drop", 0o733),
            (5, "given", 0o700),
        ] {
            draft.put(id, 1, name, with(mode, 1000, directory()));
            draft.bytes(id + 100, id, "secret", b"text");
        }
        let mut acl = with(0o755, 1000, directory());
        acl.xattrs = vec![(ACL.to_vec(), vec![2, 0, 0, 0])];
        draft.put(6, 1, "acl", acl);
    });
    past.epoch(&minute(1), |draft| {
        draft.put(3, 1, "closed", with(0o755, 1000, directory()));
        draft.put(5, 1, "given", with(0o755, 2000, directory()));
    });
    // Out of what was closed, by rename; and into what is.
    past.epoch(&minute(2), |draft| {
        draft.unname(5, "secret");
        let chunk = Content::Chunk(draft.chunk(b"text"));
        draft.put(105, 2, "moved", with(0o644, 1000, file(chunk, 4)));
    });
    let scene = at_root(past);
    assert_eq!(rights(&scene, ""), (0o555, 0));
    assert_eq!(rights(&scene, "/open"), (0o555, 1000));
    assert_eq!(rights(&scene, "/closed"), (0o500, 1000));
    assert_eq!(rights(&scene, "/drop"), (0o511, 1000));
    assert_eq!(rights(&scene, "/given"), (0o000, 2000), "it was another's");
    assert_eq!(rights(&scene, "/acl"), (0o500, 1000), "it had an ACL");
    assert_eq!(rights(&scene, "/open/secret"), (0o555, 0));
    // Its versions of that time were the owner's of the closed folder.
    assert_eq!(rights(&scene, "/open/moved"), (0o500, 1000));
}

#[test]
fn a_folder_entered_below_asks_those_above() {
    let mut past = Past::new();
    past.epoch(&minute(0), |draft| {
        draft.root(directory());
        draft.put(2, 1, "home", with(0o700, 1000, directory()));
        draft.put(3, 2, "pub", with(0o755, 1000, directory()));
    });
    past.epoch(&minute(1), |draft| {
        draft.put(2, 1, "home", with(0o755, 1000, directory()));
    });
    let live = [
        (ROOT, live_dir(ROOT, Some(1), &[])),
        (SRC, live_dir(SRC, Some(3), &["home", "pub"])),
    ];
    let scene = on_stage(past, live);
    let entered = scene.walk(scene.top_of(SRC), ".history");
    assert_eq!((entered.mode, entered.uid), (0o500, 1000));
}

#[test]
fn what_is_lost_is_an_error_and_what_is_pruned_is_gone() {
    let mut past = Past::new();
    past.epoch(&minute(0), |draft| {
        draft.root(directory());
        draft.bytes(10, 1, "a", b"first");
    });
    past.epoch(&minute(1), |draft| draft.bytes(10, 1, "a", b"second"));
    past.epoch(&minute(2), |draft| {
        let lost = file(Content::Lost(LostReason::ReadError), 9);
        draft.put(10, 1, "a", lost);
    });
    let store = past.store.clone();
    let scene = at_root(past);
    let folder = scene.walk(scene.top, ".history/a").ino;
    let lost = scene.walk(folder, "2026-11-20T10-02-00.000Z");
    assert_eq!(lost.size, 9);
    let mut out = Vec::new();
    let read = scene.dir.read(&ROOT_USER, lost.ino, 0, 9, &mut out);
    assert_eq!(errno(read), libc::EIO);
    let gone = scene.walk(folder, "2026-11-20T10-01-00.000Z").ino;
    assert_eq!(scene.names(folder, 9).len(), 5);
    store.prune(Epoch(2)).expect("pruned");
    let read = scene.dir.read(&ROOT_USER, gone, 0, 9, &mut out);
    assert_eq!(errno(read), libc::ESTALE);
}

#[test]
fn nothing_can_be_changed_in_it() {
    let scene = scene();
    let history = scene.walk(scene.top, ".history").ino;
    let folder = scene.walk(history, "src/main.rs").ino;
    for parent in [history, folder] {
        let dir = &scene.dir;
        assert_eq!(errno(dir.mkdir(&ROOT_USER, parent, b"x")), libc::EROFS);
        assert_eq!(errno(dir.rmdir(&ROOT_USER, parent, b"src")), libc::EROFS);
        let moved = dir.rename(&ROOT_USER, parent, b"src", parent, b"x");
        assert_eq!(errno(moved), libc::EROFS);
    }
}
