//! Memory that several threads share: whoever needs more than is left waits.

use dds_core::{Cx, Result};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How often a waiting thread looks for an Interrupt.
const POLL: Duration = Duration::from_millis(50);

pub struct Budget {
    total: u64,
    left: Mutex<u64>,
    freed: Condvar,
}

/// A part of the budget; given back when it is dropped.
pub struct Held<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Budget {
    pub fn new(total: u64) -> Self {
        Self { total, left: Mutex::new(total), freed: Condvar::new() }
    }

    /// Waits until `bytes` are left; more than the whole is the whole. Errors: `Interrupted`.
    pub fn take(&self, bytes: u64, cx: &Cx) -> Result<Held<'_>> {
        let bytes = bytes.min(self.total);
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        while *left < bytes {
            cx.cancel.check()?;
            left = self.freed.wait_timeout(left, POLL).unwrap_or_else(PoisonError::into_inner).0;
        }
        *left -= bytes;
        Ok(Held { budget: self, bytes })
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        *self.budget.left.lock().unwrap_or_else(PoisonError::into_inner) += self.bytes;
        self.budget.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[test]
    fn never_more_than_the_whole_at_a_time() {
        let (budget, cx) = (Budget::new(100), Cx::silent("/"));
        let (now, most) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for n in 0..8 {
                let (budget, cx, now, most) = (&budget, &cx, &now, &most);
                scope.spawn(move || {
                    for bytes in [30 + n, 60, 1000] {
                        let held = budget.take(bytes, cx).unwrap();
                        let at = now.fetch_add(held.bytes, Ordering::SeqCst) + held.bytes;
                        most.fetch_max(at, Ordering::SeqCst);
                        std::thread::yield_now();
                        now.fetch_sub(held.bytes, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(most.load(Ordering::SeqCst) <= 100);
        assert_eq!(*budget.left.lock().unwrap(), 100);
        let _all = budget.take(100, &cx).unwrap();
        cx.cancel.cancel();
        assert!(budget.take(1, &cx).is_err());
    }
}
