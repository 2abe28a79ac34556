//! What a command gives back: one typed result that renders in a notebook, a terminal or as JSON.

use crate::MimeBundle;
use serde_json::Value;

/// A command's result.
///
/// `summary` is one line and always shown first. `detail` is plain text below it (a table, a
/// listing); `html` is the same detail for a notebook, when a richer form exists. `displays` are
/// shown after it, one `display_data` each. `json` is what `--json` prints and what programs read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    pub summary: String,
    pub detail: String,
    pub html: Option<String>,
    pub displays: Vec<MimeBundle>,
    pub json: Value,
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
