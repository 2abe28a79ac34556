//! Memory that the analysis has used for a moment goes back to the system: it needs twice as much
//! while it reads the standard library as it holds afterwards.

use std::sync::atomic::{AtomicBool, Ordering};

/// Free memory within the process that is worth giving back.
#[cfg(target_env = "gnu")]
const WORTH: usize = 48 << 20;

/// Has all threads share few stretches of memory; each leaves gaps of its own.
pub(crate) fn share() {
    #[cfg(target_env = "gnu")]
    // SAFETY: changes a number that the allocator reads when a thread starts.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}

/// Gives back what is free, if it is much, without waiting for it.
pub(crate) fn give_back() {
    static RUNNING: AtomicBool = AtomicBool::new(false);
    if !much_is_free() || RUNNING.swap(true, Ordering::SeqCst) {
        return;
    }
    let trimmed = std::thread::Builder::new().name("memory".into()).spawn(|| {
        #[cfg(target_env = "gnu")]
        // SAFETY: takes the allocator's own locks.
        unsafe {
            libc::malloc_trim(0);
        }
        RUNNING.store(false, Ordering::SeqCst);
    });
    if trimmed.is_err() {
        RUNNING.store(false, Ordering::SeqCst);
    }
}

fn much_is_free() -> bool {
    #[cfg(target_env = "gnu")]
    // SAFETY: reads the allocator's counters under its locks.
    let much = unsafe { libc::mallinfo2() }.fordblks >= WORTH;
    #[cfg(not(target_env = "gnu"))]
    let much = false;
    much
}
