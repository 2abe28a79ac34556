//! The staging area: what was written into a mounted folder and is not committed yet, on disk.
//!
//! One area belongs to one mount at a time (a lock file); it is found again by repository and branch
//! when that mount is gone, however it ended. `files/N` holds the bytes of a written file as they are;
//! `changes.jsonl` says, line by line, what happened to the tree. A line that was cut off by a crash is
//! left out: what it was about was never answered. Knows no FUSE and no network. It lies in the data
//! folder of the user (mode 0700), never inside a repository.

use dds_core::{Digest, Error, RepoPath, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

pub mod area;

const JOURNAL: &str = "changes.jsonl";
const FILES: &str = "files";

/// What became of one path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A file with bytes of its own, in `files/<id>`.
    File { id: u64, executable: Option<bool> },
    /// A file of the repository under another name, with the bytes it has at `commit`.
    Moved(Moved),
    /// A folder. With `over`, what the repository has there does not show.
    Dir { over: bool },
    /// What the repository has there, a file or a folder with all below it, is gone.
    Removed,
}

/// Where a renamed file comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    pub from: RepoPath,
    pub commit: String,
    pub size: Option<u64>,
    #[serde(default, with = "digest_text")]
    pub digest: Option<Digest>,
    pub executable: Option<bool>,
}

/// Changes that belong together: all of them are kept, or none. None stands for "as in the repository".
pub type Batch = Vec<(RepoPath, Option<Change>)>;

/// An area that this process holds.
pub struct Stage {
    dir: PathBuf,
    journal: Mutex<File>,
    next_id: AtomicU64,
    _lock: File,
}

impl Stage {
    /// Opens the area in `dir`, whose lock is held, and gives the changes in it.
    ///
    /// Files that no change names are left-overs of a crash before the change was answered; they go.
    fn open(dir: PathBuf, lock: File) -> Result<(Self, BTreeMap<RepoPath, Change>)> {
        let files = dir.join(FILES);
        private_dir(&files)?;
        clear_outgoing(&dir);
        let path = dir.join(JOURNAL);
        let mut changes = replay(&path)?;
        changes.retain(|_, change| match change {
            Change::File { id, .. } => files.join(id.to_string()).is_file(),
            _ => true,
        });
        let used: Vec<u64> = changes.values().filter_map(Change::id).collect();
        let mut last = 0;
        for entry in std::fs::read_dir(&files).map_err(|e| Error::io(&files, &e))?.flatten() {
            let id = entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
            last = last.max(id.unwrap_or(0));
            if !id.is_some_and(|id| used.contains(&id)) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        let journal = rewritten(&dir, &changes)?;
        let next_id = AtomicU64::new(last + 1);
        Ok((Self { dir, journal: Mutex::new(journal), next_id, _lock: lock }, changes))
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Notes a change of the tree. It outlives this process; the machine, after [`Stage::sync`].
    pub fn note(&self, batch: &Batch) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(batch)?;
        line.push(b'\n');
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let before = journal.metadata()?.len();
        journal.write_all(&line).inspect_err(|_| {
            // Half a line (the disk is full) must not spoil the next one.
            let _ = journal.set_len(before);
        })
    }

    pub fn sync(&self) -> std::io::Result<()> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner).sync_data()
    }

    /// A new, empty file for bytes.
    pub fn new_file(&self) -> std::io::Result<(u64, File)> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.file_path(id))?;
        Ok((id, file))
    }

    pub fn open_file(&self, id: u64) -> std::io::Result<File> {
        OpenOptions::new().read(true).write(true).open(self.file_path(id))
    }

    pub fn file_path(&self, id: u64) -> PathBuf {
        self.dir.join(FILES).join(id.to_string())
    }

    /// Takes the bytes of a change away. Whoever has the file open keeps them.
    pub fn remove_file(&self, id: u64) {
        let _ = std::fs::remove_file(self.file_path(id));
    }
}

impl Change {
    pub fn id(&self) -> Option<u64> {
        match self {
            Change::File { id, .. } => Some(*id),
            _ => None,
        }
    }

    pub fn is_dir(&self) -> bool {
        matches!(self, Change::Dir { .. })
    }

    pub fn executable(&self) -> Option<bool> {
        match self {
            Change::File { executable, .. } => *executable,
            Change::Moved(moved) => moved.executable,
            _ => None,
        }
    }

    /// Whether it stands for everything below its path as well.
    fn covers(&self) -> bool {
        !matches!(self, Change::Dir { over: false })
    }
}

/// Puts one change into a tree of changes.
pub fn apply(changes: &mut BTreeMap<RepoPath, Change>, path: &RepoPath, change: Option<&Change>) {
    if change.is_none_or(Change::covers) {
        let below: Vec<RepoPath> = changes
            .range(path.clone()..)
            .skip_while(|(at, _)| *at == path)
            // Names such as `a-b` and `a.b` stand between `a` and `a/b`.
            .take_while(|(at, _)| at.as_str().starts_with(path.as_str()))
            .filter(|(at, _)| at.strip_prefix(path).is_some())
            .map(|(at, _)| at.clone())
            .collect();
        for at in below {
            changes.remove(&at);
        }
    }
    match change {
        Some(change) => drop(changes.insert(path.clone(), change.clone())),
        None => drop(changes.remove(path)),
    }
}

/// What a commit that was killed had on its way.
fn clear_outgoing(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("outgoing-") {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn replay(path: &Path) -> Result<BTreeMap<RepoPath, Change>> {
    let mut changes = BTreeMap::new();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(changes),
        Err(e) => return Err(Error::io(path, &e)),
    };
    for line in BufReader::new(file).split(b'\n') {
        let line = line.map_err(|e| Error::io(path, &e))?;
        let Ok(batch) = serde_json::from_slice::<Batch>(&line) else {
            tracing::warn!(journal = %path.display(), "a line that was cut off is left out");
            continue;
        };
        for (at, change) in &batch {
            apply(&mut changes, at, change.as_ref());
        }
    }
    Ok(changes)
}

/// Replaces the journal by one line that says the same, and opens it for more.
fn rewritten(dir: &Path, changes: &BTreeMap<RepoPath, Change>) -> Result<File> {
    let (path, fresh) = (dir.join(JOURNAL), dir.join("changes.new"));
    let io = |e: std::io::Error| Error::io(&path, &e);
    let batch: Batch = changes.iter().map(|(at, change)| (at.clone(), Some(change.clone()))).collect();
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh).map_err(io)?;
    if !batch.is_empty() {
        let mut line = serde_json::to_vec(&batch).map_err(|e| Error::internal(e.to_string()))?;
        line.push(b'\n');
        file.write_all(&line).map_err(io)?;
    }
    file.sync_all().map_err(io)?;
    std::fs::rename(&fresh, &path).map_err(io)?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)?;
    OpenOptions::new().append(true).open(&path).map_err(io)
}

/// A folder for its owner alone.
pub fn private_dir(dir: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| Error::io(dir, &e))
}

mod digest_text {
    use dds_core::Digest;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(digest: &Option<Digest>, s: S) -> Result<S::Ok, S::Error> {
        match digest {
            Some(digest) => s.serialize_some(&digest.to_string()),
            None => s.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Digest>, D::Error> {
        let text = Option::<String>::deserialize(d)?;
        text.map(|t| t.parse().map_err(serde::de::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests;
