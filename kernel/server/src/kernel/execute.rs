//! The execution queues: of the main shell and of each subshell, one cell at a time, in the order of
//! arrival.

use super::comms::Comms;
use super::front::{Front, cell_error, error_content, guarded};
use super::history::History;
use super::mailbox::Mailbox;
use super::output::{CellOutput, Clock, Role};
use super::pager;
use super::slot::{Slot, Turn};
use super::stdin::Prompts;
use dds_core::MimeBundle;
use dds_core::eval::{CellError, CellSink};
use dds_wire::jupyter_protocol::ExecuteRequest;
use dds_wire::{Channel, Message};
use serde_json::{Map, Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Most expressions that one request may ask for.
pub const MAX_USER_EXPRESSIONS: usize = 100;
/// After an error, how long requests that were sent before the front end could know of it have to
/// arrive, so that they are aborted with the rest of the queue. It delays only the error's reply.
const ABORT_GRACE: Duration = Duration::from_millis(10);

/// What cells are run with; shared by all shells.
#[derive(Clone)]
pub(super) struct Executor {
    pub(super) front: Front,
    pub(super) slot: Arc<Slot>,
    pub(super) clock: Arc<Clock>,
    pub(super) comms: Arc<Comms>,
    pub(super) prompts: Arc<Prompts>,
    pub(super) history: Arc<Mutex<History>>,
    /// The number of the last stored cell.
    pub(super) count: Arc<AtomicU64>,
}

/// A cell's end, before it is told to anyone.
struct Ended {
    count: u64,
    result: Result<Map<String, Value>, CellError>,
    /// What the cell asked about.
    page: Option<MimeBundle>,
}

impl Executor {
    /// Runs one cell; its error aborts the cells in `queue`.
    pub(super) fn handle(&self, request: &Message, queue: &Mailbox) {
        let mut aborted = Vec::new();
        self.front.handling(request, || aborted = self.execute(request, queue));
        for request in aborted {
            self.abort(&request);
        }
    }

    /// Runs one cell and replies. Gives the requests that its error aborts.
    fn execute(&self, request: &Message, queue: &Mailbox) -> Vec<Message> {
        let started = serde_json::to_value(now()).unwrap_or(Value::Null);
        let asked: ExecuteRequest = match request.parse() {
            Ok(asked) => asked,
            Err(e) => {
                self.reply(request, &self.ended(Err(cell_error(&e))), started);
                return Vec::new();
            }
        };
        let ended = self.run_cell(request, &asked);
        let mut aborted = Vec::new();
        if ended.result.is_err() && asked.stop_on_error {
            std::thread::sleep(ABORT_GRACE);
            aborted = queue.drain(|waiting| waiting.msg_type() == "execute_request");
        }
        self.reply(request, &ended, started);
        aborted
    }

    fn ended(&self, result: Result<Map<String, Value>, CellError>) -> Ended {
        Ended { count: self.count.load(Ordering::SeqCst), result, page: None }
    }

    fn run_cell(&self, request: &Message, asked: &ExecuteRequest) -> Ended {
        // As in IPython, an empty cell is no cell.
        let empty = asked.code.trim().is_empty();
        let stored = asked.store_history && !asked.silent && !empty;
        let step = u64::from(stored);
        let count = self.count.fetch_add(step, Ordering::SeqCst) + step;
        let parent = Some(&request.header);
        let turn = self.slot.begin_cell();
        if !asked.silent {
            let input = json!({"code": asked.code, "execution_count": count});
            self.front.publish(parent, "execute_input", input);
        }
        let role = match asked.silent {
            true => Role::Silent,
            false => Role::Cell(self.prompts.asker(request, asked.allow_stdin), stored.then_some(count)),
        };
        let output = self.output(request, role);
        let sink: Arc<dyn CellSink> = output.clone();
        let mut page = None;
        let result = match pager::asked_about(&asked.code) {
            Some(name) => self.page(turn, name).map(|found| {
                page = Some(found);
                None
            }),
            None if empty => Ok(None),
            None => self.evaluate(turn, &asked.code, &sink),
        };

        if stored {
            let value = result.as_ref().ok().and_then(Option::as_ref).map(MimeBundle::plain);
            let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
            history.add(count, &asked.code, value.filter(|text| !text.is_empty()));
        }
        if let Ok(Some(value)) = &result {
            output.publish_bundle("execute_result", value, ("execution_count", json!(count)));
        }
        output.finish();
        let result = match result {
            Ok(_) => Ok(self.user_expressions(turn, request, asked)),
            Err(error) => {
                if !asked.silent {
                    let content = json!({
                        "ename": error.ename, "evalue": error.evalue, "traceback": error.traceback,
                    });
                    self.front.publish(parent, "error", content);
                }
                Err(error)
            }
        };
        Ended { count, result, page }
    }

    fn output(&self, request: &Message, role: Role) -> Arc<CellOutput> {
        Arc::new(CellOutput::new(&self.clock, &self.front, &self.comms, &request.header, role))
    }

    fn evaluate(
        &self,
        turn: Turn,
        code: &str,
        sink: &Arc<dyn CellSink>,
    ) -> Result<Option<MimeBundle>, CellError> {
        let host = self.slot.wait_for_cell(turn).map_err(|e| cell_error(&e))?;
        guarded(|| host.run_cell(code, sink)).unwrap_or_else(|e| Err(cell_error(&e)))
    }

    fn page(&self, turn: Turn, name: &str) -> Result<MimeBundle, CellError> {
        let host = self.slot.wait_for_cell(turn).map_err(|e| cell_error(&e))?;
        guarded(|| pager::page(&*host, name)).and_then(|found| found).map_err(|e| cell_error(&e))
    }

    /// Each expression's value, or its error; neither fails the cell.
    fn user_expressions(&self, turn: Turn, request: &Message, asked: &ExecuteRequest) -> Map<String, Value> {
        let Some(expressions) = &asked.user_expressions else { return Map::new() };
        let quiet: Arc<dyn CellSink> = self.output(request, Role::Silent);
        let mut values = Map::new();
        for (name, code) in expressions.iter().take(MAX_USER_EXPRESSIONS) {
            let value = match self.evaluate(turn, code, &quiet) {
                Ok(bundle) => {
                    let bundle = bundle.unwrap_or_default();
                    json!({"status": "ok", "data": bundle.data, "metadata": bundle.metadata})
                }
                Err(error) => error_content(&error),
            };
            values.insert(name.clone(), value);
        }
        values
    }

    fn reply(&self, request: &Message, ended: &Ended, started: Value) {
        let (status, mut content) = match &ended.result {
            Ok(expressions) => ("ok", json!({"status": "ok", "user_expressions": expressions})),
            Err(error) => {
                let mut content = error_content(error);
                content["user_expressions"] = json!({});
                ("error", content)
            }
        };
        content["execution_count"] = json!(ended.count);
        content["payload"] = pager::payload(ended.page.as_ref());
        // `started` is what JupyterLab's cell timing reads.
        let metadata = json!({"started": started, "status": status});
        self.front.reply_with(Channel::Shell, request, "execute_reply", content, metadata);
    }

    /// Replies to a request that a previous error, the kernel's end or the end of its subshell took
    /// out of the queue.
    pub(super) fn abort(&self, request: &Message) {
        let content = json!({
            "status": "aborted", "execution_count": self.count.load(Ordering::SeqCst),
            "user_expressions": {}, "payload": [],
        });
        let metadata = json!({"status": "aborted"});
        self.front.handling(request, || {
            self.front.reply_with(Channel::Shell, request, "execute_reply", content, metadata);
        });
    }
}

fn now() -> impl serde::Serialize {
    Message::new("", "", Value::Null).header.date
}
