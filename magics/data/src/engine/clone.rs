//! `clone`: the Git part by the `git` program, the DVC files (with `--data`) verified through our own
//! client.
//!
//! Git gets the token through its environment, never in an argument or in the clone's configuration,
//! and only for the server's own origin. Everything happens in a folder of ours beside the target,
//! which takes the target's place at the end: a failed clone leaves nothing. Files are written by
//! directory handle and never through links, so a hostile repository cannot write outside or into
//! `.git`; objects go to the clone's own `.dvc/cache`, whatever the cloned configuration says.

use crate::client::Auth;
use crate::client::fetch::check_redirect;
use crate::contain::Root;
use crate::dvc::Manifest;
use crate::git_program::GitProgram;
use crate::open::{Repo, connect, open_repo, turns_inward};
use crate::repository::Repository;
use crate::runtime;
use dds_core::mime::printable;
use dds_core::table::{bytes, count};
use dds_core::{
    Config, Cx, Digest, Entry, Error, Kind, Outcome, RepoPath, RepoUrl, Result, Secret, Source, Versioning,
    request as rq,
};
use serde_json::json;
use std::io::{self, Read};
use std::path::Path;

/// Files announced ahead of the one that is written.
const ANNOUNCE: usize = 256;
const CHUNK: u64 = 4 << 20;

pub fn run(config: &Config, r: &rq::Clone, cx: &Cx) -> Result<Outcome> {
    let url = given(&r.url, r.token.as_deref(), config)?;
    let dir = cx.absolute(&r.dir);
    if std::fs::read_dir(&dir).is_ok_and(|mut d| d.next().is_some()) || dir.is_file() {
        return Err(Error::new(Kind::Conflict, format!("{} is not empty", dir.display()))
            .hint("name a folder that does not exist yet"));
    }
    let parent = dir.parent().ok_or_else(|| Error::usage("the target is the root folder"))?;
    std::fs::create_dir_all(parent).map_err(|e| Error::io(parent, &e))?;
    let repo = open_repo(&url, config, cx)?;
    let work = tempfile::Builder::new()
        .prefix(".dds-clone-")
        .tempdir_in(parent)
        .map_err(|e| Error::io(parent, &e))?;
    let clone = work.path().join("clone");
    git_clone(&url, &repo, config, &clone, cx)?;
    let data = if r.data { fetch_data(&repo, &clone, cx)? } else { Fetched::default() };
    if dir.exists() {
        std::fs::remove_dir(&dir).map_err(|e| Error::io(&dir, &e))?;
    }
    std::fs::rename(&clone, &dir).map_err(|e| Error::io(&dir, &e))?;
    let commit = repo.commit();
    let shown = commit.get(..10).unwrap_or(&commit);
    let mut summary = format!("cloned {} at {shown} into {}", printable(&url.to_string()), dir.display());
    if r.data {
        summary.push_str(&format!(", with {} of DVC ({})", count(data.files, "file"), bytes(data.bytes)));
    }
    let json = json!({
        "url": url.to_string(), "commit": commit, "dir": dir, "data_files": data.files, "data_bytes": data.bytes,
    });
    Ok(Outcome::new(summary, json))
}

fn given(text: &str, token: Option<&str>, config: &Config) -> Result<RepoUrl> {
    let url = RepoUrl::parse(text)?;
    Ok(match token {
        Some(token) => url.with_token(&Secret::new(token), &config.dagshub_host),
        None => url,
    })
}

fn remote(url: &RepoUrl, config: &Config, cx: &Cx) -> Result<(String, GitProgram)> {
    match url {
        RepoUrl::Local { path, .. } => Ok((cx.absolute(path).display().to_string(), GitProgram::default())),
        RepoUrl::Git { url, credentials, .. } => {
            Ok((url.clone(), GitProgram::for_url(url, credentials.as_ref(), config)?))
        }
        RepoUrl::Hub { .. } | RepoUrl::DagsHub { .. } => hub_remote(url, config, cx),
    }
}

fn hub_remote(url: &RepoUrl, config: &Config, cx: &Cx) -> Result<(String, GitProgram)> {
    let client = connect(url, config)?;
    let asking = client.clone();
    let record = runtime::wait(async move { asking.record().await }, cx)?;
    let address = record.clone_url.ok_or_else(|| {
        Error::new(Kind::Unavailable, "the server offers no Git remote").hint("mount the repository instead")
    })?;
    let parsed: reqwest::Url = address
        .parse()
        .ok()
        .filter(|u: &reqwest::Url| matches!(u.scheme(), "http" | "https") && u.username().is_empty())
        .ok_or_else(|| Error::new(Kind::Format, "the server names a Git remote that is no http(s) URL"))?;
    let misled = |why: &str| {
        Error::new(Kind::Unreachable, format!("{} names as its Git remote {why}", client.base()))
            .hint("check the URL, or ask who runs the server")
    };
    check_redirect(client.base(), &parsed).map_err(misled)?;
    if turns_inward(client.base(), &parsed) {
        return Err(misled("an address of this machine or its network"));
    }
    // Its credentials go to its own origin only.
    let auth = client.auth().filter(|_| parsed.origin() == client.base().origin());
    let program = match auth {
        Some(Auth::Token(token)) => GitProgram::with_login(&parsed, "token", token),
        Some(Auth::Login(user, password)) => GitProgram::with_login(&parsed, user, password),
        None => GitProgram::default(),
    };
    Ok((parsed.to_string(), program.hint(client.token_hint())))
}

fn git_clone(url: &RepoUrl, repo: &Repo, config: &Config, into: &Path, cx: &Cx) -> Result<()> {
    let (address, program) = remote(url, config, cx)?;
    let mut clone = program.command();
    clone.args(["clone", "--quiet", "--no-checkout", "--template=", "--no-hardlinks"]);
    if let Some(branch) = repo.branch() {
        clone.arg("--branch").arg(branch);
    }
    clone.arg("--").arg(&address).arg(into);
    program.run(clone, "git clone", None, cx)?;
    let mut checkout = program.command();
    checkout.arg("-C").arg(into).args(["checkout", "--quiet"]);
    match repo.branch() {
        // The branch may have moved since it was pinned: what was listed is what is checked out.
        Some(branch) => checkout.arg("-B").arg(branch).arg(repo.commit()),
        None => checkout.arg("--detach").arg(repo.commit()),
    };
    checkout.arg("--");
    program.run(checkout, "git checkout", None, cx)?;
    Ok(())
}

#[derive(Default)]
struct Fetched {
    files: usize,
    bytes: u64,
}

/// Writes all DVC files into the clone and its cache, so that `dvc status` finds them in order.
fn fetch_data(repo: &Repo, clone: &Path, cx: &Cx) -> Result<Fetched> {
    let root = Root::open(clone)?;
    let listed = repo.list(&RepoPath::root(), true, cx)?;
    let files: Vec<&Entry> = listed.iter().filter(|e| e.versioning == Versioning::Dvc).collect();
    let mut fetched = Fetched::default();
    for (n, entry) in files.iter().enumerate() {
        if n % (ANNOUNCE / 2) == 0 {
            let ahead: Vec<RepoPath> = files.iter().skip(n).take(ANNOUNCE).map(|e| e.path.clone()).collect();
            repo.announce(&ahead);
        }
        cx.cancel.check()?;
        let mut reader = SourceReader {
            repo,
            path: &entry.path,
            at: 0,
            chunk: io::Cursor::new(Vec::new()),
            cx,
            failed: None,
        };
        let written = root.write(&entry.path, &mut reader, false);
        if let Some(e) = reader.failed {
            return Err(e);
        }
        fetched.bytes += reader.at;
        written?;
        if let Some(digest @ Digest::Md5(_)) = entry.digest {
            let mut from = root
                .open_file(&entry.path)?
                .ok_or_else(|| Error::internal(format!("{} vanished", entry.path)))?;
            root.write(&cache_path(&digest)?, &mut from, false)?;
        }
        fetched.files += 1;
        cx.items("fetching", n + 1, files.len());
    }
    // A folder's manifest follows from its listing.
    let cloned = Repository::open(clone)?;
    let oid = cloned.resolve(Some(&repo.commit()))?.commit;
    for (path, digest) in cloned.snapshot(oid)?.folders() {
        let mut manifest = Manifest::default();
        for entry in &files {
            if let (Some(below), Some(md5 @ Digest::Md5(_))) = (entry.path.strip_prefix(&path), entry.digest)
            {
                manifest.files.insert(below, md5);
            }
        }
        let (text, found) = manifest.encode();
        if found != digest {
            return Err(Error::new(
                Kind::Corrupt,
                format!("the listing of {path} is not the folder {digest}"),
            )
            .hint("try again; if it stays so, tell the repository's owner"));
        }
        root.write(&cache_path(&digest)?, &mut &text[..], false)?;
    }
    Ok(fetched)
}

fn cache_path(digest: &Digest) -> Result<RepoPath> {
    let below =
        digest.store_path().ok_or_else(|| Error::internal(format!("{digest} is not a DVC digest")))?;
    RepoPath::parse(&format!(".dvc/cache/{below}"))
}

/// A file of a source as a stream. The source's own error is kept, because `io::Error` would lose it.
struct SourceReader<'a> {
    repo: &'a Repo,
    path: &'a RepoPath,
    at: u64,
    chunk: io::Cursor<Vec<u8>>,
    cx: &'a Cx,
    failed: Option<Error>,
}

impl Read for SourceReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.chunk.position() == self.chunk.get_ref().len() as u64 {
            match self.repo.read_range(self.path, self.at..self.at + CHUNK, self.cx) {
                Ok(bytes) => {
                    self.at += bytes.len() as u64;
                    self.chunk = io::Cursor::new(bytes);
                }
                Err(e) => {
                    self.failed = Some(e);
                    return Err(io::Error::other("the source failed"));
                }
            }
        }
        self.chunk.read(out)
    }
}
