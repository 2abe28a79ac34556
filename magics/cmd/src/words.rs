//! A command line as words: shell-like quoting, and `{expr}` for the value of a Rust expression.
//!
//! The value of an expression becomes part of **one** word, whatever it holds: it is never split
//! at blanks, never unquoted, never read as a further expression. A value that begins a word with
//! `-` is refused, so that a value can never become a flag (`--name={x}` says that it is one's
//! value). `{{` and `}}` are braces, also inside quotes; a `}` alone is itself.
//!
//! `~` at the beginning of a word and `*`, `?`, `[…]` outside quotes stand for files; which ones, the
//! caller of [`resolve_with`] knows. A word that begins with `#` (or is `//`) begins a comment, and a
//! `;` at the end of the line is the habit of a Rust programmer, and means nothing.

use dds_core::{Error, Result};

/// A piece of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Text(String),
    /// A Rust expression whose Display text stands here.
    Expr(String),
    /// `*`, `?` or `[`, not quoted.
    Wild(char),
    /// `~` at the beginning of a word: the user's own folder.
    Home,
}

/// One word of a command line.
pub type Word = Vec<Part>;

/// A word that stands for files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// Begins in the user's own folder, which `glob` leaves out.
    pub home: bool,
    /// `*`, `?` and `[…]` have their meaning, a backslash takes it from the character behind it.
    pub glob: String,
}

/// Splits a line into words. Errors (`Usage`): a quote or brace that is not closed, an empty `{}`,
/// another command behind a `;`.
pub fn split(line: &str) -> Result<Vec<Word>> {
    let mut words = Words::default();
    let mut quote: Option<char> = None;
    let mut chars = line.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map(|&(_, c)| c);
        match (c, quote) {
            ('{', _) | ('}', _) if next == Some(c) => {
                chars.next();
                words.text(c);
            }
            ('{', _) => {
                let rest = line.get(at + 1..).unwrap_or_default();
                let Some(len) = expression(rest) else {
                    return Err(Error::usage(format!("the `{{` before {:?} is not closed", shown(rest)))
                        .hint("an expression in braces needs its `}`; write {{ for a brace"));
                };
                let expr = rest.get(..len).unwrap_or_default().trim();
                if expr.is_empty() {
                    return Err(Error::usage("there is nothing between `{` and `}`")
                        .hint("put a Rust expression between them, or write {{}} for the two braces"));
                }
                words.expr(expr);
                while chars.next_if(|&(i, _)| i <= at + 1 + len).is_some() {}
            }
            ('\\', Some('"')) if next.is_some_and(|n| "\"\\".contains(n)) => {
                words.text(next.unwrap_or(c));
                chars.next();
            }
            ('\\', None) => match chars.next() {
                Some((_, escaped)) => words.text(escaped),
                None => words.text(c),
            },
            ('\'' | '"', None) => {
                quote = Some(c);
                words.open();
            }
            (_, Some(q)) if q == c => quote = None,
            (c, None) if c.is_whitespace() => words.end(),
            ('#', None) if words.word.is_none() => break,
            ('/', None) if words.word.is_none() && is_comment(line.get(at..).unwrap_or_default()) => break,
            (';', None) => {
                let rest = line.get(at + 1..).unwrap_or_default().trim_start();
                if !(rest.is_empty() || rest.starts_with('#') || is_comment(rest)) {
                    return Err(Error::usage(format!("there is more behind the `;`: {:?}", shown(rest)))
                        .hint("write one command per line; quote a `;` that belongs to a name"));
                }
                break;
            }
            ('*' | '?' | '[', None) => words.word.get_or_insert_default().push(Part::Wild(c)),
            ('~', None) if words.word.is_none() && next.is_none_or(|n| n == '/' || n.is_whitespace()) => {
                words.word.get_or_insert_default().push(Part::Home);
            }
            (c, _) => words.text(c),
        }
    }
    if let Some(q) = quote {
        return Err(Error::usage(format!("the quote {q} is not closed"))
            .hint(format!("close it, or write \\{q} for the sign itself")));
    }
    words.end();
    Ok(words.done)
}

/// `//` alone, which no path is.
fn is_comment(rest: &str) -> bool {
    rest.strip_prefix("//").is_some_and(|r| r.is_empty() || r.starts_with(char::is_whitespace))
}

/// Whether any word stands for files.
pub fn has_patterns(words: &[Word]) -> bool {
    words.iter().flatten().any(|p| matches!(p, Part::Wild(_) | Part::Home))
}

/// As [`resolve`]; a word that stands for files becomes the names that `files` gives for it, or stays
/// as it is when that gives none. A name that begins with `-` never becomes a flag.
pub fn resolve_with<E: From<Error>>(
    words: Vec<Word>,
    value: &mut dyn FnMut(&str) -> Result<String, E>,
    files: &mut dyn FnMut(&Pattern) -> Result<Vec<String>, E>,
) -> Result<Vec<String>, E> {
    let mut out = Vec::with_capacity(words.len());
    for word in words {
        if !has_patterns(std::slice::from_ref(&word)) {
            out.extend(resolve(vec![word], value)?);
            continue;
        }
        let mut pattern = Pattern { home: false, glob: String::new() };
        let mut literal = String::new();
        for part in word {
            match part {
                Part::Wild(c) => {
                    pattern.glob.push(c);
                    literal.push(c);
                }
                Part::Home => {
                    pattern.home = true;
                    literal.push('~');
                }
                plain => {
                    let text = resolve(vec![vec![plain]], value)?.concat();
                    for c in text.chars() {
                        if "*?[]\\".contains(c) {
                            pattern.glob.push('\\');
                        }
                        pattern.glob.push(c);
                    }
                    literal.push_str(&text);
                }
            }
        }
        let found =
            if literal.starts_with('-') || literal.contains("://") { Vec::new() } else { files(&pattern)? };
        if found.is_empty() {
            out.push(literal);
        }
        out.extend(
            found.into_iter().map(|name| if name.starts_with('-') { format!("./{name}") } else { name }),
        );
    }
    Ok(out)
}

/// The words with each expression replaced by what `value` gives for it. Errors: those of `value`,
/// and `Usage` for a value that would begin a word with `-`.
pub fn resolve<E: From<Error>>(
    words: Vec<Word>,
    value: &mut dyn FnMut(&str) -> Result<String, E>,
) -> Result<Vec<String>, E> {
    let mut out = Vec::with_capacity(words.len());
    for word in words {
        let mut text = String::new();
        for part in word {
            match part {
                Part::Text(t) => text.push_str(&t),
                Part::Wild(c) => text.push(c),
                Part::Home => text.push('~'),
                Part::Expr(expr) => {
                    let v = value(&expr)?;
                    if text.is_empty() && v.starts_with('-') {
                        return Err(Error::usage(format!("the value of {{{expr}}} begins with '-'"))
                            .hint(format!(
                                "a value is never a flag: write --FLAG={{{expr}}} for a flag's value, ./{{{expr}}} for a file"
                            ))
                            .into());
                    }
                    text.push_str(&v);
                }
            }
        }
        out.push(text);
    }
    Ok(out)
}

/// Whether any word holds an expression.
pub fn has_expressions(words: &[Word]) -> bool {
    words.iter().flatten().any(|p| matches!(p, Part::Expr(_)))
}

#[derive(Default)]
struct Words {
    done: Vec<Word>,
    word: Option<Word>,
}

impl Words {
    /// A word begins here, even an empty one.
    fn open(&mut self) {
        self.word.get_or_insert_default();
    }

    fn text(&mut self, c: char) {
        let word = self.word.get_or_insert_default();
        match word.last_mut() {
            Some(Part::Text(t)) => t.push(c),
            _ => word.push(Part::Text(c.into())),
        }
    }

    fn expr(&mut self, expr: &str) {
        self.word.get_or_insert_default().push(Part::Expr(expr.to_owned()));
    }

    fn end(&mut self) {
        self.done.extend(self.word.take());
    }
}

/// Length in bytes of the expression at the beginning of `rest`, up to its closing brace.
fn expression(rest: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut chars = rest.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' | ')' | ']' => depth = depth.saturating_sub(1),
            '"' => loop {
                match chars.next()?.1 {
                    '\\' => drop(chars.next()),
                    '"' => break,
                    _ => {}
                }
            },
            // A character literal; anything else after `'` is a lifetime or a label.
            '\'' => {
                let after: String = rest.get(at + 1..)?.chars().take(2).collect();
                let mut after = after.chars();
                match (after.next(), after.next()) {
                    (Some('\\'), _) => {
                        chars.next();
                        chars.next();
                        while chars.next_if(|&(_, c)| c != '\'').is_some() {}
                        chars.next();
                    }
                    (Some(_), Some('\'')) => {
                        chars.next();
                        chars.next();
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
    None
}

fn shown(rest: &str) -> String {
    rest.chars().take(20).collect()
}

/// A word under the cursor or before it, as far as it has been typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Typed {
    /// Byte offset of its first character (a quote included).
    pub start: usize,
    /// Without quotes and escapes.
    pub text: String,
    /// The quote that is still open at its end.
    pub quote: Option<char>,
    /// Whether a brace is still open at its end: the cursor is inside a Rust expression.
    pub in_expr: bool,
}

/// The words of a half-typed line; the last one is the word under the cursor, empty after a blank.
pub fn typed(text: &str) -> Vec<Typed> {
    half_typed(text, true)
}

/// As [`typed`], of a shell line: a brace is a brace.
pub fn typed_in_shell(text: &str) -> Vec<Typed> {
    half_typed(text, false)
}

fn half_typed(text: &str, braces: bool) -> Vec<Typed> {
    let mut out: Vec<Typed> = Vec::new();
    let mut word: Option<Typed> = None;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let quote = word.as_ref().and_then(|w| w.quote);
        if c.is_whitespace() && quote.is_none() {
            out.extend(word.take());
            continue;
        }
        let w = word.get_or_insert(Typed { start: at, text: String::new(), quote: None, in_expr: false });
        match (c, quote) {
            ('{', _) if braces && chars.next_if(|&(_, n)| n == '{').is_some() => w.text.push(c),
            ('{', _) if braces => match text.get(at + 1..).and_then(expression) {
                Some(len) => {
                    w.text.push_str(text.get(at..at + len + 2).unwrap_or_default());
                    while chars.next_if(|&(i, _)| i <= at + 1 + len).is_some() {}
                }
                None => {
                    w.in_expr = true;
                    w.text.push_str(text.get(at..).unwrap_or_default());
                    break;
                }
            },
            ('\\', None) => w.text.extend(chars.next().map(|(_, c)| c)),
            ('\'' | '"', None) => w.quote = Some(c),
            (c, Some(q)) if c == q => w.quote = None,
            (c, _) => w.text.push(c),
        }
    }
    out.push(word.unwrap_or(Typed { start: text.len(), text: String::new(), quote: None, in_expr: false }));
    out
}

/// `text` as it must be typed in a shell line to be one word that means itself.
pub fn quoted_for_shell(text: &str, open: Option<char>) -> String {
    // A leading `~/` is the shell's to expand.
    let (home, rest) = if open.is_none() && text.starts_with("~/") { text.split_at(2) } else { ("", text) };
    let mut out: String = open.map(String::from).unwrap_or_default();
    out.push_str(home);
    for c in rest.chars() {
        match (c, open) {
            ('"' | '\\' | '$' | '`', Some('"')) => out.extend(['\\', c]),
            ('\'', Some('\'')) => out.push_str("'\\''"),
            (c, None) if c.is_whitespace() || "'\"\\$`&;|<>()[]{}*?#~!".contains(c) => out.extend(['\\', c]),
            (c, _) => out.push(c),
        }
    }
    out
}

/// `text` as it must be typed to be one word that means itself.
pub fn quoted(text: &str, open: Option<char>) -> String {
    let mut out: String = open.map(String::from).unwrap_or_default();
    for c in text.chars() {
        match (c, open) {
            ('{' | '}', _) => out.extend([c, c]),
            ('"' | '\\', Some('"')) => out.extend(['\\', c]),
            (c, None) if c.is_whitespace() || "'\"\\;*?[#~".contains(c) => out.extend(['\\', c]),
            (c, _) => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests;
