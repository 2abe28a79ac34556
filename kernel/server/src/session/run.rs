//! Runs one cell: its segments in their order; the first error ends it.

use super::output::{at_line, bundles, cell_error};
use super::progress::CellProgress;
use super::{Session, files, shell, time};
use dds_cmd::raw::{self, Raw};
use dds_cmd::{CellCommand, CellLine, Command, Segment, body, dispatch, grammar, words};
use dds_core::eval::{CellError, CellSink};
use dds_core::{Cancel, Cx, Error, Kind, MimeBundle, Outcome, Result};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// The value of the cell's last Rust segment, when that ends the cell; values of earlier ones are displayed.
pub(super) fn cell(
    session: &Session,
    code: &str,
    sink: &Arc<dyn CellSink>,
    cancel: &Cancel,
) -> Result<Option<MimeBundle>, CellError> {
    Run { session, sink, cancel, timed: false }.cell(code)
}

/// A cell that runs.
#[derive(Clone, Copy)]
struct Run<'a> {
    session: &'a Session,
    sink: &'a Arc<dyn CellSink>,
    cancel: &'a Cancel,
    /// It is the body of a `%%dds time`.
    timed: bool,
}

impl Run<'_> {
    fn cell(self, code: &str) -> Result<Option<MimeBundle>, CellError> {
        let segments = dds_cmd::split(code).map_err(|e| cell_error(&e))?;
        let several = segments.len() > 1;
        let mut value: Option<MimeBundle> = None;
        for segment in segments {
            if let Some(earlier) = value.take() {
                self.sink.display(&earlier);
            }
            self.cancel.check().map_err(|e| cell_error(&e))?;
            let line = segment.line();
            let located = |e: CellError| if several || self.timed { at_line(e, line) } else { e };
            match segment {
                Segment::Rust { text, line } => value = self.rust(&text, line)?,
                Segment::Line { text, .. } => match raw::time(&text) {
                    Some(raw) => {
                        raw.map_err(|e| cell_error(&e)).and_then(|r| self.measure(&r)).map_err(located)?
                    }
                    None => self.command(&text, None).map_err(located)?,
                },
                Segment::Cell { head, body, line } => match raw::time(&head) {
                    Some(raw) => {
                        let raw = raw.map_err(|e| located(cell_error(&e)))?;
                        value = self.timed(&raw, &body, line + 1)?;
                    }
                    // The body's first line, counted from 1, is the one after the head.
                    None => self.command(&head, Some((&body, line + 2))).map_err(located)?,
                },
                Segment::Shell { command, .. } => {
                    let env = self.session.environment.changes();
                    shell::run(&command, &self.session.cwd(), &env, self.sink, self.cancel)
                        .map_err(|e| located(cell_error(&e)))?;
                }
            }
        }
        Ok(value)
    }

    fn rust(self, text: &str, line: usize) -> Result<Option<MimeBundle>, CellError> {
        let cx = self.quiet();
        // Errors of the compiler then name the lines of the whole cell.
        let code = format!("{}{text}", "\n".repeat(line));
        self.session.with_rust(&cx, |evaluator| evaluator.execute(&code, self.sink, &cx))
    }

    /// `%%dds time`: the rest of the cell, once. Its value stays its value.
    fn timed(self, raw: &Raw, body: &str, line: usize) -> Result<Option<MimeBundle>, CellError> {
        if self.timed {
            let e = Error::usage("`%%dds time` measures a whole cell, and stands in one already");
            return Err(at_line(cell_error(&e.hint("take the inner line away")), line - 1));
        }
        if !raw.request.expr.is_empty() {
            let e = Error::usage("`%%dds time` measures the lines below it");
            return Err(cell_error(
                &e.hint("to measure one expression, write %dds time EXPR with one per cent sign"),
            ));
        }
        // What the evaluator needs to start is nobody's time.
        let cx = self.quiet();
        self.session.with_rust(&cx, |evaluator| Ok(evaluator.take_run_time()))?;
        let began = Instant::now();
        let value = Run { timed: true, ..self }.cell(&format!("{}{body}", "\n".repeat(line)))?;
        let wall = began.elapsed();
        let ran = self.session.with_rust(&cx, |evaluator| Ok(evaluator.take_run_time()))?;
        self.show("time", &time::of_cell(wall, ran), raw.json);
        Ok(value)
    }

    /// `%dds time EXPR`.
    fn measure(self, raw: &Raw) -> Result<(), CellError> {
        let Some(expr) = raw.request.expr.first() else {
            let e = Error::usage("`time` needs an expression");
            return Err(cell_error(&e.hint("write %dds time EXPR, or begin a cell with %%dds time")));
        };
        let (cx, code) = (self.quiet(), time::code(expr, raw.request.runs));
        let text = self.session.with_rust(&cx, |evaluator| evaluator.display_text(&code, expr, &cx))?;
        let outcome = time::measured(&text, raw).map_err(|e| cell_error(&e))?;
        self.show("time", &outcome, raw.json);
        Ok(())
    }

    fn command(self, text: &str, body: Option<(&str, usize)>) -> Result<(), CellError> {
        let words = self.words(text)?;
        let line = match body {
            Some((body, first_line)) => body::parse(&words, body, first_line),
            None => grammar::cell(&words),
        }
        .map_err(|e| cell_error(&e))?;

        let progress = Arc::new(CellProgress::new(self.sink.clone()));
        let cx = Cx::new(self.session.cwd(), progress.clone(), self.cancel.clone());
        let outcome = dispatch::run_cell(&line, &self.session.engines(), &cx);
        progress.finish();
        let mut outcome = outcome.map_err(|e| cell_error(&e))?;
        if let (Some(CellCommand::Common(Command::Diff(_))), false) = (&line.command, line.json) {
            let shown = self.session.engines().learn.changes(&outcome.json, &cx);
            progress.finish();
            match shown {
                Ok(picture) => outcome.displays.extend(picture),
                Err(e) if e.kind == Kind::Interrupted => return Err(cell_error(&e)),
                Err(e) => cx.sink.note(&format!("the changed images are not shown: {e}")),
            }
        }
        if let Some(CellCommand::Common(Command::Upload(r))) = &line.command
            && let Err(e) = (self.session.services.uploaded)(r, &dispatch::within(&cx, line.dir.as_deref()))
        {
            cx.sink.note(&format!("the upload is done, but a mount does not show it yet: {e}"));
        }
        self.show(name(&line), &outcome, line.json);
        Ok(())
    }

    /// The words of a command line: `{…}` and names of files are put in.
    fn words(self, text: &str) -> Result<Vec<String>, CellError> {
        let parts = words::split(text).map_err(|e| cell_error(&e))?;
        let cx = self.quiet();
        let mut value = |expr: &str| {
            let value = self.session.with_rust(&cx, |evaluator| evaluator.display_text(expr, expr, &cx));
            value.map_err(Failed::Cell)
        };
        let home = self.session.environment.var("HOME").map(PathBuf::from);
        let mut files = |pattern: &words::Pattern| {
            files::matching(pattern, &cx.cwd, home.clone(), self.cancel).map_err(Failed::Ours)
        };
        words::resolve_with(parts, &mut value, &mut files).map_err(Failed::into_cell)
    }

    fn show(self, command: &str, outcome: &Outcome, json: bool) {
        for bundle in bundles(command, outcome, json) {
            self.sink.display(&bundle);
        }
    }

    /// A context without progress.
    fn quiet(self) -> Cx {
        Cx::new(self.session.cwd(), Arc::new(dds_core::cx::Silent), self.cancel.clone())
    }
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
