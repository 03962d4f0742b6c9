//! `drill`: whether what is elsewhere comes back, tried: it is recovered into a private folder by a
//! process to which directory and store are out of sight, read again, checked, and removed.
//!
//! 1. Whatever happens, there is a report; one that says that all was right stands for a recovery
//!    that was done, never for one that was meant.
//! 2. What tries a place has its URL and its password, and nothing else of this machine's history.
//! 3. The folder is its own: nobody else can look into it, and it goes at the end. What a drill
//!    leaves that is killed, the next one clears.

mod folder;
mod log;
mod one;
mod show;

use super::super::args;
use super::super::elsewhere;
use super::super::error::Error;
use super::super::exit::Exit;
use super::super::interrupt::Interrupt;
use super::super::progress::Meter;
use super::super::reach;
use super::locate;
use crate::archive::Objects;
use crate::control::drills::DrillReport;
use crate::control::locate::Place;
use crate::control::request::{Answer, Request};
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Where there is room on most machines.
const USUAL: &str = "/var/tmp";
/// How often it is looked whether somebody has had enough.
const LOOK: Duration = Duration::from_millis(50);

/// `drill DIR|URL`.
pub fn run(args: &args::Drill) -> Result<Exit, Error> {
    let what = args.what.to_string_lossy();
    let is_place = elsewhere::is_place(&args.what);
    match (is_place, args.list) {
        (true, true) => show::list(&log::of_user(&what)?, args.json),
        (true, false) => one::run(args, &what),
        (false, true) => show::list(&log::of_directory(&place_of(args)?)?, args.json),
        (false, false) => of_directory(args),
    }
}

fn place_of(args: &args::Drill) -> Result<Place, Error> {
    locate(&args.what, args.store.said().as_deref(), None)
}

/// One place after the other, each in a process of its own.
fn of_directory(args: &args::Drill) -> Result<Exit, Error> {
    let place = place_of(args)?;
    let places = places(args, &place)?;
    let interrupt = Interrupt::catch().map_err(|source| Error::System {
        action: "signals can't be caught",
        source,
    })?;
    let mut worst = Exit::Done;
    let folders = folders(args, &place)?;
    for (url, opening) in places {
        let worker = Worker {
            url: &url,
            opening,
            away: away(&place),
            folders: folders.clone(),
            sample: args.sample,
            seed: args.seed,
            check: &args.check,
            attended: false,
        };
        let (report, exit) = worker.run(&|| interrupt.pressed())?;
        let Some(report) = report else {
            return Ok(exit);
        };
        let noted = Request::DrillEnded {
            report: Box::new(report.clone()),
        };
        reach::ask(&place, noted, &Meter::new("drill"))?;
        show::report(&report, args.json)?;
        if worst == Exit::Done {
            worst = exit;
        }
    }
    Ok(worst)
}

/// What is to be tried, and how each is opened.
fn places(args: &args::Drill, place: &Place) -> Result<Vec<(String, args::Opening)>, Error> {
    let meter = Meter::new("drill");
    let Answer::Replicas { replicas, .. } = reach::ask(place, Request::Replicas, &meter)? else {
        return Err(reach::strange(place));
    };
    let said = |own: args::Opening| match args.opening.is_said() {
        true => args.opening.clone(),
        false => own,
    };
    let mut places: Vec<(String, args::Opening)> = replicas
        .into_iter()
        .map(|replica| (replica.url, said(args::Opening::of(&replica.password))))
        .collect();
    let Answer::Status(status) = reach::ask(place, Request::Status, &meter)? else {
        return Err(reach::strange(place));
    };
    for copy in status.copies {
        // What another machine fetches is there.
        let is_pulled = copy.url.starts_with(super::pull::SCHEME);
        if copy.fenced.is_none() && !is_pulled && places.iter().all(|(url, _)| *url != copy.url) {
            places.push((copy.url, args.opening.clone()));
        }
    }
    if let Some(from) = &args.from {
        let from = Objects::place_of(from)?;
        places.retain(|(url, _)| *url == from);
        if places.is_empty() {
            places.push((from, args.opening.clone()));
        }
    }
    if places.is_empty() {
        return Err(Error::Usage(
            "there is no copy elsewhere that could be tried; first: rewindfs replica add DIR URL, \
             or rewindfs backup DIR --to URL"
                .to_owned(),
        ));
    }
    Ok(places)
}

/// A drill in a process of its own.
pub(in crate::cli) struct Worker<'a> {
    pub url: &'a str,
    pub opening: args::Opening,
    /// What it is kept away from.
    pub away: Vec<PathBuf>,
    /// Where its folder may be made.
    pub folders: Vec<PathBuf>,
    pub sample: Option<u8>,
    pub seed: Option<u64>,
    pub check: &'a [OsString],
    /// Nobody asked for it.
    pub attended: bool,
}

impl Worker<'_> {
    /// The report, and how the process ended; no report: somebody had enough.
    pub(in crate::cli) fn run(
        &self,
        enough: &dyn Fn() -> bool,
    ) -> Result<(Option<DrillReport>, Exit), Error> {
        let system = |source| Error::System {
            action: "the drill can't be started",
            source,
        };
        let mut child = self.command()?.spawn().map_err(system)?;
        let out = read_all(child.stdout.take());
        let status = wait(&mut child, enough).map_err(system)?;
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        let exit = Exit::from_code(code.unwrap_or(Exit::Failure.code()));
        if exit == Exit::Interrupted || enough() {
            return Ok((None, Exit::Interrupted));
        }
        let out = out.join().unwrap_or_default();
        let report = serde_json::from_slice(&out).map_err(|_| {
            Error::Usage(format!(
                "{}: the drill ended without a report ({status})",
                self.url
            ))
        })?;
        Ok((Some(report), exit))
    }

    fn command(&self) -> Result<Command, Error> {
        let mut command = Command::new("/proc/self/exe");
        command.arg("drill").arg(self.url).arg("--json");
        command.args(self.opening.words()?);
        if let Some(percent) = self.sample {
            command.arg("--sample").arg(percent.to_string());
        }
        if let Some(seed) = self.seed {
            command.arg("--seed").arg(seed.to_string());
        }
        for away in &self.away {
            command.arg("--away").arg(away);
        }
        for to in &self.folders {
            command.arg("--to").arg(to);
        }
        if self.attended {
            command.arg("--attended").stderr(Stdio::null());
        }
        if !self.check.is_empty() {
            command.arg("--").args(self.check);
        }
        // Who stands in the directory would see it.
        command.current_dir("/").env_remove("REWINDFS_STORE");
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        // Ctrl-C is passed on, once.
        command.process_group(0);
        Ok(command)
    }
}

/// What a machine that lost everything has not.
fn away(place: &Place) -> Vec<PathBuf> {
    let mount = place.mount.as_ref().map(|mount| mount.point.clone());
    let mut all = vec![place.dir.clone(), place.store.clone()];
    all.extend(mount.filter(|point| *point != place.dir));
    all
}

/// Where the private folder may be made.
fn folders(args: &args::Drill, place: &Place) -> Result<Vec<PathBuf>, Error> {
    let mut folders = Vec::new();
    for to in &args.to {
        let full = to.canonicalize().map_err(|source| Error::File {
            path: to.clone(),
            source,
        })?;
        if let Some(inside) = away(place).into_iter().find(|away| full.starts_with(away)) {
            return Err(Error::Usage(format!(
                "{} lies in {}, which a drill does without: choose another --to FOLDER",
                full.display(),
                inside.display()
            )));
        }
        folders.push(full);
    }
    if folders.is_empty() {
        folders = usual(&place.store);
    }
    Ok(folders)
}

/// On the disk of the store, or where there is room on most machines.
pub(in crate::cli) fn usual(store: &Path) -> Vec<PathBuf> {
    let above = store.parent().map(Path::to_owned);
    above.into_iter().chain([PathBuf::from(USUAL)]).collect()
}

/// Reads what a process prints while somebody waits for its end.
fn read_all(from: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut from) = from {
            // What came is what there is.
            let _ = from.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// Waits for the end of a process; who has had enough ends it.
fn wait(child: &mut Child, enough: &dyn Fn() -> bool) -> std::io::Result<std::process::ExitStatus> {
    let mut asked = false;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if enough() && !asked {
            asked = true;
            let pid = rustix::process::Pid::from_child(child);
            // It clears what it made, and ends.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        std::thread::sleep(LOOK);
    }
}

impl args::Opening {
    /// Whether something was said.
    fn is_said(&self) -> bool {
        self.no_encryption || self.password_file.is_some() || self.password_command.is_some()
    }

    /// The same for another process, which may stand elsewhere.
    ///
    /// # Errors
    /// The file with the password is not there.
    fn words(&self) -> Result<Vec<OsString>, Error> {
        let mut words: Vec<OsString> = Vec::new();
        if let Some(path) = &self.password_file {
            let full = path.canonicalize().map_err(|source| Error::File {
                path: path.clone(),
                source,
            })?;
            words.extend(["--password-file".into(), full.into()]);
        }
        if let Some(command) = &self.password_command {
            words.extend(["--password-command".into(), command.into()]);
        }
        if self.no_encryption {
            words.push("--no-encryption".into());
        }
        Ok(words)
    }
}

/// A path as text; bytes that are no text are replaced.
fn lossy(path: &Path) -> String {
    String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned()
}
