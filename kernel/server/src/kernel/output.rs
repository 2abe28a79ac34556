//! Output of a running cell: streams are batched, everything is counted and bounded per cell.
//!
//! Failure this prevents: a cell that prints in a loop sends a message a line; the front end falls
//! 100,000 messages behind and ZeroMQ drops what comes next, the `idle` status among it.

use super::front::Front;
use dds_core::MimeBundle;
use dds_core::eval::{CellSink, Stream};
use dds_wire::Header;
use serde_json::{Value, json};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long text may wait for more text.
pub const BATCH_EVERY: Duration = Duration::from_millis(25);
/// Text that is sent without waiting; also the longest text of one `stream` message.
pub const BATCH_BYTES: usize = 256 << 10;
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

/// The thread that sends batched text when its time has come, and the batch itself.
pub(super) struct Output {
    batch: Arc<Batch>,
    thread: Option<JoinHandle<()>>,
}

impl Output {
    pub(super) fn start(front: Front) -> std::io::Result<Self> {
        let batch = Arc::new(Batch { front, pending: Mutex::default(), changed: Condvar::new() });
        let shared = batch.clone();
        let thread = std::thread::Builder::new().name("output".to_owned()).spawn(move || shared.run())?;
        Ok(Self { batch, thread: Some(thread) })
    }

    /// A sink for the cell that `parent` asked for.
    /// `cell` is the number of the cell, if it has one.
    pub(super) fn sink(&self, parent: &Header, cell: Option<u64>) -> Arc<CellOutput> {
        let parent = Arc::new(parent.clone());
        Arc::new(CellOutput { batch: self.batch.clone(), parent, cell, counts: Mutex::default() })
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.batch.lock().stop = true;
        self.batch.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Batch {
    front: Front,
    pending: Mutex<Pending>,
    changed: Condvar,
}

#[derive(Default)]
struct Pending {
    /// Whose text this is; none when there is no text.
    of: Option<(Arc<Header>, Stream, Instant)>,
    text: String,
    stop: bool,
}

impl Batch {
    fn run(&self) {
        let mut pending = self.lock();
        while !pending.stop {
            let left = pending.of.as_ref().map(|(_, _, since)| BATCH_EVERY.saturating_sub(since.elapsed()));
            pending = match left {
                None => self.changed.wait(pending).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => {
                    self.flush(&mut pending);
                    pending
                }
                Some(left) => {
                    self.changed.wait_timeout(pending, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        self.flush(&mut pending);
    }

    fn append(&self, parent: &Arc<Header>, stream: Stream, mut text: &str) {
        let mut pending = self.lock();
        let same =
            |(of, kind, _): &(Arc<Header>, Stream, Instant)| Arc::ptr_eq(of, parent) && *kind == stream;
        if pending.of.as_ref().is_some_and(|of| !same(of)) {
            self.flush(&mut pending);
        }
        while !text.is_empty() {
            let room = BATCH_BYTES - pending.text.len();
            let cut = text.floor_char_boundary(room);
            if cut == 0 {
                // Not even one character fits; BATCH_BYTES is far more than one.
                self.flush(&mut pending);
                continue;
            }
            let (now, later) = text.split_at(cut);
            pending.text.push_str(now);
            if pending.of.is_none() {
                pending.of = Some((parent.clone(), stream, Instant::now()));
                self.changed.notify_one();
            }
            text = later;
        }
        if pending.text.len() >= BATCH_BYTES {
            self.flush(&mut pending);
        }
    }

    /// Sends what waits, and `then`, which must come after it.
    fn flush_then(&self, then: impl FnOnce()) {
        let mut pending = self.lock();
        self.flush(&mut pending);
        then();
    }

    /// Sends under the lock, so that nothing overtakes.
    fn flush(&self, pending: &mut MutexGuard<'_, Pending>) {
        let Some((parent, stream, _)) = pending.of.take() else { return };
        let text = std::mem::take(&mut pending.text);
        let name = match stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        self.front.publish(Some(&parent), "stream", json!({"name": name, "text": text}));
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where one cell's output goes. May outlive the cell: what comes late still carries its parent.
pub(super) struct CellOutput {
    batch: Arc<Batch>,
    parent: Arc<Header>,
    cell: Option<u64>,
    counts: Mutex<Counts>,
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
    /// Sends everything, with a note about what was left out.
    pub(super) fn finish(&self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((stream, tail)) = counts.tail.take() {
            let skipped = counts.text_left_out - tail.len() as u64;
            let note = format!(
                "\n[dds: {skipped} bytes of text left out here; a cell shows at most {} MiB]\n",
                MAX_CELL_TEXT >> 20
            );
            self.batch.append(&self.parent, Stream::Stderr, &note);
            self.batch.append(&self.parent, stream, &tail);
        }
        if counts.displays_left_out > 0 {
            let note = format!(
                "[dds: {} displays left out; a cell shows at most {MAX_CELL_DISPLAYS} and {} MiB, each at \
                 most {} MiB]\n",
                counts.displays_left_out,
                MAX_CELL_DISPLAY_BYTES >> 20,
                MAX_DISPLAY_BYTES >> 20,
            );
            self.batch.append(&self.parent, Stream::Stderr, &note);
            counts.displays_left_out = 0;
        }
        self.batch.flush_then(|| {});
    }

    /// Sends `content` after all output so far; not when it is past the bounds.
    pub(super) fn publish_bundle(&self, msg_type: &str, bundle: &MimeBundle, extra: (&str, Value)) {
        let bytes: usize = bundle.data.values().map(json_size).sum();
        {
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
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
        self.batch.flush_then(|| self.batch.front.publish(Some(&self.parent), msg_type, content));
    }
}

impl CellSink for CellOutput {
    fn cell(&self) -> Option<u64> {
        self.cell
    }

    fn stream(&self, stream: Stream, text: &str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = text.floor_char_boundary(MAX_CELL_TEXT - counts.text);
        let (now, left_out) = text.split_at(shown);
        if counts.tail.is_none() && !now.is_empty() {
            counts.text += now.len();
            self.batch.append(&self.parent, stream, now);
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

/// The sink of a silent cell.
pub(super) struct Quiet;

impl CellSink for Quiet {
    fn stream(&self, _: Stream, _: &str) {}
    fn display(&self, _: &MimeBundle) {}
    fn display_with_id(&self, _: &MimeBundle, _: &str, _: bool) {}
}
