//! The commits behind a revision, all of them or those that changed one file or folder.
//!
//! A commit changed a path when Git's entry of it differs from that of every parent, or when a DVC file that
//! may hold it does and what DVC keeps there differs as well.

use super::{CommitInfo, Repository, git_error, lock};
use dds_core::{Cx, Digest, Kind, RepoPath, Result};
use git2::{Oid, Tree};

/// Files of DVC that speak of outputs anywhere below their folder.
const PIPELINE: [&str; 2] = ["dvc.lock", "dvc.yaml"];

/// Paths and digests.
type Kept = Vec<(RepoPath, Option<Digest>)>;

/// How a commit stands to one of its parents.
#[derive(PartialEq)]
enum Touched {
    No,
    /// A file of DVC differs: what it says of the path must be compared.
    Perhaps,
    Yes,
}

impl Repository {
    /// At most `max` commits from `rev` on that changed something at `path` or below, newest first.
    pub fn log(&self, rev: Option<&str>, path: &RepoPath, max: usize, cx: &Cx) -> Result<Vec<CommitInfo>> {
        let from = self.resolve_own(rev)?.commit;
        let mut found = Vec::new();
        for id in self.walk(from)? {
            cx.cancel.check()?;
            if found.len() >= max {
                break;
            }
            if path.is_root() || self.changed(id, path, cx)? {
                found.push(self.commit_info(id)?);
            }
        }
        Ok(found)
    }

    fn walk(&self, from: Oid) -> Result<Vec<Oid>> {
        let git = lock(&self.git);
        let wrap = |e: git2::Error| git_error(format!("cannot read the history of {from}"), &e);
        let mut walk = git.revwalk().map_err(wrap)?;
        walk.set_sorting(git2::Sort::TOPOLOGICAL | git2::Sort::TIME).map_err(wrap)?;
        walk.push(from).map_err(wrap)?;
        walk.collect::<Result<_, _>>().map_err(wrap)
    }

    /// Whether a commit differs from all of its parents at `path`.
    fn changed(&self, id: Oid, path: &RepoPath, cx: &Cx) -> Result<bool> {
        let (parents, touched) = {
            let git = lock(&self.git);
            let wrap = |e: git2::Error| git_error(format!("cannot read commit {id}"), &e);
            let commit = git.find_commit(id).map_err(wrap)?;
            let tree = commit.tree().map_err(wrap)?;
            let parents: Vec<Oid> = commit.parent_ids().collect();
            let mut touched = Vec::new();
            for parent in &parents {
                let before = git.find_commit(*parent).and_then(|c| c.tree());
                // A shallow clone ends somewhere.
                touched.push(before.map_or(Touched::Yes, |before| compared(&before, &tree, path)));
            }
            if parents.is_empty() {
                touched.push(first(&tree, path));
            }
            (parents, touched)
        };
        for (n, how) in touched.iter().enumerate() {
            let differs = match how {
                Touched::No => false,
                Touched::Yes => true,
                Touched::Perhaps => {
                    let before = parents.get(n).map_or(Ok(None), |p| self.kept(*p, path, cx));
                    match (self.kept(id, path, cx), before) {
                        (Ok(after), Ok(before)) => after != before,
                        (Err(e), _) | (_, Err(e)) if e.kind == Kind::Interrupted => return Err(e),
                        // Better one commit too many.
                        _ => true,
                    }
                }
            };
            if !differs {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What is at `path` and below in a commit; none where nothing is. Errors: files of DVC that cannot be
    /// read here.
    fn kept(&self, id: Oid, path: &RepoPath, cx: &Cx) -> Result<Option<Kept>> {
        let snapshot = self.snapshot_with(id, cx)?;
        if snapshot.get(path).is_some() {
            let entry = snapshot.stat(path)?;
            return Ok(Some(vec![(entry.path, entry.digest)]));
        }
        match snapshot.list(path, true) {
            Ok(entries) => Ok(Some(entries.into_iter().map(|e| (e.path, e.digest)).collect())),
            // Where a manifest is missing, nobody knows.
            Err(e) if e.kind == Kind::NotFound && snapshot.is_whole() => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// Paths of the DVC files that may keep `path`.
fn pointers(path: &RepoPath) -> Vec<String> {
    let mut found = Vec::new();
    let mut at = Some(path.clone());
    while let Some(here) = at.filter(|p| !p.is_root()) {
        found.push(format!("{here}.dvc"));
        at = here.parent();
        let dir = at.clone().unwrap_or_default();
        found.extend(PIPELINE.iter().filter_map(|name| Some(dir.child(name).ok()?.to_string())));
    }
    found
}

fn entry(tree: &Tree<'_>, path: &str) -> Option<(Oid, i32)> {
    tree.get_path(std::path::Path::new(path)).ok().map(|e| (e.id(), e.filemode()))
}

fn compared(before: &Tree<'_>, after: &Tree<'_>, path: &RepoPath) -> Touched {
    if before.id() == after.id() {
        return Touched::No;
    }
    if entry(before, path.as_str()) != entry(after, path.as_str()) {
        return Touched::Yes;
    }
    let moved = pointers(path).iter().any(|p| entry(before, p) != entry(after, p));
    if moved { Touched::Perhaps } else { Touched::No }
}

/// Of a commit without parents.
fn first(tree: &Tree<'_>, path: &RepoPath) -> Touched {
    if entry(tree, path.as_str()).is_some() {
        return Touched::Yes;
    }
    if pointers(path).iter().any(|p| entry(tree, p).is_some()) { Touched::Perhaps } else { Touched::No }
}
