//! A directory is in use while it is recovered: names come when somebody looks at a folder, content when
//! somebody reads it, and all of it in the background.
//!
//! 1. What is still to come is what the state has of it: it is read from there, and recorded as that.
//!    So nothing here is a change, and none of it is history.
//! 2. A folder gets its names before anybody sees it. A file gets its content as a whole, before anybody
//!    writes to it.
//! 3. A mark in the store goes after what it stands for was synced. Until then nobody changes what was
//!    made (`inodes::unfilled`): whoever dies in between does it again.
//! 4. A file has bytes of ours only while it is marked as begun. Other bytes are those of somebody who
//!    wrote while nothing was mounted, and stay.
//! 5. Nothing here speaks to a provider: what is to be fetched is asked of `Wants`.

mod error;
mod files;
mod hook;
mod names;
mod prepare;
mod walk;
mod wants;

pub use error::FillError;
pub use prepare::{Prepared, prepare};
pub use wants::{Going, News};

use crate::capture::Recorder;
use crate::format::filling::{Filling, Unfilled};
use crate::format::record::LiveEntry;
use crate::format::transfer::RawChunk;
use crate::history::History;
use crate::id::{Epoch, Hash};
use crate::inodes::unfilled::Mark;
use crate::inodes::{Inode, Inodes};
use crate::limits;
use crate::store::{Marks, Store, StoreError};
use names::Names;
use parking_lot::{Condvar, Mutex};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use wants::Wants;

/// How much is left, and how it goes.
#[derive(Clone, Debug)]
pub struct Left {
    pub filling: Filling,
    /// Nothing of the directory is left; of its past there may be.
    pub is_filled: bool,
    /// Attributes, and whatever else, that could not be made as they were.
    pub fault: Option<String>,
    pub going: Going,
}

/// What is made and not durable yet.
#[derive(Default)]
struct Pending {
    made: Vec<u64>,
    live: Vec<(u64, Option<LiveEntry>)>,
    files: u64,
    bytes: u64,
}

/// See the module's head.
pub struct Filler {
    recorder: Arc<Recorder>,
    inodes: Arc<Inodes>,
    store: Arc<Store>,
    history: Arc<History>,
    epoch: Epoch,
    /// What is left, as the store has it.
    left: Mutex<Filling>,
    pending: Mutex<Pending>,
    /// One at a time makes things durable, and one lists.
    flushing: Mutex<()>,
    listing: Mutex<()>,
    /// Files that somebody waits to write to.
    urgent: Mutex<VecDeque<Arc<Inode>>>,
    /// Why that failed, by number: told to whoever asks next.
    refused: Mutex<HashMap<u64, i32>>,
    is_urgent: Condvar,
    wants: Wants,
    fault: Mutex<Option<String>>,
    is_filled: AtomicBool,
    is_over: AtomicBool,
    ending: AtomicBool,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Filler {
    /// Goes on with what is still to come into a recorder's directory, if anything is.
    ///
    /// # Errors
    /// A store that can't be read, or no threads.
    pub fn start(recorder: &Arc<Recorder>) -> Result<Option<Arc<Filler>>, FillError> {
        let store = recorder.store();
        let Some(filling) = store.filling()? else {
            return Ok(None);
        };
        let filler = Arc::new(Filler {
            recorder: Arc::clone(recorder),
            inodes: Arc::clone(recorder.inodes()),
            store: Arc::clone(store),
            history: History::new(Arc::clone(store)),
            epoch: filling.epoch,
            left: Mutex::new(filling),
            pending: Mutex::default(),
            flushing: Mutex::default(),
            listing: Mutex::default(),
            urgent: Mutex::default(),
            refused: Mutex::default(),
            is_urgent: Condvar::new(),
            wants: Wants::default(),
            fault: Mutex::default(),
            is_filled: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            threads: Mutex::default(),
        });
        filler.spawn("fill", Filler::walk)?;
        filler.spawn("fill-now", Filler::see_to_urgent)?;
        Ok(Some(filler))
    }

    fn spawn(self: &Arc<Self>, name: &str, work: fn(&Filler)) -> Result<(), FillError> {
        let filler = Arc::clone(self);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || work(&filler))?;
        self.threads.lock().push(thread);
        Ok(())
    }

    /// Ends: what was made is made durable; the next mount goes on.
    pub fn end(&self) {
        self.ending.store(true, Ordering::Release);
        self.is_urgent.notify_all();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            // It panics only if this program is wrong, and that was told.
            let _ = thread.join();
        }
        if let Err(error) = self.flush() {
            log::warn!("what was filled last is filled again at the next mount: {error}");
        }
    }

    /// What is asked for, and what is said of it.
    pub fn wants(&self) -> &Wants {
        &self.wants
    }

    /// The record of what is still to come; `None`: nothing is.
    pub fn filling(&self) -> Option<Filling> {
        (!self.is_over.load(Ordering::Acquire)).then(|| self.left.lock().clone())
    }

    /// How much is left; `None`: nothing.
    pub fn left(&self) -> Option<Left> {
        Some(Left {
            filling: self.filling()?,
            is_filled: self.is_filled.load(Ordering::Acquire),
            fault: self.fault.lock().clone(),
            going: self.wants.going(),
        })
    }

    /// Packs that are here.
    ///
    /// # Errors
    /// A store that can't be read.
    pub fn here(&self) -> Result<Vec<Hash>, StoreError> {
        Ok(self.store.received_packs()?.into_iter().collect())
    }

    /// Takes chunks that have come; with the name of a pack, all of it is here.
    ///
    /// # Errors
    /// They are not what they are called, or can't be written.
    pub fn take(&self, pack: Option<Hash>, chunks: &[RawChunk]) -> Result<(), StoreError> {
        self.store.receive_pack(pack, chunks)?;
        self.wants.came(chunks.iter().map(|chunk| &chunk.hash));
        self.recorder.wake();
        Ok(())
    }

    /// Whoever waits for something looks again.
    pub fn wake(&self) {
        self.recorder.wake();
    }

    /// Gives a folder its names, if it is without.
    fn list_names(&self, directory: &Arc<Inode>) -> Result<(), FillError> {
        let _alone = self.listing.lock();
        let unfilled = self.inodes.unfilled();
        let Some(mark) = unfilled.of(directory.ino).filter(|mark| mark.is_dir) else {
            return Ok(());
        };
        if !self.recorder.is_still_it(directory, mark)? {
            unfilled.remove(directory.ino);
            return Ok(());
        }
        let view = self.store.view();
        let mut names = Names {
            inodes: &self.inodes,
            view: &view,
            epoch: self.epoch,
            links: Default::default(),
        };
        let listed = names.list(directory, mark.id)?;
        if let Some(fault) = listed.faults.into_iter().next() {
            self.note_fault(directory, &fault);
        }
        let own = listed.live.len() - 1;
        // Known before it is seen: by these numbers the recorder knows what stands there.
        let marks = Marks {
            marks: listed
                .marks
                .iter()
                .map(|(ino, mark)| (*ino, Some(*mark)))
                .collect(),
            live: listed.live[..own].to_vec(),
            filling: None,
        };
        self.store.mark(&marks, false)?;
        for (ino, mark) in &listed.marks {
            unfilled.insert(*ino, in_memory(mark));
        }
        let mut pending = self.pending.lock();
        pending.made.push(directory.ino);
        pending.live.push(listed.live[own]);
        drop(pending);
        unfilled.made(directory.ino);
        Ok(())
    }

    fn note_fault(&self, inode: &Arc<Inode>, fault: &str) {
        let mut noted = self.fault.lock();
        if noted.is_none() {
            let path = self.inodes.path_of(inode).join(&b"/"[..]);
            let path = String::from_utf8_lossy(&path).into_owned();
            log::warn!("{path}: {fault}");
            *noted = Some(format!("{path}: {fault}"));
        }
    }

    /// Marks files as begun, durably, then fills them. `io`: waits for it; else it is left for later.
    fn fill_files(&self, files: &[(Arc<Inode>, Mark)]) -> Result<(), FillError> {
        let mut begun = Marks::default();
        for (inode, mark) in files.iter().filter(|(_, mark)| !mark.begun) {
            // From here on it is not known any more whose bytes are in it.
            if self.is_somebodys(inode, *mark)? {
                continue;
            }
            let birth = self.recorder.birth_of(inode);
            begun.marks.push((
                inode.ino,
                Some(Unfilled {
                    id: mark.id,
                    is_dir: false,
                    begun: true,
                    birth,
                }),
            ));
        }
        if !begun.is_empty() {
            self.store.mark(&begun, true)?;
        }
        let unfilled = self.inodes.unfilled();
        for (ino, mark) in &begun.marks {
            if let Some(mark) = mark
                && unfilled.of(*ino).is_some()
            {
                unfilled.insert(*ino, in_memory(mark));
            }
        }
        for (inode, _) in files {
            self.fill_file(inode)?;
        }
        Ok(())
    }

    fn fill_file(&self, inode: &Arc<Inode>) -> Result<(), FillError> {
        let Some(_io) = inode.io.try_lock_for(limits::LOCK_WAIT) else {
            return Ok(());
        };
        let unfilled = self.inodes.unfilled();
        // It may have been emptied or removed, or been somebody's.
        let Some(mark) = unfilled.of(inode.ino).filter(|mark| mark.begun) else {
            return Ok(());
        };
        let wanted = files::wanted(&self.store.view(), mark, self.epoch)?;
        let live = files::fill(&self.inodes, &self.history, inode, mark, &wanted)?;
        let mut pending = self.pending.lock();
        pending.made.push(inode.ino);
        pending.live.push((inode.ino, Some(live)));
        pending.files += 1;
        pending.bytes += wanted.size;
        drop(pending);
        self.refused.lock().remove(&inode.ino);
        Ok(())
    }

    /// Whether a file is none that we made, or somebody wrote to it: then it is none of ours any more.
    fn is_somebodys(&self, inode: &Arc<Inode>, mark: Mark) -> Result<bool, FillError> {
        let wanted = files::wanted(&self.store.view(), mark, self.epoch)?;
        if self.recorder.is_still_it(inode, mark)? && !self.recorder.was_written(inode, wanted.size)
        {
            return Ok(false);
        }
        self.forget(inode.ino, wanted.size);
        Ok(true)
    }

    /// A file needs no content any more.
    fn forget(&self, ino: u64, size: u64) {
        let mut pending = self.pending.lock();
        pending.made.push(ino);
        pending.files += 1;
        pending.bytes += size;
        drop(pending);
        self.inodes.unfilled().remove(ino);
    }

    /// Makes durable what was made so far.
    fn flush(&self) -> Result<(), FillError> {
        let _alone = self.flushing.lock();
        let pending = std::mem::take(&mut *self.pending.lock());
        if pending.made.is_empty() {
            return Ok(());
        }
        let flushed = self.flush_all(&pending);
        match flushed {
            Ok(()) => {
                let made = pending.made.iter().copied();
                self.inodes.unfilled().durable(made);
                self.recorder.wake();
            }
            Err(_) => {
                let mut now = self.pending.lock();
                now.made.extend(pending.made);
                now.live.extend(pending.live);
                now.files += pending.files;
                now.bytes += pending.bytes;
            }
        }
        flushed
    }

    fn flush_all(&self, pending: &Pending) -> Result<(), FillError> {
        self.inodes.backing().sync()?;
        let mut left = self.left.lock();
        let filling = Filling {
            files: left.files.saturating_sub(pending.files),
            bytes: left.bytes.saturating_sub(pending.bytes),
            ..left.clone()
        };
        let marks = Marks {
            marks: pending.made.iter().map(|ino| (*ino, None)).collect(),
            live: pending.live.clone(),
            filling: Some(filling.clone()),
        };
        self.store.mark(&marks, true)?;
        *left = filling;
        Ok(())
    }

    /// Files that somebody waits to write to.
    fn see_to_urgent(&self) {
        crate::backing::prepare_thread();
        while !self.ending.load(Ordering::Acquire) {
            let next = {
                let mut urgent = self.urgent.lock();
                if urgent.is_empty() {
                    self.is_urgent
                        .wait_for(&mut urgent, Duration::from_millis(500));
                }
                std::mem::take(&mut *urgent)
            };
            for inode in next {
                if let Err(error) = self.fill_now(&inode)
                    && error.missing().is_none()
                {
                    self.note_fault(&inode, &error.to_string());
                    self.refused.lock().insert(inode.ino, error.errno());
                    self.recorder.wake();
                }
            }
        }
    }

    fn fill_now(&self, inode: &Arc<Inode>) -> Result<(), FillError> {
        let Some(mark) = self.inodes.unfilled().of(inode.ino) else {
            return self.flush();
        };
        if mark.is_dir {
            return self.list_names(inode);
        }
        let wanted = files::wanted(&self.store.view(), mark, self.epoch)?;
        if !files::lacking(&self.store.view(), wanted.content)?.is_empty() {
            return Ok(());
        }
        self.flush()?;
        self.fill_files(&[(Arc::clone(inode), mark)])?;
        self.flush()
    }

    /// All files are filled and all chunks are here: from now on it is a directory like any other.
    fn finish(&self) -> Result<bool, FillError> {
        self.flush()?;
        let missing = self.store.end_filling()?;
        if missing > 0 {
            return Ok(false);
        }
        self.is_over.store(true, Ordering::Release);
        self.inodes.unfilled().end();
        self.recorder.wake();
        log::info!("all of what was to be recovered is here");
        Ok(true)
    }
}

/// What the table of files knows of a mark.
fn in_memory(mark: &Unfilled) -> Mark {
    Mark {
        id: mark.id,
        is_dir: mark.is_dir,
        begun: mark.begun,
    }
}
