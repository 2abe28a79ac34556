//! Where a repository's DVC objects are: its cache, our cache, its local remotes, and remotes elsewhere.

mod large;
mod verdicts;

pub use large::Large;

use super::stamp::Stamp;
use crate::dvc::{DvcConfig, RemoteConfig, Versions};
use crate::hash;
use crate::remote::{self, Key, Remote};
use crate::store::{BlobStore, Layout, digest_of_file};
use bytes::Bytes;
use dds_core::{Config, Digest, Error, Kind, RepoPath, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use verdicts::{Candidate, Verdict, Verdicts};

/// How often a file is verified that changes meanwhile.
const MAX_LOOKS: usize = 3;

/// What lies outside a repository and may be used to read it.
#[derive(Clone)]
pub struct Outside {
    pub config: Arc<Config>,
    /// Our own cache, for what comes from afar.
    pub cache: BlobStore,
    pub origin: Origin,
}

/// Who wrote the settings of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It lies on this machine, where its owner put it.
    Here,
    /// It was fetched from another machine: its settings may not name folders of this one, nor, when it
    /// came from a public address, addresses of this one's network.
    Elsewhere { public: bool },
}

pub struct Stores {
    cache: BlobStore,
    shared: Option<BlobStore>,
    /// Local remotes by name, the default one first.
    remotes: Vec<(String, BlobStore)>,
    /// Remotes elsewhere, the default one first.
    far: Vec<Far>,
    default_remote: Option<String>,
    /// Remotes that are not opened: name and scheme.
    foreign: Vec<(String, String)>,
    verdicts: Verdicts,
    behind: large::Behind,
}

struct Far {
    settings: RemoteConfig,
    outside: Outside,
    opened: OnceLock<Result<Arc<dyn Remote>>>,
}

/// Who has the bytes of an output's files.
#[derive(Debug)]
pub struct Keeper {
    pub stores: Arc<Stores>,
    /// The remote that the output names.
    pub remote: Option<String>,
    /// The folder of the DVC repository; not the root for one inside another.
    pub root: RepoPath,
    /// Versions in remotes that keep files under their own names.
    pub versions: BTreeMap<RepoPath, Versions>,
    /// What to tell when the object is nowhere, because it is imported.
    pub import: Option<Error>,
}

/// An object that somebody asks for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The file's path, for messages.
    pub path: RepoPath,
    pub digest: Digest,
    pub layout: Layout,
    pub remote: Option<String>,
    /// Below the DVC repository, and its versions, where remotes keep files under their own names.
    pub named: Option<(RepoPath, Versions)>,
}

impl Keeper {
    pub fn wanted(&self, path: &RepoPath, digest: &Digest, layout: Layout) -> Wanted {
        let named = self.versions.get(path).and_then(|v| Some((path.strip_prefix(&self.root)?, v.clone())));
        Wanted { path: path.clone(), digest: *digest, layout, remote: self.remote.clone(), named }
    }

    /// All bytes of an object that is on this machine, verified. Errors: `NotFound`, `Corrupt`.
    pub fn read(&self, path: &RepoPath, digest: &Digest, layout: Layout) -> Result<Vec<u8>> {
        let found = self.stores.read(path, digest, layout, self.remote.as_deref());
        found.map_err(|e| self.explain(e))
    }

    /// See [`Stores::open`].
    pub fn open(&self, path: &RepoPath, digest: &Digest, layout: Layout) -> Result<File> {
        let found = self.stores.open(path, digest, layout, self.remote.as_deref());
        found.map_err(|e| self.explain(e))
    }

    /// See [`Stores::fetch`].
    pub async fn fetch(&self, wanted: &Wanted, range: Option<Range<u64>>, max: u64) -> Result<Bytes> {
        self.stores.fetch(wanted, range, max).await.map_err(|e| self.explain(e))
    }

    /// That an imported file is nowhere is what imports are like.
    fn explain(&self, e: Error) -> Error {
        match &self.import {
            Some(import) if e.kind == Kind::NotFound => import.clone(),
            _ => e,
        }
    }
}

impl Stores {
    /// `base` is the working tree, or a bare repository's folder. Without `outside`, remotes elsewhere
    /// are not opened.
    pub fn new(base: &Path, config: &DvcConfig, outside: Option<&Outside>) -> Self {
        let here = outside.is_none_or(|o| o.origin == Origin::Here);
        let cache = match outside {
            // What comes from elsewhere, or is made to go there, lies with the other things from afar.
            Some(outside) if !here => outside.cache.clone(),
            _ => BlobStore::new(config.cache_dir().unwrap_or_else(|| base.join(".dvc/cache"))),
        };
        let (mut remotes, mut far, mut foreign) = (Vec::new(), Vec::new(), Vec::new());
        for settings in config.remotes() {
            match (settings.local_path(), outside) {
                (Some(path), _) if here => remotes.push((settings.name.clone(), BlobStore::new(path))),
                (None, Some(outside)) => {
                    far.push(Far { settings, outside: outside.clone(), opened: OnceLock::new() });
                }
                _ => foreign.push((settings.name.clone(), settings.scheme().to_owned())),
            }
        }
        let is_other = |name: &str| Some(name) != config.default_remote.as_deref();
        remotes.sort_by_key(|(name, _)| is_other(name));
        far.sort_by_key(|f| is_other(&f.settings.name));
        Self {
            cache,
            shared: outside.map(|o| o.cache.clone()),
            remotes,
            far,
            default_remote: config.default_remote.clone(),
            foreign,
            verdicts: Verdicts::default(),
            behind: large::Behind::default(),
        }
    }

    pub fn cache(&self) -> &BlobStore {
        &self.cache
    }

    /// Our own cache, where there is one.
    pub fn shared(&self) -> Option<&BlobStore> {
        self.shared.as_ref()
    }

    /// The default remote, when it is a folder of this machine.
    pub fn default_remote(&self) -> Option<&BlobStore> {
        let name = self.default_remote.as_deref()?;
        self.remotes.iter().find(|(n, _)| n == name).map(|(_, store)| store)
    }

    /// The default remote, when it is elsewhere. Errors: `Usage` for one that keeps versions.
    pub fn default_far(&self) -> Option<Result<Arc<dyn Remote>>> {
        let name = self.default_remote.as_deref()?;
        let far = self.far.iter().find(|f| f.settings.name == name)?;
        if far.keeps_names() {
            return Some(Err(Error::usage(format!("the DVC remote {name:?} keeps versions of its own"))
                .hint("add the files with `dvc add` in the repository, then `dvc push`")));
        }
        Some(far.open())
    }

    /// Whether the repository names a default remote, of whatever kind.
    pub fn has_default(&self) -> bool {
        self.default_remote.is_some()
    }

    /// Name and scheme of the default remote, when it is not opened.
    pub fn unopened_default(&self) -> Option<(&str, &str)> {
        let name = self.default_remote.as_deref()?;
        let found = self.foreign.iter().find(|(n, _)| n == name);
        found.map(|(name, scheme)| (name.as_str(), scheme.as_str()))
    }

    /// Whether there are remotes elsewhere to ask.
    pub fn reaches_far(&self) -> bool {
        !self.far.is_empty()
    }

    /// The length of an object that is on this machine.
    pub fn len(&self, digest: &Digest, layout: Layout) -> Option<u64> {
        let shared = || self.shared.as_ref().and_then(|s| s.len(digest, Layout::V3));
        self.all(None).find_map(|(_, store)| store.len(digest, layout)).or_else(shared)
    }

    /// All bytes of an object that is on this machine, verified. A damaged copy is passed over when
    /// another one is good.
    pub fn read(
        &self,
        path: &RepoPath,
        digest: &Digest,
        layout: Layout,
        remote: Option<&str>,
    ) -> Result<Vec<u8>> {
        let mut damaged = None;
        for (store, layout) in self.places(remote, layout) {
            match self.read_in(store, digest, layout) {
                Ok(Some(bytes)) => return Ok(bytes),
                Ok(None) => {}
                Err(e) => damaged = Some(e),
            }
        }
        Err(damaged.map_or_else(|| self.missing(path, digest), |e| e.context(path)))
    }

    fn read_in(&self, store: &BlobStore, digest: &Digest, layout: Layout) -> Result<Option<Vec<u8>>> {
        let at = store.path(digest, layout);
        let io = |e: std::io::Error| Error::io(&at, &e);
        let (file, stamp) = match open_object(&at) {
            Ok(found) => found,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io(e)),
        };
        let settled = stamp.is_settled();
        let bytes = read_all(&file, stamp.len()).map_err(io)?;
        let unchanged = is_still(&file, &stamp);
        if unchanged && self.is_verified(digest, layout, &stamp) {
            return Ok(Some(bytes));
        }
        let good = match layout {
            Layout::V3 => hash::matches(digest, &bytes),
            Layout::V2 => hash::matches_legacy(digest, &bytes),
        };
        if !good {
            return Err(hash::mismatch(&at.display().to_string(), digest, bytes.len() as u64)
                .hint("remove this file and fetch it again"));
        }
        if settled && unchanged {
            self.remember(digest, layout, stamp);
        }
        Ok(Some(bytes))
    }

    /// All bytes of an object of at most `max` bytes that was verified before and has not changed since;
    /// none where more has to be done. Takes no longer than reading a small file.
    pub fn read_verified(
        &self,
        digest: &Digest,
        layout: Layout,
        remote: Option<&str>,
        max: u64,
    ) -> Option<Vec<u8>> {
        for (store, layout) in self.places(remote, layout) {
            let (file, stamp) = match open_object(&store.path(digest, layout)) {
                Ok(found) => found,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                Err(_) => return None,
            };
            if stamp.len() > max || !self.is_verified(digest, layout, &stamp) {
                return None;
            }
            let bytes = read_all(&file, stamp.len()).ok()?;
            return is_still(&file, &stamp).then_some(bytes);
        }
        None
    }

    /// Where an object of at most `max` bytes lies that was verified before, and its stamp then: while it
    /// has that, its bytes are good.
    pub fn verified_place(
        &self,
        digest: &Digest,
        layout: Layout,
        remote: Option<&str>,
        max: u64,
    ) -> Option<(PathBuf, Stamp)> {
        for (store, layout) in self.places(remote, layout) {
            let at = store.path(digest, layout);
            match open_object(&at) {
                Ok((_, stamp)) => {
                    let good = stamp.len() <= max && self.is_verified(digest, layout, &stamp);
                    return good.then_some((at, stamp));
                }
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(_) => return None,
            }
        }
        None
    }

    /// Opens an object whose bytes were verified once by this process and have not changed since.
    pub fn open(
        &self,
        path: &RepoPath,
        digest: &Digest,
        layout: Layout,
        remote: Option<&str>,
    ) -> Result<File> {
        let mut damaged = None;
        for (store, layout) in self.places(remote, layout) {
            let at = store.path(digest, layout);
            let Ok((file, stamp)) = open_object(&at) else { continue };
            if self.is_verified(digest, layout, &stamp) {
                return Ok(file);
            }
            let Some((stamp, settled)) = verified(&file, stamp, digest, layout)? else {
                damaged = Some(hash::mismatch(&format!("{path}: {}", at.display()), digest, stamp.len()));
                continue;
            };
            if settled {
                self.remember(digest, layout, stamp);
            }
            return Ok(file);
        }
        Err(damaged.unwrap_or_else(|| self.missing(path, digest)))
    }

    fn is_verified(&self, digest: &Digest, layout: Layout, stamp: &Stamp) -> bool {
        let candidate = Candidate { digest: *digest, layout, stamp: *stamp };
        self.verdicts.of(&candidate) == Some(Verdict::Good)
    }

    /// Of a file whose stamp was settled before its bytes were verified.
    fn remember(&self, digest: &Digest, layout: Layout, stamp: Stamp) {
        self.verdicts.remember(Candidate { digest: *digest, layout, stamp }, Verdict::Good);
    }

    /// The bytes of an object, or of a range of it, from a remote elsewhere; not verified here. Errors:
    /// `NotFound` when no remote has it, what the first remote that failed said when none could tell.
    pub async fn fetch(&self, wanted: &Wanted, range: Option<Range<u64>>, max: u64) -> Result<Bytes> {
        let mut failed = None;
        for far in self.order(wanted.remote.as_deref()) {
            let Some(key) = far.key(wanted) else { continue };
            let got = match far.open() {
                Ok(remote) => remote.get(&key, range.clone(), max).await,
                Err(e) => Err(e),
            };
            match got {
                Ok(Some(bytes)) => return Ok(bytes),
                Ok(None) => {}
                Err(e) if e.kind == Kind::Limit => return Err(e),
                Err(e) => failed = failed.or(Some(e)),
            }
        }
        Err(failed.map_or_else(|| self.missing(&wanted.path, &wanted.digest), |e| e.context(&wanted.path)))
    }

    /// The length of an object in a remote elsewhere. Errors as for [`Stores::fetch`].
    pub async fn far_len(&self, wanted: &Wanted) -> Result<u64> {
        let mut failed = None;
        for far in self.order(wanted.remote.as_deref()) {
            let Some(key) = far.key(wanted) else { continue };
            let got = match far.open() {
                Ok(remote) => remote.len(&key).await,
                Err(e) => Err(e),
            };
            match got {
                Ok(Some(len)) => return Ok(len),
                Ok(None) => {}
                Err(e) => failed = failed.or(Some(e)),
            }
        }
        Err(failed.map_or_else(|| self.missing(&wanted.path, &wanted.digest), |e| e.context(&wanted.path)))
    }

    /// The lengths of at most about `max` objects of the first remote, when it can list them: by digest's
    /// text.
    pub async fn far_lengths(
        &self,
        remote: Option<&str>,
        max: usize,
    ) -> Result<Option<BTreeMap<String, u64>>> {
        let Some(far) = self.order(remote).next().filter(|f| !f.keeps_names()) else { return Ok(None) };
        let Some(found) = far.open()?.lengths("files/md5/", max).await? else { return Ok(None) };
        let digest = |key: &str| key.strip_prefix("files/md5/").map(|rest| rest.replacen('/', "", 1));
        Ok(Some(found.into_iter().filter_map(|(key, len)| Some((digest(&key)?, len))).collect()))
    }

    /// The remote that is named, then the default one, then the others.
    fn order<'a>(&'a self, named: Option<&str>) -> impl Iterator<Item = &'a Far> + use<'a> {
        let named = named.map(str::to_lowercase);
        let first = self.far.iter().position(|f| Some(&f.settings.name) == named.as_ref());
        let rest = self.far.iter().enumerate().filter(move |(n, _)| Some(*n) != first).map(|(_, f)| f);
        first.and_then(|n| self.far.get(n)).into_iter().chain(rest)
    }

    /// Where the object may lie on this machine, in which layout: ours is always of today's.
    fn places<'a>(
        &'a self,
        remote: Option<&'a str>,
        layout: Layout,
    ) -> impl Iterator<Item = (&'a BlobStore, Layout)> {
        let shared = self.shared.iter().map(|s| (s, Layout::V3));
        self.all(remote).map(move |(_, s)| (s, layout)).chain(shared)
    }

    /// The cache, then the remote that the output names, then the others.
    fn all<'a>(&'a self, remote: Option<&'a str>) -> impl Iterator<Item = (&'a str, &'a BlobStore)> {
        let is_named = move |n: &str| remote.is_some_and(|r| r.eq_ignore_ascii_case(n));
        let named = self.remotes.iter().filter(move |(n, _)| is_named(n));
        let others = self.remotes.iter().filter(move |(n, _)| !is_named(n));
        std::iter::once(("cache", &self.cache)).chain(named.chain(others).map(|(n, s)| (n.as_str(), s)))
    }

    fn missing(&self, path: &RepoPath, digest: &Digest) -> Error {
        let far = self.far.iter().map(|f| f.settings.name.as_str());
        let mut looked: Vec<&str> = self.all(None).map(|(n, _)| n).chain(far).collect();
        looked.truncate(8);
        let error = Error::new(
            Kind::NotFound,
            format!("{path}: its DVC object {digest} is in none of: {}", looked.join(", ")),
        );
        match self.foreign.first() {
            Some((name, scheme)) if scheme.is_empty() => error.hint(format!(
                "the remote {name:?} is a folder of another machine; clone the repository there and run `dvc \
                 push` to a remote that both reach"
            )),
            Some((name, scheme)) => error.hint(format!(
                "the remote {name:?} ({scheme}) is not opened here; run `dvc fetch` in the repository"
            )),
            None => error.hint("run `dvc fetch` in the repository, or `dvc push` where the file was added"),
        }
    }
}

/// Opens a regular file; a pipe in its place does not make anybody wait.
fn open_object(at: &Path) -> std::io::Result<(File, Stamp)> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(at)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "not a regular file"));
    }
    Ok((file, Stamp::of(&meta)))
}

/// The bytes up to the length that was found; a file that grows meanwhile has another stamp.
fn read_all(file: &File, len: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
    file.take(len).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether an open file has the digest, and did not change while that was taken: its stamp then, and whether
/// the stamp is old enough to be believed later. A name more for the same file is a change too, so it is
/// looked at more than once.
fn verified(file: &File, mut stamp: Stamp, digest: &Digest, layout: Layout) -> Result<Option<(Stamp, bool)>> {
    // Of this file, whatever is put into its place meanwhile.
    let opened = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    for _ in 0..MAX_LOOKS {
        let settled = stamp.is_settled();
        let good = match layout {
            Layout::V3 => digest_of_file(&opened, digest)?.0 == *digest,
            Layout::V2 => std::fs::read(&opened).is_ok_and(|bytes| hash::matches_legacy(digest, &bytes)),
        };
        if !good {
            return Ok(None);
        }
        let now = file.metadata().map_err(|e| Error::io(&opened, &e))?;
        let now = Stamp::of(&now);
        if now == stamp {
            return Ok(Some((stamp, settled)));
        }
        stamp = now;
    }
    Ok(None)
}

fn is_still(file: &File, stamp: &Stamp) -> bool {
    file.metadata().is_ok_and(|m| Stamp::of(&m) == *stamp)
}

impl Far {
    fn open(&self) -> Result<Arc<dyn Remote>> {
        let public = matches!(self.outside.origin, Origin::Elsewhere { public: true });
        self.opened.get_or_init(|| remote::open(&self.settings, &self.outside.config, public)).clone()
    }

    /// Whether it keeps files under their own names, by version.
    fn keeps_names(&self) -> bool {
        let on = |key| self.settings.flag(key, false).unwrap_or(false);
        on("version_aware") || on("worktree")
    }

    /// Where the object lies in this remote; none where it cannot.
    fn key(&self, wanted: &Wanted) -> Option<Key> {
        if self.keeps_names() {
            let (path, versions) = wanted.named.as_ref()?;
            let version = versions.get(&self.settings.name)?.clone();
            return Some(Key { path: path.to_string(), version });
        }
        key(&wanted.digest, wanted.layout)
    }
}

/// The key of an object in a remote that keeps objects by digest; none for Git's.
pub fn key(digest: &Digest, layout: Layout) -> Option<Key> {
    let path = digest.store_path()?;
    Some(Key::new(match layout {
        Layout::V3 => path,
        Layout::V2 => path.strip_prefix("files/md5/")?.to_owned(),
    }))
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let far: Vec<&str> = self.far.iter().map(|f| f.settings.name.as_str()).collect();
        f.debug_struct("Stores").field("cache", &self.cache.root()).field("far", &far).finish()
    }
}
