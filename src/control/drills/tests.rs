//! The log of drills, and when one is due.

use super::*;

fn report(files: u64) -> DrillReport {
    DrillReport {
        url: "file:///b".to_owned(),
        host: "h".to_owned(),
        began: When(Timestamp(0)),
        ended: When(Timestamp(1)),
        ok: true,
        problems: Vec::new(),
        set: Some(1),
        state: None,
        sample_percent: None,
        seed: None,
        files,
        bytes: 2,
        fetched_bytes: 3,
        rto_ms: 4,
        phases: DrillPhases::default(),
        check: None,
        kept_apart: None,
        by_itself: false,
        log_fault: None,
    }
}

#[test]
fn golden_line() {
    let line = Line {
        previous: Hash::default().to_hex(),
        report: report(1),
    };
    let expected = format!(
        "{{\"previous\":\"{}\",\"url\":\"file:///b\",\"host\":\"h\",\
         \"began\":\"1970-01-01T00:00:00.000000000Z\",\
         \"ended\":\"1970-01-01T00:00:00.000000001Z\",\"ok\":true,\"problems\":[],\"set\":1,\
         \"files\":1,\"bytes\":2,\"fetched_bytes\":3,\"rto_ms\":4,\"phases\":{{\"list_ms\":0,\
         \"fetch_ms\":0,\"verify_ms\":0,\"write_ms\":0,\"hash_ms\":0,\"check_ms\":0}}}}",
        "0".repeat(64)
    );
    assert_eq!(serde_json::to_string(&line).unwrap(), expected);
}

#[test]
fn what_is_changed_taken_out_or_cut_off_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let mut end = None;
    for files in 1..=4 {
        end = Some(append(&path, report(files), end).unwrap());
    }
    let whole = std::fs::read(&path).unwrap();
    let drills = Drills::read(&path, end).unwrap();
    assert_eq!((drills.reports.len(), drills.fault), (4, None));
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    let fault = |bytes: &[u8], end| Drills::parse(bytes, end).fault.unwrap_or_default();
    let changed = String::from_utf8(whole.clone()).unwrap();
    let changed = changed.replacen("\"ok\":true", "\"ok\":false", 1);
    let text = fault(changed.as_bytes(), end);
    assert!(text.contains("line 2 of the log"), "{text}");
    let taken_out = [lines[0], lines[2], lines[3]].concat();
    assert!(fault(&taken_out, end).contains("line 2 of the log"));
    let cut = lines[..3].concat();
    assert!(
        fault(&cut, end).contains("of 4 lines"),
        "{}",
        fault(&cut, end)
    );
    // Where nobody noted the end, nobody can tell.
    assert_eq!(fault(&cut, None), "");
    // It goes on, and is not forgotten.
    std::fs::write(&path, &cut).unwrap();
    let end = append(&path, report(5), end).unwrap();
    let drills = Drills::read(&path, Some(end)).unwrap();
    assert_eq!(drills.reports.len(), 4);
    assert!(drills.fault.unwrap_or_default().contains("of 4 lines"));
    assert!(fault(&[], Some(end)).contains("only 0 are there"));
}

#[test]
fn one_is_due_soon_at_first_then_in_its_turn_and_told_of_when_it_is_late() {
    let at = |hours: i64| Timestamp(hours * 3600 * 1_000_000_000);
    let plan = plan_of(&[], "file:///b");
    assert_eq!(due(&plan, at(0), None), Some(at(1)));
    let ended = |ok, hours| DrillReport {
        ok,
        problems: vec!["lost".to_owned()],
        ended: When(at(hours)),
        ..report(1)
    };
    assert_eq!(
        due(&plan, at(0), Some(&ended(true, 1))),
        Some(at(7 * 24 + 1))
    );
    assert_eq!(due(&plan, at(0), Some(&ended(false, 1))), Some(at(25)));
    let never = DrillPlan {
        every: 0,
        ..plan.clone()
    };
    assert_eq!(due(&never, at(0), None), None);
    let said = |last: &[DrillReport], plan: &DrillPlan, hours| {
        let drills = Drills {
            reports: last.to_vec(),
            ..Drills::default()
        };
        let told = told(&drills, "file:///b", Some((plan, at(0))), at(hours));
        problem("file:///b", &told).unwrap_or_default()
    };
    assert_eq!(said(&[], &plan, 25), "");
    assert!(said(&[], &plan, 26).contains("never tried"));
    assert_eq!(said(&[], &never, 9999), "");
    let right = [ended(false, 1), ended(true, 2)];
    assert_eq!(said(&right, &plan, 8 * 24), "");
    assert!(said(&right, &plan, 9 * 24).contains("was not tried since"));
    let failed = [ended(true, 1), ended(false, 2)];
    assert!(said(&failed, &never, 3).contains("did not come back as it should"));
    assert!(said(&failed, &never, 3).contains("(lost)"));
}

#[test]
fn a_line_that_was_written_in_part_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let end = append(&path, report(1), None).unwrap();
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap();
    file.write_all(b"{\"previous\"").unwrap();
    let end = append(&path, report(2), Some(end)).unwrap();
    let drills = Drills::read(&path, Some(end)).unwrap();
    assert_eq!((drills.reports.len(), &drills.fault), (2, &None));
    assert_eq!(drills.last("file:///b").map(|last| last.files), Some(2));
    assert_eq!(drills.last("file:///c"), None);
}
