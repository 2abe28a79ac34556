//! The demo's steps on the terminal: one line when a step begins, one when it is done.

use dds_app::CellEvent;
use dds_core::mime::printable;
use std::collections::BTreeMap;
use std::time::Instant;

/// Names the steps, in order, and how long each took.
pub struct Steps {
    current: Option<(&'static str, Instant)>,
    seconds: BTreeMap<String, f64>,
    number: usize,
}

impl Steps {
    pub fn new() -> Self {
        Self { current: None, seconds: BTreeMap::new(), number: 0 }
    }

    /// Begins a step. `name` is its key in the report.
    pub fn begin(&mut self, name: &'static str, what: &str) {
        self.number += 1;
        eprintln!("{}. {what} …", self.number);
        self.current = Some((name, Instant::now()));
    }

    pub fn done(&mut self, result: &str) {
        if let Some((name, began)) = self.current.take() {
            let seconds = began.elapsed().as_secs_f64();
            eprintln!("   {} ({seconds:.1} s)", printable(result));
            self.seconds.insert(name.to_owned(), seconds);
        }
    }

    /// Something the user should know, outside the steps.
    pub fn note(&self, text: &str) {
        eprintln!("   note: {text}");
    }

    /// Step → seconds.
    pub fn seconds(&self) -> BTreeMap<String, f64> {
        self.seconds.clone()
    }
}

/// One line for each cell that ran.
pub fn show_cell(event: CellEvent<'_>) {
    match event {
        CellEvent::Started { number, total, source } => {
            let line = source.lines().next().unwrap_or("");
            let shown: String = printable(line).chars().take(72).collect();
            eprint!("   [{number:>2}/{total}] {shown}");
        }
        CellEvent::Finished { seconds, error: None, .. } => eprintln!("  {seconds:.1} s"),
        CellEvent::Finished { error: Some(_), .. } => eprintln!("  failed"),
        _ => {}
    }
}
