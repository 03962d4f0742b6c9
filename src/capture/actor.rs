//! Who does something: from the thread id that a request carries to the process behind it.
//!
//! An event loop asks while the caller waits for it, so nothing may be read here that takes a lock
//! which the caller can hold meanwhile. Of /proc/PID that leaves `status` alone: cmdline, environ
//! and maps take the lock of the address space, and `stat` waits for an exec that is under way
//! (tried on Linux 6.18: an exec that drops a dirty shared mapping of our mount waits for us). The
//! start time, which only `stat` tells, and the command line are read by a thread of its own. Who
//! removes something waits for it, once and for a moment: a short `rm` would be gone before the thread
//! has had its turn on a busy machine. For the others nobody waits: of a process that has gone by then
//! these details stay unknown.

use crate::format::record::Actor;
use crate::limits;
use crossbeam_channel::{Receiver, Sender};
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A thread id is looked up again after this time: it may belong to another process by then.
const FRESH: Duration = Duration::from_secs(1);
/// Threads remembered; beyond, all are forgotten and looked up again.
const REMEMBERED_MAX: usize = 4096;
/// Ancestors recorded at most.
const ANCESTORS_MAX: usize = 16;

/// Ancestors that are looked at to find the run of a process: a run may be deep.
const LINEAGE_MAX: usize = 256;

/// Processes whose details may wait to be read.
const ASKED_MAX: usize = 1024;
/// So long who removes something waits for his own details.
const REMOVER_WAIT: Duration = Duration::from_millis(100);
/// A process that acts is asked about every `FRESH`: what was read long before may be of another one
/// that had its number.
const STALE: Duration = Duration::from_secs(5);

/// By thread and user: the process, and when it was looked up.
type Known = HashMap<(u32, u32), (Arc<Actor>, Instant)>;

/// What the thread that nobody waits for has read of a process.
struct Details {
    start: u64,
    command: Vec<u8>,
    read: Instant,
    /// They were read long ago: unless it has the same start now, they are another one's.
    doubtful: bool,
}

#[derive(Default)]
struct Answers {
    by_process: Mutex<HashMap<u32, Details>>,
    given: Condvar,
}

impl Answers {
    fn give(&self, tgid: u32, mut details: Details) {
        let mut answers = self.by_process.lock();
        if answers.len() >= REMEMBERED_MAX {
            answers.clear();
        }
        // Who has ended and is not waited for yet has a start, and no arguments any more.
        if let Some(old) = answers.remove(&tgid)
            && old.start == details.start
            && details.command.is_empty()
        {
            details.command = old.command;
        }
        answers.insert(tgid, details);
        drop(answers);
        self.given.notify_all();
    }

    /// Waits for those of a process that has been asked about. If none come, it is not waited again.
    fn wait(&self, tgid: u32, at_most: Duration) {
        let until = Instant::now() + at_most;
        let mut answers = self.by_process.lock();
        while answers.get(&tgid).is_none_or(|details| details.doubtful) {
            if self.given.wait_until(&mut answers, until).timed_out() {
                let unknown = Details {
                    start: 0,
                    command: Vec::new(),
                    read: Instant::now(),
                    doubtful: false,
                };
                answers.insert(tgid, unknown);
                return;
            }
        }
    }
}

/// Remembers who is behind each thread id.
pub struct Actors {
    boot: [u8; 16],
    known: Mutex<Known>,
    answers: Arc<Answers>,
    asked: Sender<u32>,
    runs: Arc<Runs>,
}

/// A process from which all of a run descend.
struct Root {
    pid: u32,
    /// Its start: another process may get its number.
    start: Option<u64>,
    run: u64,
}

type Runs = Mutex<Vec<Root>>;

impl Default for Actors {
    fn default() -> Actors {
        let (asked, questions) = crossbeam_channel::bounded(ASKED_MAX);
        let answers = Arc::<Answers>::default();
        let given = Arc::clone(&answers);
        let runs = Arc::<Runs>::default();
        let seen = Arc::clone(&runs);
        // Left behind when a read hangs; without it, details stay unknown.
        let reader = move || read_details(&questions, &given, &seen);
        if let Err(error) = std::thread::Builder::new()
            .name("details".to_owned())
            .spawn(reader)
        {
            log::warn!("the command lines of processes can't be told: {error}");
        }
        Actors {
            boot: boot_id(),
            known: Mutex::default(),
            answers,
            asked,
            runs,
        }
    }
}

fn read_details(questions: &Receiver<u32>, answers: &Answers, runs: &Runs) {
    for tgid in questions {
        end_of_roots(runs);
        // Gone already: what was read of it before still holds.
        let Some(start) = start_of(tgid) else {
            continue;
        };
        let command = command_of(tgid);
        let read = Instant::now();
        let details = Details {
            start,
            command,
            read,
            doubtful: false,
        };
        answers.give(tgid, details);
    }
}

/// Forgets the runs whose first process is gone without a word.
fn end_of_roots(runs: &Runs) {
    let known: Vec<(u32, Option<u64>)> = runs
        .lock()
        .iter()
        .map(|root| (root.pid, root.start))
        .collect();
    let gone: Vec<u32> = known
        .into_iter()
        .filter(|(pid, start)| start_of(*pid) != *start)
        .map(|(pid, _)| pid)
        .collect();
    if !gone.is_empty() {
        runs.lock().retain(|root| !gone.contains(&root.pid));
    }
}

/// Its arguments, each ended by 0x00; empty if it has gone.
fn command_of(pid: u32) -> Vec<u8> {
    let mut command = Vec::new();
    if let Ok(file) = std::fs::File::open(format!("/proc/{pid}/cmdline")) {
        // What was read before an error is as good as all of a shorter one.
        let _ = file
            .take(limits::COMMAND_MAX as u64)
            .read_to_end(&mut command);
    }
    command
}

/// Field 22 of proc_pid_stat(5).
fn start_of(pid: u32) -> Option<u64> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let close = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(stat.get(close + 2..)?).ok()?;
    rest.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

impl Actors {
    /// The process of the thread `tid`, which acts as `uid`. 0 is kernel write-back: unknown.
    pub fn of(&self, tid: u32, uid: u32) -> Arc<Actor> {
        let now = Instant::now();
        let key = (tid, uid);
        if let Some((actor, since)) = self.known.lock().get(&key)
            && (now.duration_since(*since) < FRESH || tid == 0)
        {
            return actor.clone();
        }
        let actor = Arc::new(self.look(tid, uid));
        let mut known = self.known.lock();
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        match known.get_mut(&key) {
            Some((old, since)) if *old == actor => {
                *since = now;
                old.clone()
            }
            _ => {
                known.insert(key, (actor.clone(), now));
                actor
            }
        }
    }

    /// The same of one who removes something.
    pub fn of_remover(&self, tid: u32, uid: u32) -> Arc<Actor> {
        let actor = self.of(tid, uid);
        if !actor.comm.is_empty() {
            self.answers.wait(actor.tgid, REMOVER_WAIT);
        }
        actor
    }

    fn look(&self, tid: u32, uid: u32) -> Actor {
        let mut actor = Actor {
            tgid: 0,
            start: 0,
            boot: self.boot,
            uid,
            comm: Vec::new(),
            command: Vec::new(),
            run: 0,
            ancestors: Vec::new(),
        };
        if tid == 0 {
            return actor;
        }
        let Some(thread) = Process::read(tid) else {
            actor.tgid = tid;
            return actor;
        };
        actor.tgid = thread.tgid;
        let process = if thread.tgid == tid {
            Some(thread)
        } else {
            Process::read(thread.tgid)
        };
        let Some(process) = process else { return actor };
        self.doubt_what_is_old(actor.tgid);
        // A full queue loses the question, and with it only the details.
        let _ = self.asked.try_send(actor.tgid);
        let mut parent = process.parent;
        let mut session = process.session == actor.tgid;
        actor.comm = process.comm;
        actor.run = self.run_of(actor.tgid, parent);
        while !session && parent > 1 && actor.ancestors.len() < ANCESTORS_MAX {
            let Some(ancestor) = Process::read(parent) else {
                break;
            };
            session = ancestor.session == parent;
            actor.ancestors.push((parent, ancestor.comm));
            parent = ancestor.parent;
        }
        actor
    }

    /// From now on what `pid` and its descendants do belongs to a run.
    pub fn begin_run(&self, pid: u32, run: u64) {
        let start = start_of(pid);
        let mut runs = self.runs.lock();
        runs.retain(|root| root.pid != pid);
        runs.push(Root { pid, start, run });
        drop(runs);
        // What was looked up before does not know of it.
        self.known.lock().clear();
    }

    /// What they do from now on does not.
    pub fn end_run(&self, run: u64) {
        self.runs.lock().retain(|root| root.run != run);
        self.known.lock().clear();
    }

    /// The run to which a process belongs, by its ancestors: also those above its session. 0: none.
    fn run_of(&self, tgid: u32, parent: u32) -> u64 {
        let roots: Vec<(u32, u64)> = self
            .runs
            .lock()
            .iter()
            .map(|root| (root.pid, root.run))
            .collect();
        if roots.is_empty() {
            return 0;
        }
        let (mut below, mut here) = (tgid, parent);
        let run_at = |pid: u32| roots.iter().find(|(root, _)| *root == pid);
        if let Some((_, run)) = run_at(tgid) {
            return *run;
        }
        for _ in 0..LINEAGE_MAX {
            if let Some((_, run)) = run_at(here) {
                return *run;
            }
            if here <= 1 {
                break;
            }
            match Process::read(here) {
                Some(process) => (below, here) = (here, process.parent),
                // It ended just now: its child has another parent by now.
                None => match Process::read(below) {
                    Some(process) if process.parent != here => here = process.parent,
                    _ => break,
                },
            }
        }
        0
    }

    /// It may be of a process that had this number before.
    fn doubt_what_is_old(&self, tgid: u32) {
        let mut answers = self.answers.by_process.lock();
        if let Some(details) = answers.get_mut(&tgid)
            && details.read.elapsed() > STALE
        {
            details.doubtful = true;
        }
    }

    /// The same with start and command line of the process, as far as they are known by now.
    pub fn with_details(&self, actor: &Actor) -> Actor {
        let mut actor = actor.clone();
        let answers = self.answers.by_process.lock();
        if let Some(details) = answers.get(&actor.tgid).filter(|known| !known.doubtful) {
            actor.start = details.start;
            actor.command.clone_from(&details.command);
        }
        actor
    }
}

/// Whether the thread `tid`, which waits for the answer to a request that it made as this user and
/// group, has `group` among its supplementary groups. A thread that has gone meanwhile has none:
/// if its number is another one's by now, that one must act as the same user to be taken for it.
pub fn is_member(tid: u32, (uid, gid): (u32, u32), group: u32) -> bool {
    if tid == 0 {
        return false;
    }
    let Ok(status) = std::fs::read_to_string(format!("/proc/{tid}/status")) else {
        return false;
    };
    let numbers = |name: &str| -> Vec<u32> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let words = line.unwrap_or_default().split_ascii_whitespace();
        words.filter_map(|word| word.parse().ok()).collect()
    };
    // The fourth of each is what files are accessed with.
    let acts_as = |name: &str| numbers(name).get(3).copied();
    acts_as("Uid:") == Some(uid)
        && acts_as("Gid:") == Some(gid)
        && numbers("Groups:").contains(&group)
}

/// What /proc/PID/status says of a process.
struct Process {
    comm: Vec<u8>,
    tgid: u32,
    parent: u32,
    session: u32,
}

impl Process {
    fn read(pid: u32) -> Option<Process> {
        let status = std::fs::read(format!("/proc/{pid}/status")).ok()?;
        let field = |name: &str| {
            status
                .split(|&byte| byte == b'\n')
                .find_map(|line| line.strip_prefix(name.as_bytes()))
        };
        let number = |name: &str| -> Option<u32> {
            let text = std::str::from_utf8(field(name)?).ok()?;
            text.split_ascii_whitespace().next()?.parse().ok()
        };
        Some(Process {
            comm: field("Name:\t")?.to_vec(),
            tgid: number("Tgid:")?,
            parent: number("PPid:")?,
            session: number("NSsid:")?,
        })
    }
}

/// The number of this boot of the machine; zeros where /proc does not tell.
pub fn boot_id() -> [u8; 16] {
    let mut id = [0; 16];
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
        let pair = std::str::from_utf8(pair).unwrap_or("0");
        *byte = u8::from_str_radix(pair, 16).unwrap_or(0);
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_told_by_the_groups_of_the_thread_that_asks() {
        let me = rustix::thread::gettid()
            .as_raw_nonzero()
            .get()
            .unsigned_abs();
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        let own = (uid.as_raw(), gid.as_raw());
        let groups = rustix::process::getgroups().expect("told");
        for group in &groups {
            assert!(is_member(me, own, group.as_raw()));
            assert!(!is_member(me, (own.0 + 1, own.1), group.as_raw()));
            assert!(!is_member(me, (own.0, own.1 + 1), group.as_raw()));
            assert!(!is_member(0, own, group.as_raw()));
        }
        assert!(!is_member(me, own, 4_000_000));
    }

    #[test]
    fn finds_this_process_behind_any_of_its_threads() {
        let actors = Actors::default();
        let here = std::process::id();
        let me = rustix::thread::gettid()
            .as_raw_nonzero()
            .get()
            .unsigned_abs();
        let actor = actors.of(me, 12);
        assert_eq!((actor.tgid, actor.uid), (here, 12));
        let started = start_of(here);
        assert!(started.is_some());
        let deadline = Instant::now() + Duration::from_secs(10);
        while Some(actors.with_details(&actor).start) != started {
            assert!(
                Instant::now() < deadline,
                "details are read by a thread of its own"
            );
            std::thread::yield_now();
        }
        let command = actors.with_details(&actor).command;
        let program = std::env::args().next().expect("a test has a name");
        assert!(command.starts_with(program.as_bytes()), "{command:?}");
        assert!(!actor.comm.is_empty());
        assert!(Arc::ptr_eq(&actor, &actors.of(me, 12)));
        assert_eq!(actors.of(0, 0).tgid, 0);
    }

    /// A process of which the arguments can be read: between its start and that there is an instant.
    fn sleeper() -> std::process::Child {
        let child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("a child");
        let until = Instant::now() + Duration::from_secs(20);
        while command_of(child.id()).is_empty() && Instant::now() < until {
            std::thread::yield_now();
        }
        child
    }

    #[test]
    fn who_removes_is_known_with_his_command_at_once() {
        let mut child = sleeper();
        let actors = Actors::default();
        let remover = actors.of(child.id(), 0);
        actors.answers.wait(remover.tgid, Duration::from_secs(20));
        let known = actors.with_details(&remover);
        child.kill().expect("it runs");
        child.wait().expect("ended");
        assert_eq!(known.command, b"sleep\x0060\x00");
        // Nobody waits twice for what does not come.
        let began = Instant::now();
        for _ in 0..1000 {
            actors.of_remover(child.id(), 0);
            actors.answers.wait(u32::MAX, REMOVER_WAIT);
        }
        assert!(began.elapsed() < 600 * REMOVER_WAIT);
    }

    #[test]
    fn who_has_ended_and_is_not_waited_for_yet_keeps_his_command() {
        let mut child = sleeper();
        let pid = child.id();
        let actors = Actors::default();
        let actor = actors.of(pid, 0);
        actors.answers.wait(pid, Duration::from_secs(20));
        child.kill().expect("it runs");
        let until = Instant::now() + Duration::from_secs(20);
        while !command_of(pid).is_empty() && Instant::now() < until {
            std::thread::yield_now();
        }
        // Asked about once more, long after: it is what it was, and only its arguments are gone.
        let long_ago = Instant::now().checked_sub(2 * STALE).expect("running");
        let read_at = |read: Instant| {
            let mut answers = actors.answers.by_process.lock();
            answers.get_mut(&pid).expect("known").read = read;
        };
        read_at(long_ago);
        actors.known.lock().clear();
        actors.of(pid, 0);
        actors.answers.wait(pid, Duration::from_secs(20));
        assert_eq!(actors.with_details(&actor).command, b"sleep\x0060\x00");
        // Of what has the same number and another start, nothing of this is told.
        actors.answers.give(
            pid,
            Details {
                start: actors.with_details(&actor).start + 1,
                command: Vec::new(),
                read: Instant::now(),
                doubtful: false,
            },
        );
        assert_eq!(actors.with_details(&actor).command, b"");
        child.wait().expect("ended");
        // Nor of what is gone before it could be read.
        actors.answers.give(
            pid,
            Details {
                start: 1,
                command: b"another".to_vec(),
                read: long_ago,
                doubtful: false,
            },
        );
        actors.doubt_what_is_old(pid);
        assert_eq!(actors.with_details(&actor).command, b"");
    }

    #[test]
    fn what_descends_from_the_first_process_of_a_run_belongs_to_it() {
        let actors = Actors::default();
        let here = std::process::id();
        let mut child = std::process::Command::new("setsid")
            .args(["sh", "-c", "sleep 60 & wait"])
            .spawn()
            .expect("a child");
        let run = |pid: u32| actors.of(pid, 0).run;
        assert_eq!((run(here), run(child.id())), (0, 0));
        actors.begin_run(here, 7);
        assert_eq!((run(here), run(child.id())), (7, 7));
        actors.begin_run(child.id(), 8);
        assert_eq!((run(here), run(child.id())), (7, 8));
        actors.end_run(8);
        assert_eq!((run(here), run(child.id())), (7, 7));
        actors.end_run(7);
        assert_eq!((run(here), run(child.id())), (0, 0));
        child.kill().expect("ended");
        child.wait().expect("gone");
    }
}
