//! The lines on their way to the log. The log lies in the folder of the store, whose disk may hang:
//! so whoever says something leaves it here, and a thread of its own writes it down.
//!
//! 1. Who logs never waits for the file.
//! 2. The queue is bounded: lines that find it full are counted, and the log says later how many
//!    are missing in it.

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Between two looks whether all is written down.
const POLL: Duration = Duration::from_millis(5);

#[derive(Debug, Default)]
struct Books {
    /// Lines that found the queue full and are not told of yet.
    missing: AtomicU64,
    /// Lines in the queue, and the one that is just being written.
    under_way: AtomicU64,
}

/// Where lines are left: what the logger takes for its output.
#[derive(Debug)]
pub struct Entrance {
    lines: Sender<Vec<u8>>,
    books: Arc<Books>,
}

/// Knows whether all is written down.
#[derive(Clone, Debug)]
pub struct Pending(Arc<Books>);

/// Starts the thread that writes to `file` what is left at the entrance: at most `lines_max` lines
/// wait for it.
///
/// # Errors
/// The system gives no thread.
pub fn start(
    file: impl Write + Send + 'static,
    lines_max: usize,
) -> io::Result<(Entrance, Pending)> {
    let (sender, receiver) = bounded(lines_max);
    let books = Arc::new(Books::default());
    let pending = Pending(Arc::clone(&books));
    let entrance = Entrance {
        lines: sender,
        books: Arc::clone(&books),
    };
    std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_down(file, &receiver, &books))?;
    Ok((entrance, pending))
}

fn write_down(mut file: impl Write, lines: &Receiver<Vec<u8>>, books: &Books) {
    for line in lines {
        let missing = books.missing.swap(0, Ordering::Relaxed);
        let told = match missing {
            0 => Ok(()),
            n => writeln!(
                file,
                "({n} lines are missing here: the log was not written in time)"
            ),
        };
        // A log that can't be written harms nothing else; what was not told is told later.
        if told.is_err() {
            books.missing.fetch_add(missing, Ordering::Relaxed);
        }
        if file.write_all(&line).is_err() {
            books.missing.fetch_add(1, Ordering::Relaxed);
        }
        books.under_way.fetch_sub(1, Ordering::Release);
    }
}

impl Write for Entrance {
    /// Takes a whole line, or counts it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.books.under_way.fetch_add(1, Ordering::Relaxed);
        match self.lines.try_send(line.to_vec()) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.books.under_way.fetch_sub(1, Ordering::Relaxed);
                self.books.missing.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Pending {
    /// Waits until all is written down; false if that takes longer than `at_most`.
    pub fn wait(&self, at_most: Duration) -> bool {
        let end = Instant::now() + at_most;
        while self.0.under_way.load(Ordering::Acquire) > 0 {
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(POLL);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::{Mutex, MutexGuard};

    /// A disk that hangs while the test holds the lock.
    #[derive(Clone, Default)]
    struct Disk {
        hangs: Arc<Mutex<()>>,
        text: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _hangs: MutexGuard<'_, ()> = self.hangs.lock();
            self.text.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_logs_never_waits_and_what_is_missing_is_counted() {
        let disk = Disk::default();
        let hang = disk.hangs.lock();
        let (mut entrance, pending) = start(disk.clone(), 3).unwrap();
        writeln!(entrance, "first").unwrap();
        // One is being written, three wait.
        while entrance.lines.is_full() || !entrance.lines.is_empty() {
            std::thread::yield_now();
        }
        for line in 0..8 {
            entrance
                .write_all(format!("line {line}\n").as_bytes())
                .unwrap();
        }
        assert!(!pending.wait(Duration::from_millis(20)));
        drop(hang);
        assert!(pending.wait(Duration::from_secs(60)));
        entrance.write_all(b"last\n").unwrap();
        assert!(pending.wait(Duration::from_secs(60)));
        let text = String::from_utf8(disk.text.lock().clone()).unwrap();
        let missing = "(5 lines are missing here: the log was not written in time)";
        let all = ["first", missing, "line 0", "line 1", "line 2", "last"];
        assert_eq!(text.lines().collect::<Vec<_>>(), all);
    }
}
