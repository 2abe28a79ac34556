//! Subshells (JEP 91): further shells, each with a thread of its own, that a front end creates and
//! addresses by the `subshell_id` of a request's header.
//!
//! A subshell handles its requests one after the other, and never waits for a cell of another shell,
//! with one exception: a cell with Rust code waits for the evaluator, of which there is one; an
//! interrupt ends that wait. Commands (`%dds`, `!`) run beside the cells of other shells: their
//! engines are safe for several users, as they are for several kernels.

use super::execute::Executor;
use super::mailbox::Mailbox;
use super::{comms, language};
use dds_core::mime::printable;
use dds_core::{Error, Kind, Result};
use dds_wire::Message;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most subshells at a time. JupyterLab makes one for each kind of widget.
pub const MAX_SUBSHELLS: usize = 64;

/// What handles the requests of every shell.
#[derive(Clone)]
pub(super) struct Desks {
    pub(super) cells: Executor,
    pub(super) language: language::Desk,
    pub(super) comms: comms::Desk,
}

/// Which desk a request of a shell is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Cell,
    Language,
    Comm,
}

impl Work {
    /// None for what no shell handles.
    pub(super) fn of(msg_type: &str) -> Option<Self> {
        match msg_type {
            "execute_request" => Some(Work::Cell),
            "complete_request" | "inspect_request" | "is_complete_request" | "history_request" => {
                Some(Work::Language)
            }
            "comm_open" | "comm_msg" | "comm_close" | "comm_info_request" => Some(Work::Comm),
            _ => None,
        }
    }
}

impl Desks {
    fn handle(&self, request: &Message, queue: &Mailbox) {
        match Work::of(request.msg_type()) {
            Some(Work::Cell) => self.cells.handle(request, queue),
            Some(Work::Language) => self.language.handle(request),
            Some(Work::Comm) => self.comms.handle(request),
            None => {}
        }
    }

    /// Handles all requests of one mailbox, until it is closed and empty.
    pub(super) fn serve(&self, queue: &Mailbox) {
        while let Some(request) = queue.take() {
            self.handle(&request, queue);
        }
    }
}

/// The subshells that exist.
pub(super) struct Subshells {
    desks: Desks,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    queues: BTreeMap<String, Arc<Mailbox>>,
    closed: bool,
}

impl Subshells {
    pub(super) fn new(desks: Desks) -> Self {
        Self { desks, table: Mutex::default() }
    }

    /// Starts a subshell and gives its id.
    pub(super) fn create(&self) -> Result<String> {
        let mut table = self.lock();
        if table.closed {
            return Err(Error::interrupted().context("the kernel ends"));
        }
        if table.queues.len() >= MAX_SUBSHELLS {
            return Err(Error::new(Kind::Limit, format!("there are {MAX_SUBSHELLS} subshells already"))
                .hint("delete one that is not used any more"));
        }
        let id = uuid::Uuid::new_v4().to_string();
        let queue = Arc::new(Mailbox::default());
        let (desks, theirs) = (self.desks.clone(), queue.clone());
        std::thread::Builder::new()
            .name("subshell".to_owned())
            .spawn(move || desks.serve(&theirs))
            .map_err(|e| Error::new(Kind::Unavailable, format!("no thread for a subshell: {e}")))?;
        table.queues.insert(id.clone(), queue);
        Ok(id)
    }

    /// Ends a subshell: cells that wait in it are aborted, what runs in it runs to its end.
    pub(super) fn delete(&self, id: &str) -> Result<()> {
        let queue = self.lock().queues.remove(id).ok_or_else(|| unknown(id))?;
        self.close_queue(&queue);
        Ok(())
    }

    pub(super) fn list(&self) -> Vec<String> {
        self.lock().queues.keys().cloned().collect()
    }

    pub(super) fn queue(&self, id: &str) -> Result<Arc<Mailbox>> {
        self.lock().queues.get(id).cloned().ok_or_else(|| unknown(id))
    }

    /// The kernel ends: no further requests, no further subshells.
    pub(super) fn close(&self) {
        let queues = {
            let mut table = self.lock();
            table.closed = true;
            std::mem::take(&mut table.queues)
        };
        for queue in queues.values() {
            self.close_queue(queue);
        }
    }

    fn close_queue(&self, queue: &Mailbox) {
        queue.close();
        for cell in queue.drain(|m| m.msg_type() == "execute_request") {
            self.desks.cells.abort(&cell);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unknown(id: &str) -> Error {
    let shown: String = id.chars().take(64).collect();
    Error::not_found(format!("there is no subshell `{}`", printable(&shown)))
}
