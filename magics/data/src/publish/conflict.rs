//! Whether others changed what we change, since the commit that our changes were made against.

use super::{Ours, Publish};
use crate::open::open_repo;
use dds_core::{Config, Cx, Digest, EntryKind, Error, Kind, RepoPath, RepoUrl, Result, Source};
use std::collections::{BTreeMap, BTreeSet};

/// Names that an error lists.
const MAX_NAMED: usize = 10;

/// The commit to build on.
///
/// Errors: `Conflict` with the files that others changed too, or when the branch moved and nobody agreed
/// to build on top; `NotFound` for a branch that is gone.
pub(super) fn checked(
    config: &Config,
    url: &RepoUrl,
    branch: &str,
    tip: Option<String>,
    wanted: &Publish,
    files: &[Ours],
    cx: &Cx,
) -> Result<Option<String>> {
    let Some(base) = wanted.base.as_ref().filter(|base| tip.as_ref() != Some(base)) else { return Ok(tip) };
    if wanted.new_branch.is_some() {
        // It begins where we began, so nobody is in the way.
        return Ok(Some(base.clone()));
    }
    let Some(tip) = tip else {
        return Err(Error::not_found(format!("there is no branch {branch:?}"))
            .hint(format!("make it: --new-branch {branch}")));
    };
    let (before, after) = (files_at(config, url, base, cx)?, files_at(config, url, &tip, cx)?);
    let theirs: BTreeSet<&RepoPath> = before
        .keys()
        .chain(after.keys())
        .filter(|path| before.get(*path) != after.get(*path) || before.get(*path) == Some(&None))
        .collect();
    let clashing = clashes(&theirs, &after, wanted, files);
    let (short, names) = (|commit: &str| commit.get(..10).unwrap_or(commit).to_owned(), named(&clashing));
    if !clashing.is_empty() {
        return Err(Error::new(
            Kind::Conflict,
            format!("somebody else changed the same on branch {branch} in the meantime: {names}"),
        )
        .hint(format!(
            "see theirs with `dds cat` at {}, or commit yours beside it with --new-branch NAME",
            url.at(branch)
        )));
    }
    if !wanted.rebase {
        return Err(Error::new(
            Kind::Conflict,
            format!(
                "branch {branch} moved from {} to {} in the meantime; others changed {}, none of yours",
                short(base),
                short(&tip),
                named(&theirs)
            ),
        )
        .hint("--rebase puts your changes on top of theirs"));
    }
    Ok(Some(tip))
}

/// What we change and they did too, in another way.
fn clashes<'a>(
    theirs: &BTreeSet<&'a RepoPath>,
    after: &BTreeMap<RepoPath, Option<Digest>>,
    wanted: &'a Publish,
    files: &'a [Ours],
) -> BTreeSet<&'a RepoPath> {
    let mut found = BTreeSet::new();
    for file in files {
        let same = after.get(&file.path).is_some_and(|digest| file.is(*digest));
        if theirs.contains(&file.path) && !same {
            found.insert(&file.path);
        }
        // A file where they made a folder, or below what is a file of theirs now.
        found.extend(theirs.iter().filter(|path| {
            let nested = path.strip_prefix(&file.path).or_else(|| file.path.strip_prefix(path));
            **path != &file.path && nested.is_some() && after.contains_key(**path)
        }));
    }
    found.extend(wanted.removed.iter().filter(|path| theirs.contains(path) && after.contains_key(*path)));
    found
}

fn named(paths: &BTreeSet<&RepoPath>) -> String {
    let shown: Vec<&str> = paths.iter().take(MAX_NAMED).map(|path| path.as_str()).collect();
    match paths.len().checked_sub(MAX_NAMED).filter(|more| *more > 0) {
        Some(more) => format!("{} and {more} more", shown.join(", ")),
        None => shown.join(", "),
    }
}

/// All files of a commit with their digests.
pub(super) fn files_at(
    config: &Config,
    url: &RepoUrl,
    commit: &str,
    cx: &Cx,
) -> Result<BTreeMap<RepoPath, Option<Digest>>> {
    let source = open_repo(&url.at(commit), config, cx)?;
    let entries = source.list(&RepoPath::root(), true, cx)?;
    let files = entries.into_iter().filter(|e| e.kind == EntryKind::File);
    Ok(files.map(|e| (e.path, e.digest)).collect())
}
