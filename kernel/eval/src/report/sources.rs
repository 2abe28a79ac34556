//! The texts of the cells that have run, and the way back to them from the code that the compiler
//! saw. That code is generated: statements of the running cell, items of earlier ones, and much
//! that is nobody's. Users' lines are copied into it one by one, so they are found by their text.

use std::collections::VecDeque;

/// Cells whose text is kept.
const MAX_CELLS: usize = 256;
/// Longest text kept of one cell, in bytes.
const MAX_CELL: usize = 256 * 1024;
/// Moved variables that are remembered.
const MAX_MOVED: usize = 256;
/// Shortest part of a line, in bytes, by which a line of an earlier cell is recognised.
const MIN_PIECE: usize = 8;
/// What may stand before a user's expression on its line of the generated code.
const WRAPPERS: [&str; 1] = ["("];

/// One cell's text and its name in messages: `cell [3]`.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub name: String,
    pub text: String,
    pub end: End,
}

/// How a cell ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It ran to its end, or runs still.
    Done,
    /// It was compiled, but left half-way by a panic, `?`, an interrupt or a crash.
    Left,
    NotCompiled,
}

/// The cells run so far, newest first, and which of them took a variable away by value.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    cells: VecDeque<Source>,
    moved: VecDeque<Moved>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    pub variable: String,
    pub cell: String,
    /// The cell does not name it: a type that it defined anew took it along.
    pub type_changed: bool,
}

/// A place in a user's cell: line and column from 0, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    pub source: &'a Source,
    pub line: usize,
    pub column: usize,
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || (self.name == other.name && self.text == other.text)
    }
}

impl Eq for Source {}

impl Source {
    /// A cell that runs.
    pub(crate) fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into(), end: End::Done }
    }

    pub(crate) fn line(&self, index: usize) -> Option<&str> {
        self.text.lines().nth(index)
    }
}

impl Sources {
    pub(crate) fn add(&mut self, source: &Source, end: End) {
        if source.text.len() <= MAX_CELL {
            self.cells.push_front(Source { end, ..source.clone() });
            self.cells.truncate(MAX_CELLS);
        }
    }

    /// Takes note that `cell` took `variable` away.
    pub(crate) fn note_move(&mut self, variable: &str, cell: &Source) {
        let type_changed =
            !cell.text.split(|c: char| c != '_' && !c.is_alphanumeric()).any(|word| word == variable);
        let (variable, cell) = (variable.to_owned(), cell.name.clone());
        self.moved.push_front(Moved { variable, cell, type_changed });
        self.moved.truncate(MAX_MOVED);
    }

    pub(crate) fn moved(&self, variable: &str) -> Option<&Moved> {
        self.moved.iter().find(|moved| moved.variable == variable)
    }

    /// The cells that were compiled, newest first, `running` before them.
    pub(crate) fn cells<'a>(&'a self, running: Option<&'a Source>) -> impl Iterator<Item = &'a Source> {
        running.into_iter().chain(self.cells.iter().filter(|cell| cell.end != End::NotCompiled))
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The last cell that has an item of that name, if it did not compile.
    pub(crate) fn uncompiled_item(&self, name: &str) -> Option<&Source> {
        let has = |source: &&Source| source.text.lines().any(|line| declares(line, name));
        self.cells.iter().find(has).filter(|source| source.end == End::NotCompiled)
    }

    /// Where a variable was defined last: the name in its `let`.
    pub(crate) fn definition<'a>(&'a self, running: Option<&'a Source>, name: &str) -> Option<Place<'a>> {
        running.into_iter().chain(&self.cells).find_map(|source| {
            let lines: Vec<&str> = source.text.lines().collect();
            lines.iter().enumerate().rev().find_map(|(line, text)| {
                let column = defines(text, name)?;
                Some(Place { source, line, column })
            })
        })
    }

    /// Where character `column` (from 0) of line `line` (from 1) of the generated code stands in a
    /// user's cell; `running` is the cell that was compiled, looked through first.
    pub(crate) fn find<'a>(
        &'a self,
        running: Option<&'a Source>,
        generated: &[&str],
        line: usize,
        column: usize,
    ) -> Option<Place<'a>> {
        let at = line.checked_sub(1)?;
        let text = generated.get(at)?.trim_end();
        let bare = WRAPPERS.iter().find_map(|wrapper| text.strip_prefix(wrapper));
        let tries = [Some((text, 0)), bare.map(|bare| (bare, text.len() - bare.len()))];
        self.cells(running).find_map(|source| {
            tries.into_iter().flatten().find_map(|(wanted, cut)| {
                // A short piece of an earlier cell may stand anywhere by chance.
                let here = running.is_some_and(|running| std::ptr::eq(running, source));
                let (line, shift) = line_of(source, generated, at, wanted, here)?;
                Some(Place { source, line, column: shift + column.saturating_sub(cut) })
            })
        })
    }
}

/// The line of `source` with `wanted` in it, and the characters before that. Among several the one
/// whose neighbours are most alike; among those equally so, the first, the second, … for the first,
/// the second, … time that the generated code has the line.
fn line_of(
    source: &Source,
    generated: &[&str],
    at: usize,
    wanted: &str,
    running: bool,
) -> Option<(usize, usize)> {
    if wanted.trim().is_empty() {
        return None;
    }
    let lines: Vec<&str> = source.text.lines().collect();
    let mut found: Vec<(usize, usize, usize)> = Vec::new();
    for (index, text) in lines.iter().enumerate() {
        for (start, _) in text.match_indices(wanted) {
            let enough = running || wanted.len() >= MIN_PIECE || text.trim() == wanted.trim();
            if enough && stands_alone(text, start, wanted.len()) {
                found.push((likeness(generated, at, &lines, index), index, start));
            }
        }
    }
    let best = found.iter().map(|(likeness, ..)| *likeness).max()?;
    // A lone bracket is everywhere.
    if best == 0 && !wanted.chars().any(char::is_alphanumeric) && lines.len() > 1 {
        return None;
    }
    found.retain(|(likeness, ..)| *likeness == best);
    let earlier = generated.get(..at)?.iter().filter(|line| line.trim_end() == wanted).count();
    let (_, index, start) = found.get(earlier.min(found.len() - 1))?;
    Some((*index, lines.get(*index)?.get(..*start)?.chars().count()))
}

/// Whether the stretch does not begin or end within a name.
fn stands_alone(text: &str, start: usize, len: usize) -> bool {
    let word = |c: char| c == '_' || c.is_alphanumeric();
    let (before, rest) = text.split_at(start);
    let (inside, after) = rest.split_at(len);
    let cuts = |a: Option<char>, b: Option<char>| a.is_some_and(word) && b.is_some_and(word);
    !cuts(before.chars().next_back(), inside.chars().next())
        && !cuts(inside.chars().next_back(), after.chars().next())
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

/// Whether an item called `name` begins on this line.
fn declares(line: &str, name: &str) -> bool {
    const KEYWORDS: [&str; 10] =
        ["fn", "struct", "enum", "union", "trait", "type", "mod", "const", "static", "macro_rules!"];
    let mut words = line.split(|c: char| !(c == '_' || c == '!' || c.is_alphanumeric()));
    let mut last = "";
    words.any(|word| {
        let found = word == name && KEYWORDS.contains(&last);
        if !word.is_empty() {
            last = word;
        }
        found
    })
}

/// The column at which `name` stands in a `let` of this line.
fn defines(line: &str, name: &str) -> Option<usize> {
    let word = |c: char| c == '_' || c.is_alphanumeric();
    line.match_indices("let ").find_map(|(at, _)| {
        let rest = line.get(at + 4..)?;
        let pattern = rest.split(['=', ';']).next().unwrap_or(rest);
        let start = pattern.match_indices(name).find_map(|(start, _)| {
            let before = pattern.get(..start)?;
            let free = !before.ends_with(word) && !pattern.get(start + name.len()..)?.starts_with(word);
            // Behind a colon stands the type.
            (free && !before.trim_end().ends_with(':')).then_some(start)
        })?;
        Some(line.get(..at + 4 + start)?.chars().count())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, text: &str) -> Source {
        Source::new(name, text)
    }

    fn add(sources: &mut Sources, name: &str, text: &str) {
        sources.add(&source(name, text), End::Done);
    }

    #[test]
    fn lines_are_found_by_text_and_surroundings() {
        let mut sources = Sources::default();
        add(&mut sources, "old", "fn old() {\n    other();\n}");
        sources.add(&source("bad", "    other();"), End::NotCompiled);
        let running =
            source("new", "let a = 1; b.unwrap();\nlet c = 2;\nf(\n    c,\n);\nlet d = 3;\nlet c = 2;");
        let text = "use x;\nb.unwrap();\nlet c = 2;\nf(\n    c,\n);\nlet d = 3;\nlet c = 2;\nstore(c);\n    other();\n";
        let generated: Vec<&str> = text.lines().collect();
        let at = |line| {
            let place = sources.find(Some(&running), &generated, line, 2)?;
            Some((place.source.name.clone(), place.line, place.column))
        };
        let new = |line, column| Some(("new".to_owned(), line, column));
        assert_eq!(at(2), new(0, 13));
        assert_eq!(at(3), new(1, 2));
        assert_eq!(at(5), new(3, 2));
        assert_eq!(at(8), new(6, 2));
        assert_eq!(at(9), None, "generated code is nobody's line");
        assert_eq!(at(10), Some(("old".into(), 1, 2)));
        assert_eq!(at(0), None);
        assert_eq!(at(99), None);
    }

    #[test]
    fn equal_statements_keep_their_order_and_wrappers_are_cut() {
        let sources = Sources::default();
        let running = source("c", "f(é); f(é);\n  g(1)");
        let generated = ["f(é);", "f(é);", "(g(1)", ").show();"];
        let at =
            |line, column| sources.find(Some(&running), &generated, line, column).map(|p| (p.line, p.column));
        assert_eq!(at(1, 2), Some((0, 2)));
        assert_eq!(at(2, 2), Some((0, 8)));
        assert_eq!(at(3, 1), Some((1, 2)));
        assert_eq!(at(4, 1), None);
    }

    #[test]
    fn definitions_are_found() {
        let mut sources = Sources::default();
        add(&mut sources, "1", "let (first, mut second): (A, B) = x; let é: second = 1;");
        let at = |name: &str| sources.definition(None, name).map(|place| place.column);
        assert_eq!(at("second"), Some(16));
        assert_eq!(at("first"), Some(5));
        assert_eq!(at("é"), Some(41));
        assert_eq!(at("sec"), None);
    }

    #[test]
    fn items_of_failed_cells_are_known() {
        let mut sources = Sources::default();
        sources.add(&source("1", "pub fn a<T>() {}\nmacro_rules! b { () => {} }"), End::NotCompiled);
        assert!(sources.uncompiled_item("a").is_some() && sources.uncompiled_item("b").is_some());
        assert!(sources.uncompiled_item("T").is_none());
        add(&mut sources, "2", "fn a() {}");
        assert!(sources.uncompiled_item("a").is_none(), "it has been defined since");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut sources = Sources::default();
        for n in 0..=MAX_CELLS {
            add(&mut sources, &n.to_string(), "x");
            sources.note_move(&n.to_string(), &source("cell", "drop(0)"));
        }
        assert_eq!((sources.cells.len(), sources.moved.len()), (MAX_CELLS, MAX_MOVED));
        add(&mut sources, "long", &"x".repeat(MAX_CELL + 1));
        assert_ne!(sources.cells[0].name, "long");
        assert!(sources.moved("1").is_some_and(|moved| moved.type_changed));
        assert!(sources.moved("0").is_none() && sources.moved("256").is_some());
    }
}
