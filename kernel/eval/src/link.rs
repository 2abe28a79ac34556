//! The kernel's end of the control socket: a thread that takes the child's frames and hands a
//! cell's output on while the cell runs, and the record of what happened in it.
//!
//! Survives restarts of the child: both ends stay open here, the child only borrows its own.

mod comms;
mod messages;
mod questions;

use crate::frames::{Death, FromChild, MAX_PAYLOAD, Panic, ToChild};
use crate::output::{CellOutput, Decoder};
use crate::socket;
use dds::wire::Assembler;
use dds_core::MimeBundle;
use dds_core::eval::{CellSink, CommDoor, CommMessage, RunTime, Stream};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long the child may take to answer a question between cells.
const ANSWER: Duration = Duration::from_secs(5);
/// How long the child may take to make room for a frame. It does nothing else but take them.
const ROOM: Duration = Duration::from_secs(1);

/// What the child reported about the cell that ran.
#[derive(Default)]
pub(crate) struct Report {
    pub output: CellOutput,
    /// The last panic on the thread that runs cells.
    pub panic: Option<Panic>,
    /// The cell's code ended in a panic (and did not catch it itself).
    pub panicked: bool,
    pub early_return: bool,
    pub death: Option<Death>,
    /// The end of what was written to standard error.
    pub stderr_tail: String,
}

/// Puts a panic on a thread of the user's into words.
pub(crate) type TellPanic = Box<dyn Fn(&Panic) -> String + Send>;

#[derive(Default)]
struct State {
    tell_panic: Option<TellPanic>,
    sink: Option<Arc<dyn CellSink>>,
    /// Between [`Link::begin`] and [`Link::end`].
    cell_runs: bool,
    report: Report,
    stdout: Decoder,
    stderr: Decoder,
    sync_asked: u64,
    synced: u64,
    cwd_answer: Option<i32>,
    cwd: PathBuf,
    checkpoints: bool,
    /// A message of the runtime of which more is to come.
    message: Assembler,
    comms: comms::Comms,
    questions: questions::Questions,
    env_answer: Option<i32>,
    /// What was set and removed in the environment, for the next child.
    env: BTreeMap<String, Option<String>>,
    ran: RunTime,
    remove_at_end: Option<PathBuf>,
    /// How many children have been started.
    children: u64,
    /// Frames taken so far: while it grows, the child is alive.
    frames: u64,
    /// The reader is handing output on, which may take as long as the front end takes.
    handing_on: bool,
}

struct Shared {
    ours: OwnedFd,
    /// Held while the pieces of one message go out.
    sending: Mutex<()>,
    state: Mutex<State>,
    changed: Condvar,
}

/// The control socket of one session.
pub(crate) struct Link {
    shared: Arc<Shared>,
    /// Held for every child that is started.
    theirs: OwnedFd,
    reader: Option<JoinHandle<()>>,
}

impl Link {
    pub(crate) fn open(cwd: &Path) -> io::Result<Self> {
        let (ours, theirs) = socket::pair()?;
        let state = State { cwd: cwd.to_owned(), checkpoints: true, ..State::default() };
        let shared =
            Shared { ours, sending: Mutex::default(), state: Mutex::new(state), changed: Condvar::new() };
        let shared = Arc::new(shared);
        let reader = std::thread::Builder::new().name("cell output".into()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.read()
        })?;
        Ok(Self { shared, theirs, reader: Some(reader) })
    }

    /// The number of the descriptor that the child inherits.
    pub(crate) fn child_end(&self) -> RawFd {
        self.theirs.as_raw_fd()
    }

    pub(crate) fn tell(&self, frame: &ToChild) {
        self.shared.tell(frame);
    }

    /// A cell begins: its output goes to `sink`, or nowhere.
    pub(crate) fn begin(&self, sink: Option<Arc<dyn CellSink>>) {
        let mut state = self.shared.lock();
        state.sink = sink;
        state.cell_runs = true;
        state.questions.line.clear();
        state.report = Report::default();
        drop(state);
        self.tell(&ToChild::Begin);
    }

    /// Where the output of the running cell goes.
    pub(crate) fn sink(&self) -> Option<Arc<dyn CellSink>> {
        self.shared.lock().sink.clone()
    }

    /// How panics of threads are told from now on. Called with a lock of the link held.
    pub(crate) fn tell_panics(&self, tell: TellPanic) {
        self.shared.lock().tell_panic = Some(tell);
    }

    /// A cell has ended: waits for the rest of its output and returns what happened. Threads that
    /// the cell left running keep printing to its sink.
    pub(crate) fn end(&self) -> Report {
        let number = {
            let mut state = self.shared.lock();
            state.sync_asked += 1;
            state.sync_asked
        };
        self.tell(&ToChild::Sync(number));
        let mut state = self.shared.wait(|state| state.synced >= number);
        let sink = state.sink.clone();
        let rests = [(Stream::Stdout, state.stdout.finish()), (Stream::Stderr, state.stderr.finish())];
        let report = std::mem::take(&mut state.report);
        state.cell_runs = false;
        drop(state);
        if let Some(sink) = sink {
            for (stream, rest) in rests {
                if !rest.is_empty() {
                    sink.stream(stream, &rest);
                }
            }
        }
        report
    }

    /// Changes the folder of the process that runs cells; an errno on refusal.
    pub(crate) fn set_cwd(&self, folder: &Path) -> io::Result<()> {
        self.shared.lock().cwd_answer = None;
        self.tell(&ToChild::Chdir(folder.to_owned()));
        let mut state = self.shared.wait(|state| state.cwd_answer.is_some());
        match state.cwd_answer {
            Some(0) => {
                state.cwd = folder.to_owned();
                Ok(())
            }
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None => Err(io::Error::new(io::ErrorKind::TimedOut, "the evaluation process does not answer")),
        }
    }

    /// Whether the child keeps copies of the variables.
    pub(crate) fn set_checkpoints(&self, on: bool) {
        self.shared.lock().checkpoints = on;
        self.tell(&ToChild::Checkpoints(on));
    }

    /// The way of comm messages into the cells.
    pub(crate) fn comms(&self) -> Arc<dyn CommDoor> {
        Arc::clone(&self.shared) as Arc<dyn CommDoor>
    }

    /// Whether a callback of the page's is running.
    pub(crate) fn in_callback(&self) -> bool {
        self.shared.lock().comms.is_handling()
    }

    /// Sets or removes a variable of the process that runs cells; an errno on refusal.
    pub(crate) fn set_env(&self, name: &str, value: Option<&str>) -> io::Result<()> {
        self.shared.lock().env_answer = None;
        self.remember_env(name, value);
        match self.shared.wait(|state| state.env_answer.is_some()).env_answer {
            Some(0) => Ok(()),
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None => Err(io::Error::new(io::ErrorKind::TimedOut, "the evaluation process does not answer")),
        }
    }

    /// For a child that is still starting, or not even that.
    pub(crate) fn remember_env(&self, name: &str, value: Option<&str>) {
        let value = value.map(str::to_owned);
        self.shared.lock().env.insert(name.to_owned(), value.clone());
        self.tell(&ToChild::SetEnv(name.to_owned(), value));
    }

    /// How long cells have run since this was last asked.
    pub(crate) fn take_run_time(&self) -> RunTime {
        std::mem::take(&mut self.shared.lock().ran)
    }

    /// Which child is running, counted from 1.
    pub(crate) fn child_number(&self) -> u64 {
        self.shared.lock().children
    }

    pub(crate) fn cwd(&self) -> PathBuf {
        self.shared.lock().cwd.clone()
    }

    /// For a child that is still starting, or not even that: its cells will run there.
    pub(crate) fn remember_cwd(&self, folder: &Path) {
        self.shared.lock().cwd = folder.to_owned();
        self.tell(&ToChild::Chdir(folder.to_owned()));
    }

    /// Has the child remove `folder` when the kernel is gone without having done so.
    pub(crate) fn remove_at_end(&self, folder: &Path) {
        self.shared.lock().remove_at_end = Some(folder.to_owned());
        self.tell(&ToChild::RemoveAtEnd(folder.to_owned()));
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        socket::shutdown(self.shared.ours.as_fd());
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, done: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        let (mut deadline, mut frames) = (Instant::now() + ANSWER, state.frames);
        while !done(&state) {
            if state.handing_on || state.frames != frames {
                (deadline, frames) = (Instant::now() + ANSWER, state.frames);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                tracing::warn!("the evaluation process does not answer");
                break;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }

    fn tell(&self, frame: &ToChild) {
        if let Err(error) = socket::send_within(self.ours.as_fd(), &frame.encode(), ROOM) {
            tracing::debug!("the evaluation process does not listen: {error}");
        }
    }

    fn read(self: &Arc<Self>) {
        let mut buffer = vec![0; MAX_PAYLOAD * 2];
        while let Ok(frame @ [_, ..]) = socket::recv(self.ours.as_fd(), &mut buffer) {
            match FromChild::decode(frame) {
                Some(frame) => {
                    let shows = self.take(frame);
                    if !shows.is_empty() {
                        self.hand_on(shows);
                    }
                }
                None => tracing::warn!("a frame of the evaluation process is not understood"),
            }
        }
    }

    fn hand_on(&self, shows: Vec<Shown>) {
        self.lock().handing_on = true;
        for (sink, show) in shows {
            match show {
                Show::Text(stream, text) if !text.is_empty() => sink.stream(stream, &text),
                Show::Text(..) => {}
                Show::Bundle(bundle) => sink.display(&bundle),
                Show::WithId { bundle, id, update } => sink.display_with_id(&bundle, &id, update),
                Show::Clear { wait } => sink.clear_output(wait),
                Show::Comm(message) => sink.comm(&message),
            }
        }
        self.lock().handing_on = false;
        self.changed.notify_all();
    }

    /// Takes note of a frame; returns what is to be shown, and where.
    fn take(self: &Arc<Self>, frame: FromChild) -> Vec<Shown> {
        let mut state = self.lock();
        let mut out = Out::default();
        match frame {
            FromChild::Message(flags, piece) => {
                if let Some(message) = state.message.add(flags, &piece) {
                    self.message(&mut state, &message, &mut out);
                }
            }
            FromChild::Ask(question) => self.ask(&mut state, question),
            FromChild::Death(death) => {
                if !state.cell_runs {
                    let text = crate::report::callback_death(&death);
                    out.push(state.printed_to(), Show::Text(Stream::Stderr, text));
                }
                state.message = Assembler::default();
                state.comms.forget_deliveries();
                state.report.death = Some(death);
            }
            FromChild::EnvSet(errno) => state.env_answer = Some(errno),
            FromChild::Ran { wall, cpu } => {
                state.ran.wall = state.ran.wall.saturating_add(Duration::from_nanos(wall));
                state.ran.cpu = state.ran.cpu.saturating_add(Duration::from_nanos(cpu));
            }
            FromChild::Hello => {
                state.children += 1;
                (state.stdout, state.stderr) = Default::default();
                let sink = state.sink.clone();
                state.comms.close_all(sink.as_ref(), &mut out);
                self.tell(&ToChild::Chdir(state.cwd.clone()));
                self.tell(&ToChild::Checkpoints(state.checkpoints));
                for (name, value) in &state.env {
                    self.tell(&ToChild::SetEnv(name.clone(), value.clone()));
                }
                if let Some(folder) = state.remove_at_end.clone() {
                    self.tell(&ToChild::RemoveAtEnd(folder));
                }
            }
            other => state.printed(other, &mut out),
        }
        state.frames += 1;
        self.changed.notify_all();
        out.0
    }
}

impl State {
    /// What was printed, and what is known of the cell from it.
    fn printed(&mut self, frame: FromChild, out: &mut Out) {
        let sink = self.printed_to();
        let State { report, stdout, stderr, questions, .. } = self;
        match frame {
            FromChild::Stdout(bytes) => {
                out.extend(&sink, report.output.text_comes().map(Show::Bundle));
                let text = stdout.decode(&bytes);
                questions.printed(&text);
                out.push(sink, Show::Text(Stream::Stdout, text));
            }
            FromChild::Stderr(bytes) => {
                let text = stderr.decode(&bytes);
                keep_tail(&mut report.stderr_tail, &text);
                out.push(sink, Show::Text(Stream::Stderr, text));
            }
            FromChild::ContentBegin(mime) => out.extend(&sink, report.output.begin(mime).map(Show::Bundle)),
            FromChild::ContentData(bytes) => report.output.data(&bytes),
            FromChild::ContentEnd => {
                report.output.end();
                if !self.cell_runs {
                    // No end of a cell will ask for it.
                    out.extend(&sink, self.report.output.text_comes().map(Show::Bundle));
                }
            }
            FromChild::Panic(panic) if panic.main => report.panic = Some(panic),
            FromChild::Panic(panic) => {
                let told = self.tell_panic.as_ref().map(|tell| tell(&panic)).unwrap_or_default();
                out.push(sink, Show::Text(Stream::Stderr, told));
            }
            FromChild::Panicked => report.panicked = true,
            FromChild::EarlyReturn => report.early_return = true,
            FromChild::Synced(number) => self.synced = number,
            FromChild::Cwd(errno) => self.cwd_answer = Some(errno),
            FromChild::Death(_)
            | FromChild::Hello
            | FromChild::Message(..)
            | FromChild::Ask(_)
            | FromChild::EnvSet(_)
            | FromChild::Ran { .. } => {}
        }
    }

    /// Where printed text goes: while no cell runs, to whom the running callback answers.
    fn printed_to(&self) -> Option<Arc<dyn CellSink>> {
        let callback = self.comms.handling_sink().filter(|_| !self.cell_runs);
        callback.or_else(|| self.sink.clone())
    }
}

/// Something to show, and where.
type Shown = (Arc<dyn CellSink>, Show);

#[derive(Default)]
struct Out(Vec<Shown>);

impl Out {
    fn push(&mut self, sink: Option<Arc<dyn CellSink>>, show: Show) {
        self.0.extend(sink.map(|sink| (sink, show)));
    }

    fn extend(&mut self, sink: &Option<Arc<dyn CellSink>>, show: Option<Show>) {
        if let Some(show) = show {
            self.push(sink.clone(), show);
        }
    }
}

enum Show {
    Text(Stream, String),
    Bundle(MimeBundle),
    WithId { bundle: MimeBundle, id: String, update: bool },
    Clear { wait: bool },
    Comm(CommMessage),
}

/// Most of standard error that is kept for an error message, in bytes.
const TAIL: usize = 4096;

fn keep_tail(tail: &mut String, text: &str) {
    tail.push_str(text);
    if tail.len() > 2 * TAIL {
        let cut = tail.len() - TAIL;
        let cut = (cut..tail.len()).find(|at| tail.is_char_boundary(*at)).unwrap_or(tail.len());
        tail.drain(..cut);
    }
}
