//! What fuser calls: log (fuser does, at the level debug), call, reply. No opinions.
//!
//! The no-open protocol: OPEN, OPENDIR, CREATE, FLUSH, ACCESS and POLL are answered ENOSYS once,
//! and the kernel never asks again. Everything else that the file system cannot do answers EOPNOTSUPP or
//! what the backing directory answers; ENOSYS would take the whole operation away for good.

use crate::backing;
use crate::fs::{
    Answer, Asked, Attributes, Context, Entry, Fs, SetAttributes, Stop, VIRTUAL, Writer,
};
use crate::fuse::attributes::{attr_ttl, entry_attr, entry_attr_ttl, file_attr, set_time};
use crate::fuse::engine::Engine;
use crate::fuse::job::{Job, Lane, Refuse, Step, Work, guarded};
use crate::fuse::mappers::Mappers;
use crate::fuse::refused::Refused;
use crate::fuse::sink::{Plain, Plus};
use crate::fuse::traffic::{Call, Slot};
use crate::limits;
use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Generation, INodeNo,
    IoctlFlags, KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier,
    RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr,
    Request, TimeOrNow, WriteFlags,
};
use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

thread_local! {
    /// Of an event loop: its place in the table of what is running.
    static SLOT: RefCell<Option<Arc<Slot>>> = const { RefCell::new(None) };
    /// Of any thread that serves READ: grows to the largest piece that was read.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// One session's file system as fuser wants it.
pub(super) struct Adapter {
    engine: Arc<Engine<Fs>>,
    writeback: bool,
    refused: Refused,
    mappers: Option<Arc<Mappers>>,
}

impl Adapter {
    /// `mappers`: who says whose mappings the kernel writes back.
    pub fn new(
        engine: Arc<Engine<Fs>>,
        writeback: bool,
        refused: Refused,
        mappers: Option<Arc<Mappers>>,
    ) -> Adapter {
        Adapter {
            engine,
            writeback,
            refused,
            mappers,
        }
    }

    /// Runs a request here or hands it over, by what it is about.
    fn serve<R, T, F>(
        &self,
        call: Call,
        lane: Lane,
        req: &Request,
        reply: R,
        run: F,
        send: fn(T, R),
    ) where
        R: Refuse + Send + 'static,
        T: 'static,
        F: Fn(&Fs, &Context, &mut R) -> Answer<T> + Send + 'static,
    {
        if self.engine.is_refusing() {
            reply.refuse(libc::ENOTCONN);
            return;
        }
        if self.engine.traffic().is_served_by(req.pid()) {
            log::error!("refused: {} by a thread that serves this mount", call.name);
            reply.refuse(libc::EDEADLK);
            return;
        }
        let mut job = Job::new(call, lane, context(req), reply, run, send);
        let look = (lane == Lane::Look)
            .then(|| self.engine.look_here())
            .flatten();
        if lane == Lane::Loop || look.is_some() {
            let may_wait = look.is_some();
            let fs = self.engine.fs();
            let step = self.here(call, || match may_wait {
                true => backing::without_taking_space(|| job.attempt(fs, true)),
                false => job.attempt(fs, false),
            });
            if step == Step::Answered {
                return;
            }
        }
        self.engine.hand_over(Box::new(job));
    }

    /// What the kernel writes back of a mapping: finding out whose it is takes too long for a loop.
    fn write_back(
        &self,
        call: Call,
        cx: Context,
        (ino, offset, kill): (INodeNo, u64, bool),
        data: &[u8],
        mappers: &Arc<Mappers>,
        reply: ReplyWrite,
    ) {
        let (data, mappers, found) = (data.to_vec(), Arc::clone(mappers), OnceLock::new());
        let job = Job::new(
            call,
            lane(Lane::Slow, &[ino]),
            cx,
            reply,
            move |fs: &Fs, cx: &Context, _: &mut ReplyWrite| {
                let by = Writer::Kernel(*found.get_or_init(|| mappers.of(ino.0)));
                fs.write(cx, ino.0, offset, &data, by, kill)
            },
            |written, reply: ReplyWrite| reply.written(written),
        );
        self.engine.hand_over(Box::new(job));
    }

    /// Runs something on this event loop, and lets the table know.
    fn here<T>(&self, call: Call, run: impl FnOnce() -> T) -> T {
        SLOT.with_borrow_mut(|slot| {
            let slot = slot.get_or_insert_with(|| {
                backing::prepare_thread();
                self.engine.traffic().slot()
            });
            slot.begin(call, false);
            let result = run();
            slot.end();
            result
        })
    }
}

fn context(req: &Request) -> Context {
    Context {
        uid: req.uid(),
        gid: req.gid(),
        pid: req.pid(),
        may_wait: false,
    }
}

/// `usual`, unless one of the inodes is made up: those are looked up in the store.
fn lane(usual: Lane, inos: &[INodeNo]) -> Lane {
    if inos.iter().any(|ino| ino.0 & VIRTUAL != 0) {
        Lane::View
    } else {
        usual
    }
}

/// `usual`, unless the inode is made up: then it is looked at in the store.
fn looking(usual: Lane, ino: INodeNo) -> Lane {
    match lane(usual, &[ino]) {
        Lane::View => Lane::Look,
        other => other,
    }
}

fn owned(name: &OsStr) -> Vec<u8> {
    name.as_bytes().to_vec()
}

fn send_entry(entry: Entry, reply: ReplyEntry) {
    reply.entry_with_ttls(
        &entry_attr_ttl(&entry),
        &entry.entry_ttl,
        &entry_attr(&entry),
        Generation(0),
    );
}

fn send_attr((attributes, ttl): (Attributes, Duration), reply: ReplyAttr) {
    reply.attr(&attr_ttl(&attributes, ttl), &file_attr(&attributes));
}

fn send_empty((): (), reply: ReplyEmpty) {
    reply.ok();
}

fn send_data(data: Vec<u8>, reply: ReplyData) {
    reply.data(&data);
}

/// What READ left in this thread's buffer.
fn send_buffer((): (), reply: ReplyData) {
    BUFFER.with_borrow(|buffer| reply.data(buffer));
}

/// The size protocol of getxattr and listxattr: 0 asks how much there is.
fn send_xattr((value, size): (Vec<u8>, u32), reply: ReplyXattr) {
    match u32::try_from(value.len()) {
        Ok(len) if size == 0 => reply.size(len),
        Ok(len) if len <= size => reply.data(&value),
        Ok(_) => reply.error(Errno::ERANGE),
        Err(_) => reply.error(Errno::E2BIG),
    }
}

/// One CREATE, OPEN ... tells the kernel that there is no such thing here.
const NO_OPEN: Errno = Errno::ENOSYS;

impl fuser::Filesystem for Adapter {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> io::Result<()> {
        crate::fuse::init::negotiate(config, self.writeback)
    }

    fn lookup(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = owned(name);
        self.serve(
            Call::new("lookup", parent.0),
            looking(Lane::Loop, parent),
            req,
            reply,
            move |fs, cx, _| fs.lookup(cx, parent.0, &name),
            send_entry,
        );
    }

    fn forget(&self, _req: &Request, ino: INodeNo, nlookup: u64) {
        self.here(Call::new("forget", ino.0), || {
            let fs = self.engine.fs();
            guarded(fs, Call::new("forget", ino.0), || {
                fs.forget(ino.0, nlookup);
                Ok(())
            })
        })
        .ok();
    }

    fn getattr(&self, req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        self.serve(
            Call::new("getattr", ino.0),
            looking(Lane::Loop, ino),
            req,
            reply,
            move |fs, cx, _| fs.getattr(cx, ino.0),
            send_attr,
        );
    }

    fn setattr(
        &self,
        req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let set = SetAttributes {
            mode: mode.map(|mode| mode & 0o7777),
            uid,
            gid,
            size,
            atime: atime.map(set_time),
            mtime: mtime.map(set_time),
        };
        self.serve(
            Call::new("setattr", ino.0),
            lane(Lane::Loop, &[ino]),
            req,
            reply,
            move |fs, cx, _| fs.setattr(cx, ino.0, &set),
            send_attr,
        );
    }

    fn readlink(&self, req: &Request, ino: INodeNo, reply: ReplyData) {
        self.serve(
            Call::new("readlink", ino.0),
            looking(Lane::Loop, ino),
            req,
            reply,
            move |fs, cx, _| fs.readlink(cx, ino.0),
            send_data,
        );
    }

    fn mknod(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let name = owned(name);
        self.serve(
            Call::new("mknod", parent.0),
            lane(Lane::Loop, &[parent]),
            req,
            reply,
            move |fs, cx, _| fs.mknod(cx, parent.0, &name, mode, umask, rdev),
            send_entry,
        );
    }

    fn mkdir(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let name = owned(name);
        self.serve(
            Call::new("mkdir", parent.0),
            lane(Lane::Loop, &[parent]),
            req,
            reply,
            move |fs, cx, _| fs.mkdir(cx, parent.0, &name, mode, umask),
            send_entry,
        );
    }

    fn unlink(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = owned(name);
        self.serve(
            Call::new("unlink", parent.0),
            lane(Lane::Loop, &[parent]),
            req,
            reply,
            move |fs, cx, _| fs.unlink(cx, parent.0, &name),
            send_empty,
        );
    }

    fn rmdir(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = owned(name);
        self.serve(
            Call::new("rmdir", parent.0),
            lane(Lane::Loop, &[parent]),
            req,
            reply,
            move |fs, cx, _| fs.rmdir(cx, parent.0, &name),
            send_empty,
        );
    }

    fn symlink(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let (name, target) = (owned(name), owned(target.as_os_str()));
        self.serve(
            Call::new("symlink", parent.0),
            lane(Lane::Loop, &[parent]),
            req,
            reply,
            move |fs, cx, _| fs.symlink(cx, parent.0, &name, &target),
            send_entry,
        );
    }

    fn rename(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        to: INodeNo,
        to_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (name, to_name) = (owned(name), owned(to_name));
        self.serve(
            Call::new("rename", parent.0),
            lane(Lane::Loop, &[parent, to]),
            req,
            reply,
            move |fs, cx, _| fs.rename(cx, parent.0, &name, to.0, &to_name, flags.bits()),
            send_empty,
        );
    }

    fn link(&self, req: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = owned(name);
        self.serve(
            Call::new("link", ino.0),
            lane(Lane::Loop, &[ino, parent]),
            req,
            reply,
            move |fs, cx, _| fs.link(cx, ino.0, parent.0, &name),
            send_entry,
        );
    }

    fn open(&self, _req: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.error(NO_OPEN);
    }

    fn opendir(&self, _req: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.error(NO_OPEN);
    }

    fn create(
        &self,
        _req: &Request,
        _parent: INodeNo,
        _name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        reply.error(NO_OPEN);
    }

    fn flush(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        reply.error(NO_OPEN);
    }

    /// The kernel checks modes and ACLs by itself (default_permissions).
    fn access(&self, _req: &Request, _ino: INodeNo, _mask: AccessFlags, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn read(
        &self,
        req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.serve(
            Call::new("read", ino.0),
            looking(Lane::Loop, ino),
            req,
            reply,
            move |fs, cx, _| {
                BUFFER.with_borrow_mut(|buffer| fs.read(cx, ino.0, offset, size, buffer))
            },
            send_buffer,
        );
    }

    /// Like `serve`, but without a copy of the data as long as nothing has to wait.
    fn write(
        &self,
        req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        if self.engine.is_refusing() {
            reply.refuse(libc::ENOTCONN);
            return;
        }
        let call = Call::new("write", ino.0);
        let cx = context(req);
        let cached = write_flags.contains(WriteFlags::FUSE_WRITE_CACHE);
        let kill = write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
        let by = match cached {
            true => Writer::Kernel(None),
            false => Writer::Caller,
        };
        if let Some(mappers) = &self.mappers
            && cached
            && cx.pid == 0
        {
            self.write_back(call, cx, (ino, offset, kill), data, mappers, reply);
            return;
        }
        let answer = self.here(call, || {
            let fs = self.engine.fs();
            let write = || fs.write(&cx, ino.0, offset, data, by, kill);
            guarded(fs, call, write)
        });
        match answer {
            Ok(written) => reply.written(written),
            Err(Stop::Errno(errno)) => {
                reply.refuse(errno);
                if errno == libc::EROFS {
                    self.refused.tell(ino.0);
                }
            }
            Err(Stop::Park(what)) => {
                let data = data.to_vec();
                let job = Job::new(
                    call,
                    lane(Lane::Slow, &[ino]),
                    cx,
                    reply,
                    move |fs: &Fs, cx: &Context, _: &mut ReplyWrite| {
                        fs.write(cx, ino.0, offset, &data, by, kill)
                    },
                    |written, reply: ReplyWrite| reply.written(written),
                );
                self.engine.hand_over(Box::new(job.after(what)));
            }
        }
    }

    fn fsync(
        &self,
        req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        datasync: bool,
        reply: ReplyEmpty,
    ) {
        let asked = Asked::default();
        self.serve(
            Call::new("fsync", ino.0),
            lane(Lane::Slow, &[ino]),
            req,
            reply,
            move |fs, cx, _| fs.fsync(cx, ino.0, datasync, &asked),
            send_empty,
        );
    }

    fn fsyncdir(
        &self,
        req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        datasync: bool,
        reply: ReplyEmpty,
    ) {
        let asked = Asked::default();
        self.serve(
            Call::new("fsyncdir", ino.0),
            lane(Lane::Slow, &[ino]),
            req,
            reply,
            move |fs, cx, _| fs.fsyncdir(cx, ino.0, datasync, &asked),
            send_empty,
        );
    }

    fn readdir(
        &self,
        req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        reply: ReplyDirectory,
    ) {
        self.serve(
            Call::new("readdir", ino.0),
            looking(Lane::Loop, ino),
            req,
            reply,
            move |fs, cx, reply| {
                let mut sink = Plain::new(reply);
                let answer = fs.readdir(cx, ino.0, offset, &mut sink);
                sink.settle(answer)
            },
            |(), reply| reply.ok(),
        );
    }

    fn readdirplus(
        &self,
        req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        reply: ReplyDirectoryPlus,
    ) {
        self.serve(
            Call::new("readdirplus", ino.0),
            looking(Lane::Loop, ino),
            req,
            reply,
            move |fs, cx, reply| {
                let mut sink = Plus::new(reply);
                let answer = fs.readdirplus(cx, ino.0, offset, &mut sink);
                sink.settle(answer)
            },
            |(), reply| reply.ok(),
        );
    }

    fn statfs(&self, req: &Request, ino: INodeNo, reply: ReplyStatfs) {
        self.serve(
            Call::new("statfs", ino.0),
            Lane::Loop,
            req,
            reply,
            |fs, _, _| fs.statfs(),
            |space, reply: ReplyStatfs| {
                reply.statfs(
                    space.blocks,
                    space.bfree,
                    space.bavail,
                    space.files,
                    space.ffree,
                    space.bsize,
                    space.namelen,
                    space.frsize,
                );
            },
        );
    }

    fn setxattr(
        &self,
        req: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let (name, value) = (owned(name), value.to_vec());
        self.serve(
            Call::new("setxattr", ino.0),
            lane(Lane::Loop, &[ino]),
            req,
            reply,
            move |fs, cx, _| fs.setxattr(cx, ino.0, &name, &value, flags),
            send_empty,
        );
    }

    fn getxattr(&self, req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let name = owned(name);
        self.serve(
            Call::new("getxattr", ino.0),
            looking(Lane::Loop, ino),
            req,
            reply,
            move |fs, cx, _| Ok((fs.getxattr(cx, ino.0, &name)?, size)),
            send_xattr,
        );
    }

    fn listxattr(&self, req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        self.serve(
            Call::new("listxattr", ino.0),
            looking(Lane::Loop, ino),
            req,
            reply,
            move |fs, cx, _| Ok((fs.listxattr(cx, ino.0)?, size)),
            send_xattr,
        );
    }

    fn removexattr(&self, req: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = owned(name);
        self.serve(
            Call::new("removexattr", ino.0),
            lane(Lane::Loop, &[ino]),
            req,
            reply,
            move |fs, cx, _| fs.removexattr(cx, ino.0, &name),
            send_empty,
        );
    }

    fn ioctl(
        &self,
        req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        flags: IoctlFlags,
        cmd: u32,
        in_data: &[u8],
        out_size: u32,
        reply: ReplyIoctl,
    ) {
        if flags.contains(IoctlFlags::FUSE_IOCTL_UNRESTRICTED) {
            reply.error(Errno::ENOTTY);
            return;
        }
        let input = in_data.to_vec();
        self.serve(
            Call::new("ioctl", ino.0),
            lane(Lane::Loop, &[ino]),
            req,
            reply,
            move |fs, cx, _| fs.ioctl(cx, ino.0, cmd, &input, out_size),
            |output: Vec<u8>, reply: ReplyIoctl| reply.ioctl(0, &output),
        );
    }

    /// Files are always ready; the kernel knows that by itself once it was told to.
    fn poll(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _notifier: PollNotifier,
        _events: PollEvents,
        _flags: PollFlags,
        reply: ReplyPoll,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn fallocate(
        &self,
        req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        self.serve(
            Call::new("fallocate", ino.0),
            lane(Lane::Slow, &[ino]),
            req,
            reply,
            move |fs, cx, _| fs.fallocate(cx, ino.0, offset, length, mode),
            send_empty,
        );
    }

    fn lseek(
        &self,
        req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let Ok(offset) = u64::try_from(offset) else {
            reply.error(Errno::EINVAL);
            return;
        };
        self.serve(
            Call::new("lseek", ino.0),
            looking(Lane::Loop, ino),
            req,
            reply,
            move |fs, cx, _| fs.lseek(cx, ino.0, offset, whence),
            |offset, reply: ReplyLseek| match i64::try_from(offset) {
                Ok(offset) => reply.offset(offset),
                Err(_) => reply.error(Errno::EOVERFLOW),
            },
        );
    }

    fn copy_file_range(
        &self,
        req: &Request,
        from: INodeNo,
        _fh_in: FileHandle,
        from_offset: u64,
        to: INodeNo,
        _fh_out: FileHandle,
        to_offset: u64,
        len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let len = len.min(limits::COPY_PIECE);
        self.serve(
            Call::new("copy_file_range", to.0),
            lane(Lane::Slow, &[from, to]),
            req,
            reply,
            move |fs, cx, _| fs.copy_file_range(cx, from.0, from_offset, to.0, to_offset, len),
            |copied, reply: ReplyWrite| reply.written(copied),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_up_goes_to_the_view_pool() {
        let (live, made_up) = (INodeNo(7), INodeNo(VIRTUAL | 7));
        assert_eq!(lane(Lane::Loop, &[live]), Lane::Loop);
        assert_eq!(lane(Lane::Slow, &[live, live]), Lane::Slow);
        assert_eq!(lane(Lane::Slow, &[made_up, live]), Lane::View);
        assert_eq!(lane(Lane::Loop, &[live, made_up]), Lane::View);
    }
}
