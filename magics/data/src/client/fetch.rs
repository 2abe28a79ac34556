//! Requests with credentials, redirects, retries and resuming: what every HTTP client here shares.
//!
//! Credentials go to the server's own origin and nowhere else, also across redirects. At most
//! [`MAX_CONNECTIONS`] requests run at a time. A request that reads is tried again after a broken
//! connection or a 5xx answer, going on where a body broke off; so is one that may be sent twice.

use super::http::MAX_CONNECTIONS;
use super::transport::{Failure, Request, Response, Transport};
use bytes::{Bytes, BytesMut};
use dds_core::{Error, Kind, Result, mime};
use futures_util::StreamExt;
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_RANGE, LOCATION, RANGE, RETRY_AFTER,
};
use reqwest::{Method, Url};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

const MAX_REDIRECTS: usize = 5;
const MAX_RETRY_AFTER: Duration = Duration::from_secs(10);
/// How much of a server's message is shown.
const MAX_SHOWN_CHARS: usize = 400;
/// How much of a refusal's body is read.
const MAX_REFUSAL_BYTES: usize = 64 << 10;

/// Room that is made at once for what a server promises.
const MAX_ROOM_BYTES: u64 = 8 << 20;

/// How often, and after which pause (doubled each time), a request is tried again.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    pub attempts: u32,
    pub pause: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 5, pause: Duration::from_millis(150) }
    }
}

/// What proves to one server who we are.
pub trait Sign: Send + Sync {
    /// Adds the proof to a request. Called for the server's own origin only.
    fn sign(&self, request: &mut Request) -> Result<()>;

    /// `text` without our secrets.
    fn redact(&self, text: &str) -> String;

    /// Outside text: no secret, no terminal codes, not endless.
    fn safe(&self, text: &str) -> String {
        mime::printable(&self.redact(text)).chars().take(MAX_SHOWN_CHARS).collect()
    }
}

/// Nobody in particular.
pub struct Anonymous;

impl Sign for Anonymous {
    fn sign(&self, _: &mut Request) -> Result<()> {
        Ok(())
    }

    fn redact(&self, text: &str) -> String {
        text.to_owned()
    }
}

/// Requests to one server.
#[derive(Clone)]
pub struct Fetcher {
    pub transport: Arc<dyn Transport>,
    pub base: Url,
    pub signer: Arc<dyn Sign>,
    pub retry: Retry,
    pub places: Arc<Semaphore>,
}

/// The end of a request that reads.
pub enum Got {
    Answer(Answer),
    /// A status that says no; its body is not read yet.
    Refused(Response),
}

pub struct Answer {
    pub headers: HeaderMap,
    pub bytes: Bytes,
}

impl Got {
    fn answer(headers: HeaderMap, bytes: Bytes) -> Self {
        Self::Answer(Answer { headers, bytes })
    }
}

impl Fetcher {
    pub fn new(transport: Arc<dyn Transport>, base: Url, signer: Arc<dyn Sign>, retry: Retry) -> Self {
        Self { transport, base, signer, retry, places: Arc::new(Semaphore::new(MAX_CONNECTIONS)) }
    }

    fn sign(&self, request: &mut Request) -> Result<()> {
        if request.url.origin() == self.base.origin() { self.signer.sign(request) } else { Ok(()) }
    }

    /// Sends a request that has the same effect once or twice, with retries. Redirects are followed
    /// for GET and HEAD only. The answer's body is not read.
    pub async fn send(&self, request: &Request) -> Result<Response> {
        let _place = self.places.acquire().await;
        let mut pause = self.retry.pause;
        let mut last = String::new();
        for attempt in 1..=self.retry.attempts {
            if attempt > 1 {
                tokio::time::sleep(pause).await;
                pause = pause.saturating_mul(2);
            }
            match self.once(request.clone()).await? {
                Err(failure) => last = failure.to_string(),
                Ok(response) if matches!(response.status, 429 | 500..=599) => {
                    last = format!("the server answered {}", response.status);
                    if let Some(wait) = retry_after(&response.headers) {
                        pause = wait;
                    }
                }
                Ok(response) => return Ok(response),
            }
        }
        Err(self.unreachable(self.retry.attempts, &last))
    }

    /// One attempt: follows redirects; credentials only to our own origin.
    async fn once(&self, mut request: Request) -> Result<Result<Response, Failure>> {
        let plain = request.headers.clone();
        for _ in 0..=MAX_REDIRECTS {
            self.sign(&mut request)?;
            let response = match self.transport.send(request.clone()).await {
                Ok(response) => response,
                Err(Failure::Forbidden(why)) => return Err(self.forbidden(&request.url, &why)),
                Err(failure) => return Ok(Err(failure)),
            };
            if !matches!(request.method, Method::GET | Method::HEAD) {
                return Ok(Ok(response));
            }
            let Some(target) = self.redirected(&response, &request.url)? else { return Ok(Ok(response)) };
            request.url = target;
            request.headers = plain.clone();
        }
        Err(self.misled("too many redirects"))
    }

    /// Where an answer leads, when it is a redirect that may be followed.
    fn redirected(&self, response: &Response, from: &Url) -> Result<Option<Url>> {
        // S3 answers 301 without a target for a bucket of another region: its caller reads the region.
        if !matches!(response.status, 301 | 302 | 303 | 307 | 308)
            || response.headers.contains_key("x-amz-bucket-region")
        {
            return Ok(None);
        }
        let target = response.headers.get(LOCATION).and_then(|l| l.to_str().ok());
        let target = target.and_then(|l| from.join(l).ok());
        let target = target.ok_or_else(|| self.misled("a redirect without a target"))?;
        check_redirect(&self.base, &target).map_err(|why| self.misled(&format!("a redirect to {why}")))?;
        Ok(Some(target))
    }

    /// A GET with retries. A body that breaks off is continued from where it ended, when the server
    /// still has the same version.
    ///
    /// Errors: `Unreachable` after all attempts, `Limit` past `max` bytes. A refusal is an answer.
    pub async fn get(&self, url: Url, range: Option<Range<u64>>, max: u64, packed: bool) -> Result<Got> {
        if range.as_ref().is_some_and(|r| r.start >= r.end) {
            return Ok(Got::answer(HeaderMap::new(), Bytes::new()));
        }
        let _place = self.places.acquire().await;
        let mut have = BytesMut::new();
        let mut tag: Option<HeaderValue> = None;
        let mut pause = self.retry.pause;
        let mut last = String::new();
        for attempt in 1..=self.retry.attempts {
            if attempt > 1 {
                tokio::time::sleep(pause).await;
                pause = pause.saturating_mul(2);
            }
            if tag.is_none() {
                have.clear();
            }
            let response =
                match self.follow(&url, range.as_ref(), have.len() as u64, tag.as_ref(), packed).await? {
                    Ok(response) => response,
                    Err(failure) => {
                        last = failure.to_string();
                        continue;
                    }
                };
            match response.status {
                200 | 206 => {}
                416 if range.is_some() => {
                    return Ok(Got::answer(response.headers, Bytes::new()));
                }
                429 | 500..=599 => {
                    last = format!("the server answered {}", response.status);
                    if let Some(wait) = retry_after(&response.headers) {
                        pause = wait;
                    }
                    continue;
                }
                _ => return Ok(Got::Refused(response)),
            }
            let start = range.as_ref().map_or(0, |r| r.start);
            let resumed = !have.is_empty();
            let expected = start + have.len() as u64;
            let from = if response.status == 206 { content_start(&response.headers) } else { Some(0) };
            if response.status == 206 && from != Some(expected) {
                last = "the server answered another range than it was asked for".into();
                (have, tag) = (BytesMut::new(), None);
                continue;
            }
            if response.status == 200 && resumed {
                have.clear();
            }
            // Only an ETag lets us go on with the same version later.
            tag = response.headers.get(ETAG).filter(|t| !t.as_bytes().starts_with(b"W/")).cloned();
            let whole = response.status == 200;
            let promised = content_length(&response.headers);
            if range.is_none() && promised.is_some_and(|p| p > max) {
                return Err(too_long(max));
            }
            let headers = response.headers.clone();
            let before = have.len();
            // Of a whole file sent instead of a range, the front is dropped on the fly.
            let mut skip = if whole { usize::try_from(start).unwrap_or(usize::MAX) } else { 0 };
            let want = range.as_ref().map_or(max, |r| (r.end - r.start).min(max));
            let room = promised.unwrap_or(0).min(want).min(MAX_ROOM_BYTES);
            have.reserve(usize::try_from(room).unwrap_or(0).saturating_sub(have.len()));
            let mut body = response.body;
            let mut received = 0u64;
            let broken = loop {
                match body.next().await {
                    None => {
                        break promised.filter(|p| *p != received).map(|_| "the answer was cut".to_owned());
                    }
                    Some(Err(failure)) => break Some(failure.to_string()),
                    Some(Ok(chunk)) => {
                        received += chunk.len() as u64;
                        let dropped = skip.min(chunk.len());
                        skip -= dropped;
                        have.extend_from_slice(chunk.get(dropped..).unwrap_or_default());
                        if have.len() as u64 > want {
                            if range.is_none() {
                                return Err(too_long(max));
                            }
                            have.truncate(usize::try_from(want).unwrap_or(usize::MAX));
                            break None;
                        }
                        if range.is_some() && whole && have.len() as u64 == want {
                            break None;
                        }
                    }
                }
            };
            match broken {
                None => return Ok(Got::answer(headers, have.freeze())),
                Some(why) => {
                    last = why;
                    if whole && start > 0 {
                        (have, tag) = (BytesMut::new(), None);
                    }
                    if have.len() > before {
                        // Progress was made: a slow line is not a dead one.
                        pause = self.retry.pause;
                    }
                }
            }
        }
        Err(self.unreachable(self.retry.attempts, &last))
    }

    /// One attempt at (the rest of) a body.
    async fn follow(
        &self,
        url: &Url,
        range: Option<&Range<u64>>,
        have: u64,
        tag: Option<&HeaderValue>,
        packed: bool,
    ) -> Result<Result<Response, Failure>> {
        let mut request = Request::get(url.clone());
        if range.is_some() || have > 0 {
            let first = range.map_or(0, |r| r.start) + have;
            let last = range.map_or_else(String::new, |r| r.end.saturating_sub(1).to_string());
            let value = HeaderValue::from_str(&format!("bytes={first}-{last}"));
            request.headers.insert(RANGE, value.map_err(|e| Error::internal(e.to_string()))?);
            if let Some(tag) = tag.filter(|_| have > 0) {
                request.headers.insert(IF_RANGE, tag.clone());
            }
        }
        if !packed {
            request.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        self.once(request).await
    }

    pub fn misled(&self, what: &str) -> Error {
        Error::new(Kind::Unreachable, format!("{} answered with {what}", self.shown()))
            .hint("check the URL, or ask who runs the server")
    }

    fn forbidden(&self, url: &Url, why: &str) -> Error {
        if url.origin() != self.base.origin() {
            return self.misled(&format!("a redirect to another host: {why}"));
        }
        Error::new(Kind::Unavailable, format!("{} is not asked: {why}", self.shown())).hint(
            "a repository from elsewhere names it; if that is right, clone the repository and name the remote \
             in your own .dvc/config.local",
        )
    }

    pub fn shown(&self) -> String {
        self.base.origin().ascii_serialization()
    }

    pub fn unreachable(&self, attempts: u32, why: &str) -> Error {
        let times = if attempts == 1 { String::new() } else { format!(" after {attempts} attempts") };
        Error::new(
            Kind::Unreachable,
            format!("cannot reach {}{times}: {}", self.shown(), self.signer.safe(why)),
        )
        .hint("check that the server runs and the address is right, then try again")
    }
}

/// A redirect may not weaken the transport, nor turn us on this machine or its neighbours. The error says
/// what it leads to.
pub fn check_redirect(base: &Url, target: &Url) -> std::result::Result<(), &'static str> {
    if target.origin() == base.origin() {
        return Ok(());
    }
    if !matches!(target.scheme(), "http" | "https")
        || (base.scheme() == "https" && target.scheme() != "https")
    {
        return Err("an unprotected address");
    }
    if is_private(target) && !is_private(base) {
        return Err("an address of this machine or its network");
    }
    Ok(())
}

/// The text of a refusal, at most [`MAX_REFUSAL_BYTES`] of it.
pub async fn refusal(response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    let mut chunks = response.body;
    while let Some(Ok(chunk)) = chunks.next().await {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_REFUSAL_BYTES {
            break;
        }
    }
    body
}

fn too_long(max: u64) -> Error {
    Error::new(Kind::Limit, format!("the server sent more than {max} bytes"))
}

fn address(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

pub fn is_loopback(url: &Url) -> bool {
    url.host_str() == Some("localhost") || address(url).is_some_and(|a| a.is_loopback())
}

pub fn is_private(url: &Url) -> bool {
    is_loopback(url) || address(url).is_some_and(is_private_address)
}

/// Of this machine or its own network, the metadata service of a cloud included.
pub fn is_private_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => is_private_v4(a),
        IpAddr::V6(a) => {
            a.is_loopback()
                || a.is_unspecified()
                || a.is_unique_local()
                || a.is_unicast_link_local()
                || embedded(a).is_some_and(is_private_v4)
        }
    }
}

fn is_private_v4(a: Ipv4Addr) -> bool {
    let [first, second, ..] = a.octets();
    // "This network" (RFC 1122) and the range shared by providers (RFC 6598), where clouds keep services.
    let shared = first == 0 || (first == 100 && (64..128).contains(&second));
    shared || a.is_loopback() || a.is_private() || a.is_link_local()
}

/// The IPv4 address that an IPv6 address leads to: mapped, compatible, NAT64 (RFC 6052) or 6to4 (RFC 3056).
fn embedded(a: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match a.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    // A compressed body is unpacked on the way: its length says nothing.
    if headers.contains_key(reqwest::header::CONTENT_ENCODING) {
        return None;
    }
    headers.get(reqwest::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The first byte of `Content-Range: bytes A-B/LEN`.
fn content_start(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    text.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}
