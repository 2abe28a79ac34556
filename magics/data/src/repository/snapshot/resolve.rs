//! From a commit to its [`Snapshot`]: the tree is walked, the files that declare DVC outputs are read,
//! and manifests that this machine lacks are brought from the remotes, many at a time.

use super::super::stores::{Keeper, Outside, Stores, Wanted};
use super::super::{git_error, load_config};
use super::{MAX_FILES, Node, Snapshot, Tracked};
use crate::dvc::{DvcFile, DvcIgnore, Manifest, Output, Pipeline, dvc_file, manifest};
use crate::hash;
use crate::runtime;
use dds_core::{Cx, Digest, Error, Kind, RepoPath, Result};
use futures_util::StreamExt;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, OnceLock};

/// Manifests fetched at the same time.
const WIDTH: usize = 16;
/// Of `.dvcignore` and `.dvc/config`.
const MAX_SETTINGS_BYTES: usize = 1 << 20;

/// Fetches Git objects that are not here.
pub trait Bring: Send + Sync {
    /// After it, all of `blobs` that exist are in the object database.
    fn bring(&self, blobs: &[git2::Oid], cx: &Cx) -> Result<()>;

    /// Looks for new commits where the repository comes from.
    fn renew(&self, cx: &Cx) -> Result<()>;
}

/// What a snapshot is made with.
pub struct Building<'a> {
    pub git: &'a git2::Repository,
    /// Of the repository itself; those of inner DVC repositories are made of the tree.
    pub stores: &'a Arc<Stores>,
    pub outside: Option<&'a Outside>,
    pub bring: Option<&'a dyn Bring>,
    pub cx: &'a Cx,
}

/// The files of a tree that DVC reads.
#[derive(Default)]
struct Declaring {
    /// `.dvc` files and `dvc.lock`, in the order of the tree.
    files: Vec<(RepoPath, git2::Oid)>,
    pipelines: HashMap<RepoPath, git2::Oid>,
    ignores: Vec<(RepoPath, git2::Oid)>,
    /// `.dvc/config` of DVC repositories inside the tree, by folder.
    configs: Vec<(RepoPath, git2::Oid)>,
}

impl Declaring {
    fn note(&mut self, path: &RepoPath, oid: git2::Oid) {
        let folder = path.parent().unwrap_or_default();
        match path.name() {
            "dvc.yaml" => {
                self.pipelines.insert(folder, oid);
            }
            ".dvcignore" => self.ignores.push((folder, oid)),
            "config" if folder.name() == ".dvc" => {
                self.configs.push((folder.parent().unwrap_or_default(), oid));
            }
            _ if dvc_file::declares_outputs(path) => self.files.push((path.clone(), oid)),
            _ => {}
        }
    }

    fn blobs(&self) -> Vec<git2::Oid> {
        let all = self.files.iter().chain(&self.ignores).chain(&self.configs).map(|(_, oid)| *oid);
        all.chain(self.pipelines.values().copied()).collect()
    }
}

impl Snapshot {
    /// The snapshot of a commit. Errors: `NotFound`, `Io` (Git), `Limit`, `Interrupted`; what DVC's own
    /// files have wrong is kept and told to those who list it.
    pub fn build(commit: git2::Oid, with: &Building<'_>) -> Result<Self> {
        let mut snapshot = Self {
            commit: commit.to_string(),
            nodes: BTreeMap::new(),
            outputs: BTreeMap::new(),
            broken: BTreeMap::new(),
            absent: BTreeMap::new(),
            whole: true,
            inner_roots: Vec::new(),
        };
        let declaring = snapshot.walk(commit, with)?;
        if let Some(bring) = with.bring {
            bring.bring(&declaring.blobs(), with.cx)?;
        }
        let outputs = snapshot.declared(&declaring, with);
        let failed = bring_manifests(&outputs, with.cx)?;
        for tracked in outputs {
            with.cx.cancel.check()?;
            snapshot.add_output(tracked, &failed)?;
        }
        Ok(snapshot)
    }

    /// Takes Git's own files in.
    fn walk(&mut self, commit: git2::Oid, with: &Building<'_>) -> Result<Declaring> {
        let git = with.git;
        let wrap = |e: git2::Error| git_error(format!("cannot read commit {commit}"), &e);
        let tree = git.find_commit(commit).and_then(|c| c.tree()).map_err(wrap)?;
        let odb = git.odb().map_err(wrap)?;
        let _ = odb.refresh();
        // A look for what is missing must not read the folder of packs again and again.
        let is_here = |oid| with.bring.is_none() || odb.exists_ext(oid, git2::OdbLookupFlags::NO_REFRESH);
        let mut declaring = Declaring::default();
        let mut pending = vec![(RepoPath::root(), tree)];
        while let Some((dir, tree)) = pending.pop() {
            with.cx.cancel.check()?;
            for entry in &tree {
                let name = std::str::from_utf8(entry.name_bytes()).ok();
                let Some(path) = name.and_then(|n| dir.child(n).ok()) else {
                    tracing::warn!(%dir, "left out a name that is not a safe path");
                    continue;
                };
                match (entry.filemode(), entry.kind()) {
                    (_, Some(git2::ObjectType::Tree)) => {
                        pending.push((path, git.find_tree(entry.id()).map_err(wrap)?));
                    }
                    (0o100_644 | 0o100_755 | 0o100_664, Some(git2::ObjectType::Blob)) => {
                        let size = match is_here(entry.id()).then(|| odb.read_header(entry.id())) {
                            Some(Ok((size, _))) => OnceLock::from(size as u64),
                            Some(Err(e)) => return Err(lacking(&path, &e)),
                            None => OnceLock::new(),
                        };
                        declaring.note(&path, entry.id());
                        let digest = hash::git_digest(entry.id())?;
                        let executable = entry.filemode() == 0o100_755;
                        let node = Node::Git { oid: entry.id(), digest, size, executable };
                        self.nodes.insert(path.as_str().to_owned(), node);
                        self.check_size()?;
                    }
                    _ => {}
                }
            }
        }
        Ok(declaring)
    }

    /// All outputs that the tree declares, with who keeps them. Broken files spoil their folder only.
    fn declared(&mut self, declaring: &Declaring, with: &Building<'_>) -> Vec<Tracked> {
        let git = with.git;
        let blob = |oid: git2::Oid| {
            git.find_blob(oid).map_err(|e| git_error(format!("cannot read Git object {oid}"), &e))
        };
        let settings = |oid: git2::Oid| {
            let blob = blob(oid).ok().filter(|b| b.content().len() <= MAX_SETTINGS_BYTES)?;
            Some(String::from_utf8_lossy(blob.content()).into_owned())
        };
        let mut stores: HashMap<RepoPath, Arc<Stores>> = HashMap::new();
        for (root, oid) in declaring.configs.iter().filter(|(root, _)| !root.is_root()) {
            let base = git.workdir().unwrap_or_else(|| git.path()).join(root.as_str());
            let text = settings(*oid).unwrap_or_default();
            let config = load_config(git.workdir(), root, Some(&text), &base.join(".dvc"), with.outside);
            let own = config.map(|config| Arc::new(Stores::new(&base, &config, with.outside)));
            stores.insert(root.clone(), own.unwrap_or_else(|_| with.stores.clone()));
            self.inner_roots.push(root.clone());
        }
        let mut ignores: HashMap<RepoPath, DvcIgnore> = HashMap::new();
        let mut files = declaring.ignores.clone();
        files.sort_by_key(|(folder, _)| folder.components().count());
        for (folder, oid) in files {
            if let Some(text) = settings(oid) {
                ignores.entry(self.dvc_root(&folder)).or_default().add(&folder, &text);
            }
        }
        let mut found = Vec::new();
        for (file, oid) in &declaring.files {
            let root = self.dvc_root(file);
            if ignores.get(&root).is_some_and(|i| i.ignores(file)) {
                continue;
            }
            let stores = stores.get(&root).unwrap_or(with.stores);
            let parsed = blob(*oid).and_then(|blob| {
                if file.name() != "dvc.lock" {
                    return DvcFile::parse(file, blob.content());
                }
                let pipeline = declaring.pipelines.get(&file.parent().unwrap_or_default());
                let pipeline = match pipeline {
                    Some(oid) => Some(git.find_blob(*oid).map_err(|e| lacking(file, &e))?),
                    None => None,
                };
                let pipeline = pipeline.as_ref().map(|p| p.content());
                let outs = Pipeline::parse(file, blob.content(), pipeline)?.outs;
                Ok(DvcFile { outs, ..DvcFile::default() })
            });
            match parsed {
                Ok(parsed) => {
                    for (path, import) in parsed.absent {
                        self.absent.insert(path.clone(), import.explain(&path, file));
                    }
                    found.extend(parsed.outs.into_iter().map(|o| tracked(file, o, stores, &root)));
                }
                Err(e) => {
                    self.broken.insert(file.parent().unwrap_or_default(), e);
                }
            }
        }
        found
    }

    fn add_output(&mut self, tracked: Tracked, failed: &HashMap<Digest, Error>) -> Result<()> {
        let (output, keeper) = (&tracked.output, &tracked.keeper);
        let path = output.path.clone();
        let node = |digest: Digest, size: Option<u64>, executable: bool| Node::Dvc {
            digest,
            layout: output.layout,
            size: size.map_or_else(OnceLock::new, OnceLock::from),
            keeper: keeper.clone(),
            executable,
        };
        if !output.is_dir() {
            self.add_dvc(&path, node(output.digest, output.size, output.executable), &mut None)?;
        } else if let Some(files) = &output.files {
            let mut checked = None;
            for file in files {
                let node = node(file.digest, file.size, file.executable);
                self.add_dvc(&path.join(&file.path), node, &mut checked)?;
            }
            if files.is_empty() {
                self.nodes.entry(path.as_str().to_owned()).or_insert(Node::EmptyDir);
            }
        } else if let Err(e) = self.add_folder(output, keeper, failed, &|digest| node(digest, None, false)) {
            if e.kind == Kind::Limit && self.nodes.len() > MAX_FILES {
                return Err(e);
            }
            match &keeper.import {
                Some(import) if e.kind == Kind::NotFound => {
                    self.absent.insert(path.clone(), import.clone());
                }
                _ => {
                    self.whole &= matches!(e.kind, Kind::Corrupt | Kind::Format | Kind::Limit);
                    self.broken.insert(path.clone(), e.context(&tracked.declared_in));
                }
            }
        }
        self.outputs.insert(path, tracked);
        Ok(())
    }

    /// The files of a folder that a manifest tells.
    fn add_folder(
        &mut self,
        output: &Output,
        keeper: &Keeper,
        failed: &HashMap<Digest, Error>,
        node: &dyn Fn(Digest) -> Node,
    ) -> Result<()> {
        let path = &output.path;
        let bytes = keeper
            .read(path, &output.digest, output.layout)
            .map_err(|e| failed.get(&output.digest).cloned().unwrap_or(e))?;
        if bytes.len() as u64 > manifest::MAX_MANIFEST_BYTES {
            return Err(Error::new(Kind::Limit, format!("the manifest of {path} is too large")));
        }
        // Told wrong at its end, a manifest has told nothing.
        let mut files: Vec<(RepoPath, Digest)> = Vec::new();
        let mut seen = HashSet::new();
        let mut sorted = true;
        Manifest::each(path.as_str(), &bytes, |n, below, digest| {
            sorted &= files.last().is_none_or(|(last, _)| *last < below);
            // The usual order needs no table to find what comes twice.
            if !sorted && seen.is_empty() {
                seen.extend(files.iter().map(|(path, _)| path.clone()));
            }
            if !sorted && !seen.insert(below.clone()) {
                return Err(Error::new(
                    Kind::Format,
                    format!("broken DVC folder manifest {path}: entry {n}: {below:?} comes twice"),
                ));
            }
            files.push((below, digest));
            Ok(())
        })?;
        if files.is_empty() {
            self.nodes.entry(path.as_str().to_owned()).or_insert(Node::EmptyDir);
        }
        let mut checked = None;
        for (below, digest) in files {
            self.add_dvc(&path.join(&below), node(digest), &mut checked)?;
        }
        Ok(())
    }

    /// Git's own files win over a DVC output of the same path: the repository contradicts itself.
    /// `checked` is the folder whose ancestors were found to be no files, of the last call.
    fn add_dvc(&mut self, path: &RepoPath, node: Node, checked: &mut Option<RepoPath>) -> Result<()> {
        let folder = path.parent().unwrap_or_default();
        if checked.as_ref() != Some(&folder) {
            let mut above = Some(folder.clone());
            while let Some(dir) = above {
                if matches!(self.nodes.get(dir.as_str()), Some(Node::Git { .. } | Node::Dvc { .. })) {
                    return Ok(());
                }
                above = dir.parent();
            }
            *checked = Some(folder);
        }
        if !self.is_dir(path) {
            self.nodes.entry(path.as_str().to_owned()).or_insert(node);
        }
        self.check_size()
    }
}

fn tracked(file: &RepoPath, output: Output, stores: &Arc<Stores>, root: &RepoPath) -> Tracked {
    let mut versions = BTreeMap::new();
    if !output.versions.is_empty() {
        versions.insert(output.path.clone(), output.versions.clone());
    }
    for listed in output.files.iter().flatten().filter(|f| !f.versions.is_empty()) {
        versions.insert(output.path.join(&listed.path), listed.versions.clone());
    }
    let keeper = Keeper {
        stores: stores.clone(),
        remote: output.remote.clone(),
        root: root.clone(),
        versions,
        import: output.import.as_ref().map(|i| i.explain(&output.path, file)),
    };
    Tracked { declared_in: file.clone(), output, keeper: Arc::new(keeper) }
}

/// Fetches the manifests that are not on this machine into our cache; gives back why some did not come.
fn bring_manifests(outputs: &[Tracked], cx: &Cx) -> Result<HashMap<Digest, Error>> {
    let mut wanted: Vec<(Arc<Keeper>, Wanted)> = Vec::new();
    for Tracked { output, keeper, .. } in outputs {
        let asks = output.is_dir() && output.files.is_none() && keeper.stores.reaches_far();
        if asks && keeper.stores.len(&output.digest, output.layout).is_none() {
            wanted.push((keeper.clone(), keeper.wanted(&output.path, &output.digest, output.layout)));
        }
    }
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let fetch = |(keeper, wanted): (Arc<Keeper>, Wanted)| async move {
        let done = bring_manifest(&keeper, &wanted).await;
        (wanted.digest, done)
    };
    let all = futures_util::stream::iter(wanted.into_iter().map(fetch)).buffer_unordered(WIDTH);
    let done: Vec<(Digest, Result<()>)> = runtime::wait(async move { Ok(all.collect().await) }, cx)?;
    Ok(done.into_iter().filter_map(|(digest, done)| Some((digest, done.err()?))).collect())
}

async fn bring_manifest(keeper: &Arc<Keeper>, wanted: &Wanted) -> Result<()> {
    let bytes = keeper.fetch(wanted, None, manifest::MAX_MANIFEST_BYTES).await?;
    let (stores, digest, path) = (keeper.stores.clone(), wanted.digest, wanted.path.clone());
    runtime::blocking(move || match stores.shared() {
        Some(cache) => cache.put(&digest, &bytes).map_err(|e| e.context(path)),
        None => Err(Error::internal("a remote without a cache")),
    })
    .await
}

/// A repository that does not have all of its own objects.
fn lacking(path: &RepoPath, e: &git2::Error) -> Error {
    let error = git_error(format!("{path}: Git's object is not here"), e);
    error.hint(
        "the repository was cloned in part: run `git fetch --refetch --no-filter` in it, or open its URL",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::Repository;
    use crate::testing::{git, write};

    #[test]
    fn a_large_manifest_is_read_in_one_pass() {
        let dir = tempfile::tempdir().unwrap();
        git(dir.path(), &["init", "-q", "-b", "main"]);
        let files = 100_000;
        let mut manifest = Manifest::default();
        for n in 0..files {
            let path = RepoPath::parse(&format!("d{:03}/f{n:06}.jpg", n % 500)).unwrap();
            manifest.files.insert(path, Digest::Md5(u128::to_be_bytes(n)));
        }
        let (bytes, digest) = manifest.encode();
        crate::store::BlobStore::new(dir.path().join(".dvc/cache")).put(&digest, &bytes).unwrap();
        let text = dvc_file::encode("set", &digest, 0, Some(files as u64));
        write(&dir.path().join("set.dvc"), text.as_bytes());
        git(dir.path(), &["add", "set.dvc"]);
        git(dir.path(), &["commit", "-qm", "x"]);
        let repository = Repository::open(dir.path()).unwrap();
        let commit = repository.resolve(None).unwrap().commit;
        let snapshot = repository.snapshot(commit).unwrap();
        let set = RepoPath::parse("set").unwrap();
        assert_eq!(snapshot.below(&set).count() as u128, files);
        assert_eq!(snapshot.list(&set, false).unwrap().len(), 500);
        let cx = Cx::silent("/");
        cx.cancel.cancel();
        let repository = Repository::open(dir.path()).unwrap();
        assert_eq!(repository.snapshot_with(commit, &cx).unwrap_err().kind, Kind::Interrupted);
    }
}
