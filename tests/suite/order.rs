//! Strict order: if A's call returned before B's began, no snapshot and no checkpoint holds B
//! without A. Chains of processes do one operation after the other, of every kind, across files and
//! directories, each with the number of its turn; what a state holds of a chain must be a moment of
//! it. So it is for a file whose pages the kernel writes back meanwhile. `tests/soak/order.sh ROUNDS` runs this for long.

use crate::harness::run::wait;
use crate::harness::{Cmd, Sandbox, mount, sized, sys, write};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, chown};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const CHAINS: usize = 6;

/// One chain: two processes that hand a token to each other. The number of the turn is, in this
/// order: bytes of a file, bytes of a file that all chains write to, the newest name in a folder, a
/// file that was renamed over another one in another folder, all by the first process; the newest
/// folder, a size, a time and bytes by the second.
const CHAIN: &str = r#"
use strict; use Fcntl;
my ($root, $c, $stop) = @ARGV;
chdir $root or die "chdir: $!";
pipe(my $there, my $to) or die; pipe(my $back, my $from) or die;
$_->autoflush(1) for $to, $from;
sub put { my ($path, $at, $n) = @_;
    sysopen(my $f, $path, O_WRONLY) or die "$path: $!";
    sysseek($f, $at, 0); my $text = sprintf('%020d', $n);
    syswrite($f, $text) == 20 or die "$path: $!"; close $f; }
my $child = fork(); defined $child or die;
if (!$child) {
    close $to; close $back;
    while (my $n = <$there>) {
        chomp $n; my $old = $n - 1;
        mkdir "$c/dirs/$n" or die "mkdir: $!";
        $old == 0 or rmdir "$c/dirs/$old" or die "rmdir: $!";
        truncate "$c/size", $n or die "truncate: $!";
        utime $n, $n, "$c/time" or die "utime: $!";
        put("$c/last", 0, $n);
        print $from "done\n";
    }
    exit 0;
}
close $there; close $from;
for (my $n = 1; !-e $stop; $n++) {
    my $old = $n - 1;
    put("$c/first", 0, $n);
    put('shared/table', 4096 * $c, $n);
    open(my $f, '>', "$c/names/$n") or die "create: $!"; close $f;
    $old == 0 or unlink "$c/names/$old" or die "unlink: $!";
    open($f, '>', "$c/new") or die "create: $!";
    syswrite($f, $n) or die; close $f;
    rename "$c/new", "other/$c" or die "rename: $!";
    print $to "$n\n"; <$back> or die 'the other process has gone';
}
close $to; waitpid $child, 0; exit($? >> 8);
"#;

fn prepare(root: &Path) {
    fs::create_dir(root.join("shared")).expect("mkdir");
    fs::create_dir(root.join("other")).expect("mkdir");
    write(root.join("shared/table"), vec![b'0'; 4096 * (CHAINS + 1)]);
    write(root.join("mapped"), vec![0; 20_000]);
    write(root.join("owned"), vec![0; 20_000]);
    for name in ["owner-first", "owner-last"] {
        write(root.join(name), "00000000000000000000");
    }
    for chain in 0..CHAINS {
        for dir in ["names", "dirs"] {
            fs::create_dir_all(root.join(format!("{chain}/{dir}"))).expect("mkdir");
        }
        for name in ["first", "last"] {
            write(root.join(format!("{chain}/{name}")), "00000000000000000000");
        }
        write(root.join(format!("{chain}/size")), "");
        write(root.join(format!("{chain}/time")), "");
        sys::set_times(&root.join(format!("{chain}/time")), (0, 0), (0, 0)).expect("utimens");
        write(root.join(format!("other/{chain}")), "0");
    }
}

fn number(text: &[u8], what: &str) -> u64 {
    let text = String::from_utf8_lossy(text);
    let number = text.trim().parse();
    number.unwrap_or_else(|_| panic!("{what} holds {text:?}"))
}

fn newest(dir: &Path) -> u64 {
    let names = mount::names(dir);
    let numbers = names.iter().map(|name| number(name.as_bytes(), "a name"));
    numbers.max().unwrap_or(0)
}

/// What a state holds of a chain, in the order of its operations.
fn turns(state: &Path, chain: usize) -> [u64; 8] {
    let at = |name: &str| state.join(format!("{chain}/{name}"));
    let read = |path: &Path| fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let table = read(&state.join("shared/table"));
    let meta = |name: &str| fs::metadata(at(name)).expect("stat");
    [
        number(&read(&at("first")), "first"),
        number(&table[4096 * chain..4096 * chain + 20], "the table"),
        newest(&at("names")),
        number(&read(&state.join(format!("other/{chain}"))), "other"),
        newest(&at("dirs")),
        meta("size").len(),
        u64::try_from(meta("time").mtime()).expect("a time"),
        number(&read(&at("last")), "last"),
    ]
}

/// The chain that meets the kernel's own writes in one file: bytes, the owner of the file that is
/// mapped, and bytes again. Of all operations on one file only what the kernel writes back from a
/// mapping is under way at the same time as another.
fn owners(root: &Path, stop: &AtomicBool) -> std::io::Result<()> {
    let open = |name: &str| OpenOptions::new().write(true).open(root.join(name));
    let (first, last) = (open("owner-first")?, open("owner-last")?);
    for n in 1.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        first.write_all_at(format!("{n:020}").as_bytes(), 0)?;
        chown(root.join("owned"), Some(n), Some(n))?;
        last.write_all_at(format!("{n:020}").as_bytes(), 0)?;
    }
    Ok(())
}

/// Makes the kernel write pages of that file back, one after the other.
fn write_back(root: &Path, page: usize, stop: &AtomicBool) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).open(root.join("owned"))?;
    let mut mapping = sys::Mapping::shared(&file, 20_000)?;
    while !stop.load(Ordering::Relaxed) {
        mapping.bytes()[page * 4096] += 1;
        mapping.sync()?;
        mapping.bytes()[page * 4096] = 0;
    }
    Ok(())
}

/// What a state holds of the chain of owners, in the order of its operations.
fn owners_turns(state: &Path) -> [u64; 3] {
    let read = |name: &str| number(&fs::read(state.join(name)).expect("read"), name);
    let uid = fs::metadata(state.join("owned")).expect("stat").uid();
    [read("owner-first"), uid.into(), read("owner-last")]
}

fn is_a_moment(state: &Path) -> u64 {
    let [first, owner, last] = owners_turns(state);
    assert!(
        first >= owner && owner >= last && first <= last + 1,
        "{}: owners: {first} {owner} {last}",
        state.display()
    );
    let mut sum = 0;
    for chain in 0..CHAINS {
        let turns = turns(state, chain);
        let in_order = turns.is_sorted_by(|earlier, later| earlier >= later);
        assert!(
            in_order && turns[0] <= turns[7] + 1,
            "{}: chain {chain}: {turns:?}",
            state.display()
        );
        sum += turns[0];
    }
    sum
}

#[test]
fn no_snapshot_and_no_checkpoint_holds_a_later_call_without_an_earlier_one() {
    let asked = std::env::var("REWINDFS_ROUNDS").ok();
    let rounds = asked.map_or(sized(25, 8), |text| text.parse().expect("a number"));
    let sandbox = Sandbox::new("order");
    prepare(&sandbox.work());
    // Who holds the locks of a file for long lets others come who have to wait for them.
    let mounted = sandbox.mount_with("settle=10ms,interval=100ms", "locked=1ms");
    let stop = sandbox.join("stop");
    let chain = |n: usize| {
        let perl = Cmd::new("perl").args(["-MIO::Handle", "-e", CHAIN]);
        let number = n.to_string();
        perl.arg(&mounted.point).arg(number).arg(&stop).spawn()
    };
    let mut chains: Vec<_> = (0..CHAINS).map(chain).collect();
    let mut file = OpenOptions::new();
    file.read(true).write(true);
    let file = file.open(mounted.join("mapped")).expect("open");
    let mut mapping = sys::Mapping::shared(&file, 20_000).expect("mmap");
    let ended = Arc::new(AtomicBool::new(false));
    let run = |work: fn(&Path, &AtomicBool) -> std::io::Result<()>| {
        let (root, ended) = (mounted.point.clone(), Arc::clone(&ended));
        std::thread::spawn(move || work(&root, &ended))
    };
    let threads = [
        run(owners),
        run(|root, stop| write_back(root, 1, stop)),
        run(|root, stop| write_back(root, 3, stop)),
    ];
    // What is asserted waits until the chains have ended: else they would go on for ever.
    let made: Vec<std::io::Result<()>> = (0..rounds)
        .map(|n: u64| {
            mapping.bytes()[10_000..10_008].copy_from_slice(&n.to_le_bytes());
            let made = fs::create_dir(mounted.past(&format!("s{n}"), ""));
            // Leaves room for checkpoints, which come before operations that destroy what stood.
            std::thread::sleep(Duration::from_millis(100));
            made
        })
        .collect();
    write(&stop, "");
    ended.store(true, Ordering::Relaxed);
    for thread in threads {
        let done = thread.join().expect("no panic");
        done.unwrap_or_else(|error| panic!("the chain of owners: {error}"));
    }
    for chain in &mut chains {
        let status = wait(chain, Duration::from_secs(60)).expect("it ends");
        assert!(status.success(), "a chain failed: {status}");
    }
    let mut last = 0;
    for (n, made) in made.into_iter().enumerate() {
        made.unwrap_or_else(|error| panic!("snapshot {n}: {error}"));
        let state = mounted.past(&format!("s{n}"), "");
        let sum = is_a_moment(&state);
        assert!(sum >= last, "s{n} goes back behind the one before it");
        last = sum;
        let past = fs::read(state.join("mapped")).expect("read");
        assert_eq!(
            past[10_000..10_008],
            (n as u64).to_le_bytes(),
            "s{n}: mapped"
        );
    }
    assert!(last > 0, "the chains did nothing");
    let states = mounted.checkpoints();
    assert!(states.len() as u64 >= rounds, "{} states", states.len());
    for state in &states {
        is_a_moment(state);
    }
    println!("{rounds} snapshots, {} states, {last} turns", states.len());
}
