//! The pace of live operations while the store's disk is frozen, by the clock of who does them and
//! by what the daemon counted. The same work goes on at the same time on a mount whose store
//! answers: what a busy machine adds, it adds to both.

use crate::harness::loopfs::LoopFs;
use crate::harness::mount::Mounted;
use crate::harness::{Cmd, Sandbox, noise, sys, write};
use crate::hung::{Freezer, waited};
use crate::trouble::{is_stopped, status};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const FREEZES: usize = 5;
/// Longer than a store has to hang until nobody waits for it at all, and too short for it to be
/// given up.
const FROZEN: Duration = Duration::from_secs(3);
const THAWED: Duration = Duration::from_millis(1500);
/// 25 operations of each kind in a second.
const BEAT: Duration = Duration::from_millis(40);
/// What the store may add.
const BOUND: Duration = Duration::from_millis(100);
const FILES: u64 = 8;
const SIZE: usize = 64 << 10;
/// Of a removed file: what is removed during a freeze takes some time to be recorded after it.
const REMOVED: usize = 4 * SIZE;

/// An operation, for the folder of its kind and the number of its turn.
type Operation = fn(&Path, u64) -> io::Result<()>;

/// Each kind of operation that changes something; most of them destroy what is not recorded yet.
const KINDS: [(&str, Operation); 8] = [
    ("create", |dir, n| {
        fs::write(dir.join(format!("{n}")), n.to_string())
    }),
    ("write over", |dir, n| {
        let file = OpenOptions::new().write(true).open(dir.join("large"))?;
        file.write_all_at(&[n as u8; SIZE], n % FILES * SIZE as u64)
    }),
    ("unlink", |dir, n| {
        fs::write(dir.join(format!("{n}")), noise(n, REMOVED))?;
        match n.checked_sub(FILES) {
            Some(old) => fs::remove_file(dir.join(format!("{old}"))),
            None => Ok(()),
        }
    }),
    ("rename over", |dir, n| {
        fs::write(dir.join("new"), [n as u8; SIZE])?;
        fs::rename(dir.join("new"), dir.join(format!("{}", n % FILES)))
    }),
    ("truncate", |dir, n| {
        fs::write(dir.join(format!("{}", n % FILES)), [n as u8; SIZE / 2])
    }),
    ("chmod", |dir, n| {
        let mode = Permissions::from_mode(0o600 + (n % 64) as u32);
        fs::set_permissions(dir.join("file"), mode)
    }),
    ("mapping", |dir, n| {
        let file = File::options()
            .read(true)
            .write(true)
            .open(dir.join("file"))?;
        let mut mapping = sys::Mapping::shared(&file, SIZE)?;
        mapping.bytes()[n as usize % 16 * 4096] = n as u8;
        mapping.sync()
    }),
    ("mkdir", |dir, n| {
        fs::create_dir(dir.join(format!("{n}")))?;
        n.checked_sub(FILES)
            .map_or(Ok(()), |old| fs::remove_dir(dir.join(format!("{old}"))))
    }),
];

/// A mount that has little memory to bridge a store which does not answer.
fn mount(sandbox: &Sandbox, store: &Path) -> Mounted {
    for (kind, _) in KINDS {
        let dir = sandbox.work().join(kind);
        fs::create_dir(&dir).expect("mkdir");
        write(dir.join("large"), noise(1, SIZE * FILES as usize));
        write(dir.join("file"), noise(2, SIZE));
    }
    let mount = Cmd::rewindfs().arg("mount").arg(sandbox.work());
    let mount = mount.arg("--store").arg(store);
    let mount = mount.args(["-o", "settle=50ms,interval=200ms"]);
    mount.env("REWINDFS_TEST", "stash=1536K,kept=2M").run().ok();
    let mounted = Mounted::found(sandbox.work(), sandbox.work());
    mounted.settled();
    mounted
}

/// Works at an even pace until it is told to stop; how long each operation took, longest first.
fn work(dir: &Path, operation: Operation, stop: &AtomicBool) -> Vec<Duration> {
    let mut times = Vec::new();
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let began = Instant::now();
        operation(dir, n).unwrap_or_else(|error| panic!("{}: {n}: {error}", dir.display()));
        let took = began.elapsed();
        times.push(took);
        std::thread::sleep(BEAT.saturating_sub(took));
    }
    times.sort_unstable_by(|a, b| b.cmp(a));
    times
}

#[test]
fn a_frozen_store_delays_no_live_operation_beyond_the_bound() {
    let [frozen, control] = ["pace-frozen", "pace-control"].map(Sandbox::new);
    let disks = [&frozen, &control].map(|sandbox| LoopFs::new(sandbox, "disk", "ext4", 512, &[]));
    let mounts = [(&frozen, &disks[0]), (&control, &disks[1])]
        .map(|(sandbox, disk)| mount(sandbox, &disk.path().join("store")));
    let freezer = Freezer(disks[0].path().to_owned());
    let stop = AtomicBool::new(false);
    let stop = &stop;
    let times = std::thread::scope(|scope| {
        let workers = KINDS.map(|(kind, operation)| {
            [&mounts[0], &mounts[1]].map(|mounted| {
                let dir = mounted.join(kind);
                scope.spawn(move || work(&dir, operation, stop))
            })
        });
        for _ in 0..FREEZES {
            std::thread::sleep(THAWED);
            freezer.set(true);
            std::thread::sleep(FROZEN);
            freezer.set(false);
        }
        stop.store(true, Ordering::Relaxed);
        workers.map(|pair| pair.map(|worker| worker.join().expect("no operation fails")))
    });
    let [frozen_report, control_report] = [0, 1].map(|n| status(&mounts[n]));
    // 128 ms are the next bound that is counted above 100 ms.
    let [frozen_waits, control_waits] = [&frozen_report, &control_report].map(|r| waited(r, 8));
    println!("waits above 128 ms: {frozen_waits}, and {control_waits} without a freeze");
    let mut slow = Vec::new();
    for ((kind, _), [frozen, control]) in KINDS.iter().zip(&times) {
        println!(
            "{kind}: {} and {} operations; the longest {:?}, without a freeze {:?}",
            frozen.len(),
            control.len(),
            &frozen[..4],
            &control[..4]
        );
        // Some may have had bad luck with the machine: each freeze would hit one.
        if frozen[FREEZES - 2] > BOUND + control[1] {
            slow.push(kind);
        }
    }
    assert!(slow.is_empty(), "the store delayed: {slow:?}");
    // What holds the daemon up once may hit one operation of each kind.
    assert!(
        frozen_waits <= control_waits + KINDS.len() as u64,
        "{} / {}",
        frozen_report["mounted"]["waits"],
        control_report["mounted"]["waits"]
    );
    for (mounted, report) in mounts.into_iter().zip([frozen_report, control_report]) {
        assert!(!is_stopped(&report), "{report}");
        mounted.sync();
        mounted.umount();
    }
}
