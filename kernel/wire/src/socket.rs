//! What the socket threads share: a way to wake them, bounded receiving, and restrained logging.

use crate::frames::{MAX_FRAME_BYTES, MAX_FRAMES, MAX_MESSAGE_BYTES, Malformed};
use crate::{Channel, ConnectionInfo};
use bytes::Bytes;
use dds_core::{Error, Kind, Result};
use std::ffi::c_int;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Messages that a peer may be behind before ZeroMQ drops or holds back, per peer.
pub const HIGH_WATER_MARK: i32 = 100_000;
/// How long a closing socket keeps trying to deliver what it was given.
pub(crate) const LINGER_MS: i32 = 1_000;
/// How long a peer may take to complete ZMTP's handshake.
const HANDSHAKE_MS: i32 = 10_000;

pub(crate) type Frames = Vec<Bytes>;

/// Wakes a thread that sits in `zmq::poll`, by a byte on a socket pair.
#[derive(Clone)]
pub(crate) struct Waker(Arc<UnixStream>);

/// The thread's end of a [`Waker`].
pub(crate) struct Wakeup(UnixStream);

pub(crate) fn waker() -> Result<(Waker, Wakeup)> {
    let fail = |e| Error::new(Kind::Unavailable, format!("no socket pair: {e}"));
    let (ours, theirs) = UnixStream::pair().map_err(fail)?;
    ours.set_nonblocking(true).map_err(fail)?;
    theirs.set_nonblocking(true).map_err(fail)?;
    Ok((Waker(Arc::new(ours)), Wakeup(theirs)))
}

impl Waker {
    pub(crate) fn wake(&self) {
        // A full pair means that the thread has a wake-up coming already.
        let _ = (&*self.0).write(&[1]);
    }
}

impl Wakeup {
    pub(crate) fn poll_item(&self) -> zmq::PollItem<'_> {
        zmq::PollItem::from_fd(self.0.as_raw_fd(), zmq::POLLIN)
    }

    /// Takes all wake-ups that came so far. Call it before looking for work, so that none is lost.
    pub(crate) fn clear(&self) {
        let mut sink = [0; 256];
        while matches!((&self.0).read(&mut sink), Ok(n) if n > 0) {}
    }
}

/// A socket with our bounds, not yet bound or connected.
pub(crate) fn socket(context: &zmq::Context, kind: zmq::SocketType, ipv6: bool) -> zmq::Result<zmq::Socket> {
    let socket = context.socket(kind)?;
    socket.set_maxmsgsize(MAX_FRAME_BYTES as i64)?;
    socket.set_sndhwm(HIGH_WATER_MARK)?;
    socket.set_linger(LINGER_MS)?;
    socket.set_handshake_ivl(HANDSHAKE_MS)?;
    if ipv6 {
        socket.set_ipv6(true)?;
    }
    Ok(socket)
}

/// Whether an XPUB's [`send`] refuses a message that a subscriber's full queue cannot take, or
/// drops it for that subscriber.
pub(crate) fn set_nodrop(socket: &mut zmq::Socket, nodrop: bool) -> zmq::Result<()> {
    let value = c_int::from(nodrop);
    // SAFETY: the socket is open for as long as it is borrowed, and value and size are those of an
    // int, which is this option's type. (The option has no safe setter in the zmq crate.)
    let rc = unsafe {
        zmq_sys::zmq_setsockopt(
            socket.as_mut_ptr(),
            zmq_sys::ZMQ_XPUB_NODROP as c_int,
            std::ptr::from_ref(&value).cast(),
            size_of::<c_int>(),
        )
    };
    // SAFETY: reads the thread's errno.
    if rc == 0 { Ok(()) } else { Err(zmq::Error::from_raw(unsafe { zmq_sys::zmq_errno() })) }
}

pub(crate) fn bind(socket: &zmq::Socket, info: &ConnectionInfo, port: u16, what: &str) -> Result<()> {
    let endpoint = info.endpoint(port, false);
    socket.bind(&endpoint).map_err(|e| {
        Error::new(Kind::Unavailable, format!("cannot listen on {endpoint} for {what}: {e}"))
            .hint("another program took this address; start the kernel again")
    })
}

/// One whole message, if one is there. Frames past the bounds are taken off the socket and dropped.
pub(crate) fn receive(socket: &zmq::Socket) -> zmq::Result<Option<std::result::Result<Frames, Malformed>>> {
    let mut frames: Frames = Vec::new();
    let mut bytes = 0usize;
    let mut bad = None;
    loop {
        let frame = match socket.recv_msg(zmq::DONTWAIT) {
            Ok(frame) => frame,
            Err(zmq::Error::EINTR) => continue,
            Err(zmq::Error::EAGAIN) => return Ok(None),
            Err(e) => return Err(e),
        };
        bytes = bytes.saturating_add(frame.len());
        if frames.len() >= MAX_FRAMES {
            bad = Some(Malformed::TooManyFrames);
        } else if bytes > MAX_MESSAGE_BYTES {
            bad = Some(Malformed::TooLarge("the message"));
        }
        if bad.is_some() {
            frames.clear();
        } else {
            frames.push(Bytes::copy_from_slice(&frame));
        }
        if !frame.get_more() {
            return Ok(Some(bad.map_or(Ok(frames), Err)));
        }
    }
}

/// Hands frames to ZeroMQ. False when it cannot take them now; then none was taken.
pub(crate) fn send(socket: &zmq::Socket, frames: &[Bytes]) -> zmq::Result<bool> {
    loop {
        return match socket.send_multipart(frames.iter().map(|f| f.as_ref()), zmq::DONTWAIT) {
            Ok(()) => Ok(true),
            Err(zmq::Error::EAGAIN) => Ok(false),
            Err(zmq::Error::EINTR) => continue,
            // The peer went away between two frames, or was never known.
            Err(zmq::Error::EHOSTUNREACH) => Ok(true),
            Err(e) => Err(e),
        };
    }
}

/// Hands frames to a ROUTER with `router_mandatory`. False when their addressee is not connected;
/// then none was taken.
pub(crate) fn send_to_connected(socket: &zmq::Socket, frames: &[Bytes]) -> zmq::Result<bool> {
    loop {
        return match socket.send_multipart(frames.iter().map(|f| f.as_ref()), zmq::DONTWAIT) {
            Ok(()) => Ok(true),
            Err(zmq::Error::EINTR) => continue,
            Err(zmq::Error::EHOSTUNREACH) => Ok(false),
            // It is too far behind; a ROUTER drops then.
            Err(zmq::Error::EAGAIN) => Ok(true),
            Err(e) => Err(e),
        };
    }
}

/// Logs dropped messages at most once a second, with their number, so that a flood of bad frames
/// is no flood of log lines.
pub(crate) struct DropLog {
    channel: Channel,
    last: Option<Instant>,
    since: u64,
}

impl DropLog {
    pub(crate) fn new(channel: Channel) -> Self {
        Self { channel, last: None, since: 0 }
    }

    pub(crate) fn dropped(&mut self, why: &Malformed) {
        self.since += 1;
        if self.last.is_some_and(|at| at.elapsed() < Duration::from_secs(1)) {
            return;
        }
        let why = dds_core::mime::printable(&why.to_string());
        tracing::warn!(channel = self.channel.name(), dropped = self.since, "dropped a message: {why}");
        self.last = Some(Instant::now());
        self.since = 0;
    }
}
