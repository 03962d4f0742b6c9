//! What must hold before a directory is mounted over, looked at without changing anything. What
//! does not hold is one sentence: the thing, the reason, the next command.

use super::client::{Client, ClientError};
use super::folder::{self, Folder, FolderError};
use super::locate::{self, LocateError};
use super::mounts::{self, Mount, Mounts};
use crate::store::Store;
use rustix::fs::Access;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub dir: PathBuf,
    /// `None`: over `dir` itself.
    pub mountpoint: Option<PathBuf>,
    /// `--store` or REWINDFS_STORE.
    pub store: Option<PathBuf>,
    /// Name of the snapshot directory; `None` when there will be none.
    pub snapdir: Option<String>,
    /// `--cross-mounts=hide`.
    pub hide_mounts: bool,
    /// `--any-filesystem`.
    pub any_file_system: bool,
}

/// What will be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub dir: PathBuf,
    pub mountpoint: PathBuf,
    pub store: PathBuf,
    /// There is nothing at `store` yet.
    pub new_store: bool,
    /// Where to leave a file that points to the store.
    pub pointer: Option<PathBuf>,
}

/// What does not hold.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("{0} does not exist: mkdir {0}")]
    Missing(PathBuf),
    #[error("{0} is not a directory: give the directory in which it lies")]
    NotDirectory(PathBuf),
    #[error("/ can't be mounted over: give a directory below it, for example your project")]
    Root,
    #[error("{path} can't be looked at: {source}")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{0} is mounted already: rewindfs status {0}")]
    Mounted(PathBuf),
    #[error("the daemon of {0} has died and its mount stands in the way: rewindfs umount {0}")]
    Dead(PathBuf),
    #[error(
        "{dir} lies inside {outer}, which is mounted already and keeps its history: rewindfs status {outer}"
    )]
    Inside { dir: PathBuf, outer: PathBuf },
    #[error(
        "{inner} is mounted inside {dir}, and a directory has one history only: rewindfs umount {inner}"
    )]
    Around { dir: PathBuf, inner: PathBuf },
    #[error(
        "{dir} holds a {name} of its own, which would hide the history: rename it, or mount with -o snapdirname=OTHER"
    )]
    RealSnapdir { dir: PathBuf, name: String },
    #[error(
        "below {dir} other file systems are mounted, which would show as empty folders ({}): unmount them, or accept it with --cross-mounts=hide",
        list(mounts)
    )]
    MountsBelow { dir: PathBuf, mounts: Vec<PathBuf> },
    #[error(
        "{dir} is on {kind}: {lack}; copy it to a local file system, or accept it with --any-filesystem"
    )]
    FileSystem {
        dir: PathBuf,
        kind: String,
        lack: &'static str,
    },
    #[error(
        "the mount point {mountpoint} and {dir} must not lie inside each other: choose another mount point"
    )]
    Entangled { dir: PathBuf, mountpoint: PathBuf },
    #[error("the history of {dir} can't be kept beside it, {reason}: say where, --store PATH")]
    NeedsStore { dir: PathBuf, reason: NoSibling },
    #[error("the store {store} must not lie inside {dir}: choose another place, --store PATH")]
    StoreInside { dir: PathBuf, store: PathBuf },
    #[error("{dir} lies inside the store {store}: choose another place, --store PATH")]
    StoreAround { dir: PathBuf, store: PathBuf },
    #[error(
        "{dir} has its history in {has}, not in {said}: mount without --store, or move {has} away first"
    )]
    OtherStore {
        dir: PathBuf,
        has: PathBuf,
        said: PathBuf,
    },
    #[error(
        "there is no /dev/fuse: modprobe fuse (in a container: start it with --device /dev/fuse)"
    )]
    NoDevice,
    #[error(
        "/dev/fuse can't be opened ({0}): run this as root, or let root run: chmod 666 /dev/fuse"
    )]
    Device(io::Error),
    #[error("fusermount3 is missing, without which only root can mount: apt-get install fuse3")]
    NoFusermount,
    #[error(transparent)]
    Locate(#[from] LocateError),
    #[error(transparent)]
    Folder(#[from] FolderError),
}

/// Why a store can't stand beside the directory.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum NoSibling {
    #[error("you may not write in the folder above it")]
    NotWritable,
    #[error("the folder above it is on another file system")]
    OtherFileSystem,
    #[error("its name is too long")]
    NameTooLong,
}

fn list(mounts: &[PathBuf]) -> String {
    let names: Vec<String> = mounts
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    names.join(", ")
}

/// Looks at everything that can be looked at beforehand.
///
/// # Errors
/// The first thing that does not hold.
pub fn check(wanted: &Wanted) -> Result<Plan, Problem> {
    let mounts = Mounts::read().map_err(LocateError::Mounts)?;
    check_not_mounted(&mounts, &wanted.dir)?;
    let dir = directory(&wanted.dir)?;
    let mountpoint = match &wanted.mountpoint {
        Some(mountpoint) => {
            check_not_mounted(&mounts, mountpoint)?;
            separate(&dir, directory(mountpoint)?)?
        }
        None => dir.clone(),
    };
    check_surroundings(&mounts, &dir, &mountpoint, wanted)?;
    if let Some(name) = &wanted.snapdir
        && fs::symlink_metadata(dir.join(name)).is_ok()
    {
        return Err(Problem::RealSnapdir {
            dir,
            name: name.clone(),
        });
    }
    let plan = plan_store(dir, mountpoint, wanted.store.as_deref())?;
    check_device()?;
    Ok(plan)
}

/// Asked first: a dead mount answers nothing else.
fn check_not_mounted(mounts: &Mounts, path: &Path) -> Result<(), Problem> {
    let resolved = mounts::absolute(path);
    let candidates = [resolved, fs::canonicalize(path).ok()];
    for path in candidates.into_iter().flatten() {
        if let Some(mount) = mounts.at(&path).filter(|mount| mount.is_ours()) {
            return Err(mounted_problem(mount));
        }
    }
    Ok(())
}

fn mounted_problem(mount: &Mount) -> Problem {
    let alive = match Folder::open(&mount.store()).map(|folder| Client::reach(&folder)) {
        Ok(Err(ClientError::NoDaemon)) => false,
        // A folder that is gone or closed to us says nothing: ask the mount itself.
        Ok(_) => true,
        Err(_) => {
            let asked = fs::metadata(&mount.point);
            !asked.is_err_and(|error| error.raw_os_error() == Some(libc::ENOTCONN))
        }
    };
    if alive {
        Problem::Mounted(mount.point.clone())
    } else {
        Problem::Dead(mount.point.clone())
    }
}

fn directory(path: &Path) -> Result<PathBuf, Problem> {
    let unreadable = |source| Problem::Unreadable {
        path: path.to_owned(),
        source,
    };
    let resolved = match fs::canonicalize(path) {
        Ok(resolved) => resolved,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Problem::Missing(path.to_owned()));
        }
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(Problem::NotDirectory(path.to_owned()));
        }
        Err(error) => return Err(unreadable(error)),
    };
    if !fs::metadata(&resolved).map_err(unreadable)?.is_dir() {
        return Err(Problem::NotDirectory(path.to_owned()));
    }
    if resolved == Path::new("/") {
        return Err(Problem::Root);
    }
    Ok(resolved)
}

fn separate(dir: &Path, mountpoint: PathBuf) -> Result<PathBuf, Problem> {
    let entangled =
        mountpoint != dir && (mountpoint.starts_with(dir) || dir.starts_with(&mountpoint));
    if entangled {
        return Err(Problem::Entangled {
            dir: dir.to_owned(),
            mountpoint,
        });
    }
    Ok(mountpoint)
}

fn check_surroundings(
    mounts: &Mounts,
    dir: &Path,
    mountpoint: &Path,
    wanted: &Wanted,
) -> Result<(), Problem> {
    for path in [dir, mountpoint] {
        if let Some(outer) = mounts.around(path).find(|mount| mount.is_ours()) {
            return Err(Problem::Inside {
                dir: path.to_owned(),
                outer: outer.point.clone(),
            });
        }
        if let Some(inner) = mounts.below(path).find(|mount| mount.is_ours()) {
            return Err(Problem::Around {
                dir: path.to_owned(),
                inner: inner.point.clone(),
            });
        }
    }
    let below: Vec<PathBuf> = mounts.below(dir).map(|mount| mount.point.clone()).collect();
    if !below.is_empty() && !wanted.hide_mounts {
        return Err(Problem::MountsBelow {
            dir: dir.to_owned(),
            mounts: below,
        });
    }
    let kind = mounts.of(dir).map_or("", |mount| mount.kind.as_str());
    match lack(kind) {
        Some(lack) if !wanted.any_file_system => Err(Problem::FileSystem {
            dir: dir.to_owned(),
            kind: kind.to_owned(),
            lack,
        }),
        _ => Ok(()),
    }
}

/// What does not hold on a kind of file system.
fn lack(kind: &str) -> Option<&'static str> {
    if kind == "overlay" {
        return Some(
            "a file gets another inode number at its first change there, so its history breaks off",
        );
    }
    if kind.starts_with("nfs") {
        return Some("what other machines change there goes by unrecorded and unseen");
    }
    if kind.starts_with("fuse") || matches!(kind, "9p" | "cifs" | "smb3" | "virtiofs") {
        return Some(
            "inode numbers need not be lasting there, and what others change goes by unrecorded",
        );
    }
    None
}

fn plan_store(dir: PathBuf, mountpoint: PathBuf, said: Option<&Path>) -> Result<Plan, Problem> {
    let place = folder::default_place(&dir).ok_or(Problem::Root)?;
    let beside = folder::at_place(&place)?;
    let store = match said {
        Some(said) => locate::resolve(said)?.path,
        None => match beside.clone().or_else(|| locate::of_renamed(&dir)) {
            Some(store) => store,
            None => new_sibling(&dir, &place)?,
        },
    };
    if let (Some(has), Some(_)) = (&beside, said)
        && !same_place(has, &store)
    {
        return Err(Problem::OtherStore {
            dir,
            has: has.clone(),
            said: store,
        });
    }
    if store.starts_with(&dir) || store.starts_with(&mountpoint) {
        return Err(Problem::StoreInside { dir, store });
    }
    if dir.starts_with(&store) {
        return Err(Problem::StoreAround { dir, store });
    }
    let pointer = beside.is_none() && store != place && no_pointer(&dir).is_none();
    Ok(Plan {
        new_store: is_nothing(&store)?,
        pointer: pointer.then_some(place),
        dir,
        mountpoint,
        store,
    })
}

/// An empty folder is as good as none, and so is one in which a daemon died while it made a store.
fn is_nothing(store: &Path) -> Result<bool, Problem> {
    let empty = || fs::read_dir(store).map(|mut entries| entries.next().is_none());
    match empty().and_then(|empty| Ok(empty || Store::is_half_made(store)?)) {
        Ok(nothing) => Ok(nothing),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            Err(FolderError::NotFolder(store.to_owned()).into())
        }
        Err(source) => Err(FolderError::Unreadable {
            path: store.to_owned(),
            source,
        }
        .into()),
    }
}

fn same_place(a: &Path, b: &Path) -> bool {
    match (fs::metadata(a), fs::metadata(b)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => a == b,
    }
}

fn new_sibling(dir: &Path, place: &Path) -> Result<PathBuf, Problem> {
    match no_pointer(dir).or_else(|| no_sibling(dir)) {
        None => Ok(place.to_owned()),
        Some(reason) => Err(Problem::NeedsStore {
            dir: dir.to_owned(),
            reason,
        }),
    }
}

/// Why nothing at all can stand beside a directory.
fn no_pointer(dir: &Path) -> Option<NoSibling> {
    let parent = dir.parent()?;
    let name = folder::default_place(dir)?;
    if name.file_name()?.len() > crate::limits::NAME_MAX {
        return Some(NoSibling::NameTooLong);
    }
    rustix::fs::access(parent, Access::WRITE_OK | Access::EXEC_OK)
        .is_err()
        .then_some(NoSibling::NotWritable)
}

/// Why a store should not, though a file that points to it may: what lies beside a mount point
/// is on another disk, which nobody chose for it.
fn no_sibling(dir: &Path) -> Option<NoSibling> {
    let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev()).ok();
    (device(dir.parent()?) != device(dir)).then_some(NoSibling::OtherFileSystem)
}

fn check_device() -> Result<(), Problem> {
    let opened = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/fuse");
    match opened {
        Ok(_) => {}
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::ENOENT | libc::ENODEV | libc::ENXIO)
            ) =>
        {
            return Err(Problem::NoDevice);
        }
        Err(error) => return Err(Problem::Device(error)),
    }
    if rustix::process::geteuid().is_root() || has_fusermount() {
        Ok(())
    } else {
        Err(Problem::NoFusermount)
    }
}

fn has_fusermount() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/bin"), PathBuf::from("/bin")])
        .any(|folder| folder.join("fusermount3").is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(dir: &Path) -> Wanted {
        Wanted {
            dir: dir.to_owned(),
            mountpoint: None,
            store: None,
            snapdir: Some(".snapshots".into()),
            hide_mounts: false,
            any_file_system: true,
        }
    }

    fn refusal(wanted: &Wanted) -> String {
        check(wanted).expect_err("refused").to_string()
    }

    #[test]
    fn what_is_no_directory_is_refused_with_the_next_command() {
        let temporary = tempfile::tempdir().unwrap();
        let base = temporary.path();
        assert_eq!(refusal(&wanted(Path::new("/"))), Problem::Root.to_string());
        let missing = base.join("missing");
        assert_eq!(
            refusal(&wanted(&missing)),
            format!("{0} does not exist: mkdir {0}", missing.display())
        );
        let file = base.join("file");
        fs::write(&file, "").unwrap();
        let message = refusal(&wanted(&file));
        assert!(message.contains("is not a directory"), "{message}");
    }

    #[test]
    fn a_real_snapshot_directory_is_refused_unless_ours_has_another_name() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join("d");
        fs::create_dir_all(dir.join(".snapshots")).unwrap();
        let mut wanted = wanted(&dir);
        assert!(refusal(&wanted).contains("a .snapshots of its own"));
        wanted.snapdir = Some(".past".into());
        wanted.store = Some(dir.join("store"));
        // The next thing that does not hold: this one is passed.
        assert!(refusal(&wanted).contains("must not lie inside"));
    }

    #[test]
    fn a_store_is_planned_beside_or_where_it_was_said() {
        let temporary = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(temporary.path()).unwrap();
        let dir = base.join("d");
        fs::create_dir(&dir).unwrap();
        let plan = |store: Option<&Path>| plan_store(dir.clone(), dir.clone(), store);
        let beside = plan(None).unwrap();
        assert_eq!(beside.store, base.join(".d.rewind"));
        assert!(beside.new_store && beside.pointer.is_none());
        let said = plan(Some(&base.join("s"))).unwrap();
        assert_eq!(said.pointer, Some(base.join(".d.rewind")));
        let inside = plan(Some(&dir.join("s"))).unwrap_err();
        assert!(matches!(inside, Problem::StoreInside { .. }));
        folder::write_pointer(&base.join(".d.rewind"), &base.join("s")).unwrap();
        let pointed = plan(None).unwrap();
        assert_eq!(pointed.store, base.join("s"));
        assert_eq!(pointed.pointer, None);
        let other = plan(Some(&base.join("t"))).unwrap_err();
        assert!(matches!(other, Problem::OtherStore { .. }));
    }

    #[test]
    fn what_does_not_hold_is_said_for_each_kind_of_file_system() {
        for kind in ["overlay", "nfs4", "fuse.sshfs", "9p"] {
            assert!(lack(kind).is_some(), "{kind}");
        }
        for kind in ["ext4", "xfs", "btrfs", "tmpfs", "zfs"] {
            assert!(lack(kind).is_none(), "{kind}");
        }
    }
}
