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
/// Of a repository that is made here, in characters; and its branch.
const MAX_NAME: usize = 100;
const BRANCH: &str = "main";

pub struct Site {
    pub(super) common: Arc<Common>,
    kind: Kept,
}

enum Kept {
    One(Arc<Shared>),
    Many {
        root: PathBuf,
        open: Mutex<HashMap<(String, String), Arc<Shared>>>,
        /// Held while a repository is made.
        making: Mutex<()>,
    },
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
        Ok(Self { common, kind: Kept::Many { root, open: Mutex::default(), making: Mutex::default() } })
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
            Kept::Many { root, open, .. } => {
                let at = folder_of(root, owner, name).ok_or_else(missing)?;
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

    /// Makes an empty repository of the user's, or of an owner who is here already, as the others are kept:
    /// with a working tree, or bare where all are. Errors: `Usage`, `NotFound` without such an owner,
    /// `Conflict` when a name is taken, also by one that differs in capitals only.
    pub fn create(&self, owner: Option<&str>, name: &str) -> Result<Arc<Shared>> {
        let Kept::Many { root, making, .. } = &self.kind else {
            return Err(Error::usage("this server has one repository")
                .hint("serve a folder whose folders OWNER/NAME are repositories"));
        };
        if !new_name(name) {
            return Err(Error::usage(format!("{name:?} cannot be the name of a repository"))
                .hint(format!("take at most {MAX_NAME} letters, digits, '-', '_' and '.'")));
        }
        let _alone = lock(making);
        let own = owner.is_none();
        let owner = owner.unwrap_or(LOCAL);
        let folder = root.join(owner);
        let io = |e: std::io::Error| Error::io(&folder, &e);
        match std::fs::symlink_metadata(&folder) {
            // Nothing is made in a working tree; whoever has repositories here is an owner.
            Ok(meta)
                if meta.is_dir()
                    && plain(owner)
                    && !is_repository(&folder)
                    && (own || !repositories_of(root, owner).is_empty()) => {}
            Err(e) if own && e.kind() == std::io::ErrorKind::NotFound => {
                refuse_taken(root, owner)?;
                std::fs::create_dir(&folder).or_else(|e| match e.kind() {
                    std::io::ErrorKind::AlreadyExists => Ok(()),
                    _ => Err(io(e)),
                })?;
            }
            _ => return Err(Error::not_found(format!("there is no owner {owner:?}"))),
        }
        refuse_taken(&folder, name)?;
        let all_bare = below(root)
            .iter()
            .filter_map(|at| at.split_once('/'))
            .all(|(owner, name)| folder_of(root, owner, name).is_some_and(|at| !at.join(".git").exists()));
        // Complete before it has its name; nobody is served what begins with a dot.
        let temporary = tempfile::Builder::new().prefix(".making-").tempdir_in(&folder).map_err(io)?;
        let made = temporary.path().join(name);
        let mut init = git2::RepositoryInitOptions::new();
        init.initial_head(BRANCH).external_template(false).no_reinit(true).bare(all_bare);
        git2::Repository::init_opts(&made, &init)
            .map_err(|e| Error::internal(format!("cannot make a repository: {}", e.message())))?;
        let at = folder.join(if all_bare { format!("{name}.git") } else { name.to_owned() });
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        match renameat_with(CWD, &made, CWD, &at, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(rustix::io::Errno::EXIST) => return Err(taken(name)),
            // A file system that cannot promise it; a repository is never an empty folder.
            Err(rustix::io::Errno::INVAL) => std::fs::rename(&made, &at).map_err(io)?,
            Err(e) => return Err(io(e.into())),
        }
        std::fs::File::open(&folder).and_then(|folder| folder.sync_all()).map_err(io)?;
        self.repository(owner, name)
    }

    /// As [`Site::repository`], when it is open already and no link leads to it. Waits for nothing.
    pub fn opened(&self, owner: &str, name: &str) -> Option<Arc<Shared>> {
        match &self.kind {
            Kept::One(shared) => Some(shared).filter(|s| s.owner == owner && s.name == name).cloned(),
            Kept::Many { root, open, .. } => {
                let shared = lock(open).get(&(owner.to_owned(), name.to_owned())).cloned()?;
                let at = folder_without_links(root, owner, name)?;
                (shared.repository.path() == at).then_some(shared)
            }
        }
    }
}

/// The folder of a repository below `root`: as it is named, or bare with `.git` behind its name.
fn folder_of(root: &Path, owner: &str, name: &str) -> Option<PathBuf> {
    if !plain(owner) || !plain(name) {
        return None;
    }
    let found = |name: &str| root.join(owner).join(name).canonicalize().ok().filter(|at| at.is_dir());
    let at = found(name).or_else(|| found(&format!("{name}.git")))?;
    at.starts_with(root).then_some(at)
}

/// What [`folder_of`] says where no link is on the way, in two looks; none where one may be. `root` is canonical.
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

/// What may be a name of those in `dir`.
fn names(dir: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().into_string().ok()).filter(|n| plain(n))
}

fn is_repository(at: &Path) -> bool {
    at.join(".git").exists() || at.join("HEAD").is_file()
}

/// The names of the repositories of `owner`.
fn repositories_of(root: &Path, owner: &str) -> Vec<String> {
    let folders = names(&root.join(owner));
    let name_of = |folder: String| match folder.strip_suffix(".git") {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => folder,
    };
    let is = |name: &String| folder_of(root, owner, name).is_some_and(|at| is_repository(&at));
    folders.map(name_of).filter(is).collect()
}

/// `OWNER/NAME` of every repository below `root`, sorted.
fn below(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for owner in names(root) {
        let left = MAX_LISTED - found.len();
        found.extend(repositories_of(root, &owner).iter().take(left).map(|name| format!("{owner}/{name}")));
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

/// Whether a repository that is made here may have this name.
fn new_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    plain(name)
        && name.len() <= MAX_NAME
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        && !name.ends_with('.')
        && ![".git", ".lock"].iter().any(|end| lower.ends_with(end))
}

/// `Conflict` when `dir` has something of this name, as a file system sees it that knows no capitals.
fn refuse_taken(dir: &Path, name: &str) -> Result<()> {
    let wanted = name.to_lowercase();
    for entry in std::fs::read_dir(dir).map_err(|e| Error::io(dir, &e))? {
        let found = entry.map_err(|e| Error::io(dir, &e))?.file_name().to_string_lossy().to_lowercase();
        if found.strip_suffix(".git").unwrap_or(&found) == wanted || found == wanted {
            return Err(taken(name));
        }
    }
    Ok(())
}

fn taken(name: &str) -> Error {
    Error::new(Kind::Conflict, format!("the name {name:?} is taken")).hint("choose another name")
}
