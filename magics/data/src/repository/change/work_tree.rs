//! Bringing a working tree to the commit that was just made on its branch.

use super::super::git_error;
use super::{GoneFile, WorkFile};
use crate::contain::{Found, Root};
use crate::store::{Layout, digest_of_file};
use dds_core::{Digest, Error, Kind, RepoPath, Result};

/// Takes away what the commit removed, and the folders that are empty then.
pub(super) fn remove(
    git: &git2::Repository,
    root: &Root,
    files: &[&RepoPath],
    gone: &[GoneFile],
) -> Result<()> {
    if files.is_empty() && gone.is_empty() {
        return Ok(());
    }
    let wrap = |e: git2::Error| git_error("cannot update Git's index", &e);
    let mut index = git.index().map_err(wrap)?;
    index.read(true).map_err(wrap)?;
    for path in files.iter().copied().chain(gone.iter().map(|file| &file.path)) {
        root.remove(path)?;
        let mut above = path.parent();
        while let Some(dir) = above.filter(|dir| !dir.is_root()) {
            if !root.remove_dir(&dir)? {
                break;
            }
            above = dir.parent();
        }
    }
    for path in files {
        index.remove_path(std::path::Path::new(path.as_str())).map_err(wrap)?;
    }
    index.write().map_err(wrap)
}

pub(super) fn update(
    git: &git2::Repository,
    root: &Root,
    files: &[(&RepoPath, git2::Oid, Option<git2::Oid>, bool)],
    work: &[WorkFile],
    stores: &super::super::Stores,
) -> Result<()> {
    let wrap = |e: git2::Error| git_error("cannot update Git's index", &e);
    for file in work {
        // What nobody checked out stays so, as after `git pull` without `dvc pull`.
        let expected = match &file.inside {
            Some(out) if !is_new_folder(files, out) => Some((out, Found::Dir)),
            None if file.old.is_some() => Some((&file.path, Found::File)),
            _ => None,
        };
        if let Some((at, kind)) = expected
            && root.find(at)? != Some(kind)
        {
            continue;
        }
        let mut from = stores.open(&file.path, &file.new, Layout::V3, None)?;
        root.write(&file.path, &mut from, false)?;
    }
    let mut index = git.index().map_err(wrap)?;
    index.read(true).map_err(wrap)?;
    for (path, oid, _, executable) in files {
        let blob = git.find_blob(*oid).map_err(wrap)?;
        root.write(path, &mut blob.content(), *executable)?;
        index.add_path(std::path::Path::new(path.as_str())).map_err(wrap)?;
    }
    index.write().map_err(wrap)
}

/// Whether this very upload declared the folder output `out`.
fn is_new_folder(files: &[(&RepoPath, git2::Oid, Option<git2::Oid>, bool)], out: &RepoPath) -> bool {
    let declared = format!("{out}.dvc");
    files.iter().any(|(path, _, old, _)| path.as_str() == declared && old.is_none())
}

/// `Conflict` when the working tree has something else at `path` than what we know.
pub(super) fn check_untouched(
    root: &Root,
    path: &RepoPath,
    known: &[Digest],
    must_exist: bool,
) -> Result<()> {
    let changed = || {
        Error::new(Kind::Conflict, format!("{path} has local changes in the working tree of the repository"))
            .hint("commit or remove them there, then upload again")
    };
    match root.find(path)? {
        None if must_exist => Err(changed()),
        None => Ok(()),
        Some(Found::File) => {
            let at = root.path().join(path.as_str());
            for like in known {
                if digest_of_file(&at, like)?.0 == *like {
                    return Ok(());
                }
            }
            Err(changed())
        }
        Some(_) => Err(changed()),
    }
}
