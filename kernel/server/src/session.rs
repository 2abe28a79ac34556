//! One notebook's session: engines, evaluator, forms and working folder behind the kernel's message
//! loop.
//!
//! Commands never wait for the evaluator, which starts on a thread of its own; Rust cells do.
//! Several cells may run at once (subshells), with forms beside them; the evaluator serves one at a
//! time. Does no messaging.

mod cell_data;
mod env;
mod evaluator;
mod exec;
mod files;
mod forms;
mod notes;
mod output;
mod progress;
mod run;
mod rust_only;
mod shell;
mod surroundings;
mod time;
pub mod wiring;

pub use evaluator::MakeEvaluator;
pub(crate) use exec::exec;
pub use notes::Notes;
pub(crate) use output::text_bundle;
pub use output::{MAX_RESULT_BYTES, cell_error};
pub(crate) use progress::described as progress_text;

use crate::kernel::host::{CommSender, Host, IsComplete};
use dds_core::engine::{DataEngine, Engines, LearnEngine, MountEngine, SessionEngine};
use dds_core::eval::{CellError, CellSink, CommDoor, Completions, Evaluator};
use dds_core::form::FORM_COMM;
use dds_core::lex::{Completeness, is_complete};
use dds_core::{Cancel, Config, Cx, Error, Kind, MimeBundle, Outcome, Result, request as rq};
use env::Environment;
use evaluator::Rust;
use forms::Forms;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// What a session runs its commands with.
pub struct Services {
    pub data: Arc<dyn DataEngine>,
    pub mount: Arc<dyn MountEngine>,
    pub learn: Arc<dyn LearnEngine>,
    /// Called after an upload: mounts of that repository show the new files.
    pub uploaded: AfterUpload,
    /// Where engines tell what happens beside commands.
    pub notes: Arc<Notes>,
    /// Hands the engines new settings, for what they open from now on.
    pub reconfigure: Box<dyn Fn(Arc<Config>) + Send + Sync>,
    /// Unmounts everything; called once.
    pub close: Box<dyn Fn() + Send + Sync>,
}

impl Services {
    /// The engines of a session.
    pub(crate) fn engines<'a>(&'a self, session: &'a dyn SessionEngine) -> Engines<'a> {
        Engines { data: &*self.data, mount: &*self.mount, learn: &*self.learn, session }
    }
}

/// Makes mounts show what was just uploaded.
pub type AfterUpload = Box<dyn Fn(&rq::Upload, &Cx) -> Result<()> + Send + Sync>;

/// Where a session lives.
pub struct Place {
    pub config: Arc<Config>,
    /// The working folder at the start; absolute.
    pub cwd: PathBuf,
    /// The folder of this visitor's uploads, in a published app.
    pub uploads: Option<PathBuf>,
}

/// A session; see the module.
pub struct Session {
    services: Services,
    place: Place,
    cwd: RwLock<PathBuf>,
    /// The settings of the moment: those of the start, and what `env` has changed.
    config: RwLock<Arc<Config>>,
    environment: Environment,
    rust: Rust,
    forms: Forms,
    /// The cancel flags of everything that runs now.
    running: Mutex<Vec<Cancel>>,
    /// Set for good when the session ends.
    closed: Cancel,
}

impl Session {
    /// A session whose evaluator begins to start at once, in the background.
    pub fn new(services: Services, place: Place, make: MakeEvaluator) -> Result<Arc<Self>> {
        let rust = Rust::start(make)?;
        Ok(Arc::new(Self {
            cwd: RwLock::new(place.cwd.clone()),
            config: RwLock::new(place.config.clone()),
            environment: Environment::default(),
            services,
            place,
            rust,
            forms: Forms::default(),
            running: Mutex::default(),
            closed: Cancel::default(),
        }))
    }

    fn engines(&self) -> Engines<'_> {
        self.services.engines(self)
    }

    fn cwd(&self) -> PathBuf {
        self.cwd.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn config(&self) -> Arc<Config> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Uses the evaluator, in `cx.cwd` and with the session's variables.
    fn with_rust<T>(
        &self,
        cx: &Cx,
        work: impl FnOnce(&mut dyn Evaluator) -> Result<T, CellError>,
    ) -> Result<T, CellError> {
        self.rust.with(cx, |evaluator| {
            let untold = self.environment.untold();
            for (name, value) in &untold {
                evaluator.set_env(name, value.as_deref())?;
            }
            self.environment.told(&untold);
            work(evaluator)
        })
    }

    fn running(&self) -> MutexGuard<'_, Vec<Cancel>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A cancel flag that [`Host::interrupt`] sets until the guard is dropped.
    fn interruptible(&self) -> Running<'_> {
        let cancel = Cancel::default();
        if self.closed.is_cancelled() {
            cancel.cancel();
        }
        self.running().push(cancel.clone());
        Running { session: self, cancel }
    }
}

/// Something that an interrupt stops.
struct Running<'a> {
    session: &'a Session,
    cancel: Cancel,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // Flags are shared, so identity is found by setting this one: it ends here in any case.
        self.cancel.cancel();
        self.session.running().retain(|c| !c.is_cancelled());
    }
}

impl Host for Session {
    fn run_cell(&self, code: &str, sink: &Arc<dyn CellSink>) -> Result<Option<MimeBundle>, CellError> {
        let running = self.interruptible();
        let _notes = self.services.notes.lead_to(sink);
        run::cell(self, code, sink, &running.cancel)
    }

    fn interrupt(&self) {
        for cancel in self.running().iter() {
            cancel.cancel();
        }
        self.rust.interrupt();
    }

    fn complete(&self, code: &str, cursor: usize) -> Completions {
        let around = surroundings::OnDisk {
            cwd: self.cwd(),
            home: self.environment.var("HOME").map(PathBuf::from),
            programs: self.environment.var("PATH"),
            learn: &*self.services.learn,
        };
        dds_cmd::complete(code, cursor, &around).unwrap_or_else(|| {
            let code = rust_only::rust_only(code);
            let found =
                self.rust.ask(|rust| rust.complete(&code, cursor), |known| known.complete(&code, cursor));
            found.unwrap_or(Completions { start: cursor, end: cursor, items: Vec::new() })
        })
    }

    fn inspect(&self, code: &str, cursor: usize) -> Option<MimeBundle> {
        dds_cmd::inspect(code, cursor).or_else(|| {
            let code = rust_only::rust_only(code);
            self.rust.ask(|rust| rust.inspect(&code, cursor), |known| known.inspect(&code, cursor)).flatten()
        })
    }

    fn is_complete(&self, code: &str) -> IsComplete {
        match is_complete(code) {
            Completeness::Complete => IsComplete::Complete,
            Completeness::Incomplete { indent } => IsComplete::Incomplete(" ".repeat(indent)),
            Completeness::Invalid => IsComplete::Invalid,
        }
    }

    fn comm_targets(&self) -> Vec<String> {
        vec![FORM_COMM.to_owned()]
    }

    fn cell_comms(&self) -> Option<Arc<dyn CommDoor>> {
        self.rust.comms()
    }

    fn comm_message(&self, target: &str, data: &Value, _buffers: &[Vec<u8>], reply: &Arc<dyn CommSender>) {
        // What opens the comm is no submission.
        if target != FORM_COMM || data.as_object().is_none_or(serde_json::Map::is_empty) {
            return;
        }
        let answer = forms::answer(self, data);
        reply.send(serde_json::to_value(answer).unwrap_or_default(), Vec::new());
    }

    fn shutdown(&self) {
        self.closed.cancel();
        self.interrupt();
        self.rust.stop();
        (self.services.close)();
    }
}

impl SessionEngine for Session {
    fn form(&self, r: &rq::FormCell, _cx: &Cx) -> Result<Outcome> {
        self.forms.declare(r)
    }

    fn cd(&self, dir: &str, cx: &Cx) -> Result<Outcome> {
        let path = cx.absolute(dir);
        let found = std::fs::metadata(&path).map_err(|e| Error::io(&path, &e).context("cd"))?;
        if !found.is_dir() {
            return Err(Error::new(Kind::Usage, format!("cd: {} is not a folder", path.display())));
        }
        *self.cwd.write().unwrap_or_else(PoisonError::into_inner) = path.clone();
        Ok(Outcome::new(path.display().to_string(), json!({"cwd": path})))
    }

    fn exec(&self, r: &rq::Exec, cx: &Cx) -> Result<Outcome> {
        exec(&self.config(), r, cx)
    }

    fn export_rs(&self, r: &rq::ExportRs, cx: &Cx) -> Result<Outcome> {
        crate::export_rs::run(r, cx)
    }

    fn env(&self, r: &rq::Env, _: &Cx) -> Result<Outcome> {
        env::run(&self.environment, r, |config| {
            let config = Arc::new(config);
            *self.config.write().unwrap_or_else(PoisonError::into_inner) = config.clone();
            (self.services.reconfigure)(config);
        })
    }

    fn time(&self, _: &rq::Time, _: &Cx) -> Result<Outcome> {
        // A cell's `time` is taken before it is parsed into words, see `run`.
        Err(Error::usage("`time` measures Rust").hint("write it in a cell of its own: %dds time EXPR"))
    }

    fn doctor(&self, r: &rq::Doctor, cx: &Cx) -> Result<Outcome> {
        crate::doctor::run(r, &self.config(), &|name| self.environment.var(name), cx)
    }

    fn cache(&self, r: &rq::Cache, cx: &Cx) -> Result<Outcome> {
        crate::cache::run(r, &self.config(), cx)
    }
}

#[cfg(test)]
mod tests;
