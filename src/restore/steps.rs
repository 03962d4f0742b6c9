//! Single steps in place of a whole path: what an undo has planned, one after the other, each
//! refused if what it is about does not look any more as it did when it was planned.

use super::content::{self, Side};
use super::item::{self, Fault, Item, Source};
use super::left_out::is_cache;
use super::paths::Options;
use super::tally::{Change, Tally, Tell, Trouble};
use super::tree::{Dir, Place, Tree};
use super::{Folder, attributes};
use crate::backing;
use crate::format::ranges::RangeSet;
use crate::format::record::Kind;
use crate::history::undo::{Deed, Expected, Step};
use crate::id::Epoch;
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// RENAME_NOREPLACE of renameat2(2).
const NO_REPLACE: u32 = 1;

/// States of the past by their numbers.
pub trait States: Sync {
    /// The tree of a state.
    ///
    /// # Errors
    /// When it can't be opened.
    fn state(&self, epoch: Epoch) -> Result<Arc<dyn Source>, Fault>;
}

struct Steps<'s> {
    states: &'s dyn States,
    live: &'s Folder,
    options: &'s Options,
    tell: &'s dyn Tell,
    tally: Tally,
    /// Directories of which something waits to be set when all is done: by their path.
    last: Vec<(Vec<u8>, Epoch, Vec<u8>)>,
    /// Directories that would be there by then, in a dry run.
    imagined: HashSet<Vec<u8>>,
    /// The directory of the step before: most steps are in the same.
    above: Option<(Vec<u8>, Item)>,
    above_then: HashMap<Epoch, (Vec<u8>, Item)>,
}

/// Does the steps in their order.
pub fn carry_out(
    states: &dyn States,
    live: &Folder,
    steps: &[Step],
    options: &Options,
    tell: &dyn Tell,
) -> Tally {
    let mut work = Steps {
        states,
        live,
        options,
        tell,
        tally: Tally::default(),
        last: Vec::new(),
        imagined: HashSet::new(),
        above: None,
        above_then: HashMap::new(),
    };
    for step in steps {
        if tell.interrupted() {
            break;
        }
        if let Err(fault) = work.step(step) {
            work.conflict(&step.path, &fault.to_string());
        }
        tell.progress(&work.tally);
    }
    // The deepest first: setting nothing below changes the times of what is above.
    work.last.sort_by(|a, b| b.0.cmp(&a.0));
    for (path, epoch, past) in std::mem::take(&mut work.last) {
        if let Err(fault) = work.finish(&path, epoch, &past) {
            work.conflict(&path, &fault.to_string());
        }
    }
    work.tally
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

fn names(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty())
        .map(<[u8]>::to_vec)
        .collect()
}

impl Steps<'_> {
    fn conflict(&mut self, path: &[u8], reason: &str) {
        self.tell.trouble(Trouble::Conflict, path, reason);
        self.tally.conflicts += 1;
    }

    fn changed(&mut self, change: Change, path: &[u8]) {
        self.tell.change(change, path);
        match change {
            Change::Deleted => self.tally.deleted += 1,
            _ => self.tally.restored += 1,
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), Fault> {
        let past = |names: &[u8]| self.options.snapdir.as_deref() == Some(names);
        if past(split(&step.path).1) {
            self.conflict(&step.path, "the past itself");
            return Ok(());
        }
        if let Some(reason) = self.left_out(step)? {
            self.tell.kept(&step.path, &reason);
            return Ok(());
        }
        match &step.deed {
            Deed::Remove => self.remove(step),
            Deed::Rename { to } => self.rename(step, to),
            Deed::Link { of } => self.link(step, of),
            Deed::Restore { before, past } => self.restore(step, *before, past),
            Deed::Bytes {
                before,
                past,
                ranges,
            } => self.bytes(step, *before, past, ranges),
            Deed::Times { before, past } => {
                if !self.options.dry_run {
                    self.last.push((step.path.clone(), *before, past.clone()));
                }
                Ok(())
            }
        }
    }

    /// Why what a step is about is not touched: history leaves it, or what it holds, out now.
    fn left_out(&self, step: &Step) -> Result<Option<String>, Fault> {
        let rules = &self.options.left_out;
        let mut paths = vec![step.path.as_slice()];
        if let Deed::Rename { to } = &step.deed {
            paths.push(to);
        }
        for path in paths {
            let above = split(path).0;
            let pattern = match step.kind {
                // Itself it is recorded.
                Kind::Dir => rules.pattern_for(above, true),
                _ => rules.pattern_for(path, false),
            };
            if let Some(pattern) = pattern {
                return Ok(Some(format!("it is left out of history ({pattern})")));
            }
            if rules.caches() && self.is_in_cache(above)? {
                return Ok(Some("it is left out of history (CACHEDIR.TAG)".to_owned()));
            }
        }
        // What is replaced or removed; what is renamed stays what it is.
        let goes = match &step.deed {
            Deed::Rename { to } => to,
            _ => &step.path,
        };
        if rules.now.rules().max_file_bytes.is_none() {
            return Ok(None);
        }
        let now = item::walk(self.live, &names(goes))?;
        Ok(now.and_then(|now| rules.has_no_content(&now)))
    }

    /// Whether a directory says that it is a cache, or one above it does.
    fn is_in_cache(&self, path: &[u8]) -> Result<bool, Fault> {
        let names = names(path);
        for count in 1..=names.len() {
            match item::walk(self.live, &names[..count])? {
                Some(folder) if folder.facts.kind == Kind::Dir => {
                    if is_cache(&folder) {
                        return Ok(true);
                    }
                }
                _ => return Ok(false),
            }
        }
        Ok(false)
    }

    /// The directory of a path; `None`: it would have been made by then, in a dry run.
    fn folder(&mut self, path: &[u8]) -> Result<Option<Item>, Fault> {
        let above = split(path).0;
        if self.imagined.contains(above) {
            return Ok(None);
        }
        if let Some((known, item)) = &self.above
            && known == above
        {
            return Ok(Some(item.again()?));
        }
        let found = item::walk(self.live, &names(above))?;
        let found = found.filter(|found| found.facts.kind == Kind::Dir);
        match found {
            Some(found) => {
                self.above = Some((above.to_vec(), found.again()?));
                Ok(Some(found))
            }
            None if self.options.dry_run => Ok(None),
            None => Err(io::Error::from_raw_os_error(libc::ENOENT).into()),
        }
    }

    fn child(&mut self, path: &[u8]) -> Result<(Option<Item>, Option<Item>), Fault> {
        let Some(dir) = self.folder(path)? else {
            return Ok((None, None));
        };
        let child = self.live.child(&dir, split(path).1)?;
        if let Some(child) = &child
            && child.facts.dev != self.options.device
        {
            return Err(io::Error::other("another file system is mounted there").into());
        }
        Ok((Some(dir), child))
    }

    /// Whether it is still what the plan is about.
    fn is_expected(now: &Item, step: &Step) -> bool {
        let looks = Expected {
            size: now.facts.size,
            mtime: now.facts.mtime,
        };
        match step.expected {
            Some(expected) if now.facts.kind == Kind::File => expected == looks,
            _ => true,
        }
    }

    fn remove(&mut self, step: &Step) -> Result<(), Fault> {
        let (dir, now) = self.child(&step.path)?;
        let (Some(dir), Some(now)) = (dir, now) else {
            if self.options.dry_run {
                self.changed(Change::Deleted, &step.path);
            } else {
                self.tally.unchanged += 1;
            }
            return Ok(());
        };
        if now.facts.kind != step.kind || !Self::is_expected(&now, step) {
            self.conflict(&step.path, "it was changed just now");
            return Ok(());
        }
        if !self.options.dry_run {
            let name = split(&step.path).1;
            match step.kind {
                Kind::Dir => backing::rmdir_at(dir.fd()?, name)?,
                _ => backing::unlink_at(dir.fd()?, name)?,
            }
            self.forget(&step.path);
        }
        self.changed(Change::Deleted, &step.path);
        Ok(())
    }

    /// Descriptors of directories that may be gone or elsewhere now.
    fn forget(&mut self, path: &[u8]) {
        let below = |known: &[u8]| crate::history::path::is_below(path, known);
        if self.above.as_ref().is_some_and(|(known, _)| below(known)) {
            self.above = None;
        }
    }

    fn rename(&mut self, step: &Step, to: &[u8]) -> Result<(), Fault> {
        if self.options.dry_run {
            self.imagine(to, step.kind);
            self.changed(Change::Renamed, to);
            return Ok(());
        }
        let (from_dir, now) = self.child(&step.path)?;
        let (to_dir, there) = self.child(to)?;
        let (Some(from_dir), Some(_), Some(to_dir)) = (from_dir, now, to_dir) else {
            self.conflict(&step.path, "it is not there any more");
            return Ok(());
        };
        let flags = match there {
            Some(there) if there.facts.kind == Kind::Dir => NO_REPLACE,
            Some(_) => 0,
            None => NO_REPLACE,
        };
        let (from, name) = (split(&step.path).1, split(to).1);
        backing::rename_at(from_dir.fd()?, from, to_dir.fd()?, name, flags)?;
        self.forget(&step.path);
        self.changed(Change::Renamed, to);
        Ok(())
    }

    fn link(&mut self, step: &Step, of: &[u8]) -> Result<(), Fault> {
        if !self.options.dry_run {
            let (_, file) = self.child(of)?;
            let (dir, there) = self.child(&step.path)?;
            let (Some(file), Some(dir)) = (file, dir) else {
                self.conflict(&step.path, "the file that it was a name of is not there");
                return Ok(());
            };
            let name = split(&step.path).1;
            if there.is_some() {
                backing::unlink_at(dir.fd()?, name)?;
            }
            backing::link_fd_at(file.fd()?, dir.fd()?, name)?;
        }
        self.changed(Change::Added, &step.path);
        Ok(())
    }

    fn imagine(&mut self, path: &[u8], kind: Kind) {
        if kind == Kind::Dir && self.options.dry_run {
            self.imagined.insert(path.to_vec());
        }
    }

    fn then(
        &mut self,
        epoch: Epoch,
        past: &[u8],
    ) -> Result<(Arc<dyn Source>, Option<Item>), Fault> {
        let source = self.states.state(epoch)?;
        let (above, name) = split(past);
        if past.is_empty() {
            let top = source.top()?;
            return Ok((source, Some(top)));
        }
        let known = self
            .above_then
            .get(&epoch)
            .filter(|(path, _)| path == above);
        let dir = match known {
            Some((_, dir)) => Some(dir.again()?),
            None => item::walk(source.as_ref(), &names(above))?,
        };
        let Some(dir) = dir.filter(|dir| dir.facts.kind == Kind::Dir) else {
            return Ok((source, None));
        };
        let found = source.child(&dir, name)?;
        if self.above_then.len() > crate::limits::UNDO_STATES {
            self.above_then.clear();
        }
        self.above_then.insert(epoch, (above.to_vec(), dir));
        Ok((source, found))
    }

    /// What stood there then; `None`: it can't be had, and that is told.
    fn past_of(
        &mut self,
        step: &Step,
        epoch: Epoch,
        past: &[u8],
    ) -> Option<(Arc<dyn Source>, Item)> {
        match self.then(epoch, past) {
            Ok((source, Some(item))) => return Some((source, item)),
            Ok((_, None)) => self.lost(&step.path, "the past does not have it any more"),
            Err(fault) => self.lost(&step.path, &super::tally::past_reason(&fault)),
        }
        None
    }

    /// Some bytes of a file, and nothing else of it.
    fn bytes(
        &mut self,
        step: &Step,
        epoch: Epoch,
        past: &[u8],
        ranges: &RangeSet,
    ) -> Result<(), Fault> {
        let Some((source, item)) = self.past_of(step, epoch, past) else {
            return Ok(());
        };
        let (_, now) = self.child(&step.path)?;
        let Some(now) = now.filter(|now| now.facts.kind == Kind::File) else {
            self.conflict(&step.path, "it is not there any more");
            return Ok(());
        };
        if !Self::is_expected(&now, step) {
            self.conflict(&step.path, "it was changed just now");
            return Ok(());
        }
        let mut live = self.live.open(&now)?;
        let done = match source.open(&item) {
            Ok(mut then) => content::take_back(
                then.as_mut(),
                item.facts.size,
                live.as_mut(),
                (now.fd()?, now.facts.size),
                ranges,
                self.options.dry_run,
            ),
            Err(fault) => Err(Side::Past(fault)),
        };
        match done {
            Ok(None) => self.tally.unchanged += 1,
            Ok(Some(written)) => {
                self.tally.written_bytes += written;
                self.changed(Change::Modified, &step.path);
            }
            Err(Side::Past(fault)) => {
                self.lost(&step.path, &super::tally::past_reason(&fault));
            }
            Err(Side::Now(fault)) => return Err(fault),
        }
        Ok(())
    }

    fn restore(&mut self, step: &Step, epoch: Epoch, past: &[u8]) -> Result<(), Fault> {
        let Some((source, item)) = self.past_of(step, epoch, past) else {
            return Ok(());
        };
        if step.path.is_empty() {
            self.last.push((Vec::new(), epoch, past.to_vec()));
            self.changed(Change::Attributes, b"");
            return Ok(());
        }
        let (dir, now) = self.child(&step.path)?;
        if let Some(now) = &now
            && !Self::is_expected(now, step)
        {
            self.conflict(&step.path, "it was changed just now");
            return Ok(());
        }
        if item.facts.kind == Kind::Dir {
            return self.restore_dir(step, epoch, past, dir, now);
        }
        let tree = Tree::new(source.as_ref(), self.live, self.options, self.tell);
        let (above, name) = split(&step.path);
        let place = Place {
            dir: Arc::new(Dir::existing(&tree, dir, above.to_vec())),
            name: name.to_vec(),
            depth: 0,
        };
        tree.entry(place, item);
        self.tally.add(&tree.tally());
        Ok(())
    }

    fn restore_dir(
        &mut self,
        step: &Step,
        epoch: Epoch,
        past: &[u8],
        dir: Option<Item>,
        now: Option<Item>,
    ) -> Result<(), Fault> {
        let change = match &now {
            Some(now) if now.facts.kind == Kind::Dir => Change::Attributes,
            Some(_) => {
                self.conflict(&step.path, "something else stands there now");
                return Ok(());
            }
            None => Change::Added,
        };
        self.imagine(&step.path, Kind::Dir);
        if !self.options.dry_run {
            if now.is_none() {
                let dir = dir.ok_or(Fault::Foreign)?;
                backing::mkdir_at(dir.fd()?, split(&step.path).1, 0o700)?;
            }
            self.last.push((step.path.clone(), epoch, past.to_vec()));
        }
        self.changed(change, &step.path);
        Ok(())
    }

    fn lost(&mut self, path: &[u8], reason: &str) {
        self.tell.trouble(Trouble::NotRecoverable, path, reason);
        self.tally.not_recoverable += 1;
    }

    /// Gives a directory what it had.
    fn finish(&mut self, path: &[u8], epoch: Epoch, past: &[u8]) -> Result<(), Fault> {
        if self.options.dry_run {
            return Ok(());
        }
        let (source, then) = self.then(epoch, past)?;
        let now = item::walk(self.live, &names(path))?;
        let (Some(then), Some(now)) = (then, now) else {
            return Ok(());
        };
        let xattrs = source.xattrs(&then)?;
        let fd: BorrowedFd<'_> = now.fd()?;
        attributes::apply(fd, &then.facts, &xattrs).map_err(io::Error::other)?;
        Ok(())
    }
}
