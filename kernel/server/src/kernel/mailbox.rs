//! A bounded queue of requests between two threads, that can be emptied at once.

use dds_wire::Message;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Most requests that wait in one mailbox.
pub(super) const MAX_REQUESTS: usize = 4_096;
/// Most bytes ([`Message::weight`]) that wait in one mailbox. One request always fits.
pub(super) const MAX_WEIGHT: usize = 256 << 20;

#[derive(Default)]
pub(super) struct Mailbox {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Message>,
    weight: usize,
    closed: bool,
}

impl Mailbox {
    /// Gives the request back when the mailbox is full or closed. Never waits.
    #[expect(clippy::result_large_err, reason = "the error is the request itself, given back")]
    pub(super) fn put(&self, request: Message) -> Result<(), Message> {
        let mut state = self.lock();
        let weight = request.weight();
        let full = state.queue.len() >= MAX_REQUESTS
            || (!state.queue.is_empty() && state.weight.saturating_add(weight) > MAX_WEIGHT);
        if full || state.closed {
            return Err(request);
        }
        state.weight += weight;
        state.queue.push_back(request);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for the oldest request; none once the mailbox is closed and empty.
    pub(super) fn take(&self) -> Option<Message> {
        let mut state = self.lock();
        loop {
            if let Some(request) = state.queue.pop_front() {
                state.weight -= request.weight();
                return Some(request);
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes out the requests that wait now and are wanted, oldest first.
    pub(super) fn drain(&self, wanted: impl Fn(&Message) -> bool) -> Vec<Message> {
        let mut state = self.lock();
        let (taken, kept): (VecDeque<_>, VecDeque<_>) = state.queue.drain(..).partition(wanted);
        state.weight = kept.iter().map(Message::weight).sum();
        state.queue = kept;
        taken.into()
    }

    /// Refuses further requests and ends [`Mailbox::take`] once it is empty.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request(n: usize) -> Message {
        Message::new("execute_request", "s", json!({"n": n}))
    }

    #[test]
    fn bounded_in_number() {
        let mailbox = Mailbox::default();
        for n in 0..MAX_REQUESTS {
            assert!(mailbox.put(request(n)).is_ok());
        }
        let back = mailbox.put(request(7)).unwrap_err();
        assert_eq!(back.content, json!({"n": 7}));
        assert_eq!(mailbox.take().unwrap().content, json!({"n": 0}));
        assert!(mailbox.put(request(8)).is_ok());
    }

    #[test]
    fn bounded_in_weight_but_one_always_fits() {
        let mailbox = Mailbox::default();
        let heavy = request(1).buffers(vec![dds_wire::Bytes::from(vec![0; MAX_WEIGHT])]);
        assert!(mailbox.put(heavy).is_ok());
        assert!(mailbox.put(request(2)).is_err());
        assert!(mailbox.drain(|m| m.msg_type() == "other").is_empty());
        assert!(mailbox.put(request(2)).is_err());
        assert_eq!(mailbox.drain(|_| true).len(), 1);
        assert!(mailbox.put(request(2)).is_ok(), "the weight went with the request");
    }

    #[test]
    fn closing_ends_the_taker_after_what_waits() {
        let mailbox = Mailbox::default();
        assert!(mailbox.put(request(1)).is_ok());
        mailbox.close();
        assert!(mailbox.put(request(2)).is_err());
        assert!(mailbox.take().is_some());
        assert!(mailbox.take().is_none());
    }
}
