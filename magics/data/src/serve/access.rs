//! The access log: one line for each request, in the common log format with the milliseconds behind it.
//!
//! `ADDRESS - - [TIME] "METHOD PATH HTTP/1.1" STATUS BYTES MILLISECONDS`. No query and no header is
//! written: they may hold secrets.

use crate::utc;
use axum::body::Body;
use axum::http::{Request, Response, Version, header};
use dds_core::mime::printable;
use dds_core::{Error, Result};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime};

/// Of a path that is written.
const MAX_PATH: usize = 2000;

/// Where the lines go.
pub struct AccessLog(Mutex<Box<dyn Write + Send>>);

impl std::fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AccessLog")
    }
}

impl AccessLog {
    /// Adds to a file, which is made when it is missing.
    pub fn file(path: &Path) -> Result<Self> {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        Ok(Self::to(file.map_err(|e| Error::io(path, &e).context("--access-log"))?))
    }

    pub fn to(writer: impl Write + Send + 'static) -> Self {
        Self(Mutex::new(Box::new(writer)))
    }

    pub(super) fn tell(&self, asked: &Asked, response: &Response<Body>) {
        let length = response.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok());
        let length = length
            .and_then(|n| n.parse().ok())
            .or_else(|| axum::body::HttpBody::size_hint(response.body()).exact());
        self.tell_of(asked, response.status().as_u16(), length);
    }

    /// The same of an answer of `length` bytes, where that is known.
    pub(super) fn tell_of(&self, asked: &Asked, status: u16, length: Option<u64>) {
        let line = asked.line(status, length, SystemTime::now());
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(e) = out.write_all(line.as_bytes()).and_then(|()| out.flush()) {
            tracing::warn!("access log: {e}");
        }
    }
}

/// A request, as far as the log tells it.
pub(super) struct Asked {
    peer: Option<SocketAddr>,
    what: String,
    began: Instant,
}

impl Asked {
    pub fn of<B>(request: &Request<B>) -> Self {
        let peer = request.extensions().get::<SocketAddr>().copied();
        Self::new(peer, request.method().as_str(), request.uri().path(), request.version())
    }

    pub fn new(peer: Option<SocketAddr>, method: &str, path: &str, version: Version) -> Self {
        let path: String = printable(path).replace('"', "%22").chars().take(MAX_PATH).collect();
        Self { peer, what: format!("{method} {path} {version:?}"), began: Instant::now() }
    }

    fn line(&self, status: u16, length: Option<u64>, now: SystemTime) -> String {
        let length = length.map(|n| n.to_string());
        format!(
            "{} - - [{}] \"{}\" {} {} {}\n",
            self.peer.map_or_else(|| "-".to_owned(), |p| p.ip().to_string()),
            utc::log(now),
            self.what,
            status,
            length.as_deref().unwrap_or("-"),
            self.began.elapsed().as_millis(),
        )
    }
}
