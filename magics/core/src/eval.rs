//! The seam between the kernel and whatever evaluates its code cells.

use crate::{Cx, MimeBundle};

/// Which stream a piece of output belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// Where a running cell's output goes, while it runs.
pub trait CellSink: Send + Sync {
    fn stream(&self, stream: Stream, text: &str);
    fn display(&self, bundle: &MimeBundle);
    /// Shows `bundle` under `display_id`, or with `update` replaces what is shown under it.
    fn display_with_id(&self, bundle: &MimeBundle, display_id: &str, update: bool);
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
        sink: &std::sync::Arc<dyn CellSink>,
        cx: &Cx,
    ) -> Result<Option<MimeBundle>, CellError>;

    /// Completions at `cursor`, in characters.
    fn complete(&mut self, code: &str, cursor: usize) -> Completions;

    /// Documentation and type at `cursor`, in characters; none when nothing is known.
    fn inspect(&mut self, code: &str, cursor: usize) -> Option<MimeBundle>;

    /// The Display text of a Rust expression, for `{expr}` in `%dds` lines.
    fn display_text(&mut self, expr: &str, cx: &Cx) -> Result<String, CellError>;

    /// A handle that stops the running cell.
    fn interrupter(&self) -> std::sync::Arc<dyn Interrupter>;

    /// Sets the working folder of the process that runs the cells.
    fn set_cwd(&mut self, dir: &std::path::Path) -> Result<(), CellError>;
}

pub trait Interrupter: Send + Sync {
    /// Stops the running cell, if one runs.
    fn interrupt(&self);
}
