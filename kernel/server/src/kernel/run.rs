//! Starts the threads, routes requests to them, and ends them.

use super::comms::{self, Comms};
use super::execute::Executor;
use super::front::Front;
use super::history::History;
use super::host::Host;
use super::info::kernel_info;
use super::language;
use super::output::Clock;
use super::router::{Boxes, Router, Stopper};
use super::shells::{Desks, Subshells};
use super::slot::Slot;
use super::stdin::Prompts;
use super::watch::{self, End};
use dds_core::{Error, Kind, Result};
use dds_wire::{Channel, ConnectionInfo, Server};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// At the kernel's end, how long a running cell has to stop after its interrupt.
const CELL_GRACE: Duration = Duration::from_secs(2);
/// … how long a host that is still building has to appear, and then how long to shut down.
const HOST_GRACE: Duration = Duration::from_secs(2);
const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);

/// What depends on the process that the kernel runs in.
#[derive(Clone, Debug)]
pub struct Options {
    /// Handle SIGINT, SIGTERM and SIGHUP of this process.
    pub signals: bool,
    /// End when the process that started this one ends, or the one of this id, if there is one.
    pub watch_parent: Option<u32>,
    /// The user's Rust version, for `kernel_info`.
    pub language_version: String,
    /// Where cells are remembered across sessions; none keeps them for this session only.
    pub history: Option<PathBuf>,
}

impl Default for Options {
    /// For a kernel inside a larger process.
    fn default() -> Self {
        Self { signals: false, watch_parent: None, language_version: rust_version(), history: None }
    }
}

fn rust_version() -> String {
    env!("CARGO_PKG_RUST_VERSION").to_owned()
}

/// Runs the kernel of `connection_file` in this process until a front end ends it, a signal comes, or
/// the parent named by `JPY_PARENT_PID` dies. Cells are remembered in `history`.
///
/// `make_host` runs on a thread of its own; requests that need the host wait for it. The caller exits
/// the process afterwards: a cell that did not stop in time may still be running on its thread.
pub fn run(
    connection_file: &Path,
    history: Option<PathBuf>,
    make_host: impl FnOnce() -> Result<Arc<dyn Host>> + Send + 'static,
) -> Result<()> {
    let info = ConnectionInfo::read(connection_file)?;
    let watch_parent = std::env::var("JPY_PARENT_PID").ok().map(|pid| pid.trim().parse().unwrap_or(0));
    serve(&info, Options { signals: true, watch_parent, history, ..Options::default() }, make_host)
}

/// [`run`] without reading file or environment.
pub fn serve(
    info: &ConnectionInfo,
    options: Options,
    make_host: impl FnOnce() -> Result<Arc<dyn Host>> + Send + 'static,
) -> Result<()> {
    let (server, inbox, outlet) = Server::bind(info)?;
    let front = Front::new(outlet);
    front.status(None, "starting");

    let slot = Arc::new(Slot::default());
    let clock = Arc::new(Clock::start().map_err(|e| no_thread("output", &e))?);
    let comms = Arc::new(Comms::new(front.clone()));
    let prompts = Arc::new(Prompts::new(front.clone()));
    let history = Arc::new(Mutex::new(History::new(options.history)));
    let stopper = Stopper { slot: slot.clone(), prompts: prompts.clone() };
    let desks = Desks {
        cells: Executor {
            front: front.clone(),
            slot: slot.clone(),
            clock: clock.clone(),
            comms: comms.clone(),
            prompts: prompts.clone(),
            history: history.clone(),
            count: Arc::new(AtomicU64::new(0)),
        },
        language: language::Desk { front: front.clone(), slot: slot.clone(), history },
        comms: comms::Desk { front: front.clone(), slot: slot.clone(), clock: clock.clone(), comms },
    };
    let boxes = Boxes::default();
    let subshells = Arc::new(Subshells::new(desks.clone()));
    let (end, ended) = channel();
    {
        let slot = slot.clone();
        spawn("host", move || slot.fill(make_host))?;
    }
    let executor = {
        let (desks, queue) = (desks.clone(), boxes.cells.clone());
        spawn("execute", move || desks.serve(&queue))?
    };
    for (name, queue) in [("language", boxes.language.clone()), ("comms", boxes.comms.clone())] {
        let desks = desks.clone();
        spawn(name, move || desks.serve(&queue))?;
    }
    {
        let (prompts, replies) = (prompts.clone(), inbox.stdin);
        spawn("stdin", move || prompts.run(&replies))?;
    }
    for (channel, requests) in [(Channel::Shell, inbox.shell), (Channel::Control, inbox.control)] {
        let router = Router {
            channel,
            front: front.clone(),
            stopper: stopper.clone(),
            boxes: boxes.clone(),
            subshells: subshells.clone(),
            info: kernel_info(&options.language_version),
            ports: info.ports,
            end: end.clone(),
        };
        spawn(channel.name(), move || router.run(&requests))?;
    }
    if options.signals {
        let stopper = stopper.clone();
        watch::signals(Arc::new(move || stopper.interrupt()), end.clone());
    }
    if let Some(named) = options.watch_parent {
        watch::parent(named, end);
    }

    let why = ended.recv().unwrap_or(End::Terminated);
    tracing::info!("the kernel ends: {why:?}");
    boxes.close();
    prompts.close();
    subshells.close();
    for cell in boxes.cells.drain(|_| true) {
        desks.cells.abort(&cell);
    }
    stop(&stopper, executor);
    clock.stop();
    server.shutdown();
    Ok(())
}

/// Interrupts what runs, shuts the host down and waits for the main shell's cell, all for a bounded
/// time.
fn stop(stopper: &Stopper, executor: JoinHandle<()>) {
    stopper.interrupt();
    let (done, finished): (_, Receiver<()>) = channel();
    {
        let slot = stopper.slot.clone();
        let stopped = spawn("shutdown", move || {
            slot.stop(HOST_GRACE);
            let _ = done.send(());
        });
        if let Err(e) = stopped {
            return tracing::error!("{e}");
        }
    }
    if finished.recv_timeout(HOST_GRACE + SHUTDOWN_GRACE).is_err() {
        tracing::error!("the session did not shut down in time");
    }
    let deadline = Instant::now() + CELL_GRACE;
    while !executor.is_finished() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    if executor.is_finished() {
        let _ = executor.join();
    } else {
        tracing::warn!("a cell is still running at the kernel's end");
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body).map_err(|e| no_thread(name, &e))
}

fn no_thread(name: &str, e: &std::io::Error) -> Error {
    Error::new(Kind::Unavailable, format!("no thread for {name}: {e}"))
}
