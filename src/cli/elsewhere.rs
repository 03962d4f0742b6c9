//! Opening a place for backups, with the password as it was given.

use super::args;
use super::error::Error;
use super::exit::Exit;
use crate::archive::{self, ArchiveError, Objects, Repository, Secrecy, Secret};
use crate::format::transfer::Sent;
use crate::limits;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// The environment variable that may hold the password.
const VARIABLE: &str = "REWINDFS_PASSWORD";
/// And the one that may hold a new password.
const NEW_VARIABLE: &str = "REWINDFS_NEW_PASSWORD";

/// Whether somebody who may name a directory or a place for backups means a place: a URL, or a
/// folder with backups.
pub fn is_place(what: &Path) -> bool {
    let is_url = what.to_str().is_some_and(|text| text.contains("://"));
    is_url || Objects::is_repository(what)
}

/// A place that is there.
///
/// # Errors
/// It can't be reached, is none, or the password is missing or wrong.
pub fn open(url: &str, opening: &args::Opening) -> Result<Repository, Error> {
    let secrecy = secrecy(opening)?;
    let objects = Arc::new(Objects::open(url, false)?);
    Ok(Repository::open(objects, &secrecy)?)
}

/// One of several places that have the same: none is waited for too long.
///
/// # Errors
/// As `open`.
pub fn open_one_of(url: &str, opening: &args::Opening) -> Result<Repository, Error> {
    let secrecy = secrecy(opening)?;
    let objects = Objects::open(url, false)?.patient_for(limits::PATIENCE);
    Ok(Repository::open(Arc::new(objects), &secrecy)?)
}

/// A place that is there, or is made. One that held backups of this store must still hold them,
/// unless it is said that they begin anew.
///
/// # Errors
/// As `open`; `Replaced`.
pub fn open_or_create(
    url: &str,
    opening: &args::Opening,
    sent: &[Sent],
    new: bool,
) -> Result<Repository, Error> {
    let secrecy = secrecy(opening)?;
    let place = Objects::place_of(url)?;
    let known = sent.iter().find(|sent| sent.url == place).filter(|_| !new);
    let replaced = |now| ArchiveError::Replaced {
        place: place.clone(),
        now,
    };
    let is_folder = !url.contains("://") || url.starts_with("file:");
    let there = match Objects::open(url, false) {
        Err(ArchiveError::Url { .. }) if is_folder => None,
        objects => Some(Arc::new(objects?)),
    };
    let repository = match there {
        Some(objects) => match Repository::open(objects, &secrecy) {
            Err(ArchiveError::NoRepository { .. }) => None,
            opened => Some(opened?),
        },
        None => None,
    };
    if let Some(repository) = repository {
        return match known {
            Some(known) if known.repository != repository.id => Err(replaced("others").into()),
            _ => Ok(repository),
        };
    }
    if known.is_some() {
        return Err(replaced("none").into());
    }
    // Nothing is made for somebody who has not said how.
    if secrecy == Secrecy::Unsaid {
        return Err(ArchiveError::Undecided.into());
    }
    let objects = Arc::new(Objects::open(url, true)?);
    Ok(Repository::open_or_create(objects, &secrecy)?)
}

fn secrecy(opening: &args::Opening) -> Result<Secrecy, Error> {
    if opening.no_encryption {
        return Ok(Secrecy::None);
    }
    let given = Given {
        file: opening.password_file.as_deref(),
        command: opening.password_command.as_deref(),
        variable: VARIABLE,
    };
    Ok(match given.secret()? {
        Some(secret) => Secrecy::Password(secret),
        None => Secrecy::Unsaid,
    })
}

/// The password that is to be put beside another one, or in its place.
///
/// # Errors
/// None was given, or it can't be read.
pub fn new_password(args: &args::KeyNew) -> Result<Secret, Error> {
    let given = Given {
        file: args.new_password_file.as_deref(),
        command: args.new_password_command.as_deref(),
        variable: NEW_VARIABLE,
    };
    let none = || {
        Error::Usage(format!(
            "give the new password: --new-password-file FILE, --new-password-command CMD or \
             {NEW_VARIABLE}"
        ))
    };
    given.secret()?.ok_or_else(none)
}

/// Where a password is to be found.
struct Given<'a> {
    file: Option<&'a Path>,
    command: Option<&'a str>,
    variable: &'static str,
}

impl Given<'_> {
    fn secret(&self) -> Result<Option<Secret>, Error> {
        let bytes = if let Some(path) = self.file {
            std::fs::read(path).map_err(|source| Error::File {
                path: path.to_owned(),
                source,
            })?
        } else if let Some(command) = self.command {
            printed(command)?
        } else if let Some(value) = std::env::var_os(self.variable) {
            value.into_vec()
        } else {
            return Ok(None);
        };
        let password = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let password = password.strip_suffix(b"\r").unwrap_or(password);
        if password.is_empty() {
            return Err(Error::Usage(
                "the password is empty; give another, or say --no-encryption".to_owned(),
            ));
        }
        Ok(Some(Secret(password.to_vec())))
    }
}

fn printed(command: &str) -> Result<Vec<u8>, Error> {
    let output = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::inherit())
        .stderr(Stdio::inherit())
        .output();
    let output = output.map_err(|source| Error::System {
        action: "the password command can't be run",
        source,
    })?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(Error::Usage(format!(
            "the password command failed ({}); run it by itself: {command}",
            output.status
        ))),
    }
}

/// `serve --stdio`: the objects of a folder, for this program on another machine.
///
/// # Errors
/// What comes is no question, or the line fails.
pub fn serve(folder: &Path, append_only: bool) -> Result<Exit, Error> {
    let (from, to) = (std::io::stdin().lock(), std::io::stdout().lock());
    archive::serve(folder, append_only, from, to).map_err(|source| Error::System {
        action: "what was asked can't be answered",
        source,
    })?;
    Ok(Exit::Done)
}
