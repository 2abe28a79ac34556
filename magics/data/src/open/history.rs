//! The commits behind a revision, newest first.

use super::upstream::Upstream;
use crate::repository::{CommitInfo, Origin, Repository};
use dds_core::{Config, Cx, RepoPath, RepoUrl, Result};
use std::sync::Arc;

/// At most `max` commits that changed something at `path` or below. A server with DagsHub's API is asked as the Git server that it is too.
pub fn history(
    url: &RepoUrl,
    below: &RepoPath,
    config: &Config,
    max: usize,
    cx: &Cx,
) -> Result<Vec<CommitInfo>> {
    match url {
        RepoUrl::Local { path, rev } => {
            Repository::open(&cx.absolute(path))?.log(rev.as_deref(), below, max, cx)
        }
        RepoUrl::Git { url: address, rev, credentials } => {
            let upstream = Upstream::open(address, rev.as_deref(), credentials.as_ref(), config, cx)?;
            let dir = upstream.dir().to_owned();
            // What DVC kept at a path stands in files that Git fetches when they are read.
            let outside = super::outside(config, Origin::Elsewhere { public: super::is_public(address) });
            let repository = Repository::open_with(&dir, Some(outside), Some(Arc::new(upstream)))?;
            let log = repository.log(rev.as_deref(), below, max, cx);
            log.map_err(|e| super::about(e, address))
        }
        RepoUrl::Hub { base, owner, repo, rev, credentials } => {
            let git = git_of(base, owner, repo);
            history(
                &RepoUrl::Git { url: git, rev: rev.clone(), credentials: credentials.clone() },
                below,
                config,
                max,
                cx,
            )
        }
        RepoUrl::DagsHub { owner, repo, rev } => {
            let git = git_of(&config.dagshub_host, owner, repo);
            history(&RepoUrl::Git { url: git, rev: rev.clone(), credentials: None }, below, config, max, cx)
        }
    }
}

fn git_of(base: &str, owner: &str, repo: &str) -> String {
    format!("{}/{owner}/{repo}.git", base.trim_end_matches('/'))
}
