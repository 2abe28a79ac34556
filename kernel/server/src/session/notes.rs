//! Notes that arise beside commands: a mount finds a damaged file while a Rust cell reads it.

use dds_core::eval::{CellSink, Stream};
use dds_core::mime::printable;
use dds_core::{MimeBundle, Progress, Sink};
use std::sync::{Arc, Mutex, PoisonError};

/// Leads notes to the cell that runs, and to the log when none does.
#[derive(Default)]
pub struct Notes {
    cell: Mutex<Option<Arc<dyn CellSink>>>,
}

impl Notes {
    /// The cell that notes go to from now on.
    pub(super) fn lead_to(&self, cell: Option<Arc<dyn CellSink>>) {
        *self.cell.lock().unwrap_or_else(PoisonError::into_inner) = cell;
    }
}

impl Sink for Notes {
    fn progress(&self, _: &Progress) {}

    fn display(&self, _: &MimeBundle) {}

    fn note(&self, text: &str) {
        let cell = self.cell.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match cell {
            Some(sink) => sink.stream(Stream::Stderr, &format!("{}\n", printable(text))),
            None => tracing::warn!("{}", printable(text)),
        }
    }
}
