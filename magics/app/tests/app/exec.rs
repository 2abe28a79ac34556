//! Running notebooks in a kernel of the toy language.

use crate::fake::FakeLauncher;
use dds_app::{CellEvent, CellKind, ExecOptions, Notebook, Output, execute_with};
use dds_core::Kind;
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub fn notebook(cells: &[&str]) -> Notebook {
    let cells: Vec<_> = cells
        .iter()
        .map(|source| match source.strip_prefix("md:") {
            Some(text) => json!({"cell_type": "markdown", "source": text, "metadata": {}}),
            None => {
                let old = json!([{"output_type": "stream", "name": "stdout", "text": "from before"}]);
                json!({"cell_type": "code", "source": source, "metadata": {}, "outputs": old, "execution_count": 9})
            }
        })
        .collect();
    let v = json!({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells});
    Notebook::from_bytes(v.to_string().as_bytes()).unwrap()
}

fn options() -> ExecOptions {
    ExecOptions::new("/nonexistent", "/nonexistent", "/tmp")
}

fn stdout(nb: &Notebook, cell: usize) -> String {
    let texts = nb.cells[cell].outputs().iter().filter_map(|o| match o {
        Output::Stream { text, .. } => Some(text.as_str()),
        _ => None,
    });
    texts.collect()
}

#[tokio::test]
async fn outputs_counts_and_times_are_collected() {
    let mut nb = notebook(&[
        "md:# Hi",
        "print a\nprint b\neprint c",
        "",
        "value 42",
        "show {\"data\": {\"text/plain\": \"0\"}, \"metadata\": {}, \"transient\": {\"display_id\": \"d\"}}",
        "iopub update_display_data {\"data\": {\"text/plain\": \"1\"}, \"metadata\": {}, \"transient\": {\"display_id\": \"d\"}}\nprint x\niopub clear_output {\"wait\": true}\nprint y",
    ]);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let launcher = FakeLauncher::default();
    let mut opts = options();
    opts.on_cell = Some(Arc::new(move |e| {
        let line = match e {
            CellEvent::Started { number, total, .. } => format!("{number}/{total}"),
            CellEvent::Text { text, .. } => format!("t{}", text.trim()),
            CellEvent::Finished { error, .. } => format!("end{}", u8::from(error.is_some())),
            _ => String::new(),
        };
        log.lock().unwrap().push(line);
    }));
    let report = execute_with(&mut nb, &launcher, &opts).await.unwrap();
    assert_eq!((report.cells.len(), report.total, report.stopped), (4, 4, false));
    assert!(report.error().is_none());
    assert_eq!(nb.cells[1].outputs().len(), 2);
    assert_eq!(stdout(&nb, 1), "a\nb\nc\n");
    assert!(nb.cells[2].outputs().is_empty(), "outputs of a former run are gone");
    assert!(matches!(&nb.cells[3].outputs()[0], Output::Result { execution_count: Some(2), .. }));
    assert!(matches!(&nb.cells[4].outputs()[0], Output::Display { bundle, .. } if bundle.plain() == "1"));
    assert_eq!(stdout(&nb, 5), "y\n");
    let counts: Vec<_> = nb
        .cells
        .iter()
        .filter_map(|c| match c.kind {
            CellKind::Code { execution_count, .. } => Some(execution_count),
            _ => None,
        })
        .collect();
    assert_eq!(counts, [Some(1), None, Some(2), Some(3), Some(4)]);
    assert_eq!(nb.metadata["kernelspec"]["name"], "dds");
    assert_eq!(seen.lock().unwrap()[..5], ["1/4", "ta", "tb", "tc", "end0"]);
    assert_eq!(launcher.alive(), 0);
}

#[tokio::test]
async fn a_failing_cell_stops_the_run_and_is_named() {
    let cells = ["print before", "// comment\nprint half\nfail NotFound no such file", "print after"];
    let mut nb = notebook(&cells);
    let launcher = FakeLauncher::default();
    let report = execute_with(&mut nb, &launcher, &options()).await.unwrap();
    assert_eq!((report.cells.len(), report.total, report.stopped), (2, 3, true));
    let e = report.error().unwrap();
    assert_eq!(e.message, "cell 2 (`print half`) failed: NotFound: no such file");
    assert_eq!(e.hint.as_deref(), Some("try less"));
    assert_eq!(stdout(&nb, 0), "before\n");
    assert_eq!(nb.cells[1].outputs().len(), 2);
    assert!(nb.cells[2].outputs().is_empty());

    let mut nb = notebook(&cells);
    let opts = ExecOptions { allow_errors: true, ..options() };
    let report = execute_with(&mut nb, &launcher, &opts).await.unwrap();
    assert_eq!((report.cells.len(), report.failures.len(), report.stopped), (3, 1, false));
    assert!(report.error().is_none());
    assert_eq!(stdout(&nb, 2), "after\n");

    let mut nb = notebook(&cells);
    nb.cells[1].metadata.insert("tags".into(), json!(["raises-exception"]));
    let report = execute_with(&mut nb, &launcher, &options()).await.unwrap();
    assert_eq!((report.cells.len(), report.stopped), (3, false));
    assert_eq!(launcher.alive(), 0);
}

#[tokio::test]
async fn a_dying_kernel_is_reported_with_its_last_words_and_outputs_stay() {
    let mut nb = notebook(&["print kept", "print half\ndie"]);
    let launcher = FakeLauncher::default();
    let e = execute_with(&mut nb, &launcher, &options()).await.unwrap_err();
    assert_eq!(e.kind, Kind::Unavailable);
    assert!(e.message.contains("cell 2 (`print half`)") && e.message.contains("thread panicked"), "{e}");
    assert_eq!((stdout(&nb, 0), stdout(&nb, 1)), ("kept\n".into(), "half\n".into()));
    assert_eq!(launcher.alive(), 0);
}

#[tokio::test]
async fn cancelling_and_time_limits_kill_the_kernel() {
    let launcher = FakeLauncher::default();
    let opts = options();
    let cancel = opts.cancel.clone();
    let mut nb = notebook(&["hang"]);
    let run = execute_with(&mut nb, &launcher, &opts);
    let stop = async {
        while launcher.alive() == 0 {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    };
    let (result, ()) = tokio::join!(run, stop);
    assert_eq!(result.unwrap_err().kind, Kind::Interrupted);
    assert_eq!(launcher.alive(), 0);

    let opts = ExecOptions { cell_timeout: Some(Duration::from_millis(1)), ..options() };
    let e = execute_with(&mut notebook(&["hang"]), &launcher, &opts).await.unwrap_err();
    assert_eq!(e.kind, Kind::Limit);
    assert_eq!(launcher.alive(), 0);
}

#[tokio::test]
async fn a_kernel_that_does_not_start_and_a_foreign_notebook_are_errors() {
    let broken = FakeLauncher { broken: true, ..FakeLauncher::default() };
    let e = execute_with(&mut notebook(&["print a"]), &broken, &options()).await.unwrap_err();
    assert_eq!((e.kind, e.hint.as_deref()), (Kind::Unavailable, Some("try tomorrow")));

    let launcher = FakeLauncher::default();
    let mut nb = notebook(&["print a"]);
    nb.metadata.insert("kernelspec".into(), json!({"name": "python3", "language": "python"}));
    let e = execute_with(&mut nb, &launcher, &options()).await.unwrap_err();
    assert!(e.message.contains("Python"), "{e}");
    assert_eq!(launcher.launched(), 0);
}

#[tokio::test]
async fn a_missing_executable_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let opts = ExecOptions::new(dir.path().join("no-dds"), dir.path(), dir.path());
    let e = dds_app::execute(&mut notebook(&["print a"]), opts).await.unwrap_err();
    assert!(e.message.contains("no-dds"), "{e}");
}
