//! Messages to front ends: replies to who asked, everything else to all of them.

use dds_core::Error;
use dds_core::eval::CellError;
use dds_wire::Bytes;
use dds_wire::{Channel, Header, Message, Outlet};
use serde_json::{Value, json};

/// Sends in the kernel's name. Cheap to clone; after the sockets closed, sending does nothing.
#[derive(Clone)]
pub(super) struct Front {
    outlet: Outlet,
}

impl Front {
    pub(super) fn new(outlet: Outlet) -> Self {
        Self { outlet }
    }

    /// Publishes on iopub. `parent` is the request that this belongs to.
    pub(super) fn publish(&self, parent: Option<&Header>, msg_type: &str, content: Value) {
        self.publish_with(parent, msg_type, content, json!({}), Vec::new());
    }

    pub(super) fn publish_with(
        &self,
        parent: Option<&Header>,
        msg_type: &str,
        content: Value,
        metadata: Value,
        buffers: Vec<Bytes>,
    ) {
        let message = Message::new(msg_type, self.outlet.session(), content);
        let mut message = message.metadata(metadata).buffers(buffers);
        message.parent_header = parent.cloned();
        message.ids = vec![Bytes::copy_from_slice(msg_type.as_bytes())];
        self.send(Channel::Iopub, &message);
    }

    /// A question to whoever sent `request`.
    pub(super) fn question(&self, request: &Message, content: Value) -> Message {
        Message::reply(request, "input_request", self.outlet.session(), content)
    }

    /// [`Outlet::overruns`].
    pub(super) fn overruns(&self) -> u64 {
        self.outlet.overruns()
    }

    pub(super) fn status(&self, parent: Option<&Header>, state: &str) {
        self.publish(parent, "status", json!({"execution_state": state}));
    }

    pub(super) fn reply(&self, channel: Channel, request: &Message, msg_type: &str, content: Value) {
        self.reply_with(channel, request, msg_type, content, json!({}));
    }

    pub(super) fn reply_with(
        &self,
        channel: Channel,
        request: &Message,
        msg_type: &str,
        content: Value,
        metadata: Value,
    ) {
        let reply = Message::reply(request, msg_type, self.outlet.session(), content).metadata(metadata);
        self.send(channel, &reply);
    }

    /// Runs `work` between busy and idle of `request`.
    pub(super) fn handling(&self, request: &Message, work: impl FnOnce()) {
        self.status(Some(&request.header), "busy");
        work();
        self.status(Some(&request.header), "idle");
    }

    pub(super) fn send(&self, channel: Channel, message: &Message) {
        if let Err(e) = self.outlet.send(channel, message) {
            tracing::debug!("`{}` not sent: {e}", message.msg_type());
        }
    }
}

/// `status: error` with the three fields that every error reply has.
pub(super) fn error_content(error: &CellError) -> Value {
    json!({"status": "error", "ename": error.ename, "evalue": error.evalue, "traceback": error.traceback})
}

/// An error of ours in the words of a notebook: the hint is the last line.
pub(super) fn cell_error(error: &Error) -> CellError {
    let mut traceback = vec![format!("\u{1b}[31m{}\u{1b}[0m: {}", error.kind.name(), error.message)];
    if let Some(hint) = &error.hint {
        traceback.push(format!("hint: {hint}"));
    }
    CellError { ename: error.kind.name().to_owned(), evalue: error.message.clone(), traceback }
}

/// What `work` gives, or the text of its panic: a bug in the session must not end the kernel.
pub(super) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Error> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic
            .downcast_ref::<&str>()
            .map(|s| (*s).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without a text".to_owned());
        Error::internal(format!("the kernel panicked: {text}"))
            .hint("this is a bug of dds; the session goes on, restart the kernel if it behaves oddly")
    })
}
