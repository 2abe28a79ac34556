//! Questions of the cells to the user. The front end is asked on a thread of its own, so that
//! output and interrupts pass while it waits.

use super::{ROOM, Shared, State};
use crate::frames::{Question, ToChild};
use crate::socket;
use dds::wire;
use dds_core::Kind;
use dds_core::eval::{CellSink, Stream};
use std::os::fd::AsFd;
use std::sync::{Arc, PoisonError};

/// Longest line that is handed to a cell, in bytes.
const MAX_LINE: usize = 1 << 20;
/// Longest prompt made of what was printed, in bytes.
const MAX_PROMPT: usize = 1024;
/// Most questions that wait at a time: a cell asks one after the other, and those of processes
/// that have died may still be open.
const MAX_OPEN: usize = 8;

#[derive(Default)]
pub(super) struct Questions {
    open: usize,
    /// The line that was printed last, while nothing ends it.
    pub line: String,
}

impl Questions {
    pub(super) fn printed(&mut self, text: &str) {
        match text.rsplit_once(['\n', '\r']) {
            Some((_, rest)) => rest.clone_into(&mut self.line),
            None => self.line.push_str(text),
        }
        if self.line.len() > MAX_PROMPT {
            self.line.clear();
        }
    }
}

impl Shared {
    pub(super) fn ask(self: &Arc<Self>, state: &mut State, question: Question) {
        let Question { number, password, prompt } = question;
        let prompt = prompt.unwrap_or_else(|| std::mem::take(&mut state.questions.line));
        let sink = state.printed_to().filter(|_| state.questions.open < MAX_OPEN);
        state.questions.open += 1;
        let shared = Arc::clone(self);
        // Also without anybody to ask: an answer must not hold up the child's frames.
        let asking = std::thread::Builder::new().name("input".into()).spawn(move || {
            let answer = sink.and_then(|sink| asked(&sink, &prompt, password));
            shared.lock().questions.open -= 1;
            shared.answer(number, answer.as_deref());
        });
        if let Err(error) = asking {
            tracing::warn!("no thread can be started, so the user is not asked: {error}");
            state.questions.open -= 1;
            self.answer(number, None);
        }
    }

    fn answer(&self, question: u64, answer: Option<&str>) {
        let _sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        for (flags, piece) in wire::pieces(answer.unwrap_or("").as_bytes()) {
            let (answered, text) = (answer.is_some(), piece.to_vec());
            let frame = ToChild::Answer { question, flags, answered, text };
            if let Err(error) = socket::send_within(self.ours.as_fd(), &frame.encode(), ROOM) {
                return tracing::warn!("an answer does not reach the cell: {error}");
            }
        }
    }
}

/// The line, or none: then the cell sees the end of its input, and the user why.
fn asked(sink: &Arc<dyn CellSink>, prompt: &str, password: bool) -> Option<String> {
    match sink.input(prompt, password) {
        Ok(line) if line.len() <= MAX_LINE => Some(line),
        Ok(line) => {
            let text = format!("dds: the input is too long: {} bytes, at most {MAX_LINE}\n", line.len());
            sink.stream(Stream::Stderr, &text);
            None
        }
        // The cell is being stopped; it reads no more.
        Err(error) if error.kind == Kind::Interrupted => None,
        Err(error) => {
            let hint = error.hint.map_or_else(String::new, |hint| format!(" ({hint})"));
            sink.stream(Stream::Stderr, &format!("dds: no input: {}{hint}\n", error.message));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_open_line_asks() {
        let mut questions = Questions::default();
        for (text, line) in [
            ("Na", "Na"),
            ("me: ", "Name: "),
            ("\n", ""),
            ("a\nb\rc", "c"),
            (&"x".repeat(MAX_PROMPT), ""),
            ("d", "d"),
        ] {
            questions.printed(text);
            assert_eq!(questions.line, line);
        }
    }
}
