//! `.incremental/STATE` and `.differential/STATE`: of a state only what its base had not, and
//! `.changes`, which lists it. A folder of it shows the names in which something changed, with the
//! mode that it had; what is new at its place is shown whole, as in the state.
//!
//! `.changes` is for the owner of the working directory: it names what others may not list. It is
//! not in a listing, so that what is copied is the tree's alone; where the tree has such a name
//! itself, that one is served.

use super::SnapDir;
use super::listing::{DOTS, Emit, Item};
use super::node::Node;
use super::top::{LATEST, LATEST_COOKIE, Named, place_of};
use super::tree::{Directory, is_kept, node_of};
use crate::format::record::Kind;
use crate::fs::{Answer, Attributes};
use crate::history::changed::{self, Shown, Since};
use crate::history::{Found, State, StateName, path, state};
use crate::id::{Epoch, FileId};
use crate::store::View;

pub(super) const INCREMENTAL: &[u8] = b".incremental";
pub(super) const DIFFERENTIAL: &[u8] = b".differential";
const CHANGES: &[u8] = b".changes";

impl SnapDir {
    /// A state by its name, as in `.snapshots`; but a state that is named by its time stays one
    /// by its time, since its base is another.
    pub(super) fn lookup_delta(
        &self,
        view: &View<'_>,
        (host, since): (u64, Since),
        name: &[u8],
    ) -> Answer<Option<Named>> {
        let Some((text, state_name, state, found)) = self.state_below(view, host, name)? else {
            return Ok(None);
        };
        let by_name = !matches!(state_name, StateName::Time(_));
        let Some(place) = place_of(text, &state_name, &state) else {
            let target = State {
                snapshot: state.snapshot.clone().filter(|_| by_name),
                ..state
            };
            return Ok(Some((super::top::link(host, name, &target), None)));
        };
        let all = state::snapshots(view)?;
        let base = changed::base(view, &all, &state, by_name, since)?;
        let node = Node::Delta {
            host,
            since,
            place,
            dir: found.id,
            epoch: state.epoch,
            base,
        };
        Ok(Some((node, Some(found))))
    }

    /// `latest` and the snapshots, with the cookies that they have in `.snapshots`.
    pub(super) fn list_deltas(
        &self,
        view: &View<'_>,
        (host, since): (u64, Since),
        offset: u64,
        emit: Emit<'_>,
    ) -> Answer<()> {
        if offset < LATEST_COOKIE
            && let Some((node, found)) = self.lookup_delta(view, (host, since), LATEST)?
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
        self.list_snapshots(view, host, Some(since), offset, emit)
    }

    /// What changed of `name` in a folder of such a state.
    pub(super) fn lookup_changed(
        &self,
        view: &View<'_>,
        place: Directory,
        base: Epoch,
        is_top: bool,
        name: &[u8],
    ) -> Answer<Option<(Node, Option<Found>)>> {
        is_kept(view, place.epoch)?;
        if is_top && name == CHANGES && path::child(view, place.epoch, place.dir, name)?.is_none() {
            let node = Node::Changes {
                dir: place.dir,
                epoch: place.epoch,
                base,
            };
            return Ok(Some((node, None)));
        }
        if base == Epoch::NONE {
            return self.lookup_in_state(view, place.ino, place.dir, place.epoch, name);
        }
        let changed = self.history.changed(view, base, place.epoch)?;
        let shown = changed.shown(view, (base, place.epoch), place.dir, name)?;
        Ok(shown.map(|shown| child(place, base, name, shown)))
    }

    /// The cookie of a name is its number among those that are looked at.
    pub(super) fn list_delta(
        &self,
        view: &View<'_>,
        place: Directory,
        base: Epoch,
        offset: u64,
        plus: bool,
        emit: Emit<'_>,
    ) -> Answer<()> {
        if base == Epoch::NONE {
            return self.list_state(view, place, offset, plus, emit);
        }
        is_kept(view, place.epoch)?;
        let changed = self.history.changed(view, base, place.epoch)?;
        let passed = usize::try_from(offset.saturating_sub(DOTS)).unwrap_or(usize::MAX);
        let names = changed.names(place.dir).enumerate().skip(passed);
        for (number, name) in names {
            let shown = changed.shown(view, (base, place.epoch), place.dir, name)?;
            let Some(shown) = shown else {
                continue;
            };
            let kind = shown.found.inode.kind;
            let (node, found) = child(place, base, name, shown);
            let item = Item {
                cookie: DOTS + number as u64 + 1,
                name,
                node,
                kind,
                found,
            };
            if !emit(item)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What `stat` shows of `.changes`: its size is exact from the beginning, since the kernel
    /// reads as far as that.
    pub(super) fn changes_attributes(
        &self,
        view: &View<'_>,
        (base, epoch): (Epoch, Epoch),
        dir: FileId,
    ) -> Answer<Attributes> {
        is_kept(view, epoch)?;
        let time = view.header(epoch)?.ok_or(super::errno::STALE)?.time;
        let mut attributes = self.made_up(time);
        attributes.kind = Kind::File;
        attributes.mode = 0o400;
        let text = self.history.list_of_changes(view, (base, epoch), dir)?;
        attributes.size = text.len() as u64;
        attributes.blocks = attributes.size.div_ceil(512);
        Ok(attributes)
    }
}

fn child(place: Directory, base: Epoch, name: &[u8], shown: Shown) -> (Node, Option<Found>) {
    let Shown { found, whole } = shown;
    let node = match found.inode.kind {
        Kind::Dir if !whole => Node::DeltaDir {
            parent: place.ino,
            name: name.into(),
            dir: found.id,
            epoch: place.epoch,
            base,
        },
        kind => node_of(place.ino, name, place.epoch, found.id, found.version, kind),
    };
    (node, Some(found))
}
