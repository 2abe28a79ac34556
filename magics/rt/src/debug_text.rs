//! `Debug` text: bounded, and taken apart again where it has the form that `derive(Debug)` gives.
//!
//! A value whose `Debug` has a form of its own is one piece; nothing here depends on the form for
//! more than the look of a table.

use std::fmt::{self, Debug, Write};

/// Longest text of a value, in bytes; the rest is cut off.
pub(crate) const MAX_TEXT: usize = 1 << 20;

/// The `Debug` text of a value, up to [`MAX_TEXT`].
pub(crate) fn of<T: Debug + ?Sized>(value: &T) -> String {
    up_to(value, MAX_TEXT)
}

pub(crate) fn up_to<T: Debug + ?Sized>(value: &T, most: usize) -> String {
    let mut out = Bounded { text: String::new(), most, cut: false };
    let _ = write!(out, "{value:?}");
    if out.cut {
        out.text.push('…');
    }
    out.text
}

/// Stops the formatting when enough is there.
struct Bounded {
    text: String,
    most: usize,
    cut: bool,
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.most - self.text.len();
        if text.len() <= room {
            self.text.push_str(text);
            return Ok(());
        }
        let end = (0..=room).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        self.text.push_str(text.get(..end).unwrap_or(""));
        self.cut = true;
        Err(fmt::Error)
    }
}

/// The `Debug` text of one row of a table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Row<'a> {
    /// A structure: names of fields and their texts.
    Fields(Vec<(&'a str, &'a str)>),
    /// A tuple, array or list.
    Items(Vec<&'a str>),
    One(&'a str),
}

pub(crate) fn row(text: &str) -> Row<'_> {
    let inside = |open: char, close: char| text.strip_prefix(open)?.strip_suffix(close);
    if let Some(inside) = inside('[', ']').or_else(|| inside('(', ')')) {
        return split(inside).map_or(Row::One(text), Row::Items);
    }
    fields(text).map_or(Row::One(text), Row::Fields)
}

/// `Name { a: 1, b: 2 }`
fn fields(text: &str) -> Option<Vec<(&str, &str)>> {
    let (name, rest) = text.split_once(" { ")?;
    let is_name = |name: &str| {
        !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '#' | ':'))
    };
    let inside = rest.strip_suffix(" }").filter(|_| is_name(name))?;
    let parts = split(inside)?.into_iter().map(|part| {
        let (name, value) = part.split_once(": ")?;
        is_name(name).then_some((name, value))
    });
    parts.collect()
}

/// Cuts at the commas that stand in no bracket, string or character. None when the brackets do
/// not fit.
fn split(text: &str) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let mut open = Vec::new();
    let mut start = 0;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '(' => open.push(')'),
            '[' => open.push(']'),
            '{' => open.push('}'),
            ')' | ']' | '}' if open.pop() != Some(c) => return None,
            '"' | '\'' => loop {
                match chars.next()?.1 {
                    '\\' => drop(chars.next()),
                    end if end == c => break,
                    _ => {}
                }
            },
            ',' if open.is_empty() => {
                parts.push(text.get(start..at)?.trim_start());
                start = at + 1;
            }
            _ => {}
        }
    }
    let rest = text.get(start..)?.trim_start();
    if !rest.is_empty() {
        parts.push(rest);
    }
    open.is_empty().then_some(parts)
}

/// A string's or character's text without quotes and escapes; anything else as it is.
pub(crate) fn unquoted(text: &str) -> String {
    let inside = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    let Some(inside) = inside('"').or_else(|| inside('\'')) else { return text.to_owned() };
    let mut out = String::with_capacity(inside.len());
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some('t')) => out.push('\t'),
            ('\\', Some('r')) => out.push('\r'),
            ('\\', Some('0')) => out.push('\0'),
            ('\\', Some('u')) => {
                let code: String = chars.by_ref().skip(1).take_while(|c| *c != '}').collect();
                out.extend(u32::from_str_radix(&code, 16).ok().and_then(char::from_u32));
            }
            ('\\', Some(other)) => out.push(other),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(up_to(&[1, 2, 3], 100), "[1, 2, 3]");
        assert_eq!(up_to(&[1, 2, 3], 9), "[1, 2, 3]");
        assert_eq!(up_to(&[1, 2, 3], 8), "[1, 2, 3…");
        assert_eq!(up_to("ééé", 4), "\"é…");
        assert_eq!(of(&"x".repeat(MAX_TEXT)).len(), MAX_TEXT + '…'.len_utf8());
    }

    #[test]
    fn derived_forms_are_taken_apart() {
        #[derive(Debug)]
        #[expect(dead_code, reason = "read by Debug")]
        struct P {
            x: i32,
            name: &'static str,
        }
        let of_p = of(&P { x: -1, name: "a, {b" });
        assert_eq!(row(&of_p), Row::Fields(vec![("x", "-1"), ("name", "\"a, {b\"")]));
        assert_eq!(row(&of(&(1, "x)", [2, 3]))), Row::Items(vec!["1", "\"x)\"", "[2, 3]"]));
        assert_eq!(row("(1,)"), Row::Items(vec!["1"]));
        assert_eq!(row("[]"), Row::Items(vec![]));
        assert_eq!(row(&of(&vec!['"', '\'', ','])), Row::Items(vec!["'\"'", "'\\''", "','"]));
        for one in ["1.5", "Some(1)", "a b { c: d", "(1)(2]", "[a}", "don't", "[don't]", "", "{ a: 1 }"] {
            assert_eq!(row(one), Row::One(one), "{one}");
        }
    }

    #[test]
    fn strings_lose_their_quotes() {
        for text in ["plain", "a\"b\\c\n\t\r\0é\u{1b}", "", "'"] {
            assert_eq!(unquoted(&of(text)), text);
        }
        assert_eq!(unquoted("'x'"), "x");
        assert_eq!(unquoted("Some(\"x\")"), "Some(\"x\")");
        assert_eq!(unquoted("\"a\\u{zz}b\""), "ab");
    }
}
