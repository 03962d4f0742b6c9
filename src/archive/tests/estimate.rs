//! What is said of the time that is left, against the time that it takes.

use super::faulty::Faulty;
use super::*;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::{Duration, Instant};

/// Bytes a second of the line.
const RATE: u64 = 500_000;

#[test]
fn at_half_of_the_bytes_the_rest_is_told_within_a_factor_of_two() {
    let place = Place::encrypted();
    let mut world = World::new(5);
    let mut random = StdRng::seed_from_u64(5);
    // Each set has a pack, small ones and large ones.
    for n in 0..40 {
        let bytes: Vec<u8> = (0..random.random_range(1_000..60_000))
            .map(|_| random.random())
            .collect();
        world.write(&format!("file-{n}"), &bytes);
        let made = backup(
            &place.open(),
            &mut feed(&world.store),
            plan(Kind::Incremental),
        );
        made.unwrap();
    }
    let faulty = Faulty::new(place.folder.path(), 0, 0);
    let repository = Repository::open(faulty.objects(true), &place.secrecy).unwrap();
    let catalog = repository.catalog().unwrap();
    faulty.be_slow_with("packs", RATE);
    // A run in which the machine stood still for long shows nothing: then another one.
    for _ in 0..10 {
        let store = Store::in_memory().unwrap();
        let told = Mutex::new(Vec::new());
        let gather = Gather {
            source: Source::new(&repository, &[]),
            catalog: &catalog,
            number: catalog.newest,
            store: &store,
            partial: false,
            records_only: false,
            is_part: false,
            progress: &|far| told.lock().push((Instant::now(), far)),
            cancelled: &|| false,
            jobs: Jobs::Auto,
        };
        let mut gathering = gather.begin().unwrap();
        let before = told.lock().len();
        let began = Instant::now();
        gathering.rest().unwrap();
        let end = Instant::now();
        let told = &told.lock()[before..];
        assert_eq!(told.last().map(|(_, far)| far.rest_bytes), Some(0));
        let all = told[0].1.rest_bytes;
        assert!(all > RATE, "{all} bytes take a while");
        let half = told.iter().find(|(_, far)| far.rest_bytes <= all / 2);
        let (at, far) = half.expect("it came by");
        let (rest, told) = (end - *at, far.rest.expect("it is told"));
        assert!(rest > Duration::from_millis(500), "{rest:?}");
        if told < rest * 2 && rest < told * 2 {
            return;
        }
        let line = |bytes: u64| Duration::from_secs_f64(bytes as f64 / RATE as f64);
        let (first, second) = (line(all - far.rest_bytes), line(far.rest_bytes));
        assert!(
            *at - began > first * 3 / 2 || rest > second * 3 / 2,
            "{told:?} were told and {rest:?} it took"
        );
    }
    panic!("the machine stood still each time");
}
