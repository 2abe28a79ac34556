//! `upload`: files of this machine into a repository, in batches, each with exactly one effect.
//!
//! Every batch names the commit it builds on. When its answer is lost, the branch is read back: if it
//! holds our files the batch is done, if it has not moved the batch is sent again (two copies under way
//! cannot both be taken, because the first one moves the branch). When somebody else committed in
//! between, the batch is sent again on top of theirs if they left our files alone; else it is a
//! conflict.

use super::{Data, Place};
use crate::client::HubClient;
use crate::client::hub::{Found, Put};
use crate::client::transport::Part;
use crate::here::working_tree;
use crate::open::{connect, outside};
use crate::repository::{self, Choice, MAX_SUMMARY_CHARS, NewFile, Origin, Repository, Uploaded};
use crate::runtime;
use crate::store::digest_of_file;
use dds_core::mime::printable;
use dds_core::table::{bytes, count};
use dds_core::{
    Cx, Digest, Error, Kind, Located, Outcome, RepoPath, RepoTarget, RepoUrl, Result, Secret, Source,
    request as rq,
};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// DagsHub's own bounds of one upload.
pub const BATCH_FILES: usize = 100;
pub const BATCH_BYTES: u64 = 100 << 20;
/// Files of one command.
pub const MAX_FILES: usize = 100_000;
const ATTEMPTS: u32 = 6;
const PAUSE: Duration = Duration::from_millis(150);
const COPY_CHUNK: usize = 1 << 20;

/// A file that will be sent.
#[derive(Clone, Debug)]
struct Ours {
    /// Below the target folder.
    name: RepoPath,
    at: PathBuf,
    len: u64,
    md5: Digest,
    git: Digest,
}

pub fn run(data: &Data, r: &rq::Upload, cx: &Cx) -> Result<Outcome> {
    let (url, dir, mounted) = target(data, r, cx)?;
    let choice = match r.versioning.as_str() {
        "" | "auto" => Choice::Auto,
        "git" => Choice::Git,
        "dvc" => Choice::Dvc,
        other => return Err(Error::usage(format!("--versioning {other:?} is not one of auto, git, dvc"))),
    };
    let scratch = tempfile::tempdir().map_err(|e| Error::io(std::env::temp_dir(), &e))?;
    let files = gather(data, &r.files, scratch.path(), cx)?;
    let message = r.message.clone().unwrap_or_else(|| format!("Upload {}", count(files.len(), "file")));
    if message.chars().count() > MAX_SUMMARY_CHARS {
        return Err(Error::usage(format!("the message is longer than {MAX_SUMMARY_CHARS} characters"))
            .hint("shorten it: servers keep one line"));
    }
    let total: u64 = files.iter().map(|f| f.len).sum();
    let sent = match &url {
        RepoUrl::Local { path, rev } => {
            let outside = outside(&data.config, Origin::Here);
            let repository = Repository::open_with(&cx.absolute(path), Some(outside), None)?;
            let branch = rev.clone().unwrap_or_else(|| repository.default_branch());
            into_local(&repository, branch, &dir, &files, choice, &message, cx)?
        }
        url => into_hub(data, url, &dir, &files, choice, &message, cx)?,
    };
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
    let list: Vec<_> = files
        .iter()
        .map(|f| json!({"path": dir.join(&f.name), "size": f.len, "md5": f.md5.to_string()}))
        .collect();
    let json = json!({
        "url": url.plain(), "branch": sent.branch, "commit": sent.commit, "changed": sent.changed, "files": list,
    });
    Ok(Outcome::new(summary, json))
}

struct Sent {
    branch: String,
    commit: String,
    changed: bool,
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
    if let RepoUrl::Git { url, .. } = &url {
        return Err(Error::usage(format!("{url} is a plain Git repository, which takes no uploads"))
            .hint(format!("clone it (dds clone {url} DIR), upload into DIR, then `git push`")));
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
fn gather(data: &Data, given: &[String], scratch: &Path, cx: &Cx) -> Result<Vec<Ours>> {
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
        let like: (Digest, Digest) = (Digest::Md5([0; 16]), Digest::Git([0; 20]));
        let (md5, len) = digest_of_file(&at, &like.0)?;
        let (git, _) = digest_of_file(&at, &like.1)?;
        files.push(Ours { name, at, len, md5, git });
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

fn batches(files: &[Ours]) -> Vec<&[Ours]> {
    let mut all = Vec::new();
    let mut rest = files;
    while !rest.is_empty() {
        let mut total = 0u64;
        let fits = rest.iter().take(BATCH_FILES).take_while(|f| {
            total = total.saturating_add(f.len);
            total <= BATCH_BYTES
        });
        // A file larger than a batch goes alone.
        let (batch, after) = rest.split_at(fits.count().max(1));
        all.push(batch);
        rest = after;
    }
    all
}

fn into_hub(
    data: &Data,
    url: &RepoUrl,
    dir: &RepoPath,
    files: &[Ours],
    choice: Choice,
    message: &str,
    cx: &Cx,
) -> Result<Sent> {
    let client = connect(url, &data.config)?;
    let asking = client.clone();
    let rev = url.rev().map(str::to_owned);
    let (branch, head) = runtime::wait(
        async move {
            let branch = match rev {
                Some(branch) => branch,
                None => asking.record().await?.default_branch,
            };
            let head = asking.branch(&branch).await?;
            Ok((branch, head))
        },
        cx,
    )?;
    let mut sender = Sender {
        client,
        branch,
        head,
        dir: dir.clone(),
        choice,
        message: message.to_owned(),
        changed: false,
    };
    let all = batches(files);
    let mut done = 0;
    for batch in &all {
        cx.items("uploading", done, files.len());
        let (mut next, ours) = (sender, batch.to_vec());
        sender = runtime::wait(async move { next.send(&ours).await.map(|()| next) }, cx).map_err(|e| {
            if done == 0 {
                e
            } else {
                e.context(format!("{} of {} are uploaded; then", done, count(files.len(), "file")))
            }
        })?;
        done += batch.len();
    }
    cx.items("uploading", done, files.len());
    Ok(Sent { branch: sender.branch, commit: sender.head.unwrap_or_default(), changed: sender.changed })
}

/// One upload under way: the branch and the commit that the next batch builds on.
struct Sender {
    client: HubClient,
    branch: String,
    head: Option<String>,
    dir: RepoPath,
    choice: Choice,
    message: String,
    changed: bool,
}

impl Sender {
    async fn send(&mut self, batch: &[Ours]) -> Result<()> {
        let mut pause = PAUSE;
        let mut last: Option<Error> = None;
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(pause).await;
                pause = pause.saturating_mul(2);
            }
            let error = match self.client.put(&self.branch, &self.dir, self.form(batch)).await {
                Ok(Put::Committed { commit }) => {
                    self.changed = true;
                    self.head = match commit {
                        Some(commit) => Some(commit),
                        None => self.client.branch(&self.branch).await?,
                    };
                    return Ok(());
                }
                Ok(Put::Unchanged) => return Ok(()),
                Ok(Put::Unknown(why)) => {
                    Error::new(Kind::Unreachable, format!("the upload got no answer: {why}"))
                }
                Err(e) if matches!(e.kind, Kind::Unreachable | Kind::Conflict) => e,
                Err(e) => return Err(e),
            };
            let now = self.client.branch(&self.branch).await?;
            if now == self.head {
                if error.kind == Kind::Conflict {
                    return Err(error);
                }
                last = Some(error);
                continue;
            }
            let Some(tip) = now else {
                return Err(Error::not_found(format!("the branch {:?} is gone", self.branch)));
            };
            let ours = self.state(&tip, batch).await?;
            if batch
                .iter()
                .all(|f| ours.get(&f.name).copied().flatten().is_some_and(|d| d == f.md5 || d == f.git))
            {
                self.changed = true;
                self.head = Some(tip);
                return Ok(());
            }
            // Somebody else committed: did they touch our files?
            let before = match &self.head {
                Some(head) => self.state(head, batch).await?,
                None => BTreeMap::new(),
            };
            let touched = batch.iter().find(|f| ours.get(&f.name) != before.get(&f.name));
            if let Some(file) = touched {
                return Err(Error::new(
                    Kind::Conflict,
                    format!(
                        "somebody else changed {} on branch {} in the meantime",
                        self.dir.join(&file.name),
                        self.branch
                    ),
                )
                .hint("look at their version, then upload again to replace it"));
            }
            self.head = Some(tip);
            last = Some(error);
        }
        Err(last.unwrap_or_else(|| Error::internal("the upload was not tried")))
    }

    fn form(&self, batch: &[Ours]) -> Vec<Part> {
        let versioning = match self.choice {
            Choice::Auto => "auto",
            Choice::Git => "git",
            Choice::Dvc => "dvc",
        };
        let dvc_dir = !self.dir.is_root() && self.choice != Choice::Git;
        let text = |name: &'static str, value: &str| Part::Text { name, value: value.to_owned() };
        let mut parts = vec![
            text("commit_choice", "direct"),
            text("commit_summary", &self.message),
            text("versioning", versioning),
            text("last_commit", self.head.as_deref().unwrap_or("")),
            text("is_dvc_dir", if dvc_dir { "true" } else { "false" }),
        ];
        parts.extend(batch.iter().map(|f| Part::File {
            name: "files",
            file_name: f.name.to_string(),
            path: f.at.clone(),
            len: f.len,
        }));
        parts
    }

    /// The digests of the batch's files at a commit; none where a file is missing.
    async fn state(&self, commit: &str, batch: &[Ours]) -> Result<BTreeMap<RepoPath, Option<Digest>>> {
        let folders: BTreeSet<RepoPath> =
            batch.iter().map(|f| self.dir.join(&f.name).parent().unwrap_or_default()).collect();
        let mut there = BTreeMap::new();
        for folder in folders {
            match self.client.content(commit, &folder, false).await {
                Ok(Found::Folder(entries)) => there.extend(entries.into_iter().map(|e| (e.path, e.digest))),
                Ok(Found::File(_)) => {}
                Err(e) if e.kind == Kind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(batch
            .iter()
            .map(|f| (f.name.clone(), there.get(&self.dir.join(&f.name)).copied().flatten()))
            .collect())
    }
}

fn into_local(
    repository: &Repository,
    branch: String,
    dir: &RepoPath,
    files: &[Ours],
    choice: Choice,
    message: &str,
    cx: &Cx,
) -> Result<Sent> {
    let mut incoming = Vec::with_capacity(files.len());
    for (n, file) in files.iter().enumerate() {
        let mut writer = repository.stores().cache().writer()?;
        let mut from = File::open(&file.at).map_err(|e| Error::io(&file.at, &e))?;
        let mut chunk = vec![0; COPY_CHUNK];
        loop {
            cx.cancel.check()?;
            let len = from.read(&mut chunk).map_err(|e| Error::io(&file.at, &e))?;
            let Some(part) = chunk.get(..len).filter(|p| !p.is_empty()) else { break };
            writer.write(part)?;
        }
        let path = RepoPath::parse_writable(dir.join(&file.name).as_str())?;
        incoming.push(NewFile { path, bytes: writer.stage() });
        cx.items("storing", n + 1, files.len());
    }
    let uploaded = repository::upload(
        repository,
        repository::Upload {
            dir: dir.clone(),
            dvc_dir: !dir.is_root() && choice != Choice::Git,
            files: incoming,
            choice,
            summary: message.to_owned(),
            branch: branch.clone(),
            new_branch: None,
            last_commit: None,
        },
    )?;
    Ok(match uploaded {
        Uploaded::Committed { commit } => Sent { branch, commit, changed: true },
        Uploaded::Unchanged { commit } => Sent { branch, commit, changed: false },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(sizes: &[u64]) -> Vec<Ours> {
        let name = |n: usize| RepoPath::parse(&format!("f{n}")).unwrap();
        let (md5, git) = (Digest::Md5([0; 16]), Digest::Git([0; 20]));
        sizes
            .iter()
            .enumerate()
            .map(|(n, len)| Ours { name: name(n), at: "/x".into(), len: *len, md5, git })
            .collect()
    }

    #[test]
    fn batches_hold_at_most_100_files_and_100_megabytes() {
        let sizes = |f: &[Ours]| batches(f).iter().map(|b| b.len()).collect::<Vec<_>>();
        assert_eq!(sizes(&files(&[1; 100])), [100]);
        assert_eq!(sizes(&files(&[1; 101])), [100, 1]);
        assert_eq!(sizes(&files(&[BATCH_BYTES / 2, BATCH_BYTES / 2, 1])), [2, 1]);
        assert_eq!(sizes(&files(&[1, BATCH_BYTES + 1, 1])), [1, 1, 1]);
        assert_eq!(sizes(&[]), [0; 0]);
    }
}
