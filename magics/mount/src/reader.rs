//! Reading: inode and range → block cache → source, with announcements, counters and the rule that a
//! damaged file is never served.
//!
//! Files up to [`WHOLE_FILE_BYTES`] are fetched and verified as a whole before their first byte is
//! handed out. Of larger ones a reader gets what was asked for, and one who goes on in order whole blocks;
//! their MD5 is taken along when they are read from start to end. Nobody says when a file is opened or
//! closed, so what is known of a reader is kept by inode and bounded. Knows nothing of FUSE.

use crate::block_cache::BlockCache;
use crate::inode::{FileNode, Ino, Inode};
use crate::pool::Pool;
use crate::prefetch::{Prefetcher, Walk};
use crate::stats::Counters;
use crate::superblock::Superblock;
use bytes::{Bytes, BytesMut};
use dds_core::{Cx, Digest, Error, Kind, RepoPath, Result};
use dds_data::runs::{Run, Runs};
use md5::{Digest as _, Md5};
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Files up to this size are verified before the first byte.
pub const WHOLE_FILE_BYTES: u64 = 8 * 1024 * 1024;
/// Block of a larger file.
pub const BLOCK_BYTES: u64 = 1024 * 1024;
/// Who has read so much in order gets whole blocks, and as many ahead as were read.
pub const IN_ORDER_BYTES: u64 = BLOCK_BYTES;
/// Most blocks that are fetched ahead of a sequential reader of a larger file.
pub const MAX_BLOCKS_AHEAD: u64 = 8;
/// Large files whose MD5 is being taken along at the same time; the one read longest ago gives way.
pub const MAX_HASHED: usize = 64;
/// Large files whose readers are remembered.
pub const MAX_FOLLOWED: usize = 256;
/// Blocks that are hashed again from their source when a reader turns out to read in order.
const MAX_CATCH_UP: u64 = 4;
/// Files that were read a short while ago, and are no news to the prefetcher.
const RECENT: usize = 64;

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
    /// By inode, of large files.
    runs: Mutex<Recent<Runs>>,
    hashing: Mutex<Recent<Verifying>>,
    /// The files that were read last.
    recent: Mutex<VecDeque<Ino>>,
    notice: Notice,
    cx: Cx,
}

/// How a large file is verified that is read from its start.
enum Verifying {
    /// The MD5, as far as it was read without a gap, in blocks.
    Here(Running),
    /// Its source does it, as long as this is the same.
    There(u64),
}

struct Running {
    md5: Md5,
    next: u64,
}

/// Something for each of a bounded number of inodes; the one used longest ago gives way.
struct Recent<T> {
    entries: HashMap<Ino, (u64, T)>,
    clock: u64,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { entries: HashMap::new(), clock: 0 }
    }
}

impl<T> Recent<T> {
    fn put(&mut self, ino: Ino, value: T, most: usize) {
        self.clock += 1;
        if self.entries.len() >= most && !self.entries.contains_key(&ino) {
            let oldest = self.entries.iter().min_by_key(|(_, (used, _))| *used).map(|(ino, _)| *ino);
            oldest.and_then(|oldest| self.entries.remove(&oldest));
        }
        self.entries.insert(ino, (self.clock, value));
    }

    fn take(&mut self, ino: Ino) -> Option<T> {
        self.entries.remove(&ino).map(|(_, value)| value)
    }

    fn get(&self, ino: Ino) -> Option<&T> {
        self.entries.get(&ino).map(|(_, value)| value)
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
            runs: Mutex::default(),
            hashing: Mutex::default(),
            recent: Mutex::default(),
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

    /// From now on files are read in this order. Paths that are not files of the mount are ignored; gives how
    /// many are.
    pub fn follow(&self, paths: &[RepoPath]) -> usize {
        let tree = &self.0.superblock;
        let files = paths.iter().filter_map(|path| match tree.at(path)? {
            Inode::File(file) => Some(file.ino),
            Inode::Dir(_) => None,
        });
        let order: Vec<Ino> = files.collect();
        let count = order.len();
        self.0.prefetcher.follow(order);
        lock(&self.0.recent).clear();
        count
    }

    /// The tree has moved on.
    pub fn tree_changed(&self) {
        self.0.prefetcher.reset();
        lock(&self.0.recent).clear();
    }

    /// The bytes if they need no waiting. Announces the files that will probably follow.
    pub fn peek(&self, file: &FileNode, offset: u64, len: u32) -> Option<Bytes> {
        if file.trouble().is_some() {
            return None;
        }
        self.met(file);
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
    pub fn read(&self, file: &Arc<FileNode>, offset: u64, len: u32) -> Result<Bytes> {
        let outcome = self.read_part(file, offset, len);
        match &outcome {
            Ok(part) => self.0.counters.served(part.len()),
            Err(error) => self.report(file, error),
        }
        outcome
    }

    fn read_part(&self, file: &Arc<FileNode>, offset: u64, len: u32) -> Result<Bytes> {
        if let Some(error) = file.trouble() {
            return Err(error.clone());
        }
        self.met(file);
        let size = file.size(&self.0.cx)?;
        if offset >= size || len == 0 {
            return Ok(Bytes::new());
        }
        if size <= WHOLE_FILE_BYTES {
            return Ok(cut(&self.whole(file, size)?, offset, len));
        }
        let end = offset.saturating_add(u64::from(len)).min(size);
        let (first, last) = (offset / BLOCK_BYTES, (end - 1) / BLOCK_BYTES);
        let run = self.run(file.ino, offset..end);
        let in_order = run.len >= IN_ORDER_BYTES;
        if !in_order && (first..=last).any(|block| self.0.cache.lacks((file.ino, block))) {
            return self.here_and_there(file, offset..end);
        }
        self.read_ahead(file, last, size, run.len);
        let mut parts = BytesMut::new();
        for block in first..=last {
            let bytes = self.block(file, block, size)?;
            if run.start == 0 {
                self.take_along(file, block, &bytes, size)?;
            }
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

    /// What one reader of a large file has read in order, with this.
    fn run(&self, ino: Ino, range: Range<u64>) -> Run {
        let mut followed = lock(&self.0.runs);
        let mut runs = followed.take(ino).unwrap_or_default();
        let run = runs.read(&range);
        followed.put(ino, runs, MAX_FOLLOWED);
        run
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
            self.0.counters.streamed.more(&file.path, bytes.len() as u64, size);
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
    fn here_and_there(&self, file: &FileNode, range: Range<u64>) -> Result<Bytes> {
        let expected = range.end - range.start;
        let bytes = file.source.read_range(&file.path, range, &self.0.cx)?;
        let size = file.known_size().unwrap_or(u64::MAX);
        self.0.counters.streamed.more(&file.path, bytes.len() as u64, size);
        if bytes.len() as u64 != expected {
            return Err(Error::new(
                Kind::Unreachable,
                format!("{}: {expected} bytes were asked for, but {} came", file.path, bytes.len()),
            ));
        }
        Ok(Bytes::from(bytes))
    }

    /// Fetches as many blocks ahead of a reader as were read in order.
    fn read_ahead(&self, file: &Arc<FileNode>, last: u64, size: u64, so_far: u64) {
        // A source that fetches ahead by itself takes what is read ahead here for reading.
        let most = if file.source.verifies(&file.path).is_some() { 1 } else { MAX_BLOCKS_AHEAD };
        let window = (so_far / BLOCK_BYTES).min(most);
        let until = (last + 1).saturating_add(window).min(size.div_ceil(BLOCK_BYTES));
        for block in last + 1..until {
            if self.0.cache.lacks((file.ino, block)) {
                let (reader, file) = (self.clone(), file.clone());
                // Its error is the reader's to report, when it gets there.
                self.0.pool.ahead(move || drop(reader.block(&file, block, size)));
            }
        }
    }

    /// Feeds blocks to the running MD5 in order; at the last one compares it. The first ones were read in
    /// pieces, before it was known that the reader goes on; the source has them here.
    fn take_along(&self, file: &Arc<FileNode>, block: u64, bytes: &Bytes, size: u64) -> Result<()> {
        let Some(Digest::Md5(expected)) = file.digest else { return Ok(()) };
        let there = file.source.verifies(&file.path);
        let blocks = size.div_ceil(BLOCK_BYTES);
        // Hashing megabytes is no work for a shared lock: others on this file go on without it.
        let known = lock(&self.0.hashing).take(file.ino);
        let begin = || Running { md5: Md5::new(), next: 0 };
        let (mut running, most) = match (known, there) {
            (Some(Verifying::There(before)), Some(now)) if before == now => {
                lock(&self.0.hashing).put(file.ino, Verifying::There(now), MAX_HASHED);
                return Ok(());
            }
            (None, Some(now)) if block <= MAX_CATCH_UP => {
                lock(&self.0.hashing).put(file.ino, Verifying::There(now), MAX_HASHED);
                return Ok(());
            }
            // The source has begun anew and knows nothing of what was read: all of it once more.
            (Some(Verifying::There(_)), _) => (begin(), u64::MAX),
            (Some(Verifying::Here(running)), _) => (running, MAX_CATCH_UP),
            (None, None) if block <= MAX_CATCH_UP => (begin(), MAX_CATCH_UP),
            (None, _) => return Ok(()),
        };
        while running.next < block && block - running.next <= most {
            running.md5.update(&self.block(file, running.next, size)?);
            running.next += 1;
        }
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
            // Meanwhile another reader may have begun anew.
            let ahead = |other: &Verifying| match other {
                Verifying::Here(other) => other.next > running.next,
                Verifying::There(_) => false,
            };
            if !hashing.get(file.ino).is_some_and(ahead) {
                hashing.put(file.ino, Verifying::Here(running), MAX_HASHED);
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

    /// A file is read. When it was not read a moment ago, announces those that will probably follow.
    fn met(&self, file: &FileNode) {
        {
            let mut recent = lock(&self.0.recent);
            if recent.contains(&file.ino) {
                return;
            }
            if recent.len() >= RECENT {
                recent.pop_front();
            }
            recent.push_back(file.ino);
        }
        self.announce_after(file);
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
