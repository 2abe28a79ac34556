//! One message: identities, header, parent header, metadata, content and binary buffers.

use crate::PROTOCOL_VERSION;
use bytes::Bytes;
use dds_core::{Error, Kind, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A header with the fields that the protocol gained after [`jupyter_protocol`]'s. Those are read
/// through it: `header.msg_id`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    #[serde(flatten)]
    base: jupyter_protocol::Header,
    /// The subshell (JEP 91) that a request is for; none for the main shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subshell_id: Option<String>,
}

impl Deref for Header {
    type Target = jupyter_protocol::Header;

    fn deref(&self) -> &Self::Target {
        &self.base
    }
}

impl DerefMut for Header {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.base
    }
}

/// A message of any type. `content` and `metadata` are JSON objects when they come off the wire.
#[derive(Clone, Debug)]
pub struct Message {
    /// Routing identities on ROUTER sockets; the topic on iopub.
    pub ids: Vec<Bytes>,
    pub header: Header,
    pub parent_header: Option<Header>,
    pub metadata: Value,
    pub content: Value,
    pub buffers: Vec<Bytes>,
}

impl Message {
    /// A message without a parent, dated now, with an id of its own.
    pub fn new(msg_type: &str, session: &str, content: Value) -> Self {
        Self {
            ids: Vec::new(),
            header: Header {
                base: jupyter_protocol::Header {
                    msg_id: new_msg_id(session),
                    username: "dds".to_owned(),
                    session: session.to_owned(),
                    date: now().into(),
                    msg_type: msg_type.to_owned(),
                    version: PROTOCOL_VERSION.to_owned(),
                },
                subshell_id: None,
            },
            parent_header: None,
            metadata: json!({}),
            content,
            buffers: Vec::new(),
        }
    }

    /// The answer to `parent`, addressed to whoever sent it.
    pub fn reply(parent: &Message, msg_type: &str, session: &str, content: Value) -> Self {
        let mut message = Self::new(msg_type, session, content).parent(&parent.header);
        message.ids.clone_from(&parent.ids);
        message
    }

    pub fn parent(mut self, parent: &Header) -> Self {
        self.parent_header = Some(parent.clone());
        self
    }

    pub fn metadata(mut self, metadata: Value) -> Self {
        self.metadata = metadata;
        self
    }

    pub fn buffers(mut self, buffers: Vec<Bytes>) -> Self {
        self.buffers = buffers;
        self
    }

    /// Addresses a request to a subshell.
    pub fn subshell(mut self, id: &str) -> Self {
        self.header.subshell_id = Some(id.to_owned());
        self
    }

    pub fn msg_type(&self) -> &str {
        &self.header.msg_type
    }

    pub fn msg_id(&self) -> &str {
        &self.header.msg_id
    }

    /// The id of the request that this message belongs to; empty when there is none.
    pub fn parent_id(&self) -> &str {
        self.parent_header.as_ref().map_or("", |h| &h.msg_id)
    }

    /// The content in one of [`jupyter_protocol`]'s types. [`Kind::Format`] when it does not fit.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        T::deserialize(&self.content).map_err(|e| {
            Error::new(Kind::Format, format!("content of a `{}` message: {e}", self.header.msg_type))
        })
    }

    /// Roughly the bytes that this message holds, for bounding queues: texts and buffers.
    pub fn weight(&self) -> usize {
        self.buffers.iter().map(Bytes::len).sum::<usize>() + weight(&self.metadata) + weight(&self.content)
    }

    /// A text field of the content; empty when it is missing or not text.
    pub fn text(&self, field: &str) -> &str {
        self.content.get(field).and_then(Value::as_str).unwrap_or("")
    }
}

/// Whole microseconds: jupyter_client reads no finer dates.
fn now() -> SystemTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::new(since.as_secs(), since.subsec_micros() * 1_000)
}

/// Roughly the bytes that a value holds. Recursion ends: JSON off the wire is at most 128 deep
/// (serde_json's limit).
pub fn weight(value: &Value) -> usize {
    const NODE: usize = std::mem::size_of::<Value>();
    NODE + match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(fields) => fields.iter().map(|(name, field)| name.len() + weight(field)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// Unique within the process and, by the session's name, across processes.
fn new_msg_id(session: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{session}_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jupyter_protocol::ExecuteRequest;

    #[test]
    fn typed_contents() {
        let content = json!({"code": "1+1", "silent": false, "store_history": true, "user_expressions": {}});
        let request = Message::new("execute_request", "s", content);
        let typed: ExecuteRequest = request.parse().unwrap();
        assert_eq!((typed.code.as_str(), typed.stop_on_error), ("1+1", true));

        let error = Message::new("execute_request", "s", json!({"code": 1})).parse::<ExecuteRequest>();
        let error = error.unwrap_err();
        assert_eq!(error.kind, Kind::Format);
        assert!(error.message.contains("`execute_request`"), "{error}");
    }

    #[test]
    fn dates_have_at_most_six_digits_of_a_second() {
        let date = serde_json::to_value(Message::new("t", "s", json!({})).header.date).unwrap();
        let text = date.as_str().unwrap().to_owned();
        let digits = text.split_once('.').map_or(0, |(_, rest)| rest.trim_end_matches('Z').len());
        assert!(digits <= 6 && text.ends_with('Z'), "{text}");
    }

    #[test]
    fn the_subshell_is_a_field_of_the_header_only_when_there_is_one() {
        let main = Message::new("t", "s", json!({}));
        assert!(serde_json::to_value(&main.header).unwrap().get("subshell_id").is_none());
        let header = serde_json::to_value(&main.subshell("a").header).unwrap();
        assert_eq!((&header["subshell_id"], &header["msg_type"]), (&json!("a"), &json!("t")));
        let mut null = header.clone();
        null["subshell_id"] = Value::Null;
        for (header, id) in [(header, Some("a")), (null, None)] {
            let back: Header = serde_json::from_value(header).unwrap();
            assert_eq!((back.subshell_id.as_deref(), back.msg_type.as_str()), (id, "t"));
        }
    }

    #[test]
    fn a_reply_goes_back_where_the_request_came_from() {
        let mut request = Message::new("x_request", "front", json!({}));
        request.ids = vec![Bytes::from_static(b"peer")];
        let reply = Message::reply(&request, "x_reply", "kernel", json!({}));
        assert_eq!(reply.ids, request.ids);
        assert_eq!(reply.parent_id(), request.msg_id());
        assert_eq!(reply.header.session, "kernel");
        assert_ne!(reply.msg_id(), request.msg_id());
    }
}
