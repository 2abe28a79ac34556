//! Text of one parent's streams, gathered so that no flood of lines becomes a flood of messages.
//!
//! Text waits [`FIRST_WAIT`] for more, and then as long as one message in [`MESSAGE_EVERY`] asks for.
//! Everything else of the same parent is sent at once, after the text before it.

use super::super::front::Front;
use dds_core::eval::Stream;
use dds_wire::{Bytes, Header};
use serde_json::{Value, json};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long the first text may wait for more.
pub const FIRST_WAIT: Duration = Duration::from_millis(20);
/// Messages of text follow each other no faster, on average.
pub const MESSAGE_EVERY: Duration = Duration::from_millis(50);
/// Text that is sent without waiting; also the longest text of one `stream` message.
pub const BATCH_BYTES: usize = 4 << 20;
/// Most changes between stdout and stderr that are kept in their order within one batch; further
/// text joins the last piece of its stream.
pub const MAX_PIECES: usize = 8;

/// Sends the text of a kernel's batches when their time has come. One thread.
pub(in super::super) struct Clock {
    shared: Arc<Due>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Due {
    state: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    /// As many as parents with unsent text: running cells and callbacks.
    batches: Vec<(Instant, Arc<Batch>)>,
    stopped: bool,
}

impl Clock {
    pub(in super::super) fn start() -> std::io::Result<Self> {
        let shared = Arc::new(Due::default());
        let due = shared.clone();
        let thread = std::thread::Builder::new().name("output".to_owned()).spawn(move || due.run())?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// A batch for what belongs to `parent`.
    pub(super) fn batch(&self, front: Front, parent: Arc<Header>) -> Arc<Batch> {
        Arc::new(Batch { front, parent, due: self.shared.clone(), state: Mutex::default() })
    }

    /// Sends what waits. Text that comes later is sent at once.
    pub(in super::super) fn stop(&self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Due {
    fn run(&self) {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let stopped = state.stopped;
            let ready = state.batches.iter().position(|(at, _)| stopped || *at <= now);
            if let Some(at) = ready {
                let (_, batch) = state.batches.swap_remove(at);
                drop(state);
                batch.fire();
                state = self.lock();
                continue;
            }
            if stopped {
                return;
            }
            let next = state.batches.iter().map(|(at, _)| at.saturating_duration_since(now)).min();
            state = match next {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// False when nobody will fire any more.
    fn add(&self, at: Instant, batch: Arc<Batch>) -> bool {
        let mut state = self.lock();
        if state.stopped {
            return false;
        }
        state.batches.push((at, batch));
        self.changed.notify_one();
        true
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What belongs to one parent and was not sent yet.
pub(in super::super) struct Batch {
    front: Front,
    parent: Arc<Header>,
    due: Arc<Due>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pieces: Vec<(Stream, String)>,
    bytes: usize,
    /// Clear what is shown before the pieces; with `true` only when something follows.
    clear: Option<bool>,
    /// The clock knows of this batch.
    armed: bool,
    /// When the next text may be sent.
    not_before: Option<Instant>,
}

impl State {
    fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.clear.is_none()
    }

    /// Takes from the front of `text` what fits; gives the rest.
    fn push<'a>(&mut self, stream: Stream, text: &'a str) -> &'a str {
        let (now, later) = text.split_at(text.floor_char_boundary(BATCH_BYTES - self.bytes));
        if now.is_empty() {
            return text;
        }
        let full = self.pieces.len() >= MAX_PIECES;
        let same = self.pieces.iter().rposition(|(of, _)| *of == stream);
        let last = self.pieces.len().checked_sub(1);
        match same.filter(|at| full || Some(*at) == last).and_then(|at| self.pieces.get_mut(at)) {
            Some((_, piece)) => piece.push_str(now),
            None => self.pieces.push((stream, now.to_owned())),
        }
        self.bytes += now.len();
        later
    }
}

impl Batch {
    pub(super) fn parent(&self) -> &Header {
        &self.parent
    }

    pub(super) fn append(self: &Arc<Self>, stream: Stream, mut text: &str) {
        let mut state = self.lock();
        while !text.is_empty() {
            let rest = state.push(stream, text);
            // What is left did not fit, be it for a single character.
            if !rest.is_empty() || state.bytes >= BATCH_BYTES {
                self.flush(&mut state);
            }
            text = rest;
        }
        self.arm(&mut state);
    }

    /// Takes away what was shown. Text that nobody has seen yet is not sent at all.
    pub(super) fn clear(self: &Arc<Self>, wait: bool) {
        let mut state = self.lock();
        state.pieces.clear();
        state.bytes = 0;
        state.clear = Some(state.clear.unwrap_or(true) && wait);
        self.arm(&mut state);
    }

    /// Sends the text that waits.
    pub(super) fn send(&self) {
        self.flush(&mut self.lock());
    }

    /// Sends the text that waits, and then a message of another type.
    pub(in super::super) fn publish(
        &self,
        msg_type: &str,
        content: Value,
        metadata: Value,
        buffers: Vec<Bytes>,
    ) {
        let mut state = self.lock();
        self.flush(&mut state);
        self.front.publish_with(Some(&self.parent), msg_type, content, metadata, buffers);
    }

    fn arm(self: &Arc<Self>, state: &mut State) {
        if state.armed || state.is_empty() {
            return;
        }
        let soon = Instant::now() + FIRST_WAIT;
        let at = state.not_before.map_or(soon, |not_before| soon.max(not_before));
        state.armed = self.due.add(at, self.clone());
        if !state.armed {
            self.flush(state);
        }
    }

    fn fire(self: &Arc<Self>) {
        let mut state = self.lock();
        state.armed = false;
        let early = state.not_before.is_some_and(|not_before| Instant::now() < not_before);
        // The text that the clock was set for went out with something else; this one is newer.
        if early {
            return self.arm(&mut state);
        }
        self.flush(&mut state);
    }

    /// Sends under the lock, so that nothing overtakes.
    fn flush(&self, state: &mut State) {
        if state.is_empty() {
            return;
        }
        let mut messages = 0;
        if let Some(wait) = state.clear.take() {
            self.front.publish(Some(&self.parent), "clear_output", json!({"wait": wait}));
            messages += 1;
        }
        for (stream, text) in state.pieces.drain(..) {
            let name = match stream {
                Stream::Stdout => "stdout",
                Stream::Stderr => "stderr",
            };
            self.front.publish(Some(&self.parent), "stream", json!({"name": name, "text": text}));
            messages += 1;
        }
        state.bytes = 0;
        state.not_before = Some(Instant::now() + MESSAGE_EVERY * messages);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(state: &State) -> Vec<(Stream, &str)> {
        state.pieces.iter().map(|(stream, text)| (*stream, text.as_str())).collect()
    }

    #[test]
    fn streams_keep_their_order_up_to_a_bound_and_lose_no_text() {
        let mut state = State::default();
        for stream in [Stream::Stdout, Stream::Stdout, Stream::Stderr, Stream::Stdout] {
            assert_eq!(state.push(stream, "a"), "");
        }
        assert_eq!(pieces(&state), [(Stream::Stdout, "aa"), (Stream::Stderr, "a"), (Stream::Stdout, "a")]);
        let mut state = State::default();
        for n in 0..100 {
            state.push(if n % 2 == 0 { Stream::Stdout } else { Stream::Stderr }, "x");
        }
        assert_eq!(state.pieces.len(), MAX_PIECES);
        let of = |wanted| -> usize {
            state.pieces.iter().filter(|(stream, _)| *stream == wanted).map(|(_, text)| text.len()).sum()
        };
        assert_eq!((of(Stream::Stdout), of(Stream::Stderr), state.bytes), (50, 50, 100));
    }

    #[test]
    fn text_is_cut_between_characters_at_the_bound() {
        let mut state = State::default();
        assert_eq!(state.push(Stream::Stdout, &"x".repeat(BATCH_BYTES - 1)), "");
        assert_eq!(state.push(Stream::Stdout, "é"), "é", "its two bytes do not fit");
        assert_eq!(state.push(Stream::Stdout, "ab"), "b");
        assert_eq!(state.bytes, BATCH_BYTES);
    }
}
