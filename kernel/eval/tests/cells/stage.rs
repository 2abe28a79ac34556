//! What the tests stand on: an evaluator, and a sink that keeps what a cell shows, in order.

use dds_core::eval::{CellError, CellSink, CommMessage, Evaluator, Stream};
use dds_core::{Cx, Error, Kind, MimeBundle, Result};
use dds_eval::{EvalOptions, RustEvaluator};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// A test's name and body.
pub type Test = (&'static str, fn(&mut Stage));

/// How long something may take that happens at once on an idle machine.
const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, PartialEq)]
pub enum Shown {
    Out(String),
    Err(String),
    Display(MimeBundle),
    /// Under an id; with `true` in place of what was shown under it.
    WithId(String, bool, MimeBundle),
    Clear(bool),
    Comm(CommMessage),
}

#[derive(Default)]
pub struct Record {
    shown: Mutex<Vec<Shown>>,
    changed: Condvar,
    /// Lines that the user will type; none when the front end takes no input.
    lines: Mutex<Option<VecDeque<String>>>,
    /// What was asked: prompt, and whether it is a password.
    pub asked: Mutex<Vec<(String, bool)>>,
    /// The user does not answer, until this is set.
    pub stopped: AtomicBool,
}

impl Record {
    fn push(&self, next: Shown) {
        let mut shown = self.shown.lock().unwrap();
        match (shown.last_mut(), next) {
            (Some(Shown::Out(last)), Shown::Out(next)) => last.push_str(&next),
            (Some(Shown::Err(last)), Shown::Err(next)) => last.push_str(&next),
            (_, next) => shown.push(next),
        }
        self.changed.notify_all();
    }

    pub fn all(&self) -> Vec<Shown> {
        self.shown.lock().unwrap().clone()
    }

    pub fn out(&self) -> String {
        let text = |shown: &Shown| if let Shown::Out(text) = shown { text.clone() } else { String::new() };
        self.all().iter().map(text).collect()
    }

    pub fn err(&self) -> String {
        let text = |shown: &Shown| if let Shown::Err(text) = shown { text.clone() } else { String::new() };
        self.all().iter().map(text).collect()
    }

    pub fn wait_for_out(&self, part: &str) {
        self.wait_for(part, |shown| matches!(shown, Shown::Out(text) if text.contains(part)));
    }

    /// Waits until something is shown of which `is_it` holds.
    pub fn wait_for(&self, what: &str, is_it: impl Fn(&Shown) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        let mut shown = self.shown.lock().unwrap();
        while !shown.iter().any(&is_it) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "`{what}` was not shown: {shown:?}");
            shown = self.changed.wait_timeout(shown, left).unwrap().0;
        }
    }

    pub fn comms(&self) -> Vec<CommMessage> {
        let comm = |shown| if let Shown::Comm(message) = shown { Some(message) } else { None };
        self.all().into_iter().filter_map(comm).collect()
    }

    /// The user will type these lines.
    pub fn types(&self, lines: &[&str]) {
        *self.lines.lock().unwrap() = Some(lines.iter().map(|line| (*line).to_owned()).collect());
    }
}

impl CellSink for Record {
    fn stream(&self, stream: Stream, text: &str) {
        let text = text.to_owned();
        self.push(match stream {
            Stream::Stdout => Shown::Out(text),
            Stream::Stderr => Shown::Err(text),
        });
    }

    fn display(&self, bundle: &MimeBundle) {
        self.push(Shown::Display(bundle.clone()));
    }

    fn display_with_id(&self, bundle: &MimeBundle, id: &str, update: bool) {
        self.push(Shown::WithId(id.to_owned(), update, bundle.clone()));
    }

    fn clear_output(&self, wait: bool) {
        self.push(Shown::Clear(wait));
    }

    fn comm(&self, message: &CommMessage) {
        self.push(Shown::Comm(message.clone()));
    }

    fn input(&self, prompt: &str, password: bool) -> Result<String> {
        self.asked.lock().unwrap().push((prompt.to_owned(), password));
        let next = self.lines.lock().unwrap().as_mut().map(VecDeque::pop_front);
        match next {
            None => Err(Error::new(Kind::Unavailable, "nobody is there")),
            Some(Some(line)) => Ok(line),
            Some(None) => {
                eventually("nobody stops the cell", || self.stopped.load(Ordering::SeqCst));
                Err(Error::interrupted())
            }
        }
    }
}

pub type CellResult = std::result::Result<Option<MimeBundle>, CellError>;

pub struct Stage {
    pub evaluator: RustEvaluator,
    pub cwd: tempfile::TempDir,
}

impl Stage {
    pub fn new() -> Self {
        Self::with_cache(None)
    }

    /// With a cache of its own.
    pub fn with_cache(cache: Option<&Path>) -> Self {
        let cwd = tempfile::tempdir().unwrap();
        let exe = std::env::current_exe().unwrap();
        let options = EvalOptions { cache: cache.map(Path::to_owned), ..EvalOptions::new(cwd.path()) };
        let evaluator = RustEvaluator::start(&exe, options).unwrap();
        Self { evaluator, cwd }
    }

    pub fn cx(&self) -> Cx {
        Cx::silent(self.cwd.path())
    }

    pub fn run(&mut self, code: &str) -> (CellResult, Arc<Record>) {
        self.run_with(code, Record::default())
    }

    pub fn run_with(&mut self, code: &str, record: Record) -> (CellResult, Arc<Record>) {
        let record = Arc::new(record);
        let sink: Arc<dyn CellSink> = record.clone();
        let cx = self.cx();
        (self.evaluator.execute(code, &sink, &cx), record)
    }

    /// Runs a cell that must succeed and returns its value as text.
    #[track_caller]
    pub fn value(&mut self, code: &str) -> String {
        match self.run(code).0 {
            Ok(value) => value.map(|bundle| bundle.plain().to_owned()).unwrap_or_default(),
            Err(error) => panic!("{code:?} failed: {}", error.traceback.join("\n")),
        }
    }

    /// Runs a cell that must fail.
    #[track_caller]
    pub fn error(&mut self, code: &str) -> CellError {
        match self.run(code).0 {
            Ok(value) => panic!("{code:?} gave {value:?}"),
            Err(error) => error,
        }
    }

    /// Runs a cell and interrupts it once it has printed `sign`.
    pub fn interrupt_at(&mut self, code: &str, sign: &str) -> (CellResult, Duration) {
        let record = Arc::new(Record::default());
        let sink: Arc<dyn CellSink> = record.clone();
        let cx = self.cx();
        let interrupter = self.evaluator.interrupter();
        let sign = sign.to_owned();
        let other = std::thread::spawn(move || {
            record.wait_for_out(&sign);
            let at = Instant::now();
            interrupter.interrupt();
            at
        });
        let result = self.evaluator.execute(code, &sink, &cx);
        let ended = Instant::now();
        (result, ended - other.join().unwrap())
    }

    /// The session's private folder.
    pub fn folder(&mut self) -> PathBuf {
        self.value(":last_compile_dir").into()
    }
}

/// Waits until `done`, which the system may need a moment for.
#[track_caller]
pub fn eventually(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

pub fn plain(lines: &[String]) -> String {
    let mut out = String::new();
    let text = lines.join("\n");
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            for c in chars.by_ref() {
                if c == 'm' {
                    break;
                }
            }
        } else {
            out.push(c);
        }
    }
    out
}
