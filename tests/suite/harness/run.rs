//! Commands with a bound. Output goes to files, not pipes, so that a daemon that keeps its
//! caller's descriptors cannot hold the test up.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a command may take unless it says otherwise.
const LIMIT: Duration = Duration::from_secs(60);

/// A command to be run once.
pub struct Cmd {
    command: Command,
    limit: Duration,
}

/// What a command did.
#[derive(Clone, Debug)]
pub struct Run {
    pub line: String,
    /// Exit code; 128 + signal if a signal ended it.
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Cmd {
    pub fn new(program: impl AsRef<OsStr>) -> Cmd {
        let mut command = Command::new(program);
        command
            .env_remove("REWINDFS_STORE")
            .env_remove("RUST_LOG")
            .env("TZ", "UTC")
            .env("LC_ALL", "C.UTF-8");
        Cmd {
            command,
            limit: LIMIT,
        }
    }

    /// The program under test.
    pub fn rewindfs() -> Cmd {
        Cmd::new(env!("CARGO_BIN_EXE_rewindfs"))
    }

    /// A line for the shell.
    pub fn sh(line: &str) -> Cmd {
        Cmd::new("bash").args(["-euo", "pipefail", "-c", line])
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Cmd {
        self.command.arg(arg);
        self
    }

    pub fn args<I, A>(mut self, args: I) -> Cmd
    where
        I: IntoIterator<Item = A>,
        A: AsRef<OsStr>,
    {
        self.command.args(args);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Cmd {
        self.command.env(name, value);
        self
    }

    pub fn within(mut self, dir: impl AsRef<Path>) -> Cmd {
        self.command.current_dir(dir);
        self
    }

    /// Runs it, and all that it starts, as on a kernel whose system calls end before this number.
    pub fn on_older_kernel(mut self, first_missing: u32) -> Cmd {
        super::seccomp::on_older_kernel(&mut self.command, first_missing);
        self
    }

    /// In a directory that is made for it.
    pub fn within_new(self, dir: impl AsRef<Path>) -> Cmd {
        std::fs::create_dir_all(dir.as_ref()).expect("mkdir");
        self.within(dir)
    }

    pub fn limit(mut self, limit: Duration) -> Cmd {
        self.limit = limit;
        self
    }

    fn line(&self) -> String {
        let mut line = self.command.get_program().to_string_lossy().into_owned();
        for arg in self.command.get_args() {
            line.push(' ');
            line.push_str(&arg.to_string_lossy());
        }
        line
    }

    /// Starts it and leaves it running; its output goes nowhere.
    pub fn spawn(mut self) -> Child {
        let line = self.line();
        self.command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// Starts it with both its ends in our hands.
    pub fn spawn_piped(mut self) -> Child {
        let line = self.line();
        self.command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// Runs it to its end; one that does not end in time is killed and fails the test.
    pub fn run(mut self) -> Run {
        let line = self.line();
        let mut out = tempfile::tempfile().expect("a temporary file");
        let mut err = tempfile::tempfile().expect("a temporary file");
        let child = self
            .command
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("a second descriptor"))
            .stderr(err.try_clone().expect("a second descriptor"))
            .spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{line}: {error}"));
        let status = wait(&mut child, self.limit);
        let (out, err) = (text(&mut out), text(&mut err));
        let Some(status) = status else {
            panic!("`{line}` did not end in {:?}\n{out}\n{err}", self.limit);
        };
        let code = match status.code() {
            Some(code) => code,
            None => 128 + status.signal().unwrap_or(0),
        };
        Run {
            line,
            code,
            out,
            err,
        }
    }
}

impl Run {
    /// Fails the test unless the command ended with 0.
    pub fn ok(self) -> Run {
        self.exits(0)
    }

    /// Fails the test unless the command ended with this code.
    pub fn exits(self, code: i32) -> Run {
        assert!(
            self.code == code,
            "`{}` ended with {}, not {code}\n{}{}",
            self.line,
            self.code,
            self.out,
            self.err
        );
        self
    }

    /// Fails the test unless both streams together hold this text.
    pub fn says(self, text: &str) -> Run {
        assert!(
            self.out.contains(text) || self.err.contains(text),
            "`{}` does not say {text:?}\n{}{}",
            self.line,
            self.out,
            self.err
        );
        self
    }

    /// The lines of standard output.
    pub fn lines(&self) -> Vec<&str> {
        self.out.lines().collect()
    }

    /// Standard output as JSON, one value a line.
    pub fn json(&self) -> Vec<serde_json::Value> {
        let parse = |line: &str| {
            serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("`{}` prints no JSON: {error}: {line}", self.line))
        };
        self.out.lines().map(parse).collect()
    }
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).expect("output is rewound");
    file.read_to_end(&mut bytes).expect("output is read");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Waits for the end of a child; kills it when the time is over.
pub fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + limit;
    let mut pause = Duration::from_micros(200);
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return Some(status);
        }
        if Instant::now() > end {
            // Not waited for: it may be stuck in a system call for ever.
            let _ = child.kill();
            return None;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// Waits until something becomes true; fails the test when it does not in 90 seconds.
pub fn wait_for(what: &str, condition: impl FnMut() -> bool) {
    wait_for_at_most(what, Duration::from_secs(90), condition);
}

/// The same with another bound.
pub fn wait_for_at_most(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < end, "waited {limit:?} in vain for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
