//! A Git+DVC repository on this machine, bare or with a working tree: revisions, snapshots, bytes.
//!
//! Reads Git objects in-process and DVC objects from the cache and from local remotes. Knows no HTTP.
//! A repository may be hostile: links in its tree are never followed, and bytes that do not have their
//! digest are never given out.

mod change;
mod log;
mod revisions;
mod snapshot;
mod stamp;
mod stores;

use revisions::Revisions;
use snapshot::Building;

pub use change::{Choice, MAX_SUMMARY_CHARS, NewFile, Upload, Uploaded, author, upload};
pub use revisions::Watch;
pub use snapshot::{Bring, Node, Snapshot};
pub use stamp::Stamp;
pub use stores::{Keeper, Large, Origin, Outside, Stores, Wanted};

use crate::contain::Root;
use crate::dvc::{DvcConfig, Level};
use crate::flight::lock;
use crate::hash;
use bytes::Bytes;
use dds_core::{Cx, Error, Kind, RepoPath, Result};
use std::io::Read;
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
    revisions: Revisions,
    snapshots: Mutex<Vec<(git2::Oid, Arc<Snapshot>)>>,
    stores: Mutex<Arc<Stores>>,
    outside: Option<Outside>,
    bring: Option<Arc<dyn Bring>>,
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
    /// Opens the repository whose working tree or bare folder is `path`; remotes elsewhere are left
    /// alone. Errors: `NotFound`.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, None, None)
    }

    /// The same with what lies outside it: remotes, and Git objects that are not here yet.
    pub fn open_with(path: &Path, outside: Option<Outside>, bring: Option<Arc<dyn Bring>>) -> Result<Self> {
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
        let stores = Arc::new(Stores::new(&base, &DvcConfig::default(), None));
        let repository = Self {
            path,
            revisions: Revisions::new(git.commondir()),
            git: Mutex::new(git),
            snapshots: Mutex::default(),
            stores: Mutex::new(stores),
            outside,
            bring,
        };
        repository.reload_stores(None)?;
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

    /// Reads `.dvc/config` again: from the working tree, or, of a bare repository, from `commit` or else
    /// the default branch.
    pub fn reload_stores(&self, commit: Option<git2::Oid>) -> Result<()> {
        let git = lock(&self.git);
        let mut committed = None;
        if git.workdir().is_none() {
            let tree = match commit {
                Some(commit) => git.find_commit(commit).and_then(|c| c.tree()),
                None => git.head().and_then(|h| h.peel_to_tree()),
            };
            let oid = tree.and_then(|t| t.get_path(Path::new(".dvc/config"))).map(|e| e.id());
            if let (Ok(oid), Some(bring)) = (&oid, &self.bring) {
                bring.bring(&[*oid], &Cx::silent("/"))?;
            }
            if let Ok(blob) = oid.and_then(|oid| git.find_blob(oid)) {
                committed = Some(String::from_utf8_lossy(blob.content()).into_owned());
            }
        }
        let base = git.workdir().unwrap_or_else(|| git.path()).to_owned();
        let outside = self.outside.as_ref();
        let dvc_dir = base.join(".dvc");
        let config = load_config(git.workdir(), &RepoPath::root(), committed.as_deref(), &dvc_dir, outside)?;
        *lock(&self.stores) = Arc::new(Stores::new(&base, &config, outside));
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
        let default = rev.is_none().then(|| self.default_branch());
        let rev = rev.or(default.as_deref()).unwrap_or_default();
        if let Some(revision) = self.resolved(rev) {
            return Ok(revision);
        }
        let deciding = self.revisions.before(rev);
        let (revision, direct) = self.find(rev)?;
        if let Some(deciding) = deciding.filter(|_| direct) {
            self.revisions.keep(rev, deciding, &revision);
        }
        Ok(revision)
    }

    /// What [`Repository::resolve`] said a moment ago, when that still holds. Waits for nobody.
    pub fn resolved(&self, rev: &str) -> Option<Revision> {
        self.revisions.get(rev)
    }

    /// The same, to be asked again without the name.
    pub fn watch(&self, rev: &str) -> Option<Arc<Watch>> {
        self.revisions.watch(rev)
    }

    /// The revision, and whether the name says it by itself.
    fn find(&self, rev: &str) -> Result<(Revision, bool)> {
        let git = lock(&self.git);
        let commit_at = |name: String| {
            let reference = git.find_reference(&name).ok()?;
            let direct = reference.kind() == Some(git2::ReferenceType::Direct);
            Some((reference.peel_to_commit().ok()?.id(), direct))
        };
        if let Some((commit, direct)) = commit_at(format!("refs/heads/{rev}")) {
            return Ok((Revision { commit, branch: Some(rev.to_owned()) }, direct));
        }
        if let Some((commit, direct)) = commit_at(format!("refs/tags/{rev}")) {
            return Ok((Revision { commit, branch: None }, direct));
        }
        if rev.len() >= MIN_COMMIT_PREFIX
            && rev.bytes().all(|b| b.is_ascii_hexdigit())
            && let Ok(commit) = git.find_commit_by_prefix(rev)
        {
            return Ok((Revision { commit: commit.id(), branch: None }, true));
        }
        let names = self.branch_names(&git);
        let hint = if names.is_empty() {
            "the repository has no commit yet".to_owned()
        } else {
            format!("branches: {}", names.join(", "))
        };
        Err(Error::not_found(format!("there is no branch, tag or commit {rev:?}")).hint(hint))
    }

    /// As [`Repository::resolve`], and what Git's users write beside: `HEAD`, branches of remotes, and
    /// `REV~N` or `REV^` for the commits before. For repositories of the user's own, not for visitors.
    pub fn resolve_own(&self, rev: Option<&str>) -> Result<Revision> {
        let refused = match (self.resolve(rev), rev) {
            (Err(e), Some(rev)) if e.kind == Kind::NotFound => (e, rev),
            (done, _) => return done,
        };
        let (error, rev) = refused;
        let (name, steps) = rev.split_at(rev.find(['~', '^']).unwrap_or(rev.len()));
        let start = self.resolve(Some(name)).ok().map(|r| r.commit);
        let git = lock(&self.git);
        let named =
            |name: &str| git.find_reference(name).and_then(|r| r.peel_to_commit()).ok().map(|c| c.id());
        let start = match name {
            "HEAD" => named("HEAD"),
            _ => start.or_else(|| named(&format!("refs/remotes/{name}"))),
        };
        let commit = start.and_then(|oid| git.find_commit(oid).ok()).and_then(|c| before(c, steps));
        commit.map(|c| Revision { commit: c.id(), branch: None }).ok_or(error)
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
        self.snapshot_with(commit, &Cx::silent("/"))
    }

    /// The same, for a command that may be interrupted.
    pub fn snapshot_with(&self, commit: git2::Oid, cx: &Cx) -> Result<Arc<Snapshot>> {
        if let Some(kept) = self.kept_snapshot(commit) {
            return Ok(kept);
        }
        let building = Building {
            git: &lock(&self.git),
            stores: &self.stores(),
            outside: self.outside.as_ref(),
            bring: self.bring.as_deref(),
            cx,
        };
        let snapshot = Arc::new(Snapshot::build(commit, &building)?);
        // A folder whose manifest was missing may be fetched by `dvc` in the meantime: look again.
        if snapshot.is_whole() {
            let mut kept = lock(&self.snapshots);
            kept.push((commit, snapshot.clone()));
            if kept.len() > KEPT_SNAPSHOTS {
                kept.remove(0);
            }
        }
        Ok(snapshot)
    }

    /// The snapshot, when it was asked for a moment ago. Waits for nobody who builds one.
    pub fn kept_snapshot(&self, commit: git2::Oid) -> Option<Arc<Snapshot>> {
        let mut kept = lock(&self.snapshots);
        let at = kept.iter().position(|(c, _)| *c == commit)?;
        let found = kept.remove(at);
        let snapshot = found.1.clone();
        kept.push(found);
        Some(snapshot)
    }

    /// All bytes of a file of a snapshot that is on this machine, verified. Errors: `NotFound`, `Corrupt`.
    pub fn read(&self, path: &RepoPath, node: &Node) -> Result<Bytes> {
        match node {
            Node::Git { oid, .. } => self.git_blob(*oid).map(Bytes::from),
            Node::Dvc { digest, layout, keeper, .. } => keeper.read(path, digest, *layout).map(Bytes::from),
            Node::EmptyDir => Err(Error::not_found(format!("{path} is a folder"))),
        }
    }

    /// Those of `blobs` that are not in the object database.
    pub fn lacking(&self, blobs: &[git2::Oid]) -> Result<Vec<git2::Oid>> {
        let git = lock(&self.git);
        let odb = git.odb().map_err(|e| git_error("cannot open Git's objects", &e))?;
        if self.bring.is_some() {
            let _ = odb.refresh();
        }
        let flags = git2::OdbLookupFlags::NO_REFRESH;
        Ok(blobs.iter().copied().filter(|oid| !odb.exists_ext(*oid, flags)).collect())
    }

    /// Looks for new commits where the repository comes from; nothing for one of this machine.
    pub fn renew(&self, cx: &Cx) -> Result<()> {
        self.bring.as_ref().map_or(Ok(()), |bring| bring.renew(cx))
    }

    /// Fetches Git objects that are not here, where that is possible.
    pub fn bring(&self, blobs: &[git2::Oid], cx: &Cx) -> Result<()> {
        let lacking = self.lacking(blobs)?;
        match &self.bring {
            Some(bring) if !lacking.is_empty() => bring.bring(&lacking, cx),
            _ => Ok(()),
        }
    }

    /// The size of a Git blob that is here.
    pub fn blob_len(&self, oid: git2::Oid) -> Option<u64> {
        let git = lock(&self.git);
        let (len, _) = git.odb().ok()?.read_header(oid).ok()?;
        Some(len as u64)
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

/// The commit that `~N` and `^N`, one after the other, lead back to.
fn before<'a>(mut commit: git2::Commit<'a>, steps: &str) -> Option<git2::Commit<'a>> {
    let mut rest = steps;
    while let Some(sign) = rest.chars().next() {
        let digits = rest.get(1..)?;
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        let (number, next) = digits.split_at(end);
        let number: usize = if number.is_empty() { 1 } else { number.parse().ok()? };
        match sign {
            '~' => {
                for _ in 0..number {
                    commit = commit.parent(0).ok()?;
                }
            }
            '^' if number > 0 => commit = commit.parent(number - 1).ok()?,
            '^' => {}
            _ => return None,
        }
        rest = next;
    }
    Some(commit)
}

/// DVC's settings for the repository in the folder `root` of a tree. `committed` is its `.dvc/config`
/// where there is no working tree to read it from; relative paths are seen from `dvc_dir`.
fn load_config(
    work: Option<&Path>,
    root: &RepoPath,
    committed: Option<&str>,
    dvc_dir: &Path,
    outside: Option<&Outside>,
) -> Result<DvcConfig> {
    let mut config = DvcConfig::default();
    if let Some(outside) = outside {
        let peers = &outside.config.peers;
        for (file, level) in [(&peers.dvc_system, Level::System), (&peers.dvc_global, Level::Global)] {
            let Some(file) = file else { continue };
            let mut text = String::new();
            let read =
                std::fs::File::open(file).and_then(|f| f.take(MAX_CONFIG_BYTES).read_to_string(&mut text));
            if read.is_ok() {
                config.merge(&text, level, file.parent().unwrap_or(Path::new("/")));
            }
        }
    }
    let Some(work) = work else {
        config.merge(committed.unwrap_or_default(), Level::Repo, dvc_dir);
        return Ok(config);
    };
    let work = Root::open(work)?;
    for (name, level) in [("config", Level::Repo), ("config.local", Level::Local)] {
        let at = root.join(&RepoPath::parse(&format!(".dvc/{name}"))?);
        if let Some(bytes) = work.read(&at, MAX_CONFIG_BYTES)? {
            config.merge(&String::from_utf8_lossy(&bytes), level, dvc_dir);
        }
    }
    Ok(config)
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
