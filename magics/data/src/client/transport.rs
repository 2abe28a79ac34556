//! The seam to the network: one request, one answer. No retries, no redirects, no credentials of its
//! own. Implemented by [`super::http`] (the real one), [`super::memory`] and [`super::faulty`].

use bytes::Bytes;
use futures_util::Stream;
use reqwest::Method;
use reqwest::header::HeaderMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
pub type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, Failure>> + Send>>;

pub trait Transport: Send + Sync {
    /// Sends one request and gives the answer as soon as its headers are here. A status is an answer,
    /// not a failure.
    fn send(&self, request: Request) -> BoxFuture<Result<Response, Failure>>;
}

#[derive(Clone, Debug)]
pub struct Request {
    pub method: Method,
    pub url: reqwest::Url,
    pub headers: HeaderMap,
    pub body: Content,
    /// For the answer's headers, and then for each piece of its body.
    pub patience: Duration,
}

impl Request {
    pub fn get(url: reqwest::Url) -> Self {
        Self { method: Method::GET, url, headers: HeaderMap::new(), body: Content::Empty, patience: PATIENCE }
    }
}

/// DagsHub's own default (`DAGSHUB_HTTP_TIMEOUT`).
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What a request carries.
#[derive(Clone, Debug)]
pub enum Content {
    Empty,
    Form(Vec<Part>),
    /// `application/x-www-form-urlencoded`.
    Fields(Vec<(&'static str, String)>),
    Bytes(Bytes),
    /// The first `len` bytes of a file of this machine.
    File {
        path: PathBuf,
        len: u64,
    },
}

/// A field of a multipart form.
#[derive(Clone, Debug)]
pub enum Part {
    Text { name: &'static str, value: String },
    File { name: &'static str, file_name: String, path: PathBuf, len: u64 },
}

pub struct Response {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Chunks,
}

/// Why there is no answer, or no rest of it. The texts hold no URL, so no secret of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing was sent: the request had no effect.
    Connect(String),
    /// Nothing was sent, and nothing will be: the address is none that this client may reach.
    Forbidden(String),
    /// Broken off; whether the request had an effect is not known.
    Broken(String),
    Timeout,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect(why) | Self::Forbidden(why) | Self::Broken(why) => f.write_str(why),
            Self::Timeout => f.write_str("no answer in time"),
        }
    }
}
