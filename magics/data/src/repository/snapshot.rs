//! The tree of one commit with its DVC outputs resolved: every file that a user sees, with who keeps
//! its bytes.
//!
//! Links and submodules of the Git tree are left out. What cannot be resolved (a broken `.dvc` file, a
//! missing manifest) makes the listings that would depend on it fail, and no others.

use super::git_error;
use super::stores::Stores;
use crate::dvc::{DvcFile, Manifest, Output, dvc_file, manifest};
use crate::hash;
use crate::store::Layout;
use dds_core::{Digest, Entry, EntryKind, Error, Kind, RepoPath, Result, Versioning};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, OnceLock};

/// Most files of one snapshot; about 2 GB of memory.
pub const MAX_FILES: usize = 10_000_000;

/// One file, or a folder that has none.
#[derive(Clone, Debug)]
pub enum Node {
    Git { oid: git2::Oid, digest: Digest, size: u64 },
    Dvc { digest: Digest, layout: Layout, size: OnceLock<u64>, remote: Option<Arc<str>> },
    EmptyDir,
}

/// A DVC output and the file that declares it.
#[derive(Clone, Debug)]
pub struct Tracked {
    pub declared_in: RepoPath,
    pub output: Output,
}

#[derive(Debug)]
pub struct Snapshot {
    pub commit: String,
    nodes: BTreeMap<String, Node>,
    outputs: BTreeMap<RepoPath, Tracked>,
    /// Folders whose content is not known, and why.
    broken: BTreeMap<RepoPath, Error>,
    whole: bool,
    stores: Arc<Stores>,
}

impl Snapshot {
    pub fn build(git: &git2::Repository, commit: git2::Oid, stores: &Arc<Stores>) -> Result<Self> {
        let wrap = |e: git2::Error| git_error(format!("cannot read commit {commit}"), &e);
        let tree = git.find_commit(commit).and_then(|c| c.tree()).map_err(wrap)?;
        let mut snapshot = Self {
            commit: commit.to_string(),
            nodes: BTreeMap::new(),
            outputs: BTreeMap::new(),
            broken: BTreeMap::new(),
            whole: true,
            stores: stores.clone(),
        };
        let odb = git.odb().map_err(wrap)?;
        let mut declaring = Vec::new();
        let mut pending = vec![(RepoPath::root(), tree)];
        while let Some((dir, tree)) = pending.pop() {
            for entry in &tree {
                let name = std::str::from_utf8(entry.name_bytes()).ok();
                let Some(path) = name.and_then(|n| dir.child(n).ok()) else {
                    tracing::warn!(%dir, "left out a name that is not a safe path");
                    continue;
                };
                match (entry.filemode(), entry.kind()) {
                    (_, Some(git2::ObjectType::Tree)) => {
                        let below = git.find_tree(entry.id()).map_err(wrap)?;
                        pending.push((path, below));
                    }
                    (0o100_644 | 0o100_755 | 0o100_664, Some(git2::ObjectType::Blob)) => {
                        let (size, _) = odb.read_header(entry.id()).map_err(wrap)?;
                        if dvc_file::declares_outputs(&path) {
                            declaring.push((path.clone(), entry.id()));
                        }
                        snapshot.nodes.insert(
                            path.as_str().to_owned(),
                            Node::Git {
                                oid: entry.id(),
                                digest: hash::git_digest(entry.id())?,
                                size: size as u64,
                            },
                        );
                        snapshot.check_size()?;
                    }
                    _ => {}
                }
            }
        }
        for (file, oid) in declaring {
            let parsed =
                git.find_blob(oid).map_err(wrap).and_then(|blob| DvcFile::parse(&file, blob.content()));
            match parsed {
                Ok(parsed) => {
                    for output in parsed.outs {
                        snapshot.add_output(&file, output)?;
                    }
                }
                Err(e) => {
                    snapshot.broken.insert(file.parent().unwrap_or_default(), e);
                }
            }
        }
        Ok(snapshot)
    }

    fn add_output(&mut self, file: &RepoPath, output: Output) -> Result<()> {
        let path = output.path.clone();
        let remote: Option<Arc<str>> = output.remote.as_deref().map(Arc::from);
        if !output.is_dir() {
            let size = output.size.map_or_else(OnceLock::new, OnceLock::from);
            self.add_dvc(&path, Node::Dvc { digest: output.digest, layout: output.layout, size, remote })?;
        } else {
            let manifest = self
                .stores
                .read(&path, &output.digest, output.layout, output.remote.as_deref())
                .and_then(|bytes| {
                    if bytes.len() as u64 > manifest::MAX_MANIFEST_BYTES {
                        return Err(Error::new(Kind::Limit, format!("the manifest of {path} is too large")));
                    }
                    Manifest::parse(path.as_str(), &bytes)
                });
            match manifest {
                Ok(manifest) if manifest.files.is_empty() => {
                    self.nodes.entry(path.as_str().to_owned()).or_insert(Node::EmptyDir);
                }
                Ok(manifest) => {
                    for (below, digest) in manifest.files {
                        let layout = output.layout;
                        let node =
                            Node::Dvc { digest, layout, size: OnceLock::new(), remote: remote.clone() };
                        self.add_dvc(&path.join(&below), node)?;
                    }
                }
                Err(e) => {
                    self.whole &= e.kind != Kind::NotFound;
                    self.broken.insert(path.clone(), e.context(file));
                }
            }
        }
        self.outputs.insert(path, Tracked { declared_in: file.clone(), output });
        Ok(())
    }

    /// Git's own files win over a DVC output of the same path: the repository contradicts itself.
    fn add_dvc(&mut self, path: &RepoPath, node: Node) -> Result<()> {
        let mut above = path.parent();
        while let Some(dir) = above {
            if matches!(self.nodes.get(dir.as_str()), Some(Node::Git { .. } | Node::Dvc { .. })) {
                return Ok(());
            }
            above = dir.parent();
        }
        if !self.is_dir(path) {
            self.nodes.entry(path.as_str().to_owned()).or_insert(node);
        }
        self.check_size()
    }

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
            || self.broken.keys().any(|at| at == path || at.strip_prefix(path).is_some())
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
        outputs.filter(|o| o.is_dir() && o.layout == Layout::V3).map(|o| (o.path.clone(), o.digest)).collect()
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
        for at in self.broken.keys() {
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
        let (digest, size, versioning) = match node {
            Node::Git { digest, size, .. } => (Some(*digest), Some(*size), Versioning::Git),
            Node::Dvc { digest, layout, size, .. } => {
                let known = size.get().copied().or_else(|| {
                    let found = self.stores.len(digest, *layout)?;
                    Some(*size.get_or_init(|| found))
                });
                (Some(*digest), known, Versioning::Dvc)
            }
            Node::EmptyDir => (None, None, Versioning::Dvc),
        };
        Entry { path, kind: EntryKind::File, size, digest, versioning }
    }

    fn dir_entry(&self, path: RepoPath) -> Entry {
        let tracked = self.output_of(&path);
        let digest = tracked.filter(|t| t.output.path == path).map(|t| t.output.digest);
        let versioning = if tracked.is_some() { Versioning::Dvc } else { Versioning::Git };
        Entry { path, kind: EntryKind::Dir, size: None, digest, versioning }
    }

    /// A path below a folder whose content is not known may well exist.
    fn not_found(&self, path: &RepoPath) -> Error {
        let why = self.broken.iter().find(|(at, _)| !at.is_root() && path.strip_prefix(at).is_some());
        match why.or_else(|| self.broken.get_key_value(&RepoPath::root())) {
            Some((_, error)) => error.clone(),
            None => Error::not_found(format!("{path} is not in commit {}", short(&self.commit))),
        }
    }
}

pub fn short(commit: &str) -> &str {
    commit.get(..10).unwrap_or(commit)
}
