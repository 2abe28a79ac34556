//! A transport without a network: a table of answers, for tests and for trying things out.

use super::transport::{BoxFuture, Chunks, Failure, Request, Response, Transport};
use bytes::Bytes;
use reqwest::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, HeaderValue, LOCATION, RANGE,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// One stored answer.
#[derive(Clone, Debug)]
pub struct Page {
    pub status: u16,
    pub headers: Vec<(HeaderName, String)>,
    pub body: Bytes,
}

/// Answers by URL without its query; everything else is 404. Ranges are answered. Requests are kept
/// for inspection.
#[derive(Clone, Default)]
pub struct Memory {
    pages: Arc<Mutex<HashMap<String, Page>>>,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Memory {
    pub fn put(&self, url: &str, body: impl Into<Bytes>) {
        self.put_page(url, Page { status: 200, headers: Vec::new(), body: body.into() });
    }

    pub fn redirect(&self, url: &str, to: &str) {
        let headers = vec![(LOCATION, to.to_owned())];
        self.put_page(url, Page { status: 302, headers, body: Bytes::new() });
    }

    pub fn put_page(&self, url: &str, page: Page) {
        crate::flight::lock(&self.pages).insert(url.to_owned(), page);
    }

    pub fn seen(&self) -> Vec<Request> {
        crate::flight::lock(&self.seen).clone()
    }
}

impl Transport for Memory {
    fn send(&self, request: Request) -> BoxFuture<Result<Response, Failure>> {
        let mut plain = request.url.clone();
        plain.set_query(None);
        let page = crate::flight::lock(&self.pages).get(plain.as_str()).cloned();
        let answer = answer(page, &request);
        crate::flight::lock(&self.seen).push(request);
        Box::pin(async move { Ok(answer) })
    }
}

fn answer(page: Option<Page>, request: &Request) -> Response {
    let mut headers = HeaderMap::new();
    let Some(page) = page else { return Response { status: 404, headers, body: chunks(Bytes::new()) } };
    for (name, value) in &page.headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name.clone(), value);
        }
    }
    let len = page.body.len();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let (Ok(tag), false) =
        (HeaderValue::from_str(&format!("\"{}\"", crate::hash::md5(&page.body))), headers.contains_key(ETAG))
    {
        headers.insert(ETAG, tag);
    }
    let range =
        request.headers.get(RANGE).and_then(|r| r.to_str().ok()).and_then(|r| r.strip_prefix("bytes="));
    let range = range.and_then(|r| r.split_once('-')).and_then(|(a, b)| {
        let first: usize = a.parse().ok()?;
        let last = b.parse::<usize>().map_or(len, |b| b.saturating_add(1)).min(len);
        Some((first, last))
    });
    match range {
        Some((first, _)) if page.status == 200 && first >= len => {
            Response { status: 416, headers, body: chunks(Bytes::new()) }
        }
        Some((first, last)) if page.status == 200 && first < last => {
            if let Ok(value) = HeaderValue::from_str(&format!("bytes {first}-{}/{len}", last - 1)) {
                headers.insert(CONTENT_RANGE, value);
            }
            headers.insert(CONTENT_LENGTH, HeaderValue::from(last - first));
            Response { status: 206, headers, body: chunks(page.body.slice(first..last)) }
        }
        _ => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
            Response { status: page.status, headers, body: chunks(page.body) }
        }
    }
}

fn chunks(body: Bytes) -> Chunks {
    Box::pin(futures_util::stream::iter(if body.is_empty() { None } else { Some(Ok(body)) }))
}
