//! Where things lie: in the caches of the machine and in the folder of a session.
//!
//! ```text
//! CACHE/cells/ab/abcd….so              compiled cells
//! CACHE/described/KEY                  what cargo has told the analysis
//! CACHE/deps/lock                      held by every session that uses dependencies
//! CACHE/deps/TOOLCHAIN/target          cargo's target folder, shared by all sessions
//! CACHE/deps/TOOLCHAIN/plans/KEY       one set of dependencies: manifest, lock file, plan
//! SESSION/dds/src/lib.rs               the code that was compiled last
//! ```

use super::lock::InUse;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Most bytes of compiled cells that are kept.
pub(super) const MAX_CELL_BYTES: u64 = 512 << 20;
/// Most bytes of what cargo has told the analysis.
const MAX_DESCRIBED_BYTES: u64 = 8 << 20;
/// Most bytes of compiled dependencies that are kept.
const MAX_DEPS_BYTES: u64 = 12 << 30;
/// Most files looked at when sizes are summed up.
const MAX_FILES: usize = 200_000;

/// What the caches hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSizes {
    /// Bytes of compiled cells, and how many there may be.
    pub cells: u64,
    pub max_cells: u64,
    /// Bytes of compiled dependencies, and how many there may be.
    pub deps: u64,
    pub max_deps: u64,
}

/// The sizes of the caches below `cache`.
pub fn caches(cache: &Path) -> CacheSizes {
    CacheSizes {
        cells: size(&cells(cache)),
        max_cells: MAX_CELL_BYTES,
        deps: size(&deps(cache)),
        max_deps: MAX_DEPS_BYTES,
    }
}

/// Removes what has not been used for longest until both caches are within their limits, or
/// everything with `all`. Dependencies that a session uses stay. Returns the bytes freed.
///
/// # Errors
/// When a folder cannot be read.
pub fn prune(cache: &Path, all: bool) -> io::Result<u64> {
    let cells = prune_files(&cells(cache), if all { 0 } else { MAX_CELL_BYTES })?
        + prune_files(&described(cache), if all { 0 } else { MAX_DESCRIBED_BYTES })?;
    if !deps(cache).is_dir() {
        return Ok(cells);
    }
    let limit = if all { 0 } else { MAX_DEPS_BYTES };
    let deps = InUse::take(cache)?.if_alone(|| prune_deps(&deps(cache), limit))?;
    Ok(cells + deps.unwrap_or(0))
}

/// Removes compiled dependencies that were not used for longest until they take at most `limit` bytes.
/// Returns the bytes freed, or none when a session uses them: then nothing is removed.
///
/// # Errors
/// When a folder cannot be read.
pub fn prune_dependencies(cache: &Path, limit: u64) -> io::Result<Option<u64>> {
    if !deps(cache).is_dir() {
        return Ok(Some(0));
    }
    InUse::take(cache)?.if_alone(|| prune_deps(&deps(cache), limit))
}

/// What a session does when it begins: at most once a day looks whether the caches are too large.
pub(crate) fn prune_daily(cache: &Path, using: &InUse) -> io::Result<()> {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let sign = deps(cache).join("pruned");
    let age = std::fs::metadata(&sign).and_then(|meta| meta.modified()).map(|at| at.elapsed().unwrap_or(DAY));
    if age.is_ok_and(|age| age < DAY) {
        return Ok(());
    }
    prune_files(&cells(cache), MAX_CELL_BYTES)?;
    prune_files(&described(cache), MAX_DESCRIBED_BYTES)?;
    using.if_alone(|| prune_deps(&deps(cache), MAX_DEPS_BYTES))?;
    std::fs::write(sign, "")
}

pub(super) fn cells(cache: &Path) -> PathBuf {
    cache.join("cells")
}

pub(super) fn described(cache: &Path) -> PathBuf {
    cache.join("described")
}

pub(super) fn deps(cache: &Path) -> PathBuf {
    cache.join("deps")
}

/// The files of one session that are not evcxr's.
pub(crate) struct Session {
    folder: PathBuf,
}

impl Session {
    /// `folder` is evcxr's.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.join("dds") }
    }

    /// rustc runs here, so that the code is `src/lib.rs` for it.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn source(&self) -> PathBuf {
        self.folder.join("src/lib.rs")
    }

    pub(super) fn out(&self) -> PathBuf {
        self.folder.join("out")
    }

    /// Cells of a session without a cache are kept here.
    pub(super) fn own_cache(&self) -> PathBuf {
        self.folder.join("cache")
    }

    /// The messages of the last compilation that failed.
    pub(super) fn failed(&self) -> PathBuf {
        self.folder.join("failed.json")
    }

    /// Where progress is told: a datagram socket.
    pub(crate) fn progress(&self) -> PathBuf {
        self.folder.join("progress")
    }

    /// The code that was compiled last, if it was not compiled by cargo: evcxr's, in the order in
    /// which it was compiled.
    pub(crate) fn compiled(&self) -> Option<String> {
        std::fs::read_to_string(self.source()).ok()
    }
}

/// Writes a file so that nobody sees a part of it.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// One file below a folder.
struct Entry {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

fn files(folder: &Path) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                left.push(entry.path());
            } else if found.len() < MAX_FILES {
                let used = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                found.push(Entry { path: entry.path(), bytes: meta.len(), used });
            }
        }
    }
    found
}

fn size(folder: &Path) -> u64 {
    files(folder).iter().map(|entry| entry.bytes).sum()
}

/// Removes the files that were used longest ago.
pub(super) fn prune_files(folder: &Path, limit: u64) -> io::Result<u64> {
    let mut found = files(folder);
    let mut total: u64 = found.iter().map(|entry| entry.bytes).sum();
    let before = total;
    found.sort_by_key(|entry| entry.used);
    for entry in found {
        if total <= limit {
            break;
        }
        match std::fs::remove_file(&entry.path) {
            Ok(()) => total -= entry.bytes,
            // Another session was quicker.
            Err(error) if error.kind() == io::ErrorKind::NotFound => total -= entry.bytes,
            Err(error) => return Err(error),
        }
    }
    Ok(before - total)
}

/// Removes whole toolchains' dependencies, the longest unused first. The caller is alone.
fn prune_deps(folder: &Path, limit: u64) -> io::Result<u64> {
    let mut toolchains: Vec<(SystemTime, u64, PathBuf)> = std::fs::read_dir(folder)?
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| {
            let found = files(&entry.path());
            let used = found.iter().map(|file| file.used).max().unwrap_or(SystemTime::UNIX_EPOCH);
            (used, found.iter().map(|file| file.bytes).sum(), entry.path())
        })
        .collect();
    toolchains.sort();
    let mut total: u64 = toolchains.iter().map(|(_, bytes, _)| bytes).sum();
    let before = total;
    for (_, bytes, path) in toolchains {
        if total <= limit {
            break;
        }
        std::fs::remove_dir_all(&path)?;
        total -= bytes;
    }
    Ok(before - total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aged(path: &Path, bytes: usize, age: u64) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, vec![0; bytes]).unwrap();
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
    }

    #[test]
    fn the_longest_unused_goes_first() {
        let cache = tempfile::tempdir().unwrap();
        let at = |name: &str| cells(cache.path()).join(name);
        aged(&at("aa/old.so"), 100, 300);
        aged(&at("ab/new.so"), 100, 100);
        aged(&at("ab/mid.so"), 100, 200);
        assert_eq!(prune_files(&cells(cache.path()), 200).unwrap(), 100);
        assert_eq!(
            [at("aa/old.so"), at("ab/mid.so"), at("ab/new.so")].map(|p| p.exists()),
            [false, true, true]
        );
        assert_eq!(prune_files(&cells(cache.path()), 200).unwrap(), 0, "at the limit all stays");
        assert_eq!(caches(cache.path()).cells, 200);
        assert_eq!(prune(cache.path(), true).unwrap(), 200);
    }

    #[test]
    fn dependencies_in_use_stay() {
        let cache = tempfile::tempdir().unwrap();
        let old = deps(cache.path()).join("t1/target/a");
        aged(&old, 100, 300);
        aged(&deps(cache.path()).join("t2/target/a"), 100, 100);
        let used = InUse::take(cache.path()).unwrap();
        assert_eq!(prune(cache.path(), true).unwrap(), 0);
        prune_daily(cache.path(), &used).unwrap();
        assert!(old.exists());
        drop(used);
        assert_eq!(prune_deps(&deps(cache.path()), 100).unwrap(), 100);
        assert!(!old.exists());
        assert_eq!(prune(cache.path(), true).unwrap(), 100);
    }
}
