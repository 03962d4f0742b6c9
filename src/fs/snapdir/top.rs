//! The names directly in a `.snapshots`: snapshots, `latest`, `@TIME`, `.checkpoints`, `.history`,
//! `.incremental`, `.differential`; and what can be done to them.
//!
//! A name is there only if the directory was there in the state that it means: as the same
//! directory (by file id), else as what stood at its present path. One directory per state: every
//! other spelling is a symlink to it, because a directory whose meaning moves takes those who sit
//! in it along; but `@GMT-...`, since Samba follows no symlinks.

use super::delta::{DIFFERENTIAL, INCREMENTAL};
use super::errno::{NO_ENTRY, NOT_ALLOWED, READ_ONLY, STALE};
use super::listing::{Emit, FIRST_COOKIE, Item};
use super::node::{Node, Place};
use super::{SnapDir, is_virtual};
use crate::capture::NewSnapshot;
use crate::format::record::{Kind, SnapshotMode};
use crate::fs::live::LiveDir;
use crate::fs::{Answer, Context, Entry, ROOT, Stop};
use crate::history::changed::{self, Since};
use crate::history::{Found, State, StateName, path, state};
use crate::id::Epoch;
use crate::name::check_snapshot_name;
use crate::store::View;
use crate::time::{Timestamp, is_gmt};
use std::time::Instant;

pub(super) const CHECKPOINTS: &[u8] = b".checkpoints";
const CHECKPOINTS_COOKIE: u64 = 3;
pub(super) const LATEST: &[u8] = b"latest";
pub(super) const LATEST_COOKIE: u64 = 4;
pub(super) const HISTORY: &[u8] = b".history";
const HISTORY_COOKIE: u64 = 5;

/// A node, and what it is in its state.
pub(super) type Named = (Node, Option<Found>);

/// A name as text, what it says, the state that it means, and a directory in that.
pub(super) type Below<'n> = (&'n str, StateName, State, Found);

impl SnapDir {
    /// Makes a snapshot of the whole tree; the answer is the new directory. Durable on return.
    ///
    /// # Errors
    /// EROFS within a state, EPERM, EINVAL, EEXIST; EAGAIN if it took too long, then nothing is
    /// made.
    pub fn mkdir(&self, cx: &Context, parent: u64, name: &[u8]) -> Answer<Entry> {
        self.may_ask(cx)?;
        let Node::Top { host } = *self.node(parent)? else {
            return Err(READ_ONLY);
        };
        self.may_change_list(cx)?;
        let new = NewSnapshot {
            name: check_snapshot_name(name)?.to_owned(),
            message: String::new(),
            mode: SnapshotMode::Incremental,
            by_uid: cx.uid,
        };
        let deadline = Instant::now() + self.options.snapshot_wait;
        self.host.snapshot(new, deadline)?;
        let view = self.history.view();
        let (node, found) = self.lookup_name(&view, host, name)?.ok_or(STALE)?;
        self.entry(&view, node, found)
    }

    /// Deletes a snapshot: its name goes, its state stays a checkpoint.
    ///
    /// # Errors
    /// EROFS within a state and below the root, EPERM, ENOENT, EBUSY when it is held.
    pub fn rmdir(&self, cx: &Context, parent: u64, name: &[u8]) -> Answer<()> {
        self.may_ask(cx)?;
        self.changeable_list(cx, parent)?;
        let name = check_snapshot_name(name).map_err(|_| NOT_ALLOWED)?;
        Ok(self.host.delete(name, cx.uid)?)
    }

    /// Renames a snapshot.
    ///
    /// # Errors
    /// EXDEV between the past and the present; EROFS within a state, EPERM, ENOENT, EEXIST, EINVAL.
    pub fn rename(
        &self,
        cx: &Context,
        parent: u64,
        name: &[u8],
        to: u64,
        to_name: &[u8],
    ) -> Answer<()> {
        if !is_virtual(parent) || !is_virtual(to) {
            return Err(Stop::Errno(libc::EXDEV));
        }
        self.may_ask(cx)?;
        self.changeable_list(cx, parent)?;
        self.changeable_list(cx, to)?;
        let old = check_snapshot_name(name).map_err(|_| NOT_ALLOWED)?;
        let new = check_snapshot_name(to_name)?;
        Ok(self.host.rename(old, new, cx.uid)?)
    }

    /// Passes only the root's `.snapshots`, and only for those who may change the list: from below
    /// it nobody expects that he deletes a snapshot of the whole tree.
    fn changeable_list(&self, cx: &Context, ino: u64) -> Answer<()> {
        match *self.node(ino)? {
            Node::Top { host: ROOT } => self.may_change_list(cx),
            Node::Top { .. } => Err(READ_ONLY),
            _ => Err(READ_ONLY),
        }
    }

    /// The state that a name directly in a `.snapshots` stands for, and the directory of that
    /// `.snapshots` in it; `None` if there is no such name there.
    pub(super) fn state_below<'n>(
        &self,
        view: &View<'_>,
        host: u64,
        name: &'n [u8],
    ) -> Answer<Option<Below<'n>>> {
        let Ok(text) = std::str::from_utf8(name) else {
            return Ok(None);
        };
        let now = self.host.now();
        let resolved = StateName::parse(text, now, &self.zone).and_then(|state_name| {
            let state = state_name.resolve(view, now)?;
            Ok((state_name, state))
        });
        let (state_name, state) = match resolved.map_err(Stop::from) {
            Ok((state_name, Some(state))) => (state_name, state),
            Ok((_, None)) | Err(NO_ENTRY) => return Ok(None),
            Err(stop) => return Err(stop),
        };
        let directory = self.host.describe(host)?;
        let found = directory_in_state(view, &directory, state.epoch)?;
        Ok(found.map(|found| (text, state_name, state, found)))
    }

    pub(super) fn lookup_name(
        &self,
        view: &View<'_>,
        host: u64,
        name: &[u8],
    ) -> Answer<Option<Named>> {
        if name == CHECKPOINTS {
            return Ok(Some((Node::Checkpoints { host }, None)));
        }
        if let Some((_, _, node)) = ours(host).into_iter().find(|(_, ours, _)| *ours == name) {
            return Ok(Some((node, None)));
        }
        let Some((text, state_name, state, found)) = self.state_below(view, host, name)? else {
            return Ok(None);
        };
        let place = match place_of(text, &state_name, &state) {
            Some(place) => place,
            None => return Ok(Some((link(host, name, &state), None))),
        };
        let node = Node::View {
            host,
            place,
            dir: found.id,
            epoch: state.epoch,
        };
        Ok(Some((node, Some(found))))
    }

    pub(super) fn list_names(
        &self,
        view: &View<'_>,
        host: u64,
        offset: u64,
        emit: Emit<'_>,
    ) -> Answer<()> {
        if offset < CHECKPOINTS_COOKIE {
            let item = Item {
                cookie: CHECKPOINTS_COOKIE,
                name: CHECKPOINTS,
                node: Node::Checkpoints { host },
                kind: Kind::Dir,
                found: None,
            };
            if !emit(item)? {
                return Ok(());
            }
        }
        if offset < LATEST_COOKIE
            && let Some((node, found)) = self.lookup_name(view, host, LATEST)?
        {
            let item = Item {
                cookie: LATEST_COOKIE,
                name: LATEST,
                node,
                kind: Kind::Symlink,
                found,
            };
            if !emit(item)? {
                return Ok(());
            }
        }
        for (cookie, name, node) in ours(host) {
            if offset >= cookie {
                continue;
            }
            let item = Item {
                cookie,
                name,
                node,
                kind: Kind::Dir,
                found: None,
            };
            if !emit(item)? {
                return Ok(());
            }
        }
        self.list_snapshots(view, host, None, offset, emit)
    }

    /// In the order of their ids, which are never reused: a cookie stays right whatever is made,
    /// deleted and renamed while somebody lists.
    pub(super) fn list_snapshots(
        &self,
        view: &View<'_>,
        host: u64,
        since: Option<Since>,
        offset: u64,
        emit: Emit<'_>,
    ) -> Answer<()> {
        let directory = self.host.describe(host)?;
        let ordered = state::snapshots(view)?;
        let mut all = ordered.clone();
        all.retain(|(_, snapshot)| FIRST_COOKIE + snapshot.id.0 > offset);
        all.sort_unstable_by_key(|(_, snapshot)| snapshot.id);
        for (name, snapshot) in all {
            let Some(found) = directory_in_state(view, &directory, snapshot.epoch)? else {
                continue;
            };
            let place = Place::Snapshot(snapshot.id);
            let (cookie, epoch) = (FIRST_COOKIE + snapshot.id.0, snapshot.epoch);
            let node = match since {
                None => Node::View {
                    host,
                    place,
                    dir: found.id,
                    epoch,
                },
                Some(since) => {
                    let state = State {
                        epoch,
                        time: Timestamp::default(),
                        snapshot: Some((name.clone(), snapshot)),
                        unrecorded: None,
                    };
                    Node::Delta {
                        host,
                        since,
                        place,
                        dir: found.id,
                        epoch,
                        base: changed::base(view, &ordered, &state, true, since)?,
                    }
                }
            };
            let item = Item {
                cookie,
                name: name.as_bytes(),
                node,
                kind: Kind::Dir,
                found: Some(found),
            };
            if !emit(item)? {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Our own folders but `.checkpoints`, with the cookies behind that of `latest`.
fn ours(host: u64) -> [(u64, &'static [u8], Node); 3] {
    let history = Node::Past {
        parent: 0,
        host,
        path: std::sync::Arc::new([]),
    };
    let deltas = |since| Node::Deltas { host, since };
    [
        (HISTORY_COOKIE, HISTORY, history),
        (HISTORY_COOKIE + 1, INCREMENTAL, deltas(Since::Before)),
        (HISTORY_COOKIE + 2, DIFFERENTIAL, deltas(Since::Full)),
    ]
}

/// The place of a name that is a directory; `None` for one that is a symlink.
pub(super) fn place_of(text: &str, state_name: &StateName, state: &State) -> Option<Place> {
    match state_name {
        StateName::Snapshot { back: 0, .. } => {
            let (_, snapshot) = state.snapshot.as_ref()?;
            Some(Place::Snapshot(snapshot.id))
        }
        StateName::Time(time) if is_gmt(text.trim_start_matches('@')) => Some(Place::Gmt(*time)),
        StateName::Time(_) if text == at_name(state.time) => Some(Place::Time),
        _ => None,
    }
}

/// The one name of the state of that time that is always a directory.
fn at_name(time: Timestamp) -> String {
    format!("@{time}")
}

pub(super) fn link(host: u64, name: &[u8], state: &State) -> Node {
    let target = match &state.snapshot {
        Some((snapshot, _)) => snapshot.clone(),
        None => at_name(state.time),
    };
    Node::Link {
        host,
        name: name.into(),
        target: target.into_bytes().into_boxed_slice(),
        time: state.time,
    }
}

/// The live directory as it was: the same directory, or what stood at its path.
pub(super) fn directory_in_state(
    view: &View<'_>,
    directory: &LiveDir,
    at: Epoch,
) -> Answer<Option<Found>> {
    let itself = match directory.id {
        Some(id) => path::file(view, at, id)?,
        None => None,
    };
    let found = match itself {
        Some(found) => Some(found),
        None => path::walk(view, at, directory.path.iter().map(Vec::as_slice))?,
    };
    Ok(found.filter(|found| found.inode.kind == Kind::Dir))
}
