//! What clap has to say about a mistake, in one line; and `--help` and `--version`, which it
//! treats as mistakes.

use super::error::Error;
use super::exit::Exit;
use clap::error::ErrorKind;
use std::io::{Write, stdout};

/// Prints what was asked for, or makes one line of the complaint.
///
/// # Errors
/// `Usage` for a mistake, `Output` when help can't be printed.
pub fn explain(error: &clap::Error) -> Result<Exit, Error> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            write!(stdout().lock(), "{}", error.render())?;
            Ok(Exit::Done)
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Err(Error::Usage("say what to do; see: rewindfs --help".into()))
        }
        _ => Err(Error::Usage(one_line(&error.render().to_string()))),
    }
}

/// The complaint is the first paragraph; a line `Usage:` or a tip may follow.
fn one_line(text: &str) -> String {
    let mut paragraphs = text.split("\n\n");
    let complaint = paragraphs.next().unwrap_or_default();
    let complaint = complaint.strip_prefix("error: ").unwrap_or(complaint);
    let mut line = complaint.split_whitespace().collect::<Vec<_>>().join(" ");
    for paragraph in paragraphs {
        let paragraph = paragraph.trim();
        if let Some(usage) = paragraph.strip_prefix("Usage: ") {
            let usage = usage.lines().next().unwrap_or_default();
            line += &format!("; usage: {usage}");
        } else if let Some(tip) = paragraph.strip_prefix("tip: ") {
            let tip = tip.lines().next().unwrap_or_default();
            line += &format!("; {tip}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::super::args;
    use super::*;

    fn complaint(arguments: &[&str]) -> String {
        let error = args::command()
            .try_get_matches_from(std::iter::once(&"rewindfs").chain(arguments))
            .expect_err("refused");
        explain(&error).expect_err("a mistake").to_string()
    }

    #[test]
    fn each_mistake_is_one_line_with_the_right_usage() {
        assert_eq!(
            complaint(&["delete", "x"]),
            "the following required arguments were not provided: <NAME>; \
             usage: rewindfs delete <DIR> <NAME>"
        );
        assert_eq!(complaint(&[]), "say what to do; see: rewindfs --help");
        let unknown = complaint(&["snapshit", "."]);
        assert!(
            unknown.starts_with(
                "unrecognized subcommand 'snapshit'; a similar subcommand exists: 'snapshot'"
            ),
            "{unknown}"
        );
        for arguments in [
            &["mount"][..],
            &["list", ".", "--wrong"],
            &["status", "a", "b"],
        ] {
            let line = complaint(arguments);
            assert!(
                !line.contains('\n') && line.contains("; usage: rewindfs "),
                "{line}"
            );
        }
    }
}
