//! The evaluator that the kernel uses: starts in the background, runs cells part by part, and can
//! be interrupted from another thread.

use crate::engine::Engine;
use crate::frames::ToChild;
use crate::known::Knowledge;
use crate::link::Link;
use crate::repositories::{Repositories, Service};
use crate::{builds, cell, report};
use dds_core::eval::{CellError, CellSink, CommDoor, Completions, Evaluator, Interrupter, Known, RunTime};
use dds_core::{Cx, Error, Kind, MimeBundle, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often waiting for the start looks whether the user has interrupted.
const POLL: Duration = Duration::from_millis(50);
/// Most bytes of a variable's name and value together; they travel in one frame.
const MAX_VARIABLE: usize = 12 * 1024;

/// How the evaluator starts.
#[derive(Clone, Debug)]
pub struct EvalOptions {
    /// Working folder of the cells; must exist.
    pub cwd: PathBuf,
    /// Optimisation level of cells (`0` to `3`, `s`, `z`) until `:opt` says otherwise.
    pub opt_level: String,
    /// Where compiled cells and dependencies are kept; without it as the process was told by
    /// [`stand_between`](crate::stand_between).
    pub cache: Option<PathBuf>,
    /// Whether variables are kept through interrupts and crashes, until `:checkpoint` says
    /// otherwise. Costs a copy of the memory that a cell writes to.
    pub checkpoints: bool,
    /// What cells reach through the crate `dds`, and where they ask for it.
    pub repositories: Option<Repositories>,
}

impl EvalOptions {
    /// Cells in `cwd`, compiled fast (level 0).
    pub fn new(cwd: impl Into<PathBuf>) -> Self {
        Self {
            cwd: cwd.into(),
            opt_level: "0".to_owned(),
            cache: None,
            checkpoints: true,
            repositories: None,
        }
    }
}

/// Rust cells, in a child process that survives interrupts, panics and crashes with its variables.
///
/// Each evaluator has a private folder in the system's temporary folder, which is removed when it
/// is dropped, or by the child when the kernel dies without having done so.
pub struct RustEvaluator {
    exe: PathBuf,
    options: EvalOptions,
    link: Arc<Link>,
    stopper: Arc<Stopper>,
    engine: Option<Engine>,
    starting: Option<Receiver<Result<Engine>>>,
    /// A cell waits for the start.
    wanted: Arc<AtomicBool>,
    known: Arc<Knowledge>,
    /// Number of the last cell.
    cells: u64,
    /// Answers cells about repositories.
    _service: Option<Service>,
}

impl RustEvaluator {
    /// Begins to start the child, with `exe` as its program, on a thread of its own, and returns
    /// at once. The first cell waits for it.
    ///
    /// # Errors
    /// When the working folder does not exist, or the system gives no sockets or threads. A missing
    /// toolchain is reported by the first cell, so that a kernel works without one.
    pub fn start(exe: &Path, options: EvalOptions) -> Result<Self> {
        if !options.cwd.is_dir() {
            let message = format!("{}: not a folder", options.cwd.display());
            return Err(Error::not_found(message));
        }
        let link = Link::open(&options.cwd).map_err(|error| Error::io("control socket", &error))?;
        let link = Arc::new(link);
        link.set_checkpoints(options.checkpoints);
        let cell = Arc::new(RunningCell::default());
        let stopper = Arc::new(Stopper { link: Arc::clone(&link), cell });
        let service =
            options.repositories.as_ref().and_then(|repositories| match Service::start(repositories) {
                Ok(service) => Some(service),
                Err(error) => {
                    tracing::warn!("cells cannot ask for repositories: {error}");
                    None
                }
            });
        if let Some(path) = service.as_ref().and_then(|service| service.socket().to_str()) {
            link.remember_env(dds::repo::wire::SOCKET_VAR, Some(path));
        }
        let mut evaluator = Self {
            exe: exe.to_owned(),
            options,
            link,
            stopper,
            engine: None,
            starting: None,
            wanted: Arc::default(),
            known: Arc::default(),
            cells: 0,
            _service: service,
        };
        evaluator.begin_start()?;
        Ok(evaluator)
    }

    /// Waits until the child is up and has compiled its first cells. Calling it is never needed;
    /// it takes seconds out of the first cell where there is time before it.
    pub fn prewarm(&mut self) {
        if let Ok(engine) = self.engine(&|| false) {
            engine.warm_up();
            engine.warm_analysis();
        }
    }

    fn begin_start(&mut self) -> Result<()> {
        let (sender, receiver) = channel();
        let (exe, options) = (self.exe.clone(), self.options.clone());
        let (link, wanted) = (Arc::clone(&self.link), Arc::clone(&self.wanted));
        std::thread::Builder::new()
            .name("evaluator start".into())
            .spawn(move || {
                let engine = catch_unwind(AssertUnwindSafe(|| {
                    let mut engine = Engine::create(&exe, &options, link)?;
                    engine.warm_up();
                    if !wanted.load(Ordering::SeqCst) {
                        engine.warm_analysis();
                    }
                    Ok(engine)
                }));
                let gone = || Err(Error::internal("the evaluator failed while it started"));
                // The evaluator may be gone already; then the engine ends here.
                let _ = sender.send(engine.unwrap_or_else(|_| gone()));
            })
            .map_err(|error| Error::internal(format!("no thread can be started: {error}")))?;
        self.starting = Some(receiver);
        Ok(())
    }

    /// The engine, when it is up. Waits for it, and starts it anew if the last attempt failed.
    fn engine(&mut self, interrupted: &dyn Fn() -> bool) -> Result<&mut Engine> {
        while self.engine.is_none() {
            if self.starting.is_none() {
                self.begin_start()?;
            }
            let Some(starting) = &self.starting else { continue };
            match starting.recv_timeout(POLL) {
                Ok(result) => {
                    self.starting = None;
                    self.engine = Some(result?);
                }
                Err(RecvTimeoutError::Timeout) if interrupted() => return Err(Error::interrupted()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.starting = None,
            }
        }
        match &mut self.engine {
            Some(engine) => {
                self.stopper.cell.lock().folder = Some(engine.folder.clone());
                Ok(engine)
            }
            None => Err(Error::internal("the evaluator did not start")),
        }
    }

    /// The engine if it is up, without waiting.
    fn ready_engine(&mut self) -> Option<&mut Engine> {
        if let Some(Ok(Ok(engine))) = self.starting.as_ref().map(Receiver::try_recv) {
            self.starting = None;
            self.engine = Some(engine);
        }
        self.engine.as_mut()
    }

    /// Runs `work` with the engine; a panic inside the compiler's libraries costs the session, not
    /// the kernel.
    fn guarded<T>(
        &mut self,
        cx: &Cx,
        work: impl FnOnce(&mut Engine, &dyn Fn() -> bool) -> Result<T, CellError>,
    ) -> Result<T, CellError> {
        let cell = Arc::clone(&self.stopper.cell);
        let cancel = cx.cancel.clone();
        let interrupted = move || cell.interrupted.load(Ordering::SeqCst) || cancel.is_cancelled();
        let _running = RunningCell::begin(&self.stopper.cell);
        if cx.cancel.is_cancelled() {
            return Err(report::interrupted(true));
        }
        self.wanted.store(true, Ordering::SeqCst);
        let engine = self.engine(&interrupted).map_err(report::cell_error)?;
        let result = catch_unwind(AssertUnwindSafe(|| work(engine, &interrupted)));
        result.unwrap_or_else(|_| {
            self.engine = None;
            Err(report::cell_error(
                Error::internal("the compiler's analysis failed on this cell")
                    .hint("The evaluator starts anew, without variables. Write the cell in another way."),
            ))
        })
    }
}

impl Evaluator for RustEvaluator {
    fn execute(
        &mut self,
        code: &str,
        sink: &Arc<dyn CellSink>,
        cx: &Cx,
    ) -> Result<Option<MimeBundle>, CellError> {
        let parts = cell::parts(code, &self.link.cwd()).map_err(report::cell_error)?;
        if parts.is_empty() {
            return Ok(None);
        }
        self.cells = sink.cell().unwrap_or(self.cells + 1);
        let source = report::Source::new(format!("cell [{}]", self.cells), code);
        let result = self.guarded(cx, |engine, interrupted| {
            let mut value: Option<MimeBundle> = None;
            for part in &parts {
                if interrupted() {
                    return Err(report::interrupted(true));
                }
                let done = engine.execute(part, &source, sink, interrupted)?;
                if let Some(shown) = &done.shown {
                    sink.display(shown);
                }
                // Only what comes last is the cell's value; what came before it is shown.
                for next in [done.directive_text, done.value].into_iter().flatten() {
                    if let Some(before) = value.replace(next) {
                        sink.display(&before);
                    }
                }
            }
            Ok(value)
        });
        if result.is_ok() {
            self.known.learn(code);
        }
        match &self.engine {
            Some(engine) => self.known.set_variables(engine.variables()),
            None => self.known.set_variables(std::iter::empty()),
        }
        result
    }

    fn complete(&mut self, code: &str, cursor: usize) -> Completions {
        if let Some(found) = self.known.members(code, cursor) {
            return found;
        }
        let Some(engine) = self.ready_engine() else { return self.known.complete(code, cursor) };
        let found = catch_unwind(AssertUnwindSafe(|| engine.complete(code, cursor))).unwrap_or_default();
        if found.items.is_empty() {
            return self.known.complete(code, cursor);
        }
        self.known.remember_completions(code, cursor, &found);
        found
    }

    fn inspect(&mut self, code: &str, cursor: usize) -> Option<MimeBundle> {
        let Some(engine) = self.ready_engine() else { return self.known.inspect(code, cursor) };
        let found = catch_unwind(AssertUnwindSafe(|| engine.inspect(code, cursor))).ok().flatten();
        match found {
            Some(found) => {
                self.known.remember_inspection(code, cursor, &found);
                Some(found)
            }
            None => self.known.inspect(code, cursor),
        }
    }

    fn known(&self) -> Option<Arc<dyn Known>> {
        Some(Arc::clone(&self.known) as Arc<dyn Known>)
    }

    fn idle(&mut self) -> bool {
        let Some(wanted) = self.known.wanted() else { return false };
        // Only when the analysis is loaded: loading it takes seconds, in which no cell could run.
        let Some(engine) = self.ready_engine().filter(|engine| engine.analysis_is_warm()) else {
            return false;
        };
        let at = wanted.code.chars().count();
        let found = catch_unwind(AssertUnwindSafe(|| engine.complete(&wanted.code, at))).unwrap_or_default();
        self.known.provide(wanted, &found);
        true
    }

    fn display_text(&mut self, expr: &str, quoted: &str, cx: &Cx) -> Result<String, CellError> {
        if expr.trim().is_empty() {
            return Err(report::cell_error(Error::usage("`{}` holds no expression")));
        }
        self.guarded(cx, |engine, interrupted| engine.text_of(expr.trim(), quoted.trim(), interrupted))
    }

    fn comms(&self) -> Option<Arc<dyn CommDoor>> {
        Some(self.link.comms())
    }

    fn interrupter(&self) -> Arc<dyn Interrupter> {
        Arc::clone(&self.stopper) as Arc<dyn Interrupter>
    }

    fn set_cwd(&mut self, dir: &Path) -> Result<(), CellError> {
        if !dir.is_dir() {
            return Err(report::cell_error(Error::not_found(format!("{}: not a folder", dir.display()))));
        }
        if self.ready_engine().is_some() {
            self.link.set_cwd(dir).map_err(|error| report::cell_error(Error::io(dir, &error)))
        } else {
            self.link.remember_cwd(dir);
            Ok(())
        }
    }

    fn set_env(&mut self, name: &str, value: Option<&str>) -> Result<(), CellError> {
        let size = name.len() + value.map_or(0, str::len);
        let refused =
            if name.is_empty() || name.contains(['=', '\0']) || value.is_some_and(|v| v.contains('\0')) {
                Some(Error::usage(format!("{name:?} cannot be set: no name, or a NUL")))
            } else if size > MAX_VARIABLE {
                Some(Error::new(
                    Kind::Limit,
                    format!("{name}: {size} bytes; a variable has at most {MAX_VARIABLE}"),
                ))
            } else {
                None
            };
        if let Some(error) = refused {
            return Err(report::cell_error(error));
        }
        if self.ready_engine().is_some() {
            self.link.set_env(name, value).map_err(|error| report::cell_error(Error::io(name, &error)))
        } else {
            self.link.remember_env(name, value);
            Ok(())
        }
    }

    fn take_run_time(&mut self) -> Option<RunTime> {
        Some(self.link.take_run_time())
    }
}

/// Stops the running cell, whether it is being compiled or runs.
struct Stopper {
    link: Arc<Link>,
    cell: Arc<RunningCell>,
}

/// What is known of the running cell from other threads.
#[derive(Default)]
struct RunningCell {
    interrupted: AtomicBool,
    state: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    running: bool,
    /// A thread is stopping compilers.
    chased: bool,
    /// Where the compiler runs.
    folder: Option<PathBuf>,
}

impl RunningCell {
    fn lock(&self) -> MutexGuard<'_, Running> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(this: &Arc<Self>) -> CellEnd {
        this.interrupted.store(false, Ordering::SeqCst);
        this.lock().running = true;
        CellEnd(Arc::clone(this))
    }

    /// Stops the compiler of the interrupted cell, and those that evcxr starts after it for
    /// another attempt, until the cell has ended.
    fn chase(&self) {
        loop {
            let folder = {
                let mut state = self.lock();
                if !state.running || !self.interrupted.load(Ordering::SeqCst) {
                    state.chased = false;
                    return;
                }
                state.folder.clone()
            };
            if let Some(folder) = folder {
                builds::stop(&folder);
            }
            std::thread::sleep(POLL);
        }
    }
}

/// The running cell ends when this is dropped.
struct CellEnd(Arc<RunningCell>);

impl Drop for CellEnd {
    fn drop(&mut self) {
        self.0.lock().running = false;
    }
}

impl Interrupter for Stopper {
    fn interrupt(&self) {
        let mut state = self.cell.lock();
        if !state.running {
            if self.link.in_callback() {
                self.link.tell(&ToChild::Interrupt);
            }
            return;
        }
        self.cell.interrupted.store(true, Ordering::SeqCst);
        self.link.tell(&ToChild::Interrupt);
        if !std::mem::replace(&mut state.chased, true) {
            drop(state);
            let cell = Arc::clone(&self.cell);
            let chaser = std::thread::Builder::new().name("interrupt".into()).spawn(move || cell.chase());
            if let Err(error) = chaser {
                tracing::warn!("no thread can be started, so the compiler is not stopped: {error}");
                self.cell.lock().chased = false;
            }
        }
    }
}
