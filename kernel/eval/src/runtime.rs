//! The crate `dds` that cells import: its source, which travels inside this library, written to
//! the cache as a crate that the user's own compiler builds as a dynamic library.
//!
//! The folder is named after what is in it and never changes, so that everything that is built
//! from it can be kept.

use dds_core::{Error, Result};
use std::hash::Hasher;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Paths below `src/`, and texts.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/runtime_source.rs"));
/// Present in a folder that was written to its end.
const MARK: &str = ".complete";

/// The source of the crate: paths below its `src/`, and texts. For programs that are made of cells.
pub fn runtime_source() -> &'static [(&'static str, &'static str)] {
    FILES
}

/// Whether this version's crate lies below `cache`, ready to be built; its folder there.
pub fn runtime_folder(cache: &Path) -> (PathBuf, bool) {
    let folder = cache.join("rt").join(digest());
    let there = folder.join(MARK).is_file();
    (folder, there)
}

/// Writes the crate below `cache`, unless it is there, and returns its folder.
pub(crate) fn provide(cache: &Path) -> Result<PathBuf> {
    let parent = cache.join("rt");
    let folder = parent.join(digest());
    if folder.join(MARK).is_file() {
        return Ok(folder);
    }
    let io = |error: std::io::Error| Error::io(&folder, &error);
    std::fs::create_dir_all(&parent).map_err(io)?;
    let draft = tempfile::Builder::new().prefix(".draft-").tempdir_in(&parent).map_err(io)?;
    write_to(draft.path()).map_err(io)?;
    match std::fs::rename(draft.path(), &folder) {
        Ok(()) => drop(draft.keep()),
        // Another session was faster.
        Err(_) if folder.join(MARK).is_file() => {}
        // Something incomplete is in the way, such as after a full disk.
        Err(_) => {
            std::fs::remove_dir_all(&folder).map_err(io)?;
            std::fs::rename(draft.path(), &folder).map_err(io)?;
            drop(draft.keep());
        }
    }
    Ok(folder)
}

fn write_to(folder: &Path) -> std::io::Result<()> {
    write(&folder.join("Cargo.toml"), &manifest())?;
    for (path, text) in FILES {
        let path = folder.join("src").join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        write(&path, text)?;
    }
    write(&folder.join(MARK), "")
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = std::fs::File::create_new(path)?;
    file.write_all(text.as_bytes())?;
    let mut permissions = file.metadata()?.permissions();
    permissions.set_readonly(true);
    file.set_permissions(permissions)?;
    file.sync_all()
}

/// A dynamic library, so that its statics are those of the session and cells link in no time. A
/// workspace of its own, wherever the cache is.
fn manifest() -> String {
    format!(
        "[package]\nname = \"dds\"\nversion = {:?}\nedition = \"2024\"\n\n\
         [lib]\ncrate-type = [\"dylib\"]\n\n[workspace]\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// Tells versions of the source apart; nothing relies on it being hard to forge.
fn digest() -> String {
    // Two hashes with different beginnings: 128 bits, without another dependency.
    let halves = [0_u8, 1].map(|salt| {
        #[expect(deprecated, reason = "the same in every version of the standard library")]
        let mut hasher = std::hash::SipHasher::new();
        hasher.write_u8(salt);
        let manifest = manifest();
        for (path, text) in FILES.iter().copied().chain([("Cargo.toml", manifest.as_str())]) {
            for part in [path, text] {
                hasher.write_usize(part.len());
                hasher.write(part.as_bytes());
            }
        }
        format!("{:016x}", hasher.finish())
    });
    halves.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crate_is_written_once_and_whole() {
        let cache = tempfile::tempdir().unwrap();
        let folder = provide(cache.path()).unwrap();
        assert!(folder.join("src/lib.rs").is_file() && folder.join("src/comm.rs").is_file());
        let when = std::fs::metadata(folder.join("Cargo.toml")).unwrap().modified().unwrap();
        assert_eq!(provide(cache.path()).unwrap(), folder);
        assert_eq!(std::fs::metadata(folder.join("Cargo.toml")).unwrap().modified().unwrap(), when);
        let entries = std::fs::read_dir(cache.path().join("rt")).unwrap();
        assert_eq!(entries.count(), 1);
    }

    #[test]
    fn what_is_incomplete_is_replaced() {
        let cache = tempfile::tempdir().unwrap();
        let folder = provide(cache.path()).unwrap();
        std::fs::remove_file(folder.join(MARK)).unwrap();
        std::fs::remove_file(folder.join("src/lib.rs")).unwrap();
        assert_eq!(provide(cache.path()).unwrap(), folder);
        assert!(folder.join("src/lib.rs").is_file());
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_said() {
        let cache = tempfile::NamedTempFile::new().unwrap();
        assert!(provide(cache.path()).unwrap_err().message.contains("rt"));
    }

    #[test]
    fn every_module_travels() {
        let lib = FILES.iter().find(|(path, _)| *path == "lib.rs").unwrap().1;
        let modules = lib.lines().filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "));
        for module in modules.map(|name| format!("{}.rs", name.trim_end_matches(';'))) {
            assert!(FILES.iter().any(|(path, _)| *path == module), "{module}");
        }
    }
}
