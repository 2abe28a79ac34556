//! Tells apart, in the bytes that a cell prints, what is text and what is the convention of
//! `evcxr_display`: `EVCXR_BEGIN_CONTENT mime`, data, `EVCXR_END_CONTENT`, and three notices.
//!
//! Bytes pass as soon as they cannot be the beginning of such a line; text needs no line feed.

/// What the bytes turned out to be, in order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    Text(&'a [u8]),
    Begin(&'a str),
    Data(&'a [u8]),
    End,
    /// The cell's code ended in a panic.
    Panicked,
    /// `?` left the cell early.
    EarlyReturn,
    /// This variable has another type than the cell expects.
    TypeChanged(&'a str),
}

/// Every line of the convention begins with this.
const SIGN: &[u8] = b"EVCXR_";
const BEGIN: &str = "EVCXR_BEGIN_CONTENT ";
pub(crate) const PANICKED: &str = "EVCXR_PANIC_NOTIFICATION";
pub(crate) const EARLY_RETURN: &str = "EVCXR_ERROR_OCCURRED";
pub(crate) const TYPE_CHANGED: &str = "EVCXR_VARIABLE_CHANGED_TYPE:";
const END_LINE: &[u8] = b"\nEVCXR_END_CONTENT\n";
const PANIC_LINE: &[u8] = b"\nEVCXR_PANIC_NOTIFICATION\n";
/// Longest line of the convention; anything longer is text.
const MAX_LINE: usize = 512;

#[derive(Debug, Default)]
pub(crate) struct Parser {
    /// Bytes that may be the beginning of a line of the convention.
    held: Vec<u8>,
    inside: bool,
    /// The line feed that stands before the first line of data belongs to the line above.
    skip_feed: bool,
}

impl Parser {
    pub(crate) fn feed(&mut self, bytes: &[u8], found: &mut dyn FnMut(Piece<'_>)) {
        let mut bytes_now = std::mem::take(&mut self.held);
        bytes_now.extend_from_slice(bytes);
        let mut rest = &bytes_now[..];
        while !rest.is_empty() {
            let used = if self.inside { self.data(rest, found) } else { self.text(rest, found) };
            rest = rest.get(used..).unwrap_or_default();
            if used == 0 {
                break;
            }
        }
        self.held = rest.to_vec();
    }

    /// Whether bytes are held back that [`Parser::release`] would pass on.
    pub(crate) fn holds_text(&self) -> bool {
        !self.inside && !self.held.is_empty()
    }

    /// Passes text on that was held back: nothing followed it for a while.
    pub(crate) fn release(&mut self, found: &mut dyn FnMut(Piece<'_>)) {
        if self.holds_text() {
            found(Piece::Text(&std::mem::take(&mut self.held)));
        }
    }

    /// The cell is over: closes what is open.
    pub(crate) fn finish(&mut self, found: &mut dyn FnMut(Piece<'_>)) {
        if self.inside {
            let held = std::mem::take(&mut self.held);
            self.give(&held, found);
            found(Piece::End);
        }
        self.release(found);
        *self = Self::default();
    }

    /// Outside of data. Returns how many bytes are done with; 0 asks for more.
    fn text(&mut self, bytes: &[u8], found: &mut dyn FnMut(Piece<'_>)) -> usize {
        let Some(at) = find(bytes, SIGN) else {
            let free = bytes.len() - overlap(bytes, SIGN);
            if free > 0 {
                found(Piece::Text(&bytes[..free]));
            }
            return free;
        };
        if at > 0 {
            found(Piece::Text(&bytes[..at]));
            return at;
        }
        let line = match bytes.iter().position(|byte| *byte == b'\n') {
            Some(end) => &bytes[..end],
            None if bytes.len() < MAX_LINE && could_become_notice(bytes) => return 0,
            None => &[],
        };
        let notice = std::str::from_utf8(line).unwrap_or("");
        if let Some(mime) = notice.strip_prefix(BEGIN).map(str::trim).filter(|mime| !mime.is_empty()) {
            found(Piece::Begin(mime));
            self.inside = true;
            self.skip_feed = true;
            // The line feed stays: an end line is recognised by the one before it.
            return line.len();
        }
        if let Some(name) = notice.strip_prefix(TYPE_CHANGED) {
            found(Piece::TypeChanged(name));
        } else if notice == PANICKED {
            found(Piece::Panicked);
        } else if notice == EARLY_RETURN {
            found(Piece::EarlyReturn);
        } else {
            found(Piece::Text(SIGN));
            return SIGN.len();
        }
        line.len() + 1
    }

    fn data(&mut self, bytes: &[u8], found: &mut dyn FnMut(Piece<'_>)) -> usize {
        let end = find(bytes, END_LINE).map(|at| (at, END_LINE.len(), false));
        let panic = find(bytes, PANIC_LINE).map(|at| (at, PANIC_LINE.len(), true));
        let first = [end, panic].into_iter().flatten().min_by_key(|(at, ..)| *at);
        let Some((at, len, panicked)) = first else {
            let free = bytes.len() - overlap(bytes, END_LINE).max(overlap(bytes, PANIC_LINE));
            self.give(&bytes[..free], found);
            return free;
        };
        self.give(&bytes[..at], found);
        self.inside = false;
        found(Piece::End);
        if panicked {
            found(Piece::Panicked);
        }
        at + len
    }

    fn give(&mut self, mut data: &[u8], found: &mut dyn FnMut(Piece<'_>)) {
        if self.skip_feed && !data.is_empty() {
            self.skip_feed = false;
            data = data.strip_prefix(b"\n").unwrap_or(data);
        }
        if !data.is_empty() {
            found(Piece::Data(data));
        }
    }
}

fn could_become_notice(bytes: &[u8]) -> bool {
    [BEGIN, PANICKED, EARLY_RETURN, TYPE_CHANGED].iter().any(|notice| {
        let len = notice.len().min(bytes.len());
        bytes.get(..len) == notice.as_bytes().get(..len)
    })
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(at) = bytes.get(from..)?.iter().position(|byte| *byte == first) {
        let at = from + at;
        if bytes.get(at..at + needle.len()) == Some(needle) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// Length of the longest end of `bytes` that is a beginning of `needle`, but not all of it.
fn overlap(bytes: &[u8], needle: &[u8]) -> usize {
    let most = bytes.len().min(needle.len().saturating_sub(1));
    (1..=most).rev().find(|len| bytes.ends_with(&needle[..*len])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `text` in chunks of `size` and joins neighbouring texts and data.
    fn parse(text: &str, size: usize) -> Vec<String> {
        let mut out: Vec<(char, String)> = Vec::new();
        let mut found = |piece: Piece<'_>| {
            let (kind, text) = match piece {
                Piece::Text(bytes) => ('t', String::from_utf8_lossy(bytes).into_owned()),
                Piece::Data(bytes) => ('d', String::from_utf8_lossy(bytes).into_owned()),
                Piece::Begin(mime) => ('b', mime.to_owned()),
                Piece::End => ('e', String::new()),
                Piece::Panicked => ('P', String::new()),
                Piece::EarlyReturn => ('Q', String::new()),
                Piece::TypeChanged(name) => ('V', name.to_owned()),
            };
            match out.last_mut() {
                Some((last, joined)) if *last == kind && matches!(kind, 't' | 'd') => joined.push_str(&text),
                _ => out.push((kind, text)),
            }
        };
        let mut parser = Parser::default();
        for chunk in text.as_bytes().chunks(size) {
            parser.feed(chunk, &mut found);
        }
        parser.finish(&mut found);
        out.into_iter().map(|(kind, text)| format!("{kind}:{text}")).collect()
    }

    #[test]
    fn every_way_of_cutting_the_stream_gives_the_same() {
        for (text, expected) in [
            ("plain\nno feed", vec!["t:plain\nno feed"]),
            ("xEVCXR_EXECUTION_COMPLETE\n", vec!["t:xEVCXR_EXECUTION_COMPLETE\n"]),
            ("xEVCXR_PANIC_NOTIFICATION\ny", vec!["t:x", "P:", "t:y"]),
            (
                "aEVCXR_BEGIN_CONTENT text/html\n<b>\nx</b>\nEVCXR_END_CONTENT\nb",
                vec!["t:a", "b:text/html", "d:<b>\nx</b>", "e:", "t:b"],
            ),
            ("EVCXR_BEGIN_CONTENT text/plain\nEVCXR_END_CONTENT\n", vec!["b:text/plain", "e:"]),
            ("EVCXR_BEGIN_CONTENT text/plain\n\nEVCXR_END_CONTENT\n", vec!["b:text/plain", "e:"]),
            (
                "EVCXR_BEGIN_CONTENT a/b\nhalf\nEVCXR_PANIC_NOTIFICATION\n",
                vec!["b:a/b", "d:half", "e:", "P:"],
            ),
            ("EVCXR_BEGIN_CONTENT a/b\nnever ended", vec!["b:a/b", "d:never ended", "e:"]),
            ("EVCXR_VARIABLE_CHANGED_TYPE:v\nEVCXR_ERROR_OCCURRED\n", vec!["V:v", "Q:"]),
            ("EVCXR_EVCXR_ERROR_OCCURRED\n", vec!["t:EVCXR_", "Q:"]),
            ("EVC", vec!["t:EVC"]),
        ] {
            for size in 1..=text.len() {
                assert_eq!(parse(text, size), expected, "chunks of {size} of {text:?}");
            }
        }
    }

    #[test]
    fn text_is_not_kept_waiting() {
        let mut parser = Parser::default();
        let mut seen = Vec::new();
        parser.feed(b"50% E", &mut |piece| {
            if let Piece::Text(text) = piece {
                seen.extend_from_slice(text);
            }
        });
        assert_eq!(seen, b"50% ");
        assert!(parser.holds_text());
        parser.release(&mut |piece| {
            if let Piece::Text(text) = piece {
                seen.extend_from_slice(text);
            }
        });
        assert_eq!(seen, b"50% E");
    }
}
