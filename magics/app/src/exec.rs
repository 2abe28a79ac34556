//! Runs a notebook's code cells in a kernel and collects their outputs.
//!
//! Assumes a kernel that answers the Jupyter protocol, version 5. Cells run one after the other in
//! the order of the notebook; the outputs of the previous run are dropped first. Asks nothing of
//! the user: a cell that reads standard input fails in the kernel.

mod outputs;

pub use outputs::MAX_CELL_OUTPUT_BYTES;

use crate::kernel::process::ProcessLauncher;
use crate::kernel::{Channel, Incoming, KernelLauncher, KernelSession, LaunchSpec};
use crate::notebook::{CellKind, Notebook, Output};
use crate::render::ansi;
use dds_core::{Cancel, Error, Kind, Result};
use outputs::Collector;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the last outputs may come after the reply, as nbclient's `iopub_timeout`.
const IOPUB_GRACE: Duration = Duration::from_secs(4);
/// How often cancellation is looked at while a cell runs.
const TICK: Duration = Duration::from_millis(100);

/// What [`ExecOptions::on_cell`] is told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CellEvent<'a> {
    /// A code cell begins: the `number`th of `total` code cells, counted from 1.
    Started { number: usize, total: usize, source: &'a str },
    /// It wrote text; `text` is what came new.
    Text { number: usize, text: &'a str },
    /// It ended.
    Finished { number: usize, total: usize, seconds: f64, error: Option<&'a CellFailure> },
}

/// Called while a notebook runs; must be quick.
pub type OnCell = Arc<dyn Fn(CellEvent<'_>) + Send + Sync>;

/// How to run a notebook.
#[derive(Clone)]
pub struct ExecOptions {
    /// The `dds` executable; it is started as `EXE kernel CONNECTION_FILE`.
    pub exe: PathBuf,
    /// Private folder for connection files, mode 0700.
    pub runtime_dir: PathBuf,
    /// Working folder of the kernel: usually the notebook's folder.
    pub cwd: PathBuf,
    /// Added to the inherited environment.
    pub env: Vec<(OsString, OsString)>,
    /// Go on after a cell failed.
    pub allow_errors: bool,
    /// Longest time of one cell; none for no limit.
    pub cell_timeout: Option<Duration>,
    /// Setting it kills the kernel.
    pub cancel: Cancel,
    pub on_cell: Option<OnCell>,
}

impl ExecOptions {
    pub fn new(exe: impl Into<PathBuf>, runtime_dir: impl Into<PathBuf>, cwd: impl Into<PathBuf>) -> Self {
        Self {
            exe: exe.into(),
            runtime_dir: runtime_dir.into(),
            cwd: cwd.into(),
            env: Vec::new(),
            allow_errors: false,
            cell_timeout: None,
            cancel: Cancel::default(),
            on_cell: None,
        }
    }
}

/// A cell that failed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct CellFailure {
    /// Position among all cells of the notebook, from 1.
    pub cell: usize,
    /// The cell's first line of code.
    pub line: String,
    pub ename: String,
    pub evalue: String,
    pub hint: Option<String>,
}

impl CellFailure {
    /// As an error that names the cell.
    pub fn to_error(&self) -> Error {
        let at = if self.line.is_empty() { String::new() } else { format!(" (`{}`)", self.line) };
        let error = Error::new(
            Kind::Usage,
            format!("cell {}{at} failed: {}: {}", self.cell, self.ename, first_line(&self.evalue)),
        );
        match &self.hint {
            Some(h) => error.hint(h.clone()),
            None => error.hint("its full message is in the notebook, below the cell"),
        }
    }
}

/// One cell that ran.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct CellReport {
    /// Position among all cells of the notebook, from 1.
    pub cell: usize,
    pub id: String,
    pub seconds: f64,
    pub failed: bool,
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct ExecReport {
    /// Cells that ran, in order.
    pub cells: Vec<CellReport>,
    /// All code cells that had something to run.
    pub total: usize,
    pub seconds: f64,
    /// Every failure; more than one only when errors are allowed.
    pub failures: Vec<CellFailure>,
    /// Whether a failure ended the run early.
    pub stopped: bool,
}

impl ExecReport {
    /// The failure that ended the run, as an error.
    pub fn error(&self) -> Option<Error> {
        self.failures.last().filter(|_| self.stopped).map(CellFailure::to_error)
    }
}

/// Runs all code cells of `nb` in a fresh kernel process and puts their outputs into it.
///
/// A failing cell ends the run (see [`ExecReport::error`]) unless errors are allowed or the cell
/// is tagged `raises-exception`; outputs so far are kept. Errors: `Usage` for a notebook of another
/// language, `Unavailable` when the kernel does not start or dies, `Interrupted` after a cancel.
pub async fn execute(nb: &mut Notebook, opts: ExecOptions) -> Result<ExecReport> {
    let launcher = ProcessLauncher { exe: opts.exe.clone(), runtime_dir: opts.runtime_dir.clone() };
    execute_with(nb, &launcher, &opts).await
}

/// [`execute`] with kernels of the caller's choice.
pub async fn execute_with(
    nb: &mut Notebook,
    launcher: &dyn KernelLauncher,
    opts: &ExecOptions,
) -> Result<ExecReport> {
    nb.require_rust()?;
    nb.name_kernel();
    let spec = LaunchSpec { cwd: opts.cwd.clone(), env: opts.env.clone() };
    let mut kernel = until_cancelled(&opts.cancel, launcher.launch(spec)).await??;
    let rules = Rules {
        allow_errors: opts.allow_errors,
        cell_timeout: opts.cell_timeout,
        cancel: opts.cancel.clone(),
        on_cell: opts.on_cell.clone(),
        skip_tag: None,
    };
    let report = run_cells(kernel.as_mut(), nb, &rules).await?;
    kernel.shutdown().await;
    Ok(report)
}

/// What governs a run besides the kernel.
#[derive(Clone, Default)]
pub(crate) struct Rules {
    pub allow_errors: bool,
    pub cell_timeout: Option<Duration>,
    pub cancel: Cancel,
    pub on_cell: Option<OnCell>,
    /// Cells with this tag are left out.
    pub skip_tag: Option<&'static str>,
}

/// Runs the code cells of `nb` in `kernel`. After an error the kernel is of no further use.
pub(crate) async fn run_cells(
    kernel: &mut dyn KernelSession,
    nb: &mut Notebook,
    rules: &Rules,
) -> Result<ExecReport> {
    let started = Instant::now();
    for cell in &mut nb.cells {
        if let CellKind::Code { execution_count, outputs } = &mut cell.kind {
            *execution_count = None;
            outputs.clear();
        }
    }
    let todo: Vec<usize> = nb
        .cells
        .iter()
        .enumerate()
        .filter(|(_, c)| c.is_code() && !c.source.trim().is_empty())
        .filter(|(_, c)| rules.skip_tag.is_none_or(|tag| !c.has_tag(tag)))
        .map(|(i, _)| i)
        .collect();
    let total = todo.len();
    let mut report = ExecReport { total, ..ExecReport::default() };
    let tell = |event: CellEvent<'_>| {
        if let Some(f) = &rules.on_cell {
            f(event);
        }
    };
    for (n, index) in todo.into_iter().enumerate() {
        let number = n + 1;
        let Some(cell) = nb.cells.get(index) else { continue };
        let (source, id) = (cell.source.clone(), cell.id.clone());
        let may_fail = rules.allow_errors || cell.has_tag("raises-exception");
        tell(CellEvent::Started { number, total, source: &source });
        let begin = Instant::now();
        let failure =
            run_cell(kernel, nb, index, &source, number, rules).await.map_err(|e| match e.kind {
                Kind::Interrupted => e,
                _ => e.context(format!("cell {} (`{}`)", index + 1, shown_line(&source))),
            })?;
        let seconds = begin.elapsed().as_secs_f64();
        tell(CellEvent::Finished { number, total, seconds, error: failure.as_ref() });
        report.cells.push(CellReport { cell: index + 1, id, seconds, failed: failure.is_some() });
        if let Some(f) = failure {
            report.failures.push(f);
            if !may_fail {
                report.stopped = true;
                break;
            }
        }
    }
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

async fn run_cell(
    kernel: &mut dyn KernelSession,
    nb: &mut Notebook,
    index: usize,
    source: &str,
    number: usize,
    rules: &Rules,
) -> Result<Option<CellFailure>> {
    rules.cancel.check()?;
    let content = json!({
        "code": source,
        "silent": false,
        "store_history": true,
        "user_expressions": {},
        "allow_stdin": false,
        "stop_on_error": true,
    });
    let id = kernel.send(Channel::Shell, "execute_request", content).await?;
    let begin = Instant::now();
    let mut collector = Collector::new(index);
    let mut reply: Option<Incoming> = None;
    let mut idle = false;
    let mut replied_at: Option<Instant> = None;
    loop {
        let message = tokio::select! {
            m = kernel.next() => Some(m),
            () = tokio::time::sleep(TICK) => None,
        };
        rules.cancel.check()?;
        if rules.cell_timeout.is_some_and(|limit| begin.elapsed() > limit) {
            return Err(Error::new(Kind::Limit, "the cell ran longer than its time limit"));
        }
        match message {
            None => {}
            Some(None) => {
                let words = kernel.last_words();
                let said = match words.trim() {
                    "" => String::new(),
                    text => format!("; it printed:\n{text}"),
                };
                return Err(Error::new(
                    Kind::Unavailable,
                    format!("the kernel died while the cell ran{said}"),
                )
                .hint(
                    "run it in Jupyter to see why; a crash in native code or too little memory ends a kernel",
                ));
            }
            Some(Some(m)) if m.parent != id => {}
            Some(Some(m)) => match (m.channel, m.msg_type.as_str()) {
                (Channel::Shell, "execute_reply") => {
                    replied_at = Some(Instant::now());
                    reply = Some(m);
                }
                (Channel::Iopub, "status") => {
                    idle |= m.content.get("execution_state").and_then(Value::as_str) == Some("idle");
                }
                (Channel::Iopub, kind) => {
                    if kind == "stream"
                        && let (Some(f), Some(text)) =
                            (&rules.on_cell, m.content.get("text").and_then(Value::as_str))
                    {
                        f(CellEvent::Text { number, text });
                    }
                    collector.take(nb, kind, &m.content);
                }
                _ => {}
            },
        }
        let late = replied_at.is_some_and(|t| t.elapsed() > IOPUB_GRACE);
        if let Some(m) = reply.take_if(|_| idle || late) {
            return Ok(finish(nb, index, source, &m.content));
        }
    }
}

/// Settles count and error of a cell from its `execute_reply`.
fn finish(nb: &mut Notebook, index: usize, source: &str, reply: &Value) -> Option<CellFailure> {
    let cell = nb.cells.get_mut(index)?;
    let CellKind::Code { execution_count, outputs } = &mut cell.kind else { return None };
    if let Some(n) = reply.get("execution_count").and_then(Value::as_i64) {
        *execution_count = Some(n);
    }
    if reply.get("status").and_then(Value::as_str) == Some("ok") {
        return None;
    }
    // A kernel reports an error on both channels; one that only replied gets its output here.
    if !outputs.iter().any(|o| matches!(o, Output::Error { .. })) {
        let text = |key: &str, or: &str| reply.get(key).and_then(Value::as_str).unwrap_or(or).to_owned();
        outputs.push(Output::Error {
            ename: text("ename", "Aborted"),
            evalue: text("evalue", "the kernel did not run the cell"),
            traceback: reply
                .get("traceback")
                .and_then(Value::as_array)
                .map(|l| l.iter().filter_map(Value::as_str).map(str::to_owned).collect())
                .unwrap_or_default(),
        });
    }
    outputs.iter().rev().find_map(|o| match o {
        Output::Error { ename, evalue, traceback } => Some(CellFailure {
            cell: index + 1,
            line: shown_line(source),
            ename: ename.clone(),
            evalue: evalue.clone(),
            hint: hint_of(traceback),
        }),
        _ => None,
    })
}

/// The hint in a traceback: the rest of its last line that begins with `hint:` or `help:`.
pub(crate) fn hint_of(traceback: &[String]) -> Option<String> {
    let text = ansi::strip(&traceback.join("\n"));
    text.lines().rev().find_map(|line| {
        let line = line.trim().trim_start_matches(['=', '→', ' ']);
        let (word, rest) = line.split_once(':')?;
        let known = word.eq_ignore_ascii_case("hint") || word.eq_ignore_ascii_case("help");
        (known && !rest.trim().is_empty()).then(|| rest.trim().to_owned())
    })
}

/// The first line of code that is not a comment, cut to one that fits a message.
fn shown_line(source: &str) -> String {
    let line =
        source.lines().map(str::trim).find(|l| !l.is_empty() && !l.starts_with("//")).unwrap_or_default();
    let mut text: String = line.chars().take(60).collect();
    if text.len() < line.len() {
        text.push('…');
    }
    dds_core::mime::printable(&text)
}

fn first_line(text: &str) -> String {
    ansi::strip(text.lines().next().unwrap_or_default())
}

/// `future`'s value, or `Interrupted` when the user cancels first.
pub(crate) async fn until_cancelled<T>(cancel: &Cancel, future: impl Future<Output = T>) -> Result<T> {
    let watch = async {
        while !cancel.is_cancelled() {
            tokio::time::sleep(TICK).await;
        }
    };
    tokio::select! {
        v = future => Ok(v),
        () = watch => Err(Error::interrupted()),
    }
}
