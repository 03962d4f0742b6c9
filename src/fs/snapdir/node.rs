//! What a nodeid with bit 63 stands for, and the table that says so.
//!
//! A directory of the kernel has one place: were two paths to share a nodeid, a look-up by the one
//! would move whoever sits in the other. A file has as many as it likes, and shares its page cache.
//! Hence:
//! 1. The nodeid of a state's top is a hash of the live directory, of the kind of its name and of
//!    what it shows; of a directory below, of its parent's nodeid and its name: never of the state
//!    alone.
//! 2. The nodeid of anything else in a state is a hash of its file id and of the epoch of its
//!    version: the same version in a thousand snapshots is one file. A symlink that we make up has
//!    its target in it, since the kernel caches targets by nodeid.
//!    A version in a history shows another time, and is a file of its own.
//! 3. The hash proposes, the table decides: on a collision the next free number is taken. So a
//!    number means one thing for as long as the kernel knows it; and the same thing after every
//!    mount, but for collisions.
//! 4. An entry stays until the kernel has forgotten it as often as it was told of it.

use crate::fs::VIRTUAL;
use crate::history::changed::Since;
use crate::id::{Epoch, FileId, SnapshotId};
use crate::time::Timestamp;
use crate::time::folder::Day;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// What stands behind a nodeid. Nothing in it ever changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// `.snapshots` of the live directory `host`.
    Top { host: u64 },
    /// A symlink in it, to a name beside it.
    Link {
        host: u64,
        name: Box<[u8]>,
        target: Box<[u8]>,
        /// Of the state that it leads to.
        time: Timestamp,
    },
    /// `.snapshots/.checkpoints`
    Checkpoints { host: u64 },
    /// `.snapshots/.checkpoints/DAY`
    Day { host: u64, day: Day },
    /// The live directory `host` as it was: shows the directory `dir` of the state `epoch`.
    View {
        host: u64,
        place: Place,
        dir: FileId,
        epoch: Epoch,
    },
    /// A directory below a view.
    Dir {
        parent: u64,
        name: Box<[u8]>,
        dir: FileId,
        epoch: Epoch,
    },
    /// Anything else below a view.
    File { id: FileId, version: Epoch },
    /// What the name at `path`, from the live directory `host` on, ever held; of no names: the
    /// directory itself, `.snapshots/.history`.
    Past {
        /// 0 at the top.
        parent: u64,
        host: u64,
        path: Arc<[Box<[u8]>]>,
    },
    /// `.snapshots/.incremental` and `.differential`
    Deltas { host: u64, since: Since },
    /// `.incremental/STATE`: a view of what its base had not.
    Delta {
        host: u64,
        since: Since,
        place: Place,
        dir: FileId,
        epoch: Epoch,
        base: Epoch,
    },
    /// A directory below it.
    DeltaDir {
        parent: u64,
        name: Box<[u8]>,
        dir: FileId,
        epoch: Epoch,
        base: Epoch,
    },
    /// The list of what changed below `dir`.
    Changes {
        dir: FileId,
        epoch: Epoch,
        base: Epoch,
    },
    /// What a name held from `at` on: a version of a file, shown with the time of `at`.
    Version {
        id: FileId,
        version: Epoch,
        at: Epoch,
    },
}

/// Under which kind of name a view is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `NAME`
    Snapshot(SnapshotId),
    /// `@2026-11-20T10:15:03.123456789Z`
    Time,
    /// `@GMT-2026.11.20-10.15.03`
    Gmt(Timestamp),
    /// `.checkpoints/DAY/TIME`
    Checkpoint(Day),
}

impl Node {
    /// The number that this should have.
    pub fn proposal(&self) -> u64 {
        let mut hash = blake3::Hasher::new();
        let mut number = |number: u64| {
            hash.update(&number.to_le_bytes());
        };
        match self {
            Node::Top { host } => {
                number(1);
                number(*host);
            }
            Node::Link {
                host,
                name,
                target,
                time,
            } => {
                number(2);
                number(*host);
                number(bits(*time));
                number(name.len() as u64);
                hash.update(name);
                hash.update(target);
            }
            Node::Checkpoints { host } => {
                number(3);
                number(*host);
            }
            Node::Day { host, day } => {
                number(4);
                number(*host);
                number(day.number());
            }
            Node::View {
                host,
                place,
                dir,
                epoch,
            } => {
                number(5);
                number(*host);
                number(dir.0);
                number(epoch.0);
                for part in place.numbers() {
                    number(part);
                }
            }
            Node::Dir { parent, name, .. } => {
                number(6);
                number(*parent);
                hash.update(name);
            }
            Node::File { id, version } => {
                // Of these there are the most by far: in one go it is quicker.
                let numbers = [7, id.0, version.0].map(u64::to_le_bytes);
                return first_of(&blake3::hash(numbers.as_flattened()));
            }
            Node::Past { parent, host, path } => match path.last() {
                None => {
                    number(8);
                    number(*host);
                }
                Some(name) => {
                    number(9);
                    number(*parent);
                    hash.update(name);
                }
            },
            Node::Deltas { host, since } => {
                number(11);
                number(*host);
                number(*since as u64);
            }
            Node::Delta {
                host,
                since,
                place,
                dir,
                epoch,
                base,
            } => {
                number(12);
                for part in [*host, *since as u64, dir.0, epoch.0, base.0] {
                    number(part);
                }
                for part in place.numbers() {
                    number(part);
                }
            }
            Node::DeltaDir { parent, name, .. } => {
                number(13);
                number(*parent);
                hash.update(name);
            }
            Node::Changes { dir, epoch, base } => {
                number(14);
                for part in [dir.0, epoch.0, base.0] {
                    number(part);
                }
            }
            Node::Version { id, version, at } => {
                number(10);
                number(id.0);
                number(version.0);
                number(at.0);
            }
        }
        first_of(&hash.finalize())
    }

    /// The inode number of `..` (without a look at the table: nobody relies on it).
    pub fn parent(&self) -> Option<u64> {
        Some(match *self {
            Node::Top { host } => host,
            Node::Checkpoints { host } => Node::Top { host }.proposal(),
            Node::Day { host, .. } => Node::Checkpoints { host }.proposal(),
            Node::View {
                host,
                place: Place::Checkpoint(day),
                ..
            } => Node::Day { host, day }.proposal(),
            Node::View { host, .. } => Node::Top { host }.proposal(),
            Node::Past { host, ref path, .. } if path.is_empty() => Node::Top { host }.proposal(),
            Node::Deltas { host, .. } => Node::Top { host }.proposal(),
            Node::Delta { host, since, .. } => Node::Deltas { host, since }.proposal(),
            Node::Dir { parent, .. }
            | Node::DeltaDir { parent, .. }
            | Node::Past { parent, .. } => parent,
            Node::Link { .. } | Node::File { .. } | Node::Version { .. } | Node::Changes { .. } => {
                return None;
            }
        })
    }
}

impl Place {
    /// Its kind, and which one.
    fn numbers(self) -> [u64; 2] {
        match self {
            Place::Snapshot(id) => [1, id.0],
            Place::Time => [2, 0],
            Place::Gmt(time) => [3, bits(time)],
            Place::Checkpoint(day) => [4, day.number()],
        }
    }
}

fn first_of(hash: &blake3::Hash) -> u64 {
    let first = hash.as_bytes().first_chunk().copied();
    u64::from_le_bytes(first.expect("a hash has 32 bytes")) | VIRTUAL
}

fn bits(time: Timestamp) -> u64 {
    u64::from_le_bytes(time.0.to_le_bytes())
}

struct Known {
    node: Arc<Node>,
    lookups: u64,
}

/// All nodes that the kernel knows.
#[derive(Default)]
pub struct Nodes {
    /// A leaf: held for one look at a time.
    known: Mutex<HashMap<u64, Known>>,
}

impl Nodes {
    /// Counts a look-up of `node` and gives its number.
    pub fn claim(&self, node: Node) -> u64 {
        let proposal = node.proposal();
        self.claim_from(proposal, node)
    }

    fn claim_from(&self, mut ino: u64, node: Node) -> u64 {
        let mut known = self.known.lock();
        loop {
            match known.get_mut(&ino) {
                None => {
                    let node = Arc::new(node);
                    known.insert(ino, Known { node, lookups: 1 });
                    return ino;
                }
                Some(same) if *same.node == node => {
                    same.lookups += 1;
                    return ino;
                }
                Some(_) => ino = ino.wrapping_add(1) | VIRTUAL,
            }
        }
    }

    /// What a number stands for.
    pub fn get(&self, ino: u64) -> Option<Arc<Node>> {
        self.known.lock().get(&ino).map(|known| known.node.clone())
    }

    /// The numbers of these versions of files, as far as the kernel knows them.
    pub fn of_versions(&self, versions: &[(FileId, Epoch)]) -> Vec<u64> {
        let wanted: std::collections::HashSet<_> = versions.iter().copied().collect();
        let is_wanted = |known: &Known| match *known.node {
            Node::File { id, version } => wanted.contains(&(id, version)),
            _ => false,
        };
        let known = self.known.lock();
        let found = known.iter().filter(|(_, known)| is_wanted(known));
        found.map(|(ino, _)| *ino).collect()
    }

    /// The kernel forgets `count` look-ups.
    pub fn forget(&self, ino: u64, count: u64) {
        let mut known = self.known.lock();
        if let Some(entry) = known.get_mut(&ino) {
            entry.lookups = entry.lookups.saturating_sub(count);
            if entry.lookups == 0 {
                known.remove(&ino);
            }
        }
    }

    /// How many nodes the kernel knows.
    pub fn len(&self) -> usize {
        self.known.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(id: u64) -> Node {
        Node::File {
            id: FileId(id),
            version: Epoch(1),
        }
    }

    #[test]
    fn a_node_lives_until_it_is_forgotten_as_often_as_it_was_looked_up() {
        let nodes = Nodes::default();
        let ino = nodes.claim(file(1));
        assert_eq!(nodes.claim(file(1)), ino);
        nodes.forget(ino, 1);
        assert_eq!(nodes.get(ino).as_deref(), Some(&file(1)));
        nodes.forget(ino, 1);
        assert_eq!(nodes.get(ino), None);
        assert_eq!(nodes.len(), 0);
    }

    #[test]
    fn a_collision_takes_the_next_number() {
        let nodes = Nodes::default();
        let last = u64::MAX;
        assert_eq!(nodes.claim_from(last, file(1)), last);
        assert_eq!(nodes.claim_from(last, file(2)), VIRTUAL);
        assert_eq!(nodes.claim_from(last, file(2)), VIRTUAL);
        assert_eq!(nodes.get(last).as_deref(), Some(&file(1)));
        assert_eq!(nodes.get(VIRTUAL).as_deref(), Some(&file(2)));
    }

    /// Programs may have kept these inode numbers: they must not change.
    #[test]
    fn numbers_are_the_same_for_ever() {
        assert_eq!(Node::Top { host: 1 }.proposal(), 14_192_067_476_788_627_231);
        assert_eq!(file(1).proposal(), 17_241_751_772_996_308_659);
        let directory = Node::Dir {
            parent: 1,
            name: (*b"src").into(),
            dir: FileId(2),
            epoch: Epoch(3),
        };
        assert_eq!(directory.proposal(), 9_564_203_475_784_547_605);
        let past = |parent, names: &[&str]| Node::Past {
            parent,
            host: 1,
            path: names.iter().map(|name| name.as_bytes().into()).collect(),
        };
        let version = Node::Version {
            id: FileId(1),
            version: Epoch(1),
            at: Epoch(2),
        };
        let numbers = [past(0, &[]), past(1, &["src"]), version].map(|node| node.proposal());
        assert_eq!(
            numbers,
            [
                15_338_237_744_851_105_304,
                15_239_071_854_837_591_540,
                11_280_046_727_818_741_557
            ]
        );
    }
}
