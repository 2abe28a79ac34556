//! Data that goes to a DVC remote elsewhere.

use super::super::{Stores, stores};
use crate::remote::Remote;
use crate::runtime;
use crate::store::{BlobStore, Layout};
use dds_core::{Cx, Digest, Error, RepoPath, Result};
use futures_util::{StreamExt, TryStreamExt};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Objects sent to a remote at the same time.
const PUSH_WIDTH: usize = 16;

/// Brings objects to a remote elsewhere: files first, then the manifests that name them.
pub(super) fn push(remote: Arc<dyn Remote>, cache: &BlobStore, digests: &BTreeSet<Digest>) -> Result<()> {
    let (manifests, files): (Vec<Digest>, Vec<Digest>) =
        digests.iter().partition(|d| matches!(d, Digest::Md5Dir(_)));
    for some in [files, manifests] {
        let sends = some.into_iter().map(|digest| {
            let (remote, cache) = (remote.clone(), cache.clone());
            async move {
                let key = stores::key(&digest, Layout::V3)
                    .ok_or_else(|| Error::internal(format!("{digest} is not a DVC digest")))?;
                let file = cache.path(&digest, Layout::V3);
                let len = cache
                    .len(&digest, Layout::V3)
                    .ok_or_else(|| Error::not_found(format!("{}: not in the cache", file.display())))?;
                if remote.len(&key).await? == Some(len) {
                    return Ok(());
                }
                remote.put(&key, file, len).await
            }
        });
        let all = futures_util::stream::iter(sends.collect::<Vec<_>>()).buffer_unordered(PUSH_WIDTH);
        runtime::wait(async move { all.try_collect::<()>().await }, &Cx::silent("/"))?;
    }
    Ok(())
}

/// Why a file that would be kept by DVC cannot be.
pub(super) fn no_remote(path: Option<&RepoPath>, stores: &Stores) -> Error {
    let path = path.map(ToString::to_string).unwrap_or_default();
    match stores.unopened_default() {
        Some((name, "")) => Error::usage(format!(
            "{path} would be kept by DVC, whose remote {name:?} is a folder of another machine"
        )),
        Some((name, scheme)) => Error::usage(format!(
            "{path} would be kept by DVC, whose remote {name:?} ({scheme}) dds does not open"
        )),
        None => Error::usage(format!(
            "{path} would be kept by DVC, and the repository names no default DVC remote to keep it on"
        )),
    }
    .hint(
        "upload it with --versioning git, or name a remote in the repository (`dvc remote add -d NAME URL`) and \
         push that",
    )
}
