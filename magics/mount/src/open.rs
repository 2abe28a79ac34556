//! Where sources come from: the seam between mounts and whatever opens repositories.

use dds_core::{Config, Cx, RepoUrl, Result, Secret, Source};
use std::sync::Arc;

/// Opens repositories. The real one is [`Repositories`]; tests bring their own.
pub trait Opener: Send + Sync {
    /// Pins the revision of `url` and gives its tree. Errors: `NotFound`, `Unauthorized`, `Unreachable`.
    fn open(&self, url: &RepoUrl, config: &Config, cx: &Cx) -> Result<Arc<dyn Source>>;
}

/// Opens repositories by `dds-data`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Repositories;

impl Opener for Repositories {
    fn open(&self, url: &RepoUrl, config: &Config, cx: &Cx) -> Result<Arc<dyn Source>> {
        dds_data::open(url, config, cx)
    }
}

/// The commit in a source's name, `URL@commit`; none when it has no such form.
pub fn commit_of(id: &str) -> Option<&str> {
    let (_, commit) = id.rsplit_once('@')?;
    is_commit(commit).then_some(commit)
}

/// Whether a revision names a commit (by its full hash) and so never moves.
pub fn is_commit(rev: &str) -> bool {
    rev.len() == 40 && rev.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The same repository at the very commit that `source` shows, so that the mount process shows it too.
pub fn pinned(url: &RepoUrl, source: &dyn Source) -> RepoUrl {
    match commit_of(&source.id()) {
        Some(commit) => url.at(commit),
        None => url.clone(),
    }
}

/// The same URL with an access token, where a token has a place.
pub fn with_token(url: RepoUrl, config: &Config, token: Option<&Secret>) -> (RepoUrl, Config) {
    let mut config = config.clone();
    let Some(token) = token.filter(|token| !token.is_empty()) else { return (url, config) };
    if let RepoUrl::DagsHub { .. } = url {
        config.dagshub_token = Some(token.clone());
        return (url, config);
    }
    let url = url.with_token(token, &config.dagshub_host);
    (url, config)
}

/// Whether two URLs name the same repository, whatever the revision and the credentials.
pub fn same_repository(a: &RepoUrl, b: &RepoUrl) -> bool {
    match (a, b) {
        (
            RepoUrl::Hub { base: base_a, owner: owner_a, repo: repo_a, .. },
            RepoUrl::Hub { base: base_b, owner: owner_b, repo: repo_b, .. },
        ) => (base_a, owner_a, repo_a) == (base_b, owner_b, repo_b),
        (
            RepoUrl::DagsHub { owner: owner_a, repo: repo_a, .. },
            RepoUrl::DagsHub { owner: owner_b, repo: repo_b, .. },
        ) => (owner_a, repo_a) == (owner_b, repo_b),
        (RepoUrl::Git { url: a, .. }, RepoUrl::Git { url: b, .. }) => a == b,
        (RepoUrl::Local { path: a, .. }, RepoUrl::Local { path: b, .. }) => a == b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_told_from_branches() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(commit_of(&format!("http://user@h/o/r@{commit}")), Some(commit));
        assert_eq!(commit_of("http://h/o/r@main"), None);
        assert_eq!(commit_of("memory"), None);
    }

    #[test]
    fn a_repository_is_the_same_at_every_revision() {
        let url = |text: &str| RepoUrl::parse(text).unwrap();
        assert!(same_repository(&url("http://h:1/o/r@main"), &url("http://user:x@h:1/o/r")));
        assert!(!same_repository(&url("http://h:1/o/r"), &url("http://h:2/o/r")));
        assert!(!same_repository(&url("http://h:1/o/r"), &url("dagshub://o/r")));
        assert!(same_repository(&url("/a/b@v1"), &url("/a/b")));
    }
}
