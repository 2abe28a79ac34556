//! The evaluator of Rust cells: started on a thread of its own, lent to one user at a time.

use super::output::cell_error;
use dds_core::eval::{CellError, CommDoor, Evaluator, Interrupter, Known};
use dds_core::{Cx, Error, Kind, Result};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Makes the evaluator; runs once, on a background thread.
pub type MakeEvaluator = Box<dyn FnOnce() -> Result<Box<dyn Evaluator>> + Send>;

/// How often a wait looks at the user's interrupt.
const TICK: Duration = Duration::from_millis(20);
/// Longest that completion waits for an evaluator that is still being made.
const START_GRACE: Duration = Duration::from_millis(500);
/// Longest that a question waits for another one, or for the evaluator's own work in idle time.
const QUESTION_GRACE: Duration = Duration::from_secs(2);
/// Longest wait for an interrupted cell at the session's end.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// How long nobody has asked anything before the evaluator works on its own.
const IDLE_AFTER: Duration = Duration::from_millis(300);
/// Pause between two pieces of such work, in which a cell gets its turn.
const IDLE_PAUSE: Duration = Duration::from_millis(20);

/// The evaluator and whether it is there yet.
pub(super) struct Rust {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stage: Stage,
    interrupter: Option<Arc<dyn Interrupter>>,
    /// Taken once, so that they are there while the evaluator is lent.
    known: Option<Arc<dyn Known>>,
    comms: Option<Arc<dyn CommDoor>>,
    /// The folder that the evaluator was last told.
    cwd: Option<PathBuf>,
    /// When it was used last, while there may be work for idle time.
    used: Option<Instant>,
    stopped: bool,
}

#[derive(Default)]
enum Stage {
    #[default]
    Starting,
    Ready(Box<dyn Evaluator>),
    /// Somebody uses it …
    Lent {
        /// … for a cell, which may run for hours.
        cell: bool,
    },
    Failed(Error),
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Lets the evaluator do its work for idle time whenever nobody uses it, until the session ends.
    fn spend_idle_time(&self) {
        let mut state = self.lock();
        loop {
            let left = match (&state.stage, state.used) {
                (_, _) if state.stopped => return,
                (Stage::Failed(_), _) => return,
                (Stage::Ready(_), Some(used)) => Some(IDLE_AFTER.saturating_sub(used.elapsed())),
                _ => None,
            };
            state = match left {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => {
                    let Stage::Ready(evaluator) =
                        std::mem::replace(&mut state.stage, Stage::Lent { cell: false })
                    else {
                        return;
                    };
                    drop(state);
                    let mut lent = Lent { shared: self, evaluator: Some(evaluator) };
                    let work = std::panic::AssertUnwindSafe(|| lent.evaluator().idle());
                    let more = std::panic::catch_unwind(work).unwrap_or(false);
                    drop(lent);
                    let mut state = self.lock();
                    let begun = Instant::now().checked_sub(IDLE_AFTER - IDLE_PAUSE);
                    state.used = if more { begun } else { None };
                    state
                }
                Some(left) => {
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

impl Drop for Rust {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Rust {
    /// Begins to make the evaluator. Errors: `Unavailable` when there is no thread.
    pub(super) fn start(make: MakeEvaluator) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        let work = move || {
            let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(make))
                .unwrap_or_else(|_| Err(Error::internal("the Rust evaluator panicked while it started")));
            let mut state = theirs.lock();
            state.stage = match made {
                // Dropped here, outside of any cell, when the session ended meanwhile.
                Ok(_) if state.stopped => Stage::Failed(stopped()),
                Ok(evaluator) => {
                    state.interrupter = Some(evaluator.interrupter());
                    state.known = evaluator.known();
                    state.comms = evaluator.comms();
                    Stage::Ready(evaluator)
                }
                Err(e) => Stage::Failed(e),
            };
            theirs.changed.notify_all();
            drop(state);
            theirs.spend_idle_time();
        };
        std::thread::Builder::new()
            .name("evaluator".into())
            .spawn(work)
            .map_err(|e| Error::new(Kind::Unavailable, format!("no thread for the Rust evaluator: {e}")))?;
        Ok(Self { shared })
    }

    /// Uses the evaluator, in `cx.cwd`; waits for it, and gives up when the user interrupts.
    pub(super) fn with<T>(
        &self,
        cx: &Cx,
        work: impl FnOnce(&mut dyn Evaluator) -> Result<T, CellError>,
    ) -> Result<T, CellError> {
        let mut lent = self.lend(true, || cx.cancel.check().err()).map_err(|e| cell_error(&e))?;
        if lent.shared.lock().cwd.as_ref() != Some(&cx.cwd) {
            lent.evaluator().set_cwd(&cx.cwd)?;
            lent.shared.lock().cwd = Some(cx.cwd.clone());
        }
        work(lent.evaluator())
    }

    /// Asks the evaluator; while a cell uses it, what is known without it. Never waits for a cell, and
    /// only so long for another question. None when there is neither.
    pub(super) fn ask<T>(
        &self,
        work: impl FnOnce(&mut dyn Evaluator) -> T,
        known: impl FnOnce(&dyn Known) -> T,
    ) -> Option<T> {
        let asked = Instant::now();
        let busy = || Error::new(Kind::Unavailable, "a cell is running");
        let lent = self.lend(false, || {
            let patience = match self.shared.lock().stage {
                Stage::Lent { cell: true } => Duration::ZERO,
                Stage::Lent { cell: false } => QUESTION_GRACE,
                // It has just come back: it is taken at the next look.
                Stage::Ready(_) => Duration::MAX,
                Stage::Starting | Stage::Failed(_) => START_GRACE,
            };
            (asked.elapsed() >= patience).then(busy)
        });
        match lent {
            Ok(mut lent) => Some(work(lent.evaluator())),
            Err(_) => {
                let knows = self.shared.lock().known.clone();
                knows.map(|k| known(&*k))
            }
        }
    }

    /// The way of comm messages into the cells, once the evaluator is there.
    pub(super) fn comms(&self) -> Option<Arc<dyn CommDoor>> {
        self.shared.lock().comms.clone()
    }

    /// Takes the evaluator, for a cell or a question; while it is not there, `give_up` is asked every
    /// [`TICK`].
    fn lend(&self, cell: bool, give_up: impl Fn() -> Option<Error>) -> Result<Lent<'_>> {
        loop {
            {
                let mut state = self.shared.lock();
                if state.stopped {
                    return Err(stopped());
                }
                match std::mem::replace(&mut state.stage, Stage::Lent { cell }) {
                    Stage::Ready(evaluator) => {
                        return Ok(Lent { shared: &self.shared, evaluator: Some(evaluator) });
                    }
                    Stage::Failed(e) => {
                        state.stage = Stage::Failed(e.clone());
                        return Err(e);
                    }
                    other => state.stage = other,
                }
            }
            if let Some(e) = give_up() {
                return Err(e);
            }
            let state = self.shared.lock();
            let waits = matches!(state.stage, Stage::Starting | Stage::Lent { .. }) && !state.stopped;
            if waits {
                let waited = self.shared.changed.wait_timeout(state, TICK);
                drop(waited.unwrap_or_else(PoisonError::into_inner));
            }
        }
    }

    /// Stops the running Rust cell, if there is one.
    pub(super) fn interrupt(&self) {
        let state = self.shared.lock();
        // Only a lent evaluator runs something; an interrupt of an idle one would hit the next cell.
        let interrupter =
            matches!(state.stage, Stage::Lent { .. }).then(|| state.interrupter.clone()).flatten();
        drop(state);
        if let Some(interrupter) = interrupter {
            interrupter.interrupt();
        }
    }

    /// Ends the evaluator; waits a little for a cell that was just interrupted.
    pub(super) fn stop(&self) {
        let deadline = Instant::now() + STOP_GRACE;
        let mut state = self.shared.lock();
        state.stopped = true;
        self.shared.changed.notify_all();
        while matches!(state.stage, Stage::Lent { .. }) && Instant::now() < deadline {
            let waited = self.shared.changed.wait_timeout(state, TICK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let gone = match state.stage {
            Stage::Ready(_) => Some(std::mem::replace(&mut state.stage, Stage::Failed(stopped()))),
            _ => None,
        };
        drop(state);
        drop(gone);
    }
}

fn stopped() -> Error {
    Error::interrupted().context("the session ended")
}

/// The evaluator while somebody uses it; given back when dropped, also after a panic.
struct Lent<'a> {
    shared: &'a Shared,
    evaluator: Option<Box<dyn Evaluator>>,
}

impl Lent<'_> {
    #[expect(clippy::expect_used, reason = "only drop takes it out")]
    fn evaluator(&mut self) -> &mut dyn Evaluator {
        &mut **self.evaluator.as_mut().expect("lent until dropped")
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(evaluator) = self.evaluator.take() {
            let mut state = self.shared.lock();
            state.stage = Stage::Ready(evaluator);
            state.used = Some(Instant::now());
            drop(state);
            self.shared.changed.notify_all();
        }
    }
}
