//! Makes a Git+DVC repository out of a folder of files, in DVC's real format.
//!
//! Afterwards `git status` and `dvc status` are clean, and `dvc pull` of a clone finds every object in
//! the local remote. Links and other special files in the folder are refused by name.

use crate::contain::Root;
use crate::dvc::{Manifest, config, dvc_file, ignore};
use crate::repository::git_error;
use crate::store::BlobStore;
use dds_core::{Cancel, Cx, Digest, Error, Kind, RepoPath, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// The name of the remote in `.dvc/config`.
const REMOTE_NAME: &str = "storage";

/// How [`git_dvc_repo`] lays the repository out.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder inside the repository that will hold the files, as one DVC output; by default it has
    /// the name of the folder they come from.
    pub folder: Option<RepoPath>,
    /// The local remote; made when missing. By default `NAME-storage` beside the repository. Its
    /// absolute path goes into `.dvc/config`.
    pub remote: Option<PathBuf>,
    pub branch: String,
    pub message: String,
    /// Small text files that Git keeps, such as a README.
    pub git_files: Vec<(RepoPath, String)>,
    /// Whether the working tree gets the files too, or only the remote has them.
    pub checkout: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            folder: None,
            remote: None,
            branch: "main".into(),
            message: "Add data".into(),
            git_files: Vec::new(),
            checkout: true,
        }
    }
}

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    pub commit: String,
    pub files: u64,
    pub bytes: u64,
    /// The folder's manifest, `….dir`.
    pub manifest: Digest,
}

/// Makes a repository in `repo` (missing or empty) out of all files below `files`.
///
/// Errors: `Conflict` when `repo` is not empty, `Format` when `files` holds a link or an unsafe name,
/// `Interrupted`; a repository that was not finished is removed.
pub fn git_dvc_repo(files: &Path, repo: &Path, options: &Options, cx: &Cx) -> Result<Created> {
    let made = !repo.exists();
    fs::create_dir_all(repo).map_err(|e| Error::io(repo, &e))?;
    if fs::read_dir(repo).map_err(|e| Error::io(repo, &e))?.next().is_some() {
        return Err(Error::new(Kind::Conflict, format!("{} is not empty", repo.display()))
            .hint("name a folder that does not exist yet"));
    }
    let done = fill(files, repo, options, cx);
    if done.is_err() {
        // It was empty before, so all of it is ours.
        let _ = fs::remove_dir_all(repo);
        if !made {
            let _ = fs::create_dir_all(repo);
        }
    }
    done
}

fn fill(files: &Path, repo: &Path, options: &Options, cx: &Cx) -> Result<Created> {
    let name_of = |path: &Path| path.file_name().and_then(|n| n.to_str()).unwrap_or("data").to_owned();
    let folder = match &options.folder {
        Some(folder) => RepoPath::parse_writable(folder.as_str())?,
        None => RepoPath::parse_writable(&name_of(&cx.absolute(files)))?,
    };
    if folder.is_root() {
        return Err(Error::usage("the data needs a folder of its own inside the repository"));
    }
    let found = walk(files, &cx.cancel)?;
    let remote = match &options.remote {
        Some(remote) => cx.absolute(remote),
        None => {
            let repo = cx.absolute(repo);
            repo.with_file_name(format!("{}-storage", name_of(&repo)))
        }
    };
    fs::create_dir_all(&remote).map_err(|e| Error::io(&remote, &e))?;
    let mut init = git2::RepositoryInitOptions::new();
    init.initial_head(&options.branch).external_template(false);
    let wrap = |e: git2::Error| git_error(format!("cannot make {}", repo.display()), &e);
    let git = git2::Repository::init_opts(repo, &init).map_err(wrap)?;
    let root = Root::open(repo)?;
    let (cache, remote_store) = (BlobStore::new(repo.join(".dvc/cache")), BlobStore::new(&remote));
    let mut manifest = Manifest::default();
    let mut bytes = 0;
    for (n, (path, at)) in found.iter().enumerate() {
        let (digest, len) = cache.put_file(at, &cx.cancel)?;
        remote_store.link_from(&cache, &digest)?;
        if options.checkout {
            let stored = cache.path(&digest, crate::store::Layout::V3);
            let mut from = fs::File::open(&stored).map_err(|e| Error::io(&stored, &e))?;
            root.write(&folder.join(path), &mut from, false)?;
        }
        manifest.files.insert(path.clone(), digest);
        bytes += len;
        cx.items("storing", n + 1, found.len());
    }
    let (text, digest) = manifest.encode();
    cache.put(&digest, &text)?;
    remote_store.link_from(&cache, &digest)?;

    let count = manifest.files.len() as u64;
    let parent = folder.parent().unwrap_or_default();
    let name = folder.name();
    let mut texts: Vec<(RepoPath, String)> = vec![
        (RepoPath::parse(".dvc/config")?, config::encode(REMOTE_NAME, &remote)),
        (RepoPath::parse(".dvc/.gitignore")?, "/config.local\n/tmp\n/cache\n".into()),
        (
            RepoPath::parse(".dvcignore")?,
            "# Patterns of files that DVC leaves out, as in .gitignore.\n".into(),
        ),
        (parent.child(&format!("{name}.dvc"))?, dvc_file::encode(name, &digest, bytes, Some(count))),
        (parent.child(".gitignore")?, ignore::with_line("", name).unwrap_or_default()),
    ];
    texts.extend(options.git_files.iter().cloned());
    let mut index = git.index().map_err(wrap)?;
    for (path, text) in &texts {
        root.write(path, &mut text.as_bytes(), false)?;
        index.add_path(Path::new(path.as_str())).map_err(wrap)?;
    }
    index.write().map_err(wrap)?;
    let tree = index.write_tree().and_then(|t| git.find_tree(t)).map_err(wrap)?;
    let author = crate::repository::author(&git).map_err(wrap)?;
    let commit = git.commit(Some("HEAD"), &author, &author, &options.message, &tree, &[]).map_err(wrap)?;
    Ok(Created { commit: commit.to_string(), files: count, bytes, manifest: digest })
}

/// All regular files below `dir`, by path below it, sorted.
fn walk(dir: &Path, cancel: &Cancel) -> Result<Vec<(RepoPath, PathBuf)>> {
    let mut found = Vec::new();
    let mut pending = vec![(RepoPath::root(), dir.to_owned())];
    while let Some((below, at)) = pending.pop() {
        cancel.check()?;
        for entry in fs::read_dir(&at).map_err(|e| Error::io(&at, &e))? {
            let entry = entry.map_err(|e| Error::io(&at, &e))?;
            let here = entry.path();
            let name = entry.file_name().into_string().map_err(|_| {
                Error::new(Kind::Format, format!("{}: the name is not UTF-8", here.display()))
            })?;
            let path = RepoPath::parse_writable(below.child(&name)?.as_str())?;
            let kind = entry.file_type().map_err(|e| Error::io(&here, &e))?;
            if kind.is_dir() {
                pending.push((path, here));
            } else if kind.is_file() {
                found.push((path, here));
            } else {
                return Err(Error::new(
                    Kind::Format,
                    format!("{} is neither file nor folder", here.display()),
                )
                .hint("copy what a link points at, or leave it out"));
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests;
