//! Where a repository's DVC objects are: its cache and its local remotes.

use crate::dvc::DvcConfig;
use crate::flight::lock;
use crate::hash;
use crate::store::{BlobStore, Layout, digest_of_file};
use dds_core::{Digest, Error, Kind, RepoPath, Result};
use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Mutex;

/// Files that were verified as a whole, so that ranges of them can be served; the oldest half is
/// forgotten at this bound.
const MAX_VERIFIED: usize = 65_536;

/// Identity of a file's content for this process: device, inode, length, time of change.
type Stamp = (u64, u64, u64, i64, i64);

#[derive(Debug)]
pub struct Stores {
    cache: BlobStore,
    /// Local remotes by name, the default one first.
    remotes: Vec<(String, BlobStore)>,
    default_remote: Option<String>,
    /// Remotes that this crate cannot open: name and URL.
    foreign: Vec<(String, String)>,
    verified: Mutex<HashSet<(Digest, Stamp)>>,
}

impl Stores {
    /// `base` is the working tree, or a bare repository's folder.
    pub fn new(base: &Path, config: &DvcConfig) -> Self {
        let dvc_dir = base.join(".dvc");
        let cache = config
            .cache_dir
            .as_deref()
            .and_then(|dir| DvcConfig::local_path(dir, &dvc_dir))
            .unwrap_or_else(|| dvc_dir.join("cache"));
        let (mut remotes, mut foreign) = (Vec::new(), Vec::new());
        for (name, url) in &config.remotes {
            match DvcConfig::local_path(url, &dvc_dir) {
                Some(path) => remotes.push((name.clone(), BlobStore::new(path))),
                None => foreign.push((name.clone(), url.clone())),
            }
        }
        remotes.sort_by_key(|(name, _)| Some(name.as_str()) != config.default_remote.as_deref());
        Self {
            cache: BlobStore::new(cache),
            remotes,
            default_remote: config.default_remote.clone(),
            foreign,
            verified: Mutex::default(),
        }
    }

    pub fn cache(&self) -> &BlobStore {
        &self.cache
    }

    /// The default remote, when it is a folder of this machine.
    pub fn default_remote(&self) -> Option<&BlobStore> {
        let name = self.default_remote.as_deref()?;
        self.remotes.iter().find(|(n, _)| n == name).map(|(_, store)| store)
    }

    /// The length of an object, wherever it is.
    pub fn len(&self, digest: &Digest, layout: Layout) -> Option<u64> {
        self.all(None).find_map(|(_, store)| store.len(digest, layout))
    }

    /// All bytes of an object, verified. A damaged copy is passed over when another one is good.
    pub fn read(
        &self,
        path: &RepoPath,
        digest: &Digest,
        layout: Layout,
        remote: Option<&str>,
    ) -> Result<Vec<u8>> {
        let mut damaged = None;
        for (_, store) in self.all(remote) {
            match store.read(digest, layout) {
                Ok(Some(bytes)) => return Ok(bytes),
                Ok(None) => {}
                Err(e) => damaged = Some(e),
            }
        }
        Err(damaged.map_or_else(|| self.missing(path, digest), |e| e.context(path)))
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
        for (_, store) in self.all(remote) {
            let at = store.path(digest, layout);
            let Ok(file) = File::open(&at) else { continue };
            let Ok(meta) = file.metadata() else { continue };
            if !meta.is_file() {
                continue;
            }
            let key = (*digest, (meta.dev(), meta.ino(), meta.len(), meta.ctime(), meta.ctime_nsec()));
            if lock(&self.verified).contains(&key) {
                return Ok(file);
            }
            let good = match layout {
                Layout::V3 => digest_of_file(&at, digest)?.0 == *digest,
                Layout::V2 => store.read(digest, layout).is_ok(),
            };
            if !good {
                damaged = Some(hash::mismatch(&format!("{path}: {}", at.display()), digest, meta.len()));
                continue;
            }
            let mut verified = lock(&self.verified);
            if verified.len() >= MAX_VERIFIED {
                verified.clear();
            }
            verified.insert(key);
            return Ok(file);
        }
        Err(damaged.unwrap_or_else(|| self.missing(path, digest)))
    }

    /// The cache, then the remote that the output names, then the others.
    fn all<'a>(&'a self, remote: Option<&'a str>) -> impl Iterator<Item = (&'a str, &'a BlobStore)> {
        let named = self.remotes.iter().filter(move |(n, _)| Some(n.as_str()) == remote);
        let others = self.remotes.iter().filter(move |(n, _)| Some(n.as_str()) != remote);
        std::iter::once(("cache", &self.cache)).chain(named.chain(others).map(|(n, s)| (n.as_str(), s)))
    }

    fn missing(&self, path: &RepoPath, digest: &Digest) -> Error {
        let mut looked: Vec<&str> = self.all(None).map(|(n, _)| n).collect();
        looked.truncate(8);
        let error = Error::new(
            Kind::NotFound,
            format!("{path}: its DVC object {digest} is in none of: {}", looked.join(", ")),
        );
        match self.foreign.first() {
            Some((name, url)) => {
                let scheme = url.split("://").next().unwrap_or("");
                error.hint(format!(
                    "the remote {name:?} ({scheme}) is not opened by dds; run `dvc fetch` in the repository"
                ))
            }
            None => error.hint("run `dvc fetch` in the repository, or `dvc push` where the file was added"),
        }
    }
}
