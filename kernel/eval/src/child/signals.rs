//! The few signal and process calls that supervisor and worker need.
//!
//! Linux only: sub-reaper and parent-death signal have no portable form.

use crate::frames::Cause;
use libc::{c_int, pid_t};

extern "C" fn wake(_: c_int) {}

/// Lets a child's end interrupt [`poll`], and nothing else.
pub(super) fn wake_on_child_end() {
    // SAFETY: the handler does nothing; both sets are initialised before use.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = wake as *const () as usize;
        libc::sigaction(libc::SIGCHLD, &action, std::ptr::null_mut());
        libc::sigprocmask(libc::SIG_BLOCK, &set_of(libc::SIGCHLD), std::ptr::null_mut());
    }
}

/// Undoes [`wake_on_child_end`] in a forked process.
pub(super) fn forget_child_end() {
    // SAFETY: restores defaults.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        libc::sigprocmask(libc::SIG_UNBLOCK, &set_of(libc::SIGCHLD), std::ptr::null_mut());
    }
}

/// Waits for one of `fds`, the end of a child, or `timeout_ms` (negative: for ever).
pub(super) fn poll(fds: &mut [libc::pollfd], timeout_ms: i64) {
    let timeout = libc::timespec { tv_sec: timeout_ms / 1000, tv_nsec: (timeout_ms % 1000) * 1_000_000 };
    // SAFETY: the mask is initialised by `sigemptyset`; pointer and length are of one slice. Only
    // while waiting is the signal let through, so that it cannot slip by just before.
    unsafe {
        let mut open: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut open);
        let limit = if timeout_ms < 0 { std::ptr::null() } else { &raw const timeout };
        if libc::ppoll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, limit, &open) < 0 {
            for fd in fds {
                fd.revents = 0;
            }
        }
    }
}

/// Waits until one of `fds` (negative: none) can be read, and says which. Lets no signal through
/// that is blocked.
pub(super) fn readable(fds: [libc::c_int; 2]) -> [bool; 2] {
    let mut polled = fds.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    // SAFETY: pointer and count are those of one array.
    if unsafe { libc::poll(polled.as_mut_ptr(), 2, -1) } < 0 {
        return [false; 2];
    }
    polled.map(|fd| fd.revents != 0)
}

/// How many threads this process has besides the calling one.
pub(super) fn other_threads() -> u32 {
    let tasks = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    u32::try_from(tasks.saturating_sub(1)).unwrap_or(u32::MAX)
}

/// Whether the process is there, or was a moment ago and has not been waited for.
pub(super) fn exists(pid: pid_t) -> bool {
    // SAFETY: no signal is sent.
    unsafe { libc::kill(pid, 0) == 0 }
}

pub(super) fn block_interrupt() {
    // SAFETY: changes this thread's mask only.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &set_of(libc::SIGINT), std::ptr::null_mut()) };
}

pub(super) fn allow_interrupt() {
    // SAFETY: as above.
    unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, &set_of(libc::SIGINT), std::ptr::null_mut()) };
}

/// Drops an interrupt that arrived while it was blocked: it was meant for an earlier cell.
pub(super) fn drop_pending_interrupt() {
    let none = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: takes a pending signal without waiting.
    unsafe { while libc::sigtimedwait(&set_of(libc::SIGINT), std::ptr::null_mut(), &none) == libc::SIGINT {} }
}

pub(super) fn ignore(signal: c_int) {
    // SAFETY: a constant disposition.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

pub(super) fn reset(signal: c_int) {
    // SAFETY: a constant disposition.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

pub(super) fn kill(pid: pid_t, signal: c_int) {
    // SAFETY: `pid` is a child of ours that has not been waited for, or our own group.
    unsafe { libc::kill(pid, signal) };
}

/// Orphans of our descendants become our children.
pub(super) fn adopt_orphans() {
    // SAFETY: sets a flag of this process.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
}

/// This process is killed when its parent dies.
pub(super) fn die_with_parent() {
    // SAFETY: sets a flag of this process.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) };
}

pub(super) fn own_session() -> bool {
    // SAFETY: no memory involved.
    unsafe { libc::setsid() >= 0 }
}

pub(super) fn parent() -> pid_t {
    // SAFETY: no memory involved.
    unsafe { libc::getppid() }
}

pub(super) fn own_pid() -> pid_t {
    // SAFETY: no memory involved.
    unsafe { libc::getpid() }
}

/// A child that has ended, without waiting.
pub(super) fn reap_any() -> Option<(pid_t, Cause)> {
    let mut status = 0;
    // SAFETY: writes `status`.
    let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
    (pid > 0).then(|| (pid, cause(status)))
}

/// Waits for the end of one child.
pub(super) fn reap(pid: pid_t) {
    let mut status = 0;
    // SAFETY: writes `status`.
    while unsafe { libc::waitpid(pid, &mut status, 0) } < 0
        && std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted
    {}
}

fn cause(status: c_int) -> Cause {
    if libc::WIFSIGNALED(status) {
        Cause::Signal(libc::WTERMSIG(status))
    } else {
        Cause::Exit(libc::WEXITSTATUS(status))
    }
}

fn set_of(signal: c_int) -> libc::sigset_t {
    // SAFETY: initialised by `sigemptyset` before use.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, signal);
        set
    }
}
