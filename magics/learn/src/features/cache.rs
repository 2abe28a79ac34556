//! Features on disk, by the digest of the file they came from.
//!
//! One small file an image under `features/<network>-<transform>/`, written under a temporary name
//! and renamed, so that processes may share it. A damaged file counts as missing. The cache only
//! saves time: when it cannot be written, nothing else changes.

use dds_core::Digest;
use md5::{Digest as _, Md5};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Most bytes of the whole cache; the oldest files go first.
pub const MAX_CACHE_BYTES: u64 = 256 << 20;
const MAGIC: &[u8; 8] = b"ddsfeat1";

pub struct FeatureCache {
    root: PathBuf,
    dir: PathBuf,
    limit: u64,
}

impl FeatureCache {
    /// `cache_dir` is the folder of all caches; `key` names network and transform.
    pub fn new(cache_dir: &Path, key: &str) -> Self {
        let root = cache_dir.join("features");
        Self { dir: root.join(key), root, limit: MAX_CACHE_BYTES }
    }

    /// Another bound than [`MAX_CACHE_BYTES`].
    pub fn with_limit(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    fn file(&self, digest: &Digest) -> PathBuf {
        let text = match digest {
            Digest::Git(_) => format!("git-{digest}"),
            Digest::Md5(_) | Digest::Md5Dir(_) => format!("md5-{digest}"),
        };
        self.dir.join(&text[4..6]).join(text)
    }

    /// The features of a file, if all `count` numbers are there and intact.
    pub fn get(&self, digest: &Digest, count: usize) -> Option<Vec<f32>> {
        let bytes = fs::read(self.file(digest)).ok()?;
        let rest = bytes.strip_prefix(MAGIC)?;
        let (sum, data) = rest.split_at_checked(16)?;
        if data.len() != count * 4 || Md5::digest(data).as_slice() != sum {
            return None;
        }
        Some(data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    }

    /// Keeps the features of a file; says whether that worked.
    pub fn put(&self, digest: &Digest, row: &[f32]) -> bool {
        let data: Vec<u8> = row.iter().flat_map(|v| v.to_le_bytes()).collect();
        let path = self.file(digest);
        let write = || -> std::io::Result<()> {
            let dir = path.parent().unwrap_or(&self.dir);
            fs::create_dir_all(dir)?;
            let mut file = tempfile::NamedTempFile::new_in(dir)?;
            file.write_all(MAGIC)?;
            file.write_all(&Md5::digest(&data))?;
            file.write_all(&data)?;
            // Not synced to the disk: a torn file fails its checksum and is computed again.
            file.persist(&path).map_err(|e| e.error)?;
            Ok(())
        };
        write().inspect_err(|e| tracing::warn!("feature cache {}: {e}", path.display())).is_ok()
    }

    /// Deletes the oldest files until four fifths of the bound are kept, when it was passed.
    pub fn prune(&self) {
        let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for key in children(&self.root) {
            for shard in children(&key) {
                for file in children(&shard) {
                    let Ok(meta) = fs::metadata(&file) else { continue };
                    files.push((meta.modified().unwrap_or(SystemTime::UNIX_EPOCH), meta.len(), file));
                }
            }
        }
        let mut total: u64 = files.iter().map(|f| f.1).sum();
        if total <= self.limit {
            return;
        }
        files.sort();
        for (_, size, file) in files {
            if total <= self.limit / 5 * 4 {
                break;
            }
            if fs::remove_file(&file).is_ok() {
                total -= size;
            }
        }
    }
}

fn children(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(i: u8) -> Digest {
        Digest::Md5([i; 16])
    }

    #[test]
    fn keeps_what_it_was_given_and_nothing_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let cache = FeatureCache::new(dir.path(), "net-squash128");
        assert_eq!(cache.get(&digest(1), 3), None);
        assert!(cache.put(&digest(1), &[1.0, -2.0, 0.5]));
        assert_eq!(cache.get(&digest(1), 3), Some(vec![1.0, -2.0, 0.5]));
        assert_eq!(cache.get(&digest(1), 4), None);
        assert_eq!(FeatureCache::new(dir.path(), "other").get(&digest(1), 3), None);
        let file = cache.file(&digest(1));
        let mut bytes = fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&file, bytes).unwrap();
        assert_eq!(cache.get(&digest(1), 3), None);
        fs::write(&file, b"ddsfeat1").unwrap();
        assert_eq!(cache.get(&digest(1), 3), None);
    }

    #[test]
    fn the_bound_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        // One entry is 8 + 16 + 4 bytes.
        let cache = FeatureCache::new(dir.path(), "k").with_limit(280);
        let count = || (0..20).filter(|i| cache.get(&digest(*i), 1).is_some()).count();
        (0..10).for_each(|i| assert!(cache.put(&digest(i), &[1.0])));
        cache.prune();
        assert_eq!(count(), 10);
        assert!(cache.put(&digest(10), &[1.0]));
        cache.prune();
        assert_eq!(count(), 8);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_no_failure() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("features"), b"a file").unwrap();
        assert!(!FeatureCache::new(dir.path(), "k").put(&digest(1), &[1.0]));
    }
}
