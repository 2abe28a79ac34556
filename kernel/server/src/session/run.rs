//! Runs one cell: its segments in their order; the first error ends it.

use super::output::{at_line, bundles, cell_error};
use super::progress::CellProgress;
use super::{Session, shell};
use dds_cmd::{CellCommand, CellLine, Command, Segment, body, dispatch, grammar, words};
use dds_core::eval::{CellError, CellSink};
use dds_core::{Cancel, Cx, MimeBundle, Result};
use std::sync::Arc;

/// The value of the cell's last Rust segment, when that ends the cell; values of earlier ones are displayed.
pub(super) fn cell(
    session: &Session,
    code: &str,
    sink: &Arc<dyn CellSink>,
    cancel: &Cancel,
) -> Result<Option<MimeBundle>, CellError> {
    let segments = dds_cmd::split(code).map_err(|e| cell_error(&e))?;
    let several = segments.len() > 1;
    let mut value: Option<MimeBundle> = None;
    for segment in segments {
        if let Some(earlier) = value.take() {
            sink.display(&earlier);
        }
        cancel.check().map_err(|e| cell_error(&e))?;
        let line = segment.line();
        let located = |e: CellError| if several { at_line(e, line) } else { e };
        match segment {
            Segment::Rust { text, line } => value = rust(session, &text, line, sink, cancel)?,
            Segment::Line { text, .. } => command(session, &text, None, sink, cancel).map_err(located)?,
            Segment::Cell { head, body, line } => {
                // The body's first line, counted from 1, is the one after the head.
                command(session, &head, Some((&body, line + 2)), sink, cancel).map_err(located)?;
            }
            Segment::Shell { command, .. } => {
                shell::run(&command, &session.cwd(), sink, cancel).map_err(|e| located(cell_error(&e)))?;
            }
        }
    }
    Ok(value)
}

fn rust(
    session: &Session,
    text: &str,
    line: usize,
    sink: &Arc<dyn CellSink>,
    cancel: &Cancel,
) -> Result<Option<MimeBundle>, CellError> {
    let cx = quiet(session, cancel);
    // Errors of the compiler then name the lines of the whole cell.
    let code = format!("{}{text}", "\n".repeat(line));
    session.rust.with(&cx, |evaluator| evaluator.execute(&code, sink, &cx))
}

fn command(
    session: &Session,
    text: &str,
    body: Option<(&str, usize)>,
    sink: &Arc<dyn CellSink>,
    cancel: &Cancel,
) -> Result<(), CellError> {
    let parts = words::split(text).map_err(|e| cell_error(&e))?;
    let words = if words::has_expressions(&parts) {
        let cx = quiet(session, cancel);
        words::resolve(parts, &mut |expr| {
            let value = session.rust.with(&cx, |evaluator| evaluator.display_text(expr, &cx));
            value.map_err(Failed::Cell)
        })
        .map_err(Failed::into_cell)?
    } else {
        words::resolve(parts, &mut |_| Ok::<_, dds_core::Error>(String::new())).map_err(|e| cell_error(&e))?
    };
    let line = match body {
        Some((body, first_line)) => body::parse(&words, body, first_line),
        None => grammar::cell(&words),
    }
    .map_err(|e| cell_error(&e))?;

    let progress = Arc::new(CellProgress::new(sink.clone()));
    let cx = Cx::new(session.cwd(), progress.clone(), cancel.clone());
    let outcome = dispatch::run_cell(&line, &session.engines(), &cx);
    progress.finish();
    let outcome = outcome.map_err(|e| cell_error(&e))?;
    if let Some(CellCommand::Common(Command::Upload(r))) = &line.command
        && let Err(e) = (session.services.uploaded)(r, &dispatch::within(&cx, line.dir.as_deref()))
    {
        cx.sink.note(&format!("the upload is done, but a mount does not show it yet: {e}"));
    }
    for bundle in bundles(name(&line), &outcome, line.json) {
        sink.display(&bundle);
    }
    Ok(())
}

/// A context without progress.
fn quiet(session: &Session, cancel: &Cancel) -> Cx {
    Cx::new(session.cwd(), Arc::new(dds_core::cx::Silent), cancel.clone())
}

/// The command's name, as the user wrote it.
pub(super) fn name(line: &CellLine) -> &'static str {
    line.command.as_ref().map_or("help", CellCommand::name)
}

/// An error of ours or of the Rust expression in a `{…}`.
enum Failed {
    Ours(dds_core::Error),
    Cell(CellError),
}

impl From<dds_core::Error> for Failed {
    fn from(e: dds_core::Error) -> Self {
        Failed::Ours(e)
    }
}

impl Failed {
    fn into_cell(self) -> CellError {
        match self {
            Failed::Ours(e) => cell_error(&e),
            Failed::Cell(e) => e,
        }
    }
}
