//! Operations on content.

use super::Live;
use crate::backing;
use crate::capture::ContentChange;
use crate::format::record::{Actor, Kind};
use crate::fs::{Answer, Context, Stop, Writer};
use crate::inodes::Inode;
use crate::limits;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

impl Live {
    fn file(&self, ino: u64) -> Answer<Arc<Inode>> {
        let inode = self.inode(ino)?;
        match inode.kind {
            Kind::File => Ok(inode),
            Kind::Dir => Err(Stop::Errno(libc::EISDIR)),
            _ => Err(Stop::Errno(libc::EINVAL)),
        }
    }

    /// Reads up to `size` bytes into `out`, which is cleared first.
    ///
    /// # Errors
    /// What the backing directory says.
    pub fn read(
        &self,
        cx: &Context,
        ino: u64,
        offset: u64,
        size: u32,
        out: &mut Vec<u8>,
    ) -> Answer<()> {
        let inode = self.file(ino)?;
        if let Some(fill) = self.fill()
            && fill.read(cx, &inode, offset, size, out)?
        {
            return Ok(());
        }
        let file = self.inodes.data(&inode, false)?;
        out.clear();
        out.resize(size as usize, 0);
        let mut done = 0;
        while done < out.len() {
            match backing::pread(file.as_fd(), &mut out[done..], offset + done as u64)? {
                0 => break,
                count => done += count,
            }
        }
        out.truncate(done);
        Ok(())
    }

    /// Writes `data` at `offset`. What the kernel writes back may be written by whoever has it mapped,
    /// so the owner of the file stands for the writer. `kill`: setuid bits go.
    ///
    /// # Errors
    /// What the backing directory says.
    pub fn write(
        &self,
        cx: &Context,
        ino: u64,
        offset: u64,
        data: &[u8],
        by: Writer,
        kill: bool,
    ) -> Answer<u32> {
        let inode = self.file(ino)?;
        self.before_write(cx, &inode)?;
        let file = self.inodes.data(&inode, true)?;
        let by_kernel = by != Writer::Caller && cx.pid == 0;
        let (uid, gid) = if by_kernel {
            let stat = self.stat(&inode)?;
            (stat.uid, stat.gid)
        } else {
            (cx.uid, cx.gid)
        };
        let actor = match by {
            Writer::Kernel(Some((pid, uid))) if by_kernel => self.recorder.actor(pid, uid),
            _ => self.actor(cx),
        };
        let _lock = self.lock(cx, &[&inode])?;
        let end = offset.saturating_add(data.len() as u64);
        let change = ContentChange::Range(offset..end);
        let _held = self.recorder.content(&inode, &change, &actor)?;
        let written = backing::as_caller(uid, gid, None, kill, || write_all(&file, data, offset))?;
        Ok(u32::try_from(written).unwrap_or(u32::MAX))
    }

    /// Sets the size.
    pub(super) fn resize(
        &self,
        cx: &Context,
        inode: &Arc<Inode>,
        size: u64,
        actor: &Arc<Actor>,
    ) -> Answer<()> {
        let file = self.inodes.data(inode, true)?;
        let _held = self
            .recorder
            .content(inode, &ContentChange::Resize(size), actor)?;
        let kill = cx.uid != 0;
        Ok(backing::as_caller(cx.uid, cx.gid, None, kill, || {
            backing::truncate(file.as_fd(), size)
        })?)
    }

    /// Makes durable what was written; on the descriptor that wrote, so that errors of the write
    /// back are told.
    ///
    /// # Errors
    /// What the backing directory says.
    pub fn fsync(&self, ino: u64, data_only: bool) -> Answer<()> {
        let inode = self.file(ino)?;
        let file = match inode.written_data() {
            Some(file) => file,
            None => self.inodes.data(&inode, false)?,
        };
        Ok(backing::fsync(file.as_fd(), data_only)?)
    }

    /// Allocates, punches or zeroes.
    ///
    /// # Errors
    /// What the backing directory says.
    pub fn fallocate(
        &self,
        cx: &Context,
        ino: u64,
        offset: u64,
        len: u64,
        mode: i32,
    ) -> Answer<()> {
        let inode = self.file(ino)?;
        self.before_write(cx, &inode)?;
        let file = self.inodes.data(&inode, true)?;
        let _lock = self.lock(cx, &[&inode])?;
        let change = ContentChange::Range(offset..offset.saturating_add(len));
        let _held = self.recorder.content(&inode, &change, &self.actor(cx))?;
        let kill = cx.uid != 0;
        Ok(backing::as_caller(cx.uid, cx.gid, None, kill, || {
            backing::fallocate(file.as_fd(), mode, offset, len)
        })?)
    }

    /// SEEK_DATA and SEEK_HOLE.
    ///
    /// # Errors
    /// What the backing directory says.
    pub fn lseek(&self, ino: u64, offset: u64, whence: i32) -> Answer<u64> {
        let inode = self.file(ino)?;
        let file = self.inodes.data(&inode, false)?;
        if self.is_unfilled(&inode) {
            // It is not known yet where its holes are.
            let size = self.stat(&inode)?.size;
            return match whence {
                _ if offset >= size => Err(Stop::Errno(libc::ENXIO)),
                libc::SEEK_DATA => Ok(offset),
                _ => Ok(size),
            };
        }
        Ok(backing::seek(file.as_fd(), offset, whence)?)
    }

    /// Copies within the live tree, at most `limits::COPY_PIECE` bytes.
    ///
    /// # Errors
    /// What the backing directory says.
    pub fn copy_file_range(
        &self,
        cx: &Context,
        from: u64,
        from_offset: u64,
        to: u64,
        to_offset: u64,
        len: u64,
    ) -> Answer<u32> {
        let (source, target) = (self.file(from)?, self.file(to)?);
        if self.is_unfilled(&source) {
            let piece = u32::try_from(len)
                .unwrap_or(u32::MAX)
                .min(limits::MAX_WRITE);
            let mut bytes = Vec::new();
            self.read(cx, from, from_offset, piece, &mut bytes)?;
            return match bytes.is_empty() {
                true => Ok(0),
                false => self.write(cx, to, to_offset, &bytes, Writer::Caller, cx.uid != 0),
            };
        }
        self.before_write(cx, &target)?;
        let input = self.inodes.data(&source, false)?;
        let output = self.inodes.data(&target, true)?;
        let len = len.min(limits::COPY_PIECE);
        let _lock = self.lock(cx, &[&target])?;
        let change = ContentChange::Range(to_offset..to_offset.saturating_add(len));
        let _held = self.recorder.content(&target, &change, &self.actor(cx))?;
        let kill = cx.uid != 0;
        let copied = backing::as_caller(cx.uid, cx.gid, None, kill, || {
            backing::copy_range(input.as_fd(), from_offset, output.as_fd(), to_offset, len)
        })?;
        Ok(u32::try_from(copied).unwrap_or(u32::MAX))
    }
}

/// Writes all of it, or as much as could be written before an error.
fn write_all(file: &OwnedFd, data: &[u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < data.len() {
        match backing::pwrite(file.as_fd(), &data[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
