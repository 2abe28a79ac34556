//! Compile errors over the user's own lines.

use super::{BLUE, CYAN, RED, RESET, source_line, underline};
use dds_core::eval::CellError;
use dds_core::lex::{Completeness, is_complete};
use evcxr::CompilationError;

/// Most errors shown of one cell; the rest is counted.
const MAX_ERRORS: usize = 10;
/// Names that only generated code has.
const OURS: [&str; 4] = ["evcxr", "EVCXR", "DdsShow", "dds_show"];

/// `code` is the whole cell; lines of the errors count from its first line, after `skip` lines
/// that stand before it.
pub(crate) fn compile_error(errors: &[CompilationError], code: &str, skip: usize) -> CellError {
    let lines: Vec<&str> = code.lines().collect();
    let mut traceback = Vec::new();
    let mut shown: Vec<Vec<String>> = Vec::new();
    let serious: Vec<&CompilationError> = errors.iter().filter(|error| error.level() == "error").collect();
    // evcxr may have put a note in the place of the error it belongs to.
    let errors = if serious.is_empty() { errors.iter().collect() } else { serious };
    for error in &errors {
        let text = render(error, &lines, skip);
        if !shown.contains(&text) {
            shown.push(text);
        }
    }
    let more = shown.len().saturating_sub(MAX_ERRORS);
    for (index, text) in shown.into_iter().take(MAX_ERRORS).enumerate() {
        if index > 0 {
            traceback.push(String::new());
        }
        traceback.extend(text);
    }
    if more > 0 {
        traceback.push(format!("… and {more} more"));
    }
    let open = matches!(is_complete(code), Completeness::Incomplete { .. });
    if open && errors.iter().all(|error| error.spanned_messages().iter().all(|part| part.span.is_none())) {
        // What the compiler says is about the code that follows the cell's.
        const OPEN: &str = "the cell ends inside a string, comment, bracket or statement";
        return CellError {
            ename: "CompileError".to_owned(),
            evalue: OPEN.to_owned(),
            traceback: super::headline("error", OPEN),
        };
    }
    let first = errors.first();
    let code = first.and_then(|error| error.code());
    let ename = code.map_or_else(|| "CompileError".to_owned(), |code| format!("Error[{code}]"));
    let evalue = first.map_or_else(|| "the cell does not compile".to_owned(), |error| message(error));
    CellError { ename, evalue, traceback }
}

fn message(error: &CompilationError) -> String {
    let message = error.message();
    let message = message.trim().strip_prefix("error: ").unwrap_or(message.trim());
    if speaks_of_ours(message) { "the cell does not compile".to_owned() } else { message.to_owned() }
}

fn speaks_of_ours(text: &str) -> bool {
    OURS.iter().any(|name| text.contains(name))
}

fn render(error: &CompilationError, lines: &[&str], skip: usize) -> Vec<String> {
    let head = match error.code() {
        Some(code) => format!("error[{code}]"),
        None => "error".to_owned(),
    };
    let mut out = super::headline(&head, &message(error));
    let mut spans = Vec::new();
    for part in error.spanned_messages() {
        let place = part.span.map(|at| [at.start_line, at.start_column, at.end_line, at.end_column]);
        spans.extend(place.and_then(|place| Mark::of(place, &part.label, part.is_primary, lines, skip)));
    }
    if spans.is_empty() && error.message().contains("doesn't implement") {
        // Said of the code that shows the cell's value.
        spans.extend(Mark::value_of(lines));
    } else if spans.is_empty() {
        spans.extend(Mark::named_in(&error.message(), lines));
    }
    if let Some(primary) = spans.iter().find(|mark| mark.primary).or(spans.first()) {
        out.push(format!("{BLUE} -->{RESET} line {}, column {}", primary.line, primary.start + 1));
    }
    spans.sort_by_key(|mark| (mark.line, mark.start));
    spans.dedup_by(|a, b| a.line == b.line && a.start == b.start && a.end == b.end && a.label == b.label);
    let mut last_line = 0;
    for mark in &spans {
        if mark.line != last_line {
            out.push(source_line(mark.line, mark.text));
        }
        last_line = mark.line;
        let sign = if mark.primary { '^' } else { '-' };
        out.push(underline(mark.line, mark.text, mark.start..mark.end, sign, mark.label));
    }
    out.extend(notes(error));
    if let Some(hint) = error.evcxr_extra_hint().or(extra_hint(error)) {
        out.push(format!("{CYAN}hint{RESET}: {hint}"));
    }
    out
}

/// What the compiler adds without pointing at a place: notes, and help with its replacement.
fn notes(error: &CompilationError) -> Vec<String> {
    let children = error.json["children"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut out = Vec::new();
    for child in children {
        let (Some(level), Some(text)) = (child["level"].as_str(), child["message"].as_str()) else {
            continue;
        };
        let replacement = child["spans"][0]["suggested_replacement"].as_str().unwrap_or("").trim();
        if speaks_of_ours(text) || speaks_of_ours(replacement) || text.is_empty() {
            continue;
        }
        // A note that points into a library or into generated code says nothing without it.
        if level == "note" && child["spans"].as_array().is_some_and(|spans| !spans.is_empty()) {
            continue;
        }
        let colour = if level == "help" { CYAN } else { RED };
        let mut text_lines = text.lines();
        let first = text_lines.next().unwrap_or("");
        let shown = match replacement {
            "" => first.to_owned(),
            one_line if !one_line.contains('\n') => format!("{first}: `{one_line}`"),
            _ => first.to_owned(),
        };
        out.push(format!("{colour}{level}{RESET}: {shown}"));
        out.extend(text_lines.map(|line| format!("      {line}")));
    }
    out
}

fn extra_hint(error: &CompilationError) -> Option<&'static str> {
    match error.code()? {
        "E0384" | "E0596" => Some("A variable of an earlier cell becomes mutable by `let mut x = x;`"),
        "E0432" | "E0433" | "E0463" => Some("A crate is added by a line such as `:dep regex = \"1\"`"),
        _ => None,
    }
}

/// A stretch of one line of the user's, in characters from 0.
struct Mark<'a> {
    line: usize,
    start: usize,
    end: usize,
    text: &'a str,
    label: &'a str,
    primary: bool,
}

impl<'a> Mark<'a> {
    /// The name that a message without a place is about, where it stands first. (Imports are
    /// compiled one by one, away from their lines.)
    fn named_in(message: &str, lines: &[&'a str]) -> Option<Self> {
        let name = message.split('`').nth(1)?;
        let name = name.rsplit("::").next().filter(|name| name.chars().any(char::is_alphanumeric))?;
        lines.iter().enumerate().find_map(|(index, text)| {
            let at = text.find(name)?;
            let start = text.get(..at)?.chars().count();
            let end = start + name.chars().count();
            Some(Self { line: index + 1, start, end, text, label: "", primary: true })
        })
    }

    /// The last line of the user's.
    fn value_of(lines: &[&'a str]) -> Option<Self> {
        let (index, text) = lines.iter().enumerate().rev().find(|(_, line)| !line.trim().is_empty())?;
        let start = text.chars().take_while(|c| c.is_whitespace()).count();
        let end = text.trim_end().chars().count();
        Some(Self { line: index + 1, start, end, text, label: "the value of this cell", primary: true })
    }

    /// `place`: start line and column, end line and column, all from 1, as the compiler counts.
    fn of(place: [usize; 4], label: &'a str, primary: bool, lines: &[&'a str], skip: usize) -> Option<Self> {
        let [start_line, start_column, end_line, end_column] = place;
        let line = start_line.checked_sub(skip).filter(|line| *line > 0)?;
        let text = lines.get(line - 1)?;
        let start = start_column.saturating_sub(1);
        let end = if end_line == start_line { end_column.saturating_sub(1) } else { text.chars().count() };
        // The label repeats the headline where the compiler gave none of its own.
        let label =
            label.lines().next().filter(|label| !speaks_of_ours(label) && !label.starts_with("error: "));
        Some(Self { line, start, end, text, label: label.unwrap_or(""), primary })
    }
}
