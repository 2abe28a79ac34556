//! Large files: fetched by blocks into a file of the cache, several at a time, verified when complete.
//!
//! A reader gets its bytes as soon as their granules are there, and no byte is asked for twice. Who reads in
//! order has as much fetched ahead as was read before, so that nobody moves more than twice what is read, but
//! for the granules' rounding. When the last granule has come the whole file is verified: it goes into the
//! blob store, or the granules are thrown away and the reader is told.

use super::fetching::{Fetching, cut, verify};
use super::prefix::Prefix;
use crate::flight::{Flight, Flights, Joined, lock};
use crate::runs::Runs;
use crate::runtime;
use crate::store::Layout;
use bytes::Bytes;
use dds_core::{Cx, Digest, Entry, Error, Kind, RepoPath, Result};
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Blocks fetched at the same time for one reader. A block is the most that one request asks for.
const WIDTH: u64 = 8;
/// What is fetched is rounded to granules, and kept by them.
const GRANULE: u64 = 16 << 10;
/// So much in order, in granules, is reading in order; below it nothing is fetched ahead.
const IN_ORDER: u64 = 16;
/// Granules that are here between two that are not: asked for again rather than by a request of its own.
const MAX_HOLE: u64 = 4;
/// Files under way at the same time; the one touched longest ago is given up for a further one.
const MAX_OPEN: usize = 64;
/// How often one who waits for the verification looks at its interrupt flag.
const CANCEL_POLL: Duration = Duration::from_millis(50);
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
    /// Somebody has written what was claimed, or could not; or the whole was verified.
    written: Condvar,
    /// Hashed as it comes.
    prefix: Prefix,
    /// By the range of granules; they do not overlap.
    flights: Arc<Flights<(u64, u64)>>,
    /// By the clock of [`BigFiles`].
    begun: u64,
    touched: AtomicU64,
}

/// Each byte is written once, also should flights overlap: what is verified in the end is what was written.
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
    runs: Runs,
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
        self.fill(&partial, range, cx)
    }

    /// Some while the file is on its way, and its last bytes are given out only once all of it is verified;
    /// another number when it was begun anew.
    pub fn verifies(&self, path: &RepoPath) -> Option<u64> {
        lock(&self.open)
            .get(path)
            .filter(|partial| partial.entry.digest.is_some())
            .map(|partial| partial.begun)
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
                runs: Runs::default(),
                verdict: None,
            }),
            written: Condvar::new(),
            prefix: Prefix::default(),
            flights: Arc::default(),
            begun: now,
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

    /// Bytes of a range, of which is fetched what is missing. A file that turned out to be damaged is told to
    /// this reader and begun anew for the next one.
    fn fill(&self, partial: &Arc<Partial>, range: Range<u64>, cx: &Cx) -> Result<Vec<u8>> {
        let result = self.gather(partial, range, cx);
        if result.is_err() && matches!(lock(&partial.blocks).verdict, Some(Err(_))) {
            let mut open = lock(&self.open);
            if open.get(&partial.entry.path).is_some_and(|p| Arc::ptr_eq(p, partial)) {
                open.remove(&partial.entry.path);
            }
        }
        result
    }

    fn gather(&self, partial: &Arc<Partial>, range: Range<u64>, cx: &Cx) -> Result<Vec<u8>> {
        let wanted = partial.granules(&range);
        let each = partial.block / partial.granule;
        let mut waiting: VecDeque<Arc<Flight>> = VecDeque::new();
        let mut next = wanted.start;
        let mut ahead = Some(&range);
        while next < wanted.end || !waiting.is_empty() {
            cx.cancel.check()?;
            while next < wanted.end && waiting.len() < WIDTH as usize {
                let until = (next / each + 1).saturating_mul(each).min(wanted.end);
                waiting.extend(self.fetch(partial, next..until)?);
                next = until;
            }
            // Before waiting for what is read now.
            if next >= wanted.end
                && let Some(range) = ahead.take()
            {
                self.read_ahead(partial, range)?;
            }
            if let Some(flight) = waiting.pop_front() {
                flight.wait(&cx.cancel)?;
                cx.bytes(partial.entry.path.name(), next * partial.granule, Some(partial.size));
            }
        }
        partial.bytes(range, cx)
    }

    /// Fetches ahead of one who reads in order, as much as was read so far and at most [`WIDTH`] blocks.
    fn read_ahead(&self, partial: &Arc<Partial>, range: &Range<u64>) -> Result<()> {
        let each = partial.block / partial.granule;
        let run = lock(&partial.blocks).runs.read(range);
        let window = (run.len / partial.granule).min(WIDTH * each);
        if window < IN_ORDER.min(each) {
            return Ok(());
        }
        let from = range.end.div_ceil(partial.granule).min(partial.count());
        let until = from.saturating_add(window).min(partial.count());
        let Some(first) = partial.missing(from..until).first().map(|gap| gap.start) else { return Ok(()) };
        // Not by the piece: half of what may be ahead at least, or a block.
        if until - first >= (window / 2).min(each) || until == partial.count() {
            let mut next = first;
            while next < until {
                let to = next.saturating_add(each).min(until);
                self.fetch(partial, next..to)?;
                next = to;
            }
        }
        Ok(())
    }

    /// Begins to fetch the granules that are neither here nor on their way; gives all that are on their way.
    fn fetch(&self, partial: &Arc<Partial>, granules: Range<u64>) -> Result<Vec<Arc<Flight>>> {
        let runtime = runtime::handle()?;
        // Held until the flights are known, so that no two of them overlap.
        let blocks = lock(&partial.blocks);
        if blocks.has(granules.clone()) {
            return Ok(Vec::new());
        }
        let mut found = partial.flights.all();
        found.retain(|((start, end), _)| *start < granules.end && granules.start < *end);
        let mut waiting: Vec<Arc<Flight>> = found.iter().map(|(_, flight)| flight.clone()).collect();
        for gap in blocks.gaps(granules, &found) {
            match partial.flights.join((gap.start, gap.end)) {
                Joined::Follow(flight) => waiting.push(flight),
                Joined::Lead(lead) => {
                    waiting.push(lead.flight());
                    let (partial, fetching) = (partial.clone(), self.fetching.clone());
                    let commit = self.commit.clone();
                    runtime.spawn(async move {
                        let result = fetch_granules(&fetching, &commit, &partial, gap).await;
                        let came = result.is_ok();
                        lead.finish(result);
                        if came {
                            // Nobody waits for it.
                            drop(tokio::task::spawn_blocking(move || partial.hash_on()));
                        }
                    });
                }
            }
        }
        Ok(waiting)
    }
}

impl Blocks {
    fn has(&self, granules: Range<u64>) -> bool {
        let at = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let part = self.have.get(at(granules.start)..at(granules.end));
        part.is_some_and(|part| part.iter().all(|have| *have == State::Here))
    }

    /// The parts of `granules` that nobody fetches yet, in order.
    fn gaps(&self, granules: Range<u64>, flying: &[((u64, u64), Arc<Flight>)]) -> Vec<Range<u64>> {
        let mut gaps: Vec<Range<u64>> = Vec::new();
        for n in granules {
            let state = usize::try_from(n).ok().and_then(|n| self.have.get(n));
            let comes = flying.iter().any(|((start, end), _)| (*start..*end).contains(&n));
            if state != Some(&State::Missing) || comes {
                continue;
            }
            match gaps.last_mut() {
                // What lies between is here: nothing that flies.
                Some(gap) if n - gap.end <= MAX_HOLE && self.has(gap.end..n) => gap.end = n + 1,
                _ => gaps.push(n..n + 1),
            }
        }
        gaps
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
    fn count(&self) -> u64 {
        self.size.div_ceil(self.granule)
    }

    fn granules(&self, range: &Range<u64>) -> Range<u64> {
        range.start / self.granule..range.end.div_ceil(self.granule).min(self.count())
    }

    /// The parts that are neither here nor on their way.
    fn missing(&self, granules: Range<u64>) -> Vec<Range<u64>> {
        let blocks = lock(&self.blocks);
        blocks.gaps(granules, &self.flights.all())
    }

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

    /// Takes the digest of what is here from the start.
    fn hash_on(&self) {
        if !matches!(self.entry.digest, Some(Digest::Md5(_))) {
            return;
        }
        let here = |next: u64| {
            let blocks = lock(&self.blocks);
            // What is left at the end is the verification's.
            if blocks.missing == 0 {
                return next;
            }
            let from = usize::try_from(next / self.granule).unwrap_or(usize::MAX);
            let run = blocks.have.iter().skip(from).take_while(|have| **have == State::Here).count();
            (next + run as u64 * self.granule).min(self.size)
        };
        if let Err(e) = self.prefix.advance(self.file.as_file(), here) {
            tracing::debug!("{}: hashed later: {e}", self.entry.path);
        }
    }

    /// The digest of the complete file, of the kind of `like`.
    fn digest(&self, like: &Digest) -> Result<Digest> {
        match like {
            Digest::Md5(_) => {
                let found = self.prefix.finish(self.file.as_file(), self.size);
                Ok(Digest::Md5(found.map_err(|e| Error::io(self.file.path(), &e))?))
            }
            _ => crate::store::digest_of_file(self.file.path(), like).map(|(found, _)| found),
        }
    }

    /// Bytes whose granules are here; the last ones of the file when all of it is verified.
    fn bytes(&self, range: Range<u64>, cx: &Cx) -> Result<Vec<u8>> {
        let mut blocks = lock(&self.blocks);
        while range.end == self.size && blocks.missing == 0 && blocks.verdict.is_none() {
            cx.cancel.check()?;
            blocks = self.written.wait_timeout(blocks, CANCEL_POLL).unwrap_or_else(PoisonError::into_inner).0;
        }
        if let Some(Err(e)) = blocks.verdict.clone() {
            return Err(e);
        }
        drop(blocks);
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
            partial.written.notify_all();
            verdict?;
        }
        Ok(Bytes::new())
    })
    .await
}

/// Verifies the complete file and gives it to the blob store.
fn settle(partial: &Partial, fetching: &Fetching) -> Result<()> {
    let Some(digest) = &partial.entry.digest else { return Ok(()) };
    let len = partial.size;
    if partial.digest(digest)? == *digest {
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
