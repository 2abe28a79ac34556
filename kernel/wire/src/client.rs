//! The front end's side: sends requests, receives replies and output. For tests, for running
//! notebooks and for the app server.
//!
//! One thread per client owns the four sockets. What the receiver does not take stays in ZeroMQ's
//! queues, and from there holds the kernel's publishing back only by dropping, so take it.

mod link;
pub mod process;

pub use process::{KernelProcess, Launch};

use crate::signature::Signer;
use crate::socket::{self, Frames, Waker};
use crate::{Channel, ConnectionInfo, Message, frames};
use bytes::Bytes;
use dds_core::{Error, Kind, Result};
use jupyter_protocol::KernelInfoReply;
use link::{Command, Link};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Received messages that wait to be taken before the thread stops reading the sockets.
pub const INBOX: usize = 4_096;
/// Messages that wait to be sent before [`Client::send`] refuses.
pub const OUTBOX: usize = 4_096;

/// A connection to one kernel. Dropping it closes the sockets and joins the thread.
pub struct Client {
    session: Arc<str>,
    signer: Signer,
    commands: SyncSender<Command>,
    waker: Waker,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    /// Opens the sockets; the kernel need not be there yet. Every message that arrives, on any
    /// channel, comes out of the receiver in the order of its channel.
    pub fn connect(info: &ConnectionInfo) -> Result<(Client, mpsc::Receiver<(Channel, Message)>)> {
        let session: Arc<str> = uuid::Uuid::new_v4().simple().to_string().into();
        let signer = Signer::new(info.key.expose().as_bytes());
        let (commands, command_queue) = sync_channel(OUTBOX);
        let (waker, wakeup) = socket::waker()?;
        let (inbox, receiver) = mpsc::channel(INBOX);
        let stop = Arc::new(AtomicBool::new(false));
        let link = Link::open(info, &session, signer.clone(), wakeup, command_queue, inbox, stop.clone())
            .map_err(|e| Error::new(Kind::Unavailable, format!("cannot connect to the kernel: {e}")))?;
        let thread = std::thread::Builder::new()
            .name("zmq client".to_owned())
            .spawn(move || link.run())
            .map_err(|e| Error::new(Kind::Unavailable, format!("no thread for the kernel's client: {e}")))?;
        Ok((Client { session, signer, commands, waker, stop, thread: Some(thread) }, receiver))
    }

    /// Sends a request and gives its message id, which is the parent id of all that answers it.
    /// Never waits: [`Kind::Limit`] when [`OUTBOX`] messages wait already.
    pub fn send(
        &self,
        channel: Channel,
        msg_type: &str,
        content: Value,
        metadata: Value,
        buffers: Vec<Bytes>,
    ) -> Result<String> {
        let message = Message::new(msg_type, &self.session, content).metadata(metadata).buffers(buffers);
        self.send_frames(channel, frames::encode(&message, &self.signer))?;
        Ok(message.msg_id().to_owned())
    }

    /// [`Client::send`] without metadata and buffers.
    pub fn request(&self, channel: Channel, msg_type: &str, content: Value) -> Result<String> {
        self.send(channel, msg_type, content, json!({}), Vec::new())
    }

    /// Runs `code` as a stored cell, without standard input.
    pub fn execute(&self, code: &str) -> Result<String> {
        let content = json!({
            "code": code, "silent": false, "store_history": true, "user_expressions": {},
            "allow_stdin": false, "stop_on_error": true,
        });
        self.request(Channel::Shell, "execute_request", content)
    }

    /// Sends frames as they are: for tests of what a kernel does with bad ones.
    pub fn send_frames(&self, channel: Channel, frames: Frames) -> Result<()> {
        if channel == Channel::Iopub {
            return Err(Error::usage("iopub only receives"));
        }
        self.command(Command::Send(channel, frames))
    }

    /// The id in the headers of this client's messages.
    pub fn session(&self) -> &str {
        &self.session
    }

    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// Returns once the kernel answered `kernel_info_request` and its output is seen to arrive, so
    /// that nothing of the next request is missed. Messages of this probing do not reach the
    /// receiver. [`Kind::Unreachable`] when `timeout` passes first. Needs no particular executor.
    pub async fn wait_ready(&self, timeout: Duration) -> Result<KernelInfoReply> {
        self.probe(timeout)?.await.unwrap_or_else(|_| Err(closed()))
    }

    /// [`Client::wait_ready`] for threads outside an asynchronous runtime.
    pub fn wait_ready_blocking(&self, timeout: Duration) -> Result<KernelInfoReply> {
        self.probe(timeout)?.blocking_recv().unwrap_or_else(|_| Err(closed()))
    }

    fn probe(&self, timeout: Duration) -> Result<oneshot::Receiver<Result<KernelInfoReply>>> {
        let (done, ready) = oneshot::channel();
        self.command(Command::Probe { timeout, deadline: Instant::now() + timeout, done })?;
        Ok(ready)
    }

    fn command(&self, command: Command) -> Result<()> {
        self.commands.try_send(command).map_err(|e| match e {
            TrySendError::Full(_) => Error::new(
                Kind::Limit,
                format!("{OUTBOX} messages to the kernel wait already; it does not take them"),
            ),
            TrySendError::Disconnected(_) => closed(),
        })?;
        self.waker.wake();
        Ok(())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn closed() -> Error {
    Error::new(Kind::Unreachable, "the connection to the kernel is closed")
}
