//! `clone`: the Git part by the `git` program, the DVC files (with `--data`) verified through our own
//! client.
//!
//! Git gets the token through its environment, never in an argument or in the clone's configuration,
//! and only for the server's own origin. Everything happens in a folder of ours beside the target,
//! which takes the target's place at the end: a failed clone leaves nothing. Files are written by
//! directory handle and never through links, so a hostile repository cannot write outside or into
//! `.git`; objects go to the clone's own `.dvc/cache`, whatever the cloned configuration says.

use crate::client::Auth;
use crate::contain::Root;
use crate::dvc::Manifest;
use crate::open::{Repo, connect, open_repo};
use crate::repository::Repository;
use crate::runtime;
use base64::Engine;
use dds_core::mime::printable;
use dds_core::repo_url::Credentials;
use dds_core::table::{bytes, count};
use dds_core::{
    Config, Cx, Digest, Entry, Error, Kind, Outcome, RepoPath, RepoUrl, Result, Secret, Source, Versioning,
    request as rq,
};
use serde_json::json;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const POLL: Duration = Duration::from_millis(25);
/// Files announced ahead of the one that is written.
const ANNOUNCE: usize = 256;
const CHUNK: u64 = 4 << 20;
const MAX_STDERR_BYTES: u64 = 64 << 10;

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
    let Some(token) = token.filter(|t| !t.is_empty()) else { return Ok(url) };
    let credentials = Some(Credentials { user: String::new(), password: Secret::new(token) });
    Ok(match url {
        RepoUrl::Hub { base, owner, repo, rev, .. } => RepoUrl::Hub { base, owner, repo, rev, credentials },
        RepoUrl::DagsHub { owner, repo, rev } => RepoUrl::Hub {
            base: config.dagshub_host.trim_end_matches('/').into(),
            owner,
            repo,
            rev,
            credentials,
        },
        local => local,
    })
}

/// What `git` is told beside its arguments.
struct Remote {
    url: String,
    /// Configuration that must not stand in an argument, where other users could read it.
    secret_config: Vec<(String, String)>,
    secret: Option<Secret>,
    /// How to give the server a token.
    token_hint: String,
}

fn remote(url: &RepoUrl, config: &Config, cx: &Cx) -> Result<Remote> {
    if let RepoUrl::Local { path, .. } = url {
        let path = cx.absolute(path);
        let token_hint = "check the folder's own settings".to_owned();
        return Ok(Remote {
            url: path.display().to_string(),
            secret_config: Vec::new(),
            secret: None,
            token_hint,
        });
    }
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
    let base = client.base().origin();
    let mut secret_config = Vec::new();
    let mut secret = None;
    if let Some(auth) = client.auth().filter(|_| parsed.origin() == base) {
        let (pair, hidden) = match auth {
            Auth::Token(token) => (format!("token:{}", token.expose()), token),
            Auth::Login(user, password) => (format!("{user}:{}", password.expose()), password),
        };
        let header =
            format!("Authorization: Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
        secret_config.push((format!("http.{}/.extraHeader", base.ascii_serialization()), header));
        // Git would send the header to wherever it is redirected.
        secret_config.push(("http.followRedirects".into(), "false".into()));
        secret = Some(hidden.clone());
    }
    Ok(Remote { url: parsed.to_string(), secret_config, secret, token_hint: client.token_hint() })
}

fn git_clone(url: &RepoUrl, repo: &Repo, config: &Config, into: &Path, cx: &Cx) -> Result<()> {
    let remote = remote(url, config, cx)?;
    let mut clone = git(&remote);
    clone.args(["clone", "--quiet", "--no-checkout", "--template=", "--no-hardlinks"]);
    if let Some(branch) = repo.branch() {
        clone.arg("--branch").arg(branch);
    }
    clone.arg("--").arg(&remote.url).arg(into);
    execute(clone, &remote, "git clone", cx)?;
    let mut checkout = git(&remote);
    checkout.arg("-C").arg(into).args(["checkout", "--quiet"]);
    match repo.branch() {
        // The branch may have moved since it was pinned: what was listed is what is checked out.
        Some(branch) => checkout.arg("-B").arg(branch).arg(repo.commit()),
        None => checkout.arg("--detach").arg(repo.commit()),
    };
    checkout.arg("--");
    execute(checkout, &remote, "git checkout", cx)
}

fn git(remote: &Remote) -> Command {
    let mut command = Command::new("git");
    let settings = [
        ("core.hooksPath", "/dev/null"),
        ("core.fsmonitor", "false"),
        ("core.protectHFS", "true"),
        ("core.protectNTFS", "true"),
        ("submodule.recurse", "false"),
        ("advice.detachedHead", "false"),
    ];
    let plain = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    let all: Vec<(String, String)> = plain.chain(remote.secret_config.iter().cloned()).collect();
    command.env("GIT_CONFIG_COUNT", all.len().to_string());
    for (n, (key, value)) in all.iter().enumerate() {
        command.env(format!("GIT_CONFIG_KEY_{n}"), key).env(format!("GIT_CONFIG_VALUE_{n}"), value);
    }
    command
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_ALLOW_PROTOCOL", "http:https:file")
        .env("GIT_ASKPASS", "true")
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .env_remove("GIT_INDEX_FILE")
        .env_remove("GIT_TRACE_CURL")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

fn execute(mut command: Command, remote: &Remote, what: &str, cx: &Cx) -> Result<()> {
    let mut child = command.spawn().map_err(|e| {
        Error::new(Kind::Unavailable, format!("cannot run the program git: {e}"))
            .hint("install git, then try again")
    })?;
    let stderr = child.stderr.take();
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(mut stderr) = stderr {
            let _ = stderr.by_ref().take(MAX_STDERR_BYTES).read_to_end(&mut text);
            let _ = io::copy(&mut stderr, &mut io::sink());
        }
        String::from_utf8_lossy(&text).into_owned()
    });
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|e| Error::internal(format!("{what}: {e}")))? {
            break status;
        }
        if let Err(e) = cx.cancel.check() {
            let _ = child.kill();
            let _ = child.wait();
            return Err(e);
        }
        std::thread::sleep(POLL);
    };
    if status.success() {
        return Ok(());
    }
    let said = reader.join().unwrap_or_default();
    let said = remote.secret.as_ref().map_or_else(|| said.clone(), |s| s.redact(&said));
    let kind = if said.contains("Authentication failed") || said.contains("could not read Username") {
        Kind::Unauthorized
    } else {
        Kind::Unreachable
    };
    let error = Error::new(kind, format!("{what} failed: {}", printable(said.trim())));
    Err(if kind == Kind::Unauthorized { error.hint(&remote.token_hint) } else { error })
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
