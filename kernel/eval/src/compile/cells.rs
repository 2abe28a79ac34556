//! The cache of compiled cells: shared objects with a seal behind them, so that a file that was
//! damaged or cut short counts as missing.

use super::layout;
use sha2::{Digest, Sha256};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Behind the object; the loader does not look there.
const SEAL: &[u8; 8] = b"ddscell1";
const DIGEST_BYTES: usize = 32;
/// One in so many new cells looks whether the cache has grown too large.
const PRUNE_EVERY: u32 = 64;

fn path(cache: &Path, key: &str) -> PathBuf {
    let first = key.get(..2).unwrap_or("00");
    layout::cells(cache).join(first).join(format!("{key}.so"))
}

/// Copies a cell to `to`, if it is there. A copy and no link: the loader takes two names of one
/// file for one library, whose statics cells would share.
pub(super) fn get(cache: &Path, key: &str, to: &Path) -> Option<()> {
    let path = path(cache, key);
    let bytes = std::fs::read(&path).ok()?;
    let object = opened(&bytes)?;
    std::fs::write(to, object).ok()?;
    if let Ok(file) = std::fs::File::options().append(true).open(&path) {
        let _ = file.set_modified(SystemTime::now());
    }
    Some(())
}

/// Keeps a cell.
pub(super) fn put(cache: &Path, key: &str, so: &Path) -> io::Result<()> {
    let mut bytes = std::fs::read(so)?;
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    bytes.extend_from_slice(SEAL);
    layout::write_whole(&path(cache, key), &bytes)?;
    if u32::from_str_radix(key.get(..4).unwrap_or("0"), 16).unwrap_or(0) % PRUNE_EVERY == 0 {
        layout::prune_files(&layout::cells(cache), layout::MAX_CELL_BYTES)?;
    }
    Ok(())
}

fn opened(bytes: &[u8]) -> Option<&[u8]> {
    let bytes = bytes.strip_suffix(SEAL)?;
    let (object, digest) = bytes.split_at_checked(bytes.len().checked_sub(DIGEST_BYTES)?)?;
    (Sha256::digest(object).as_slice() == digest).then_some(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_is_missing() {
        let place = tempfile::tempdir().unwrap();
        let (so, copy) = (place.path().join("a.so"), place.path().join("b.so"));
        std::fs::write(&so, "object").unwrap();
        let key = "ab12".repeat(16);
        assert!(get(place.path(), &key, &copy).is_none());
        put(place.path(), &key, &so).unwrap();
        get(place.path(), &key, &copy).unwrap();
        assert_eq!(std::fs::read(&copy).unwrap(), b"object");
        let kept = path(place.path(), &key);
        let whole = std::fs::read(&kept).unwrap();
        for damaged in [&whole[..whole.len() - 1], &whole[1..], b"", SEAL] {
            std::fs::write(&kept, damaged).unwrap();
            assert!(get(place.path(), &key, &copy).is_none());
        }
    }
}
