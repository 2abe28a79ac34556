//! Azure Blob Storage: blobs of one container, by its REST API. Credentials are found where dvc and the
//! Azure command line find them (`account`); requests are signed with the account's key, or carry a
//! shared access signature (`sign`).
//!
//! Files of more than 5,000 MiB cannot be uploaded in one request and are refused. Logins by Microsoft Entra
//! (`tenant_id`, `client_id`, managed identities) are not followed.

mod account;
mod sign;

use super::{Key, Lengths, Remote, check_address, check_tls, refused, s3, upload_patience};
use crate::client::Retry;
use crate::client::fetch::{Anonymous, Fetcher, Got, Sign, content_length};
use crate::client::http::Http;
use crate::client::transport::{BoxFuture, Content, PATIENCE, Request, Response};
use crate::dvc::RemoteConfig;
use crate::percent;
use account::Proof;
use bytes::Bytes;
use dds_core::{Config, Error, Kind, Result};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use sign::{Sas, SharedKey};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// What "Put Blob" takes since version 2019-12-12 of the API.
const MAX_PUT_BYTES: u64 = 5_000 << 20;
const PAGE: &str = "5000";
/// A page of a listing: a name has at most 1,024 characters.
const MAX_PAGE_BYTES: u64 = 32 << 20;

#[derive(Clone)]
pub struct AzureRemote {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    shown: String,
    prefix: String,
    /// Of the container.
    base: Url,
    fetcher: Fetcher,
}

impl AzureRemote {
    pub fn open(remote: &RemoteConfig, config: &Config, elsewhere: bool) -> Result<Self> {
        check_tls(remote)?;
        let rest = remote.url().split_once("://").map_or("", |(_, rest)| rest);
        let (container, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '$';
        if container.is_empty() || !container.chars().all(plain) {
            return Err(remote.broken("url", "names no container: azure://CONTAINER/PATH"));
        }
        let found = account::find(remote, config)?;
        let elsewhere = elsewhere && found.from_repository;
        check_address(remote, &found.endpoint, elsewhere)?;
        let mut base = found.endpoint.clone();
        base.set_path(&format!("{}/{container}", base.path().trim_end_matches('/')));
        let signer: Arc<dyn Sign> = match found.proof {
            Proof::Key(key) => Arc::new(SharedKey { account: found.account, key }),
            Proof::Sas(token) => Arc::new(Sas { token }),
            Proof::None => Arc::new(Anonymous),
        };
        let http = if elsewhere { Http::outward(&base)? } else { Http::new(&base)? };
        let parts = [prefix.trim_matches('/'), remote.below()];
        let prefix = parts.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join("/");
        let tail = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
        let inner = Inner {
            name: remote.name.clone(),
            shown: format!("azure://{container}{tail}"),
            prefix,
            fetcher: Fetcher::new(Arc::new(http), base.clone(), signer, Retry::default()),
            base,
        };
        Ok(Self { inner: Arc::new(inner) })
    }
}

impl Inner {
    fn key(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}/{key}", self.prefix) }
    }

    fn url(&self, key: &Key) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/{}", self.base.path(), percent::path(&self.key(&key.path))));
        if let Some(version) = &key.version {
            url.set_query(Some(&format!("versionid={}", percent::segment(version))));
        }
        url
    }

    async fn send(&self, request: Request) -> Result<Response> {
        let mut request = request;
        sign::version(&mut request.headers);
        self.fetcher.send(&request).await.map_err(|e| self.named(e))
    }

    /// A missing blob is none; a missing container is an error.
    async fn none<T>(&self, response: Response) -> Result<Option<T>> {
        let e = self.refused(response).await;
        if e.message.contains("ContainerNotFound") { Err(e) } else { Ok(None) }
    }

    async fn refused(&self, response: Response) -> Error {
        refused(&self.name, &self.shown, |t| self.fetcher.signer.safe(t), response).await
    }

    fn named(&self, e: Error) -> Error {
        if e.kind == Kind::Unreachable { e.context(format!("the DVC remote {:?}", self.name)) } else { e }
    }

    async fn len(&self, key: &Key) -> Result<Option<u64>> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let request = Request { method: Method::HEAD, headers, ..Request::get(self.url(key)) };
        let response = self.send(request).await?;
        match response.status {
            200..=299 => content_length(&response.headers).map(Some).ok_or_else(|| {
                Error::new(Kind::Unreachable, format!("{}: the server tells no sizes", self.shown))
            }),
            404 => Ok(None),
            _ => Err(self.refused(response).await),
        }
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>, max: u64) -> Result<Option<Bytes>> {
        match self.fetcher.get(self.url(key), range, max, false).await.map_err(|e| self.named(e))? {
            Got::Answer(answer) => Ok(Some(answer.bytes)),
            Got::Refused(r) if r.status == 404 => self.none(r).await,
            Got::Refused(r) => Err(self.refused(r).await),
        }
    }

    async fn put(&self, key: &Key, file: PathBuf, len: u64) -> Result<()> {
        if len > MAX_PUT_BYTES {
            return Err(Error::new(
                Kind::Limit,
                format!("{}: {len} bytes are more than one upload takes", self.shown),
            )
            .hint("run `dvc push` in the repository"));
        }
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static("x-ms-blob-type"), HeaderValue::from_static("BlockBlob"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let request = Request {
            method: Method::PUT,
            url: self.url(key),
            headers,
            body: Content::File { path: file, len },
            patience: if len > 0 { upload_patience(len) } else { PATIENCE },
        };
        let response = self.send(request).await?;
        match response.status {
            200..=299 => Ok(()),
            _ => Err(self.refused(response).await),
        }
    }

    async fn lengths(&self, prefix: &str, max: usize) -> Result<Option<Lengths>> {
        let (below, own) = (self.key(prefix), self.key(""));
        let mut found = Vec::new();
        let mut marker = String::new();
        loop {
            let mut url = self.base.clone();
            let query = [
                ("restype", "container"),
                ("comp", "list"),
                ("prefix", &below),
                ("maxresults", PAGE),
                ("marker", &marker),
            ];
            let pairs: Vec<String> = query
                .iter()
                .filter(|(_, value)| !value.is_empty())
                .map(|(name, value)| format!("{name}={}", percent::segment(value)))
                .collect();
            url.set_query(Some(&pairs.join("&")));
            let got = self.fetcher.get(url, None, MAX_PAGE_BYTES, false).await.map_err(|e| self.named(e))?;
            let answer = match got {
                Got::Answer(answer) => answer,
                // Some may read and not list.
                Got::Refused(r) if r.status == 403 => return Ok(None),
                Got::Refused(r) => return Err(self.refused(r).await),
            };
            let text = String::from_utf8_lossy(&answer.bytes);
            for blob in text.split("<Blob>").skip(1) {
                let (Some(key), Some(len)) = (s3::tag(blob, "Name"), s3::tag(blob, "Content-Length")) else {
                    continue;
                };
                if let (Some(key), Ok(len)) = (key.strip_prefix(&own), len.parse()) {
                    found.push((key.to_owned(), len));
                }
            }
            match s3::tag(&text, "NextMarker").filter(|next| !next.is_empty()) {
                Some(next) if found.len() < max => marker = next,
                _ => return Ok(Some(found)),
            }
        }
    }
}

impl Remote for AzureRemote {
    fn shown(&self) -> &str {
        &self.inner.shown
    }

    fn len(&self, key: &Key) -> BoxFuture<Result<Option<u64>>> {
        let (inner, key) = (self.inner.clone(), key.clone());
        Box::pin(async move { inner.len(&key).await })
    }

    fn get(&self, key: &Key, range: Option<Range<u64>>, max: u64) -> BoxFuture<Result<Option<Bytes>>> {
        let (inner, key) = (self.inner.clone(), key.clone());
        Box::pin(async move { inner.get(&key, range, max).await })
    }

    fn put(&self, key: &Key, file: PathBuf, len: u64) -> BoxFuture<Result<()>> {
        let (inner, key) = (self.inner.clone(), key.clone());
        Box::pin(async move { inner.put(&key, file, len).await })
    }

    fn lengths(&self, prefix: &str, max: usize) -> BoxFuture<Result<Option<Lengths>>> {
        let (inner, prefix) = (self.inner.clone(), prefix.to_owned());
        Box::pin(async move { inner.lengths(&prefix, max).await })
    }
}

#[cfg(test)]
mod tests;
