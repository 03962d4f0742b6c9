//! What the documents show is what happens: every `console` block of README.md and of
//! docs/semantics.md, and the first transcript of docs/operations.md, is typed into a shell, in order,
//! and its output compared. Times, sizes and process ids are masked on both sides.
//!
//! A block starts in an empty folder with a home directory of its own and `rewindfs` in PATH; one
//! that is marked `console continued` goes on where the block before it ended. A line `...` in the
//! output stands for any lines, `/home/you` for the folder. Lines that begin with `> ` continue a command.

use crate::harness::{Cmd, Sandbox, write};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

struct Step {
    command: String,
    output: Vec<String>,
}

/// Blocks that share a shell.
type Session = Vec<Step>;

fn sessions(document: &str) -> Vec<Session> {
    let mut sessions: Vec<Session> = Vec::new();
    let mut within = false;
    for line in document.lines() {
        let line = line.trim_end();
        if let Some(info) = line.trim_start().strip_prefix("```") {
            if within {
                within = false;
            } else if info == "console" {
                sessions.push(Vec::new());
                within = true;
            } else if info == "console continued" {
                within = true;
            }
            continue;
        }
        let Some(session) = sessions.last_mut().filter(|_| within) else {
            continue;
        };
        if let Some(command) = line.strip_prefix("$ ").or_else(|| line.strip_prefix("# ")) {
            session.push(Step {
                command: command.to_string(),
                output: Vec::new(),
            });
        } else if let Some(step) = session.last_mut() {
            match line.strip_prefix("> ") {
                Some(more) if step.output.is_empty() => {
                    step.command.push('\n');
                    step.command.push_str(more);
                }
                _ => step.output.push(line.to_string()),
            }
        }
    }
    sessions
}

/// Digits, and what stands for a time of day or a size, become one sign.
fn mask(line: &str) -> String {
    let mut masked = String::new();
    let mut rest = line.trim_end();
    while let Some(first) = rest.chars().next() {
        if first.is_ascii_digit() {
            let number =
                |c: char| c.is_ascii_digit() || matches!(c, '.' | ':' | '-' | 'T' | 'Z' | '+');
            let end = rest.find(|c| !number(c)).unwrap_or(rest.len());
            // A full stop or a dash behind a number belongs to the sentence.
            let word = rest[..end].trim_end_matches(['.', ':', '-', '+', 'T']);
            if masked.ends_with("exit code ") {
                masked.push_str(word);
            } else {
                masked.push('#');
            }
            rest = &rest[word.len()..];
        } else {
            masked.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    for unit in [" KiB", " MiB", " GiB", " TiB", "K", "M", "G"] {
        let of_unit = masked.split(&format!("#{unit}")).collect::<Vec<_>>();
        masked = of_unit.join("# bytes");
    }
    masked.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn matches(expected: &[String], found: &[String]) -> bool {
    match expected.split_first() {
        None => found.is_empty(),
        Some((line, rest)) if line == "..." => {
            (0..=found.len()).any(|skip| matches(rest, &found[skip..]))
        }
        Some((line, rest)) => {
            found.first().is_some_and(|first| first == line) && matches(rest, &found[1..])
        }
    }
}

fn play(session: &Session, title: &str) {
    let sandbox = Sandbox::new("transcript");
    let bin = sandbox.join("bin");
    let home = sandbox.join("home");
    fs::create_dir_all(&bin).expect("mkdir");
    fs::create_dir_all(&home).expect("mkdir");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_rewindfs"), bin.join("rewindfs"))
        .expect("symlink");
    write(
        home.join(".gitconfig"),
        "[user]\nname = You\nemail = you@example.org\n[init]\ndefaultBranch = main\n",
    );
    let mut script = String::from("shopt -s expand_aliases\n");
    for (n, step) in session.iter().enumerate() {
        // The next command may ask for `$?`.
        script += &format!(
            "(code=$?; echo '@@@ {n}'; exit $code)\n{}\n(code=$?; echo \"@@@ code $code\"; exit $code)\n",
            step.command
        );
    }
    script += "echo '@@@ end'\n";
    write(sandbox.join("script"), &script);
    let run = Cmd::new("bash")
        .arg("-c")
        .arg(format!(". {} 2>&1", sandbox.join("script").display()))
        .env("HOME", &home)
        .env(
            "PATH",
            format!(
                "{}:{}",
                bin.display(),
                std::env::var("PATH").unwrap_or_default()
            ),
        )
        .within(&home)
        .limit(Duration::from_secs(120))
        .run();
    let mut found: Vec<Vec<String>> = Vec::new();
    let mut codes: Vec<&str> = Vec::new();
    for line in run.out.lines() {
        if let Some(code) = line.strip_prefix("@@@ code ") {
            codes.push(code);
        } else if line.starts_with("@@@ ") {
            found.push(Vec::new());
        } else if let Some(output) = found.last_mut() {
            output.push(mask(
                &line.replace(&home.display().to_string(), "/home/you"),
            ));
        }
    }
    assert!(
        run.out.contains("@@@ end"),
        "{title}: the shell ended early:\n{}{}",
        run.out,
        run.err
    );
    for (n, step) in session.iter().enumerate() {
        let expected: Vec<String> = step.output.iter().map(|line| mask(line)).collect();
        let trim = |lines: &[String]| -> Vec<String> {
            lines
                .iter()
                .filter(|line| !line.is_empty())
                .cloned()
                .collect()
        };
        let (expected, found) = (trim(&expected), trim(&found[n]));
        assert!(
            matches(&expected, &found),
            "{title}: `{}` shows\n  {}\nand prints\n  {}",
            step.command,
            expected.join("\n  "),
            found.join("\n  ")
        );
        // A command that fails must say so in what the document shows: with its complaint.
        let complains = expected.iter().any(|line| line.contains(": "));
        assert!(
            codes[n] == "0" || complains,
            "{title}: `{}` ends with {} and shows no reason",
            step.command,
            codes[n]
        );
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sessions_of(path: &Path) -> Vec<Session> {
    let document = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    sessions(&document)
}

fn play_document(path: &Path, at_least: usize) {
    let sessions = sessions_of(path);
    assert!(
        sessions.len() >= at_least,
        "{path:?} has only {} transcripts",
        sessions.len()
    );
    for (n, session) in sessions.iter().enumerate() {
        play(
            session,
            &format!("{}, transcript {}", path.display(), n + 1),
        );
    }
}

#[test]
fn the_readme_shows_what_happens() {
    play_document(&root().join("README.md"), 1);
}

#[test]
fn the_examples_of_the_semantics_happen() {
    play_document(&root().join("docs/semantics.md"), 3);
}

/// The others there need what no test has: another machine, a disk that is gone.
#[test]
fn each_command_of_the_operations_prints_what_is_shown() {
    let all = sessions_of(&root().join("docs/operations.md"));
    let small = &all[0];
    for command in [
        "undo", "restore", "log", "find", "diff", "events", "prune", "purge", "verify", "bisect",
    ] {
        let word = format!("rewindfs {command} ");
        assert!(
            small.iter().any(|step| step.command.contains(&word)),
            "{command}"
        );
    }
    play(small, "docs/operations.md");
}

#[test]
fn a_wrong_transcript_is_found() {
    let right = sessions("```console\n$ echo one; echo 12:30\none\n10:15\n$ echo a b\n...\n```\n");
    play(&right[0], "right");
    for wrong in [
        "$ echo one\ntwo",
        "$ (exit 3) || echo \"exit code $?\"\nexit code 2",
        "$ false",
        "$ false\n$ echo \"exit code $?\"\nexit code 0",
    ] {
        let wrong = sessions(&format!("```console\n{wrong}\n```\n"));
        let result = std::panic::catch_unwind(|| play(&wrong[0], "wrong"));
        assert!(result.is_err(), "not found: {}", wrong[0][0].command);
    }
    assert_eq!(
        mask("made at 2026-11-20T10:15:03.123Z, 12 MiB."),
        "made at #, # bytes."
    );
}
