//! The real transport: reqwest over rustls, HTTP/1.1, connections kept alive.

use super::fetch::is_loopback;
use super::guard::{Guard, Inward};
use super::transport::{BoxFuture, Chunks, Content, Failure, PATIENCE, Part, Request, Response, Transport};
use crate::serve::FILE_NAME_HEADER;
use bytes::Bytes;
use dds_core::{Error, Kind, Result};
use futures_util::StreamExt;
use reqwest::Url;
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderValue};
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// Connections at a time, of one client.
pub const MAX_CONNECTIONS: usize = 32;
const CONNECT_TIME: Duration = Duration::from_secs(10);
const FILE_CHUNK: usize = 256 << 10;

pub struct Http {
    client: reqwest::Client,
}

impl Http {
    /// A client for the server at `base`, and for where it redirects to. A server of this machine is
    /// reached directly, whatever proxy the environment names.
    pub fn new(base: &Url) -> Result<Self> {
        Self::guarded(is_loopback(base), Guard::new(base))
    }

    /// As [`Http::new`], for a server that the settings of a repository from a public host name: no
    /// address of this machine's network is reached, whatever the name resolves to.
    pub fn outward(base: &Url) -> Result<Self> {
        Self::guarded(is_loopback(base), Guard::outward())
    }

    /// For addresses of many servers, none of them on this machine's network.
    pub fn public() -> Result<Self> {
        Self::guarded(false, Guard::outward())
    }

    /// For addresses of many servers, wherever they are. Without `proxy`, none of the environment is used.
    pub fn anywhere(proxy: bool) -> Result<Self> {
        Self::guarded(!proxy, Guard::anywhere())
    }

    fn guarded(direct: bool, guard: Guard) -> Result<Self> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("dds/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .http1_only()
            .pool_max_idle_per_host(MAX_CONNECTIONS)
            .connect_timeout(CONNECT_TIME)
            .tcp_nodelay(true);
        if direct {
            builder = builder.no_proxy();
        }
        if direct || !behind_proxy() {
            builder = builder.dns_resolver(Arc::new(guard));
        }
        let client = builder
            .build()
            .map_err(|e| Error::new(Kind::Unavailable, format!("cannot set up HTTPS: {}", reason(&e))))?;
        Ok(Self { client })
    }
}

/// Whether reqwest will follow a proxy of the environment. Then the proxy looks names up and decides what
/// is reached, and its own name is one of this network as often as not.
fn behind_proxy() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"].into_iter().any(set)
}

impl Transport for Http {
    fn send(&self, request: Request) -> BoxFuture<Result<Response, Failure>> {
        let client = self.client.clone();
        Box::pin(async move {
            let patience = request.patience;
            let mut builder = client.request(request.method, request.url).headers(request.headers);
            builder = match request.body {
                Content::Empty => builder,
                Content::Form(parts) => builder.multipart(form(parts).await?),
                Content::Fields(fields) => builder.form(&fields),
                Content::Bytes(bytes) => builder.body(bytes),
                Content::File { path, len } => {
                    builder.header(CONTENT_LENGTH, len).body(file_body(&path, len).await?)
                }
            };
            let response = tokio::time::timeout(patience, builder.send())
                .await
                .map_err(|_| Failure::Timeout)?
                .map_err(failure)?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let chunks = response.bytes_stream();
            let body: Chunks =
                Box::pin(futures_util::stream::unfold(Some(chunks), move |chunks| async move {
                    let mut chunks = chunks?;
                    match tokio::time::timeout(patience.min(PATIENCE), chunks.next()).await {
                        Ok(None) => None,
                        Ok(Some(Ok(chunk))) => Some((Ok(chunk), Some(chunks))),
                        Ok(Some(Err(e))) => Some((Err(failure(e)), None)),
                        Err(_) => Some((Err(Failure::Timeout), None)),
                    }
                }));
            Ok(Response { status, headers, body })
        })
    }
}

async fn form(parts: Vec<Part>) -> Result<reqwest::multipart::Form, Failure> {
    let mut form = reqwest::multipart::Form::new();
    for part in parts {
        match part {
            Part::Text { name, value } => form = form.text(name, value),
            Part::File { name, file_name, path, len } => {
                let body = file_body(&path, len).await?;
                // Forms cannot tell `"` from `%22` in a name; our own server reads this instead.
                let mut exact = HeaderMap::new();
                if let Ok(value) = HeaderValue::from_str(&crate::percent::path(&file_name)) {
                    exact.insert(FILE_NAME_HEADER, value);
                }
                let part = reqwest::multipart::Part::stream_with_length(body, len);
                let part = part.file_name(file_name).headers(exact);
                form = form.part(name, part);
            }
        }
    }
    Ok(form)
}

/// Not sent yet: a file that vanished had no effect on the server.
async fn file_body(path: &std::path::Path, len: u64) -> Result<reqwest::Body, Failure> {
    let file = tokio::fs::File::open(path)
        .await
        .map_err(|e| Failure::Connect(format!("{}: {e}", path.display())))?;
    Ok(reqwest::Body::wrap_stream(futures_util::stream::unfold(file.take(len), |mut file| async move {
        let mut chunk = vec![0; FILE_CHUNK];
        match file.read(&mut chunk).await {
            Ok(0) => None,
            Ok(n) => {
                chunk.truncate(n);
                Some((Ok(Bytes::from(chunk)), file))
            }
            Err(e) => Some((Err(e), file)),
        }
    })))
}

fn failure(e: reqwest::Error) -> Failure {
    if let Some(inward) = causes(&e).find_map(|cause| cause.downcast_ref::<Inward>()) {
        return Failure::Forbidden(inward.to_string());
    }
    let text = reason(&e);
    if e.is_timeout() && !e.is_connect() {
        Failure::Timeout
    } else if e.is_connect() || e.is_builder() {
        Failure::Connect(text)
    } else {
        Failure::Broken(text)
    }
}

fn causes(e: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    let mut next = e.source();
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}

/// The innermost cause: the outer ones name the URL.
fn reason(e: &reqwest::Error) -> String {
    causes(e).last().map(ToString::to_string).unwrap_or_else(|| {
        if e.is_timeout() { "no connection in time".into() } else { "the transfer failed".into() }
    })
}
