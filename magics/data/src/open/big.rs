//! Large files: fetched by blocks into a file of the cache, several at a time, verified when complete.
//!
//! A reader gets its bytes as soon as their blocks are there; reading on in order fetches ahead. Who reads
//! a little here and there gets that, by granules, and no whole blocks. When the last granule has come the
//! whole file is verified: it goes into the blob store, or the blocks are thrown away and the reader is told.

use super::fetching::{Fetching, cut, verify};
use crate::flight::{Flights, Joined, lock};
use crate::runtime;
use crate::store::Layout;
use bytes::Bytes;
use dds_core::{Cx, Digest, Entry, Error, Kind, RepoPath, Result};
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Blocks fetched at the same time for one reader.
const WIDTH: u64 = 8;
/// What is fetched for small reads here and there is rounded to granules, and kept by them.
const GRANULE: u64 = 16 << 10;
/// Larger reads fetch whole blocks, wherever they begin.
const MAX_SMALL_READ: u64 = 512 << 10;
/// Files under way at the same time; the one touched longest ago is given up for a further one.
const MAX_OPEN: usize = 16;
/// The largest file that is believed; no file system in use takes larger ones everywhere.
const MAX_FILE_BYTES: u64 = 16 << 40;

pub struct BigFiles {
    fetching: Arc<Fetching>,
    commit: String,
    open: Mutex<HashMap<RepoPath, Arc<Partial>>>,
    clock: AtomicU64,
}

/// A file under way.
struct Partial {
    entry: Entry,
    size: u64,
    /// A multiple of [`GRANULE`], except in tests.
    block: u64,
    granule: u64,
    file: tempfile::NamedTempFile,
    blocks: Mutex<Blocks>,
    /// Somebody has written what was claimed, or could not.
    written: Condvar,
    /// By the range of granules.
    flights: Arc<Flights<(u64, u64)>>,
    touched: AtomicU64,
}

/// Flights may overlap, and each byte is written once: what is verified in the end is what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Missing,
    /// One flight is writing it.
    Claimed,
    Here,
}

struct Blocks {
    /// By granule.
    have: Vec<State>,
    missing: usize,
    /// Where the last reader stopped.
    next: u64,
    /// The outcome of verifying the whole. After damage it stays, and the next reader gets a new `Partial`.
    verdict: Option<Result<()>>,
}

impl BigFiles {
    pub fn new(fetching: Arc<Fetching>, commit: String) -> Self {
        Self { fetching, commit, open: Mutex::default(), clock: AtomicU64::new(0) }
    }

    /// The whole file, verified.
    pub fn read_all(&self, entry: &Entry, cx: &Cx) -> Result<Vec<u8>> {
        if let Some(bytes) = self.on_disk(entry)? {
            return Ok(bytes);
        }
        let partial = self.partial(entry)?;
        let bytes = self.fill(&partial, 0..partial.size, cx)?;
        if entry.digest.is_none() {
            verify(entry, &bytes)?;
        }
        Ok(bytes)
    }

    pub fn read_range(&self, entry: &Entry, range: Range<u64>, cx: &Cx) -> Result<Vec<u8>> {
        if let Some(digest) = entry.digest.filter(|_| !lock(&self.open).contains_key(&entry.path)) {
            // Verified when it was stored.
            if let Ok(mut file) = File::open(self.fetching.cache.path(&digest, Layout::V3)) {
                let io = |e: std::io::Error| Error::io(entry.path.as_str(), &e);
                let mut bytes = Vec::new();
                file.seek(SeekFrom::Start(range.start)).map_err(io)?;
                file.take(range.end.saturating_sub(range.start)).read_to_end(&mut bytes).map_err(io)?;
                return Ok(bytes);
            }
        }
        let partial = self.partial(entry)?;
        let range = range.start.min(partial.size)..range.end.min(partial.size);
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let in_order = self.read_ahead(&partial, &range);
        if !in_order && range.end - range.start <= MAX_SMALL_READ {
            return self.fill_small(&partial, range, cx);
        }
        self.fill(&partial, range, cx)
    }

    fn on_disk(&self, entry: &Entry) -> Result<Option<Vec<u8>>> {
        let Some(digest) = &entry.digest else { return Ok(None) };
        match self.fetching.cache.read(digest, Layout::V3) {
            Err(e) if e.kind == Kind::Corrupt => {
                self.fetching.cache.remove(digest)?;
                Ok(None)
            }
            other => other,
        }
    }

    fn partial(&self, entry: &Entry) -> Result<Arc<Partial>> {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        let mut open = lock(&self.open);
        if let Some(partial) = open.get(&entry.path) {
            partial.touched.store(now, Ordering::Relaxed);
            return Ok(partial.clone());
        }
        let size =
            entry.size.ok_or_else(|| Error::internal(format!("{}: its size is not known", entry.path)))?;
        if size > MAX_FILE_BYTES {
            return Err(Error::new(
                Kind::Limit,
                format!("{}: the server lists {size} bytes, more than {MAX_FILE_BYTES}", entry.path),
            ));
        }
        let file = self.fetching.cache.temporary()?;
        file.as_file().set_len(size).map_err(|e| Error::io(file.path(), &e))?;
        let block = self.fetching.settings.block_bytes.max(1);
        let granule = GRANULE.min(block);
        let block = block.next_multiple_of(granule);
        let count = usize::try_from(size.div_ceil(granule)).map_err(|e| Error::internal(e.to_string()))?;
        let partial = Arc::new(Partial {
            entry: entry.clone(),
            size,
            block,
            granule,
            file,
            blocks: Mutex::new(Blocks {
                have: vec![State::Missing; count],
                missing: count,
                next: u64::MAX,
                verdict: None,
            }),
            written: Condvar::new(),
            flights: Arc::default(),
            touched: AtomicU64::new(now),
        });
        if open.len() >= MAX_OPEN {
            let oldest = open
                .iter()
                .min_by_key(|(_, p)| p.touched.load(Ordering::Relaxed))
                .map(|(path, _)| path.clone());
            if let Some(oldest) = oldest {
                open.remove(&oldest);
            }
        }
        open.insert(entry.path.clone(), partial.clone());
        Ok(partial)
    }

    /// Bytes of a range whose blocks are fetched where they are missing. A file that turned out to be
    /// damaged is told to this reader and begun anew for the next one.
    fn fill(&self, partial: &Arc<Partial>, range: Range<u64>, cx: &Cx) -> Result<Vec<u8>> {
        self.judged(partial, self.gather(partial, range, cx))
    }

    /// The same for a small part, of which only the missing granules are fetched.
    fn fill_small(&self, partial: &Arc<Partial>, range: Range<u64>, cx: &Cx) -> Result<Vec<u8>> {
        let result = self.gather_small(partial, range, cx);
        self.judged(partial, result)
    }

    fn judged(&self, partial: &Arc<Partial>, result: Result<Vec<u8>>) -> Result<Vec<u8>> {
        if result.is_err() && matches!(lock(&partial.blocks).verdict, Some(Err(_))) {
            let mut open = lock(&self.open);
            if open.get(&partial.entry.path).is_some_and(|p| Arc::ptr_eq(p, partial)) {
                open.remove(&partial.entry.path);
            }
        }
        result
    }

    fn gather(&self, partial: &Arc<Partial>, range: Range<u64>, cx: &Cx) -> Result<Vec<u8>> {
        let first = range.start / partial.block;
        let last = range.end.div_ceil(partial.block);
        let mut waiting = std::collections::VecDeque::new();
        let mut next = first;
        while next < last || !waiting.is_empty() {
            cx.cancel.check()?;
            while next < last && waiting.len() < WIDTH as usize {
                waiting.extend(self.start(partial, next)?);
                next += 1;
            }
            if let Some(flight) = waiting.pop_front() {
                flight.wait(&cx.cancel)?;
                cx.bytes(partial.entry.path.name(), next.min(last) * partial.block, Some(partial.size));
            }
        }
        partial.bytes(range)
    }

    fn gather_small(&self, partial: &Arc<Partial>, range: Range<u64>, cx: &Cx) -> Result<Vec<u8>> {
        let granules = range.start / partial.granule..range.end.div_ceil(partial.granule);
        let missing = {
            let blocks = lock(&partial.blocks);
            let lacks = |n: &u64| !blocks.has(*n..*n + 1);
            // One request from the first to the last that is missing.
            let first = granules.clone().find(lacks);
            first.map(|first| first..granules.clone().rev().find(lacks).unwrap_or(first) + 1)
        };
        if let Some(missing) = missing
            && let Some(flight) = self.fetch(partial, missing)?
        {
            flight.wait(&cx.cancel)?;
        }
        partial.bytes(range)
    }

    /// Two readers' strides ahead of one who reads in order. Whether it is one.
    fn read_ahead(&self, partial: &Arc<Partial>, range: &Range<u64>) -> bool {
        let in_order = {
            let mut blocks = lock(&partial.blocks);
            // Several may read in order at a time: what stands before is there then.
            let before = (range.start / partial.granule).checked_sub(1);
            let in_order =
                blocks.next == range.start || before.is_some_and(|before| blocks.has(before..before + 1));
            blocks.next = range.end;
            in_order
        };
        if in_order {
            let from = range.end / partial.block;
            let count = partial.size.div_ceil(partial.block);
            for block in from..(from + WIDTH).min(count) {
                if self.start(partial, block).is_err() {
                    break;
                }
            }
        }
        in_order
    }

    /// Begins to fetch a block; none when it is here.
    fn start(&self, partial: &Arc<Partial>, block: u64) -> Result<Option<Arc<crate::flight::Flight>>> {
        let each = partial.block / partial.granule;
        let count = partial.size.div_ceil(partial.granule);
        self.fetch(partial, block * each..((block + 1) * each).min(count))
    }

    /// Begins to fetch granules; none when they are here.
    fn fetch(
        &self,
        partial: &Arc<Partial>,
        granules: Range<u64>,
    ) -> Result<Option<Arc<crate::flight::Flight>>> {
        if lock(&partial.blocks).has(granules.clone()) {
            return Ok(None);
        }
        let lead = match partial.flights.join((granules.start, granules.end)) {
            Joined::Follow(flight) => return Ok(Some(flight)),
            Joined::Lead(lead) => lead,
        };
        let flight = lead.flight();
        let (partial, fetching, commit) = (partial.clone(), self.fetching.clone(), self.commit.clone());
        runtime::handle()?.spawn(async move {
            let result = fetch_granules(&fetching, &commit, &partial, granules).await;
            lead.finish(result);
        });
        Ok(Some(flight))
    }
}

impl Blocks {
    fn has(&self, granules: Range<u64>) -> bool {
        let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let part = self.have.get(at(granules.start)..at(granules.end));
        part.is_some_and(|part| part.iter().all(|have| *have == State::Here))
    }

    /// Claims the first run of granules that are missing.
    fn claim(&mut self, granules: &Range<u64>) -> Option<Range<u64>> {
        let is_missing = |blocks: &Self, n: u64| {
            usize::try_from(n).ok().and_then(|n| blocks.have.get(n)) == Some(&State::Missing)
        };
        let first = granules.clone().find(|n| is_missing(self, *n))?;
        let end = (first..granules.end).find(|n| !is_missing(self, *n)).unwrap_or(granules.end);
        self.set(&(first..end), State::Claimed);
        Some(first..end)
    }

    fn is_claimed(&self, granules: &Range<u64>) -> bool {
        let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let part = self.have.get(at(granules.start)..at(granules.end));
        part.is_some_and(|part| part.contains(&State::Claimed))
    }

    fn set(&mut self, granules: &Range<u64>, state: State) {
        let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        if let Some(part) = self.have.get_mut(at(granules.start)..at(granules.end)) {
            part.fill(state);
        }
    }
}

impl Partial {
    /// Writes what of `granules` is missing; whether the file is complete by it. What others write at the
    /// same time is waited for.
    fn write(&self, granules: &Range<u64>, bytes: &[u8]) -> Result<bool> {
        let mut complete = false;
        let mut blocks = lock(&self.blocks);
        loop {
            let Some(run) = blocks.claim(granules) else {
                if !blocks.is_claimed(granules) {
                    return Ok(complete);
                }
                blocks = self.written.wait(blocks).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(blocks);
            let from = (run.start - granules.start) * self.granule;
            let range = from..(run.end - granules.start) * self.granule;
            let file = self.file.as_file();
            let written = file.write_all_at(cut(bytes, &range), run.start * self.granule);
            blocks = lock(&self.blocks);
            blocks.set(&run, if written.is_ok() { State::Here } else { State::Missing });
            self.written.notify_all();
            written.map_err(|e| Error::io(self.file.path(), &e))?;
            blocks.missing -= usize::try_from(run.end - run.start).unwrap_or(0);
            complete |= blocks.missing == 0;
        }
    }

    /// Bytes whose granules are here.
    fn bytes(&self, range: Range<u64>) -> Result<Vec<u8>> {
        if let Some(Err(e)) = lock(&self.blocks).verdict.clone() {
            return Err(e);
        }
        let len = usize::try_from(range.end - range.start).map_err(|e| Error::internal(e.to_string()))?;
        let mut bytes = vec![0; len];
        let read = self.file.as_file().read_exact_at(&mut bytes, range.start);
        read.map_err(|e| Error::io(self.file.path(), &e))?;
        Ok(bytes)
    }
}

async fn fetch_granules(
    fetching: &Arc<Fetching>,
    commit: &str,
    partial: &Arc<Partial>,
    granules: Range<u64>,
) -> Result<Bytes> {
    if lock(&partial.blocks).has(granules.clone()) {
        return Ok(Bytes::new());
    }
    let from = granules.start * partial.granule;
    let range = from..(granules.end * partial.granule).min(partial.size);
    let max = partial.block.max(range.end - range.start);
    let bytes = fetching.source.get(commit, &partial.entry, Some(range.clone()), max).await?;
    if bytes.len() as u64 != range.end - range.start {
        return Err(Error::new(
            Kind::Corrupt,
            format!(
                "{}: the file is shorter than the {} bytes that were listed",
                partial.entry.path, partial.size
            ),
        ));
    }
    let (partial, fetching) = (partial.clone(), fetching.clone());
    runtime::blocking(move || {
        if partial.write(&granules, &bytes)? {
            let verdict = settle(&partial, &fetching);
            lock(&partial.blocks).verdict = Some(verdict.clone());
            verdict?;
        }
        Ok(Bytes::new())
    })
    .await
}

/// Verifies the complete file and gives it to the blob store.
fn settle(partial: &Partial, fetching: &Fetching) -> Result<()> {
    let Some(digest) = &partial.entry.digest else { return Ok(()) };
    let (found, len) = crate::store::digest_of_file(partial.file.path(), digest)?;
    if found == *digest {
        keep(partial, fetching, *digest);
        return Ok(());
    }
    if len <= MAX_LEGACY_BYTES {
        let mut bytes = Vec::new();
        let read = File::open(partial.file.path()).and_then(|mut f| f.read_to_end(&mut bytes));
        if read.is_ok() && verify(&partial.entry, cut(&bytes, &(0..len))).is_ok() {
            return Ok(());
        }
    }
    Err(crate::hash::mismatch(partial.entry.path.as_str(), digest, len)
        .hint("the file is damaged on the server or on the way; try again, then tell its owner"))
}

/// Takes a verified file into the cache, behind its readers' back: they go on with the file they have open.
fn keep(partial: &Partial, fetching: &Fetching, digest: Digest) {
    let Ok(copy) = fetching.cache.temporary() else { return };
    // A second name for the same bytes.
    let path = copy.into_temp_path();
    let _ = std::fs::remove_file(&path);
    if std::fs::hard_link(partial.file.path(), &path).is_err() {
        return;
    }
    let cache = fetching.cache.clone();
    let adopt = move || {
        let linked = File::open(&path).map(|f| tempfile::NamedTempFile::from_parts(f, path));
        if let Ok(linked) = linked
            && let Err(e) = cache.adopt_verified(linked, &digest)
        {
            tracing::warn!("not kept in the cache: {e}");
        }
    };
    if let Ok(handle) = runtime::handle() {
        handle.spawn_blocking(adopt);
    }
}

/// Text files of DVC 2 with their own digest are not larger.
const MAX_LEGACY_BYTES: u64 = 512 << 20;

#[cfg(test)]
mod tests;
