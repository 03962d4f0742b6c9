//! A disk with a volatile cache: one file in a small FUSE file system. It logs each WRITE and forgets
//! the log at each FSYNC, after which all of it is on the platter. What a power cut leaves is the
//! platter and a random part of the log.

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, Generation,
    INodeNo, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyWrite,
    Request, SessionACL, WriteFlags,
};
use rand::Rng;
use rand::rngs::StdRng;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

const DISK: INodeNo = INodeNo(2);
const NAME: &str = "disk";
const TTL: Duration = Duration::from_secs(3600);

/// One write that no FSYNC has covered.
struct Write {
    at: u64,
    bytes: Vec<u8>,
}

struct State {
    /// What the disk answers when it is read.
    live: File,
    /// What every power cut leaves.
    platter: File,
    platter_path: PathBuf,
    size: u64,
    log: Mutex<Vec<Write>>,
}

struct OneFile(Arc<State>);

/// The disk, mounted; taken off when dropped.
pub struct Disk {
    state: Arc<State>,
    point: PathBuf,
    session: Option<BackgroundSession>,
}

impl Disk {
    /// Makes a disk of this size; its files lie in `folder`, on a file system with reflinks.
    pub fn new(folder: &Path, point: &Path, size: u64) -> Disk {
        let platter_path = folder.join("platter");
        let make = |path: &Path| {
            let file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(path);
            let file = file.expect("a file of the disk");
            file.set_len(size).expect("a file of the disk");
            file
        };
        let state = Arc::new(State {
            live: make(&folder.join("live")),
            platter: make(&platter_path),
            platter_path,
            size,
            log: Mutex::default(),
        });
        std::fs::create_dir_all(point).expect("a mount point");
        let mut config = Config::default();
        config.acl = SessionACL::All;
        let session = fuser::spawn_mount(OneFile(state.clone()), point, &config);
        Disk {
            state,
            point: point.to_owned(),
            session: Some(session.expect("the disk is mounted")),
        }
    }

    /// The file that is the disk.
    pub fn file(&self) -> PathBuf {
        self.point.join(NAME)
    }

    /// The power goes: what is left is written to `image`. How many writes are lost.
    pub fn cut(&self, image: &Path, random: &mut StdRng) -> usize {
        let log = self.state.log.lock().expect("the log");
        super::image::reflink(&self.state.platter_path, image);
        let left = File::options().write(true).open(image).expect("the image");
        let keep = [0.0, 0.3, 0.7, 0.95][random.random_range(0..4)];
        let mut dropped = 0;
        for write in log.iter() {
            if random.random_bool(keep) {
                left.write_all_at(&write.bytes, write.at)
                    .expect("the image");
            } else {
                dropped += 1;
            }
        }
        dropped
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Some(session) = self.session.take()
            && let Err(error) = session.umount_and_join()
        {
            eprintln!("the disk of the harness: {error}");
        }
    }
}

impl State {
    fn attributes(&self, ino: INodeNo) -> FileAttr {
        let is_disk = ino == DISK;
        FileAttr {
            ino,
            size: if is_disk { self.size } else { 0 },
            blocks: self.size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_disk {
                FileType::RegularFile
            } else {
                FileType::Directory
            },
            perm: if is_disk { 0o600 } else { 0o700 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }

    fn write(&self, at: u64, bytes: &[u8]) -> std::io::Result<()> {
        let mut log = self.log.lock().expect("the log");
        self.live.write_all_at(bytes, at)?;
        log.push(Write {
            at,
            bytes: bytes.to_vec(),
        });
        Ok(())
    }

    fn flush(&self) -> std::io::Result<()> {
        let mut log = self.log.lock().expect("the log");
        for write in log.drain(..) {
            self.platter.write_all_at(&write.bytes, write.at)?;
        }
        Ok(())
    }
}

impl Filesystem for OneFile {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == NAME {
            reply.entry(&TTL, &self.0.attributes(DISK), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&TTL, &self.0.attributes(ino));
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u64>,
        _: Option<fuser::TimeOrNow>,
        _: Option<fuser::TimeOrNow>,
        _: Option<std::time::SystemTime>,
        _: Option<FileHandle>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        // Its size is what it is; times are nobody's concern.
        reply.attr(&TTL, &self.0.attributes(ino));
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let len = u64::from(size).min(self.0.size.saturating_sub(offset));
        let mut bytes = vec![0; usize::try_from(len).expect("a request is small")];
        match self.0.live.read_exact_at(&mut bytes, offset) {
            Ok(()) => reply.data(&bytes),
            Err(_) => reply.error(Errno::EIO),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.0.write(offset, data) {
            Ok(()) => reply.written(u32::try_from(data.len()).expect("a request is small")),
            Err(_) => reply.error(Errno::EIO),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        match self.0.flush() {
            Ok(()) => reply.ok(),
            Err(_) => reply.error(Errno::EIO),
        }
    }
}
