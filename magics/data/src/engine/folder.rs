//! An ordinary folder of this machine as a [`Source`], so that `ls`, `stat` and `cat` have one way.
//! Does not follow symbolic links to folders; entries whose names are not UTF-8 are left out.

use dds_core::{Cx, Entry, EntryKind, Error, RepoPath, Result, Source, Versioning};
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;

/// Most entries of one listing.
const MAX_ENTRIES: usize = 1_000_000;

pub struct Folder {
    root: PathBuf,
}

impl Folder {
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    fn on_disk(&self, path: &RepoPath) -> PathBuf {
        if path.is_root() { self.root.clone() } else { self.root.join(path.as_str()) }
    }

    fn entries(&self, dir: &RepoPath) -> Result<Vec<Entry>> {
        let on_disk = self.on_disk(dir);
        let mut entries = Vec::new();
        for item in std::fs::read_dir(&on_disk).map_err(|e| Error::io(&on_disk, &e))? {
            let item = item.map_err(|e| Error::io(&on_disk, &e))?;
            let name = item.file_name();
            let Some(path) = name.to_str().and_then(|n| dir.child(n).ok()) else { continue };
            let Ok(kind) = item.file_type() else { continue };
            if kind.is_dir() {
                entries.push(entry(path, EntryKind::Dir, None));
            } else if let Ok(meta) = std::fs::metadata(item.path())
                && meta.is_file()
            {
                entries.push(entry(path, EntryKind::File, Some(meta.len())));
            }
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }
}

fn entry(path: RepoPath, kind: EntryKind, size: Option<u64>) -> Entry {
    Entry { path, kind, size, digest: None, versioning: Versioning::Local }
}

impl Source for Folder {
    fn id(&self) -> String {
        self.root.display().to_string()
    }

    fn list(&self, dir: &RepoPath, recursive: bool, cx: &Cx) -> Result<Vec<Entry>> {
        if !recursive {
            return self.entries(dir);
        }
        let mut files = Vec::new();
        let mut open = vec![dir.clone()];
        while let Some(next) = open.pop() {
            cx.cancel.check()?;
            for found in self.entries(&next)? {
                match found.kind {
                    EntryKind::Dir => open.push(found.path),
                    EntryKind::File => files.push(found),
                }
            }
            if files.len() > MAX_ENTRIES {
                return Err(Error::new(dds_core::Kind::Limit, format!("{}: more than {MAX_ENTRIES} files", self.id())));
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    fn stat(&self, path: &RepoPath, _: &Cx) -> Result<Entry> {
        let on_disk = self.on_disk(path);
        let meta = std::fs::metadata(&on_disk).map_err(|e| Error::io(&on_disk, &e))?;
        let kind = if meta.is_dir() { EntryKind::Dir } else { EntryKind::File };
        Ok(entry(path.clone(), kind, meta.is_file().then_some(meta.len())))
    }

    fn read(&self, path: &RepoPath, _: &Cx) -> Result<Vec<u8>> {
        let on_disk = self.on_disk(path);
        std::fs::read(&on_disk).map_err(|e| Error::io(&on_disk, &e))
    }

    fn read_range(&self, path: &RepoPath, range: Range<u64>, _: &Cx) -> Result<Vec<u8>> {
        let on_disk = self.on_disk(path);
        let failed = |e: std::io::Error| Error::io(&on_disk, &e);
        let mut file = std::fs::File::open(&on_disk).map_err(failed)?;
        file.seek(SeekFrom::Start(range.start)).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(range.end.saturating_sub(range.start)).read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }
}
