//! Comms: named channels between cells and the page, in Jupyter's sense. Widgets are made of them.
//!
//! **Where callbacks run.** While no cell runs: on the main thread of the process, between cells.
//! While a cell runs: on a thread of this crate's. Never two at once, in the order in which the
//! messages came. A panic in a callback is shown and ends that call only. What a callback prints
//! or shows belongs to the message it answers; while a cell runs, what it prints cannot be told
//! from what the cell prints, and goes there.
//!
//! **Checkpoints.** When a cell is interrupted or crashes, the variables go back to what they were
//! before it, and so do the comms: those opened since then are closed in the page as well, those
//! closed since then stay closed. Before the first callback after a cell a checkpoint is taken
//! too, so that a callback that crashes costs what callbacks have changed since the last cell.
//!
//! A comm lives until it is closed, whether or not anybody holds a [`Comm`].

use crate::events;
use crate::json::Json;
use crate::runtime::{self, Runtime};
use crate::wire::{CommFrame, CommFrameKind, What};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

/// A message of a comm.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    pub data: Json,
    pub metadata: Json,
    /// Binary attachments, in order.
    pub buffers: Vec<Vec<u8>>,
}

impl Message {
    pub fn new(data: Json) -> Self {
        Self { data, ..Self::default() }
    }

    pub fn metadata(mut self, metadata: Json) -> Self {
        self.metadata = metadata;
        self
    }

    pub fn buffers(mut self, buffers: Vec<Vec<u8>>) -> Self {
        self.buffers = buffers;
        self
    }
}

impl From<Json> for Message {
    fn from(data: Json) -> Self {
        Self::new(data)
    }
}

/// One comm. Copies of it are the same comm.
#[derive(Clone)]
pub struct Comm {
    id: Arc<str>,
    runtime: Weak<Runtime>,
}

type OnMessage = Box<dyn FnMut(&Message) + Send>;
type OnOpen = Box<dyn FnMut(Comm, &Message) + Send>;

/// What is open and who listens.
#[derive(Default)]
pub(crate) struct Registry {
    open: HashMap<Arc<str>, Listeners>,
    targets: HashMap<String, Option<OnOpen>>,
}

#[derive(Default)]
struct Listeners {
    message: Option<OnMessage>,
    close: Option<OnMessage>,
}

impl Registry {
    /// Nothing can come from the page.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.targets.is_empty()
    }

    pub fn names(&self) -> (Vec<String>, Vec<String>) {
        (self.open.keys().map(|id| id.to_string()).collect(), self.targets.keys().cloned().collect())
    }
}

impl Comm {
    /// Opens a comm for the page's target of that name.
    ///
    /// # Errors
    /// When there is no front end, or the message is too large.
    pub fn open(target: &str, message: impl Into<Message>) -> io::Result<Comm> {
        Self::open_as(&new_id()?, target, message)
    }

    /// As [`Comm::open`], with an id that the caller has chosen; it must be unique.
    ///
    /// # Errors
    /// As [`Comm::open`], and when a comm of that id is open.
    pub fn open_as(id: &str, target: &str, message: impl Into<Message>) -> io::Result<Comm> {
        let runtime = runtime::here();
        let comm = Comm { id: id.into(), runtime: Arc::downgrade(&runtime) };
        if runtime.comms().open.contains_key(id) {
            let text = format!("a comm with the id {id} is open");
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        // Known before the page can answer.
        runtime.comms().open.insert(Arc::clone(&comm.id), Listeners::default());
        let sent = comm.send_as(&runtime, CommFrameKind::Open(target.to_owned()), message.into());
        if sent.is_err() {
            runtime.comms().open.remove(&comm.id);
        }
        events::expect();
        sent.map(|()| comm)
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether neither side has closed it.
    pub fn is_open(&self) -> bool {
        self.runtime.upgrade().is_some_and(|runtime| runtime.comms().open.contains_key(&self.id))
    }

    /// # Errors
    /// `NotConnected` when the comm is closed; `InvalidInput` when the message is too large.
    pub fn send(&self, message: impl Into<Message>) -> io::Result<()> {
        let runtime = self.open_runtime()?;
        self.send_as(&runtime, CommFrameKind::Message, message.into())
    }

    /// Closes both ends. Closing twice does nothing.
    pub fn close(&self) {
        let Some(runtime) = self.runtime.upgrade() else { return };
        let listeners = runtime.comms().open.remove(&self.id);
        // The closures are dropped without a lock: they may hold what locks again.
        if listeners.is_some() {
            let _ = self.send_as(&runtime, CommFrameKind::Close, Message::default());
        }
    }

    /// Sets what is called with every message of the page, in place of what was set before.
    pub fn on_message(&self, call: impl FnMut(&Message) + Send + 'static) {
        self.listen(|listeners| listeners.message.replace(Box::new(call)));
    }

    /// Sets what is called when the page closes the comm.
    pub fn on_close(&self, call: impl FnMut(&Message) + Send + 'static) {
        self.listen(|listeners| listeners.close.replace(Box::new(call)));
    }

    fn listen(&self, set: impl FnOnce(&mut Listeners) -> Option<OnMessage>) {
        if let Some(runtime) = self.runtime.upgrade() {
            let before = runtime.comms().open.get_mut(&self.id).and_then(set);
            drop(before);
        }
    }

    fn open_runtime(&self) -> io::Result<Arc<Runtime>> {
        let runtime = self.runtime.upgrade().filter(|runtime| runtime.comms().open.contains_key(&self.id));
        runtime.ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "the comm is closed"))
    }

    fn send_as(&self, runtime: &Runtime, kind: CommFrameKind, message: Message) -> io::Result<()> {
        let object = |json: Json| if json.is_null() { "{}".to_owned() } else { json.to_string() };
        let (data, metadata) = (object(message.data), object(message.metadata));
        let frame = CommFrame { id: self.id.to_string(), kind, data, metadata, buffers: message.buffers };
        runtime.send(What::Comm(frame))
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Comm({})", self.id)
    }
}

/// Lets the page open comms for `target`; `call` gets each of them with its first message.
///
/// # Errors
/// When the kernel cannot be told.
pub fn register_target(target: &str, call: impl FnMut(Comm, &Message) + Send + 'static) -> io::Result<()> {
    let runtime = runtime::here();
    let before = runtime.comms().targets.insert(target.to_owned(), Some(Box::new(call)));
    drop(before);
    runtime.send(What::Target(target.to_owned(), true))?;
    events::expect();
    Ok(())
}

/// The page can open no more comms for `target`; those that are open stay.
pub fn unregister_target(target: &str) {
    let runtime = runtime::here();
    let before = runtime.comms().targets.remove(target);
    if before.is_some() {
        let _ = runtime.send(What::Target(target.to_owned(), false));
    }
}

impl Runtime {
    /// Calls who listens.
    pub(crate) fn handle(self: &Arc<Self>, frame: CommFrame) {
        let message = Message {
            data: Json::parse(&frame.data).unwrap_or_default(),
            metadata: Json::parse(&frame.metadata).unwrap_or_default(),
            buffers: frame.buffers,
        };
        let comm = Comm { id: frame.id.as_str().into(), runtime: Arc::downgrade(self) };
        match frame.kind {
            CommFrameKind::Open(target) => self.opened(comm, &target, &message),
            CommFrameKind::Message => self.listener(&comm.id, &message, |listeners| &mut listeners.message),
            CommFrameKind::Close => {
                self.listener(&comm.id, &message, |listeners| &mut listeners.close);
                let gone = self.comms().open.remove(&comm.id);
                drop(gone);
            }
        }
    }

    fn opened(self: &Arc<Self>, comm: Comm, target: &str, message: &Message) {
        let Some(mut call) = self.comms().targets.get_mut(target).and_then(Option::take) else {
            let _ = comm.send_as(self, CommFrameKind::Close, Message::default());
            return;
        };
        self.comms().open.entry(Arc::clone(&comm.id)).or_default();
        survive(|| call(comm, message));
        let mut comms = self.comms();
        // Unless the call has put another in its place, or taken the place away.
        if let Some(place) = comms.targets.get_mut(target).filter(|place| place.is_none()) {
            *place = Some(call);
        }
    }

    fn listener(
        self: &Arc<Self>,
        id: &Arc<str>,
        message: &Message,
        which: fn(&mut Listeners) -> &mut Option<OnMessage>,
    ) {
        let taken = self.comms().open.get_mut(id).and_then(|listeners| which(listeners).take());
        let Some(mut call) = taken else { return };
        survive(|| call(message));
        let mut comms = self.comms();
        if let Some(place) = comms.open.get_mut(id).map(which).filter(|place| place.is_none()) {
            *place = Some(call);
        }
    }
}

/// A panic has been shown by the hook, and ends this call only.
fn survive(call: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(call));
}

/// 128 random bits: unique in the page, also across sessions and copies of this process.
fn new_id() -> io::Result<String> {
    let mut bytes = [0_u8; 16];
    io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests;
