//! A repository on a server as a source: pinned commit, listings, verified bytes.
//!
//! Bytes come from memory (fetched ahead), from the blob store on disk, or from the server, in this
//! order; the same file is fetched once however many threads ask. Files up to
//! [`SMALL_BYTES`](super::fetching::SMALL_BYTES) are
//! verified before the first byte is given out, larger ones come by ranges (`big`).

use super::about;
use super::big::BigFiles;
use super::fetching::{Fetch, Fetching, Settings, cut, prune_later};
use super::prefetch::Prefetcher;
use crate::client::HubClient;
use crate::client::hub::Found;
use crate::client::transport::BoxFuture;
use crate::flight::lock;
use crate::runtime;
use crate::store::BlobStore;
use bytes::Bytes;
use dds_core::{Cx, Entry, EntryKind, Error, Kind, RepoPath, Result, Versioning};
use futures_util::StreamExt;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Folders asked for at the same time where a server lists one level at a time.
const LISTING_WIDTH: usize = 32;
/// Entries remembered of one commit.
const MAX_KNOWN: usize = 10_000_000;
/// Most whole listings that a refresh asks for again.
const MAX_TREES: usize = 8;

pub struct Hub {
    client: HubClient,
    fetching: Arc<Fetching>,
    branch: Option<String>,
    recursive: bool,
    pinned: RwLock<Arc<Pinned>>,
}

/// One commit: what is known of it, and what is under way.
struct Pinned {
    commit: String,
    known: Mutex<Known>,
    prefetcher: Arc<Prefetcher>,
    big: BigFiles,
}

#[derive(Default)]
struct Known {
    entries: HashMap<RepoPath, Entry>,
    /// Complete listings, by folder and depth.
    listings: HashMap<(RepoPath, bool), Arc<Vec<Entry>>>,
}

impl Hub {
    /// Pins `rev`: a branch, a commit hash or whatever else the server takes for a commit.
    pub fn open(
        client: HubClient,
        url: &str,
        rev: Option<&str>,
        cache: BlobStore,
        settings: Settings,
        cx: &Cx,
    ) -> Result<Self> {
        let (asking, rev, shown) = (client.clone(), rev.map(str::to_owned), url.to_owned());
        let (branch, commit, recursive) = runtime::wait(
            async move { pin(&asking, rev.as_deref()).await.map_err(|e| about(e, &shown)) },
            cx,
        )?;
        prune_later(cache.clone());
        let fetching = Arc::new(Fetching { source: Arc::new(client.clone()), cache, settings });
        let pinned = RwLock::new(Arc::new(Pinned::new(commit, &fetching)));
        Ok(Self { client, fetching, branch, recursive, pinned })
    }

    pub fn branch(&self) -> Option<String> {
        self.branch.clone()
    }

    pub fn commit(&self) -> String {
        self.pinned().commit.clone()
    }

    pub fn refresh(&self, cx: &Cx) -> Result<bool> {
        let Some(branch) = self.branch.clone() else { return Ok(false) };
        let client = self.client.clone();
        let name = branch.clone();
        let tip = runtime::wait(async move { client.branch(&name).await }, cx)?;
        let tip = tip.ok_or_else(|| Error::not_found(format!("the branch {branch:?} is gone")))?;
        if tip == self.commit() {
            return Ok(false);
        }
        let trees = self.pinned().listed_trees();
        let next = Arc::new(Pinned::new(tip, &self.fetching));
        *self.pinned.write().unwrap_or_else(PoisonError::into_inner) = next;
        // What was listed whole is listed again, since only listed files can be fetched ahead. A folder
        // that is gone is no error here: whoever asks for it is told.
        for dir in trees {
            if let Err(e) = self.list(&dir, true, cx) {
                tracing::debug!("{dir}: not listed again: {e}");
            }
        }
        Ok(true)
    }

    pub fn list(&self, dir: &RepoPath, recursive: bool, cx: &Cx) -> Result<Vec<Entry>> {
        let pinned = self.pinned();
        if let Some(list) = pinned.listed(dir, recursive) {
            return Ok(list);
        }
        let (client, commit, from) = (self.client.clone(), pinned.commit.clone(), dir.clone());
        let one_request = self.recursive;
        let entries = runtime::wait(
            async move {
                match (recursive, one_request) {
                    (true, false) => walk(client, &commit, from).await,
                    (deep, _) => match client.content(&commit, &from, deep).await? {
                        Found::Folder(entries) => Ok(entries),
                        Found::File(_) => Err(Error::not_found(format!("{from} is a file, not a folder"))),
                    },
                }
            },
            cx,
        )?;
        pinned.remember(dir, recursive, &entries);
        Ok(entries)
    }

    pub fn stat(&self, path: &RepoPath, cx: &Cx) -> Result<Entry> {
        self.stat_at(&self.pinned(), path, cx)
    }

    fn stat_at(&self, pinned: &Pinned, path: &RepoPath, cx: &Cx) -> Result<Entry> {
        if path.is_root() {
            return Ok(folder(path));
        }
        if let Some(entry) = pinned.entry(path)
            && (entry.size.is_some() || entry.kind == EntryKind::Dir)
        {
            return Ok(entry);
        }
        let (client, commit, at) = (self.client.clone(), pinned.commit.clone(), path.clone());
        let found = runtime::wait(async move { client.content(&commit, &at, false).await }, cx)?;
        let entry = match found {
            Found::File(entry) if entry.path == *path => entry,
            Found::File(_) => {
                return Err(Error::new(Kind::Format, format!("the server told of another file than {path}")));
            }
            Found::Folder(entries) => {
                pinned.remember(path, false, &entries);
                folder(path)
            }
        };
        lock(&pinned.known).entries.insert(path.clone(), entry.clone());
        Ok(entry)
    }

    pub fn read(&self, path: &RepoPath, cx: &Cx) -> Result<Vec<u8>> {
        let pinned = self.pinned();
        let entry = self.file(&pinned, path, cx)?;
        if entry.size.is_some_and(|size| size > self.fetching.settings.small_bytes) {
            return pinned.big.read_all(&entry, cx);
        }
        pinned.prefetcher.read(&entry, cx).map(Vec::from)
    }

    pub fn verifies(&self, path: &RepoPath) -> Option<u64> {
        self.pinned().big.verifies(path)
    }

    pub fn read_range(&self, path: &RepoPath, range: Range<u64>, cx: &Cx) -> Result<Vec<u8>> {
        let pinned = self.pinned();
        let entry = self.file(&pinned, path, cx)?;
        if entry.size.is_some_and(|size| size > self.fetching.settings.small_bytes) {
            return pinned.big.read_range(&entry, range, cx);
        }
        let bytes = pinned.prefetcher.read(&entry, cx)?;
        Ok(cut(&bytes, &range).to_vec())
    }

    /// Only what was listed is fetched ahead: without an entry there is nothing to verify it by.
    pub fn announce(&self, paths: &[RepoPath]) {
        let pinned = self.pinned();
        let entries = {
            let known = lock(&pinned.known);
            let small = |e: &Entry| e.size.is_some_and(|s| s <= self.fetching.settings.small_bytes);
            paths
                .iter()
                .filter_map(|path| known.entries.get(path))
                .filter(|e| e.kind == EntryKind::File && small(e))
                .cloned()
                .collect()
        };
        pinned.prefetcher.announce(entries);
    }

    /// Nothing is queued, running or counted as waiting: for tests.
    #[cfg(test)]
    pub fn is_idle(&self) -> bool {
        self.pinned().prefetcher.is_idle()
    }

    fn file(&self, pinned: &Pinned, path: &RepoPath, cx: &Cx) -> Result<Entry> {
        // A file whose folder was listed needs no request of its own.
        let entry = match pinned.entry(path) {
            Some(entry) => entry,
            None => self.stat_at(pinned, path, cx)?,
        };
        if entry.kind == EntryKind::Dir {
            return Err(Error::not_found(format!("{path} is a folder")));
        }
        Ok(entry)
    }

    fn pinned(&self) -> Arc<Pinned> {
        self.pinned.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Pinned {
    fn new(commit: String, fetching: &Arc<Fetching>) -> Self {
        Self {
            known: Mutex::default(),
            prefetcher: Prefetcher::new(fetching.clone(), commit.clone()),
            big: BigFiles::new(fetching.clone(), commit.clone()),
            commit,
        }
    }

    fn entry(&self, path: &RepoPath) -> Option<Entry> {
        lock(&self.known).entries.get(path).cloned()
    }

    fn listed(&self, dir: &RepoPath, recursive: bool) -> Option<Vec<Entry>> {
        let known = lock(&self.known);
        if let Some(list) = known.listings.get(&(dir.clone(), recursive)) {
            return Some(list.to_vec());
        }
        // A part of a listing that reached deeper.
        let mut above = dir.parent();
        while let Some(at) = above.filter(|_| recursive) {
            if let Some(list) = known.listings.get(&(at.clone(), true)) {
                let below: Vec<Entry> =
                    list.iter().filter(|e| e.path.strip_prefix(dir).is_some()).cloned().collect();
                return Some(below).filter(|b| !b.is_empty());
            }
            above = at.parent();
        }
        None
    }

    /// The folders that were listed with all that is below them; at most [`MAX_TREES`].
    fn listed_trees(&self) -> Vec<RepoPath> {
        let known = lock(&self.known);
        let mut trees: Vec<RepoPath> =
            known.listings.keys().filter(|(_, deep)| *deep).map(|(dir, _)| dir.clone()).collect();
        trees.sort();
        trees.truncate(MAX_TREES);
        trees
    }

    fn remember(&self, dir: &RepoPath, recursive: bool, entries: &[Entry]) {
        let mut known = lock(&self.known);
        if known.entries.len() + entries.len() > MAX_KNOWN {
            *known = Known::default();
        }
        for entry in entries {
            known.entries.insert(entry.path.clone(), entry.clone());
        }
        known.listings.insert((dir.clone(), recursive), Arc::new(entries.to_vec()));
    }
}

/// The branch that is followed, the commit, and whether the server lists whole trees.
async fn pin(client: &HubClient, rev: Option<&str>) -> Result<(Option<String>, String, bool)> {
    let record = client.record().await?;
    let rev = rev.unwrap_or(&record.default_branch);
    if rev.len() == 40 && rev.bytes().all(|b| b.is_ascii_hexdigit()) {
        let found = client.commit(rev).await?;
        let commit = found.ok_or_else(|| Error::not_found(format!("there is no commit {rev}")))?;
        return Ok((None, commit, record.recursive));
    }
    if let Some(commit) = client.branch(rev).await? {
        return Ok((Some(rev.to_owned()), commit, record.recursive));
    }
    if let Some(commit) = client.commit(rev).await? {
        return Ok((None, commit, record.recursive));
    }
    let error = Error::not_found(format!("there is no branch, tag or commit {rev:?}"));
    Err(if record.empty {
        error.hint("the repository has no commit yet")
    } else {
        error.hint(format!("its default branch is {}", record.default_branch))
    })
}

/// All files below `dir` from a server that lists one level at a time.
async fn walk(client: HubClient, commit: &str, dir: RepoPath) -> Result<Vec<Entry>> {
    let mut files = Vec::new();
    let mut level = vec![dir.clone()];
    while !level.is_empty() {
        let requests = level.into_iter().map(|at| {
            let client = client.clone();
            async move { (client.content(commit, &at, false).await, at) }
        });
        let answers: Vec<_> =
            futures_util::stream::iter(requests).buffer_unordered(LISTING_WIDTH).collect().await;
        level = Vec::new();
        for (answer, at) in answers {
            match answer? {
                Found::Folder(entries) => {
                    for entry in entries {
                        match entry.kind {
                            EntryKind::Dir => level.push(entry.path),
                            EntryKind::File => files.push(entry),
                        }
                    }
                }
                Found::File(_) if at == dir => {
                    return Err(Error::not_found(format!("{dir} is a file, not a folder")));
                }
                Found::File(entry) => files.push(entry),
            }
        }
        if files.len() > MAX_KNOWN {
            return Err(Error::new(Kind::Limit, format!("more than {MAX_KNOWN} files")));
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn folder(path: &RepoPath) -> Entry {
    let (kind, versioning) = (EntryKind::Dir, Versioning::Git);
    Entry { path: path.clone(), kind, size: None, digest: None, versioning, executable: false }
}

impl Fetch for HubClient {
    fn get(
        &self,
        commit: &str,
        entry: &Entry,
        range: Option<Range<u64>>,
        max: u64,
    ) -> BoxFuture<Result<Bytes>> {
        let (client, commit, path) = (self.clone(), commit.to_owned(), entry.path.clone());
        Box::pin(async move { client.raw(&commit, &path, range, max).await })
    }
}
