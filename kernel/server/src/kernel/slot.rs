//! The place of the host while it is being built.

use super::front::guarded;
use super::host::Host;
use dds_core::{Error, Result};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const STARTING: &str = "the session is still starting";

/// A cell that has begun: from then on an interrupt is meant for it, though it may not be running yet.
#[derive(Clone, Copy)]
pub(super) struct Turn(u64);

#[derive(Default)]
pub(super) struct Slot {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    host: Option<Result<Arc<dyn Host>>>,
    /// How many cells have begun.
    begun: u64,
    /// Cells up to this one were interrupted.
    interrupted: u64,
    /// The kernel ends.
    stopped: bool,
    /// … and no longer waits for the host to appear.
    abandoned: bool,
}

impl Slot {
    /// Builds the host, on this thread. A host that appears after [`Slot::stop`] gave up on it is
    /// shut down here.
    pub(super) fn fill(&self, make: impl FnOnce() -> Result<Arc<dyn Host>>) {
        let made = guarded(make).unwrap_or_else(Err);
        if let Err(e) = &made {
            tracing::error!("the session could not start: {e}");
        }
        let late = {
            let mut state = self.lock();
            let late = state.abandoned.then(|| made.as_ref().ok().cloned()).flatten();
            state.host = Some(made);
            self.changed.notify_all();
            late
        };
        if let Some(host) = late {
            let _ = guarded(|| host.shutdown());
        }
    }

    /// Waits for the host; an error when it could not be built or the kernel ends.
    pub(super) fn wait(&self) -> Result<Arc<dyn Host>> {
        let mut state = self.lock();
        loop {
            if let Some(made) = &state.host {
                return made.clone();
            }
            if state.stopped {
                return Err(Error::interrupted().context("the kernel ends"));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A cell begins. Said before anybody is told of it, so that no interrupt is lost.
    pub(super) fn begin_cell(&self) -> Turn {
        let mut state = self.lock();
        state.begun += 1;
        Turn(state.begun)
    }

    /// [`Slot::wait`] for a cell: an error when it was interrupted since it began.
    pub(super) fn wait_for_cell(&self, Turn(turn): Turn) -> Result<Arc<dyn Host>> {
        let mut state = self.lock();
        loop {
            if state.interrupted >= turn {
                let error = Error::interrupted();
                return Err(if state.host.is_none() { error.context(STARTING) } else { error });
            }
            if let Some(made) = &state.host {
                return made.clone();
            }
            if state.stopped {
                return Err(Error::interrupted().context(STARTING));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Interrupts the cells that have begun, also those that wait for the host.
    pub(super) fn interrupt(&self) {
        let host = {
            let mut state = self.lock();
            state.interrupted = state.begun;
            self.changed.notify_all();
            state.host.as_ref().and_then(|made| made.as_ref().ok().cloned())
        };
        if let Some(host) = host
            && let Err(e) = guarded(|| host.interrupt())
        {
            tracing::error!("interrupt: {e}");
        }
    }

    /// Ends all waiting, gives a building host up to `grace` to appear, and shuts it down.
    pub(super) fn stop(&self, grace: Duration) {
        let deadline = Instant::now() + grace;
        let mut state = self.lock();
        state.stopped = true;
        self.changed.notify_all();
        let host = loop {
            if let Some(made) = &state.host {
                break made.as_ref().ok().cloned();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.abandoned = true;
                break None;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        };
        drop(state);
        if let Some(host) = host
            && let Err(e) = guarded(|| host.shutdown())
        {
            tracing::error!("shutdown: {e}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupt_is_for_cells_that_have_begun() {
        let slot = Slot::default();
        slot.fill(|| Err(Error::internal("no host")));
        let interrupted = |turn| {
            let error = slot.wait_for_cell(turn).err().expect("neither host nor cell");
            error.kind == dds_core::Kind::Interrupted
        };
        slot.interrupt();
        let (first, second) = (slot.begin_cell(), slot.begin_cell());
        assert!(!interrupted(first));
        slot.interrupt();
        assert!(interrupted(first) && interrupted(second));
        assert!(!interrupted(slot.begin_cell()));
    }
}
