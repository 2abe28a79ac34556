//! A cell as segments, in their order: Rust, `%dds` lines, a `%%dds` command with its body, and
//! `!` shell lines.
//!
//! A line is a command only where a statement could begin ([`dds_core::lex`]); inside strings,
//! comments and brackets, and after an operator, it is Rust. A line that ends in `\` goes on in
//! the next one.

use dds_core::lex::{Role, boundaries};
use dds_core::{Error, Result};

/// A piece of a cell. `line` counts from 0 in the cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Rust, and directives of the evaluator (`:dep`).
    Rust { text: String, line: usize },
    /// What stands behind `%dds`, continuation lines joined.
    Line { text: String, line: usize },
    /// What stands behind `%%dds`, and the body: the rest of the cell.
    Cell { head: String, body: String, line: usize },
    /// What stands behind `!`.
    Shell { command: String, line: usize },
}

impl Segment {
    /// The line it begins on, from 0.
    pub fn line(&self) -> usize {
        match self {
            Segment::Rust { line, .. }
            | Segment::Line { line, .. }
            | Segment::Cell { line, .. }
            | Segment::Shell { line, .. } => *line,
        }
    }
}

/// Splits a cell. Rust that holds only blanks and comments gives no segment, so that a cell of
/// commands never wakes the compiler. Errors (`Usage`): another magic than `%dds`.
pub fn split(code: &str) -> Result<Vec<Segment>> {
    let lines = boundaries(code);
    let mut out = Vec::new();
    let mut rust: Option<(usize, usize)> = None;
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        let first = at;
        at += 1;
        while lines.get(at).is_some_and(|l| l.role == Role::Body) {
            at += 1;
        }
        let command = matches!(line.role, Role::Magic | Role::Shell);
        if !command {
            rust.get_or_insert((line.start, first));
            continue;
        }
        let text = code.get(line.start..line.end).unwrap_or_default().trim();
        let before = rust.map(|(start, _)| code.get(start..line.start).unwrap_or_default());
        let magic = magic(text);
        if line.role == Role::Magic && magic.is_none() {
            if before.is_some_and(continues) {
                // `let rest = a⏎%b;`: the remainder operator.
                continue;
            }
            return Err(foreign(text, first));
        }
        flush(code, &mut rust, line.start, &mut out);
        let all: Vec<&str> = lines
            .get(first..at)
            .unwrap_or_default()
            .iter()
            .map(|l| code.get(l.start..l.end).unwrap_or_default())
            .collect();
        out.push(match magic {
            Some(Magic::Cell(head)) => Segment::Cell {
                head: head.to_owned(),
                body: all.get(1..).unwrap_or_default().join("\n"),
                line: first,
            },
            Some(Magic::Line) => {
                let joined = joined(&all);
                let text = joined.trim().strip_prefix("%dds").unwrap_or_default().trim().to_owned();
                Segment::Line { text, line: first }
            }
            None => {
                let joined = all.join("\n");
                let command = joined.trim().strip_prefix('!').unwrap_or_default().trim().to_owned();
                Segment::Shell { command, line: first }
            }
        });
    }
    flush(code, &mut rust, code.len(), &mut out);
    Ok(out)
}

enum Magic<'a> {
    Line,
    Cell(&'a str),
}

/// `%dds …` and `%%dds …`, and no other word that begins with it.
fn magic(text: &str) -> Option<Magic<'_>> {
    let word = |rest: &str| rest.is_empty() || rest.starts_with(char::is_whitespace);
    if let Some(rest) = text.strip_prefix("%%dds").filter(|r| word(r)) {
        return Some(Magic::Cell(rest.trim()));
    }
    let rest = text.strip_prefix("%dds").filter(|r| word(r) || *r == "\\")?;
    let _ = rest;
    Some(Magic::Line)
}

/// Continuation lines joined by a blank, without their backslashes.
fn joined(lines: &[&str]) -> String {
    let last = lines.len().saturating_sub(1);
    let parts: Vec<&str> = lines
        .iter()
        .enumerate()
        .map(|(i, l)| if i < last { l.strip_suffix('\\').unwrap_or(l) } else { l }.trim())
        .collect();
    parts.join(" ")
}

fn flush(code: &str, rust: &mut Option<(usize, usize)>, end: usize, out: &mut Vec<Segment>) {
    if let Some((start, line)) = rust.take() {
        let text = code.get(start..end).unwrap_or_default();
        if !only_comments(text) {
            out.push(Segment::Rust { text: text.to_owned(), line });
        }
    }
}

/// Whether the statement before a `%` may go on with it.
fn continues(before: &str) -> bool {
    let before = before.trim_end();
    !before.is_empty() && !before.ends_with([';', '}'])
}

fn foreign(text: &str, line: usize) -> Error {
    let word = text.split_whitespace().next().unwrap_or(text);
    let error = Error::usage(format!("line {}: {word} is not a command of this kernel", line + 1));
    let near = crate::nearest::nearest(word.trim_start_matches('%'), ["dds"]);
    match near {
        Some(_) => {
            error.hint(format!("did you mean `{}dds`?", if word.starts_with("%%") { "%%" } else { "%" }))
        }
        None => error.hint("commands begin with %dds (`%dds help` lists them); a shell line begins with !"),
    }
}

/// Blanks and whole comments, and nothing that must be compiled.
fn only_comments(text: &str) -> bool {
    let mut rest = text.trim_start();
    loop {
        if rest.is_empty() {
            return true;
        }
        if rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, r)| r).trim_start();
        } else if let Some(inside) = rest.strip_prefix("/*") {
            let mut depth = 1;
            let mut inside = inside;
            while depth > 0 {
                let (open, close) = (inside.find("/*"), inside.find("*/"));
                let Some(close) = close else { return false };
                let at = match open.filter(|o| *o < close) {
                    Some(open) => {
                        depth += 1;
                        open
                    }
                    None => {
                        depth -= 1;
                        close
                    }
                };
                inside = inside.get(at + 2..).unwrap_or_default();
            }
            rest = inside.trim_start();
        } else {
            return false;
        }
    }
}

#[cfg(test)]
mod tests;
