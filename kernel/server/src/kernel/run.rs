//! Starts the threads, routes requests to them, and ends them.

use super::comms;
use super::execute::Executor;
use super::front::{Front, cell_error, error_content};
use super::history::History;
use super::host::Host;
use super::info::kernel_info;
use super::language;
use super::mailbox::Mailbox;
use super::output::Output;
use super::slot::Slot;
use super::watch::{self, End};
use dds_core::mime::printable;
use dds_core::{Error, Kind, Result};
use dds_wire::{Channel, ConnectionInfo, Message, Server};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
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
    /// End when the process that started this one ends.
    pub watch_parent: bool,
    /// The user's Rust version, for `kernel_info`.
    pub language_version: String,
}

impl Default for Options {
    /// For a kernel inside a larger process.
    fn default() -> Self {
        Self { signals: false, watch_parent: false, language_version: rust_version() }
    }
}

fn rust_version() -> String {
    env!("CARGO_PKG_RUST_VERSION").to_owned()
}

/// Runs the kernel of `connection_file` in this process until a front end ends it, a signal comes, or
/// the parent named by `JPY_PARENT_PID` dies.
///
/// `make_host` runs on a thread of its own; requests that need the host wait for it. The caller exits
/// the process afterwards: a cell that did not stop in time may still be running on its thread.
pub fn run(
    connection_file: &Path,
    make_host: impl FnOnce() -> Result<Arc<dyn Host>> + Send + 'static,
) -> Result<()> {
    let info = ConnectionInfo::read(connection_file)?;
    let watch_parent = std::env::var_os("JPY_PARENT_PID").is_some();
    serve(&info, Options { signals: true, watch_parent, ..Options::default() }, make_host)
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
    let history = Arc::new(Mutex::new(History::default()));
    let boxes = Boxes::default();
    let (end, ended) = channel();
    {
        let slot = slot.clone();
        spawn("host", move || slot.fill(make_host))?;
    }
    let output = Output::start(front.clone()).map_err(|e| no_thread("output", &e))?;
    let executor = Executor {
        front: front.clone(),
        slot: slot.clone(),
        queue: boxes.execute.clone(),
        output,
        history: history.clone(),
        count: 0,
    };
    let executor = spawn("execute", move || executor.run())?;
    for (name, work, mailbox) in [
        ("language", language::run as fn(&Front, &Slot, &Mailbox), boxes.language.clone()),
        ("comms", comms::run, boxes.comms.clone()),
    ] {
        let (front, slot) = (front.clone(), slot.clone());
        spawn(name, move || work(&front, &slot, &mailbox))?;
    }
    for (channel, requests) in [(Channel::Shell, inbox.shell), (Channel::Control, inbox.control)] {
        let router = Router {
            channel,
            front: front.clone(),
            slot: slot.clone(),
            history: history.clone(),
            boxes: boxes.clone(),
            info: kernel_info(&options.language_version),
            end: end.clone(),
        };
        spawn(channel.name(), move || router.run(&requests))?;
    }
    if options.signals {
        let slot = slot.clone();
        watch::signals(Arc::new(move || slot.interrupt()), end.clone());
    }
    if options.watch_parent {
        watch::parent(end);
    }

    wait_and_stop(&ended, &slot, &boxes, executor);
    server.shutdown();
    Ok(())
}

fn wait_and_stop(ended: &Receiver<End>, slot: &Arc<Slot>, boxes: &Boxes, executor: JoinHandle<()>) {
    let why = ended.recv().unwrap_or(End::Terminated);
    tracing::info!("the kernel ends: {why:?}");
    boxes.close();
    slot.interrupt();
    let (done, finished) = channel();
    {
        let slot = slot.clone();
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

/// The queues between the threads.
#[derive(Clone, Default)]
struct Boxes {
    execute: Arc<Mailbox>,
    language: Arc<Mailbox>,
    comms: Arc<Mailbox>,
}

impl Boxes {
    fn close(&self) {
        for mailbox in [&self.execute, &self.language, &self.comms] {
            mailbox.close();
        }
    }
}

/// Reads one channel's requests: answers what needs no host, passes on the rest.
struct Router {
    channel: Channel,
    front: Front,
    slot: Arc<Slot>,
    history: Arc<Mutex<History>>,
    boxes: Boxes,
    info: Value,
    end: Sender<End>,
}

impl Router {
    fn run(self, requests: &Receiver<Message>) {
        while let Ok(request) = requests.recv() {
            self.route(request);
        }
    }

    fn route(&self, request: Message) {
        let shell = self.channel == Channel::Shell;
        match request.msg_type() {
            "kernel_info_request" => self.answer(&request, "kernel_info_reply", self.info.clone()),
            "interrupt_request" => self.front.handling(&request, || {
                self.slot.interrupt();
                self.front.reply(self.channel, &request, "interrupt_reply", json!({"status": "ok"}));
            }),
            "shutdown_request" => self.shutdown(&request),
            "history_request" => {
                let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
                let content = json!({"status": "ok", "history": history.answer(&request.content)});
                drop(history);
                self.answer(&request, "history_reply", content);
            }
            "execute_request" if shell => self.pass(&self.boxes.execute, request),
            "complete_request" | "inspect_request" | "is_complete_request" if shell => {
                self.pass(&self.boxes.language, request);
            }
            "comm_open" | "comm_msg" | "comm_close" | "comm_info_request" if shell => {
                self.pass(&self.boxes.comms, request);
            }
            other => {
                tracing::debug!("`{}` on {} is not supported", printable(other), self.channel.name());
                self.front.handling(&request, || {});
            }
        }
    }

    fn answer(&self, request: &Message, reply: &str, content: Value) {
        self.front.handling(request, || self.front.reply(self.channel, request, reply, content));
    }

    fn shutdown(&self, request: &Message) {
        let restart = request.content.get("restart").and_then(Value::as_bool).unwrap_or(false);
        let content = json!({"status": "ok", "restart": restart});
        self.front.handling(request, || {
            self.front.reply(self.channel, request, "shutdown_reply", content.clone());
            self.front.publish(Some(&request.header), "shutdown_reply", content);
        });
        let _ = self.end.send(End::Requested);
    }

    /// Queues the request; when the queue is full, answers at once with an error.
    fn pass(&self, mailbox: &Mailbox, request: Message) {
        let Err(request) = mailbox.put(request) else { return };
        let error = Error::new(Kind::Limit, "too many requests wait in the kernel")
            .hint("interrupt the kernel, or wait until it has caught up");
        tracing::warn!("`{}` refused: {error}", printable(request.msg_type()));
        if !request.msg_type().ends_with("_request") {
            return self.front.handling(&request, || {});
        }
        let mut content = error_content(&cell_error(&error));
        if request.msg_type() == "execute_request" {
            content["execution_count"] = json!(0);
        }
        self.answer(&request, &language::reply_type(request.msg_type()), content);
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body).map_err(|e| no_thread(name, &e))
}

fn no_thread(name: &str, e: &std::io::Error) -> Error {
    Error::new(Kind::Unavailable, format!("no thread for {name}: {e}"))
}
