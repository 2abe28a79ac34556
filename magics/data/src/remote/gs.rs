//! Google Cloud Storage: objects of one bucket, by its JSON API. Credentials are those of Google's own
//! libraries: a service account or a user's login in a file (`login`); machines in Google's cloud, which ask a
//! server of theirs, are not followed.

mod login;

use super::{Key, Lengths, Remote, check_address, check_tls, refused, upload_patience};
use crate::client::Retry;
use crate::client::fetch::{Fetcher, Got, Sign};
use crate::client::http::Http;
use crate::client::transport::{BoxFuture, Content, PATIENCE, Request, Response};
use crate::dvc::RemoteConfig;
use crate::percent;
use bytes::Bytes;
use dds_core::{Config, Error, Kind, Result};
use login::{Bearer, Login};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

const ENDPOINT: &str = "https://storage.googleapis.com";
const PAGE: &str = "1000";
/// A page of a listing: a name has at most 1,024 bytes.
const MAX_PAGE_BYTES: u64 = 8 << 20;

#[derive(Clone)]
pub struct GsRemote {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    shown: String,
    bucket: String,
    prefix: String,
    base: Url,
    fetcher: Fetcher,
    login: Option<Login>,
}

#[derive(Deserialize)]
struct Object {
    name: String,
    /// In decimal digits.
    size: String,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    items: Vec<Object>,
    #[serde(rename = "nextPageToken")]
    next: Option<String>,
}

impl GsRemote {
    pub fn open(remote: &RemoteConfig, config: &Config, elsewhere: bool) -> Result<Self> {
        check_tls(remote)?;
        let rest = remote.url().split_once("://").map_or("", |(_, rest)| rest);
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        if bucket.is_empty() || !bucket.chars().all(plain) || bucket.starts_with('.') {
            return Err(remote.broken("url", "names no bucket: gs://BUCKET/PATH"));
        }
        let own = remote.get("endpointurl").filter(|_| remote.is_own("endpointurl"));
        let chosen = remote.get("endpointurl").filter(|_| own.is_none());
        let emulator = config.peers.var("STORAGE_EMULATOR_HOST");
        let text = chosen.or(own).or(emulator).unwrap_or(ENDPOINT);
        let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let base: Option<Url> = text.trim_end_matches('/').parse().ok();
        let base = base
            .filter(|u| matches!(u.scheme(), "http" | "https") && u.username().is_empty())
            .ok_or_else(|| remote.broken("endpointurl", "is not an http(s) URL without credentials"))?;
        let elsewhere = elsewhere && chosen.is_some();
        check_address(remote, &base, elsewhere)?;
        let anonymous = remote.flag("allow_anonymous_login", false)?;
        let login = match () {
            () if anonymous => None,
            // Whoever holds a token may use it: one that a repository chose the receiver of is not sent.
            () if chosen.is_some_and(|text| text.trim_end_matches('/') != ENDPOINT) => None,
            // Nor one to an emulator, nor in the clear to another machine.
            () if own.is_none() && chosen.is_none() && emulator.is_some() => None,
            () if base.scheme() != "https" && !is_loopback(&base) => None,
            () => login::find(remote, config)?,
        };
        if login.is_none() && !anonymous && chosen.or(own).or(emulator).is_none() {
            return Err(login::missing(remote));
        }
        let bearer = Arc::new(Bearer::default());
        let signer: Arc<dyn Sign> = bearer.clone();
        let http = if elsewhere { Http::outward(&base)? } else { Http::new(&base)? };
        let parts = [prefix.trim_matches('/'), remote.below()];
        let prefix = parts.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join("/");
        let tail = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
        let inner = Inner {
            name: remote.name.clone(),
            shown: format!("gs://{bucket}{tail}"),
            bucket: bucket.to_owned(),
            prefix,
            fetcher: Fetcher::new(Arc::new(http), base.clone(), signer, Retry::default()),
            base,
            login: login.map(|login| login.into_login(bearer)),
        };
        Ok(Self { inner: Arc::new(inner) })
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl Inner {
    fn key(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}/{key}", self.prefix) }
    }

    /// `area` is empty, or `/upload`; `key` is a whole name within the bucket.
    fn url(&self, area: &str, key: Option<&str>, query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        let tail = key.map(|key| format!("/{}", percent::segment(key))).unwrap_or_default();
        url.set_path(&format!(
            "{}{area}/storage/v1/b/{}/o{tail}",
            self.base.path().trim_end_matches('/'),
            percent::segment(&self.bucket)
        ));
        let pairs: Vec<String> =
            query.iter().map(|(name, value)| format!("{name}={}", percent::segment(value))).collect();
        url.set_query(Some(pairs.join("&").as_str()).filter(|q| !q.is_empty()));
        url
    }

    fn object(&self, key: &Key, query: &[(&str, &str)]) -> Url {
        let mut query = query.to_vec();
        query.extend(key.version.as_deref().map(|version| ("generation", version)));
        self.url("", Some(&self.key(&key.path)), &query)
    }

    /// A token that is still good for a while.
    async fn ready(&self) -> Result<()> {
        match &self.login {
            Some(login) => {
                login.ready().await.map_err(|e| e.context(format!("the DVC remote {:?}", self.name)))
            }
            None => Ok(()),
        }
    }

    async fn refused(&self, response: Response) -> Error {
        refused(&self.name, &self.shown, |t| self.fetcher.signer.safe(t), response).await
    }

    fn named(&self, e: Error) -> Error {
        if e.kind == Kind::Unreachable { e.context(format!("the DVC remote {:?}", self.name)) } else { e }
    }

    async fn read(&self, url: Url, range: Option<Range<u64>>, max: u64) -> Result<Got> {
        self.ready().await?;
        self.fetcher.get(url, range, max, false).await.map_err(|e| self.named(e))
    }

    async fn len(&self, key: &Key) -> Result<Option<u64>> {
        let url = self.object(key, &[("fields", "name,size")]);
        match self.read(url, None, MAX_PAGE_BYTES).await? {
            Got::Answer(answer) => {
                let object: Object = self.parsed(&answer.bytes)?;
                object.size.parse().map(Some).map_err(|_| self.unclear())
            }
            Got::Refused(r) if r.status == 404 => self.none(r).await,
            Got::Refused(r) => Err(self.refused(r).await),
        }
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>, max: u64) -> Result<Option<Bytes>> {
        match self.read(self.object(key, &[("alt", "media")]), range, max).await? {
            Got::Answer(answer) => Ok(Some(answer.bytes)),
            Got::Refused(r) if r.status == 404 => self.none(r).await,
            Got::Refused(r) => Err(self.refused(r).await),
        }
    }

    /// A missing object is none; a missing bucket is an error.
    async fn none<T>(&self, response: Response) -> Result<Option<T>> {
        let e = self.refused(response).await;
        if e.message.contains("specified bucket does not exist") { Err(e) } else { Ok(None) }
    }

    async fn put(&self, key: &Key, file: PathBuf, len: u64) -> Result<()> {
        self.ready().await?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let name = self.key(&key.path);
        let request = Request {
            method: Method::POST,
            url: self.url("/upload", None, &[("uploadType", "media"), ("name", &name)]),
            headers,
            body: Content::File { path: file, len },
            patience: if len > 0 { upload_patience(len) } else { PATIENCE },
        };
        let response = self.fetcher.send(&request).await.map_err(|e| self.named(e))?;
        match response.status {
            200..=299 => Ok(()),
            _ => Err(self.refused(response).await),
        }
    }

    async fn lengths(&self, prefix: &str, max: usize) -> Result<Option<Lengths>> {
        let (below, own) = (self.key(prefix), self.key(""));
        let mut found = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let mut query = vec![
                ("prefix", below.as_str()),
                ("maxResults", PAGE),
                ("fields", "items(name,size),nextPageToken"),
            ];
            query.extend(token.as_deref().map(|token| ("pageToken", token)));
            let answer = match self.read(self.url("", None, &query), None, MAX_PAGE_BYTES).await? {
                Got::Answer(answer) => answer,
                // Some may read and not list.
                Got::Refused(r) if matches!(r.status, 401 | 403) => return Ok(None),
                Got::Refused(r) => return Err(self.refused(r).await),
            };
            let page: Page = self.parsed(&answer.bytes)?;
            for object in page.items {
                if let (Some(key), Ok(len)) = (object.name.strip_prefix(&own), object.size.parse()) {
                    found.push((key.to_owned(), len));
                }
            }
            match page.next.filter(|next| !next.is_empty()) {
                Some(next) if found.len() < max => token = Some(next),
                _ => return Ok(Some(found)),
            }
        }
    }

    fn parsed<'a, T: Deserialize<'a>>(&self, bytes: &'a [u8]) -> Result<T> {
        serde_json::from_slice(bytes).map_err(|_| self.unclear())
    }

    fn unclear(&self) -> Error {
        Error::new(Kind::Unreachable, format!("{}: the server's answer is none of this API", self.shown))
            .hint(format!("check the address: dvc remote modify {} endpointurl URL", self.name))
    }
}

impl Remote for GsRemote {
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
