//! The priority of the capture threads: they give way to the people at work, unless somebody waits
//! for what they do. Then what they give way to is somebody else's work, and he waits the longer.

use parking_lot::Mutex;
use rustix::process::Pid;

/// How far a capture thread gives way (its nice value), and how far while somebody waits.
const GIVES_WAY: i32 = 10;
const HURRIES: i32 = 0;

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct Haste(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    threads: Vec<Pid>,
    waiting: usize,
}

/// Somebody waits, until it is dropped.
pub(super) struct Waiting<'a>(&'a Haste);

impl Haste {
    /// This thread gives way from now on.
    pub(super) fn enrol(&self) {
        let mut state = self.0.lock();
        state.threads.push(rustix::thread::gettid());
        state.set();
    }

    /// Somebody waits for what is to be captured.
    pub(super) fn wait(&self) -> Waiting<'_> {
        let mut state = self.0.lock();
        state.waiting += 1;
        if state.waiting == 1 {
            state.set();
        }
        Waiting(self)
    }
}

impl State {
    fn set(&self) {
        let nice = if self.waiting > 0 { HURRIES } else { GIVES_WAY };
        for thread in &self.threads {
            // An ordinary user may lower it only: then it stays low.
            if let Err(error) = rustix::process::setpriority_process(Some(*thread), nice) {
                log::debug!("the priority of a capture thread can't be set: {error}");
            }
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        state.waiting -= 1;
        if state.waiting == 0 {
            state.set();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_captures_gives_way_unless_somebody_waits() {
        let haste = Haste::default();
        std::thread::scope(|scope| {
            let body = || {
                haste.enrol();
                let nice = || rustix::process::getpriority_process(Some(rustix::thread::gettid()));
                assert_eq!(nice(), Ok(GIVES_WAY));
                if !rustix::process::geteuid().is_root() {
                    return;
                }
                let first = haste.wait();
                let second = haste.wait();
                drop(first);
                assert_eq!(nice(), Ok(HURRIES));
                drop(second);
                assert_eq!(nice(), Ok(GIVES_WAY));
            };
            scope.spawn(body).join().expect("no panic");
        });
    }
}
