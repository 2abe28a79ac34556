//! The seam between Jupyter's message loop and the session that does the work.

use dds_core::MimeBundle;
use dds_core::eval::{CellError, CellSink, CommDoor, Completions};
use serde_json::Value;
use std::sync::Arc;

/// Answer to `is_complete_request`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IsComplete {
    Complete,
    /// With the indent of the next line.
    Incomplete(String),
    Invalid,
    Unknown,
}

/// Sends messages of one comm back to the front end.
pub trait CommSender: Send + Sync {
    fn send(&self, data: Value, buffers: Vec<Vec<u8>>);
}

/// What a kernel's message loop needs from the session behind it. All methods may be called from
/// any thread; only `run_cell` may take long, and while it runs all others are answered.
pub trait Host: Send + Sync {
    /// Runs one whole cell: Rust, `%dds`, `%%dds` and `!` segments in their order. Called once at a
    /// time for the main shell and for each subshell, so several cells may run at once; what only
    /// one of them can use, the others wait for, and an interrupt ends that wait.
    fn run_cell(&self, code: &str, sink: &Arc<dyn CellSink>) -> Result<Option<MimeBundle>, CellError>;

    /// Stops the running cells; answered within 250 ms by every command.
    fn interrupt(&self);

    /// Completions at `cursor`, in characters.
    fn complete(&self, code: &str, cursor: usize) -> Completions;

    /// Documentation at `cursor`, in characters.
    fn inspect(&self, code: &str, cursor: usize) -> Option<MimeBundle>;

    fn is_complete(&self, code: &str) -> IsComplete;

    /// Comm targets that the front end may open, and that the session itself answers.
    fn comm_targets(&self) -> Vec<String>;

    /// The way of comm messages into the cells; none when cells cannot have comms.
    fn cell_comms(&self) -> Option<Arc<dyn CommDoor>> {
        None
    }

    /// A message on an open comm (also the data of its opening). Answers go through `reply`. May
    /// be called while a cell runs; must not wait for it longer than the caller can bear.
    fn comm_message(&self, target: &str, data: &Value, buffers: &[Vec<u8>], reply: &Arc<dyn CommSender>);

    /// The kernel ends: unmount, stop child processes.
    fn shutdown(&self);
}
