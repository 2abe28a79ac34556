//! The thread that owns a client's sockets.

use crate::frames;
use crate::signature::Signer;
use crate::socket::{self, DropLog, Frames, Wakeup};
use crate::{Channel, ConnectionInfo, Message};
use dds_core::{Error, Kind, Result};
use jupyter_protocol::KernelInfoReply;
use serde_json::json;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// While a kernel does not answer, how often it is asked again.
const PROBE_EVERY: Duration = Duration::from_millis(200);
/// While the receiver or a socket is full, how long until the thread looks again.
const RETRY_MS: i64 = 5;
/// How soon a lost or not yet existing endpoint is tried again.
const RECONNECT_MS: i32 = 20;
/// How long a dropped client waits for a kernel that does not take what was sent to it.
const LINGER_MS: i32 = 100;
const RECONNECT_MAX_MS: i32 = 500;

pub(super) enum Command {
    Send(Channel, Frames),
    Probe { timeout: Duration, deadline: Instant, done: oneshot::Sender<Result<KernelInfoReply>> },
}

pub(super) struct Link {
    sockets: [(Channel, zmq::Socket, DropLog); 4],
    wakeup: Wakeup,
    commands: Receiver<Command>,
    inbox: mpsc::Sender<(Channel, Message)>,
    signer: Signer,
    probe_session: String,
    stop: Arc<AtomicBool>,
    /// What a socket did not take yet, oldest first.
    unsent: VecDeque<(Channel, Frames)>,
    probes: Vec<Probe>,
    next_probe: Instant,
    /// Some message arrived on iopub, so the subscription works.
    subscribed: bool,
    _context: zmq::Context,
}

struct Probe {
    timeout: Duration,
    deadline: Instant,
    done: oneshot::Sender<Result<KernelInfoReply>>,
    reply: Option<KernelInfoReply>,
}

impl Link {
    pub(super) fn open(
        info: &ConnectionInfo,
        session: &str,
        signer: Signer,
        wakeup: Wakeup,
        commands: Receiver<Command>,
        inbox: mpsc::Sender<(Channel, Message)>,
        stop: Arc<AtomicBool>,
    ) -> zmq::Result<Self> {
        let context = zmq::Context::new();
        let connect = |channel, kind, port| -> zmq::Result<(Channel, zmq::Socket, DropLog)> {
            let socket = socket::socket(&context, kind, info.is_ipv6())?;
            socket.set_linger(LINGER_MS)?;
            socket.set_rcvhwm(socket::HIGH_WATER_MARK)?;
            socket.set_reconnect_ivl(RECONNECT_MS)?;
            socket.set_reconnect_ivl_max(RECONNECT_MAX_MS)?;
            if kind == zmq::SUB {
                socket.set_subscribe(b"")?;
            } else {
                // Shell and stdin must share it: input requests go to the shell request's identity.
                socket.set_identity(session.as_bytes())?;
            }
            socket.connect(&info.endpoint(port, true))?;
            Ok((channel, socket, DropLog::new(channel)))
        };
        let sockets = [
            connect(Channel::Iopub, zmq::SUB, info.ports.iopub)?,
            connect(Channel::Shell, zmq::DEALER, info.ports.shell)?,
            connect(Channel::Control, zmq::DEALER, info.ports.control)?,
            connect(Channel::Stdin, zmq::DEALER, info.ports.stdin)?,
        ];
        Ok(Self {
            sockets,
            wakeup,
            commands,
            inbox,
            signer,
            probe_session: format!("{session}-probe"),
            stop,
            unsent: VecDeque::new(),
            probes: Vec::new(),
            next_probe: Instant::now(),
            subscribed: false,
            _context: context,
        })
    }

    pub(super) fn run(mut self) {
        loop {
            let readable = if self.inbox.capacity() > 0 { zmq::POLLIN } else { zmq::PollEvents::empty() };
            {
                let [a, b, c, d] = &self.sockets;
                let mut items = [
                    a.1.as_poll_item(readable),
                    b.1.as_poll_item(readable),
                    c.1.as_poll_item(readable),
                    d.1.as_poll_item(readable),
                    self.wakeup.poll_item(),
                ];
                match zmq::poll(&mut items, self.timeout_ms()) {
                    Ok(_) | Err(zmq::Error::EINTR) => {}
                    Err(e) => return tracing::error!("the client's thread ends: {e}"),
                }
            }
            self.wakeup.clear();
            let stop = self.stop.load(Ordering::SeqCst);
            if !self.take_commands() || !self.send_queued() || stop || !self.receive_all() {
                return;
            }
            self.tend_probes();
        }
    }

    fn timeout_ms(&self) -> i64 {
        if !self.unsent.is_empty() || self.inbox.capacity() == 0 {
            return RETRY_MS;
        }
        let next = self.probes.iter().map(|p| p.deadline.min(self.next_probe)).min();
        next.map_or(-1, |at| {
            let left = at.saturating_duration_since(Instant::now()).as_millis();
            i64::try_from(left).unwrap_or(i64::MAX).saturating_add(1)
        })
    }

    /// False when the client is gone and everything was taken.
    fn take_commands(&mut self) -> bool {
        // While a socket holds back, commands stay in their own bounded queue.
        while self.unsent.is_empty() {
            match self.commands.try_recv() {
                Ok(Command::Send(channel, frames)) => {
                    self.unsent.push_back((channel, frames));
                    if !self.send_queued() {
                        return false;
                    }
                }
                Ok(Command::Probe { timeout, deadline, done }) => {
                    self.probes.push(Probe { timeout, deadline, done, reply: None });
                    self.next_probe = Instant::now();
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        true
    }

    fn send_queued(&mut self) -> bool {
        while let Some((channel, frames)) = self.unsent.front() {
            let Some((_, socket, _)) = self.sockets.iter().find(|(c, _, _)| c == channel) else {
                return false;
            };
            match socket::send(socket, frames) {
                Ok(true) => {
                    self.unsent.pop_front();
                }
                Ok(false) => return true,
                Err(e) => {
                    tracing::error!("cannot send to the kernel: {e}");
                    return false;
                }
            }
        }
        true
    }

    /// Takes what has arrived, as far as the receiver has room. False when a socket failed.
    fn receive_all(&mut self) -> bool {
        for at in 0..self.sockets.len() {
            loop {
                if self.inbox.capacity() == 0 {
                    break;
                }
                let Some((channel, socket, log)) = self.sockets.get_mut(at) else { break };
                let channel = *channel;
                let received = match socket::receive(socket) {
                    Ok(Some(received)) => received,
                    Ok(None) => break,
                    Err(e) => {
                        tracing::error!("cannot receive from the kernel: {e}");
                        return false;
                    }
                };
                let message = match received.and_then(|frames| frames::decode(&frames, &self.signer)) {
                    Ok((message, _)) => message,
                    Err(why) => {
                        log.dropped(&why);
                        continue;
                    }
                };
                if let Some(message) = self.divert(channel, message) {
                    // There is room; it fails only when the receiver was dropped. A client that only
                    // sends is allowed.
                    let _ = self.inbox.try_send((channel, message));
                }
            }
        }
        true
    }

    /// Keeps the answers to our own probing; gives back every other message.
    fn divert(&mut self, channel: Channel, message: Message) -> Option<Message> {
        if channel == Channel::Iopub {
            self.subscribed = true;
            if message.msg_type() == "iopub_welcome" {
                return None;
            }
        }
        if message.parent_header.as_ref().is_none_or(|h| h.session != self.probe_session) {
            return Some(message);
        }
        if message.msg_type() == "kernel_info_reply" {
            match message.parse::<KernelInfoReply>() {
                Ok(reply) => self.probes.iter_mut().for_each(|p| p.reply = Some(reply.clone())),
                Err(e) => tracing::warn!("{e}"),
            }
        }
        None
    }

    fn tend_probes(&mut self) {
        let now = Instant::now();
        for mut probe in std::mem::take(&mut self.probes) {
            match probe.reply.take() {
                Some(reply) if self.subscribed => {
                    let _ = probe.done.send(Ok(reply));
                }
                _ if now >= probe.deadline => {
                    let _ = probe.done.send(Err(Error::new(
                        Kind::Unreachable,
                        format!("the kernel did not answer within {:.1} s", probe.timeout.as_secs_f64()),
                    )));
                }
                reply => {
                    probe.reply = reply;
                    // Whoever waited may have given up; its probing ends with it.
                    if !probe.done.is_closed() {
                        self.probes.push(probe);
                    }
                }
            }
        }
        if !self.probes.is_empty() && now >= self.next_probe {
            self.next_probe = now + PROBE_EVERY;
            let ask = Message::new("kernel_info_request", &self.probe_session, json!({}));
            if let Some((_, socket, _)) = self.sockets.iter().find(|(c, _, _)| *c == Channel::Shell)
                && let Err(e) = socket::send(socket, &frames::encode(&ask, &self.signer))
            {
                tracing::warn!("cannot ask the kernel: {e}");
            }
        }
    }
}
