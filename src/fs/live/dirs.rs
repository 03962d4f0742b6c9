//! Listings. Without opendir a listing is a directory's number and an offset: the stream that
//! stands there is kept, bounded, and found again.

use super::Live;
use crate::backing::{self, DirStream, RawEntry};
use crate::format::record::Kind;
use crate::fs::{Answer, Context, DirPlusSink, DirSink, Stop};
use crate::id::FileId;
use crate::inodes::Inode;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

/// Streams that are kept open.
const STREAMS_MAX: usize = 64;

type Stream = Arc<Mutex<DirStream>>;

/// Streams by directory number, and when each was used last.
#[derive(Default)]
pub(super) struct Streams {
    open: Mutex<HashMap<u64, (Stream, u64)>>,
}

impl Streams {
    fn get(&self, ino: u64, open: impl FnOnce() -> Answer<DirStream>) -> Answer<Stream> {
        let mut streams = self.open.lock();
        let now = streams.values().map(|&(_, used)| used).max().unwrap_or(0) + 1;
        if let Some((stream, used)) = streams.get_mut(&ino) {
            *used = now;
            return Ok(stream.clone());
        }
        if streams.len() >= STREAMS_MAX {
            let oldest = streams
                .iter()
                .min_by_key(|(_, (_, used))| *used)
                .map(|(&ino, _)| ino);
            if let Some(oldest) = oldest {
                streams.remove(&oldest);
            }
        }
        let stream = Arc::new(Mutex::new(open()?));
        streams.insert(ino, (stream.clone(), now));
        Ok(stream)
    }

    fn drop_stream(&self, ino: u64) {
        self.open.lock().remove(&ino);
    }
}

impl Live {
    fn stream(&self, cx: &Context, inode: &Arc<Inode>, offset: u64) -> Answer<Stream> {
        if offset == 0 {
            self.list(cx, inode)?;
            // A number may come back with another directory behind it.
            self.streams.drop_stream(inode.ino);
        }
        self.streams.get(inode.ino, || {
            Ok(DirStream::open(self.path(inode)?.as_fd())?)
        })
    }

    /// Lists names from `offset` on.
    ///
    /// # Errors
    /// What the backing directory says.
    pub fn readdir(
        &self,
        cx: &Context,
        ino: u64,
        offset: u64,
        sink: &mut dyn DirSink,
    ) -> Answer<()> {
        let inode = self.directory(ino)?;
        let stream = self.stream(cx, &inode, offset)?;
        let mut stream = stream.lock();
        Ok(stream.read(offset, &mut |entry| {
            let kind = entry.kind.unwrap_or(Kind::File);
            sink.plain(entry.ino, entry.cookie, kind, &entry.name)
        })?)
    }

    /// Lists names with attributes; each that is taken (but "." and "..") counts as a look-up.
    ///
    /// # Errors
    /// What the backing directory says.
    pub fn readdirplus(
        &self,
        cx: &Context,
        ino: u64,
        offset: u64,
        sink: &mut dyn DirPlusSink,
    ) -> Answer<()> {
        let inode = self.directory(ino)?;
        let stream = self.stream(cx, &inode, offset)?;
        let mut stream = stream.lock();
        let mut stop = None;
        let mut taken = 0u64;
        stream.read(offset, &mut |entry| match self.plus(&inode, entry, sink) {
            Ok(more) => {
                taken += u64::from(more);
                more
            }
            Err(error) => {
                stop = Some(error);
                false
            }
        })?;
        match stop {
            Some(stop) if taken == 0 => Err(stop),
            _ => Ok(()),
        }
    }

    fn plus(
        &self,
        directory: &Arc<Inode>,
        entry: &RawEntry,
        sink: &mut dyn DirPlusSink,
    ) -> Answer<bool> {
        if entry.name == b"." || entry.name == b".." {
            let shown = if entry.name == b"." {
                directory.clone()
            } else {
                directory
                    .place()
                    .map_or_else(|| directory.clone(), |place| place.parent)
            };
            let stat = self.stat(&shown)?;
            return Ok(sink.plus(entry.cookie, &entry.name, &self.entry(&shown, &stat)));
        }
        // What is known already need not be opened.
        let known = self.inodes.get(entry.ino);
        let is_known = known.is_some_and(|inode| !inode.is_placeless());
        let found = match is_known {
            true => self.inodes.find(directory, &entry.name),
            false => self.inodes.find_new(directory, &entry.name),
        };
        let (inode, stat) = match found {
            Ok(found) => found,
            // Removed since it was listed.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        let mut shown = self.entry(&inode, &stat);
        if self.is_unlisted(&inode) {
            // Its names come when somebody looks it up: whoever wants anything of it has to.
            (shown.entry_ttl, shown.attr_ttl) = (Duration::ZERO, Duration::ZERO);
        }
        let taken = sink.plus(entry.cookie, &entry.name, &shown);
        if taken {
            self.inodes.count_lookup(&inode);
        }
        self.inodes.unpin(&inode);
        Ok(taken)
    }

    /// Makes a directory's names durable.
    ///
    /// # Errors
    /// What the backing directory says.
    pub fn fsyncdir(&self, ino: u64, data_only: bool) -> Answer<()> {
        let inode = self.directory(ino)?;
        let descriptor = if ino == FileId::ROOT.0 {
            self.root().try_clone_to_owned().map_err(Stop::from)?
        } else {
            backing::reopen(self.path(&inode)?.as_fd(), false)?
        };
        Ok(backing::fsync(descriptor.as_fd(), data_only)?)
    }
}
