//! What `status` prints, for people and for programs.

use super::*;
use crate::control::kept::LeftOutRule;
use crate::control::missing::{self, Around};
use crate::control::report::{
    AlarmKind, HintLine, History, LeftOut, Mounted, Scan, Store, Unreadable, Unrecorded, Waits,
};
use crate::time::Timestamp;

const NOON: When = When(Timestamp(1_795_169_703_123_456_789));

fn status() -> Status {
    let mut status = Status {
        dir: "/p".into(),
        mounted: Some(Mounted {
            mountpoint: "/p".into(),
            since: NOON,
            pid: 7,
            version: "0.1.0".into(),
            read_only: false,
            writeback: true,
            recording: true,
            waiting: 1,
            slow_operations: 2,
            waits: Waits {
                file: vec![0, 3],
                ..Waits::default()
            },
        }),
        dead: false,
        last_recorded: Some(NOON),
        not_recorded: Some(NotRecorded {
            files: 3,
            bytes: 1 << 20,
            states: 1,
            seconds: 4,
            scan: Some(Scan {
                first: true,
                files: 10,
                bytes: 2048,
            }),
        }),
        left_out: LeftOut {
            unreadable: vec![Unreadable {
                path: "a".into(),
                reason: "permission denied".into(),
            }],
            files_left_out: 1,
            shadowed: vec!["sub".into()],
            unrecorded: vec![Unrecorded {
                from: NOON,
                to: None,
                reason: "the disk was full".into(),
            }],
            files_from_before: 5,
            bytes_from_before: 9_000_000_000_000,
            excluded: vec![LeftOutRule {
                pattern: Some("/target/".into()),
                caches: false,
                larger_than: None,
                since: NOON,
                uid: 1000,
                folders: vec!["target".into()],
            }],
        },
        missing: Vec::new(),
        hints: vec![HintLine {
            time: NOON,
            folder: "out".into(),
            bytes: 3,
            of_bytes: 4,
            text: "out made most".into(),
        }],
        alarms: vec![AlarmLine {
            time: NOON,
            kind: AlarmKind::Destroyed,
            files: 1200,
            folder: "src".into(),
            pid: 8,
            uid: 1000,
            name: "rm".into(),
            text: "rm (pid 8, uid 1000) deleted or overwrote 1200 files".into(),
            snapshot: Some("alarm-2026-11-20-101503".into()),
            before: Some(NOON),
            until: Some(NOON),
        }],
        history: History {
            snapshots: 2,
            held: 1,
            checkpoints: 30,
            since: Some(NOON),
        },
        store: Store {
            path: "/.p.rewind".into(),
            bytes: 3 << 20,
            recorded_bytes: 8 << 20,
            new_bytes: 6 << 20,
            stored_bytes: 2 << 20,
            free_bytes: 4 << 30,
            file_system_bytes: 8 << 30,
        },
        checked: None,
        replicas: Vec::new(),
        schedules: Vec::new(),
        filling: None,
        copies: vec![],
        problems: vec!["1 file can't be read".into()],
    };
    let user = crate::control::request::User {
        pid: 9,
        command: "bash".into(),
        holds: "stands in sub".into(),
    };
    let around = Around {
        below: vec![user],
        mounts: vec!["/p/data".into()],
    };
    status.missing = missing::list(&status, None, &around);
    status
}

#[test]
fn the_page_speaks_in_the_words_of_the_user() {
    let mut out = Vec::new();
    page(&mut out, &status(), &TimeZone::UTC).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(
        text,
        "directory     /p\n\
         mounted       since 2026-11-20 10:15:03 +00:00 (pid 7), writeback\n\
         last recorded 2026-11-20 10:15:03 +00:00\n\
         not recorded  changes (3 files, 1.0 MiB), since 2026-11-20 10:15:03 +00:00: they \
         are not recorded yet; rewindfs sync /p waits for it\n\
         \x20             what was not looked at so far (10 files, 2.0 KiB so far), since \
         2026-11-20 10:15:03 +00:00: the first import is under way; rewindfs sync /p \
         waits for it\n\
         \x20             what was changed, since 2026-11-20 10:15:03 +00:00: the disk \
         was full; it goes on by itself when that is over\n\
         \x20             what bash (pid 9) changes, since 2026-11-20 10:15:03 +00:00: it \
         stands in sub below the mount; there type: cd \"$PWD\"\n\
         \x20             /p/data, since 2026-11-20 10:15:03 +00:00: another file system \
         is mounted there; mount it by itself to have its history\n\
         \x20             a: permission denied; when it can be read, its next change \
         brings it in\n\
         \x20             the view of the past in sub: the folder has an entry of that \
         name itself; use that of the folder above, or mount with -o snapdirname=NAME\n\
         \x20             content from before the first mount (5 files, 8.1 TiB): it was \
         not to be imported, and was not changed since; to record it: rewindfs umount /p; \
         rewindfs mount --import all /p\n\
         \x20             what matches /target/, since 2026-11-20 10:15:03 +00:00: it is left out on \
         purpose: target/; to record it: rewindfs policy /p --no-exclude '/target/'\n\
         alarms        2026-11-20 10:15:03 +00:00: rm (pid 8, uid 1000) deleted or overwrote 1200 \
         files in src; before: alarm-2026-11-20-101503, held until 2026-11-20 10:15:03 +00:00\n\
         hint          2026-11-20 10:15:03 +00:00: out made most\n\
         history       2 snapshots (1 held), 30 checkpoints since 2026-11-20 10:15:03 +00:00\n\
         recoverable   from 2026-11-20 10:15:03 +00:00 to 2026-11-20 10:15:03 +00:00; changes of \
         the last 4 s are not recorded yet\n\
         store         /.p.rewind, 3.0 MiB for 8.0 MiB that were recorded (6.0 MiB new, \
         compressed 3.0:1); 4.0 GiB free of 8.0 GiB\n\
         copies        none: protects against people and programs, not against the loss of \
         this disk\n\
         needs you     1 file can't be read\n"
    );
    for ours_alone in ["epoch", "cut", "pending", "stash", "gap"] {
        assert!(!text.contains(ours_alone), "{ours_alone}");
    }
}

#[test]
fn json_has_the_documented_fields() {
    let mut out = Vec::new();
    let mut status = status();
    status.missing.truncate(1);
    json(&mut out, &status).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "{\"dir\":\"/p\",\"mounted\":{\"mountpoint\":\"/p\",\
         \"since\":\"2026-11-20T10:15:03.123456789Z\",\"pid\":7,\"version\":\"0.1.0\",\
         \"read_only\":false,\"writeback\":true,\"recording\":true,\
         \"waiting\":1,\"slow_operations\":2,\
         \"waits\":{\"file\":[0,3],\"bytes\":[],\"states\":[],\"removed\":[]}},\
         \"dead\":false,\
         \"last_recorded\":\"2026-11-20T10:15:03.123456789Z\",\
         \"not_recorded\":{\"files\":3,\"bytes\":1048576,\"states\":1,\"seconds\":4,\
         \"scan\":{\"first\":true,\"files\":10,\"bytes\":2048}},\
         \"left_out\":{\"unreadable\":[{\"path\":\"a\",\"reason\":\"permission denied\"}],\
         \"files_left_out\":1,\"shadowed\":[\"sub\"],\
         \"unrecorded\":[{\"from\":\"2026-11-20T10:15:03.123456789Z\",\"to\":null,\
         \"reason\":\"the disk was full\"}],\
         \"files_from_before\":5,\"bytes_from_before\":9000000000000,\
         \"excluded\":[{\"pattern\":\"/target/\",\"caches\":false,\"larger_than\":null,\
         \"since\":\"2026-11-20T10:15:03.123456789Z\",\"uid\":1000,\
         \"folders\":[\"target\"]}]},\
         \"missing\":[{\"kind\":\"not_yet\",\"what\":\"changes\",\
         \"since\":\"2026-11-20T10:15:03.123456789Z\",\"until\":null,\
         \"why\":\"they are not recorded yet\",\"cure\":\"rewindfs sync /p waits for it\",\
         \"files\":3,\"bytes\":1048576}],\
         \"alarms\":[{\"time\":\"2026-11-20T10:15:03.123456789Z\",\"kind\":\"destroyed\",\
         \"files\":1200,\"folder\":\"src\",\"pid\":8,\"uid\":1000,\"name\":\"rm\",\
         \"text\":\"rm (pid 8, uid 1000) deleted or overwrote 1200 files\",\
         \"snapshot\":\"alarm-2026-11-20-101503\",\
         \"before\":\"2026-11-20T10:15:03.123456789Z\",\
         \"until\":\"2026-11-20T10:15:03.123456789Z\"}],\
         \"hints\":[{\"time\":\"2026-11-20T10:15:03.123456789Z\",\"folder\":\"out\",\
         \"bytes\":3,\"of_bytes\":4,\"text\":\"out made most\"}],\
         \"history\":{\"snapshots\":2,\"held\":1,\"checkpoints\":30,\
         \"since\":\"2026-11-20T10:15:03.123456789Z\"},\
         \"store\":{\"path\":\"/.p.rewind\",\"bytes\":3145728,\"recorded_bytes\":8388608,\
         \"new_bytes\":6291456,\"stored_bytes\":2097152,\"free_bytes\":4294967296,\
         \"file_system_bytes\":8589934592},\"copies\":[],\
         \"problems\":[\"1 file can't be read\"]}\n"
    );
}

#[test]
fn a_line_says_what_matters_of_each_mounted_directory() {
    assert_eq!(
        line(&status(), &TimeZone::UTC),
        "/p: mounted since 2026-11-20 10:15:03 +00:00, last recorded 2026-11-20 10:15:03 \
         +00:00, not recorded: 3 files, 1.0 MiB; first import: 10 files, 2.0 KiB so far, \
         1 file can't be read"
    );
}
