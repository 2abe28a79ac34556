//! Small files: fetched once, ahead of the reader when they were announced, and kept in memory for a
//! while.
//!
//! An announcement is a queue in reading order, worked off by at most [`WORKERS`] requests. The bytes
//! that wait for their reader are bounded: past [`Settings::memory_bytes`](super::Settings) the workers
//! rest until something is read. A new announcement puts its files in front of what is left of the
//! older ones, whose unread bytes it may push out of memory (they stay in the cache on disk).

use super::fetching::Fetching;
use crate::flight::{Flights, Joined, Lead, lock};
use crate::runtime;
use crate::store::Layout;
use bytes::Bytes;
use dds_core::{Cx, Digest, Entry, Kind, RepoPath, Result};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};

/// One connection is left for a reader who wants something else.
pub const WORKERS: usize = 31;
/// Files of one announcement that are remembered.
pub const MAX_ANNOUNCED: usize = 1_000_000;

/// A file as it was asked for: bytes fetched under another digest are not its bytes.
type Key = (RepoPath, Option<Digest>);

pub struct Prefetcher {
    fetching: Arc<Fetching>,
    commit: String,
    flights: Arc<Flights<Key>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Entry>,
    /// Announced files that nobody has asked for yet: only their bytes wait for a reader.
    awaited: HashSet<Key>,
    workers: usize,
    /// Bytes that requests of the workers may still bring.
    coming: u64,
    ready: Ready,
}

/// Files in memory, least recently used first.
#[derive(Default)]
struct Ready {
    files: HashMap<Key, Held>,
    order: BTreeMap<u64, Key>,
    clock: u64,
    bytes: u64,
    /// Bytes of files that were announced and not read yet.
    unread: u64,
}

struct Held {
    bytes: Bytes,
    stamp: u64,
    unread: bool,
}

impl Prefetcher {
    pub fn new(fetching: Arc<Fetching>, commit: String) -> Arc<Self> {
        Arc::new(Self { fetching, commit, flights: Arc::default(), state: Mutex::default() })
    }

    /// All bytes of a file, verified.
    pub fn read(self: &Arc<Self>, entry: &Entry, cx: &Cx) -> Result<Bytes> {
        let key = key(entry);
        lock(&self.state).awaited.remove(&key);
        if let Some(bytes) = self.take_ready(&key) {
            self.start_workers();
            return Ok(bytes);
        }
        if let Some(flight) = self.flights.get(&key) {
            let bytes = flight.wait(&cx.cancel)?;
            self.mark_read(&key);
            self.start_workers();
            return Ok(bytes);
        }
        if let Some(bytes) = self.on_disk(entry)? {
            self.keep(&key, &bytes, false);
            return Ok(bytes);
        }
        let flight = match self.flights.join(key.clone()) {
            Joined::Follow(flight) => flight,
            Joined::Lead(lead) => {
                // Another flight may have landed between our look and this one's start.
                if let Some(bytes) = self.take_ready(&key) {
                    lead.finish(Ok(bytes.clone()));
                    return Ok(bytes);
                }
                let flight = lead.flight();
                let this = self.clone();
                let entry = entry.clone();
                runtime::handle()?.spawn(async move { this.fetch(entry, lead, false).await });
                flight
            }
        };
        flight.wait(&cx.cancel)
    }

    /// Announces files in reading order.
    pub fn announce(self: &Arc<Self>, entries: Vec<Entry>) {
        {
            let mut state = lock(&self.state);
            state.ready.forget_unread();
            let older = std::mem::take(&mut state.queue);
            let mut seen = HashSet::new();
            let waiting: VecDeque<Entry> = entries
                .into_iter()
                .chain(older)
                .filter(|e| !state.ready.files.contains_key(&key(e)) && seen.insert(key(e)))
                .take(MAX_ANNOUNCED)
                .collect();
            state.awaited = waiting.iter().map(key).collect();
            state.queue = waiting;
        }
        self.start_workers();
    }

    fn start_workers(self: &Arc<Self>) {
        let Ok(handle) = runtime::handle() else { return };
        let mut state = lock(&self.state);
        while state.workers < WORKERS && state.workers < state.queue.len() && self.has_room(&state) {
            state.workers += 1;
            let this = self.clone();
            handle.spawn(async move { this.work().await });
        }
    }

    fn has_room(&self, state: &State) -> bool {
        state.ready.unread + state.coming < self.fetching.settings.memory_bytes
    }

    async fn work(self: Arc<Self>) {
        loop {
            let (entry, budget) = {
                let mut state = lock(&self.state);
                let next = if self.has_room(&state) { state.queue.pop_front() } else { None };
                let Some(entry) = next else {
                    state.workers -= 1;
                    return;
                };
                let budget = entry.size.unwrap_or(self.fetching.settings.small_bytes);
                state.coming += budget;
                (entry, budget)
            };
            self.fetch_ahead(entry).await;
            lock(&self.state).coming -= budget;
        }
    }

    async fn fetch_ahead(self: &Arc<Self>, entry: Entry) {
        let key = key(&entry);
        if !lock(&self.state).awaited.contains(&key) {
            return;
        }
        let Joined::Lead(lead) = self.flights.join(key.clone()) else { return };
        if let Some(bytes) = self.take_ready(&key) {
            return lead.finish(Ok(bytes));
        }
        let this = self.clone();
        let cached = entry.clone();
        let found = runtime::blocking(move || this.on_disk(&cached)).await;
        if let Ok(Some(bytes)) = found {
            self.keep(&key, &bytes, true);
            return lead.finish(Ok(bytes));
        }
        self.fetch(entry, lead, true).await;
    }

    async fn fetch(self: &Arc<Self>, entry: Entry, lead: Lead<Key>, ahead: bool) {
        let key = key(&entry);
        let result = self.fetching.clone().fetch_small(self.commit.clone(), entry).await;
        if let Ok(bytes) = &result {
            // Before the flight ends: whoever misses the flight finds it here.
            self.keep(&key, bytes, ahead);
        }
        lead.finish(result);
    }

    fn keep(&self, key: &Key, bytes: &Bytes, ahead: bool) {
        let mut state = lock(&self.state);
        let unread = ahead && state.awaited.contains(key);
        state.ready.insert(key, bytes, unread, self.fetching.settings.memory_bytes);
    }

    fn on_disk(&self, entry: &Entry) -> Result<Option<Bytes>> {
        let Some(digest) = &entry.digest else { return Ok(None) };
        match self.fetching.cache.read(digest, Layout::V3) {
            Ok(bytes) => Ok(bytes.map(Bytes::from)),
            Err(e) if e.kind == Kind::Corrupt => {
                tracing::warn!("fetching again: {e}");
                self.fetching.cache.remove(digest)?;
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    fn take_ready(&self, key: &Key) -> Option<Bytes> {
        lock(&self.state).ready.get(key)
    }

    fn mark_read(&self, key: &Key) {
        lock(&self.state).ready.get(key);
    }

    /// Nothing is queued, running or waiting for its reader: for tests.
    #[cfg(test)]
    pub fn is_idle(&self) -> bool {
        let state = lock(&self.state);
        let gauges = state.workers as u64 + state.coming + state.ready.unread;
        state.queue.is_empty() && gauges == 0 && self.flights.len() == 0
    }
}

fn key(entry: &Entry) -> Key {
    (entry.path.clone(), entry.digest)
}

impl Ready {
    fn insert(&mut self, key: &Key, bytes: &Bytes, unread: bool, limit: u64) {
        self.remove(key);
        self.clock += 1;
        let held = Held { bytes: bytes.clone(), stamp: self.clock, unread };
        self.bytes += bytes.len() as u64;
        self.unread += if unread { bytes.len() as u64 } else { 0 };
        self.order.insert(self.clock, key.clone());
        self.files.insert(key.clone(), held);
        // Twice the limit: half for what waits, half for what was read lately.
        while self.bytes > limit.saturating_mul(2) {
            let Some((_, oldest)) = self.order.iter().next() else { break };
            let oldest = oldest.clone();
            self.remove(&oldest);
        }
    }

    fn get(&mut self, key: &Key) -> Option<Bytes> {
        let held = self.files.get_mut(key)?;
        if held.unread {
            held.unread = false;
            self.unread -= held.bytes.len() as u64;
        }
        self.clock += 1;
        self.order.remove(&held.stamp);
        held.stamp = self.clock;
        self.order.insert(held.stamp, key.clone());
        Some(held.bytes.clone())
    }

    fn remove(&mut self, key: &Key) {
        if let Some(held) = self.files.remove(key) {
            self.order.remove(&held.stamp);
            self.bytes -= held.bytes.len() as u64;
            self.unread -= if held.unread { held.bytes.len() as u64 } else { 0 };
        }
    }

    fn forget_unread(&mut self) {
        for held in self.files.values_mut() {
            held.unread = false;
        }
        self.unread = 0;
    }
}
