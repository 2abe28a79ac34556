//! A place on the page for outputs, which callbacks and threads can write to at any time.
//!
//! The outputs are part of the widget's state and survive a page reload. The front end's other way,
//! redirecting what a message prints (`msg_id`), is not used: it cannot tell threads apart.

use super::any::AnyWidget;
use super::spec::OUTPUT;
use super::typed::widget;
use crate::json::Json;
use crate::wire::Form;
use crate::{Bundle, Display};
use std::cell::RefCell;
use std::io;

/// Most bytes of outputs that are kept; the oldest go first.
pub const MAX_OUTPUT_BYTES: usize = 4 << 20;
/// Most outputs that are kept, texts that follow each other counted as one.
pub const MAX_OUTPUTS: usize = 500;

widget! {
    /// Shows what is written to it: texts, errors, pictures, anything with [`Display`].
    ///
    /// The page is told at most 20 times a second; old outputs go when there are more than
    /// [`MAX_OUTPUT_BYTES`] or [`MAX_OUTPUTS`].
    ///
    /// ```no_run
    /// use dds::widgets::{Button, Output};
    /// use std::io::Write;
    /// let (go, out) = (Button::new("Go"), Output::new());
    /// let log = out.clone();
    /// go.on_click(move || {
    ///     writeln!(&log, "clicked").unwrap();
    ///     log.display(&dds::Mime::html("<b>again</b>"));
    /// });
    /// ```
    Output [sized] {}
}

thread_local! {
    /// Where what this thread displays goes, innermost last.
    static CAPTURING: RefCell<Vec<Output>> = const { RefCell::new(Vec::new()) };
}

impl Output {
    pub fn new() -> Output {
        Output(AnyWidget::new(&OUTPUT))
    }

    /// Adds text, as of standard output.
    pub fn append_stdout(&self, text: &str) {
        self.append_stream("stdout", text);
    }

    /// Adds text, as of standard error.
    pub fn append_stderr(&self, text: &str) {
        self.append_stream("stderr", text);
    }

    /// Adds a value, shown as [`display`](crate::display()) shows it.
    pub fn display<T: Display + ?Sized>(&self, value: &T) {
        // Outside of the lock: the value may be a widget, which is opened by this.
        let output = as_output(value.bundle());
        self.0.edit("outputs", |outputs| {
            if let Json::Array(outputs) = outputs {
                outputs.push(output);
                trim(outputs);
            }
        });
    }

    /// Runs `work`; what it shows by [`display`](crate::display()) on this thread goes here. What it
    /// prints does not: use `writeln!(&output, …)`.
    pub fn with<R>(&self, work: impl FnOnce() -> R) -> R {
        struct End;
        impl Drop for End {
            fn drop(&mut self) {
                let ended = CAPTURING.with_borrow_mut(Vec::pop);
                drop(ended);
            }
        }
        CAPTURING.with_borrow_mut(|stack| stack.push(self.clone()));
        let _end = End;
        work()
    }

    /// Takes all outputs away.
    pub fn clear(&self) {
        self.0.set("outputs", Json::Array(Vec::new()));
    }

    /// The outputs, in the words of the notebook format.
    pub fn get_outputs(&self) -> Json {
        self.0.get("outputs")
    }

    fn append_stream(&self, stream: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        self.0.edit("outputs", |outputs| {
            let Json::Array(outputs) = outputs else { return };
            let last =
                outputs.last_mut().filter(|last| last.get("name").and_then(Json::as_str) == Some(stream));
            match last.and_then(|last| last.get_mut("text")) {
                Some(Json::Str(there)) => there.push_str(text),
                _ => {
                    outputs.push(Json::object([("output_type", "stream"), ("name", stream), ("text", text)]))
                }
            }
            trim(outputs);
        });
    }
}

impl Default for Output {
    fn default() -> Output {
        Output::new()
    }
}

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl io::Write for &Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append_stdout(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes what this thread is about to display, when an output captures it.
pub(crate) fn captured(bundle: &Bundle) -> bool {
    let output = CAPTURING.with_borrow(|stack| stack.last().cloned());
    let Some(output) = output else { return false };
    output.display(bundle);
    true
}

/// In the words of the notebook format.
fn as_output(bundle: Bundle) -> Json {
    let data = bundle.parts.into_iter().map(|part| {
        let value = match part.form {
            Form::Text => Json::Str(String::from_utf8_lossy(&part.data).into_owned()),
            Form::Json => Json::parse_bytes(&part.data).unwrap_or_default(),
            Form::Bytes => Json::Str(base64(&part.data)),
        };
        (part.mime, value)
    });
    let metadata = if bundle.metadata.is_null() { Json::Object(Vec::new()) } else { bundle.metadata };
    Json::object([
        ("output_type", Json::from("display_data")),
        ("data", Json::Object(data.collect())),
        ("metadata", metadata),
    ])
}

/// Drops the oldest outputs, and the beginning of a text that alone is too long.
fn trim(outputs: &mut Vec<Json>) {
    let mut kept = 0;
    let mut total = 0;
    for output in outputs.iter().rev().take(MAX_OUTPUTS) {
        total += size(output);
        if total > MAX_OUTPUT_BYTES {
            break;
        }
        kept += 1;
    }
    if kept == 0 {
        match outputs.last_mut().and_then(|last| last.get_mut("text")) {
            Some(Json::Str(text)) => {
                // Half of it at once, so that this does not happen with every line.
                let cut = text.len() - MAX_OUTPUT_BYTES / 2;
                let cut = (cut..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
                text.replace_range(..cut, "… (earlier text is gone)\n");
            }
            _ => {
                let note = format!("an output larger than {} MiB is not shown\n", MAX_OUTPUT_BYTES >> 20);
                if let Some(last) = outputs.last_mut() {
                    *last = Json::object([
                        ("output_type", "stream"),
                        ("name", "stderr"),
                        ("text", note.as_str()),
                    ]);
                }
            }
        }
        kept = 1;
    }
    outputs.drain(..outputs.len().saturating_sub(kept));
}

fn size(value: &Json) -> usize {
    match value {
        Json::Str(text) => text.len(),
        Json::Array(items) => items.iter().map(size).sum(),
        Json::Object(pairs) => pairs.iter().map(|(key, value)| key.len() + size(value)).sum(),
        _ => 8,
    }
}

/// RFC 4648, with padding.
pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let six = bits >> (18 - 6 * digit) & 0x3f;
            text.push(if digit <= group.len() { char::from(DIGITS[six as usize]) } else { '=' });
        }
    }
    text
}
