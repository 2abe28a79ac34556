//! Comms: messages between widgets in the page and the kernel, both ways. Some are answered by the
//! session (forms), the others by the cells. Handled beside cells, so also while one runs.
//!
//! One table holds what is open, whoever opened it.

use super::front::{Front, guarded};
use super::host::{CommSender, Host};
use super::output::{Batch, CellOutput, Clock, Role};
use super::slot::Slot;
use dds_core::eval::{CellSink, CommDoor, CommKind, CommMessage};
use dds_core::mime::printable;
use dds_core::{Error, Kind, Result};
use dds_wire::frames::{MAX_FRAME_BYTES, MAX_FRAMES, MAX_MESSAGE_BYTES};
use dds_wire::{Bytes, Channel, Header, Message};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most comms that are open at a time; one more is refused.
pub const MAX_COMMS: usize = 10_000;
/// Longest id or target name of a comm.
pub const MAX_NAME_BYTES: usize = 256;
/// Most binary buffers of one message; identities, header and content need frames too.
pub const MAX_BUFFERS: usize = MAX_FRAMES - 32;
/// Most bytes of one message's buffers and values.
const MAX_BYTES: usize = MAX_MESSAGE_BYTES - (1 << 20);

/// The open comms.
pub(super) struct Comms {
    front: Front,
    open: Mutex<HashMap<String, Comm>>,
}

#[derive(Clone)]
struct Comm {
    target: String,
    owner: Owner,
}

/// Who in the kernel has the other end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Session,
    Cells,
}

impl Comms {
    pub(super) fn new(front: Front) -> Self {
        Self { front, open: Mutex::default() }
    }

    /// A message of the cells for the front end, behind what `batch` has to send.
    ///
    /// # Errors
    /// `Limit` past a bound, `Usage` for an unfit name, `Conflict` for an id that is open already.
    pub(super) fn send_for_cells(&self, message: &CommMessage, batch: &Batch) -> Result<()> {
        check_size(message)?;
        let id = &message.comm_id;
        let object = |value: &Value| if value.is_object() { value.clone() } else { json!({}) };
        let mut content = json!({"comm_id": id, "data": object(&message.data)});
        let msg_type = match &message.kind {
            CommKind::Open(target) => {
                self.insert(id, target, Owner::Cells)?;
                content["target_name"] = json!(target);
                "comm_open"
            }
            // The front end may have closed it a moment ago.
            CommKind::Message if !self.lock().contains_key(id) => return Ok(()),
            CommKind::Message => "comm_msg",
            CommKind::Close if self.lock().remove(id).is_none() => return Ok(()),
            CommKind::Close => "comm_close",
        };
        let buffers = message.buffers.iter().map(|b| Bytes::copy_from_slice(b)).collect();
        batch.publish(msg_type, content, object(&message.metadata), buffers);
        Ok(())
    }

    fn insert(&self, id: &str, target: &str, owner: Owner) -> Result<()> {
        if id.is_empty() || id.len() > MAX_NAME_BYTES || target.len() > MAX_NAME_BYTES {
            return Err(Error::usage("a comm's id or target is empty or too long"));
        }
        let mut open = self.lock();
        if open.contains_key(id) {
            return Err(Error::new(Kind::Conflict, format!("the comm {} is open already", printable(id))));
        }
        if open.len() >= MAX_COMMS {
            return Err(Error::new(Kind::Limit, format!("{MAX_COMMS} comms are open"))
                .hint("close widgets that are no longer shown, or restart the kernel"));
        }
        open.insert(id.to_owned(), Comm { target: target.to_owned(), owner });
        Ok(())
    }

    fn get(&self, id: &str) -> Option<Comm> {
        self.lock().get(id).cloned()
    }

    fn close(&self, parent: &Header, id: &str) {
        self.lock().remove(id);
        self.told_closed(parent, id);
    }

    fn told_closed(&self, parent: &Header, id: &str) {
        self.front.publish(Some(parent), "comm_close", json!({"comm_id": id, "data": {}}));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Comm>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the front end would not receive, or could not.
fn check_size(message: &CommMessage) -> Result<()> {
    let buffers: usize = message.buffers.iter().map(Vec::len).sum();
    let values = dds_wire::message::weight(&message.data) + dds_wire::message::weight(&message.metadata);
    let fits = message.buffers.len() <= MAX_BUFFERS
        && message.buffers.iter().all(|b| b.len() <= MAX_FRAME_BYTES)
        && values <= MAX_FRAME_BYTES
        && buffers.saturating_add(values) <= MAX_BYTES;
    if fits {
        return Ok(());
    }
    let why = format!("{} buffers with {buffers} bytes are too many", message.buffers.len());
    Err(Error::new(Kind::Limit, why).hint(format!(
        "at most {MAX_BUFFERS} buffers, each of {} MiB, and {} MiB in all",
        MAX_FRAME_BYTES >> 20,
        MAX_BYTES >> 20
    )))
}

/// Handles the front end's `comm_*` messages.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) front: Front,
    pub(super) slot: Arc<Slot>,
    pub(super) clock: Arc<Clock>,
    pub(super) comms: Arc<Comms>,
}

impl Desk {
    /// Handles one message, between busy and idle; callbacks of the cells go on behind it, and say
    /// idle when they end.
    pub(super) fn handle(&self, message: &Message) {
        if message.msg_type() == "comm_info_request" {
            return self.front.handling(message, || self.info(message));
        }
        let id = message.text("comm_id");
        let known = self.comms.get(id);
        let kind = match message.msg_type() {
            "comm_open" => CommKind::Open(message.text("target_name").to_owned()),
            "comm_close" => CommKind::Close,
            _ => CommKind::Message,
        };
        match (kind, known) {
            (CommKind::Open(target), _) => self.open(message, id, &target),
            (kind, Some(Comm { owner: Owner::Cells, .. })) => {
                if kind == CommKind::Close {
                    self.comms.lock().remove(id);
                }
                match self.door() {
                    Ok(door) => self.to_cells(&*door, message, id, kind),
                    Err(e) => {
                        self.comms.lock().remove(id);
                        self.refuse(message, id, &e);
                    }
                }
            }
            (kind, Some(comm)) => self.front.handling(message, || {
                if kind == CommKind::Close {
                    self.comms.lock().remove(id);
                } else {
                    self.to_session(message, id, &comm.target);
                }
            }),
            (_, None) => self.front.handling(message, || {
                tracing::debug!("a message for a comm that is not open");
            }),
        }
    }

    fn open(&self, message: &Message, id: &str, target: &str) {
        let host = match self.slot.wait() {
            Ok(host) => host,
            Err(e) => return self.refuse(message, id, &e),
        };
        let has = |targets: Result<Vec<String>>| targets.is_ok_and(|all| all.iter().any(|t| t == target));
        if has(guarded(|| host.comm_targets())) {
            return match self.comms.insert(id, target, Owner::Session) {
                Ok(()) => self.front.handling(message, || self.to_session(message, id, target)),
                Err(e) => self.refuse(message, id, &e),
            };
        }
        let door = guarded(|| host.cell_comms()).ok().flatten();
        let Some(door) = door.filter(|door| has(guarded(|| door.targets()))) else {
            return self.refuse(message, id, &Error::not_found("nothing is registered for its target"));
        };
        match self.comms.insert(id, target, Owner::Cells) {
            Ok(()) => self.to_cells(&*door, message, id, CommKind::Open(target.to_owned())),
            Err(e) => self.refuse(message, id, &e),
        }
    }

    /// Tells the front end that this comm does not exist (any more).
    fn refuse(&self, message: &Message, id: &str, why: &Error) {
        tracing::warn!(target = %printable(message.text("target_name")), "a comm is refused: {why}");
        self.front.handling(message, || {
            // One that is open under this id belongs to somebody else.
            if id.len() <= MAX_NAME_BYTES && why.kind != Kind::Conflict {
                self.comms.told_closed(&message.header, id);
            }
        });
    }

    fn door(&self) -> Result<Arc<dyn CommDoor>> {
        let host = self.slot.wait()?;
        let door = guarded(|| host.cell_comms())?;
        door.ok_or_else(|| Error::new(Kind::Unavailable, "the cells cannot have comms"))
    }

    fn to_cells(&self, door: &dyn CommDoor, message: &Message, id: &str, kind: CommKind) {
        let Desk { front, clock, comms, .. } = self;
        front.status(Some(&message.header), "busy");
        let output = Arc::new(CellOutput::new(clock, front, comms, &message.header, Role::Callback));
        let (data, buffers) = payload(message);
        let metadata = message.metadata.clone();
        let message_of_cells =
            CommMessage { comm_id: id.to_owned(), kind: kind.clone(), data, metadata, buffers };
        let sink: Arc<dyn CellSink> = output.clone();
        let done = guarded(|| door.deliver(message_of_cells, sink)).unwrap_or_else(Err);
        let Err(e) = done else { return };
        output.note(&format!("a message for the cells was not delivered: {e}"));
        // An opened comm that nobody heard of, and all of a process that is gone.
        if kind != CommKind::Close && (e.kind == Kind::Unavailable || kind != CommKind::Message) {
            comms.close(&message.header, id);
        }
    }

    fn to_session(&self, message: &Message, id: &str, target: &str) {
        let (data, buffers) = payload(message);
        let reply: Arc<dyn CommSender> =
            Arc::new(Reply { comms: self.comms.clone(), id: id.to_owned(), parent: message.header.clone() });
        let answer = |host: Arc<dyn Host>| guarded(|| host.comm_message(target, &data, &buffers, &reply));
        if let Err(e) = self.slot.wait().and_then(answer) {
            tracing::error!(target, "a comm message failed: {e}");
        }
    }

    fn info(&self, request: &Message) {
        let only = request.content.get("target_name").and_then(Value::as_str).filter(|t| !t.is_empty());
        let comms: Map<String, Value> = self
            .comms
            .lock()
            .iter()
            .filter(|(_, comm)| only.is_none_or(|wanted| wanted == comm.target))
            .map(|(id, comm)| (id.clone(), json!({"target_name": comm.target})))
            .collect();
        let content = json!({"status": "ok", "comms": comms});
        self.front.reply(Channel::Shell, request, "comm_info_reply", content);
    }
}

fn payload(message: &Message) -> (Value, Vec<Vec<u8>>) {
    let data = message.content.get("data").cloned().unwrap_or_else(|| json!({}));
    (data, message.buffers.iter().map(|b| b.to_vec()).collect())
}

/// Answers of the session on one comm, as children of the message that they answer.
struct Reply {
    comms: Arc<Comms>,
    id: String,
    parent: Header,
}

impl CommSender for Reply {
    fn send(&self, data: Value, buffers: Vec<Vec<u8>>) {
        if self.comms.get(&self.id).is_none() {
            return;
        }
        let buffers = buffers.into_iter().map(Bytes::from).collect();
        let content = json!({"comm_id": self.id, "data": data});
        self.comms.front.publish_with(Some(&self.parent), "comm_msg", content, json!({}), buffers);
    }
}
