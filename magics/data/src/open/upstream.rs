//! A Git repository on another machine: a bare copy in the cache, without the contents of files, which
//! are fetched when they are read.
//!
//! The copy's own configuration names no remote: URL, filter and credentials are handed to each run of
//! `git`, so that nothing in the cache can redirect or leak them. Nothing is ever checked out, and no
//! hook runs. Processes share a copy under a lock.

use crate::flight::lock;
use crate::git_program::GitProgram;
use crate::repository::Bring;
use dds_core::repo_url::Credentials;
use dds_core::{Config, Cx, Error, Kind, Result};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

/// The whole of what a repository says of its branches and tags.
const REFSPECS: [&str; 2] = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
/// Objects of one request.
const MAX_BATCH: usize = 10_000;

/// A push that does not get through is tried again.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(250);

/// What came of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    Done,
    /// Somebody else's commits are there; nothing of ours is.
    Moved,
}

pub struct Upstream {
    dir: PathBuf,
    url: String,
    program: GitProgram,
    /// One fetch at a time in this process; the lock file holds off the others.
    fetching: Mutex<()>,
}

impl Upstream {
    /// Makes or renews the copy. A commit given by its whole hash that is here already needs no network.
    pub fn open(
        url: &str,
        rev: Option<&str>,
        credentials: Option<&Credentials>,
        config: &Config,
        cx: &Cx,
    ) -> Result<Self> {
        let home = config.cache_dir.join("git");
        let name = hex::encode(Sha256::digest(url)).get(..32).unwrap_or_default().to_owned();
        let program = GitProgram::for_url(url, credentials, config)?
            .set("remote.origin.url", url)
            .set("remote.origin.promisor", "true")
            .set("remote.origin.partialclonefilter", "blob:none");
        let upstream = Self {
            dir: home.join(format!("{name}.git")),
            url: url.to_owned(),
            program,
            fetching: Mutex::new(()),
        };
        let _held = upstream.hold(&home)?;
        if !upstream.dir.join("HEAD").is_file() {
            upstream.init(&home, cx)?;
        }
        if !rev.is_some_and(|rev| upstream.has_commit(rev)) {
            upstream.fetch(rev.is_none(), cx)?;
        }
        Ok(upstream)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn hold(&self, home: &Path) -> Result<File> {
        std::fs::create_dir_all(home).map_err(|e| Error::io(home, &e))?;
        let path = self.dir.with_extension("lock");
        let file = File::options().create(true).append(true).open(&path).map_err(|e| Error::io(&path, &e))?;
        file.lock().map_err(|e| Error::io(&path, &e))?;
        Ok(file)
    }

    /// In a folder of its own first, so that a copy is there whole or not at all.
    fn init(&self, home: &Path, cx: &Cx) -> Result<()> {
        let fresh =
            tempfile::Builder::new().prefix(".new-").tempdir_in(home).map_err(|e| Error::io(home, &e))?;
        let mut init = self.program.command();
        init.args(["init", "--quiet", "--bare", "--template=", "--initial-branch=main", "--"])
            .arg(fresh.path());
        self.program.run(init, "git init", None, cx)?;
        let fresh = fresh.keep();
        std::fs::rename(&fresh, &self.dir).map_err(|e| Error::io(&self.dir, &e))
    }

    fn has_commit(&self, rev: &str) -> bool {
        let whole = rev.len() == 40 && rev.bytes().all(|b| b.is_ascii_hexdigit());
        whole
            && git2::Repository::open_bare(&self.dir)
                .and_then(|git| git.find_commit(git2::Oid::from_str(rev)?).map(|_| ()))
                .is_ok()
    }

    fn fetch(&self, with_head: bool, cx: &Cx) -> Result<()> {
        let about = |e: Error| if e.kind == Kind::Interrupted { e } else { e.context(&self.url) };
        if with_head {
            let mut ask = self.git();
            ask.args(["ls-remote", "--symref", "origin", "HEAD"]);
            let said = self.program.run(ask, "git ls-remote", None, cx).map_err(about)?;
            let head = said.lines().find_map(|l| l.strip_prefix("ref: ")?.strip_suffix("\tHEAD"));
            if let Some(head) =
                head.filter(|h| h.starts_with("refs/heads/") && git2::Reference::is_valid_name(h))
            {
                let mut set = self.git();
                set.args(["symbolic-ref", "HEAD", head]);
                self.program.run(set, "git symbolic-ref", None, cx)?;
            }
        }
        let mut fetch = self.git();
        fetch.args(["fetch", "--quiet", "--prune", "--no-write-fetch-head", "--filter=blob:none", "origin"]);
        fetch.args(REFSPECS);
        self.program.run(fetch, "git fetch", None, cx).map_err(about)?;
        Ok(())
    }

    /// Makes `branch` of the other machine's repository, which was at `before` (none: it does not exist
    /// yet), name `commit`. A push whose answer was lost is looked up, so that it has one effect.
    ///
    /// Errors: `Unauthorized` when the server's rules refuse it, those of the network.
    pub fn push(&self, commit: &str, branch: &str, before: Option<&str>, cx: &Cx) -> Result<Pushed> {
        let target = format!("refs/heads/{branch}");
        let mut pause = PAUSE;
        for attempt in 1.. {
            let mut push = self.git();
            push.args(["push", "--quiet", "--no-verify", "--no-signed", "--recurse-submodules=no"]);
            push.arg(format!("--force-with-lease={target}:{}", before.unwrap_or_default()));
            push.args(["origin", &format!("{commit}:{target}")]);
            let error = match self.program.run(push, "git push", None, cx) {
                Ok(_) => break,
                Err(e) if e.kind == Kind::Interrupted => return Err(e),
                Err(e) => e.context(&self.url),
            };
            let now = match self.tip(&target, cx) {
                Ok(now) => now,
                // Without an answer now either, the first one says more.
                Err(e) => return Err(if e.kind == Kind::Interrupted { e } else { error }),
            };
            if now.as_deref() == Some(commit) {
                break;
            }
            if now.as_deref() != before {
                return Ok(Pushed::Moved);
            }
            if error.message.contains("[remote rejected]") {
                let refused = Error::new(Kind::Unauthorized, error.message);
                return Err(refused.hint(format!(
                    "the server's rules refuse a push to {branch}; try --new-branch NAME and ask its owner to \
                     merge that"
                )));
            }
            if error.kind != Kind::Unreachable || attempt == ATTEMPTS {
                return Err(error);
            }
            std::thread::sleep(pause);
            pause = pause.saturating_mul(2);
        }
        // The copy knows it, too; if that fails, the next fetch tells it.
        let _held = self.hold(self.dir.parent().unwrap_or(Path::new("/")))?;
        if let (Ok(git), Ok(oid)) = (git2::Repository::open_bare(&self.dir), git2::Oid::from_str(commit)) {
            let _ = git.reference(&target, oid, true, "pushed");
        }
        Ok(Pushed::Done)
    }

    /// Where a reference of the other machine's repository is.
    fn tip(&self, reference: &str, cx: &Cx) -> Result<Option<String>> {
        let mut ask = self.git();
        ask.args(["ls-remote", "origin", reference]);
        let said = self.program.run(ask, "git ls-remote", None, cx)?;
        let tip = said.lines().find_map(|line| line.strip_suffix(&format!("\t{reference}")));
        Ok(tip.map(str::to_owned))
    }

    fn git(&self) -> std::process::Command {
        let mut command = self.program.command();
        command.arg("--git-dir").arg(&self.dir);
        command
    }
}

impl Bring for Upstream {
    fn bring(&self, blobs: &[git2::Oid], cx: &Cx) -> Result<()> {
        let _one = lock(&self.fetching);
        let missing: Vec<git2::Oid> = {
            let wrap = |e: git2::Error| crate::repository::git_error("cannot open the copy in the cache", &e);
            let git = git2::Repository::open_bare(&self.dir).map_err(wrap)?;
            let odb = git.odb().map_err(wrap)?;
            blobs
                .iter()
                .copied()
                .filter(|oid| !odb.exists_ext(*oid, git2::OdbLookupFlags::NO_REFRESH))
                .collect()
        };
        for batch in missing.chunks(MAX_BATCH) {
            let list: String = batch.iter().map(|oid| format!("{oid}\n")).collect();
            let mut fetch = self.git();
            // As Git itself fetches what a partial clone lacks.
            fetch.args(["-c", "fetch.negotiationAlgorithm=noop", "fetch", "--quiet", "--no-tags"]);
            fetch.args(["--no-write-fetch-head", "--filter=blob:none", "--stdin", "origin"]);
            self.program
                .run(fetch, "git fetch", Some(list.into_bytes()), cx)
                .map_err(|e| e.context(&self.url))?;
        }
        Ok(())
    }

    fn renew(&self, cx: &Cx) -> Result<()> {
        let _one = lock(&self.fetching);
        let _held = self.hold(self.dir.parent().unwrap_or(Path::new("/")))?;
        self.fetch(false, cx)
    }
}

#[cfg(test)]
mod tests;
