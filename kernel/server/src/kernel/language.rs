//! Completion, documentation and completeness of code, and history: short questions, beside the
//! cells and not on the channel's own thread, because the host may still be building.

use super::front::{Front, cell_error, error_content, guarded};
use super::history::History;
use super::host::{Host, IsComplete};
use super::pager;
use super::slot::Slot;
use dds_core::eval::Completions;
use dds_core::{Error, Result};
use dds_wire::jupyter_protocol::{CompleteRequest, InspectRequest, IsCompleteRequest};
use dds_wire::{Channel, Message};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};

/// Answers questions about code and about earlier cells.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) front: Front,
    pub(super) slot: Arc<Slot>,
    pub(super) history: Arc<Mutex<History>>,
}

impl Desk {
    pub(super) fn handle(&self, request: &Message) {
        self.front.handling(request, || {
            let content = self.answer(request).unwrap_or_else(|e| error_content(&cell_error(&e)));
            self.front.reply(Channel::Shell, request, &reply_type(request.msg_type()), content);
        });
    }

    fn answer(&self, request: &Message) -> Result<Value> {
        if request.msg_type() == "history_request" {
            let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
            return Ok(json!({"status": "ok", "history": history.answer(&request.content)}));
        }
        answer(&self.slot, request)
    }
}

pub(super) fn reply_type(request_type: &str) -> String {
    request_type.replace("_request", "_reply")
}

fn answer(slot: &Slot, request: &Message) -> Result<Value> {
    match request.msg_type() {
        "complete_request" => {
            let CompleteRequest { code, cursor_pos } = request.parse()?;
            let cursor = cursor_pos.min(code.chars().count());
            with_host(slot, |host| host.complete(&code, cursor)).map(|found| completions(&found))
        }
        "inspect_request" => {
            // Either level of detail gets all that is known.
            let InspectRequest { code, cursor_pos, .. } = request.parse()?;
            let cursor = cursor_pos.min(code.chars().count());
            let found = with_host(slot, |host| host.inspect(&code, cursor))?;
            let bundle = found.unwrap_or_default();
            let found = !bundle.is_empty();
            Ok(json!({"status": "ok", "found": found, "data": bundle.data, "metadata": bundle.metadata}))
        }
        "is_complete_request" => {
            let IsCompleteRequest { code } = request.parse()?;
            if pager::asked_about(&code).is_some() {
                return Ok(json!({"status": "complete"}));
            }
            // Its status says nothing about errors, so a missing session is `unknown` too.
            let state = with_host(slot, |host| host.is_complete(&code)).unwrap_or(IsComplete::Unknown);
            Ok(match state {
                IsComplete::Complete => json!({"status": "complete"}),
                IsComplete::Incomplete(indent) => json!({"status": "incomplete", "indent": indent}),
                IsComplete::Invalid => json!({"status": "invalid"}),
                IsComplete::Unknown => json!({"status": "unknown"}),
            })
        }
        other => Err(Error::internal(format!("`{other}` is no question about code"))),
    }
}

fn with_host<T>(slot: &Slot, ask: impl FnOnce(&dyn Host) -> T) -> Result<T> {
    let host = slot.wait()?;
    guarded(|| ask(&*host))
}

fn completions(found: &Completions) -> Value {
    let matches: Vec<&str> = found.items.iter().map(|item| item.text.as_str()).collect();
    let typed: Vec<Value> = found
        .items
        .iter()
        .map(|item| {
            json!({
                "text": item.text, "type": item.kind, "signature": item.signature,
                "start": found.start, "end": found.end,
            })
        })
        .collect();
    json!({
        "status": "ok",
        "matches": matches,
        "cursor_start": found.start,
        "cursor_end": found.end,
        // IPython's name for it, which JupyterLab reads.
        "metadata": {"_jupyter_types_experimental": typed},
    })
}
