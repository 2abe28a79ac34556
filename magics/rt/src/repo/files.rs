//! Many files one after another, fetched ahead of the reader.

use super::wire::What;
use super::{Entry, Repo, Result};
use std::collections::{HashSet, VecDeque};
use std::fmt;

/// Files fetched ahead unless [`Files::ahead`] says otherwise, and at most.
const AHEAD: usize = 32;
const MAX_AHEAD: usize = 1024;

/// The files of a list with their bytes, in its order; made by [`Repo::files`] and
/// [`Repo::files_below`].
///
/// While one is used the next ones are on their way: the kernel fetches them, up to 31 at a time and
/// up to 128 MiB that wait for their reader. Each is verified. What was fetched once is in the
/// cache. A file that cannot be read is an error in its place; the next ones come all the same.
#[must_use = "files are read when the iterator is asked for them"]
pub struct Files {
    repo: Repo,
    left: VecDeque<String>,
    ahead: usize,
    /// How many of those left were announced.
    announced: usize,
    /// Folders that were listed, so that their files can be fetched ahead.
    listed: Option<HashSet<String>>,
}

impl Files {
    /// Of any files: their folders are listed first.
    pub(super) fn of_paths(repo: Repo, paths: Vec<String>) -> Self {
        Self { repo, left: paths.into(), ahead: AHEAD, announced: 0, listed: Some(HashSet::new()) }
    }

    /// Of files that come from a listing.
    pub(super) fn of_entries(repo: Repo, entries: Vec<Entry>) -> Self {
        let files = entries.into_iter().filter(Entry::is_file).map(|entry| entry.path).collect();
        Self { repo, left: files, ahead: AHEAD, announced: 0, listed: None }
    }

    /// How many files may be on their way before they are asked for: 32 unless it is called, 0 for
    /// none, at most 1024.
    pub fn ahead(mut self, count: usize) -> Self {
        self.ahead = count.min(MAX_AHEAD);
        self
    }

    /// Announces the next ones when half of those announced before were read.
    fn announce(&mut self) {
        if self.announced > self.ahead / 2 || self.announced >= self.left.len() {
            return;
        }
        let next: Vec<String> = self.left.iter().take(self.ahead).cloned().collect();
        if next.len() < 2 {
            return;
        }
        self.announced = next.len();
        let folders = match &mut self.listed {
            Some(listed) => {
                let folders = next.iter().map(|path| path.rsplit_once('/').map_or("", |(folder, _)| folder));
                folders.filter(|folder| listed.insert((*folder).to_owned())).map(str::to_owned).collect()
            }
            None => Vec::new(),
        };
        // What is not fetched ahead is fetched when it is read.
        let _ = self.repo.ask(What::Announce(folders, next), &mut |_| Ok(()));
    }
}

impl Iterator for Files {
    type Item = Result<(String, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.announce();
        let path = self.left.pop_front()?;
        self.announced = self.announced.saturating_sub(1);
        Some(self.repo.read(&path).map(|bytes| (path, bytes)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left.len(), Some(self.left.len()))
    }
}

impl ExactSizeIterator for Files {}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").field("left", &self.left.len()).field("ahead", &self.ahead).finish()
    }
}
