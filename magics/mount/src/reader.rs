//! Reading: inode and range → block cache → source, with announcements, counters and the rule that a
//! damaged file is never served.
//!
//! Files up to [`WHOLE_FILE_BYTES`] are fetched and verified as a whole before their first byte is
//! handed out. Larger ones are fetched by blocks; their MD5 is taken along when they are read from
//! start to end. Knows nothing of FUSE.

use crate::block_cache::BlockCache;
use crate::inode::FileNode;
use crate::pool::Pool;
use crate::prefetch::{Prefetcher, Walk};
use crate::stats::Counters;
use crate::superblock::Superblock;
use bytes::{Bytes, BytesMut};
use dds_core::{Cx, Digest, Error, Kind, RepoPath, Result};
use md5::{Digest as _, Md5};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Files up to this size are verified before the first byte.
pub const WHOLE_FILE_BYTES: u64 = 8 * 1024 * 1024;
/// Block of a larger file.
pub const BLOCK_BYTES: u64 = 1024 * 1024;
/// Most blocks that are fetched ahead of a sequential reader of a larger file.
pub const MAX_BLOCKS_AHEAD: u64 = 8;
/// Large files whose MD5 is being taken along at the same time.
pub const MAX_HASHED: usize = 64;

/// Called once for each problem, with a text for the user.
pub type Notice = Arc<dyn Fn(&str) + Send + Sync>;

/// Reads the files of one superblock. Cheap to clone.
#[derive(Clone)]
pub struct Reader(Arc<Inner>);

struct Inner {
    superblock: Arc<Superblock>,
    cache: BlockCache,
    prefetcher: Prefetcher,
    pool: Arc<Pool>,
    counters: Arc<Counters>,
    hashing: Mutex<Hashing>,
    notice: Notice,
    cx: Cx,
}

/// What is known of open files, by inode.
#[derive(Default)]
struct Hashing {
    /// Handles that are open.
    handles: HashMap<u64, usize>,
    running: HashMap<u64, Running>,
}

/// The MD5 of a large file, as far as it was read without a gap.
struct Running {
    md5: Md5,
    next: u64,
}

/// One opened file.
pub struct Handle {
    file: Arc<FileNode>,
    ahead: Mutex<ReadAhead>,
}

#[derive(Default)]
struct ReadAhead {
    /// The block that a sequential reader asks for next.
    next: u64,
    window: u64,
}

impl Handle {
    pub fn file(&self) -> &Arc<FileNode> {
        &self.file
    }
}

impl Reader {
    /// `cx.cancel` ends fetches that are still under way when the mount ends.
    pub fn new(
        superblock: Arc<Superblock>,
        cache: BlockCache,
        pool: Arc<Pool>,
        counters: Arc<Counters>,
        notice: Notice,
        cx: Cx,
    ) -> Self {
        let prefetcher = Prefetcher::default();
        Self(Arc::new(Inner {
            superblock,
            cache,
            prefetcher,
            pool,
            counters,
            hashing: Mutex::default(),
            notice,
            cx,
        }))
    }

    pub fn cx(&self) -> &Cx {
        &self.0.cx
    }

    pub fn pool(&self) -> &Arc<Pool> {
        &self.0.pool
    }

    /// Opens a file and announces the ones that will probably follow. Errors: the file is known to be
    /// damaged.
    pub fn open(&self, file: Arc<FileNode>) -> Result<Handle> {
        if let Some(error) = file.trouble() {
            return Err(error.clone());
        }
        self.announce_after(&file);
        *lock(&self.0.hashing).handles.entry(file.ino).or_default() += 1;
        Ok(Handle { file, ahead: Mutex::default() })
    }

    /// The handle is closed, once. With the last one of a file, a large file that was not read to its
    /// end is not verified any further.
    pub fn close(&self, handle: &Handle) {
        let mut hashing = lock(&self.0.hashing);
        if let Entry::Occupied(mut handles) = hashing.handles.entry(handle.file.ino) {
            *handles.get_mut() -= 1;
            if *handles.get() == 0 {
                handles.remove();
                hashing.running.remove(&handle.file.ino);
            }
        }
    }

    /// From now on files are read in this order. Paths that are not files of the mount are ignored.
    pub fn follow(&self, paths: &[RepoPath]) {
        let tree = &self.0.superblock;
        let order = paths.iter().filter_map(|path| tree.at(path)).map(|inode| inode.ino()).collect();
        self.0.prefetcher.follow(order);
    }

    /// The tree has moved on.
    pub fn tree_changed(&self) {
        self.0.prefetcher.reset();
    }

    /// The bytes if they need no waiting.
    pub fn peek(&self, handle: &Handle, offset: u64, len: u32) -> Option<Bytes> {
        let file = &handle.file;
        if file.trouble().is_some() {
            return None;
        }
        let size = file.known_size()?;
        if size > WHOLE_FILE_BYTES {
            return None;
        }
        let bytes = if offset >= size { Bytes::new() } else { self.0.cache.peek((file.ino, 0))? };
        let part = cut(&bytes, offset, len);
        self.0.counters.served(part.len());
        Some(part)
    }

    /// Up to `len` bytes from `offset`, cut at the end of the file. May wait for the network.
    ///
    /// Errors: `Corrupt` from the first damage on; otherwise those of the source, which are not
    /// remembered: the next read tries again.
    pub fn read(&self, handle: &Handle, offset: u64, len: u32) -> Result<Bytes> {
        let file = &handle.file;
        let outcome = self.read_part(handle, offset, len);
        match &outcome {
            Ok(part) => self.0.counters.served(part.len()),
            Err(error) => self.report(file, error),
        }
        outcome
    }

    fn read_part(&self, handle: &Handle, offset: u64, len: u32) -> Result<Bytes> {
        let file = &handle.file;
        if let Some(error) = file.trouble() {
            return Err(error.clone());
        }
        let size = file.size(&self.0.cx)?;
        if offset >= size || len == 0 {
            return Ok(Bytes::new());
        }
        if size <= WHOLE_FILE_BYTES {
            return Ok(cut(&self.whole(file, size)?, offset, len));
        }
        let end = offset.saturating_add(u64::from(len)).min(size);
        let (first, last) = (offset / BLOCK_BYTES, (end - 1) / BLOCK_BYTES);
        let forward = self.read_ahead(handle, first, last, size);
        if !forward && (first..=last).any(|block| self.0.cache.lacks((file.ino, block))) {
            return self.here_and_there(file, offset..end);
        }
        let mut parts = BytesMut::new();
        for block in first..=last {
            let bytes = self.block(file, block, size)?;
            self.take_along(file, block, &bytes, size)?;
            let start = offset.saturating_sub(block * BLOCK_BYTES);
            let part =
                cut(&bytes, start, u32::try_from(end - block * BLOCK_BYTES - start).unwrap_or(u32::MAX));
            if first == last {
                return Ok(part);
            }
            parts.extend_from_slice(&part);
        }
        Ok(parts.freeze())
    }

    fn whole(&self, file: &FileNode, size: u64) -> Result<Bytes> {
        self.0.cache.get((file.ino, 0), || {
            let bytes = file.source.read(&file.path, &self.0.cx)?;
            self.0.counters.streamed.at_least(&file.path, bytes.len() as u64);
            if bytes.len() as u64 != size {
                return Err(Error::new(
                    Kind::Corrupt,
                    format!("{}: listed with {size} bytes, but {} came", file.path, bytes.len()),
                ));
            }
            Ok(Bytes::from(bytes))
        })
    }

    fn block(&self, file: &FileNode, block: u64, size: u64) -> Result<Bytes> {
        self.0.cache.get((file.ino, block), || {
            let range = block * BLOCK_BYTES..((block + 1) * BLOCK_BYTES).min(size);
            let expected = range.end - range.start;
            let bytes = file.source.read_range(&file.path, range.clone(), &self.0.cx)?;
            self.0.counters.streamed.more(&file.path, bytes.len() as u64);
            if bytes.len() as u64 != expected {
                return Err(Error::new(
                    Kind::Unreachable,
                    format!(
                        "{}: bytes {}..{} were asked for, but {} came",
                        file.path,
                        range.start,
                        range.end,
                        bytes.len()
                    ),
                ));
            }
            Ok(Bytes::from(bytes))
        })
    }

    /// A part for a reader who does not go forward: what was asked for and no whole blocks. The kernel keeps
    /// it.
    fn here_and_there(&self, file: &FileNode, range: std::ops::Range<u64>) -> Result<Bytes> {
        let expected = range.end - range.start;
        let bytes = file.source.read_range(&file.path, range, &self.0.cx)?;
        self.0.counters.streamed.more(&file.path, bytes.len() as u64);
        if bytes.len() as u64 != expected {
            return Err(Error::new(
                Kind::Unreachable,
                format!("{}: {expected} bytes were asked for, but {} came", file.path, bytes.len()),
            ));
        }
        Ok(Bytes::from(bytes))
    }

    /// Fetches blocks ahead while the reader goes forward. Whether it does.
    fn read_ahead(&self, handle: &Handle, first: u64, last: u64, size: u64) -> bool {
        let blocks = size.div_ceil(BLOCK_BYTES);
        let mut ahead = lock(&handle.ahead);
        if last + 1 == ahead.next {
            return true;
        }
        let forward = first == ahead.next || first + 1 == ahead.next;
        ahead.window = match forward {
            true => (ahead.window * 2).clamp(1, MAX_BLOCKS_AHEAD),
            false => 0,
        };
        ahead.next = last + 1;
        let until = (last + 1).saturating_add(ahead.window).min(blocks);
        drop(ahead);
        for block in last + 1..until {
            if self.0.cache.lacks((handle.file.ino, block)) {
                let (reader, file) = (self.clone(), handle.file.clone());
                // Its error is the reader's to report, when it gets there.
                self.0.pool.ahead(move || drop(reader.block(&file, block, size)));
            }
        }
        forward
    }

    /// Feeds blocks to the running MD5 in order; at the last one compares it.
    fn take_along(&self, file: &Arc<FileNode>, block: u64, bytes: &Bytes, size: u64) -> Result<()> {
        let Some(Digest::Md5(expected)) = file.digest else { return Ok(()) };
        let blocks = size.div_ceil(BLOCK_BYTES);
        let mut hashing = lock(&self.0.hashing);
        if block == 0 && !hashing.running.contains_key(&file.ino) && hashing.running.len() < MAX_HASHED {
            hashing.running.insert(file.ino, Running { md5: Md5::new(), next: 0 });
        }
        let Some(mut running) = hashing.running.remove(&file.ino) else { return Ok(()) };
        // Hashing megabytes is no work for a shared lock: others on this file go on without it.
        drop(hashing);
        let mut current = (running.next == block).then(|| bytes.clone());
        while let Some(bytes) = current {
            running.md5.update(&bytes);
            running.next += 1;
            current = match running.next < blocks {
                true => self.0.cache.peek((file.ino, running.next)),
                false => None,
            };
        }
        if running.next < blocks {
            let mut hashing = lock(&self.0.hashing);
            // Meanwhile the last handle may have been closed, or another reader may have begun anew.
            let behind = hashing.running.get(&file.ino).is_some_and(|other| other.next > running.next);
            if hashing.handles.contains_key(&file.ino) && !behind {
                hashing.running.insert(file.ino, running);
            }
            return Ok(());
        }
        let found: [u8; 16] = running.md5.finalize().into();
        if found == expected {
            return Ok(());
        }
        self.0.cache.forget(file.ino);
        Err(Error::new(
            Kind::Corrupt,
            format!(
                "{}: its bytes have the MD5 {}, not {}",
                file.path,
                hex::encode(found),
                Digest::Md5(expected)
            ),
        ))
    }

    /// Tells the user: about damage once per file, about the rest as it happens.
    pub fn report(&self, file: &Arc<FileNode>, error: &Error) {
        let told = match error.kind {
            Kind::Corrupt => file.condemn(error.clone()),
            Kind::Interrupted => false,
            _ => true,
        };
        if told {
            let path = &file.path;
            let named = error.message.contains(path.as_str());
            let what = if named { error.message.clone() } else { format!("{path}: {}", error.message) };
            (self.0.notice)(&match error.kind {
                Kind::Corrupt => format!("damaged file, reads fail with EIO: {what}"),
                _ => format!("read failed: {what}"),
            });
        }
    }

    fn announce_after(&self, file: &FileNode) {
        let tree = &self.0.superblock;
        let order = tree.order();
        let small = |ino| {
            let size = tree.file(ino)?.known_size().unwrap_or(0);
            (size <= WHOLE_FILE_BYTES).then_some(size)
        };
        let walk = Walk { files: &order, size: &small };
        let next = self.0.prefetcher.opened(file.ino, file.position, &walk);
        let paths: Vec<RepoPath> =
            next.iter().filter_map(|ino| Some(tree.file(*ino)?.path.clone())).collect();
        if !paths.is_empty() {
            tree.source().announce(&paths);
        }
    }
}

fn cut(bytes: &Bytes, offset: u64, len: u32) -> Bytes {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    let end = start.saturating_add(len as usize).min(bytes.len());
    bytes.slice(start..end)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
