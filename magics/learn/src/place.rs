//! Where a path that the user wrote leads: a folder of this machine, a mount, or `URL[@REV]:PATH`.

use crate::local::LocalTree;
use dds_core::{
    Cx, Digest, EntryKind, Error, Located, RepoPath, RepoTarget, RepoUrl, Resolver, Result, Source,
};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file or folder inside a source.
#[derive(Clone)]
pub struct Place {
    pub source: Arc<dyn Source>,
    pub path: RepoPath,
    /// As the user wrote it, for messages; never holds credentials.
    pub shown: String,
    /// Whether the source is a folder of this machine.
    pub local: bool,
}

/// One file to be read.
#[derive(Clone)]
pub struct FileRef {
    pub source: Arc<dyn Source>,
    pub path: RepoPath,
    pub size: Option<u64>,
    pub digest: Option<Digest>,
}

/// A place in a form that another process can open again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pinned {
    /// Whether `source` is a folder of this machine; else it is `URL@commit`.
    pub local: bool,
    pub source: String,
    /// Path inside the source.
    pub folder: RepoPath,
    /// As the user wrote it.
    pub shown: String,
}

impl Place {
    /// Finds the place behind `target`. Does not check that it exists, unless it has to connect.
    pub fn find(target: &str, resolver: &dyn Resolver, cx: &Cx) -> Result<Self> {
        if target.is_empty() {
            return Err(Error::usage("no path was given"));
        }
        if RepoTarget::looks_like_url(target) {
            let t = RepoTarget::parse(target)?;
            let shown = if t.path.is_root() { t.url.to_string() } else { format!("{}:{}", t.url, t.path) };
            return Ok(Self { source: resolver.open(&t.url, cx)?, path: t.path, shown, local: false });
        }
        match resolver.resolve(&cx.absolute(target)) {
            Located::Remote { source, path } => {
                Ok(Self { source, path, shown: target.to_owned(), local: false })
            }
            Located::Local(path) => Self::local(&path, target),
        }
    }

    fn local(path: &Path, shown: &str) -> Result<Self> {
        let meta = std::fs::metadata(path).map_err(|e| {
            let error = Error::io(path, &e);
            if e.kind() == std::io::ErrorKind::NotFound {
                let why = format!("{shown}: no such file or folder");
                return Error { message: why, ..error }.hint("check the spelling; %dds ls lists a folder");
            }
            error
        })?;
        let (root, below) = if meta.is_dir() {
            (path.to_path_buf(), RepoPath::root())
        } else {
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            (path.parent().unwrap_or(Path::new("/")).to_path_buf(), RepoPath::root().child(name)?)
        };
        Ok(Self { source: Arc::new(LocalTree::new(root)), path: below, shown: shown.to_owned(), local: true })
    }

    /// The files here: the one file, or every image below the folder (hidden folders left out).
    pub fn images(&self, cx: &Cx) -> Result<Listing> {
        if !self.path.is_root() {
            let entry = self.source.stat(&self.path, cx)?;
            if entry.kind == EntryKind::File {
                return Ok(Listing {
                    single: true,
                    files: vec![self.file(self.path.clone(), entry.size, entry.digest)],
                    other: 0,
                });
            }
        }
        let mut listing = Listing { single: false, files: Vec::new(), other: 0 };
        for e in self.source.list(&self.path, true, cx)? {
            let Some(below) = e.path.strip_prefix(&self.path) else { continue };
            if e.kind != EntryKind::File || below.components().any(|c| c.starts_with('.')) {
                continue;
            }
            if crate::decode::is_image_name(below.name()) {
                listing.files.push(self.file(e.path, e.size, e.digest));
            } else {
                listing.other += 1;
            }
        }
        listing.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(listing)
    }

    fn file(&self, path: RepoPath, size: Option<u64>, digest: Option<Digest>) -> FileRef {
        FileRef { source: self.source.clone(), path, size, digest }
    }

    /// The name of the last folder or repository, for naming things after it.
    pub fn name(&self) -> String {
        let last = if self.path.is_root() { None } else { Some(self.path.name().to_owned()) };
        last.unwrap_or_else(|| {
            let id = self.source.id();
            // A revision after the last `/` is not part of the name.
            let end = id.trim_end_matches('/').rsplit('/').next().unwrap_or("").to_owned();
            let end = if self.local { end } else { end.split('@').next().unwrap_or("").to_owned() };
            let shown = self.shown.trim_end_matches('/').rsplit('/').next().unwrap_or("").to_owned();
            if RepoTarget::looks_like_url(&self.shown) || matches!(shown.as_str(), "" | "." | "..") {
                end
            } else {
                shown
            }
        })
    }

    pub fn pinned(&self) -> Pinned {
        Pinned {
            local: self.local,
            source: self.source.id(),
            folder: self.path.clone(),
            shown: self.shown.clone(),
        }
    }
}

impl Pinned {
    /// Opens the place again: through the mount when it still shows this revision, else by URL.
    pub fn open(&self, resolver: &dyn Resolver, cx: &Cx) -> Result<Place> {
        let place = |source| Place {
            source,
            path: self.folder.clone(),
            shown: self.shown.clone(),
            local: self.local,
        };
        if self.local {
            return Ok(place(Arc::new(LocalTree::new(PathBuf::from(&self.source)))));
        }
        if !RepoTarget::looks_like_url(&self.shown)
            && let Located::Remote { source, path } = resolver.resolve(&cx.absolute(&self.shown))
            && source.id() == self.source
            && path == self.folder
        {
            return Ok(place(source));
        }
        Ok(place(resolver.open(&RepoUrl::parse(&self.source)?, cx)?))
    }
}

/// What a place holds.
pub struct Listing {
    /// The target was one file, whatever its name.
    pub single: bool,
    /// Sorted by path.
    pub files: Vec<FileRef>,
    /// Files that are not images by name.
    pub other: usize,
}
