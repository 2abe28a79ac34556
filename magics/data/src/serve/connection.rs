//! One connection. What asks for a small file that is known and verified is answered here: its head is
//! looked at in place, and the kernel sends the file without copying it. Every other request is hyper's: one
//! without a body alone, after which the next is looked at here again, any other with all that follow it.
//!
//! Nothing is answered here that hyper would not answer, and with the same headers. The bytes are those of the
//! file while they are sent: one that is changed in its place meanwhile may arrive whole and wrong before the
//! connection is closed, as from any server that leaves the sending to the kernel.

mod front;

use super::access::Asked;
use super::prepared::Ready;
use super::{MAX_HEADER_BYTES, Service, auth};
use axum::http::Version;
use front::{Front, Told};
use hyper_util::rt::TokioTimer;
use socket2::SockRef;
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// For sending the headers, and for an idle connection.
const HEADER_TIME: Duration = Duration::from_secs(30);
/// A longer head is hyper's.
const MAX_HEAD: usize = 8 << 10;
const MAX_HEADERS: usize = 32;
const FIRST_READ: usize = 2 << 10;
/// `MSG_NOSIGNAL` and `MSG_MORE` of `send(2)`: a client that is gone is an error; more follows at once.
const NO_SIGNAL: i32 = 0x4000;
const MORE: i32 = 0x8000;

/// What to do with the bytes that have come.
enum Step {
    /// The head is not whole.
    Wait,
    /// Of the head and what it asks for.
    Answer(usize, Whole),
    /// One head of so many bytes, without a body.
    One(usize),
    /// Whatever it is.
    All,
}

/// A small file, asked for as a whole.
struct Whole {
    ready: Ready,
    with_body: bool,
    asked: Option<Asked>,
}

/// The time within which a client must have sent a head.
struct Patience {
    sleep: Pin<Box<Sleep>>,
    until: Instant,
}

/// Speaks until the client or an error ends it.
pub async fn speak(service: &Arc<Service>, mut stream: TcpStream, peer: SocketAddr) {
    let mut read = Vec::with_capacity(FIRST_READ);
    let mut patience = Patience::new();
    loop {
        match step(service, &read, peer) {
            Step::Wait => {
                if !patience.fill(&mut stream, &mut read).await {
                    return;
                }
                continue;
            }
            Step::Answer(head, whole) => {
                #[cfg(test)]
                tests::count(peer);
                read.drain(..head);
                if let Err(e) = whole.send(service, &stream).await {
                    tracing::debug!("connection ended: {e}");
                    return;
                }
            }
            Step::One(head) => {
                let ahead = read.split_off(head);
                let Some(back) = one(service, Front::one(stream, read, ahead), peer).await else { return };
                (stream, read) = back;
            }
            Step::All => return all(service, Front::all(stream, read), peer).await,
        }
        patience.renew();
    }
}

/// What the bytes ask for. Takes no longer than opening a file.
fn step(service: &Service, read: &[u8], peer: SocketAddr) -> Step {
    let begun = |method: &[u8]| read.iter().zip(method).all(|(a, b)| a == b);
    if !begun(b"GET ") && !begun(b"HEAD ") {
        return Step::All;
    }
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let head = match request.parse(read) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) if read.len() < MAX_HEAD => return Step::Wait,
        _ => return Step::All,
    };
    let (Some(method), Some(target), Some(1)) = (request.method, request.path, request.version) else {
        return Step::All;
    };
    let (mut host, mut authorization, mut all) = (None, None, true);
    for header in request.headers.iter() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        let text = || std::str::from_utf8(header.value).ok();
        let again = if is("host") {
            host.replace(text()).is_some()
        } else if is("authorization") {
            authorization.replace(text()).is_some()
        } else if is("connection") {
            !header.value.eq_ignore_ascii_case(b"keep-alive")
        } else {
            ["content-length", "transfer-encoding", "expect", "upgrade", "te", "trailer"].into_iter().any(is)
        };
        if again {
            return Step::All;
        }
        all &= !["range", "if-range", "if-none-match"].into_iter().any(is);
    }
    let common = &service.site.common;
    let whole = || {
        let plain = |c: u8| c.is_ascii_graphic() && c != b'#';
        if !all || !target.starts_with('/') || !target.bytes().all(plain) {
            return None;
        }
        auth::check_host(common, Some(host??)).ok()?;
        auth::check_token(common.token.as_ref(), authorization.unwrap_or(Some(""))?).ok()?;
        let log = || {
            let path = target.split_once('?').map_or(target, |(path, _)| path);
            Asked::new(Some(peer), method, path, Version::HTTP_11)
        };
        let asked = common.access_log.is_some().then(log);
        let ready = service.prepared.get(&service.site, target)?;
        Some(Whole { ready, with_body: method == "GET", asked })
    };
    whole().map_or(Step::One(head), |whole| Step::Answer(head, whole))
}

impl Whole {
    /// Errors: the client is gone, or the file changed while it was sent.
    async fn send(self, service: &Service, stream: &TcpStream) -> io::Result<()> {
        let Self { ready, with_body, asked } = self;
        let answer = &ready.answer;
        let length = if with_body { usize::try_from(answer.len()).unwrap_or(0) } else { 0 };
        if let (Some(log), Some(asked)) = (&service.site.common.access_log, asked) {
            log.tell_of(&asked, 200, Some(answer.len()));
        }
        let head = with_date(answer.head());
        let socket = SockRef::from(stream);
        let mut sent = 0;
        while let Some(rest) = head.get(sent..).filter(|rest| !rest.is_empty()) {
            let flags = if length > 0 { NO_SIGNAL | MORE } else { NO_SIGNAL };
            sent += written(stream, || socket.send_with_flags(rest, flags)).await?;
        }
        let mut sent = 0;
        while let Some(rest) = NonZeroUsize::new(length - sent) {
            sent += written(stream, || socket.sendfile(&ready.file, sent, Some(rest))).await?;
        }
        if ready.is_still() {
            return Ok(());
        }
        Err(io::Error::other("the file changed while it was sent"))
    }
}

/// As much as the kernel takes, once it takes something. Errors: `WriteZero` where that is nothing.
async fn written(stream: &TcpStream, mut write: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match stream.try_io(Interest::WRITABLE, &mut write) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// The head with its last line, which is made once a second.
fn with_date(head: &[u8]) -> Vec<u8> {
    thread_local!(static DATE: RefCell<(u64, String)> = RefCell::default());
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |past| past.as_secs());
    DATE.with_borrow_mut(|(made, line)| {
        if *made != second || line.is_empty() {
            (*made, *line) = (second, format!("date: {}\r\n\r\n", httpdate::fmt_http_date(now)));
        }
        [head, line.as_bytes()].concat()
    })
}

impl Patience {
    fn new() -> Self {
        let until = Instant::now() + HEADER_TIME;
        Self { sleep: Box::pin(tokio::time::sleep_until(until)), until }
    }

    /// From now on.
    fn renew(&mut self) {
        self.until = Instant::now() + HEADER_TIME;
    }

    /// Reads some more; false when there is none, or none in time.
    async fn fill(&mut self, stream: &mut TcpStream, read: &mut Vec<u8>) -> bool {
        read.reserve(FIRST_READ / 2);
        loop {
            tokio::select! {
                biased;
                n = stream.read_buf(read) => return n.is_ok_and(|n| n > 0),
                () = self.sleep.as_mut() => {
                    if Instant::now() >= self.until {
                        return false;
                    }
                    self.sleep.as_mut().reset(self.until);
                }
            }
        }
    }
}

fn http() -> hyper::server::conn::http1::Builder {
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).max_buf_size(MAX_HEADER_BYTES);
    builder
}

/// Has hyper answer one request; gives back the stream and what came behind it, none when it has ended.
async fn one(service: &Arc<Service>, front: Front, peer: SocketAddr) -> Option<(TcpStream, Vec<u8>)> {
    let progress = front.progress();
    let told = progress.clone();
    let answer = hyper::service::service_fn(move |request| {
        let (service, told) = (service.clone(), told.clone());
        async move { Ok::<_, Infallible>(service.answer(request, peer).await.map(|body| Told::new(body, told))) }
    });
    let mut connection = http().serve_connection(front, answer);
    let ended = poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
        Poll::Ready(ended) => Poll::Ready(Some(ended)),
        Poll::Pending if progress.is_sent() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    if let Some(ended) = ended.await {
        tell(ended);
        return None;
    }
    let parts = connection.into_parts();
    parts.read_buf.is_empty().then(|| parts.io.back())
}

/// Leaves the rest of the connection to hyper.
async fn all(service: &Arc<Service>, front: Front, peer: SocketAddr) {
    let answer = hyper::service::service_fn(move |request| {
        let service = service.clone();
        async move { Ok::<_, Infallible>(service.answer(request, peer).await) }
    });
    tell(http().serve_connection(front, answer).await);
}

fn tell(ended: hyper::Result<()>) {
    if let Err(e) = ended {
        tracing::debug!("connection ended: {e}");
    }
}

#[cfg(test)]
mod tests;
