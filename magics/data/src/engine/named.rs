//! Which repository a text names, for programs: always one as a whole or a place in it, never an
//! ordinary folder.

use super::Data;
use crate::here;
use dds_core::mime::printable;
use dds_core::{Cx, Error, Located, RepoPath, RepoTarget, RepoUrl, Result, Source};
use std::path::Path;
use std::sync::Arc;

/// A repository and the place in it.
pub enum Named {
    /// What a mount shows.
    Mounted(Arc<dyn Source>, RepoPath),
    At(RepoUrl, RepoPath),
}

impl Data {
    /// What `target` names, seen from `cx.cwd`: a URL, a path of this machine or in a mount, each with
    /// a path in it; nothing, or `.`, is all of the repository around.
    ///
    /// Errors (`Usage`): no repository.
    pub fn named(&self, target: &str, cx: &Cx) -> Result<Named> {
        let target = target.trim();
        if RepoTarget::looks_like_url(target) {
            let target = RepoTarget::parse(target)?;
            return Ok(Named::At(target.url, target.path));
        }
        let is_around = target.is_empty() || target == ".";
        let at = cx.absolute(target);
        match self.resolver.resolve(&at) {
            Located::Remote { source, .. } if is_around => {
                return Ok(Named::Mounted(source, RepoPath::root()));
            }
            Located::Remote { source, path } => return Ok(Named::Mounted(source, path)),
            Located::Local(_) if is_around => {
                let here = here::around(&at, &self.config)?.ok_or_else(|| no_repository(&at))?;
                return Ok(Named::At(here.url, RepoPath::root()));
            }
            Located::Local(_) => {}
        }
        if let Some(inside) = here::at_revision(target, cx)? {
            return Ok(Named::At(inside.url, inside.path));
        }
        if !at.exists()
            && target.contains(':')
            && let Ok(RepoTarget { url: RepoUrl::Local { path, rev }, path: inside }) =
                RepoTarget::parse(target)
            && cx.absolute(&path).is_dir()
        {
            return Ok(Named::At(RepoUrl::Local { path: cx.absolute(path), rev }, inside));
        }
        if let Some((path, below)) = here::working_tree(&at)? {
            return Ok(Named::At(RepoUrl::Local { path, rev: None }, below));
        }
        if at.join("HEAD").is_file() {
            return Ok(Named::At(RepoUrl::Local { path: at, rev: None }, RepoPath::root()));
        }
        Err(no_repository(&at))
    }
}

fn no_repository(at: &Path) -> Error {
    let shown = at.display().to_string();
    let error = Error::usage(format!("{} is in no Git repository and in no mount", printable(&shown)));
    error.hint("give a URL, such as dagshub://OWNER/REPO, or a folder of a repository; ordinary files are read by std::fs")
}
