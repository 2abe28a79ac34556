//! Getting changes into a repository without a clone: one commit, or as few as the other side takes.
//!
//! Changes are made against a commit. When the branch has moved since, what others changed is compared
//! with ours: the same files are a conflict, which names them; other files are left as they are when
//! the caller agrees to build on top (`rebase`). On servers with DagsHub's API changes travel in batches
//! ([`sender`]); repositories of this machine are committed to directly; for those of which only Git is
//! spoken, data goes to their DVC remote first, then the commit is pushed.

mod conflict;
mod sender;

use crate::open::upstream::Pushed;
use crate::open::{connect, open_upstream, outside};
use crate::repository::{self, MAX_SUMMARY_CHARS, NewFile, Origin, Repository, Upload, Uploaded};
use crate::runtime;
use crate::store::digest_of_file;
use dds_core::{Config, Cx, Digest, Error, Kind, RepoPath, RepoUrl, Result};
use sender::Sender;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

pub use crate::repository::Choice;

const COPY_CHUNK: usize = 1 << 20;
/// How often others may push before us.
const MAX_OVERTAKEN: u32 = 20;

/// A file that shall be in the repository.
#[derive(Clone, Debug)]
pub struct OutFile {
    /// In the repository.
    pub path: RepoPath,
    /// Its bytes, on this machine.
    pub at: PathBuf,
    /// Whether Git should keep it as a program; without a word it stays what it was.
    pub executable: Option<bool>,
}

/// What to commit, and where.
#[derive(Clone, Debug)]
pub struct Publish {
    pub url: RepoUrl,
    /// The commit that the changes were made against; none when they replace whatever is there.
    pub base: Option<String>,
    /// By default that of the URL, else the default branch.
    pub branch: Option<String>,
    pub new_branch: Option<String>,
    pub files: Vec<OutFile>,
    pub removed: Vec<RepoPath>,
    /// The folder that was named, for servers that want one.
    pub folder: RepoPath,
    /// New folders that DVC may keep as a whole.
    pub dvc_folders: Vec<RepoPath>,
    pub choice: Choice,
    /// At most 100 characters.
    pub message: String,
    /// Build on top when the branch moved and others changed other files.
    pub rebase: bool,
}

impl Default for Publish {
    fn default() -> Self {
        Self {
            url: RepoUrl::Local { path: PathBuf::new(), rev: None },
            base: None,
            branch: None,
            new_branch: None,
            files: Vec::new(),
            removed: Vec::new(),
            folder: RepoPath::root(),
            dvc_folders: Vec::new(),
            choice: Choice::Auto,
            message: String::new(),
            rebase: false,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    pub branch: String,
    pub commit: String,
    /// False when the branch held these very files already.
    pub changed: bool,
}

/// A file that will be sent, with its digests.
#[derive(Clone, Debug)]
pub(crate) struct Ours {
    pub path: RepoPath,
    pub at: PathBuf,
    pub len: u64,
    pub md5: Digest,
    pub git: Digest,
    pub executable: Option<bool>,
}

impl Ours {
    pub fn of(path: RepoPath, at: PathBuf, executable: Option<bool>) -> Result<Self> {
        let (md5, len) = digest_of_file(&at, &Digest::Md5([0; 16]))?;
        let (git, _) = digest_of_file(&at, &Digest::Git([0; 20]))?;
        Ok(Self { path, at, len, md5, git, executable })
    }

    pub fn is(&self, digest: Option<Digest>) -> bool {
        digest.is_some_and(|digest| digest == self.md5 || digest == self.git)
    }
}

/// Commits changes.
///
/// Errors: `Conflict` when others changed the same files, or the branch moved and `rebase` is not set;
/// `Usage` for what this repository cannot take, with the files; those of the network. Nothing has
/// happened then, unless the message says how much.
pub fn publish(config: &Config, wanted: &Publish, cx: &Cx) -> Result<Published> {
    let mut files = Vec::with_capacity(wanted.files.len());
    for (n, file) in wanted.files.iter().enumerate() {
        cx.cancel.check()?;
        files.push(Ours::of(file.path.clone(), file.at.clone(), file.executable)?);
        cx.items("reading", n + 1, wanted.files.len());
    }
    send(config, &wanted.url, wanted, &files, cx)
}

/// The same with digests that are known.
pub(crate) fn send(
    config: &Config,
    url: &RepoUrl,
    wanted: &Publish,
    files: &[Ours],
    cx: &Cx,
) -> Result<Published> {
    if wanted.message.chars().count() > MAX_SUMMARY_CHARS {
        return Err(Error::usage(format!("the message is longer than {MAX_SUMMARY_CHARS} characters"))
            .hint("shorten it: servers keep one line"));
    }
    for path in files.iter().map(|f| &f.path).chain(&wanted.removed) {
        RepoPath::parse_writable(path.as_str())?;
    }
    match url {
        RepoUrl::Local { .. } => into_local(config, url, wanted, files, cx),
        RepoUrl::Hub { .. } | RepoUrl::DagsHub { .. } => into_hub(config, url, wanted, files, cx),
        RepoUrl::Git { .. } => into_git(config, url, wanted, files, cx),
    }
}

/// A commit in our copy of a repository on another machine, then a push of it. When somebody else was
/// faster, the same is made once more on top of theirs.
fn into_git(config: &Config, url: &RepoUrl, wanted: &Publish, files: &[Ours], cx: &Cx) -> Result<Published> {
    // Without a base, what was there when we began: what others change from then on is not replaced.
    let asked = wanted;
    let mut wanted = asked.clone();
    let mut overtaken = 0;
    loop {
        let (repository, upstream) = open_upstream(url, config, cx)?;
        let named = wanted.branch.clone().or_else(|| url.rev().map(str::to_owned));
        let branch = named.unwrap_or_else(|| repository.default_branch());
        let tips = repository.branches();
        let tip_of = |name: &str| tips.iter().find(|(b, _)| b == name).map(|(_, oid)| oid.to_string());
        let tip = tip_of(&branch);
        repository.reload_stores(tip.as_deref().and_then(|tip| git2::Oid::from_str(tip).ok()))?;
        let from = conflict::checked(config, url, &branch, tip.clone(), &wanted, files, cx)?;
        // As on the first try: being overtaken changes nothing about who keeps what.
        let folders = dvc_folders(config, url, from.as_deref(), asked, files, cx)?;
        let last_commit = from.filter(|_| wanted.base.is_some());
        let made = into_repository(&repository, branch, true, last_commit, &wanted, folders, files, cx)?;
        // A new branch is made also where nothing else is new.
        if !made.changed && wanted.new_branch.is_none() {
            return Ok(made);
        }
        let before = if wanted.new_branch.is_some() { None } else { tip.clone() };
        match upstream.push(&made.commit, &made.branch, before.as_deref(), cx)? {
            Pushed::Done => return Ok(made),
            Pushed::Moved if wanted.new_branch.is_some() => {
                return Err(Error::new(
                    Kind::Conflict,
                    format!("the branch {:?} exists already", made.branch),
                )
                .hint("choose another name, or commit to it with --branch"));
            }
            Pushed::Moved if overtaken == MAX_OVERTAKEN => {
                return Err(Error::new(
                    Kind::Conflict,
                    format!("others pushed to {} {MAX_OVERTAKEN} times while this was prepared", made.branch),
                )
                .hint("try again later, or commit to a branch of your own with --new-branch NAME"));
            }
            Pushed::Moved => overtaken += 1,
        }
        if wanted.base.is_none() {
            (wanted.base, wanted.rebase) = (tip, true);
        }
    }
}

fn into_hub(config: &Config, url: &RepoUrl, wanted: &Publish, files: &[Ours], cx: &Cx) -> Result<Published> {
    let client = connect(url, config)?;
    let asking = client.clone();
    let named = wanted.branch.clone().or_else(|| url.rev().map(str::to_owned));
    let (branch, head, changes) = runtime::wait(
        async move {
            let record = asking.record().await?;
            let branch = named.unwrap_or(record.default_branch);
            let head = asking.branch(&branch).await?;
            Ok((branch, head, record.changes))
        },
        cx,
    )?;
    if !changes {
        refuse_unsupported(url, wanted, files)?;
    }
    let from = conflict::checked(config, url, &branch, head, wanted, files, cx)?;
    let folders = dvc_folders(config, url, from.as_deref(), wanted, files, cx)?;
    let sender = Sender::new(client, &branch, from, wanted, folders, changes);
    sender.send_all(files, &wanted.removed, cx)
}

/// Errors (`Usage`) for what DagsHub's own API has no words for.
fn refuse_unsupported(url: &RepoUrl, wanted: &Publish, files: &[Ours]) -> Result<()> {
    let names = |paths: Vec<&RepoPath>| {
        let shown: Vec<&str> = paths.iter().take(5).map(|p| p.as_str()).collect();
        let more = if paths.len() > 5 { format!(" and {} more", paths.len() - 5) } else { String::new() };
        format!("{}{more}", shown.join(", "))
    };
    if !wanted.removed.is_empty() {
        let list = names(wanted.removed.iter().collect());
        return Err(Error::usage(format!("the server's API removes and renames no files: {list}")).hint(
            format!(
                "put them back, or remove them with Git: dds clone {} DIR, `git rm` or `dvc remove`, `git push`",
                url.plain()
            ),
        ));
    }
    let programs: Vec<&RepoPath> =
        files.iter().filter(|f| f.executable == Some(true)).map(|f| &f.path).collect();
    if !programs.is_empty() {
        let list = names(programs);
        return Err(Error::usage(format!("the server's API cannot mark files as executable: {list}"))
            .hint("take the mark away (chmod -x), or set it with Git: `git update-index --chmod=+x`"));
    }
    Ok(())
}

/// New folders among the files' own, outermost first, beside those that were named: DVC may keep each as
/// a whole.
fn dvc_folders(
    config: &Config,
    url: &RepoUrl,
    at: Option<&str>,
    wanted: &Publish,
    files: &[Ours],
    cx: &Cx,
) -> Result<Vec<RepoPath>> {
    let mut found = wanted.dvc_folders.clone();
    let (None, Some(_)) = (wanted.choice_is_git(), &wanted.base) else { return Ok(found) };
    let known = match at {
        Some(commit) => conflict::files_at(config, url, commit, cx)?,
        None => BTreeMap::new(),
    };
    let mut folders: BTreeSet<RepoPath> = BTreeSet::new();
    for path in known.keys() {
        let mut above = path.parent();
        while let Some(dir) = above.filter(|dir| !dir.is_root() && folders.insert(dir.clone())) {
            above = dir.parent();
        }
    }
    let mut new = BTreeSet::new();
    for file in files {
        let mut outermost = None;
        let mut above = file.path.parent();
        while let Some(dir) = above.filter(|dir| !dir.is_root() && !folders.contains(dir)) {
            above = dir.parent();
            outermost = Some(dir);
        }
        new.extend(outermost);
    }
    found.extend(new);
    Ok(found)
}

impl Publish {
    fn choice_is_git(&self) -> Option<()> {
        (self.choice == Choice::Git).then_some(())
    }
}

fn into_local(
    config: &Config,
    url: &RepoUrl,
    wanted: &Publish,
    files: &[Ours],
    cx: &Cx,
) -> Result<Published> {
    let RepoUrl::Local { path, rev } = url else { return Err(Error::internal("not a local repository")) };
    let outside = outside(config, Origin::Here);
    let repository = Repository::open_with(&cx.absolute(path), Some(outside), None)?;
    let named = wanted.branch.clone().or_else(|| rev.clone());
    let branch = named.unwrap_or_else(|| repository.default_branch());
    let tip = repository.branches().into_iter().find(|(b, _)| *b == branch).map(|(_, oid)| oid.to_string());
    let from = conflict::checked(config, url, &branch, tip, wanted, files, cx)?;
    let folders = dvc_folders(config, url, from.as_deref(), wanted, files, cx)?;
    let last_commit = from.filter(|_| wanted.base.is_some());
    into_repository(&repository, branch, false, last_commit, wanted, folders, files, cx)
}

/// One commit in a repository of this machine; `to_be_pushed` when that is a copy of another one.
#[expect(clippy::too_many_arguments, reason = "the parts of one commit, each from another place")]
fn into_repository(
    repository: &Repository,
    branch: String,
    to_be_pushed: bool,
    last_commit: Option<String>,
    wanted: &Publish,
    dvc_dirs: Vec<RepoPath>,
    files: &[Ours],
    cx: &Cx,
) -> Result<Published> {
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
        incoming.push(NewFile { path: file.path.clone(), bytes: writer.stage() });
        cx.items("storing", n + 1, files.len());
    }
    let modes = files.iter().filter_map(|f| Some((f.path.clone(), f.executable?))).collect();
    let uploaded = repository::upload(
        repository,
        Upload {
            dvc_dirs,
            files: incoming,
            removed: wanted.removed.clone(),
            modes,
            choice: wanted.choice,
            summary: wanted.message.clone(),
            branch: branch.clone(),
            new_branch: wanted.new_branch.clone(),
            last_commit,
            to_be_pushed,
        },
    )
    .map_err(|e| if e.kind == Kind::Conflict && wanted.base.is_some() { e.hint("try again") } else { e })?;
    let branch = wanted.new_branch.clone().unwrap_or(branch);
    Ok(match uploaded {
        Uploaded::Committed { commit } => Published { branch, commit, changed: true },
        Uploaded::Unchanged { commit } => Published { branch, commit, changed: false },
    })
}
