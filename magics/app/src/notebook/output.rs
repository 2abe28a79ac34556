//! Outputs of a code cell, in the four shapes of nbformat 4, and its text-as-lines convention.

use dds_core::MimeBundle;
use serde_json::{Map, Value, json};

/// One output.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// `name` is `stdout` or `stderr`.
    Stream {
        name: String,
        text: String,
    },
    /// `display_id` lives only while the kernel does; it is not written.
    Display {
        bundle: MimeBundle,
        display_id: Option<String>,
    },
    /// The value of a cell's last expression.
    Result {
        bundle: MimeBundle,
        execution_count: Option<i64>,
        display_id: Option<String>,
    },
    Error {
        ename: String,
        evalue: String,
        traceback: Vec<String>,
    },
}

impl Output {
    /// Reads one element of `outputs`; none when it has no known shape.
    pub fn from_value(v: &Value) -> Option<Self> {
        let text = |key: &str| v.get(key).and_then(text_value);
        match v.get("output_type")?.as_str()? {
            "stream" => Some(Output::Stream {
                name: if text("name").as_deref() == Some("stderr") { "stderr" } else { "stdout" }.into(),
                text: text("text").unwrap_or_default(),
            }),
            "display_data" | "update_display_data" => {
                Some(Output::Display { bundle: bundle_from(v), display_id: None })
            }
            "execute_result" => Some(Output::Result {
                bundle: bundle_from(v),
                execution_count: v.get("execution_count").and_then(Value::as_i64),
                display_id: None,
            }),
            "error" => Some(Output::Error {
                ename: text("ename").unwrap_or_default(),
                evalue: text("evalue").unwrap_or_default(),
                traceback: v
                    .get("traceback")
                    .and_then(Value::as_array)
                    .map(|l| l.iter().filter_map(Value::as_str).map(str::to_owned).collect())
                    .unwrap_or_default(),
            }),
            _ => None,
        }
    }

    /// As nbformat 4.5 writes it.
    pub fn to_value(&self) -> Value {
        match self {
            Output::Stream { name, text } => {
                json!({"output_type": "stream", "name": name, "text": lines_value(text)})
            }
            Output::Display { bundle, .. } => json!({
                "output_type": "display_data",
                "data": bundle_data(bundle),
                "metadata": bundle.metadata,
            }),
            Output::Result { bundle, execution_count, .. } => json!({
                "output_type": "execute_result",
                "data": bundle_data(bundle),
                "metadata": bundle.metadata,
                "execution_count": execution_count,
            }),
            Output::Error { ename, evalue, traceback } => {
                json!({"output_type": "error", "ename": ename, "evalue": evalue, "traceback": traceback})
            }
        }
    }

    /// Bytes of text that the output holds, roughly; for bounds.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Output::Stream { text, .. } => text.len(),
            Output::Display { bundle, .. } | Output::Result { bundle, .. } => bundle_weight(bundle),
            Output::Error { ename, evalue, traceback } => {
                ename.len() + evalue.len() + traceback.iter().map(String::len).sum::<usize>()
            }
        }
    }
}

pub(crate) fn bundle_weight(bundle: &MimeBundle) -> usize {
    fn weight(v: &Value) -> usize {
        match v {
            Value::String(s) => s.len(),
            Value::Array(l) => l.iter().map(weight).sum::<usize>() + 8,
            Value::Object(m) => m.iter().map(|(k, v)| k.len() + weight(v)).sum::<usize>() + 8,
            _ => 8,
        }
    }
    bundle.data.values().map(weight).sum::<usize>() + bundle.metadata.values().map(weight).sum::<usize>()
}

/// `data` and `metadata` of a message or of a saved output. Text given as lines is joined.
pub(crate) fn bundle_from(v: &Value) -> MimeBundle {
    let object = |key: &str| v.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
    let data = object("data")
        .into_iter()
        .map(|(mime, value)| match text_value(&value) {
            Some(text) if !is_json(&mime) => (mime, Value::String(text)),
            _ => (mime, value),
        })
        .collect();
    MimeBundle { data, metadata: object("metadata") }
}

fn bundle_data(bundle: &MimeBundle) -> Map<String, Value> {
    bundle
        .data
        .iter()
        .map(|(mime, v)| {
            let lines =
                mime.starts_with("text/") || mime == "image/svg+xml" || mime == "application/javascript";
            let value = match v {
                Value::String(s) if lines => lines_value(s),
                // The schema allows other values for JSON types only.
                Value::String(_) => v.clone(),
                other if is_json(mime) => other.clone(),
                other => Value::String(other.to_string()),
            };
            (mime.clone(), value)
        })
        .collect()
}

fn is_json(mime: &str) -> bool {
    mime == "application/json" || (mime.starts_with("application/") && mime.ends_with("+json"))
}

/// nbformat's multi-line string: a string, or a list of strings to be joined.
pub(crate) fn text_value(v: &Value) -> Option<String> {
    match v {
        Value::String(s) => Some(s.clone()),
        Value::Array(lines) => lines.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

/// Text as a list of lines that keep their line feeds, as Jupyter saves it.
pub(crate) fn lines_value(text: &str) -> Value {
    text.split_inclusive('\n').map(|l| Value::String(l.to_owned())).collect()
}
