//! The way to the kernel: one short connection for each question, so that nothing of it is lost
//! when a checkpoint takes over.
//!
//! A thread of the user's may be asking while a checkpoint is taken; the copy then holds the other
//! end of a talk that is not its own. It closes it when it takes over ([`took_over`]), so that the
//! kernel hears that nobody listens any more.

use super::error::{Error, ErrorKind, Result};
use super::wire::{Ask, Frame, MAX_ASK};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Connections of this process that are open.
static OPEN: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());

fn open() -> MutexGuard<'static, Vec<RawFd>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection, noted while it is open.
struct Connection(Option<UnixStream>);

impl Connection {
    fn to(path: &std::ffi::OsStr) -> io::Result<Self> {
        // Under the lock: a copy of this process knows every connection that it has.
        let mut open = open();
        let stream = UnixStream::connect(path)?;
        open.push(stream.as_raw_fd());
        Ok(Self(Some(stream)))
    }

    fn stream(&mut self) -> io::Result<&mut UnixStream> {
        self.0.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut open = open();
        if let Some(stream) = self.0.take() {
            open.retain(|fd| *fd != stream.as_raw_fd());
        }
    }
}

/// Calls back while no other thread begins or ends a connection.
pub(crate) fn hold_still(call: &mut dyn FnMut()) {
    let _open = open();
    call();
}

/// This process is a copy: connections that it has are those of threads that it has not.
pub(crate) fn took_over() {
    use std::os::fd::{FromRawFd, OwnedFd};
    for fd in std::mem::take(&mut *open()) {
        // SAFETY: opened by a thread of the process that this one is a copy of; here, nobody has it.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    }
}

/// Where the kernel listens.
#[cfg(not(test))]
fn socket() -> Result<std::ffi::OsString> {
    if let Some(path) = std::env::var_os(super::wire::SOCKET_VAR).filter(|path| !path.is_empty()) {
        return Ok(path);
    }
    if crate::runtime::attached().is_some() {
        return Err(Error::new(ErrorKind::Unavailable, "this kernel reads no repositories for cells")
            .with_hint("its log says why; perhaps XDG_RUNTIME_DIR is a folder with a very long path"));
    }
    super::stand_in::socket()
}

#[cfg(test)]
pub(super) use of_this_test::socket;

/// Asks, hands the pieces of the answer to `take` in their order, and returns its end.
pub(crate) fn ask(ask: &Ask, take: &mut dyn FnMut(Vec<u8>) -> Result<()>) -> Result<Vec<u8>> {
    let path = socket()?;
    let question = ask.encode();
    if question.len() > MAX_ASK {
        let most = MAX_ASK >> 20;
        return Err(Error::new(ErrorKind::Limit, format!("more than {most} MiB of paths in one question"))
            .with_hint("name fewer files at a time, or their folder"));
    }
    let gone = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
            Error::new(ErrorKind::Unavailable, "the kernel broke off")
        }
        _ => Error::new(ErrorKind::Unavailable, format!("the kernel cannot be asked: {error}")),
    };
    let mut connection = Connection::to(&path).map_err(gone)?;
    let stream = connection.stream().map_err(gone)?;
    let length = u32::try_from(question.len()).unwrap_or(u32::MAX).to_le_bytes();
    stream.write_all(&[&length[..], &question].concat()).map_err(gone)?;
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head).map_err(gone)?;
        let (tag, len) = Frame::head(head).ok_or_else(Error::broken)?;
        let mut payload = vec![0; len];
        stream.read_exact(&mut payload).map_err(gone)?;
        match Frame::decode(tag, payload).ok_or_else(Error::broken)? {
            Frame::Piece(piece) => take(piece)?,
            Frame::End(end) => return Ok(end),
            Frame::Failed(error) => return Err(error),
        }
    }
}

#[cfg(test)]
pub(super) mod of_this_test {
    //! Tests have a socket for each thread, where a process has one.

    use super::{Error, ErrorKind, Result};
    use std::cell::RefCell;
    use std::ffi::OsString;

    thread_local! {
        static SOCKET: RefCell<Option<OsString>> = const { RefCell::new(None) };
    }

    pub fn socket() -> Result<OsString> {
        SOCKET
            .with_borrow(Clone::clone)
            .ok_or_else(|| Error::new(ErrorKind::Unavailable, "none in this test"))
    }

    pub fn set(socket: Option<OsString>) {
        SOCKET.set(socket);
    }
}
