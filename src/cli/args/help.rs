//! `--help`: one screen, made from the definitions.

use super::Args;
use clap::CommandFactory;

/// The groups of `--help`. Commands that belong together share a line, with the usage of the first;
/// what it says of them, where that is not what the first says of itself.
const GROUPS: [(&str, &[(&str, &str)]); 6] = [
    (
        "The mount",
        &[
            ("mount", ""),
            (
                "umount sync",
                "Take the mount off; return when all is recorded",
            ),
            ("status", ""),
        ],
    ),
    (
        "The past",
        &[
            ("snapshot", ""),
            (
                "list rename",
                "Show the snapshots, or every kept state; rename one",
            ),
        ],
    ),
    (
        "Look, fetch",
        &[
            (
                "undo run",
                "Take back what a command did; run one to be taken back whole",
            ),
            ("log", ""),
            ("diff", ""),
            (
                "find events",
                "Every name that ever matched; what happened, as JSON",
            ),
            ("cat restore", "Print, or put back, what stood at PATH then"),
            ("bisect", ""),
        ],
    ),
    (
        "What stays",
        &[
            ("delete undelete", ""),
            ("hold release", ""),
            (
                "policy prune hook",
                "What is kept, what is left out; drop the others; run commands",
            ),
            (
                "verify purge",
                "Check all that is stored; remove a leak from all of history",
            ),
        ],
    ),
    (
        "Elsewhere",
        &[
            (
                "backup replica schedule drill",
                "Send what is new; have that done; try it",
            ),
            (
                "recover backups key",
                "Get it back; show what is there; passwords",
            ),
        ],
    ),
    (
        "The program",
        &[(
            "completions man",
            "What a shell completes; the manual pages",
        )],
    ),
];

/// The definitions with their one-screen help.
pub fn command() -> clap::Command {
    let command = Args::command();
    let help = overview(&command);
    // Messages and usage lines name the program by its name, however it was called.
    command.help_template(help).bin_name("rewindfs")
}

/// One screen: usage, the commands in groups, what the exit codes mean.
fn overview(command: &clap::Command) -> String {
    let mut text = String::from(
        "{name} {version}: {about}\nUsage: rewindfs COMMAND ... (more: rewindfs COMMAND --help)\n\n",
    );
    for (heading, lines) in GROUPS {
        let mut heading = heading;
        for (names, said) in lines {
            let subs = names.split(' ').map(|name| command.find_subcommand(name));
            let subs: Vec<&clap::Command> = subs.flatten().collect();
            let Some(first) = subs.first() else {
                continue;
            };
            let about = match *said {
                "" => first.get_about().map(ToString::to_string),
                said => Some(said.to_owned()),
            };
            let names: Vec<&str> = subs.iter().map(|sub| sub.get_name()).collect();
            let usage = usage(first).replacen(first.get_name(), &names.join("|"), 1);
            text += &format!("{heading:<12} {usage:<25} {}\n", about.unwrap_or_default());
            heading = "";
        }
    }
    text + "\nThe past is in DIR/.snapshots: ls DIR/.snapshots, cp -a DIR/.snapshots/NAME/FILE .\n\
            Exit: 0 done, 1 needs you, 2 failed, 3 in part, 10 no history, 11 in use, 12 password, 130 Ctrl-C\n"
}

/// `snapshot DIR [NAME]`.
fn usage(command: &clap::Command) -> String {
    let mut text = command.get_name().to_owned();
    for argument in command.get_positionals() {
        let names = argument.get_value_names().unwrap_or_default();
        let name = names.first().map_or("", |name| name.as_str());
        if argument.is_required_set() {
            text += &format!(" {name}");
        } else {
            text += &format!(" [{name}]");
        }
    }
    if command
        .get_arguments()
        .any(|argument| argument.get_id() == "at")
    {
        text += " --at STATE";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_sound() {
        command().debug_assert();
    }

    #[test]
    fn help_fits_one_screen_and_shows_every_command() {
        let help = command().render_help().to_string();
        assert!(help.lines().count() <= 24, "{help}");
        assert!(
            help.lines().all(|line| line.chars().count() <= 100),
            "{help}"
        );
        for sub in command().get_subcommands().filter(|sub| !sub.is_hide_set()) {
            let shown = help
                .split([' ', '|', '\n'])
                .any(|word| word == sub.get_name());
            assert!(shown, "{}", sub.get_name());
        }
    }
}
