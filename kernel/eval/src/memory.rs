//! Memory that was used for a moment goes back to the system: the analysis needs twice as much while it
//! reads the standard library as it holds afterwards, a mount twice as much while it reads a listing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Counting what is free takes longer than many a cell.
const PAUSE: Duration = Duration::from_secs(10);

/// Free memory within the process that is worth giving back.
#[cfg(target_env = "gnu")]
const WORTH: usize = 48 << 20;

/// Has all threads share few stretches of memory; each leaves gaps of its own.
pub fn share() {
    #[cfg(target_env = "gnu")]
    // SAFETY: changes a number that the allocator reads when a thread starts.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}

/// Gives back what is free, if it is much, without waiting for it: at once, or as soon as the last
/// time is long enough ago.
pub fn give_back() {
    static RUNNING: AtomicBool = AtomicBool::new(false);
    static LAST: Mutex<Option<Instant>> = Mutex::new(None);
    if RUNNING.swap(true, Ordering::SeqCst) {
        return;
    }
    let trimmed = std::thread::Builder::new().name("memory".into()).spawn(|| {
        let last = *LAST.lock().unwrap_or_else(PoisonError::into_inner);
        std::thread::sleep(last.map_or(Duration::ZERO, |last| PAUSE.saturating_sub(last.elapsed())));
        #[cfg(target_env = "gnu")]
        if much_is_free() {
            // SAFETY: takes the allocator's own locks.
            unsafe { libc::malloc_trim(0) };
        }
        *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
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
