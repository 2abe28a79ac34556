//! Reading a tree of files, wherever it is.

use crate::{Cx, Digest, RepoPath, Result};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    File,
    Dir,
}

/// Who keeps the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Versioning {
    Git,
    Dvc,
    Bucket,
    /// An ordinary file of this machine.
    Local,
}

/// One file or folder of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub path: RepoPath,
    pub kind: EntryKind,
    /// Bytes; none for folders and where the listing does not say.
    pub size: Option<u64>,
    pub digest: Option<Digest>,
    pub versioning: Versioning,
    /// Marked as a program, by Git or DVC. Not every server tells.
    pub executable: bool,
}

/// A tree of files at one pinned revision. Implementations are cheap to share and may be called
/// from many threads at once.
pub trait Source: Send + Sync {
    /// `URL@commit`: names the content for good. Holds no credentials.
    fn id(&self) -> String;

    /// The entries of `dir`, sorted by path; with `recursive`, all files below it (no folders).
    /// Errors: `NotFound` when `dir` does not exist or is a file.
    fn list(&self, dir: &RepoPath, recursive: bool, cx: &Cx) -> Result<Vec<Entry>>;

    /// One entry, with its size. Errors: `NotFound`.
    fn stat(&self, path: &RepoPath, cx: &Cx) -> Result<Entry>;

    /// All bytes of a file, verified against its digest. Errors: `NotFound`, `Corrupt`, `Unreachable`.
    fn read(&self, path: &RepoPath, cx: &Cx) -> Result<Vec<u8>>;

    /// The bytes of a file in `range`, cut at its end.
    fn read_range(&self, path: &RepoPath, range: Range<u64>, cx: &Cx) -> Result<Vec<u8>>;

    /// Some while [`Source::read_range`] gives out the last bytes of a file only when the whole of it is
    /// verified, so that who reads it from start to end need not do it again: for as long as the number is the
    /// same.
    fn verifies(&self, _path: &RepoPath) -> Option<u64> {
        None
    }

    /// Where it was opened from, with the revision as the user named it (uploads follow a branch) and
    /// with credentials; none when nothing can be uploaded there.
    fn origin(&self) -> Option<crate::RepoUrl> {
        None
    }

    /// The branch that is followed; none when a commit or a tag was opened, which never move.
    fn branch(&self) -> Option<String> {
        None
    }

    /// Looks whether the branch has moved, and follows it. Says whether it had.
    fn refresh(&self, _cx: &Cx) -> Result<bool> {
        Ok(false)
    }

    /// Announces the files that will be read next, in reading order, so that they can be fetched ahead.
    fn announce(&self, _paths: &[RepoPath]) {}
}

/// Where a path of the user leads.
#[derive(Clone)]
pub enum Located {
    Local(PathBuf),
    Remote { source: Arc<dyn Source>, path: RepoPath },
}

/// Turns a path that a user wrote into the source behind it: mounted folders lead to their
/// repository, so that engines read it directly and not through FUSE.
pub trait Resolver: Send + Sync {
    /// `path` is absolute.
    fn resolve(&self, path: &Path) -> Located;

    /// Opens a repository by URL (`URL[@REV]`).
    fn open(&self, url: &crate::RepoUrl, cx: &Cx) -> Result<Arc<dyn Source>>;
}

/// What Rust cells reach through the crate `dds`: repositories under the names that users give them.
/// May be called from many threads at once.
pub trait CellData: Send + Sync {
    /// The repository that `target` names and the place in it: a URL, a path of this machine or in a
    /// mount, each with a path in it, or nothing for the repository around `cx.cwd`. With `newest` a
    /// branch is at its newest commit, unless a mount shows it.
    ///
    /// Errors: `Usage` for what is no repository, `NotFound`, `Unauthorized`, `Unreachable`.
    fn open(&self, target: &str, newest: bool, cx: &Cx) -> Result<(Arc<dyn Source>, RepoPath)>;

    /// Moves whatever follows the branch of `target` to its newest commit.
    fn refresh(&self, target: &str, cx: &Cx) -> Result<()>;

    /// Uploads files and folders of this machine into the folder `to` of what `target` names.
    fn upload(
        &self,
        target: &str,
        files: &[String],
        to: &RepoPath,
        message: Option<&str>,
        cx: &Cx,
    ) -> Result<Uploaded>;
}

/// The commit that an upload made, or found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploaded {
    pub commit: String,
    pub branch: String,
    /// False when the repository held all of it already.
    pub changed: bool,
}
