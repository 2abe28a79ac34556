//! S3 and what speaks like it: requests signed by ourselves (`sign`), credentials found where AWS's own
//! tools find them (`credentials`).
//!
//! A bucket behind an endpoint of its own is addressed by path, one of AWS by host name. Files of more
//! than 5 GiB cannot be uploaded in one request and are refused.

mod credentials;
mod sign;

use super::{Key, Lengths, Remote, check_address, check_tls, refused, upload_patience};
use crate::client::Retry;
use crate::client::fetch::{Anonymous, Fetcher, Got, Sign, content_length};
use crate::client::http::Http;
use crate::client::transport::{BoxFuture, Content, PATIENCE, Request, Response};
use crate::dvc::RemoteConfig;
use crate::percent;
use crate::runtime;
use bytes::Bytes;
use credentials::Account;
pub use credentials::read as read_sections;
use dds_core::{Config, Error, Kind, Result};
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use sign::SigV4;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// What S3 takes in one PUT.
const MAX_PUT_BYTES: u64 = 5 << 30;
const PAGE: usize = 1000;
/// A page of a listing: a key has at most 1,024 bytes.
const MAX_PAGE_BYTES: u64 = 8 << 20;

/// The header in which the answer to a wrong region names the right one.
const REGION_HEADER: &str = "x-amz-bucket-region";

#[derive(Clone)]
pub struct S3Remote {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    shown: String,
    bucket: String,
    prefix: String,
    /// A server that is not AWS.
    endpoint: Option<Url>,
    account: Option<Account>,
    /// The repository that names this remote came from a public host.
    elsewhere: bool,
    /// Headers that every upload carries (`acl`, `sse`, …).
    upload_headers: HeaderMap,
    /// The requests of the region known so far; found out by the first answer where it is another.
    site: Mutex<Site>,
}

#[derive(Clone)]
struct Site {
    region: String,
    fetcher: Fetcher,
}

impl S3Remote {
    pub fn open(remote: &RemoteConfig, config: &Config, elsewhere: bool) -> Result<Self> {
        check_tls(remote)?;
        let rest = remote.url().split_once("://").map_or("", |(_, rest)| rest);
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let safe = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        if bucket.is_empty() || !bucket.chars().all(safe) || bucket.contains("..") || bucket.starts_with('.')
        {
            return Err(remote.broken("url", "names no bucket"));
        }
        let prefix: Vec<&str> =
            [prefix.trim_matches('/'), remote.below()].into_iter().filter(|p| !p.is_empty()).collect();
        let found = credentials::find(remote, config)?;
        let secure = remote.flag("use_ssl", true)?;
        let endpoint = found.endpoint.as_deref().map(|text| {
            let scheme = if secure { "https" } else { "http" };
            let text = if text.contains("://") { text.to_owned() } else { format!("{scheme}://{text}") };
            let url: Option<Url> = text.parse().ok();
            url.filter(|u| matches!(u.scheme(), "http" | "https") && u.username().is_empty())
                .ok_or_else(|| remote.broken("endpointurl", "is not an http(s) URL without credentials"))
        });
        let endpoint = endpoint.transpose()?;
        // An endpoint of the user's own environment or profile may be anywhere.
        let elsewhere = elsewhere && (endpoint.is_none() || remote.get("endpointurl").is_some());
        if let Some(url) = &endpoint {
            check_address(remote, url, elsewhere)?;
        }
        let anonymous = remote.flag("allow_anonymous_login", false)?;
        let account = match (found.account, anonymous) {
            (Some(account), false) => Some(account),
            (None, true) | (Some(_), true) => None,
            (None, false) => return Err(credentials::missing(remote)),
        };
        if !found.region.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') || found.region.is_empty() {
            return Err(remote.broken("region", "is not a region"));
        }
        let prefix = prefix.join("/");
        let shown =
            if prefix.is_empty() { format!("s3://{bucket}") } else { format!("s3://{bucket}/{prefix}") };
        let inner = Inner {
            name: remote.name.clone(),
            shown,
            bucket: bucket.to_owned(),
            prefix,
            site: Mutex::new(site(
                bucket,
                endpoint.as_ref(),
                &found.region,
                account.as_ref(),
                secure,
                elsewhere,
            )?),
            endpoint,
            account,
            elsewhere,
            upload_headers: upload_headers(remote)?,
        };
        Ok(Self { inner: Arc::new(inner) })
    }
}

fn site(
    bucket: &str,
    endpoint: Option<&Url>,
    region: &str,
    account: Option<&Account>,
    secure: bool,
    elsewhere: bool,
) -> Result<Site> {
    let base = match endpoint {
        Some(url) => url.clone(),
        None => {
            let scheme = if secure { "https" } else { "http" };
            let tail = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
            // A dot in the name would not match the certificate of the host name.
            let host = if bucket.contains(['.', '_']) { String::new() } else { format!("{bucket}.") };
            let text = format!("{scheme}://{host}s3.{region}.{tail}");
            text.parse().map_err(|e| Error::internal(format!("{text}: {e}")))?
        }
    };
    let signer: Arc<dyn Sign> = match account {
        Some(account) => Arc::new(SigV4 { account: account.clone(), region: region.to_owned() }),
        None => Arc::new(Anonymous),
    };
    let transport = Arc::new(if elsewhere { Http::outward(&base)? } else { Http::new(&base)? });
    Ok(Site { region: region.to_owned(), fetcher: Fetcher::new(transport, base, signer, Retry::default()) })
}

fn upload_headers(remote: &RemoteConfig) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (key, header) in [
        ("acl", "x-amz-acl"),
        ("sse", "x-amz-server-side-encryption"),
        ("sse_kms_key_id", "x-amz-server-side-encryption-aws-kms-key-id"),
        ("grant_read", "x-amz-grant-read"),
        ("grant_read_acp", "x-amz-grant-read-acp"),
        ("grant_write_acp", "x-amz-grant-write-acp"),
        ("grant_full_control", "x-amz-grant-full-control"),
    ] {
        if let Some(value) = remote.get(key) {
            let value = HeaderValue::from_str(value).map_err(|_| remote.broken(key, "cannot be sent"))?;
            headers.insert(HeaderName::from_static(header), value);
        }
    }
    for key in ["sse_customer_key", "sse_customer_algorithm"] {
        if remote.get(key).is_some() {
            return Err(remote.broken(key, "is not supported by dds"));
        }
    }
    Ok(headers)
}

impl Inner {
    fn site(&self) -> Site {
        crate::flight::lock(&self.site).clone()
    }

    /// The URL of an object; of the bucket itself without one.
    fn url(&self, site: &Site, key: Option<&str>, query: &[(&str, &str)]) -> Url {
        let mut url = site.fetcher.base.clone();
        let by_path = self.endpoint.is_some() || self.bucket.contains(['.', '_']);
        let mut path = url.path().trim_end_matches('/').to_owned();
        if by_path {
            path.push('/');
            path.push_str(&self.bucket);
        }
        path.push('/');
        if let Some(key) = key {
            path.push_str(&percent::path(&self.key(key)));
        }
        url.set_path(&path);
        if !query.is_empty() {
            let pairs: Vec<String> = query
                .iter()
                .map(|(k, v)| format!("{}={}", percent::segment(k), percent::segment(v)))
                .collect();
            url.set_query(Some(&pairs.join("&")));
        }
        url
    }

    fn key(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}/{key}", self.prefix) }
    }

    fn object(&self, site: &Site, key: &Key) -> Url {
        match &key.version {
            Some(version) => self.url(site, Some(&key.path), &[("versionId", version)]),
            None => self.url(site, Some(&key.path), &[]),
        }
    }

    /// Whether the answer told of another region, which is taken from then on.
    fn moved(&self, headers: &HeaderMap, tried: &Site) -> Result<bool> {
        let Some(region) = headers.get(REGION_HEADER).and_then(|r| r.to_str().ok()) else { return Ok(false) };
        let plain = !region.is_empty() && region.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if self.endpoint.is_some() || region == tried.region || !plain {
            return Ok(false);
        }
        let secure = tried.fetcher.base.scheme() == "https";
        *crate::flight::lock(&self.site) =
            site(&self.bucket, None, region, self.account.as_ref(), secure, self.elsewhere)?;
        Ok(true)
    }

    async fn send(
        &self,
        method: Method,
        key: &Key,
        headers: HeaderMap,
        body: Content,
        len: u64,
    ) -> Result<Response> {
        let patience = if len > 0 { upload_patience(len) } else { PATIENCE };
        let mut last = None;
        for _ in 0..2 {
            let site = self.site();
            let request = Request {
                method: method.clone(),
                url: self.object(&site, key),
                headers: headers.clone(),
                body: body.clone(),
                patience,
            };
            let response = site.fetcher.send(&request).await.map_err(|e| self.named(e))?;
            let failed = !matches!(response.status, 200..=299);
            if failed && self.moved(&response.headers, &site)? {
                last = Some(response);
                continue;
            }
            return Ok(response);
        }
        last.ok_or_else(|| Error::internal("no request was sent"))
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>, max: u64) -> Result<Option<Bytes>> {
        for _ in 0..2 {
            let site = self.site();
            let url = self.object(&site, key);
            match site.fetcher.get(url, range.clone(), max, false).await.map_err(|e| self.named(e))? {
                Got::Answer(answer) => return Ok(Some(answer.bytes)),
                Got::Refused(r) if self.moved(&r.headers, &site)? => {}
                Got::Refused(r) if r.status == 404 => return self.none(r).await,
                Got::Refused(r) => return Err(self.refused(r).await),
            }
        }
        Err(Error::new(Kind::Unreachable, format!("{}: its region could not be found out", self.shown))
            .hint(format!("set it: dvc remote modify {} region REGION", self.name)))
    }

    /// A missing object is none; a missing bucket is an error.
    async fn none<T>(&self, response: Response) -> Result<Option<T>> {
        let e = self.refused(response).await;
        if e.message.contains("NoSuchBucket") { Err(e) } else { Ok(None) }
    }

    async fn refused(&self, response: Response) -> Error {
        let safe = |text: &str| self.account.as_ref().map_or_else(|| text.to_owned(), |a| a.redact(text));
        refused(&self.name, &self.shown, safe, response).await
    }

    fn named(&self, e: Error) -> Error {
        if e.kind == Kind::Unreachable { e.context(format!("the DVC remote {:?}", self.name)) } else { e }
    }

    async fn lengths(&self, prefix: &str, max: usize) -> Result<Option<Lengths>> {
        let below = self.key(prefix);
        let own = self.key("");
        let mut found = Vec::new();
        let mut token: Option<String> = None;
        let mut moved = false;
        loop {
            let site = self.site();
            let page = PAGE.to_string();
            let mut query = vec![("encoding-type", "url"), ("list-type", "2"), ("max-keys", page.as_str())];
            if let Some(token) = &token {
                query.push(("continuation-token", token));
            }
            query.push(("prefix", &below));
            query.sort_unstable();
            let url = self.url(&site, None, &query);
            let answer =
                match site.fetcher.get(url, None, MAX_PAGE_BYTES, true).await.map_err(|e| self.named(e))? {
                    Got::Answer(answer) => answer,
                    Got::Refused(r) if !moved && self.moved(&r.headers, &site)? => {
                        moved = true;
                        continue;
                    }
                    // Some may read and not list.
                    Got::Refused(r) if r.status == 403 => return Ok(None),
                    Got::Refused(r) => return Err(self.refused(r).await),
                };
            let text = String::from_utf8_lossy(&answer.bytes);
            for object in text.split("<Contents>").skip(1) {
                let (Some(key), Some(size)) = (tag(object, "Key"), tag(object, "Size")) else { continue };
                let Some(key) = percent::decode(&key.replace('+', " ")) else { continue };
                let (Some(key), Ok(size)) = (key.strip_prefix(&own), size.parse()) else { continue };
                found.push((key.to_owned(), size));
            }
            token = tag(&text, "NextContinuationToken");
            if token.is_none() || found.len() >= max {
                return Ok(Some(found));
            }
        }
    }
}

impl Remote for S3Remote {
    fn shown(&self) -> &str {
        &self.inner.shown
    }

    fn len(&self, key: &Key) -> BoxFuture<Result<Option<u64>>> {
        let (inner, key) = (self.inner.clone(), key.clone());
        Box::pin(async move {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            let response = inner.send(Method::HEAD, &key, headers, Content::Empty, 0).await?;
            match response.status {
                200..=299 => content_length(&response.headers).map(Some).ok_or_else(|| {
                    Error::new(Kind::Unreachable, format!("{}: the server tells no sizes", inner.shown))
                }),
                404 => Ok(None),
                _ => Err(inner.refused(response).await),
            }
        })
    }

    fn get(&self, key: &Key, range: Option<Range<u64>>, max: u64) -> BoxFuture<Result<Option<Bytes>>> {
        let (inner, key) = (self.inner.clone(), key.clone());
        Box::pin(async move { inner.get(&key, range, max).await })
    }

    fn put(&self, key: &Key, file: PathBuf, len: u64) -> BoxFuture<Result<()>> {
        let (inner, key) = (self.inner.clone(), key.clone());
        Box::pin(async move {
            if len > MAX_PUT_BYTES {
                return Err(Error::new(
                    Kind::Limit,
                    format!("{}: {len} bytes are more than one upload takes", inner.shown),
                )
                .hint("run `dvc push` in the repository"));
            }
            let mut headers = inner.upload_headers.clone();
            if inner.account.is_some() {
                let hashed = file.clone();
                let digest = runtime::blocking(move || sign::sha256_of_file(&hashed)).await?;
                let value = HeaderValue::from_str(&digest).map_err(|e| Error::internal(e.to_string()))?;
                headers.insert(HeaderName::from_static(sign::CONTENT_HEADER), value);
            }
            let body = Content::File { path: file, len };
            let response = inner.send(Method::PUT, &key, headers, body, len).await?;
            match response.status {
                200..=299 => Ok(()),
                _ => Err(inner.refused(response).await),
            }
        })
    }

    fn lengths(&self, prefix: &str, max: usize) -> BoxFuture<Result<Option<Lengths>>> {
        let (inner, prefix) = (self.inner.clone(), prefix.to_owned());
        Box::pin(async move { inner.lengths(&prefix, max).await })
    }
}

/// The text of the first element `name`: S3's answers are flat, so nothing more of XML is needed.
pub fn tag(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (inner, _) = rest.split_once(&format!("</{name}>"))?;
    let mut text = inner.to_owned();
    for (entity, plain) in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")] {
        text = text.replace(entity, plain);
    }
    Some(text)
}

#[cfg(test)]
mod tests;
