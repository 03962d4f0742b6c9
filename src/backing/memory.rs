//! What the C library does with memory that was freed. Its defaults suit a program that is alone on
//! the machine: an arena for each thread, and what is free in the midst of one is kept.

/// Arenas of all threads together. More make allocation no faster here, and each keeps its own
/// free memory.
#[cfg(target_env = "gnu")]
const ARENAS: i32 = 2;

/// To be called before there are threads.
pub fn bound_memory() {
    // Safe because mallopt takes two numbers and may be called at any time.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
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
