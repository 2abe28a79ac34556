//! The process that loads compiled cells and runs them, and the checkpoint that it leaves behind
//! before each of them.
//!
//! Commands come as datagrams: `R` path NUL function, `W` folder. Answers: `C` pid of the
//! checkpoint, `D` done, `E` text (could not load), `W` errno, and `P` from the panic hook.
//!
//! While no cell runs, SIGINT is blocked. A checkpoint is ended by the supervisor, never by the
//! worker: so there is no moment in which neither the new state nor the old one is safe.

use super::signals;
use crate::frames::FromChild;
use crate::{compile, prelude, socket};
use libc::{c_int, c_void, pid_t};
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// Longest command: a path and a function name.
const MAX_COMMAND: usize = 16 * 1024;
/// How long a checkpoint waits to be adopted by the supervisor.
const ADOPTION: Duration = Duration::from_secs(2);

type CellFn = unsafe extern "C" fn(*mut c_void) -> *mut c_void;

struct Worker {
    commands: OwnedFd,
    supervisor: pid_t,
    /// The variable store of the cells; made by the first cell, never freed.
    store: *mut c_void,
    prelude: Option<Prelude>,
    /// The checkpoint of the last cell, and the pipe whose end tells it that this process died.
    checkpoint: Option<(pid_t, OwnedFd)>,
}

/// Entry points of the cell that [`prelude`] describes.
#[derive(Clone, Copy)]
struct Prelude {
    quiet: prelude::Quiet,
    flush: prelude::Flush,
}

/// Runs commands until the supervisor is gone.
pub(super) fn run(commands: OwnedFd, supervisor: pid_t) -> ! {
    let mut worker =
        Worker { commands, supervisor, store: std::ptr::null_mut(), prelude: None, checkpoint: None };
    let mut buffer = vec![0; MAX_COMMAND];
    loop {
        match socket::recv(worker.commands.as_fd(), &mut buffer) {
            Ok(command) if !command.is_empty() => worker.command(command),
            // SAFETY: ends this process without running exit handlers of user libraries.
            _ => unsafe { libc::_exit(0) },
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
            _ => {}
        }
    }

    fn answer(&self, frame: &[u8]) {
        let _ = socket::send(self.commands.as_fd(), frame);
    }

    fn cell(&mut self, so: &OsStr, function: &[u8]) {
        if let Some((pid, _pipe)) = self.checkpoint.take() {
            // The supervisor has killed it.
            signals::reap(pid);
        }
        signals::drop_pending_interrupt();
        if self.fork_checkpoint() {
            // The checkpoint, which has just taken over: wait for the next cell.
            return;
        }
        let pid = self.checkpoint.as_ref().map_or(0, |(pid, _)| *pid);
        let mut frame = vec![b'C'];
        frame.extend(pid.to_le_bytes());
        self.answer(&frame);
        signals::allow_interrupt();
        let result = self.load_and_run(so, function);
        if let Some(prelude) = self.prelude {
            // SAFETY: an entry point of a library that is never unloaded.
            unsafe { (prelude.flush)() };
        }
        signals::block_interrupt();
        match result {
            Ok(()) => self.answer(b"D"),
            Err(error) => {
                let mut frame = vec![b'E'];
                frame.extend(error.to_string().bytes().take(MAX_COMMAND));
                self.answer(&frame);
            }
        }
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
            self.store = call(self.store);
            if let Ok(install) = library.get::<prelude::Install>(prelude::INSTALL.as_bytes()) {
                install(self.commands.as_raw_fd());
                self.prelude = Some(Prelude {
                    quiet: *library.get(prelude::QUIET.as_bytes())?,
                    flush: *library.get(prelude::FLUSH.as_bytes())?,
                });
            }
            // Values of earlier cells point into it, so it stays loaded.
            std::mem::forget(library);
        }
        Ok(())
    }

    /// Forks the checkpoint. In the worker this returns `false` at once (without a checkpoint
    /// where the system refuses one); in the checkpoint it returns `true` when it takes over.
    fn fork_checkpoint(&mut self) -> bool {
        let Ok((reader, writer)) = socket::pipe() else { return false };
        let mut pid: pid_t = -1;
        match self.prelude {
            // SAFETY: calls back at once, with the pointer that we hand in.
            Some(prelude) => unsafe { (prelude.quiet)(fork_into, (&raw mut pid).cast()) },
            None => fork_into((&raw mut pid).cast()),
        }
        if pid > 0 {
            self.checkpoint = Some((pid, writer));
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
    }
}

extern "C" fn fork_into(pid: *mut c_void) {
    // SAFETY: `pid` is the variable of the caller, who waits. The child only waits and, later,
    // loads cells; locks of other threads of the user's process may stay taken in it.
    unsafe { *pid.cast::<c_int>() = libc::fork() };
}
