//! The client's side of SFTP, version 3, over any pair of streams: as much of it as a store of objects
//! needs. <https://datatracker.ietf.org/doc/html/draft-ietf-secsh-filexfer-02>
//!
//! Requests of many callers are under way at once; each is told its answer by number. The other side is
//! not trusted: packets are bounded, and an answer that was not asked for ends the connection.

use crate::flight::lock;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use dds_core::{Error, Kind, Result};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};

const VERSION: u32 = 3;
/// What every server takes in one request (section 3).
pub const CHUNK: u32 = 32 << 10;
const MAX_PACKET: u32 = 256 << 10;
/// Requests that wait to be written.
const QUEUED: usize = 64;
/// No single answer of a file server takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

const INIT: u8 = 1;
const OPEN: u8 = 3;
const CLOSE: u8 = 4;
const READ: u8 = 5;
const WRITE: u8 = 6;
const REMOVE: u8 = 13;
const MKDIR: u8 = 14;
const STAT: u8 = 17;
const RENAME: u8 = 18;
const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;
const ATTRS: u8 = 105;
const EXTENDED: u8 = 200;

const OK: u32 = 0;
const EOF: u32 = 1;
const NO_SUCH_FILE: u32 = 2;
const PERMISSION_DENIED: u32 = 3;

pub const FOR_READING: u32 = 1;
/// Write, make, and empty what is there.
pub const FOR_WRITING: u32 = 2 | 8 | 16;

type Waiting = Arc<Mutex<Option<HashMap<u32, oneshot::Sender<(u8, Bytes)>>>>>;

/// A connection.
pub struct Sftp {
    send: mpsc::Sender<Bytes>,
    /// None once the connection has ended.
    waiting: Waiting,
    next: AtomicU32,
}

/// A status that is no success, or another answer than the one asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    Missing,
    Denied(String),
    Failed(String),
    /// The connection is gone; it is not known whether the request had an effect.
    Ended,
}

impl Sftp {
    /// Shakes hands. Needs a runtime; its tasks end with the streams.
    pub async fn connect<R, W>(mut from: R, mut to: W) -> Result<Self>
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let lost = |e: std::io::Error| Error::new(Kind::Unreachable, format!("no SFTP server answers: {e}"));
        let mut hello = BytesMut::new();
        hello.put_u32(5);
        hello.put_u8(INIT);
        hello.put_u32(VERSION);
        to.write_all(&hello).await.map_err(lost)?;
        to.flush().await.map_err(lost)?;
        let (kind, _) = read_packet(&mut from).await.map_err(lost)?;
        if kind != 2 {
            return Err(Error::new(Kind::Unreachable, "what answers is not an SFTP server"));
        }
        let waiting: Waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        let (send, mut queue) = mpsc::channel::<Bytes>(QUEUED);
        tokio::spawn(async move {
            while let Some(packet) = queue.recv().await {
                if to.write_all(&packet).await.is_err() || to.flush().await.is_err() {
                    break;
                }
            }
        });
        let answers = waiting.clone();
        tokio::spawn(async move {
            while let Ok((kind, mut body)) = read_packet(&mut from).await {
                if body.len() < 4 {
                    break;
                }
                let id = body.get_u32();
                let Some(caller) = lock(&answers).as_mut().and_then(|w| w.remove(&id)) else { break };
                // The caller may have been interrupted.
                let _ = caller.send((kind, body));
            }
            lock(&answers).take();
        });
        Ok(Self { send, waiting, next: AtomicU32::new(0) })
    }

    pub fn is_open(&self) -> bool {
        lock(&self.waiting).is_some() && !self.send.is_closed()
    }

    async fn ask(&self, kind: u8, body: &[u8]) -> std::result::Result<(u8, Bytes), Refusal> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (tell, told) = oneshot::channel();
        lock(&self.waiting).as_mut().ok_or(Refusal::Ended)?.insert(id, tell);
        let mut packet = BytesMut::with_capacity(body.len() + 9);
        packet.put_u32(u32::try_from(body.len() + 5).map_err(|_| Refusal::Failed("too long".into()))?);
        packet.put_u8(kind);
        packet.put_u32(id);
        packet.put_slice(body);
        self.send.send(packet.freeze()).await.map_err(|_| Refusal::Ended)?;
        match tokio::time::timeout(PATIENCE, told).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Refusal::Ended),
            Err(_) => Err(Refusal::Failed("no answer in time".into())),
        }
    }

    /// The length of a file; none when there is none.
    pub async fn len(&self, path: &str) -> std::result::Result<Option<u64>, Refusal> {
        match expect(self.ask(STAT, &text(path)).await?, ATTRS) {
            Ok(mut attrs) => {
                let has_size = attrs.remaining() >= 12 && attrs.get_u32() & 1 != 0;
                if has_size {
                    Ok(Some(attrs.get_u64()))
                } else {
                    Err(Refusal::Failed("tells no size".into()))
                }
            }
            Err(Refusal::Missing) => Ok(None),
            Err(e) => Err(e),
        }
    }

    pub async fn open(&self, path: &str, flags: u32) -> std::result::Result<Bytes, Refusal> {
        let mut body = BytesMut::from(&text(path)[..]);
        body.put_u32(flags);
        body.put_u32(0);
        let mut answer = expect(self.ask(OPEN, &body).await?, HANDLE)?;
        take_text(&mut answer).ok_or_else(broken)
    }

    /// At most [`CHUNK`] bytes at `offset`; none at the end.
    pub async fn read(
        &self,
        handle: &Bytes,
        offset: u64,
        len: u32,
    ) -> std::result::Result<Option<Bytes>, Refusal> {
        let mut body = counted(handle);
        body.put_u64(offset);
        body.put_u32(len.min(CHUNK));
        match self.ask(READ, &body).await? {
            (DATA, mut answer) => {
                let data =
                    take_text(&mut answer).filter(|d| d.len() as u64 <= u64::from(len)).ok_or_else(broken)?;
                Ok(Some(data))
            }
            (STATUS, answer) => match status(answer) {
                (EOF, _) => Ok(None),
                other => Err(refusal(other)),
            },
            _ => Err(broken()),
        }
    }

    pub async fn write(&self, handle: &Bytes, offset: u64, data: &[u8]) -> std::result::Result<(), Refusal> {
        let mut body = counted(handle);
        body.put_u64(offset);
        body.put_slice(&counted(data));
        done(self.ask(WRITE, &body).await?)
    }

    pub async fn close(&self, handle: &Bytes) -> std::result::Result<(), Refusal> {
        done(self.ask(CLOSE, &counted(handle)).await?)
    }

    pub async fn make_folder(&self, path: &str) -> std::result::Result<(), Refusal> {
        let mut body = BytesMut::from(&text(path)[..]);
        body.put_u32(0);
        done(self.ask(MKDIR, &body).await?)
    }

    pub async fn remove(&self, path: &str) -> std::result::Result<(), Refusal> {
        done(self.ask(REMOVE, &text(path)).await?)
    }

    /// Replaces what is at `to`, where the server can (OpenSSH's extension); else `to` must be free.
    pub async fn rename(&self, from: &str, to: &str) -> std::result::Result<(), Refusal> {
        let mut body = BytesMut::from(&text("posix-rename@openssh.com")[..]);
        body.put_slice(&text(from));
        body.put_slice(&text(to));
        match done(self.ask(EXTENDED, &body).await?) {
            Err(Refusal::Failed(_)) => {
                let mut body = BytesMut::from(&text(from)[..]);
                body.put_slice(&text(to));
                done(self.ask(RENAME, &body).await?)
            }
            other => other,
        }
    }
}

async fn read_packet<R: AsyncRead + Unpin>(from: &mut R) -> std::io::Result<(u8, Bytes)> {
    let len = from.read_u32().await?;
    if len == 0 || len > MAX_PACKET {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "not a packet of SFTP"));
    }
    let kind = from.read_u8().await?;
    let mut body = vec![0; len as usize - 1];
    from.read_exact(&mut body).await?;
    Ok((kind, body.into()))
}

fn counted(bytes: &[u8]) -> BytesMut {
    let mut out = BytesMut::with_capacity(bytes.len() + 4);
    out.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
    out
}

fn text(text: &str) -> BytesMut {
    counted(text.as_bytes())
}

fn take_text(from: &mut Bytes) -> Option<Bytes> {
    if from.remaining() < 4 {
        return None;
    }
    let len = from.get_u32() as usize;
    (from.remaining() >= len).then(|| from.split_to(len))
}

fn status(mut answer: Bytes) -> (u32, String) {
    if answer.remaining() < 4 {
        return (u32::MAX, String::new());
    }
    let code = answer.get_u32();
    let said = take_text(&mut answer).unwrap_or_default();
    (code, dds_core::mime::printable(&String::from_utf8_lossy(&said)).chars().take(200).collect())
}

fn refusal((code, said): (u32, String)) -> Refusal {
    match code {
        NO_SUCH_FILE => Refusal::Missing,
        PERMISSION_DENIED => Refusal::Denied(said),
        _ => Refusal::Failed(said),
    }
}

fn expect(answer: (u8, Bytes), kind: u8) -> std::result::Result<Bytes, Refusal> {
    match answer {
        (got, body) if got == kind => Ok(body),
        (STATUS, body) => Err(refusal(status(body))),
        _ => Err(broken()),
    }
}

fn done(answer: (u8, Bytes)) -> std::result::Result<(), Refusal> {
    match answer {
        (STATUS, body) => match status(body) {
            (OK, _) => Ok(()),
            other => Err(refusal(other)),
        },
        _ => Err(broken()),
    }
}

fn broken() -> Refusal {
    Refusal::Failed("an answer that was not asked for".into())
}
