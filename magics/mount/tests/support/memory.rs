//! A repository in memory: real digests, a latency per fetch, a bounded number of connections, and a
//! record of everything that was asked of it.

use dds_core::{Cx, Digest, Entry, EntryKind, Error, Kind, RepoPath, Result, Source, Versioning};
use md5::{Digest as _, Md5};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Connections, and threads that fetch what was announced.
pub const CONNECTIONS: usize = 32;

#[derive(Clone)]
pub struct File {
    pub bytes: Vec<u8>,
    pub digest: Digest,
}

pub struct Memory {
    id: String,
    files: Arc<BTreeMap<RepoPath, File>>,
    /// Whether listings tell sizes.
    pub sizes: bool,
    pub latency: Duration,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    seen: Seen,
    /// Fetched ahead: none while on its way.
    ahead: HashMap<RepoPath, Option<Vec<u8>>>,
    queue: VecDeque<RepoPath>,
    busy: usize,
    workers: usize,
    closed: bool,
}

/// What was asked.
#[derive(Clone, Default, Debug)]
pub struct Seen {
    pub lists: usize,
    pub stats: usize,
    pub reads: Vec<String>,
    pub ranges: Vec<Range<u64>>,
    pub announcements: Vec<Vec<String>>,
    /// Most fetches at the same time.
    pub peak: usize,
    pub fetches: usize,
}

impl Seen {
    /// Every announced file, at its first announcement.
    pub fn announced(&self) -> Vec<&String> {
        let mut seen = std::collections::HashSet::new();
        self.announcements.iter().flatten().filter(|name| seen.insert(*name)).collect()
    }
}

pub fn path(text: &str) -> RepoPath {
    RepoPath::parse(text).unwrap()
}

pub fn digest(bytes: &[u8]) -> Digest {
    Digest::Md5(Md5::digest(bytes).into())
}

/// Bytes without a pattern that a cache could hide behind.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

impl Memory {
    pub fn new<'a>(id: &str, files: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> Self {
        let files: BTreeMap<RepoPath, File> = files
            .into_iter()
            .map(|(name, bytes)| (path(name), File { digest: digest(&bytes), bytes }))
            .collect();
        Self {
            id: id.into(),
            files: Arc::new(files),
            sizes: true,
            latency: Duration::ZERO,
            shared: Arc::default(),
        }
    }

    /// `count` files of `len` bytes in six folders, as `class 0/000.bin`.
    pub fn grid(id: &str, count: usize, len: usize, latency: Duration) -> Self {
        let names: Vec<String> =
            (0..count).map(|i| format!("class {}/{:03}.bin", i * 6 / count, i % count.div_ceil(6))).collect();
        let mut grid =
            Self::new(id, names.iter().enumerate().map(|(i, n)| (n.as_str(), noise(len, i as u64 + 1))));
        grid.latency = latency;
        grid
    }

    /// Changes a file's bytes and leaves its digest.
    pub fn damage(mut self, name: &str) -> Self {
        let file = Arc::make_mut(&mut self.files).get_mut(&path(name)).unwrap();
        let middle = file.bytes.len() / 2;
        file.bytes[middle] ^= 1;
        self
    }

    pub fn without_sizes(mut self) -> Self {
        self.sizes = false;
        self
    }

    pub fn seen(&self) -> Seen {
        self.lock().seen.clone()
    }

    pub fn bytes(&self, name: &str) -> &[u8] {
        &self.files[&path(name)].bytes
    }

    pub fn names(&self) -> Vec<String> {
        self.files.keys().map(ToString::to_string).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    fn file(&self, path: &RepoPath) -> Result<&File> {
        self.files.get(path).ok_or_else(|| Error::not_found(format!("{path} does not exist")))
    }

    fn entry(&self, path: &RepoPath, file: &File, size: bool) -> Entry {
        Entry {
            path: path.clone(),
            kind: EntryKind::File,
            size: size.then_some(file.bytes.len() as u64),
            digest: Some(file.digest),
            versioning: Versioning::Dvc,
            executable: false,
        }
    }

    /// One request over one of the connections.
    pub fn fetch(&self, bytes: &[u8]) -> Vec<u8> {
        self.shared.request(self.latency);
        bytes.to_vec()
    }
}

impl Shared {
    fn request(&self, latency: Duration) {
        let mut state =
            self.changed.wait_while(self.state.lock().unwrap(), |s| s.busy >= CONNECTIONS).unwrap();
        state.busy += 1;
        state.seen.fetches += 1;
        state.seen.peak = state.seen.peak.max(state.busy);
        drop(state);
        if !latency.is_zero() {
            std::thread::sleep(latency);
        }
        self.state.lock().unwrap().busy -= 1;
        self.changed.notify_all();
    }

    /// Fetches what was announced.
    fn work(&self, files: &BTreeMap<RepoPath, File>, latency: Duration) {
        loop {
            let mut state = self
                .changed
                .wait_while(self.state.lock().unwrap(), |s| s.queue.is_empty() && !s.closed)
                .unwrap();
            let Some(path) = state.queue.pop_front() else { return };
            if state.ahead.contains_key(&path) {
                continue;
            }
            state.ahead.insert(path.clone(), None);
            drop(state);
            self.request(latency);
            let bytes = files[&path].bytes.clone();
            self.state.lock().unwrap().ahead.insert(path, Some(bytes));
            self.changed.notify_all();
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let mut state = self.lock();
        state.closed = true;
        state.queue.clear();
        self.shared.changed.notify_all();
    }
}

impl Source for Memory {
    fn id(&self) -> String {
        self.id.clone()
    }

    fn list(&self, dir: &RepoPath, recursive: bool, _cx: &Cx) -> Result<Vec<Entry>> {
        self.lock().seen.lists += 1;
        assert!(recursive && dir.is_root(), "mounts list once, everything");
        Ok(self.files.iter().map(|(path, file)| self.entry(path, file, self.sizes)).collect())
    }

    fn stat(&self, path: &RepoPath, _cx: &Cx) -> Result<Entry> {
        self.lock().seen.stats += 1;
        Ok(self.entry(path, self.file(path)?, true))
    }

    fn read(&self, path: &RepoPath, cx: &Cx) -> Result<Vec<u8>> {
        self.lock().seen.reads.push(path.to_string());
        let file = self.file(path)?;
        if file.bytes == b"never comes" {
            while !cx.cancel.is_cancelled() {
                std::thread::sleep(Duration::from_millis(5));
            }
            return Err(Error::interrupted());
        }
        let mut state = self.lock();
        let bytes = loop {
            match state.ahead.get(path) {
                Some(Some(bytes)) => break bytes.clone(),
                Some(None) => state = self.shared.changed.wait(state).unwrap(),
                None => {
                    // Announced, but nobody has begun: the reader does it.
                    state.queue.retain(|other| other != path);
                    drop(state);
                    break self.fetch(&file.bytes);
                }
            }
        };
        if digest(&bytes) != file.digest {
            return Err(Error::new(
                Kind::Corrupt,
                format!("{path}: bytes do not have the digest {}", file.digest),
            ));
        }
        Ok(bytes)
    }

    fn read_range(&self, path: &RepoPath, range: Range<u64>, _cx: &Cx) -> Result<Vec<u8>> {
        self.lock().seen.ranges.push(range.clone());
        let bytes = &self.file(path)?.bytes;
        let end = (range.end as usize).min(bytes.len());
        Ok(self.fetch(&bytes[(range.start as usize).min(end)..end]))
    }

    fn announce(&self, paths: &[RepoPath]) {
        let mut state = self.lock();
        state.seen.announcements.push(paths.iter().map(ToString::to_string).collect());
        if self.latency.is_zero() {
            return;
        }
        // In front of what was announced before, like the real client.
        for path in paths.iter().rev() {
            state.queue.retain(|other| other != path);
            state.queue.push_front(path.clone());
        }
        while state.workers < CONNECTIONS {
            state.workers += 1;
            let (shared, files, latency) = (self.shared.clone(), self.files.clone(), self.latency);
            std::thread::spawn(move || shared.work(&files, latency));
        }
        drop(state);
        self.shared.changed.notify_all();
    }
}
