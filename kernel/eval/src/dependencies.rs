//! Crates that cells depend on are optimised, whatever level the cells have: they are compiled
//! once and may do the heavy work, cells are compiled all the time and mostly call them.
//!
//! Cargo has no variable for that and evcxr writes the manifest, so a script stands between cargo
//! and rustc from the first `:dep` on.

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Name that evcxr gives to the crate of a cell.
const CELL_CRATE: &str = "ctx";

/// Writes the script into the session's folder and returns its path.
pub(crate) fn write_wrapper(folder: &Path) -> io::Result<PathBuf> {
    let path = folder.join("rustc-for-dependencies");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o700).open(&path)?;
    io::Write::write_all(&mut file, script().as_bytes())?;
    Ok(path)
}

/// Cells, build scripts and cargo's questions to the compiler (crate `___`, or none) pass as they
/// are. Of options given twice the last one counts; cells have line tables, for panics.
fn script() -> String {
    format!(
        "#!/bin/sh\n\
         case \" $* \" in\n\
         *\" --crate-name {CELL_CRATE} \"* | *\" --crate-name build_script_\"* | *\" --crate-name ___ \"*) exec \"$@\" ;;\n\
         *\" --crate-name \"*) exec \"$@\" -C opt-level=2 -C debuginfo=0 ;;\n\
         *) exec \"$@\" ;;\n\
         esac\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dependencies_are_optimised() {
        let folder = tempfile::tempdir().unwrap();
        let wrapper = write_wrapper(folder.path()).unwrap();
        let says = |arguments: &[&str]| {
            let output = std::process::Command::new(&wrapper).arg("echo").args(arguments).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        assert_eq!(
            says(&["--crate-name", "image", "a b"]),
            "--crate-name image a b -C opt-level=2 -C debuginfo=0"
        );
        assert_eq!(says(&["--crate-name", "ctx"]), "--crate-name ctx");
        assert_eq!(says(&["--crate-name", "build_script_build"]), "--crate-name build_script_build");
        assert_eq!(says(&["-vV"]), "-vV");
    }
}
