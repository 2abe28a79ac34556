//! The source behind a mounted path, as commands of the owner get it: they read the repository
//! directly, and the mount's numbers should know; they refresh it, and the folder should follow.

use crate::table::Mount;
use dds_core::{Cx, Entry, RepoPath, RepoUrl, Result, Source};
use std::ops::Range;
use std::sync::Arc;

pub struct Counted {
    inner: Arc<dyn Source>,
    mount: Arc<Mount>,
}

impl Counted {
    pub fn new(inner: Arc<dyn Source>, mount: Arc<Mount>) -> Self {
        Self { inner, mount }
    }
}

impl Source for Counted {
    fn id(&self) -> String {
        self.inner.id()
    }

    fn list(&self, dir: &RepoPath, recursive: bool, cx: &Cx) -> Result<Vec<Entry>> {
        self.inner.list(dir, recursive, cx)
    }

    fn stat(&self, path: &RepoPath, cx: &Cx) -> Result<Entry> {
        self.inner.stat(path, cx)
    }

    fn read(&self, path: &RepoPath, cx: &Cx) -> Result<Vec<u8>> {
        let bytes = self.inner.read(path, cx)?;
        self.mount.streamed.at_least(path, bytes.len() as u64);
        Ok(bytes)
    }

    fn read_range(&self, path: &RepoPath, range: Range<u64>, cx: &Cx) -> Result<Vec<u8>> {
        let bytes = self.inner.read_range(path, range.clone(), cx)?;
        // Overlapping ranges must not count twice: as far as the end of the farthest one.
        self.mount.streamed.at_least(path, range.start.saturating_add(bytes.len() as u64));
        Ok(bytes)
    }

    fn origin(&self) -> Option<RepoUrl> {
        self.inner.origin()
    }

    fn branch(&self) -> Option<String> {
        self.inner.branch()
    }

    fn refresh(&self, cx: &Cx) -> Result<bool> {
        let moved = self.inner.refresh(cx)?;
        self.mount.follow(cx)?;
        Ok(moved)
    }

    fn announce(&self, paths: &[RepoPath]) {
        self.inner.announce(paths);
    }
}
