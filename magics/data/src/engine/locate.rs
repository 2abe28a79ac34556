//! From what a user typed to the tree behind it: `URL[@REV][:PATH]`, a path inside a mount, or an
//! ordinary path of this machine.

use super::folder::Folder;
use dds_core::{Cx, Error, Located, RepoPath, RepoTarget, Resolver, Result, Source};
use std::sync::Arc;

/// A tree and a path in it.
pub struct Place {
    pub source: Arc<dyn Source>,
    pub path: RepoPath,
}

/// Finds the tree for `text`. Errors: `Usage` for a malformed URL, `NotFound` for a local path that
/// does not exist, and whatever opening a repository gives.
pub fn locate(text: &str, resolver: &dyn Resolver, cx: &Cx) -> Result<Place> {
    if RepoTarget::looks_like_url(text) {
        let target = RepoTarget::parse(text)?;
        return Ok(Place { source: resolver.open(&target.url, cx)?, path: target.path });
    }
    let absolute = cx.absolute(text);
    match resolver.resolve(&absolute) {
        Located::Remote { source, path } => Ok(Place { source, path }),
        Located::Local(path) => {
            let meta = std::fs::metadata(&path).map_err(|e| Error::io(&path, &e))?;
            if meta.is_dir() {
                return Ok(Place { source: Arc::new(Folder::new(path)), path: RepoPath::root() });
            }
            let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
                return Err(Error::usage(format!("{}: not a file name in UTF-8", path.display())));
            };
            Ok(Place { source: Arc::new(Folder::new(dir.to_owned())), path: RepoPath::root().child(name)? })
        }
    }
}
