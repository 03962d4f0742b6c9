//! A place that keeps all that it was given.

use super::faulty::Faulty;
use super::*;

fn beat(at: i64) -> Beat {
    Beat {
        store: [1; 16],
        host: "h".to_owned(),
        dir: b"/d".to_vec(),
        at: crate::time::Timestamp(at),
        every: 300,
        recorded: None,
        problems: 0,
        ended: false,
    }
}

#[test]
fn where_nothing_goes_everything_works_and_nothing_is_said_to_be_gone() {
    let place = Place::encrypted();
    let faulty = Faulty::new(place.folder.path(), 0, 0);
    let open = || Repository::open_or_create(faulty.objects(true), &place.secrecy).unwrap();
    drop(open());
    faulty.keep_all();
    let mut world = World::new(61);
    let mut copied = None;
    // As a replica whose sets take the place of older ones, and garbage that somebody has left.
    for n in 0..60 {
        let last = world.step();
        std::fs::create_dir_all(place.path("packs/00")).unwrap();
        std::fs::write(place.path(&format!("packs/00/{n}")), b"x").unwrap();
        let plan = Plan::replica(std::time::Duration::ZERO);
        let made = backup(&open(), &mut feed(&world.store), plan).unwrap();
        copied = made.set.map(|set| (set.number, last));
    }
    let made = backup(&open(), &mut feed(&world.store), plan(Kind::Full));
    assert_eq!(made.unwrap().garbage, 0);
    let (number, last) = copied.unwrap();
    let (_folder, outcome, store) = fetch(&place, number, false);
    assert!(outcome.unwrap().is_whole);
    check(&store, &world, Epoch::NONE, last);
    // Proofs add up, and signs of life become fewer.
    let repository = open();
    let said: Vec<u64> = (0..9).map(|n| repository.beat(&beat(n)).unwrap()).collect();
    let rare = notes::BEAT_WHERE_ALL_STAYS;
    assert_eq!(said[..5], [300; 5]);
    assert_eq!(said[6..], [rare; 3]);
    let catalog = Catalog::default();
    let newest = repository.last_beat(&catalog).unwrap().unwrap();
    assert_eq!((newest.at.0, newest.every), (8, rare));
    for n in 0..102_u8 {
        let proof = Proof {
            kind: ProofKind::Drilled { percent: n },
            at: crate::time::Timestamp(0),
            host: String::new(),
            sets: Vec::new(),
            rto_ms: None,
            problem: String::new(),
        };
        repository.prove(&proof).unwrap();
    }
    // A password that stays is not said to be gone.
    let second = Secret(b"second".to_vec());
    let name = repository.add_password(&second).unwrap();
    let error = repository.remove_password(&name).unwrap_err();
    assert!(
        !matches!(error, ArchiveError::NoSuchPassword { .. }),
        "{error}"
    );
    let opens = Repository::open(place.objects(), &Secrecy::Password(second));
    assert!(opens.is_ok());
}
