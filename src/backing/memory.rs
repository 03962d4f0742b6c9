//! What the C library does with memory that was freed. Its defaults suit a program that is alone on
//! the machine: an arena for each thread, and what is free in the midst of one is kept.

/// Arenas of all threads together: as many as threads run at once, up to this many. Each keeps its
/// own free memory.
#[cfg(target_env = "gnu")]
const ARENAS_MAX: usize = 8;
/// Pieces from this size on, bytes, are given back when they are freed, not kept in an arena: the
/// database writes into blocks of 1 MiB. Left to itself the library raises this bound by and by.
#[cfg(target_env = "gnu")]
const GIVEN_BACK: i32 = 512 << 10;

/// So much that is free at the end of an arena is kept, bytes: with the library's 128 KiB each large
/// file that is captured would take and give back pages of memory by a system call.
#[cfg(target_env = "gnu")]
const KEPT: i32 = 4 << 20;

/// To be called before there are threads.
pub fn bound_memory() {
    #[cfg(target_env = "gnu")]
    {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let arenas = cores.clamp(2, ARENAS_MAX) as i32;
        // Safe because mallopt takes two numbers and may be called at any time.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, arenas);
            libc::mallopt(libc::M_MMAP_THRESHOLD, GIVEN_BACK);
            libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
        }
    }
}

/// After work that needed much memory: gives back what is free.
pub fn give_memory_back() {
    // Safe because malloc_trim takes a number and may be called at any time.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}
