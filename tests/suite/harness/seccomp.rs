//! A process as it is on an older kernel: system calls that came later answer ENOSYS. Linux has
//! given the same ascending numbers to all architectures since pidfd_send_signal (424), so one
//! comparison does.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// offsetof(struct seccomp_data, nr)
const NUMBER_AT: u32 = 0;

/// Installs the filter in the child, before it runs the program.
pub fn on_older_kernel(command: &mut Command, first_missing: u32) {
    let statement = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter {
        code: u16::try_from(code).expect("a code of BPF"),
        jt,
        jf,
        k,
    };
    let answer = libc::SECCOMP_RET_ERRNO | u32::try_from(libc::ENOSYS).expect("an errno");
    let filter = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, NUMBER_AT, 0, 0),
        statement(
            libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K,
            first_missing,
            0,
            1,
        ),
        statement(libc::BPF_RET | libc::BPF_K, answer, 0, 0),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let install = move || {
        let mut filter = filter;
        let program = libc::sock_fprog {
            len: 4,
            filter: filter.as_mut_ptr(),
        };
        // SAFETY: the kernel copies the program, which outlives the call. (Root needs no
        // NO_NEW_PRIVS for this.)
        let result = unsafe {
            libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const program,
            )
        };
        if result != 0 {
            return Err(std::io::Error::last_os_error());
        }
        Ok(())
    };
    // SAFETY: prctl is async-signal-safe, and nothing is allocated between fork and exec.
    unsafe { command.pre_exec(install) };
}
