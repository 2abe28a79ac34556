//! Lists the source of the crate that cells import, so that the library carries all of it.

use std::fmt::Write;
use std::path::{Path, PathBuf};

fn main() {
    let root = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../../magics/rt/src");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    walk(&root, &root, &mut files);
    files.sort();
    let mut list = String::from("&[\n");
    for file in files {
        let whole = root.join(&file).canonicalize().unwrap();
        writeln!(list, "    ({:?}, include_str!({whole:?})),", file.to_str().unwrap()).unwrap();
    }
    list.push(']');
    let out = Path::new(&std::env::var_os("OUT_DIR").unwrap()).join("runtime_source.rs");
    std::fs::write(out, list).unwrap();
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(root, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path.strip_prefix(root).unwrap().to_owned());
        }
    }
}
