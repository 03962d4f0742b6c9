//! A snapshot is one instant: writers go on while snapshots are made, and what is in them must
//! be a state that was there.

use crate::harness::{Sandbox, noise, sized, sys, write};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

fn number(path: &std::path::Path) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    text.trim()
        .parse()
        .unwrap_or_else(|_| panic!("{path:?} holds {text:?}"))
}

/// Runs `writer(n)` again and again while `count` snapshots are made, then looks at each.
fn under_snapshots(
    name: &str,
    count: usize,
    prepare: impl Fn(&std::path::Path),
    writer: impl Fn(&std::path::Path, u64) + Sync,
    look: impl Fn(&std::path::Path),
) {
    let sandbox = Sandbox::new(name);
    prepare(&sandbox.work());
    let mounted = sandbox.mount("");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (point, over, writer) = (&mounted.point, &over, &writer);
        scope.spawn(move || {
            let mut n = 1;
            while !over.load(Ordering::Relaxed) {
                writer(point, n);
                n += 1;
            }
        });
        // The flag must be set also when a snapshot fails, or the writer never ends.
        let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for n in 0..count {
                mounted.snapshot(&format!("s{n}"));
            }
        }));
        over.store(true, Ordering::Relaxed);
        if let Err(panic) = made {
            std::panic::resume_unwind(panic);
        }
    });
    for n in 0..count {
        look(&mounted.past(&format!("s{n}"), ""));
    }
}

#[test]
fn no_snapshot_holds_a_later_call_without_an_earlier_one() {
    under_snapshots(
        "ordered",
        sized(60, 20),
        |root| {
            for name in ["a", "b", "c"] {
                write(root.join(name), "0");
            }
        },
        |root, n| {
            // Fixed width: one write(2), no moment in which the file is empty.
            for name in ["a", "b", "c"] {
                let file = OpenOptions::new()
                    .write(true)
                    .open(root.join(name))
                    .expect("open");
                file.write_all_at(format!("{n:020}").as_bytes(), 0)
                    .expect("write");
            }
        },
        |state| {
            let [a, b, c] = ["a", "b", "c"].map(|name| number(&state.join(name)));
            assert!(a >= b && b >= c && a <= c + 1, "{state:?}: {a} {b} {c}");
        },
    );
}

#[test]
fn a_file_is_of_one_instant_while_it_is_overwritten() {
    const PIECE: usize = 256 << 10;
    let pieces = 48;
    under_snapshots(
        "one-file",
        sized(40, 10),
        |root| write(root.join("image"), vec![1; PIECE * pieces]),
        |root, n| {
            let image = OpenOptions::new()
                .write(true)
                .open(root.join("image"))
                .expect("open");
            let stamp = (n % 251) as u8 + 1;
            for piece in 0..pieces {
                image
                    .write_all_at(&vec![stamp; PIECE], (piece * PIECE) as u64)
                    .expect("write");
            }
        },
        |state| {
            let image = fs::read(state.join("image")).expect("read");
            assert_eq!(image.len(), PIECE * pieces);
            let stamps: Vec<u8> = image.chunks(PIECE).map(|piece| piece[0]).collect();
            for (n, piece) in image.chunks(PIECE).enumerate() {
                assert!(
                    piece.iter().all(|byte| *byte == stamps[n]),
                    "{state:?}: piece {n} is mixed"
                );
            }
            let mut runs = stamps.clone();
            runs.dedup();
            let right = match runs[..] {
                [_] => true,
                [new, old] => new == old % 251 + 1,
                _ => false,
            };
            assert!(right, "{state:?}: {stamps:?}");
        },
    );
}

#[test]
fn a_rename_is_seen_whole() {
    under_snapshots(
        "renames",
        sized(60, 20),
        |root| {
            write(root.join("current"), "0");
            fs::create_dir(root.join("dir")).expect("mkdir");
            write(root.join("dir/one"), "x");
            fs::create_dir(root.join("other")).expect("mkdir");
        },
        |root, n| {
            write(root.join("next"), n.to_string());
            fs::rename(root.join("next"), root.join("current")).expect("rename");
            let (from, to) = if n % 2 == 1 {
                ("dir", "other")
            } else {
                ("other", "dir")
            };
            fs::rename(root.join(from).join("one"), root.join(to).join("one")).expect("rename");
        },
        |state| {
            number(&state.join("current"));
            let here = [
                state.join("dir/one").exists(),
                state.join("other/one").exists(),
            ];
            assert!(here[0] != here[1], "{state:?}: {here:?}");
        },
    );
}

#[test]
fn exchanged_files_are_never_both_the_same() {
    under_snapshots(
        "exchange",
        sized(60, 20),
        |root| {
            write(root.join("a"), noise(1, 50_000));
            write(root.join("b"), noise(2, 50_000));
        },
        |root, _| {
            sys::renameat2(&root.join("a"), &root.join("b"), libc::RENAME_EXCHANGE)
                .expect("rename");
        },
        |state| {
            let read = |name: &str| fs::read(state.join(name)).expect("read");
            let both = (read("a"), read("b"));
            let right = [
                (noise(1, 50_000), noise(2, 50_000)),
                (noise(2, 50_000), noise(1, 50_000)),
            ];
            assert!(right.contains(&both), "{state:?}");
        },
    );
}

#[test]
fn what_returned_before_is_in_and_what_came_after_is_not() {
    let sandbox = Sandbox::new("before-after");
    let mounted = sandbox.mount("");
    for n in 0..sized(100, 30) {
        let path = mounted.join("file");
        write(&path, format!("before {n}"));
        write(mounted.join(&format!("new{n}")), "x");
        mounted.snapshot(&format!("s{n}"));
        write(&path, format!("after {n}"));
        let text = fs::read_to_string(mounted.past(&format!("s{n}"), "file")).expect("read");
        assert_eq!(text, format!("before {n}"));
        assert!(mounted.past(&format!("s{n}"), &format!("new{n}")).exists());
        assert!(
            !mounted
                .past(&format!("s{n}"), &format!("new{}", n + 1))
                .exists()
        );
    }
}

#[test]
fn stores_through_a_mapping_are_in_the_next_snapshot() {
    let sandbox = Sandbox::new("mapped");
    let mounted = sandbox.mount("");
    write(mounted.join("file"), vec![b'.'; 20_000]);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(mounted.join("file"))
        .expect("open");
    let mut mapping = sys::Mapping::shared(&file, 20_000).expect("mmap");
    for n in 0..10_u8 {
        mapping.bytes()[10_000] = b'0' + n;
        mounted.snapshot(&format!("s{n}"));
        let past = fs::read(mounted.past(&format!("s{n}"), "file")).expect("read");
        assert_eq!(past[10_000], b'0' + n);
    }
}
