//! Lines of a user's with marks below them, laid out as rustc lays them out; and changes to such
//! lines as a diff. Tabs become spaces and wide characters count twice, so that marks stand right.

use super::sources::Source;
use super::{BLUE, CYAN, GREEN, RED, RESET};
use unicode_width::UnicodeWidthChar;

/// Columns that a tab is shown as.
const TAB: usize = 4;
/// Most columns shown of a line.
const MAX_COLUMNS: usize = 400;
/// Most lines shown of one suggested change.
const MAX_CHANGED: usize = 8;

/// A stretch of one line; line and columns from 0, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark<'a> {
    pub source: &'a Source,
    pub line: usize,
    pub start: usize,
    /// Exclusive; an empty stretch is shown as one column.
    pub end: usize,
    pub label: String,
    pub primary: bool,
}

/// Where a change begins and ends: line and column from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub from: (usize, usize),
    pub to: (usize, usize),
    pub text: String,
}

/// The lines with marks, cell by cell: first that of the primary mark.
pub(super) fn snippets(marks: &[Mark<'_>]) -> Vec<String> {
    let mut sources: Vec<&Source> = Vec::new();
    let ordered = marks.iter().filter(|mark| mark.primary).chain(marks);
    for mark in ordered {
        if !sources.contains(&mark.source) {
            sources.push(mark.source);
        }
    }
    let gutter = marks.iter().map(|mark| digits(mark.line + 1)).max().unwrap_or(1);
    let mut out = Vec::new();
    for (index, source) in sources.into_iter().enumerate() {
        let mut own: Vec<&Mark<'_>> = marks.iter().filter(|mark| mark.source == source).collect();
        let Some(first) = own.iter().find(|mark| mark.primary).or(own.first()) else { continue };
        let arrow = if index == 0 { "-->" } else { ":::" };
        let Source { name, .. } = source;
        out.push(format!("{BLUE}{:gutter$}{arrow}{RESET} {name}:{}:{}", "", first.line + 1, first.start + 1));
        own.sort_by_key(|mark| (mark.line, mark.start, mark.end));
        out.extend(lines_with_marks(source, &own, gutter));
    }
    out
}

fn lines_with_marks(source: &Source, marks: &[&Mark<'_>], gutter: usize) -> Vec<String> {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut out = Vec::new();
    let mut last: Option<usize> = None;
    let mut rest = marks;
    while let Some(first) = rest.first() {
        let count = rest.iter().take_while(|mark| mark.line == first.line).count();
        let (here, after) = rest.split_at(count);
        rest = after;
        match last.map(|last| first.line.saturating_sub(last)) {
            Some(2) => {
                let between = first.line.saturating_sub(1);
                out.push(source_line(between, lines.get(between).unwrap_or(&""), gutter));
            }
            Some(3..) => out.push(format!("{BLUE}...{RESET}")),
            _ => {}
        }
        last = Some(first.line);
        let text = lines.get(first.line).copied().unwrap_or("");
        out.push(source_line(first.line, text, gutter));
        out.extend(rows(text, here).into_iter().map(|row| format!("{BLUE}{:gutter$} |{RESET} {row}", "")));
    }
    out
}

fn source_line(line: usize, text: &str, gutter: usize) -> String {
    format!("{BLUE}{:>gutter$} |{RESET} {}", line + 1, shown(text)).trim_end().to_owned()
}

/// The marks under one line, and their labels: that of the last one beside it, the others hanging.
fn rows(text: &str, marks: &[&Mark<'_>]) -> Vec<String> {
    let column = |at: usize| columns(text, at);
    let stretch = |mark: &Mark<'_>| {
        let start = column(mark.start);
        (start, column(mark.end).max(start + 1))
    };
    let mut row = Row::default();
    let (secondary, primary): (Vec<_>, Vec<_>) = marks.iter().partition(|mark| !mark.primary);
    for mark in secondary.into_iter().chain(primary) {
        let (start, end) = stretch(mark);
        let sign = if mark.primary { '^' } else { '-' };
        for at in start..end {
            row.put(at, sign, colour(mark));
        }
    }
    let mut hanging: Vec<&&Mark<'_>> = marks.iter().filter(|mark| !mark.label.is_empty()).collect();
    let reach = marks.iter().map(|mark| stretch(mark).1).max().unwrap_or(0);
    let inline = hanging.iter().rposition(|mark| {
        stretch(mark).1 == reach && hanging.iter().all(|other| stretch(other).0 <= stretch(mark).0)
    });
    if let Some(mark) = inline.map(|at| hanging.remove(at)) {
        row.write(reach + 1, &one_line(&mark.label), colour(mark));
    }
    let mut out = vec![row.text()];
    if !hanging.is_empty() {
        let mut row = Row::default();
        for mark in &hanging {
            row.put(stretch(mark).0, '|', colour(mark));
        }
        out.push(row.text());
    }
    while let Some(mark) = hanging.pop() {
        let mut row = Row::default();
        for mark in &hanging {
            row.put(stretch(mark).0, '|', colour(mark));
        }
        row.write(stretch(mark).0, &one_line(&mark.label), colour(mark));
        out.push(row.text());
    }
    out
}

fn colour(mark: &Mark<'_>) -> &'static str {
    if mark.primary { RED } else { BLUE }
}

fn one_line(text: &str) -> String {
    text.split('\n').map(str::trim).collect::<Vec<_>>().join(" ")
}

/// Coloured characters at columns.
#[derive(Default)]
struct Row(Vec<Option<(char, &'static str)>>);

impl Row {
    fn put(&mut self, at: usize, sign: char, colour: &'static str) {
        if at < MAX_COLUMNS {
            self.0.resize(self.0.len().max(at + 1), None);
            if let Some(cell) = self.0.get_mut(at) {
                *cell = Some((sign, colour));
            }
        }
    }

    fn write(&mut self, at: usize, text: &str, colour: &'static str) {
        // What is behind the label is not marks, so that its characters need no columns of their own.
        let at = at.min(MAX_COLUMNS - 1);
        self.0.truncate(at);
        self.0.resize(at, None);
        self.0.extend(text.chars().map(|c| Some((c, colour))));
    }

    fn text(&self) -> String {
        let mut out = String::new();
        let mut current = "";
        for cell in &self.0 {
            let (c, colour) = cell.unwrap_or((' ', ""));
            if colour != current {
                if !current.is_empty() {
                    out.push_str(RESET);
                }
                out.push_str(colour);
                current = colour;
            }
            out.push(c);
        }
        if !current.is_empty() {
            out.push_str(RESET);
        }
        out
    }
}

/// The source with `changes` made, as far as it differs: added stretches underlined with `+` where
/// nothing is taken away, else lines with `-` and `+`. Nothing where the changes do not fit.
pub(super) fn changed(source: &Source, changes: &[Change]) -> Vec<String> {
    let Some(after) = apply(&source.text, changes) else { return Vec::new() };
    let (old, new): (Vec<&str>, Vec<&str>) = (source.text.lines().collect(), after.lines().collect());
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let tail = old.iter().skip(head).rev().zip(new.iter().skip(head).rev());
    let tail = tail.take_while(|(a, b)| a == b).count();
    let old_lines = old.get(head..old.len() - tail).unwrap_or_default();
    let new_lines = new.get(head..new.len() - tail).unwrap_or_default();
    let gutter = digits(head + old_lines.len().max(new_lines.len()).max(1));
    let adds_only = changes.iter().all(|change| change.from == change.to && !change.text.contains('\n'));
    let mut out = Vec::new();
    if adds_only {
        for (offset, text) in new_lines.iter().enumerate() {
            let line = head + offset;
            let mut before = 0;
            let mut row = Row::default();
            let mut here: Vec<&Change> = changes.iter().filter(|change| change.from.0 == line).collect();
            here.sort_by_key(|change| change.from.1);
            for change in here {
                let start = change.from.1 + before;
                before += change.text.chars().count();
                // Spaces around what is added need no mark.
                let bare = change.text.trim();
                let skip = change.text.chars().take_while(|c| c.is_whitespace()).count();
                let end = columns(text, start + skip + bare.chars().count());
                (columns(text, start + skip)..end).for_each(|at| row.put(at, '+', GREEN));
            }
            out.push(source_line(line, text, gutter));
            if !row.0.is_empty() {
                out.push(format!("{BLUE}{:gutter$} |{RESET} {}", "", row.text()));
            }
        }
    } else {
        for (sign, colour, lines) in [('-', RED, old_lines), ('+', GREEN, new_lines)] {
            for (offset, text) in lines.iter().enumerate() {
                let number = head + offset + 1;
                out.push(format!("{BLUE}{number:>gutter$}{RESET} {colour}{sign} {}{RESET}", shown(text)));
            }
        }
        if old_lines.is_empty()
            && let Some(next) = old.get(head)
        {
            out.push(source_line(head + new_lines.len(), next, gutter));
        }
    }
    if out.len() > MAX_CHANGED {
        out.truncate(MAX_CHANGED);
        out.push(format!("{CYAN}…{RESET}"));
    }
    out
}

fn apply(text: &str, changes: &[Change]) -> Option<String> {
    let mut edits = Vec::new();
    for change in changes {
        edits.push((offset(text, change.from)?, offset(text, change.to)?, change.text.as_str()));
    }
    edits.sort_by_key(|(from, ..)| *from);
    let mut out = String::new();
    let mut done = 0;
    for (from, to, replacement) in edits {
        out.push_str(text.get(done..from)?);
        out.push_str(replacement);
        done = to.max(from);
    }
    out.push_str(text.get(done..)?);
    Some(out)
}

/// Byte offset of a line and column; the line's end where the column is beyond it.
fn offset(text: &str, (line, column): (usize, usize)) -> Option<usize> {
    let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let this = text.get(start..)?.lines().next().unwrap_or("");
    if line > 0 && start == text.len() && !text.ends_with('\n') {
        return None;
    }
    Some(start + this.char_indices().nth(column).map_or(this.len(), |(at, _)| at))
}

fn digits(number: usize) -> usize {
    number.to_string().len()
}

fn width(c: char) -> usize {
    if c == '\t' { TAB } else { c.width().unwrap_or(0) }
}

/// Columns before the character at `at`.
fn columns(text: &str, at: usize) -> usize {
    let count = text.chars().count();
    text.chars().take(at).map(width).sum::<usize>() + at.saturating_sub(count)
}

fn shown(text: &str) -> String {
    let mut out = String::new();
    let mut columns = 0;
    for c in text.chars() {
        columns += width(c);
        if columns > MAX_COLUMNS {
            out.push('…');
            break;
        }
        match c {
            '\t' => out.push_str("    "),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::new("cell [1]", text)
    }

    fn bare(lines: &[String]) -> String {
        let mut text = lines.join("\n");
        for colour in [RED, BLUE, CYAN, GREEN, RESET] {
            text = text.replace(colour, "");
        }
        text
    }

    fn mark<'a>(source: &'a Source, line: usize, at: std::ops::Range<usize>, label: &str) -> Mark<'a> {
        let label = label.to_owned();
        Mark { source, line, start: at.start, end: at.end, primary: label.starts_with('!'), label }
    }

    #[test]
    fn labels_hang_as_rustc_hangs_them() {
        let cell = source("let a = b; f(b);");
        let marks = [mark(&cell, 0, 13..14, "!used"), mark(&cell, 0, 8..9, "moved")];
        assert_eq!(
            bare(&snippets(&marks)),
            " --> cell [1]:1:14\n1 | let a = b; f(b);\n  |         -    ^ !used\n  |         |\n  |         moved"
        );
    }

    #[test]
    fn wide_characters_and_tabs_line_up() {
        let cell = source("\t日本.foo()");
        assert_eq!(
            bare(&snippets(&[mark(&cell, 0, 4..7, "!no")])),
            " --> cell [1]:1:5\n1 |     日本.foo()\n  |          ^^^ !no"
        );
    }

    #[test]
    fn lines_between_marks_are_left_out() {
        let cell = source("a\nb\nc\nd\ne\nf\ng\nh\ni\nj");
        let marks = [mark(&cell, 0, 0..1, "x"), mark(&cell, 2, 0..1, "y"), mark(&cell, 9, 0..9, "!z")];
        assert_eq!(
            bare(&snippets(&marks)),
            "  --> cell [1]:10:1\n 1 | a\n   | - x\n 2 | b\n 3 | c\n   | - y\n...\n10 | j\n   | ^^^^^^^^^ !z"
        );
    }

    #[test]
    fn changes_are_shown_as_a_diff() {
        let cell = source("use a;\nlet x: Strin = é;\nz");
        let change = |from, to, text: &str| Change { from, to, text: text.to_owned() };
        let shown = |changes: &[Change]| bare(&changed(&cell, changes));
        assert_eq!(
            shown(&[change((1, 7), (1, 12), "String")]),
            "2 - let x: Strin = é;\n2 + let x: String = é;"
        );
        assert_eq!(
            shown(&[change((1, 16), (1, 16), ".clone()"), change((1, 4), (1, 4), "mut ")]),
            "2 | let mut x: Strin = é.clone();\n  |     +++             ++++++++"
        );
        assert_eq!(
            shown(&[change((1, 0), (1, 0), "#[derive(Debug)]\n")]),
            "2 + #[derive(Debug)]\n3 | let x: Strin = é;"
        );
        assert_eq!(shown(&[change((9, 0), (9, 0), "x")]), "");
    }
}
