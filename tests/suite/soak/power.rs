//! The power goes at any moment. Backing directory and store lie on one ext4 that is under load;
//! images of it are cut off at random instants, mounted as after another boot, and held against the
//! records.

use super::check::{self, Looked, Session, Truth};
use super::image::{Kind, Left, Victim};
use super::kill::ask;
use super::model::Taste;
use super::record::{Flushed, Load, Record};
use super::{random, rounds};
use crate::harness::compare::{Entry, Except, Tree};
use crate::harness::loopfs::LoopFs;
use crate::harness::{Boot, Cmd, Mounted, Sandbox};
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const WRITERS: usize = 3;
const SETTLE: Duration = Duration::from_millis(100);
/// Images that are cut off from one file system, before the next one is made.
const BATCH: u64 = 10;

/// Operations of a writer before the power went, among which that is looked for.
const LATELY: usize = 300;

/// An image, and between which instants it was cut off.
struct Image {
    path: PathBuf,
    begin: Instant,
    end: Instant,
}

struct Power<'a> {
    kind: Kind,
    sandbox: &'a Sandbox,
    host: &'a LoopFs,
    victim: Victim,
    truth: Truth,
    images: Vec<Image>,
    random: StdRng,
    flushed: usize,
    /// Of these, by the name before a directory above was renamed.
    former: usize,
    dropped: usize,
    /// Files with new bytes under old times.
    untold: usize,
}

#[test]
fn what_reached_the_disk_when_the_power_went_is_whole() {
    let images = rounds(20, 4);
    cut_off("power", Kind::Sent, images);
}

#[test]
fn a_disk_that_forgets_what_was_not_flushed_keeps_what_was_acknowledged() {
    let images = rounds(10, 3);
    // Of a few images it may be that all was flushed in each.
    let dropped =
        (0..5).any(|_| cut_off("power on a disk that forgets", Kind::Flushed, images) > 0);
    assert!(dropped, "no write was ever dropped");
}

/// Cuts off so many images and checks each; how many writes were dropped.
fn cut_off(name: &str, kind: Kind, images: u64) -> usize {
    let sandbox = Sandbox::new("power");
    let mut random = random(name);
    let folder = sandbox.path().to_owned();
    Boot::private(&folder, |boot| {
        let host = LoopFs::new(&sandbox, "host", "xfs", 3 << 10, &[]);
        let mut all = Looked::default();
        let (mut done, mut flushed, mut former, mut dropped, mut untold) = (0, 0, 0, 0, 0);
        while done < images {
            let count = BATCH.min(images - done);
            let victim = Victim::new(kind, host.path(), sandbox.path());
            let mut power = Power {
                kind,
                sandbox: &sandbox,
                host: &host,
                victim,
                truth: Truth::default(),
                images: Vec::new(),
                random: StdRng::seed_from_u64(random.random()),
                flushed: 0,
                former: 0,
                dropped: 0,
                untold: 0,
            };
            power.work(count);
            boot.again();
            for image in std::mem::take(&mut power.images) {
                let looked = power.check(&image);
                println!("{name}: image {done}: {looked:?}");
                all.states += looked.states;
                all.partial += looked.partial;
                all.snapshots += looked.snapshots;
                all.stood += looked.stood;
                done += 1;
            }
            flushed += power.flushed;
            former += power.former;
            dropped += power.dropped;
            untold += power.untold;
        }
        println!(
            "{name}: {images} images: {all:?}, {flushed} after fsync ({former} by a former name), \
             {dropped} writes dropped, {untold} files with new bytes under old times"
        );
        // At most the file that each writer was about to flush, and hardly ever that.
        assert!(untold as u64 <= images / 4, "{untold} files differ");
        assert!(all.states as u64 >= images, "states were looked at");
        dropped
    })
}

impl Power<'_> {
    fn work_dir(&self) -> PathBuf {
        self.victim.point.join("work")
    }

    /// The load, with its images; the directory is unmounted and mounted again between them.
    fn work(&mut self, images: u64) {
        let work = self.work_dir();
        for writer in 0..WRITERS {
            let name = format!("w{writer}");
            let dir = work.join(&name);
            fs::create_dir_all(&dir).expect("mkdir");
            let mut record = Record::of(&name, &dir);
            let stop = AtomicBool::new(false);
            let load = Load {
                taste: Taste::Mixed,
                settle: Duration::ZERO,
                session: usize::MAX,
                at_most: 100,
                stop: &stop,
            };
            record.work(&load, &dir, &mut self.random);
            self.truth.records.push(record);
        }
        let first = self.random.random_range(0..=images);
        for images in [first, images - first] {
            let begin = Timestamp::now();
            let interval = self.random.random_range(100..1500);
            let options = format!("settle={}ms,interval={interval}ms", SETTLE.as_millis());
            let mounted = mount(&work, &options);
            self.load(&mounted, images);
            mounted.umount();
            let end = Timestamp::now();
            self.truth.sessions.push(Session { begin, end });
        }
    }

    fn load(&mut self, mounted: &Mounted, images: u64) {
        let stop = AtomicBool::new(false);
        let session = self.truth.sessions.len();
        let snapshots = mounted.point.join(".snapshots");
        let seeds: Vec<u64> = (0..=WRITERS).map(|_| self.random.random()).collect();
        let mut cuts = Vec::new();
        std::thread::scope(|scope| {
            for (record, seed) in self.truth.records.iter_mut().zip(&seeds) {
                let load = Load {
                    taste: Taste::Sync,
                    settle: SETTLE,
                    session,
                    at_most: usize::MAX,
                    stop: &stop,
                };
                let dir = mounted.point.join(&record.name);
                let mut random = StdRng::seed_from_u64(*seed);
                scope.spawn(move || record.work(&load, &dir, &mut random));
            }
            let asked = &mut self.truth.asked;
            let (stop, seed) = (&stop, seeds[WRITERS]);
            scope.spawn(move || {
                let mut random = StdRng::seed_from_u64(seed);
                while !stop.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(random.random_range(0..150)));
                    ask(asked, &snapshots, &mut random, false);
                }
            });
            for _ in 0..images {
                // A time, not a wait: this is when the power goes.
                let after = Duration::from_micros(self.random.random_range(0..500_000));
                std::thread::sleep(after);
                let path = self
                    .host
                    .path()
                    .join(format!("cut{}-{}", session, cuts.len()));
                let begin = Instant::now();
                self.dropped += self.victim.cut(&path, &mut self.random);
                let end = Instant::now();
                cuts.push(Image { path, begin, end });
            }
            stop.store(true, Ordering::Relaxed);
        });
        let in_doubt = self.truth.records.iter().any(Record::is_in_doubt);
        assert!(!in_doubt, "nobody died, and a writer was told so");
        self.images.extend(cuts);
    }

    /// What a person finds who starts the machine again.
    fn check(&mut self, image: &Image) -> Looked {
        let left = Left::mount(&image.path, self.sandbox.path());
        let work = left.point.join("work");
        let store = left.point.join(".work.rewind");
        self.check_flushed(&work, image);
        let made = store.join("format").exists();
        let listed = if made { check::list(&work) } else { Vec::new() };
        let before = Tree::read(&work);
        let mounted = mount(&work, "");
        mounted.settled();
        let looked = self
            .truth
            .check(&mounted.point, &listed, image.begin, image.end);
        let what = format!("{:?}: disk / mount", self.kind);
        // Where ext4 had allocated a block and not written it, a hole is there or not.
        let except = Except {
            holes: true,
            ..Except::default()
        };
        before.must_equal(&Tree::read(&mounted.point), except, &what);
        let now = check::list(&work);
        let newest = now.last().expect("something is listed");
        let mut recorded = Tree::read(&mounted.past(&format!("@{}", newest.time), ""));
        self.untold += self.pass_over_untold(&before, &mut recorded, image);
        before.must_equal(&recorded, except, "disk / newest state");
        mounted.umount();
        check::verify(&store);
        looked
    }

    /// What no scan can see: fsync brings bytes that were written in place to the disk before the times
    /// that go with them, and the power goes between. The file has them, history does not
    /// (docs/crash.md). Nothing else may differ. How many there were.
    fn pass_over_untold(&self, disk: &Tree, recorded: &mut Tree, image: &Image) -> usize {
        let mut untold = 0;
        for (name, was) in &mut recorded.entries {
            let Some(is) = disk.entries.get(name) else {
                continue;
            };
            let times = |entry: &Entry| (entry.size, entry.mtime, entry.ctime);
            let (Some(new), Some(old)) = (&is.content, &was.content) else {
                continue;
            };
            if new != old && times(is) == times(was) && self.is_later(name, new, old, image) {
                println!(
                    "{}: new bytes under old times",
                    String::from_utf8_lossy(name)
                );
                was.content = is.content.clone();
                untold += 1;
            }
        }
        untold
    }

    /// Whether a file was given the content `new` after `old`, shortly before the power went.
    fn is_later(&self, name: &[u8], new: &str, old: &str, image: &Image) -> bool {
        let name = String::from_utf8_lossy(name);
        let Some((writer, path)) = name.split_once('/') else {
            return false;
        };
        let mut records = self.truth.records.iter();
        let Some(record) = records.find(|record| record.name == writer) else {
            return false;
        };
        let begun = record
            .states
            .iter()
            .rposition(|state| state.begin < image.end);
        let Some(last) = begun else { return false };
        let contents = (last.saturating_sub(LATELY)..=last).rev().map(|state| {
            let model = record.at(state);
            model
                .file(path)
                .map(|plain| plain.hash.to_hex()[..16].to_owned())
        });
        let mut contents = contents.skip_while(|content| content.as_deref() != Some(new));
        contents.any(|content| content.as_deref() == Some(old))
    }

    /// What an fsync was acknowledged for is there.
    fn check_flushed(&mut self, work: &Path, image: &Image) {
        for record in &self.truth.records {
            let touched = |flushed: &Flushed| {
                let later = record.states[flushed.state + 1..].iter();
                later
                    .take_while(|state| state.begin < image.end)
                    .filter_map(|state| state.op.as_ref())
                    .any(|op| flushed.names.iter().any(|name| op.touches(name)))
            };
            for flushed in &record.flushed {
                let ended = record.states[flushed.state].end;
                let acknowledged = ended.is_some_and(|end| end < image.begin);
                if !acknowledged || touched(flushed) {
                    continue;
                }
                let places = record.places(flushed);
                let holds = |place: &String| {
                    let content = fs::read(work.join(&record.name).join(place));
                    content.is_ok_and(|content| blake3::hash(&content) == flushed.hash)
                };
                let place = places.iter().position(holds);
                let place = place.unwrap_or_else(|| {
                    panic!("{}: {places:?} after an fsync", record.name);
                });
                self.flushed += 1;
                self.former += usize::from(place > 0);
            }
        }
    }
}

fn mount(work: &Path, options: &str) -> Mounted {
    let mut cmd = Cmd::rewindfs().arg("mount").arg(work);
    if !options.is_empty() {
        cmd = cmd.args(["-o", options]);
    }
    cmd.run().ok();
    Mounted::found(work.to_owned(), work.to_owned())
}
