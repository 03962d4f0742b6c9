//! Chunks and lists: written once, counted by who names them, never there by half.

use super::*;

const A: FileId = FileId(10);
const B: FileId = FileId(11);

#[test]
fn a_chunk_is_written_once_and_counted_by_who_names_it() {
    on_both(|store| {
        let mut relied = store.reliance();
        let hash = store.put_chunk(&mut relied, b"same").unwrap();
        let mut other = store.reliance();
        assert_eq!(store.put_chunk(&mut other, b"same").unwrap(), hash);
        assert_eq!(sizes(store), (0, 1));
        store
            .commit(Commit {
                inodes: vec![
                    (A, inode(Content::Chunk(hash), 4)),
                    (B, inode(Content::Chunk(hash), 4)),
                ],
                reliances: vec![relied, other],
                ..whole(1)
            })
            .unwrap();
        assert_eq!(refs(store, hash), Some(2));
        let mut relied = store.reliance();
        store.put_chunk(&mut relied, b"same").unwrap();
        assert_eq!(sizes(store), (1, 1));
    });
}

#[test]
fn a_list_counts_its_pieces_and_never_meets_a_file_of_its_bytes() {
    on_both(|store| {
        let mut relied = store.reliance();
        let piece = store.put_chunk(&mut relied, b"piece").unwrap();
        let pieces = vec![
            Piece::Data {
                len: 5,
                hash: piece,
            },
            Piece::Hole { len: 1 << 40 },
            Piece::Data {
                len: 5,
                hash: piece,
            },
        ];
        let list = ChunkList {
            cutting: Cutting::Fixed,
            pieces,
        };
        let hash = store.put_list(&mut relied, &list).unwrap();
        let bytes = crate::format::value::pack_list(&list);
        let file = store.put_chunk(&mut relied, &bytes).unwrap();
        assert_ne!(file, hash);
        store
            .commit(Commit {
                inodes: vec![
                    (A, inode(Content::List(hash), 10 + (1 << 40))),
                    (B, inode(Content::Chunk(file), bytes.len() as u64)),
                ],
                reliances: vec![relied],
                ..whole(1)
            })
            .unwrap();
        assert_eq!(refs(store, hash), Some(1));
        assert_eq!(refs(store, file), Some(1));
        assert_eq!(refs(store, piece), Some(2));
        assert_eq!(*store.view().list(hash).unwrap(), list);
        assert!(matches!(
            store.view().chunk(hash),
            Err(StoreError::WrongHash { .. })
        ));
    });
}

#[test]
fn an_abandoned_capture_leaves_nothing() {
    on_both(|store| {
        let mut relied = store.reliance();
        store.put_chunk(&mut relied, b"nobody").unwrap();
        assert_eq!(sizes(store), (0, 1));
        drop(relied);
        assert_eq!(sizes(store), (0, 0));
    });
}

#[test]
fn a_commit_that_names_an_unknown_chunk_writes_nothing() {
    on_both(|store| {
        let hash = Hash::of(b"never put");
        let error = store
            .commit(Commit {
                inodes: vec![(A, inode(Content::Chunk(hash), 4))],
                ..whole(1)
            })
            .unwrap_err();
        assert!(matches!(error, StoreError::Missing { .. }));
        assert!(!store.is_poisoned());
        assert_eq!(store.last_epoch().unwrap().0, Epoch::NONE);
    });
}

/// Left alone, the database writes each file of content once more as soon as no snapshot is as old as it. That it has
/// been told, and has understood, is in what it notes itself.
#[test]
fn the_database_is_told_to_leave_content_alone() {
    let disk = OnDisk::new();
    let notes = std::fs::read_dir(disk.path().join("rocks")).unwrap();
    let notes = notes.map(|entry| entry.unwrap().path());
    let is_options = |path: &std::path::PathBuf| path.to_string_lossy().contains("/OPTIONS-");
    let options = std::fs::read_to_string(notes.filter(is_options).max().unwrap()).unwrap();
    let rest = |family: &str| {
        let begin = format!("[CFOptions \"{family}\"]");
        let (_, section) = options.split_once(&begin).unwrap();
        let mut lines = section.lines().map(str::trim);
        let found = lines.find_map(|line| line.strip_prefix("bottommost_file_compaction_delay="));
        found.unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(rest("chunks"), 30 * 24 * 3600);
    assert_eq!(rest("live"), 0);
}
