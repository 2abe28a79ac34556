//! The tree of one commit with its DVC outputs resolved: every file that a user sees, with who keeps
//! its bytes.
//!
//! Links and submodules of the Git tree are left out. What cannot be resolved (a broken `.dvc` file, a
//! missing manifest) makes the listings that would depend on it fail, and no others. How one is made of
//! a commit stands in `resolve`.

mod resolve;

use super::stores::Keeper;
use crate::dvc::Output;
use crate::store::Layout;
use dds_core::{Digest, Entry, EntryKind, Error, Kind, RepoPath, Result, Versioning};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, OnceLock};

pub use resolve::{Bring, Building};

/// Most files of one snapshot; about 2 GB of memory.
pub const MAX_FILES: usize = 10_000_000;

/// One file, or a folder that has none.
#[derive(Clone, Debug)]
pub enum Node {
    /// The size is not known where Git has not fetched the object yet.
    Git {
        oid: git2::Oid,
        digest: Digest,
        size: OnceLock<u64>,
        executable: bool,
    },
    Dvc {
        digest: Digest,
        layout: Layout,
        size: OnceLock<u64>,
        keeper: Arc<Keeper>,
        executable: bool,
    },
    EmptyDir,
}

/// A DVC output and the file that declares it.
#[derive(Clone, Debug)]
pub struct Tracked {
    pub declared_in: RepoPath,
    pub output: Output,
    pub keeper: Arc<Keeper>,
}

#[derive(Debug)]
pub struct Snapshot {
    pub commit: String,
    nodes: BTreeMap<String, Node>,
    outputs: BTreeMap<RepoPath, Tracked>,
    /// Folders whose content is not known, and why.
    broken: BTreeMap<RepoPath, Error>,
    /// Imported outputs of which only the name is known, and what to tell about them. Listings that
    /// reach over them pass them by.
    absent: BTreeMap<RepoPath, Error>,
    whole: bool,
    /// The folders of all DVC repositories inside the tree but the root's.
    inner_roots: Vec<RepoPath>,
}

impl Snapshot {
    fn check_size(&self) -> Result<()> {
        if self.nodes.len() > MAX_FILES {
            return Err(Error::new(
                Kind::Limit,
                format!("more than {MAX_FILES} files in commit {}", self.commit),
            ));
        }
        Ok(())
    }

    /// Whether all manifests were found.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// The file at `path`.
    pub fn get(&self, path: &RepoPath) -> Option<&Node> {
        self.nodes.get(path.as_str()).filter(|n| !matches!(n, Node::EmptyDir))
    }

    pub fn is_dir(&self, path: &RepoPath) -> bool {
        path.is_root()
            || matches!(self.nodes.get(path.as_str()), Some(Node::EmptyDir))
            || self.below(path).next().is_some()
            || self.unknown().any(|at| at == path || at.strip_prefix(path).is_some())
    }

    /// Folders that are there although nothing is known of what is in them.
    fn unknown(&self) -> impl Iterator<Item = &RepoPath> {
        self.broken.keys().chain(self.absent.keys())
    }

    /// Why nothing is known of what is in the folder `path`, when that is so.
    pub fn why_unknown(&self, path: &RepoPath) -> Option<&Error> {
        self.broken.get(path).or_else(|| self.absent.get(path))
    }

    /// The folder of the DVC repository that `path` belongs to.
    pub fn dvc_root(&self, path: &RepoPath) -> RepoPath {
        let around = self.inner_roots.iter().filter(|r| path.strip_prefix(r).is_some());
        around.max_by_key(|r| r.as_str().len()).cloned().unwrap_or_default()
    }

    /// The output that `path` is, or lies in.
    pub fn output_of(&self, path: &RepoPath) -> Option<&Tracked> {
        let mut at = Some(path.clone());
        while let Some(dir) = at {
            if let Some(tracked) = self.outputs.get(&dir) {
                return Some(tracked).filter(|t| t.output.is_dir() || dir == *path);
            }
            at = dir.parent();
        }
        None
    }

    /// All folder outputs with their manifests' digests, in today's format.
    pub fn folders(&self) -> Vec<(RepoPath, Digest)> {
        let outputs = self.outputs.values().map(|t| &t.output);
        let manifest = |o: &&Output| o.is_dir() && o.layout == Layout::V3 && o.files.is_none();
        outputs.filter(manifest).map(|o| (o.path.clone(), o.digest)).collect()
    }

    /// All files below `dir`, sorted by path.
    pub fn below<'a>(&'a self, dir: &RepoPath) -> impl Iterator<Item = (&'a str, &'a Node)> + use<'a> {
        let prefix = if dir.is_root() { String::new() } else { format!("{dir}/") };
        self.nodes
            .range::<str, _>((Bound::Excluded(prefix.as_str()), Bound::Unbounded))
            .take_while({
                let prefix = prefix.clone();
                move |(p, _)| p.starts_with(&prefix)
            })
            .map(|(p, n)| (p.as_str(), n))
    }

    /// The file at `path` and those that follow it in the same folder, at most `max`.
    pub fn files_from(&self, path: &RepoPath, max: usize) -> Vec<RepoPath> {
        let folder = path.parent().unwrap_or_default();
        let rest = self.nodes.range::<str, _>((Bound::Included(path.as_str()), Bound::Unbounded));
        // Past a large inner folder the rest is not worth the walk.
        rest.take(max.saturating_mul(2))
            .filter_map(|(p, _)| RepoPath::parse(p).ok())
            .filter(|p| p.parent().as_ref() == Some(&folder))
            .take(max)
            .collect()
    }

    /// The entry of one path. Errors: `NotFound`, or why the path cannot be known.
    pub fn stat(&self, path: &RepoPath) -> Result<Entry> {
        if let Some(node) = self.get(path) {
            return Ok(self.file_entry(path.clone(), node));
        }
        if self.is_dir(path) {
            return Ok(self.dir_entry(path.clone()));
        }
        Err(self.not_found(path))
    }

    /// See [`dds_core::Source::list`].
    pub fn list(&self, dir: &RepoPath, recursive: bool) -> Result<Vec<Entry>> {
        if !self.is_dir(dir) {
            return Err(match self.get(dir) {
                Some(_) => Error::not_found(format!("{dir} is a file, not a folder")),
                None => self.not_found(dir),
            });
        }
        if let Some(error) = self.absent.get(dir) {
            return Err(error.clone());
        }
        for (at, error) in &self.broken {
            if at == dir || (recursive && at.strip_prefix(dir).is_some()) {
                return Err(error.clone());
            }
        }
        if recursive {
            return self
                .below(dir)
                .filter(|(_, n)| !matches!(n, Node::EmptyDir))
                .map(|(p, n)| Ok(self.file_entry(RepoPath::parse(p)?, n)))
                .collect();
        }
        self.children(dir)
    }

    /// One level: from each folder the search jumps behind its last file (`'0'` follows `'/'`).
    fn children(&self, dir: &RepoPath) -> Result<Vec<Entry>> {
        let prefix = if dir.is_root() { String::new() } else { format!("{dir}/") };
        let mut found: BTreeMap<RepoPath, Entry> = BTreeMap::new();
        let mut from = Bound::Excluded(prefix.clone());
        while let Some((path, node)) = self.nodes.range::<String, _>((from, Bound::Unbounded)).next() {
            let Some(rest) = path.strip_prefix(&prefix) else { break };
            match rest.split_once('/') {
                Some((name, _)) => {
                    let child = dir.child(name)?;
                    from = Bound::Included(format!("{prefix}{name}0"));
                    found.insert(child.clone(), self.dir_entry(child));
                }
                None => {
                    let child = dir.child(rest)?;
                    from = Bound::Excluded(path.clone());
                    let entry = match node {
                        Node::EmptyDir => self.dir_entry(child.clone()),
                        node => self.file_entry(child.clone(), node),
                    };
                    found.insert(child, entry);
                }
            }
        }
        for at in self.unknown() {
            let Some(name) = at.strip_prefix(dir).and_then(|b| b.components().next().map(str::to_owned))
            else {
                continue;
            };
            let child = dir.child(&name)?;
            if !found.contains_key(&child) {
                found.insert(child.clone(), self.dir_entry(child));
            }
        }
        Ok(found.into_values().collect())
    }

    fn file_entry(&self, path: RepoPath, node: &Node) -> Entry {
        let (digest, size, versioning, executable) = match node {
            Node::Git { digest, size, executable, .. } => {
                (Some(*digest), size.get().copied(), Versioning::Git, *executable)
            }
            Node::Dvc { digest, layout, size, keeper, executable } => {
                let known = size.get().copied().or_else(|| {
                    let found = keeper.stores.len(digest, *layout)?;
                    Some(*size.get_or_init(|| found))
                });
                (Some(*digest), known, Versioning::Dvc, *executable)
            }
            Node::EmptyDir => (None, None, Versioning::Dvc, false),
        };
        Entry { path, kind: EntryKind::File, size, digest, versioning, executable }
    }

    fn dir_entry(&self, path: RepoPath) -> Entry {
        let tracked = self.output_of(&path);
        let digest = tracked.filter(|t| t.output.path == path).map(|t| t.output.digest);
        let versioning = if tracked.is_some() { Versioning::Dvc } else { Versioning::Git };
        Entry { path, kind: EntryKind::Dir, size: None, digest, versioning, executable: false }
    }

    /// A path below a folder whose content is not known may well exist.
    fn not_found(&self, path: &RepoPath) -> Error {
        let mut known = self.broken.iter().chain(&self.absent);
        let why = known.find(|(at, _)| !at.is_root() && path.strip_prefix(at).is_some());
        match why.or_else(|| self.broken.get_key_value(&RepoPath::root())) {
            Some((_, error)) => error.clone(),
            None => Error::not_found(format!("{path} is not in commit {}", short(&self.commit))),
        }
    }
}

pub fn short(commit: &str) -> &str {
    commit.get(..10).unwrap_or(commit)
}
