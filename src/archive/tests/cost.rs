//! What is asked of a place, counted.

use super::faulty::Faulty;
use super::*;
use crate::format::record::{Content, InodeVersion, Piece};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

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

/// The list that a file is made of.
fn content_of(store: &Store, name: &[u8], at: Epoch) -> Hash {
    let view = store.view();
    let root = crate::id::FileId::ROOT;
    let names = view.list_at(root, at, None, usize::MAX).unwrap();
    let (_, id, _) = names.into_iter().find(|(other, ..)| other == name).unwrap();
    let (_, version) = view.inode_at(id, at).unwrap().unwrap();
    let InodeVersion::Present(inode) = version else {
        panic!("{version:?}");
    };
    let Content::List(hash) = inode.content else {
        panic!("{inode:?}");
    };
    hash
}

/// The newest set, of which the records have come.
fn gathering<'a>(
    repository: &'a Repository,
    catalog: &'a Catalog,
    store: &'a Store,
    is_part: bool,
) -> Gathering<'a> {
    let gather = Gather {
        source: Source::new(repository, &[]),
        catalog,
        number: catalog.newest,
        store,
        partial: false,
        records_only: false,
        is_part,
        progress: &|_| (),
        cancelled: &|| false,
        jobs: Jobs::default(),
    };
    gather.begin().unwrap()
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
    let mut gathering = gathering(&repository, &catalog, &store, false);
    assert_eq!(faulty.count("get", "packs"), 0);
    let second = content_of(&store, b"file-2", last);
    gathering.contents(&[second].into()).unwrap();
    assert_eq!(faulty.count("get", "packs"), 1);
    let list = store.view().list(second).unwrap();
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

/// Of a part, only the chunks come; what is wrong with them is noticed, and the pack is asked for.
#[test]
fn of_a_pack_only_the_chunks_come_that_are_needed() {
    let place = Place::encrypted();
    let mut world = World::new(33);
    let mut random = StdRng::seed_from_u64(33);
    let mut last = Epoch::NONE;
    for n in 0..20 {
        let bytes: Vec<u8> = (0..200_000).map(|_| random.random()).collect();
        last = world.write(&format!("file-{n}"), &bytes);
    }
    send(&place, &world, Kind::Full);
    let faulty = Faulty::new(place.folder.path(), 0, 0);
    let repository = Repository::open(faulty.objects(true), &place.secrecy).unwrap();
    let catalog = repository.catalog().unwrap();
    let pack = || {
        let mut packs = repository.packs(&catalog.sets[&1]).unwrap();
        assert_eq!(packs.len(), 1);
        packs.remove(0)
    };
    let take = |names: &[&[u8]]| -> Result<u64> {
        let store = Store::in_memory().unwrap();
        let mut gathering = gathering(&repository, &catalog, &store, true);
        let before = (gathering.traffic().bytes, faulty.bytes("packs"));
        let wanted = names.iter().map(|name| content_of(&store, name, last));
        gathering.contents(&wanted.collect())?;
        let told = gathering.traffic().bytes - before.0;
        assert_eq!(told, faulty.bytes("packs") - before.1);
        for name in names {
            let list = store.view().list(content_of(&store, name, last)).unwrap();
            for piece in &list.pieces {
                if let Piece::Data { hash, .. } = piece {
                    store.view().chunk(*hash).unwrap();
                }
            }
        }
        Ok(told)
    };
    let all = pack().bytes();
    assert!(all > 4_000_000, "{all}");
    let two = take(&[b"file-3", b"file-11"]).unwrap();
    assert!((400_000..all / 5).contains(&two), "{two} of {all}");
    // Damage elsewhere in the pack is none of them; in what is needed it is named.
    let name = recover::pack_name(pack().pack);
    let bytes = std::fs::read(place.path(&name)).unwrap();
    let mut flipped = bytes.clone();
    flipped[1000] ^= 1;
    std::fs::write(place.path(&name), &flipped).unwrap();
    let failing = || {
        let errors = (0..20).filter_map(|n| take(&[format!("file-{n}").as_bytes()]).err());
        let errors: Vec<String> = errors.map(|error| error.to_string()).collect();
        for error in &errors {
            assert!(error.contains(&name), "{error}");
        }
        errors.len()
    };
    assert_eq!(failing(), 1);
    // A chunk in the place of another one is sealed as it should be, and is not the one.
    std::fs::write(place.path(&name), swapped(&bytes, &pack())).unwrap();
    assert!((1..=2).contains(&failing()), "{}", failing());
}

/// The first two chunks of the same length change places.
fn swapped(bytes: &[u8], pack: &PackIndex) -> Vec<u8> {
    let mut swapped = bytes.to_vec();
    let mut seen = std::collections::HashMap::new();
    let mut at = 0;
    for chunk in &pack.chunks {
        let length = chunk.bytes as usize;
        if let Some(before) = seen.insert(length, at) {
            swapped[at..at + length].copy_from_slice(&bytes[before..before + length]);
            swapped[before..before + length].copy_from_slice(&bytes[at..at + length]);
            return swapped;
        }
        at += length;
    }
    panic!("no two chunks have the same length");
}
