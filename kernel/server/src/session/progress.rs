//! Progress of a command in a notebook: one display, updated in place.

use dds_core::eval::{CellSink, Stream};
use dds_core::mime::{escape_html, printable};
use dds_core::table::bytes;
use dds_core::{MimeBundle, Progress, Sink, Unit};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A command that ends before this shows no progress.
const PATIENCE: Duration = Duration::from_millis(500);
/// Shortest time between two updates.
const INTERVAL: Duration = Duration::from_millis(100);
/// Characters of the bar in text.
const BAR: usize = 24;

/// The sink of one command in a cell.
pub(crate) struct CellProgress {
    sink: Arc<dyn CellSink>,
    started: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Id of the display, once it is shown.
    shown: Option<String>,
    updated: Option<Instant>,
    latest: Option<Progress>,
}

impl CellProgress {
    pub(crate) fn new(sink: Arc<dyn CellSink>) -> Self {
        Self { sink, started: Instant::now(), state: Mutex::default() }
    }

    /// The command ended: the bar becomes one quiet line.
    pub(crate) fn finish(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(id), Some(latest)) = (state.shown.take(), state.latest.take()) {
            let text = format!("{} · {:.1} s", described(&latest), self.started.elapsed().as_secs_f64());
            let html = format!("<small style=\"opacity:.6\">{}</small>", escape_html(&text));
            self.sink.display_with_id(&MimeBundle::text(text).with("text/html", html), &id, true);
        }
    }

    fn due(&self, state: &State) -> bool {
        match state.updated {
            None => self.started.elapsed() >= PATIENCE,
            Some(last) => last.elapsed() >= INTERVAL,
        }
    }
}

impl Sink for CellProgress {
    fn progress(&self, progress: &Progress) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.latest = Some(progress.clone());
        if !self.due(&state) {
            return;
        }
        state.updated = Some(Instant::now());
        let update = state.shown.is_some();
        let id = state.shown.get_or_insert_with(|| uuid::Uuid::new_v4().to_string());
        self.sink.display_with_id(&bar(progress), id, update);
    }

    fn display(&self, bundle: &MimeBundle) {
        self.sink.display(bundle);
    }

    fn note(&self, text: &str) {
        self.sink.stream(Stream::Stderr, &format!("{}\n", printable(text)));
    }
}

/// `features 120/360`, `read 1.2 of 3.4 MB`.
pub(crate) fn described(p: &Progress) -> String {
    let amount = match (p.unit, p.total) {
        (Unit::Items, Some(total)) => format!("{}/{total}", p.done),
        (Unit::Items, None) => p.done.to_string(),
        (Unit::Bytes, Some(total)) => format!("{} of {}", bytes(p.done), bytes(total)),
        (Unit::Bytes, None) => bytes(p.done),
    };
    format!("{} {amount}", printable(&p.task))
}

fn bar(p: &Progress) -> MimeBundle {
    let share = p.total.filter(|t| *t > 0).map(|t| (p.done as f64 / t as f64).clamp(0.0, 1.0));
    let label = described(p);
    let (text, html) = match share {
        Some(share) => {
            let full = (share * BAR as f64).round() as usize;
            let text = format!("[{}{}] {label}", "█".repeat(full), "·".repeat(BAR - full));
            let html = format!(
                "<div><progress value=\"{}\" max=\"1000\" style=\"width:16em;vertical-align:middle\"></progress> {}</div>",
                (share * 1000.0).round(),
                escape_html(&label)
            );
            (text, html)
        }
        None => (format!("{label} …"), format!("<div>{} …</div>", escape_html(&label))),
    };
    MimeBundle::text(text).with("text/html", html)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(done: u64, total: Option<u64>, unit: Unit) -> Progress {
        Progress { task: "read <b>".into(), done, total, unit }
    }

    #[test]
    fn bars_and_words() {
        let b = bar(&of(90, Some(360), Unit::Items));
        assert_eq!(b.plain(), "[██████··················] read <b> 90/360");
        let html = b.data.get("text/html").unwrap().as_str().unwrap();
        assert!(html.contains("value=\"250\"") && html.contains("read &lt;b&gt;"), "{html}");
        assert_eq!(bar(&of(7, None, Unit::Items)).plain(), "read <b> 7 …");
        assert_eq!(described(&of(1_234_567, Some(9_900_000), Unit::Bytes)), "read <b> 1.2 MB of 9.9 MB");
        assert_eq!(described(&of(999, None, Unit::Bytes)), "read <b> 999 B");
        // More done than announced, and nothing announced, draw a bar all the same.
        assert!(bar(&of(5, Some(2), Unit::Items)).plain().starts_with("[████████████████████████]"));
        assert_eq!(bar(&of(0, Some(0), Unit::Items)).plain(), "read <b> 0/0 …");
    }
}
