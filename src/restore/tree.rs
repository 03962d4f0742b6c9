//! The walk: directory by directory, what stood there then beside what stands there now. Regular
//! files go to a few workers; all else is done on the way.

use super::item::{Fault, Item, Source, Xattrs};
use super::paths::{Options, Overwrite};
use super::tally::{Change, Tally, Tell, Trouble, past_reason};
use super::{Facts, Folder, attributes};
use crate::backing;
use crate::format::record::Kind;
use crate::history::path::join;
use crate::limits;
use crossbeam_channel::{Sender, bounded};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// How the names of files begin that are not complete yet.
const TEMPORARY: &str = ".rewindfs-restore-";

/// Removes the files that a restore which was killed left half-written, on the same file system. What
/// can't be read now is told of when it is written.
pub fn remove_temporary(live: &Folder) {
    if let Ok(top) = live.top() {
        remove_temporary_in(live, &top, top.facts.dev, 0);
    }
}

fn remove_temporary_in(live: &Folder, dir: &Item, device: u64, depth: usize) {
    let Ok(fd) = dir.fd() else { return };
    for name in live.names(dir).unwrap_or_default() {
        let Ok(Some(item)) = live.child(dir, &name) else {
            continue;
        };
        match item.facts.kind {
            Kind::Dir if item.facts.dev == device && depth < limits::RESTORE_DEPTH => {
                remove_temporary_in(live, &item, device, depth + 1);
            }
            Kind::File if is_temporary(&name) => {
                let _ = backing::unlink_at(fd, &name);
            }
            _ => {}
        }
    }
}

/// Whether this is the name of such a file.
fn is_temporary(name: &[u8]) -> bool {
    let rest = name.strip_prefix(TEMPORARY.as_bytes());
    rest.is_some_and(|rest| {
        rest.iter()
            .all(|byte| byte.is_ascii_digit() || *byte == b'-')
    })
}

/// A restore under way.
pub struct Tree<'t> {
    pub(super) source: &'t dyn Source,
    pub(super) live: &'t Folder,
    pub(super) options: &'t Options,
    pub(super) tell: &'t dyn Tell,
    tally: Arc<Mutex<Tally>>,
    /// Files of then with several names: where the first of them stands now, and its inode.
    pub(super) first_names: Mutex<HashMap<u64, (Vec<u8>, u64)>>,
    /// Inodes of now that have several names: which file of then each has become.
    pub(super) taken: Mutex<HashMap<u64, u64>>,
    jobs: Mutex<Option<Sender<Job<'t>>>>,
    temporary: AtomicU64,
}

/// A directory that is being restored. Its attributes are set when the last who works in it lets
/// go of it: making names changes its time.
pub struct Dir<'t> {
    /// `None` in a dry run, of one that would be made.
    pub live: Option<Item>,
    pub path: Vec<u8>,
    finish: Option<(Facts, Xattrs)>,
    tell: &'t dyn Tell,
    tally: Arc<Mutex<Tally>>,
}

/// A name in a directory.
pub struct Place<'t> {
    pub dir: Arc<Dir<'t>>,
    pub name: Vec<u8>,
    pub depth: usize,
}

impl Place<'_> {
    /// From the top of the tree.
    pub fn path(&self) -> Vec<u8> {
        join(&self.dir.path, &self.name)
    }
}

/// A regular file.
pub(super) struct Job<'t> {
    pub place: Place<'t>,
    pub item: Item,
    pub now: Option<Item>,
}

impl<'t> Dir<'t> {
    /// One that is there and stays as it is.
    pub fn existing(tree: &Tree<'t>, live: Option<Item>, path: Vec<u8>) -> Dir<'t> {
        Dir {
            live,
            path,
            finish: None,
            tell: tree.tell,
            tally: Arc::clone(&tree.tally),
        }
    }
}

impl Drop for Dir<'_> {
    fn drop(&mut self) {
        let (Some(live), Some((facts, xattrs))) = (&self.live, &self.finish) else {
            return;
        };
        let Ok(fd) = live.fd() else { return };
        if let Err(reason) = attributes::apply(fd, facts, xattrs) {
            self.tell.trouble(Trouble::Conflict, &self.path, &reason);
            self.tally.lock().conflicts += 1;
        }
    }
}

impl<'t> Tree<'t> {
    /// Nothing is done yet.
    pub fn new(
        source: &'t dyn Source,
        live: &'t Folder,
        options: &'t Options,
        tell: &'t dyn Tell,
    ) -> Tree<'t> {
        Tree {
            source,
            live,
            options,
            tell,
            tally: Arc::default(),
            first_names: Mutex::default(),
            taken: Mutex::default(),
            jobs: Mutex::new(None),
            temporary: AtomicU64::new(0),
        }
    }

    /// Does `work` while workers take the files that it finds; returns when all are done.
    pub fn with_workers(&self, work: impl FnOnce()) {
        struct End<'a, 't>(&'a Tree<'t>);
        impl Drop for End<'_, '_> {
            fn drop(&mut self) {
                self.0.jobs.lock().take();
            }
        }
        if self.options.dry_run {
            // In order, for whoever reads it.
            return work();
        }
        let (give, take) = bounded(limits::RESTORE_QUEUE);
        *self.jobs.lock() = Some(give);
        thread::scope(|scope| {
            for _ in 0..limits::RESTORE_WORKERS {
                let take = take.clone();
                scope.spawn(move || take.into_iter().for_each(|job| self.file(job)));
            }
            let _end = End(self);
            work();
        });
    }

    /// What was done.
    pub fn tally(&self) -> Tally {
        *self.tally.lock()
    }

    pub(super) fn count(&self, add: impl FnOnce(&mut Tally)) {
        let tally = {
            let mut tally = self.tally.lock();
            add(&mut tally);
            *tally
        };
        self.tell.progress(&tally);
    }

    pub(super) fn changed(&self, change: Change, path: &[u8]) {
        self.tell.change(change, path);
        self.count(|tally| tally.restored += 1);
    }

    pub(super) fn unchanged(&self) {
        self.count(|tally| tally.unchanged += 1);
    }

    pub(super) fn keep(&self, path: &[u8], reason: &str) {
        self.tell.kept(path, reason);
        self.count(|tally| tally.kept += 1);
    }

    pub(super) fn trouble(&self, trouble: Trouble, path: &[u8], reason: &str) {
        self.tell.trouble(trouble, path, reason);
        self.count(|tally| match trouble {
            Trouble::Conflict => tally.conflicts += 1,
            Trouble::NotRecoverable => tally.not_recoverable += 1,
        });
    }

    /// False, for whoever wants to say that it did not work.
    pub(super) fn conflict(&self, path: &[u8], reason: &str) -> bool {
        self.trouble(Trouble::Conflict, path, reason);
        false
    }

    pub(super) fn lost(&self, path: &[u8], fault: &Fault) {
        self.trouble(Trouble::NotRecoverable, path, &past_reason(fault));
    }

    /// A name that nobody else has.
    pub(super) fn temporary_name(&self) -> Vec<u8> {
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        format!("{TEMPORARY}{}-{number}", std::process::id()).into_bytes()
    }

    /// The whole tree.
    pub fn root(&self, dir: Arc<Dir<'t>>, item: Item) {
        let Some(dir) = Arc::into_inner(dir) else {
            return;
        };
        let never = self.options.overwrite == Overwrite::Never;
        if let Some(dir) = self.same_dir(dir, &item, never) {
            self.inside(&Arc::new(dir), &item, 0);
        }
    }

    /// What stood there then, whatever it was.
    pub fn entry(&self, place: Place<'t>, item: Item) {
        if self.tell.interrupted() {
            return;
        }
        let now = match &place.dir.live {
            Some(dir) => self.live.child(dir, &place.name),
            None => Ok(None),
        };
        let now = match now {
            Ok(now) => now,
            Err(fault) => {
                self.conflict(&place.path(), &fault.to_string());
                return;
            }
        };
        if self.keeps_entry(&place, &item, now.as_ref()) {
            return;
        }
        let never = self.options.overwrite == Overwrite::Never;
        match now {
            Some(now) if now.facts.kind == Kind::Dir && item.facts.kind == Kind::Dir => {
                let dir = Dir::existing(self, Some(now), place.path());
                if let Some(dir) = self.same_dir(dir, &item, never) {
                    self.inside(&Arc::new(dir), &item, place.depth + 1);
                }
            }
            Some(_) if never => self.keep(&place.path(), "it is there (--overwrite never)"),
            Some(now) if now.facts.kind != item.facts.kind => self.other_kind(place, item, now),
            now => match item.facts.kind {
                Kind::Dir => self.new_dir(place, &item, Change::Added),
                Kind::File => self.dispatch(place, item, now),
                _ => self.special(&place, &item, now),
            },
        }
    }

    /// What is left out, now or then, stays as it is: of a folder all that is in it.
    fn keeps_entry(&self, place: &Place<'t>, item: &Item, now: Option<&Item>) -> bool {
        let path = place.path();
        let now_dir = now.filter(|now| now.facts.kind == Kind::Dir);
        if item.facts.kind == Kind::Dir && (now.is_none() || now_dir.is_some()) {
            // Itself it is recorded, and what is in it is asked of later.
            return false;
        }
        let kinds = [Some(item.facts.kind), now.map(|now| now.facts.kind)];
        let reason = kinds
            .into_iter()
            .flatten()
            .find_map(|kind| self.left_out(place.dir.live.as_ref(), &path, kind, now));
        let reason = reason.or_else(|| {
            let unread = item.facts.kind == Kind::File && self.source.is_left_out(item);
            unread.then(|| "its content was left out of that state".to_owned())
        });
        if let Some(reason) = &reason {
            self.keep(&path, reason);
        }
        reason.is_some()
    }

    /// Something else stands there now.
    fn other_kind(&self, place: Place<'t>, item: Item, now: Item) {
        let path = place.path();
        let Some(dir) = place.dir.live.as_ref() else {
            return;
        };
        // What can't be read of the past is no reason to lose what is there now.
        if let Err(fault) = self.must_be_whole(&item) {
            return self.lost(&path, &fault);
        }
        if now.facts.kind == Kind::Dir {
            if !self.options.delete {
                let reason = "it is a directory now, and was none then (with --delete it goes)";
                self.conflict(&path, reason);
                return;
            }
            if !self.remove(dir, &place.name, &path, place.depth) {
                self.conflict(
                    &path,
                    "the directory that is there now could not be removed",
                );
                return;
            }
        } else if item.facts.kind == Kind::Dir && !self.options.dry_run {
            let removed = dir
                .fd()
                .and_then(|fd| Ok(backing::unlink_at(fd, &place.name)?));
            if let Err(fault) = removed {
                self.conflict(&path, &fault.to_string());
                return;
            }
        }
        match item.facts.kind {
            Kind::Dir => self.new_dir(place, &item, Change::Type),
            Kind::File => self.dispatch(place, item, Some(now)),
            _ => self.special(&place, &item, Some(now)),
        }
    }

    fn must_be_whole(&self, item: &Item) -> Result<(), Fault> {
        if item.facts.kind != Kind::File {
            return Ok(());
        }
        let mut bytes = self.source.open(item)?;
        let (mut at, mut out) = (0, Vec::new());
        while let Some(data) = bytes.data(at)?.filter(|&data| data < item.facts.size) {
            bytes.read(data, limits::MAX_WRITE, &mut out)?;
            at = data + out.len().max(1) as u64;
        }
        Ok(())
    }

    fn dispatch(&self, place: Place<'t>, item: Item, now: Option<Item>) {
        let links = item.facts.nlink > 1 || now.as_ref().is_some_and(|now| now.facts.nlink > 1);
        let job = Job { place, item, now };
        let queue = self.jobs.lock().clone();
        match queue {
            // One after the other: which name of a file comes first decides what the others do.
            Some(queue) if !links => {
                if let Err(job) = queue.send(job) {
                    self.file(job.into_inner());
                }
            }
            _ => self.file(job),
        }
    }

    /// A directory that was one then: its attributes, when all in it is done.
    fn same_dir(&self, mut dir: Dir<'t>, item: &Item, never: bool) -> Option<Dir<'t>> {
        if never {
            return Some(dir);
        }
        let then = match self.source.xattrs(item) {
            Ok(then) => then,
            Err(fault) => {
                self.lost(&dir.path, &fault);
                return None;
            }
        };
        let live = dir.live.as_ref()?;
        match self.live.xattrs(live) {
            Ok(now) if attributes::differ(&item.facts, &then, &live.facts, &now) => {
                self.changed(Change::Attributes, &dir.path);
            }
            Ok(_) => self.unchanged(),
            Err(fault) => {
                self.conflict(&dir.path, &fault.to_string());
                return None;
            }
        }
        if !self.options.dry_run {
            dir.finish = Some((item.facts, then));
        }
        Some(dir)
    }

    fn new_dir(&self, place: Place<'t>, item: &Item, change: Change) {
        let path = place.path();
        match self.make_dir(&place.dir, &place.name, &path, item) {
            Ok(dir) => {
                self.changed(change, &path);
                self.inside(&Arc::new(dir), item, place.depth + 1);
            }
            Err(fault) => {
                self.conflict(&path, &format!("it can't be made: {fault}"));
            }
        }
    }

    /// Makes a directory, closed to others until it is finished.
    pub(super) fn make_dir(
        &self,
        dir: &Dir<'t>,
        name: &[u8],
        path: &[u8],
        item: &Item,
    ) -> Result<Dir<'t>, Fault> {
        let mut made = Dir::existing(self, None, path.to_vec());
        if self.options.dry_run {
            return Ok(made);
        }
        let xattrs = self.source.xattrs(item)?;
        let above = dir.live.as_ref().ok_or(Fault::Foreign)?;
        backing::mkdir_at(above.fd()?, name, 0o700)?;
        made.live = self.live.child(above, name)?;
        made.finish = Some((item.facts, xattrs));
        Ok(made)
    }

    /// What is in a directory: the names of then, and with `delete` those of now.
    fn inside(&self, dir: &Arc<Dir<'t>>, item: &Item, depth: usize) {
        if depth > limits::RESTORE_DEPTH {
            self.conflict(&dir.path, "it lies too deep");
            return;
        }
        if self.keeps_inside(item, dir.live.as_ref(), &dir.path) {
            return;
        }
        let names = match self.source.names(item) {
            Ok(names) => names,
            Err(fault) => return self.lost(&dir.path, &fault),
        };
        // Before anything is made here: what comes while we work stays.
        let extra = match (&dir.live, self.options.delete) {
            (Some(live), true) => self.live.names(live),
            _ => Ok(Vec::new()),
        };
        for name in &names {
            match self.source.child(item, name) {
                Ok(Some(item)) => {
                    let dir = Arc::clone(dir);
                    let name = name.clone();
                    self.entry(Place { dir, name, depth }, item);
                }
                Ok(None) => {}
                Err(fault) => self.lost(&join(&dir.path, name), &fault),
            }
        }
        let extra = match extra {
            Ok(extra) => extra,
            Err(fault) => {
                self.conflict(&dir.path, &fault.to_string());
                return;
            }
        };
        let Some(live) = &dir.live else { return };
        for name in extra {
            if self.tell.interrupted() {
                return;
            }
            if names.binary_search(&name).is_err() {
                self.remove(live, &name, &join(&dir.path, &name), depth);
            }
        }
    }
}
