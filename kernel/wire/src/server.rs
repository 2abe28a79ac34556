//! A kernel's five sockets, each on a thread of its own: shell, control and stdin (ROUTER), iopub
//! (XPUB that greets each subscriber) and heartbeat (REP).
//!
//! Threads hand messages over by bounded channels: what is not taken from the [`Inbox`] stays in the
//! peers' queues, and an [`Outlet`] waits while a socket has more than [`QUEUE`] messages to send.
//! ZeroMQ itself drops for a peer that is 100,000 messages behind; who publishes much must count.

use crate::frames::{self, Malformed};
use crate::signature::{ReplayWindow, Signer};
use crate::socket::{self, DropLog, Frames, Waker, Wakeup};
use crate::{Channel, ConnectionInfo, Message};
use bytes::Bytes;
use dds_core::{Error, Kind, Result};
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Messages between a socket's thread and the kernel, in each direction.
pub const QUEUE: usize = 1_024;
/// Longest iopub topic that is answered with a welcome.
pub const MAX_TOPIC_BYTES: usize = 256;
/// Longest heartbeat that is echoed.
const MAX_HEARTBEAT_BYTES: i64 = 64 << 10;
/// While the inbox is full, how long until the thread looks again.
const FULL_INBOX_RETRY_MS: i64 = 5;

/// Verified messages from front ends.
pub struct Inbox {
    pub shell: Receiver<Message>,
    pub control: Receiver<Message>,
    pub stdin: Receiver<Message>,
}

/// Sends messages. Cheap to clone; usable from any thread.
#[derive(Clone)]
pub struct Outlet {
    signer: Signer,
    session: Arc<str>,
    shell: Lane,
    control: Lane,
    stdin: Lane,
    iopub: Lane,
}

impl Outlet {
    /// The session id of this kernel's messages.
    pub fn session(&self) -> &str {
        &self.session
    }

    /// Waits while the channel's queue is full. [`Kind::Unreachable`] once the server has stopped.
    pub fn send(&self, channel: Channel, message: &Message) -> Result<()> {
        let lane = match channel {
            Channel::Shell => &self.shell,
            Channel::Control => &self.control,
            Channel::Stdin => &self.stdin,
            Channel::Iopub => &self.iopub,
        };
        lane.queue
            .send(frames::encode(message, &self.signer))
            .map_err(|_| Error::new(Kind::Unreachable, "the kernel's sockets are closed"))?;
        lane.waker.wake();
        Ok(())
    }
}

#[derive(Clone)]
struct Lane {
    queue: SyncSender<Frames>,
    waker: Waker,
}

/// The running socket threads. Dropping it is [`Server::shutdown`].
pub struct Server {
    stop: Arc<AtomicBool>,
    wakers: Vec<Waker>,
    threads: Vec<JoinHandle<()>>,
    context: zmq::Context,
}

impl Server {
    /// Binds all five sockets. [`Kind::Unavailable`] names the address that could not be bound.
    pub fn bind(info: &ConnectionInfo) -> Result<(Server, Inbox, Outlet)> {
        let context = zmq::Context::new();
        let signer = Signer::new(info.key.expose().as_bytes());
        let session: Arc<str> = uuid::Uuid::new_v4().simple().to_string().into();
        let replays = Arc::new(Mutex::new(ReplayWindow::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let mut server = Server { stop: stop.clone(), wakers: Vec::new(), threads: Vec::new(), context };

        let mut router = |channel: Channel, port: u16| -> Result<(Lane, Receiver<Message>)> {
            let socket = server.open(zmq::ROUTER, info)?;
            // A front end that reconnects under its old identity replaces the dead connection.
            socket.set_router_handover(true).map_err(no_socket)?;
            socket::bind(&socket, info, port, channel.name())?;
            let (inbox, messages) = sync_channel(QUEUE);
            let (lane, outbox, wakeup) = lane()?;
            let router = Router {
                socket,
                wakeup,
                outbox,
                inbox,
                signer: signer.clone(),
                replays: replays.clone(),
                stop: stop.clone(),
                log: DropLog::new(channel),
            };
            server.wakers.push(lane.waker.clone());
            server.spawn(channel.name(), move || router.run())?;
            Ok((lane, messages))
        };
        let (shell, shell_in) = router(Channel::Shell, info.ports.shell)?;
        let (control, control_in) = router(Channel::Control, info.ports.control)?;
        let (stdin, stdin_in) = router(Channel::Stdin, info.ports.stdin)?;

        let iopub = {
            let socket = server.open(zmq::XPUB, info)?;
            socket.set_xpub_verbose(true).map_err(no_socket)?;
            socket::bind(&socket, info, info.ports.iopub, "iopub")?;
            let (lane, outbox, wakeup) = lane()?;
            let (signer, session, stop) = (signer.clone(), session.clone(), stop.clone());
            let iopub = Iopub { socket, wakeup, outbox, signer, session, stop };
            server.wakers.push(lane.waker.clone());
            server.spawn("iopub", move || iopub.run())?;
            lane
        };
        {
            let socket = server.open(zmq::REP, info)?;
            socket.set_maxmsgsize(MAX_HEARTBEAT_BYTES).map_err(no_socket)?;
            socket::bind(&socket, info, info.ports.heartbeat, "heartbeat")?;
            let (waker, wakeup) = socket::waker()?;
            let stop = stop.clone();
            server.wakers.push(waker);
            server.spawn("heartbeat", move || heartbeat(&socket, &wakeup, &stop))?;
        }
        let outlet = Outlet { signer, session, shell, control, stdin, iopub };
        Ok((server, Inbox { shell: shell_in, control: control_in, stdin: stdin_in }, outlet))
    }

    /// Sends what is queued, closes the sockets and joins their threads; at most about a second when
    /// a peer does not take what is queued for it.
    pub fn shutdown(self) {
        drop(self);
    }

    fn open(&self, kind: zmq::SocketType, info: &ConnectionInfo) -> Result<zmq::Socket> {
        socket::socket(&self.context, kind, info.is_ipv6()).map_err(no_socket)
    }

    fn spawn(&mut self, name: &str, body: impl FnOnce() + Send + 'static) -> Result<()> {
        let thread = std::thread::Builder::new()
            .name(format!("zmq {name}"))
            .spawn(body)
            .map_err(|e| Error::new(Kind::Unavailable, format!("no thread for {name}: {e}")))?;
        self.threads.push(thread);
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for waker in &self.wakers {
            waker.wake();
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn no_socket(e: zmq::Error) -> Error {
    Error::new(Kind::Unavailable, format!("no ZeroMQ socket: {e}"))
}

fn lane() -> Result<(Lane, Receiver<Frames>, Wakeup)> {
    let (queue, outbox) = sync_channel(QUEUE);
    let (waker, wakeup) = socket::waker()?;
    Ok((Lane { queue, waker }, outbox, wakeup))
}

struct Router {
    socket: zmq::Socket,
    wakeup: Wakeup,
    outbox: Receiver<Frames>,
    inbox: SyncSender<Message>,
    signer: Signer,
    replays: Arc<Mutex<ReplayWindow>>,
    stop: Arc<AtomicBool>,
    log: DropLog,
}

impl Router {
    fn run(mut self) {
        let mut held: Option<Message> = None;
        loop {
            let (events, timeout) = if held.is_some() {
                (zmq::PollEvents::empty(), FULL_INBOX_RETRY_MS)
            } else {
                (zmq::POLLIN, -1)
            };
            let mut items = [self.socket.as_poll_item(events), self.wakeup.poll_item()];
            match zmq::poll(&mut items, timeout) {
                Ok(_) | Err(zmq::Error::EINTR) => {}
                Err(e) => return tracing::error!("a socket's thread ends: {e}"),
            }
            self.wakeup.clear();
            if !flush(&self.socket, &self.outbox) || self.stop.load(Ordering::SeqCst) {
                // Once more: what was queued between the two.
                flush(&self.socket, &self.outbox);
                return;
            }
            if let Some(message) = held.take() {
                held = self.offer(message);
            }
            while held.is_none() {
                match socket::receive(&self.socket) {
                    Ok(Some(received)) => {
                        if let Some(message) = self.check(received) {
                            held = self.offer(message);
                        }
                    }
                    Ok(None) => break,
                    Err(e) => return tracing::error!("a socket's thread ends: {e}"),
                }
                if self.stop.load(Ordering::SeqCst) {
                    break;
                }
                if !flush(&self.socket, &self.outbox) {
                    return;
                }
            }
        }
    }

    /// The message, verified and not seen before.
    fn check(&mut self, received: std::result::Result<Frames, Malformed>) -> Option<Message> {
        let decoded = received.and_then(|frames| frames::decode(&frames, &self.signer));
        let accepted = decoded.and_then(|(message, signature)| {
            let fresh = self.replays.lock().unwrap_or_else(PoisonError::into_inner).accept(signature);
            if fresh { Ok(message) } else { Err(Malformed::Replayed) }
        });
        accepted.inspect_err(|why| self.log.dropped(why)).ok()
    }

    /// Gives the message back when the inbox is full.
    fn offer(&self, message: Message) -> Option<Message> {
        match self.inbox.try_send(message) {
            Ok(()) => None,
            Err(TrySendError::Full(message)) => Some(message),
            // Nobody reads this channel any more; the message has no addressee.
            Err(TrySendError::Disconnected(_)) => None,
        }
    }
}

/// Sends what is queued. False when all senders are gone or the socket failed.
fn flush(socket: &zmq::Socket, outbox: &Receiver<Frames>) -> bool {
    loop {
        match outbox.try_recv() {
            // ROUTER and XPUB never hold back: they drop for a peer that is too far behind.
            Ok(frames) => {
                if let Err(e) = socket::send(socket, &frames) {
                    tracing::error!("cannot send: {e}");
                    return false;
                }
            }
            Err(TryRecvError::Empty) => return true,
            Err(TryRecvError::Disconnected) => return false,
        }
    }
}

struct Iopub {
    socket: zmq::Socket,
    wakeup: Wakeup,
    outbox: Receiver<Frames>,
    signer: Signer,
    session: Arc<str>,
    stop: Arc<AtomicBool>,
}

impl Iopub {
    fn run(self) {
        loop {
            let mut items = [self.socket.as_poll_item(zmq::POLLIN), self.wakeup.poll_item()];
            match zmq::poll(&mut items, -1) {
                Ok(_) | Err(zmq::Error::EINTR) => {}
                Err(e) => return tracing::error!("iopub's thread ends: {e}"),
            }
            self.wakeup.clear();
            loop {
                match socket::receive(&self.socket) {
                    Ok(Some(Ok(frames))) => self.greet(&frames),
                    Ok(Some(Err(_))) => {}
                    Ok(None) => break,
                    Err(e) => return tracing::error!("iopub's thread ends: {e}"),
                }
                if !flush(&self.socket, &self.outbox) {
                    return;
                }
            }
            if !flush(&self.socket, &self.outbox) {
                return;
            }
            if self.stop.load(Ordering::SeqCst) {
                flush(&self.socket, &self.outbox);
                return;
            }
        }
    }

    /// A subscription is one frame: 1, then the topic. The welcome (JEP 65) tells the subscriber
    /// that nothing sent from now on is missed.
    fn greet(&self, frames: &[Bytes]) {
        let Some([1, topic @ ..]) = frames.first().map(|f| f.as_ref()) else { return };
        if topic.len() > MAX_TOPIC_BYTES {
            return;
        }
        let Ok(text) = std::str::from_utf8(topic) else { return };
        let mut welcome = Message::new("iopub_welcome", &self.session, json!({"subscription": text}));
        welcome.ids = vec![Bytes::copy_from_slice(topic)];
        if let Err(e) = socket::send(&self.socket, &frames::encode(&welcome, &self.signer)) {
            tracing::error!("cannot greet a subscriber: {e}");
        }
    }
}

fn heartbeat(socket: &zmq::Socket, wakeup: &Wakeup, stop: &AtomicBool) {
    loop {
        let mut items = [socket.as_poll_item(zmq::POLLIN), wakeup.poll_item()];
        match zmq::poll(&mut items, -1) {
            Ok(_) | Err(zmq::Error::EINTR) => {}
            Err(e) => return tracing::error!("heartbeat's thread ends: {e}"),
        }
        wakeup.clear();
        if stop.load(Ordering::SeqCst) {
            return;
        }
        match socket::receive(socket) {
            Ok(Some(frames)) => {
                // REP must answer before it can receive again, even to what was too long.
                let frames = frames.unwrap_or_else(|_| vec![Bytes::new()]);
                if let Err(e) = socket::send(socket, &frames) {
                    tracing::debug!("heartbeat not answered: {e}");
                }
            }
            Ok(None) => {}
            Err(e) => tracing::debug!("heartbeat: {e}"),
        }
    }
}
