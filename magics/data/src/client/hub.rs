//! One repository on a server that speaks DagsHub's API.
//!
//! A request that reads is tried again (see [`super::fetch`]); a request that writes is sent once.

use super::api::{self, Content as Listing, Refusal};
use super::fetch::{Anonymous, Answer, Fetcher, Got, Retry, Sign, refusal};
use super::http::Http;
use super::transport::{Content, Failure, Part, Request, Response, Transport};
use crate::percent;
use crate::serve::{CHANGES_EXTENSION, EXTENSIONS_HEADER, RECURSIVE_EXTENSION};
use base64::Engine;
use bytes::Bytes;
use dds_core::{Entry, Error, Kind, RepoPath, Result, Secret};
use reqwest::header::{AUTHORIZATION, ETAG, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// A listing of ten million files has about this size.
const MAX_ANSWER_BYTES: u64 = 4 << 30;
/// The record of a repository, a branch or a commit.
const MAX_RECORD_BYTES: u64 = 1 << 20;
/// An upload may need this long, and its time at [`SLOWEST_UPLOAD`] on top.
const UPLOAD_PATIENCE: Duration = Duration::from_secs(120);
const SLOWEST_UPLOAD: u64 = 64 << 10;

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
}

impl Sign for Auth {
    fn sign(&self, request: &mut Request) -> Result<()> {
        request.headers.insert(AUTHORIZATION, self.header()?);
        Ok(())
    }

    fn redact(&self, text: &str) -> String {
        match self {
            Self::Token(secret) | Self::Login(_, secret) => secret.redact(text),
        }
    }
}

#[derive(Clone)]
pub struct HubClient {
    fetcher: Fetcher,
    owner: String,
    repo: String,
    auth: Option<Auth>,
    configured: bool,
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
    /// The server takes removals, modes and several folders in one upload.
    pub changes: bool,
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
        let transport = Arc::new(Http::new(&url)?);
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
        let signer: Arc<dyn Sign> = match &auth {
            Some(auth) => Arc::new(auth.clone()),
            None => Arc::new(Anonymous),
        };
        Ok(Self {
            fetcher: Fetcher::new(transport, parse_base(base)?, signer, retry),
            owner: owner.to_owned(),
            repo: repo.to_owned(),
            auth,
            configured: false,
        })
    }

    /// Says whether this is the server that the configured token goes to; only hints depend on it.
    pub fn configured(self, configured: bool) -> Self {
        Self { configured, ..self }
    }

    /// How to give this server a token.
    pub fn token_hint(&self) -> String {
        if self.configured {
            return "run `dds login`, set DAGSHUB_USER_TOKEN, or pass --token".to_owned();
        }
        format!(
            "pass --token, or set DAGSHUB_CLIENT_HOST={} together with DAGSHUB_USER_TOKEN",
            self.fetcher.shown()
        )
    }

    pub fn base(&self) -> &Url {
        &self.fetcher.base
    }

    pub fn auth(&self) -> Option<&Auth> {
        self.auth.as_ref()
    }

    pub async fn record(&self) -> Result<Record> {
        let answer = self.fetch(self.url("", "")?, None, MAX_RECORD_BYTES).await?;
        let extensions = answer.headers.get(EXTENSIONS_HEADER).and_then(|v| v.to_str().ok()).unwrap_or("");
        let has = |name: &str| extensions.split(',').any(|e| e.trim() == name);
        let (recursive, changes) = (has(RECURSIVE_EXTENSION), has(CHANGES_EXTENSION));
        let record: api::Repository = api::parse("the repository", &answer.bytes)?;
        Ok(Record {
            default_branch: record.default_branch,
            clone_url: record.clone_url,
            empty: record.empty,
            recursive,
            changes,
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
            Listing::File(raw) => {
                let entry = raw.entry()?.ok_or_else(|| Error::not_found(format!("{path} is not a file")))?;
                Ok(Found::File(entry))
            }
            Listing::Folder(list) => {
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
        let patience = UPLOAD_PATIENCE + Duration::from_secs(bytes / SLOWEST_UPLOAD);
        let headers = HeaderMap::new();
        let mut request = Request { method: Method::PUT, url, headers, body: Content::Form(parts), patience };
        self.fetcher.signer.sign(&mut request)?;
        let _place = self.fetcher.places.acquire().await;
        let response = match self.fetcher.transport.send(request).await {
            Ok(response) => response,
            Err(Failure::Connect(why) | Failure::Forbidden(why)) => {
                return Err(self.fetcher.unreachable(1, &why));
            }
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
        let base = self.fetcher.base.as_str().trim_end_matches('/');
        let slash = if below.is_empty() { "" } else { "/" };
        let mut url: Url = format!("{base}/api/v1/repos/{owner}/{repo}{slash}{below}")
            .parse()
            .map_err(|e| Error::internal(format!("{below}: {e}")))?;
        url.set_query(Some(query).filter(|q| !q.is_empty()));
        Ok(url)
    }

    /// A GET with retries.
    async fn fetch(&self, url: Url, range: Option<Range<u64>>, max: u64) -> Result<Answer> {
        let packed = url.path().contains("/content/");
        match self.fetcher.get(url, range, max, packed).await? {
            Got::Answer(answer) => Ok(answer),
            Got::Refused(response) => Err(self.refused(response).await),
        }
    }

    /// What the server said, as an error.
    async fn refused(&self, response: Response) -> Error {
        let status = response.status;
        let body = refusal(response).await;
        let said: Refusal = serde_json::from_slice(&body).unwrap_or_default();
        let message = said.error.or(said.message).filter(|m| !m.is_empty());
        let message = message.map(|m| self.fetcher.signer.safe(&m));
        let details = said.details.filter(|d| !d.is_empty()).map(|d| self.fetcher.signer.safe(&d));
        let host = self.fetcher.shown();
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
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Folder(Vec<Entry>),
    File(Entry),
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

fn checked_commit(id: String) -> Result<String> {
    if id.len() == 40 && id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(id);
    }
    Err(Error::new(Kind::Format, "the server named a commit that is no hash"))
}
