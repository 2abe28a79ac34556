//! A folder of this machine as a [`Source`].
//!
//! Hidden folders and links to folders are left out of listings; links to files are followed (DVC
//! links its cache that way). Nothing is pinned: a file may change between listing and reading.

use crate::decode::MAX_FILE_BYTES;
use dds_core::{Cx, Entry, EntryKind, Error, Kind, RepoPath, Result, Source, Versioning};
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Most files of one listing.
pub const MAX_FILES: usize = 500_000;
/// Deepest folder of one listing.
pub const MAX_DEPTH: usize = 64;

pub struct LocalTree {
    root: PathBuf,
}

impl LocalTree {
    /// `root` is an absolute folder.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn file(&self, path: &RepoPath) -> PathBuf {
        path.components().fold(self.root.clone(), |p, part| p.join(part))
    }

    fn walk(
        &self,
        dir: &RepoPath,
        depth: usize,
        recursive: bool,
        out: &mut Vec<Entry>,
        cx: &Cx,
    ) -> Result<()> {
        cx.cancel.check()?;
        let folder = self.file(dir);
        let io = |e: std::io::Error| Error::io(&folder, &e);
        for entry in fs::read_dir(&folder).map_err(io)? {
            let entry = entry.map_err(io)?;
            // A name that is no RepoPath (not UTF-8, a backslash) cannot be addressed: left out.
            let Some(path) = entry.file_name().to_str().and_then(|n| dir.child(n).ok()) else { continue };
            let linked = entry.file_type().map_err(io)?.is_symlink();
            let Ok(meta) = fs::metadata(entry.path()) else { continue };
            if meta.is_dir() {
                let hidden = path.name().starts_with('.');
                if recursive && !hidden && !linked {
                    if depth >= MAX_DEPTH {
                        return Err(Error::new(
                            Kind::Limit,
                            format!("{}: folders too deep", folder.display()),
                        ));
                    }
                    self.walk(&path, depth + 1, true, out, cx)?;
                } else if !recursive {
                    out.push(item(path, EntryKind::Dir, None));
                }
            } else if meta.is_file() {
                out.push(item(path, EntryKind::File, Some(meta.len())));
            }
            if out.len() > MAX_FILES {
                return Err(Error::new(
                    Kind::Limit,
                    format!("{}: more than {MAX_FILES} files", self.root.display()),
                ));
            }
        }
        Ok(())
    }
}

/// Links below a folder that lead to nothing; listings leave them out. As there, hidden folders and links to
/// folders are not entered.
pub fn links_to_nowhere(root: &Path, cx: &Cx) -> Result<Vec<RepoPath>> {
    let (mut found, mut pending) = (Vec::new(), vec![(root.to_owned(), RepoPath::root(), 0)]);
    while let Some((folder, below, depth)) = pending.pop() {
        cx.cancel.check()?;
        let io = |e: std::io::Error| Error::io(&folder, &e);
        for entry in fs::read_dir(&folder).map_err(io)? {
            let entry = entry.map_err(io)?;
            let Some(path) = entry.file_name().to_str().and_then(|n| below.child(n).ok()) else { continue };
            let kind = entry.file_type().map_err(io)?;
            if kind.is_dir() && !path.name().starts_with('.') && depth < MAX_DEPTH {
                pending.push((entry.path(), path, depth + 1));
            } else if kind.is_symlink() && fs::metadata(entry.path()).is_err() && found.len() < MAX_FILES {
                found.push(path);
            }
        }
    }
    Ok(found)
}

fn item(path: RepoPath, kind: EntryKind, size: Option<u64>) -> Entry {
    Entry { path, kind, size, digest: None, versioning: Versioning::Local, executable: false }
}

impl Source for LocalTree {
    fn id(&self) -> String {
        self.root.display().to_string()
    }

    fn list(&self, dir: &RepoPath, recursive: bool, cx: &Cx) -> Result<Vec<Entry>> {
        let mut out = Vec::new();
        self.walk(dir, 0, recursive, &mut out, cx)?;
        out.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(out)
    }

    fn stat(&self, path: &RepoPath, _: &Cx) -> Result<Entry> {
        let file = self.file(path);
        let meta = fs::metadata(&file).map_err(|e| Error::io(&file, &e))?;
        Ok(if meta.is_dir() {
            item(path.clone(), EntryKind::Dir, None)
        } else {
            item(path.clone(), EntryKind::File, Some(meta.len()))
        })
    }

    fn read(&self, path: &RepoPath, _: &Cx) -> Result<Vec<u8>> {
        read_bounded(&self.file(path), MAX_FILE_BYTES)
    }

    fn read_range(&self, path: &RepoPath, range: Range<u64>, _: &Cx) -> Result<Vec<u8>> {
        let name = self.file(path);
        let io = |e: std::io::Error| Error::io(&name, &e);
        let mut file = fs::File::open(&name).map_err(io)?;
        file.seek(SeekFrom::Start(range.start)).map_err(io)?;
        let mut out = Vec::new();
        let length = range.end.saturating_sub(range.start).min(MAX_FILE_BYTES);
        file.take(length).read_to_end(&mut out).map_err(io)?;
        Ok(out)
    }
}

/// Reads a file of at most `limit` bytes. Errors: `Limit` past that.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let io = |e: std::io::Error| Error::io(path, &e);
    let mut out = Vec::new();
    fs::File::open(path).map_err(io)?.take(limit + 1).read_to_end(&mut out).map_err(io)?;
    if out.len() as u64 > limit {
        return Err(Error::new(Kind::Limit, format!("{}: larger than {limit} bytes", path.display())));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_what_can_be_addressed() {
        let dir = tempfile::tempdir().unwrap();
        for f in ["b/2.jpg", "b/1.jpg", "a b.png", ".git/x.jpg", "back\\slash.jpg"] {
            let path = dir.path().join(f);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, f).unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(dir.path(), dir.path().join("loop")).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(dir.path().join("b/2.jpg"), dir.path().join("c.jpg")).unwrap();
        let (tree, cx) = (LocalTree::new(dir.path()), Cx::silent("/"));
        let names: Vec<String> =
            tree.list(&RepoPath::root(), true, &cx).unwrap().iter().map(|e| e.path.to_string()).collect();
        assert_eq!(names, ["a b.png", "b/1.jpg", "b/2.jpg", "c.jpg"]);
        let p = RepoPath::parse("b/1.jpg").unwrap();
        assert_eq!(tree.stat(&p, &cx).unwrap().size, Some(7));
        assert_eq!(tree.read_range(&p, 2..100, &cx).unwrap(), b"1.jpg");
        assert_eq!(tree.list(&p, true, &cx).unwrap_err().kind, Kind::Io);
        assert!(read_bounded(&dir.path().join("b/1.jpg"), 7).is_ok());
        assert_eq!(read_bounded(&dir.path().join("b/1.jpg"), 6).unwrap_err().kind, Kind::Limit);
    }
}
