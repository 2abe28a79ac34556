//! The checkout as text: where it is and which source files it holds.

use std::path::{Path, PathBuf};

/// The root of the checkout.
pub fn root() -> PathBuf {
    let manifest = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    manifest.ancestors().nth(2).expect("kernel/server is two levels below the root").to_owned()
}

/// One file of the tree: its path from the root, with `/`, and its text.
#[derive(Debug)]
pub struct Source {
    pub path: String,
    pub text: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }
}

/// All text files with one of these extensions below `folders`, sorted by path. Build outputs and
/// hidden folders are left out.
pub fn sources(folders: &[&str], extensions: &[&str]) -> Vec<Source> {
    let root = root();
    let mut found = Vec::new();
    for folder in folders {
        walk(&root.join(folder), &mut |file| {
            let extension = file.extension().and_then(|e| e.to_str()).unwrap_or("");
            if extensions.contains(&extension) {
                let path = file.strip_prefix(&root).expect("below the root").to_string_lossy().into_owned();
                let text = std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{path}: {e}"));
                found.push(Source { path, text });
            }
        });
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn walk(dir: &Path, visit: &mut impl FnMut(&Path)) {
    let entries = std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("");
        if name.starts_with('.') || name == "target" || name == "node_modules" || name == "__pycache__" {
            continue;
        }
        if path.is_dir() {
            walk(&path, visit);
        } else {
            visit(&path);
        }
    }
}
