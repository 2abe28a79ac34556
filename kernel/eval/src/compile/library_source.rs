//! The standard library as the analysis reads it: a workspace of our own around the compiler's
//! sources. It leaves out what hardly any notebook names and what is more than half of the whole,
//! the intrinsics of every processor (`std::arch`), and has stand-ins for the crates behind it
//! (`hashbrown`, `libc`): their types without their code. The analysis holds half as much and is
//! there sooner for the first `let`; and cargo asks no registry to describe it. Without the folder
//! the analysis takes the compiler's own.

use super::digest::Key;
use super::stand;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The analysis asks this variable for the source.
pub(super) const SOURCE_VAR: &str = "RUST_SRC_PATH";
/// Set to `full` by users whose cells work with `std::arch`.
const ANALYSIS_VAR: &str = "DDS_ANALYSIS";
/// The library's own packages, and on which of the others each depends.
const PACKAGES: [(&str, &[&str]); 5] = [
    ("alloc", &["core"]),
    ("proc_macro", &["core", "std"]),
    ("std", &["alloc", "core", "hashbrown", "libc", "std_detect"]),
    ("std_detect", &["alloc", "core", "libc"]),
    // Last: a folder without it is not used.
    ("core", &[]),
];
/// Our stand-ins, with what they depend on.
const STAND_INS: [(&str, &[&str], &str); 2] = [
    ("hashbrown", &["core"], include_str!("library_source/hashbrown.rs")),
    ("libc", &["core"], include_str!("library_source/libc.rs")),
];

/// Folder without anything in it, for the very first cell, which is evcxr's own and names nothing.
const EMPTY: &str = "std-none";
/// What this process's link is called, with the process's number behind it.
const LINK: &str = "source-";
/// Where a package's source begins.
const ROOT: &str = "src/lib.rs";

/// The link by which the analysis of this process finds the library. What the analysis reads first
/// is read again as soon as the crate `dds` is added, and then everything that it concluded is void:
/// so at first the link leads to an empty library. Gone when dropped.
pub(crate) struct LibrarySource {
    link: PathBuf,
}

impl LibrarySource {
    /// None where the user has said where the source is, or no link can be made: then the analysis
    /// reads what it finds.
    pub(crate) fn begin() -> Option<Self> {
        let link = stand::library_source()?;
        let folder = link.parent()?;
        remove_old_links(folder);
        let made = empty_library(&folder.join(EMPTY)).and_then(|()| lead(&link, &folder.join(EMPTY)));
        match made {
            Ok(()) => Some(Self { link }),
            Err(error) => {
                tracing::debug!("the analysis reads the standard library at once: {error}");
                let _ = std::fs::remove_file(&link);
                None
            }
        }
    }

    /// From now on the link leads to the library of the compiler that is found now.
    pub(crate) fn provide(&self) {
        if let Err(error) = self.try_provide() {
            // Without the link the analysis looks for the compiler's own.
            tracing::debug!("the analysis reads the whole standard library: {error}");
            let _ = std::fs::remove_file(&self.link);
        }
    }

    fn try_provide(&self) -> std::io::Result<()> {
        let source = of_the_compiler()?;
        if std::env::var_os(ANALYSIS_VAR).is_some_and(|value| value == "full") {
            return lead(&self.link, &source);
        }
        let mut key = Key::new("library source");
        key.part(source.as_os_str().as_encoded_bytes());
        let name = format!("std-{}", key.hex().get(..16).unwrap_or("0"));
        let folder = self.link.with_file_name(name);
        link_all(&source, &folder)?;
        lead(&self.link, &folder)
    }
}

impl Drop for LibrarySource {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.link);
    }
}

/// The name of this process's link in a folder.
pub(super) fn link_in(folder: &Path) -> PathBuf {
    folder.join(format!("{LINK}{}", std::process::id()))
}

/// Links of processes that could not remove them.
fn remove_old_links(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(LINK));
        if let Some(process) = process.and_then(|number| number.parse::<u32>().ok())
            && !Path::new("/proc").join(process.to_string()).exists()
        {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// All that cargo reads of a folder that this module has made.
///
/// # Errors
/// When it is another folder.
pub(super) fn manifests(folder: &Path) -> std::io::Result<String> {
    let is_ours = folder.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"std-"));
    if !is_ours {
        return Err(std::io::Error::other("the library is the compiler's own"));
    }
    let names = STAND_INS.iter().map(|(name, ..)| *name).chain(PACKAGES.map(|(name, _)| name));
    // The empty one has only one of them.
    Ok(names
        .map(|name| std::fs::read_to_string(folder.join(name).join("Cargo.toml")).unwrap_or_default())
        .collect())
}

fn lead(link: &Path, target: &Path) -> std::io::Result<()> {
    let (Some(folder), Some(name)) = (link.parent(), link.file_name().and_then(|name| name.to_str())) else {
        return Err(std::io::Error::other("the link has no name"));
    };
    stand::link(target, folder, name)
}

fn of_the_compiler() -> std::io::Result<PathBuf> {
    let mut rustc = Command::new("rustc");
    stand::restore_environment(&mut rustc);
    let output = rustc.args(["--print", "sysroot"]).stdin(Stdio::null()).stderr(Stdio::null()).output()?;
    let sysroot = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let source = Path::new(&sysroot).join("lib/rustlib/src/rust/library");
    if sysroot.is_empty() || !source.join("core").join(ROOT).is_file() {
        return Err(std::io::Error::other("the compiler has no component rust-src"));
    }
    Ok(source)
}

fn empty_library(folder: &Path) -> std::io::Result<()> {
    let core = own_folder(folder, "core")?;
    put(&folder.join("Cargo.toml"), workspace(&["core"]))?;
    put(&core.join("Cargo.toml"), manifest("core", &[]))?;
    std::fs::create_dir_all(core.join("src"))?;
    put(&core.join(ROOT), "#![no_core]\n".to_owned())
}

fn workspace(members: &[&str]) -> String {
    let members: Vec<String> = members.iter().map(|name| format!("{name:?}")).collect();
    format!("[workspace]\nresolver = \"2\"\nmembers = [{}]\n", members.join(", "))
}

fn link_all(source: &Path, folder: &Path) -> std::io::Result<()> {
    let names: Vec<&str> =
        STAND_INS.iter().map(|(name, ..)| *name).chain(PACKAGES.map(|(name, _)| name)).collect();
    std::fs::create_dir_all(folder)?;
    put(&folder.join("Cargo.toml"), workspace(&names))?;
    for (name, needs, text) in STAND_INS {
        let package = own_folder(folder, name)?;
        std::fs::create_dir_all(package.join("src"))?;
        put(&package.join("Cargo.toml"), manifest(name, needs))?;
        put(&package.join(ROOT), text.to_owned())?;
    }
    for (name, needs) in PACKAGES {
        let package = own_folder(folder, name)?;
        put(&package.join("Cargo.toml"), manifest(name, needs))?;
        stand::link(&source.join(name).join("src"), &package, "src")?;
    }
    Ok(())
}

/// A link, as an earlier version may have left it, would lead into the compiler's own source.
fn own_folder(folder: &Path, name: &str) -> std::io::Result<PathBuf> {
    let package = folder.join(name);
    if std::fs::symlink_metadata(&package).is_ok_and(|found| found.is_symlink()) {
        std::fs::remove_file(&package)?;
    }
    std::fs::create_dir_all(&package)?;
    Ok(package)
}

fn manifest(name: &str, needs: &[&str]) -> String {
    let mut text =
        format!("[package]\nname = {name:?}\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\n");
    for need in needs {
        text.push_str(&format!("{need} = {{ path = \"../{need}\" }}\n"));
    }
    text
}

/// Whole at every moment, for a session that begins now; left alone if it is the same.
fn put(path: &Path, text: String) -> std::io::Result<()> {
    if std::fs::read(path).is_ok_and(|before| before == text.as_bytes()) {
        return Ok(());
    }
    super::layout::write_whole(path, text.as_bytes())
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
            for name in ["core/src", "std/src", "stdarch/src"] {
                std::fs::create_dir_all(source.join(name)).unwrap();
            }
            for file in ["core/src/lib.rs", "std/src/lib.rs"] {
                std::fs::write(source.join(file), version).unwrap();
            }
            if version == "1" {
                std::fs::create_dir_all(&folder).unwrap();
                stand::link(&source.join("std"), &folder, "std").unwrap();
            }
            link_all(&source, &folder).unwrap();
            assert!(!source.join("std/Cargo.toml").exists(), "the compiler's own source stays as it is");
            for file in ["core/src/lib.rs", "std/src/lib.rs"] {
                assert_eq!(std::fs::read_to_string(folder.join(file)).unwrap(), version, "{file}");
            }
        }
        assert!(!folder.join("stdarch").exists());
    }

    #[test]
    fn cargo_describes_the_workspace_without_a_registry() {
        let place = tempfile::tempdir().unwrap();
        let (source, folder) = (place.path().join("source"), place.path().join("lean"));
        for (name, _) in PACKAGES {
            std::fs::create_dir_all(source.join(name).join("src")).unwrap();
            std::fs::write(source.join(name).join("src/lib.rs"), "").unwrap();
        }
        link_all(&source, &folder).unwrap();
        let output = Command::new("cargo")
            .args(["metadata", "--format-version", "1", "--offline"])
            .env("CARGO_HOME", place.path().join("home"))
            .current_dir(&folder)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let described: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(described["packages"].as_array().unwrap().len(), PACKAGES.len() + STAND_INS.len());
    }
}
