//! What a mount did, in numbers.

use dds_core::RepoPath;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Numbers of one mount since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Stats {
    /// Files in the tree now.
    pub files_listed: u64,
    /// Sum of their sizes in bytes, as far as known.
    pub bytes_listed: u64,
    /// Different files whose bytes were fetched, through the folder or by a command that resolved it.
    pub files_streamed: u64,
    /// Bytes of those files that were fetched; fetching the same file again does not count again.
    pub bytes_streamed: u64,
    /// Reads of the folder that were answered with bytes.
    pub reads_served: u64,
    /// Bytes of those answers. What the kernel answers from its page cache is not seen here.
    pub bytes_served: u64,
}

/// Which files were fetched, and how many bytes of each.
///
/// Kept on both sides of a mount process: the process hands over what changed, and the owner joins
/// it with its own, so that a file that both read counts once.
#[derive(Debug, Default)]
pub struct Streamed {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    files: HashMap<RepoPath, u64>,
    bytes: u64,
    changed: HashSet<RepoPath>,
}

impl Streamed {
    /// `bytes` of the file are here, if not before.
    pub fn at_least(&self, path: &RepoPath, bytes: u64) {
        self.lock().set(path, bytes);
    }

    /// `bytes` more of a file of `size` bytes came. Some may have come before: never more than all.
    pub fn more(&self, path: &RepoPath, bytes: u64, size: u64) {
        let mut state = self.lock();
        let sum = state.files.get(path).copied().unwrap_or(0).saturating_add(bytes);
        state.set(path, sum.min(size));
    }

    /// Files and bytes.
    pub fn totals(&self) -> (u64, u64) {
        let state = self.lock();
        (state.files.len() as u64, state.bytes)
    }

    /// At most `max` files that changed since they were last handed out, with their bytes.
    pub fn take_changed(&self, max: usize) -> Vec<(RepoPath, u64)> {
        let mut state = self.lock();
        let paths: Vec<RepoPath> = state.changed.iter().take(max).cloned().collect();
        paths
            .into_iter()
            .map(|path| {
                state.changed.remove(&path);
                let bytes = state.files.get(&path).copied().unwrap_or(0);
                (path, bytes)
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn set(&mut self, path: &RepoPath, bytes: u64) {
        match self.files.get_mut(path) {
            Some(known) if *known >= bytes => return,
            Some(known) => {
                self.bytes = self.bytes - *known + bytes;
                *known = bytes;
            }
            None => {
                self.files.insert(path.clone(), bytes);
                self.bytes += bytes;
            }
        }
        self.changed.insert(path.clone());
    }
}

/// The counting side of [`Stats`] in a mount process.
#[derive(Debug, Default)]
pub struct Counters {
    pub streamed: Streamed,
    reads_served: AtomicU64,
    bytes_served: AtomicU64,
}

impl Counters {
    /// `bytes` were handed to a reader.
    pub fn served(&self, bytes: usize) {
        self.reads_served.fetch_add(u64::from(bytes > 0), Ordering::Relaxed);
        self.bytes_served.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub fn stats(&self, (files, bytes): (u64, u64)) -> Stats {
        let (files_streamed, bytes_streamed) = self.streamed.totals();
        Stats {
            files_listed: files,
            bytes_listed: bytes,
            files_streamed,
            bytes_streamed,
            reads_served: self.reads_served.load(Ordering::Relaxed),
            bytes_served: self.bytes_served.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_fetched_on_both_sides_counts_once() {
        let path = |text: &str| RepoPath::parse(text).unwrap();
        let (process, owner) = (Streamed::default(), Streamed::default());
        process.at_least(&path("a"), 10);
        process.at_least(&path("a"), 10);
        process.more(&path("big"), 5, u64::MAX);
        process.more(&path("big"), 5, u64::MAX);
        owner.at_least(&path("a"), 10);
        owner.at_least(&path("b"), 1);
        while let batch = process.take_changed(1)
            && !batch.is_empty()
        {
            for (path, bytes) in batch {
                owner.at_least(&path, bytes);
            }
        }
        assert_eq!(owner.totals(), (3, 21));
        process.more(&path("big"), 2, u64::MAX);
        assert_eq!(process.take_changed(9), [(path("big"), 12)]);
        assert_eq!(process.totals(), (2, 22));
    }
}
