//! What the worker calls in the libraries of the cells: the hooks of [`prelude`], and the crate
//! `dds` where it is loaded.

use super::stdin;
use crate::prelude;
use libc::c_void;
use libloading::Library;
use std::os::fd::{IntoRawFd, OwnedFd, RawFd};

type Attach = unsafe extern "C" fn(*const dds::Host) -> bool;
type Say = unsafe extern "C" fn(bool);
type Awaited = unsafe extern "C" fn(*mut RawFd) -> bool;
type Call = unsafe extern "C" fn();

/// Entry points into the libraries of the cells, which are never unloaded.
#[derive(Default)]
pub(super) struct Entry {
    hooks: Option<Hooks>,
    runtime: Option<Runtime>,
}

#[derive(Clone, Copy)]
struct Hooks {
    quiet: prelude::Quiet,
    flush: prelude::Flush,
}

#[derive(Clone, Copy)]
struct Runtime {
    cell: Say,
    awaited: Awaited,
    event: Say,
    took_over: Call,
}

/// The descriptors that the runtime is given.
pub(super) struct ForRuntime {
    pub up: OwnedFd,
    pub events: OwnedFd,
}

impl Entry {
    /// Looks for entry points in a library that was just loaded, and in those that it needs.
    pub fn find(
        &mut self,
        library: &Library,
        commands: RawFd,
        fds: &mut Option<ForRuntime>,
    ) -> Result<(), libloading::Error> {
        if self.hooks.is_none() {
            // SAFETY: the names and their types are those of `prelude`.
            unsafe {
                let Ok(install) = library.get::<prelude::Install>(prelude::INSTALL.as_bytes()) else {
                    return Ok(());
                };
                install(commands);
                let hooks = Hooks {
                    quiet: *library.get(prelude::QUIET.as_bytes())?,
                    flush: *library.get(prelude::FLUSH.as_bytes())?,
                };
                stdin::flush_with(hooks.flush);
                self.hooks = Some(hooks);
            }
        }
        if fds.is_some() {
            // SAFETY: the names and their types are those of the crate `dds`, of this very version.
            unsafe {
                let Ok(attach) = library.get::<Attach>(b"dds_rt_attach") else { return Ok(()) };
                let runtime = Runtime {
                    cell: *library.get(b"dds_rt_cell")?,
                    awaited: *library.get(b"dds_rt_awaited")?,
                    event: *library.get(b"dds_rt_event")?,
                    took_over: *library.get(b"dds_rt_took_over")?,
                };
                let Some(ForRuntime { up, events }) = fds.take() else { return Ok(()) };
                let host = dds::Host { up: up.into_raw_fd(), events: events.into_raw_fd(), ask: stdin::ask };
                if attach(&host) {
                    (runtime.cell)(true);
                    self.runtime = Some(runtime);
                }
            }
        }
        Ok(())
    }

    pub fn flush(&self) {
        if let Some(hooks) = self.hooks {
            // SAFETY: an entry point of a library that is never unloaded; so below.
            unsafe { (hooks.flush)() };
        }
    }

    /// Calls back while no other thread holds a lock that a copy of this process would need.
    pub fn quiet(&self, call: extern "C" fn(*mut c_void), with: *mut c_void) {
        stdin::hold_still(|| match self.hooks {
            // SAFETY: calls back at once, with the pointer that it is given.
            Some(hooks) => unsafe { (hooks.quiet)(call, with) },
            None => call(with),
        });
    }

    pub fn cell(&self, begins: bool) {
        if let Some(runtime) = self.runtime {
            // SAFETY: as above.
            unsafe { (runtime.cell)(begins) };
        }
    }

    /// What to wait for between cells: a descriptor, and whether it means a callback.
    pub fn awaited(&self) -> Option<(RawFd, bool)> {
        let runtime = self.runtime?;
        let mut fd = -1;
        // SAFETY: writes `fd`.
        let is_message = unsafe { (runtime.awaited)(&mut fd) };
        (fd >= 0).then_some((fd, is_message))
    }

    pub fn event(&self, is_message: bool) {
        if let Some(runtime) = self.runtime {
            // SAFETY: as above.
            unsafe { (runtime.event)(is_message) };
        }
    }

    pub fn took_over(&self) {
        stdin::took_over();
        if let Some(runtime) = self.runtime {
            // SAFETY: as above.
            unsafe { (runtime.took_over)() };
        }
    }
}
