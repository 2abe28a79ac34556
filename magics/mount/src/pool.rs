//! Threads that wait for bytes, so that the threads that answer the kernel never do.
//!
//! Grows when all are busy, up to a bound; urgent work goes first, and work ahead of need is dropped
//! when there is too much of it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Most threads of one pool: as many as a transport has connections.
pub const MAX_THREADS: usize = 32;
/// Most urgent jobs that wait; one more is done by its caller.
pub const MAX_URGENT: usize = 1024;
/// Most jobs ahead of need that wait; one more is dropped.
pub const MAX_AHEAD: usize = 16;

type Job = Box<dyn FnOnce() + Send>;

pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
}

#[derive(Default)]
struct Queue {
    urgent: VecDeque<Job>,
    ahead: VecDeque<Job>,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl Default for Pool {
    fn default() -> Self {
        Self { shared: Arc::new(Shared { queue: Mutex::default(), work: Condvar::new() }) }
    }
}

impl Pool {
    /// Does `job` soon; in the calling thread when the queue is full.
    pub fn urgent(&self, job: impl FnOnce() + Send + 'static) {
        let mut queue = self.shared.lock();
        if queue.urgent.len() >= MAX_URGENT {
            drop(queue);
            return job();
        }
        queue.urgent.push_back(Box::new(job));
        self.wake(queue);
    }

    /// Does `job` when nothing urgent waits, or never. False when it was dropped.
    pub fn ahead(&self, job: impl FnOnce() + Send + 'static) -> bool {
        let mut queue = self.shared.lock();
        if queue.ahead.len() >= MAX_AHEAD {
            return false;
        }
        queue.ahead.push_back(Box::new(job));
        self.wake(queue);
        true
    }

    fn wake(&self, mut queue: MutexGuard<'_, Queue>) {
        let waiting = queue.urgent.len() + queue.ahead.len();
        if waiting > queue.idle && queue.threads < MAX_THREADS {
            let shared = self.shared.clone();
            let name = format!("dds-read-{}", queue.threads);
            if std::thread::Builder::new().name(name).spawn(move || shared.serve()).is_ok() {
                queue.threads += 1;
            }
        }
        drop(queue);
        self.shared.work.notify_one();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.urgent.pop_front().or_else(|| queue.ahead.pop_front()) {
                drop(queue);
                // A job that panics must not take the thread with it; its reply answers EIO when dropped.
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
                queue = self.lock();
            } else if queue.closed {
                return;
            } else {
                queue.idle += 1;
                queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
                queue.idle -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::mpsc;

    #[test]
    fn jobs_that_wait_for_each_other_all_run() {
        let (pool, meet) = (Pool::default(), Arc::new(Barrier::new(MAX_THREADS)));
        let (done, ended) = mpsc::channel();
        for _ in 0..MAX_THREADS {
            let (meet, done) = (meet.clone(), done.clone());
            pool.urgent(move || {
                meet.wait();
                done.send(()).unwrap();
            });
        }
        drop(done);
        assert_eq!(ended.iter().count(), MAX_THREADS);
    }

    #[test]
    fn work_ahead_of_need_is_bounded_and_a_panic_is_survived() {
        let pool = Pool::default();
        let gate = Arc::new(Barrier::new(MAX_THREADS + 1));
        for _ in 0..MAX_THREADS {
            let gate = gate.clone();
            pool.urgent(move || {
                gate.wait();
            });
        }
        // All threads are busy until the gate opens, so what comes now waits.
        let (sent, got) = mpsc::channel();
        let mut kept = 0;
        while kept <= MAX_THREADS + MAX_AHEAD {
            let sent = sent.clone();
            if !pool.ahead(move || sent.send(()).unwrap()) {
                break;
            }
            kept += 1;
        }
        // Blocked jobs may still be on their way into a thread, but never more than the bound waits.
        assert!(kept <= MAX_AHEAD, "{kept}");
        pool.urgent(|| panic!("on purpose"));
        gate.wait();
        drop(sent);
        assert_eq!(got.iter().count(), kept);
    }
}
