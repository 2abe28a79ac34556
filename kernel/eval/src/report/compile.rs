//! Compile errors over the user's own lines.

use super::advice::{self, Advice};
use super::diagnostic::{Diagnostic, Span};
use super::snippet::{Change, Mark, changed, snippets};
use super::sources::{Place, Source, Sources};
use super::{BLUE, BOLD, CYAN, GREEN, RED, RESET, headline};
use dds_core::eval::CellError;
use dds_core::lex::{OpenEnd, open_end};
use evcxr::CompilationError;
use std::ops::Range;

/// Most errors shown of one cell; the rest is counted.
const MAX_ERRORS: usize = 10;
/// Most ways shown of changing the same place.
const MAX_ALTERNATIVES: usize = 4;
/// Longest `evalue`, in characters.
const MAX_EVALUE: usize = 200;
/// Names that only generated code has.
const OURS: [&str; 9] =
    ["evcxr", "EVCXR", "Evcxr", "DdsShow", "DdsDone", "dds_show", "dds_prelude", "dds_cell", "run_user_code"];
/// Notes that speak of the compiler's own ways.
const NOISE: [&str; 4] = [
    "this error originates in the macro",
    "the full name for the type has been written to",
    "the full type name has been written to",
    "consider using `--verbose`",
];

/// What there is to point at.
pub(crate) struct Scene<'a> {
    /// The cell that was compiled.
    pub running: &'a Source,
    pub sources: &'a Sources,
    /// The code that was compiled of it.
    pub generated: &'a str,
}

pub(crate) fn compile_error(errors: &[CompilationError], scene: &Scene<'_>) -> CellError {
    let read: Vec<Diagnostic> = errors.iter().map(Diagnostic::of).collect();
    failure(&read, scene)
}

pub(super) fn failure(read: &[Diagnostic], scene: &Scene<'_>) -> CellError {
    let lines: Vec<&str> = scene.generated.lines().collect();
    let eye = Eye { scene, generated: &lines };
    let errors = read.iter().filter(|one| one.is_error());
    let mut shown: Vec<Shown> = errors.map(|error| eye.render(error)).collect();
    if shown.is_empty() {
        // evcxr puts a note in the place of the error it belongs to, if that is in code of its own.
        let imports: Vec<&str> = read.iter().filter_map(missing_import).collect();
        if let [first, ..] = imports.as_slice() {
            let message = "the type of a variable of this cell has a name in it that is not in scope";
            let mut traceback = headline("error", message);
            traceback.extend(titled("help", "bring it into scope, in a line before"));
            traceback.push(format!("  {GREEN}+ {}{RESET}", first.trim()));
            return CellError { ename: "CompileError".to_owned(), evalue: message.to_owned(), traceback };
        }
        shown = read.iter().filter(|one| one.level != "warning").map(|error| eye.render(error)).collect();
    }
    let open = open_end(&scene.running.text);
    if shown.is_empty() || (open.is_some() && shown.iter().all(|one| one.at.is_none())) {
        // What the compiler says is about the code that follows the cell's.
        return unfinished(scene.running, open.as_ref());
    }
    // A stable sort: what has no place stays behind, in the compiler's order.
    shown.sort_by_key(|one| one.at.unwrap_or((usize::MAX, 0)));
    let mut traceback: Vec<String> = Vec::new();
    let mut seen: Vec<&Vec<String>> = Vec::new();
    for one in &shown {
        if seen.contains(&&one.lines) {
            continue;
        }
        if seen.len() < MAX_ERRORS {
            if !seen.is_empty() {
                traceback.push(String::new());
            }
            traceback.extend(one.lines.iter().cloned());
        }
        seen.push(&one.lines);
    }
    if seen.len() > MAX_ERRORS {
        traceback.push(format!("… and {} more", seen.len() - MAX_ERRORS));
    }
    let first = shown.first();
    let code = first.and_then(|one| one.code.as_ref());
    let ename = code.map_or_else(|| "CompileError".to_owned(), |code| format!("Error[{code}]"));
    let message = first.map_or("", |one| one.message.as_str());
    CellError { ename, evalue: shortened(message), traceback }
}

/// The cell ends too early.
fn unfinished(running: &Source, open: Option<&OpenEnd>) -> CellError {
    let text = |range: &Range<usize>| running.text.get(range.clone()).unwrap_or("");
    let (message, label, range) = match open {
        Some(OpenEnd::Bracket(range)) => {
            (format!("`{}` is not closed before the cell ends", text(range)), "opened here", range.clone())
        }
        Some(OpenEnd::Text(range)) => (
            "the cell ends inside a string or comment".to_owned(),
            "it begins here",
            range.start..range.start + 1,
        ),
        Some(OpenEnd::After(range)) => (
            format!("the cell ends after `{}`, where more must follow", text(range)),
            "more must follow",
            range.clone(),
        ),
        None => ("the cell does not compile".to_owned(), "", 0..0),
    };
    let mut traceback = headline("error", &message);
    if let Some(before) = running.text.get(..range.start).filter(|_| open.is_some()) {
        let start = before.rsplit('\n').next().unwrap_or("").chars().count();
        traceback.extend(snippets(&[Mark {
            source: running,
            line: before.matches('\n').count(),
            start,
            end: start + text(&range).chars().count(),
            label: label.to_owned(),
            primary: true,
        }]));
    }
    CellError { ename: "CompileError".to_owned(), evalue: message, traceback }
}

/// The `use` line of a suggestion that stands alone.
fn missing_import(note: &Diagnostic) -> Option<&str> {
    let replacement = note.spans.first()?.replacement.as_deref()?;
    (note.message.starts_with("consider importing") && replacement.starts_with("use ")).then_some(replacement)
}

/// The first line, at most [`MAX_EVALUE`] characters of it.
pub(super) fn shortened(message: &str) -> String {
    let line = message.lines().next().unwrap_or("").trim();
    match line.char_indices().nth(MAX_EVALUE) {
        Some((at, _)) => format!("{}…", line.get(..at).unwrap_or("")),
        None => line.to_owned(),
    }
}

pub(super) fn speaks_of_ours(text: &str) -> bool {
    OURS.iter().any(|name| text.contains(name))
}

/// One error as it is shown.
struct Shown {
    message: String,
    code: Option<String>,
    /// Line and column in the running cell.
    at: Option<(usize, usize)>,
    lines: Vec<String>,
}

/// Sees users' lines in generated ones.
struct Eye<'a> {
    scene: &'a Scene<'a>,
    generated: &'a [&'a str],
}

impl<'a> Eye<'a> {
    fn render(&self, error: &Diagnostic) -> Shown {
        let Advice { message, hints, hidden, marks: more } = advice::of(error, self.scene);
        let message = message.unwrap_or_else(|| {
            let message = error.message.trim();
            let message = message.strip_prefix("error: ").unwrap_or(message);
            if speaks_of_ours(message) { "the cell does not compile".to_owned() } else { message.to_owned() }
        });
        let head = match &error.code {
            Some(code) => format!("error[{code}]"),
            None => "error".to_owned(),
        };
        let mut lines = headline(&head, &message);
        let mut marks: Vec<Mark<'a>> = error.spans.iter().flat_map(|span| self.marks(span)).collect();
        if error.is_about_value() {
            marks.clear();
            marks.extend(self.value());
        } else if !marks.iter().any(|mark| mark.primary) {
            marks.extend(self.named_in(&error.message));
        }
        marks.extend(more);
        let marks = distinct(marks);
        lines.extend(snippets(&marks));
        for child in &error.children {
            if !hidden.iter().any(|start| child.message.starts_with(start)) {
                lines.extend(self.child(child));
            }
        }
        lines.extend(hints);
        if let Some(code) = &error.code {
            lines.push(format!(
                "{BLUE}  ={RESET} about this error: https://doc.rust-lang.org/error_codes/{code}.html"
            ));
        }
        let place = marks.iter().filter(|mark| mark.source == self.scene.running);
        let at = place.min_by_key(|mark| (!mark.primary, mark.line, mark.start));
        Shown { message, code: error.code.clone(), at: at.map(|mark| (mark.line, mark.start)), lines }
    }

    /// The generated lines with the number that `span` speaks of. What lies on disk may have come
    /// from another attempt; the message has the text itself.
    fn line_of(&self, span: &Span, number: usize) -> Option<(Vec<&str>, usize)> {
        let wanted = span.text.get(number.checked_sub(span.line_start)?).map(String::as_str);
        let there = self.generated.get(number.checked_sub(1)?).copied();
        if wanted.is_none() || wanted == there {
            return there.map(|_| (self.generated.to_vec(), number));
        }
        let wanted = wanted?;
        let alike = self.generated.iter().enumerate().filter(|(_, line)| **line == wanted);
        let closest = alike.map(|(index, _)| index + 1).min_by_key(|index| index.abs_diff(number));
        // Owned by the diagnostic; a line alone has no neighbours to tell it by.
        closest.map(|index| (self.generated.to_vec(), index))
    }

    fn place(&self, span: &Span, line: usize, column: usize) -> Option<Place<'a>> {
        let column = column.checked_sub(1)?;
        if span.in_users_terms {
            return Some(Place { source: self.scene.running, line: line.checked_sub(1)?, column });
        }
        if !span.in_cell {
            return None;
        }
        if let Some((lines, number)) = self.line_of(span, line) {
            return self.scene.sources.find(Some(self.scene.running), &lines, number, column);
        }
        let text = span.text.get(line.checked_sub(span.line_start)?)?;
        self.scene.sources.find(Some(self.scene.running), &[text], 1, column)
    }

    /// From where to where.
    fn stretch(&self, span: &Span) -> Option<(Place<'a>, Place<'a>)> {
        let start = self.place(span, span.line_start, span.column_start)?;
        if span.line_end <= span.line_start {
            let length = span.column_end.saturating_sub(span.column_start);
            return Some((start, Place { column: start.column + length, ..start }));
        }
        let end = self.place(span, span.line_end, span.column_end);
        let end = end.filter(|end| end.source == start.source && end.line > start.line);
        Some((start, end.unwrap_or(Place { column: usize::MAX, ..start })))
    }

    fn marks(&self, span: &Span) -> Vec<Mark<'a>> {
        let Some((start, end)) = self.stretch(span) else {
            // A macro of the user's that generated code calls, or the other way round.
            return span.called_at.as_ref().map(|outer| self.marks(outer)).unwrap_or_default();
        };
        let label = span.label.trim();
        let label = if speaks_of_ours(label) || label.starts_with("error: ") {
            String::new()
        } else {
            label.to_owned()
        };
        let label = label.replace("coroutine", "this cell").replace("`async` block", "this cell");
        let length = |line: usize| start.source.line(line).map_or(0, |text| text.trim_end().chars().count());
        let mark = |line: usize, from: usize, to: usize, label: String| Mark {
            source: start.source,
            line,
            start: from,
            end: to.min(length(line).max(from + 1)),
            label,
            primary: span.primary,
        };
        let mut marks = if end.line == start.line {
            vec![mark(start.line, start.column, end.column, label)]
        } else {
            let indent = start
                .source
                .line(end.line)
                .map_or(0, |text| text.chars().take_while(|c| c.is_whitespace()).count());
            vec![
                mark(start.line, start.column, usize::MAX, String::new()),
                mark(end.line, indent.min(end.column), end.column, label),
            ]
        };
        if span.primary
            && let Some(call) = outermost(span).and_then(|call| self.stretch(call))
            && call.0.line != start.line
        {
            let (from, to) = call;
            let end = if to.line == from.line { to.column } else { usize::MAX };
            let length = from.source.line(from.line).map_or(0, |text| text.trim_end().chars().count());
            marks.push(Mark {
                source: from.source,
                line: from.line,
                start: from.column,
                end: end.min(length.max(from.column + 1)),
                label: "in this macro call".to_owned(),
                primary: false,
            });
        }
        marks
    }

    /// The last expression, as far as it stands on its first line.
    fn value(&self) -> Option<Mark<'a>> {
        let source = self.scene.running;
        let range = crate::parse::final_expression(&source.text)?;
        let before = source.text.get(..range.start)?;
        let line = before.matches('\n').count();
        let start = before.rsplit('\n').next().unwrap_or("").chars().count();
        let text = source.text.get(range)?.lines().next().unwrap_or("");
        let end = start + text.chars().count();
        Some(Mark { source, line, start, end, label: "the value of this cell".to_owned(), primary: true })
    }

    /// The name that a message without a place is about, where it stands first. (Imports are
    /// compiled one by one, away from their lines.)
    fn named_in(&self, message: &str) -> Option<Mark<'a>> {
        let name = message.split('`').nth(1)?;
        let name = name.rsplit("::").next().filter(|name| name.chars().any(char::is_alphanumeric))?;
        let source = self.scene.running;
        source.text.lines().enumerate().find_map(|(line, text)| {
            let at = text.find(name)?;
            let start = text.get(..at)?.chars().count();
            let end = start + name.chars().count();
            Some(Mark { source, line, start, end, label: String::new(), primary: true })
        })
    }

    /// What the compiler adds: notes, and help with the change it would make.
    fn child(&self, child: &Diagnostic) -> Vec<String> {
        let text = child.message.trim();
        let noise = NOISE.iter().any(|start| text.starts_with(start))
            || text.contains("on by default")
            || speaks_of_ours(text);
        if text.is_empty() || noise {
            return Vec::new();
        }
        let (changes, places): (Vec<&Span>, Vec<&Span>) =
            child.spans.iter().partition(|span| span.replacement.is_some());
        let marks = distinct(places.iter().flat_map(|span| self.marks(span)).collect());
        if marks.is_empty() && !places.is_empty() && text.ends_with("here") {
            // It points into a library.
            return Vec::new();
        }
        let mut inline = Vec::new();
        let mut diffs = Vec::new();
        let alternatives = alternatives(&changes);
        for parts in alternatives.iter().take(MAX_ALTERNATIVES) {
            match (self.change(parts), parts.as_slice()) {
                (Some(diff), _) => diffs.extend(diff),
                (None, [part]) => {
                    let text = part.replacement.as_deref().unwrap_or("").trim();
                    if speaks_of_ours(text) {
                        return Vec::new();
                    } else if text.starts_with("use ") && !text.contains('\n') {
                        diffs.push(format!("  {GREEN}+ {text}{RESET}"));
                    } else if !text.is_empty() && !text.contains('\n') {
                        inline.push(format!("`{text}`"));
                    }
                }
                (None, _) => {}
            }
        }
        let more = alternatives.len().saturating_sub(MAX_ALTERNATIVES);
        if more > 0 {
            diffs.push(format!("  … and {more} more"));
        }
        let text = text.trim_end_matches(':');
        let mut out = if inline.is_empty() || inline.iter().all(|change| text.contains(change.as_str())) {
            titled(&child.level, text)
        } else {
            titled(&child.level, &format!("{text}: {}", inline.join(", ")))
        };
        out.extend(snippets(&marks));
        out.extend(diffs);
        out
    }

    /// The cell as it would be with these parts of it replaced.
    fn change(&self, parts: &[&Span]) -> Option<Vec<String>> {
        let mut source: Option<&'a Source> = None;
        let mut changes = Vec::new();
        for part in parts {
            let (from, to) = self.stretch(part)?;
            if source.is_some_and(|source| source != from.source) {
                return None;
            }
            source = Some(from.source);
            let text = part.replacement.clone().filter(|text| !speaks_of_ours(text))?;
            changes.push(Change { from: (from.line, from.column), to: (to.line, to.column), text });
        }
        let source = source?;
        let mut out = Vec::new();
        if source != self.scene.running {
            out.push(format!("{BLUE} :::{RESET} {}", source.name));
        }
        out.extend(changed(source, &changes));
        (!out.is_empty()).then_some(out)
    }
}

/// Where the user calls the macro that the place is inside of.
fn outermost(span: &Span) -> Option<&Span> {
    let mut outer = span.called_at.as_deref()?;
    while let Some(next) = outer.called_at.as_deref() {
        outer = next;
    }
    Some(outer).filter(|outer| outer.in_cell)
}

/// The parts of one change, or several changes of which one is enough: rustc gives both as a list.
fn alternatives<'s>(changes: &[&'s Span]) -> Vec<Vec<&'s Span>> {
    let place = |span: &Span| (span.line_start, span.column_start, span.line_end, span.column_end);
    match changes {
        [] => Vec::new(),
        [first, rest @ ..] if !rest.is_empty() && rest.iter().all(|one| place(one) == place(first)) => {
            changes.iter().map(|one| vec![*one]).collect()
        }
        _ => vec![changes.to_vec()],
    }
}

/// One mark for each place: the primary one, with the labels of all.
fn distinct(marks: Vec<Mark<'_>>) -> Vec<Mark<'_>> {
    let mut out: Vec<Mark<'_>> = Vec::new();
    for mark in marks {
        let same = out.iter_mut().find(|other| {
            other.source == mark.source
                && (other.line, other.start, other.end) == (mark.line, mark.start, mark.end)
        });
        match same {
            Some(other) => {
                other.primary |= mark.primary;
                if other.label.is_empty() {
                    other.label = mark.label;
                } else if !mark.label.is_empty() && other.label != mark.label {
                    other.label = format!("{}; {}", other.label, mark.label);
                }
            }
            None => out.push(mark),
        }
    }
    out
}

/// `help: text`; further lines of the text below it.
pub(super) fn titled(level: &str, text: &str) -> Vec<String> {
    let colour = match level {
        "help" | "hint" => CYAN,
        "note" => BOLD,
        _ => RED,
    };
    let mut lines = text.lines();
    let first = format!("{colour}{level}{RESET}: {}", lines.next().unwrap_or(""));
    std::iter::once(first).chain(lines.map(|line| format!("      {line}"))).collect()
}
