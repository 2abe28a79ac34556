//! Messages of the crate `dds` in the process of the cells: what it shows, and its comms.

use super::{Out, Shared, Show, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dds::wire::{self, CommFrame, CommFrameKind, Form, Part, Up, What};
use dds_core::MimeBundle;
use dds_core::eval::{CellSink, CommKind, CommMessage};
use serde_json::{Value, json};
use std::sync::Arc;

impl Shared {
    pub(super) fn message(self: &Arc<Self>, state: &mut State, bytes: &[u8], out: &mut Out) {
        let Some(Up { origin, what }) = Up::decode(bytes) else {
            return tracing::warn!("a message of the runtime is not understood");
        };
        let sink = state.answers_to(origin);
        match what {
            What::Show(show) => state.show(show, origin, sink, out),
            What::Clear(wait) => {
                out.extend(&sink, state.report.output.text_comes().map(Show::Bundle));
                out.push(sink, Show::Clear { wait });
            }
            What::Comm(frame) => {
                let message = comm_message(frame);
                if state.comms.note(&message) {
                    out.push(sink, Show::Comm(message));
                }
            }
            What::Target(name, registered) => state.comms.target(name, registered),
            What::Begin(number) => state.comms.begin(number),
            What::End(number) => state.comms.end(number),
            What::Restored(comms, targets) => {
                let forget = state.comms.reconcile(comms, targets, sink.as_ref(), out);
                if !forget.is_empty() {
                    self.close_in_child(forget);
                }
            }
        }
    }
}

impl State {
    /// Where an answer to that delivery goes; 0 is the cell, or whatever goes on without one.
    fn answers_to(&self, origin: u64) -> Option<Arc<dyn CellSink>> {
        self.comms.sink_of(origin).or_else(|| self.sink.clone())
    }

    fn show(&mut self, show: wire::Show, origin: u64, sink: Option<Arc<dyn CellSink>>, out: &mut Out) {
        let output = &mut self.report.output;
        out.extend(&sink, output.text_comes().map(Show::Bundle));
        let bundle = bundle(show.parts, &show.metadata);
        match show.id {
            _ if show.value && self.cell_runs && origin == 0 => output.value(bundle),
            Some(id) => out.push(sink, Show::WithId { bundle, id, update: show.update }),
            None => out.push(sink, Show::Bundle(bundle)),
        }
    }
}

fn bundle(parts: Vec<Part>, metadata: &str) -> MimeBundle {
    let mut bundle = MimeBundle::default();
    for Part { mime, form, data } in parts {
        let text = |data: Vec<u8>| match String::from_utf8(data) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        };
        let value = match form {
            Form::Bytes => Value::String(STANDARD.encode(data)),
            Form::Text => Value::String(text(data)),
            Form::Json => serde_json::from_slice(&data).unwrap_or_else(|_| Value::String(text(data))),
        };
        bundle.data.insert(mime, value);
    }
    if let Ok(Value::Object(metadata)) = serde_json::from_str(metadata) {
        bundle.metadata.extend(metadata);
    }
    bundle
}

fn comm_message(frame: CommFrame) -> CommMessage {
    let object = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| json!({}));
    CommMessage {
        data: object(&frame.data),
        metadata: object(&frame.metadata),
        comm_id: frame.id,
        kind: match frame.kind {
            CommFrameKind::Open(target) => CommKind::Open(target),
            CommFrameKind::Message => CommKind::Message,
            CommFrameKind::Close => CommKind::Close,
        },
        buffers: frame.buffers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_become_what_the_front_end_takes() {
        let part = |mime: &str, form, data: &[u8]| Part { mime: mime.into(), form, data: data.to_vec() };
        let parts = vec![
            part("text/plain", Form::Text, b"a\xff"),
            part("image/png", Form::Bytes, &[0, 1, 2]),
            part("application/json", Form::Json, b"{\"a\": 1}"),
            part("application/x+json", Form::Json, b"{"),
        ];
        let bundle = bundle(parts, "{\"image/png\": {\"width\": 3}}");
        assert_eq!(bundle.plain(), "a\u{fffd}");
        assert_eq!(bundle.data["image/png"], "AAEC");
        assert_eq!(bundle.data["application/json"]["a"], 1);
        assert_eq!(bundle.data["application/x+json"], "{");
        assert_eq!(bundle.metadata["image/png"]["width"], 3);
    }
}
