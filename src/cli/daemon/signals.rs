//! SIGTERM, SIGINT and SIGHUP: the first unmounts cleanly, the second does not wait any more. SIGTERM and
//! SIGPWR (the power goes): what is only here is sent elsewhere first.

use crate::control::service::Service;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use std::io;
use std::sync::Arc;
use std::thread;

/// Signals that are listened for until it is dropped.
pub struct Listening(Handle);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// From now on signals unmount.
///
/// # Errors
/// When the kernel refuses a handler or a thread.
pub fn listen(service: Arc<Service>) -> io::Result<Listening> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, libc::SIGPWR])?;
    let handle = signals.handle();
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            let mut leaving = false;
            for signal in signals.forever() {
                match signal {
                    libc::SIGPWR => {
                        service.replication.in_danger("the power is about to go");
                        continue;
                    }
                    // Whatever ends it may be the end of the machine.
                    SIGTERM if !leaving => service.replication.in_danger("SIGTERM"),
                    _ => {}
                }
                log::info!("signal {signal}: unmounting");
                if leaving {
                    service.abandon();
                } else {
                    leave(&service);
                    leaving = true;
                }
            }
        })?;
    Ok(Listening(handle))
}

/// On a thread of its own, so that a second signal is heard meanwhile.
fn leave(service: &Arc<Service>) {
    let leaver = Arc::clone(service);
    let spawned = thread::Builder::new()
        .name("leave".into())
        .spawn(move || leaver.leave());
    if spawned.is_err() {
        service.abandon();
    }
}
