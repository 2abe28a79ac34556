//! Panics, and the line of the user's on which they happened.

use super::{BLUE, CYAN, RESET, headline, source_line, underline};
use crate::frames::Panic;
use dds_core::eval::CellError;
use std::collections::VecDeque;

/// File name that the compiler gives to the code of cells.
const CELL_FILE: &str = "src/lib.rs";
/// Cells whose text is kept, to recognise a panic in a function of an earlier one.
const MAX_CELLS: usize = 64;

/// The texts of the cells run so far, newest first.
#[derive(Default)]
pub(crate) struct Sources {
    cells: VecDeque<String>,
}

impl Sources {
    pub(crate) fn add(&mut self, code: &str) {
        self.cells.push_front(code.to_owned());
        self.cells.truncate(MAX_CELLS);
    }

    /// Where line `line` of the generated code stands in a cell: (age of the cell, line from 1,
    /// columns by which it is shifted). Statements are copied line by line, so the line is looked
    /// up by its text, and among equal ones by what stands around it.
    fn find(&self, generated: &str, line: usize) -> Option<Found> {
        let generated: Vec<&str> = generated.lines().collect();
        let at = line.checked_sub(1)?;
        let wanted = generated.get(at)?;
        if wanted.trim().is_empty() {
            return None;
        }
        self.cells.iter().enumerate().find_map(|(age, cell)| {
            let lines: Vec<&str> = cell.lines().collect();
            let candidates = lines.iter().enumerate().filter_map(|(index, text)| {
                let shift = text.find(wanted.trim_end())?;
                Some((likeness(&generated, at, &lines, index), index, shift))
            });
            // Of equally good ones the first: `max_by_key` would take the last.
            let (_, index, shift) = candidates.rev().max_by_key(|(likeness, ..)| *likeness)?;
            let text = lines.get(index)?;
            let shift = text.get(..shift)?.chars().count();
            Some(Found { age, line: index + 1, shift, text: (*text).to_owned() })
        })
    }
}

struct Found {
    age: usize,
    line: usize,
    shift: usize,
    text: String,
}

/// How many lines around the two are the same.
fn likeness(generated: &[&str], at: usize, cell: &[&str], index: usize) -> usize {
    let same = |offset: usize, up: bool| {
        let step = |from: usize| if up { from.checked_sub(offset) } else { Some(from + offset) };
        match (step(at).and_then(|i| generated.get(i)), step(index).and_then(|i| cell.get(i))) {
            (Some(a), Some(b)) => a.trim() == b.trim(),
            _ => false,
        }
    };
    let up = (1..cell.len()).take_while(|offset| same(*offset, true)).count();
    up + (1..cell.len()).take_while(|offset| same(*offset, false)).count()
}

/// The cell ended in a panic. `generated` is the code that was compiled of it.
pub(crate) fn panic_error(panic: &Panic, generated: &str, sources: &Sources) -> CellError {
    let mut traceback = headline("panic", &panic.message);
    if panic.file == CELL_FILE {
        if let Some(found) = sources.find(generated, panic.line) {
            let column = panic.column + found.shift;
            let place = match found.age {
                0 => String::new(),
                _ => " of an earlier cell".to_owned(),
            };
            traceback.push(format!("{BLUE} -->{RESET} line {}, column {column}{place}", found.line));
            let start = column.saturating_sub(1);
            traceback.push(source_line(found.line, &found.text));
            traceback.push(underline(found.line, &found.text, start..start + 1, '^', ""));
        }
    } else if !panic.file.is_empty() {
        traceback.push(format!("{BLUE} -->{RESET} {}:{}:{}", panic.file, panic.line, panic.column));
    }
    traceback
        .push(format!("{CYAN}hint{RESET}: variables of earlier cells are kept; those of this cell are not."));
    CellError { ename: "panic".to_owned(), evalue: panic.message.clone(), traceback }
}

/// A panic on a thread of the user's, as text for standard error.
pub(crate) fn thread_panic(panic: &Panic) -> String {
    let Panic { thread, message, file, line, column, .. } = panic;
    if file == CELL_FILE || file.is_empty() {
        format!("thread '{thread}' panicked: {message}\n")
    } else {
        format!("thread '{thread}' panicked at {file}:{line}:{column}: {message}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_text_and_surroundings() {
        let mut sources = Sources::default();
        sources.add("fn old() {\n    other();\n}");
        sources.add("let a = 1; b.unwrap();\nlet c = 2;\nf(\n    c,\n);\nlet d = 3;\nlet c = 2;");
        let generated = "use x;\nb.unwrap();\nlet c = 2;\nf(\n    c,\n);\nlet d = 3;\nlet c = 2;\nstore(c);\n    other();\n";
        let at = |line| sources.find(generated, line).map(|found| (found.age, found.line, found.shift));
        assert_eq!(at(2), Some((0, 1, 11)));
        assert_eq!(at(3), Some((0, 2, 0)));
        assert_eq!(at(5), Some((0, 4, 0)));
        assert_eq!(at(8), Some((0, 7, 0)));
        assert_eq!(at(9), None, "generated code is nobody's line");
        assert_eq!(at(10), Some((1, 2, 0)));
        assert_eq!(at(99), None);
    }
}
