//! Which staging area a mount takes, and which ones there are.
//!
//! `staged/<repository>/<number>`: mounts of one repository that live at the same time have areas of
//! their own. A mount takes the one in which changes of its branch lie, by preference those that were
//! written in the same folder.

use super::{Change, Stage, private_dir, replay};
use dds_core::{Error, Kind, RepoPath, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Most areas of one repository.
pub const MAX_AREAS: usize = 256;
const ABOUT: &str = "about.json";
const LOCK: &str = "lock";

/// What an area is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The repository, without revision and credentials.
    pub url: String,
    pub branch: String,
    /// Where it is, or was last, mounted.
    pub dir: PathBuf,
}

/// An area on disk, whoever holds it.
#[derive(Clone, Debug)]
pub struct Area {
    pub path: PathBuf,
    pub about: About,
    /// Whether a mount holds it now.
    pub held: bool,
}

impl Area {
    /// The changes in it, as far as they are on disk. Errors: `Io`.
    pub fn changes(&self) -> Result<BTreeMap<RepoPath, Change>> {
        replay(&self.path.join(super::JOURNAL))
    }
}

/// Where the areas of all repositories are.
pub fn home(data_dir: &Path) -> PathBuf {
    data_dir.join("staged")
}

/// All areas of this user, sorted by path.
pub fn areas(home: &Path) -> Vec<Area> {
    let mut found = Vec::new();
    for repository in entries(home) {
        // A mount that is taking an area must not find it held by our look at it.
        let turn = File::open(repository.join(LOCK));
        let _turn = turn.and_then(|turn| turn.lock().map(|()| turn));
        for path in entries(&repository) {
            let Some(about) = about(&path) else { continue };
            let held = File::open(path.join(LOCK)).is_ok_and(|lock| lock.try_lock_shared().is_err());
            found.push(Area { path, about, held });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Takes an area for a mount, and gives the changes that are in it.
///
/// Errors: `Io`; `Limit` when there are too many.
pub fn take(home: &Path, about: &About) -> Result<(Stage, BTreeMap<RepoPath, Change>)> {
    let repository = home.join(name_of(&about.url));
    private_dir(home)?;
    private_dir(&repository)?;
    // One mount looks at a time.
    let turn = lock_file(&repository.join(LOCK))?;
    turn.lock().map_err(|e| Error::io(&repository, &e))?;
    let mut candidates: Vec<(u8, usize)> = Vec::new();
    let mut free = None;
    for number in 0..MAX_AREAS {
        let path = repository.join(number.to_string());
        let Some(other) = self::about(&path) else {
            free = free.or(Some(number));
            continue;
        };
        let used = replay(&path.join(super::JOURNAL)).map_or(true, |changes| !changes.is_empty());
        match (used, other.branch == about.branch, other.dir == about.dir) {
            (true, true, true) => candidates.push((0, number)),
            (true, true, false) => candidates.push((1, number)),
            (false, ..) => candidates.push((2, number)),
            (true, false, _) => {}
        }
    }
    candidates.extend(free.map(|number| (3, number)));
    candidates.sort_unstable();
    for (_, number) in candidates {
        let path = repository.join(number.to_string());
        private_dir(&path)?;
        let lock = lock_file(&path.join(LOCK))?;
        if lock.try_lock().is_err() {
            continue;
        }
        write_about(&path, about)?;
        return Stage::open(path, lock);
    }
    Err(Error::new(Kind::Limit, format!("more than {MAX_AREAS} mounts of one repository can be written"))
        .hint("mount with --read-only"))
}

/// Writes what an area is for.
pub fn write_about(path: &Path, about: &About) -> Result<()> {
    let (fresh, target) = (path.join("about.new"), path.join(ABOUT));
    let text = serde_json::to_vec(about).map_err(|e| Error::internal(e.to_string()))?;
    std::fs::write(&fresh, text)
        .and_then(|()| File::open(&fresh)?.sync_all())
        .and_then(|()| std::fs::rename(&fresh, &target))
        .map_err(|e| Error::io(&target, &e))
}

fn about(path: &Path) -> Option<About> {
    serde_json::from_slice(&std::fs::read(path.join(ABOUT)).ok()?).ok()
}

fn lock_file(path: &Path) -> Result<File> {
    File::options().read(true).append(true).create(true).open(path).map_err(|e| Error::io(path, &e))
}

fn name_of(url: &str) -> String {
    hex::encode(Sha256::digest(url)).chars().take(32).collect()
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let read = std::fs::read_dir(dir).into_iter().flatten().flatten();
    read.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}
