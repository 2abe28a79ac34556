//! A job: commands of ours from a file, run in order by the same engines as a cell's, in a session
//! of their own.
//!
//! What happens is one stream of [`dds_core::job`] events, on standard output and in the run's folder
//! (`.dds/runs/<id>`, with `spec.json` beside). The first step that fails ends the job. Assumes that
//! the variables of the job are set already; starts no evaluator: a job has no Rust.

mod display;
mod folder;
mod session;
mod sink;
mod spec;
mod stream;

pub use folder::RunFolder;
pub use spec::{MAX_SPEC_BYTES, Spec, Step};

use crate::session::{Services, text_bundle, wiring};
use dds_cmd::{CellCommand, Command, dispatch};
use dds_core::job::{Event, Status};
use dds_core::{Cancel, Config, Cx, Error, Kind, Result};
use session::JobSession;
use sink::StepSink;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use stream::{Scrub, Stream};

/// How a job ended. Its events have said so already.
#[derive(Debug)]
pub enum Ended {
    Ok,
    Error(Error),
}

/// The folder that the job's steps work in, absolute. Errors: it is missing, or no folder.
pub fn folder(spec: &Spec, cwd: &Path) -> Result<PathBuf> {
    let named = spec.folder.as_deref().unwrap_or(".");
    let path = Cx::silent(cwd).absolute(named);
    match std::fs::metadata(&path) {
        Ok(m) if m.is_dir() => Ok(path),
        Ok(_) => Err(Error::new(Kind::Format, format!("folder: {named} is not a folder"))),
        Err(e) => Err(Error::io(&path, &e).context("folder").hint("make it first, or leave `folder` out")),
    }
}

/// Tells a reader of the stream that the job file is not understood.
pub fn refused(e: &Error) -> Ended {
    let stream = Stream::new(folder::new_id(), Scrub::default());
    stream.emit(Event::error(None, e));
    stream.emit(Event::JobFinished { status: Status::Failed, seconds: 0.0 });
    Ended::Error(e.clone())
}

/// Runs a job to its end, with its events on standard output.
pub fn run(spec: &Spec, config: &Arc<Config>, cwd: &Path, cancel: &Cancel) -> Ended {
    let began = Instant::now();
    let scrub = Scrub::of(config, std::env::vars_os());
    match folder(spec, cwd).and_then(|cwd| Ok((RunFolder::create(&cwd, &spec.text)?, cwd))) {
        Err(e) => end(&Stream::new(folder::new_id(), scrub), began, Err((None, e))),
        Ok((run, cwd)) => {
            let stream = Arc::new(Stream::new(run.id.clone(), scrub).into_file(run.events));
            let place = JobPlace { config, cwd, run: run.dir };
            end(&stream, began, all(spec, &place, &stream, cancel))
        }
    }
}

/// Where a job runs.
struct JobPlace<'a> {
    config: &'a Arc<Config>,
    cwd: PathBuf,
    run: PathBuf,
}

/// What ends a job before its last step, and at which one.
type Stopped = (Option<usize>, Error);

fn end(stream: &Stream, began: Instant, done: Result<(), Stopped>) -> Ended {
    let seconds = began.elapsed().as_secs_f64();
    let Err((step, e)) = done else {
        stream.emit(Event::JobFinished { status: Status::Ok, seconds });
        return Ended::Ok;
    };
    stream.emit(Event::error(step, &e));
    let status = if e.kind == Kind::Interrupted { Status::Interrupted } else { Status::Failed };
    stream.emit(Event::JobFinished { status, seconds });
    Ended::Error(match step {
        Some(step) => e.context(format!("step {step}")),
        None => e,
    })
}

fn all(spec: &Spec, place: &JobPlace<'_>, stream: &Arc<Stream>, cancel: &Cancel) -> Result<(), Stopped> {
    stream.emit(Event::JobStarted {
        name: spec.name.clone(),
        folder: place.cwd.display().to_string(),
        run: place.run.display().to_string(),
        steps: spec.steps.len(),
        version: env!("CARGO_PKG_VERSION").into(),
    });
    let services = wiring::services(place.config);
    let session = JobSession::new(place.config.clone(), place.cwd.clone());
    let ran = spec.steps.iter().zip(1..).try_for_each(|(step, number)| {
        let sink = Arc::new(StepSink::new(stream.clone(), number, place.run.clone()));
        let cx = Cx::new(session.cwd(), sink.clone(), cancel.clone());
        cancel
            .check()
            .and_then(|()| one(step, number, &services, &session, &sink, &cx))
            .map_err(|e| (Some(number), e))
    });
    (services.close)();
    ran
}

fn one(
    step: &Step,
    number: usize,
    services: &Services,
    session: &JobSession,
    sink: &StepSink,
    cx: &Cx,
) -> Result<()> {
    let began = Instant::now();
    let command = step.command().to_owned();
    sink.emit(Event::StepStarted { step: number, command: command.clone(), text: step.text.clone() });
    let engines = services.engines(session);
    // A bug in one engine ends the job with its events, not without them.
    let work = AssertUnwindSafe(|| dispatch::run_cell(&step.line, &engines, cx));
    let outcome = std::panic::catch_unwind(work)
        .unwrap_or_else(|_| Err(Error::internal(format!("`{command}` panicked"))))?;
    if let Some(CellCommand::Common(Command::Upload(r))) = &step.line.command
        && let Err(e) = (services.uploaded)(r, &dispatch::within(cx, step.line.dir.as_deref()))
    {
        cx.sink.note(&format!("the upload is done, but a mount does not show it yet: {e}"));
    }
    sink.finish();
    for bundle in text_bundle(&outcome).iter().chain(&outcome.displays) {
        cx.sink.display(bundle);
    }
    let (result, result_file) = sink.result(outcome.data().into_owned())?;
    let summary = outcome.summary;
    sink.emit(Event::StepFinished {
        step: number,
        command,
        summary,
        result,
        result_file,
        seconds: began.elapsed().as_secs_f64(),
    });
    sink.failure().map_or(Ok(()), Err)
}
