//! The seam between the kernel and whatever evaluates its code cells.

use crate::{Cx, Error, Kind, MimeBundle, Result};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Which stream a piece of output belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// Where a running cell's output goes, while it runs.
pub trait CellSink: Send + Sync {
    /// The number that the front end shows beside the cell; messages name the cell by it.
    fn cell(&self) -> Option<u64> {
        None
    }
    fn stream(&self, stream: Stream, text: &str);
    fn display(&self, bundle: &MimeBundle);
    /// Shows `bundle` under `display_id`, or with `update` replaces what is shown under it.
    fn display_with_id(&self, bundle: &MimeBundle, display_id: &str, update: bool);
    /// Takes away what the cell has shown; with `wait` only when it shows something new.
    fn clear_output(&self, wait: bool) {
        let _ = wait;
    }
    /// Asks the user for one line, without its line feed, and waits for it. With `password` the
    /// front end does not show what is typed.
    ///
    /// # Errors
    /// `Unavailable` when the front end takes no input, `Interrupted` when the user stops the cell.
    fn input(&self, prompt: &str, password: bool) -> Result<String> {
        let _ = (prompt, password);
        Err(Error::new(Kind::Unavailable, "this front end takes no input")
            .hint("run the cell in a notebook or console that asks for input"))
    }
    /// A comm message from the cells to the front end.
    fn comm(&self, message: &CommMessage) {
        let _ = message;
    }
}

/// One message of a comm, in either direction.
#[derive(Clone, Debug, PartialEq)]
pub struct CommMessage {
    pub comm_id: String,
    pub kind: CommKind,
    pub data: Value,
    pub metadata: Value,
    pub buffers: Vec<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommKind {
    /// With the target that is to take it.
    Open(String),
    Message,
    Close,
}

/// Where the front end's comm messages reach the cells. May be used while a cell runs.
pub trait CommDoor: Send + Sync {
    /// Targets that the cells have registered, which the front end may open.
    fn targets(&self) -> Vec<String>;
    /// Hands a message over and returns; what a callback prints or shows goes to `sink`. The message
    /// counts as handled, and the front end is told so, when the last reference to `sink` is dropped.
    ///
    /// # Errors
    /// `Unavailable` when the process of the cells is gone, `Limit` when too much waits for it.
    fn deliver(&self, message: CommMessage, sink: Arc<dyn CellSink>) -> Result<()>;
}

/// What is known of the session without asking the evaluator: answers while a cell runs.
pub trait Known: Send + Sync {
    /// As [`Evaluator::complete`].
    fn complete(&self, code: &str, cursor: usize) -> Completions;
    /// As [`Evaluator::inspect`].
    fn inspect(&self, code: &str, cursor: usize) -> Option<MimeBundle>;
}

/// Time that compiled code has run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunTime {
    pub wall: Duration,
    /// Of all threads together.
    pub cpu: Duration,
}

/// A cell that failed, in the words of Jupyter's `error` message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellError {
    pub ename: String,
    pub evalue: String,
    /// Lines, with ANSI colours.
    pub traceback: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    pub text: String,
    /// Kind in the front end's words: `function`, `module`, `instance`, `keyword`, …
    pub kind: String,
    /// Signature or type, when known.
    pub signature: String,
}

/// Completions and the range that they replace, in **characters** (Unicode scalar values) of the code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completions {
    pub start: usize,
    pub end: usize,
    pub items: Vec<Completion>,
}

/// Evaluates code cells. One cell at a time; [`Interrupter`] may be used from another thread.
pub trait Evaluator: Send {
    /// Runs one cell. `Ok(None)` when it has no value to show; a value is an `execute_result`.
    fn execute(
        &mut self,
        code: &str,
        sink: &Arc<dyn CellSink>,
        cx: &Cx,
    ) -> Result<Option<MimeBundle>, CellError>;

    /// Completions at `cursor`, in characters.
    fn complete(&mut self, code: &str, cursor: usize) -> Completions;

    /// Documentation and type at `cursor`, in characters; none when nothing is known.
    fn inspect(&mut self, code: &str, cursor: usize) -> Option<MimeBundle>;

    /// The Display text of a Rust expression, for `{expr}` in `%dds` lines. `quoted` is the part of it that
    /// the user wrote; errors name its lines and show nothing else.
    fn display_text(&mut self, expr: &str, quoted: &str, cx: &Cx) -> Result<String, CellError>;

    /// A handle that stops the running cell.
    fn interrupter(&self) -> Arc<dyn Interrupter>;

    /// Sets the working folder of the process that runs the cells.
    fn set_cwd(&mut self, dir: &std::path::Path) -> Result<(), CellError>;

    /// Sets (or with `None` removes) a variable in the environment of the process that runs the cells.
    fn set_env(&mut self, name: &str, value: Option<&str>) -> Result<(), CellError> {
        let _ = (name, value);
        Ok(())
    }

    /// How long code of the user's has run since this was last asked; none when it is not measured.
    fn take_run_time(&mut self) -> Option<RunTime> {
        None
    }

    /// Answers from what is known while the evaluator is busy; none when it keeps no such knowledge.
    fn known(&self) -> Option<Arc<dyn Known>> {
        None
    }

    /// Does a short piece of work that makes later answers better, while the user does nothing.
    /// True when there is more to do.
    fn idle(&mut self) -> bool {
        false
    }

    /// The way of comm messages into the cells; none when cells cannot have comms.
    fn comms(&self) -> Option<Arc<dyn CommDoor>> {
        None
    }
}

pub trait Interrupter: Send + Sync {
    /// Stops the running cell, if one runs.
    fn interrupt(&self);
}
