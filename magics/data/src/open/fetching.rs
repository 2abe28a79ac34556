//! What all sources share that fetch files from elsewhere: bounds, verification, and small files.

use crate::client::transport::BoxFuture;
use crate::hash;
use crate::runtime;
use crate::store::BlobStore;
use bytes::Bytes;
use dds_core::{Cancel, Entry, Error, Kind, Result};
use std::ops::Range;
use std::sync::Arc;

/// Files up to this size are fetched and verified whole.
pub const SMALL_BYTES: u64 = 8 << 20;
/// The cache of all repositories on this machine; pruned when one is opened.
pub const MAX_CACHE_BYTES: u64 = 20 << 30;
/// Bounds that tests make small.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub small_bytes: u64,
    /// Fetched ahead and kept in memory.
    pub memory_bytes: u64,
    /// One request for a part of a large file.
    pub block_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { small_bytes: SMALL_BYTES, memory_bytes: 128 << 20, block_bytes: 4 << 20 }
    }
}

/// Where the bytes of a commit's files come from.
pub trait Fetch: Send + Sync {
    /// The bytes of a file, or of a range of it cut at its end; not verified. Errors: `Limit` past `max`.
    fn get(
        &self,
        commit: &str,
        entry: &Entry,
        range: Option<Range<u64>>,
        max: u64,
    ) -> BoxFuture<Result<Bytes>>;
}

/// A source of bytes with the cache in front of it; shared with the tasks that fetch.
pub struct Fetching {
    pub source: Arc<dyn Fetch>,
    pub cache: BlobStore,
    pub settings: Settings,
}

impl Fetching {
    /// Fetches one small file whole, verifies it and keeps it. Damage on the way is tried again once.
    pub async fn fetch_small(self: Arc<Self>, commit: String, entry: Entry) -> Result<Bytes> {
        let max = entry.size.unwrap_or(0).max(self.settings.small_bytes);
        let mut bytes = self.source.get(&commit, &entry, None, max).await?;
        let mut good = verify(&entry, &bytes);
        if good.is_err() {
            bytes = self.source.get(&commit, &entry, None, max).await?;
            good = verify(&entry, &bytes);
        }
        if let (Named::Bytes, Some(digest)) = (good?, entry.digest) {
            // Behind the reader's back: the bytes are good whether or not the disk takes them.
            let (store, kept) = (self.cache.clone(), bytes.clone());
            let write = move || {
                if let Err(e) = store.put_verified(&digest, &kept) {
                    tracing::warn!("not kept in the cache: {e}");
                }
            };
            tokio::task::spawn_blocking(write);
        }
        Ok(bytes)
    }
}

/// What the digest of an entry names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// These very bytes, which the cache may hold under it.
    Bytes,
    /// The bytes with Unix line ends, of which old versions of DVC took the digest; or nothing is known.
    Otherwise,
}

/// Whether `bytes` are the file of this entry. Errors: `Corrupt`.
pub fn verify(entry: &Entry, bytes: &[u8]) -> Result<Named> {
    let Some(digest) = &entry.digest else {
        return match entry.size.filter(|size| *size != bytes.len() as u64) {
            Some(size) => Err(Error::new(
                Kind::Corrupt,
                format!("{}: {} bytes came, {size} were listed", entry.path, bytes.len()),
            )),
            None => Ok(Named::Otherwise),
        };
    };
    if hash::matches(digest, bytes) {
        return Ok(Named::Bytes);
    }
    if hash::matches_legacy(digest, bytes) {
        return Ok(Named::Otherwise);
    }
    Err(hash::mismatch(entry.path.as_str(), digest, bytes.len() as u64)
        .hint("the file is damaged on the server or on the way; try again, then tell its owner"))
}

/// The bytes of `range`, cut at the end.
pub fn cut<'a>(bytes: &'a [u8], range: &Range<u64>) -> &'a [u8] {
    let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(bytes.len());
    bytes.get(at(range.start)..at(range.end).max(at(range.start))).unwrap_or_default()
}

/// Keeps the cache in its bounds, beside the command.
pub fn prune_later(cache: BlobStore) {
    if let Ok(handle) = runtime::handle() {
        handle.spawn_blocking(move || {
            if let Err(e) = cache.prune(MAX_CACHE_BYTES, &Cancel::default()) {
                tracing::warn!("the cache could not be pruned: {e}");
            }
        });
    }
}
