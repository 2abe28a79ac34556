//! One token at a time: words, literals, comments, punctuation. Any text yields tokens; the end of
//! the text closes whatever is open.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Space,
    LineEnd,
    Comment {
        closed: bool,
    },
    /// A string, character or lifetime.
    Literal {
        closed: bool,
    },
    /// A name, keyword or number.
    Word,
    Punctuation(u8),
}

/// The token at byte `at` and the offset behind it; none at the end of the text.
pub(super) fn next_token(code: &str, at: usize) -> Option<(Token, usize)> {
    let rest = code.get(at..)?;
    let first = rest.chars().next()?;
    let (token, len) = match first {
        '\n' => (Token::LineEnd, 1),
        c if c.is_whitespace() => (Token::Space, c.len_utf8()),
        '/' if rest.starts_with("//") => {
            (Token::Comment { closed: true }, rest.find('\n').unwrap_or(rest.len()))
        }
        '/' if rest.starts_with("/*") => block_comment(rest),
        '"' => string(rest, 1),
        '\'' => quote(rest),
        c if is_word(c) => word(rest),
        c => (Token::Punctuation(if c.is_ascii() { c as u8 } else { 0 }), c.len_utf8()),
    };
    Some((token, at + len))
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// Block comments nest.
fn block_comment(text: &str) -> (Token, usize) {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0_usize, 0);
    while at < bytes.len() {
        match bytes.get(at..at + 2) {
            Some(b"/*") => {
                depth += 1;
                at += 2;
            }
            Some(b"*/") => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return (Token::Comment { closed: true }, at);
                }
            }
            _ => at += 1,
        }
    }
    (Token::Comment { closed: false }, text.len())
}

/// A string whose opening quote ends at `at`, with escapes.
fn string(text: &str, at: usize) -> (Token, usize) {
    let bytes = text.as_bytes();
    let mut at = at;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return (Token::Literal { closed: true }, at + 1),
            _ => at += 1,
        }
    }
    (Token::Literal { closed: false }, text.len())
}

/// `'a'` and `'\n'` are characters, `'a` is a lifetime or a label.
fn quote(text: &str) -> (Token, usize) {
    let closed = Token::Literal { closed: true };
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => {
            // Skip the escaped character, which may be a quote, then find the closing one.
            let _ = chars.next();
            for (at, c) in chars {
                match c {
                    '\'' => return (closed, at + 1),
                    '\n' => return (closed, at),
                    _ => {}
                }
            }
            (closed, text.len())
        }
        Some((_, first)) if first != '\n' => match chars.next() {
            Some((at, '\'')) => (closed, at + 1),
            _ if is_word(first) => {
                let name = text.char_indices().skip(1).find(|(_, c)| !is_word(*c));
                (Token::Literal { closed: true }, name.map_or(text.len(), |(at, _)| at))
            }
            _ => (Token::Punctuation(b'\''), 1),
        },
        _ => (Token::Punctuation(b'\''), 1),
    }
}

/// A word, or a literal that begins with letters: `r"…"`, `br#"…"#`, `c"…"`, `b'…'`, `r#name`.
fn word(text: &str) -> (Token, usize) {
    let len = text.char_indices().find(|(_, c)| !is_word(*c)).map_or(text.len(), |(at, _)| at);
    let (prefix, rest) = text.split_at(len);
    match (prefix, rest.as_bytes().first()) {
        ("b" | "c", Some(b'"')) => return string(text, len + 1),
        ("b", Some(b'\'')) => {
            let (token, end) = quote(rest);
            return (token, len + end);
        }
        ("r" | "br" | "cr", Some(b'"' | b'#')) => {
            let hashes = rest.bytes().take_while(|byte| *byte == b'#').count();
            if rest.as_bytes().get(hashes) == Some(&b'"') {
                let mut end = String::from('"');
                end.extend(std::iter::repeat_n('#', hashes));
                let body = len + hashes + 1;
                return match text.get(body..).and_then(|inner| inner.find(&end)) {
                    Some(at) => (Token::Literal { closed: true }, body + at + end.len()),
                    None => (Token::Literal { closed: false }, text.len()),
                };
            }
            if prefix == "r" && hashes == 1 {
                let name = rest.char_indices().skip(1).find(|(_, c)| !is_word(*c));
                return (Token::Word, len + name.map_or(rest.len(), |(at, _)| at));
            }
        }
        _ => {}
    }
    (Token::Word, len)
}
