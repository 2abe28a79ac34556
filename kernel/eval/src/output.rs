//! What a cell shows: rich values in the order in which they were printed, the last of which may
//! be the value of the cell, and text that arrives in pieces.

use crate::prelude::{TEXT_MIME, VALUE_MIME};
use dds_core::MimeBundle;
use serde_json::Value;

/// Largest rich value, in bytes; what is beyond is cut off and said so.
const MAX_CONTENT: usize = 64 << 20;

/// Collects the rich values of one cell. Values printed directly after each other in different
/// MIME types are one value, as `evcxr_display` means it.
#[derive(Debug, Default)]
pub(crate) struct CellOutput {
    /// Complete, and shown as soon as something else follows.
    pending: MimeBundle,
    open: Option<(String, Vec<u8>)>,
    /// Whether `pending` came from the fallback for final expressions.
    is_value: bool,
    text: Option<String>,
}

impl CellOutput {
    /// Text was printed: what was shown before it is complete.
    pub(crate) fn text_comes(&mut self) -> Option<MimeBundle> {
        self.take_pending()
    }

    /// A value in `mime` begins. Returns what is complete thereby.
    pub(crate) fn begin(&mut self, mime: String) -> Option<MimeBundle> {
        self.end();
        let next = if mime == VALUE_MIME { "text/plain" } else { &mime };
        let apart = mime == VALUE_MIME || self.is_value || self.pending.data.contains_key(next);
        let shown = if apart && mime != TEXT_MIME { self.take_pending() } else { None };
        self.open = Some((mime, Vec::new()));
        shown
    }

    pub(crate) fn data(&mut self, bytes: &[u8]) {
        if let Some((_, data)) = &mut self.open {
            let room = MAX_CONTENT.saturating_sub(data.len());
            data.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        }
    }

    pub(crate) fn end(&mut self) {
        let Some((mime, data)) = self.open.take() else { return };
        let cut = data.len() >= MAX_CONTENT;
        let mut text = String::from_utf8_lossy(&data).into_owned();
        if cut {
            text.push_str("… (cut off)");
        }
        match mime.as_str() {
            TEXT_MIME => self.text = Some(text),
            VALUE_MIME => {
                // The value of a statement is nothing to show.
                if text != "()" {
                    self.pending = MimeBundle::text(text);
                    self.is_value = true;
                }
            }
            _ => {
                let value = if mime.ends_with("json") {
                    serde_json::from_str(&text).unwrap_or(Value::String(text))
                } else {
                    Value::String(text)
                };
                self.pending.data.insert(mime, value);
            }
        }
    }

    /// The value of a final expression has come by another way. What was pending has been taken.
    pub(crate) fn value(&mut self, bundle: MimeBundle) {
        self.pending = bundle;
        self.is_value = true;
    }

    /// The cell is over. The last value is the cell's if it came from a final expression, which
    /// `ends_in_expression` says for those that print themselves.
    pub(crate) fn finish(mut self, ends_in_expression: bool) -> Finished {
        self.end();
        let is_value = self.is_value || ends_in_expression;
        let text = self.text.take();
        match self.take_pending() {
            Some(bundle) if is_value => Finished { value: Some(bundle), shown: None, text },
            shown => Finished { value: None, shown, text },
        }
    }

    fn take_pending(&mut self) -> Option<MimeBundle> {
        self.is_value = false;
        Some(std::mem::take(&mut self.pending)).filter(|bundle| !bundle.is_empty())
    }
}

/// What was left at the end of a cell.
#[derive(Debug, PartialEq)]
pub(crate) struct Finished {
    pub value: Option<MimeBundle>,
    pub shown: Option<MimeBundle>,
    /// The text that was asked for.
    pub text: Option<String>,
}

/// UTF-8 from pieces that may be cut inside a character; what is not UTF-8 is shown as such.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    rest: Vec<u8>,
}

impl Decoder {
    pub(crate) fn decode(&mut self, bytes: &[u8]) -> String {
        self.rest.extend_from_slice(bytes);
        let mut text = String::with_capacity(self.rest.len());
        let mut done = 0;
        for chunk in self.rest.utf8_chunks() {
            text.push_str(chunk.valid());
            done += chunk.valid().len();
            let invalid = chunk.invalid();
            let at_the_end = done + invalid.len() == self.rest.len();
            if invalid.is_empty() || (at_the_end && may_go_on(invalid)) {
                break;
            }
            text.push('\u{fffd}');
            done += invalid.len();
        }
        self.rest.drain(..done);
        text
    }

    /// What is left of a character that never became complete.
    pub(crate) fn finish(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.rest).into_owned();
        self.rest.clear();
        text
    }
}

/// Whether more bytes could make a character of these.
fn may_go_on(bytes: &[u8]) -> bool {
    matches!(std::str::from_utf8(bytes), Err(error) if error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(output: &mut CellOutput, mime: &str, text: &str) -> Option<MimeBundle> {
        let shown = output.begin(mime.to_owned());
        output.data(text.as_bytes());
        output.end();
        shown
    }

    #[test]
    fn one_display_in_two_types_is_one_value() {
        let mut output = CellOutput::default();
        assert_eq!(content(&mut output, "text/html", "<b>"), None);
        assert_eq!(content(&mut output, "text/plain", "b"), None);
        let value = output.finish(true).value.unwrap();
        assert_eq!(value, MimeBundle::text("b").with("text/html", "<b>"));
    }

    #[test]
    fn earlier_values_are_displays() {
        let mut output = CellOutput::default();
        assert_eq!(content(&mut output, "image/png", "a"), None);
        let first = content(&mut output, "image/png", "b").unwrap();
        assert_eq!(first, MimeBundle::default().with("image/png", "a"));
        let second = content(&mut output, VALUE_MIME, "3").unwrap();
        assert_eq!(second, MimeBundle::default().with("image/png", "b"));
        assert_eq!(output.finish(false).value, Some(MimeBundle::text("3")));
    }

    #[test]
    fn statements_have_no_value() {
        let mut output = CellOutput::default();
        content(&mut output, "text/html", "x");
        content(&mut output, VALUE_MIME, "()");
        let finished = output.finish(false);
        assert_eq!(finished.value, None);
        assert_eq!(finished.shown, None);
    }

    #[test]
    fn json_is_json() {
        let mut output = CellOutput::default();
        content(&mut output, "application/vnd.vega.v5+json", "{\"a\": 1}");
        let bundle = output.finish(true).value.unwrap();
        assert_eq!(bundle.data["application/vnd.vega.v5+json"]["a"], 1);
    }

    #[test]
    fn characters_may_be_cut_anywhere() {
        let text = "aé→🦀";
        let mut decoder = Decoder::default();
        let joined: String = text.bytes().map(|byte| decoder.decode(&[byte])).collect();
        assert_eq!(joined, text);
        assert_eq!(decoder.decode(b"a\xffb\xc3"), "a\u{fffd}b");
        assert_eq!(decoder.decode(b"\xa9"), "é");
        assert_eq!(decoder.decode(b"\xe2\x86"), "");
        assert_eq!(decoder.finish(), "\u{fffd}");
    }
}
