//! Revisions that were resolved a moment ago: kept while the files that decide about them are the same,
//! so that a change is seen at once, by whichever process it is made.
//!
//! Only direct references are kept; what a symbolic one leads to is decided elsewhere.

use super::Revision;
use super::stamp::Stamp;
use crate::flight::lock;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Names that are kept; at this bound all are forgotten.
pub const MAX_KEPT: usize = 256;
/// For file systems whose metadata say less than they should.
const MAX_AGE: Duration = Duration::from_secs(1);

/// What the files that decide about a name looked like: its branch, its tag, the packed references.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deciding([Option<Stamp>; 3]);

#[derive(Debug)]
struct Known {
    deciding: Deciding,
    revision: Revision,
    since: Instant,
}

#[derive(Debug)]
pub struct Revisions {
    /// The folder with `refs`, which all worktrees share.
    common: PathBuf,
    known: Mutex<HashMap<String, Known>>,
}

impl Revisions {
    pub fn new(common: &Path) -> Self {
        Self { common: common.to_owned(), known: Mutex::default() }
    }

    /// What `rev` was resolved to, when nothing has changed since.
    pub fn get(&self, rev: &str) -> Option<Revision> {
        let (deciding, revision) = {
            let known = lock(&self.known);
            let kept = known.get(rev).filter(|k| k.since.elapsed() < MAX_AGE)?;
            (kept.deciding, kept.revision.clone())
        };
        (self.deciding(rev) == deciding).then_some(revision)
    }

    /// To be asked before resolving; none where the answer must not be kept.
    pub fn before(&self, rev: &str) -> Option<Deciding> {
        if !git2::Reference::is_valid_name(&format!("refs/heads/{rev}")) {
            return None;
        }
        let deciding = self.deciding(rev);
        deciding.0.iter().flatten().all(Stamp::is_settled).then_some(deciding)
    }

    /// Keeps an answer that was found after `deciding` had been looked at.
    pub fn keep(&self, rev: &str, deciding: Deciding, revision: &Revision) {
        let mut known = lock(&self.known);
        if known.len() >= MAX_KEPT && !known.contains_key(rev) {
            known.clear();
        }
        let since = Instant::now();
        known.insert(rev.to_owned(), Known { deciding, revision: revision.clone(), since });
    }

    fn deciding(&self, rev: &str) -> Deciding {
        let stamp = |at: PathBuf| std::fs::symlink_metadata(at).ok().map(|m| Stamp::of(&m));
        let named = |kind: &str| stamp(self.common.join(format!("refs/{kind}/{rev}")));
        Deciding([named("heads"), named("tags"), stamp(self.common.join("packed-refs"))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_until_a_deciding_file_changes_and_never_more_than_the_bound() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("refs/heads")).unwrap();
        let revisions = Revisions::new(dir.path());
        let revision = Revision { commit: git2::Oid::ZERO_SHA1, branch: None };
        for file in ["refs/heads/x", "packed-refs"] {
            let deciding = revisions.before("x").unwrap_or(revisions.deciding("x"));
            revisions.keep("x", deciding, &revision);
            assert_eq!(revisions.get("x"), Some(revision.clone()));
            std::fs::write(at(file), b"other").unwrap();
            assert_eq!(revisions.get("x"), None, "{file}");
        }
        let nothing = revisions.deciding("none");
        for n in 0..MAX_KEPT {
            revisions.keep(&format!("n{n}"), nothing, &revision);
        }
        assert!(lock(&revisions.known).len() <= MAX_KEPT);
        for bad in ["..", "../x", "a/../../x", "", "x.lock", "a b"] {
            assert_eq!(revisions.before(bad), None, "{bad}");
        }
    }
}
