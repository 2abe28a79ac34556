//! A kernel as a child process of ours, on a private connection file.

use super::Client;
use crate::{Channel, ConnectionInfo, Message, Transport};
use dds_core::{Error, Kind, Result};
use serde_json::json;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

/// Bytes of the process's own standard output and error that are kept for error messages.
pub const TAIL_BYTES: usize = 16 << 10;

/// How to start a kernel: `EXE ARGS… CONNECTION_FILE`.
#[derive(Clone, Debug)]
pub struct Launch {
    pub exe: PathBuf,
    /// Before the connection file; `["kernel"]` for `dds`.
    pub args: Vec<OsString>,
    pub cwd: PathBuf,
    /// Added to the environment of this process.
    pub env: Vec<(OsString, OsString)>,
    pub transport: Transport,
    /// A folder in which a private one for connection file and sockets is made. For ipc its path
    /// must be short, at most about 75 bytes.
    pub dir: PathBuf,
}

impl Launch {
    /// `EXE kernel FILE` in `cwd`, over ipc.
    pub fn new(exe: impl Into<PathBuf>, cwd: impl Into<PathBuf>, dir: impl Into<PathBuf>) -> Self {
        Self {
            exe: exe.into(),
            args: vec!["kernel".into()],
            cwd: cwd.into(),
            env: Vec::new(),
            transport: Transport::Ipc,
            dir: dir.into(),
        }
    }

    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }
}

/// A running kernel. Dropping it kills the process (SIGKILL, by its id); [`KernelProcess::shutdown`]
/// is the polite way. Must live within a tokio runtime with time and I/O enabled.
pub struct KernelProcess {
    child: Child,
    info: ConnectionInfo,
    tail: Tail,
    /// Removed, with the sockets in it, when the process is.
    _private: tempfile::TempDir,
}

impl KernelProcess {
    /// Starts the process and waits until it answers. Errors carry the end of what it printed.
    pub async fn start(
        launch: &Launch,
        timeout: Duration,
    ) -> Result<(KernelProcess, Client, mpsc::Receiver<(Channel, Message)>)> {
        let mut process = Self::spawn(launch)?;
        let (client, messages) = process.connect()?;
        let died = tokio::select! {
            ready = client.wait_ready(timeout) => match ready {
                Ok(_) => return Ok((process, client, messages)),
                Err(e) => e,
            },
            status = process.child.wait() => {
                let how = status.map_or_else(|e| e.to_string(), |s| s.to_string());
                Error::new(Kind::Unavailable, format!("the kernel ended while it started ({how})"))
            }
        };
        // What it printed last may still be on its way through the pipe.
        let _ = process.child.start_kill();
        process.tail.ended(Duration::from_secs(1)).await;
        Err(match process.output_tail() {
            tail if tail.trim().is_empty() => died,
            tail => Error { message: format!("{}; it printed:\n{}", died.message, tail.trim_end()), ..died },
        })
    }

    /// Starts the process without waiting for it.
    pub fn spawn(launch: &Launch) -> Result<Self> {
        std::fs::create_dir_all(&launch.dir).map_err(|e| Error::io(&launch.dir, &e))?;
        let private = tempfile::Builder::new()
            .prefix("k-")
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir_in(&launch.dir)
            .map_err(|e| Error::io(&launch.dir, &e))?;
        let info = match launch.transport {
            Transport::Tcp => ConnectionInfo::tcp()?,
            Transport::Ipc => ConnectionInfo::ipc(private.path())?,
        };
        let file = private.path().join("connection.json");
        info.write(&file)?;
        let (child, tail) = start_child(launch, &file)?;
        Ok(Self { child, info, tail, _private: private })
    }

    /// A further connection to this kernel.
    pub fn connect(&self) -> Result<(Client, mpsc::Receiver<(Channel, Message)>)> {
        Client::connect(&self.info)
    }

    pub fn connection(&self) -> &ConnectionInfo {
        &self.info
    }

    /// None once the process has ended.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// The last [`TAIL_BYTES`] that the process itself printed, control characters escaped.
    pub fn output_tail(&self) -> String {
        self.tail.text()
    }

    /// Waits until the process ends by itself.
    pub async fn wait(&mut self) -> Result<ExitStatus> {
        self.child.wait().await.map_err(|e| Error::new(Kind::Io, format!("waiting for the kernel: {e}")))
    }

    /// Asks the kernel to end; kills it when it has not ended after `grace`.
    pub async fn shutdown(mut self, client: &Client, grace: Duration) -> Result<ExitStatus> {
        // A kernel that cannot be asked any more is killed below.
        let _ = client.request(Channel::Control, "shutdown_request", json!({"restart": false}));
        if let Ok(status) = tokio::time::timeout(grace, self.child.wait()).await {
            return status.map_err(|e| Error::new(Kind::Io, format!("waiting for the kernel: {e}")));
        }
        tracing::warn!(pid = self.child.id(), "the kernel did not end in time and is killed");
        self.kill().await
    }

    /// Ends the process at once.
    pub async fn kill(mut self) -> Result<ExitStatus> {
        let _ = self.child.start_kill();
        self.wait().await
    }
}

fn start_child(launch: &Launch, file: &Path) -> Result<(Child, Tail)> {
    let mut child = Command::new(&launch.exe)
        .args(&launch.args)
        .arg(file)
        .current_dir(&launch.cwd)
        // By this the kernel notices that we died.
        .env("JPY_PARENT_PID", std::process::id().to_string())
        .envs(launch.env.iter().map(|(k, v)| (k, v)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // The terminal's Ctrl-C is for us; we tell the kernel what it shall do.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| Error::io(&launch.exe, &e).context("cannot start the kernel"))?;
    let tail = Tail::default();
    if let Some(out) = child.stdout.take() {
        tail.follow(out);
    }
    if let Some(err) = child.stderr.take() {
        tail.follow(err);
    }
    Ok((child, tail))
}

/// The end of what a process prints.
#[derive(Clone, Default)]
struct Tail {
    bytes: Arc<Mutex<VecDeque<u8>>>,
    tasks: Arc<Mutex<Vec<tokio::task::JoinHandle<()>>>>,
}

impl Tail {
    fn follow(&self, mut pipe: impl AsyncRead + Unpin + Send + 'static) {
        let bytes = self.bytes.clone();
        let task = tokio::spawn(async move {
            let mut chunk = vec![0; 4096];
            while let Ok(n) = pipe.read(&mut chunk).await {
                if n == 0 {
                    break;
                }
                let mut kept = bytes.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend(chunk.iter().take(n));
                let surplus = kept.len().saturating_sub(TAIL_BYTES);
                kept.drain(..surplus);
            }
        });
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    async fn ended(&self, at_most: Duration) {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let _ = tokio::time::timeout(at_most, async {
            for task in tasks {
                let _ = task.await;
            }
        })
        .await;
    }

    fn text(&self) -> String {
        let kept = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = kept.iter().copied().collect();
        dds_core::mime::printable(&String::from_utf8_lossy(&bytes))
    }
}
