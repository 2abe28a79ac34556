//! The process that loads compiled cells and runs them, and the checkpoint that it leaves behind
//! before each of them.
//!
//! Commands come as datagrams: `R` path NUL function, `W` folder, `V` a variable, `K` checkpoints on
//! or off, `Z` the cell's checkpoint has been killed, `T` to a checkpoint: the last words of the
//! worker before have been heard, and what is said from now on is its own. Answers: `C` checkpoint,
//! `D` done and how long it took, `E` text (could not load), `W` and `V` errno, `J` a callback
//! begins, with a checkpoint or none, `j` it has ended; `P` from the panic hook, `I` from who reads
//! standard input. A checkpoint is a pid, 0 for none, and how many threads it is without.
//!
//! Callbacks of the page run here between cells. Before the first one after a cell a checkpoint is
//! left behind too, so that a callback that crashes or never ends does not cost the session.
//!
//! While no cell runs, SIGINT is blocked. A checkpoint of a cell is ended by the supervisor, never
//! by the worker: so there is no moment in which neither the new state nor the old one is safe.

use super::library::{Entry, ForRuntime};
use super::{signals, stdin};
use crate::frames::{FromChild, parse_assignment};
use crate::{compile, socket};
use libc::{c_int, c_void, pid_t};
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

/// Longest command: a path and a function name.
const MAX_COMMAND: usize = 16 * 1024;
/// How long a checkpoint waits to be adopted by the supervisor.
const ADOPTION: Duration = Duration::from_secs(2);

type CellFn = unsafe extern "C" fn(*mut c_void) -> *mut c_void;

/// The worker's ends of its sockets.
pub(super) struct Sockets {
    pub commands: OwnedFd,
    pub answers: OwnedFd,
    pub runtime: ForRuntime,
}

struct Worker {
    commands: OwnedFd,
    /// Held open for those who read standard input.
    _answers: OwnedFd,
    supervisor: pid_t,
    /// The variable store of the cells; made by the first cell, never freed.
    store: *mut c_void,
    entry: Entry,
    /// For the runtime, until it is loaded.
    for_runtime: Option<ForRuntime>,
    takes_checkpoints: bool,
    /// The last checkpoint, and the pipe whose end tells it that this process died.
    checkpoint: Option<Checkpoint>,
}

struct Checkpoint {
    pid: pid_t,
    _pipe: OwnedFd,
    /// Threads that it does not have.
    threads: u32,
    /// Taken for a callback: this process ends it.
    of_callback: bool,
}

/// Runs commands until the supervisor is gone.
pub(super) fn run(sockets: Sockets, supervisor: pid_t) -> ! {
    let Sockets { commands, answers, runtime } = sockets;
    stdin::install(commands.as_raw_fd(), answers.as_raw_fd());
    let mut worker = Worker {
        commands,
        _answers: answers,
        supervisor,
        store: std::ptr::null_mut(),
        entry: Entry::default(),
        for_runtime: Some(runtime),
        takes_checkpoints: true,
        checkpoint: None,
    };
    let mut buffer = vec![0; MAX_COMMAND];
    loop {
        let awaited = worker.entry.awaited();
        let fds = [worker.commands.as_raw_fd(), awaited.map_or(-1, |(fd, _)| fd)];
        let [command, event] = signals::readable(fds);
        if command {
            match socket::recv(worker.commands.as_fd(), &mut buffer) {
                Ok(command) if !command.is_empty() => worker.command(command),
                // SAFETY: ends this process without running exit handlers of user libraries.
                _ => unsafe { libc::_exit(0) },
            }
        } else if event {
            worker.event(awaited.is_some_and(|(_, is_message)| is_message));
        }
    }
}

impl Worker {
    fn command(&mut self, command: &[u8]) {
        match command.split_first() {
            Some((b'R', rest)) => {
                let mut parts = rest.splitn(2, |byte| *byte == 0);
                let (so, function) = (parts.next().unwrap_or(b""), parts.next().unwrap_or(b""));
                self.cell(OsStr::from_bytes(so), function);
            }
            Some((b'W', folder)) => {
                let errno = match std::env::set_current_dir(OsStr::from_bytes(folder)) {
                    Ok(()) => 0,
                    Err(error) => error.raw_os_error().unwrap_or(libc::EINVAL),
                };
                self.answer(&FromChild::Cwd(errno).encode());
            }
            // Unless it is that of a callback, taken since.
            Some((b'Z', _)) if self.checkpoint.as_ref().is_some_and(|checkpoint| !checkpoint.of_callback) => {
                self.end_checkpoint();
            }
            Some((b'K', on)) => self.takes_checkpoints = on.first() == Some(&1),
            Some((b'V', assignment)) => {
                let errno = if set_variable(assignment) { 0 } else { libc::EINVAL };
                self.answer(&FromChild::EnvSet(errno).encode());
            }
            _ => {}
        }
    }

    fn answer(&self, frame: &[u8]) {
        let _ = socket::send(self.commands.as_fd(), frame);
    }

    fn answer_with_checkpoint(&self, tag: u8) {
        let (pid, threads) = self.checkpoint.as_ref().map_or((0, 0), |c| (c.pid, c.threads));
        let mut frame = vec![tag];
        frame.extend(pid.to_le_bytes());
        frame.extend(threads.to_le_bytes());
        self.answer(&frame);
    }

    /// Lets go of the checkpoint before. That of a cell has been killed by the supervisor, for
    /// which the cell was over; that of a callback was needed until now.
    fn end_checkpoint(&mut self) {
        if let Some(checkpoint) = self.checkpoint.take() {
            if checkpoint.of_callback {
                signals::kill(checkpoint.pid, libc::SIGKILL);
            }
            signals::reap(checkpoint.pid);
        }
    }

    fn cell(&mut self, so: &OsStr, function: &[u8]) {
        self.end_checkpoint();
        signals::drop_pending_interrupt();
        if self.takes_checkpoints && self.fork_checkpoint(false) {
            // The checkpoint, which has just taken over: wait for the next cell.
            return;
        }
        self.answer_with_checkpoint(b'C');
        signals::allow_interrupt();
        self.entry.cell(true);
        let (began, cpu_began) = (Instant::now(), cpu_time());
        let result = self.load_and_run(so, function);
        self.entry.cell(false);
        self.entry.flush();
        signals::block_interrupt();
        match result {
            Ok(()) => {
                let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).to_le_bytes();
                let cpu = cpu_time().saturating_sub(cpu_began);
                self.answer(&[b"D", &nanos(began.elapsed())[..], &nanos(cpu)[..]].concat());
            }
            Err(error) => {
                let mut frame = vec![b'E'];
                frame.extend(error.to_string().bytes().take(MAX_COMMAND));
                self.answer(&frame);
            }
        }
    }

    /// Something for the runtime has come between cells.
    fn event(&mut self, is_message: bool) {
        if !is_message {
            return self.entry.event(false);
        }
        if !self.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.of_callback) {
            self.end_checkpoint();
            if self.takes_checkpoints && self.fork_checkpoint(true) {
                // The message has died with the process that took it.
                return;
            }
        }
        self.answer_with_checkpoint(b'J');
        self.entry.event(true);
        self.entry.flush();
        self.answer(b"j");
    }

    fn load_and_run(&mut self, so: &OsStr, function: &[u8]) -> Result<(), libloading::Error> {
        // SAFETY: the library is what rustc made of the user's cell; running it is the point.
        unsafe {
            let library = libloading::Library::new(so)?;
            // Cells that cargo has compiled have the name that evcxr gave them.
            let call = match library.get::<CellFn>(compile::FUNCTION.as_bytes()) {
                Ok(call) => *call,
                Err(_) => *library.get::<CellFn>(function)?,
            };
            let found = self.entry.find(&library, self.commands.as_raw_fd(), &mut self.for_runtime);
            self.store = call(self.store);
            // Values of earlier cells point into it, so it stays loaded.
            std::mem::forget(library);
            found
        }
    }

    /// Forks the checkpoint. In the worker this returns `false` at once (without a checkpoint
    /// where the system refuses one); in the checkpoint it returns `true` when it takes over.
    fn fork_checkpoint(&mut self, of_callback: bool) -> bool {
        let Ok((reader, writer)) = socket::pipe() else { return false };
        let threads = signals::other_threads();
        let mut pid: pid_t = -1;
        self.entry.quiet(fork_into, (&raw mut pid).cast());
        if pid > 0 {
            self.checkpoint = Some(Checkpoint { pid, _pipe: writer, threads, of_callback });
            return false;
        }
        if pid < 0 {
            return false;
        }
        drop(writer);
        let worker = signals::parent();
        // Nothing is ever written: this returns when the worker has died.
        while socket::read(reader.as_fd(), &mut [0]).is_ok_and(|bytes| !bytes.is_empty()) {}
        self.take_over(worker);
        true
    }

    /// The worker has died and this checkpoint is the worker now.
    fn take_over(&mut self, worker: pid_t) {
        let mut waited = Duration::ZERO;
        while signals::parent() == worker && waited < ADOPTION {
            std::thread::sleep(Duration::from_millis(1));
            waited += Duration::from_millis(1);
        }
        signals::die_with_parent();
        if signals::parent() != self.supervisor {
            // SAFETY: as in `run`.
            unsafe { libc::_exit(0) };
        }
        signals::drop_pending_interrupt();
        self.wait_for_adoption();
        self.entry.took_over();
    }

    /// Says nothing until the supervisor knows whose words they are. A cell that the dead worker did
    /// not come to is over.
    fn wait_for_adoption(&mut self) {
        let mut buffer = vec![0; MAX_COMMAND];
        loop {
            match socket::recv(self.commands.as_fd(), &mut buffer) {
                Ok([b'T', ..]) => return,
                Ok([b'R', ..]) => {}
                Ok(command) if !command.is_empty() => self.command(command),
                // SAFETY: as in `run`.
                _ => unsafe { libc::_exit(0) },
            }
        }
    }
}

extern "C" fn fork_into(pid: *mut c_void) {
    // SAFETY: `pid` is the variable of the caller, who waits. The child only waits and, later,
    // loads cells; locks of other threads of the user's process may stay taken in it.
    unsafe { *pid.cast::<c_int>() = libc::fork() };
}

/// Sets or removes a variable; whether it could be done.
fn set_variable(assignment: &[u8]) -> bool {
    let Some((name, value)) = parse_assignment(assignment) else { return false };
    // SAFETY: no cell runs now. A thread that an earlier cell has left behind may read the environment
    // through the C library at this moment; so it may when a cell sets a variable itself.
    unsafe {
        match value {
            Some(value) => std::env::set_var(name, value),
            None => std::env::remove_var(name),
        }
    }
    true
}

/// Processor time of this process so far, of all its threads.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable; the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}
