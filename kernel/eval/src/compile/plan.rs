//! A plan: how the crate of a cell is compiled with one set of dependencies. Cargo finds it once
//! per machine; it holds until a compiled dependency or the source of a local one changes.

use super::digest::Key;
use super::record::Record;
use super::request::Request;
use super::toolchain::{Toolchain, stamp};
use super::{layout, rustc, stand};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// Most files of local crates that are watched; with more, cargo is asked for each cell.
const MAX_WATCHED: usize = 4_000;
const FILE: &str = "plan.json";
/// A sign that cells with these dependencies must be linked by the C compiler.
const NOT_DIRECTLY: &str = "link-by-cc";

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    /// Arguments and variables for rustc, less those that are a cell's own.
    pub record: Record,
    /// Folders of crates that are the user's own.
    locals: Vec<PathBuf>,
    /// State of the sources in them.
    sources: String,
    /// State of the compiled dependencies that the arguments name.
    artifacts: String,
}

/// Cargo's manifest as evcxr wrote it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    pub opt_level: String,
    /// Lines of the section, sorted: evcxr's order is random.
    pub dependencies: Vec<String>,
}

impl Manifest {
    pub(super) fn read(text: &str) -> Option<Self> {
        let (head, dependencies) = text.split_once("\n[dependencies]\n")?;
        let opt_level = head.lines().find_map(|line| line.strip_prefix("opt-level = "))?.trim().to_owned();
        let mut dependencies: Vec<String> =
            dependencies.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
        dependencies.sort();
        let known = head.contains("name = \"ctx\"") && dependencies.iter().all(|line| line.contains('='));
        known.then_some(Self { opt_level, dependencies })
    }

    /// The manifest with which the dependencies are built. They are optimised whatever level the
    /// cells have: they are compiled once and may do the heavy work. The crate `dds`, which does
    /// none, is there in a quarter of the time without.
    pub(super) fn of_plan(&self) -> String {
        let has_dds = self.dependencies.iter().any(|line| line.starts_with("dds ="));
        let dds = if has_dds { "[profile.dev.package.dds]\nopt-level = 0\n\n" } else { "" };
        format!(
            "[package]\nname = \"{}\"\nversion = \"1.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
             [lib]\ncrate-type = [\"cdylib\"]\npath = \"src/lib.rs\"\n\n\
             [profile.dev]\nopt-level = 0\ndebug = false\nincremental = false\noverflow-checks = true\n\
             debug-assertions = true\npanic = \"unwind\"\n\n[profile.dev.package.\"*\"]\nopt-level = 2\n\n\
             {dds}[dependencies]\n{}\n",
            rustc::CRATE,
            self.dependencies.join("\n")
        )
    }
}

/// The folder of the plan for a request.
pub(super) fn folder(request: &Request, toolchain: &Toolchain, manifest: &Manifest) -> PathBuf {
    let mut key = Key::new("plan 1");
    key.part(&request.target).part(&request.rustflags).parts(&manifest.dependencies);
    for (name, value) in &request.build_vars {
        key.part(name).part(value);
    }
    for config in config_files() {
        key.parts(stamp(&config).unwrap_or_default());
    }
    layout::deps(&request.cache).join(&toolchain.id).join("plans").join(key.hex())
}

/// The user's own configuration of cargo.
fn config_files() -> Vec<PathBuf> {
    let home = stand::cargo_home();
    home.map(|home| vec![home.join("config.toml"), home.join("config")]).unwrap_or_default()
}

impl Plan {
    /// The plan in `folder`, if there is one and it still holds.
    pub(super) fn load(folder: &Path) -> Option<Self> {
        let plan: Self = serde_json::from_slice(&std::fs::read(folder.join(FILE)).ok()?).ok()?;
        let holds = artifacts(&plan.record.args).ok()? == plan.artifacts
            && (plan.locals.is_empty() || sources(&plan.locals).ok()? == plan.sources);
        holds.then_some(plan)
    }

    /// Makes a plan of what cargo told rustc, and keeps it.
    pub(super) fn store(folder: &Path, record: &Record, locals: Vec<PathBuf>) -> io::Result<Self> {
        let args = rustc::shared_args(&record.args);
        let env = record.env.clone();
        let plan = Self {
            artifacts: artifacts(&args)?,
            sources: sources(&locals)?,
            record: Record { args, env },
            locals,
        };
        layout::write_whole(&folder.join(FILE), &serde_json::to_vec(&plan)?)?;
        Ok(plan)
    }

    /// Whether the linker may be started directly: nothing of the system's but its basic libraries
    /// is asked for, and it has not failed yet.
    pub(super) fn links_directly(&self, folder: &Path) -> bool {
        let native = |arg: &String| {
            arg.starts_with("native=")
                || arg.starts_with("-l")
                || arg.contains("link")
                || arg.contains("framework")
        };
        !self.record.args.iter().any(native) && !folder.join(NOT_DIRECTLY).exists()
    }

    /// Remembers that it has failed.
    pub(super) fn link_by_cc(folder: &Path) {
        let _ = std::fs::write(folder.join(NOT_DIRECTLY), "");
    }

    /// Feeds what a cell's code is compiled against.
    pub(super) fn feed(&self, key: &mut Key) {
        key.parts(&self.record.args).part(&self.artifacts);
        for (name, value) in &self.record.env {
            key.part(name).part(value);
        }
    }
}

fn artifacts(args: &[String]) -> io::Result<String> {
    let mut key = Key::new("artifacts");
    for (_, path) in rustc::externs(args) {
        key.part(path).parts(stamp(Path::new(path))?);
    }
    Ok(key.hex())
}

/// The state of every file of the crates in `folders`, and of the manifests above them, which may
/// be those of their workspaces.
fn sources(folders: &[PathBuf]) -> io::Result<String> {
    let mut key = Key::new("sources");
    let mut left: Vec<PathBuf> = folders.to_vec();
    let mut watched = 0;
    for folder in folders {
        for above in folder.ancestors().skip(1) {
            key.parts(stamp(&above.join("Cargo.toml")).unwrap_or_default());
        }
    }
    while let Some(folder) = left.pop() {
        let mut entries: Vec<_> = std::fs::read_dir(&folder)?.collect::<io::Result<_>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(b".") || name == "target" {
                continue;
            }
            watched += 1;
            if watched > MAX_WATCHED {
                return Err(io::Error::other("a local crate has too many files to be watched"));
            }
            let path = entry.path();
            if path.is_dir() {
                left.push(path);
            } else {
                key.part(path.as_os_str().as_encoded_bytes()).parts(stamp(&path).unwrap_or_default());
            }
        }
    }
    Ok(key.hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVCXR: &str = "\n[package]\nname = \"ctx\"\nversion = \"1.0.0\"\n\n[profile.dev]\nopt-level = 2\n\
        debug = false\n\n[dependencies]\nregex = \"1\"\nimage = \"0.25\"\n\n";

    #[test]
    fn the_order_of_dependencies_does_not_matter() {
        let manifest = Manifest::read(EVCXR).unwrap();
        assert_eq!(manifest.dependencies, ["image = \"0.25\"", "regex = \"1\""]);
        assert_eq!(manifest.opt_level, "2");
        assert!(manifest.of_plan().ends_with("[dependencies]\nimage = \"0.25\"\nregex = \"1\"\n"));
        let other = EVCXR.replace("regex = \"1\"\nimage = \"0.25\"", "image = \"0.25\"\nregex = \"1\"");
        assert_eq!(Manifest::read(&other).unwrap(), manifest);
        assert!(Manifest::read("[package]\nname = \"other\"\n").is_none());
    }

    #[test]
    fn a_plan_ends_with_what_it_was_made_of() {
        let place = tempfile::tempdir().unwrap();
        let lib = place.path().join("liba.rlib");
        let local = place.path().join("mine");
        std::fs::create_dir_all(local.join("src")).unwrap();
        std::fs::write(local.join("src/lib.rs"), "a").unwrap();
        std::fs::write(&lib, "1").unwrap();
        let args = ["--crate-name", "ctx", "--extern", &format!("a={}", lib.display())].map(str::to_owned);
        let record = Record { args: args.to_vec(), ..Record::default() };
        let plan = place.path().join("plan");
        Plan::store(&plan, &record, vec![local.clone()]).unwrap();
        assert!(Plan::load(&plan).is_some());
        std::fs::write(local.join("src/lib.rs"), "ab").unwrap();
        assert!(Plan::load(&plan).is_none(), "a local crate has changed");
        Plan::store(&plan, &record, vec![local]).unwrap();
        std::fs::write(&lib, "12").unwrap();
        assert!(Plan::load(&plan).is_none(), "a dependency was compiled anew");
        std::fs::remove_file(&lib).unwrap();
        assert!(Plan::load(&plan).is_none(), "a dependency is gone");
        std::fs::write(plan.join(FILE), "{").unwrap();
        assert!(Plan::load(&plan).is_none());
    }
}
