//! A change of names from the moment that it was noted to its end: what each name is then, and what
//! became of the files, which by a new name may have come to be recorded, or to be left out; and moves
//! that are not noted, because a scan finds them.

use super::deed::NameChange;
use super::epoch::Held;
use super::{Mark, Recorder};
use crate::format::record::{Actor, Kind, What};
use crate::id::Epoch;
use crate::inodes::Inode;
use crate::inodes::track::{Identity, Track};
use std::sync::Arc;
use std::time::Instant;

/// A change of names under way; dropping it ends it.
pub struct NamesDeed<'a> {
    pub(super) recorder: &'a Recorder,
    pub(super) held: Option<Arc<Held>>,
    /// Held in its place where nothing is noted.
    #[expect(dead_code, reason = "it is held, not read")]
    pub(super) unnoted: Option<Arc<Held>>,
    pub(super) actor: Arc<Actor>,
}

impl NamesDeed<'_> {
    /// Says what the name is now that it is done.
    pub fn settle(&self, directory: &Arc<Inode>, name: &[u8], child: Option<&Arc<Inode>>) {
        if let Some(held) = &self.held {
            let recorded =
                |child: &&Arc<Inode>| self.recorder.records_name(directory, name, child.kind);
            let child = child.filter(recorded);
            held.body.settle_name(directory, name, child);
        }
    }

    /// It failed, and nothing was changed.
    pub fn undone(&self, names: &[NameChange<'_>]) {
        for change in names {
            self.settle(change.directory, change.name, change.before.as_ref());
        }
    }

    /// A file was made by this deed.
    pub fn created(&self, inode: &Arc<Inode>) {
        if !self.recorder.mark(inode).is_out() {
            self.came(inode, Some(Identity::New));
        }
    }

    /// Where a file, no folder, stands after a move: it may have come to where things are recorded,
    /// then all of it is noted; or have left, then it has gone as far as history knows.
    pub fn moved(&self, inode: &Arc<Inode>, directory: &Arc<Inode>, name: &[u8], links: u32) {
        let recorder = self.recorder;
        if !recorder.rules.is_used() || inode.kind == Kind::Dir {
            return;
        }
        let was = recorder.mark(inode);
        let now = recorder.mark_at(inode, directory, name);
        let (generation, _) = inode.mark();
        match (was, now) {
            (Mark::Out | Mark::Tag | Mark::Leaving | Mark::Linked, Mark::Recorded) => {
                inode.set_mark(generation, Mark::Recorded as u8);
                self.came(inode, None);
            }
            (Mark::Recorded | Mark::RecordedTag, Mark::Out) if links <= 1 => {
                let mut track = inode.track.lock();
                track.left = !track.versions.is_empty();
                let mark = if track.left { Mark::Leaving } else { Mark::Out };
                inode.set_mark(generation, mark as u8);
            }
            // What else its mark should be is found by its new place.
            (Mark::Recorded | Mark::RecordedTag | Mark::Tag, _) => {
                inode.set_mark(generation.wrapping_sub(1), 0);
            }
            _ => {}
        }
    }

    /// A file got another name: if that is recorded, and it was not, all of it is noted.
    pub fn linked(&self, inode: &Arc<Inode>, directory: &Arc<Inode>, name: &[u8]) {
        if self.recorder.mark_at(inode, directory, name) == Mark::Recorded {
            self.moved(inode, directory, name, u32::MAX);
        }
    }

    /// All of a file is of this epoch.
    fn came(&self, inode: &Arc<Inode>, identity: Option<Identity>) {
        let recorder = self.recorder;
        let Some(held) = &self.held else { return };
        recorder.scan.note_new(inode.ino, held.body.number);
        let mut track = inode.track.lock();
        track.left = false;
        if let Some(identity) = identity {
            track.identity = identity;
        }
        recorder.touch(
            held,
            inode,
            &mut track,
            What::CREATED.with(What::CONTENT),
            &self.actor,
        );
        track.changed = Some((Instant::now(), held.body.number));
        let number = held.body.number;
        if let Some(version) = track.version(number) {
            version.dirty.everything();
        }
    }

    /// The last name of `inode` has gone.
    pub fn died(&self, inode: &Arc<Inode>) {
        self.recorder.forget_folder(inode);
        if self.recorder.mark(inode).is_silent() {
            self.recorder.inodes.set_place(inode, None);
            return;
        }
        let stat = self.recorder.look(inode).map(|look| look.stat).ok();
        let bytes = stat.map_or(0, |stat| stat.blocks * 512);
        if let (Some(held), Some(stat)) = (&self.held, stat) {
            let recorder = self.recorder;
            recorder.note_unsettled_end(held, inode, stat.size, &self.actor);
        }
        let mut track = inode.track.lock();
        track.nameless = true;
        self.recorder.inodes.keep_bytes(&mut track, bytes);
        drop(track);
        self.recorder.inodes.set_place(inode, None);
    }
}

impl Recorder {
    /// Keeps for a scan what a name was when it began.
    pub(super) fn keep_name(&self, change: &NameChange<'_>, track: &mut Track, epoch: Epoch) {
        if !self.scan.keeps_names(change.directory.ino) || self.scan.epoch() >= Some(epoch) {
            return;
        }
        if track.names.is_empty() {
            self.scan.keep(&self.inodes, change.directory, true);
        }
        track
            .names
            .entry(change.name.to_vec())
            .or_insert_with(|| change.before.clone());
    }

    /// Before a move that is not noted, because a scan finds it: what is noted of these files stays
    /// as it was before, and so do these names for a scan that is under way. What is returned is held
    /// until the move is done.
    pub fn keep_all(&self, inodes: &[&Arc<Inode>], names: &[NameChange<'_>]) -> Arc<Held> {
        let held = self.open.load_full();
        if !self.trouble.is_recording() {
            return held;
        }
        let open = held.body.number;
        for inode in inodes {
            let mut track = inode.track.lock();
            self.enrol(inode, &mut track, open);
            for version in track.versions.iter_mut() {
                if !version.captured && version.look.is_none() {
                    self.keep_attributes(inode, version);
                }
            }
        }
        for change in names {
            if self.mark(change.directory) == Mark::Recorded {
                let mut track = change.directory.track.lock();
                self.keep_name(change, &mut track, open);
            }
        }
        held
    }

    /// A folder has been moved so that it is, or is not any more, left out: a scan records that.
    /// Until one can begin it counts as what it was.
    pub fn folder_has_moved(&self) {
        self.begin_rescan();
    }

    /// The file whose last name went by a move that is not noted.
    pub fn died_unnoted(&self, inode: &Arc<Inode>) {
        inode.track.lock().nameless = true;
        self.forget_folder(inode);
        self.inodes.set_place(inode, None);
    }

    pub(super) fn note_tag_of(&self, inode: &Arc<Inode>) {
        if let Some(place) = inode.place() {
            self.note_tag(&place.parent, &place.name);
        }
    }
}
