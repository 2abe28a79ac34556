//! A stream as hyper sees it: first what was read of it already, then itself, or nothing more until the
//! one request that hyper was given is answered.

use super::super::MAX_HEADER_BYTES;
use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

/// Read at a time of what comes behind the one request.
const BEHIND: usize = 2 << 10;

/// How far one answer is.
#[derive(Debug, Default)]
pub struct Progress {
    /// Hyper has taken all of the body.
    taken: AtomicBool,
    /// And all of it is written.
    sent: AtomicBool,
}

impl Progress {
    pub fn is_sent(&self) -> bool {
        self.sent.load(Ordering::Relaxed)
    }
}

pub struct Front {
    stream: TokioIo<TcpStream>,
    /// What hyper reads first.
    given: Bytes,
    /// For one request only: what came behind it.
    one: Option<Vec<u8>>,
    progress: Arc<Progress>,
}

impl Front {
    /// For the one request that `given` is; `ahead` came behind it.
    pub fn one(stream: TcpStream, given: Vec<u8>, ahead: Vec<u8>) -> Self {
        Self { one: Some(ahead), ..Self::all(stream, given) }
    }

    pub fn all(stream: TcpStream, given: Vec<u8>) -> Self {
        Self { stream: TokioIo::new(stream), given: given.into(), one: None, progress: Arc::default() }
    }

    pub fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    /// The stream, and what came behind the one request.
    pub fn back(self) -> (TcpStream, Vec<u8>) {
        (self.stream.into_inner(), self.one.unwrap_or_default())
    }
}

impl Read for Front {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.given.is_empty() {
            let some = this.given.split_to(this.given.len().min(buf.remaining()));
            buf.put_slice(&some);
            return Poll::Ready(Ok(()));
        }
        let Some(ahead) = &mut this.one else {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        };
        // Hyper looks for the end of the connection. What is no end waits for its turn.
        while ahead.len() < MAX_HEADER_BYTES {
            let mut space = [0; BEHIND];
            let mut some = ReadBuf::new(&mut space);
            ready!(Pin::new(this.stream.inner_mut()).poll_read(cx, &mut some))?;
            match some.filled() {
                [] if ahead.is_empty() => return Poll::Ready(Ok(())),
                [] => break,
                some => ahead.extend_from_slice(some),
            }
        }
        Poll::Pending
    }
}

impl Write for Front {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Called by hyper when it has nothing left to write.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        if self.progress.taken.load(Ordering::Relaxed) {
            self.progress.sent.store(true, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A body that tells when hyper has let go of it.
pub struct Told {
    body: Body,
    progress: Arc<Progress>,
}

impl Told {
    pub fn new(body: Body, progress: Arc<Progress>) -> Self {
        Self { body, progress }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.progress.taken.store(true, Ordering::Relaxed);
    }
}

impl HttpBody for Told {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
