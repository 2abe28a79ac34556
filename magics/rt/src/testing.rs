//! A front end in memory, for tests of this crate and of what is built on it: takes what code on
//! the test's own thread sends, and delivers comm messages to it.

use crate::comm::Message;
use crate::port::Port;
use crate::runtime::{self, Runtime};
use crate::wire::{CommFrame, CommFrameKind, Down, Form, Show, Up, What};
use std::cell::Cell;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// While it lives, the thread that made it speaks to it.
pub struct Front {
    sent: Arc<Mutex<Vec<Up>>>,
    answers: Arc<Mutex<Vec<String>>>,
    runtime: Arc<Runtime>,
    delivered: Cell<u64>,
}

#[derive(Default)]
struct Memory {
    sent: Arc<Mutex<Vec<Up>>>,
    answers: Arc<Mutex<Vec<String>>>,
}

impl Port for Memory {
    fn send(&self, up: &Up) -> io::Result<()> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).push(up.clone());
        Ok(())
    }

    fn ask(&self, _: &str, _: bool) -> io::Result<String> {
        let answer = self.answers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        answer.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl Front {
    #[expect(clippy::new_without_default, reason = "it changes the thread, so it is said out loud")]
    pub fn new() -> Self {
        let memory = Memory::default();
        let (sent, answers) = (Arc::clone(&memory.sent), Arc::clone(&memory.answers));
        let runtime = Runtime::new(memory);
        runtime::set_for_this_thread(Some(Arc::clone(&runtime)));
        Self { sent, answers, runtime, delivered: Cell::new(0) }
    }

    /// What was sent since the last call.
    pub fn take(&self) -> Vec<Up> {
        std::mem::take(&mut *self.sent.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What was shown since the last call; everything else is dropped.
    pub fn shown(&self) -> Vec<Show> {
        let shows = self.take().into_iter().filter_map(|up| match up.what {
            What::Show(show) => Some(show),
            _ => None,
        });
        shows.collect()
    }

    /// The next question is answered with this.
    pub fn answer(&self, line: &str) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).insert(0, line.to_owned());
    }

    /// A message of the page for an open comm; returns when its callback has.
    pub fn message(&self, id: &str, message: impl Into<Message>) {
        self.deliver(id, CommFrameKind::Message, message.into());
    }

    /// The page opens a comm.
    pub fn open(&self, id: &str, target: &str, message: impl Into<Message>) {
        self.deliver(id, CommFrameKind::Open(target.to_owned()), message.into());
    }

    /// The page closes a comm.
    pub fn close(&self, id: &str) {
        self.deliver(id, CommFrameKind::Close, Message::default());
    }

    fn deliver(&self, id: &str, kind: CommFrameKind, message: Message) {
        self.delivered.set(self.delivered.get() + 1);
        let Message { data, metadata, buffers } = message;
        let comm = CommFrame {
            id: id.to_owned(),
            kind,
            data: data.to_string(),
            metadata: metadata.to_string(),
            buffers,
        };
        self.runtime.deliver(Down { number: self.delivered.get(), comm });
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        runtime::set_for_this_thread(None);
    }
}

/// The text of one form of what was shown, to compare with.
pub fn text<'a>(show: &'a Show, mime: &str) -> Option<&'a str> {
    let part = show.parts.iter().find(|part| part.mime == mime && part.form != Form::Bytes)?;
    std::str::from_utf8(&part.data).ok()
}
