//! `--json`: which fields every report has, and of which type. docs/json.md explains them; the
//! golden file holds them.

use crate::harness::{Cmd, Sandbox, golden, write};
use serde_json::Value;
use std::collections::BTreeMap;

/// Every field with its type, nested ones with their path.
fn shape(prefix: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(values) => {
            for value in values {
                shape(&format!("{prefix}[]"), value, into);
            }
            "list"
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                shape(&format!("{prefix}.{name}"), value, into);
            }
            "object"
        }
    };
    into.insert(prefix.to_string(), kind.to_string());
}

#[test]
fn the_fields_of_every_report_are_the_agreed_ones() {
    let sandbox = Sandbox::new("json");
    write(sandbox.work().join("file"), "x");
    let mounted = sandbox.mount("");
    mounted.snapshot("s");
    let mut text = String::new();
    let mut keep = |title: &str, line: &[&str]| {
        let run = Cmd::rewindfs().args(line).run().ok();
        let mut fields = BTreeMap::new();
        for value in run.json() {
            shape("", &value, &mut fields);
        }
        text += &format!("## {title}\n");
        for (name, kind) in fields {
            text += &format!("{name}: {kind}\n");
        }
    };
    let dir = mounted.point.display().to_string();
    keep(
        "snapshot",
        &["snapshot", &dir, "t", "--message", "why", "--json"],
    );
    keep("list", &["list", &dir, "--json"]);
    keep(
        "list --checkpoints",
        &["list", &dir, "--checkpoints", "--json"],
    );
    write(sandbox.work().join("file"), "changed");
    let file = format!("{dir}/file");
    let differs = Cmd::rewindfs().args(["diff", &dir, "s", "live", "--json"]);
    let run = differs.run().exits(1);
    assert_eq!(
        run.out,
        "{\"change\":\"M\",\"path\":\"file\",\"from\":null,\"old_bytes\":1,\"new_bytes\":7}\n"
    );
    let file_log = Cmd::new("touch").args(["-d", "2001-01-01", &file]);
    file_log.run().ok();
    keep("log", &["log", &file, "--json"]);
    keep("restore", &["restore", &file, "--at", "s", "--json"]);
    let quiet = |line: &[&str]| Cmd::rewindfs().args(line).run().ok();
    quiet(&["hold", &dir, "t", "--until", "2d", "--reason", "why"]);
    quiet(&["snapshot", &dir, "u"]);
    quiet(&["rename", &dir, "u", "v"]);
    quiet(&["delete", &dir, "v"]);
    quiet(&["policy", &dir, "--max-size", "50G"]);
    keep("list --deleted", &["list", &dir, "--deleted", "--json"]);
    keep("list --log", &["list", &dir, "--log", "--json"]);
    keep("policy", &["policy", &dir, "--json"]);
    let dry_run = &["prune", &dir, "--dry-run", "--json"];
    keep("prune --dry-run", dry_run);
    keep("prune", &["prune", &dir, "--json"]);
    keep("verify", &["verify", &dir, "--data", "--json"]);
    keep("status, mounted", &["status", &dir, "--json"]);
    mounted.umount();
    keep("status, not mounted", &["status", &dir, "--json"]);
    golden("json.txt", &text);
}

#[test]
fn times_in_json_are_utc_with_nanoseconds() {
    let sandbox = Sandbox::new("json-times");
    let mounted = sandbox.mount("");
    let run = mounted
        .command("list")
        .arg("--json")
        .env("TZ", "Asia/Tokyo")
        .run()
        .ok();
    for line in run.json() {
        let time = line["time"].as_str().expect("a time");
        let time = time.trim_start_matches('@');
        let shape: String = time
            .chars()
            .map(|c| if c.is_ascii_digit() { '0' } else { c })
            .collect();
        assert_eq!(shape, "0000-00-00T00:00:00.000000000Z");
    }
}

#[test]
fn times_on_the_terminal_show_their_zone() {
    let sandbox = Sandbox::new("zones");
    let mounted = sandbox.mount("");
    let tokyo = mounted.command("list").env("TZ", "Asia/Tokyo").run().ok();
    let utc = mounted.command("list").env("TZ", "UTC").run().ok();
    assert_ne!(tokyo.out, utc.out);
    assert!(
        tokyo.out.contains("JST") || tokyo.out.contains("+09"),
        "{}",
        tokyo.out
    );
}

#[test]
fn status_names_what_could_not_be_recorded() {
    let sandbox = Sandbox::new("left-out");
    write(sandbox.work().join("file"), "x");
    let mounted = sandbox.mount("");
    let status = mounted.command("status").arg("--json").run().ok();
    let left_out = &status.json()[0]["left_out"];
    for (name, value) in left_out.as_object().expect("an object") {
        let empty = value.as_array().is_some_and(Vec::is_empty) || value.as_u64() == Some(0);
        assert!(empty, "{name} is {value} on a sound directory");
    }
    let dir = &status.json()[0];
    assert_eq!(dir["dir"].as_str(), mounted.dir.to_str());
    assert!(dir["mounted"]["pid"].as_u64().is_some());
}
