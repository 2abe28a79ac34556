//! A page in memory: takes what the widgets of the test's own thread send, and plays the user.

use crate::comm::Message;
use crate::json::Json;
use crate::testing::Front;
use crate::widgets::store::Store;
use crate::widgets::transport::{CONTROL_TARGET, Comms, TARGET};
use crate::widgets::{AnyWidget, Widget};
use crate::wire::{CommFrameKind, What};
use std::cell::RefCell;
use std::sync::Arc;

thread_local! {
    static STORE: RefCell<Option<Arc<Store>>> = const { RefCell::new(None) };
}

pub(in crate::widgets) fn store_of_this_test() -> Option<Arc<Store>> {
    STORE.with_borrow(Option::clone)
}

pub(super) struct Page {
    pub front: Front,
    pub store: Arc<Store>,
}

/// A message to the page.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sent {
    pub id: String,
    pub kind: CommFrameKind,
    pub data: Json,
    pub metadata: Json,
    pub buffers: Vec<Vec<u8>>,
    /// The number of the message that it answers; 0 for none.
    pub origin: u64,
}

impl Sent {
    pub fn method(&self) -> &str {
        self.data.get("method").and_then(Json::as_str).unwrap_or_default()
    }

    pub fn state(&self) -> String {
        self.data.get("state").map(Json::to_string).unwrap_or_default()
    }

    pub fn is_open(&self) -> bool {
        matches!(self.kind, CommFrameKind::Open(_))
    }
}

impl Page {
    pub fn new() -> Page {
        let front = Front::new();
        let store = Store::new(|me| Box::new(Comms::new(me)));
        STORE.set(Some(Arc::clone(&store)));
        Page { front, store }
    }

    /// A page that shows `widget` already.
    pub fn with(widget: impl FnOnce() -> AnyWidget) -> (Page, AnyWidget) {
        let page = Page::new();
        let widget = widget();
        crate::display(&widget);
        page.take();
        (page, widget)
    }

    /// All comm messages since the last call.
    pub fn take(&self) -> Vec<Sent> {
        let sent = self.front.take().into_iter().filter_map(|up| match up.what {
            What::Comm(frame) => Some(Sent {
                id: frame.id,
                kind: frame.kind,
                data: Json::parse(&frame.data).unwrap(),
                metadata: Json::parse(&frame.metadata).unwrap(),
                buffers: frame.buffers,
                origin: up.origin,
            }),
            _ => None,
        });
        sent.collect()
    }

    /// What was sent since the last call, as `method state`.
    pub fn told(&self) -> Vec<String> {
        self.take().iter().map(|sent| format!("{} {}", sent.method(), sent.state())).collect()
    }

    /// The user changes attributes of a widget.
    pub fn update(&self, widget: &impl Widget, state: &str) {
        self.update_with(widget, state, "[]", Vec::new());
    }

    pub fn update_with(&self, widget: &impl Widget, state: &str, paths: &str, buffers: Vec<Vec<u8>>) {
        let data = format!(r#"{{"method":"update","state":{state},"buffer_paths":{paths}}}"#);
        let message = Message::new(Json::parse(&data).unwrap()).buffers(buffers);
        self.front.message(widget.any().model_id(), message);
    }

    pub fn custom(&self, widget: &impl Widget, content: &str) {
        let data = format!(r#"{{"method":"custom","content":{content}}}"#);
        self.front.message(widget.any().model_id(), Json::parse(&data).unwrap());
    }

    /// The page is loaded again: the answer to its question for all states.
    pub fn reload(&self, comm: &str) -> Sent {
        let version = Json::object([("version", "1.0.0")]);
        self.take();
        self.front.open(comm, CONTROL_TARGET, Message::new(Json::Null).metadata(version));
        self.front.message(comm, Json::object([("method", "request_states")]));
        let mut sent = self.take();
        assert_eq!(sent.len(), 1, "{sent:?}");
        let answer = sent.remove(0);
        assert_eq!((answer.id.as_str(), answer.method()), (comm, "update_states"));
        answer
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        STORE.set(None);
    }
}

/// Checks what every opening message has, and gives its state.
pub(super) fn opened(sent: &Sent) -> &Json {
    assert_eq!(sent.kind, CommFrameKind::Open(TARGET.to_owned()));
    assert_eq!(sent.metadata.to_string(), r#"{"version":"2.1.0"}"#);
    sent.data.get("state").unwrap()
}
