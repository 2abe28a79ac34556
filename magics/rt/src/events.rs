//! Messages of the page on their way to the callbacks, and the rule of which thread runs them:
//! the main thread while no cell runs, a thread of ours ("the listener") while one does.
//!
//! The listener exists only where there is something to listen for. It ends with the cell, or,
//! when it is in the middle of a callback then, after that callback; until it has ended the main
//! thread runs none.

use crate::runtime::{self, Runtime};
use crate::wire::{Assembler, Down, MAX_PIECE, What};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// The way of messages into this process.
pub(crate) struct Events {
    socket: UnixDatagram,
    assembler: Mutex<Assembler>,
    state: Mutex<State>,
    /// A byte tells the listener to look at the state.
    wake_listener: (UnixStream, UnixStream),
    /// A byte tells the main thread that the listener has ended.
    wake_main: (UnixStream, UnixStream),
}

#[derive(Default)]
struct State {
    cell_runs: bool,
    listens: bool,
}

static EVENTS: OnceLock<Events> = OnceLock::new();

/// # Safety
/// `socket` must be an open socket that nobody else in this process reads or writes.
pub(crate) unsafe fn attach(socket: RawFd) -> io::Result<()> {
    let (wake_listener, wake_main) = (UnixStream::pair()?, UnixStream::pair()?);
    for stream in [&wake_listener.0, &wake_listener.1, &wake_main.0, &wake_main.1] {
        stream.set_nonblocking(true)?;
    }
    // SAFETY: the caller says so.
    let socket = unsafe { UnixDatagram::from_raw_fd(socket) };
    let (assembler, state) = (Mutex::default(), Mutex::default());
    let _ = EVENTS.set(Events { socket, assembler, state, wake_listener, wake_main });
    Ok(())
}

/// Something can come from the page from now on.
pub(crate) fn expect() {
    if let Some(events) = EVENTS.get() {
        events.listen_if_needed();
    }
}

pub(crate) fn cell_begins() {
    let Some((events, runtime)) = EVENTS.get().zip(runtime::attached()) else { return };
    events.state().cell_runs = true;
    if !runtime.comms().is_empty() {
        events.listen_if_needed();
    }
}

pub(crate) fn cell_ends() {
    let Some(events) = EVENTS.get() else { return };
    events.state().cell_runs = false;
    let _ = (&events.wake_listener.0).write(&[0]);
}

/// What the main thread waits for while no cell runs: the descriptor, and whether it means a
/// message (else: ask again).
pub(crate) fn awaited() -> Option<(RawFd, bool)> {
    let events = EVENTS.get()?;
    if events.state().listens {
        return Some((events.wake_main.1.as_raw_fd(), false));
    }
    Some((events.socket.as_raw_fd(), true))
}

/// On the main thread, when [`awaited`] is ready and what it said. Takes one piece, and runs the
/// callback when the message is complete.
pub(crate) fn take_one(is_message: bool) {
    let Some((events, runtime)) = EVENTS.get().zip(runtime::attached()) else { return };
    if is_message {
        events.take_one(runtime);
    } else {
        drain(&events.wake_main.1);
    }
}

/// Calls back while no other thread holds a lock of this module.
pub(crate) fn hold_still(call: &mut dyn FnMut()) {
    let Some(events) = EVENTS.get() else { return call() };
    let _assembler = events.assembler();
    let _state = events.state();
    call();
}

/// This process is a copy without the listener; messages on their way were for the other.
pub(crate) fn took_over() {
    let Some(events) = EVENTS.get() else { return };
    *events.state() = State::default();
    *events.assembler() = Assembler::default();
    drain(&events.wake_main.1);
    drain(&events.wake_listener.1);
    if events.socket.set_nonblocking(true).is_ok() {
        let mut buffer = vec![0; MAX_PIECE + 1];
        while events.socket.recv(&mut buffer).is_ok_and(|len| len > 0) {}
        let _ = events.socket.set_nonblocking(false);
    }
}

impl Events {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn assembler(&self) -> MutexGuard<'_, Assembler> {
        self.assembler.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listen_if_needed(&'static self) {
        let mut state = self.state();
        if !state.cell_runs || std::mem::replace(&mut state.listens, true) {
            return;
        }
        let Some(runtime) = runtime::attached() else { return };
        let listener = std::thread::Builder::new().name("dds comms".to_owned());
        if listener.spawn(move || self.listen(runtime)).is_err() {
            // Callbacks wait for the end of the cell.
            state.listens = false;
        }
    }

    fn listen(&self, runtime: &Arc<Runtime>) {
        loop {
            let mut state = self.state();
            if !state.cell_runs {
                state.listens = false;
                drop(state);
                let _ = (&self.wake_main.0).write(&[0]);
                return;
            }
            drop(state);
            if wait_for([self.socket.as_raw_fd(), self.wake_listener.1.as_raw_fd()])[0] {
                self.take_one(runtime);
            }
            drain(&self.wake_listener.1);
        }
    }

    fn take_one(&self, runtime: &Arc<Runtime>) {
        let mut buffer = vec![0; MAX_PIECE + 1];
        let Ok(len) = self.socket.recv(&mut buffer) else { return };
        let Some((flags, payload)) = buffer.get(..len).and_then(<[u8]>::split_first) else { return };
        let message = self.assembler().add(*flags, payload);
        if let Some(down) = message.and_then(|message| Down::decode(&message)) {
            runtime.deliver(down);
        }
    }
}

impl Runtime {
    /// Runs the callback of a message, with what it sends marked as an answer to it.
    pub(crate) fn deliver(self: &Arc<Self>, down: Down) {
        let _ = self.send(What::Begin(down.number));
        runtime::on_behalf_of(down.number, || self.handle(down.comm));
        let _ = self.send(What::End(down.number));
    }
}

fn drain(mut stream: &UnixStream) {
    while stream.read(&mut [0; 64]).is_ok_and(|len| len > 0) {}
}

/// Waits until one of the descriptors is readable, and says which are.
fn wait_for(fds: [RawFd; 2]) -> [bool; 2] {
    #[repr(C)]
    struct PollFd {
        fd: i32,
        events: i16,
        revents: i16,
    }
    unsafe extern "C" {
        fn poll(fds: *mut PollFd, count: std::ffi::c_ulong, timeout_ms: i32) -> i32;
    }
    /// POLLIN, the same number on every Unix.
    const READABLE: i16 = 1;
    let mut polled = fds.map(|fd| PollFd { fd, events: READABLE, revents: 0 });
    // SAFETY: pointer and count are those of one array, in the layout that POSIX gives.
    if unsafe { poll(polled.as_mut_ptr(), 2, -1) } < 0 {
        return [false; 2];
    }
    polled.map(|fd| fd.revents != 0)
}
