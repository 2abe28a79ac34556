//! Local datagram sockets that keep message boundaries, and the few file-descriptor calls around
//! them that the standard library does not offer.
//!
//! Every descriptor made here is closed on `exec`; who wants to hand one on says so.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// A connected pair.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    // SAFETY: `fds` has room for the two descriptors, which nobody else owns.
    unsafe {
        check(libc::socketpair(
            libc::AF_UNIX,
            libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC,
            0,
            fds.as_mut_ptr(),
        ))?;
        Ok((OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])))
    }
}

/// A pipe: reading end, writing end.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    // SAFETY: as above.
    unsafe {
        check(libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC))?;
        Ok((OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])))
    }
}

/// Sends one datagram.
pub(crate) fn send(fd: BorrowedFd<'_>, frame: &[u8]) -> io::Result<()> {
    send_with(fd, frame, libc::MSG_NOSIGNAL)
}

/// Sends one datagram, or fails with `WouldBlock` when the other side does not keep up.
pub(crate) fn try_send(fd: BorrowedFd<'_>, frame: &[u8]) -> io::Result<()> {
    send_with(fd, frame, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT)
}

/// Sends one datagram, waiting up to `patience` for the other side to keep up.
pub(crate) fn send_within(fd: BorrowedFd<'_>, frame: &[u8], patience: Duration) -> io::Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        match try_send(fd, frame) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut fds = [libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLOUT, revents: 0 }];
        let timeout = i32::try_from(left.as_millis()).unwrap_or(i32::MAX).max(1);
        // SAFETY: pointer and count are those of one array. A failure is a short wait.
        unsafe { libc::poll(fds.as_mut_ptr(), 1, timeout) };
    }
}

fn send_with(fd: BorrowedFd<'_>, frame: &[u8], flags: i32) -> io::Result<()> {
    // SAFETY: pointer and length are those of one slice.
    retry(|| unsafe { libc::send(fd.as_raw_fd(), frame.as_ptr().cast(), frame.len(), flags) }).map(drop)
}

/// Receives one datagram into `buffer`; an empty slice means that the other side is gone.
pub(crate) fn recv<'a>(fd: BorrowedFd<'_>, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    recv_with(fd, buffer, 0)
}

/// As [`recv`], but fails with `WouldBlock` when nothing is there.
pub(crate) fn try_recv<'a>(fd: BorrowedFd<'_>, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    recv_with(fd, buffer, libc::MSG_DONTWAIT)
}

fn recv_with<'a>(fd: BorrowedFd<'_>, buffer: &'a mut [u8], flags: i32) -> io::Result<&'a [u8]> {
    let (start, room) = (buffer.as_mut_ptr(), buffer.len());
    // SAFETY: pointer and length are those of one slice.
    let len = retry(|| unsafe { libc::recv(fd.as_raw_fd(), start.cast(), room, flags) })?;
    Ok(buffer.get(..len).unwrap_or_default())
}

/// Reads what is there; an empty slice means end of file.
pub(crate) fn read<'a>(fd: BorrowedFd<'_>, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let (start, room) = (buffer.as_mut_ptr(), buffer.len());
    // SAFETY: pointer and length are those of one slice.
    let len = retry(|| unsafe { libc::read(fd.as_raw_fd(), start.cast(), room) })?;
    Ok(buffer.get(..len).unwrap_or_default())
}

pub(crate) fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        // SAFETY: pointer and length are those of one slice.
        let len = retry(|| unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) })?;
        bytes = bytes.get(len..).unwrap_or_default();
    }
    Ok(())
}

pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: flags of a descriptor that we hold.
    unsafe {
        let flags = check(libc::fcntl(fd.as_raw_fd(), libc::F_GETFL))?;
        check(libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK)).map(drop)
    }
}

/// Whether `fd` is closed on `exec`. Async-signal-safe, so usable between `fork` and `exec`.
pub(crate) fn set_close_on_exec(fd: RawFd, close: bool) -> io::Result<()> {
    let flags = if close { libc::FD_CLOEXEC } else { 0 };
    // SAFETY: changes one flag of a descriptor; a bad number is reported as an error.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, flags) }).map(drop)
}

/// Ends both directions: a blocked [`recv`] on either side returns.
pub(crate) fn shutdown(fd: BorrowedFd<'_>) {
    // SAFETY: a descriptor that we hold.
    unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_RDWR) };
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn retry(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        if let Ok(len) = usize::try_from(call()) {
            return Ok(len);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
