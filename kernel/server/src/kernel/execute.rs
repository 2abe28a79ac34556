//! The execution queue: one cell at a time, in the order of arrival.

use super::front::{Front, cell_error, error_content, guarded};
use super::history::History;
use super::mailbox::Mailbox;
use super::output::{Output, Quiet};
use super::slot::Slot;
use dds_core::MimeBundle;
use dds_core::eval::{CellError, CellSink};
use dds_wire::jupyter_protocol::ExecuteRequest;
use dds_wire::{Channel, Message};
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Most expressions that one request may ask for.
pub const MAX_USER_EXPRESSIONS: usize = 100;
/// After an error, how long requests that were sent before the front end could know of it have to
/// arrive, so that they are aborted with the rest of the queue. It delays only the error's reply.
const ABORT_GRACE: Duration = Duration::from_millis(10);

/// The thread's state.
pub(super) struct Executor {
    pub(super) front: Front,
    pub(super) slot: Arc<Slot>,
    pub(super) queue: Arc<Mailbox>,
    pub(super) output: Output,
    pub(super) history: Arc<Mutex<History>>,
    /// The number of the last stored cell.
    pub(super) count: u64,
}

/// A cell's end, before it is told to anyone.
enum Outcome {
    Ok(Map<String, Value>),
    Error(CellError),
}

impl Executor {
    /// Runs cells until the queue is closed and empty.
    pub(super) fn run(mut self) {
        while let Some(request) = self.queue.take() {
            let mut abort = Vec::new();
            let front = self.front.clone();
            front.handling(&request, || abort = self.execute(&request));
            for request in abort {
                front.handling(&request, || self.abort(&request));
            }
        }
    }

    /// Runs one cell and replies. Gives the requests that its error aborts.
    fn execute(&mut self, request: &Message) -> Vec<Message> {
        let started = serde_json::to_value(now()).unwrap_or(Value::Null);
        let asked: ExecuteRequest = match request.parse() {
            Ok(asked) => asked,
            Err(e) => {
                self.reply(request, &Outcome::Error(cell_error(&e)), started);
                return Vec::new();
            }
        };
        let outcome = self.run_cell(request, &asked);
        let mut aborted = Vec::new();
        if matches!(outcome, Outcome::Error(_)) && asked.stop_on_error {
            std::thread::sleep(ABORT_GRACE);
            aborted = self.queue.drain();
        }
        self.reply(request, &outcome, started);
        aborted
    }

    fn run_cell(&mut self, request: &Message, asked: &ExecuteRequest) -> Outcome {
        // As in IPython, an empty cell is no cell.
        let empty = asked.code.trim().is_empty();
        let stored = asked.store_history && !asked.silent && !empty;
        if stored {
            self.count += 1;
        }
        let count = self.count;
        let parent = Some(&request.header);
        if !asked.silent {
            let input = json!({"code": asked.code, "execution_count": count});
            self.front.publish(parent, "execute_input", input);
        }
        let shown = (!asked.silent).then(|| self.output.sink(&request.header, stored.then_some(count)));
        let sink: Arc<dyn CellSink> = match &shown {
            Some(shown) => shown.clone(),
            None => Arc::new(Quiet),
        };
        let result = if empty { Ok(None) } else { self.evaluate(&asked.code, &sink) };

        if stored {
            let output = result.as_ref().ok().and_then(Option::as_ref).map(MimeBundle::plain);
            let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
            history.add(count, &asked.code, output.filter(|text| !text.is_empty()));
        }
        if let (Some(shown), Ok(Some(value))) = (&shown, &result) {
            shown.publish_bundle("execute_result", value, ("execution_count", json!(count)));
        }
        if let Some(shown) = &shown {
            shown.finish();
        }
        match result {
            Ok(_) => Outcome::Ok(self.user_expressions(asked)),
            Err(error) => {
                if !asked.silent {
                    let content = json!({
                        "ename": error.ename, "evalue": error.evalue, "traceback": error.traceback,
                    });
                    self.front.publish(parent, "error", content);
                }
                Outcome::Error(error)
            }
        }
    }

    fn evaluate(&self, code: &str, sink: &Arc<dyn CellSink>) -> Result<Option<MimeBundle>, CellError> {
        let host = self.slot.wait_for_cell().map_err(|e| cell_error(&e))?;
        guarded(|| host.run_cell(code, sink)).unwrap_or_else(|e| Err(cell_error(&e)))
    }

    /// Each expression's value, or its error; neither fails the cell.
    fn user_expressions(&self, asked: &ExecuteRequest) -> Map<String, Value> {
        let Some(expressions) = &asked.user_expressions else { return Map::new() };
        let quiet: Arc<dyn CellSink> = Arc::new(Quiet);
        let mut values = Map::new();
        for (name, code) in expressions.iter().take(MAX_USER_EXPRESSIONS) {
            let value = match self.evaluate(code, &quiet) {
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

    fn reply(&self, request: &Message, outcome: &Outcome, started: Value) {
        let (status, mut content) = match outcome {
            Outcome::Ok(expressions) => ("ok", json!({"status": "ok", "user_expressions": expressions})),
            Outcome::Error(error) => {
                let mut content = error_content(error);
                content["user_expressions"] = json!({});
                ("error", content)
            }
        };
        content["execution_count"] = json!(self.count);
        content["payload"] = json!([]);
        // `started` is what JupyterLab's cell timing reads.
        let metadata = json!({"started": started, "status": status});
        self.front.reply_with(Channel::Shell, request, "execute_reply", content, metadata);
    }

    /// Replies to a request that a previous error, or the kernel's end, took out of the queue.
    fn abort(&self, request: &Message) {
        let content = json!({
            "status": "aborted", "execution_count": self.count, "user_expressions": {}, "payload": [],
        });
        let metadata = json!({"status": "aborted"});
        self.front.reply_with(Channel::Shell, request, "execute_reply", content, metadata);
    }
}

fn now() -> impl serde::Serialize {
    Message::new("", "", Value::Null).header.date
}
