//! Functions of the user that run when a widget changes or is clicked.
//!
//! Invariant: no lock is held while one runs, so that it may read and set any widget. A function
//! does not run inside itself: what its own doing brings about on the same thread is not told to it
//! again (so that setting the value in its own callback, or a link in both directions, ends). What
//! happens meanwhile on another thread is told afterwards.

use super::value::Value;
use crate::json::Json;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

/// Most events that wait for a callback that is running. Changes do not add up: only the last waits.
pub(super) const MAX_WAITING: usize = 256;

#[derive(Clone)]
pub(super) enum Event {
    Change(Value),
    /// A message of the front end that is not about state, such as a click.
    Custom(Json),
}

/// What a callback waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum On {
    Change(&'static str),
    Custom,
}

type Function = Box<dyn FnMut(&Event) + Send>;

pub(super) struct Callback {
    pub(super) on: On,
    slot: Mutex<Slot>,
}

struct Slot {
    /// None while it runs.
    function: Option<Function>,
    runner: Option<ThreadId>,
    waiting: VecDeque<Event>,
}

impl Callback {
    pub(super) fn new(on: On, function: impl FnMut(&Event) + Send + 'static) -> Callback {
        let slot = Slot { function: Some(Box::new(function)), runner: None, waiting: VecDeque::new() };
        Callback { on, slot: Mutex::new(slot) }
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is running, as far as anybody can tell without waiting.
    pub(super) fn is_running(&self) -> bool {
        self.slot.try_lock().map_or(true, |slot| slot.function.is_none())
    }

    /// Runs the function; when it runs already, lets the event wait for it or drops it (see above).
    pub(super) fn call(&self, event: Event) {
        let mut slot = self.slot();
        let Some(mut function) = slot.function.take() else {
            if slot.runner != Some(thread::current().id()) {
                wait(&mut slot.waiting, event);
            }
            return;
        };
        slot.runner = Some(thread::current().id());
        drop(slot);

        let mut next = Some(event);
        while let Some(event) = next {
            // The panic itself has been reported by the hook; the widget lives on.
            if catch_unwind(AssertUnwindSafe(|| function(&event))).is_err() {
                eprintln!("dds::widgets: a callback panicked; the widget goes on without what it was to do");
            }
            let mut slot = self.slot();
            next = slot.waiting.pop_front();
            if next.is_none() {
                slot.function = Some(function);
                slot.runner = None;
                return;
            }
        }
    }
}

fn wait(waiting: &mut VecDeque<Event>, event: Event) {
    if matches!(event, Event::Change(_)) {
        waiting.retain(|earlier| !matches!(earlier, Event::Change(_)));
    }
    if waiting.len() >= MAX_WAITING {
        eprintln!("dds::widgets: a callback is too slow: {MAX_WAITING} events wait for it, one is lost");
        return;
    }
    waiting.push_back(event);
}
