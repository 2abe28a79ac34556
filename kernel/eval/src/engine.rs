//! evcxr's context with our child behind it: one part of a cell in, a report out.

use crate::EvalOptions;
use crate::child::{CHILD_ARG, CONTROL_VAR};
use crate::link::{Link, Report};
use crate::progress::Progress;
use crate::report::{self, End, Scene, Source, Sources};
use crate::{cell, compile, memory, prelude, runtime, socket};
use dds_core::eval::{CellError, CellSink, Stream};
use dds_core::{Error, Kind, MimeBundle, Result};
use evcxr::{CommandContext, EvalContext, EvalContextOutputs};
use std::collections::HashSet;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Overrides the profile that evcxr writes, without rust-analyzer having to load everything anew
/// as it would if the manifest changed.
const OPT_LEVEL_VAR: &str = "CARGO_PROFILE_DEV_OPT_LEVEL";

pub(crate) struct Engine {
    // Dropped first: it waits for the child, which the link still serves.
    context: CommandContext,
    link: Arc<Link>,
    /// The session's private folder: evcxr's crate, its target folder, the compiled cells.
    pub folder: PathBuf,
    sources: Arc<Mutex<Sources>>,
    /// Whether the fallback of the prelude is in scope.
    fallback: bool,
    /// A crate or a directive of the user's has its own way of showing values.
    own_display: bool,
    /// The child in which the prelude has run last.
    prelude_in: u64,
    analysis_is_warm: bool,
    /// Cells tell how long they took.
    pub timing: bool,
    /// Variables that the user has set by `:build_env`.
    build_env: Vec<String>,
    /// The linker that the user has asked for.
    linker: Option<String>,
    /// Tells how the building of dependencies gets on.
    progress: Option<Progress>,
    /// Keeps the dependencies in the cache that this session may be using.
    _using: Option<compile::InUse>,
    /// What the analysis reads.
    _library: Option<compile::LibrarySource>,
    /// The folder of the crate `dds`; none where it cannot be built.
    runtime: Option<PathBuf>,
    /// To be said once.
    warning: Option<String>,
}

impl Engine {
    /// Starts the child and compiles a first trivial cell, which takes seconds.
    pub(crate) fn create(exe: &Path, options: &EvalOptions, link: Arc<Link>) -> Result<Self> {
        let library = compile::LibrarySource::begin();
        let mut command = Command::new(exe);
        let control = link.child_end();
        command.arg(CHILD_ARG).env(CONTROL_VAR, control.to_string()).current_dir(link.cwd());
        // SAFETY: one system call that may be made between fork and exec.
        unsafe { command.pre_exec(move || socket::set_close_on_exec(control, false)) };
        let (context, EvalContextOutputs { stdout, stderr }) =
            EvalContext::with_subprocess_command(command).map_err(|error| start_error(&error.to_string()))?;
        // Nothing is ever said there by a healthy child; what is said belongs into the log.
        drop(stdout);
        std::thread::Builder::new()
            .name("evaluator log".into())
            .spawn(move || {
                for line in stderr {
                    tracing::warn!("evaluation process: {line}");
                }
            })
            .map_err(|error| Error::internal(format!("no thread can be started: {error}")))?;
        if let Some(library) = &library {
            library.provide();
        }
        let mut context = CommandContext::with_eval_context(context);
        let folder = last_compile_dir(&mut context)?;
        link.remove_at_end(&folder);
        let mut engine = Self {
            context,
            link,
            folder,
            sources: Arc::default(),
            fallback: false,
            own_display: false,
            prelude_in: 0,
            analysis_is_warm: false,
            timing: false,
            build_env: Vec::new(),
            linker: None,
            progress: None,
            _using: use_cache(options),
            _library: library,
            runtime: None,
            warning: None,
        };
        let told_at = compile::Session::new(&engine.folder).progress();
        engine.progress = Progress::listen(&told_at, &engine.link)
            .inspect_err(|error| tracing::debug!("{}: {error}", told_at.display()))
            .ok();
        if let Some(cache) = options.cache.as_deref().and_then(Path::to_str) {
            engine.set_build_env(compile::CACHE_VAR, cache);
        }
        engine.set_opt_level(&options.opt_level);
        let cache = cache_folder(options);
        match runtime::provide(cache.as_deref().unwrap_or(&engine.folder)) {
            Ok(folder) => engine.runtime = Some(folder),
            Err(error) => engine.without_runtime(&error.to_string()),
        }
        Ok(engine)
    }

    /// Runs the prelude in a child that has not had it. Without it cells run too, but more slowly
    /// and with coarser messages.
    pub(crate) fn warm_up(&mut self) {
        let child = self.link.child_number();
        if self.prelude_in == child {
            return;
        }
        self.prelude_in = child;
        if let Some(folder) = self.runtime.clone() {
            match self.run(&prelude::code(!self.own_display, Some(&folder)), None).0 {
                Ok(_) => {
                    self.fallback = !self.own_display;
                    return;
                }
                Err(error) => self.without_runtime(&error.to_string()),
            }
        }
        match self.run(&prelude::code(!self.own_display, None), None).0 {
            Ok(_) => self.fallback = !self.own_display,
            Err(error) => tracing::warn!("the first cell failed: {error}"),
        }
    }

    /// Cells work without the crate `dds`, but cannot import it.
    fn without_runtime(&mut self, why: &str) {
        tracing::warn!("the crate `dds` cannot be built: {why}");
        self.runtime = None;
        self.warning = Some(format!("dds: the crate `dds` is not there for cells: {}\n", first_line(why)));
    }

    /// Has the analysis load the standard library, which the first `let` or completion would wait
    /// for: seconds.
    pub(crate) fn warm_analysis(&mut self) {
        if !std::mem::replace(&mut self.analysis_is_warm, true) {
            const LINE: &str = "let warm = vec![String::new()]; warm.pu";
            let found = self.complete(LINE, LINE.len());
            tracing::debug!("analysis is warm: {} completions", found.items.len());
            memory::give_back();
        }
    }

    /// Takes the fallback out of scope, for good.
    fn leave_display_to_user(&mut self) {
        self.own_display = true;
        if std::mem::take(&mut self.fallback) {
            let _ = self.run(prelude::NO_FALLBACK, None);
        }
    }

    fn set_opt_level(&mut self, level: &str) {
        if !level.is_empty() && level.chars().all(|c| c.is_ascii_alphanumeric()) {
            self.set_build_env(OPT_LEVEL_VAR, level);
        }
    }

    /// Sets a variable for the process in cargo's place.
    fn set_build_env(&mut self, name: &str, value: &str) {
        if let Err(error) = self.run(&format!(":build_env {name}={value}"), None).0 {
            tracing::warn!("{name} cannot be set for compilers: {error}");
        }
    }

    /// Adds the crates of a part before the rest of it, with ways to show their values.
    fn with_displays(&mut self, part: &cell::Part, sink: &Arc<dyn CellSink>) -> cell::Part {
        let mut part = part.clone();
        if !self.fallback || self.runtime.is_none() {
            return part;
        }
        let displays = prelude::displays(|name| cell::adds_crate(&part.text, name));
        if !displays.is_empty()
            && let Some((dependencies, rest)) = cell::apart(&part.text)
        {
            // A version with other names is used without; and what is wrong with the crate is told
            // where the part itself is compiled.
            match self.run(&format!("{dependencies}{displays}"), Some(Arc::clone(sink))).0 {
                Ok(_) => part.text = rest,
                Err(error) => tracing::debug!("values of a crate are shown as text: {error}"),
            }
        }
        part
    }

    /// What directives of the user's mean for the process in cargo's place.
    fn take_directives(&mut self, part: &cell::Part) {
        if let Some(level) = cell::opt_level(&part.text) {
            self.set_opt_level(level);
        }
        for name in cell::build_env(&part.text) {
            if !self.build_env.iter().any(|known| known == name) {
                self.build_env.push(name.to_owned());
                let names = self.build_env.join(",");
                self.set_build_env(compile::BUILD_ENV_VAR, &names);
            }
        }
        if let Some(linker) = &part.linker {
            self.linker = Some(linker.clone());
            self.set_build_env(compile::LINKER_VAR, linker);
        }
    }

    /// Runs one part of a cell; `whole` is the cell, which messages quote.
    pub(crate) fn execute(
        &mut self,
        part: &cell::Part,
        whole: &Source,
        sink: &Arc<dyn CellSink>,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Executed, CellError> {
        if part.restart {
            self.restart(sink);
        }
        compile::keep_standing();
        self.warm_up();
        if let Some(warning) = self.warning.take() {
            sink.stream(Stream::Stderr, &warning);
        }
        if self.runtime.is_some() && cell::adds_crate(&part.text, "dds") {
            // The name is the user's; what is in scope of ours must not go by it.
            self.runtime = None;
            let _ = self.run(if self.fallback { prelude::FALLBACK } else { prelude::NO_FALLBACK }, None);
        }
        if cell::changes_format(&part.text) || prelude::brings_own_display(&part.text) {
            self.leave_display_to_user();
        }
        if part.directives {
            self.take_directives(part);
        }
        if let Some(on) = part.checkpoints {
            self.link.set_checkpoints(on);
        }
        let begun = Instant::now();
        let part = &self.with_displays(part, sink);
        if interrupted() {
            return Err(report::interrupted(true));
        }
        let (text, mut answers) = self.answer_directives(&part.text, whole)?;
        if text.trim().is_empty() {
            let directive_text = answers.pop();
            answers.iter().for_each(|answer| sink.display(answer));
            return Ok(Executed { directive_text, ..Executed::default() });
        }
        let before: Vec<String> = self.variables().map(|(name, _)| name.to_owned()).collect();
        if cell::clears(&text) {
            locked(&self.sources).clear();
        }
        self.tell_panics_of(whole);
        let shown = if self.fallback { cell::showing_its_value(&text, prelude::METHOD) } else { None };
        let (result, report) = self.run(shown.as_ref().unwrap_or(&text), Some(Arc::clone(sink)));
        if let Some(progress) = &self.progress {
            progress.end_of_cell();
        }
        memory::give_back();
        if result.is_ok() {
            let now: HashSet<&str> = self.context.variables_and_types().map(|(name, _)| name).collect();
            for name in before.iter().filter(|name| !now.contains(name.as_str())) {
                locked(&self.sources).note_move(name, whole);
            }
        }
        if let Some(panic) = report.panic.as_ref().filter(|_| !report.panicked && report.death.is_none()) {
            // The cell caught it itself; the message belongs to its output all the same.
            let generated = self.compiled_code();
            let text = report::side_panic(panic, &generated, whole, &locked(&self.sources));
            sink.stream(Stream::Stderr, &text);
        }
        let mut executed = self.judge(result, report, whole, interrupted)?;
        answers.extend(executed.directive_text.take());
        executed.directive_text = answers.pop();
        answers.iter().for_each(|answer| sink.display(answer));
        if self.timing {
            sink.stream(Stream::Stderr, &format!("Took {} ms.\n", begun.elapsed().as_millis()));
        }
        Ok(executed)
    }

    /// Whether the analysis has loaded the standard library.
    pub(crate) fn analysis_is_warm(&self) -> bool {
        // It finds the types of variables.
        self.analysis_is_warm || self.variables().next().is_some()
    }

    /// The name of the cell that defined a variable.
    pub(crate) fn cell_of(&self, variable: &str, running: &Source) -> Option<String> {
        let sources = locked(&self.sources);
        sources.definition(Some(running), variable).map(|place| place.source.name.clone())
    }

    /// Panics on threads are told while the cell runs, by the link's own thread.
    fn tell_panics_of(&self, running: &Source) {
        let (running, sources) = (running.clone(), Arc::clone(&self.sources));
        let folder = self.folder.clone();
        self.link.tell_panics(Box::new(move |panic| {
            let generated = compile::Session::new(&folder).compiled();
            let generated = generated.or_else(|| std::fs::read_to_string(folder.join("src/lib.rs")).ok());
            let generated = generated.unwrap_or_default();
            report::side_panic(panic, &generated, &running, &locked(&sources))
        }));
    }

    /// Replaces the child by a new one: variables are gone, items and dependencies stay.
    fn restart(&mut self, sink: &Arc<dyn CellSink>) {
        let handle = self.context.process_handle();
        let killed = handle.lock().map(|mut child| child.kill());
        tracing::debug!("child killed: {killed:?}");
        // evcxr notices when it sends the next code, starts a new child and forgets the variables.
        let _ = self.run("();", None);
        sink.stream(Stream::Stdout, "The evaluation process was restarted; variables are gone.\n");
    }

    /// The `Display` text of one expression.
    pub(crate) fn text_of(
        &mut self,
        expression: &str,
        quoted: &str,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<String, CellError> {
        self.warm_up();
        let (result, report) = self.run(&prelude::text_of(expression), None);
        let source = Source::new("{…}", quoted);
        let executed = self.judge(result, report, &source, interrupted)?;
        executed.text.ok_or_else(|| report::cell_error(Error::usage(format!("`{quoted}` gave no text"))))
    }

    fn judge(
        &mut self,
        result: Result<evcxr::EvalOutputs, evcxr::Error>,
        report: Report,
        source: &Source,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Executed, CellError> {
        let outputs = match result {
            Ok(outputs) => outputs,
            Err(error) => return Err(self.failed(error, &report, source, interrupted)),
        };
        let generated = report.panicked.then(|| self.compiled_code());
        let fell_back = outputs.phases.iter().any(|phase| phase.name.contains("Fallback"));
        if fell_back && self.fallback {
            // A trait of the user's has the same method: from now on theirs is the only one.
            self.leave_display_to_user();
        }
        let left = report.panicked || report.early_return;
        locked(&self.sources).add(source, if left { End::Left } else { End::Done });
        if report.panicked {
            let generated = generated.unwrap_or_default();
            return Err(match &report.panic {
                Some(panic) => report::panic_error(panic, &generated, source, &locked(&self.sources)),
                None => report::cell_error(
                    Error::internal("the cell could not be run").context(report.stderr_tail.trim()),
                ),
            });
        }
        if report.early_return {
            return Err(report::early_return(&report.stderr_tail));
        }
        let directive_text = bundle_of(outputs);
        let finished = report.output.finish(dds_core::lex::ends_in_expression(&source.text));
        Ok(Executed { directive_text, shown: finished.shown, value: finished.value, text: finished.text })
    }

    /// Why a cell gave nothing.
    fn failed(
        &mut self,
        error: evcxr::Error,
        report: &Report,
        source: &Source,
        interrupted: &dyn Fn() -> bool,
    ) -> CellError {
        let generated = self.context.last_source().unwrap_or_default();
        let mut sources = locked(&self.sources);
        let scene = Scene { running: source, sources: &sources, generated: &generated };
        let (end, error) = match error {
            evcxr::Error::SubprocessTerminated(_) => (End::Left, report::state_lost(report.death.as_ref())),
            _ if report.death.is_some() => {
                let death = report.death.as_ref();
                let error =
                    death.map(|death| report::death_error(death, report.panic.as_ref(), &report.stderr_tail));
                (End::Left, error.unwrap_or_else(|| report::interrupted(true)))
            }
            _ if interrupted() => (End::Left, report::interrupted(true)),
            evcxr::Error::CompilationErrors(errors) => {
                (End::NotCompiled, report::compile_error(&errors, &scene))
            }
            evcxr::Error::TypeRedefinedVariablesLost(names) => {
                let message = format!("a type was defined anew: {} had the old one", names.join(", "));
                let error = Error::new(Kind::Conflict, message)
                    .hint("The variables named are gone. Define them again.");
                (End::NotCompiled, report::cell_error(error))
            }
            evcxr::Error::Message(message) => {
                let unkept = report::unkept(&message, &scene);
                (End::NotCompiled, unkept.unwrap_or_else(|| report::cell_error(message_error(&message))))
            }
        };
        sources.add(source, end);
        error
    }

    fn run(
        &mut self,
        code: &str,
        sink: Option<Arc<dyn CellSink>>,
    ) -> (Result<evcxr::EvalOutputs, evcxr::Error>, Report) {
        self.link.begin(sink);
        let result = self.context.execute(code);
        (result, self.link.end())
    }

    /// The code that was compiled last.
    fn compiled_code(&self) -> String {
        let compiled = compile::Session::new(&self.folder).compiled();
        compiled.or_else(|| self.context.last_source().ok()).unwrap_or_default()
    }

    /// Names and types of the session's variables.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.context.variables_and_types()
    }

    pub(crate) fn context(&mut self) -> &mut CommandContext {
        &mut self.context
    }
}

fn locked(sources: &Mutex<Sources>) -> MutexGuard<'_, Sources> {
    sources.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Claims the cache of dependencies.
fn cache_folder(options: &EvalOptions) -> Option<PathBuf> {
    options.cache.clone().or_else(compile::cache)
}

fn use_cache(options: &EvalOptions) -> Option<compile::InUse> {
    let cache = cache_folder(options)?;
    let using = compile::InUse::take(&cache).and_then(|using| {
        compile::prune_daily(&cache, &using)?;
        Ok(using)
    });
    using.inspect_err(|error| tracing::warn!("{}: {error}", cache.display())).ok()
}

fn last_compile_dir(context: &mut CommandContext) -> Result<PathBuf> {
    let outputs = context.execute(":last_compile_dir").map_err(|error| Error::internal(error.to_string()))?;
    let folder = outputs.get("text/plain").unwrap_or("").trim();
    if folder.is_empty() {
        Err(Error::internal("the compiler's folder is not known"))
    } else {
        Ok(folder.into())
    }
}

/// What directives have to say.
fn bundle_of(outputs: evcxr::EvalOutputs) -> Option<MimeBundle> {
    let mut bundle = MimeBundle::default();
    for (mime, text) in outputs.content_by_mime_type {
        bundle.data.insert(mime, text.trim_end().into());
    }
    Some(bundle).filter(|bundle| !bundle.is_empty())
}

const INSTALL_RUST: &str = "Install Rust from https://rustup.rs:\n\
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh\n\
    then run the cell again. Commands (`%dds …`) work without it.";
const INSTALL_LINKER: &str = "Rust needs a C linker: install `build-essential` (Debian, Ubuntu), `gcc` \
    (Fedora), or the Xcode command line tools (macOS), then run the cell again.";

/// Why no evaluation process could be started.
fn start_error(message: &str) -> Error {
    let no_rust = ["Cannot find `", "didn't output a host line", "Failed to run rustc", "No libstd found"];
    if no_rust.iter().any(|sign| message.contains(sign)) {
        Error::new(Kind::Unavailable, "Rust cells need a Rust toolchain, and none was found on PATH")
            .hint(INSTALL_RUST)
    } else if message.contains("linker") {
        Error::new(Kind::Unavailable, first_line(message)).hint(INSTALL_LINKER)
    } else {
        Error::new(Kind::Unavailable, format!("Rust cells cannot be run: {}", message.trim()))
    }
}

/// What evcxr says in words of its own, without what cargo printed for programs.
fn message_error(message: &str) -> Error {
    /// Most lines of cargo's that are shown.
    const MAX_LINES: usize = 40;
    let Some((_, output)) = message.split_once("STDERR:") else {
        return Error::usage(message.trim().replace("evcxr", "the kernel"));
    };
    let output = output.split("\nSTDOUT:").next().unwrap_or(output);
    let lines: Vec<&str> = output
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty() && !line.starts_with('{'))
        .skip_while(|line| !line.trim_start().starts_with("error"))
        .take(MAX_LINES)
        .collect();
    let text = lines.join("\n");
    let error = Error::usage(if text.is_empty() { "the cell does not compile" } else { &text });
    if text.contains("linker") { error.hint(INSTALL_LINKER) } else { error }
}

fn first_line(text: &str) -> &str {
    text.trim().lines().next().unwrap_or("")
}

/// What a part of a cell has given.
#[derive(Debug, Default)]
pub(crate) struct Executed {
    pub directive_text: Option<MimeBundle>,
    pub shown: Option<MimeBundle>,
    pub value: Option<MimeBundle>,
    pub text: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_toolchain_is_explained() {
        let error = start_error("Cannot find `rustc` binary");
        assert_eq!(error.kind, Kind::Unavailable);
        assert!(error.hint.unwrap().contains("https://rustup.rs"));
        let error = start_error("linker `cc` not found");
        assert!(error.hint.unwrap().contains("build-essential"));
    }

    #[test]
    fn cargo_is_quoted_without_its_json() {
        let message = "Compilation failed, but no parsable errors were found. STDERR:\n   Compiling a\n\
            error: no matching package named `zz` found\nlocation searched: crates.io\nSTDOUT:{\"reason\":1}\n";
        let shown = message_error(message).message;
        assert_eq!(shown, "error: no matching package named `zz` found\nlocation searched: crates.io");
    }
}
