//! Single flight: callers that want the same thing at the same time share one fetch.
//!
//! Works between threads and tasks of one process. The leader may be a task of the runtime; the
//! followers are ordinary threads that wait, and stop waiting when their command is interrupted.

use bytes::Bytes;
use dds_core::{Cancel, Error, Kind, Result};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a waiting thread looks at its interrupt flag.
const CANCEL_POLL: Duration = Duration::from_millis(50);

/// What is being fetched right now, by key.
#[derive(Debug)]
pub struct Flights<K> {
    running: Mutex<HashMap<K, Arc<Flight>>>,
}

impl<K> Default for Flights<K> {
    fn default() -> Self {
        Self { running: Mutex::default() }
    }
}

/// One fetch under way.
#[derive(Debug, Default)]
pub struct Flight {
    result: Mutex<Option<Result<Bytes>>>,
    landed: Condvar,
}

/// The part that a caller plays.
pub enum Joined<K: Eq + Hash + Clone> {
    /// Fetch it and call [`Lead::finish`].
    Lead(Lead<K>),
    /// Somebody else does.
    Follow(Arc<Flight>),
}

impl<K: Eq + Hash + Clone> Flights<K> {
    pub fn join(self: &Arc<Self>, key: K) -> Joined<K> {
        let mut running = lock(&self.running);
        if let Some(flight) = running.get(&key) {
            return Joined::Follow(flight.clone());
        }
        let flight = Arc::new(Flight::default());
        running.insert(key.clone(), flight.clone());
        Joined::Lead(Lead { flights: self.clone(), key, flight })
    }

    /// The flight for `key`, if one is under way.
    pub fn get(&self, key: &K) -> Option<Arc<Flight>> {
        lock(&self.running).get(key).cloned()
    }

    /// All that are under way.
    pub fn all(&self) -> Vec<(K, Arc<Flight>)> {
        lock(&self.running).iter().map(|(key, flight)| (key.clone(), flight.clone())).collect()
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        lock(&self.running).len()
    }
}

impl Flight {
    /// Waits for the leader. Errors: the leader's, or `Interrupted`.
    pub fn wait(&self, cancel: &Cancel) -> Result<Bytes> {
        let mut result = lock(&self.result);
        loop {
            if let Some(result) = &*result {
                return result.clone();
            }
            cancel.check()?;
            result = self.landed.wait_timeout(result, CANCEL_POLL).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn land(&self, result: Result<Bytes>) {
        let mut slot = lock(&self.result);
        if slot.is_none() {
            *slot = Some(result);
        }
        self.landed.notify_all();
    }
}

/// The duty to end a flight; dropped without a result, the followers are told so.
pub struct Lead<K: Eq + Hash + Clone> {
    flights: Arc<Flights<K>>,
    key: K,
    flight: Arc<Flight>,
}

impl<K: Eq + Hash + Clone> Lead<K> {
    pub fn flight(&self) -> Arc<Flight> {
        self.flight.clone()
    }

    pub fn finish(self, result: Result<Bytes>) {
        self.flight.land(result);
    }
}

impl<K: Eq + Hash + Clone> Drop for Lead<K> {
    fn drop(&mut self) {
        lock(&self.flights.running).remove(&self.key);
        self.flight.land(Err(Error::new(Kind::Unreachable, "the fetch was given up before it ended")));
    }
}

/// A lock whose holder's panic does not stop the others: what it guards is always whole.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn followers_get_the_leaders_result() {
        let flights = Arc::new(Flights::default());
        let Joined::Lead(lead) = flights.join(1) else { panic!("first must lead") };
        let Joined::Follow(flight) = flights.join(1) else { panic!("second must follow") };
        assert_eq!(flights.len(), 1);
        let waiter = std::thread::spawn(move || flight.wait(&Cancel::default()));
        lead.finish(Ok(Bytes::from_static(b"x")));
        assert_eq!(waiter.join().unwrap().unwrap(), Bytes::from_static(b"x"));
        assert_eq!(flights.len(), 0);
    }

    #[test]
    fn an_abandoned_flight_and_an_interrupted_follower_do_not_hang() {
        let flights = Arc::new(Flights::default());
        let Joined::Lead(lead) = flights.join(1) else { panic!() };
        let Joined::Follow(flight) = flights.join(1) else { panic!() };
        let cancel = Cancel::default();
        cancel.cancel();
        assert_eq!(flight.wait(&cancel).unwrap_err().kind, Kind::Interrupted);
        drop(lead);
        assert_eq!(flight.wait(&Cancel::default()).unwrap_err().kind, Kind::Unreachable);
        assert!(matches!(flights.join(1), Joined::Lead(_)));
    }
}
