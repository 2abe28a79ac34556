//! The block cache: fetched bytes in memory, bounded, one fetch per block at a time.
//!
//! It only has to bridge the gap between a fetch and the last of the kernel's reads of the same
//! block; what was read stays in the kernel's page cache. Does not know where bytes come from.

use crate::inode::Ino;
use bytes::Bytes;
use dds_core::{Error, Result};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes that the cache of one mount may hold.
pub const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// Inode and number of the block within the file.
pub type Key = (Ino, u64);

pub struct BlockCache {
    state: Mutex<State>,
    landed: Condvar,
    budget: u64,
}

#[derive(Default)]
struct State {
    slots: HashMap<Key, Slot>,
    /// Last use → key, oldest first.
    used: BTreeMap<u64, Key>,
    clock: u64,
    bytes: u64,
}

enum Slot {
    Pending(Arc<Flight>),
    Ready { bytes: Bytes, used: u64 },
}

/// One fetch under way, shared by all who wait for it.
#[derive(Default)]
struct Flight {
    outcome: Mutex<Option<Result<Bytes>>>,
}

impl BlockCache {
    /// A cache that holds at most `budget` bytes. A single larger block is handed out, not kept.
    pub fn new(budget: u64) -> Self {
        Self { state: Mutex::default(), landed: Condvar::new(), budget }
    }

    /// The block, if it is here.
    pub fn peek(&self, key: Key) -> Option<Bytes> {
        self.lock().touch(key)
    }

    /// The block, fetched when it is not here. Callers that come meanwhile wait and share the outcome,
    /// also when it is an error; errors are not kept.
    pub fn get(&self, key: Key, fetch: impl FnOnce() -> Result<Bytes>) -> Result<Bytes> {
        let mut state = self.lock();
        if let Some(bytes) = state.touch(key) {
            return Ok(bytes);
        }
        if let Some(Slot::Pending(flight)) = state.slots.get(&key) {
            let flight = flight.clone();
            loop {
                if let Some(outcome) = lock(&flight.outcome).clone() {
                    return outcome;
                }
                state = self.landed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
        let flight = Arc::new(Flight::default());
        state.slots.insert(key, Slot::Pending(flight.clone()));
        drop(state);
        let mut landing = Landing { cache: self, key, flight, outcome: None };
        let outcome = fetch();
        landing.outcome = Some(outcome.clone());
        outcome
    }

    /// Whether the block is neither here nor on its way.
    pub fn lacks(&self, key: Key) -> bool {
        !self.lock().slots.contains_key(&key)
    }

    /// Drops the blocks of one inode.
    pub fn forget(&self, ino: Ino) {
        let mut state = self.lock();
        let keys: Vec<Key> = state.slots.keys().filter(|(of, _)| *of == ino).copied().collect();
        for key in keys {
            state.evict(key);
        }
    }

    /// Bytes held now.
    pub fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    fn land(&self, key: Key, flight: &Flight, outcome: Result<Bytes>) {
        let mut state = self.lock();
        state.slots.remove(&key);
        if let Ok(bytes) = &outcome
            && bytes.len() as u64 <= self.budget
        {
            state.keep(key, bytes.clone());
            while state.bytes > self.budget {
                let Some((_, oldest)) = state.used.first_key_value() else { break };
                let oldest = *oldest;
                state.evict(oldest);
            }
        }
        *lock(&flight.outcome) = Some(outcome);
        self.landed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends a fetch, also when it panicked: those who wait must not wait for ever.
struct Landing<'a> {
    cache: &'a BlockCache,
    key: Key,
    flight: Arc<Flight>,
    outcome: Option<Result<Bytes>>,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let outcome = self.outcome.take().unwrap_or_else(|| Err(Error::internal("a fetch ended in a panic")));
        self.cache.land(self.key, &self.flight, outcome);
    }
}

impl State {
    fn touch(&mut self, key: Key) -> Option<Bytes> {
        let Some(Slot::Ready { bytes, used }) = self.slots.get_mut(&key) else { return None };
        self.used.remove(used);
        self.clock += 1;
        *used = self.clock;
        self.used.insert(self.clock, key);
        Some(bytes.clone())
    }

    fn keep(&mut self, key: Key, bytes: Bytes) {
        self.clock += 1;
        self.bytes += bytes.len() as u64;
        self.used.insert(self.clock, key);
        self.slots.insert(key, Slot::Ready { bytes, used: self.clock });
    }

    /// Drops a block that is here; a pending one stays.
    fn evict(&mut self, key: Key) {
        if let Some(Slot::Ready { bytes, used }) = self.slots.get(&key) {
            self.bytes -= bytes.len() as u64;
            self.used.remove(used);
            self.slots.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dds_core::Kind;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn block(len: usize) -> Result<Bytes> {
        Ok(Bytes::from(vec![7; len]))
    }

    #[test]
    fn holds_the_budget_and_not_one_byte_more() {
        let cache = BlockCache::new(100);
        cache.get((1, 0), || block(60)).unwrap();
        cache.get((2, 0), || block(40)).unwrap();
        assert_eq!(
            (cache.bytes(), cache.peek((1, 0)).is_some(), cache.peek((2, 0)).is_some()),
            (100, true, true)
        );
        // (1, 0) was used before (2, 0), so it goes first.
        cache.get((3, 0), || block(1)).unwrap();
        assert_eq!(
            (cache.bytes(), cache.peek((1, 0)).is_some(), cache.peek((2, 0)).is_some()),
            (41, false, true)
        );
        assert_eq!(cache.get((4, 0), || block(101)).unwrap().len(), 101);
        assert_eq!((cache.bytes(), cache.lacks((4, 0))), (41, true));
        cache.forget(2);
        assert_eq!(cache.bytes(), 1);
    }

    #[test]
    fn waiting_readers_share_one_fetch_and_its_error() {
        let cache = BlockCache::new(100);
        let (fetches, begun) = (AtomicUsize::new(0), Barrier::new(2));
        std::thread::scope(|scope| {
            let lead = scope.spawn(|| {
                cache.get((1, 0), || {
                    fetches.fetch_add(1, Ordering::SeqCst);
                    begun.wait();
                    // Ends only when the follower waits for this flight.
                    while Arc::strong_count(match cache.lock().slots.get(&(1, 0)) {
                        Some(Slot::Pending(flight)) => flight,
                        _ => panic!("the fetch is under way"),
                    }) < 3
                    {
                        std::thread::yield_now();
                    }
                    Err(Error::new(Kind::Unreachable, "gone"))
                })
            });
            begun.wait();
            let follow = cache.get((1, 0), || {
                fetches.fetch_add(1, Ordering::SeqCst);
                block(1)
            });
            assert_eq!(follow.unwrap_err().kind, Kind::Unreachable);
            assert_eq!(lead.join().unwrap().unwrap_err().kind, Kind::Unreachable);
        });
        assert_eq!(fetches.load(Ordering::SeqCst), 1);
        assert_eq!(cache.get((1, 0), || block(1)).unwrap().len(), 1, "an error is not kept");
    }

    #[test]
    fn a_panicking_fetch_leaves_nobody_waiting() {
        let cache = BlockCache::new(100);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = cache.get((1, 0), || panic!("on purpose"));
        }));
        assert!(panicked.is_err());
        assert!(cache.lacks((1, 0)));
        assert_eq!(cache.get((1, 0), || block(2)).unwrap().len(), 2);
    }
}
