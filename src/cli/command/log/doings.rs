//! `log --by actor`: what was done, each doing a line.

use crate::cli::quote::quote;
use crate::control::report::{DoingLine, Who};
use crate::time::TimeZone;

/// Ancestors that are shown; of more the nearest.
const ANCESTORS_SHOWN: usize = 3;
/// Characters of a command line on a terminal.
const COMMAND_SHOWN: usize = 60;

pub(super) fn text(line: &DoingLine, zone: &TimeZone) -> String {
    let who = line.who.as_ref().map_or_else(nobody_known, doer);
    let others = match line.processes {
        0 | 1 => String::new(),
        count => format!(" ({count} processes)"),
    };
    let what = what(line);
    format!("{}  {who}{others}  {what}", line.time.0.local(zone))
}

pub(super) fn nobody_known() -> String {
    "somebody (through a mapping, or while it was not mounted)".to_owned()
}

/// `claude > bash > rm -rf src`.
pub(in super::super) fn doer(who: &Who) -> String {
    let nearest = who.ancestors.iter().take(ANCESTORS_SHOWN).rev();
    let mut chain: Vec<String> = nearest.map(quote).collect();
    let command: Vec<String> = who.command.iter().map(quote).collect();
    let command = match command.as_slice() {
        [] => quote(&who.name),
        all => all.join(" "),
    };
    chain.push(match command.char_indices().nth(COMMAND_SHOWN) {
        Some((end, _)) => format!("{}...", &command[..end]),
        None => command,
    });
    chain.join(" > ")
}

/// `412 deleted, 1 modified`; of a single path its name as well.
pub(in super::super) fn what(line: &DoingLine) -> String {
    let counts = [
        (line.deleted, "deleted"),
        (line.modified, "modified"),
        (line.renamed, "renamed"),
        (line.added, "added"),
        (line.attributes, "with other attributes"),
    ];
    let told: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    let all: u64 = counts.iter().map(|(count, _)| count).sum();
    match (all, told.as_slice()) {
        (1, [one]) => {
            let example = match line.example.as_str() {
                "" => ".",
                path => path,
            };
            format!("{}: {}", one.trim_start_matches("1 "), quote(example))
        }
        _ => told.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::when::When;
    use crate::time::Timestamp;

    fn line() -> DoingLine {
        DoingLine {
            number: None,
            not_undoable: None,
            run: None,
            since: When(Timestamp(0)),
            time: When(Timestamp(1_795_169_703_123_456_789)),
            who: Some(Who {
                pid: 7,
                uid: 1000,
                name: "rm".to_owned(),
                command: ["rm", "-rf", "my src"].map(str::to_owned).to_vec(),
                ancestors: ["bash", "claude", "sshd", "systemd"]
                    .map(str::to_owned)
                    .to_vec(),
            }),
            processes: 1,
            added: 0,
            modified: 0,
            deleted: 412,
            renamed: 0,
            attributes: 0,
            example: "src".to_owned(),
        }
    }

    #[test]
    fn a_line_names_the_command_and_what_it_came_to() {
        let show = |line: &DoingLine| text(line, &TimeZone::UTC);
        assert_eq!(
            show(&line()),
            "2026-11-20 10:15:03 +00:00  sshd > claude > bash > rm -rf 'my src'  412 deleted"
        );
        let mut other = DoingLine {
            deleted: 1,
            processes: 3,
            ..line()
        };
        if let Some(who) = &mut other.who {
            who.command.clear();
            who.ancestors.clear();
        }
        assert_eq!(
            show(&other),
            "2026-11-20 10:15:03 +00:00  rm (3 processes)  deleted: src"
        );
        other.who = None;
        other.added = 2;
        assert!(show(&other).ends_with("  1 deleted, 2 added"));
    }

    #[test]
    fn a_name_that_a_process_gave_itself_can_not_play_with_the_terminal() {
        let mut line = line();
        if let Some(who) = &mut line.who {
            who.command = vec!["rm\u{1b}[2J".to_owned()];
        }
        assert!(!text(&line, &TimeZone::UTC).contains('\u{1b}'));
    }
}
