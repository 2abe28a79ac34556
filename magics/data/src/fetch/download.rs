//! One image from the web: redirects judged hop by hop, bounded in bytes and time, an image by its first
//! bytes and not by what its server says.
//!
//! No address of this machine or its network is asked unless that was allowed; and even then a server
//! elsewhere cannot lead there.

use crate::client::fetch::{check_redirect, content_length, is_loopback, is_private};
use crate::client::http::Http;
use crate::client::transport::{Failure, Request, Response, Transport};
use bytes::BytesMut;
use dds_core::image_kind::{MAGIC_BYTES, looks_like};
use dds_core::table::bytes;
use dds_core::{ImageKind, Result};
use futures_util::StreamExt;
use reqwest::Url;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Downloads at a time from one server.
pub const PER_HOST: usize = 4;
const MAX_REDIRECTS: usize = 5;
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(300);
const MAX_RETRY_AFTER: Duration = Duration::from_secs(10);

/// What bounds a download.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub max_bytes: u64,
    /// For one image with all its attempts.
    pub time: Duration,
    pub connections: usize,
    /// Addresses of this machine and its network may be asked.
    pub private: bool,
}

/// An image.
#[derive(Debug)]
pub struct Image {
    pub kind: ImageKind,
    pub bytes: BytesMut,
}

/// Why there is none, in words.
pub type Reason = String;

/// Downloads images. Cheap to share.
pub struct Downloader {
    transports: Transports,
    limits: Limits,
    places: Semaphore,
    hosts: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// Connections of different reach.
struct Transports {
    /// To public addresses only.
    public: Arc<dyn Transport>,
    /// To any address, and to this machine without a proxy; where that is allowed.
    any: Option<(Arc<dyn Transport>, Arc<dyn Transport>)>,
}

/// What one attempt came to.
enum Attempt {
    Got(Image),
    Final(Reason),
    Again(Reason, Option<Duration>),
}

impl Downloader {
    pub fn new(limits: Limits) -> Result<Self> {
        let any = match limits.private {
            true => Some((
                Arc::new(Http::anywhere(true)?) as Arc<dyn Transport>,
                Arc::new(Http::anywhere(false)?) as Arc<dyn Transport>,
            )),
            false => None,
        };
        let transports = Transports { public: Arc::new(Http::public()?), any };
        Ok(Self::over(transports, limits))
    }

    fn over(transports: Transports, limits: Limits) -> Self {
        Self { transports, limits, places: Semaphore::new(limits.connections), hosts: Mutex::default() }
    }

    /// Fetches one image.
    pub async fn image(&self, url: &Url) -> Result<Image, Reason> {
        let host = {
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            let of = url.host_str().unwrap_or_default().to_owned();
            hosts.entry(of).or_insert_with(|| Arc::new(Semaphore::new(PER_HOST))).clone()
        };
        let _host = host.acquire().await;
        let _place = self.places.acquire().await;
        match tokio::time::timeout(self.limits.time, self.attempts(url)).await {
            Ok(result) => result,
            Err(_) => Err(format!("it took longer than {} s", self.limits.time.as_secs())),
        }
    }

    async fn attempts(&self, url: &Url) -> Result<Image, Reason> {
        let mut pause = PAUSE;
        let mut last = Reason::new();
        for attempt in 1..=ATTEMPTS {
            match self.attempt(url).await {
                Attempt::Got(image) => return Ok(image),
                Attempt::Final(why) => return Err(why),
                Attempt::Again(why, wait) => {
                    if attempt < ATTEMPTS {
                        tokio::time::sleep(wait.unwrap_or(pause)).await;
                        pause = pause.saturating_mul(2);
                    }
                    last = why;
                }
            }
        }
        Err(format!("{last} ({ATTEMPTS} attempts)"))
    }

    async fn attempt(&self, url: &Url) -> Attempt {
        let (mut at, mut from): (Url, Option<Url>) = (url.clone(), None);
        for _ in 0..=MAX_REDIRECTS {
            let transport = match self.way(&at, from.as_ref()) {
                Ok(transport) => transport,
                Err(why) => return Attempt::Final(why),
            };
            let mut request = Request::get(at.clone());
            request.headers.insert(ACCEPT, HeaderValue::from_static("image/*,*/*;q=0.5"));
            request.patience = self.limits.time;
            let response = match transport.send(request).await {
                Ok(response) => response,
                Err(Failure::Forbidden(why)) => return Attempt::Final(format!("not asked: {why}")),
                Err(failure) => return Attempt::Again(failure.to_string(), None),
            };
            match response.status {
                200 => return self.body(response).await,
                301 | 302 | 303 | 307 | 308 => {
                    let to = response.headers.get(LOCATION).and_then(|l| l.to_str().ok());
                    let Some(next) = to.and_then(|to| at.join(to).ok()) else {
                        return Attempt::Final("the server redirects to nowhere".into());
                    };
                    from = Some(std::mem::replace(&mut at, next));
                }
                status @ (429 | 500..=599) => {
                    let wait =
                        response.headers.get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.trim().parse().ok());
                    let wait = wait.map(|s| Duration::from_secs(s).min(MAX_RETRY_AFTER));
                    return Attempt::Again(format!("the server answered {status}"), wait);
                }
                status => return Attempt::Final(format!("the server answered {status}")),
            }
        }
        Attempt::Final(format!("more than {MAX_REDIRECTS} redirects"))
    }

    /// The connections for one hop, after judging where it leads.
    fn way(&self, to: &Url, from: Option<&Url>) -> Result<Arc<dyn Transport>, Reason> {
        super::list::address(to.as_str()).map_err(|why| format!("a redirect to {why}"))?;
        if let Some(from) = from {
            check_redirect(from, to).map_err(|what| format!("a redirect to {what}"))?;
        }
        let Some((far, near)) = &self.transports.any else {
            return match is_private(to) {
                true => Err("an address of this machine or its network (--allow-private)".into()),
                false => Ok(self.transports.public.clone()),
            };
        };
        match from {
            // Names that only resolve to this network are refused by the connection itself.
            Some(from) if !is_private(from) && from.host() != to.host() => Ok(self.transports.public.clone()),
            _ if is_loopback(to) => Ok(near.clone()),
            _ => Ok(far.clone()),
        }
    }

    async fn body(&self, response: Response) -> Attempt {
        let max = self.limits.max_bytes;
        let too_large = |n: u64| Attempt::Final(format!("{}: the limit is {}", bytes(n), bytes(max)));
        let length = content_length(&response.headers);
        if let Some(n) = length.filter(|n| *n > max) {
            return too_large(n);
        }
        let told =
            response.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("no type").to_owned();
        let mut chunks = response.body;
        let mut have = BytesMut::new();
        while let Some(chunk) = chunks.next().await {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(failure) => return Attempt::Again(failure.to_string(), None),
            };
            if (have.len() + chunk.len()) as u64 > max {
                return Attempt::Final(format!("larger than {}", bytes(max)));
            }
            let unknown = have.len() < MAGIC_BYTES;
            have.extend_from_slice(&chunk);
            if unknown && have.len() >= MAGIC_BYTES && ImageKind::of(&have).is_none() {
                return no_image(&have, &told);
            }
        }
        if length.is_some_and(|n| n != have.len() as u64) {
            return Attempt::Again("the transfer broke off".into(), None);
        }
        match ImageKind::of(&have) {
            Some(kind) => Attempt::Got(Image { kind, bytes: have }),
            None if have.is_empty() => Attempt::Final("the server sent nothing".into()),
            None => no_image(&have, &told),
        }
    }
}

fn no_image(start: &[u8], told: &str) -> Attempt {
    let told: String = dds_core::mime::printable(told).chars().take(80).collect();
    Attempt::Final(format!("not an image: {} ({told})", looks_like(start)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::memory::Memory;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n0000000000";

    fn over(memory: &Memory, private: bool) -> Downloader {
        let shared: Arc<dyn Transport> = Arc::new(memory.clone());
        let any = private.then(|| (shared.clone(), shared.clone()));
        let limits = Limits { max_bytes: 100, time: Duration::from_secs(30), connections: 2, private };
        Downloader::over(Transports { public: shared, any }, limits)
    }

    fn fetch(downloader: &Downloader, url: &str) -> Result<Image, Reason> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.unwrap().block_on(downloader.image(&url.parse().unwrap()))
    }

    #[test]
    fn an_image_is_known_by_its_bytes() {
        let memory = Memory::default();
        memory.put("http://h/ok.jpg", PNG);
        memory.put("http://h/page.jpg", "<html>not found, but said with status 200");
        memory.put("http://h/empty", "");
        memory.put("http://h/large", [PNG, &[0; 100]].concat());
        let d = over(&memory, false);
        assert_eq!(fetch(&d, "http://h/ok.jpg").unwrap().kind, ImageKind::Png);
        for (url, why) in [
            ("http://h/page.jpg", "web page"),
            ("http://h/empty", "sent nothing"),
            ("http://h/large", "limit is 100 B"),
            ("http://h/none", "answered 404"),
        ] {
            let e = fetch(&d, url).unwrap_err();
            assert!(e.contains(why), "{url}: {e}");
        }
    }

    #[test]
    fn every_hop_is_judged() {
        let memory = Memory::default();
        memory.put("https://cdn/a.png", PNG);
        memory.put("http://127.0.0.1/a.png", PNG);
        memory.redirect("https://h/ok", "https://cdn/a.png");
        memory.redirect("https://h/weak", "http://cdn/a.png");
        memory.redirect("https://h/meta", "https://169.254.169.254/latest");
        memory.redirect("http://h/inward", "http://127.0.0.1/a.png");
        memory.redirect("http://h/file", "file:///etc/passwd");
        memory.redirect("http://h/loop", "http://h/loop");
        memory.redirect("http://h/user", "http://u:s3cret@h/x");
        for private in [false, true] {
            let d = over(&memory, private);
            assert!(fetch(&d, "https://h/ok").is_ok());
            for (url, why) in [
                ("https://h/weak", "unprotected"),
                ("https://h/meta", "address of this machine"),
                ("http://h/inward", "address of this machine"),
                ("http://h/file", "http"),
                ("http://h/loop", "redirects"),
                ("http://h/user", "password"),
            ] {
                let e = fetch(&d, url).unwrap_err();
                assert!(e.contains(why) && !e.contains("s3cret"), "{url}: {e}");
            }
            let here = fetch(&d, "http://127.0.0.1/a.png");
            assert_eq!(here.is_ok(), private, "{here:?}");
        }
        let asked = memory.seen().into_iter().any(|r| r.url.host_str() == Some("169.254.169.254"));
        assert!(!asked);
    }
}
