//! A repository of this machine as a source: Git objects, `.dvc/cache` and local remotes.

use crate::flight::lock;
use crate::repository::{Node, Repository, Snapshot};
use dds_core::{Entry, Error, RepoPath, Result};
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

pub struct Local {
    repository: Repository,
    branch: Option<String>,
    pinned: Mutex<Arc<Snapshot>>,
}

impl Local {
    pub fn open(path: &Path, rev: Option<&str>) -> Result<Self> {
        let repository = Repository::open(path)?;
        let revision = repository.resolve(rev)?;
        let snapshot = repository.snapshot(revision.commit)?;
        Ok(Self { repository, branch: revision.branch, pinned: Mutex::new(snapshot) })
    }

    pub fn branch(&self) -> Option<String> {
        self.branch.clone()
    }

    pub fn commit(&self) -> String {
        self.snapshot().commit.clone()
    }

    pub fn refresh(&self) -> Result<bool> {
        let Some(branch) = &self.branch else { return Ok(false) };
        let revision = self.repository.resolve(Some(branch))?;
        if revision.commit.to_string() == self.commit() {
            return Ok(false);
        }
        self.repository.reload_stores()?;
        let snapshot = self.repository.snapshot(revision.commit)?;
        *lock(&self.pinned) = snapshot;
        Ok(true)
    }

    pub fn list(&self, dir: &RepoPath, recursive: bool) -> Result<Vec<Entry>> {
        self.snapshot().list(dir, recursive)
    }

    pub fn stat(&self, path: &RepoPath) -> Result<Entry> {
        self.snapshot().stat(path)
    }

    pub fn read(&self, path: &RepoPath) -> Result<Vec<u8>> {
        let snapshot = self.snapshot();
        let node = file(&snapshot, path)?;
        Ok(self.repository.read(path, node)?.into())
    }

    pub fn read_range(&self, path: &RepoPath, range: Range<u64>) -> Result<Vec<u8>> {
        let snapshot = self.snapshot();
        let Node::Dvc { digest, layout, remote, .. } = file(&snapshot, path)? else {
            let bytes = self.read(path)?;
            return Ok(super::hub::cut(&bytes, &range).to_vec());
        };
        let mut opened = self.repository.stores().open(path, digest, *layout, remote.as_deref())?;
        let io = |e: std::io::Error| Error::io(path.as_str(), &e);
        opened.seek(SeekFrom::Start(range.start)).map_err(io)?;
        let mut bytes = Vec::new();
        opened.take(range.end.saturating_sub(range.start)).read_to_end(&mut bytes).map_err(io)?;
        Ok(bytes)
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        lock(&self.pinned).clone()
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
