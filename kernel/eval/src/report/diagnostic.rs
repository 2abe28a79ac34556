//! What rustc says, read from its JSON: messages, places, suggested changes. Everything in it is
//! taken as coming from outside: fields that are missing or odd are left out.

use crate::prelude::METHOD;
use evcxr::CompilationError;
use serde_json::Value;

/// Deepest nesting of macro expansions that is followed.
const MAX_EXPANSIONS: usize = 16;
/// Most places read of one message.
const MAX_SPANS: usize = 64;
/// The file that rustc compiles a cell as.
pub(super) const CELL_FILE: &str = "src/lib.rs";

#[derive(Clone, Debug, Default)]
pub(super) struct Diagnostic {
    pub level: String,
    pub message: String,
    /// `E0382`; nothing else, the names of lints are left out.
    pub code: Option<String>,
    pub spans: Vec<Span>,
    pub children: Vec<Diagnostic>,
}

/// A place, as lines and columns from 1 of the code that was compiled.
#[derive(Clone, Debug, Default)]
pub(super) struct Span {
    /// In the code compiled for the cell, not in a library.
    pub in_cell: bool,
    pub line_start: usize,
    pub line_end: usize,
    pub column_start: usize,
    /// Exclusive.
    pub column_end: usize,
    pub primary: bool,
    pub label: String,
    /// What to put there instead.
    pub replacement: Option<String>,
    /// Source lines from `line_start` on.
    pub text: Vec<String>,
    /// Where the macro is called that the place is inside of.
    pub called_at: Option<Box<Span>>,
    /// Lines and columns are those of the user's cell already.
    pub in_users_terms: bool,
}

impl Diagnostic {
    pub(super) fn of(error: &CompilationError) -> Self {
        if error.json.is_null() {
            return Self::of_evcxr(error);
        }
        let mut read = Self::read(&error.json);
        // evcxr has taken its own names out of this one.
        read.message = error.message();
        read
    }

    /// An error that evcxr itself has found.
    fn of_evcxr(error: &CompilationError) -> Self {
        let spans = error.spanned_messages().iter().filter_map(|part| {
            let at = part.span?;
            Some(Span {
                in_cell: true,
                in_users_terms: true,
                line_start: at.start_line,
                line_end: at.end_line,
                column_start: at.start_column,
                column_end: at.end_column,
                primary: true,
                label: part.label.clone(),
                ..Span::default()
            })
        });
        Self {
            level: "error".to_owned(),
            message: error.message(),
            spans: spans.take(MAX_SPANS).collect(),
            ..Self::default()
        }
    }

    fn read(json: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let code = json["code"]["code"].as_str();
        let is_error_code = |code: &&str| {
            code.strip_prefix('E').is_some_and(|n| n.len() == 4 && n.bytes().all(|b| b.is_ascii_digit()))
        };
        Self {
            level: text(&json["level"]),
            message: text(&json["message"]),
            code: code.filter(is_error_code).map(str::to_owned),
            spans: list(&json["spans"]).iter().take(MAX_SPANS).map(|span| Span::read(span, 0)).collect(),
            children: list(&json["children"]).iter().take(MAX_SPANS).map(Self::read).collect(),
        }
    }

    /// Whether it is about how the cell's value is shown, which only generated code asks for.
    pub(super) fn is_about_value(&self) -> bool {
        let asks = |text: &String| text.contains(&format!(").{METHOD}()"));
        self.message.contains(METHOD)
            || self.spans.iter().any(|span| span.primary && span.text.iter().any(asks))
    }

    pub(super) fn is_error(&self) -> bool {
        self.level.starts_with("error")
    }
}

impl Span {
    fn read(json: &Value, depth: usize) -> Self {
        let number = |name: &str| json[name].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        let lines = json["text"].as_array().map(Vec::as_slice).unwrap_or_default();
        let expansion = &json["expansion"]["span"];
        let outer = (expansion.is_object() && depth < MAX_EXPANSIONS)
            .then(|| Box::new(Self::read(expansion, depth + 1)));
        let own = Self {
            in_cell: json["file_name"].as_str() == Some(CELL_FILE),
            line_start: number("line_start"),
            line_end: number("line_end"),
            column_start: number("column_start"),
            column_end: number("column_end"),
            primary: json["is_primary"].as_bool().unwrap_or(false),
            label: json["label"].as_str().unwrap_or("").to_owned(),
            replacement: json["suggested_replacement"].as_str().map(str::to_owned),
            text: lines.iter().map(|line| line["text"].as_str().unwrap_or("").to_owned()).collect(),
            called_at: None,
            in_users_terms: false,
        };
        match outer {
            // Inside a library's macro: the user wrote the call of it.
            Some(outer) if !own.in_cell && outer.reaches_cell() => {
                let Self { primary, label, replacement, .. } = own;
                Self { primary, label, replacement, ..*outer }
            }
            outer => Self { called_at: outer, ..own },
        }
    }

    fn reaches_cell(&self) -> bool {
        self.in_cell || self.called_at.as_ref().is_some_and(|outer| outer.reaches_cell())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn macros_of_libraries_lead_to_their_call() {
        let read = Diagnostic::read(&json!({
            "message": "m", "level": "error", "code": {"code": "E0277"}, "children": [],
            "spans": [{
                "file_name": "/rustc/x/library/std/src/macros.rs", "line_start": 1, "column_start": 1,
                "is_primary": true, "label": "here",
                "expansion": {"span": {
                    "file_name": "src/lib.rs", "line_start": 7, "line_end": 7, "column_start": 3,
                    "column_end": 5, "is_primary": false, "text": [{"text": "  p!()"}]
                }}
            }]
        }));
        let span = &read.spans[0];
        assert_eq!((span.in_cell, span.line_start, span.primary), (true, 7, true));
        assert_eq!((span.label.as_str(), span.text[0].as_str()), ("here", "  p!()"));
        assert_eq!(read.code.as_deref(), Some("E0277"));
    }

    #[test]
    fn odd_json_is_read_as_far_as_it_goes() {
        for odd in [json!(null), json!({"spans": 1, "code": "E"}), json!({"children": [3], "spans": [[]]})] {
            assert!(!Diagnostic::read(&odd).is_error());
        }
        let lint = json!({"level": "warning", "code": {"code": "unused_mut"}});
        assert_eq!(Diagnostic::read(&lint).code, None);
    }
}
