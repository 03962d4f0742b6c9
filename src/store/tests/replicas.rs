//! Replicas: added, changed, taken out, and what is kept for them.

use super::*;
use crate::format::replica::{PasswordSource, Replica, ReplicaMode};
use crate::store::SnapshotAction;

fn replica(url: &str, mode: ReplicaMode) -> Replica {
    Replica {
        url: url.to_owned(),
        mode,
        password: PasswordSource::None,
        limit: None,
        keep: 60,
        added: Timestamp(1),
        by_uid: 7,
    }
}

#[test]
fn they_are_added_changed_and_taken_out_by_their_place() {
    let store = Store::in_memory().unwrap();
    let one = replica("file:///one", ReplicaMode::Active);
    let two = replica("file:///two", ReplicaMode::Active);
    store.put_replica(&one).unwrap();
    store.put_replica(&two).unwrap();
    let slower = replica("file:///one", ReplicaMode::Passive { every: 60 });
    store.put_replica(&slower).unwrap();
    assert_eq!(store.replicas().unwrap(), [slower, two.clone()]);
    assert!(store.remove_replica("file:///one", 8).unwrap());
    assert!(!store.remove_replica("file:///one", 8).unwrap());
    assert_eq!(store.replicas().unwrap(), [two]);
    let log = store.snapshot_log().unwrap();
    let set = |line: &SnapshotEvent| matches!(line.action, SnapshotAction::ReplicaSet { .. });
    assert_eq!(log.iter().filter(|line| set(line)).count(), 3);
    let removed = SnapshotAction::ReplicaRemoved {
        url: "file:///one".to_owned(),
    };
    assert!(
        log.iter()
            .any(|line| line.action == removed && line.by_uid == 8)
    );
}
