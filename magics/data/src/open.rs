//! Opening a repository for reading: [`Repo`], a [`Source`] at a pinned commit.
//!
//! A branch is pinned to the commit it has when it is opened; [`Source::refresh`] follows it, so that
//! an upload of our own becomes visible. A commit given by its hash stays.

mod big;
mod fetching;
mod history;
mod hub;
mod local;
mod prefetch;
mod prefix;
pub(crate) mod upstream;

use crate::account;
use crate::client::fetch::{is_private, is_private_address};
use crate::client::{Auth, HubClient};
use crate::repository::{Origin, Outside, Repository};
use crate::store::BlobStore;
use dds_core::{Config, Cx, Entry, Error, Kind, RepoPath, RepoUrl, Result, Secret, Source};
use hub::Hub;
use local::Local;
use std::net::{IpAddr, ToSocketAddrs};
use std::ops::Range;
use std::sync::Arc;
use upstream::Upstream;

pub use fetching::Settings;
pub use history::history;

/// A repository at a commit. Cheap to share; all methods may be called from any thread.
pub struct Repo {
    url: RepoUrl,
    inner: Inner,
}

enum Inner {
    Hub(Box<Hub>),
    Local(Box<Local>),
}

/// Opens a repository and pins its revision: without one, the tip of the default branch.
///
/// Errors: `NotFound` (repository or revision), `Unauthorized`, `Unreachable`.
pub fn open(url: &RepoUrl, config: &Config, cx: &Cx) -> Result<Arc<dyn Source>> {
    Ok(open_repo(url, config, cx)?)
}

/// What a repository on this machine may use beside itself.
pub fn outside(config: &Config, origin: Origin) -> Outside {
    let cache = BlobStore::cache(config.cache_dir.join("blobs"));
    Outside { config: Arc::new(config.clone()), cache, origin }
}

/// As [`open`], for callers that need the concrete type.
pub fn open_repo(url: &RepoUrl, config: &Config, cx: &Cx) -> Result<Arc<Repo>> {
    let inner = match url {
        RepoUrl::Local { path, rev } => {
            let outside = outside(config, Origin::Here);
            let repository = Repository::open_with(&cx.absolute(path), Some(outside.clone()), None)?;
            let local = Local::open(repository, rev.as_deref(), outside.cache, Settings::default(), cx)?;
            Inner::Local(Box::new(local))
        }
        RepoUrl::Git { url: address, rev, credentials } => {
            let upstream = Upstream::open(address, rev.as_deref(), credentials.as_ref(), config, cx)?;
            let outside = outside(config, Origin::Elsewhere { public: is_public(address) });
            let cache = outside.cache.clone();
            let dir = upstream.dir().to_owned();
            let repository = Repository::open_with(&dir, Some(outside), Some(Arc::new(upstream)))?;
            let local = Local::open(repository, rev.as_deref(), cache, Settings::default(), cx);
            Inner::Local(Box::new(local.map_err(|e| about(e, address))?))
        }
        RepoUrl::Hub { .. } | RepoUrl::DagsHub { .. } => {
            let client = connect(url, config)?;
            let cache = BlobStore::cache(config.cache_dir.join("blobs"));
            let hub = Hub::open(client, &url.plain(), url.rev(), cache, Settings::default(), cx)?;
            Inner::Hub(Box::new(hub))
        }
    };
    let url = match url {
        // Seen from another folder later, it must still be the same repository.
        RepoUrl::Local { path, rev } => RepoUrl::Local { path: cx.absolute(path), rev: rev.clone() },
        url => url.clone(),
    };
    Ok(Arc::new(Repo { url, inner }))
}

/// The newest copy of a repository of which only Git is spoken, and the way to it.
///
/// Errors: those of `git fetch`; `Internal` for other repositories.
pub(crate) fn open_upstream(url: &RepoUrl, config: &Config, cx: &Cx) -> Result<(Repository, Arc<Upstream>)> {
    let RepoUrl::Git { url: address, credentials, .. } = url else {
        return Err(Error::internal("not a plain Git repository"));
    };
    let upstream = Arc::new(Upstream::open(address, None, credentials.as_ref(), config, cx)?);
    let outside = outside(config, Origin::Elsewhere { public: is_public(address) });
    let repository = Repository::open_with(upstream.dir(), Some(outside), Some(upstream.clone()))?;
    Ok((repository, upstream))
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
        RepoUrl::Git { .. } | RepoUrl::Local { .. } => {
            return Err(Error::usage(format!("{url} is not on a server with DagsHub's API")));
        }
    };
    let auth = match given {
        Some(c) if c.user.is_empty() => Some(Auth::Token(c.password.clone())),
        Some(c) if c.password.is_empty() => Some(Auth::Token(Secret::new(c.user.clone()))),
        Some(c) => Some(Auth::Login(c.user.clone(), c.password.clone())),
        None => base.parse().ok().and_then(|url| account::for_host(config, &url)),
    };
    Ok(HubClient::new(base, owner, repo, auth)?.configured(same_origin(base, host)))
}

fn same_origin(a: &str, b: &str) -> bool {
    match (a.parse::<reqwest::Url>(), b.parse::<reqwest::Url>()) {
        (Ok(a), Ok(b)) => a.origin() == b.origin(),
        _ => false,
    }
}

/// Whether a repository comes from an address that is not of this machine's own network. A name that
/// leads to both is public, as is one that cannot be resolved.
fn is_public(url: &str) -> bool {
    // `USER@HOST:PATH` is no URL.
    let scp = url
        .split_once('@')
        .and_then(|(_, rest)| rest.split_once(':'))
        .map(|(host, _)| format!("ssh://{host}"));
    let parsed = url.parse::<reqwest::Url>().ok().or_else(|| scp?.parse().ok());
    let Some(url) = parsed else { return true };
    let found = resolved(&url);
    !is_private(&url) && (found.is_empty() || !found.iter().all(|a| is_private_address(*a)))
}

/// Whether `url`, which the server at `base` named, leads to this machine's network from outside of it.
pub fn turns_inward(base: &reqwest::Url, url: &reqwest::Url) -> bool {
    url.host() != base.host()
        && is_public(base.as_str())
        && (is_private(url) || resolved(url).into_iter().any(is_private_address))
}

fn resolved(url: &reqwest::Url) -> Vec<IpAddr> {
    let found = url.host_str().and_then(|host| (host, 0).to_socket_addrs().ok());
    found.into_iter().flatten().map(|a| a.ip()).collect()
}

/// An error with the repository it is about, where the message does not name it already.
fn about(e: Error, url: &str) -> Error {
    if e.kind == Kind::NotFound && !e.message.contains(url) { e.context(url) } else { e }
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
            Inner::Local(local) => local.refresh(cx),
        }
    }
}

impl Source for Repo {
    fn id(&self) -> String {
        format!("{}@{}", self.url.plain(), self.commit())
    }

    fn list(&self, dir: &RepoPath, recursive: bool, cx: &Cx) -> Result<Vec<Entry>> {
        match &self.inner {
            Inner::Hub(hub) => hub.list(dir, recursive, cx),
            Inner::Local(local) => local.list(dir, recursive, cx),
        }
    }

    fn stat(&self, path: &RepoPath, cx: &Cx) -> Result<Entry> {
        match &self.inner {
            Inner::Hub(hub) => hub.stat(path, cx),
            Inner::Local(local) => local.stat(path, cx),
        }
    }

    fn read(&self, path: &RepoPath, cx: &Cx) -> Result<Vec<u8>> {
        match &self.inner {
            Inner::Hub(hub) => hub.read(path, cx),
            Inner::Local(local) => local.read(path, cx),
        }
    }

    fn read_range(&self, path: &RepoPath, range: Range<u64>, cx: &Cx) -> Result<Vec<u8>> {
        match &self.inner {
            Inner::Hub(hub) => hub.read_range(path, range, cx),
            Inner::Local(local) => local.read_range(path, range, cx),
        }
    }

    fn verifies(&self, path: &RepoPath) -> Option<u64> {
        match &self.inner {
            Inner::Hub(hub) => hub.verifies(path),
            Inner::Local(local) => local.verifies(path),
        }
    }

    fn origin(&self) -> Option<RepoUrl> {
        // The branch that was meant, also when none was named.
        Some(match (self.url.rev(), self.branch()) {
            (None, Some(branch)) => self.url.at(branch),
            _ => self.url.clone(),
        })
    }

    fn branch(&self) -> Option<String> {
        Repo::branch(self)
    }

    fn refresh(&self, cx: &Cx) -> Result<bool> {
        Repo::refresh(self, cx)
    }

    fn announce(&self, paths: &[RepoPath]) {
        match &self.inner {
            Inner::Hub(hub) => hub.announce(paths),
            Inner::Local(local) => local.announce(paths),
        }
    }
}

#[cfg(test)]
mod tests;
