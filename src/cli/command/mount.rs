//! `mount`: what must hold is checked, who is inside already is named, then the daemon is
//! started.

use super::super::args::{self, CrossMounts};
use super::super::daemon::{self, Import, Job, detach};
use super::super::error::Error;
use super::super::exit::Exit;
use super::super::option::{MountOptions, Snapdir};
use super::super::quantity::count;
use crate::control::check::{self, Plan, Problem, Wanted};
use crate::control::locate::Place;
use crate::control::mounts::Mounts;
use crate::control::request::User;
use std::io::{self, Write, stderr, stdout};
use std::path::Path;

/// Processes inside that are named; of more, their number is said.
const NAMED_MAX: usize = 20;

/// `mount DIR [MOUNTPOINT]`.
pub fn run(args: args::Mount) -> Result<Exit, Error> {
    let options = MountOptions::parse(args.options.iter().map(String::as_str))?;
    let wanted = Wanted {
        snapdir: match options.snapdir {
            Snapdir::Disabled => None,
            Snapdir::Hidden | Snapdir::Visible => Some(options.snapdir_name.clone()),
        },
        hide_mounts: args.cross_mounts == Some(CrossMounts::Hide),
        any_file_system: args.any_filesystem,
        store: args.store.said(),
        dir: args.dir,
        mountpoint: args.mountpoint,
    };
    let plan = match check::check(&wanted) {
        Err(Problem::Dead(point)) => {
            take_off_dead(&point)?;
            check::check(&wanted)?
        }
        plan => plan?,
    };
    let users = daemon::insiders(&plan.mountpoint);
    if args.strict && !users.is_empty() {
        return Err(Error::InUse {
            dir: plan.mountpoint,
            users,
        });
    }
    let job = Job {
        metrics: args.metrics,
        ..job(plan, options, args.adopt, args.import)
    };
    let warn = |text: &str| {
        // Standard error may be gone; the mount is not the worse for it.
        let _ = writeln!(stderr(), "rewindfs: {text}");
    };
    let announce = || announce(&job, &users);
    if args.foreground {
        daemon::foreground(
            &job,
            &Foreground {
                warn: &warn,
                announce: &announce,
            },
        )
    } else {
        daemon::launch(&job, &warn)?;
        announce()?;
        Ok(Exit::Done)
    }
}

fn job(plan: Plan, options: MountOptions, adopt: bool, import: Option<Import>) -> Job {
    Job {
        dir: plan.dir,
        mountpoint: plan.mountpoint,
        store: plan.store,
        new_store: plan.new_store,
        pointer: plan.pointer.unwrap_or_default(),
        adopt,
        import,
        options,
        metrics: None,
    }
}

fn take_off_dead(point: &Path) -> Result<(), Error> {
    let mounts = Mounts::read().map_err(|source| Error::System {
        action: "the table of mounts can't be read",
        source,
    })?;
    let mount = mounts.at(point).filter(|mount| mount.is_ours()).cloned();
    let place = Place {
        dir: point.to_owned(),
        store: mount
            .as_ref()
            .map(|mount| mount.store())
            .unwrap_or_default(),
        mount,
    };
    detach::by_force(&place)?;
    let _ = writeln!(
        stderr(),
        "rewindfs: the daemon of {} had died; its mount is off and is made anew",
        point.display()
    );
    Ok(())
}

/// What a person should know of the mount that now stands.
fn announce(job: &Job, users: &[User]) -> io::Result<()> {
    if job.new_store {
        let mut out = stdout().lock();
        writeln!(out, "new history in {}", job.store.display())?;
    }
    if !users.is_empty() {
        stderr()
            .lock()
            .write_all(insiders(&job.mountpoint, users).as_bytes())?;
    }
    Ok(())
}

fn insiders(mountpoint: &Path, users: &[User]) -> String {
    let mut text = format!(
        "rewindfs: {} inside {} before it was mounted; what they change goes on below the mount, \
         unseen and unrecorded, until they enter it anew:\n",
        if users.len() == 1 {
            "1 process was".to_owned()
        } else {
            format!("{} were", count(users.len() as u64, "processe"))
        },
        mountpoint.display()
    );
    for user in users.iter().take(NAMED_MAX) {
        text += &format!("  {} (pid {}) {}", user.command, user.pid, user.holds);
        if user.holds.starts_with("stands in") {
            text += "; there type: cd \"$PWD\"";
        }
        text.push('\n');
    }
    if users.len() > NAMED_MAX {
        text += &format!("  and {} more\n", users.len() - NAMED_MAX);
    }
    text
}

/// The news of a daemon that is this very process.
struct Foreground<'a> {
    warn: &'a dyn Fn(&str),
    announce: &'a dyn Fn() -> io::Result<()>,
}

impl daemon::Teller for Foreground<'_> {
    fn tell(&self, news: &daemon::News) -> io::Result<()> {
        match news {
            daemon::News::Warning(text) => {
                (self.warn)(text);
                Ok(())
            }
            daemon::News::Ready => (self.announce)(),
            daemon::News::Failed { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_inside_is_named_with_the_cure() {
        let users = [
            User {
                pid: 7,
                command: "bash".into(),
                holds: "stands in sub".into(),
            },
            User {
                pid: 8,
                command: "vi".into(),
                holds: "has notes open".into(),
            },
        ];
        assert_eq!(
            insiders(Path::new("/p"), &users),
            "rewindfs: 2 processes were inside /p before it was mounted; what they change goes on \
             below the mount, unseen and unrecorded, until they enter it anew:\n  \
             bash (pid 7) stands in sub; there type: cd \"$PWD\"\n  \
             vi (pid 8) has notes open\n"
        );
    }
}
