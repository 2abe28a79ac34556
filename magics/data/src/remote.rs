//! DVC remotes that are not folders of this machine: one small trait, and one file for each kind.
//!
//! A remote holds objects under keys (`files/md5/xx/…`), or files under their own names where it keeps
//! versions. It is trusted for nothing: whoever reads verifies. Credentials never leave for another
//! origin than the remote's own, and appear in no message.

mod azure;
mod gs;
mod http;
#[cfg(test)]
mod memory;
mod s3;
mod sftp;
mod ssh;
mod webdav;

#[cfg(test)]
pub use memory::MemoryRemote;

use crate::client::fetch::{is_private, refusal};
use crate::client::transport::{BoxFuture, Response};
use crate::dvc::RemoteConfig;
use bytes::Bytes;
use dds_core::mime::printable;
use dds_core::{Config, Error, Kind, Result};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// An upload may need this long, and its time at [`SLOWEST_UPLOAD`] on top.
const UPLOAD_PATIENCE: Duration = Duration::from_secs(120);
const SLOWEST_UPLOAD: u64 = 64 << 10;
const MAX_SHOWN_CHARS: usize = 300;

/// The name of an object below the remote's URL, with its version where the remote keeps several.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub path: String,
    pub version: Option<String>,
}

impl Key {
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), version: None }
    }
}

/// Key → length.
pub type Lengths = Vec<(String, u64)>;

/// A place that keeps objects. All methods may run many at a time.
pub trait Remote: Send + Sync {
    /// The URL, for messages: without credentials.
    #[cfg_attr(not(test), expect(dead_code, reason = "messages are made by the remotes themselves so far"))]
    fn shown(&self) -> &str;

    /// The length of an object; none when there is none.
    fn len(&self, key: &Key) -> BoxFuture<Result<Option<u64>>>;

    /// The bytes of an object, or of a range of it cut at its end; none when there is no such object.
    /// Errors: `Limit` past `max` bytes.
    fn get(&self, key: &Key, range: Option<Range<u64>>, max: u64) -> BoxFuture<Result<Option<Bytes>>>;

    /// Stores a file of `len` bytes under `key`. A reader never sees half of it.
    fn put(&self, key: &Key, file: PathBuf, len: u64) -> BoxFuture<Result<()>>;

    /// The lengths of all objects below the folder `prefix`, by key, at most `max` of them; none when
    /// this kind of remote cannot tell them faster than one by one.
    fn lengths(&self, prefix: &str, max: usize) -> BoxFuture<Result<Option<Lengths>>> {
        let _ = (prefix, max);
        Box::pin(async { Ok(None) })
    }
}

/// Opens a remote; nothing is sent yet. `elsewhere` is set for repositories that were fetched from
/// another machine: they may not point at addresses of this one's network unless they come from there.
///
/// Errors: `Unavailable` for kinds that are not supported, `Format` for broken settings.
pub fn open(remote: &RemoteConfig, config: &Config, elsewhere: bool) -> Result<Arc<dyn Remote>> {
    match remote.scheme() {
        "http" | "https" => Ok(Arc::new(http::HttpRemote::open(remote, config, elsewhere)?)),
        "azure" => Ok(Arc::new(azure::AzureRemote::open(remote, config, elsewhere)?)),
        "gs" => Ok(Arc::new(gs::GsRemote::open(remote, config, elsewhere)?)),
        "s3" => Ok(Arc::new(s3::S3Remote::open(remote, config, elsewhere)?)),
        "webdav" | "webdavs" => Ok(Arc::new(webdav::WebDavRemote::open(remote, config, elsewhere)?)),
        "ssh" | "sftp" => Ok(Arc::new(ssh::SshRemote::open(remote, config, elsewhere)?)),
        scheme => Err(unsupported(remote, scheme)),
    }
}

fn unsupported(remote: &RemoteConfig, scheme: &str) -> Error {
    let what = match scheme {
        "gdrive" => "Google Drive",
        "oss" => "Alibaba OSS",
        "hdfs" | "webhdfs" => "HDFS",
        _ => "this kind of remote",
    };
    let error = Error::new(
        Kind::Unavailable,
        format!("the DVC remote {:?} is {scheme}://: {what} is not supported yet", remote.name),
    );
    error.hint(
        "run `dvc fetch` in the repository: dds reads its cache; or keep the data on a remote that dds opens: a \
         folder, s3, gs, azure, http(s), webdav(s), ssh",
    )
}

/// Refuses an address of this machine's network that a repository from elsewhere names.
fn check_address(remote: &RemoteConfig, url: &reqwest::Url, elsewhere: bool) -> Result<()> {
    if elsewhere && is_private(url) { Err(inward(&remote.name)) } else { Ok(()) }
}

fn inward(name: &str) -> Error {
    Error::new(
        Kind::Unavailable,
        format!("the DVC remote {name:?} is an address of this machine or its network"),
    )
    .hint("clone the repository and name the remote in your own .dvc/config.local if that is right")
}

/// TLS settings that we do not follow are refused, not passed over.
fn check_tls(remote: &RemoteConfig) -> Result<()> {
    match remote.get("ssl_verify").map(str::to_lowercase).as_deref() {
        None | Some("true" | "1" | "yes" | "on") => Ok(()),
        _ => Err(remote.broken("ssl_verify", "is not supported by dds")),
    }
}

/// What a remote answered when it would not.
async fn refused(name: &str, shown: &str, safe: impl Fn(&str) -> String, response: Response) -> Error {
    let status = response.status;
    let body = refusal(response).await;
    let said = String::from_utf8_lossy(&body);
    let said = match (s3::tag(&said, "Code"), s3::tag(&said, "Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code,
        _ if said.trim_start().starts_with('<') => String::new(),
        _ => said.trim().to_owned(),
    };
    let said: String = printable(&safe(&said)).chars().take(MAX_SHOWN_CHARS).collect();
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    let message = |what: &str| format!("the DVC remote {name:?} ({shown}) {what} (HTTP {status}{said})");
    match status {
        401 | 403 => Error::new(Kind::Unauthorized, message("refused")).hint(format!(
            "give dds the same credentials as dvc: `dvc remote modify --local {name} …`, or the environment"
        )),
        404 | 410 => Error::new(Kind::NotFound, message("has no such object")),
        413 | 507 => Error::new(Kind::Limit, message("takes no file of this size")),
        400..=499 => Error::new(Kind::Usage, message("did not understand")),
        _ => Error::new(Kind::Unreachable, message("failed")),
    }
}

fn upload_patience(len: u64) -> Duration {
    UPLOAD_PATIENCE + Duration::from_secs(len / SLOWEST_UPLOAD)
}

#[cfg(test)]
mod tests;
