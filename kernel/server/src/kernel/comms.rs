//! Comms: messages between widgets in the page and the session, handled on a thread of their own so
//! that they are answered while a cell runs.

use super::front::{Front, guarded};
use super::host::CommSender;
use super::mailbox::Mailbox;
use super::slot::Slot;
use dds_core::mime::printable;
use dds_wire::Bytes;
use dds_wire::{Channel, Header, Message};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most comms that are open at a time; one more is closed at once.
pub const MAX_COMMS: usize = 10_000;
/// Longest id or target name of a comm.
pub const MAX_NAME_BYTES: usize = 256;

/// Open comms and their targets. Shared with the senders, which fall silent when theirs is closed.
#[derive(Clone, Default)]
struct Open(Arc<Mutex<HashMap<String, String>>>);

impl Open {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Handles `comm_*` messages until the mailbox is closed.
pub(super) fn run(front: &Front, slot: &Slot, mailbox: &Mailbox) {
    let open = Open::default();
    while let Some(message) = mailbox.take() {
        front.handling(&message, || match message.msg_type() {
            "comm_open" => on_open(front, slot, &open, &message),
            "comm_msg" => on_message(front, slot, &open, &message),
            "comm_close" => {
                open.lock().remove(message.text("comm_id"));
            }
            "comm_info_request" => on_info(front, &open, &message),
            other => tracing::debug!("`{}` is no comm message", printable(other)),
        });
    }
}

fn on_open(front: &Front, slot: &Slot, open: &Open, message: &Message) {
    let (id, target) = (message.text("comm_id"), message.text("target_name"));
    let refuse = |why: &str| {
        tracing::warn!(target = %printable(target), "a comm is refused: {why}");
        if id.len() <= MAX_NAME_BYTES {
            front.publish(Some(&message.header), "comm_close", json!({"comm_id": id, "data": {}}));
        }
    };
    if id.is_empty() || id.len() > MAX_NAME_BYTES || target.len() > MAX_NAME_BYTES {
        return refuse("its id or target is empty or too long");
    }
    let known = slot.wait().and_then(|host| guarded(|| host.comm_targets()));
    match known {
        Ok(targets) if targets.iter().any(|t| t == target) => {}
        Ok(_) => return refuse("nothing is registered for its target"),
        Err(e) => return refuse(&e.message),
    }
    {
        let mut comms = open.lock();
        if comms.len() >= MAX_COMMS && !comms.contains_key(id) {
            drop(comms);
            return refuse("too many are open");
        }
        comms.insert(id.to_owned(), target.to_owned());
    }
    deliver(front, slot, open, message, id, target);
}

fn on_message(front: &Front, slot: &Slot, open: &Open, message: &Message) {
    let id = message.text("comm_id");
    let target = open.lock().get(id).cloned();
    match target {
        Some(target) => deliver(front, slot, open, message, id, &target),
        None => tracing::warn!("a message for a comm that is not open"),
    }
}

fn deliver(front: &Front, slot: &Slot, open: &Open, message: &Message, id: &str, target: &str) {
    let data = message.content.get("data").cloned().unwrap_or_else(|| json!({}));
    let buffers: Vec<Vec<u8>> = message.buffers.iter().map(|b| b.to_vec()).collect();
    let reply: Arc<dyn CommSender> = Arc::new(Reply {
        front: front.clone(),
        open: open.clone(),
        id: id.to_owned(),
        parent: message.header.clone(),
    });
    let done = slot.wait().and_then(|host| guarded(|| host.comm_message(target, &data, &buffers, &reply)));
    if let Err(e) = done {
        tracing::error!(target, "a comm message failed: {e}");
    }
}

fn on_info(front: &Front, open: &Open, request: &Message) {
    let only = request.content.get("target_name").and_then(Value::as_str).filter(|t| !t.is_empty());
    let comms: Map<String, Value> = open
        .lock()
        .iter()
        .filter(|(_, target)| only.is_none_or(|wanted| wanted == target.as_str()))
        .map(|(id, target)| (id.clone(), json!({"target_name": target})))
        .collect();
    let content = json!({"status": "ok", "comms": comms});
    front.reply(Channel::Shell, request, "comm_info_reply", content);
}

/// Answers on one comm, as a child of the message that it answers.
struct Reply {
    front: Front,
    open: Open,
    id: String,
    parent: Header,
}

impl CommSender for Reply {
    fn send(&self, data: Value, buffers: Vec<Vec<u8>>) {
        if !self.open.lock().contains_key(&self.id) {
            return;
        }
        let buffers = buffers.into_iter().map(Bytes::from).collect();
        let content = json!({"comm_id": self.id, "data": data});
        self.front.publish_with(Some(&self.parent), "comm_msg", content, buffers);
    }
}
