//! The place of the host while it is being built.

use super::front::guarded;
use super::host::Host;
use dds_core::{Error, Result};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[derive(Default)]
pub(super) struct Slot {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    host: Option<Result<Arc<dyn Host>>>,
    /// A cell waits for the host.
    waiting: bool,
    /// That cell was interrupted.
    interrupted: bool,
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

    /// [`Slot::wait`] for a cell: [`Slot::interrupt`] ends the wait.
    pub(super) fn wait_for_cell(&self) -> Result<Arc<dyn Host>> {
        let mut state = self.lock();
        state.waiting = true;
        state.interrupted = false;
        let result = loop {
            if let Some(made) = &state.host {
                break made.clone();
            }
            if state.interrupted || state.stopped {
                break Err(Error::interrupted().context("the session is still starting"));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        state.waiting = false;
        result
    }

    /// Interrupts the running cell, or the one that waits for the host.
    pub(super) fn interrupt(&self) {
        let host = {
            let mut state = self.lock();
            if state.waiting {
                state.interrupted = true;
                self.changed.notify_all();
            }
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
