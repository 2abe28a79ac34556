//! The commits behind a revision, newest first.

use super::upstream::Upstream;
use crate::repository::{CommitInfo, Repository};
use dds_core::{Config, Cx, RepoUrl, Result};

/// At most `max` commits. A server with DagsHub's API is asked as the Git server that it is too.
pub fn history(url: &RepoUrl, config: &Config, max: usize, cx: &Cx) -> Result<Vec<CommitInfo>> {
    match url {
        RepoUrl::Local { path, rev } => Repository::open(&cx.absolute(path))?.log(rev.as_deref(), max, cx),
        RepoUrl::Git { url: address, rev, credentials } => {
            let upstream = Upstream::open(address, rev.as_deref(), credentials.as_ref(), config, cx)?;
            let log = Repository::open(upstream.dir())?.log(rev.as_deref(), max, cx);
            log.map_err(|e| super::about(e, address))
        }
        RepoUrl::Hub { base, owner, repo, rev, credentials } => {
            let git = git_of(base, owner, repo);
            history(
                &RepoUrl::Git { url: git, rev: rev.clone(), credentials: credentials.clone() },
                config,
                max,
                cx,
            )
        }
        RepoUrl::DagsHub { owner, repo, rev } => {
            let git = git_of(&config.dagshub_host, owner, repo);
            history(&RepoUrl::Git { url: git, rev: rev.clone(), credentials: None }, config, max, cx)
        }
    }
}

fn git_of(base: &str, owner: &str, repo: &str) -> String {
    format!("{}/{owner}/{repo}.git", base.trim_end_matches('/'))
}
