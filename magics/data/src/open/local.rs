//! A Git repository of this machine, or the copy of one from another, as a source: Git objects, DVC's cache and local remotes, and what
//! only a remote elsewhere has, fetched when it is read.
//!
//! What is fetched is verified and kept in our own cache, never in the repository.

use super::big::BigFiles;
use super::fetching::{Fetch, Fetching, Settings, cut, prune_later};
use super::prefetch::Prefetcher;
use crate::client::transport::BoxFuture;
use crate::flight::lock;
use crate::repository::{Node, Repository, Snapshot, Stores, Wanted};
use crate::runtime;
use crate::store::BlobStore;
use bytes::Bytes;
use dds_core::{Cx, Entry, EntryKind, Error, Kind, RepoPath, Result};
use futures_util::StreamExt;
use std::collections::HashSet;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// Sizes asked for at the same time.
const WIDTH: usize = 32;
/// Files of a folder whose sizes are found out together.
const MAX_SIBLINGS: usize = 256;
/// From so many files of unknown size on, a remote that can is asked for a listing.
const LISTING_PAYS: usize = 64;
/// Git objects of a folder that are fetched together.
const MAX_BLOBS: usize = 4096;

pub struct Local {
    repository: Arc<Repository>,
    branch: Option<String>,
    cache: BlobStore,
    settings: Settings,
    pinned: Mutex<Arc<Pinned>>,
}

/// One commit, and what is under way for it.
struct Pinned {
    snapshot: Arc<Snapshot>,
    prefetcher: Arc<Prefetcher>,
    big: BigFiles,
    /// Remotes that were asked for a listing, by the address of their stores.
    listed: Mutex<HashSet<(usize, Option<String>)>>,
}

/// The files of a snapshot that are not on this machine.
struct Far {
    repository: Arc<Repository>,
    snapshot: Arc<Snapshot>,
}

impl Local {
    /// Pins `rev`: a branch, a tag or a commit; without one, the default branch.
    pub fn open(
        repository: Repository,
        rev: Option<&str>,
        cache: BlobStore,
        settings: Settings,
        cx: &Cx,
    ) -> Result<Self> {
        let repository = Arc::new(repository);
        let revision = repository.resolve_own(rev)?;
        repository.reload_stores(Some(revision.commit))?;
        let snapshot = repository.snapshot_with(revision.commit, cx)?;
        if repository.stores().reaches_far() {
            prune_later(cache.clone());
        }
        let pinned = Pinned::new(&repository, snapshot, &cache, settings);
        Ok(Self {
            repository,
            branch: revision.branch,
            cache,
            settings,
            pinned: Mutex::new(Arc::new(pinned)),
        })
    }

    pub fn branch(&self) -> Option<String> {
        self.branch.clone()
    }

    pub fn commit(&self) -> String {
        self.pinned().snapshot.commit.clone()
    }

    pub fn refresh(&self, cx: &Cx) -> Result<bool> {
        let Some(branch) = &self.branch else { return Ok(false) };
        self.repository.renew(cx)?;
        let revision = self.repository.resolve(Some(branch))?;
        if revision.commit.to_string() == self.commit() {
            return Ok(false);
        }
        self.repository.reload_stores(Some(revision.commit))?;
        let snapshot = self.repository.snapshot_with(revision.commit, cx)?;
        let next = Pinned::new(&self.repository, snapshot, &self.cache, self.settings);
        *lock(&self.pinned) = Arc::new(next);
        Ok(true)
    }

    pub fn list(&self, dir: &RepoPath, recursive: bool, cx: &Cx) -> Result<Vec<Entry>> {
        let pinned = self.pinned();
        let entries = pinned.snapshot.list(dir, recursive)?;
        let unknown: Vec<RepoPath> = entries
            .iter()
            .filter(|e| e.kind == EntryKind::File && e.size.is_none())
            .map(|e| e.path.clone())
            .collect();
        if unknown.is_empty() {
            return Ok(entries);
        }
        // A listing without sizes is better than none: why they are missing shows when a file is read.
        match self.learn_sizes(&pinned, &unknown, recursive, cx) {
            Err(e) if e.kind == Kind::Interrupted => return Err(e),
            Err(e) => tracing::debug!("{dir}: some sizes are not known: {e}"),
            Ok(()) => {}
        }
        pinned.snapshot.list(dir, recursive)
    }

    pub fn stat(&self, path: &RepoPath, cx: &Cx) -> Result<Entry> {
        self.stat_at(&self.pinned(), path, cx)
    }

    fn stat_at(&self, pinned: &Pinned, path: &RepoPath, cx: &Cx) -> Result<Entry> {
        let entry = pinned.snapshot.stat(path)?;
        if entry.kind == EntryKind::Dir || entry.size.is_some() {
            return Ok(entry);
        }
        // Whoever looks at one file of a folder looks at the others next.
        let paths = pinned.snapshot.files_from(path, MAX_SIBLINGS);
        self.learn_sizes(pinned, &paths, false, cx)?;
        pinned.snapshot.stat(path)
    }

    /// Finds sizes out: of Git objects by fetching them, of DVC objects by asking their remote, in one
    /// listing where that pays. A file that is nowhere stays without one.
    fn learn_sizes(&self, pinned: &Pinned, paths: &[RepoPath], many: bool, cx: &Cx) -> Result<()> {
        let nodes = || paths.iter().filter_map(|p| Some((p, pinned.snapshot.get(p)?)));
        if !many {
            let blobs: Vec<git2::Oid> =
                nodes().filter_map(|(_, n)| unsized_blob(n)).take(MAX_BLOBS).collect();
            if !blobs.is_empty() {
                self.repository.bring(&blobs, cx)?;
                for (_, node) in nodes() {
                    if let (Node::Git { size, .. }, Some(oid)) = (node, unsized_blob(node))
                        && let Some(len) = self.repository.blob_len(oid)
                    {
                        let _ = size.set(len);
                    }
                }
            }
        }
        let far = || {
            nodes().filter_map(|(path, node)| match node {
                Node::Dvc { digest, layout, size, keeper, .. } if size.get().is_none() => {
                    keeper.stores.reaches_far().then(|| (keeper, size, keeper.wanted(path, digest, *layout)))
                }
                _ => None,
            })
        };
        let count = far().count();
        if count >= LISTING_PAYS {
            for (keeper, _, wanted) in far() {
                self.list_remote(pinned, &keeper.stores, wanted.remote, count, &far, cx)?;
            }
        }
        let left: Vec<_> = far().map(|(k, _, wanted)| (k.clone(), wanted)).collect();
        if left.is_empty() || many && left.len() > MAX_SIBLINGS {
            return Ok(());
        }
        let asks = left.into_iter().map(|(keeper, wanted)| async move {
            let len = keeper.stores.far_len(&wanted).await;
            (wanted.path, len)
        });
        let asks = futures_util::stream::iter(asks.collect::<Vec<_>>()).buffer_unordered(WIDTH);
        let found: Vec<(RepoPath, Result<u64>)> = runtime::wait(async move { Ok(asks.collect().await) }, cx)?;
        for (path, len) in found {
            match (len, pinned.snapshot.get(&path)) {
                (Ok(len), Some(Node::Dvc { size, .. })) => {
                    let _ = size.set(len);
                }
                (Err(e), _) if e.kind != Kind::NotFound => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }

    /// Asks a remote once for the sizes of what it has.
    fn list_remote<'a, I>(
        &self,
        pinned: &Pinned,
        stores: &Arc<Stores>,
        remote: Option<String>,
        count: usize,
        far: &dyn Fn() -> I,
        cx: &Cx,
    ) -> Result<()>
    where
        I: Iterator<Item = (&'a Arc<crate::repository::Keeper>, &'a std::sync::OnceLock<u64>, Wanted)>,
    {
        let key = (Arc::as_ptr(stores) as usize, remote.clone());
        if !lock(&pinned.listed).insert(key) {
            return Ok(());
        }
        let asked = stores.clone();
        // Other commits' objects lie between ours.
        let max = count.saturating_mul(4).max(10_000);
        let found = runtime::wait(async move { asked.far_lengths(remote.as_deref(), max).await }, cx)?;
        let Some(found) = found else { return Ok(()) };
        for (_, size, wanted) in far() {
            if let Some(len) = found.get(&wanted.digest.to_string()) {
                let _ = size.set(*len);
            }
        }
        Ok(())
    }

    pub fn read(&self, path: &RepoPath, cx: &Cx) -> Result<Vec<u8>> {
        let pinned = self.pinned();
        let node = file(&pinned.snapshot, path)?;
        if !self.is_far(node)? {
            match self.repository.read(path, node) {
                Err(e) if e.kind == Kind::Corrupt && self.forget_damage(node) => {}
                done => return Ok(done?.into()),
            }
        }
        let entry = pinned.snapshot.stat(path)?;
        if entry.size.is_none_or(|size| size <= self.settings.small_bytes) {
            match pinned.prefetcher.read(&entry, cx) {
                // Larger than was thought.
                Err(e) if e.kind == Kind::Limit && entry.size.is_none() => {}
                other => return other.map(Vec::from),
            }
        }
        let entry = self.stat_at(&pinned, path, cx)?;
        pinned.big.read_all(&entry, cx)
    }

    pub fn verifies(&self, path: &RepoPath) -> Option<u64> {
        self.pinned().big.verifies(path)
    }

    pub fn read_range(&self, path: &RepoPath, range: Range<u64>, cx: &Cx) -> Result<Vec<u8>> {
        let pinned = self.pinned();
        let node = file(&pinned.snapshot, path)?;
        if self.is_far(node)? {
            let entry = self.stat_at(&pinned, path, cx)?;
            if entry.size.is_some_and(|size| size > self.settings.small_bytes) {
                return pinned.big.read_range(&entry, range, cx);
            }
            return Ok(cut(&pinned.prefetcher.read(&entry, cx)?, &range).to_vec());
        }
        let Node::Dvc { digest, layout, keeper, .. } = node else {
            let bytes = self.repository.read(path, node)?;
            return Ok(cut(&bytes, &range).to_vec());
        };
        let mut opened = match keeper.open(path, digest, *layout) {
            Err(e) if e.kind == Kind::Corrupt && self.forget_damage(node) => {
                return self.read_range(path, range, cx);
            }
            opened => opened?,
        };
        let io = |e: std::io::Error| Error::io(path.as_str(), &e);
        opened.seek(SeekFrom::Start(range.start)).map_err(io)?;
        let mut bytes = Vec::new();
        opened.take(range.end.saturating_sub(range.start)).read_to_end(&mut bytes).map_err(io)?;
        Ok(bytes)
    }

    /// Fetches ahead what is not on this machine.
    pub fn announce(&self, paths: &[RepoPath]) {
        let pinned = self.pinned();
        let mut entries = Vec::new();
        let mut blobs = Vec::new();
        for (path, node) in paths.iter().filter_map(|p| Some((p, pinned.snapshot.get(p)?))) {
            match node {
                Node::Git { oid, .. } => blobs.push(*oid),
                node if self.is_far(node).unwrap_or(false) => {
                    let small = |e: &Entry| e.size.is_none_or(|s| s <= self.settings.small_bytes);
                    entries.extend(pinned.snapshot.stat(path).ok().filter(small));
                }
                _ => {}
            }
        }
        if !entries.is_empty() {
            pinned.prefetcher.announce(entries);
        }
        let Ok(blobs) = self.repository.lacking(&blobs) else { return };
        if let (false, Ok(handle)) = (blobs.is_empty(), runtime::handle()) {
            let repository = self.repository.clone();
            handle.spawn_blocking(move || {
                if let Err(e) = repository.bring(&blobs, &Cx::silent("/")) {
                    tracing::debug!("Git objects were not fetched ahead: {e}");
                }
            });
        }
    }

    /// Removes what of an object is damaged in our own cache, when it can be fetched again.
    fn forget_damage(&self, node: &Node) -> bool {
        let Node::Dvc { digest, layout, keeper, .. } = node else { return false };
        let Some(cache) = keeper.stores.shared().filter(|_| keeper.stores.reaches_far()) else {
            return false;
        };
        cache.remove(digest).is_ok() && keeper.stores.len(digest, *layout).is_none()
    }

    /// Whether the bytes must be fetched.
    fn is_far(&self, node: &Node) -> Result<bool> {
        Ok(match node {
            Node::Git { oid, size, .. } => {
                // Of known size, it was here when the snapshot was made or has been fetched since.
                size.get().is_none() && !self.repository.lacking(&[*oid])?.is_empty()
            }
            Node::Dvc { digest, layout, keeper, .. } => {
                keeper.stores.reaches_far() && keeper.stores.len(digest, *layout).is_none()
            }
            Node::EmptyDir => false,
        })
    }

    fn pinned(&self) -> Arc<Pinned> {
        lock(&self.pinned).clone()
    }
}

impl Pinned {
    fn new(
        repository: &Arc<Repository>,
        snapshot: Arc<Snapshot>,
        cache: &BlobStore,
        settings: Settings,
    ) -> Self {
        let commit = snapshot.commit.clone();
        let far = Far { repository: repository.clone(), snapshot: snapshot.clone() };
        let fetching = Arc::new(Fetching { source: Arc::new(far), cache: cache.clone(), settings });
        Self {
            prefetcher: Prefetcher::new(fetching.clone(), commit.clone()),
            big: BigFiles::new(fetching, commit),
            snapshot,
            listed: Mutex::default(),
        }
    }
}

impl Fetch for Far {
    fn get(
        &self,
        _commit: &str,
        entry: &Entry,
        range: Option<Range<u64>>,
        max: u64,
    ) -> BoxFuture<Result<Bytes>> {
        let path = entry.path.clone();
        let (snapshot, repository) = (self.snapshot.clone(), self.repository.clone());
        Box::pin(async move {
            match file(&snapshot, &path)? {
                Node::Dvc { digest, layout, size, keeper, .. } => {
                    let whole = range.is_none();
                    let wanted = keeper.wanted(&path, digest, *layout);
                    let bytes = keeper.fetch(&wanted, range, max).await?;
                    if whole {
                        let _ = size.set(bytes.len() as u64);
                    }
                    Ok(bytes)
                }
                Node::Git { oid, .. } => {
                    let oid = *oid;
                    let bytes = runtime::blocking(move || {
                        repository.bring(&[oid], &Cx::silent("/"))?;
                        repository.git_blob(oid)
                    });
                    let bytes = Bytes::from(bytes.await?);
                    match range {
                        Some(range) => Ok(Bytes::copy_from_slice(cut(&bytes, &range))),
                        // It is in memory already.
                        None => Ok(bytes),
                    }
                }
                Node::EmptyDir => Err(Error::not_found(format!("{path} is a folder"))),
            }
        })
    }
}

fn unsized_blob(node: &Node) -> Option<git2::Oid> {
    match node {
        Node::Git { oid, size, .. } if size.get().is_none() => Some(*oid),
        _ => None,
    }
}

fn file<'a>(snapshot: &'a Snapshot, path: &RepoPath) -> Result<&'a Node> {
    match snapshot.get(path) {
        Some(node) => Ok(node),
        None => {
            snapshot.stat(path)?;
            Err(Error::not_found(format!("{path} is a folder")))
        }
    }
}

#[cfg(test)]
mod tests;
