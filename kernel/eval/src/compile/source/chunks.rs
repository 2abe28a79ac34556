//! Items of a module, as stretches of whole lines: where brackets, strings and comments are closed
//! and the next line can begin an item.

use std::iter::Peekable;
use std::ops::Range;
use std::str::Chars;

/// In the order in which they are to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    ExternCrate,
    MacroRules,
    Item,
    /// A macro called for what it expands to.
    MacroCall,
    /// A line that belongs to no item: blank, or a comment that documents nothing. Whatever comes
    /// behind it in one session may stand elsewhere in another.
    Idle,
}

#[derive(Debug)]
pub(super) struct Chunk {
    pub kind: Kind,
    pub text: String,
    pub lines: Range<usize>,
}

/// The items of `lines`; `None` where they are not understood.
pub(super) fn of(lines: &[&str]) -> Option<Vec<Chunk>> {
    let mut scanner = Scanner::default();
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut start = 0;
    for (index, line) in lines.iter().enumerate() {
        if index == start && is_idle(line) {
            chunks.push(Chunk { kind: Kind::Idle, text: (*line).to_owned(), lines: index..index + 1 });
            start = index + 1;
            continue;
        }
        scanner.line(line)?;
        if !scanner.at_end() {
            continue;
        }
        let text: String = lines.get(start..=index)?.concat();
        match (kind(&scanner.first_words), chunks.last_mut()) {
            (Some(kind), _) => chunks.push(Chunk { kind, text, lines: start..index + 1 }),
            // The rest of the item before, such as a `;` on a line of its own.
            (None, Some(last)) if last.kind != Kind::Idle => {
                last.text.push_str(&text);
                last.lines.end = index + 1;
            }
            (None, _) => return None,
        }
        start = index + 1;
        scanner.begin();
    }
    (start == lines.len()).then_some(chunks)
}

fn is_idle(line: &str) -> bool {
    let line = line.trim();
    let documents = line.starts_with("///") || line.starts_with("//!");
    line.is_empty() || line.starts_with("//") && !documents
}

/// What begins with these characters, attributes left out.
fn kind(first: &str) -> Option<Kind> {
    const KEYWORDS: [&str; 15] = [
        "pub", "fn", "struct", "enum", "union", "trait", "impl", "mod", "use", "const", "static", "type",
        "unsafe", "async", "extern",
    ];
    let word_end = first.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(first.len());
    let (word, rest) = first.split_at(word_end);
    match word {
        "macro_rules" => Some(Kind::MacroRules),
        "extern" if rest.trim_start().starts_with("crate") => Some(Kind::ExternCrate),
        _ if KEYWORDS.contains(&word) => Some(Kind::Item),
        "" | "else" | "where" | "as" => None,
        _ if rest.trim_start().starts_with('!') || rest.trim_start().starts_with("::") => {
            Some(Kind::MacroCall)
        }
        _ => None,
    }
}

/// Follows brackets over the lines, past strings, characters and comments.
#[derive(Default)]
struct Scanner {
    open: Vec<char>,
    inside: Inside,
    /// The last character that is not blank or a comment.
    last: char,
    /// The first characters outside of attributes.
    first_words: String,
    in_attribute: bool,
}

#[derive(Default, PartialEq)]
enum Inside {
    #[default]
    Code,
    Str,
    /// A raw string with so many `#`.
    Raw(usize),
    /// A block comment, so many deep.
    Comment(usize),
}

/// How many of the first characters are kept.
const FIRST: usize = 64;

impl Scanner {
    fn begin(&mut self) {
        self.last = ' ';
        self.first_words.clear();
    }

    fn at_end(&self) -> bool {
        self.inside == Inside::Code
            && self.open.is_empty()
            && !self.in_attribute
            && matches!(self.last, '}' | ';')
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let mut chars = line.chars().peekable();
        while let Some(c) = chars.next() {
            match self.inside {
                Inside::Str => match c {
                    '\\' => drop(chars.next()),
                    '"' => self.inside = Inside::Code,
                    _ => {}
                },
                Inside::Raw(hashes) => {
                    if c == '"' && closes(&mut chars, hashes) {
                        self.inside = Inside::Code;
                    }
                }
                Inside::Comment(depth) => match (c, chars.peek()) {
                    ('/', Some('*')) => {
                        chars.next();
                        self.inside = Inside::Comment(depth + 1);
                    }
                    ('*', Some('/')) => {
                        chars.next();
                        self.inside = if depth == 1 { Inside::Code } else { Inside::Comment(depth - 1) };
                    }
                    _ => {}
                },
                Inside::Code => {
                    if c == '/' && chars.peek() == Some(&'/') {
                        return Some(());
                    }
                    self.code(c, &mut chars)?;
                }
            }
        }
        Some(())
    }

    fn code(&mut self, c: char, chars: &mut Peekable<Chars<'_>>) -> Option<()> {
        match c {
            '/' if chars.peek() == Some(&'*') => {
                chars.next();
                self.inside = Inside::Comment(1);
                return Some(());
            }
            c if c.is_whitespace() => {
                if !self.first_words.is_empty() && self.first_words.len() < FIRST {
                    self.first_words.push(' ');
                }
                return Some(());
            }
            '"' => self.inside = Inside::Str,
            '\'' => character(chars),
            '(' | '[' | '{' => self.open.push(c),
            ')' => (self.open.pop()? == '(').then_some(())?,
            ']' => (self.open.pop()? == '[').then_some(())?,
            '}' => (self.open.pop()? == '{').then_some(())?,
            c if c == '_' || c.is_alphabetic() => {
                self.word(c, chars);
                return Some(());
            }
            _ => {}
        }
        self.note(c);
        Some(())
    }

    /// A whole word, or the beginning of a raw string.
    fn word(&mut self, first: char, chars: &mut Peekable<Chars<'_>>) {
        let mut word = String::from(first);
        while let Some(c) = chars.next_if(|c| *c == '_' || c.is_alphanumeric()) {
            word.push(c);
        }
        if matches!(word.as_str(), "r" | "br" | "cr") {
            let mut ahead = chars.clone();
            let hashes = std::iter::from_fn(|| ahead.next_if_eq(&'#')).count();
            if ahead.next() == Some('"') {
                *chars = ahead;
                self.inside = Inside::Raw(hashes);
            }
        } else if word == "b" && chars.peek() == Some(&'\'') {
            chars.next();
            character(chars);
        }
        for c in word.chars() {
            self.note(c);
        }
    }

    fn note(&mut self, c: char) {
        if self.first_words.is_empty() && c == '#' && self.open.is_empty() {
            self.in_attribute = true;
        }
        if self.in_attribute {
            // `#[…]`: ends with the bracket that closes it.
            self.in_attribute = !(c == ']' && self.open.is_empty());
            return;
        }
        self.last = c;
        if self.first_words.len() < FIRST {
            self.first_words.push(c);
        }
    }
}

fn closes(chars: &mut Peekable<Chars<'_>>, hashes: usize) -> bool {
    let mut ahead = chars.clone();
    let found = (0..hashes).all(|_| ahead.next() == Some('#'));
    if found {
        *chars = ahead;
    }
    found
}

/// Behind a `'`: a character's rest, or a lifetime, of which nothing has to be skipped.
fn character(chars: &mut Peekable<Chars<'_>>) {
    let mut ahead = chars.clone();
    match ahead.next() {
        Some('\\') => {
            ahead.next();
            while ahead.next().is_some_and(|c| c != '\'') {}
            *chars = ahead;
        }
        Some(_) if ahead.next() == Some('\'') => *chars = ahead,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(code: &str) -> Option<Vec<(Kind, String)>> {
        let lines: Vec<&str> = code.split_inclusive('\n').collect();
        let chunks = of(&lines)?;
        let joined: String = chunks.iter().map(|chunk| chunk.text.as_str()).collect();
        assert!(code.starts_with(&joined));
        Some(chunks.into_iter().map(|chunk| (chunk.kind, chunk.text)).collect())
    }

    #[test]
    fn items_end_where_all_is_closed() {
        let code = "extern crate a;\n/// Doc; with }\n#[derive(Debug)]\nstruct A {\n    x: i32,\n}\n\
            impl<'a> A {\n    const C: char = '}'; // }\n    const D: &str = \"}\\\"\n}\";\n}\n\
            const R: &str = r#\"\n;\n\"#;\nmacro_rules! m {\n    ($x:expr) => { $x };\n}\nm! { a }\n\
            static X: A = A { x: 1 }\n;\nlazy::init!(b);\npub(crate) fn f() { /* } */ }\n";
        let found = cut(code).unwrap();
        let kinds: Vec<Kind> = found.iter().map(|(kind, _)| *kind).collect();
        use Kind::*;
        assert_eq!(
            kinds,
            [ExternCrate, Item, Item, Item, MacroRules, MacroCall, Item, MacroCall, Item],
            "{found:?}"
        );
        assert!(found[1].1.starts_with("/// Doc") && found[6].1.ends_with("}\n;\n"));
    }

    #[test]
    fn idle_lines_stand_alone() {
        let found = cut("\n// note\n/// Doc.\nfn a() {}\n\nuse x;\n").unwrap();
        let kinds: Vec<Kind> = found.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [Kind::Idle, Kind::Idle, Kind::Item, Kind::Idle, Kind::Item]);
        assert!(found[2].1.starts_with("/// Doc."));
    }

    #[test]
    fn several_items_on_a_line_stay_together() {
        assert_eq!(cut("fn a() {} fn b() {}\nuse x;\n").unwrap().len(), 2);
    }

    #[test]
    fn unbalanced_code_is_left_alone() {
        for code in ["struct A {\n", "fn f( {\n}\n", "}\n", "const A: &str = \"\n", ";\n", "stray\n", "/* \n"]
        {
            assert!(cut(code).is_none(), "{code:?}");
        }
        assert_eq!(cut("").unwrap().len(), 0);
    }
}
