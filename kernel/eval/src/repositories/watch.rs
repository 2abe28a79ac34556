//! Notices when somebody who is being answered hangs up, and has the work for him stopped.

use dds_core::Cancel;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// How long a connection may be there before it is looked at; one that is looked at is noticed at once.
const TICK_MS: i32 = 20;

pub(super) struct Watch {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    watched: Vec<(u64, Arc<UnixStream>, Cancel)>,
    count: u64,
    ended: bool,
}

/// Is watched while it lives.
pub(super) struct Watched {
    shared: Arc<Shared>,
    number: u64,
}

impl Watch {
    pub fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let looking = shared.clone();
        std::thread::Builder::new().name("hang-ups".into()).spawn(move || looking.look())?;
        Ok(Self { shared })
    }

    pub fn add(&self, stream: Arc<UnixStream>, cancel: Cancel) -> Watched {
        let mut state = self.shared.lock();
        if state.ended {
            cancel.cancel();
        }
        state.count += 1;
        let number = state.count;
        state.watched.push((number, stream, cancel));
        self.shared.more.notify_one();
        Watched { shared: self.shared.clone(), number }
    }

    /// Stops all work that is watched, and watches no more.
    pub fn end(&self) {
        let mut state = self.shared.lock();
        state.ended = true;
        state.watched.iter().for_each(|(_, _, cancel)| cancel.cancel());
        self.shared.more.notify_one();
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.shared.lock().watched.retain(|(number, ..)| *number != self.number);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self) {
        loop {
            let mut state = self.lock();
            while !state.ended && state.watched.iter().all(|(_, _, cancel)| cancel.is_cancelled()) {
                state = self.more.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.ended {
                return;
            }
            let open: Vec<(Arc<UnixStream>, Cancel)> = state
                .watched
                .iter()
                .filter(|(_, _, cancel)| !cancel.is_cancelled())
                .map(|(_, stream, cancel)| (stream.clone(), cancel.clone()))
                .collect();
            drop(state);
            let mut fds: Vec<libc::pollfd> = open
                .iter()
                .map(|(stream, _)| libc::pollfd {
                    fd: stream.as_raw_fd(),
                    events: libc::POLLRDHUP,
                    revents: 0,
                })
                .collect();
            // SAFETY: pointer and count are those of one array. A failure leaves no events.
            unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, TICK_MS) };
            for (fd, (_, cancel)) in fds.iter().zip(&open) {
                if fd.revents != 0 {
                    cancel.cancel();
                }
            }
        }
    }
}
