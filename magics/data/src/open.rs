//! Opening a repository for reading: [`Repo`], a [`Source`] at a pinned commit.
//!
//! A branch is pinned to the commit it has when it is opened; [`Source::refresh`] follows it, so that
//! an upload of our own becomes visible. A commit given by its hash stays.

mod big;
mod hub;
mod local;
mod prefetch;

use crate::client::{Auth, HubClient};
use crate::store::BlobStore;
use dds_core::{Config, Cx, Entry, Error, RepoPath, RepoUrl, Result, Secret, Source};
use hub::Hub;
use local::Local;
use std::ops::Range;
use std::sync::Arc;

pub use hub::Settings;

/// A repository at a commit. Cheap to share; all methods may be called from any thread.
pub struct Repo {
    url: RepoUrl,
    inner: Inner,
}

enum Inner {
    Hub(Hub),
    Local(Local),
}

/// Opens a repository and pins its revision: without one, the tip of the default branch.
///
/// Errors: `NotFound` (repository or revision), `Unauthorized`, `Unreachable`.
pub fn open(url: &RepoUrl, config: &Config, cx: &Cx) -> Result<Arc<dyn Source>> {
    Ok(open_repo(url, config, cx)?)
}

/// As [`open`], for callers that need the concrete type.
pub fn open_repo(url: &RepoUrl, config: &Config, cx: &Cx) -> Result<Arc<Repo>> {
    let inner = match url {
        RepoUrl::Local { path, rev } => Inner::Local(Local::open(&cx.absolute(path), rev.as_deref())?),
        RepoUrl::Hub { .. } | RepoUrl::DagsHub { .. } => {
            let client = connect(url, config)?;
            let cache = BlobStore::new(config.cache_dir.join("blobs"));
            Inner::Hub(Hub::open(client, &plain(url), url.rev(), cache, Settings::default(), cx)?)
        }
    };
    let url = match url {
        // Seen from another folder later, it must still be the same repository.
        RepoUrl::Local { path, rev } => RepoUrl::Local { path: cx.absolute(path), rev: rev.clone() },
        url => url.clone(),
    };
    Ok(Arc::new(Repo { url, inner }))
}

/// A client for the server behind `url`.
///
/// Credentials that stand in the URL win; a user without a password is a token. The configured token
/// or login goes to the configured host only. Errors: `Usage` for local repositories.
pub fn connect(url: &RepoUrl, config: &Config) -> Result<HubClient> {
    let host = config.dagshub_host.trim_end_matches('/');
    let (base, owner, repo, given) = match url {
        RepoUrl::Hub { base, owner, repo, credentials, .. } => {
            (base.as_str(), owner, repo, credentials.as_ref())
        }
        RepoUrl::DagsHub { owner, repo, .. } => (host, owner, repo, None),
        RepoUrl::Local { .. } => return Err(Error::usage(format!("{url} is not on a server"))),
    };
    let auth = match given {
        Some(c) if c.user.is_empty() => Some(Auth::Token(c.password.clone())),
        Some(c) if c.password.is_empty() => Some(Auth::Token(Secret::new(c.user.clone()))),
        Some(c) => Some(Auth::Login(c.user.clone(), c.password.clone())),
        None if same_origin(base, host) => match (&config.dagshub_token, &config.dagshub_login) {
            (Some(token), _) => Some(Auth::Token(token.clone())),
            (None, Some((user, password))) => Some(Auth::Login(user.clone(), password.clone())),
            (None, None) => None,
        },
        None => None,
    };
    Ok(HubClient::new(base, owner, repo, auth)?.configured(same_origin(base, host)))
}

fn same_origin(a: &str, b: &str) -> bool {
    match (a.parse::<reqwest::Url>(), b.parse::<reqwest::Url>()) {
        (Ok(a), Ok(b)) => a.origin() == b.origin(),
        _ => false,
    }
}

/// The URL without revision and credentials.
fn plain(url: &RepoUrl) -> String {
    match url {
        RepoUrl::Hub { base, owner, repo, .. } => format!("{base}/{owner}/{repo}"),
        RepoUrl::DagsHub { owner, repo, .. } => format!("dagshub://{owner}/{repo}"),
        RepoUrl::Local { path, .. } => path.display().to_string(),
    }
}

impl Repo {
    /// The branch that is followed; none when a commit or a tag was opened.
    pub fn branch(&self) -> Option<String> {
        match &self.inner {
            Inner::Hub(hub) => hub.branch(),
            Inner::Local(local) => local.branch(),
        }
    }

    /// The pinned commit, a whole hash.
    pub fn commit(&self) -> String {
        match &self.inner {
            Inner::Hub(hub) => hub.commit(),
            Inner::Local(local) => local.commit(),
        }
    }

    /// Looks whether the branch has moved, and follows it. Says whether it had.
    pub fn refresh(&self, cx: &Cx) -> Result<bool> {
        match &self.inner {
            Inner::Hub(hub) => hub.refresh(cx),
            Inner::Local(local) => local.refresh(),
        }
    }
}

impl Source for Repo {
    fn id(&self) -> String {
        format!("{}@{}", plain(&self.url), self.commit())
    }

    fn list(&self, dir: &RepoPath, recursive: bool, cx: &Cx) -> Result<Vec<Entry>> {
        match &self.inner {
            Inner::Hub(hub) => hub.list(dir, recursive, cx),
            Inner::Local(local) => local.list(dir, recursive),
        }
    }

    fn stat(&self, path: &RepoPath, cx: &Cx) -> Result<Entry> {
        match &self.inner {
            Inner::Hub(hub) => hub.stat(path, cx),
            Inner::Local(local) => local.stat(path),
        }
    }

    fn read(&self, path: &RepoPath, cx: &Cx) -> Result<Vec<u8>> {
        match &self.inner {
            Inner::Hub(hub) => hub.read(path, cx),
            Inner::Local(local) => local.read(path),
        }
    }

    fn read_range(&self, path: &RepoPath, range: Range<u64>, cx: &Cx) -> Result<Vec<u8>> {
        match &self.inner {
            Inner::Hub(hub) => hub.read_range(path, range, cx),
            Inner::Local(local) => local.read_range(path, range),
        }
    }

    fn origin(&self) -> Option<RepoUrl> {
        // The branch that was meant, also when none was named.
        Some(match (self.url.rev(), self.branch()) {
            (None, Some(branch)) => self.url.at(branch),
            _ => self.url.clone(),
        })
    }

    fn refresh(&self, cx: &Cx) -> Result<bool> {
        Repo::refresh(self, cx)
    }

    fn announce(&self, paths: &[RepoPath]) {
        if let Inner::Hub(hub) = &self.inner {
            hub.announce(paths);
        }
    }
}

#[cfg(test)]
mod tests;
