//! Alarms: what they hold, for how long, and what they leave behind.

use super::*;
use crate::format::alarm::{Alarm, AlarmKind};
use crate::limits;

fn alarm() -> Alarm {
    Alarm {
        kind: AlarmKind::Destroyed,
        files: 1200,
        folder: b"src".to_vec(),
        tgid: 7,
        comm: b"rm".to_vec(),
        job: b"rm".to_vec(),
        before: None,
        until: None,
    }
}

fn raise(store: &Store, before: Option<u64>) -> String {
    let raised = store.raise_alarm(alarm(), before.map(Epoch), 1000, "before rm");
    raised.unwrap().name
}

#[test]
fn an_alarm_holds_the_state_before_and_is_told_after_a_reopening() {
    let mut disk = OnDisk::new();
    disk.store().commit(whole(1)).unwrap();
    disk.store().commit(whole(2)).unwrap();
    let since = Timestamp::now();
    let name = raise(disk.store(), Some(1));
    disk.store().set_alarm(5, 0).unwrap();
    disk.reopen();
    let store = disk.store();
    assert_eq!(store.alarm(), Some(5));
    let alarms = store.alarms(since).unwrap();
    assert_eq!(alarms.len(), 1);
    let (time, uid, held, told) = &alarms[0];
    assert_eq!((*uid, held), (1000, &name));
    assert!(told.until.unwrap().since(*time) <= limits::ALARM_HELD);
    assert!(
        store
            .alarms(time.plus(limits::TIME_STEP))
            .unwrap()
            .is_empty()
    );
    let refused = store.prune(Epoch(1));
    assert!(matches!(refused, Err(StoreError::Kept { .. })));
    let refused = store.remove_snapshot(&name, 0);
    assert!(matches!(refused, Err(StoreError::Held { .. })));
    let refused = store.release_snapshot(&name, "", 0);
    assert!(matches!(refused, Err(StoreError::HeldUntil { .. })));
    store.set_alarm(0, 0).unwrap();
    assert_eq!(store.alarm(), None);
    assert_sound(store);
}

#[test]
fn the_name_goes_when_the_hold_is_over_unless_somebody_made_it_his() {
    on_both(|store| {
        assert_eq!(store.alarm(), Some(limits::ALARM_FILES));
        store.commit(whole(1)).unwrap();
        store.commit(whole(2)).unwrap();
        let (first, second) = (raise(store, Some(1)), raise(store, Some(1)));
        assert!(first.starts_with("alarm-") && first != second);
        let held = store.view().snapshot(&first).unwrap().unwrap();
        let old = || {
            let mut old = held.clone();
            old.id = store.new_snapshot_id().unwrap();
            old.hold.as_mut().unwrap().until = Some(Timestamp(1));
            old
        };
        store.put_snapshot("alarm-old", &old()).unwrap();
        store.put_snapshot("mine", &old()).unwrap();
        store.forget_old_alarms(0).unwrap();
        let left = store.view().snapshots().unwrap().into_iter();
        let left: Vec<String> = left.map(|(name, _)| name).collect();
        assert_eq!(left, [first, second, "mine".to_owned()]);
        let deleted = store.view().deleted().unwrap();
        assert_eq!(
            deleted[0].name, "alarm-old",
            "as if somebody had deleted it"
        );
        assert_sound(store);
    });
}

#[test]
fn without_a_state_before_or_with_too_many_held_it_is_only_told() {
    on_both(|store| {
        store.commit(whole(1)).unwrap();
        assert_eq!(raise(store, None), "");
        assert_eq!(raise(store, Some(9)), "");
        for _ in 0..limits::ALARMS_HELD_MAX {
            assert_ne!(raise(store, Some(1)), "");
        }
        assert_eq!(raise(store, Some(1)), "");
        let told = store.alarms(Timestamp(0)).unwrap();
        assert_eq!(told.len(), limits::ALARMS_HELD_MAX + 3);
        assert_sound(store);
    });
}
