//! Output of a running cell or callback: text is batched, everything is counted and bounded.
//!
//! Failure this prevents: a cell that prints in a loop sends a message a line; the front end falls
//! 100,000 messages behind and ZeroMQ drops what comes next, the `idle` status among it.

mod batch;

pub use batch::{BATCH_BYTES, MESSAGE_EVERY};
pub(super) use batch::{Batch, Clock};

use super::comms::Comms;
use super::front::Front;
use super::stdin::Asker;
use dds_core::eval::{CellSink, CommMessage, Stream};
use dds_core::{Error, Kind, MimeBundle, Result};
use dds_wire::Header;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most bytes of text that one cell shows.
pub const MAX_CELL_TEXT: usize = 64 << 20;
/// Most displays and display updates that one cell shows.
pub const MAX_CELL_DISPLAYS: usize = 20_000;
/// Most bytes of all displays of one cell.
pub const MAX_CELL_DISPLAY_BYTES: usize = 512 << 20;
/// Most bytes of one display; must fit a frame of [`dds_wire::frames::MAX_FRAME_BYTES`].
pub const MAX_DISPLAY_BYTES: usize = 48 << 20;
/// Of text past its bound, the last bytes that are shown after all.
pub const TAIL_BYTES: usize = 8 << 10;

/// Where the output of one cell or callback goes. May outlive it: what comes late still carries its
/// parent.
pub(super) struct CellOutput {
    front: Front,
    batch: Arc<Batch>,
    comms: Arc<Comms>,
    role: Role,
    counts: Mutex<Counts>,
    /// [`Front::overruns`] when it began.
    overruns: u64,
}

/// Whose output it is.
pub(super) enum Role {
    /// A cell, how it asks for input, and its number if it has one.
    Cell(Asker, Option<u64>),
    /// A silent cell or an expression for the front end: only its comms are seen.
    Silent,
    /// A callback; it has ended, and says `idle`, when nobody holds the output any more.
    Callback,
}

#[derive(Default)]
struct Counts {
    text: usize,
    text_left_out: u64,
    /// The end of the text that was left out, and its stream.
    tail: Option<(Stream, String)>,
    displays: usize,
    display_bytes: usize,
    displays_left_out: u64,
}

impl CellOutput {
    pub(super) fn new(clock: &Clock, front: &Front, comms: &Arc<Comms>, parent: &Header, role: Role) -> Self {
        Self {
            batch: clock.batch(front.clone(), Arc::new(parent.clone())),
            front: front.clone(),
            comms: comms.clone(),
            role,
            counts: Mutex::default(),
            overruns: front.overruns(),
        }
    }

    /// Sends everything, with a note about what was left out. The cell asks for no more input.
    pub(super) fn finish(&self) {
        if let Role::Cell(asker, _) = &self.role {
            asker.end();
        }
        let mut counts = self.counts();
        if let Some((stream, tail)) = counts.tail.take() {
            let skipped = counts.text_left_out - tail.len() as u64;
            let note = format!(
                "\n[dds: {skipped} bytes of text left out here; a cell shows at most {} MiB]\n",
                MAX_CELL_TEXT >> 20
            );
            self.batch.append(Stream::Stderr, &note);
            self.batch.append(stream, &tail);
        }
        if counts.displays_left_out > 0 {
            let note = format!(
                "[dds: {} displays left out; a cell shows at most {MAX_CELL_DISPLAYS} and {} MiB, each at \
                 most {} MiB]\n",
                counts.displays_left_out,
                MAX_CELL_DISPLAY_BYTES >> 20,
                MAX_DISPLAY_BYTES >> 20,
            );
            self.batch.append(Stream::Stderr, &note);
            counts.displays_left_out = 0;
        }
        if self.front.overruns() != self.overruns && !self.is_silent() {
            let note = format!(
                "[dds: a front end has not read {} messages and misses part of this output]\n",
                dds_wire::server::HIGH_WATER_MARK
            );
            self.batch.append(Stream::Stderr, &note);
        }
        self.batch.send();
    }

    /// Sends `content` after all output so far; not when it is past the bounds.
    pub(super) fn publish_bundle(&self, msg_type: &str, bundle: &MimeBundle, extra: (&str, Value)) {
        if self.is_silent() {
            return;
        }
        let bytes: usize = bundle.data.values().map(json_size).sum();
        {
            let mut counts = self.counts();
            let fits = bytes <= MAX_DISPLAY_BYTES
                && counts.displays < MAX_CELL_DISPLAYS
                && counts.display_bytes.saturating_add(bytes) <= MAX_CELL_DISPLAY_BYTES;
            if !fits {
                counts.displays_left_out += 1;
                return;
            }
            counts.displays += 1;
            counts.display_bytes += bytes;
        }
        let mut content = json!({"data": bundle.data, "metadata": bundle.metadata});
        if let Some(fields) = content.as_object_mut() {
            fields.insert(extra.0.to_owned(), extra.1);
        }
        self.batch.publish(msg_type, content, json!({}), Vec::new());
    }

    /// A line about the output itself.
    pub(super) fn note(&self, text: &str) {
        if self.is_silent() {
            return tracing::warn!("{text}");
        }
        self.batch.append(Stream::Stderr, &format!("[dds: {text}]\n"));
    }

    fn is_silent(&self) -> bool {
        matches!(self.role, Role::Silent)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for CellOutput {
    fn drop(&mut self) {
        if let Role::Callback = self.role {
            self.finish();
            self.front.status(Some(self.batch.parent()), "idle");
        }
    }
}

impl CellSink for CellOutput {
    fn cell(&self) -> Option<u64> {
        if let Role::Cell(_, number) = self.role { number } else { None }
    }

    fn stream(&self, stream: Stream, text: &str) {
        if self.is_silent() {
            return;
        }
        let mut counts = self.counts();
        let shown = text.floor_char_boundary(MAX_CELL_TEXT - counts.text);
        let (now, left_out) = text.split_at(shown);
        if counts.tail.is_none() && !now.is_empty() {
            counts.text += now.len();
            self.batch.append(stream, now);
        }
        let left_out = if counts.tail.is_some() { text } else { left_out };
        if !left_out.is_empty() {
            counts.text_left_out += left_out.len() as u64;
            keep_tail(&mut counts.tail, stream, left_out);
        }
    }

    fn display(&self, bundle: &MimeBundle) {
        self.publish_bundle("display_data", bundle, ("transient", json!({})));
    }

    fn display_with_id(&self, bundle: &MimeBundle, display_id: &str, update: bool) {
        let msg_type = if update { "update_display_data" } else { "display_data" };
        self.publish_bundle(msg_type, bundle, ("transient", json!({"display_id": display_id})));
    }

    fn clear_output(&self, wait: bool) {
        if !self.is_silent() {
            self.batch.clear(wait);
        }
    }

    fn input(&self, prompt: &str, password: bool) -> Result<String> {
        let why = match &self.role {
            Role::Cell(asker, _) => {
                // The user must see what was printed before the question.
                self.batch.send();
                return asker.ask(prompt, password);
            }
            Role::Silent => "a silent cell cannot ask for input",
            Role::Callback => "a callback cannot ask for input",
        };
        Err(Error::new(Kind::Unavailable, why).hint("ask in a cell, and keep the answer in a variable"))
    }

    fn comm(&self, message: &CommMessage) {
        if let Err(e) = self.comms.send_for_cells(message, &self.batch) {
            self.note(&format!("a comm message was not sent: {e}"));
        }
    }
}

/// Keeps the last [`TAIL_BYTES`] of one stream's text; a change of stream starts anew.
fn keep_tail(tail: &mut Option<(Stream, String)>, stream: Stream, text: &str) {
    let kept = match tail {
        Some((of, kept)) if *of == stream => kept,
        _ => &mut tail.insert((stream, String::new())).1,
    };
    let last = text.len().saturating_sub(TAIL_BYTES);
    kept.push_str(text.split_at(text.floor_char_boundary(last)).1);
    if kept.len() > 2 * TAIL_BYTES {
        let surplus = kept.floor_char_boundary(kept.len() - TAIL_BYTES);
        kept.drain(..surplus);
    }
}

fn json_size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        other => serde_json::to_string(other).map_or(usize::MAX, |s| s.len()),
    }
}
