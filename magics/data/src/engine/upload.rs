//! `upload`: files and folders of this machine into a repository. See [`crate::publish`] for how they
//! get there.

use super::{Data, Place};
use crate::here::working_tree;
use crate::publish::{self, Choice, Ours, Publish};
use dds_core::mime::printable;
use dds_core::table::{bytes, count};
use dds_core::{
    Cx, Error, Kind, Located, Outcome, RepoPath, RepoTarget, RepoUrl, Result, Secret, Source, request as rq,
};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files of one command.
pub const MAX_FILES: usize = 100_000;

pub fn run(data: &Data, r: &rq::Upload, cx: &Cx) -> Result<Outcome> {
    let (url, dir, mounted) = target(data, r, cx)?;
    let choice = Choice::parse(&r.versioning)?;
    let scratch = tempfile::tempdir().map_err(|e| Error::io(std::env::temp_dir(), &e))?;
    let files = gather(data, &r.files, &dir, scratch.path(), cx)?;
    let message = r.message.clone().unwrap_or_else(|| format!("Upload {}", count(files.len(), "file")));
    let total: u64 = files.iter().map(|f| f.len).sum();
    let sent = publish::send(&data.config, &url, &wanted(r, &url, &dir, choice, message), &files, cx)?;
    if let Some(source) = mounted {
        // The upload stands, whether or not the listing can be renewed now.
        if let Err(e) = source.refresh(cx) {
            cx.sink.note(&format!("uploaded, but the mount still shows the old commit: {e}"));
        }
    }
    let place = if dir.is_root() { String::new() } else { format!(":{dir}") };
    let shown = printable(&format!("{}{place}", url.at(sent.branch.clone())));
    let what = format!("{} ({})", count(files.len(), "file"), bytes(total));
    let short = sent.commit.get(..10).unwrap_or(&sent.commit);
    let summary = if sent.changed {
        format!("uploaded {what} to {shown}, commit {short}")
    } else {
        format!("nothing to do: {shown} holds {what} already, commit {short}")
    };
    let list: Vec<_> =
        files.iter().map(|f| json!({"path": f.path, "size": f.len, "md5": f.md5.to_string()})).collect();
    let json = json!({
        "url": url.plain(), "branch": sent.branch, "commit": sent.commit, "changed": sent.changed, "files": list,
    });
    Ok(Outcome::new(summary, json))
}

fn wanted(r: &rq::Upload, url: &RepoUrl, dir: &RepoPath, choice: Choice, message: String) -> Publish {
    // A folder that is named and new becomes one of DVC, unless Git shall have it.
    let folders = if dir.is_root() || choice == Choice::Git { Vec::new() } else { vec![dir.clone()] };
    Publish {
        url: url.clone(),
        branch: r.branch.clone(),
        new_branch: r.new_branch.clone(),
        folder: dir.clone(),
        dvc_folders: folders,
        choice,
        message,
        ..Publish::default()
    }
}

/// The repository, the folder in it, and the source to renew afterwards.
type Target = (RepoUrl, RepoPath, Option<Arc<dyn Source>>);

fn target(data: &Data, r: &rq::Upload, cx: &Cx) -> Result<Target> {
    let (url, dir, source) = if RepoTarget::looks_like_url(&r.to) {
        let target = RepoTarget::parse(&r.to)?;
        (target.url, target.path, None)
    } else {
        match data.place(&r.to, cx)? {
            Place::Remote { source, path } => {
                let url = source.origin().ok_or_else(|| {
                    Error::usage(format!("{} cannot take uploads", printable(&r.to)))
                        .hint("upload to the repository's URL")
                })?;
                (url, path, Some(source))
            }
            Place::Local(at) => local_repository(&at)?,
        }
    };
    if dir.components().any(|c| c == ".git") {
        return Err(Error::usage("nothing can be uploaded into .git"));
    }
    if let Some(rev) = url.rev().filter(|r| r.len() == 40 && r.bytes().all(|b| b.is_ascii_hexdigit())) {
        return Err(Error::usage(format!(
            "{} is pinned to the commit {}",
            printable(&r.to),
            rev.get(..10).unwrap_or(rev)
        ))
        .hint("upload to a branch: URL@BRANCH:PATH"));
    }
    let token = Secret::new(r.token.as_deref().unwrap_or_default());
    Ok((url.with_token(&token, &data.config.dagshub_host), dir, source))
}

/// A path inside the working tree of a repository of this machine.
fn local_repository(at: &Path) -> Result<Target> {
    match working_tree(at)? {
        Some((path, below)) => Ok((RepoUrl::Local { path, rev: None }, below, None)),
        None => Err(Error::usage(format!("{} is neither in a mount nor in a Git repository", at.display()))
            .hint(
                "give --to URL[@BRANCH][:PATH]; a folder inside a mount will do in the notebook that mounted it",
            )),
    }
}

/// All files with their digests; folders are taken with their name.
fn gather(data: &Data, given: &[String], dir: &RepoPath, scratch: &Path, cx: &Cx) -> Result<Vec<Ours>> {
    let mut found: Vec<(RepoPath, PathBuf)> = Vec::new();
    for (n, text) in given.iter().enumerate() {
        let at = cx.absolute(text);
        if let Located::Remote { source, path } = data.resolver.resolve(&at) {
            // Read through the source: the mount may be in another process, or none at all.
            let copy = scratch.join(n.to_string());
            std::fs::write(&copy, source.read(&path, cx)?).map_err(|e| Error::io(&copy, &e))?;
            found.push((RepoPath::parse_writable(path.name())?, copy));
            continue;
        }
        let meta = std::fs::metadata(&at).map_err(|e| Error::io(&at, &e))?;
        let name = at
            .file_name()
            .and_then(|n| n.to_str())
            .ok_or_else(|| Error::usage(format!("{} has no name that can be uploaded", at.display())))?;
        let name = RepoPath::parse_writable(name)?;
        if meta.is_dir() {
            walk(&name, &at, &mut found, cx)?;
        } else {
            found.push((name, at));
        }
    }
    if found.is_empty() {
        return Err(Error::usage("there is no file to upload"));
    }
    let mut names = BTreeSet::new();
    let mut files = Vec::with_capacity(found.len());
    let total = found.len();
    for (n, (name, at)) in found.into_iter().enumerate() {
        cx.cancel.check()?;
        if !names.insert(name.clone()) {
            return Err(Error::usage(format!("two of the files are called {name}"))
                .hint("upload them one by one, into different folders"));
        }
        let path = RepoPath::parse_writable(dir.join(&name).as_str())?;
        files.push(Ours::of(path, at, None)?);
        cx.items("reading", n + 1, total);
    }
    Ok(files)
}

fn walk(name: &RepoPath, dir: &Path, found: &mut Vec<(RepoPath, PathBuf)>, cx: &Cx) -> Result<()> {
    cx.cancel.check()?;
    let mut entries: Vec<_> = std::fs::read_dir(dir)
        .and_then(Iterator::collect::<std::io::Result<Vec<_>>>)
        .map_err(|e| Error::io(dir, &e))?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let at = entry.path();
        let text = entry
            .file_name()
            .into_string()
            .map_err(|_| Error::usage(format!("{}: the name is not UTF-8", at.display())))?;
        let path = RepoPath::parse_writable(name.child(&text)?.as_str())?;
        let kind = entry.file_type().map_err(|e| Error::io(&at, &e))?;
        if kind.is_dir() {
            walk(&path, &at, found, cx)?;
        } else if kind.is_file() {
            found.push((path, at));
        } else {
            cx.sink.note(&format!("left out {}: it is a link or no regular file", at.display()));
        }
        if found.len() > MAX_FILES {
            return Err(Error::new(Kind::Limit, format!("more than {MAX_FILES} files in one upload"))
                .hint("upload the folders one after another"));
        }
    }
    Ok(())
}
