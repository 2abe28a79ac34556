//! Standard input of the process that runs the cells: asks the user when somebody reads it.
//!
//! Descriptor 0 is `/dev/null`, so that programs which a cell starts see an end of file and wait
//! for nobody. In the process itself this program's own `read` comes before the C library's, for
//! the standard library of the cells too: a read of descriptor 0 becomes a question to the kernel.
//! Every other read, and every read in other processes of this program, goes to the system.

use super::signals;
use crate::frames::Question;
use crate::socket;
use dds::wire::Assembler;
use libc::{c_int, c_void, size_t, ssize_t};
use std::collections::VecDeque;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

/// Longest prompt, in bytes.
const MAX_PROMPT: usize = 8 * 1024;

struct Line {
    commands: RawFd,
    answers: RawFd,
    state: Mutex<State>,
    free: Condvar,
}

#[derive(Default)]
struct State {
    /// Somebody waits for an answer.
    asking: bool,
    /// Of the last answer, not yet read.
    rest: VecDeque<u8>,
}

/// Whether this is the process that runs cells.
static ACTIVE: AtomicBool = AtomicBool::new(false);
static LINE: OnceLock<Line> = OnceLock::new();
static ASKED: AtomicU64 = AtomicU64::new(0);
/// [`crate::prelude::Flush`] of the cells' standard library.
static FLUSH: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

/// From now on reads of descriptor 0 ask the user. The descriptors must stay open for good.
pub(super) fn install(commands: RawFd, answers: RawFd) {
    // Naming it makes the linker take it.
    std::hint::black_box(read as *const ());
    let (state, free) = (Mutex::default(), Condvar::new());
    if LINE.set(Line { commands, answers, state, free }).is_ok() {
        ACTIVE.store(true, Ordering::SeqCst);
    }
}

pub(super) fn flush_with(flush: crate::prelude::Flush) {
    FLUSH.store(flush as *mut c_void, Ordering::SeqCst);
}

/// Calls back while no other thread holds the lock of this module.
pub(super) fn hold_still(call: impl FnOnce()) {
    let _state = LINE.get().map(Line::state);
    call();
}

/// This process is a copy: who waited for an answer is not in it, and what was typed is used up.
pub(super) fn took_over() {
    if let Some(line) = LINE.get() {
        *line.state() = State::default();
    }
}

/// [`dds`]'s way to ask: 0 and the line, 1 when nobody can be asked, 2 when the kernel is gone.
///
/// # Safety
/// `prompt` and `len` must be those of a slice; `take` is called with `into` and the line.
pub(super) unsafe extern "C" fn ask(
    prompt: *const u8,
    len: usize,
    password: bool,
    take: extern "C" fn(*mut Vec<u8>, *const u8, usize),
    into: *mut Vec<u8>,
) -> c_int {
    let Some(line) = LINE.get() else { return 2 };
    // SAFETY: the caller says so.
    let prompt = unsafe { std::slice::from_raw_parts(prompt, len) };
    let prompt = String::from_utf8_lossy(prompt.get(..MAX_PROMPT).unwrap_or(prompt)).into_owned();
    match line.ask(Some(prompt), password) {
        Some(Some(text)) => {
            take(into, text.as_ptr(), text.len());
            0
        }
        Some(None) => 1,
        None => 2,
    }
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer, or that there is none; nothing when the kernel is gone. One question at a time.
    fn ask(&self, prompt: Option<String>, password: bool) -> Option<Option<Vec<u8>>> {
        let mut state = self.state();
        while state.asking {
            state = self.free.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.asking = true;
        drop(state);
        let answer = self.exchange(prompt, password);
        self.state().asking = false;
        self.free.notify_one();
        answer
    }

    fn exchange(&self, prompt: Option<String>, password: bool) -> Option<Option<Vec<u8>>> {
        // Copies of this process count on from the same number.
        let count = ASKED.fetch_add(1, Ordering::SeqCst) & 0xffff_ffff;
        let number = u64::from(signals::own_pid().unsigned_abs()) << 32 | count;
        // SAFETY: open for the whole life of this process.
        let (commands, answers) =
            unsafe { (BorrowedFd::borrow_raw(self.commands), BorrowedFd::borrow_raw(self.answers)) };
        let mut frame = vec![b'I'];
        frame.extend(Question { number, password, prompt }.encode());
        socket::send(commands, &frame).ok()?;
        let mut assembler = Assembler::default();
        let mut buffer = vec![0; crate::frames::MAX_PAYLOAD + 16];
        loop {
            let piece = socket::recv(answers, &mut buffer).ok()?;
            let (of, rest) = piece.split_first_chunk()?;
            let [flags, answered, text @ ..] = rest else { return None };
            // An answer to somebody else was meant for a process whose place this one took.
            if u64::from_le_bytes(*of) == number
                && let Some(text) = assembler.add(*flags, text)
            {
                return Some((*answered != 0).then_some(text));
            }
        }
    }

    fn read(&self, into: &mut [u8]) -> usize {
        if into.is_empty() {
            return 0;
        }
        if self.state().rest.is_empty() {
            let flush = FLUSH.load(Ordering::SeqCst);
            if !flush.is_null() {
                // SAFETY: stored by `flush_with`, from a library that is never unloaded.
                unsafe { std::mem::transmute::<*mut c_void, crate::prelude::Flush>(flush)() };
            }
            // A newline ends what was typed; the front end does not send it.
            let Some(Some(line)) = self.ask(None, false) else { return 0 };
            self.state().rest.extend(line.into_iter().chain([b'\n']));
        }
        let mut state = self.state();
        let len = into.len().min(state.rest.len());
        for (to, from) in into.iter_mut().zip(state.rest.drain(..len)) {
            *to = from;
        }
        len
    }
}

/// Whether descriptor 0 is what the process began with.
fn is_null() -> bool {
    // SAFETY: `stat` is plain data that `fstat` fills.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        libc::fstat(0, &mut stat) == 0 && stat.st_rdev == libc::makedev(1, 3)
    }
}

/// The line to the user, if a read of `fd` is to go there.
fn asked_of(fd: c_int) -> Option<&'static Line> {
    if fd != 0 || !ACTIVE.load(Ordering::Relaxed) || !is_null() { None } else { LINE.get() }
}

/// The C library's `read`, but for standard input of the process that runs cells.
///
/// # Safety
/// As the system call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn read(fd: c_int, buffer: *mut c_void, count: size_t) -> ssize_t {
    match asked_of(fd) {
        // SAFETY: the caller says that so many bytes may be written.
        Some(line) => line.read(unsafe { std::slice::from_raw_parts_mut(buffer.cast(), count) }) as ssize_t,
        // SAFETY: the system call's own conditions.
        None => unsafe { libc::syscall(libc::SYS_read, fd, buffer, count) as ssize_t },
    }
}

/// As [`read`], for the C library's `readv`.
///
/// # Safety
/// As the system call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn readv(fd: c_int, buffers: *const libc::iovec, count: c_int) -> ssize_t {
    let Some(line) = asked_of(fd) else {
        // SAFETY: the system call's own conditions.
        return unsafe { libc::syscall(libc::SYS_readv, fd, buffers, count) as ssize_t };
    };
    for index in 0..usize::try_from(count).unwrap_or(0) {
        // SAFETY: the caller says that `count` buffers are there, each as long as it says.
        let buffer = unsafe {
            let buffer = &*buffers.add(index);
            std::slice::from_raw_parts_mut(buffer.iov_base.cast(), buffer.iov_len)
        };
        if !buffer.is_empty() {
            return line.read(buffer) as ssize_t;
        }
    }
    0
}
