//! `:dep` lines as `[dependencies]`.

use std::collections::BTreeMap;
use std::path::Path;
use toml::{Table, Value};

/// Crates that no `[dependencies]` names.
const BUILT_IN: &[&str] = &["std", "core", "alloc", "proc_macro", "test", "dds", "self"];

/// Name → what stands behind it; the last line for a name counts.
#[derive(Default)]
pub(super) struct Dependencies(BTreeMap<String, Value>);

impl Dependencies {
    /// `serde = "1"`, `serde`, `x = { path = "x" }`, `../x`; paths from `folder`. Errors say why not.
    pub(super) fn add(&mut self, line: &str, folder: &Path) -> Result<(), String> {
        if line.starts_with(['.', '/']) {
            let path = folder.join(line);
            let manifest = std::fs::read_to_string(path.join("Cargo.toml"))
                .map_err(|e| format!("{}: {e}", path.join("Cargo.toml").display()))?;
            let manifest: Table = manifest.parse().map_err(|e: toml::de::Error| e.message().to_owned())?;
            let name = manifest.get("package").and_then(|p| p.get("name")).and_then(Value::as_str);
            let name = name.ok_or_else(|| "its Cargo.toml names no package".to_owned())?;
            let path = Value::String(path.display().to_string());
            self.0.insert(name.to_owned(), Value::Table(Table::from_iter([("path".to_owned(), path)])));
            return Ok(());
        }
        let (name, value) = match line.split_once('=') {
            None => (line.trim(), Value::String("*".into())),
            Some((name, value)) => {
                let table: Table = format!("value = {value}").parse().map_err(|e: toml::de::Error| {
                    format!("what stands behind = is no TOML: {}", e.message())
                })?;
                let value = table.into_iter().next().map(|(_, value)| value);
                (name.trim(), value.ok_or_else(|| "nothing stands behind =".to_owned())?)
            }
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || !name.chars().all(plain) {
            return Err(format!("{name:?} is no name of a crate"));
        }
        if name == "dds" {
            // It belongs to the kernel, and comes with the project.
            return Ok(());
        }
        self.0.insert(name.to_owned(), absolute(value, folder));
        Ok(())
    }

    /// A crate that is named by `extern crate` alone.
    pub(super) fn add_unless_there(&mut self, name: &str) {
        let there = self.0.keys().any(|k| k.replace('-', "_") == name);
        if !there && !BUILT_IN.contains(&name) {
            self.0.insert(name.to_owned(), Value::String("*".into()));
        }
    }

    /// What cells that await run on, unless the notebook has chosen it.
    pub(super) fn add_tokio(&mut self) {
        let features = ["rt", "rt-multi-thread", "time", "sync", "macros", "net", "io-util", "fs"];
        let features = features.map(|f| Value::String(f.into())).to_vec();
        let table = [
            ("version".to_owned(), Value::String("1".into())),
            ("features".to_owned(), Value::Array(features)),
        ];
        self.0.entry("tokio".to_owned()).or_insert_with(|| Value::Table(Table::from_iter(table)));
    }

    /// The crate that cells have from the kernel, which comes with the project.
    pub(super) fn add_runtime(&mut self, path: &str) {
        let path = ("path".to_owned(), Value::String(path.to_owned()));
        self.0.insert("dds".to_owned(), Value::Table(Table::from_iter([path])));
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn names(&self) -> Vec<&String> {
        self.0.keys().collect()
    }

    /// The lines below `[dependencies]`.
    pub(super) fn toml(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{name} = {value}\n")).collect()
    }
}

fn absolute(mut value: Value, folder: &Path) -> Value {
    if let Some(Value::String(path)) = value.get_mut("path") {
        *path = folder.join(&*path).display().to_string();
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_dependencies() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("own")).unwrap();
        std::fs::write(dir.path().join("own/Cargo.toml"), "[package]\nname = \"mine\"\n").unwrap();
        let mut deps = Dependencies::default();
        for line in [
            "serde = \"0.9\"",
            "serde = { version = \"1\", features = [\"derive\"] }",
            "regex",
            "./own",
            "x = { path = \"own\" }",
            "dds",
        ] {
            deps.add(line, dir.path()).unwrap();
        }
        deps.add_tokio();
        deps.add_unless_there("std");
        deps.add_unless_there("rand_core");
        let table: Table = deps.toml().parse().unwrap();
        assert_eq!(table.keys().collect::<Vec<_>>(), ["mine", "rand_core", "regex", "serde", "tokio", "x"]);
        assert_eq!(table["serde"]["features"][0].as_str(), Some("derive"));
        assert_eq!(table["x"]["path"].as_str().map(Path::new), Some(dir.path().join("own").as_path()));
        for wrong in ["a b", "", "x = {", "x = ", "./no", "x = 1\ny = 2"] {
            assert!(deps.add(wrong, dir.path()).is_err() || wrong.contains('\n'), "{wrong}");
        }
    }
}
