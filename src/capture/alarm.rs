//! The alarm: one actor destroys many files within a short time, or makes many unreadable. Nothing is
//! stopped; the state before is held, and who it was is said.
//!
//! 1. Nothing is counted on the live path: what a commit finds is counted there, and looked at when
//!    it is durable.
//! 2. An actor is all processes of one name below the same ancestors of the same names, in one
//!    session, for one user: `find -exec rm`, or a loop in a shell, is one.
//! 3. A file counts once, however often it lost content within that time: it is gone, shorter, or
//!    other bytes stand below its old end. What is appended destroys nothing.
//! 4. What counts falls out after `ALARM_WITHIN`, what was scrambled after `SCRAMBLED_WITHIN`.
//! 5. While somebody is on the way to an alarm, the state before is pinned: no prune takes it.

mod folders;
#[cfg(test)]
mod tests;

use super::Recorder;
use super::work::Captured;
use crate::format::alarm::{Alarm, AlarmKind};
use crate::format::record::{
    Actor, Content, Dirent, Inode as InodeRecord, InodeVersion, Kind, Piece,
};
use crate::id::{Epoch, FileId, Hash};
use crate::limits;
use crate::store::{Pin, StoreError, View};
use crate::time::Timestamp;
use folders::{count_above, deepest, half_of_one};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Actors that are watched at once; beyond, those are forgotten that did least.
const ACTORS_MAX: usize = 256;
/// Changed contents that are looked at, of one actor in one state.
const LOOKED_MAX: usize = 256;
/// Pieces of a content whose compression is looked at.
const PIECES_MAX: usize = 4;
/// Files of one actor in one state that are known again in the next.
const KNOWN_MAX: usize = 4096;
/// Folders of one actor that are counted apart.
const FOLDERS_MAX: usize = 4096;

/// What processes of one actor have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    uid: u32,
    boot: [u8; 16],
    /// Of the session's leader, or of the process if nobody stands above it.
    session: u32,
    /// Names from the process up to below the leader.
    chain: Vec<Vec<u8>>,
}

impl Key {
    fn of(actor: &Actor) -> Key {
        let below = actor.ancestors.len().saturating_sub(1);
        let mut chain = vec![actor.comm.clone()];
        chain.extend(
            actor.ancestors[..below]
                .iter()
                .map(|(_, comm)| comm.clone()),
        );
        Key {
            uid: actor.uid,
            boot: actor.boot,
            session: actor.ancestors.last().map_or(actor.tgid, |(pid, _)| *pid),
            chain,
        }
    }

    fn job(&self) -> &[u8] {
        self.chain.last().map_or(b"", Vec::as_slice)
    }
}

/// What one process did in one state.
struct Tally {
    who: Arc<Actor>,
    files: u64,
    /// By the folder in which they stood.
    folders: HashMap<FileId, u64>,
    /// The first of them, and their folders.
    known: HashMap<FileId, FileId>,
    /// Old content and new.
    changed: Vec<Changed>,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.files += other.files;
        for (folder, files) in other.folders {
            self.note(folder, files);
        }
        for (file, folder) in other.known {
            self.know(file, folder);
        }
        let room = LOOKED_MAX.saturating_sub(self.changed.len());
        self.changed.extend(other.changed.into_iter().take(room));
    }

    fn know(&mut self, file: FileId, folder: FileId) {
        if self.known.len() < KNOWN_MAX {
            self.known.insert(file, folder);
        }
    }

    fn note(&mut self, folder: FileId, files: u64) {
        if self.folders.len() < FOLDERS_MAX || self.folders.contains_key(&folder) {
            *self.folders.entry(folder).or_default() += files;
        }
    }
}

/// What took the place of something.
#[derive(Clone, Copy, Debug)]
enum Changed {
    Content { old: Content, new: Content },
    File { old: FileId, new: FileId },
}

/// What one actor did in one state, so long ago.
struct Step {
    time: Timestamp,
    epoch: Epoch,
    files: u64,
    folders: HashMap<FileId, u64>,
    known: HashMap<FileId, FileId>,
}

impl Step {
    /// Leaves out what came up again later.
    fn forget(&mut self, later: &HashMap<FileId, FileId>) {
        let Step {
            files,
            folders,
            known,
            ..
        } = self;
        known.retain(|file, folder| {
            let again = later.contains_key(file);
            if again {
                *files = files.saturating_sub(1);
                if let Some(count) = folders.get_mut(folder) {
                    *count = count.saturating_sub(1);
                }
            }
            !again
        });
    }
}

/// What one actor does.
#[derive(Default)]
struct Course {
    destroyed: VecDeque<Step>,
    scrambled: VecDeque<Step>,
    /// Files destroyed when it was last looked whether that is half of a folder.
    looked_at: u64,
    before: Option<Pin>,
}

impl Course {
    fn total(steps: &VecDeque<Step>) -> u64 {
        steps.iter().map(|step| step.files).sum()
    }

    /// Lets fall out what was too long ago.
    fn age(&mut self, now: Timestamp) {
        let old = |step: &Step, within| now.since(step.time) > within;
        while (self.destroyed.front()).is_some_and(|step| old(step, limits::ALARM_WITHIN)) {
            self.destroyed.pop_front();
        }
        while (self.scrambled.front()).is_some_and(|step| old(step, limits::SCRAMBLED_WITHIN)) {
            self.scrambled.pop_front();
        }
        if self.destroyed.is_empty() {
            self.looked_at = 0;
        }
        if self.is_over() {
            self.before = None;
        }
    }

    fn is_over(&self) -> bool {
        self.destroyed.is_empty() && self.scrambled.is_empty()
    }

    /// The state in which what leads to an alarm began.
    fn first(&self) -> Option<Epoch> {
        let first = self.scrambled.front().or(self.destroyed.front());
        first.map(|step| step.epoch)
    }
}

/// An alarm that was raised, as far as the next one must know it.
struct Raised {
    time: Timestamp,
    uid: u32,
    comm: Vec<u8>,
    job: Vec<u8>,
    folder: Vec<u8>,
}

/// What is watched.
#[derive(Default)]
pub(super) struct Watch {
    /// Of the commit under way, by the process.
    tallies: HashMap<usize, Tally>,
    courses: HashMap<Key, Course>,
    /// `None` until those of the store were read.
    raised: Option<Vec<Raised>>,
}

impl Recorder {
    /// A commit begins: what one counted that failed is forgotten.
    pub(super) fn begin_watch(&self) {
        self.watch.lock().tallies.clear();
    }

    /// A file is other than in the state before.
    pub(super) fn watch_file(
        &self,
        before: Option<&InodeVersion>,
        now: &InodeVersion,
        captured: &Captured,
    ) {
        let Some(InodeVersion::Present(old)) = before else {
            return;
        };
        if old.kind != Kind::File || old.content == Content::Empty || self.store.alarm().is_none() {
            return;
        }
        let changed = match now {
            InodeVersion::Gone => None,
            InodeVersion::Present(new) if destroys(old, new, captured.first_dirty) => {
                Some(Changed::Content {
                    old: old.content,
                    new: new.content,
                })
            }
            InodeVersion::Present(_) => return,
        };
        let place = (captured.id, old.parent);
        self.note_blow(&captured.actors, Some(place), changed);
    }

    /// A name leads to another file than in the state before: as editors save, and others encrypt.
    pub(super) fn watch_name(&self, before: &Dirent, now: &Dirent, actors: &[Arc<Actor>]) {
        let file = |dirent: &Dirent| match dirent {
            Dirent::Present {
                id,
                kind: Kind::File,
            } => Some(*id),
            _ => None,
        };
        let (Some(old), Some(new)) = (file(before), file(now)) else {
            return;
        };
        if old != new && self.store.alarm().is_some() {
            self.note_blow(actors, None, Some(Changed::File { old, new }));
        }
    }

    /// `lost`: a file lost its content, in this folder. `changed`: the content that took its place.
    fn note_blow(
        &self,
        actors: &[Arc<Actor>],
        lost: Option<(FileId, FileId)>,
        changed: Option<Changed>,
    ) {
        let mut watch = self.watch.lock();
        for actor in actors {
            let by = Arc::as_ptr(actor) as usize;
            let tally = watch.tallies.entry(by).or_insert_with(|| Tally {
                who: actor.clone(),
                files: 0,
                folders: HashMap::new(),
                known: HashMap::new(),
                changed: Vec::new(),
            });
            if let Some((file, folder)) = lost {
                tally.files += 1;
                tally.note(folder, 1);
                tally.know(file, folder);
            }
            tally
                .changed
                .extend(changed.filter(|_| tally.changed.len() < LOOKED_MAX));
        }
    }

    /// A state is durable: looks at what was done in it.
    pub(super) fn look_out(&self, epoch: Epoch, now: Timestamp) {
        let tallies = std::mem::take(&mut self.watch.lock().tallies);
        let mut actors: HashMap<Key, Tally> = HashMap::new();
        for tally in tallies.into_values() {
            match actors.entry(Key::of(&tally.who)) {
                Entry::Occupied(mut known) => known.get_mut().add(tally),
                Entry::Vacant(new) => {
                    new.insert(tally);
                }
            }
        }
        for (key, tally) in actors {
            if let Err(error) = self.follow(key, tally, epoch, now) {
                log::warn!("whether to raise an alarm is not known: {error}");
            }
        }
        let mut watch = self.watch.lock();
        for course in watch.courses.values_mut() {
            course.age(now);
        }
        watch.courses.retain(|_, course| !course.is_over());
    }

    fn follow(
        &self,
        key: Key,
        tally: Tally,
        epoch: Epoch,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let Some(limit) = self.store.alarm() else {
            return Ok(());
        };
        let scrambled = self.scrambled(&tally.changed, epoch)?;
        if tally.files == 0 && scrambled == 0 {
            return Ok(());
        }
        let mut watch = self.watch.lock();
        if watch.courses.len() >= ACTORS_MAX && !watch.courses.contains_key(&key) {
            forget_least(&mut watch.courses);
        }
        let course = watch.courses.entry(key.clone()).or_default();
        course.age(now);
        let step = |files| Step {
            time: now,
            epoch,
            files,
            folders: tally.folders.clone(),
            known: tally.known.clone(),
        };
        for earlier in &mut course.destroyed {
            earlier.forget(&tally.known);
        }
        if scrambled > 0 {
            course.scrambled.push_back(step(scrambled));
        }
        course.destroyed.push_back(step(tally.files));
        let destroyed = Course::total(&course.destroyed);
        let spoilt = Course::total(&course.scrambled);
        if destroyed < limit.min(limits::ALARM_FOLDER_FILES) && spoilt == 0 {
            return Ok(());
        }
        let view = self.store.view();
        let first = course.first().unwrap_or(epoch);
        let before = view.listed_before(first)?;
        if before != course.before.as_ref().map(Pin::epoch) {
            course.before = before.map(|before| self.store.pin(before)).transpose()?;
        }
        let reached = if spoilt >= limits::SCRAMBLED_FILES {
            Some((AlarmKind::Scrambled, spoilt))
        } else if destroyed > limit {
            Some((AlarmKind::Destroyed, destroyed))
        } else {
            None
        };
        let half = destroyed >= limits::ALARM_FOLDER_FILES && destroyed >= course.looked_at * 3 / 2;
        if reached.is_none() {
            if !half {
                return Ok(());
            }
            course.looked_at = destroyed;
        }
        let steps = match reached {
            Some((AlarmKind::Scrambled, _)) => &course.scrambled,
            _ => &course.destroyed,
        };
        let mut folders = together(steps);
        drop(watch);
        let Some(before) = before else {
            // The first import is under way, and holds all of it.
            return match reached {
                Some(what) => self.raise(&key, &tally.who, what, Vec::new(), None),
                None => Ok(()),
            };
        };
        let all = folders.values().sum();
        count_above(&view, before, &mut folders)?;
        let found = match reached {
            Some(what) => Some((deepest(&view, before, &folders, all)?, what)),
            None => half_of_one(&view, before, &folders)?
                .map(|(folder, files)| (folder, (AlarmKind::Destroyed, files))),
        };
        match found {
            Some((folder, what)) => self.raise(&key, &tally.who, what, folder, Some(before)),
            None => Ok(()),
        }
    }

    /// Raises it, unless the same actor did so in that folder, or above it, within a day.
    fn raise(
        &self,
        key: &Key,
        who: &Actor,
        (kind, files): (AlarmKind, u64),
        folder: Vec<u8>,
        before: Option<Epoch>,
    ) -> Result<(), StoreError> {
        let now = Timestamp::now();
        if self.was_raised(key, who, &folder, now)? {
            if let Some(course) = self.watch.lock().courses.get_mut(key) {
                *course = Course::default();
            }
            return Ok(());
        }
        let alarm = Alarm {
            kind,
            files,
            folder: folder.clone(),
            tgid: who.tgid,
            comm: who.comm.clone(),
            job: key.job().to_vec(),
            before: None,
            until: None,
        };
        let words = words(&alarm, who.uid);
        let message = format!("before {}", words_for_all(&words));
        let event = self.store.raise_alarm(alarm, before, who.uid, &message)?;
        let held = match event.name.as_str() {
            "" => "no state before it is held".to_owned(),
            name => format!("the state before is held as {name}"),
        };
        let shown = String::from_utf8_lossy(&folder);
        let shown = if shown.is_empty() { "." } else { &shown };
        log::warn!("alarm: {words} in {shown}; {held}");
        let mut watch = self.watch.lock();
        if let Some(course) = watch.courses.get_mut(key) {
            *course = Course::default();
        }
        watch.raised.get_or_insert_default().push(Raised {
            time: event.time,
            uid: who.uid,
            comm: who.comm.clone(),
            job: key.job().to_vec(),
            folder,
        });
        Ok(())
    }

    fn was_raised(
        &self,
        key: &Key,
        who: &Actor,
        folder: &[u8],
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut watch = self.watch.lock();
        if watch.raised.is_none() {
            let since = Timestamp(now.0.saturating_sub(DAY_NS));
            let known = self.store.alarms(since)?.into_iter();
            let known = known.map(|(time, uid, _, alarm)| Raised {
                time,
                uid,
                comm: alarm.comm,
                job: alarm.job,
                folder: alarm.folder,
            });
            watch.raised = Some(known.collect());
        }
        let raised = watch.raised.get_or_insert_default();
        raised.retain(|raised| now.since(raised.time) < limits::ALARM_AGAIN);
        Ok(raised.iter().any(|raised| {
            raised.uid == who.uid
                && raised.comm == who.comm
                && raised.job == key.job()
                && is_at_or_below(folder, &raised.folder)
        }))
    }

    /// How many contents could be compressed, and what took their place can't.
    fn scrambled(&self, changed: &[Changed], epoch: Epoch) -> Result<u64, StoreError> {
        let view = self.store.view();
        let content = |id, at| -> Result<Content, StoreError> {
            Ok(match view.inode_at(id, at)? {
                Some((_, InodeVersion::Present(inode))) => inode.content,
                _ => Content::Empty,
            })
        };
        let mut number = 0;
        for changed in changed {
            let new = match *changed {
                Changed::Content { new, .. } => new,
                Changed::File { new, .. } => content(new, epoch)?,
            };
            let dense = compressed(&view, &new)?;
            if dense.is_none_or(|percent| percent < limits::DENSE_PERCENT) {
                continue;
            }
            let old = match *changed {
                Changed::Content { old, .. } => old,
                Changed::File { old, .. } => content(old, Epoch(epoch.0 - 1))?,
            };
            let loose = compressed(&view, &old)?;
            number += u64::from(loose.is_some_and(|percent| percent <= limits::LOOSE_PERCENT));
        }
        Ok(number)
    }
}

const DAY_NS: i64 = 24 * 3600 * 1_000_000_000;

/// Whether bytes of the old content went.
fn destroys(old: &InodeRecord, new: &InodeRecord, first_dirty: Option<u64>) -> bool {
    old.content != new.content
        && (new.size < old.size || first_dirty.is_some_and(|first| first < old.size))
}

/// `rm (pid 7, uid 1000) deleted or overwrote 1200 files`: without names of files.
pub fn words(alarm: &Alarm, uid: u32) -> String {
    let comm: String = String::from_utf8_lossy(&alarm.comm)
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    let who = if alarm.tgid == 0 {
        "somebody unknown".to_owned()
    } else {
        format!("{comm} (pid {}, uid {uid})", alarm.tgid)
    };
    let files = alarm.files;
    match alarm.kind {
        AlarmKind::Destroyed => format!("{who} deleted or overwrote {files} files"),
        AlarmKind::Scrambled => {
            format!("{who} made {files} files incompressible, as encryption does")
        }
    }
}

/// The same without the name of the process, which may be that of a script that not everybody may
/// list.
pub fn words_for_all(words: &str) -> String {
    match words.rfind(" (pid ") {
        Some(at) => format!("a process{}", &words[at..]),
        None => words.to_owned(),
    }
}

fn is_at_or_below(path: &[u8], above: &[u8]) -> bool {
    above.is_empty()
        || path
            .strip_prefix(above)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// The folders of all steps.
fn together(steps: &VecDeque<Step>) -> HashMap<FileId, u64> {
    let mut all = HashMap::new();
    for (folder, files) in steps.iter().flat_map(|step| &step.folders) {
        *all.entry(*folder).or_default() += files;
    }
    all
}

fn forget_least(courses: &mut HashMap<Key, Course>) {
    let least = courses.iter().min_by_key(|(_, course)| {
        Course::total(&course.destroyed) + Course::total(&course.scrambled)
    });
    if let Some(key) = least.map(|(key, _)| key.clone()) {
        courses.remove(&key);
    }
}

/// To how many percent the store has compressed a content, by its first pieces; `None` of one that is
/// too small to tell, or not there.
fn compressed(view: &View<'_>, content: &Content) -> Result<Option<u64>, StoreError> {
    let hashes: Vec<Hash> = match content {
        Content::Chunk(hash) => vec![*hash],
        Content::List(hash) => {
            // A damaged one tells nothing; verify says that it is.
            let Ok(list) = view.list(*hash) else {
                return Ok(None);
            };
            let data = list.pieces.iter().filter_map(|piece| match piece {
                Piece::Data { hash, .. } => Some(*hash),
                Piece::Hole { .. } => None,
            });
            data.take(PIECES_MAX).collect()
        }
        Content::Empty | Content::Lost(_) | Content::Purged(_) | Content::Damaged(_) => {
            return Ok(None);
        }
    };
    let (mut plain, mut stored) = (0, 0);
    for hash in hashes {
        if let Some(entry) = view.index_entry(hash)? {
            plain += u64::from(entry.plain_bytes);
            stored += u64::from(entry.stored_bytes);
        }
    }
    Ok((plain >= limits::SCRAMBLED_BYTES).then(|| stored * 100 / plain))
}
