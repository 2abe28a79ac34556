//! Where one step's progress, notes and displays go: into the stream, in bounded number.

use super::display;
use super::stream::Stream;
use crate::session::MAX_RESULT_BYTES;
use dds_core::job::{Event, FileRef};
use dds_core::mime::printable;
use dds_core::{Error, MimeBundle, Progress, Result, Sink};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Shortest time between two progress events of a step.
const INTERVAL: Duration = Duration::from_millis(250);
/// Most displays and, apart from them, most notes of a step; what comes beyond is counted.
const MAX_SHOWN: usize = 1000;

pub(super) struct StepSink {
    stream: Arc<Stream>,
    step: usize,
    /// The run's folder.
    run: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sent: Option<Instant>,
    /// Progress that came too soon after the last event.
    held: Option<Progress>,
    displays: usize,
    notes: usize,
    failure: Option<Error>,
}

impl StepSink {
    pub(super) fn new(stream: Arc<Stream>, step: usize, run: PathBuf) -> Self {
        Self { stream, step, run, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn emit(&self, event: Event) {
        self.stream.emit(event);
    }

    /// The command is done: sends the last progress that was held back.
    pub(super) fn finish(&self) {
        if let Some(last) = self.state().held.take() {
            self.emit(Event::progress(self.step, &last));
        }
    }

    /// The typed result, or the file that it was written to because it is large.
    pub(super) fn result(&self, result: Value) -> Result<(Value, Option<FileRef>)> {
        let text = result.to_string();
        if text.len() <= MAX_RESULT_BYTES {
            return Ok((result, None));
        }
        let name = format!("{:03}-result.json", self.step);
        let file = display::write(&self.run, &name, text.as_bytes())?;
        Ok((Value::Null, Some(file)))
    }

    /// What was lost of this step's events and files.
    pub(super) fn failure(&self) -> Option<Error> {
        let cut = |what: &str, n: usize| {
            if n > MAX_SHOWN {
                let text = format!("{} {what} were left out, after the first {MAX_SHOWN}", n - MAX_SHOWN);
                self.emit(Event::Note { step: self.step, text });
            }
        };
        let mut state = self.state();
        cut("displays", state.displays);
        cut("notes", state.notes);
        state.failure.take().or_else(|| self.stream.failure())
    }
}

impl Sink for StepSink {
    fn progress(&self, progress: &Progress) {
        let mut state = self.state();
        if state.sent.is_some_and(|sent| sent.elapsed() < INTERVAL) {
            state.held = Some(progress.clone());
            return;
        }
        state.sent = Some(Instant::now());
        state.held = None;
        drop(state);
        self.emit(Event::progress(self.step, progress));
    }

    fn display(&self, bundle: &MimeBundle) {
        let number = {
            let mut state = self.state();
            state.displays += 1;
            state.displays
        };
        if number > MAX_SHOWN {
            return;
        }
        match display::event(self.step, number, bundle, &self.run) {
            Ok(event) => self.emit(event),
            Err(e) => self.state().failure = Some(e),
        }
    }

    fn note(&self, text: &str) {
        let mut state = self.state();
        state.notes += 1;
        if state.notes <= MAX_SHOWN {
            drop(state);
            self.emit(Event::Note { step: self.step, text: printable(text) });
        }
    }
}
