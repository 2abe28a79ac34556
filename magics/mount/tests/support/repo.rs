//! Repositories for tests that work in several processes: a folder names one (`kind`) and its newest
//! commit (`HEAD`), so that owner and mount process open the same.

use crate::memory::{Memory, noise};
use dds_core::{Config, Cx, Entry, Error, RepoPath, RepoUrl, Result, Source};
use dds_mount::open::{Opener, Repositories};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Duration;

/// Opens such folders, and real repositories on servers.
pub struct Folders;

impl Opener for Folders {
    fn open(&self, url: &RepoUrl, config: &Config, cx: &Cx) -> Result<Arc<dyn Source>> {
        let RepoUrl::Local { path, rev } = url else { return Repositories.open(url, config, cx) };
        match rev {
            Some(commit) => {
                let source = at_commit(path, commit)?;
                match read(path, "kind")?.as_str() {
                    "listless" => Ok(Arc::new(Listless { path: path.clone(), source, deaf: false })),
                    "deaf" => Ok(Arc::new(Listless { path: path.clone(), source, deaf: true })),
                    _ => Ok(Arc::new(source)),
                }
            }
            None => Ok(Arc::new(Branch { path: path.clone(), tip: RwLock::new(Arc::new(at_tip(path)?)) })),
        }
    }
}

fn read(path: &Path, name: &str) -> Result<String> {
    let text = std::fs::read_to_string(path.join(name)).map_err(|e| Error::io(path.join(name), &e))?;
    Ok(text.trim().to_owned())
}

fn at_commit(path: &Path, commit: &str) -> Result<Memory> {
    Ok(repository(&read(path, "kind")?, commit, &format!("{}@{commit}", path.display())))
}

fn at_tip(path: &Path) -> Result<Memory> {
    at_commit(path, &commit(&read(path, "HEAD")?))
}

/// Never lists; leaves the file `listing` when it is asked to.
struct Listless {
    path: PathBuf,
    source: Memory,
    /// Takes no notice of an interrupt either.
    deaf: bool,
}

impl Source for Listless {
    fn id(&self) -> String {
        self.source.id()
    }

    fn list(&self, _: &RepoPath, _: bool, cx: &Cx) -> Result<Vec<Entry>> {
        std::fs::write(self.path.join("listing"), "").map_err(|e| Error::io(&self.path, &e))?;
        loop {
            if !self.deaf {
                cx.cancel.check()?;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn stat(&self, path: &RepoPath, cx: &Cx) -> Result<Entry> {
        self.source.stat(path, cx)
    }

    fn read(&self, path: &RepoPath, cx: &Cx) -> Result<Vec<u8>> {
        self.source.read(path, cx)
    }

    fn read_range(&self, path: &RepoPath, range: Range<u64>, cx: &Cx) -> Result<Vec<u8>> {
        self.source.read_range(path, range, cx)
    }
}

/// Follows the branch when it is refreshed, as the real one does.
struct Branch {
    path: PathBuf,
    tip: RwLock<Arc<Memory>>,
}

impl Branch {
    fn tip(&self) -> Arc<Memory> {
        self.tip.read().unwrap().clone()
    }
}

impl Source for Branch {
    fn id(&self) -> String {
        self.tip().id()
    }

    fn list(&self, dir: &RepoPath, recursive: bool, cx: &Cx) -> Result<Vec<Entry>> {
        self.tip().list(dir, recursive, cx)
    }

    fn stat(&self, path: &RepoPath, cx: &Cx) -> Result<Entry> {
        self.tip().stat(path, cx)
    }

    fn read(&self, path: &RepoPath, cx: &Cx) -> Result<Vec<u8>> {
        self.tip().read(path, cx)
    }

    fn read_range(&self, path: &RepoPath, range: Range<u64>, cx: &Cx) -> Result<Vec<u8>> {
        self.tip().read_range(path, range, cx)
    }

    fn branch(&self) -> Option<String> {
        Some("main".into())
    }

    fn refresh(&self, _: &Cx) -> Result<bool> {
        let next = at_tip(&self.path)?;
        let moved = next.id() != self.id();
        *self.tip.write().unwrap() = Arc::new(next);
        Ok(moved)
    }

    fn announce(&self, paths: &[RepoPath]) {
        self.tip().announce(paths);
    }
}

/// The commit of version `1`, `2`, ….
pub fn commit(version: &str) -> String {
    version.repeat(40)
}

/// Makes a repository folder.
pub fn make(root: &Path, kind: &str) -> PathBuf {
    let dir = root.join(format!("{kind}.repo"));
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("kind"), kind).unwrap();
    push(&dir, "1");
    dir
}

/// A new commit on the branch.
pub fn push(dir: &Path, version: &str) {
    std::fs::write(dir.join("HEAD"), version).unwrap();
}

pub fn repository(kind: &str, commit: &str, id: &str) -> Memory {
    match kind {
        "grid" => Memory::grid(id, 360, 45_000, Duration::from_millis(20)),
        "stuck" => Memory::new(id, [("a", noise(10, 1)), ("stuck", b"never comes".to_vec())]),
        "damaged" => plain(commit, id).damage("dir one/ü b.bin"),
        "sizeless" => plain(commit, id).without_sizes(),
        "large" => Memory::new(id, [("large.bin", vec![0; 200_000_001])]),
        _ => plain(commit, id),
    }
}

fn plain(commit: &str, id: &str) -> Memory {
    let second = commit.starts_with('2');
    let mut files = vec![
        ("a.txt", if second { b"second version\n".to_vec() } else { b"first\n".to_vec() }),
        ("dir one/a..b", noise(7, 1)),
        ("dir one/ü b.bin", noise(300_000, 2)),
        ("deep/x/y/z 'quoted' \"\t.txt", noise(100, 3)),
        ("empty", vec![]),
        ("big.bin", noise(11 * 1024 * 1024 + 123, 4)),
    ];
    match second {
        true => files.push(("dir one/new.txt", b"new\n".to_vec())),
        false => files.push(("old.txt", b"old\n".to_vec())),
    }
    Memory::new(id, files)
}
