//! Inodes: what one number of the mounted folder stands for.
//!
//! An inode never changes its meaning. When the repository moves on, a path whose bytes changed gets
//! a new number, and the old inode keeps reading the old bytes, so that the kernel's page cache and
//! open files stay right. No I/O but the one `stat` that finds a size the listing did not tell.

use dds_core::{Cx, Digest, Error, Kind, RepoPath, Result, Source};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

/// An inode number. Never used twice within one mount.
pub type Ino = u64;

/// The number of the root folder, fixed by FUSE.
pub const ROOT: Ino = 1;

/// A folder or a file; cheap to clone.
#[derive(Clone)]
pub enum Inode {
    Dir(Arc<DirNode>),
    File(Arc<FileNode>),
}

impl Inode {
    pub fn ino(&self) -> Ino {
        match self {
            Inode::Dir(dir) => dir.ino,
            Inode::File(file) => file.ino,
        }
    }

    pub fn parent(&self) -> Ino {
        match self {
            Inode::Dir(dir) => dir.parent,
            Inode::File(file) => file.parent,
        }
    }

    pub fn path(&self) -> &RepoPath {
        match self {
            Inode::Dir(dir) => &dir.path,
            Inode::File(file) => &file.path,
        }
    }

    /// The last component of the path; empty for the root.
    pub fn name(&self) -> &str {
        self.path().name()
    }

    pub fn modified(&self) -> SystemTime {
        match self {
            Inode::Dir(dir) => dir.modified,
            Inode::File(file) => file.modified,
        }
    }
}

/// A folder.
pub struct DirNode {
    pub ino: Ino,
    pub parent: Ino,
    pub path: RepoPath,
    /// Sorted by the bytes of their names, so that a lookup is a binary search.
    pub children: Arc<Vec<Ino>>,
    pub modified: SystemTime,
}

/// A file at one revision.
pub struct FileNode {
    pub ino: Ino,
    pub parent: Ino,
    pub path: RepoPath,
    pub digest: Option<Digest>,
    pub executable: bool,
    pub modified: SystemTime,
    /// Index in the walk order of the whole tree.
    pub position: usize,
    /// Where its bytes come from, at the revision that listed it.
    pub source: Arc<dyn Source>,
    size: OnceLock<u64>,
    trouble: OnceLock<Error>,
    /// Whether the kernel was told to drop its pages.
    dropped: AtomicBool,
}

impl FileNode {
    pub(crate) fn new(place: Place, size: Option<u64>, digest: Option<Digest>, executable: bool) -> Self {
        let known = OnceLock::new();
        if let Some(size) = size {
            let _ = known.set(size);
        }
        Self {
            ino: place.ino,
            parent: place.parent,
            path: place.path,
            digest,
            executable,
            modified: place.modified,
            position: place.position,
            source: place.source,
            size: known,
            trouble: OnceLock::new(),
            dropped: AtomicBool::new(false),
        }
    }

    /// Bytes, when the listing told or somebody asked before.
    pub fn known_size(&self) -> Option<u64> {
        self.size.get().copied()
    }

    /// Bytes; asks the source when the listing did not tell. Errors: those of [`Source::stat`].
    pub fn size(&self, cx: &Cx) -> Result<u64> {
        if let Some(size) = self.size.get() {
            return Ok(*size);
        }
        let entry = self.source.stat(&self.path, cx)?;
        let size = entry.size.ok_or_else(|| {
            Error::new(Kind::Format, format!("{}: the server does not tell its size", self.path))
        })?;
        Ok(*self.size.get_or_init(|| size))
    }

    /// Marks the file as damaged: from now on every open and read fails with this error. True for
    /// the first caller, who reports it.
    pub fn condemn(&self, error: Error) -> bool {
        self.trouble.set(error).is_ok()
    }

    /// True for the first caller, who tells the kernel to drop its pages.
    pub fn drop_pages(&self) -> bool {
        !self.dropped.swap(true, Ordering::Relaxed)
    }

    /// Why the file cannot be read; none while nothing is known against it.
    pub fn trouble(&self) -> Option<&Error> {
        self.trouble.get()
    }
}

/// Where a file stands in the tree: what [`FileNode::new`] needs beside its content.
pub(crate) struct Place {
    pub ino: Ino,
    pub parent: Ino,
    pub path: RepoPath,
    pub modified: SystemTime,
    pub position: usize,
    pub source: Arc<dyn Source>,
}
