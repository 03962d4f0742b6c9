//! A report as lines of figures. docs/operations.md says what they are.

use crate::control::report::{Drills, MissingKind, Status};
use crate::control::when::When;
use std::collections::BTreeMap;
use std::fmt::{Display, Write};

/// What was written so far: a line of its kind stands above the first of each.
#[derive(Default)]
struct Page {
    text: String,
    last: String,
}

impl Page {
    fn add(&mut self, name: &str, help: &str, labels: &str, value: impl Display) {
        if self.last != name {
            // Writing into a text can't fail.
            let _ = writeln!(
                self.text,
                "# HELP rewindfs_{name} {help}\n# TYPE rewindfs_{name} gauge"
            );
            name.clone_into(&mut self.last);
        }
        let _ = writeln!(self.text, "rewindfs_{name}{labels} {value}");
    }

    fn one(&mut self, name: &str, help: &str, value: impl Display) {
        self.add(name, help, "", value);
    }

    /// Nothing where it is not known.
    fn time(&mut self, name: &str, help: &str, labels: &str, when: Option<When>) {
        if let Some(when) = when {
            self.add(name, help, labels, seconds(when));
        }
    }
}

fn seconds(when: When) -> String {
    let (whole, ms) = (
        when.0.0.div_euclid(1_000_000_000),
        when.0.0.rem_euclid(1_000_000_000) / 1_000_000,
    );
    format!("{whole}.{ms:03}")
}

/// The whole page.
pub fn of(status: &Status) -> String {
    let mut page = Page::default();
    page.one(
        "problems",
        "Things that a person should see to",
        status.problems.len(),
    );
    if let Some(mounted) = &status.mounted {
        page.time(
            "mounted_since_seconds",
            "When it was mounted",
            "",
            Some(mounted.since),
        );
        page.one(
            "recording",
            "Whether changes are to be recorded",
            u8::from(mounted.recording),
        );
        page.one(
            "waiting_operations",
            "Operations that wait now",
            mounted.waiting,
        );
        page.one(
            "slow_operations",
            "Operations not answered within 10 s",
            mounted.slow_operations,
        );
    }
    filling(&mut page, status);
    recorded(&mut page, status);
    left_out(&mut page, status);
    kept(&mut page, status);
    copies(&mut page, status);
    replicas(&mut page, status);
    page.text
}

/// Absent: nothing is being recovered.
fn filling(page: &mut Page, status: &Status) {
    let Some(line) = &status.filling else { return };
    page.one(
        "filling_files",
        "Files of a recovery that are without their content",
        line.files,
    );
    page.one("filling_bytes", "Their bytes, about", line.bytes);
    if let Some(bytes) = line.rest_bytes {
        page.one(
            "filling_rest_bytes",
            "Bytes that are still to be fetched",
            bytes,
        );
    }
    let trouble = u8::from(line.trouble.is_some());
    page.one("filling_trouble", "Nothing comes", trouble);
    page.one(
        "filling_lost_objects",
        "Objects that can't be had",
        line.lost.len(),
    );
}

fn recorded(page: &mut Page, status: &Status) {
    page.time(
        "recoverable_from_seconds",
        "The oldest state that is kept",
        "",
        status.history.since,
    );
    page.time(
        "recoverable_to_seconds",
        "The newest state that is kept",
        "",
        status.last_recorded,
    );
    if let Some(not) = &status.not_recorded {
        page.one(
            "not_recorded_files",
            "Files and names changed and not recorded yet",
            not.files,
        );
        page.one(
            "not_recorded_bytes",
            "Memory that keeps what they held",
            not.bytes,
        );
        page.one(
            "not_recorded_states",
            "States that are being recorded",
            not.states,
        );
        page.one(
            "not_recorded_seconds",
            "Age of the oldest change not recorded",
            not.seconds,
        );
        page.one(
            "scanning",
            "Whether a search for changes is under way",
            u8::from(not.scan.is_some()),
        );
    }
}

fn left_out(page: &mut Page, status: &Status) {
    let left = &status.left_out;
    page.one(
        "left_out_files",
        "Files whose content could not be recorded",
        left.files_left_out,
    );
    page.one(
        "from_before_files",
        "Files from before the first mount, not imported",
        left.files_from_before,
    );
    page.one("from_before_bytes", "Their bytes", left.bytes_from_before);
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for missing in &status.missing {
        *kinds.entry(kind(missing.kind)).or_default() += 1;
    }
    for (kind, count) in kinds {
        let labels = format!("{{kind=\"{kind}\"}}");
        page.add(
            "missing",
            "What history does not have, by kind",
            &labels,
            count,
        );
    }
    page.one("alarms", "Alarms of the last week", status.alarms.len());
}

fn kind(kind: MissingKind) -> &'static str {
    match kind {
        MissingKind::NotYet => "not_yet",
        MissingKind::Scan => "scan",
        MissingKind::NotMounted => "not_mounted",
        MissingKind::Unrecorded => "unrecorded",
        MissingKind::Process => "process",
        MissingKind::Mount => "mount",
        MissingKind::Unreadable => "unreadable",
        MissingKind::Shadowed => "shadowed",
        MissingKind::FromBefore => "from_before",
        MissingKind::Excluded => "excluded",
        MissingKind::Damaged => "damaged",
    }
}

fn kept(page: &mut Page, status: &Status) {
    page.one("snapshots", "Snapshots", status.history.snapshots);
    page.one("held_snapshots", "Of them, on hold", status.history.held);
    page.one(
        "checkpoints",
        "States without a name",
        status.history.checkpoints,
    );
    let store = &status.store;
    page.one("store_bytes", "The store on disk", store.bytes);
    page.one(
        "store_recorded_bytes",
        "Read and hashed for what is kept",
        store.recorded_bytes,
    );
    page.one("store_new_bytes", "Of them, what was new", store.new_bytes);
    page.one(
        "store_stored_bytes",
        "The same, compressed",
        store.stored_bytes,
    );
    page.one(
        "store_free_bytes",
        "Free on the disk of the store",
        store.free_bytes,
    );
    page.one(
        "store_disk_bytes",
        "The size of that disk",
        store.file_system_bytes,
    );
    if let Some(checked) = &status.checked {
        page.time(
            "checked_seconds",
            "When all of the store was checked last",
            "",
            checked.ended,
        );
        page.one(
            "checked_problems",
            "Problems that were found",
            checked.problems,
        );
    }
}

fn copies(page: &mut Page, status: &Status) {
    let labeled = |n: usize| format!("{{copy=\"{}\"}}", n + 1);
    let all = || status.copies.iter().enumerate();
    for (n, copy) in all() {
        page.time(
            "copy_sent_seconds",
            "When something was sent there last",
            &labeled(n),
            Some(copy.sent),
        );
    }
    for (n, copy) in all() {
        page.time(
            "copy_state_seconds",
            "The newest state that is there",
            &labeled(n),
            Some(copy.time),
        );
    }
    for (n, copy) in all() {
        let fenced = u8::from(copy.fenced.is_some());
        page.add(
            "copy_fenced",
            "Another store goes on there",
            &labeled(n),
            fenced,
        );
    }
    drills(
        page,
        "copy",
        &status
            .copies
            .iter()
            .map(|copy| &copy.drills)
            .collect::<Vec<_>>(),
    );
}

fn replicas(page: &mut Page, status: &Status) {
    let labeled = |n: usize| format!("{{replica=\"{}\"}}", n + 1);
    let all = || status.replicas.iter().enumerate();
    for (n, line) in all() {
        page.time(
            "replica_state_seconds",
            "The newest state that is there",
            &labeled(n),
            line.time,
        );
    }
    for (n, line) in all() {
        page.add(
            "replica_behind_seconds",
            "Age of the oldest state that is not there",
            &labeled(n),
            line.seconds_behind,
        );
    }
    for (n, line) in all() {
        page.add(
            "replica_behind_states",
            "States that are not there",
            &labeled(n),
            line.states_behind,
        );
    }
    for (n, line) in all() {
        page.add(
            "replica_behind_bytes",
            "Bytes read for them",
            &labeled(n),
            line.bytes_behind,
        );
    }
    for (n, line) in all() {
        let trouble = u8::from(line.trouble.is_some());
        page.add(
            "replica_trouble",
            "Nothing can be sent there",
            &labeled(n),
            trouble,
        );
    }
    for (n, line) in all() {
        page.add(
            "replica_encrypted",
            "It needs a password",
            &labeled(n),
            u8::from(line.encrypted),
        );
    }
    drills(
        page,
        "replica",
        &status
            .replicas
            .iter()
            .map(|line| &line.drills)
            .collect::<Vec<_>>(),
    );
}

/// Of copies, or of replicas.
fn drills(page: &mut Page, of: &str, all: &[&Drills]) {
    let labeled = |n: usize| format!("{{{of}=\"{}\"}}", n + 1);
    let name = |what: &str| format!("{of}_{what}");
    let all = || all.iter().enumerate();
    for (n, drills) in all() {
        page.time(
            &name("verified_seconds"),
            "When a drill was right last",
            &labeled(n),
            drills.verified,
        );
    }
    for (n, drills) in all() {
        let ended = drills.last.as_ref().map(|last| last.ended);
        page.time(
            &name("drill_seconds"),
            "When the last drill ended",
            &labeled(n),
            ended,
        );
    }
    for (n, drills) in all() {
        if let Some(last) = &drills.last {
            page.add(
                &name("drill_right"),
                "Whether all came back",
                &labeled(n),
                u8::from(last.ok),
            );
        }
    }
    for (n, drills) in all() {
        if let Some(last) = &drills.last {
            let rto = format!("{}.{:03}", last.rto_ms / 1000, last.rto_ms % 1000);
            page.add(
                &name("drill_rto_seconds"),
                "How long it took to recover",
                &labeled(n),
                rto,
            );
        }
    }
    for (n, drills) in all() {
        page.add(
            &name("drill_overdue"),
            "It should have been tried long ago",
            &labeled(n),
            u8::from(drills.overdue),
        );
    }
}
