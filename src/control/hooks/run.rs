//! Running the command of a hook: as the user who owns the directory, in an environment of its own,
//! for so long at most.

use crate::format::hook::HookEvent;
use nix::unistd::{Uid, User};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Where its programs are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What of the environment it gets as it is. Nothing else: there may be secrets of who mounted.
const KEPT: [&str; 3] = ["TZ", "LANG", "LC_ALL"];
/// Of what it says, so much is told.
const SAID_MAX: usize = 500;
/// How long what it said is waited for when it has ended: what it started may hold the pipe.
const SAID_WAIT: Duration = Duration::from_secs(1);

/// The groups of processes that are running; `None`: no more are begun, this process ends.
static RUNNING: Mutex<Option<BTreeSet<u32>>> = Mutex::new(Some(BTreeSet::new()));

/// A command that is to be run now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookCall {
    pub number: u64,
    pub event: HookEvent,
    pub command: String,
    /// Who owns the directory: as whom it runs.
    pub uid: u32,
    pub gid: u32,
    /// Who set it.
    pub by_uid: u32,
    pub timeout_ms: u64,
    /// What it is told in its environment.
    pub variables: Vec<(String, String)>,
}

/// Runs it to its end.
///
/// # Errors
/// Why it failed, as a sentence.
pub fn run(call: &HookCall) -> Result<(), String> {
    let own = rustix::process::geteuid().as_raw();
    let uid = call.uid;
    // Whoever owned the directory before must not have something done as who owns it now.
    if call.by_uid != 0 && call.by_uid != uid {
        return Err(format!(
            "it was set by uid {}, who does not own the directory: its owner, uid {uid}, or root must set it",
            call.by_uid
        ));
    }
    if own != 0 && own != uid {
        return Err(format!(
            "it would run as who owns the directory, uid {uid}, and who mounted it is uid {own}: let its owner \
             or root mount it"
        ));
    }
    let (mut child, _running) =
        Running::start(call, own).map_err(|error| format!("it can't be run: {error}"))?;
    let said = child.stderr.take().map(listen);
    let until = Instant::now() + Duration::from_millis(call.timeout_ms);
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => {
                let said = said.and_then(|said| said.recv_timeout(SAID_WAIT).ok());
                let said = said.unwrap_or_default();
                let said = said.lines().next().unwrap_or_default();
                return Err(match said {
                    "" => format!("it ended with {status}"),
                    said => format!("it ended with {status}: {said}"),
                });
            }
            Ok(None) if Instant::now() < until => thread::sleep(Duration::from_millis(10)),
            _ => {
                end(child);
                return Err(format!(
                    "it took more than {} ms and was ended",
                    call.timeout_ms
                ));
            }
        }
    }
}

/// In the list as long as it is there.
struct Running(u32);

impl Running {
    fn start(call: &HookCall, own: u32) -> std::io::Result<(Child, Running)> {
        let mut running = RUNNING.lock();
        let Some(running) = running.as_mut() else {
            return Err(std::io::Error::other("the mount ends"));
        };
        // Whoever ends all of them finds it, or it is not begun.
        let child = start(call, own)?;
        running.insert(child.id());
        let group = Running(child.id());
        Ok((child, group))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(running) = RUNNING.lock().as_mut() {
            running.remove(&self.0);
        }
    }
}

/// This process ends: what runs may do so for a while, then it is ended as well.
pub fn end_all(at_most: Duration) {
    let until = Instant::now() + at_most;
    let is_any = || RUNNING.lock().as_ref().is_some_and(|all| !all.is_empty());
    while Instant::now() < until && is_any() {
        thread::sleep(Duration::from_millis(10));
    }
    let running = RUNNING.lock().take();
    running.into_iter().flatten().for_each(kill);
}

fn kill(group: u32) {
    if let Some(group) = Pid::from_raw(group.cast_signed()) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

fn start(call: &HookCall, own: u32) -> std::io::Result<Child> {
    let user = User::from_uid(Uid::from_raw(call.uid)).ok().flatten();
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", &call.command])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .env_clear()
        .env("PATH", PATH)
        .env("SHELL", "/bin/sh");
    for name in KEPT {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    if let Some(user) = &user {
        command
            .env("HOME", &user.dir)
            .env("USER", &user.name)
            .env("LOGNAME", &user.name);
    }
    for (name, value) in &call.variables {
        command.env(name, value.replace('\0', " "));
    }
    if own == 0 && call.uid != 0 {
        // With that, it is in no other group either.
        let gid = user.map_or(call.gid, |user| user.gid.as_raw());
        command.uid(call.uid).gid(gid);
    }
    command.spawn()
}

/// The beginning of what it says; the rest is read and dropped, so that it is never kept waiting.
fn listen(mut pipe: ChildStderr) -> mpsc::Receiver<String> {
    let (tell, told) = mpsc::channel();
    // Without a thread nothing is heard.
    let _ = thread::Builder::new().spawn(move || {
        let mut said = Vec::new();
        let mut piece = [0; 512];
        while let Ok(bytes) = pipe.read(&mut piece) {
            if bytes == 0 {
                break;
            }
            let room = SAID_MAX.saturating_sub(said.len());
            said.extend_from_slice(&piece[..bytes.min(room)]);
        }
        // Nobody listens any more when it comes too late.
        let _ = tell.send(String::from_utf8_lossy(&said).into_owned());
    });
    told
}

/// Ends it with all that it started. It may be asleep in a request to the mount that waits for it:
/// nobody waits until it is gone.
fn end(mut child: Child) {
    kill(child.id());
    let _ = thread::Builder::new().spawn(move || child.wait());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(command: &str, timeout_ms: u64) -> HookCall {
        HookCall {
            number: 1,
            event: HookEvent::BeforeSnapshot,
            command: command.to_owned(),
            uid: rustix::process::geteuid().as_raw(),
            gid: 0,
            by_uid: rustix::process::geteuid().as_raw(),
            timeout_ms,
            variables: vec![("REWINDFS_HOOK".to_owned(), "a b".to_owned())],
        }
    }

    #[test]
    fn it_is_bounded_and_says_why_it_failed() {
        assert_eq!(run(&call("test \"$REWINDFS_HOOK\" = 'a b'", 9000)), Ok(()));
        let failed = run(&call("echo no database >&2; exit 3", 9000)).expect_err("failed");
        assert_eq!(failed, "it ended with exit status: 3: no database");
        let late = run(&call("sleep 60 & sleep 60", 50)).expect_err("late");
        assert_eq!(late, "it took more than 50 ms and was ended");
        let much = run(&call("yes >&2 & head -c 1M /dev/zero >&2; kill $!", 9000));
        assert_eq!(much, Ok(()));
        // What the environment of who mounted holds is not for it.
        assert_eq!(run(&call("test -z \"$CARGO_MANIFEST_DIR\"", 9000)), Ok(()));
    }

    #[test]
    fn nobody_has_something_done_as_somebody_else() {
        let own = rustix::process::geteuid().as_raw();
        let mut other = call("true", 9000);
        other.by_uid = own + 1;
        let failed = run(&other).expect_err("refused");
        assert!(
            failed.contains("who does not own the directory"),
            "{failed}"
        );
    }
}
