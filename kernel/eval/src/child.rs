//! The child process, a hidden role of the one binary.
//!
//! ```text
//! kernel ──stdin/stdout: evcxr's lines──▶ supervisor ──commands──▶ worker ──fork before each cell──▶ checkpoint
//!        ◀─control socket: our frames───▶            ◀─stdout, stderr (pipes)
//!                                                    ◀─messages of the crate `dds`, answers─▶
//! ```
//! The supervisor never runs user code, so it can always be spoken to. The worker loads and runs
//! the compiled cells on its main thread; threads that cells start live on in it. The checkpoint
//! is a copy of the worker as it was before the running cell: it sleeps, and takes over when the
//! worker is interrupted or dies. Everything ends when the kernel does.

mod library;
mod signals;
mod stdin;
mod supervisor;
mod worker;

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// First argument of a process that is to become the child.
pub const CHILD_ARG: &str = "__eval";
/// Environment variable with the number of the control socket.
pub(crate) const CONTROL_VAR: &str = "DDS_EVAL_CONTROL";
/// Variables that are for the child alone; what a cell starts must not see them.
/// evcxr sets `RUST_BACKTRACE`, which would make every error that `?` reports print its stack.
const PRIVATE_VARS: [&str; 3] = [CONTROL_VAR, "EVCXR_IS_RUNTIME", "RUST_BACKTRACE"];

/// The whole life of the child. `main` calls this, before it starts any thread, when the first
/// argument is [`CHILD_ARG`].
pub fn child_main() -> ! {
    let Some(control) = control_socket() else {
        eprintln!("this is a part of the kernel that is not started by hand");
        std::process::exit(2);
    };
    for name in PRIVATE_VARS {
        // SAFETY: no other thread exists yet.
        unsafe { std::env::remove_var(name) };
    }
    // SAFETY: as above.
    unsafe { crate::compile::leave_environment() };
    match supervisor::run(control) {
        Ok(()) => std::process::exit(0),
        Err(error) => {
            eprintln!("the evaluation process ends: {error}");
            std::process::exit(1);
        }
    }
}

fn control_socket() -> Option<OwnedFd> {
    let number: RawFd = std::env::var(CONTROL_VAR).ok()?.parse().ok().filter(|number| *number > 2)?;
    crate::socket::set_close_on_exec(number, true).ok()?;
    // SAFETY: the kernel opened this descriptor for us and left it open across `exec`; the call
    // above has shown that it is open, and nobody else in this process knows of it.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}
