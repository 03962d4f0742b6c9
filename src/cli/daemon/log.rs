//! What the daemon writes down: lines in the store's folder, in files that are turned over
//! before they grow large, or on standard error in the foreground.

use super::log_queue::{self, Pending};
use crate::control::folder::Folder;
use crate::limits;
use crate::time::Timestamp;
use env_logger::{Builder, Env, Target};
use rustix::fd::OwnedFd;
use rustix::stdio::dup2_stderr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Name of the newest log file in the store's folder; older ones have `.1` and `.2` behind it.
pub const NAME: &str = "log";
/// Size at which the file is turned over, bytes.
const FILE_MAX: u64 = 4 << 20;
/// Files that are kept, the newest among them.
const FILES: usize = 3;

/// Where the lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logging {
    ToFile,
    ToStandardError,
}

/// What is on its way to the file of this process.
static ON_ITS_WAY: OnceLock<Pending> = OnceLock::new();

/// To be called at the end: what was said is written down, within a bound.
pub fn end() {
    if let Some(pending) = ON_ITS_WAY.get() {
        // Nobody can be told that the log can't be written.
        pending.wait(limits::LOG_END_WAIT);
    }
}

/// Begins to log. RUST_LOG chooses what, as usual; by default what is worth a look.
///
/// # Errors
/// When the file can't be made.
pub fn begin(logging: Logging, folder: &Folder) -> io::Result<()> {
    let mut builder = Builder::from_env(Env::default().default_filter_or("info"));
    builder.format(|out, record| {
        let (time, level) = (Timestamp::now(), record.level());
        writeln!(
            out,
            "{time} {level:5} {}: {}",
            record.target(),
            record.args()
        )
    });
    match logging {
        Logging::ToStandardError => builder.target(Target::Stderr),
        Logging::ToFile => {
            let file = Turning::open(folder.inside(NAME), FILE_MAX, true)?;
            let (entrance, pending) = log_queue::start(file, limits::LOG_QUEUE)?;
            // A second log in one process is only met in tests.
            let _ = ON_ITS_WAY.set(pending);
            builder.target(Target::Pipe(Box::new(entrance)))
        }
    };
    let _ = builder.try_init();
    Ok(())
}

/// A file that is turned over.
struct Turning {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
    /// A line is never cut in two by turning over.
    at_line_start: bool,
    /// Whether standard error goes into it too: what a panic says.
    takes_stderr: bool,
}

impl Turning {
    fn open(path: PathBuf, bytes_max: u64, takes_stderr: bool) -> io::Result<Turning> {
        let file = open(&path)?;
        let turning = Turning {
            bytes: file.metadata()?.len(),
            path,
            file,
            bytes_max,
            at_line_start: true,
            takes_stderr,
        };
        turning.redirect()?;
        Ok(turning)
    }

    fn redirect(&self) -> io::Result<()> {
        if self.takes_stderr {
            let copy: OwnedFd = self.file.try_clone()?.into();
            dup2_stderr(&copy)?;
        }
        Ok(())
    }

    fn turn(&mut self) -> io::Result<()> {
        let numbered = |number: usize| {
            let mut name = self.path.clone().into_os_string();
            if number > 0 {
                name.push(format!(".{number}"));
            }
            PathBuf::from(name)
        };
        for number in (1..FILES).rev() {
            match fs::rename(numbered(number - 1), numbered(number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.file = open(&self.path)?;
        self.bytes = 0;
        self.redirect()
    }
}

fn open(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

impl Write for Turning {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.at_line_start && self.bytes >= self.bytes_max {
            self.turn()?;
        }
        let written = self.file.write(line)?;
        self.bytes += written as u64;
        self.at_line_start = line[..written].ends_with(b"\n");
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_turned_over_and_their_number_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let mut log = Turning::open(path.clone(), 10, false).unwrap();
        for line in 0..9 {
            writeln!(log, "line {line}").unwrap();
        }
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(read("log"), "line 8\n");
        assert_eq!(read("log.1"), "line 6\nline 7\n");
        assert_eq!(read("log.2"), "line 4\nline 5\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), FILES);
    }

    #[test]
    fn an_old_file_is_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        fs::write(&path, "old\n").unwrap();
        let mut log = Turning::open(path.clone(), 100, false).unwrap();
        writeln!(log, "new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old\nnew\n");
    }
}
