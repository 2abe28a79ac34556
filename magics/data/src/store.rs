//! A content store in DVC's own layout, `files/md5/xx/…`, so that `dvc` can share it: caches and
//! local remotes alike. Git blobs, which DVC does not store, lie beside them under `files/git/xx/…`.
//!
//! Every write is: temporary file in the object's folder → fsync → rename → fsync of the folder, so
//! several processes may write the same object and none sees half of it. Every write and every whole
//! read is verified. Does not know where bytes come from.

use crate::flight::{Flights, Joined};
use crate::hash::{self, Md5Stream};
use bytes::Bytes;
use dds_core::{Cancel, Digest, Error, Result};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// DVC protects the objects of its cache against change.
const OBJECT_MODE: u32 = 0o444;
const COPY_CHUNK: usize = 1 << 20;
const TEMPORARY_PREFIX: &str = ".incoming-";
/// A temporary file that nobody has written to for so long was left by a process that died.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// One store. Cheap to clone; clones share the single-flight table.
#[derive(Clone, Debug)]
pub struct BlobStore {
    root: Arc<PathBuf>,
    flights: Arc<Flights<Digest>>,
    /// Whether an object that is stored outlives a crash of the machine.
    durable: bool,
}

/// Which layout an object lies in: DVC 3, or the older one of DVC 1 and 2 (`xx/…`), whose MD5 was
/// taken over text with Unix line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    V3,
    V2,
}

impl BlobStore {
    /// The store in `root`; nothing is made before the first write.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: Arc::new(root.into()), flights: Arc::default(), durable: true }
    }

    /// A store of what can be fetched again: it does not wait for the disk. What a crash of the machine
    /// leaves of an object is not taken for it, since every object is verified when it is read; large ones,
    /// of which parts are read, come by [`BlobStore::adopt`].
    pub fn cache(root: impl Into<PathBuf>) -> Self {
        Self { durable: false, ..Self::new(root) }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the object lies or would lie.
    pub fn path(&self, digest: &Digest, layout: Layout) -> PathBuf {
        let text = digest.to_string();
        let (head, tail) = text.split_at_checked(2).unwrap_or((&text, ""));
        match (digest, layout) {
            (Digest::Git(_), _) => self.root.join("files/git").join(head).join(tail),
            (_, Layout::V3) => self.root.join("files/md5").join(head).join(tail),
            (_, Layout::V2) => self.root.join(head).join(tail),
        }
    }

    /// The length of the object; none when it is not here.
    pub fn len(&self, digest: &Digest, layout: Layout) -> Option<u64> {
        fs::metadata(self.path(digest, layout)).ok().filter(fs::Metadata::is_file).map(|m| m.len())
    }

    pub fn contains(&self, digest: &Digest) -> bool {
        self.len(digest, Layout::V3).is_some()
    }

    /// All bytes of an object, verified; none when it is not here. Errors: `Corrupt`, `Io`.
    pub fn read(&self, digest: &Digest, layout: Layout) -> Result<Option<Vec<u8>>> {
        let path = self.path(digest, layout);
        let bytes = match read_file(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io(&path, &e)),
        };
        let good = match layout {
            Layout::V3 => hash::matches(digest, &bytes),
            Layout::V2 => hash::matches_legacy(digest, &bytes),
        };
        if !good {
            return Err(hash::mismatch(&path.display().to_string(), digest, bytes.len() as u64)
                .hint("remove this file and fetch it again"));
        }
        Ok(Some(bytes))
    }

    /// Stores `bytes`, which must be what `digest` names. Errors: `Corrupt`, `Io`.
    pub fn put(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        if !hash::matches(digest, bytes) {
            return Err(hash::mismatch("refused to store an object", digest, bytes.len() as u64));
        }
        self.put_verified(digest, bytes)
    }

    /// As [`BlobStore::put`], for a caller who has just compared them.
    pub fn put_verified(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        let path = self.path(digest, Layout::V3);
        if self.durable && self.len(digest, Layout::V3) == Some(bytes.len() as u64) {
            return Ok(());
        }
        let dir = parent(&path)?;
        let mut temporary = temporary_in(dir)?;
        temporary.write_all(bytes).map_err(|e| Error::io(temporary.path(), &e))?;
        let (opened, name) = temporary.into_parts();
        settle(&opened, name, &path, self.durable)
    }

    /// Begins an object whose digest is not known yet.
    pub fn writer(&self) -> Result<BlobWriter> {
        let file = temporary_in(&self.root.join("tmp"))?;
        Ok(BlobWriter { store: self.clone(), file, hasher: Md5Stream::default() })
    }

    /// Copies a file of this machine in. Returns its MD5 and its length.
    pub fn put_file(&self, path: &Path, cancel: &Cancel) -> Result<(Digest, u64)> {
        let mut from = File::open(path).map_err(|e| Error::io(path, &e))?;
        let mut writer = self.writer()?;
        let mut chunk = vec![0; COPY_CHUNK];
        loop {
            cancel.check()?;
            let n = from.read(&mut chunk).map_err(|e| Error::io(path, &e))?;
            let Some(part) = chunk.get(..n).filter(|p| !p.is_empty()) else { break };
            writer.write(part)?;
        }
        writer.finish(None)
    }

    /// Moves a complete file of the same file system in, after checking it against `digest`.
    pub fn adopt(&self, file: tempfile::NamedTempFile, digest: &Digest, what: &str) -> Result<()> {
        let (found, len) = digest_of_file(file.path(), digest)?;
        if found != *digest {
            return Err(hash::mismatch(what, digest, len));
        }
        self.adopt_verified(file, digest)
    }

    /// As [`BlobStore::adopt`], for a caller who has just compared it. Waits for the disk in any case: parts
    /// of large objects are read without verifying the whole again.
    pub fn adopt_verified(&self, file: tempfile::NamedTempFile, digest: &Digest) -> Result<()> {
        let (opened, name) = file.into_parts();
        settle(&opened, name, &self.path(digest, Layout::V3), true)
    }

    /// A temporary file that [`BlobStore::adopt`] can take.
    pub fn temporary(&self) -> Result<tempfile::NamedTempFile> {
        temporary_in(&self.root.join("tmp"))
    }

    /// Takes an object of another store in, as a hard link where the file system allows it.
    pub fn link_from(&self, other: &BlobStore, digest: &Digest) -> Result<()> {
        let (from, to) = (other.path(digest, Layout::V3), self.path(digest, Layout::V3));
        if self.contains(digest) {
            return Ok(());
        }
        fs::create_dir_all(parent(&to)?).map_err(|e| Error::io(&to, &e))?;
        match fs::hard_link(&from, &to) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(_) => {
                let bytes = other.read(digest, Layout::V3)?;
                let bytes =
                    bytes.ok_or_else(|| Error::not_found(format!("{}: not in the store", from.display())))?;
                self.put(digest, &bytes)
            }
        }
    }

    /// Removes an object, as after a failed check.
    pub fn remove(&self, digest: &Digest) -> Result<()> {
        let path = self.path(digest, Layout::V3);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io(&path, &e)),
            _ => Ok(()),
        }
    }

    /// The object, from here or else from `fetch`, whose result is verified and kept. Callers of this
    /// process that ask for the same digest at once share one `fetch`. A damaged object is replaced.
    pub fn get_or_fetch(
        &self,
        digest: &Digest,
        cancel: &Cancel,
        fetch: impl FnOnce() -> Result<Vec<u8>>,
    ) -> Result<Bytes> {
        match self.read(digest, Layout::V3) {
            Ok(Some(bytes)) => return Ok(bytes.into()),
            Ok(None) => {}
            Err(e) if e.kind == dds_core::Kind::Corrupt => self.remove(digest)?,
            Err(e) => return Err(e),
        }
        match self.flights.join(*digest) {
            Joined::Follow(flight) => flight.wait(cancel),
            Joined::Lead(lead) => {
                // Another flight may have landed between the look into the store and this one's start.
                let result = match self.read(digest, Layout::V3) {
                    Ok(Some(bytes)) => Ok(Bytes::from(bytes)),
                    _ => fetch().and_then(|bytes| {
                        self.put(digest, &bytes)?;
                        Ok(Bytes::from(bytes))
                    }),
                };
                lead.finish(result.clone());
                result
            }
        }
    }

    /// Removes the objects that were written longest ago until at most `max_bytes` are left. Returns
    /// the bytes removed. Temporary files that were abandoned go in any case. Only for caches: never call it on a remote or on a repository's own cache.
    pub fn prune(&self, max_bytes: u64, cancel: &Cancel) -> Result<u64> {
        for file in entries(&self.root.join("tmp"))?.iter().filter(|f| is_abandoned(f)) {
            let _ = fs::remove_file(file);
        }
        let mut objects = Vec::new();
        let mut total = 0u64;
        for kind in ["files/md5", "files/git"] {
            for folder in entries(&self.root.join(kind))? {
                cancel.check()?;
                for file in entries(&folder)? {
                    if is_abandoned(&file) {
                        let _ = fs::remove_file(&file);
                    }
                    let Ok(m) = fs::symlink_metadata(&file) else { continue };
                    total += m.len();
                    objects.push((m.modified().ok(), m.len(), file));
                }
            }
        }
        objects.sort();
        let mut removed = 0;
        for (_, len, file) in objects {
            if total - removed <= max_bytes {
                break;
            }
            cancel.check()?;
            if fs::remove_file(&file).is_ok() {
                removed += len;
            }
        }
        Ok(removed)
    }
}

/// An object being written; dropped unfinished, it leaves nothing.
#[derive(Debug)]
pub struct BlobWriter {
    store: BlobStore,
    file: tempfile::NamedTempFile,
    hasher: Md5Stream,
}

impl BlobWriter {
    pub fn write(&mut self, chunk: &[u8]) -> Result<()> {
        self.hasher.update(chunk);
        self.file.write_all(chunk).map_err(|e| Error::io(self.file.path(), &e))
    }

    /// Ends writing without storing yet, and closes the file: thousands may wait at a time.
    pub fn stage(self) -> StagedBlob {
        let (digest, len) = self.hasher.finish();
        StagedBlob { store: self.store, file: self.file.into_temp_path(), digest, len }
    }

    /// Stores the object. Errors: `Corrupt` when `expected` is given and the bytes are others.
    pub fn finish(self, expected: Option<&Digest>) -> Result<(Digest, u64)> {
        self.stage().finish(expected)
    }
}

/// An object that is written and not stored yet; dropped, it leaves nothing. Holds no file open.
#[derive(Debug)]
pub struct StagedBlob {
    store: BlobStore,
    file: tempfile::TempPath,
    digest: Digest,
    len: u64,
}

impl StagedBlob {
    /// Where its bytes lie for now.
    pub fn path(&self) -> &Path {
        &self.file
    }

    /// Its MD5 and its length.
    pub fn digest(&self) -> (Digest, u64) {
        (self.digest, self.len)
    }

    /// Stores the object. Errors: `Corrupt` when `expected` is given and the bytes are others.
    pub fn finish(self, expected: Option<&Digest>) -> Result<(Digest, u64)> {
        let (digest, len) = self.digest();
        if let Some(want) = expected.filter(|want| **want != digest) {
            return Err(hash::mismatch("refused to store an object", want, len));
        }
        let path = self.store.path(&digest, Layout::V3);
        // In a cache, what lies there may be what a crash has left of it.
        if !self.store.durable || self.store.len(&digest, Layout::V3) != Some(len) {
            let opened = File::open(&self.file).map_err(|e| Error::io(&self.file, &e))?;
            settle(&opened, self.file, &path, true)?;
        }
        Ok((digest, len))
    }
}

/// The digest of a file, of the kind of `like`, without holding it in memory.
pub fn digest_of_file(path: &Path, like: &Digest) -> Result<(Digest, u64)> {
    if matches!(like, Digest::Git(_)) {
        let len = fs::metadata(path).map_err(|e| Error::io(path, &e))?.len();
        let oid = git2::Oid::hash_file(git2::ObjectType::Blob, path)
            .map_err(|e| Error::internal(format!("{}: {}", path.display(), e.message())))?;
        return Ok((hash::git_digest(oid)?, len));
    }
    let mut file = File::open(path).map_err(|e| Error::io(path, &e))?;
    let mut hasher = Md5Stream::default();
    let mut chunk = vec![0; COPY_CHUNK];
    loop {
        let n = file.read(&mut chunk).map_err(|e| Error::io(path, &e))?;
        let Some(part) = chunk.get(..n).filter(|p| !p.is_empty()) else { break };
        hasher.update(part);
    }
    let (digest, len) = hasher.finish();
    Ok((
        if let (Digest::Md5Dir(_), Digest::Md5(d)) = (like, digest) { Digest::Md5Dir(d) } else { digest },
        len,
    ))
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0));
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn temporary_in(dir: &Path) -> Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix(TEMPORARY_PREFIX);
    let made = match builder.tempfile_in(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(dir).map_err(|e| Error::io(dir, &e))?;
            builder.tempfile_in(dir)
        }
        made => made,
    };
    made.map_err(|e| Error::io(dir, &e))
}

fn is_abandoned(file: &Path) -> bool {
    let ours = file.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with(TEMPORARY_PREFIX));
    let written = || fs::symlink_metadata(file).ok()?.modified().ok();
    ours && written()
        .and_then(|t| SystemTime::now().duration_since(t).ok())
        .is_some_and(|age| age > ABANDONED)
}

/// fsync, rename, fsync of the folder; what is not durable is only renamed.
fn settle(opened: &File, file: tempfile::TempPath, path: &Path, durable: bool) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let io = |e: io::Error| Error::io(path, &e);
    let dir = parent(path)?;
    if file.parent() != Some(dir) {
        fs::create_dir_all(dir).map_err(io)?;
    }
    opened.set_permissions(fs::Permissions::from_mode(OBJECT_MODE)).map_err(io)?;
    if durable {
        opened.sync_data().map_err(io)?;
    }
    file.persist(path).map_err(|e| io(e.error))?;
    if durable {
        File::open(dir).and_then(|d| d.sync_all()).map_err(io)?;
        #[cfg(test)]
        tests::SYNCED.with_borrow_mut(|synced| synced.push(path.to_owned()));
    }
    Ok(())
}

fn parent(path: &Path) -> Result<&Path> {
    path.parent().ok_or_else(|| Error::internal(format!("{} has no folder", path.display())))
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    match fs::read_dir(dir) {
        Ok(list) => Ok(list.filter_map(|e| e.ok().map(|e| e.path())).collect()),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(e) => Err(Error::io(dir, &e)),
    }
}

#[cfg(test)]
mod tests;
