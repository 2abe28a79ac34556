//! `exec`: runs a notebook in a kernel of its own and writes it with its outputs.

use dds_app::{CellEvent, ExecOptions, ExecReport, Notebook, execute};
use dds_core::{Config, Cx, Error, Kind, Outcome, Result, request as rq};
use serde_json::json;
use std::sync::Arc;

/// Runs and writes. A failing cell is an error, after the notebook was written with what there is.
pub(crate) fn exec(config: &Config, r: &rq::Exec, cx: &Cx) -> Result<Outcome> {
    let path = cx.absolute(&r.notebook);
    let out = r.out.as_ref().map_or_else(|| path.clone(), |o| cx.absolute(o));
    let mut notebook = Notebook::read(&path)?;
    let folder = path.parent().unwrap_or(&cx.cwd);
    let mut options = ExecOptions::new(&config.exe, &config.runtime_dir, folder);
    options.allow_errors = r.allow_errors;
    options.cancel = cx.cancel.clone();
    let told = cx.clone();
    options.on_cell = Some(Arc::new(move |event: CellEvent<'_>| {
        if let CellEvent::Finished { number, total, .. } = event {
            told.items("cells", number, total);
        }
    }));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::internal(format!("no runtime: {e}")))?;
    let report = runtime.block_on(execute(&mut notebook, options))?;
    notebook.write(&out)?;
    match report.error() {
        Some(e) => {
            let failed = report.failures.last().map(|f| f.ename.as_str()).unwrap_or_default();
            let e = Error { kind: kind_of(failed), ..e };
            Err(e.context(format!("{} (written so far to {})", path.display(), out.display())))
        }
        None => Ok(outcome(&report, &out)),
    }
}

/// The kind of a failed cell's error. A mistake inside the notebook is none of this command's line.
fn kind_of(ename: &str) -> Kind {
    let known = [
        Kind::NotFound,
        Kind::Unauthorized,
        Kind::Unreachable,
        Kind::Conflict,
        Kind::Corrupt,
        Kind::Limit,
        Kind::Unavailable,
        Kind::Interrupted,
        Kind::Io,
        Kind::Internal,
    ];
    known.into_iter().find(|k| k.name() == ename).unwrap_or(Kind::Format)
}

fn outcome(report: &ExecReport, out: &std::path::Path) -> Outcome {
    let failed = match report.failures.len() {
        0 => String::new(),
        1 => ", 1 cell failed".into(),
        n => format!(", {n} cells failed"),
    };
    let summary =
        format!("{}: {} cells in {:.1} s{failed}", out.display(), report.cells.len(), report.seconds);
    Outcome::new(summary, json!({"notebook": out, "report": report}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_cell_keeps_its_kind_but_is_no_usage_error() {
        assert_eq!(kind_of("NotFound"), Kind::NotFound);
        for other in ["Usage", "E0425", ""] {
            assert_eq!(kind_of(other), Kind::Format);
        }
    }
}
