//! One upload as one commit: who keeps each file, the changed manifests, `.dvc` and `.gitignore`
//! files, the commit on the branch, and the working tree when that branch is checked out.
//!
//! Uploads of one repository run one after another, also across processes (lock file). DVC objects are
//! on disk before the commit that names them. The commit is made only when the branch still points at
//! the commit that was read. A working tree with local changes to the same files is left alone: the
//! upload is refused before the branch or the tree changes; objects that it brought may stay in the store.

mod far;
mod removal;
mod work_tree;

use super::snapshot::{Node, Snapshot, Tracked, short};
use super::{Repository, git_error};
use crate::contain::Root;
use crate::dvc::{DvcFile, Manifest, dvc_file, ignore};
use crate::flight::lock;
use crate::hash;
use crate::store::{Layout, StagedBlob};
use dds_core::{Cx, Digest, Error, Kind, RepoPath, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;

/// Files of this size and larger go to DVC unless the user says otherwise.
pub const AUTO_DVC_BYTES: u64 = 1 << 20;
/// The longest summary that DagsHub takes, in characters.
pub const MAX_SUMMARY_CHARS: usize = 100;
const PROBE_BYTES: u64 = 8192;
/// Larger ones are DVC's business.
const MAX_GIT_BYTES: u64 = 100 << 20;
/// What DagsHub and people keep in DVC whatever the size.
const DATA_SUFFIXES: [&str; 22] = [
    "jpg",
    "jpeg",
    "png",
    "webp",
    "gif",
    "bmp",
    "tif",
    "tiff",
    "mp3",
    "wav",
    "mp4",
    "zip",
    "gz",
    "npy",
    "npz",
    "pt",
    "pth",
    "onnx",
    "safetensors",
    "parquet",
    "h5",
    "bin",
];
/// Declares what the stages of `dvc.yaml` made; DVC writes it, nobody else.
const PIPELINE_LOCK: &str = "dvc.lock";
const FALLBACK_AUTHOR: (&str, &str) = ("dds", "dds@localhost");

/// Who keeps the bytes, as the uploader asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    #[default]
    Auto,
    Git,
    Dvc,
}

impl Choice {
    /// What `--versioning` says. Errors: `Usage`.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "" | "auto" => Ok(Self::Auto),
            "git" => Ok(Self::Git),
            "dvc" => Ok(Self::Dvc),
            other => Err(Error::usage(format!("--versioning {other:?} is not one of auto, git, dvc"))),
        }
    }
}

/// A file that came in; its bytes lie in the store's temporary folder.
pub struct NewFile {
    pub path: RepoPath,
    pub bytes: StagedBlob,
}

#[derive(Default)]
pub struct Upload {
    /// Folders that may become DVC folders, when they are new; or else new folders in them.
    pub dvc_dirs: Vec<RepoPath>,
    pub files: Vec<NewFile>,
    /// Files that go.
    pub removed: Vec<RepoPath>,
    /// Whether Git should keep a file as a program; without a word it stays what it was.
    pub modes: BTreeMap<RepoPath, bool>,
    pub choice: Choice,
    pub summary: String,
    pub branch: String,
    /// Commit on a new branch of this name that starts at `branch`.
    pub new_branch: Option<String>,
    /// Refuse when `branch` is not at this commit. A new branch may start at any commit of `branch`.
    pub last_commit: Option<String>,
    /// The repository is a copy of one on another machine: the commit is made, but no branch is moved,
    /// and data of DVC has to reach a remote elsewhere.
    pub to_be_pushed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uploaded {
    /// The branch holds these very files already.
    Unchanged {
        commit: String,
    },
    Committed {
        commit: String,
    },
}

/// Performs one upload. Errors: `Conflict` when the branch moved or the working tree has changes of
/// its own, `Usage` for requests that contradict the repository, `NotFound` for a missing branch.
pub fn upload(repository: &Repository, up: Upload) -> Result<Uploaded> {
    if up.summary.chars().count() > MAX_SUMMARY_CHARS {
        return Err(Error::usage(format!(
            "the commit message is longer than {MAX_SUMMARY_CHARS} characters"
        )));
    }
    let _guard = exclusive(repository)?;
    let base = base_commit(repository, &up)?;
    let snapshot = match base {
        Some(base) => Some(repository.snapshot(base)?),
        None => None,
    };
    let stores = repository.stores();
    let mut plan = Plan {
        repository,
        snapshot: snapshot.as_deref(),
        going: up.removed.iter().cloned().collect(),
        git: BTreeMap::new(),
        work: Vec::new(),
        gone: Vec::new(),
        git_only: up.to_be_pushed && !stores.has_default(),
    };
    plan.fill(&up)?;
    let Plan { git: changes, work, gone, .. } = plan;
    let mut kept = BTreeMap::new();
    for file in up.files {
        if changes.contains_key(&file.path) {
            continue; // Git has it.
        }
        let (digest, _) = file.bytes.finish(None)?;
        kept.insert(file.path, digest);
    }
    if up.to_be_pushed && stores.default_far().is_none() && !(kept.is_empty() && work.is_empty()) {
        let path = kept.keys().chain(work.iter().map(|w| &w.path)).next();
        return Err(far::no_remote(path, &stores));
    }
    let manifests = work.iter().filter_map(|w| w.manifest);
    let fresh: BTreeSet<Digest> = kept.values().copied().chain(manifests).collect();
    if let Some(remote) = stores.default_remote() {
        for digest in &fresh {
            remote.link_from(stores.cache(), digest)?;
        }
    }
    if let Some(remote) = stores.default_far() {
        far::push(remote?, stores.cache(), &fresh)?;
    }
    let planned = Planned { changes, modes: up.modes, work, gone };
    let branch = if up.to_be_pushed { None } else { Some(up.new_branch.as_deref().unwrap_or(&up.branch)) };
    commit(repository, base, branch, &up.summary, &planned)
}

/// What one commit does to the tree and, where its branch is checked out, to the working tree.
struct Planned {
    changes: BTreeMap<RepoPath, Change>,
    modes: BTreeMap<RepoPath, bool>,
    work: Vec<WorkFile>,
    gone: Vec<GoneFile>,
}

/// Holds other uploads of this repository off, in this process and in others.
fn exclusive(repository: &Repository) -> Result<File> {
    let path = repository.git_dir().join("dds-upload.lock");
    let file = File::options().create(true).append(true).open(&path).map_err(|e| Error::io(&path, &e))?;
    file.lock().map_err(|e| Error::io(&path, &e))?;
    Ok(file)
}

fn base_commit(repository: &Repository, up: &Upload) -> Result<Option<git2::Oid>> {
    for name in std::iter::once(&up.branch).chain(&up.new_branch) {
        if !git2::Branch::name_is_valid(name).unwrap_or(false) || name.starts_with('-') {
            return Err(Error::usage(format!("{name:?} is not a branch name")));
        }
    }
    let branches = repository.branches();
    if let Some(new) = up.new_branch.as_ref().filter(|n| branches.iter().any(|(b, _)| b == *n)) {
        return Err(Error::new(Kind::Conflict, format!("the branch {new:?} exists already")));
    }
    let tip = branches.iter().find(|(b, _)| *b == up.branch).map(|(_, oid)| *oid);
    let Some(tip) = tip else {
        if branches.is_empty() && up.branch == repository.default_branch() {
            return Ok(None);
        }
        return Err(Error::not_found(format!("there is no branch {:?}", up.branch)));
    };
    if let Some(last) = up.last_commit.as_deref().filter(|last| *last != tip.to_string()) {
        if up.new_branch.is_some()
            && let Ok(last) = git2::Oid::from_str(last)
            && lock(&repository.git).graph_descendant_of(tip, last).unwrap_or(false)
        {
            return Ok(Some(last));
        }
        return Err(Error::new(
            Kind::Conflict,
            format!("the branch {} is at {}, not at {}", up.branch, short(&tip.to_string()), short(last)),
        )
        .hint("somebody committed in the meantime: look at the new files, then upload again"));
    }
    Ok(Some(tip))
}

/// A change of one file in Git's tree.
enum Change {
    Text(Vec<u8>),
    /// A file that came in, by its object id.
    Blob(git2::Oid),
    Remove,
}

/// Data that belongs into the working tree beside the Git files.
struct WorkFile {
    path: RepoPath,
    new: Digest,
    old: Option<(Digest, Layout)>,
    /// The folder output it lies in: written only when that folder was checked out.
    inside: Option<RepoPath>,
    /// The manifest that was stored with it.
    manifest: Option<Digest>,
}

/// Data of DVC that leaves the working tree.
struct GoneFile {
    path: RepoPath,
    old: (Digest, Layout),
}

struct Plan<'a> {
    repository: &'a Repository,
    snapshot: Option<&'a Snapshot>,
    /// What is to be removed, as it was asked.
    going: BTreeSet<RepoPath>,
    git: BTreeMap<RepoPath, Change>,
    work: Vec<WorkFile>,
    gone: Vec<GoneFile>,
    /// DVC has nowhere to keep data.
    git_only: bool,
}

impl Plan<'_> {
    fn fill(&mut self, up: &Upload) -> Result<()> {
        let mut folders: BTreeMap<RepoPath, Vec<(&NewFile, Digest, u64)>> = BTreeMap::new();
        let mut singles = Vec::new();
        let mut loose = Vec::new();
        let mut seen = BTreeSet::new();
        for file in &up.files {
            if !seen.insert(file.path.clone()) {
                return Err(Error::usage(format!("{} comes twice in one upload", file.path)));
            }
            self.check_place(&file.path)?;
            let (digest, size) = file.bytes.digest();
            let tracked = self.snapshot.and_then(|s| s.output_of(&file.path)).cloned();
            if let Some(t) = &tracked {
                check_ours(&file.path, t)?;
            }
            match tracked {
                Some(t) if up.choice == Choice::Git => {
                    return Err(Error::usage(format!(
                        "{} is kept by DVC ({}); it cannot go to Git",
                        file.path, t.declared_in
                    ))
                    .hint("upload it with --versioning auto"));
                }
                Some(t) if t.output.is_dir() => {
                    folders.entry(t.output.path).or_default().push((file, digest, size))
                }
                Some(t) => singles.push((file, digest, size, Some(t))),
                None if self.wants_git(file, size, up.choice)? => self.add_git(file, size)?,
                None if self.snapshot.is_some_and(|s| !s.dvc_root(&file.path).is_root()) => {
                    return Err(Error::usage(format!(
                        "{} would belong to a DVC repository inside this one",
                        file.path
                    ))
                    .hint("upload it with --versioning git, or add it there with `dvc add`"));
                }
                None => loose.push((file, digest, size)),
            }
        }
        for (file, digest, size) in loose {
            match self.new_dvc_dir(&file.path, &up.dvc_dirs) {
                Some(dir) => folders.entry(dir).or_default().push((file, digest, size)),
                None => singles.push((file, digest, size, None)),
            }
        }
        let mut leaving = self.remove_all(&up.removed)?;
        for (out, files) in folders {
            self.change_folder(&out, &files, &leaving.remove(&out).unwrap_or_default())?;
        }
        for (out, removed) in leaving {
            self.change_folder(&out, &[], &removed)?;
        }
        for (file, digest, size, tracked) in singles {
            self.add_single(file, digest, size, tracked)?;
        }
        Ok(())
    }

    /// A file may not take the place of a folder, nor lie below a file.
    fn check_place(&self, path: &RepoPath) -> Result<()> {
        if path.is_root() || path.components().next() == Some(".dvc") {
            return Err(Error::usage(format!(
                "{path:?} cannot be uploaded: DVC's own settings are not data"
            )));
        }
        let Some(snapshot) = self.snapshot else { return Ok(()) };
        if snapshot.is_dir(path) && !self.goes_whole(path) {
            return Err(Error::usage(format!("{path} is a folder")));
        }
        let mut above = path.parent();
        while let Some(dir) = above {
            if snapshot.get(&dir).is_some() && !self.going.contains(&dir) {
                return Err(Error::usage(format!("{dir} is a file, so {path} cannot lie below it")));
            }
            above = dir.parent();
        }
        Ok(())
    }

    fn wants_git(&self, file: &NewFile, size: u64, choice: Choice) -> Result<bool> {
        let in_git = self.snapshot.and_then(|s| s.get(&file.path)).is_some();
        let settings = dvc_file::declares_outputs(&file.path)
            || [".gitignore", ".gitattributes", ".dvcignore"].contains(&file.path.name());
        match choice {
            Choice::Dvc if in_git || settings => Err(Error::usage(format!("{} is kept by Git", file.path))
                .hint("upload it with --versioning git, or under another name")),
            Choice::Dvc => Ok(false),
            Choice::Git => Ok(true),
            Choice::Auto if in_git || settings || self.git_only => Ok(true),
            Choice::Auto => {
                let suffix = file.path.name().rsplit_once('.').map(|(_, s)| s.to_ascii_lowercase());
                let data = suffix.is_some_and(|s| DATA_SUFFIXES.contains(&s.as_str()));
                Ok(!data && size < AUTO_DVC_BYTES && is_text(file)?)
            }
        }
    }

    fn add_git(&mut self, file: &NewFile, size: u64) -> Result<()> {
        if size > MAX_GIT_BYTES {
            return Err(Error::new(
                Kind::Limit,
                format!("{}: {size} bytes are too many for Git (at most {MAX_GIT_BYTES})", file.path),
            )
            .hint(match self.git_only {
                true => "name a DVC remote in the repository (`dvc remote add -d NAME URL`), push that, and upload again",
                false => "upload it with --versioning dvc",
            }));
        }
        let at = file.bytes.path();
        if dvc_file::declares_outputs(&file.path) {
            let bytes = std::fs::read(at).map_err(|e| Error::io(at, &e))?;
            DvcFile::parse(&file.path, &bytes)?;
        }
        let oid = lock(&self.repository.git)
            .blob_path(at)
            .map_err(|e| git_error(format!("cannot store {} in Git", file.path), &e))?;
        self.git.insert(file.path.clone(), Change::Blob(oid));
        Ok(())
    }

    /// The outermost folder around a new file that can become a DVC folder: a new one, in which Git
    /// keeps nothing.
    fn new_dvc_dir(&self, file: &RepoPath, wanted: &[RepoPath]) -> Option<RepoPath> {
        let free = |dir: &RepoPath| {
            self.snapshot.is_none_or(|s| !s.is_dir(dir) && s.get(dir).is_none())
                && self.git.keys().all(|p| p.strip_prefix(dir).is_none())
        };
        let around = wanted.iter().filter(|dir| !dir.is_root() && file.strip_prefix(dir).is_some());
        let outermost = around.min_by_key(|dir| dir.as_str().len())?;
        let mut best = None;
        let mut at = file.parent();
        while let Some(dir) = at.filter(|dir| dir.strip_prefix(outermost).is_some()) {
            if !free(&dir) {
                break;
            }
            at = dir.parent();
            best = Some(dir);
        }
        best
    }

    fn change_folder(
        &mut self,
        out: &RepoPath,
        files: &[(&NewFile, Digest, u64)],
        removed: &[RepoPath],
    ) -> Result<()> {
        let stores = self.repository.stores();
        let tracked = self.snapshot.and_then(|s| s.output_of(out)).cloned();
        let mut manifest = Manifest::default();
        if let Some(t) = &tracked {
            if let Some(e) = self.snapshot.and_then(|s| s.why_unknown(out)) {
                return Err(e.clone());
            }
            let o = &t.output;
            let bytes = t.keeper.read(out, &o.digest, o.layout)?;
            manifest = Manifest::parse(out.as_str(), &bytes)?;
            if o.layout == Layout::V2 {
                return Err(Error::usage(format!("{out} is in the old format of DVC 2"))
                    .hint("run `dvc cache migrate --dvc-files` in the repository and commit"));
            }
        }
        let old = manifest.clone();
        let known: u64 = files.iter().map(|(_, _, size)| size).sum();
        for (file, digest, _) in files {
            let below = file
                .path
                .strip_prefix(out)
                .ok_or_else(|| Error::usage(format!("{} is not inside {out}", file.path)))?;
            manifest.files.insert(below, *digest);
        }
        for path in removed {
            let below = path.strip_prefix(out).unwrap_or_default();
            if let Some(digest) = manifest.files.remove(&below) {
                self.gone.push(GoneFile { path: path.clone(), old: (digest, Layout::V3) });
            }
        }
        if let (true, Some(t)) = (manifest.files.is_empty(), &tracked) {
            return self.drop_output(t);
        }
        let (bytes, digest) = manifest.encode();
        if tracked.as_ref().is_some_and(|t| t.output.digest == digest) {
            return Ok(());
        }
        stores.cache().put(&digest, &bytes)?;
        let fresh: BTreeMap<&Digest, u64> = files.iter().map(|(_, d, size)| (d, *size)).collect();
        let size = match &tracked {
            None => Some(known),
            // Known only when every other object is here; DVC does without it.
            Some(_) => manifest
                .files
                .values()
                .map(|d| fresh.get(d).copied().or_else(|| stores.len(d, Layout::V3)))
                .sum::<Option<u64>>(),
        };
        let nfiles = Some(manifest.files.len() as u64);
        match &tracked {
            Some(t) => {
                let text = self.git_text(&t.declared_in)?.unwrap_or_default();
                let new = dvc_file::rewrite(&t.declared_in, &text, out, &digest, size, nfiles)?;
                self.git.insert(t.declared_in.clone(), Change::Text(new.into_bytes()));
            }
            None => self.declare(out, &digest, known, nfiles)?,
        }
        for (file, new, _) in files {
            let below = file.path.strip_prefix(out).unwrap_or_default();
            self.work.push(WorkFile {
                path: file.path.clone(),
                new: *new,
                old: old.files.get(&below).map(|d| (*d, Layout::V3)),
                inside: Some(out.clone()),
                manifest: Some(digest),
            });
        }
        Ok(())
    }

    fn add_single(
        &mut self,
        file: &NewFile,
        digest: Digest,
        size: u64,
        tracked: Option<Tracked>,
    ) -> Result<()> {
        if tracked.as_ref().is_some_and(|t| t.output.digest == digest) {
            return Ok(());
        }
        let old = tracked.as_ref().map(|t| (t.output.digest, t.output.layout));
        match &tracked {
            Some(t) => {
                let text = self.git_text(&t.declared_in)?.unwrap_or_default();
                let new = dvc_file::rewrite(&t.declared_in, &text, &file.path, &digest, Some(size), None)?;
                self.git.insert(t.declared_in.clone(), Change::Text(new.into_bytes()));
            }
            None => self.declare(&file.path, &digest, size, None)?,
        }
        self.work.push(WorkFile { path: file.path.clone(), new: digest, old, inside: None, manifest: None });
        Ok(())
    }

    /// A new `.dvc` file and the line in `.gitignore` beside it.
    fn declare(&mut self, out: &RepoPath, digest: &Digest, size: u64, nfiles: Option<u64>) -> Result<()> {
        let dir = out.parent().unwrap_or_default();
        let file = dir.child(&format!("{}.dvc", out.name()))?;
        if self.snapshot.is_some_and(|s| s.get(&file).is_some() || s.is_dir(&file))
            || self.git.contains_key(&file)
        {
            return Err(Error::usage(format!("{file} exists already and does not declare {out}")));
        }
        let text = dvc_file::encode(out.name(), digest, size, nfiles);
        self.git.insert(file, Change::Text(text.into_bytes()));
        let ignore_file = dir.child(".gitignore")?;
        let text = self.git_text(&ignore_file)?.unwrap_or_default();
        if let Some(new) = ignore::with_line(&String::from_utf8_lossy(&text), out.name()) {
            self.git.insert(ignore_file, Change::Text(new.into_bytes()));
        }
        Ok(())
    }

    /// The text of a Git file with the changes planned so far.
    fn git_text(&self, path: &RepoPath) -> Result<Option<Vec<u8>>> {
        match (self.git.get(path), self.snapshot.and_then(|s| s.get(path))) {
            (Some(Change::Remove), _) => Ok(None),
            (Some(Change::Text(text)), _) => Ok(Some(text.clone())),
            (Some(Change::Blob(oid)), _) => self.repository.git_blob(*oid).map(Some),
            (None, Some(Node::Git { oid, .. })) => {
                self.repository.bring(&[*oid], &Cx::silent("/"))?;
                self.repository.git_blob(*oid).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// Errors (`Usage`) for outputs that only DVC itself may change.
fn check_ours(path: &RepoPath, t: &Tracked) -> Result<()> {
    if t.declared_in.name() == PIPELINE_LOCK {
        return Err(Error::usage(format!(
            "{path} is made by a DVC pipeline (dvc.yaml); change the pipeline instead"
        ))
        .hint("upload the pipeline's input and run `dvc repro`, or upload under another name"));
    }
    if !t.keeper.root.is_root() {
        return Err(Error::usage(format!(
            "{path} belongs to the DVC repository in {}, inside this one",
            t.keeper.root
        ))
        .hint("add it there with `dvc add`, and commit"));
    }
    if t.output.import.is_some() {
        return Err(Error::usage(format!("{path} is imported ({})", t.declared_in))
            .hint(format!("run `dvc update {}` in the repository", t.declared_in)));
    }
    if t.output.files.is_some() || !t.output.versions.is_empty() {
        return Err(Error::usage(format!(
            "{path} is kept by a remote with versions of its own ({})",
            t.declared_in
        ))
        .hint("change it with `dvc add` and `dvc push` in the repository"));
    }
    Ok(())
}

fn is_text(file: &NewFile) -> Result<bool> {
    let at = file.bytes.path();
    let mut head = Vec::new();
    let read = File::open(at).and_then(|f| f.take(PROBE_BYTES).read_to_end(&mut head));
    read.map_err(|e| Error::io(at, &e))?;
    // A character may be cut at the end of the probe.
    let text = match std::str::from_utf8(&head) {
        Ok(_) => true,
        Err(e) => e.error_len().is_none(),
    };
    Ok(text && !head.contains(&0))
}

fn commit(
    repository: &Repository,
    base: Option<git2::Oid>,
    branch: Option<&str>,
    summary: &str,
    planned: &Planned,
) -> Result<Uploaded> {
    let Planned { changes, modes, work, gone } = planned;
    let git = lock(&repository.git);
    let wrap = |e: git2::Error| git_error("cannot commit the upload", &e);
    let parent = base.map(|b| git.find_commit(b)).transpose().map_err(wrap)?;
    let old_tree = match &parent {
        Some(parent) => parent.tree().map_err(wrap)?,
        None => git.find_tree(git.treebuilder(None).and_then(|b| b.write()).map_err(wrap)?).map_err(wrap)?,
    };
    let mut update = git2::build::TreeUpdateBuilder::new();
    let mut files = Vec::new();
    let mut removed = Vec::new();
    for (path, change) in changes {
        let old = old_tree.get_path(std::path::Path::new(path.as_str())).ok();
        let oid = match change {
            Change::Text(text) => git.blob(text).map_err(wrap)?,
            Change::Blob(oid) => *oid,
            Change::Remove => {
                if let Some(old) = old {
                    update.remove(path.as_str());
                    removed.push((path, old.id()));
                }
                continue;
            }
        };
        let was = old.as_ref().is_some_and(|e| e.filemode() == 0o100_755);
        let executable = modes.get(path).copied().unwrap_or(was);
        let mode = if executable { git2::FileMode::BlobExecutable } else { git2::FileMode::Blob };
        update.upsert(path.as_str(), oid, mode);
        files.push((path, oid, old.map(|e| e.id()), executable));
    }
    let new_tree = update.create_updated(&git, &old_tree).map_err(wrap)?;
    if let (true, Some(base)) = (new_tree == old_tree.id(), base) {
        return Ok(Uploaded::Unchanged { commit: base.to_string() });
    }
    let target = branch.map(|branch| format!("refs/heads/{branch}"));
    let head = git.find_reference("HEAD").ok();
    let head = head.as_ref().and_then(|h| h.symbolic_target().ok().flatten());
    let checked_out = target.is_some() && head == target.as_deref();
    let root = match git.workdir().filter(|_| checked_out) {
        Some(work_dir) => Some(Root::open(work_dir)?),
        None => None,
    };
    let stores = repository.stores();
    if let Some(root) = &root {
        for (path, new, old, _) in &files {
            let mut unchanged = vec![hash::git_digest(*new)?];
            if let Some(old) = old {
                unchanged.push(hash::git_digest(*old)?);
            }
            work_tree::check_untouched(root, path, &unchanged, old.is_some())?;
        }
        for file in work {
            let known: Vec<Digest> = std::iter::once(file.new).chain(file.old.map(|(d, _)| d)).collect();
            work_tree::check_untouched(root, &file.path, &known, false)?;
        }
        for (path, old) in &removed {
            work_tree::check_untouched(root, path, &[hash::git_digest(*old)?], false)?;
        }
        for file in gone {
            work_tree::check_untouched(root, &file.path, &[file.old.0], false)?;
        }
    }
    let tree = git.find_tree(new_tree).map_err(wrap)?;
    let author = author(&git).map_err(wrap)?;
    let parents: Vec<&git2::Commit<'_>> = parent.iter().collect();
    let oid = git.commit(target.as_deref(), &author, &author, summary, &tree, &parents).map_err(|e| {
        if e.code() == git2::ErrorCode::Modified || e.message().contains("first parent") {
            let branch = branch.unwrap_or_default();
            Error::new(Kind::Conflict, format!("the branch {branch} moved while the upload was prepared"))
                .hint("upload again")
        } else {
            wrap(e)
        }
    })?;
    if let Some(root) = &root {
        // The commit stands; what cannot be written here shows in `git status` and `dvc status`.
        let paths: Vec<&RepoPath> = removed.iter().map(|(path, _)| *path).collect();
        let updated = work_tree::remove(&git, root, &paths, gone)
            .and_then(|()| work_tree::update(&git, root, &files, work, &stores));
        if let Err(e) = updated {
            tracing::warn!("the working tree was not brought to {oid}: {e}");
        }
    }
    Ok(Uploaded::Committed { commit: oid.to_string() })
}

/// `user.name` and `user.email` of Git's configuration, else a neutral author.
pub fn author(git: &git2::Repository) -> std::result::Result<git2::Signature<'static>, git2::Error> {
    git.signature().or_else(|_| git2::Signature::now(FALLBACK_AUTHOR.0, FALLBACK_AUTHOR.1))
}
