//! What can be seen of the past, and under which names.

use super::*;

#[test]
fn a_snapshot_holds_the_state_of_its_instant() {
    let scene = scene();
    assert_eq!(scene.text("first/src/main.rs"), "old");
    assert_eq!(scene.text("first/main.rs"), "old");
    assert_eq!(scene.text("second/lib/main.rs"), "newer");
    assert_eq!(scene.text("second/src/new.rs"), "");
    assert_eq!(
        errno(scene.lookup(scene.walk(scene.top, "first").ino, "lib")),
        libc::ENOENT
    );
    let src = scene.walk(scene.top, "first/src");
    assert_eq!(scene.target(src.ino, "link"), "main.rs");
    assert_eq!((src.mode, src.uid, src.nlink), (0o755, 0, 2));
    assert_eq!(src.mtime, FileTime { sec: 2, nsec: 2 });
}

#[test]
fn one_version_is_one_file_and_one_path_is_one_directory() {
    let scene = scene();
    let one = scene.walk(scene.top, "first/src/main.rs");
    let same = scene.walk(scene.top, "first/main.rs");
    let later = scene.walk(scene.top, "second/lib/main.rs");
    assert_eq!(one.ino, same.ino);
    assert_ne!(one.ino, later.ino);
    let epoch = scene.walk(scene.top, "@2026-11-20T10:00:00.000000000Z");
    assert_eq!(scene.walk(epoch.ino, "main.rs").ino, one.ino);
    // The same directory of the same state by five paths: five directories.
    let paths = [
        scene.walk(scene.top, "first/src").ino,
        scene.walk(epoch.ino, "src").ino,
        scene.walk(scene.top, "@GMT-2026.11.20-10.00.00/src").ino,
        scene
            .walk(scene.top, ".checkpoints/2026-11-20/10-00-00.000/src")
            .ino,
        scene.walk(scene.top_of(21), "first").ino,
    ];
    assert_eq!(paths.iter().collect::<BTreeSet<_>>().len(), paths.len());
}

#[test]
fn numbers_are_those_of_the_mount_before() {
    let paths = [
        "first/src",
        "first/src/main.rs",
        "latest",
        "@10:05",
        ".checkpoints/2026-11-20",
    ];
    let numbers = || {
        let scene = scene();
        paths.map(|path| scene.walk(scene.top, path).ino)
    };
    assert_eq!(numbers(), numbers());
    assert!(numbers().iter().all(|ino| ino & VIRTUAL != 0));
}

#[test]
fn times_are_symlinks_to_the_one_directory_of_their_state() {
    let scene = scene();
    let top = scene.top;
    assert_eq!(scene.target(top, "latest"), "second");
    assert_eq!(scene.target(top, "latest~1"), "first");
    assert_eq!(scene.target(top, "@10:03"), "first");
    assert_eq!(scene.target(top, "@10-12"), "second");
    assert_eq!(scene.target(top, "@15m"), "first");
    let middle = "@2026-11-20T10:05:00.500000000Z";
    assert_eq!(scene.target(top, "@10:07"), middle);
    assert_eq!(scene.target(top, "@14m"), middle);
    assert_eq!(scene.target(top, "@2026-11-20T10:05:00.500000001Z"), middle);
    assert_eq!(scene.walk(top, middle).kind, Kind::Dir);
    assert_eq!(scene.text(&format!("{middle}/src/main.rs")), "newer");
    assert_eq!(scene.walk(top, "@GMT-2026.11.20-10.07.00").kind, Kind::Dir);
    // Times of a state with a name: its symlink has another number when it leads elsewhere.
    let before = scene.walk(top, "latest").ino;
    scene.dir.mkdir(&ROOT_USER, top, b"third").expect("made");
    assert_eq!(scene.target(top, "latest"), "third");
    assert_ne!(scene.walk(top, "latest").ino, before);
    for name in [
        "@09:59",
        "@2026-11-20T10:21",
        "@x",
        "@",
        "live",
        "x",
        "latest~9",
        ".x",
        "@10:15~1",
    ] {
        assert_eq!(errno(scene.lookup(top, name)), libc::ENOENT, "{name}");
    }
    let no_text = scene.dir.lookup(&ROOT_USER, top, b"\xff");
    assert_eq!(errno(no_text), libc::ENOENT);
    let long = scene.dir.lookup(&ROOT_USER, top, &[b'x'; 256]);
    assert_eq!(errno(long), libc::ENAMETOOLONG);
}

#[test]
fn below_the_root_a_directory_shows_itself_or_what_stood_there() {
    let scene = scene();
    // lib was called src then: found by its id.
    let lib = scene.top_of(21);
    assert_eq!(scene.walk(lib, "first/main.rs").size, 3);
    // The new src did not exist then: what stood at its path is shown.
    let src = scene.top_of(SRC);
    assert_eq!(scene.walk(src, "first/main.rs").size, 3);
    assert_eq!(scene.walk(src, "second/new.rs").size, 0);
    assert_eq!(
        errno(scene.lookup(scene.walk(src, "second").ino, "main.rs")),
        libc::ENOENT
    );
    // A directory that was never there has a `.snapshots` without states.
    let unheard_of = scene.top_of(22);
    assert_eq!(scene.names(unheard_of, 10), OURS);
    assert_eq!(errno(scene.lookup(unheard_of, "first")), libc::ENOENT);
    assert_eq!(errno(scene.lookup(unheard_of, "latest")), libc::ENOENT);
    assert_eq!(errno(scene.dir.lookup_top(&ROOT_USER, 99)), libc::ESTALE);
}

#[test]
fn everything_of_a_file_is_as_it_was() {
    let mut past = Past::new();
    past.epoch("2026-11-20T10:00", |draft| {
        draft.root(directory());
        let content = {
            let hash = draft.chunk(b"data");
            draft.list(vec![
                Piece::Hole { len: 1 << 20 },
                Piece::Data { len: 4, hash },
            ])
        };
        let sparse = Inode {
            mode: 0o4751,
            uid: 7,
            gid: 8,
            nlink: 3,
            xattrs: vec![
                (b"system.posix_acl_access".to_vec(), vec![2, 0, 0, 0]),
                (b"trusted.overlay".to_vec(), b"t".to_vec()),
                (b"user.tag".to_vec(), b"v".to_vec()),
            ],
            ..file(content, (1 << 20) + 4)
        };
        draft.put(2, 1, "sparse", sparse);
        let device = Inode {
            kind: Kind::CharDevice,
            rdev: 0x103,
            size: 0,
            ..directory()
        };
        draft.put(3, 1, "null", device);
        draft.put(4, 1, "lost", file(Content::Lost(LostReason::ReadError), 9));
        draft.put(
            5,
            1,
            "secret",
            file(Content::Lost(LostReason::NoPermission), 9),
        );
        draft.snapshot("s");
    });
    let scene = on_stage(past, [(ROOT, live_dir(ROOT, Some(1), &[]))]);
    let dir = &scene.dir;
    let sparse = scene.walk(scene.top, "s/sparse");
    assert_eq!(
        (sparse.mode, sparse.uid, sparse.gid, sparse.nlink),
        (0o4751, 7, 8, 3)
    );
    assert_eq!((sparse.size, sparse.blocks), ((1 << 20) + 4, 8));
    let seek = |offset, whence| dir.lseek(&ROOT_USER, sparse.ino, offset, whence);
    assert_eq!(seek(0, libc::SEEK_DATA), Ok(1 << 20));
    assert_eq!(seek(0, libc::SEEK_HOLE), Ok(0));
    assert_eq!(errno(seek(1 << 21, libc::SEEK_DATA)), libc::ENXIO);
    assert_eq!(errno(seek(0, libc::SEEK_CUR)), libc::EINVAL);
    let value = dir.getxattr(&ROOT_USER, sparse.ino, b"user.tag");
    assert_eq!(value, Ok(b"v".to_vec()));
    assert_eq!(
        errno(dir.getxattr(&ROOT_USER, sparse.ino, b"user.x")),
        libc::ENODATA
    );
    assert_eq!(
        errno(dir.getxattr(&ROOT_USER, scene.top, b"user.x")),
        libc::ENODATA
    );
    let names = dir.listxattr(&OTHER_USER, sparse.ino);
    assert_eq!(names, Ok(b"system.posix_acl_access\0user.tag\0".to_vec()));
    let names = dir.listxattr(&ROOT_USER, sparse.ino).expect("listed");
    assert!(names.windows(8).any(|part| part == b"trusted."));
    let null = scene.walk(scene.top, "s/null");
    assert_eq!(
        (null.kind, null.rdev, null.blocks),
        (Kind::CharDevice, 0x103, 0)
    );

    let read = |name: &str| {
        let ino = scene.walk(scene.top, &format!("s/{name}")).ino;
        let mut out = vec![1, 2, 3];
        let done = dir.read(&ROOT_USER, ino, (1 << 20) - 1, 9, &mut out);
        (errno(done), out)
    };
    assert_eq!(read("sparse"), (0, b"\0data".to_vec()));
    assert_eq!(read("lost").0, libc::EIO);
    assert_eq!(read("secret").0, libc::EACCES);
    assert_eq!(read("null").0, libc::EINVAL);
    let directory = scene.walk(scene.top, "s").ino;
    assert_eq!(
        errno(dir.read(&ROOT_USER, directory, 0, 1, &mut Vec::new())),
        libc::EISDIR
    );
    let content = dir.content_of(sparse.ino).expect("a file");
    assert!(matches!(content, (Content::List(_), size) if size == (1 << 20) + 4));
}

#[test]
fn two_checkpoints_in_a_millisecond_have_two_names() {
    let mut past = Past::new();
    past.epoch("2026-11-20T10:00:00.0001Z", |draft| draft.root(directory()));
    past.skip_epoch();
    past.epoch("2026-11-20T10:00:00.0002Z", |_| {});
    past.epoch("2026-11-20T10:00:00.001Z", |_| {});
    past.epoch("2026-11-21T00:00Z", |_| {});
    let mut live = live_dir(ROOT, Some(1), &[]);
    live.attributes.gid = 5;
    let scene = on_stage(past, [(ROOT, live)]);
    let days = scene.walk(scene.top, ".checkpoints");
    assert_eq!(
        (days.mode, days.uid, days.gid, days.nlink),
        (0o755, OWNER, 5, 1)
    );
    assert_eq!(
        scene.names(days.ino, 3),
        [".", "..", "2026-11-20", "2026-11-21"]
    );
    let day = scene.walk(days.ino, "2026-11-20").ino;
    let times = ["10-00-00.000", "10-00-00.000200000", "10-00-00.001"];
    assert_eq!(scene.names(day, 9)[2..], times);
    let numbers = times.map(|name| scene.walk(day, name).ino);
    assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), 3);
    for name in [
        "10-00-00.000100000",
        "10-00-00.001000000",
        "10-00-00.002",
        "00-00-00.000",
        "x",
    ] {
        assert_eq!(errno(scene.lookup(day, name)), libc::ENOENT, "{name}");
    }
    for name in ["2026-11-19", "2026-11-22", "2026-11-2", "x"] {
        assert_eq!(errno(scene.lookup(days.ino, name)), libc::ENOENT, "{name}");
    }
}

#[test]
fn what_the_kernel_was_not_told_of_is_stale() {
    let scene = scene();
    let unknown = VIRTUAL | 12345;
    assert_eq!(errno(scene.dir.getattr(&ROOT_USER, unknown)), libc::ESTALE);
    assert_eq!(errno(scene.lookup(unknown, "x")), libc::ESTALE);
    let pruned = Node::View {
        host: ROOT,
        place: Place::Snapshot(SnapshotId(9)),
        dir: FileId::ROOT,
        epoch: Epoch(99),
    };
    let ino = scene.dir.nodes.claim(pruned);
    assert_eq!(errno(scene.dir.getattr(&ROOT_USER, ino)), libc::ESTALE);
    assert_eq!(errno(scene.lookup(ino, "src")), libc::ESTALE);
    let mut sink = Plain::default();
    assert_eq!(
        errno(scene.dir.readdir(&ROOT_USER, ino, 2, &mut sink)),
        libc::ESTALE
    );
    let merged = Node::File {
        id: FileId(3),
        version: Epoch(3),
    };
    let ino = scene.dir.nodes.claim(merged);
    assert_eq!(errno(scene.dir.getattr(&ROOT_USER, ino)), libc::ESTALE);
    // Neither a file nor a symlink is a directory.
    let file = scene.walk(scene.top, "first/main.rs").ino;
    assert_eq!(errno(scene.lookup(file, "x")), libc::ENOTDIR);
    let mut sink = Plain::default();
    assert_eq!(
        errno(scene.dir.readdir(&ROOT_USER, file, 0, &mut sink)),
        libc::ENOTDIR
    );
}
