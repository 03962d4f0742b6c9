//! What `status` says, as figures for a monitor: Prometheus' text format 0.0.4 over HTTP.
//!
//! 1. One thread, one question at a time, each within a bound: whoever asks slowly, often or nonsense
//!    keeps nobody waiting but others who ask here. No request to the mount ever passes this way.
//! 2. There are figures and numbers of replicas, and no name or path: any user of the machine can ask.
//!
//! By hand, since all of HTTP that is needed is to read to an empty line and to answer once; a
//! library would bring a server for more into the process that serves the mount.

mod text;

use crate::control::request::{Answer, Request};
use crate::control::service::{Service, Watch};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a question may take, and how long its answer.
const WITHIN: Duration = Duration::from_secs(2);
/// Bytes of a question that are read.
const QUESTION_MAX: usize = 8 << 10;
/// How often it is looked whether somebody asks, or it has ended.
const LOOK: Duration = Duration::from_millis(100);

/// Whom nobody but this machine can ask, unless it is said which address.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    text.parse().map_err(|_| {
        "give a port, as 9753, or ADDRESS:PORT, as 127.0.0.1:9753 or [::1]:9753".to_owned()
    })
}

/// Answers until it is ended.
pub struct Metrics {
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Metrics {
    /// Takes the address, so that it is known at once when that can't be had.
    ///
    /// # Errors
    /// Somebody else has it, or it is none of this machine.
    pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        if !address.ip().is_loopback() {
            log::warn!("the figures can be asked for by other machines, at {address}");
        }
        Ok(listener)
    }

    /// Begins to answer there.
    pub fn start(listener: TcpListener, service: Arc<Service>) -> Metrics {
        let ending = Arc::new(AtomicBool::new(false));
        let answer = {
            let ending = Arc::clone(&ending);
            move || answer_all(&listener, &service, &ending)
        };
        let thread = thread::Builder::new().name("metrics".into()).spawn(answer);
        if let Err(error) = &thread {
            log::error!("nobody answers for the figures: no thread: {error}");
        }
        Metrics {
            ending,
            thread: thread.ok(),
        }
    }

    /// Answers nobody any more.
    pub fn end(self) {
        self.ending.store(true, Ordering::Release);
        if let Some(thread) = self.thread {
            // It only panics if this program is wrong, and that was told.
            let _ = thread.join();
        }
    }
}

fn answer_all(listener: &TcpListener, service: &Service, ending: &AtomicBool) {
    while !ending.load(Ordering::Acquire) {
        match listener.accept() {
            Ok((stream, _)) => {
                if let Err(error) = answer(&stream, service) {
                    log::debug!("who asked for the figures has not got them: {error}");
                }
            }
            Err(_) => thread::sleep(LOOK),
        }
    }
}

fn answer(mut stream: &TcpStream, service: &Service) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(WITHIN))?;
    let question = question(stream)?;
    let (status, body) = match what(&question) {
        What::Figures => match service.handle(Request::Status, 0, &Watch::NOBODY) {
            Ok(Answer::Status(report)) => ("200 OK", text::of(&report)),
            _ => ("503 Service Unavailable", "no report\n".to_owned()),
        },
        What::Elsewhere => ("404 Not Found", "see /metrics\n".to_owned()),
        What::Nothing => ("400 Bad Request", "GET /metrics\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

/// Up to the empty line, within the time.
fn question(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    let until = Instant::now() + WITHIN;
    let mut question = Vec::new();
    let mut piece = [0; 1024];
    while !question.windows(4).any(|end| end == b"\r\n\r\n") {
        let rest = until.saturating_duration_since(Instant::now());
        if rest.is_zero() || question.len() > QUESTION_MAX {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(rest))?;
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => question.extend_from_slice(&piece[..read]),
        }
    }
    Ok(question)
}

#[derive(Debug, PartialEq, Eq)]
enum What {
    Figures,
    Elsewhere,
    Nothing,
}

fn what(question: &[u8]) -> What {
    let line = question.split(|byte| *byte == b'\r').next();
    let line = line.and_then(|line| std::str::from_utf8(line).ok());
    let words: Vec<&str> = line.unwrap_or_default().split(' ').collect();
    match words[..] {
        ["GET", path, version] if version.starts_with("HTTP/1.") => match path.split('?').next() {
            Some("/metrics") => What::Figures,
            _ => What::Elsewhere,
        },
        _ => What::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_one_is_this_machine() {
        assert_eq!(address("9753"), Ok(([127, 0, 0, 1], 9753).into()));
        assert_eq!(address("10.0.0.1:9"), Ok(([10, 0, 0, 1], 9).into()));
        assert!(address("[::1]:9").is_ok());
        for bad in ["", "localhost", "70000", "127.0.0.1"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_one_question_is_answered() {
        assert_eq!(what(b"GET /metrics HTTP/1.1\r\n\r\n"), What::Figures);
        assert_eq!(what(b"GET /metrics?x=1 HTTP/1.0\r\n\r\n"), What::Figures);
        assert_eq!(what(b"GET / HTTP/1.1\r\n\r\n"), What::Elsewhere);
        for bad in [
            &b"POST /metrics HTTP/1.1\r\n\r\n"[..],
            b"\xff\r\n\r\n",
            b"GET /metrics\r\n\r\n",
        ] {
            assert_eq!(what(bad), What::Nothing);
        }
    }
}
