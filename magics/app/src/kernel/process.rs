//! Kernels as child processes, over real ZeroMQ sockets.

use super::{BoxFuture, Channel, Incoming, KernelLauncher, KernelSession, LaunchSpec};
use dds_core::Result;
use dds_wire::Message;
use dds_wire::client::{Client, KernelProcess, Launch};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;

/// How long a kernel may take until it answers.
pub const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a kernel may take to end by itself.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// How long the last messages of a dead kernel are waited for.
const DRAIN: Duration = Duration::from_millis(200);

/// Starts `EXE kernel CONNECTION_FILE`.
#[derive(Clone, Debug)]
pub struct ProcessLauncher {
    pub exe: PathBuf,
    /// Private folder for connection files and sockets.
    pub runtime_dir: PathBuf,
}

impl KernelLauncher for ProcessLauncher {
    fn launch(&self, spec: LaunchSpec) -> BoxFuture<'_, Result<Box<dyn KernelSession>>> {
        Box::pin(async move {
            let mut launch = Launch::new(&self.exe, spec.cwd, &self.runtime_dir);
            launch.env = spec.env;
            let launch = launch.env(super::HISTORY, super::NO_HISTORY);
            let (process, client, messages) = KernelProcess::start(&launch, START_TIMEOUT).await?;
            Ok(Box::new(ProcessKernel { process, client, messages, ended: false }) as Box<dyn KernelSession>)
        })
    }
}

/// A kernel process with its one client. Dropping it kills the process by its id.
struct ProcessKernel {
    // Dropped in this order: first the process, then the sockets.
    process: KernelProcess,
    client: Client,
    messages: Receiver<(Channel, Message)>,
    ended: bool,
}

impl KernelSession for ProcessKernel {
    fn send<'a>(
        &'a mut self,
        channel: Channel,
        msg_type: &'a str,
        content: Value,
    ) -> BoxFuture<'a, Result<String>> {
        Box::pin(async move { self.client.send(channel, msg_type, content, json!({}), Vec::new()) })
    }

    fn next(&mut self) -> BoxFuture<'_, Option<Incoming>> {
        Box::pin(async move {
            if !self.ended {
                tokio::select! {
                    biased;
                    m = self.messages.recv() => return m.map(incoming),
                    _ = self.process.wait() => self.ended = true,
                }
            }
            // The process is gone, but its last words may still be on their way.
            tokio::time::timeout(DRAIN, self.messages.recv()).await.ok().flatten().map(incoming)
        })
    }

    fn is_alive(&mut self) -> bool {
        // Borrowed from tokio: the id is there until the end of the process was seen.
        !self.ended && self.process.id().is_some_and(process_exists)
    }

    fn last_words(&self) -> String {
        self.process.output_tail()
    }

    fn shutdown(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let Self { process, client, messages, .. } = *self;
            if let Err(e) = process.shutdown(&client, SHUTDOWN_GRACE).await {
                tracing::warn!("kernel: {e}");
            }
            drop(messages);
            // Closing the sockets joins a thread; not on an async worker.
            let _ = tokio::task::spawn_blocking(move || drop(client)).await;
        })
    }
}

/// Whether the child runs and is not a zombie that nobody waited for yet.
fn process_exists(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // `pid (name) state …`; the name may hold anything, so look behind the last parenthesis.
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

fn incoming((channel, m): (Channel, Message)) -> Incoming {
    Incoming {
        channel,
        msg_type: m.msg_type().to_owned(),
        parent: m.parent_id().to_owned(),
        content: m.content,
    }
}
