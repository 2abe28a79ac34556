//! The standard library's source as the analysis reads it: a folder of links that leaves out what
//! hardly any notebook names and what is more than half of the whole, the intrinsics of every
//! processor (`std::arch`). The analysis holds a quarter less, and is there sooner for the first
//! `let`. Without the folder it takes the compiler's own.

use super::stand;
use std::path::Path;
use std::process::{Command, Stdio};

/// The analysis asks this variable for the source.
pub(super) const SOURCE_VAR: &str = "RUST_SRC_PATH";
/// Set to `full` by users whose cells work with `std::arch`.
pub(super) const ANALYSIS_VAR: &str = "DDS_ANALYSIS";
/// Folders of the source that are left out: `std::arch`, and `std::simd`, which is not stable.
const LEFT_OUT: [&str; 2] = ["stdarch", "portable-simd"];
/// Copied, because cargo may write to it.
const LOCK: &str = "Cargo.lock";
/// Linked last: a folder without it is not used.
const CORE: &str = "core";

/// Makes the folder that this process has named to the analysis, for the compiler that is found now.
pub(crate) fn provide() {
    let Some(folder) = stand::library_source() else { return };
    // The analysis takes a folder with `core` in it for complete; what another session has made stays.
    if let Err(error) = provide_at(&folder) {
        tracing::debug!("the analysis reads the whole standard library: {error}");
    }
}

fn provide_at(folder: &Path) -> std::io::Result<()> {
    let mut rustc = Command::new("rustc");
    stand::restore_environment(&mut rustc);
    let output = rustc.args(["--print", "sysroot"]).stdin(Stdio::null()).stderr(Stdio::null()).output()?;
    let sysroot = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let source = Path::new(&sysroot).join("lib/rustlib/src/rust/library");
    if sysroot.is_empty() || !source.join("core/src/lib.rs").is_file() {
        return Err(std::io::Error::other("the compiler has no component rust-src"));
    }
    link_all(&source, folder)
}

fn link_all(source: &Path, folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for entry in std::fs::read_dir(source)? {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        if name == LOCK {
            // Whole at every moment, for a session that begins now.
            super::layout::write_whole(&folder.join(LOCK), &std::fs::read(source.join(LOCK))?)?;
        } else if name != CORE && !LEFT_OUT.contains(&name) {
            stand::link(&source.join(name), folder, name)?;
        }
    }
    stand::link(&source.join(CORE), folder, CORE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_linked_and_follow_the_compiler() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("lean");
        for version in ["1", "2"] {
            let source = place.path().join(version);
            for name in ["core/src", "std/src", "stdarch/src", "portable-simd"] {
                std::fs::create_dir_all(source.join(name)).unwrap();
            }
            for file in ["core/src/lib.rs", "std/src/lib.rs", "Cargo.toml", "Cargo.lock"] {
                std::fs::write(source.join(file), version).unwrap();
            }
            link_all(&source, &folder).unwrap();
            for file in ["core/src/lib.rs", "std/src/lib.rs", "Cargo.toml", "Cargo.lock"] {
                assert_eq!(std::fs::read_to_string(folder.join(file)).unwrap(), version, "{file}");
            }
            // What cargo writes stays out of the compiler's folder.
            std::fs::write(folder.join("Cargo.lock"), "written").unwrap();
            assert_eq!(std::fs::read_to_string(source.join("Cargo.lock")).unwrap(), version);
        }
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 4);
    }
}
