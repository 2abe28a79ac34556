//! A transport that fails by plan, around another one.

use super::transport::{BoxFuture, Chunks, Failure, Request, Response, Transport};
use crate::flight::lock;
use futures_util::StreamExt;
use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderValue, RETRY_AFTER};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// What happens to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// No connection: nothing reaches the server.
    Refuse,
    /// The server does its work, the answer is lost.
    LoseAnswer,
    /// Answered with this status and nothing done.
    Status(u16),
    /// 503 with `Retry-After: 0`.
    Busy,
    /// The body ends with an error after so many bytes.
    CutAfter(usize),
    /// The body ends as if complete after so many bytes.
    EndAfter(usize),
    /// One bit of the body is wrong.
    FlipBit(usize),
    /// A range is answered with the bytes of another one, as announced.
    WrongRange,
    /// The `Range` header is lost: 200 with everything.
    IgnoreRange,
}

/// Takes one fault per request from the front of the plan; after its end, the last one stays when
/// `forever` is set, else none happens.
pub struct Faulty {
    inner: Arc<dyn Transport>,
    plan: Mutex<VecDeque<Fault>>,
    forever: Option<Fault>,
}

impl Faulty {
    pub fn new(inner: Arc<dyn Transport>, plan: impl IntoIterator<Item = Fault>) -> Self {
        Self { inner, plan: Mutex::new(plan.into_iter().collect()), forever: None }
    }

    pub fn always(inner: Arc<dyn Transport>, fault: Fault) -> Self {
        Self { inner, plan: Mutex::default(), forever: Some(fault) }
    }
}

impl Transport for Faulty {
    fn send(&self, mut request: Request) -> BoxFuture<Result<Response, Failure>> {
        let fault = lock(&self.plan).pop_front().or_else(|| self.forever.clone()).unwrap_or(Fault::None);
        match fault {
            Fault::Refuse => return Box::pin(async { Err(Failure::Connect("connection refused".into())) }),
            Fault::Status(status) => return Box::pin(async move { Ok(empty(status, HeaderMap::new())) }),
            Fault::Busy => {
                let mut headers = HeaderMap::new();
                headers.insert(RETRY_AFTER, HeaderValue::from_static("0"));
                return Box::pin(async move { Ok(empty(503, headers)) });
            }
            Fault::IgnoreRange => {
                request.headers.remove(reqwest::header::RANGE);
            }
            _ => {}
        }
        let answer = self.inner.send(request);
        Box::pin(async move {
            let mut response = answer.await?;
            match fault {
                Fault::LoseAnswer => {
                    while response.body.next().await.is_some() {}
                    return Err(Failure::Broken("connection reset".into()));
                }
                Fault::CutAfter(n) => response.body = cut(response.body, n, true),
                Fault::EndAfter(n) => response.body = cut(response.body, n, false),
                Fault::FlipBit(bit) => response.body = flip(response.body, bit),
                Fault::WrongRange => {
                    response.headers.insert(CONTENT_RANGE, HeaderValue::from_static("bytes 7-8/9"));
                }
                _ => {}
            }
            Ok(response)
        })
    }
}

fn empty(status: u16, headers: HeaderMap) -> Response {
    Response { status, headers, body: Box::pin(futures_util::stream::empty()) }
}

fn cut(body: Chunks, limit: usize, error: bool) -> Chunks {
    Box::pin(futures_util::stream::unfold(Some((body, limit)), move |state| async move {
        let (mut body, left) = state?;
        let broken = |error: bool| error.then(|| (Err(Failure::Broken("connection reset".into())), None));
        match body.next().await {
            Some(Ok(mut chunk)) if chunk.len() > left => {
                if left == 0 {
                    return broken(error);
                }
                chunk.truncate(left);
                Some((Ok(chunk), Some((body, 0))))
            }
            Some(Ok(chunk)) => {
                let left = left - chunk.len();
                Some((Ok(chunk), Some((body, left))))
            }
            Some(Err(e)) => Some((Err(e), None)),
            None => None,
        }
    }))
}

fn flip(body: Chunks, bit: usize) -> Chunks {
    let mut seen = 0;
    Box::pin(body.map(move |chunk| {
        let mut bytes = chunk?.to_vec();
        if let Some(byte) = (bit / 8).checked_sub(seen).and_then(|at| bytes.get_mut(at)) {
            *byte ^= 1 << (bit % 8);
        }
        seen += bytes.len();
        Ok(bytes.into())
    }))
}
