//! The bytes of one file, whole or a range of them (RFC 9110, sections 13 and 14).
//!
//! Every file is verified once, and again when it has changed: smaller ones before the first byte, larger
//! ones while they are sent (see [`Large`]). A large file that turns out to be damaged breaks off before
//! its end, and is refused from then on.

use super::Shared;
use super::listing::resolve;
use super::route::splits;
use crate::repository::{Large, Node};
use crate::runtime;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use dds_core::{Digest, Error, Result};
use std::ops::Range;
use std::sync::Arc;

/// Files up to this size are read as a whole.
const SMALL: u64 = 8 << 20;
/// Those up to this size by the thread that speaks to the client, once their place is known.
pub const AT_HAND: u64 = 256 << 10;

/// The conditional headers of a request.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    range: Option<String>,
    if_range: Option<String>,
    if_none_match: Option<String>,
}

enum Content {
    Memory(Bytes),
    Large(Large),
}

impl Content {
    fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Large(large) => large.len(),
        }
    }
}

impl Wanted {
    pub fn of(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok()).map(str::to_owned);
        Self {
            range: text(header::RANGE),
            if_range: text(header::IF_RANGE),
            if_none_match: text(header::IF_NONE_MATCH),
        }
    }
}

pub async fn get(shared: Arc<Shared>, rest: Vec<String>, wanted: Wanted) -> Result<Response<Body>> {
    let (content, digest) = runtime::blocking(move || open(&shared, &rest)).await?;
    answer(content, &digest, &wanted)
}

/// The answer for a small file of which everything is known: its revision, its place, its good bytes.
pub fn at_hand(shared: &Shared, rest: &[String], wanted: &Wanted) -> Option<Response<Body>> {
    let (rev, path) = splits(rest).next()?;
    let revision = shared.repository.resolved(&rev)?;
    let snapshot = shared.repository.kept_snapshot(revision.commit)?;
    let Node::Dvc { digest, layout, keeper, .. } = snapshot.get(&path.ok()?)? else { return None };
    let bytes = keeper.stores.read_verified(digest, *layout, keeper.remote.as_deref(), AT_HAND)?;
    answer(Content::Memory(bytes.into()), digest, wanted).ok()
}

/// The answer to who wants all of a file of `len` bytes, without them.
pub fn whole(digest: &Digest, len: u64) -> Result<Response<Body>> {
    let (mut response, _) = outline(len, digest, &Wanted::default())?;
    super::guard(&mut response);
    Ok(response)
}

fn answer(content: Content, digest: &Digest, wanted: &Wanted) -> Result<Response<Body>> {
    let (mut response, range) = outline(content.len(), digest, wanted)?;
    if let Some(range) = range {
        *response.body_mut() = body(content, range);
    }
    Ok(response)
}

/// The answer without its body, and what that is of the `len` bytes.
fn outline(len: u64, digest: &Digest, wanted: &Wanted) -> Result<(Response<Body>, Option<Range<u64>>)> {
    let etag = format!("\"{digest}\"");
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::ETAG, value(&etag)?);
    let listed =
        |tags: &str| tags == "*" || tags.split(',').any(|t| t.trim().trim_start_matches("W/") == etag);
    if wanted.if_none_match.as_deref().is_some_and(listed) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok((response, None));
    }
    let asked = match (&wanted.range, &wanted.if_range) {
        (Some(_), Some(tag)) if *tag != etag => Asked::All,
        (Some(range), _) => ask(range, len),
        (None, _) => Asked::All,
    };
    let range = match asked {
        Asked::All => 0..len,
        Asked::Part(range) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let shown = format!("bytes {}-{}/{len}", range.start, range.end.saturating_sub(1));
            response.headers_mut().insert(header::CONTENT_RANGE, value(&shown)?);
            range
        }
        Asked::Nothing => {
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            response.headers_mut().insert(header::CONTENT_RANGE, value(&format!("bytes */{len}"))?);
            return Ok((response, None));
        }
    };
    response.headers_mut().insert(header::CONTENT_LENGTH, value(&(range.end - range.start).to_string())?);
    Ok((response, Some(range)))
}

fn value(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text).map_err(|e| Error::internal(e.to_string()))
}

fn open(shared: &Shared, rest: &[String]) -> Result<(Content, Digest)> {
    let (revision, path) = resolve(shared, rest)?;
    let snapshot = shared.repository.snapshot(revision.commit)?;
    let Some(node) = snapshot.get(&path) else {
        snapshot.stat(&path)?;
        return Err(Error::not_found(format!("{path} is a folder")));
    };
    match node {
        Node::Dvc { digest, layout, keeper, .. } => {
            if keeper.stores.len(digest, *layout).is_some_and(|len| len > SMALL) {
                return Ok((Content::Large(keeper.open_large(&path, digest, *layout)?), *digest));
            }
            Ok((Content::Memory(shared.repository.read(&path, node)?), *digest))
        }
        Node::Git { digest, .. } => Ok((Content::Memory(shared.repository.read(&path, node)?), *digest)),
        Node::EmptyDir => Err(Error::not_found(format!("{path} is a folder"))),
    }
}

fn body(content: Content, range: Range<u64>) -> Body {
    match content {
        Content::Memory(bytes) => {
            let cut = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(bytes.len());
            Body::from(bytes.slice(cut(range.start)..cut(range.end)))
        }
        Content::Large(large) => {
            let stream = futures_util::stream::unfold(Some(large.read(range)), |reading| async move {
                let mut reading = reading?;
                let read = runtime::blocking(move || Ok((reading.next()?, reading)));
                match read.await {
                    Ok((bytes, reading)) => Some((Ok(Bytes::from(bytes?)), Some(reading))),
                    Err(e) => {
                        // The length was promised: breaking off is the only honest answer.
                        tracing::error!("{e}");
                        Some((Err(std::io::Error::other("the object cannot be read")), None))
                    }
                }
            });
            Body::from_stream(stream)
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    All,
    Part(Range<u64>),
    /// The range lies behind the end.
    Nothing,
}

/// One range of a file of `len` bytes. What is not understood, and several ranges at once, ask for all.
fn ask(range: &str, len: u64) -> Asked {
    let Some((first, last)) = range.trim().strip_prefix("bytes=").and_then(|r| r.split_once('-')) else {
        return Asked::All;
    };
    let number = |t: &str| t.trim().parse::<u64>().ok();
    match (first.trim(), last.trim()) {
        ("", last) => match number(last) {
            Some(0) => Asked::Nothing,
            Some(_) if len == 0 => Asked::Nothing,
            Some(n) => Asked::Part(len.saturating_sub(n)..len),
            None => Asked::All,
        },
        (first, last) => {
            let Some(first) = number(first) else { return Asked::All };
            let end = match (last, number(last)) {
                ("", _) => len,
                (_, Some(last)) if last < first => return Asked::All,
                (_, Some(last)) => last.saturating_add(1).min(len),
                (_, None) => return Asked::All,
            };
            if first >= len { Asked::Nothing } else { Asked::Part(first..end) }
        }
    }
}

#[cfg(test)]
mod tests;
