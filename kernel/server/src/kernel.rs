//! Jupyter's side of the kernel: sockets in, [`Host`](host::Host) calls, messages out.
//!
//! Threads and what each may wait for: `shell` and `control` read requests and never wait for the
//! host; `execute` runs cells, one at a time; `language` asks for completions and documentation;
//! `comms` hands messages of comms to the host or the cells, also while a cell runs; each subshell has
//! a thread that does all of these; `stdin` takes the user's answers; `output` sends batched text.
//! The host is built on a thread of its own, so that `kernel_info` is answered at once.
//!
//! Does not evaluate anything, and reads no environment except in [`run`].

mod comms;
mod execute;
mod front;
mod history;
pub mod host;
mod info;
pub mod install;
mod language;
mod mailbox;
mod output;
mod pager;
mod router;
mod run;
mod shells;
mod slot;
mod stdin;
mod watch;

pub use history::MAX_ENTRIES as MAX_HISTORY_ENTRIES;
pub use output::{BATCH_BYTES, MAX_CELL_DISPLAYS, MAX_CELL_TEXT, MESSAGE_EVERY};
pub use run::{Options, run, serve};
pub use shells::MAX_SUBSHELLS;
