//! Turns a running cell's iopub messages into the outputs of the notebook, as front ends do:
//! neighbouring text of one stream is merged, displays are updated by id wherever they are, and
//! `clear_output` waits for what replaces it when asked to.

use crate::notebook::output::{bundle_from, bundle_weight};
use crate::notebook::{CellKind, Notebook, Output};
use serde_json::Value;

/// Most bytes of output kept of one cell; a note says so when more came.
pub const MAX_CELL_OUTPUT_BYTES: usize = 64 * 1024 * 1024;
/// What an output weighs besides its text, so that many empty ones are bounded too.
const OUTPUT_OVERHEAD: usize = 128;

/// Collects the outputs of the cell at `index`.
pub(super) struct Collector {
    index: usize,
    clear_next: bool,
    weight: usize,
    limit: usize,
    full: bool,
}

impl Collector {
    pub(super) fn new(index: usize) -> Self {
        Self { index, clear_next: false, weight: 0, limit: MAX_CELL_OUTPUT_BYTES, full: false }
    }

    /// Applies one iopub message of this cell.
    pub(super) fn take(&mut self, nb: &mut Notebook, msg_type: &str, content: &Value) {
        let display_id = content
            .get("transient")
            .and_then(|t| t.get("display_id"))
            .and_then(Value::as_str)
            .map(str::to_owned);
        let tagged = |kind: &str| {
            let mut v = content.clone();
            if let Value::Object(m) = &mut v {
                m.insert("output_type".into(), Value::String(kind.into()));
            }
            Output::from_value(&v)
        };
        match msg_type {
            "execute_input" => {
                if let Some(CellKind::Code { execution_count, .. }) =
                    nb.cells.get_mut(self.index).map(|c| &mut c.kind)
                {
                    *execution_count = content.get("execution_count").and_then(Value::as_i64);
                }
            }
            "stream" | "error" => {
                if let Some(o) = tagged(msg_type) {
                    self.push(nb, o);
                }
            }
            "display_data" => {
                self.push(nb, Output::Display { bundle: bundle_from(content), display_id });
            }
            "execute_result" => self.push(
                nb,
                Output::Result {
                    bundle: bundle_from(content),
                    execution_count: content.get("execution_count").and_then(Value::as_i64),
                    display_id,
                },
            ),
            "update_display_data" => {
                if let Some(id) = display_id {
                    self.update(nb, &id, content);
                }
            }
            "clear_output" => {
                if content.get("wait").and_then(Value::as_bool).unwrap_or(false) {
                    self.clear_next = true;
                } else {
                    self.clear(nb);
                }
            }
            _ => {}
        }
    }

    fn update(&mut self, nb: &mut Notebook, id: &str, content: &Value) {
        let fresh = bundle_from(content);
        if bundle_weight(&fresh) > self.limit {
            return;
        }
        for cell in &mut nb.cells {
            let CellKind::Code { outputs, .. } = &mut cell.kind else { continue };
            for o in outputs {
                if let Output::Display { bundle, display_id } | Output::Result { bundle, display_id, .. } = o
                    && display_id.as_deref() == Some(id)
                {
                    *bundle = fresh.clone();
                }
            }
        }
    }

    fn push(&mut self, nb: &mut Notebook, output: Output) {
        if self.clear_next {
            self.clear(nb);
        }
        let Some(CellKind::Code { outputs, .. }) = nb.cells.get_mut(self.index).map(|c| &mut c.kind) else {
            return;
        };
        // An error always finds room: it is the one output that nobody may miss.
        let is_error = matches!(output, Output::Error { .. });
        let weight = output.weight() + OUTPUT_OVERHEAD;
        if self.weight + weight > self.limit && !is_error {
            if !self.full {
                self.full = true;
                let text =
                    format!("\n[dds: more than {} MiB of output; the rest is left out]\n", self.limit >> 20);
                outputs.push(Output::Stream { name: "stderr".into(), text });
            }
            return;
        }
        self.weight += weight;
        match (outputs.last_mut(), output) {
            (Some(Output::Stream { name, text }), Output::Stream { name: n, text: more }) if *name == n => {
                text.push_str(&more);
            }
            (_, output) => outputs.push(output),
        }
    }

    fn clear(&mut self, nb: &mut Notebook) {
        self.clear_next = false;
        self.weight = 0;
        self.full = false;
        if let Some(CellKind::Code { outputs, .. }) = nb.cells.get_mut(self.index).map(|c| &mut c.kind) {
            outputs.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn notebook(cells: usize) -> Notebook {
        let cell = json!({"cell_type": "code", "source": "x", "metadata": {}, "outputs": []});
        let v = json!({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": vec![cell; cells]});
        Notebook::from_bytes(v.to_string().as_bytes()).unwrap()
    }

    fn stream(text: &str) -> Value {
        json!({"name": "stdout", "text": text})
    }

    #[test]
    fn text_of_one_stream_is_merged_and_kept_apart_from_the_other() {
        let mut nb = notebook(1);
        let mut c = Collector::new(0);
        c.take(&mut nb, "stream", &stream("a"));
        c.take(&mut nb, "stream", &stream("b\n"));
        c.take(&mut nb, "stream", &json!({"name": "stderr", "text": "e"}));
        c.take(&mut nb, "stream", &stream("c"));
        let texts: Vec<_> = nb.cells[0].outputs().iter().map(|o| o.to_value()["text"][0].clone()).collect();
        assert_eq!(texts, ["ab\n", "e", "c"]);
    }

    #[test]
    fn a_display_is_updated_in_an_earlier_cell_too() {
        let mut nb = notebook(2);
        let shown =
            |t: &str| json!({"data": {"text/plain": t}, "metadata": {}, "transient": {"display_id": "p"}});
        Collector::new(0).take(&mut nb, "display_data", &shown("0 %"));
        Collector::new(1).take(&mut nb, "update_display_data", &shown("100 %"));
        assert!(nb.cells[1].outputs().is_empty());
        assert_eq!(nb.cells[0].outputs()[0].to_value()["data"]["text/plain"][0], "100 %");
    }

    #[test]
    fn clear_output_waits_for_its_replacement() {
        let mut nb = notebook(1);
        let mut c = Collector::new(0);
        c.take(&mut nb, "stream", &stream("old"));
        c.take(&mut nb, "clear_output", &json!({"wait": true}));
        assert_eq!(nb.cells[0].outputs().len(), 1);
        c.take(&mut nb, "stream", &stream("new"));
        assert_eq!(nb.cells[0].outputs(), [Output::Stream { name: "stdout".into(), text: "new".into() }]);
        c.take(&mut nb, "clear_output", &json!({}));
        assert!(nb.cells[0].outputs().is_empty());
    }

    #[test]
    fn output_is_bounded_and_an_error_still_shows() {
        let mut nb = notebook(1);
        let mut c = Collector { limit: 1000, ..Collector::new(0) };
        c.take(&mut nb, "stream", &stream(&"x".repeat(1000 - OUTPUT_OVERHEAD)));
        assert_eq!(nb.cells[0].outputs().len(), 1);
        c.take(&mut nb, "stream", &stream("y"));
        c.take(&mut nb, "stream", &stream("z"));
        c.take(&mut nb, "error", &json!({"ename": "E", "evalue": "v", "traceback": []}));
        let outputs = nb.cells[0].outputs();
        assert_eq!(outputs.len(), 3, "{outputs:?}");
        assert!(matches!(&outputs[1], Output::Stream { text, .. } if text.contains("left out")));
        assert!(matches!(&outputs[2], Output::Error { .. }));
    }
}
