//! A kernel's five sockets, each on a thread of its own: shell, control and stdin (ROUTER), iopub
//! (XPUB that greets each subscriber) and heartbeat (REP).
//!
//! Threads hand messages over by bounded channels: what is not taken from the [`Inbox`] stays in the
//! peers' queues, and an [`Outlet`] waits while a socket has more than [`QUEUE`] messages to send.
//! A subscriber may be [`HIGH_WATER_MARK`] messages behind. Then publishing waits up to [`PATIENCE`]
//! for it; after that ZeroMQ drops for this subscriber, and [`Outlet::overruns`] counts it.

use crate::frames::{self, Malformed};
use crate::signature::{ReplayWindow, Signer};
pub use crate::socket::HIGH_WATER_MARK;
use crate::socket::{self, DropLog, Frames, Waker, Wakeup};
use crate::{Channel, ConnectionInfo, Message};
use bytes::Bytes;
use dds_core::{Error, Kind, Result};
use serde_json::json;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Messages between a socket's thread and the kernel, in each direction.
pub const QUEUE: usize = 1_024;
/// Longest iopub topic that is answered with a welcome.
pub const MAX_TOPIC_BYTES: usize = 256;
/// Longest heartbeat that is echoed.
const MAX_HEARTBEAT_BYTES: i64 = 64 << 10;
/// How long publishing waits for a subscriber that is [`HIGH_WATER_MARK`] messages behind.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// While it waits, how long until it tries again.
const FULL_QUEUE_RETRY: Duration = Duration::from_millis(5);
/// How long a question on stdin waits for a front end whose stdin is not connected yet.
pub const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// While it waits, how long until it is tried again.
const UNCONNECTED_RETRY_MS: i64 = 20;
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
    overruns: Arc<AtomicU64>,
}

impl Outlet {
    /// How often a subscriber that does not read has begun to miss messages. What it misses until it
    /// has caught up with half of its queue, nobody can count.
    pub fn overruns(&self) -> u64 {
        self.overruns.load(Ordering::Relaxed)
    }

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
            // Only here the kernel speaks first, perhaps sooner than the front end has connected.
            let asks = channel == Channel::Stdin;
            socket.set_router_mandatory(asks).map_err(no_socket)?;
            socket::bind(&socket, info, port, channel.name())?;
            let (inbox, messages) = sync_channel(QUEUE);
            let (lane, outbox, wakeup) = lane()?;
            let router = Router {
                socket,
                wakeup,
                outbox,
                unsent: asks.then(VecDeque::new),
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

        let overruns = Arc::new(AtomicU64::new(0));
        let iopub = {
            let mut socket = server.open(zmq::XPUB, info)?;
            socket.set_xpub_verbose(true).map_err(no_socket)?;
            socket::set_nodrop(&mut socket, true).map_err(no_socket)?;
            socket::bind(&socket, info, info.ports.iopub, "iopub")?;
            let (lane, outbox, wakeup) = lane()?;
            let (signer, session, stop) = (signer.clone(), session.clone(), stop.clone());
            let overruns = overruns.clone();
            let iopub = Iopub { socket, wakeup, outbox, signer, session, stop, overruns };
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
        let outlet = Outlet { signer, session, shell, control, stdin, iopub, overruns };
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
    /// On stdin: what waits until its addressee is connected, oldest first, and until when.
    unsent: Option<VecDeque<(Instant, Frames)>>,
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
            } else if self.unsent.as_ref().is_some_and(|unsent| !unsent.is_empty()) {
                (zmq::POLLIN, UNCONNECTED_RETRY_MS)
            } else {
                (zmq::POLLIN, -1)
            };
            let mut items = [self.socket.as_poll_item(events), self.wakeup.poll_item()];
            match zmq::poll(&mut items, timeout) {
                Ok(_) | Err(zmq::Error::EINTR) => {}
                Err(e) => return tracing::error!("a socket's thread ends: {e}"),
            }
            self.wakeup.clear();
            if !self.flush() || self.stop.load(Ordering::SeqCst) {
                // Once more: what was queued between the two.
                self.flush();
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
                if !self.flush() {
                    return;
                }
            }
        }
    }

    /// Sends what is queued. False when all senders are gone or the socket failed.
    fn flush(&mut self) -> bool {
        let Some(unsent) = &mut self.unsent else { return flush(&self.socket, &self.outbox) };
        while unsent.len() < QUEUE {
            match self.outbox.try_recv() {
                Ok(frames) => unsent.push_back((Instant::now() + CONNECT_PATIENCE, frames)),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        let mut failed = None;
        unsent.retain(|(until, frames)| match socket::send_to_connected(&self.socket, frames) {
            Ok(false) if Instant::now() < *until => true,
            Ok(false) => {
                tracing::warn!("a question for the user was not sent: the front end has no stdin");
                false
            }
            Ok(true) => false,
            Err(e) => {
                failed = Some(e);
                false
            }
        });
        if let Some(e) = failed {
            tracing::error!("cannot ask: {e}");
        }
        failed.is_none()
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
            // ROUTER never holds back: it drops for a peer that is too far behind.
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
    overruns: Arc<AtomicU64>,
}

impl Iopub {
    fn run(mut self) {
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
                if !self.flush() {
                    return;
                }
            }
            if !self.flush() {
                return;
            }
            if self.stop.load(Ordering::SeqCst) {
                self.flush();
                return;
            }
        }
    }

    /// Publishes what is queued. False when all senders are gone or the socket failed.
    fn flush(&mut self) -> bool {
        loop {
            match self.outbox.try_recv() {
                Ok(frames) => {
                    if let Err(e) = self.publish(&frames) {
                        tracing::error!("cannot publish: {e}");
                        return false;
                    }
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn publish(&mut self, frames: &[Bytes]) -> zmq::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !socket::send(&self.socket, frames)? {
            if Instant::now() < deadline && !self.stop.load(Ordering::SeqCst) {
                std::thread::sleep(FULL_QUEUE_RETRY);
                continue;
            }
            self.overruns.fetch_add(1, Ordering::Relaxed);
            tracing::warn!("a front end has not read {HIGH_WATER_MARK} messages and misses what follows");
            // ZeroMQ leaves the subscriber out until it has read half of what waits for it; all
            // others get everything, and nobody waits for it again until then.
            socket::set_nodrop(&mut self.socket, false)?;
            let sent = socket::send(&self.socket, frames);
            socket::set_nodrop(&mut self.socket, true)?;
            return sent.map(|_| ());
        }
        Ok(())
    }

    /// A subscription is one frame: 1, then the topic. The welcome (JEP 65) tells the subscriber
    /// that nothing sent from now on is missed.
    fn greet(&mut self, frames: &[Bytes]) {
        let Some([1, topic @ ..]) = frames.first().map(|f| f.as_ref()) else { return };
        if topic.len() > MAX_TOPIC_BYTES {
            return;
        }
        let Ok(text) = std::str::from_utf8(topic) else { return };
        let mut welcome = Message::new("iopub_welcome", &self.session, json!({"subscription": text}));
        welcome.ids = vec![Bytes::copy_from_slice(topic)];
        if let Err(e) = self.publish(&frames::encode(&welcome, &self.signer)) {
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
