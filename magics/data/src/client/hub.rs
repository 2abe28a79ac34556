//! One repository on a server: requests with credentials, redirects, retries and resuming.
//!
//! Credentials go to the server's own origin and nowhere else, also across redirects. At most
//! [`MAX_CONNECTIONS`](super::http::MAX_CONNECTIONS) requests run at a time. A request that reads is
//! tried again after a broken connection or a 5xx answer, going on where a body broke off; a request
//! that writes is sent once.

use super::api::{self, Content, Refusal};
use super::http::{Http, MAX_CONNECTIONS};
use super::transport::{Failure, Part, Request, Response, Transport};
use crate::percent;
use crate::serve::{EXTENSIONS_HEADER, RECURSIVE_EXTENSION};
use base64::Engine;
use bytes::{Bytes, BytesMut};
use dds_core::{Entry, Error, Kind, RepoPath, Result, Secret, mime};
use futures_util::StreamExt;
use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_RANGE, LOCATION, RANGE,
    RETRY_AFTER,
};
use reqwest::{Method, Url};
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

const MAX_REDIRECTS: usize = 5;
/// A listing of ten million files has about this size.
const MAX_ANSWER_BYTES: u64 = 4 << 30;
/// The record of a repository, a branch or a commit.
const MAX_RECORD_BYTES: u64 = 1 << 20;
const MAX_RETRY_AFTER: Duration = Duration::from_secs(10);
/// An upload may need this long, and its time at [`SLOWEST_UPLOAD`] on top.
const UPLOAD_PATIENCE: Duration = Duration::from_secs(120);
const SLOWEST_UPLOAD: u64 = 64 << 10;
/// How much of a server's message is shown.
const MAX_SHOWN_CHARS: usize = 400;

/// What proves who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    Token(Secret),
    Login(String, Secret),
}

impl Auth {
    fn header(&self) -> Result<HeaderValue> {
        let text = match self {
            Self::Token(token) => format!("Bearer {}", token.expose()),
            Self::Login(user, password) => {
                let pair = format!("{user}:{}", password.expose());
                format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
            }
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| {
            Error::usage("the token holds characters that cannot be sent")
                .hint("copy it again, without spaces")
        })?;
        value.set_sensitive(true);
        Ok(value)
    }

    fn secret(&self) -> &Secret {
        match self {
            Self::Token(secret) | Self::Login(_, secret) => secret,
        }
    }
}

/// How often, and after which pause (doubled each time), a reading request is tried again.
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

#[derive(Clone)]
pub struct HubClient {
    transport: Arc<dyn Transport>,
    base: Url,
    owner: String,
    repo: String,
    auth: Option<Auth>,
    configured: bool,
    retry: Retry,
    places: Arc<Semaphore>,
}

/// The repository's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub default_branch: String,
    /// Where `git clone` finds it.
    pub clone_url: Option<String>,
    pub empty: bool,
    /// The server lists whole trees in one answer.
    pub recursive: bool,
}

/// The end of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put {
    Committed {
        commit: Option<String>,
    },
    Unchanged,
    /// No answer came: whether the server has committed must be read back.
    Unknown(String),
}

impl HubClient {
    /// `base` is `http(s)://HOST[:PORT]`.
    pub fn new(base: &str, owner: &str, repo: &str, auth: Option<Auth>) -> Result<Self> {
        let url = parse_base(base)?;
        let transport = Arc::new(Http::new(is_loopback(&url))?);
        Self::over(transport, base, owner, repo, auth, Retry::default())
    }

    /// The same over another transport.
    pub fn over(
        transport: Arc<dyn Transport>,
        base: &str,
        owner: &str,
        repo: &str,
        auth: Option<Auth>,
        retry: Retry,
    ) -> Result<Self> {
        Ok(Self {
            transport,
            base: parse_base(base)?,
            owner: owner.to_owned(),
            repo: repo.to_owned(),
            auth,
            configured: false,
            retry,
            places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        })
    }

    /// Says whether this is the server that the configured token goes to; only hints depend on it.
    pub fn configured(self, configured: bool) -> Self {
        Self { configured, ..self }
    }

    /// How to give this server a token.
    pub fn token_hint(&self) -> String {
        if self.configured {
            return "set DAGSHUB_USER_TOKEN or pass --token".to_owned();
        }
        format!("pass --token, or set DAGSHUB_CLIENT_HOST={} together with DAGSHUB_USER_TOKEN", self.shown())
    }

    pub fn base(&self) -> &Url {
        &self.base
    }

    pub fn auth(&self) -> Option<&Auth> {
        self.auth.as_ref()
    }

    pub async fn record(&self) -> Result<Record> {
        let answer = self.fetch(self.url("", "")?, None, MAX_RECORD_BYTES).await?;
        let extensions = answer.headers.get(EXTENSIONS_HEADER).and_then(|v| v.to_str().ok()).unwrap_or("");
        let recursive = extensions.split(',').any(|e| e.trim() == RECURSIVE_EXTENSION);
        let record: api::Repository = api::parse("the repository", &answer.bytes)?;
        Ok(Record {
            default_branch: record.default_branch,
            clone_url: record.clone_url,
            empty: record.empty,
            recursive,
        })
    }

    /// The commit of a branch; none when there is no such branch.
    pub async fn branch(&self, name: &str) -> Result<Option<String>> {
        let url = self.url(&format!("branches/{}", percent::path(name)), "")?;
        match self.fetch(url, None, MAX_RECORD_BYTES).await {
            Ok(answer) => {
                let branch: api::Branch = api::parse("the branch", &answer.bytes)?;
                checked_commit(branch.commit.id).map(Some)
            }
            Err(e) if e.kind == Kind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The whole hash of a commit; none when there is no such commit.
    pub async fn commit(&self, name: &str) -> Result<Option<String>> {
        let url = self.url(&format!("commits/{}", percent::segment(name)), "")?;
        match self.fetch(url, None, MAX_RECORD_BYTES).await {
            Ok(answer) => {
                let found: api::CommitAnswer = api::parse("the commit", &answer.bytes)?;
                checked_commit(found.commit.id).map(Some)
            }
            Err(e) if e.kind == Kind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// What is at `path`: one level of a folder, or a file's own entry. With `recursive`, which only
    /// some servers understand, all files below.
    pub async fn content(&self, commit: &str, path: &RepoPath, recursive: bool) -> Result<Found> {
        let query = if recursive { "include_size=true&recursive=true" } else { "include_size=true" };
        let url = self.url(&format!("content/{commit}/{}", percent::path(path.as_str())), query)?;
        let answer = self.fetch(url, None, MAX_ANSWER_BYTES).await.map_err(|e| named(e, path))?;
        match api::parse("a listing", &answer.bytes)? {
            Content::File(raw) => {
                let entry = raw.entry()?.ok_or_else(|| Error::not_found(format!("{path} is not a file")))?;
                Ok(Found::File(entry))
            }
            Content::Folder(list) => {
                let mut entries = Vec::with_capacity(list.len());
                for raw in list {
                    let Some(entry) = raw.entry()? else { continue };
                    // A listing speaks for its own folder only.
                    let Some(below) = entry.path.strip_prefix(path).filter(|b| !b.is_root()) else {
                        continue;
                    };
                    if recursive || below.components().count() == 1 {
                        entries.push(entry);
                    }
                }
                entries.sort_by(|a, b| a.path.cmp(&b.path));
                Ok(Found::Folder(entries))
            }
        }
    }

    /// The bytes of a file, or of a range of it cut at its end; at most `max` bytes.
    pub async fn raw(
        &self,
        commit: &str,
        path: &RepoPath,
        range: Option<Range<u64>>,
        max: u64,
    ) -> Result<Bytes> {
        let url = self.url(&format!("raw/{commit}/{}", percent::path(path.as_str())), "")?;
        Ok(self.fetch(url, range, max).await.map_err(|e| named(e, path))?.bytes)
    }

    /// Sends one upload. A refusal is an error; a lost answer is [`Put::Unknown`].
    pub async fn put(&self, branch: &str, dir: &RepoPath, parts: Vec<Part>) -> Result<Put> {
        let target = percent::segment(dir.as_str());
        let url = self.url(&format!("content/{}/{target}", percent::segment(branch)), "")?;
        let bytes: u64 = parts.iter().map(|p| if let Part::File { len, .. } = p { *len } else { 0 }).sum();
        let mut headers = HeaderMap::new();
        if let Some(auth) = &self.auth {
            headers.insert(AUTHORIZATION, auth.header()?);
        }
        let patience = UPLOAD_PATIENCE + Duration::from_secs(bytes / SLOWEST_UPLOAD);
        let request = Request { method: Method::PUT, url, headers, body: parts, patience };
        let _place = self.places.acquire().await;
        let response = match self.transport.send(request).await {
            Ok(response) => response,
            Err(Failure::Connect(why)) => return Err(self.unreachable(1, &why)),
            Err(failure) => return Ok(Put::Unknown(failure.to_string())),
        };
        match response.status {
            204 => Ok(Put::Unchanged),
            200..=299 => {
                let tag =
                    response.headers.get(ETAG).and_then(|t| t.to_str().ok()).map(|t| t.trim_matches('"'));
                let commit = tag.and_then(|t| checked_commit(t.to_owned()).ok());
                Ok(Put::Committed { commit })
            }
            // The server, or a gateway before it, may have failed after the commit.
            500..=504 => Ok(Put::Unknown(format!("the server answered {}", response.status))),
            _ => Err(self.refused(response).await),
        }
    }

    fn url(&self, below: &str, query: &str) -> Result<Url> {
        let (owner, repo) = (percent::segment(&self.owner), percent::segment(&self.repo));
        let base = self.base.as_str().trim_end_matches('/');
        let slash = if below.is_empty() { "" } else { "/" };
        let mut url: Url = format!("{base}/api/v1/repos/{owner}/{repo}{slash}{below}")
            .parse()
            .map_err(|e| Error::internal(format!("{below}: {e}")))?;
        url.set_query(Some(query).filter(|q| !q.is_empty()));
        Ok(url)
    }

    /// A GET with retries. A body that breaks off is continued from where it ended, when the server
    /// still has the same version.
    async fn fetch(&self, url: Url, range: Option<Range<u64>>, max: u64) -> Result<Answer> {
        if range.as_ref().is_some_and(|r| r.start >= r.end) {
            return Ok(Answer { headers: HeaderMap::new(), bytes: Bytes::new() });
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
            let response = match self.follow(&url, range.as_ref(), have.len() as u64, tag.as_ref()).await? {
                Ok(response) => response,
                Err(failure) => {
                    last = failure.to_string();
                    continue;
                }
            };
            match response.status {
                200 | 206 => {}
                416 if range.is_some() => {
                    return Ok(Answer { headers: response.headers, bytes: Bytes::new() });
                }
                429 | 500..=599 => {
                    last = format!("the server answered {}", response.status);
                    if let Some(wait) = retry_after(&response.headers) {
                        pause = wait;
                    }
                    continue;
                }
                _ => return Err(self.refused(response).await),
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
            let headers = response.headers.clone();
            let before = have.len();
            // Of a whole file sent instead of a range, the front is dropped on the fly.
            let mut skip = if whole { usize::try_from(start).unwrap_or(usize::MAX) } else { 0 };
            let want = range.as_ref().map_or(max, |r| (r.end - r.start).min(max));
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
                                return Err(Error::new(
                                    Kind::Limit,
                                    format!("the server sent more than {max} bytes"),
                                ));
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
                None => return Ok(Answer { headers, bytes: have.freeze() }),
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

    /// One attempt: follows redirects; credentials only to our own origin.
    async fn follow(
        &self,
        url: &Url,
        range: Option<&Range<u64>>,
        have: u64,
        tag: Option<&HeaderValue>,
    ) -> Result<Result<Response, Failure>> {
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = Request::get(url.clone());
            if let Some(auth) = self.auth.as_ref().filter(|_| url.origin() == self.base.origin()) {
                request.headers.insert(AUTHORIZATION, auth.header()?);
            }
            if range.is_some() || have > 0 {
                let first = range.map_or(0, |r| r.start) + have;
                let last = range.map_or_else(String::new, |r| r.end.saturating_sub(1).to_string());
                let value = HeaderValue::from_str(&format!("bytes={first}-{last}"));
                request.headers.insert(RANGE, value.map_err(|e| Error::internal(e.to_string()))?);
                if let Some(tag) = tag.filter(|_| have > 0) {
                    request.headers.insert(IF_RANGE, tag.clone());
                }
            }
            if !url.path().contains("/content/") {
                request.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            }
            let response = match self.transport.send(request).await {
                Ok(response) => response,
                Err(failure) => return Ok(Err(failure)),
            };
            if !matches!(response.status, 301 | 302 | 303 | 307 | 308) {
                return Ok(Ok(response));
            }
            let target =
                response.headers.get(LOCATION).and_then(|l| l.to_str().ok()).and_then(|l| url.join(l).ok());
            let target = target.ok_or_else(|| self.misled("a redirect without a target"))?;
            self.check_redirect(&target)?;
            url = target;
        }
        Err(self.misled("too many redirects"))
    }

    /// A redirect may not weaken the transport, nor turn us on this machine or its neighbours.
    fn check_redirect(&self, target: &Url) -> Result<()> {
        if target.origin() == self.base.origin() {
            return Ok(());
        }
        if !matches!(target.scheme(), "http" | "https")
            || (self.base.scheme() == "https" && target.scheme() != "https")
        {
            return Err(self.misled("a redirect to an unprotected address"));
        }
        if is_private(target) && !is_private(&self.base) {
            return Err(self.misled("a redirect to an address of this machine or its network"));
        }
        Ok(())
    }

    fn misled(&self, what: &str) -> Error {
        Error::new(Kind::Unreachable, format!("{} answered with {what}", self.shown()))
            .hint("check the URL, or ask who runs the server")
    }

    fn shown(&self) -> String {
        self.base.origin().ascii_serialization()
    }

    fn unreachable(&self, attempts: u32, why: &str) -> Error {
        let times = if attempts == 1 { String::new() } else { format!(" after {attempts} attempts") };
        Error::new(Kind::Unreachable, format!("cannot reach {}{times}: {}", self.shown(), self.safe(why)))
            .hint("check that the server runs and the address is right, then try again")
    }

    /// What the server said, as an error.
    async fn refused(&self, response: Response) -> Error {
        let status = response.status;
        let mut body = Vec::new();
        let mut chunks = response.body;
        while let Some(Ok(chunk)) = chunks.next().await {
            body.extend_from_slice(&chunk);
            if body.len() > 64 << 10 {
                break;
            }
        }
        let said: Refusal = serde_json::from_slice(&body).unwrap_or_default();
        let message = said.error.or(said.message).filter(|m| !m.is_empty());
        let message = message.map(|m| self.safe(&m));
        let details = said.details.filter(|d| !d.is_empty()).map(|d| self.safe(&d));
        let host = self.shown();
        let (kind, fallback) = match status {
            401 | 403 => (Kind::Unauthorized, "not allowed"),
            404 | 410 => (Kind::NotFound, "not found"),
            409 | 412 => (Kind::Conflict, "somebody else changed it"),
            413 => (Kind::Limit, "too large"),
            422 => (Kind::Format, "not understood"),
            400..=499 => (Kind::Usage, "refused"),
            _ => (Kind::Unreachable, "unexpected answer"),
        };
        let message = message.unwrap_or_else(|| fallback.to_owned());
        let error = match kind {
            Kind::Unauthorized => {
                let what = if self.auth.is_some() {
                    "the server refused the token"
                } else {
                    "the server wants a token"
                };
                Error::new(kind, format!("{host}: {what} (HTTP {status}: {message})"))
            }
            // The path is put in front by the caller, who knows it.
            Kind::NotFound | Kind::Format | Kind::Conflict => Error::new(kind, message),
            _ => Error::new(kind, format!("{host}: HTTP {status}: {message}")),
        };
        match (kind, details) {
            (Kind::Unauthorized, _) if self.auth.is_some() => {
                error.hint(format!("check the token: {}", self.token_hint()))
            }
            (Kind::Unauthorized, _) => error.hint(self.token_hint()),
            (_, Some(details)) => error.hint(details),
            (_, None) => error,
        }
    }

    /// Outside text: no secret, no terminal codes, not endless.
    fn safe(&self, text: &str) -> String {
        let text = match &self.auth {
            Some(auth) => auth.secret().redact(text),
            None => text.to_owned(),
        };
        let text = mime::printable(&text);
        text.chars().take(MAX_SHOWN_CHARS).collect()
    }
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Folder(Vec<Entry>),
    File(Entry),
}

struct Answer {
    headers: HeaderMap,
    bytes: Bytes,
}

fn named(e: Error, path: &RepoPath) -> Error {
    if matches!(e.kind, Kind::NotFound) && !path.is_root() && !e.message.contains(path.as_str()) {
        return e.context(path);
    }
    e
}

fn parse_base(base: &str) -> Result<Url> {
    let url: Url = base.parse().map_err(|e| Error::usage(format!("not a server address: {e}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() || !url.username().is_empty() {
        return Err(Error::usage("a server address is http(s)://HOST[:PORT]"));
    }
    Ok(url)
}

fn address(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn is_loopback(url: &Url) -> bool {
    url.host_str() == Some("localhost") || address(url).is_some_and(|a| a.is_loopback())
}

fn is_private(url: &Url) -> bool {
    let v4 =
        |a: std::net::Ipv4Addr| a.is_loopback() || a.is_private() || a.is_link_local() || a.is_unspecified();
    is_loopback(url)
        || match address(url) {
            Some(IpAddr::V4(a)) => v4(a),
            Some(IpAddr::V6(a)) => {
                a.to_ipv4_mapped().is_some_and(v4)
                    || a.is_unspecified()
                    || a.is_unique_local()
                    || a.is_unicast_link_local()
            }
            None => false,
        }
}

fn checked_commit(id: String) -> Result<String> {
    if id.len() == 40 && id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(id);
    }
    Err(Error::new(Kind::Format, "the server named a commit that is no hash"))
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
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
