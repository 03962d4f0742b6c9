//! Whose bytes they are that a program stores through a mapping: the kernel writes them, and does not
//! say for whom.

use crate::harness::{Cmd, Mounted, Sandbox, write};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Child;

const PAGE: usize = 4096;

/// Maps a file shared and writable, and stores what it is told.
const PROGRAM: &str = "
import mmap, sys
file = open(sys.argv[1], 'r+b')
memory = mmap.mmap(file.fileno(), 0)
print('mapped', flush=True)
for line in sys.stdin:
    at, text = line.split()
    memory[int(at):int(at) + len(text)] = text.encode()
    print('stored', flush=True)
";

struct Mapper(Child);

impl Mapper {
    fn of(mounted: &Mounted, name: &str) -> Mapper {
        let program = Cmd::new("python3").args(["-c", PROGRAM]);
        let mut mapper = Mapper(program.arg(mounted.join(name)).spawn_piped());
        mapper.says("mapped");
        mapper
    }

    fn says(&mut self, word: &str) {
        let out = self.0.stdout.as_mut().expect("piped");
        let mut line = String::new();
        BufReader::with_capacity(1, out)
            .read_line(&mut line)
            .expect("read");
        assert_eq!(line.trim(), word);
    }

    fn store(&mut self, page: usize, text: &str) {
        let input = self.0.stdin.as_mut().expect("piped");
        writeln!(input, "{} {text}", page * PAGE).expect("told");
        self.says("stored");
    }

    fn pid(&self) -> u64 {
        self.0.id().into()
    }

    fn end(mut self) {
        drop(self.0.stdin.take());
        self.0.wait().expect("ended");
    }
}

impl Drop for Mapper {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}

/// Who did something to a file last; `None`: nobody knows.
fn newest(mounted: &Mounted, name: &str) -> Option<u64> {
    mounted.sync();
    let log = Cmd::rewindfs().arg("log").arg(mounted.dir.join(name));
    let log = log.args(["--by", "actor", "--json"]).run().ok();
    log.json()[0]["who"]["pid"].as_u64()
}

#[test]
fn they_are_those_of_the_only_process_that_has_the_file_mapped() {
    // A look that comes too late on a busy machine names nobody: then it is tried again.
    let told = (0..20).any(|_| the_only_one_is_told());
    assert!(told, "nobody was ever named");
}

/// False: a look came too late. Nobody else is named ever.
fn the_only_one_is_told() -> bool {
    let sandbox = Sandbox::new("mapped-who");
    write(sandbox.work().join("data"), "a".repeat(3 * PAGE));
    let mounted = sandbox.mount("");
    mounted.sync();
    let mut one = Mapper::of(&mounted, "data");
    let told = |one: &Mapper| {
        let pid = newest(&mounted, "data");
        assert!(pid.is_none_or(|pid| pid == one.pid()), "{pid:?}");
        pid.is_some()
    };
    one.store(0, "ONE");
    if !told(&one) {
        one.end();
        return false;
    }
    // Each may have written anything.
    let mut two = Mapper::of(&mounted, "data");
    two.store(1, "TWO");
    assert_eq!(newest(&mounted, "data"), None);
    two.end();
    // These may be the last bytes of the one that has gone.
    one.store(2, "LATE");
    // Without a look at both of them, the only one of the look before is named.
    if told(&one) {
        one.end();
        return false;
    }
    one.store(0, "MORE");
    if !told(&one) {
        one.end();
        return false;
    }

    // What was stored by it alone is taken back, and the rest stays.
    let pid = one.pid().to_string();
    one.end();
    let undo = Cmd::rewindfs().arg("undo").arg(&mounted.dir);
    undo.args(["--pid", &pid]).run().ok();
    let data = fs::read(mounted.join("data")).expect("read");
    let pages: Vec<&[u8]> = data.chunks(PAGE).map(|page| &page[..4]).collect();
    assert_eq!(pages, [b"aaaa", b"TWOa", b"LATE"]);
    mounted.umount();
    true
}
