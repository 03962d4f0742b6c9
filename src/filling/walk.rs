//! In the background: all names, then all content, what comes first first.

use super::Filler;
use super::error::FillError;
use super::files::{lacking, wanted};
use super::wants::Urgency;
use crate::backing::DirStream;
use crate::format::record::Kind;
use crate::inodes::Inode;
use crate::inodes::unfilled::Mark;
use crate::limits;
use crate::pattern::{Matcher, Rules};
use std::collections::{HashSet, VecDeque};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Files that are looked at ahead: their chunks are asked for.
const AHEAD: usize = 4000;
/// Files, and bytes, that are filled before that is made durable.
const BATCH_FILES: usize = 2000;
const BATCH_BYTES: u64 = 64 << 20;
/// What was made is made durable after so long at the latest.
const DURABLE: Duration = Duration::from_secs(1);
/// How long nothing is tried when all that is left can't be had.
const PAUSE: Duration = Duration::from_secs(2);

/// A walk through the directory.
struct Walk<'a> {
    filler: &'a Filler,
    /// Only files that these match, or none; all names all the same.
    first: Option<&'a Matcher>,
    /// Files whose chunks are asked for.
    ahead: VecDeque<(Arc<Inode>, Mark)>,
    flushed: Instant,
    /// What could not be filled.
    left: u64,
}

enum Stopped {
    Ending,
    Failed(FillError),
}

impl From<FillError> for Stopped {
    fn from(error: FillError) -> Stopped {
        Stopped::Failed(error)
    }
}

impl Filler {
    pub(super) fn walk(&self) {
        crate::backing::prepare_thread();
        let patterns = self.left.lock().first.clone();
        let rules = Rules {
            patterns,
            ..Rules::default()
        };
        let mut first = Matcher::new(rules.clone()).ok();
        if rules.patterns.is_empty() {
            first = None;
        }
        let mut unseen = HashSet::new();
        while !self.ending.load(Ordering::Acquire) {
            let before = self.inodes.unfilled().count();
            let walked = self.walk_once(first.as_ref());
            match walked {
                Ok(_) if first.take().is_some() => continue,
                Ok(0) if self.inodes.unfilled().count() > 0 => unseen = self.look_for(&unseen),
                Ok(0) if self.inodes.unfilled().count() == 0 => {
                    if !self.is_filled.swap(true, Ordering::AcqRel) {
                        log::info!("all files of the directory are here");
                    }
                    if self.wants.going().is_all_here {
                        match self.finish() {
                            Ok(true) => return,
                            Ok(false) => {}
                            Err(error) => log::warn!("it can't be ended yet: {error}"),
                        }
                    }
                }
                Ok(_) => {}
                Err(Stopped::Ending) => return,
                Err(Stopped::Failed(error)) => {
                    *self.fault.lock() = Some(error.to_string());
                    log::warn!("what is to be recovered can't be filled now: {error}");
                }
            }
            if self.inodes.unfilled().count() == before || before == 0 {
                self.pause(PAUSE);
            }
        }
    }

    /// What no walk came by: it was moved meanwhile, and is known to the kernel, or has gone. What was
    /// not seen by the walk before either, and is not known, has gone while nothing was mounted.
    fn look_for(&self, before: &HashSet<u64>) -> HashSet<u64> {
        let mut unseen = HashSet::new();
        for ino in self.inodes.unfilled().all() {
            match self.inodes.get(ino) {
                Some(inode) => {
                    let filled = self.fill_now(&inode);
                    if let Err(error) = filled
                        && error.missing().is_none()
                    {
                        self.note_fault(&inode, &error.to_string());
                    }
                }
                None if before.contains(&ino) => {
                    if let Some(mark) = self.inodes.unfilled().of(ino) {
                        let view = self.store.view();
                        let size = wanted(&view, mark, self.epoch).map_or(0, |wanted| wanted.size);
                        self.forget(ino, size);
                    }
                }
                None => {
                    unseen.insert(ino);
                }
            }
        }
        unseen
    }

    fn pause(&self, at_most: Duration) {
        let until = Instant::now() + at_most;
        let mut seen = 0;
        while Instant::now() < until && !self.ending.load(Ordering::Acquire) {
            seen = self.wants.wait(seen, Duration::from_millis(200));
            if self.wants.going().is_all_here {
                return;
            }
        }
    }

    /// Goes through all of it; the answer is how many files could not be filled.
    fn walk_once(&self, first: Option<&Matcher>) -> Result<u64, Stopped> {
        let mut walk = Walk {
            filler: self,
            first,
            ahead: VecDeque::new(),
            flushed: Instant::now(),
            left: 0,
        };
        let root = self.inodes.root().clone();
        self.inodes.pin(&root);
        let mut stack = vec![(root, Vec::new(), false)];
        let mut walked = Ok(());
        while let Some((directory, path, matched)) = stack.pop() {
            if walked.is_ok() {
                walked = walk.directory(&directory, &path, matched, &mut stack);
            }
            self.inodes.unpin(&directory);
        }
        let walked = walked.and_then(|()| walk.catch_up(0));
        for (inode, _) in walk.ahead.drain(..) {
            self.inodes.unpin(&inode);
        }
        walked?;
        self.flush()?;
        Ok(walk.left)
    }
}

type Below = (Arc<Inode>, Vec<u8>, bool);

impl Walk<'_> {
    fn go_on(&self) -> Result<(), Stopped> {
        match self.filler.ending.load(Ordering::Acquire) {
            true => Err(Stopped::Ending),
            false => Ok(()),
        }
    }

    fn directory(
        &mut self,
        directory: &Arc<Inode>,
        path: &[u8],
        matched: bool,
        stack: &mut Vec<Below>,
    ) -> Result<(), Stopped> {
        self.go_on()?;
        self.filler.list_names(directory)?;
        let inodes = &self.filler.inodes;
        let open = directory
            .path(inodes.backing().root())
            .and_then(|path| DirStream::open(path.as_fd()));
        // It was moved or removed meanwhile, or is not for us to read.
        let Ok(mut stream) = open else {
            return Ok(());
        };
        let mut cookie = 0;
        loop {
            let mut page = Vec::new();
            let listed = stream.read(cookie, &mut |entry| {
                if page.len() == limits::DIR_PAGE {
                    return false;
                }
                cookie = entry.cookie;
                page.push((entry.name.clone(), entry.ino, entry.kind));
                true
            });
            if listed.is_err() || page.is_empty() {
                break;
            }
            for (name, ino, kind) in page {
                if name == b"." || name == b".." {
                    continue;
                }
                let mark = inodes.unfilled().of(ino);
                let is_dir = kind == Some(Kind::Dir) || kind.is_none() && mark.is_none();
                if !is_dir && mark.is_none() {
                    continue;
                }
                let path = match path {
                    b"" => name.clone(),
                    above => [above, b"/", &name].concat(),
                };
                let matches =
                    |first: &&crate::pattern::Matcher| first.pattern_for(&path, is_dir).is_some();
                let matched = matched || self.first.as_ref().is_some_and(matches);
                if !is_dir && self.first.is_some() && !matched {
                    continue;
                }
                let Ok((inode, _)) = inodes.find(directory, &name) else {
                    continue;
                };
                match (inode.kind, mark) {
                    (Kind::Dir, _) => stack.push((inode, path, matched)),
                    (_, Some(mark)) => {
                        self.ahead.push_back((inode, mark));
                        if self.ahead.len() >= AHEAD {
                            self.catch_up(AHEAD / 2)?;
                        }
                    }
                    _ => inodes.unpin(&inode),
                }
            }
        }
        if self.flushed.elapsed() > DURABLE {
            self.flushed = Instant::now();
            self.filler.flush()?;
        }
        Ok(())
    }

    /// Fills files until only so many are left for which something has to come.
    fn catch_up(&mut self, ahead: usize) -> Result<(), Stopped> {
        let filler = self.filler;
        let mut seen = 0;
        loop {
            self.go_on()?;
            self.fill_those_that_are_here()?;
            if self.ahead.len() <= ahead {
                return Ok(());
            }
            self.give_up_lost();
            if self.ahead.len() <= ahead {
                return Ok(());
            }
            seen = filler.wants.wait(seen, Duration::from_millis(500));
            if self.flushed.elapsed() > DURABLE {
                self.flushed = Instant::now();
                filler.flush()?;
            }
        }
    }

    /// Fills those whose chunks are here, and asks for those of the others.
    fn fill_those_that_are_here(&mut self) -> Result<(), Stopped> {
        let filler = self.filler;
        let unfilled = filler.inodes.unfilled();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let mut waiting = VecDeque::new();
        let mut view = filler.store.view();
        for (inode, mark) in std::mem::take(&mut self.ahead) {
            let now = unfilled.of(inode.ino).filter(|now| now.id == mark.id);
            let Some(mark) = now else {
                filler.inodes.unpin(&inode);
                continue;
            };
            let wanted = wanted(&view, mark, filler.epoch)?;
            let missing = lacking(&view, wanted.content)?;
            if missing.is_empty() {
                batch.push((inode, mark));
                bytes += wanted.size;
            } else {
                for hash in missing {
                    filler.wants.ask(hash, Urgency::Soon);
                }
                waiting.push_back((inode, mark));
            }
            if batch.len() >= BATCH_FILES || bytes >= BATCH_BYTES {
                self.fill(&mut batch)?;
                bytes = 0;
                view = filler.store.view();
            }
        }
        self.fill(&mut batch)?;
        self.ahead = waiting;
        Ok(())
    }

    fn fill(&mut self, batch: &mut Vec<(Arc<Inode>, Mark)>) -> Result<(), Stopped> {
        let filler = self.filler;
        if batch.is_empty() {
            return Ok(());
        }
        // Of a file in a folder that is not durable the mark may go with the power.
        let filled = filler.flush().and_then(|()| filler.fill_files(batch));
        for (inode, _) in batch.drain(..) {
            filler.inodes.unpin(&inode);
        }
        filled?;
        self.flushed = Instant::now();
        filler.flush()?;
        Ok(())
    }

    /// Files that need what can't be had are left for another time.
    fn give_up_lost(&mut self) {
        let filler = self.filler;
        let view = filler.store.view();
        let mut waiting = VecDeque::new();
        for (inode, mark) in std::mem::take(&mut self.ahead) {
            let missing = wanted(&view, mark, filler.epoch)
                .and_then(|wanted| lacking(&view, wanted.content))
                .unwrap_or_default();
            if filler.wants.has_lost(&missing) {
                self.left += 1;
                filler.inodes.unpin(&inode);
            } else {
                waiting.push_back((inode, mark));
            }
        }
        self.ahead = waiting;
    }
}
