//! Reads one channel's requests: answers what needs neither host nor cell, passes on the rest.
//!
//! Every request whose type ends in `_request` gets a reply, be it an error, so that no client waits
//! in vain.

use super::front::{Front, cell_error, error_content};
use super::language::reply_type;
use super::mailbox::Mailbox;
use super::shells::{Subshells, Work};
use super::slot::Slot;
use super::stdin::Prompts;
use super::watch::End;
use dds_core::mime::printable;
use dds_core::{Error, Kind, Result};
use dds_wire::{Channel, Message, Ports};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

/// Longest type of an unknown request that is replied to.
const MAX_TYPE_BYTES: usize = 64;

/// The queues of the main shell. Each has a thread, so that none waits for another.
#[derive(Clone, Default)]
pub(super) struct Boxes {
    pub(super) cells: Arc<Mailbox>,
    pub(super) language: Arc<Mailbox>,
    pub(super) comms: Arc<Mailbox>,
}

impl Boxes {
    fn of(&self, work: Work) -> &Arc<Mailbox> {
        match work {
            Work::Cell => &self.cells,
            Work::Language => &self.language,
            Work::Comm => &self.comms,
        }
    }

    pub(super) fn close(&self) {
        for mailbox in [&self.cells, &self.language, &self.comms] {
            mailbox.close();
        }
    }
}

/// Stops what runs: cells, and the questions that they ask.
#[derive(Clone)]
pub(super) struct Stopper {
    pub(super) slot: Arc<Slot>,
    pub(super) prompts: Arc<Prompts>,
}

impl Stopper {
    pub(super) fn interrupt(&self) {
        self.prompts.interrupt();
        self.slot.interrupt();
    }
}

pub(super) struct Router {
    pub(super) channel: Channel,
    pub(super) front: Front,
    pub(super) stopper: Stopper,
    pub(super) boxes: Boxes,
    pub(super) subshells: Arc<Subshells>,
    pub(super) info: Value,
    pub(super) ports: Ports,
    pub(super) end: Sender<End>,
}

impl Router {
    pub(super) fn run(self, requests: &Receiver<Message>) {
        while let Ok(request) = requests.recv() {
            self.route(request);
        }
    }

    fn route(&self, request: Message) {
        if self.channel == Channel::Shell
            && let Some(work) = Work::of(request.msg_type())
        {
            let queue = match &request.header.subshell_id {
                None => self.boxes.of(work).clone(),
                Some(id) => match self.subshells.queue(id) {
                    Ok(queue) => queue,
                    Err(e) => return self.refuse(&request, &e),
                },
            };
            return self.pass(&queue, request);
        }
        let control = self.channel == Channel::Control;
        match request.msg_type() {
            "kernel_info_request" => self.answer(&request, Ok(self.info.clone())),
            "connect_request" => {
                let Ports { shell, iopub, stdin, control, heartbeat } = self.ports;
                let ports = json!({
                    "status": "ok", "shell_port": shell, "iopub_port": iopub, "stdin_port": stdin,
                    "control_port": control, "hb_port": heartbeat,
                });
                self.answer(&request, Ok(ports));
            }
            "interrupt_request" => self.front.handling(&request, || {
                self.stopper.interrupt();
                self.front.reply(self.channel, &request, "interrupt_reply", json!({"status": "ok"}));
            }),
            "shutdown_request" => self.shutdown(&request),
            "create_subshell_request" if control => {
                let made = self.subshells.create();
                self.answer(&request, made.map(|id| json!({"status": "ok", "subshell_id": id})));
            }
            "delete_subshell_request" if control => {
                let done = self.subshells.delete(request.text("subshell_id"));
                self.answer(&request, done.map(|()| json!({"status": "ok"})));
            }
            "list_subshell_request" if control => {
                let list = json!({"status": "ok", "subshell_id": self.subshells.list()});
                self.answer(&request, Ok(list));
            }
            "debug_request" => self.answer(&request, Ok(no_debugger(&request))),
            other => {
                let other = printable(other);
                tracing::debug!("`{other}` on {} is not supported", self.channel.name());
                let why = format!("`{other}` is not supported on {}", self.channel.name());
                self.refuse(&request, &Error::new(Kind::Unavailable, why));
            }
        }
    }

    /// Between busy and idle, the reply that belongs to the request.
    fn answer(&self, request: &Message, content: Result<Value>) {
        match content {
            Ok(content) => self.front.handling(request, || {
                self.front.reply(self.channel, request, &reply_type(request.msg_type()), content);
            }),
            Err(e) => self.refuse(request, &e),
        }
    }

    /// An error, to what is a request; what is none is only marked as handled.
    fn refuse(&self, request: &Message, error: &Error) {
        self.front.handling(request, || {
            let kind = request.msg_type();
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if !kind.ends_with("_request") || kind.len() > MAX_TYPE_BYTES || !kind.chars().all(plain) {
                return;
            }
            let mut content = error_content(&cell_error(error));
            if kind == "execute_request" {
                content["execution_count"] = json!(0);
            }
            self.front.reply(self.channel, request, &reply_type(kind), content);
        });
    }

    fn shutdown(&self, request: &Message) {
        let restart = request.content.get("restart").and_then(Value::as_bool).unwrap_or(false);
        let content = json!({"status": "ok", "restart": restart});
        self.front.handling(request, || {
            self.front.reply(self.channel, request, "shutdown_reply", content.clone());
            self.front.publish(Some(&request.header), "shutdown_reply", content);
        });
        let _ = self.end.send(End::Requested);
    }

    /// Queues the request; when the queue is full, answers at once with an error.
    fn pass(&self, mailbox: &Mailbox, request: Message) {
        let Err(request) = mailbox.put(request) else { return };
        let error = Error::new(Kind::Limit, "too many requests wait in the kernel")
            .hint("interrupt the kernel, or wait until it has caught up");
        tracing::warn!("`{}` refused: {error}", printable(request.msg_type()));
        self.refuse(&request, &error);
    }
}

/// The Debug Adapter Protocol's way to decline: <https://microsoft.github.io/debug-adapter-protocol>.
fn no_debugger(request: &Message) -> Value {
    let field = |name: &str| request.content.get(name).cloned();
    json!({
        "type": "response",
        "seq": 0,
        "request_seq": field("seq").filter(Value::is_u64).unwrap_or(json!(0)),
        "success": false,
        "command": field("command").filter(Value::is_string).unwrap_or(json!("")),
        "message": "this kernel has no debugger",
    })
}
