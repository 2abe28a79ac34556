//! The standard library's source as the analysis reads it: a folder of links that leaves out what
//! hardly any notebook names and what is half of the whole, the intrinsics of every processor
//! (`std::arch`). It halves what the analysis reads before the first `let`, and a third of what it
//! holds. Without the folder the analysis takes the compiler's own.

use super::stand;
use std::path::Path;
use std::process::{Command, Stdio};

/// The analysis asks this variable for the source.
pub(super) const SOURCE_VAR: &str = "RUST_SRC_PATH";
/// Set to `full` by users whose cells work with `std::arch`.
pub(super) const ANALYSIS_VAR: &str = "DDS_ANALYSIS";
/// Where the analysis looks for a crate, and where it lies in the compiler's source.
const CRATES: [(&str, &str); 8] = [
    ("core", "core"),
    ("alloc", "alloc"),
    ("std", "std"),
    ("proc_macro", "proc_macro"),
    ("panic_unwind", "panic_unwind"),
    ("unwind", "unwind"),
    ("backtrace", "backtrace"),
    ("stdarch/crates/std_detect", "std_detect"),
];

/// Makes the folder that this process has named to the analysis, for the compiler that is found now.
pub(crate) fn provide() {
    let Some(folder) = stand::library_source() else { return };
    if let Err(error) = provide_at(&folder) {
        tracing::debug!("the analysis reads the whole standard library: {error}");
        // The analysis takes a folder with `core` in it for complete.
        let _ = std::fs::remove_dir_all(&folder);
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
    link_crates(&source, folder)
}

fn link_crates(source: &Path, folder: &Path) -> std::io::Result<()> {
    // `core` comes last: a folder without it is not used.
    for (name, place) in CRATES.into_iter().rev() {
        let target = source.join(place).join("src");
        if target.is_dir() {
            let parent = folder.join(name);
            std::fs::create_dir_all(&parent)?;
            stand::link(&target, &parent, "src")?;
        }
    }
    Ok(())
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
            for (_, crate_folder) in CRATES {
                std::fs::create_dir_all(source.join(crate_folder).join("src")).unwrap();
                std::fs::write(source.join(crate_folder).join("src/lib.rs"), version).unwrap();
            }
            link_crates(&source, &folder).unwrap();
            for (name, _) in CRATES {
                assert_eq!(std::fs::read_to_string(folder.join(name).join("src/lib.rs")).unwrap(), version);
            }
        }
        assert!(!folder.join("stdarch/crates/core_arch").exists());
    }
}
