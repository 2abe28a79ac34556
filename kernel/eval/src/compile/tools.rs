//! What is made once for a compiler: the crate that cells keep their variables in, and how the
//! linker is started without the C compiler in between.

use super::digest::Key;
use super::request::Request;
use super::toolchain::Toolchain;
use super::{layout, lock};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The crate of [`super::store_crate`].
pub(super) const STORE: &str = "dds_cell_store";
const STORE_SOURCE: &str = include_str!("store_crate.rs");
const FILE: &str = "tools.json";
/// Libraries that every cell is linked with; the C compiler knows where they are.
const SYSTEM_LIBRARIES: [&str; 3] = ["libc.so", "libgcc_s.so", "libgcc.a"];

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Tools {
    /// The compiled crate.
    pub store: PathBuf,
    pub linker: Option<Linker>,
}

/// The linker that comes with the compiler.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Linker {
    pub program: PathBuf,
    /// Where the system's libraries are.
    pub folders: Vec<PathBuf>,
}

impl Tools {
    /// Made for `toolchain`, or found.
    pub(super) fn of(request: &Request, toolchain: &Toolchain) -> io::Result<Self> {
        let mut key = Key::new("tools 1");
        key.part(STORE_SOURCE).part(&request.target);
        let key = key.hex();
        let name = format!("tools-{}", key.get(..16).unwrap_or("0"));
        let folder = layout::deps(&request.cache).join(&toolchain.id).join(name);
        if let Some(tools) = Self::load(&folder) {
            return Ok(tools);
        }
        let _turn = lock::wait(&folder)?;
        if let Some(tools) = Self::load(&folder) {
            return Ok(tools);
        }
        let store = compile_store(request, toolchain, &folder)?;
        let tools = Self { store, linker: find_linker(toolchain) };
        layout::write_whole(&folder.join(FILE), &serde_json::to_vec(&tools)?)?;
        Ok(tools)
    }

    fn load(folder: &Path) -> Option<Self> {
        let tools: Self = serde_json::from_slice(&std::fs::read(folder.join(FILE)).ok()?).ok()?;
        tools.store.is_file().then_some(tools)
    }
}

fn compile_store(request: &Request, toolchain: &Toolchain, folder: &Path) -> io::Result<PathBuf> {
    std::fs::write(folder.join("store.rs"), STORE_SOURCE)?;
    let mut command = Command::new(&toolchain.rustc);
    super::stand::restore_environment(&mut command);
    command.args(["--crate-name", STORE, "--edition=2024", "store.rs", "--crate-type=rlib", "--emit=link"]);
    command.args([
        "--target",
        &request.target,
        "-Cprefer-dynamic",
        "-Copt-level=2",
        "-Cmetadata=dds-store-1",
    ]);
    command.args(["-Cstrip=debuginfo", "-Awarnings", "--out-dir", "."]).current_dir(folder);
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    Ok(folder.join(format!("lib{STORE}.rlib")))
}

/// `None` where the compiler brings no linker, or there is no C compiler to ask.
fn find_linker(toolchain: &Toolchain) -> Option<Linker> {
    let program = toolchain.libdir.parent()?.join("bin/rust-lld");
    if !program.is_file() {
        return None;
    }
    let mut folders: Vec<PathBuf> = SYSTEM_LIBRARIES.iter().filter_map(|name| folder_of(name)).collect();
    if folders.len() != SYSTEM_LIBRARIES.len() {
        return None;
    }
    folders.sort();
    folders.dedup();
    Some(Linker { program, folders })
}

fn folder_of(library: &str) -> Option<PathBuf> {
    let mut command = Command::new("cc");
    super::stand::restore_environment(&mut command);
    let output = command.arg(format!("-print-file-name={library}")).stdin(Stdio::null()).output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    let path = Path::new(path.trim()).canonicalize().ok()?;
    path.parent().map(Path::to_owned)
}
