//! Which compiler it is: everything compiled is kept apart by it.

use super::digest::Key;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(super) struct Toolchain {
    pub rustc: PathBuf,
    /// Changes when the compiler does.
    pub id: String,
    /// Where its standard library lies, as a shared object.
    pub libdir: PathBuf,
}

impl Toolchain {
    /// `libstd` is the path of the standard library's shared object.
    pub(super) fn of(rustc: &Path, libstd: &Path) -> io::Result<Self> {
        let mut key = Key::new("toolchain 1");
        for path in [rustc, libstd] {
            key.part(path.as_os_str().as_encoded_bytes()).parts(stamp(path)?);
        }
        if is_proxy(rustc) {
            // Which compiler rustup starts depends on more than this file.
            key.part(Command::new(rustc).arg("-vV").output()?.stdout);
        }
        let libdir = libstd.parent().ok_or_else(|| io::Error::other("no folder of the standard library"))?;
        let mut id = key.hex();
        id.truncate(16);
        Ok(Self { rustc: rustc.to_owned(), id, libdir: libdir.to_owned() })
    }
}

/// Length and time of change of a file.
pub(super) fn stamp(path: &Path) -> io::Result<[[u8; 8]; 3]> {
    let meta = std::fs::metadata(path)?;
    Ok([meta.len().to_le_bytes(), meta.mtime().to_le_bytes(), meta.mtime_nsec().to_le_bytes()])
}

fn is_proxy(rustc: &Path) -> bool {
    let size = |path: &Path| std::fs::metadata(path).map(|meta| meta.len()).ok();
    let rustup = rustc.with_file_name("rustup");
    size(&rustup).is_some() && size(&rustup) == size(rustc)
}
