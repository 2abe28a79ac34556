//! What a notebook shows of a command: its result as display bundles, its error as a traceback.

use dds_core::eval::CellError;
use dds_core::mime::{escape_html, printable};
use dds_core::{Error, MimeBundle, Outcome};
use serde_json::{Value, json};

/// Most bytes of a typed result that travel in an output's metadata; a larger one is left out, so
/// that a listing of a million files does not fill the notebook.
pub const MAX_RESULT_BYTES: usize = 256 * 1024;

/// The displays of a command's outcome, in order. The first carries the typed result in its
/// metadata: `dds: {"command": NAME, "result": …}`, with `"omitted": true` for one over the limit.
pub(crate) fn bundles(command: &str, outcome: &Outcome, as_json: bool) -> Vec<MimeBundle> {
    let mut out = Vec::new();
    if as_json {
        let data = outcome.data().into_owned();
        let text = serde_json::to_string_pretty(&data).unwrap_or_default();
        out.push(MimeBundle::text(text).with("application/json", data));
    } else {
        if let Some(first) = text_bundle(outcome) {
            out.push(first);
        }
        out.extend(outcome.displays.iter().cloned());
    }
    if let Some(first) = out.first_mut() {
        first.metadata.insert("dds".into(), typed(command, outcome));
    }
    out
}

fn typed(command: &str, outcome: &Outcome) -> Value {
    let result = &outcome.json;
    if outcome.large.is_some() {
        return json!({"command": command, "omitted": true});
    }
    let size = serde_json::to_string(result).map_or(usize::MAX, |t| t.len());
    if size > MAX_RESULT_BYTES {
        return json!({"command": command, "omitted": true});
    }
    json!({"command": command, "result": result})
}

/// Summary and detail as text and as a small page; none when there is neither.
pub(crate) fn text_bundle(outcome: &Outcome) -> Option<MimeBundle> {
    let text = printable(&outcome.text());
    if text.trim().is_empty() && outcome.html.is_none() {
        return None;
    }
    let mut html = String::from("<div>");
    if !outcome.summary.is_empty() {
        html.push_str(&format!(
            "<div style=\"margin-bottom:.3em\">{}</div>",
            escape_html(&printable(&outcome.summary))
        ));
    }
    match &outcome.html {
        Some(rich) => html.push_str(rich),
        None if !outcome.detail.is_empty() => html.push_str(&format!(
            "<pre style=\"margin:0;overflow-x:auto\">{}</pre>",
            escape_html(&printable(&outcome.detail))
        )),
        None => {}
    }
    html.push_str("</div>");
    Some(MimeBundle::text(text).with("text/html", html))
}

/// An error in the words of a notebook: `Kind: message`, and the hint on lines of its own.
pub fn cell_error(error: &Error) -> CellError {
    let message = printable(&error.message);
    let mut traceback = vec![format!("\u{1b}[31;1m{}\u{1b}[0m: {message}", error.kind.name())];
    if let Some(hint) = &error.hint {
        let hint = printable(&dds_cmd::usage::worded(dds_cmd::Door::Cell, hint));
        traceback.push(format!("\u{1b}[36mhint:\u{1b}[0m {hint}"));
    }
    CellError { ename: error.kind.name().to_owned(), evalue: message, traceback }
}

/// The same error, saying where in the cell it arose (`line` from 0). The command itself is not
/// repeated: it may hold a token.
pub(crate) fn at_line(mut error: CellError, line: usize) -> CellError {
    let at = format!("\u{1b}[2min line {} of the cell\u{1b}[0m", line + 1);
    error.traceback.insert(error.traceback.len().min(1), at);
    error
}
