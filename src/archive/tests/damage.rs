//! Every object of a chain is taken away, cut off, flipped and exchanged with another: it is named,
//! and nothing wrong comes back.

use super::*;

#[derive(Clone, Copy, Debug)]
enum Harm {
    Delete,
    Truncate,
    Flip,
    Swap,
}

fn harm(path: &Path, other: &Path, harm: Harm) {
    let bytes = std::fs::read(path).unwrap();
    match harm {
        Harm::Delete => std::fs::remove_file(path).unwrap(),
        Harm::Truncate => std::fs::write(path, &bytes[..bytes.len() - 1]).unwrap(),
        Harm::Flip => {
            let mut flipped = bytes;
            let middle = flipped.len() / 2;
            flipped[middle] ^= 1;
            std::fs::write(path, flipped).unwrap();
        }
        Harm::Swap => {
            std::fs::copy(other, path).unwrap();
        }
    }
}

#[test]
fn each_object_that_is_missing_or_wrong_is_named_and_nothing_wrong_comes_back() {
    for place in [Place::plain(), Place::encrypted()] {
        let mut world = World::new(21);
        let mut last = None;
        for kind in [Kind::Full, Kind::Incremental, Kind::Incremental] {
            for _ in 0..3 {
                world.step();
            }
            last = Some(send(&place, &world, kind));
        }
        let last = last.unwrap();
        let objects = objects_of(&place);
        let harmed = objects
            .iter()
            .filter(|path| relative(&place, path) != "rewindfs");
        for path in harmed {
            let name = relative(&place, path);
            let is_key = name.starts_with("keys/");
            let bytes = std::fs::read(path).unwrap();
            let other = objects.iter().find(|other| *other != path).unwrap();
            for kind in [Harm::Delete, Harm::Truncate, Harm::Flip, Harm::Swap] {
                harm(path, other, kind);
                if is_key {
                    let opened = Repository::open(place.objects(), &place.secrecy).map(drop);
                    assert!(
                        matches!(opened, Err(ArchiveError::WrongPassword { .. })),
                        "{name} {kind:?}: {opened:?}"
                    );
                } else {
                    let (_folder, outcome, _) = fetch(&place, last.number, false);
                    let error = outcome.map(|outcome| format!("{outcome:?}"));
                    let error = error.expect_err(&format!("{name} {kind:?}"));
                    let text = error.to_string();
                    // Without the newest head the set is not in the list.
                    let is_listed = !matches!(error, ArchiveError::NoSet { .. });
                    assert!(!is_listed || text.contains(name), "{name} {kind:?}: {text}");
                }
                std::fs::write(path, &bytes).unwrap();
            }
        }
        let (_folder, outcome, store) = fetch(&place, last.number, false);
        assert!(outcome.unwrap().is_whole);
        check(&store, &world, Epoch::NONE, last.to);
    }
}

#[test]
fn without_a_pack_everything_comes_back_that_does_not_need_it() {
    let place = Place::encrypted();
    let mut world = World::new(22);
    world.write("first", &[1; 5000]);
    send(&place, &world, Kind::Full);
    world.write("second", &[2; 5000]);
    let last = send(&place, &world, Kind::Incremental);
    let pack = last
        .objects
        .iter()
        .map(|object| object.name())
        .find(|name| name.starts_with("packs/"));
    let pack = pack.unwrap();
    std::fs::remove_file(place.path(&pack)).unwrap();
    let repository = place.open();
    let catalog = repository.catalog().unwrap();
    let chain = repository.chain(&catalog, last.number).unwrap();
    assert_eq!(
        repository.held().unwrap().lacking(&chain),
        [(last.number, pack.clone())]
    );
    let (_folder, outcome, store) = fetch(&place, last.number, true);
    let outcome = outcome.unwrap();
    assert_eq!(outcome.lacks.len(), 1);
    assert_eq!(
        (outcome.lacks[0].set, &outcome.lacks[0].name),
        (last.number, &pack)
    );
    assert_eq!(outcome.missing, 1);
    assert!(outcome.is_whole);
    world.check(&store, Epoch(1));
    let repaired = store
        .repair(&crate::store::repair::NoMender, true, 0, &|_| true)
        .unwrap();
    assert!(
        repaired.report.problems.is_empty(),
        "{:?}",
        repaired.report.problems
    );
    let view = store.view();
    let (_, id, _) = view
        .list_at(crate::id::FileId::ROOT, last.to, None, 9)
        .unwrap()[1]
        .clone();
    let (_, version) = view.inode_at(id, last.to).unwrap().unwrap();
    let crate::format::record::InodeVersion::Present(inode) = version else {
        panic!("{version:?}");
    };
    assert!(inode.content.is_missing(), "{inode:?}");
}

/// A process that is killed and begins again fetches no pack twice.
#[test]
fn who_begins_again_goes_on_where_he_was() {
    let place = Place::plain();
    let mut world = World::new(23);
    for _ in 0..8 {
        for _ in 0..3 {
            world.step();
        }
        let made = backup(
            &place.open(),
            &mut feed(&world.store),
            plan(Kind::Incremental),
        );
        made.unwrap();
    }
    let repository = place.open();
    let catalog = repository.catalog().unwrap();
    let last = catalog.newest;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut store = Store::create(&path, StoreOptions::default()).unwrap();
    // Indexes and segments come again each time.
    let sets = catalog.sets.values().flat_map(|set| &set.objects);
    let records = sets
        .filter(|object| object.kind != ObjectKind::Pack)
        .count() as u64;
    let (mut fetched, mut tries) = (0, 0);
    loop {
        tries += 1;
        let asked = std::sync::atomic::AtomicU64::new(0);
        let enough = || asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) >= records + 3;
        let before = store.received_packs().unwrap().len() as u64;
        let outcome = gather(&repository, &catalog, last, &store, false, &enough);
        match outcome {
            Ok(outcome) => {
                assert_eq!(outcome.kept, before);
                fetched += outcome.fetched;
                break;
            }
            Err(ArchiveError::Interrupted) if tries < 20 => {
                let now = store.received_packs().unwrap().len() as u64;
                assert!(now >= before);
                fetched += now - before;
                drop(store);
                store = Store::open(&path, StoreOptions::default()).unwrap();
                if now == before {
                    // All packs are here.
                    let outcome = gather(&repository, &catalog, last, &store, false, &|| false);
                    assert_eq!(outcome.unwrap().fetched, 0);
                    break;
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(tries > 2);
    let packs = catalog.sets.values().flat_map(|set| &set.objects);
    let packs = packs
        .filter(|object| object.name().starts_with("packs/"))
        .count() as u64;
    assert_eq!(fetched, packs);
    check(&store, &world, Epoch::NONE, Epoch(24));
    // Also when all that is left is to write the files.
    let again = gather(&repository, &catalog, last, &store, false, &|| false).unwrap();
    assert_eq!((again.fetched, again.kept), (0, packs));
    store.end_recovering().unwrap();
    assert!(store.received_packs().unwrap().is_empty());
    check(&store, &world, Epoch::NONE, Epoch(24));
}

#[test]
fn with_compare_a_target_that_lost_something_gets_all_of_it_again() {
    for kind in [Harm::Delete, Harm::Truncate, Harm::Swap, Harm::Flip] {
        let place = Place::plain();
        let mut world = World::new(24);
        world.write("first", &[1; 5000]);
        let full = send(&place, &world, Kind::Full);
        let pack = full.objects.iter().map(|object| object.name());
        let pack = pack
            .into_iter()
            .find(|name| name.starts_with("packs/"))
            .unwrap();
        let other = objects_of(&place)
            .into_iter()
            .find(|path| !path.ends_with(&pack))
            .unwrap();
        harm(&place.path(&pack), &other, kind);
        world.write("second", b"x");
        let compare = Plan {
            compare: true,
            ..plan(Kind::Incremental)
        };
        let made = backup(&place.open(), &mut feed(&world.store), compare).unwrap();
        assert!(made.full_because.is_some(), "{kind:?}");
        let set = made.set.unwrap();
        let (_folder, outcome, store) = fetch(&place, set.number, false);
        assert!(outcome.unwrap().is_whole, "{kind:?}");
        check(&store, &world, Epoch::NONE, set.to);
    }
}

/// Without encryption the same bytes make the same object: what was damaged is put back.
#[test]
fn an_object_that_is_damaged_is_replaced_when_it_is_sent_again() {
    for kind in [Harm::Delete, Harm::Truncate, Harm::Swap, Harm::Flip] {
        let place = Place::plain();
        let mut world = World::new(25);
        world.write("first", &[1; 5000]);
        let full = send(&place, &world, Kind::Full);
        for object in &full.objects {
            harm(&place.path(&object.name()), &place.path("rewindfs"), kind);
        }
        let again = send(&place, &world, Kind::Full);
        assert_eq!(again.objects, full.objects);
        for number in [full.number, again.number] {
            let (_folder, outcome, store) = fetch(&place, number, false);
            assert!(outcome.unwrap().is_whole, "{kind:?}");
            check(&store, &world, Epoch::NONE, full.to);
        }
    }
}
