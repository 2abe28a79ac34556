//! Which repositories a server has: one, or all `OWNER/NAME` folders below a folder, those that come later
//! included. Nothing outside that folder is opened, not through a link either.

use super::{Common, Shared};
use crate::flight::lock;
use crate::repository::Repository;
use dds_core::{Error, Kind, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Owner of the one repository.
const LOCAL: &str = "local";
/// Most repositories that are told of at the start.
const MAX_LISTED: usize = 10_000;

pub struct Site {
    pub(super) common: Arc<Common>,
    kind: Kept,
}

enum Kept {
    One(Arc<Shared>),
    Many { root: PathBuf, open: Mutex<HashMap<(String, String), Arc<Shared>>> },
}

impl Site {
    /// Errors: `NotFound` when `dir` is no repository and has none below it.
    pub fn open(dir: &Path, common: Arc<Common>) -> Result<Self> {
        let none = match Repository::open(dir) {
            Ok(repository) => {
                let name = name_of(repository.path())?;
                let shared = Shared { repository, owner: LOCAL.into(), name, common: common.clone() };
                return Ok(Self { common, kind: Kept::One(Arc::new(shared)) });
            }
            Err(e) => e,
        };
        let root = dir.canonicalize().map_err(|e| Error::io(dir, &e))?;
        if none.kind != Kind::NotFound || below(&root).is_empty() {
            let hint = none.hint.clone().unwrap_or_default();
            return Err(none.hint(format!("{hint}; or one whose folders OWNER/NAME are repositories")));
        }
        Ok(Self { common, kind: Kept::Many { root, open: Mutex::default() } })
    }

    pub fn is_single(&self) -> bool {
        matches!(self.kind, Kept::One(_))
    }

    /// `OWNER/NAME` of what is there now.
    pub fn names(&self) -> Vec<String> {
        match &self.kind {
            Kept::One(shared) => vec![format!("{}/{}", shared.owner, shared.name)],
            Kept::Many { root, .. } => below(root),
        }
    }

    /// Errors: `NotFound`.
    pub fn repository(&self, owner: &str, name: &str) -> Result<Arc<Shared>> {
        let missing = || Error::not_found(format!("there is no repository {owner}/{name}"));
        match &self.kind {
            Kept::One(shared) if shared.owner == owner && shared.name == name => Ok(shared.clone()),
            Kept::One(shared) => {
                Err(missing().hint(format!("this server has {}/{}", shared.owner, shared.name)))
            }
            Kept::Many { root, open } => {
                let at = folder(root, owner, name).ok_or_else(missing)?;
                let key = (owner.to_owned(), name.to_owned());
                // A repository that was replaced by another folder is opened again.
                let known = |open: &HashMap<_, Arc<Shared>>| {
                    open.get(&key).filter(|s| s.repository.path() == at).cloned()
                };
                if let Some(shared) = known(&lock(open)) {
                    return Ok(shared);
                }
                // Without the lock, for which others do not wait long.
                let repository = Repository::open(&at).map_err(|_| missing())?;
                let (owner, name) = key.clone();
                let shared = Arc::new(Shared { repository, owner, name, common: self.common.clone() });
                let mut open = lock(open);
                if let Some(first) = known(&open) {
                    return Ok(first);
                }
                open.insert(key, shared.clone());
                Ok(shared)
            }
        }
    }

    /// The same, when it is open already and no link leads to it. Waits for nothing.
    pub fn opened(&self, owner: &str, name: &str) -> Option<Arc<Shared>> {
        match &self.kind {
            Kept::One(shared) => Some(shared).filter(|s| s.owner == owner && s.name == name).cloned(),
            Kept::Many { root, open } => {
                let shared = lock(open).get(&(owner.to_owned(), name.to_owned())).cloned()?;
                let at = folder_without_links(root, owner, name)?;
                (shared.repository.path() == at).then_some(shared)
            }
        }
    }
}

/// The folder of a repository below `root`: as it is named, or bare with `.git` behind its name.
fn folder(root: &Path, owner: &str, name: &str) -> Option<PathBuf> {
    if !plain(owner) || !plain(name) {
        return None;
    }
    let found = |name: &str| root.join(owner).join(name).canonicalize().ok().filter(|at| at.is_dir());
    let at = found(name).or_else(|| found(&format!("{name}.git")))?;
    at.starts_with(root).then_some(at)
}

/// What [`folder`] says where no link is on the way, in two looks; none where one may be. `root` is canonical.
fn folder_without_links(root: &Path, owner: &str, name: &str) -> Option<PathBuf> {
    if !plain(owner) || !plain(name) {
        return None;
    }
    let owner = root.join(owner);
    if !std::fs::symlink_metadata(&owner).ok()?.is_dir() {
        return None;
    }
    for at in [owner.join(name), owner.join(format!("{name}.git"))] {
        match std::fs::symlink_metadata(&at) {
            Ok(meta) if meta.is_dir() => return Some(at),
            Ok(meta) if meta.is_symlink() => return None,
            _ => {}
        }
    }
    None
}

/// `OWNER/NAME` of every repository below `root`, sorted.
fn below(root: &Path) -> Vec<String> {
    let names = |dir: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter_map(|e| e.file_name().into_string().ok()).filter(|n| plain(n)).collect()
    };
    let mut found = Vec::new();
    for owner in names(root) {
        for folder_name in names(&root.join(&owner)) {
            let name = folder_name.strip_suffix(".git").filter(|n| !n.is_empty()).unwrap_or(&folder_name);
            let is_repository = |at: PathBuf| at.join(".git").exists() || at.join("HEAD").is_file();
            if folder(root, &owner, name).is_some_and(is_repository) && found.len() < MAX_LISTED {
                found.push(format!("{owner}/{name}"));
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

/// The folder's name; `.git` at its end is dropped, as Git does.
fn name_of(path: &Path) -> Result<String> {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("");
    let name = name.strip_suffix(".git").filter(|n| !n.is_empty()).unwrap_or(name);
    if plain(name) || (name.starts_with('.') && plain(name.trim_start_matches('.'))) {
        return Ok(name.to_owned());
    }
    Err(Error::usage(format!("the folder name {name:?} cannot be part of a repository URL"))
        .hint("rename the folder to letters, digits, '-', '_' and '.'"))
}

/// Whether a name may stand in a URL as an owner or a repository.
fn plain(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(['-', '.'])
        && !name.contains("..")
        && !name.chars().any(|c| c.is_control() || c.is_whitespace() || "?#\\:%@/".contains(c))
}
