//! Just enough of Rust's lexer to know where a line stands: at a statement boundary, or inside a
//! string, comment or bracket. Cell splitting and `is_complete` build on it.
//!
//! Assumes nothing about the text: half-typed and malformed code is its daily bread. Does not
//! parse, does not report errors beyond "this can never become valid".

mod token;

use token::{Token, next_token};

/// What a line of a cell is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Rust, and a new statement begins here (also blank lines and comments between statements).
    Rust,
    /// Continues what the line above began: a statement, string, comment or bracket.
    Inside,
    /// A command: begins with `%dds` or `%%dds` (or another word after the per cent sign).
    Magic,
    /// A shell line: begins with `!`.
    Shell,
    /// A directive of the evaluator: begins with `:` and a letter.
    Directive,
    /// Belongs to the command above: after a line that ends in a backslash, or below `%%`.
    Body,
}

/// One line of a cell, as byte offsets without the line's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    pub start: usize,
    pub end: usize,
    pub role: Role,
}

impl Line {
    /// Whether a command may begin here. A line that begins with `%dds` or `!` but is not at a
    /// boundary is part of a Rust statement.
    pub fn boundary(&self) -> bool {
        !matches!(self.role, Role::Inside | Role::Body)
    }
}

/// The answer to "may this be run, or is the user still typing?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    Complete,
    /// More must follow; `indent` is the number of spaces to begin the next line with.
    Incomplete {
        indent: usize,
    },
    /// No text appended could make it valid.
    Invalid,
}

/// The lines of `code` and what each of them is, in order. As in [`str::lines`], a line feed at
/// the very end does not begin another line.
pub fn boundaries(code: &str) -> Vec<Line> {
    Scan::of(code).lines
}

/// Whether `code` can be run as it stands.
pub fn is_complete(code: &str) -> Completeness {
    Scan::of(code).completeness(code)
}

/// What keeps `code` from being complete, and the bytes of the text that began it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenEnd {
    /// A bracket without its partner.
    Bracket(std::ops::Range<usize>),
    /// A string, character or comment that runs to the end.
    Text(std::ops::Range<usize>),
    /// The last token: something must follow it.
    After(std::ops::Range<usize>),
}

/// Why [`is_complete`] says that more Rust must follow, if it does.
pub fn open_end(code: &str) -> Option<OpenEnd> {
    let scan = Scan::of(code);
    if scan.invalid || scan.command_open {
        return None;
    }
    if let Some(start) = scan.unclosed {
        return Some(OpenEnd::Text(start..code.len()));
    }
    if let Some(open) = scan.open.last() {
        return Some(OpenEnd::Bracket(open.at..open.at + 1));
    }
    let incomplete = matches!(scan.completeness(code), Completeness::Incomplete { .. });
    (incomplete && !scan.last_token.is_empty()).then_some(OpenEnd::After(scan.last_token))
}

/// Whether byte `at` is inside a string, character or comment, where no names are.
pub fn in_text(code: &str, at: usize) -> bool {
    let mut from = 0;
    while let Some((token, end)) = next_token(code, from) {
        if from >= at {
            return false;
        }
        let text = code.get(from..end).unwrap_or("");
        let inside = match token {
            // A line's comment goes on behind its last character.
            Token::Comment { .. } => at < end || text.starts_with("//") || !text.ends_with("*/"),
            Token::Literal { closed } => {
                let lifetime = text.starts_with('\'') && !text.ends_with('\'');
                !lifetime && (at < end || !closed)
            }
            _ => false,
        };
        if inside && at <= end {
            return true;
        }
        from = end;
    }
    false
}

/// Whether the last thing in `code` is an expression with neither semicolon nor block at its end,
/// so that its value is the value of the whole.
pub fn ends_in_expression(code: &str) -> bool {
    Scan::of(code).last == Last::Value
}

/// Columns that one more level of nesting is indented by.
const INDENT: usize = 4;

/// How the last token of the running statement bears on what may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    /// Nothing yet, or the statement before was ended by `;` or a block.
    Nothing,
    /// Something that can end an expression: a name, a literal, a closing bracket, `?`.
    Value,
    /// An operator or separator that needs something after it.
    Operator,
    /// An attribute, which needs an item after it.
    Attribute,
}

/// What the first word of a statement asks for before the statement can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    Nothing,
    /// `let`, `use`, …: only `;` ends it.
    Semicolon,
    /// `fn`, `struct`, `if`, …: a block or `;`.
    Block,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    bracket: u8,
    /// Where it stands.
    at: usize,
    /// Indentation of the line that opened it.
    indent: usize,
    /// Whether it is the `[` of an attribute.
    attribute: bool,
}

struct Scan {
    lines: Vec<Line>,
    open: Vec<Open>,
    last: Last,
    needs: Needs,
    /// Whether a statement is under way whose first word has been seen.
    begun: bool,
    /// Indentation of the line under way.
    indent: usize,
    after_hash: bool,
    invalid: bool,
    /// Where a string or comment begins that runs to the end of the text.
    unclosed: Option<usize>,
    /// The last token that is neither space nor comment.
    last_token: std::ops::Range<usize>,
    /// A command line ends in a backslash, or a `%%` body may go on.
    command_open: bool,
}

impl Scan {
    fn of(code: &str) -> Self {
        let mut scan = Scan {
            lines: Vec::new(),
            open: Vec::new(),
            last: Last::Nothing,
            needs: Needs::Nothing,
            begun: false,
            indent: 0,
            after_hash: false,
            invalid: false,
            unclosed: None,
            last_token: 0..0,
            command_open: false,
        };
        let mut at = scan.line(code, 0);
        while let Some((token, end)) = next_token(code, at) {
            match token {
                Token::LineEnd => {
                    at = scan.line(code, end);
                    continue;
                }
                Token::Space | Token::Comment { closed: true } => {}
                Token::Comment { closed: false } => scan.unclosed = Some(at),
                Token::Literal { closed } => {
                    if !closed {
                        scan.unclosed = Some(at);
                    }
                    scan.word("");
                }
                Token::Word => scan.word(code.get(at..end).unwrap_or("")),
                Token::Punctuation(byte) => scan.punctuation(byte, code, at),
            }
            if !matches!(token, Token::Space | Token::Comment { .. }) {
                scan.last_token = at..end;
            }
            scan.lines_inside(code, at, end);
            at = end;
        }
        scan
    }

    /// Begins the line at `start`. A command's lines are taken whole; returns where to go on.
    fn line(&mut self, code: &str, start: usize) -> usize {
        if start >= code.len() {
            return start;
        }
        let text = line_text(code, start);
        let trimmed = text.trim_start();
        if !trimmed.is_empty() {
            self.indent = text.len() - trimmed.len();
        }
        let role = self.role(trimmed);
        self.lines.push(Line { start, end: start + text.len(), role });
        match role {
            Role::Magic | Role::Shell | Role::Directive => {
                self.begin_statement();
                self.command(code, start, trimmed.starts_with("%%"))
            }
            _ => start,
        }
    }

    fn role(&self, trimmed: &str) -> Role {
        if !self.open.is_empty() {
            return Role::Inside;
        }
        // `let a = b` without its semicolon is wrong Rust in any case, so a command line may
        // follow it; after an operator the line is the operator's other side.
        let free = matches!(self.last, Last::Nothing | Last::Value);
        let letter = |c: char| c.is_alphabetic() || c == '_';
        let mut chars = trimmed.chars();
        match chars.next() {
            Some('%') if free && chars.clone().next().is_some_and(|c| letter(c) || c == '%') => Role::Magic,
            Some('!') if free && chars.clone().next() != Some('=') => Role::Shell,
            Some(':') if free && chars.clone().next().is_some_and(letter) => Role::Directive,
            _ if self.last == Last::Nothing => Role::Rust,
            _ => Role::Inside,
        }
    }

    /// Takes the lines of a command whole and returns where Rust goes on (before a line end, or at
    /// the end of the text).
    fn command(&mut self, code: &str, start: usize, whole_cell: bool) -> usize {
        let mut start = start;
        loop {
            let text = line_text(code, start);
            let end = start + text.len();
            let continues = whole_cell || text.ends_with('\\');
            let next = code.get(end..).and_then(|rest| rest.find('\n')).map(|at| end + at + 1);
            match next {
                Some(next) if next < code.len() && continues => {
                    start = next;
                    let text = line_text(code, start);
                    self.lines.push(Line { start, end: start + text.len(), role: Role::Body });
                }
                _ => {
                    // A `%%` body ends with an empty line, as in IPython.
                    self.command_open = if whole_cell {
                        !(text.trim().is_empty() || code.ends_with("\n\n"))
                    } else {
                        continues
                    };
                    return end;
                }
            }
        }
    }

    /// Records the lines that begin inside the token `start..end`.
    fn lines_inside(&mut self, code: &str, start: usize, end: usize) {
        let Some(text) = code.get(start..end) else { return };
        for (at, _) in text.match_indices('\n') {
            let start = start + at + 1;
            if start < code.len() {
                let text = line_text(code, start);
                self.lines.push(Line { start, end: start + text.len(), role: Role::Inside });
            }
        }
    }

    fn begin_statement(&mut self) {
        self.last = Last::Nothing;
        self.needs = Needs::Nothing;
        self.begun = false;
        self.after_hash = false;
    }

    /// A name, keyword, number or (with `text` empty) another literal.
    fn word(&mut self, text: &str) {
        self.after_hash = false;
        if !self.open.is_empty() {
            return;
        }
        if !self.begun {
            match text {
                "pub" | "async" | "extern" | "default" => {
                    self.last = Last::Operator;
                    return;
                }
                _ => {}
            }
            self.begun = true;
            self.needs = match text {
                "let" | "use" | "const" | "static" | "type" => Needs::Semicolon,
                "fn" | "struct" | "enum" | "union" | "trait" | "impl" | "mod" | "macro_rules" | "if"
                | "while" | "for" | "loop" | "match" | "unsafe" => Needs::Block,
                _ => Needs::Nothing,
            };
        } else if text == "fn" && self.needs == Needs::Semicolon && self.last == Last::Operator {
            // `const fn`: the keyword before it was a qualifier.
            self.needs = Needs::Block;
        }
        self.last = match text {
            "const" => Last::Operator,
            "else" | "in" | "as" | "mut" | "ref" | "dyn" | "where" | "move" => Last::Operator,
            _ => Last::Value,
        };
    }

    fn punctuation(&mut self, byte: u8, code: &str, at: usize) {
        let after_hash = std::mem::replace(&mut self.after_hash, byte == b'#');
        match byte {
            b'(' | b'[' | b'{' => {
                let attribute = byte == b'[' && after_hash && self.open.is_empty();
                if self.open.is_empty() && !attribute {
                    self.begun = true;
                }
                self.open.push(Open { bracket: byte, at, indent: self.indent, attribute });
            }
            b')' | b']' | b'}' => self.close(byte),
            _ if !self.open.is_empty() => {}
            b';' => self.begin_statement(),
            b'?' => self.last = Last::Value,
            // `#![…]` and `#[…]`: neither sign begins a statement of its own.
            b'#' => self.last = if self.begun { Last::Operator } else { Last::Attribute },
            b'!' if after_hash => self.after_hash = true,
            b'.' if self.last == Last::Operator && preceded_by(code, at, b'.') => self.last = Last::Value,
            // `Vec<u8>` ends a type, `a >` waits for its other side.
            b'>' if !preceded_by(code, at, b' ')
                && !preceded_by(code, at, b'-')
                && !preceded_by(code, at, b'=') =>
            {
                self.begun = true;
                self.last = Last::Value;
            }
            _ => {
                self.begun = true;
                self.last = Last::Operator;
            }
        }
    }

    fn close(&mut self, byte: u8) {
        let Some(open) = self.open.pop() else {
            self.invalid = true;
            return;
        };
        let fits = matches!((open.bracket, byte), (b'(', b')') | (b'[', b']') | (b'{', b'}'));
        self.invalid |= !fits;
        if !self.open.is_empty() {
            return;
        }
        if open.attribute && !self.begun {
            self.last = Last::Attribute;
        } else if byte == b'}' && self.needs != Needs::Semicolon {
            self.begin_statement();
        } else {
            self.last = Last::Value;
        }
    }

    fn completeness(&self, code: &str) -> Completeness {
        if self.invalid {
            return Completeness::Invalid;
        }
        if self.unclosed.is_some() {
            return Completeness::Incomplete { indent: 0 };
        }
        if let Some(open) = self.open.last() {
            return Completeness::Incomplete { indent: open.indent + INDENT };
        }
        if self.command_open {
            return Completeness::Incomplete { indent: 0 };
        }
        // An inner attribute (`#![…]`) stands alone.
        let attribute = self.last == Last::Attribute && !code.trim_start().starts_with("#!");
        if attribute {
            return Completeness::Incomplete { indent: self.indent };
        }
        if self.last == Last::Operator || (self.begun && self.needs != Needs::Nothing) {
            return Completeness::Incomplete { indent: self.indent + INDENT };
        }
        Completeness::Complete
    }
}

/// The line that begins at `start`, without its end (`\n` or `\r\n`).
fn line_text(code: &str, start: usize) -> &str {
    let rest = code.get(start..).unwrap_or("");
    let line = rest.split('\n').next().unwrap_or("");
    line.strip_suffix('\r').unwrap_or(line)
}

fn preceded_by(code: &str, at: usize, byte: u8) -> bool {
    at.checked_sub(1).and_then(|before| code.as_bytes().get(before)) == Some(&byte)
}

#[cfg(test)]
mod tests;
