//! Verified copies: how a folder is filled where FUSE is not allowed.
//!
//! All files are fetched before the folder is handed over, or none is left in it; or, for programs
//! under [`crate::streams`], each has a node in its place that nobody can open until it is fetched.
//! Everything goes through one folder handle, so nothing outside is ever touched. Copies are
//! read-only files; removing takes away what was made and is unchanged, and keeps what the user
//! changed.

use crate::stats::Streamed;
use dds_core::{Cx, Digest, Entry, EntryKind, Error, Kind, RepoPath, Result, Source};
use dds_data::contain::Root;
use md5::{Digest as _, Md5};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata, Permissions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Most bytes that are copied, all files together: 200 MB.
pub const MAX_COPY_BYTES: u64 = 200_000_000;
/// Larger files are fetched in parts, in bytes.
const WHOLE: u64 = 64 << 20;
/// One part, in bytes.
const PART: u64 = 8 << 20;
/// Files that are fetched at the same time.
const WORKERS: usize = 16;

/// A filled folder.
pub struct Copies {
    root: Root,
    made: Mutex<Made>,
    /// Files have nodes in their place until they are wanted, and then this time stamp.
    when_wanted: Option<SystemTime>,
}

#[derive(Default)]
struct Made {
    files: BTreeMap<RepoPath, Copy>,
    dirs: BTreeSet<RepoPath>,
}

/// One copy: what it holds, and how the file looked when it was written.
#[derive(Clone)]
struct Copy {
    digest: Option<Digest>,
    revision: String,
    stamp: Stamp,
    /// Not fetched yet: a node.
    awaited: bool,
}

/// Changes with any write, rename or change of mode, and cannot be set back by ordinary means.
#[derive(Clone, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// What lies at `path`, whatever it is; none when nothing does.
    fn at(root: &Root, path: &RepoPath) -> Result<Option<Self>> {
        Ok(root.look(path)?.map(|found| Self {
            device: found.st_dev,
            inode: found.st_ino,
            size: u64::try_from(found.st_size).unwrap_or(0),
            changed: (found.st_ctime, found.st_ctime_nsec as i64),
        }))
    }
}

/// What is to be copied.
#[derive(Debug)]
pub struct Plan {
    files: Vec<Entry>,
    /// Sum of their sizes, as far as the source tells them.
    pub bytes: u64,
    /// Most bytes that may be copied, those of untold sizes included.
    limit: u64,
}

impl Plan {
    /// Lists the source and adds up. Asks for each size that the listing does not tell.
    ///
    /// Errors: `Limit` when the files exceed [`MAX_COPY_BYTES`]; those of the source.
    pub fn new(source: &dyn Source, cx: &Cx) -> Result<Self> {
        Self::within(MAX_COPY_BYTES, source, cx)
    }

    /// The same without a limit: for files that are fetched one by one, when somebody wants them.
    pub fn when_wanted(source: &dyn Source, cx: &Cx) -> Result<Self> {
        Self::within(u64::MAX, source, cx)
    }

    fn within(limit: u64, source: &dyn Source, cx: &Cx) -> Result<Self> {
        let mut files = source.list(&RepoPath::root(), true, cx)?;
        files.retain(|e| e.kind == EntryKind::File);
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files.dedup_by(|a, b| a.path == b.path);
        let mut bytes = 0_u64;
        for file in &mut files {
            cx.cancel.check()?;
            // What is in the way of a copy is said before anything is written.
            RepoPath::parse_writable(file.path.as_str())?;
            if file.size.is_none() {
                file.size = source.stat(&file.path, cx)?.size;
            }
            bytes = bytes.saturating_add(file.size.unwrap_or(0));
        }
        if bytes > limit {
            return Err(too_much(files.len(), bytes, limit));
        }
        Ok(Self { files, bytes, limit })
    }

    /// What is to be copied, in the order of their paths.
    pub fn entries(&self) -> &[Entry] {
        &self.files
    }

    pub fn files(&self) -> u64 {
        self.files.len() as u64
    }
}

fn too_much(files: usize, bytes: u64, limit: u64) -> Error {
    Error::new(
        Kind::Limit,
        format!(
            "{files} files of {} together are too much to copy; the limit is {}",
            dds_core::table::bytes(bytes),
            dds_core::table::bytes(limit)
        ),
    )
    .hint(
        "use a machine where /dev/fuse can be opened, or fetch what you need: \
         dds clone URL DIR --data, or URL[@REV]:PATH in place of a mounted path",
    )
}

/// Counts the files whose size nobody told while they come.
struct Budget {
    used: AtomicU64,
    limit: u64,
    files: usize,
}

impl Budget {
    /// `held` bytes of untold sizes are there already.
    fn new(plan: &Plan, held: u64) -> Self {
        let used = AtomicU64::new(plan.bytes.saturating_add(held));
        Self { used, limit: plan.limit, files: plan.files.len() }
    }

    /// Errors: `Limit` when these bytes are too many.
    fn take(&self, bytes: u64) -> Result<()> {
        let used = self.used.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        match used > self.limit {
            true => Err(too_much(self.files, used, self.limit).context("the server told no sizes")),
            false => Ok(()),
        }
    }
}

/// What removing did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    pub removed: usize,
    /// Files that are no longer as they were written.
    pub kept: Vec<RepoPath>,
}

impl Copies {
    /// Fills `dir`, an existing empty folder. When it fails, the folder is empty again.
    ///
    /// Errors: the first one met, which names its file.
    pub fn fill(plan: &Plan, source: &dyn Source, dir: &Path, streamed: &Streamed, cx: &Cx) -> Result<Self> {
        let copies = Self { root: Root::open(dir)?, made: Mutex::default(), when_wanted: None };
        if let Err(error) = copies.fetch(&plan.files, &Budget::new(plan, 0), source, streamed, cx) {
            copies.remove()?;
            return Err(error);
        }
        Ok(copies)
    }

    /// Puts a node in the place of every file; [`Copies::bring`] fetches them. Both get the time stamp `time`.
    /// When it fails, the folder is empty again.
    pub fn place(plan: &Plan, source: &dyn Source, dir: &Path, time: SystemTime, cx: &Cx) -> Result<Self> {
        let copies = Self { root: Root::open(dir)?, made: Mutex::default(), when_wanted: Some(time) };
        if let Err(error) = copies.put_nodes(&plan.files, &source.id(), cx) {
            copies.remove()?;
            return Err(error);
        }
        Ok(copies)
    }

    fn put_nodes(&self, files: &[Entry], revision: &str, cx: &Cx) -> Result<()> {
        for entry in files {
            cx.cancel.check()?;
            self.note_dirs(&entry.path)?;
            if !self.root.node(&entry.path)? {
                continue;
            }
            if let Some(time) = self.when_wanted {
                self.root.set_modified(&entry.path, time)?;
            }
            let Some(stamp) = Stamp::at(&self.root, &entry.path)? else { continue };
            let copy = Copy { digest: entry.digest, revision: revision.to_owned(), stamp, awaited: true };
            lock(&self.made).files.insert(entry.path.clone(), copy);
        }
        Ok(())
    }

    /// Fetches a file in whose place a node is. Nothing happens when it is there already, or when the
    /// user has changed what is there.
    ///
    /// Errors: those of the source, `Corrupt`.
    /// It becomes `file`, if there is one, which was made by [`Copies::reserve`].
    pub fn bring(
        &self,
        entry: &Entry,
        file: Option<File>,
        source: &dyn Source,
        streamed: &Streamed,
        cx: &Cx,
    ) -> Result<()> {
        if !self.is_awaited(&entry.path) || !self.is_unchanged(&entry.path)? {
            return Ok(());
        }
        let no_limit = Budget { used: AtomicU64::new(0), limit: u64::MAX, files: 1 };
        self.copy_one(entry, file, &no_limit, source, &source.id(), streamed, cx)
    }

    /// Whether a node is in the place of the file, as far as we know.
    pub fn is_awaited(&self, path: &RepoPath) -> bool {
        lock(&self.made).files.get(path).is_some_and(|copy| copy.awaited)
    }

    /// The file that [`Copies::bring`] will put in the node's place, and its number: programs compare the
    /// number before and after they open a file. None where the file system has no files without names.
    pub fn reserve(&self, path: &RepoPath) -> Option<(File, u64)> {
        let file = self.root.nameless(path).ok().flatten()?;
        let number = file.metadata().ok()?.ino();
        Some((file, number))
    }

    /// Size and number of what lies at `path`.
    pub fn look(&self, path: &RepoPath) -> Option<(u64, u64)> {
        let found = self.root.look(path).ok().flatten()?;
        Some((u64::try_from(found.st_size).ok()?, found.st_ino))
    }

    /// Moves to another revision: fetches what is new or changed, removes what is gone. What the user
    /// changed is kept as it is. Gives the number of files fetched.
    pub fn refresh(&self, plan: &Plan, source: &dyn Source, streamed: &Streamed, cx: &Cx) -> Result<usize> {
        let revision = source.id();
        let wanted: BTreeMap<&RepoPath, &Entry> = plan.files.iter().map(|e| (&e.path, e)).collect();
        let (mut fetch, mut drop_now, mut held) = (Vec::new(), Vec::new(), 0_u64);
        {
            let made = lock(&self.made);
            for (path, entry) in &wanted {
                let fresh = made.files.get(*path).filter(|copy| {
                    copy.revision == revision || (copy.digest.is_some() && copy.digest == entry.digest)
                });
                match fresh {
                    Some(copy) if entry.size.is_none() => held = held.saturating_add(copy.stamp.size),
                    Some(_) => {}
                    None => fetch.push((*entry).clone()),
                }
            }
            drop_now.extend(made.files.keys().filter(|path| !wanted.contains_key(path)).cloned());
        }
        let mut kept = Vec::new();
        for path in &drop_now {
            self.remove_one(path, &mut kept)?;
        }
        fetch.retain(|entry| self.is_free_or_ours(&entry.path));
        if self.when_wanted.is_some() {
            for entry in &fetch {
                self.remove_one(&entry.path, &mut kept)?;
            }
            self.put_nodes(&fetch, &revision, cx)?;
            return Ok(fetch.len());
        }
        self.fetch(&fetch, &Budget::new(plan, held), source, streamed, cx)?;
        Ok(fetch.len())
    }

    /// Removes every copy that is as it was written, and the folders that are empty then.
    pub fn remove(&self) -> Result<Removed> {
        let paths: Vec<RepoPath> = lock(&self.made).files.keys().cloned().collect();
        let mut outcome = Removed::default();
        for path in &paths {
            outcome.removed += usize::from(self.remove_one(path, &mut outcome.kept)?);
        }
        let dirs: Vec<RepoPath> = lock(&self.made).dirs.iter().rev().cloned().collect();
        for dir in dirs {
            if self.root.remove_dir(&dir)? {
                lock(&self.made).dirs.remove(&dir);
            }
        }
        Ok(outcome)
    }

    fn fetch(
        &self,
        files: &[Entry],
        budget: &Budget,
        source: &dyn Source,
        streamed: &Streamed,
        cx: &Cx,
    ) -> Result<()> {
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let failed: Mutex<Option<Error>> = Mutex::new(None);
        let revision = source.id();
        let paths: Vec<RepoPath> = files.iter().map(|e| e.path.clone()).collect();
        // All at once: how many are fetched at a time, and kept in memory, is the source's to bound.
        source.announce(&paths);
        std::thread::scope(|scope| {
            for _ in 0..WORKERS.min(files.len()) {
                scope.spawn(|| {
                    while let Some(entry) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if lock(&failed).is_some() {
                            return;
                        }
                        if let Err(error) =
                            self.copy_one(entry, None, budget, source, &revision, streamed, cx)
                        {
                            lock(&failed).get_or_insert(error);
                            return;
                        }
                        let count = done.fetch_add(1, Ordering::Relaxed) + 1;
                        cx.items("copies", count, files.len());
                    }
                });
            }
        });
        match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one copy, used here only")]
    fn copy_one(
        &self,
        entry: &Entry,
        file: Option<File>,
        budget: &Budget,
        source: &dyn Source,
        revision: &str,
        streamed: &Streamed,
        cx: &Cx,
    ) -> Result<()> {
        cx.cancel.check()?;
        let path = &entry.path;
        self.note_dirs(path)?;
        let large = entry.size.filter(|size| *size > WHOLE).zip(entry.digest);
        if let Some((size, Digest::Md5(md5))) = large {
            let mut ranges = Ranges::new(path, size, md5, source, streamed, cx);
            let written = self.put(path, file, &mut ranges);
            // What the source said says more than what the writer made of it.
            ranges.failed.map_or(written, Err)?;
        } else {
            let bytes = source.read(path, cx).map_err(|e| match e.message.contains(path.as_str()) {
                true => e,
                false => e.context(path),
            })?;
            streamed.at_least(path, bytes.len() as u64);
            if entry.size.is_some_and(|size| size != bytes.len() as u64) {
                let (size, came) = (entry.size.unwrap_or(0), bytes.len());
                return Err(Error::new(
                    Kind::Corrupt,
                    format!("{path}: listed with {size} bytes, but {came} came"),
                ));
            }
            if entry.size.is_none() {
                budget.take(bytes.len() as u64)?;
            }
            self.put(path, file, &mut &bytes[..])?;
        }
        let failed = |e: std::io::Error| Error::io(self.root.path().join(path.as_str()), &e);
        let file = self.root.open_file(path)?.ok_or_else(|| {
            Error::new(
                Kind::Io,
                format!("{}: gone while it was written", self.root.path().join(path.as_str()).display()),
            )
        })?;
        let mode = if entry.executable { 0o555 } else { 0o444 };
        file.set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
        if let Some(time) = self.when_wanted {
            file.set_modified(time).map_err(failed)?;
        }
        let stamp = Stamp::of(&file.metadata().map_err(failed)?);
        let copy = Copy { digest: entry.digest, revision: revision.to_owned(), stamp, awaited: false };
        lock(&self.made).files.insert(path.clone(), copy);
        Ok(())
    }

    fn put(&self, path: &RepoPath, file: Option<File>, content: &mut dyn Read) -> Result<()> {
        match file {
            Some(file) => self.root.write_into(path, file, content),
            None => self.root.write(path, content, false),
        }
    }

    /// Remembers the folders above `path` that writing it will make.
    fn note_dirs(&self, path: &RepoPath) -> Result<()> {
        let mut dir = path.parent();
        while let Some(at) = dir.filter(|dir| !dir.is_root()) {
            // Asked under the lock: another worker may be about to make the same folder.
            let mut made = lock(&self.made);
            if !made.dirs.contains(&at) && self.root.find(&at)?.is_none() {
                made.dirs.insert(at.clone());
            }
            drop(made);
            dir = at.parent();
        }
        Ok(())
    }

    fn is_free_or_ours(&self, path: &RepoPath) -> bool {
        match self.root.find(path) {
            Ok(None) => true,
            Ok(Some(_)) => self.is_unchanged(path).unwrap_or(false),
            Err(_) => false,
        }
    }

    /// Whether the file at `path` is the copy as it was written. False when it is gone.
    fn is_unchanged(&self, path: &RepoPath) -> Result<bool> {
        let Some(copy) = lock(&self.made).files.get(path).cloned() else { return Ok(false) };
        Ok(Stamp::at(&self.root, path)? == Some(copy.stamp))
    }

    fn remove_one(&self, path: &RepoPath, kept: &mut Vec<RepoPath>) -> Result<bool> {
        let removed = self.is_unchanged(path)?;
        if removed {
            self.root.remove(path)?;
        } else if self.root.find(path)?.is_some() {
            kept.push(path.clone());
        }
        lock(&self.made).files.remove(path);
        Ok(removed)
    }
}

/// A large file in parts, none of which is handed on as the last before the digest was right.
struct Ranges<'a> {
    path: &'a RepoPath,
    size: u64,
    expected: [u8; 16],
    source: &'a dyn Source,
    streamed: &'a Streamed,
    cx: &'a Cx,
    next: u64,
    part: std::io::Cursor<Vec<u8>>,
    md5: Md5,
    failed: Option<Error>,
}

impl<'a> Ranges<'a> {
    fn new(
        path: &'a RepoPath,
        size: u64,
        expected: [u8; 16],
        source: &'a dyn Source,
        streamed: &'a Streamed,
        cx: &'a Cx,
    ) -> Self {
        let part = std::io::Cursor::default();
        Self { path, size, expected, source, streamed, cx, next: 0, part, md5: Md5::new(), failed: None }
    }

    fn fetch(&mut self) -> Result<()> {
        self.cx.cancel.check()?;
        let end = self.size.min(self.next.saturating_add(PART));
        let bytes = self.source.read_range(self.path, self.next..end, self.cx)?;
        if bytes.len() as u64 != end - self.next {
            let came = self.next + bytes.len() as u64;
            let message = format!("{}: listed with {} bytes, but {came} came", self.path, self.size);
            return Err(Error::new(Kind::Corrupt, message));
        }
        self.streamed.more(self.path, bytes.len() as u64, u64::MAX);
        self.md5.update(&bytes);
        self.next = end;
        if end == self.size && <[u8; 16]>::from(self.md5.finalize_reset()) != self.expected {
            return Err(Error::new(
                Kind::Corrupt,
                format!("{}: the bytes do not have its digest", self.path),
            ));
        }
        self.part = std::io::Cursor::new(bytes);
        Ok(())
    }
}

impl Read for Ranges<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let is_read = self.part.position() >= self.part.get_ref().len() as u64;
        if is_read
            && self.next < self.size
            && let Err(error) = self.fetch()
        {
            let message = error.message.clone();
            self.failed = Some(error);
            return Err(std::io::Error::other(message));
        }
        self.part.read(buffer)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
