//! What is asked of a place, counted.

use super::faulty::Faulty;
use super::*;
use crate::format::record::{Content, InodeVersion, Piece};

#[test]
fn a_set_costs_two_lists_of_what_is_there_and_one_look_at_each_head() {
    let place = Place::plain();
    let mut world = World::new(31);
    world.step();
    send(&place, &world, Kind::Full);
    world.step();
    send(&place, &world, Kind::Incremental);
    let faulty = Faulty::new(place.folder.path(), 0, 0);
    let repository = Repository::open(faulty.objects(true), &place.secrecy).unwrap();
    for (kind, lists) in [(Kind::Incremental, 2), (Kind::Full, 1)] {
        world.step();
        let heads = repository.catalog().unwrap().newest;
        faulty.forget_counts();
        let made = backup(&repository, &mut feed(&world.store), plan(kind)).unwrap();
        assert!(made.set.is_some());
        assert_eq!(faulty.count("list", "packs"), lists, "{kind:?}");
        assert_eq!(faulty.count("list", "heads"), 1, "{kind:?}");
        // Those that were there, and the new one: looked for, and read back.
        assert_eq!(faulty.count("get", "heads"), heads + 2, "{kind:?}");
        assert_eq!(faulty.count("get", "packs"), 0, "{kind:?}");
    }
}

/// What some files need comes alone.
#[test]
fn of_the_packs_only_those_come_that_are_needed() {
    let place = Place::plain();
    let mut world = World::new(32);
    let mut last = Epoch::NONE;
    for n in 0..6_u8 {
        // More than a chunk: a list and its pieces.
        let bytes: Vec<u8> = (0..70_000_u32).map(|at| (at / 9) as u8 ^ n).collect();
        last = world.write(&format!("file-{n}"), &bytes);
        backup(
            &place.open(),
            &mut feed(&world.store),
            plan(Kind::Incremental),
        )
        .unwrap();
    }
    let faulty = Faulty::new(place.folder.path(), 0, 0);
    let repository = Repository::open(faulty.objects(true), &place.secrecy).unwrap();
    let catalog = repository.catalog().unwrap();
    let store = Store::in_memory().unwrap();
    let gather = Gather {
        repository: &repository,
        catalog: &catalog,
        number: catalog.newest,
        store: &store,
        partial: false,
        progress: &|_| (),
        cancelled: &|| false,
        others: &[],
        standing: Standing::default(),
    };
    let mut gathering = gather.begin().unwrap();
    assert_eq!(faulty.count("get", "packs"), 0);
    let content = |name: &[u8]| {
        let view = store.view();
        let root = crate::id::FileId::ROOT;
        let names = view.list_at(root, last, None, usize::MAX).unwrap();
        let (_, id, _) = names.into_iter().find(|(other, ..)| other == name).unwrap();
        let (_, version) = view.inode_at(id, last).unwrap().unwrap();
        let InodeVersion::Present(inode) = version else {
            panic!("{version:?}");
        };
        let Content::List(hash) = inode.content else {
            panic!("{inode:?}");
        };
        hash
    };
    gathering.contents(&[content(b"file-2")].into()).unwrap();
    assert_eq!(faulty.count("get", "packs"), 1);
    let list = store.view().list(content(b"file-2")).unwrap();
    for piece in &list.pieces {
        if let Piece::Data { hash, .. } = piece {
            store.view().chunk(*hash).unwrap();
        }
    }
    // The rest follows, and nothing comes twice.
    gathering.rest().unwrap();
    assert!(gathering.end().unwrap().is_whole);
    assert_eq!(faulty.count("get", "packs"), 6);
    check(&store, &world, Epoch::NONE, last);
}
