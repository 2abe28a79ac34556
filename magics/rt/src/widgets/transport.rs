//! The seam between the widgets and what carries their messages, and the real carrier: comms.

use super::store::Store;
use super::value::Bytes;
use crate::comm::{Comm, Message, register_target};
use crate::json::Json;
use crate::runtime;
use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard, Once, PoisonError, Weak};

/// Version of the Jupyter widget messaging protocol.
pub(super) const PROTOCOL: &str = "2.1.0";
/// The target of the comms of widgets.
pub(super) const TARGET: &str = "jupyter.widget";
/// The target of the comm by which a page that is loaded again asks for all states.
pub(super) const CONTROL_TARGET: &str = "jupyter.widget.control";
/// First number of the version of the control comm's protocol.
const CONTROL_MAJOR: &str = "1";

/// Carries messages to the front end, in order. Called with the widgets' lock held: it must not call
/// back into them, and neither print nor flush.
pub(super) trait Transport: Send + Sync {
    /// Opens a comm of [`TARGET`], in version [`PROTOCOL`].
    fn open(&self, comm_id: &str, data: Json, buffers: &[Bytes]) -> io::Result<()>;
    fn send(&self, comm_id: &str, data: Json, buffers: &[Bytes]) -> io::Result<()>;
    /// Listens again, in a process where whoever listened may be gone.
    fn listen(&self, comm_id: &str);
    /// The comm is not used any more; with `tell` the front end hears of it.
    fn close(&self, comm_id: &str, tell: bool);
}

/// The comms of this process.
pub(super) struct Comms {
    store: Weak<Store>,
    /// Locked for moments, and only by who holds the widgets' lock.
    open: Mutex<HashMap<String, Comm>>,
    control: Once,
}

impl Comms {
    pub(super) fn new(store: Weak<Store>) -> Comms {
        Comms { store, open: Mutex::default(), control: Once::new() }
    }

    fn comms(&self) -> MutexGuard<'_, HashMap<String, Comm>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page can ask for widgets only when there have been some.
    fn register_control(&self) -> io::Result<()> {
        let store = self.store.clone();
        let opened = move |comm: Comm, message: &Message| {
            let version = message.metadata.get("version").and_then(Json::as_str).unwrap_or_default();
            if version.split('.').next() != Some(CONTROL_MAJOR) {
                eprintln!("dds::widgets: the page's control protocol has version {version:?}, not 1");
                comm.close();
                return;
            }
            let (store, answers) = (store.clone(), comm.clone());
            comm.on_message(move |message| {
                let Some(store) = store.upgrade() else { return };
                let answer = store.on_control(&message.data);
                let Some((data, buffers)) = answer else { return };
                if let Err(error) = answers.send(attach(data, &buffers)) {
                    eprintln!("dds::widgets: a page that was loaded again does not get its widgets: {error}");
                }
            });
        };
        register_target(CONTROL_TARGET, opened)
    }
}

impl Transport for Comms {
    fn open(&self, comm_id: &str, data: Json, buffers: &[Bytes]) -> io::Result<()> {
        let metadata = Json::object([("version", PROTOCOL)]);
        let message = attach(data, buffers).metadata(metadata);
        let comm = runtime::without_flush(|| {
            let comm = Comm::open_as(comm_id, TARGET, message)?;
            let mut registered = Ok(());
            self.control.call_once(|| registered = self.register_control());
            registered.map(|()| comm)
        })?;
        self.comms().insert(comm_id.to_owned(), comm);
        self.listen(comm_id);
        Ok(())
    }

    fn listen(&self, comm_id: &str) {
        let Some(comm) = self.comms().get(comm_id).cloned() else { return };
        let (store, id) = (self.store.clone(), comm_id.to_owned());
        comm.on_message(move |message| {
            if let Some(store) = store.upgrade() {
                store.on_message(&id, &message.data, &message.buffers);
            }
        });
        let (store, id) = (self.store.clone(), comm_id.to_owned());
        comm.on_close(move |_| {
            if let Some(store) = store.upgrade() {
                store.on_close(&id);
            }
        });
    }

    fn send(&self, comm_id: &str, data: Json, buffers: &[Bytes]) -> io::Result<()> {
        let comm = self.comms().get(comm_id).cloned();
        comm.map_or(Ok(()), |comm| runtime::without_flush(|| comm.send(attach(data, buffers))))
    }

    fn close(&self, comm_id: &str, tell: bool) {
        let comm = self.comms().remove(comm_id);
        if let Some(comm) = comm.filter(|_| tell) {
            runtime::without_flush(|| comm.close());
        }
    }
}

fn attach(data: Json, buffers: &[Bytes]) -> Message {
    Message::new(data).buffers(buffers.iter().map(|bytes| bytes.to_vec()).collect())
}
