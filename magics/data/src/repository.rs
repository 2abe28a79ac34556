//! A Git+DVC repository on this machine, bare or with a working tree: revisions, snapshots, bytes.
//!
//! Reads Git objects in-process and DVC objects from the cache and from local remotes. Knows no HTTP.
//! A repository may be hostile: links in its tree are never followed, and bytes that do not have their
//! digest are never given out.

mod change;
mod snapshot;
mod stores;

pub use change::{Choice, MAX_SUMMARY_CHARS, NewFile, Upload, Uploaded, author, upload};
pub use snapshot::{Node, Snapshot};
pub use stores::Stores;

use crate::contain::Root;
use crate::dvc::DvcConfig;
use crate::flight::lock;
use crate::hash;
use bytes::Bytes;
use dds_core::{Error, Kind, RepoPath, Result};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Snapshots kept in memory: the tip and a few pinned ones.
const KEPT_SNAPSHOTS: usize = 4;
const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// Shortest commit prefix that is taken for a commit.
const MIN_COMMIT_PREFIX: usize = 7;

/// One repository. All methods may be called from any thread.
pub struct Repository {
    path: PathBuf,
    git: Mutex<git2::Repository>,
    snapshots: Mutex<Vec<Arc<Snapshot>>>,
    stores: Mutex<Arc<Stores>>,
}

/// A revision, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    pub commit: git2::Oid,
    /// The branch that was named; none for tags and commits.
    pub branch: Option<String>,
}

/// What is told of a commit.
#[derive(Clone, Debug)]
pub struct CommitInfo {
    pub id: String,
    pub message: String,
    pub author: (String, String),
    /// Seconds since 1970, UTC.
    pub time: i64,
}

impl Repository {
    /// Opens the repository whose working tree or bare folder is `path`. Errors: `NotFound`.
    pub fn open(path: &Path) -> Result<Self> {
        let path = path.canonicalize().map_err(|e| Error::io(path, &e))?;
        let none: [&Path; 0] = [];
        let git =
            git2::Repository::open_ext(&path, git2::RepositoryOpenFlags::NO_SEARCH, none).map_err(|e| {
                if e.code() == git2::ErrorCode::NotFound {
                    Error::not_found(format!("{} is not a Git repository", path.display())).hint(format!(
                        "make one with `git init {0}` and commit, or name another folder",
                        path.display()
                    ))
                } else {
                    git_error(format!("cannot open {}", path.display()), &e)
                }
            })?;
        let base = git.workdir().unwrap_or_else(|| git.path()).to_owned();
        let stores = Arc::new(Stores::new(&base, &DvcConfig::default()));
        let repository =
            Self { path, git: Mutex::new(git), snapshots: Mutex::default(), stores: Mutex::new(stores) };
        repository.reload_stores()?;
        Ok(repository)
    }

    /// The folder that was opened, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn git_dir(&self) -> PathBuf {
        lock(&self.git).path().to_owned()
    }

    /// Where DVC objects are.
    pub fn stores(&self) -> Arc<Stores> {
        lock(&self.stores).clone()
    }

    /// Reads `.dvc/config` again: from the working tree, or from the default branch of a bare repository.
    pub fn reload_stores(&self) -> Result<()> {
        let git = lock(&self.git);
        let mut config = DvcConfig::default();
        let base = if let Some(work) = git.workdir() {
            let root = Root::open(work)?;
            for name in [".dvc/config", ".dvc/config.local"] {
                if let Some(bytes) = root.read(&RepoPath::parse(name)?, MAX_CONFIG_BYTES)? {
                    config.merge(&String::from_utf8_lossy(&bytes));
                }
            }
            work.to_owned()
        } else {
            let blob = git
                .head()
                .and_then(|h| h.peel_to_tree())
                .and_then(|t| t.get_path(Path::new(".dvc/config")))
                .and_then(|e| git.find_blob(e.id()));
            if let Ok(blob) = blob {
                config.merge(&String::from_utf8_lossy(blob.content()));
            }
            git.path().to_owned()
        };
        *lock(&self.stores) = Arc::new(Stores::new(&base, &config));
        Ok(())
    }

    /// The branch that `HEAD` names, even before its first commit.
    pub fn default_branch(&self) -> String {
        let git = lock(&self.git);
        let head = git.find_reference("HEAD").ok();
        let branch = head
            .as_ref()
            .and_then(|h| h.symbolic_target().ok().flatten())
            .and_then(|t| t.strip_prefix("refs/heads/"));
        if let Some(branch) = branch {
            return branch.to_owned();
        }
        // A detached HEAD: the first branch, by name.
        self.branch_names(&git).into_iter().next().unwrap_or_else(|| "main".to_owned())
    }

    /// All branches with their commits, sorted by name.
    pub fn branches(&self) -> Vec<(String, git2::Oid)> {
        let git = lock(&self.git);
        self.branch_names(&git)
            .into_iter()
            .filter_map(|b| Some((git.refname_to_id(&format!("refs/heads/{b}")).ok()?, b)))
            .map(|(oid, b)| (b, oid))
            .collect()
    }

    fn branch_names(&self, git: &git2::Repository) -> Vec<String> {
        let Ok(branches) = git.branches(Some(git2::BranchType::Local)) else { return Vec::new() };
        let mut names: Vec<String> = branches
            .filter_map(|b| b.ok().and_then(|(b, _)| String::from_utf8(b.name_bytes().ok()?.to_vec()).ok()))
            .collect();
        names.sort();
        names
    }

    /// Resolves a branch, a tag or a commit (whole, or a prefix of at least seven digits); without one,
    /// the default branch. Errors: `NotFound`, with the branches there are.
    pub fn resolve(&self, rev: Option<&str>) -> Result<Revision> {
        let default = self.default_branch();
        let rev = rev.unwrap_or(&default);
        let git = lock(&self.git);
        let commit_at = |name: String| {
            git.find_reference(&name).ok().and_then(|r| r.peel_to_commit().ok()).map(|c| c.id())
        };
        if let Some(commit) = commit_at(format!("refs/heads/{rev}")) {
            return Ok(Revision { commit, branch: Some(rev.to_owned()) });
        }
        if let Some(commit) = commit_at(format!("refs/tags/{rev}")) {
            return Ok(Revision { commit, branch: None });
        }
        if rev.len() >= MIN_COMMIT_PREFIX
            && rev.bytes().all(|b| b.is_ascii_hexdigit())
            && let Ok(commit) = git.find_commit_by_prefix(rev)
        {
            return Ok(Revision { commit: commit.id(), branch: None });
        }
        let names = self.branch_names(&git);
        let hint = if names.is_empty() {
            "the repository has no commit yet".to_owned()
        } else {
            format!("branches: {}", names.join(", "))
        };
        Err(Error::not_found(format!("there is no branch, tag or commit {rev:?}")).hint(hint))
    }

    pub fn commit_info(&self, commit: git2::Oid) -> Result<CommitInfo> {
        let git = lock(&self.git);
        let c = git.find_commit(commit).map_err(|e| git_error(format!("cannot read commit {commit}"), &e))?;
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        Ok(CommitInfo {
            id: commit.to_string(),
            message: text(c.message_bytes()),
            author: (text(c.author().name_bytes()), text(c.author().email_bytes())),
            time: c.time().seconds(),
        })
    }

    /// The tree of a commit with its DVC outputs resolved; kept for the next call.
    pub fn snapshot(&self, commit: git2::Oid) -> Result<Arc<Snapshot>> {
        let id = commit.to_string();
        {
            let mut kept = lock(&self.snapshots);
            if let Some(at) = kept.iter().position(|s| s.commit == id) {
                let found = kept.remove(at);
                kept.push(found.clone());
                return Ok(found);
            }
        }
        let snapshot = Arc::new(Snapshot::build(&lock(&self.git), commit, &self.stores())?);
        // A folder whose manifest was missing may be fetched by `dvc` in the meantime: look again.
        if snapshot.is_whole() {
            let mut kept = lock(&self.snapshots);
            kept.push(snapshot.clone());
            if kept.len() > KEPT_SNAPSHOTS {
                kept.remove(0);
            }
        }
        Ok(snapshot)
    }

    /// All bytes of a file of a snapshot, verified. Errors: `NotFound`, `Corrupt`.
    pub fn read(&self, path: &RepoPath, node: &Node) -> Result<Bytes> {
        match node {
            Node::Git { oid, .. } => self.git_blob(*oid).map(Bytes::from),
            Node::Dvc { digest, layout, remote, .. } => {
                self.stores().read(path, digest, *layout, remote.as_deref()).map(Bytes::from)
            }
            Node::EmptyDir => Err(Error::not_found(format!("{path} is a folder"))),
        }
    }

    /// The bytes of a Git blob, checked against its id.
    pub fn git_blob(&self, oid: git2::Oid) -> Result<Vec<u8>> {
        let git = lock(&self.git);
        let blob = git.find_blob(oid).map_err(|e| git_error(format!("cannot read Git object {oid}"), &e))?;
        let bytes = blob.content().to_vec();
        let digest = hash::git_digest(oid)?;
        if !hash::matches(&digest, &bytes) {
            return Err(hash::mismatch("a Git object", &digest, bytes.len() as u64));
        }
        Ok(bytes)
    }
}

/// An error of libgit2 with what was tried.
pub fn git_error(what: impl std::fmt::Display, e: &git2::Error) -> Error {
    let kind = match e.code() {
        git2::ErrorCode::NotFound => Kind::NotFound,
        _ => Kind::Io,
    };
    Error::new(kind, format!("{what}: {}", e.message()))
}

#[cfg(test)]
mod tests;
