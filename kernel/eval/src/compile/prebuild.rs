//! Building dependencies ahead of the first cell that asks for them.

use super::deps::{self, Built};
use super::plan::{self, Manifest};
use super::request::{Compiler, Request};
use super::tools::Tools;
use super::{record, stand};
use dds_core::{Error, Kind, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A crate that every session finds compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prebuilt {
    /// The line of a manifest, as behind `:dep`.
    pub dependency: String,
}

/// Builds each of `crates` (`name`, `name@version`, or a line as behind `:dep`) into the cache, as
/// `:dep` would, and what all cells need. `tell` gets cargo's lines.
///
/// # Errors
/// `Usage` for what is no crate, `Unavailable` without a toolchain or where a crate cannot be
/// built; those before it stay built.
pub fn prebuild(cache: &Path, crates: &[String], tell: &dyn Fn(&str)) -> Result<Vec<Prebuilt>> {
    let lines = crates.iter().map(|text| dependency(text)).collect::<Result<Vec<_>>>()?;
    let place = tempfile::tempdir().map_err(|error| Error::io("temporary folder", &error))?;
    let exe = std::env::current_exe().map_err(|error| Error::io("this program", &error))?;
    stand::link(&exe, place.path(), record::LINK).map_err(|error| Error::io(place.path(), &error))?;
    let compiler = compiler()?;
    let recorder = place.path().join(record::LINK);
    let request = Request::to_build(tool("cargo")?, compiler, cache.to_owned(), recorder);
    let toolchain = request.toolchain().map_err(|error| Error::io(&request.rustc, &error))?;
    Tools::of(&request, &toolchain).map_err(|error| Error::io(cache, &error))?;
    let mut done = Vec::new();
    // The empty set is what a session begins with.
    for line in std::iter::once(None).chain(lines.into_iter().map(Some)) {
        let manifest = Manifest::of_dependencies(line.iter().cloned().collect());
        let folder = plan::folder(&request, &toolchain, &manifest);
        let tell_bytes = |line: &[u8]| tell(String::from_utf8_lossy(line).trim_end());
        let built = deps::plan(&request, &toolchain, &manifest, &folder, &tell_bytes);
        match built.map_err(|error| Error::io(&folder, &error))? {
            Built::Plan(_) => done.extend(line.map(|dependency| Prebuilt { dependency })),
            Built::Failed { stderr, .. } => {
                let what = line.unwrap_or_default();
                let why = first_error(&String::from_utf8_lossy(&stderr));
                return Err(Error::new(Kind::Unavailable, format!("{what} cannot be built: {why}")));
            }
        }
    }
    Ok(done)
}

/// The line of a manifest for `name`, `name@version` or a whole line.
fn dependency(text: &str) -> Result<String> {
    let text = text.trim();
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    let wrong =
        || Error::usage(format!("`{text}` names no crate")).hint("Write it as image, or as image@0.25");
    if let Some((name, value)) = text.split_once('=').filter(|_| !text.contains('@')) {
        let one_line = !value.trim().is_empty() && !text.contains('\n');
        return if is_name(name.trim()) && one_line { Ok(text.to_owned()) } else { Err(wrong()) };
    }
    let (name, version) = text.split_once('@').unwrap_or((text, "*"));
    let is_version =
        !version.is_empty() && version.chars().all(|c| c.is_ascii_alphanumeric() || ".*^~=<>-+ ".contains(c));
    if is_name(name) && is_version { Ok(format!("{name} = \"{version}\"")) } else { Err(wrong()) }
}

/// The compiler that cells are compiled with.
fn compiler() -> Result<Compiler> {
    let rustc = tool("rustc")?;
    let libdir = PathBuf::from(output(&rustc, &["--print", "target-libdir"])?.trim());
    let about = output(&rustc, &["-vV"])?;
    let target = about.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or("").to_owned();
    let libstd = std::fs::read_dir(&libdir)
        .map_err(|error| Error::io(&libdir, &error))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
            name.starts_with("libstd-") && name.ends_with(".so")
        });
    let libstd = libstd.ok_or_else(|| {
        Error::new(Kind::Unavailable, format!("no standard library in {}", libdir.display()))
    })?;
    Ok(Compiler { rustc, libstd, target })
}

/// Where rustup keeps `name`, or its name for PATH.
fn tool(name: &str) -> Result<PathBuf> {
    if let Ok(path) = output(Path::new("rustup"), &["which", name]) {
        return Ok(PathBuf::from(path.trim()));
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| {
        Error::new(Kind::Unavailable, format!("`{name}` was not found on PATH"))
            .hint("Install Rust from https://rustup.rs")
    })
}

fn output(program: &Path, words: &[&str]) -> Result<String> {
    let ran = Command::new(program).args(words).stdin(Stdio::null()).output();
    let ran = ran.map_err(|error| Error::io(program, &error))?;
    if !ran.status.success() {
        let why = String::from_utf8_lossy(&ran.stderr).trim().to_owned();
        return Err(Error::new(Kind::Unavailable, format!("{} failed: {why}", program.display())));
    }
    Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
}

/// The first error in what cargo printed, in words or as a message of the compiler's.
fn first_error(text: &str) -> String {
    let said = |line: &str| {
        let json: Option<Value> = serde_json::from_str(line).ok();
        match json {
            Some(message) => message["message"].as_str().map(str::to_owned),
            None => line.trim().strip_prefix("error: ").map(str::to_owned),
        }
    };
    text.lines().find_map(said).unwrap_or_else(|| "cargo does not say why".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_are_named_in_three_ways() {
        let line = |text| dependency(text).map_err(|error| error.kind);
        assert_eq!(line("image").unwrap(), "image = \"*\"");
        assert_eq!(line("image@0.25").unwrap(), "image = \"0.25\"");
        assert_eq!(line(" mine = { path = \"/m\" }").unwrap(), "mine = { path = \"/m\" }");
        for wrong in ["", "a b", "image@", "image@\"", "../x", "a =", "image = 1\n[profile]"] {
            assert_eq!(line(wrong), Err(Kind::Usage), "{wrong:?}");
        }
    }

    #[test]
    fn the_first_error_is_quoted() {
        assert_eq!(
            first_error("  Compiling a\nerror: no matching package named `x` found\n"),
            "no matching package named `x` found"
        );
        assert_eq!(first_error(""), "cargo does not say why");
    }
}
