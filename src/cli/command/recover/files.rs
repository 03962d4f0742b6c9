//! The files of a recovery: they are written, and noted as what they are.

use super::super::report::Report;
use super::target::Target;
use crate::backing::{self, Backing};
use crate::cli::error::Error;
use crate::control::open;
use crate::format::record::{InodeVersion, Kind, LiveEntry};
use crate::history::History;
use crate::id::{Epoch, FileId};
use crate::restore::{self, Asked, Folder, LeftOut, Options, Overwrite, Recorded, Tally};
use crate::store::Store;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// What was written.
#[derive(Default)]
pub struct Written {
    pub tally: Tally,
    pub is_interrupted: bool,
}

/// Writes paths of a state into the directory; without any, all of it.
pub fn write(
    target: &Target,
    history: &Arc<History>,
    epoch: Epoch,
    asked: &[Asked],
    report: &Report,
) -> Result<Written, Error> {
    let fd = target.open_dir()?;
    let stat = backing::stat_fd(fd.as_fd()).map_err(|source| Error::File {
        path: target.dir.clone(),
        source,
    })?;
    let options = Options {
        delete: false,
        dry_run: false,
        overwrite: Overwrite::IfChanged,
        in_place: false,
        snapdir: None,
        since: None,
        device: stat.dev,
        left_out: LeftOut::default(),
    };
    let whole = [Asked::new()];
    let asked = if asked.is_empty() { &whole[..] } else { asked };
    let source = Recorded::new(Arc::clone(history), epoch);
    let live = Folder::new(fd);
    let (tally, _) = restore::restore(&source, &live, asked, &options, report);
    Ok(Written {
        tally,
        is_interrupted: restore::Tell::interrupted(report),
    })
}

/// Notes what the files look like now, so that the first mount knows them again.
pub fn note_live(store: &Arc<Store>, backing: &Backing, epoch: Epoch) -> Result<(), Error> {
    let mut live = Vec::new();
    let mut dirs: Vec<(FileId, OwnedFd)> = Vec::new();
    let failed = |error| Error::Open(open::OpenError::Store(error));
    let view = store.view();
    let looked = crate::capture::now_of_file_system();
    let mut note = |id: FileId, fd: &OwnedFd| -> Result<(), Error> {
        let (Ok(stat), Ok(Some((at, InodeVersion::Present(inode))))) =
            (backing::stat_fd(fd.as_fd()), view.inode_at(id, epoch))
        else {
            return Ok(());
        };
        // Somebody has been there meanwhile: the first mount looks at it.
        if inode.kind == Kind::File && (stat.size, stat.mtime) != (inode.size, inode.mtime) {
            return Ok(());
        }
        let birth = backing::birth(fd.as_fd()).ok().flatten();
        let entry = LiveEntry {
            id,
            birth,
            size: stat.size,
            mtime: stat.mtime,
            ctime: stat.ctime,
            looked,
            epoch: at,
        };
        live.push((stat.ino, Some(entry)));
        if live.len() >= 10_000 {
            store
                .note_live(&std::mem::take(&mut live))
                .map_err(failed)?;
        }
        Ok(())
    };
    let root = backing.root().try_clone_to_owned().map_err(Error::Output)?;
    note(FileId::ROOT, &root)?;
    dirs.push((FileId::ROOT, root));
    while let Some((dir, fd)) = dirs.pop() {
        let names = view.list_at(dir, epoch, None, usize::MAX).map_err(failed)?;
        for (name, id, kind) in names {
            let Ok(child) = backing::open_path_at(fd.as_fd(), &name) else {
                continue;
            };
            note(id, &child)?;
            if kind == Kind::Dir {
                dirs.push((id, child));
            }
        }
    }
    store.note_live(&live).map_err(failed)
}
