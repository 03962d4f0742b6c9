//! Strict order: if A's call returned before B's began, no snapshot and no checkpoint holds B
//! without A. Chains of processes do one operation after the other, of every kind, across files and
//! directories, each with the number of its turn; what a state holds of a chain must be a moment of
//! it.
//!
//! Of all operations on one file the kernel lets only two sorts run at once: what it writes back from
//! a mapping, and anything else. So there are short chains as well, of which the middle is a file
//! whose pages are written back all the time: there an operation that took its epoch, and then waited
//! for its locks, is overtaken by operations of the next epoch. `late=` makes that common.
//! `tests/soak/order.sh ROUNDS` runs this for long.

use crate::harness::run::wait;
use crate::harness::{Cmd, Sandbox, mount, sized, sys, wait_for, write};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const CHAINS: usize = 4;
const MEETINGS: usize = 6;
const PAGES: usize = 5;
const PAGE: usize = 4096;
const BETWEEN_WRITE_BACKS: Duration = Duration::from_millis(15);
const BETWEEN_SNAPSHOTS: Duration = Duration::from_millis(20);

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

/// A short chain: bytes of a file, owner and bytes of one that is written back meanwhile, bytes.
const MEETING: &str = r#"
use strict; use Fcntl;
my ($root, $c, $stop) = @ARGV;
chdir "$root/meeting$c" or die "chdir: $!";
my %file;
for ('first', 'mapped', 'last') { sysopen($file{$_}, $_, O_WRONLY) or die "$_: $!"; }
sub put { my ($name, $n) = @_;
    sysseek($file{$name}, 0, 0); my $text = sprintf('%020d', $n);
    syswrite($file{$name}, $text) == 20 or die "$name: $!"; }
for (my $n = 1; !-e $stop; $n++) {
    put('first', $n);
    chown $n, $n, 'mapped' or die "chown: $!";
    put('mapped', $n);
    put('last', $n);
}
"#;

fn prepare(root: &Path) {
    fs::create_dir(root.join("shared")).expect("mkdir");
    fs::create_dir(root.join("other")).expect("mkdir");
    write(root.join("shared/table"), vec![b'0'; 4096 * (CHAINS + 1)]);
    write(root.join("mapped"), vec![0; 20_000]);
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
    for meeting in 0..MEETINGS {
        let dir = root.join(format!("meeting{meeting}"));
        fs::create_dir(&dir).expect("mkdir");
        write(dir.join("mapped"), vec![b'0'; PAGES * PAGE]);
        chown(dir.join("mapped"), Some(0), Some(0)).expect("chown");
        for name in ["first", "last"] {
            write(dir.join(name), "00000000000000000000");
        }
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

/// What a state holds of a short chain, in the order of its operations.
fn meeting(state: &Path, number_of: usize) -> [u64; 4] {
    let dir = state.join(format!("meeting{number_of}"));
    let bytes = |name: &str| {
        let content = fs::read(dir.join(name));
        let content = content.unwrap_or_else(|error| panic!("{}: {name}: {error}", dir.display()));
        number(&content[..20], name)
    };
    let owner = fs::metadata(dir.join("mapped")).expect("stat").uid();
    [bytes("first"), owner.into(), bytes("mapped"), bytes("last")]
}

/// Makes the kernel write pages of the file of a short chain back, some of them at once.
fn write_back(root: &Path, meeting: usize, stop: &AtomicBool) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true);
    let file = file.open(root.join(format!("meeting{meeting}/mapped")))?;
    let mut mapping = sys::Mapping::shared(&file, PAGES * PAGE)?;
    for n in 1_usize.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        mapping.bytes()[(1 + n % (PAGES - 1)) * PAGE] = n.to_le_bytes()[0];
        sys::begin_write_back(&file)?;
        std::thread::sleep(BETWEEN_WRITE_BACKS);
    }
    Ok(())
}

fn is_a_moment(state: &Path) -> u64 {
    let chains = (0..CHAINS).map(|chain| turns(state, chain).to_vec());
    let meetings = (0..MEETINGS).map(|number| meeting(state, number).to_vec());
    let mut sum = 0;
    for (place, turns) in chains.chain(meetings).enumerate() {
        let (first, last) = (turns[0], turns[turns.len() - 1]);
        let in_order = turns.is_sorted_by(|earlier, later| earlier >= later);
        assert!(
            in_order && first <= last + 1,
            "{}: chain {place}: {turns:?}",
            state.display()
        );
        sum += first;
    }
    sum
}

#[test]
fn no_snapshot_and_no_checkpoint_holds_a_later_call_without_an_earlier_one() {
    let asked = std::env::var("REWINDFS_ROUNDS").ok();
    let rounds = asked.map_or(sized(40, 10), |text| text.parse().expect("a number"));
    let sandbox = Sandbox::new("order");
    prepare(&sandbox.work());
    let mounted = sandbox.mount_with("settle=10ms,interval=100ms", "late=30ms");
    let stop = sandbox.join("stop");
    let chain = |program, n: usize| {
        let perl = Cmd::new("perl").args(["-MIO::Handle", "-e", program]);
        let number = n.to_string();
        perl.arg(&mounted.point).arg(number).arg(&stop).spawn()
    };
    let mut chains: Vec<_> = (0..CHAINS).map(|n| chain(CHAIN, n)).collect();
    chains.extend((0..MEETINGS).map(|n| chain(MEETING, n)));
    let mut file = OpenOptions::new();
    file.read(true).write(true);
    let file = file.open(mounted.join("mapped")).expect("open");
    let mut mapping = sys::Mapping::shared(&file, 20_000).expect("mmap");
    let ended = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..MEETINGS)
        .map(|meeting| {
            let (root, ended) = (mounted.point.clone(), Arc::clone(&ended));
            std::thread::spawn(move || write_back(&root, meeting, &ended))
        })
        .collect();
    // Each has begun: there is something to be in order.
    let begun = |place: String| {
        let first = fs::read(mounted.join(&format!("{place}/first")));
        first.is_ok_and(|text| number(&text, "first") > 0)
    };
    wait_for("the chains to begin", || {
        (0..CHAINS).all(|n| begun(n.to_string()))
            && (0..MEETINGS).all(|n| begun(format!("meeting{n}")))
    });
    // What is asserted waits until the chains have ended: else they would go on for ever.
    let made: Vec<std::io::Result<()>> = (0..rounds)
        .map(|n: u64| {
            mapping.bytes()[10_000..10_008].copy_from_slice(&n.to_le_bytes());
            let made = fs::create_dir(mounted.past(&format!("s{n}"), ""));
            // Leaves room for checkpoints, which come before operations that destroy what stood.
            std::thread::sleep(BETWEEN_SNAPSHOTS);
            made
        })
        .collect();
    write(&stop, "");
    ended.store(true, Ordering::Relaxed);
    for thread in threads {
        let done = thread.join().expect("no panic");
        done.unwrap_or_else(|error| panic!("write-back: {error}"));
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
