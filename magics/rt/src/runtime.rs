//! The one place where everything meets: where messages go, and which comms are open.
//!
//! A process has one runtime, once the kernel has attached to it; before that, and in a program
//! of its own, the [`Terminal`] stands in. Tests put one of their own on their thread.
//!
//! Lock order: that of the widgets, then the turn of the port, then the registry of comms. All are
//! taken around a fork ([`Runtime::hold_still`]) and never held while code of the user's runs.

use crate::comm::Registry;
use crate::port::{Port, Terminal};
use crate::wire::{Up, What};
use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

pub(crate) struct Runtime {
    pub port: Box<dyn Port>,
    comms: Mutex<Registry>,
}

static ATTACHED: OnceLock<Arc<Runtime>> = OnceLock::new();
static ALONE: OnceLock<Arc<Runtime>> = OnceLock::new();

thread_local! {
    static OF_THIS_TEST: RefCell<Option<Arc<Runtime>>> = const { RefCell::new(None) };
    /// The delivery that this thread is handling; 0 for none.
    static ORIGIN: Cell<u64> = const { Cell::new(0) };
    /// Whoever sends on this thread has flushed standard output already.
    static FLUSHED: Cell<bool> = const { Cell::new(false) };
}

/// The runtime that code on this thread belongs to.
pub(crate) fn here() -> Arc<Runtime> {
    if let Some(runtime) = OF_THIS_TEST.with_borrow(Option::clone) {
        return runtime;
    }
    Arc::clone(ATTACHED.get().unwrap_or_else(|| ALONE.get_or_init(|| Runtime::new(Terminal))))
}

/// The runtime that the kernel has attached to, if it has.
pub(crate) fn attached() -> Option<&'static Arc<Runtime>> {
    ATTACHED.get()
}

pub(crate) fn attach(port: impl Port + 'static) -> bool {
    ATTACHED.set(Runtime::new(port)).is_ok()
}

pub(crate) fn set_for_this_thread(runtime: Option<Arc<Runtime>>) {
    OF_THIS_TEST.set(runtime);
}

pub(crate) fn in_callback() -> bool {
    ORIGIN.get() != 0
}

/// Says what `work` sends to be an answer to that delivery.
pub(crate) fn on_behalf_of(number: u64, work: impl FnOnce()) {
    let before = ORIGIN.replace(number);
    work();
    ORIGIN.set(before);
}

/// Does not flush when `work` sends: for who holds a lock that somebody may wait for while he has
/// standard output locked.
pub(crate) fn without_flush<R>(work: impl FnOnce() -> R) -> R {
    let before = FLUSHED.replace(true);
    let result = work();
    FLUSHED.set(before);
    result
}

impl Runtime {
    pub fn new(port: impl Port + 'static) -> Arc<Self> {
        Arc::new(Self { port: Box::new(port), comms: Mutex::default() })
    }

    /// Sends after everything that this thread has printed so far.
    pub fn send(&self, what: What) -> io::Result<()> {
        // Without the flush the text would overtake what was printed before it.
        if !FLUSHED.get() {
            let _ = io::stdout().flush();
        }
        self.port.send(&Up { origin: ORIGIN.get(), what })
    }

    pub fn comms(&self) -> MutexGuard<'_, Registry> {
        self.comms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls back while no other thread holds a lock of ours, so that a copy of the process finds
    /// them free.
    pub fn hold_still(&self, call: &mut dyn FnMut()) {
        self.port.hold_still(&mut || {
            let _comms = self.comms();
            call();
        });
    }
}
