//! Content that was destroyed before it was old enough to be recorded: history can't give it back, so
//! it is noted by name who destroyed it, for whoever wants that taken back.
//!
//! Only what *others* had written counts. What a command makes and removes again by itself or by what
//! it started (the temporary files of a compiler, of a build, of an editor that saves) nobody misses.

use super::Recorder;
use super::deed::ContentChange;
use super::epoch::{Held, UnsettledNote};
use crate::format::keeping::{Unsettled, UnsettledFile};
use crate::format::record::{Actor, Kind, What};
use crate::id::ActorId;
use crate::inodes::Inode;
use crate::inodes::track::Track;
use crate::limits;
use std::sync::Arc;

impl Recorder {
    /// Before `actor` changes the content of `inode` in the epoch that is held.
    pub(super) fn note_overwritten(
        &self,
        held: &Held,
        inode: &Arc<Inode>,
        track: &mut Track,
        change: &ContentChange,
        actor: &Arc<Actor>,
    ) {
        let Some((at, epoch)) = track.changed else {
            return;
        };
        let Some(version) = track.version(epoch) else {
            return;
        };
        if epoch != held.body.number || version.overwritten || !has_others(&version.actors, actor) {
            return;
        }
        let Ok(look) = self.look(inode) else { return };
        // Of a file that is older there is something to go back to, and whose bytes go is told as a
        // conflict; what is cut off is all of it.
        let is_new = version.what.has(What::CREATED);
        let destroys = match change {
            ContentChange::Resize(to) => *to < look.stat.size,
            ContentChange::Range(range) => is_new && range.start < look.stat.size,
        };
        if destroys {
            version.overwritten = true;
            held.body.note_unsettled(UnsettledNote {
                path: self.inodes.path_of(inode).join(&b'/'),
                by: actor.clone(),
                age: at.elapsed(),
            });
        }
    }

    /// The last name of `inode` has gone, which has `size` bytes; it is still known by it.
    pub(super) fn note_unsettled_end(
        &self,
        held: &Held,
        inode: &Arc<Inode>,
        size: u64,
        actor: &Arc<Actor>,
    ) {
        if inode.kind == Kind::Dir || size == 0 {
            return;
        }
        let mut track = inode.track.lock();
        let number = held.body.number;
        let Some((at, _)) = track.changed.filter(|(_, epoch)| *epoch == number) else {
            return;
        };
        let version = track.version(number);
        if version.is_some_and(|version| has_others(&version.actors, actor)) {
            held.body.note_unsettled(UnsettledNote {
                path: self.inodes.path_of(inode).join(&b'/'),
                by: actor.clone(),
                age: at.elapsed(),
            });
        }
    }
}

/// Whether somebody is among them who has nothing to do with this one. Who is not known (the kernel
/// wrote) is taken for one of those who are.
fn has_others(actors: &[Arc<Actor>], this: &Arc<Actor>) -> bool {
    let is_other =
        |actor: &Arc<Actor>| !Arc::ptr_eq(actor, this) && actor.tgid != 0 && !are_kin(actor, this);
    actors.iter().any(is_other)
}

/// Whether two processes belong together: to one run, or one started the other, or some third one
/// both. Of two terminals, and of a run and what is not of it, they do not.
fn are_kin(one: &Actor, other: &Actor) -> bool {
    if one.run != 0 || other.run != 0 {
        return one.run == other.run;
    }
    let line = |actor: &Actor| {
        let above: Vec<u32> = actor.ancestors.iter().map(|(pid, _)| *pid).collect();
        [vec![actor.tgid], above].concat()
    };
    let others = line(other);
    line(one).iter().any(|pid| others.contains(pid))
}

/// What the store keeps of it, with the numbers of the actors in place of them.
pub(super) fn record(notes: &[UnsettledNote], actors: &[ActorId]) -> Unsettled {
    let mut record = Unsettled::default();
    for (note, by) in notes.iter().zip(actors) {
        if record.files.len() < limits::UNSETTLED_FILES {
            record.files.push(UnsettledFile {
                path: note.path.clone(),
                by: *by,
                age_ms: u64::try_from(note.age.as_millis()).unwrap_or(u64::MAX),
            });
            continue;
        }
        match record.more.iter_mut().find(|(known, _)| known == by) {
            Some((_, count)) => *count += 1,
            None => record.more.push((*by, 1)),
        }
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn actor(tgid: u32, run: u64, ancestors: &[u32]) -> Arc<Actor> {
        Arc::new(Actor {
            tgid,
            start: 0,
            boot: [1; 16],
            uid: 0,
            comm: Vec::new(),
            command: Vec::new(),
            run,
            ancestors: ancestors.iter().map(|pid| (*pid, Vec::new())).collect(),
        })
    }

    #[test]
    fn what_a_command_makes_for_itself_is_its_own() {
        let (cc1, gcc) = (actor(9, 0, &[8, 7, 5]), actor(8, 0, &[7, 5]));
        let (rm, vim) = (actor(10, 0, &[7, 5]), actor(20, 0, &[15]));
        let unknown = actor(0, 0, &[]);
        for own in [&cc1, &gcc, &rm, &unknown] {
            assert!(!has_others(&[Arc::clone(own)], &gcc), "{own:?}");
        }
        assert!(has_others(&[vim.clone(), gcc.clone()], &gcc));
        // In a run, what is not of it is of others, though it stands above.
        let in_run = actor(30, 2, &[7, 5]);
        assert!(has_others(&[gcc], &in_run) && has_others(&[vim], &in_run));
        assert!(!has_others(&[actor(31, 2, &[99])], &in_run));
    }

    #[test]
    fn what_is_not_named_is_counted() {
        let notes = vec![
            UnsettledNote {
                path: b"a".to_vec(),
                by: actor(1, 0, &[]),
                age: Duration::from_millis(5),
            };
            limits::UNSETTLED_FILES + 3
        ];
        let record = record(&notes, &vec![ActorId(4); notes.len()]);
        assert_eq!(record.files.len(), limits::UNSETTLED_FILES);
        assert_eq!(record.more, [(ActorId(4), 3)]);
    }
}
