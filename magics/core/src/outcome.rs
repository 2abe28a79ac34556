//! What a command gives back: one typed result that renders in a notebook, a terminal or as JSON.

use crate::MimeBundle;
use serde::Serialize;
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

/// A command's result.
///
/// `summary` is one line and always shown first. `detail` is plain text below it (a table, a
/// listing); `html` is the same detail for a notebook, when a richer form exists. `displays` are
/// shown after it, one `display_data` each. `json` is what `--json` prints and what programs read;
/// where `large` is, it stands for `json`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    pub summary: String,
    pub detail: String,
    pub html: Option<String>,
    pub displays: Vec<MimeBundle>,
    pub json: Value,
    pub large: Option<Large>,
}

/// Data of a result that is written when somebody asks for it: as a [`Value`] it would need many times the
/// memory of what it is made of.
#[derive(Clone)]
pub struct Large(Arc<dyn Written>);

trait Written: Send + Sync {
    fn write(&self, out: &mut dyn Write) -> serde_json::Result<()>;
    fn value(&self) -> Value;
}

impl<T: Serialize + Send + Sync> Written for T {
    fn write(&self, out: &mut dyn Write) -> serde_json::Result<()> {
        serde_json::to_writer_pretty(out, self)
    }

    fn value(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

impl fmt::Debug for Large {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Large")
    }
}

impl PartialEq for Large {
    fn eq(&self, other: &Self) -> bool {
        self.0.value() == other.0.value()
    }
}

impl Outcome {
    pub fn new(summary: impl Into<String>, json: Value) -> Self {
        Self { summary: summary.into(), json, ..Self::default() }
    }

    pub fn detail(mut self, text: impl Into<String>) -> Self {
        self.detail = text.into();
        self
    }

    pub fn html(mut self, html: impl Into<String>) -> Self {
        self.html = Some(html.into());
        self
    }

    /// In the place of `json`.
    pub fn large(mut self, data: impl Serialize + Send + Sync + 'static) -> Self {
        self.large = Some(Large(Arc::new(data)));
        self
    }

    /// The data, built if it is large.
    pub fn data(&self) -> Cow<'_, Value> {
        match &self.large {
            Some(large) => Cow::Owned(large.0.value()),
            None => Cow::Borrowed(&self.json),
        }
    }

    /// The data as indented text, piece by piece.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        match &self.large {
            Some(large) => Ok(large.0.write(out)?),
            None => Ok(serde_json::to_writer_pretty(out, &self.json)?),
        }
    }

    pub fn display(mut self, bundle: MimeBundle) -> Self {
        self.displays.push(bundle);
        self
    }

    /// Summary and detail as terminal text, without a trailing line feed.
    pub fn text(&self) -> String {
        match (self.summary.is_empty(), self.detail.is_empty()) {
            (false, false) => format!("{}\n{}", self.summary, self.detail),
            (false, true) => self.summary.clone(),
            (true, _) => self.detail.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_data_is_what_it_would_be_as_a_value() {
        let value = serde_json::json!({"entries": [1, 2], "target": "t"});
        let small = Outcome::new("s", value.clone());
        let large = Outcome::new("s", Value::Null).large(value.clone());
        assert_eq!((small.data().as_ref(), large.data().as_ref()), (&value, &value));
        let written = |outcome: &Outcome| {
            let mut out = Vec::new();
            outcome.write_json(&mut out).unwrap();
            out
        };
        assert_eq!(written(&large), serde_json::to_string_pretty(&value).unwrap().into_bytes());
        assert_eq!(written(&large), written(&small));
        assert_eq!(large, large.clone());
    }
}
