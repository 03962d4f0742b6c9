//! Who may do what.

use super::*;

#[test]
fn snapshots_are_made_renamed_and_deleted_by_those_who_may() {
    let scene = scene();
    let (dir, top) = (&scene.dir, scene.top);
    let owner = Context {
        uid: OWNER,
        ..ROOT_USER
    };
    let below = scene.top_of(SRC);
    let inside = scene.walk(top, "first").ino;

    assert_eq!(errno(dir.mkdir(&OTHER_USER, top, b"x")), libc::EPERM);
    assert_eq!(errno(dir.mkdir(&owner, top, b"x")), 0);
    assert_eq!(errno(dir.mkdir(&owner, below, b"y")), 0);
    assert_eq!(errno(dir.mkdir(&owner, top, b"x")), libc::EEXIST);
    assert_eq!(errno(dir.mkdir(&owner, top, b"slow")), libc::EAGAIN);
    assert_eq!(errno(dir.mkdir(&owner, inside, b"z")), libc::EROFS);
    for name in [&b"@x"[..], b".x", b"a~1", b"live", b"\xff"] {
        assert_eq!(errno(dir.mkdir(&owner, top, name)), libc::EINVAL);
    }
    assert_eq!(
        errno(dir.mkdir(&owner, top, &[b'x'; 201])),
        libc::ENAMETOOLONG
    );

    assert_eq!(
        errno(dir.rename(&OTHER_USER, top, b"x", top, b"z")),
        libc::EPERM
    );
    assert_eq!(
        errno(dir.rename(&owner, below, b"x", below, b"z")),
        libc::EROFS
    );
    assert_eq!(
        errno(dir.rename(&owner, top, b"x", below, b"z")),
        libc::EROFS
    );
    assert_eq!(errno(dir.rename(&owner, top, b"x", SRC, b"z")), libc::EXDEV);
    assert_eq!(errno(dir.rename(&owner, SRC, b"x", top, b"z")), libc::EXDEV);
    assert_eq!(
        errno(dir.rename(&owner, inside, b"src", inside, b"z")),
        libc::EROFS
    );
    assert_eq!(
        errno(dir.rename(&owner, top, b"latest", top, b"z")),
        libc::EPERM
    );
    assert_eq!(
        errno(dir.rename(&owner, top, b"x", top, b"@z")),
        libc::EINVAL
    );
    assert_eq!(
        errno(dir.rename(&owner, top, b"x", top, b"y")),
        libc::EEXIST
    );
    assert_eq!(
        errno(dir.rename(&owner, top, b"none", top, b"z")),
        libc::ENOENT
    );
    let number = scene.walk(top, "x").ino;
    assert_eq!(errno(dir.rename(&owner, top, b"x", top, b"z")), 0);
    assert_eq!(scene.walk(top, "z").ino, number);

    assert_eq!(errno(dir.rmdir(&OTHER_USER, top, b"z")), libc::EPERM);
    assert_eq!(errno(dir.rmdir(&owner, below, b"z")), libc::EROFS);
    assert_eq!(errno(dir.rmdir(&owner, inside, b"src")), libc::EROFS);
    assert_eq!(errno(dir.rmdir(&owner, top, b".checkpoints")), libc::EPERM);
    assert_eq!(errno(dir.rmdir(&owner, top, b"held")), libc::EBUSY);
    assert_eq!(errno(dir.rmdir(&owner, top, b"none")), libc::ENOENT);
    assert_eq!(errno(dir.rmdir(&owner, top, b"z")), 0);
    assert_eq!(errno(scene.lookup(top, "z")), libc::ENOENT);
    // Who stands in it stays there: only the name is gone. Made again, it is another directory.
    assert_eq!(errno(dir.getattr(&owner, number)), 0);
    assert_eq!(errno(dir.mkdir(&owner, top, b"z")), 0);
    assert_ne!(scene.walk(top, "z").ino, number);
}

#[test]
fn members_of_the_group_that_was_named_may_what_the_owner_may() {
    let mut past = Past::new();
    fill(&mut past);
    let scene = on_stage_with(past, [(ROOT, live_dir(ROOT, Some(1), &[]))], Some(GROUP));
    let (dir, top) = (&scene.dir, scene.top);
    let member = Context {
        uid: MEMBER,
        gid: 7,
        ..ROOT_USER
    };
    let (attributes, _) = dir.getattr(&OTHER_USER, top).expect("there");
    assert_eq!((attributes.mode, attributes.gid), (0o775, GROUP));
    assert_eq!(attributes.uid, OWNER);
    assert_eq!(errno(dir.mkdir(&member, top, b"x")), 0);
    assert_eq!(errno(dir.rename(&member, top, b"x", top, b"z")), 0);
    assert_eq!(errno(dir.rmdir(&member, top, b"z")), 0);
    // Who went to the group by himself is refused, whatever the kernel let pass.
    assert_eq!(errno(dir.mkdir(&OTHER_USER, top, b"x")), libc::EPERM);
}

#[test]
fn nothing_else_can_be_changed() {
    let scene = scene();
    let set = SetAttributes {
        size: Some(0),
        ..SetAttributes::default()
    };
    for path in ["first", "first/src/main.rs", "latest"] {
        let ino = scene.walk(scene.top, path).ino;
        assert_eq!(errno(scene.dir.setattr(&ROOT_USER, ino, &set)), libc::EROFS);
    }
}

#[test]
fn who_may_not_wait_is_parked() {
    let scene = scene();
    let hurried = Context {
        may_wait: false,
        ..ROOT_USER
    };
    let parked = [
        scene.dir.lookup_top(&hurried, ROOT).map(|_| ()),
        scene.dir.lookup(&hurried, scene.top, b"first").map(|_| ()),
        scene.dir.getattr(&hurried, scene.top).map(|_| ()),
        scene.dir.mkdir(&hurried, scene.top, b"x").map(|_| ()),
        scene
            .dir
            .readdir(&hurried, scene.top, 0, &mut Plain::default()),
        scene
            .dir
            .readdirplus(&hurried, scene.top, 0, &mut Plus::default()),
    ];
    assert!(
        parked
            .iter()
            .all(|answer| *answer == Err(Stop::Park(WaitsFor::Store)))
    );
}

/// /home is open to all, alice's directory in it was closed then and is open now; she works in
/// `pub`.
#[test]
fn nobody_gets_below_a_directory_that_was_closed_to_him() {
    let alice = |mode| Inode {
        uid: 1,
        gid: 1,
        mode,
        ..directory()
    };
    let mut past = Past::new();
    past.epoch("2026-11-20T10:00", |draft| {
        draft.root(directory());
        draft.put(2, 1, "alice", alice(0o700));
        draft.put(3, 2, "pub", alice(0o755));
        draft.put(4, 3, "deep", alice(0o755));
        draft.snapshot("closed");
    });
    past.epoch("2026-11-20T10:05", |draft| {
        draft.put(2, 1, "alice", alice(0o755));
        draft.snapshot("open");
    });
    let live = [
        (ROOT, live_dir(ROOT, Some(1), &[])),
        (3, live_dir(3, Some(3), &["alice", "pub"])),
    ];
    let scene = on_stage(past, live);
    let top = scene.top_of(3);
    assert_eq!(scene.walk(top, "open").mode, 0o755);
    assert_eq!(scene.walk(top, "closed").mode, 0o700);
    assert_eq!(
        scene.walk(top, ".checkpoints/2026-11-20/10-00-00.000").mode,
        0o700
    );
    assert_eq!(
        scene.walk(top, "@2026-11-20T10:00:00.000000000Z").mode,
        0o700
    );
    assert_eq!(scene.walk(top, "closed/deep").mode, 0o755);
    let getattr = scene.dir.getattr(&ROOT_USER, scene.walk(top, "closed").ino);
    assert_eq!(getattr.expect("there").0.mode, 0o700);
    // From the root, each directory is asked for itself.
    assert_eq!(scene.walk(scene.top, "closed/alice").mode, 0o700);
    assert_eq!(scene.walk(scene.top, "closed/alice/pub").mode, 0o755);
}
