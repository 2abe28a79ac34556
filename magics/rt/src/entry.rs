//! What the process that runs the cells calls, found by name in the library that a cell has
//! loaded. Every function here may be called from its main thread only.

use crate::port::{Ask, Kernel};
use crate::wire::What;
use crate::{events, hooks, repo, runtime, widgets};
use std::os::fd::RawFd;

/// Descriptors and functions of the process, handed over once.
#[repr(C)]
pub struct Host {
    /// Messages to the kernel; see [`crate::wire`].
    pub up: RawFd,
    /// Comm messages from the kernel.
    pub events: RawFd,
    pub ask: Ask,
}

/// Connects this library with the kernel. Returns whether it is connected.
///
/// # Safety
/// The descriptors of `host` must be open, and become this library's own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dds_rt_attach(host: &Host) -> bool {
    let _ = hooks::IN_CALLBACK.set(runtime::in_callback);
    let _ = hooks::AROUND_FORK.set(|call| {
        let Some(runtime) = runtime::attached() else { return call() };
        widgets::hold_still(&mut || {
            runtime.hold_still(&mut || events::hold_still(&mut || repo::link::hold_still(call)));
        });
    });
    // SAFETY: as the caller says.
    unsafe { events::attach(host.events).is_ok() && runtime::attach(Kernel::new(host.up, host.ask)) }
}

#[unsafe(no_mangle)]
pub extern "C" fn dds_rt_cell(begins: bool) {
    if begins {
        events::cell_begins();
    } else {
        events::cell_ends();
    }
}

/// What to wait for while no cell runs: writes the descriptor, and returns whether it means that
/// [`dds_rt_event`] will run a callback.
///
/// # Safety
/// `fd` must be valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dds_rt_awaited(fd: *mut RawFd) -> bool {
    let (awaited, is_message) = events::awaited().unwrap_or((-1, false));
    // SAFETY: the caller says so.
    unsafe { *fd = awaited };
    is_message
}

/// The descriptor of [`dds_rt_awaited`] is ready, and this is what it returned.
#[unsafe(no_mangle)]
pub extern "C" fn dds_rt_event(is_message: bool) {
    events::take_one(is_message);
}

/// This process is a checkpoint that has taken over.
#[unsafe(no_mangle)]
pub extern "C" fn dds_rt_took_over() {
    events::took_over();
    repo::link::took_over();
    if let Some(runtime) = runtime::attached() {
        let (comms, targets) = runtime.comms().names();
        let _ = runtime.send(What::Restored(comms, targets));
        widgets::restored();
    }
}
