//! What Tab can see: folders of this machine (mounts included) and names of the session.

use dds_cmd::complete::{MAX_ITEMS, Surroundings};
use dds_core::engine::LearnEngine;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

pub(super) struct OnDisk<'a> {
    pub cwd: PathBuf,
    pub home: Option<PathBuf>,
    /// `PATH`.
    pub programs: Option<OsString>,
    pub learn: &'a dyn LearnEngine,
}

/// Most entries of one folder that are looked at.
const MAX_ENTRIES: usize = 20_000;

impl Surroundings for OnDisk<'_> {
    fn paths(&self, partial: &str) -> Vec<String> {
        let (shown, start) = match partial.rfind('/') {
            Some(at) => partial.split_at(at + 1),
            None => ("", partial),
        };
        let folder = match (shown.strip_prefix("~/"), &self.home) {
            (Some(below), Some(home)) => home.join(below),
            _ => self.cwd.join(shown),
        };
        let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
        let mut found: Vec<(bool, String)> = entries
            .take(MAX_ENTRIES)
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let wanted = name.starts_with(start) && (start.starts_with('.') || !name.starts_with('.'));
                // A link to a folder is a folder here.
                let is_dir = || match entry.file_type() {
                    Ok(t) if t.is_symlink() => std::fs::metadata(entry.path()).is_ok_and(|m| m.is_dir()),
                    Ok(t) => t.is_dir(),
                    Err(_) => false,
                };
                wanted.then(|| (!is_dir(), name.clone()))
            })
            .collect();
        found.sort();
        found.truncate(MAX_ITEMS);
        found
            .into_iter()
            .map(|(file, name)| format!("{shown}{name}{}", if file { "" } else { "/" }))
            .collect()
    }

    fn programs(&self, partial: &str) -> Vec<String> {
        let mut found = BTreeSet::new();
        for folder in std::env::split_paths(self.programs.as_deref().unwrap_or_default()) {
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            for entry in entries.take(MAX_ENTRIES).flatten() {
                let Ok(name) = entry.file_name().into_string() else { continue };
                let runs = || {
                    std::fs::metadata(entry.path())
                        .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
                };
                if name.starts_with(partial) && runs() {
                    found.insert(name);
                }
            }
        }
        found.into_iter().take(MAX_ITEMS).collect()
    }

    fn names(&self) -> Vec<String> {
        self.learn.names()
    }
}
