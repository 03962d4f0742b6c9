//! Making, opening and losing the folder of a store, and who may have it open.

use super::*;

const A: FileId = FileId(10);

#[test]
fn a_store_is_found_again_as_it_was_left() {
    let mut disk = OnDisk::new();
    let gap = Gap {
        from: Timestamp(1),
        to: None,
        reason: "full".to_owned(),
    };
    let synced = Synced {
        epoch: Epoch(1),
        boot: [1; 16],
        clean: true,
    };
    let live = LiveEntry {
        id: A,
        birth: None,
        size: 3,
        mtime: FileTime::default(),
        ctime: FileTime::default(),
        looked: FileTime::default(),
        epoch: Epoch(1),
    };
    let (file, id) = {
        let store = disk.store();
        let mut relied = store.reliance();
        let hash = store.put_chunk(&mut relied, b"here").unwrap();
        store
            .commit(Commit {
                inodes: vec![(A, inode(Content::Chunk(hash), 4))],
                live: vec![(77, Some(live))],
                reliances: vec![relied],
                ..whole(1)
            })
            .unwrap();
        store.put_gap(1, &gap).unwrap();
        store.set_synced(synced).unwrap();
        (store.new_file_id().unwrap(), store.id().unwrap())
    };
    let lineage = |disk: &OnDisk| {
        let view = disk.store().view();
        view.header(view.newest_epoch().unwrap().unwrap())
            .unwrap()
            .unwrap()
            .lineage
    };
    let before = lineage(&disk);
    disk.reopen();
    let store = disk.store();
    assert_eq!(store.id().unwrap(), id);
    assert!(store.new_file_id().unwrap() > file);
    assert_eq!(store.gaps().unwrap(), [gap]);
    assert_eq!(store.synced().unwrap(), Some(synced));
    assert_eq!(store.live(77).unwrap(), Some(live));
    assert_eq!(&*store.view().chunk(Hash::of(b"here")).unwrap(), b"here");
    store.commit(whole(2)).unwrap();
    assert_ne!(lineage(&disk), before);
    let (free, size) = disk.store().free_space().unwrap();
    assert!(free > 0 && free <= size);
}

#[test]
fn a_second_opener_is_told_that_it_is_locked() {
    let disk = OnDisk::new();
    let error = Store::open(&disk.path(), StoreOptions::default()).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
}

/// Set for the process that another test starts.
const CHILD: &str = "REWINDFS_TEST_STORE";

#[test]
fn another_process_is_told_that_it_is_locked() {
    let mut disk = OnDisk::new();
    let path = disk.path();
    let finds_it_locked = || {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::opening::as_another_process"])
            .env(CHILD, &path)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap()
            .success()
    };
    assert!(finds_it_locked());
    disk.store = None;
    assert!(!finds_it_locked());
}

/// What the other process does: it succeeds if the store is locked.
#[test]
fn as_another_process() {
    let Some(path) = std::env::var_os(CHILD) else {
        return;
    };
    let error = Store::open(path.as_ref(), StoreOptions::default()).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error:?}");
}

#[test]
fn what_is_no_store_is_told_apart() {
    use std::os::unix::fs::PermissionsExt;
    let open = |path: &std::path::Path| Store::open(path, StoreOptions::default()).unwrap_err();
    let mut disk = OnDisk::new();
    disk.store = None;
    let path = disk.path();
    let missing = path.with_file_name("missing");
    assert!(matches!(open(&missing), StoreError::NotAStore { .. }));
    let link = path.with_file_name("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(matches!(open(&link), StoreError::NotAStore { .. }));
    let wide = std::fs::Permissions::from_mode(0o750);
    std::fs::set_permissions(&path, wide).unwrap();
    assert!(matches!(
        open(&path),
        StoreError::Exposed { mode: 0o750, .. }
    ));
    let narrow = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(&path, narrow).unwrap();
    std::fs::write(path.join("format"), "rewindfs store 2\n").unwrap();
    let newer = open(&path);
    assert!(matches!(newer, StoreError::NewerFormat { found: 2, .. }));
    std::fs::write(path.join("format"), "something else\n").unwrap();
    assert!(matches!(open(&path), StoreError::NotAStore { .. }));
    std::fs::remove_file(path.join("format")).unwrap();
    assert!(matches!(open(&path), StoreError::NotAStore { .. }));
    std::fs::write(path.join("format"), "rewindfs store 1\n").unwrap();
    std::fs::remove_dir_all(path.join("rocks")).unwrap();
    assert!(matches!(open(&path), StoreError::Unopenable { .. }));
    std::fs::write(path.join("file"), "").unwrap();
    let error = Store::create(&path, StoreOptions::default()).unwrap_err();
    assert!(matches!(error, StoreError::NotEmpty { .. }));
}

#[test]
fn a_store_that_was_half_made_is_made_and_a_used_one_is_not() {
    let mut disk = OnDisk::new();
    disk.store = None;
    std::fs::remove_file(disk.path().join("format")).unwrap();
    // As RocksDB writes its options, before they have their name.
    let options = disk.path().join("rocks").join("OPTIONS-000007.dbtmp");
    std::fs::write(options, "").unwrap();
    assert!(Store::is_half_made(&disk.path()).unwrap());
    let store = Store::create(&disk.path(), StoreOptions::default()).unwrap();
    store.commit(whole(1)).unwrap();
    drop(store);
    std::fs::remove_file(disk.path().join("format")).unwrap();
    let error = Store::create(&disk.path(), StoreOptions::default()).unwrap_err();
    assert!(matches!(error, StoreError::NotEmpty { .. }));
    std::fs::write(disk.path().join("format"), "rewindfs store 1\n").unwrap();
    disk.reopen();
    assert_eq!(disk.store().last_epoch().unwrap().0, Epoch(1));
}

#[test]
fn a_store_that_was_removed_takes_no_commit() {
    let disk = OnDisk::new();
    disk.store().commit(whole(1)).unwrap();
    std::fs::rename(disk.path(), disk.path().with_file_name("moved")).unwrap();
    disk.store().commit(whole(2)).unwrap();
    std::fs::remove_dir_all(disk.path().with_file_name("moved")).unwrap();
    let error = disk.store().commit(whole(3)).unwrap_err();
    assert!(matches!(error, StoreError::Removed));
    assert!(disk.store().is_poisoned());
}

#[test]
fn what_a_repair_left_that_was_killed_is_removed_at_the_next_opening() {
    let mut disk = OnDisk::new();
    disk.store().commit(whole(1)).unwrap();
    let left = disk.path().join("rocks.new");
    disk.store = None;
    std::fs::create_dir(&left).unwrap();
    std::fs::write(left.join("000001.sst"), "half").unwrap();
    disk.reopen();
    assert!(!left.exists());
    assert_sound(disk.store());
}
