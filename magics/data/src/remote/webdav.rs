//! WebDAV remotes: HTTP with PUT, with folders that must be made first (MKCOL), and with MOVE, so that
//! a reader never sees half a file.

use super::http::Site;
use super::{Key, Remote};
use crate::client::transport::{BoxFuture, Content};
use crate::dvc::RemoteConfig;
use crate::flight::lock;
use bytes::Bytes;
use dds_core::{Config, Error, Result};
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use std::collections::HashSet;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

pub struct WebDavRemote {
    site: Site,
    made: Arc<Mutex<HashSet<String>>>,
}

static COUNTER: AtomicU64 = AtomicU64::new(0);

impl WebDavRemote {
    pub fn open(remote: &RemoteConfig, config: &Config, elsewhere: bool) -> Result<Self> {
        for key in ["bearer_token_command", "cert_path", "key_path"] {
            if remote.get(key).is_some() {
                return Err(remote.broken(key, "is not supported by dds"));
            }
        }
        let url = remote.url().replacen("webdav", "http", 1);
        Ok(Self { site: Site::open(remote, &url, config, elsewhere)?, made: Arc::default() })
    }
}

impl Remote for WebDavRemote {
    fn shown(&self) -> &str {
        &self.site.shown
    }

    fn len(&self, key: &Key) -> BoxFuture<Result<Option<u64>>> {
        let (site, key) = (self.site.clone(), key.clone());
        Box::pin(async move { site.len(&key).await })
    }

    fn get(&self, key: &Key, range: Option<Range<u64>>, max: u64) -> BoxFuture<Result<Option<Bytes>>> {
        let (site, key) = (self.site.clone(), key.clone());
        Box::pin(async move { site.get(&key, range, max).await })
    }

    fn put(&self, key: &Key, file: PathBuf, len: u64) -> BoxFuture<Result<()>> {
        let (site, made, key) = (self.site.clone(), self.made.clone(), key.clone());
        Box::pin(async move {
            make_folders(&site, &made, &key.path).await?;
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let part = format!("{}.{}-{number}.tmp", key.path, std::process::id());
            let body = Content::File { path: file, len };
            let sent = site.send(Method::PUT, site.url(&part)?, HeaderMap::new(), body, len).await?;
            if !matches!(sent.status, 200..=299) {
                return Err(site.refused(sent).await);
            }
            let mut headers = HeaderMap::new();
            let target = HeaderValue::from_str(site.url(&key.path)?.as_str());
            let target = target.map_err(|e| Error::internal(e.to_string()))?;
            headers.insert(HeaderName::from_static("destination"), target);
            headers.insert(HeaderName::from_static("overwrite"), HeaderValue::from_static("T"));
            let moved = site.send(method("MOVE")?, site.url(&part)?, headers, Content::Empty, 0).await?;
            match moved.status {
                200..=299 => Ok(()),
                _ => Err(site.refused(moved).await),
            }
        })
    }
}

/// Makes the folders above `key`, from the outermost one that is not known to be there.
async fn make_folders(site: &Site, made: &Mutex<HashSet<String>>, key: &str) -> Result<()> {
    let parts: Vec<&str> = key.split('/').collect();
    // The remote's own folder may be missing too.
    for depth in 0..parts.len() {
        let folder = parts.get(..depth).unwrap_or_default().join("/");
        if lock(made).contains(&folder) {
            continue;
        }
        let mut url = site.url(&folder)?;
        url.set_path(&format!("{}/", url.path().trim_end_matches('/')));
        let answer = site.send(method("MKCOL")?, url, HeaderMap::new(), Content::Empty, 0).await?;
        // 405: it is there already; a root that refuses to be made may be there as well.
        let there = matches!(answer.status, 200..=299 | 301 | 405) || (depth == 0 && answer.status != 401);
        if !there {
            return Err(site.refused(answer).await);
        }
        lock(made).insert(folder);
    }
    Ok(())
}

fn method(name: &str) -> Result<Method> {
    Method::from_bytes(name.as_bytes()).map_err(|e| Error::internal(e.to_string()))
}
