//! `completions` and `man`: written from the same definitions as `--help`.

use super::super::args;
use super::super::error::Error;
use super::super::exit::Exit;
use clap_complete::Shell;
use std::fs;
use std::io::{Write, stdout};
use std::path::Path;

/// `completions bash|zsh|fish`.
pub fn completions(args: &args::Completions) -> Result<Exit, Error> {
    let shell = match args.shell {
        args::Shell::Bash => Shell::Bash,
        args::Shell::Zsh => Shell::Zsh,
        args::Shell::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "rewindfs", &mut script);
    stdout().lock().write_all(&script)?;
    Ok(Exit::Done)
}

/// `man FOLDER`: `rewindfs.1` and one page for each command.
pub fn manual(args: &args::Man) -> Result<Exit, Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::File { path, source }
    };
    fs::create_dir_all(&args.folder).map_err(failed(&args.folder))?;
    let command = args::command().disable_help_subcommand(true);
    write_page(&args.folder, command.clone(), "rewindfs")?;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let name = format!("rewindfs-{}", sub.get_name());
        write_page(&args.folder, sub.clone(), &name)?;
    }
    Ok(Exit::Done)
}

fn write_page(folder: &Path, command: clap::Command, name: &str) -> Result<(), Error> {
    let mut page = Vec::new();
    let display = name.replacen('-', " ", 1);
    clap_mangen::Man::new(command.display_name(name.to_owned()).bin_name(display))
        .title(name.to_uppercase())
        .render(&mut page)?;
    let path = folder.join(format!("{name}.1"));
    fs::write(&path, page).map_err(|source| Error::File { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_written_for_every_command() {
        let folder = tempfile::tempdir().unwrap();
        let args = args::Man {
            folder: folder.path().join("man1"),
        };
        manual(&args).unwrap();
        let page = fs::read_to_string(args.folder.join("rewindfs-snapshot.1")).unwrap();
        assert!(page.contains("rewindfs snapshot"), "{page}");
        assert!(
            page.contains("Give the state of this instant a name"),
            "{page}"
        );
        assert!(!args.folder.join("rewindfs-serve.1").exists());
        assert!(args.folder.join("rewindfs.1").exists());
    }
}
