//! Who is inside a directory, in the words of the person who is told.

use crate::control::request::User;
use crate::fuse::{Held, Holder, device_of, inside};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// How long all processes are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// Things that are named of one process.
const NAMED_MAX: usize = 3;
/// How it is said that a process has a directory as its working directory.
const STANDS: &str = "stands in ";
/// Between a command and the shell in which it was typed there are few.
const ANCESTORS_MAX: usize = 16;

/// Processes that stand in a directory or hold something of it, those that the person sees first:
/// the shell in which he types, and what that runs in.
pub fn insiders(dir: &Path) -> Vec<User> {
    match device_of(dir) {
        Ok(device) => on_device(dir, device),
        Err(error) => {
            log::warn!("who is in {} is not known: {error}", dir.display());
            Vec::new()
        }
    }
}

/// The same of what is on this device under the path of `dir`, whatever is mounted there now.
pub fn on_device(dir: &Path, device: (u32, u32)) -> Vec<User> {
    let found = inside(dir, device, LOOK);
    let mut holders = match found {
        Ok(found) => {
            if found.cut_short {
                log::warn!(
                    "not all processes could be looked at for who is in {}",
                    dir.display()
                );
            }
            found.holders
        }
        Err(error) => {
            log::warn!("who is in {} is not known: {error}", dir.display());
            Vec::new()
        }
    };
    let ancestors = ancestors();
    holders.sort_by_key(|holder| {
        let position = ancestors.iter().position(|&pid| pid == holder.pid);
        (position.unwrap_or(usize::MAX), holder.pid)
    });
    holders.iter().map(|holder| user(holder, dir)).collect()
}

fn user(holder: &Holder, dir: &Path) -> User {
    let named: Vec<String> = holder
        .holds
        .iter()
        .take(NAMED_MAX)
        .map(|held| words(held, dir))
        .collect();
    let mut holds = named.join(", ");
    if holder.holds.len() > NAMED_MAX {
        holds += &format!(" and {} more", holder.holds.len() - NAMED_MAX);
    }
    User {
        pid: holder.pid,
        command: holder.command.clone(),
        holds,
    }
}

fn words(held: &Held, dir: &Path) -> String {
    match held {
        Held::WorkingDirectory(path) => format!("{STANDS}{}", name(path, dir)),
        Held::Root(path) => format!("has its root in {}", name(path, dir)),
        Held::Open(path) => format!("has {} open", name(path, dir)),
        Held::Mapped(path) => format!("has {} mapped", name(path, dir)),
    }
}

/// As seen from the directory; `.` is itself.
fn name(path: &Path, dir: &Path) -> String {
    match path.strip_prefix(dir) {
        Ok(below) if below.as_os_str().is_empty() => ".".to_owned(),
        Ok(below) => below.display().to_string(),
        Err(_) => path.display().to_string(),
    }
}

/// Whether those who use a directory are nobody but the shell in which the command was typed, and
/// what that runs in, and do no more than stand there: then the person only has to step aside.
pub fn is_only_caller(users: &[User]) -> bool {
    let ancestors = ancestors();
    let only_stands = |user: &User| user.holds.starts_with(STANDS) && !user.holds.contains(", ");
    !users.is_empty()
        && users
            .iter()
            .all(|user| ancestors.contains(&user.pid) && only_stands(user))
}

/// The processes in which this one runs, the nearest first.
fn ancestors() -> Vec<u32> {
    let mut all = Vec::new();
    let mut pid = std::process::id();
    while all.len() < ANCESTORS_MAX
        && let Some(parent) = parent(pid)
        && parent > 1
    {
        all.push(parent);
        pid = parent;
    }
    all
}

fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the last `)` ends it.
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::ffi::OsStr::from_bytes(stat.get(end + 1..)?).to_str()?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_said_from_the_directory_on() {
        let dir = Path::new("/p");
        let holder = Holder {
            pid: 7,
            command: "bash".into(),
            holds: vec![
                Held::WorkingDirectory("/p".into()),
                Held::Open("/p/a/b".into()),
                Held::Mapped("/p/c".into()),
                Held::Open("/p/d".into()),
            ],
        };
        assert_eq!(
            user(&holder, dir).holds,
            "stands in ., has a/b open, has c mapped and 1 more"
        );
    }

    #[test]
    fn the_caller_alone_is_told_of_others_and_from_who_holds_more() {
        let user = |pid, holds: &str| User {
            pid,
            command: "bash".into(),
            holds: holds.into(),
        };
        let own = std::os::unix::process::parent_id();
        let caller = || user(own, "stands in sub");
        assert!(is_only_caller(&[caller()]));
        assert!(!is_only_caller(&[]));
        assert!(!is_only_caller(&[caller(), user(u32::MAX, "stands in .")]));
        assert!(!is_only_caller(&[user(own, "stands in ., has a open")]));
        assert!(!is_only_caller(&[user(own, "has a open")]));
    }

    #[test]
    fn the_parent_of_this_process_is_its_nearest_ancestor() {
        let parent = std::os::unix::process::parent_id();
        assert_eq!(ancestors().first().copied(), (parent > 1).then_some(parent));
    }
}
