//! What the live tree asks for.

use super::Filler;
use super::error::FillError;
use super::files::{lacking, wanted};
use super::wants::Urgency;
use crate::fs::live::Fill;
use crate::fs::{Answer, Context, Stop, WaitsFor};
use crate::id::Hash;
use crate::inodes::Inode;
use std::sync::Arc;

const WAIT: Stop = Stop::Park(WaitsFor::Filling);

impl Filler {
    fn stop(&self, error: FillError) -> Stop {
        match error.missing() {
            Some(hash) => self.want(hash),
            None => {
                log::error!("what is to be recovered can't be had: {error}");
                Stop::Errno(error.errno())
            }
        }
    }

    fn now(&self, cx: &Context) -> Answer<()> {
        match cx.may_wait {
            true => Ok(()),
            false => Err(WAIT),
        }
    }
}

impl Fill for Filler {
    fn list(&self, cx: &Context, directory: &Arc<Inode>) -> Answer<()> {
        self.now(cx)?;
        self.list_names(directory).map_err(|error| self.stop(error))
    }

    fn read(
        &self,
        cx: &Context,
        inode: &Arc<Inode>,
        offset: u64,
        size: u32,
        out: &mut Vec<u8>,
    ) -> Answer<bool> {
        let Some(mark) = self.inodes.unfilled().file(inode) else {
            return Ok(false);
        };
        self.now(cx)?;
        let view = self.store.view();
        let read = wanted(&view, mark, self.epoch).and_then(|wanted| {
            // One that lost its last name can't be another one, and nobody else can write to it.
            let is_named = self.inodes.unfilled().of(inode.ino).is_some();
            if is_named && !mark.begun && self.is_somebodys(inode, mark)? {
                return Ok(false);
            }
            out.clear();
            let (content, length) = (wanted.content, wanted.size);
            self.history
                .read(&view, content, length, offset, size, out)?;
            Ok(true)
        });
        read.map_err(|error| self.stop(error))
    }

    fn write(&self, cx: &Context, inode: &Arc<Inode>) -> Answer<()> {
        let unfilled = self.inodes.unfilled();
        let Some(mark) = unfilled.file(inode) else {
            return self.change(cx, &[inode]);
        };
        self.now(cx)?;
        if unfilled.of(inode.ino).is_none() {
            // Without a name it is nobody's but its holder's, and its old content goes with it.
            return Err(Stop::Errno(libc::EIO));
        }
        let view = self.store.view();
        let missing = wanted(&view, mark, self.epoch)
            .and_then(|wanted| lacking(&view, wanted.content))
            .map_err(|error| self.stop(error))?;
        let mut comes = true;
        for hash in missing {
            comes &= self.wants.ask(hash, Urgency::Now);
        }
        if !comes {
            return Err(Stop::Errno(libc::EIO));
        }
        if let Some(errno) = self.refused.lock().remove(&inode.ino) {
            return Err(Stop::Errno(errno));
        }
        let mut urgent = self.urgent.lock();
        if !urgent.iter().any(|other| Arc::ptr_eq(other, inode)) {
            urgent.push_back(Arc::clone(inode));
            self.is_urgent.notify_all();
        }
        Err(WAIT)
    }

    fn change(&self, cx: &Context, inodes: &[&Arc<Inode>]) -> Answer<()> {
        for inode in inodes {
            if self
                .inodes
                .unfilled()
                .of(inode.ino)
                .is_some_and(|mark| mark.is_dir)
            {
                self.list(cx, inode)?;
            }
        }
        if !inodes
            .iter()
            .any(|inode| self.inodes.unfilled().is_fresh(inode))
        {
            return Ok(());
        }
        self.now(cx)?;
        self.flush().map_err(|error| self.stop(error))
    }

    fn may_empty(&self, cx: &Context, inode: &Arc<Inode>) -> Answer<bool> {
        self.now(cx)?;
        // An older version that is not recorded yet would be read from the file.
        let is_named = self.inodes.unfilled().of(inode.ino).is_some();
        Ok(is_named && !self.recorder.is_scanning() && !inode.track.lock().is_pending())
    }

    fn emptied(&self, inode: &Arc<Inode>) -> Answer<()> {
        if let Some(mark) = self.inodes.unfilled().of(inode.ino) {
            let size = wanted(&self.store.view(), mark, self.epoch).map_or(0, |wanted| wanted.size);
            self.forget(inode.ino, size);
        }
        self.flush().map_err(|error| self.stop(error))
    }

    fn died(&self, inode: &Arc<Inode>) {
        let Some(mark) = self.inodes.unfilled().file(inode) else {
            return;
        };
        if !self.inodes.unfilled().died(inode) {
            return;
        }
        let size = wanted(&self.store.view(), mark, self.epoch).map_or(0, |wanted| wanted.size);
        let mut pending = self.pending.lock();
        pending.made.push(inode.ino);
        pending.files += 1;
        pending.bytes += size;
    }

    fn want(&self, hash: Hash) -> Stop {
        match self.wants.ask(hash, Urgency::Now) {
            true => WAIT,
            false => Stop::Errno(libc::EIO),
        }
    }
}
