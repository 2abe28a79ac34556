//! Notes that arise beside commands: a mount finds a damaged file while a Rust cell reads it.

use dds_core::eval::{CellSink, Stream};
use dds_core::mime::printable;
use dds_core::{MimeBundle, Progress, Sink};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Leads notes to the cell that began last of those that run, and to the log when none does.
#[derive(Default)]
pub struct Notes {
    cells: Mutex<Vec<Arc<dyn CellSink>>>,
}

impl Notes {
    /// Notes go to this cell until the guard is dropped.
    pub(super) fn lead_to(&self, cell: &Arc<dyn CellSink>) -> Lead<'_> {
        self.cells().push(cell.clone());
        Lead { notes: self, cell: cell.clone() }
    }

    fn cells(&self) -> MutexGuard<'_, Vec<Arc<dyn CellSink>>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Lead<'a> {
    notes: &'a Notes,
    cell: Arc<dyn CellSink>,
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut cells = self.notes.cells();
        if let Some(at) = cells.iter().rposition(|cell| Arc::ptr_eq(cell, &self.cell)) {
            cells.remove(at);
        }
    }
}

impl Sink for Notes {
    fn progress(&self, _: &Progress) {}

    fn display(&self, _: &MimeBundle) {}

    fn note(&self, text: &str) {
        let cell = self.cells().last().cloned();
        match cell {
            Some(sink) => sink.stream(Stream::Stderr, &format!("{}\n", printable(text))),
            None => tracing::warn!("{}", printable(text)),
        }
    }
}
