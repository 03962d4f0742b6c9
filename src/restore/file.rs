//! One file, symlink or device: made, changed in place, replaced, linked, or left as it is.

use super::attributes;
use super::content::{self, Side};
use super::item::{Fault, Item, Source, Xattrs};
use super::paths::Overwrite;
use super::tally::Change;
use super::tree::{Job, Place, Tree};
use crate::backing;
use crate::format::record::Kind;
use crate::limits;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// RENAME_NOREPLACE of renameat2(2).
const NO_REPLACE: u32 = 1;

impl<'t> Tree<'t> {
    /// A regular file.
    pub(super) fn file(&self, job: Job<'t>) {
        if self.tell.interrupted() {
            return;
        }
        let path = job.place.path();
        let done = match self.linked(&job) {
            Ok(Some(change)) => Ok(change),
            Ok(None) => self.regular(&job),
            Err(side) => Err(side),
        };
        match done {
            Ok(Some(change)) => self.changed(change, &path),
            Ok(None) => self.unchanged(),
            Err(Side::Past(fault)) => self.lost(&path, &fault),
            Err(Side::Now(fault)) => {
                self.conflict(&path, &fault.to_string());
            }
        }
    }

    /// Another name of a file that is restored already. The outer `None`: it is not.
    fn linked(&self, job: &Job<'t>) -> Result<Option<Option<Change>>, Side> {
        if job.item.facts.nlink < 2 {
            return Ok(None);
        }
        let first = self.first_names.lock().get(&job.item.facts.same).cloned();
        let Some((path, ino)) = first else {
            return Ok(None);
        };
        let change = match &job.now {
            Some(now) if now.facts.same == ino => return Ok(Some(None)),
            Some(now) => replaced(now, Kind::File),
            None => Change::Added,
        };
        if self.options.dry_run {
            return Ok(Some(Some(change)));
        }
        let names: Vec<Vec<u8>> = path
            .split(|byte| *byte == b'/')
            .map(<[u8]>::to_vec)
            .collect();
        let first = super::item::walk(self.live, &names).map_err(Side::Now)?;
        // Somebody has put another file there meanwhile: this name is made by itself.
        let Some(first) = first.filter(|first| first.facts.same == ino) else {
            return Ok(None);
        };
        self.put(job, |dir, name| {
            Ok(backing::link_fd_at(
                first.fd().map_err(io::Error::other)?,
                dir,
                name,
            )?)
        })?;
        Ok(Some(Some(change)))
    }

    fn regular(&self, job: &Job<'t>) -> Result<Option<Change>, Side> {
        let xattrs = self.source.xattrs(&job.item).map_err(Side::Past)?;
        let now = match &job.now {
            Some(now) if now.facts.kind == Kind::File => now,
            other => {
                self.create(job, &xattrs)?;
                let change = other.as_ref().map(|now| replaced(now, Kind::File));
                return Ok(Some(change.unwrap_or(Change::Added)));
            }
        };
        if self.is_clean(&job.item, now) {
            self.stands(job, now.facts.same);
            return Ok(None);
        }
        let own = self.may_have(&job.item, now);
        let in_place = own && self.options.in_place;
        let plan = self.plan(job, now, !in_place)?;
        let now_xattrs = self.live.xattrs(now).map_err(Side::Now)?;
        let attributes = attributes::differ(&job.item.facts, &xattrs, &now.facts, &now_xattrs);
        let change = match (plan.is_empty(), attributes) {
            (true, false) if own => {
                self.stands(job, now.facts.same);
                return Ok(None);
            }
            (true, _) => Change::Attributes,
            (false, _) => Change::Modified,
        };
        if self.options.dry_run {
            self.stands(job, now.facts.same);
            return Ok(Some(change));
        }
        if !own || (!in_place && !plan.is_empty()) {
            self.create(job, &xattrs)?;
            return Ok(Some(change));
        }
        let fd = now.fd().map_err(Side::Now)?;
        if !plan.is_empty() {
            let open = writable(fd)?;
            let mut then = self.source.open(&job.item).map_err(Side::Past)?;
            let size = job.item.facts.size;
            let written = content::carry_out(&plan, then.as_mut(), size, open.as_fd())?;
            self.count(|tally| tally.written_bytes += written);
        }
        self.stands(job, now.facts.same);
        set(fd, &job.item, &xattrs)?;
        Ok(Some(change))
    }

    fn plan(&self, job: &Job<'t>, now: &Item, only_whether: bool) -> Result<content::Plan, Side> {
        let (then_facts, now_facts) = (&job.item.facts, &now.facts);
        let equal_looks = (then_facts.size, then_facts.mtime) == (now_facts.size, now_facts.mtime);
        if self.options.overwrite == Overwrite::IfChanged && equal_looks {
            return Ok(content::Plan::default());
        }
        let mut then = self.source.open(&job.item).map_err(Side::Past)?;
        let mut live = self.live.open(now).map_err(Side::Now)?;
        let only_whether = only_whether || self.options.dry_run;
        content::compare(
            then.as_mut(),
            then_facts.size,
            live.as_mut(),
            now_facts.size,
            only_whether,
        )
    }

    /// Whether nothing of it can have changed since then. Nobody can set a ctime, and one that is
    /// well before the instant of the state was not of the same tick of the clock.
    fn is_clean(&self, item: &Item, now: &Item) -> bool {
        let Some(since) = self.options.since else {
            return false;
        };
        let racy = i64::try_from(limits::RACY.as_nanos()).unwrap_or(i64::MAX);
        let limit = since.0.saturating_sub(racy).div_euclid(1_000_000_000);
        let (then, now) = (&item.facts, &now.facts);
        then.ctime == now.ctime
            && then.mtime == now.mtime
            && then.size == now.size
            && then.nlink == now.nlink
            && now.ctime.sec < limit
    }

    /// Whether the file that stands there may become this one: not if another name of it, which
    /// was another file then, would change with it.
    fn may_have(&self, item: &Item, now: &Item) -> bool {
        if now.facts.nlink < 2 {
            return true;
        }
        let same = item.facts.same;
        item.facts.nlink > 1 && *self.taken.lock().entry(now.facts.same).or_insert(same) == same
    }

    /// The first name of a file with several stands.
    fn stands(&self, job: &Job<'t>, ino: u64) {
        if job.item.facts.nlink > 1 {
            let path = job.place.path();
            self.first_names
                .lock()
                .insert(job.item.facts.same, (path, ino));
        }
    }

    /// Makes the file beside, complete, and gives it its name.
    fn create(&self, job: &Job<'t>, xattrs: &Xattrs) -> Result<(), Side> {
        if self.options.dry_run {
            // What can't be read would not be restored.
            let mut then = self.source.open(&job.item).map_err(Side::Past)?;
            let mut first = Vec::new();
            let len = job.item.facts.size.min(1) as u32;
            then.read(0, len, &mut first).map_err(Side::Past)?;
            // Whatever other name of it stands there now, it would become a name of this.
            self.stands(job, 0);
            return Ok(());
        }
        let size = job.item.facts.size;
        let mut then = self.source.open(&job.item).map_err(Side::Past)?;
        let mut ino = 0;
        let replaces = job.now.is_some();
        let result = self.put(job, |dir, name| {
            let fd = backing::create_at(dir, name, 0o600)?;
            let written = content::write_all(then.as_mut(), size, fd.as_fd())?;
            self.count(|tally| tally.written_bytes += written);
            if replaces {
                // Old or new, also when the power goes.
                backing::fsync(fd.as_fd(), true)?;
            }
            ino = backing::stat_fd(fd.as_fd())?.ino;
            Ok(fd)
        });
        let made: OwnedFd = result?;
        self.stands(job, ino);
        set(made.as_fd(), &job.item, xattrs)
    }

    /// A symlink, a FIFO, a socket or a device.
    pub(super) fn special(&self, place: &Place<'t>, item: &Item, now: Option<Item>) {
        let path = place.path();
        match self.try_special(place, item, now) {
            Ok(Some(change)) => self.changed(change, &path),
            Ok(None) => self.unchanged(),
            Err(Side::Past(fault)) => self.lost(&path, &fault),
            Err(Side::Now(fault)) => {
                self.conflict(&path, &fault.to_string());
            }
        }
    }

    fn try_special(
        &self,
        place: &Place<'t>,
        item: &Item,
        now: Option<Item>,
    ) -> Result<Option<Change>, Side> {
        let xattrs = self.source.xattrs(item).map_err(Side::Past)?;
        let target = match item.facts.kind {
            Kind::Symlink => self.source.target(item).map_err(Side::Past)?,
            _ => Vec::new(),
        };
        let change = match &now {
            None => Change::Added,
            Some(now) if now.facts.kind != item.facts.kind => Change::Type,
            Some(now)
                if !self
                    .is_same_special(item, &target, now)
                    .map_err(Side::Now)? =>
            {
                Change::Modified
            }
            Some(now) => {
                let now_xattrs = self.live.xattrs(now).map_err(Side::Now)?;
                if !attributes::differ(&item.facts, &xattrs, &now.facts, &now_xattrs) {
                    return Ok(None);
                }
                if !self.options.dry_run {
                    set(now.fd().map_err(Side::Now)?, item, &xattrs)?;
                }
                return Ok(Some(Change::Attributes));
            }
        };
        if self.options.dry_run {
            return Ok(Some(change));
        }
        let made = self.put_at(place, now.is_some(), |dir, name| {
            match item.facts.kind {
                Kind::Symlink => backing::symlink_at(&target, dir, name)?,
                kind => {
                    let mode = kind.mode_bits() | 0o600;
                    backing::mknod_at(dir, name, mode, item.facts.rdev)?;
                }
            }
            Ok(backing::open_path_at(dir, name)?)
        })?;
        set(made.as_fd(), item, &xattrs)?;
        Ok(Some(change))
    }

    fn is_same_special(&self, item: &Item, target: &[u8], now: &Item) -> Result<bool, Fault> {
        Ok(match item.facts.kind {
            Kind::Symlink => self.live.target(now)? == target,
            Kind::CharDevice | Kind::BlockDevice => item.facts.rdev == now.facts.rdev,
            _ => true,
        })
    }

    fn put<T>(
        &self,
        job: &Job<'t>,
        make: impl FnOnce(BorrowedFd<'_>, &[u8]) -> Result<T, Side>,
    ) -> Result<T, Side> {
        self.put_at(&job.place, job.now.is_some(), make)
    }

    /// Makes something under a name that nobody else has, then renames it to its own. `replaces`:
    /// something is known to stand there; what else comes there meanwhile is never replaced.
    fn put_at<T>(
        &self,
        place: &Place<'t>,
        replaces: bool,
        make: impl FnOnce(BorrowedFd<'_>, &[u8]) -> Result<T, Side>,
    ) -> Result<T, Side> {
        let dir = place.dir.live.as_ref().ok_or(Side::Now(Fault::Foreign))?;
        let dir = dir.fd().map_err(Side::Now)?;
        let name = self.temporary_name();
        let flags = if replaces { 0 } else { NO_REPLACE };
        let made = make(dir, &name).and_then(|made| {
            backing::rename_at(dir, &name, dir, &place.name, flags)?;
            Ok(made)
        });
        if made.is_err() {
            // It may not have been made at all.
            let _ = backing::unlink_at(dir, &name);
        }
        made
    }
}

fn replaced(now: &Item, kind: Kind) -> Change {
    if now.facts.kind == kind {
        Change::Modified
    } else {
        Change::Type
    }
}

fn set(fd: BorrowedFd<'_>, item: &Item, xattrs: &Xattrs) -> Result<(), Side> {
    attributes::apply(fd, &item.facts, xattrs)
        .map_err(|reason| Side::Now(io::Error::other(reason).into()))
}

/// Opens a file for writing, also if its mode denies that to its own owner: the mode is set
/// afterwards anyway.
fn writable(fd: BorrowedFd<'_>) -> Result<OwnedFd, Side> {
    match backing::reopen(fd, true) {
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => {
            let mode = backing::stat_fd(fd)?.mode & 0o7777;
            backing::chmod_fd(fd, mode | 0o600)?;
            Ok(backing::reopen(fd, true)?)
        }
        open => Ok(open?),
    }
}
