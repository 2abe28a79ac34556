//! Text to JSON (RFC 8259), from untrusted bytes: bounded in size and in depth, never a panic.

use super::Json;
use std::fmt::{self, Display, Formatter};

/// Longest text that is taken. Binary data travels beside the text, never inside.
pub const MAX_BYTES: usize = 16 << 20;
/// Deepest nesting of arrays and objects that is taken.
pub const MAX_DEPTH: usize = 128;

/// Why a text is not taken, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// In bytes from the start.
    pub at: usize,
    pub reason: String,
}

impl Display for ParseError {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "not valid JSON at byte {}: {}", self.at, self.reason)
    }
}

impl std::error::Error for ParseError {}

impl Json {
    /// Reads one value; nothing but white space may follow.
    ///
    /// A number too large for 64 bits becomes a float, half of a surrogate pair becomes U+FFFD.
    ///
    /// # Errors
    /// When the text is not JSON, is longer than [`MAX_BYTES`] or nested deeper than [`MAX_DEPTH`].
    pub fn parse(text: &str) -> Result<Json, ParseError> {
        if text.len() > MAX_BYTES {
            let reason = format!("{} bytes are more than the {MAX_BYTES} allowed", text.len());
            return Err(ParseError { at: MAX_BYTES, reason });
        }
        let mut parser = Parser { text, at: 0, depth: 0 };
        let value = parser.value()?;
        parser.space();
        match parser.peek() {
            None => Ok(value),
            Some(_) => parser.fail("something follows the value"),
        }
    }

    /// As [`Json::parse`], from bytes that should be UTF-8.
    ///
    /// # Errors
    /// As [`Json::parse`], and when the bytes are not UTF-8.
    pub fn parse_bytes(bytes: &[u8]) -> Result<Json, ParseError> {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| ParseError { at: error.valid_up_to(), reason: "not UTF-8".to_owned() })?;
        Json::parse(text)
    }
}

impl std::str::FromStr for Json {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Json, ParseError> {
        Json::parse(text)
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn fail<T>(&self, reason: impl Into<String>) -> Result<T, ParseError> {
        Err(ParseError { at: self.at, reason: reason.into() })
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self) -> Result<Json, ParseError> {
        self.space();
        match self.peek() {
            None => self.fail("the text ends where a value should be"),
            Some(b'n') => self.word("null", Json::Null),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'"') => Ok(Json::Str(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'[') => self.nested(Self::array),
            Some(b'{') => self.nested(Self::object),
            Some(_) => self.fail("no value begins like this"),
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json, ParseError> {
        if !self.text[self.at..].starts_with(word) {
            return self.fail(format!("`{word}` expected"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn nested(&mut self, inner: fn(&mut Self) -> Result<Json, ParseError>) -> Result<Json, ParseError> {
        if self.depth == MAX_DEPTH {
            return self.fail(format!("nested deeper than {MAX_DEPTH}"));
        }
        self.depth += 1;
        self.at += 1;
        let value = inner(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn array(&mut self) -> Result<Json, ParseError> {
        let mut items = Vec::new();
        self.space();
        if self.take(b']') {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value()?);
            self.space();
            if self.take(b']') {
                return Ok(Json::Array(items));
            }
            if !self.take(b',') {
                return self.fail("`,` or `]` expected");
            }
        }
    }

    fn object(&mut self) -> Result<Json, ParseError> {
        let mut pairs = Vec::new();
        self.space();
        if self.take(b'}') {
            return Ok(Json::Object(pairs));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return self.fail("a key in quotes expected");
            }
            let key = self.string()?;
            self.space();
            if !self.take(b':') {
                return self.fail("`:` expected");
            }
            pairs.push((key, self.value()?));
            self.space();
            if self.take(b'}') {
                return Ok(Json::Object(pairs));
            }
            if !self.take(b',') {
                return self.fail("`,` or `}` expected");
            }
        }
    }

    fn number(&mut self) -> Result<Json, ParseError> {
        let start = self.at;
        let negative = self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        let mut whole = true;
        if self.take(b'.') {
            whole = false;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            whole = false;
            self.at += 1;
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        let text = &self.text[start..self.at];
        // Minus zero is told apart by a float only.
        let int = text.parse::<i64>().ok().filter(|value| whole && !(negative && *value == 0));
        if let Some(value) = int {
            return Ok(Json::Int(value));
        }
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Json::Float(value)),
            _ => self.fail("a number too large"),
        }
    }

    fn digits(&mut self) -> Result<(), ParseError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { self.fail("a digit expected") } else { Ok(()) }
    }

    /// At the opening quote.
    fn string(&mut self) -> Result<String, ParseError> {
        self.at += 1;
        let mut text = String::new();
        loop {
            let plain = self.at;
            while !matches!(self.peek(), None | Some(b'"' | b'\\' | 0..=0x1f)) {
                self.at += 1;
            }
            text.push_str(&self.text[plain..self.at]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    self.at += 1;
                    text.push(self.escape()?);
                }
                Some(_) => return self.fail("a control character inside a string"),
                None => return self.fail("a string without an end"),
            }
        }
    }

    /// Behind a backslash.
    fn escape(&mut self) -> Result<char, ParseError> {
        let Some(byte) = self.peek() else { return self.fail("a string without an end") };
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return self.fail("no such escape"),
        })
    }

    fn unicode(&mut self) -> Result<char, ParseError> {
        let first = self.four_digits()?;
        if !(0xd800..0xdc00).contains(&first) {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        let behind = self.at;
        if self.take(b'\\') && self.take(b'u') {
            let second = self.four_digits()?;
            if (0xdc00..0xe000).contains(&second) {
                let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
        }
        self.at = behind;
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn four_digits(&mut self) -> Result<u32, ParseError> {
        let mut code = 0;
        for _ in 0..4 {
            let Some(digit) = self.peek().and_then(|byte| char::from(byte).to_digit(16)) else {
                return self.fail("four hexadecimal digits expected");
            };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }
}
