//! Fetches what a recovery has still to bring: first what somebody waits for, then what is filled next,
//! then the rest. Each pack comes once; what is in it is in the store from then on.

use super::super::args;
use super::super::daemon::rehearsal;
use super::super::elsewhere;
use super::super::error::Error;
use super::Nobody;
use crate::archive::{
    ArchiveError, Catalog, Index, Jobs, ObjectKind, Other, Pace, PackIndex, Repository, Source,
    fetch_all, pack_name,
};
use crate::control::client::{Client, ClientError};
use crate::control::filling::{Line, Tell, Told};
use crate::control::folder::Folder;
use crate::format::filling::Filling;
use crate::id::Hash;
use crate::limits;
use parking_lot::{Condvar, Mutex};
use std::collections::{HashSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How often it is looked whether a test holds it back.
const HELD: Duration = Duration::from_millis(20);
/// How long it takes until what could not be had is asked for again, at first and in the end.
const AGAIN: Duration = Duration::from_secs(5);
const AGAIN_MAX: Duration = Duration::from_secs(300);
/// A place that did not give an object is asked at most so often whether it is there at all.
const LOOK: Duration = Duration::from_secs(1);

/// Fetches until nothing is left, or the daemon has ended.
pub fn attend(folder: &Arc<Folder>) {
    let mut pause = limits::REPLICA_FIRST_PAUSE;
    let mut again = AGAIN;
    loop {
        match fetch(folder) {
            Ok(Fetched::All) => return,
            Ok(Fetched::Part) => {
                pause = limits::REPLICA_FIRST_PAUSE;
                thread::sleep(again);
                again = (again * 2).min(AGAIN_MAX);
            }
            Err(failed) => {
                let reason = match failed {
                    Failed::Daemon(error) => format!("what came can't be kept: {error}"),
                    Failed::Place(error) => error.to_string(),
                };
                // A daemon that has ended is told nothing; this process ends with it.
                if let Ok(mut line) = connect(folder) {
                    let _ = line.say(&Tell::Trouble(Some(reason)));
                }
                thread::sleep(pause);
                pause = (pause * 2).min(limits::FILL_LAST_PAUSE);
            }
        }
    }
}

/// What came of it.
enum Fetched {
    All,
    /// Something can't be had.
    Part,
}

enum Failed {
    Daemon(io::Error),
    Place(Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        Failed::Daemon(error)
    }
}

impl From<ArchiveError> for Failed {
    fn from(error: ArchiveError) -> Failed {
        Failed::Place(error.into())
    }
}

fn connect(folder: &Folder) -> io::Result<Line> {
    let line = Client::connect(folder).and_then(|client| client.fill(&Nobody));
    line.map_err(|error: ClientError| io::Error::other(error.to_string()))
}

fn fetch(folder: &Arc<Folder>) -> Result<Fetched, Failed> {
    let mut line = connect(folder)?;
    let Told::Begun(Some((filling, here))) = line.say(&Tell::Begin)? else {
        return Ok(Fetched::All);
    };
    let places = open(&filling).map_err(Failed::Place)?;
    let Some(((repository, catalog), more)) = places.split_first() else {
        return Ok(Fetched::Part);
    };
    let others: Vec<Other<'_>> = more
        .iter()
        .map(|(repository, catalog)| Other::new(repository, catalog))
        .collect();
    let source = Source::new(repository, &others);
    let here: HashSet<Hash> = here.into_iter().collect();
    let mut packs = Vec::new();
    for set in repository.chain(catalog, filling.set)? {
        for object in set.of_kind(ObjectKind::Index) {
            packs.extend(source.value::<Index>(object)?.packs);
        }
    }
    line.say(&Tell::Trouble(None))?;
    let queue = Queue::new(packs, &here, rehearsal::hooks().fetch);
    let told = connect(folder)?;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let (queue, over) = (&queue, &is_over);
        let listener = scope.spawn(move || listen(told, queue, over));
        let fetched = fetch_packs(&source, &filling, queue, &mut line);
        is_over.store(true, Ordering::Release);
        // It panics only if this program is wrong, and that was told.
        let _ = listener.join();
        fetched
    })
}

/// The place that has the set, and the others that answer.
fn open(filling: &Filling) -> Result<Vec<(Repository, Catalog)>, Error> {
    let opening = args::Opening::of(&filling.password);
    let mut places = Vec::new();
    let mut failed = None;
    for url in &filling.places {
        let opened = match filling.places.len() {
            1 => elsewhere::open(url, &opening),
            _ => elsewhere::open_one_of(url, &opening),
        };
        let opened = opened.and_then(|repository| Ok((repository.catalog()?, repository)));
        match opened {
            Ok((catalog, repository)) => places.push((repository, catalog)),
            Err(error) => {
                // Its set has a number there, and no other place has the same.
                if places.is_empty() {
                    return Err(error);
                }
                failed.get_or_insert(error);
            }
        }
    }
    match failed {
        Some(error) if places.is_empty() => Err(error),
        _ => Ok(places),
    }
}

/// What is asked for goes into the queue.
fn listen(mut line: Line, queue: &Queue, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Acquire) {
        let Ok(Told::News { now, soon }) = line.say(&Tell::Next) else {
            return;
        };
        queue.want(&now, &soon);
    }
}

fn fetch_packs(
    source: &Source<'_>,
    filling: &Filling,
    queue: &Queue,
    line: &mut Line,
) -> Result<Fetched, Failed> {
    let jobs = match usize::try_from(filling.jobs) {
        Ok(jobs @ 1..) => Jobs::Fixed(jobs),
        _ => Jobs::Auto,
    };
    let pace = Pace::new(jobs);
    let mut looked: Option<Instant> = None;
    let (mut lost, mut failed) = (0, None);
    let next = || queue.next();
    let get = |index: &PackIndex| source.pack(index);
    let fetched = fetch_all(&pace, &next, &get, &mut |index: PackIndex, fetched| {
        let said = match fetched {
            Ok((chunks, _)) => give(line, &index, chunks, queue, &pace),
            // A place that has gone has none of its objects.
            Err(error) if error.is_of_object() => {
                let due = looked.is_none_or(|looked| looked.elapsed() >= LOOK);
                if due && let Err(gone) = is_there(source.repository, filling.set) {
                    failed = Some(Failed::Place(gone.into()));
                    queue.close();
                    return Err(error);
                }
                looked = Some(Instant::now());
                lost += 1;
                line.say(&Tell::Lost {
                    name: pack_name(index.pack),
                    chunks: index.chunks.iter().map(|chunk| chunk.hash).collect(),
                    reason: error.to_string(),
                })
                .map(|_| ())
            }
            Err(error) => {
                queue.close();
                return Err(error);
            }
        };
        said.map_err(|source| {
            queue.close();
            failed = Some(Failed::Daemon(source));
            ArchiveError::Feed("the daemon has ended".to_owned())
        })
    });
    match (fetched, failed) {
        (_, Some(failed)) => return Err(failed),
        (Err(error), None) => return Err(error.into()),
        (Ok(()), None) => {}
    }
    line.say(&Tell::All)?;
    Ok(match lost {
        0 => Fetched::All,
        _ => Fetched::Part,
    })
}

/// That a place has what is being recovered at all.
fn is_there(repository: &Repository, set: u64) -> Result<(), ArchiveError> {
    match repository.catalog()?.sets.contains_key(&set) {
        true => Ok(()),
        false => Err(ArchiveError::NoSet {
            place: repository.place().to_owned(),
            number: set,
        }),
    }
}

/// Gives a pack to the daemon, in pieces that keep nobody waiting.
fn give(
    line: &mut Line,
    index: &PackIndex,
    chunks: Vec<crate::format::transfer::RawChunk>,
    queue: &Queue,
    pace: &Pace,
) -> io::Result<()> {
    let (mut piece, mut bytes) = (Vec::new(), 0);
    for chunk in chunks {
        bytes += chunk.envelope.len();
        piece.push(chunk);
        if bytes >= limits::EXPORT_PAGE {
            line.say(&Tell::Chunks(std::mem::take(&mut piece)))?;
            bytes = 0;
        }
    }
    if !piece.is_empty() {
        line.say(&Tell::Chunks(piece))?;
    }
    line.say(&Tell::Pack(index.pack, pack_name(index.pack)))?;
    let rest = queue.came(index);
    let seconds = pace.rest(rest).map(|rest| rest.as_secs() + 1);
    line.say(&Tell::Far(rest, seconds))?;
    Ok(())
}

/// Packs that are still to come, and in which order.
struct Queue {
    packs: Vec<PackIndex>,
    /// By the first bytes of a chunk: the pack that it is in.
    of: Vec<(u64, u32)>,
    state: Mutex<State>,
    changed: Condvar,
    /// See `capture::Hooks::fetch`.
    hold: Option<PathBuf>,
}

struct State {
    taken: Vec<bool>,
    now: VecDeque<u32>,
    soon: VecDeque<u32>,
    /// Those before it were taken.
    rest: usize,
    rest_bytes: u64,
    is_closed: bool,
}

impl Queue {
    fn new(packs: Vec<PackIndex>, here: &HashSet<Hash>, hold: Option<PathBuf>) -> Queue {
        let taken: Vec<bool> = packs.iter().map(|pack| here.contains(&pack.pack)).collect();
        let mut of = Vec::new();
        let mut rest_bytes = 0;
        for (number, pack) in packs.iter().enumerate().filter(|(at, _)| !taken[*at]) {
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            of.extend(pack.chunks.iter().map(|chunk| (start(chunk.hash), number)));
            rest_bytes += pack.bytes();
        }
        of.sort_unstable();
        Queue {
            packs,
            of,
            state: Mutex::new(State {
                taken,
                now: VecDeque::new(),
                soon: VecDeque::new(),
                rest: 0,
                rest_bytes,
                is_closed: false,
            }),
            changed: Condvar::new(),
            hold,
        }
    }

    /// Whether everything, or what nobody waits for, is held back.
    fn holds(&self) -> (bool, bool) {
        let hold = self.hold.as_ref().map(std::fs::metadata);
        match hold {
            Some(Ok(file)) => (file.len() == 0, true),
            _ => (false, false),
        }
    }

    /// Packs of chunks come before others.
    fn want(&self, now: &[Hash], soon: &[Hash]) {
        let mut state = self.state.lock();
        for hash in now {
            state.now.extend(self.packs_of(*hash));
        }
        for hash in soon {
            let packs = self.packs_of(*hash);
            let last = state.soon.back().copied();
            state.soon.extend(packs.filter(|pack| Some(*pack) != last));
        }
        self.changed.notify_all();
    }

    fn packs_of(&self, hash: Hash) -> impl Iterator<Item = u32> {
        let start = start(hash);
        let first = self.of.partition_point(|(other, _)| *other < start);
        let same = self.of[first..].iter();
        same.take_while(move |(other, _)| *other == start)
            .map(|(_, pack)| *pack)
    }

    fn next(&self) -> Option<PackIndex> {
        let mut state = self.state.lock();
        loop {
            if state.is_closed {
                return None;
            }
            let (holds_all, holds_rest) = self.holds();
            if holds_all || holds_rest && state.now.is_empty() {
                self.changed.wait_for(&mut state, HELD);
                continue;
            }
            let next = match (state.now.pop_front(), state.soon.pop_front()) {
                (Some(now), soon) => {
                    if let Some(soon) = soon {
                        state.soon.push_front(soon);
                    }
                    now as usize
                }
                (None, Some(soon)) => soon as usize,
                (None, None) => {
                    let rest = state.rest;
                    if rest >= self.packs.len() {
                        return None;
                    }
                    state.rest += 1;
                    rest
                }
            };
            if !std::mem::replace(&mut state.taken[next], true) {
                return Some(self.packs[next].clone());
            }
        }
    }

    /// Bytes that are still to come.
    fn came(&self, pack: &PackIndex) -> u64 {
        let mut state = self.state.lock();
        state.rest_bytes = state.rest_bytes.saturating_sub(pack.bytes());
        state.rest_bytes
    }

    fn close(&self) {
        self.state.lock().is_closed = true;
        self.changed.notify_all();
    }
}

fn start(hash: Hash) -> u64 {
    hash.0
        .first_chunk()
        .map_or(0, |first| u64::from_be_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::PackedChunk;

    fn hash(n: u8) -> Hash {
        Hash([n; 32])
    }

    fn pack(n: u8, chunks: &[u8]) -> PackIndex {
        let chunk = |n: &u8| PackedChunk {
            hash: hash(*n),
            is_list: false,
            bytes: 10,
        };
        PackIndex {
            pack: hash(n),
            chunks: chunks.iter().map(chunk).collect(),
        }
    }

    #[test]
    fn what_somebody_waits_for_comes_first_and_nothing_twice() {
        let packs = (0..6).map(|n| pack(100 + n, &[2 * n, 2 * n + 1])).collect();
        let queue = Queue::new(packs, &[hash(100)].into(), None);
        assert_eq!(queue.state.lock().rest_bytes, 100);
        queue.want(&[], &[hash(6), hash(7), hash(8)]);
        queue.want(&[hash(11), hash(0), hash(99)], &[]);
        let order: Vec<u8> = std::iter::from_fn(|| queue.next())
            .map(|pack| pack.pack.0[0])
            .collect();
        assert_eq!(order, [105, 103, 104, 101, 102]);
        assert_eq!(queue.came(&pack(1, &[0])), 90);
    }
}
