//! The system calls of a process's threads, counted by ptrace: what something costs, whatever else
//! the machine does meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The first byte of what PTRACE_GET_SYSCALL_INFO tells: the call begins.
const ENTRY: u8 = 1;
/// Where the number of the call stands in it.
const NUMBER_AT: usize = 24;
/// Bytes of it at the most.
const INFO_BYTES: usize = 88;
/// Between two looks at threads that do nothing.
const LOOK: Duration = Duration::from_micros(50);

/// How often each call was made, by its number.
pub type Calls = BTreeMap<i64, u64>;

/// The calls of the threads of `pid` whose names begin with `threads`, while `work` is done.
pub fn counted(pid: i32, threads: &str, work: impl FnOnce()) -> Calls {
    let (ready, over) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        // Who traces is a thread; when it ends, nobody is traced any more.
        let tracer = scope.spawn(|| trace(pid, threads, &ready, &over));
        while !ready.load(Ordering::Acquire) && !tracer.is_finished() {
            std::thread::sleep(LOOK);
        }
        work();
        over.store(true, Ordering::Release);
        tracer.join().expect("the tracer has not panicked")
    })
}

fn trace(pid: i32, threads: &str, ready: &AtomicBool, over: &AtomicBool) -> Calls {
    let traced = seize(pid, threads);
    assert!(!traced.is_empty(), "{pid} has no thread {threads}");
    let mut calls = Calls::new();
    let mut begun = 0;
    while !over.load(Ordering::Acquire) {
        let mut status = 0;
        let how = libc::__WALL | libc::__WNOTHREAD | libc::WNOHANG;
        let tid = unsafe { libc::waitpid(-1, &mut status, how) };
        if tid <= 0 {
            std::thread::sleep(LOOK);
            continue;
        }
        if !libc::WIFSTOPPED(status) {
            continue;
        }
        let mut signal = libc::WSTOPSIG(status);
        if signal == libc::SIGTRAP | 0x80 {
            if let Some(number) = entered(tid) {
                *calls.entry(number).or_default() += 1;
            }
            signal = 0;
        } else if status >> 16 == libc::PTRACE_EVENT_STOP {
            begun += 1;
            signal = 0;
        }
        let signal = libc::c_long::from(signal);
        unsafe { libc::ptrace(libc::PTRACE_SYSCALL, tid, 0, signal) };
        if begun == traced.len() {
            ready.store(true, Ordering::Release);
        }
    }
    calls
}

fn seize(pid: i32, threads: &str) -> Vec<i32> {
    let mut traced = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).expect("it runs") {
        let task = task.expect("it runs").path();
        let name = fs::read_to_string(task.join("comm")).unwrap_or_default();
        let tid = task.file_name().and_then(|tid| tid.to_str()?.parse().ok());
        let Some(tid) = tid.filter(|_: &i32| name.starts_with(threads)) else {
            continue;
        };
        let options = libc::c_long::from(libc::PTRACE_O_TRACESYSGOOD);
        let done = unsafe {
            libc::ptrace(libc::PTRACE_SEIZE, tid, 0, options) == 0
                && libc::ptrace(libc::PTRACE_INTERRUPT, tid, 0, 0) == 0
        };
        assert!(done, "trace {name}: {}", io::Error::last_os_error());
        traced.push(tid);
    }
    traced
}

/// The call that a stopped thread is about to make; `None` if it comes back from one.
fn entered(tid: i32) -> Option<i64> {
    let mut info = [0_u8; INFO_BYTES];
    let filled = unsafe {
        let request = libc::PTRACE_GET_SYSCALL_INFO;
        libc::ptrace(request, tid, INFO_BYTES, info.as_mut_ptr())
    };
    assert!(filled > 0, "{}", io::Error::last_os_error());
    let number = info.get(NUMBER_AT..NUMBER_AT + 8)?.try_into().ok()?;
    (info[0] == ENTRY).then(|| i64::from_ne_bytes(number))
}
