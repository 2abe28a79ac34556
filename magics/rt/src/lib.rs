//! What Rust cells import as `dds`: output that appears while the cell runs, questions to the
//! user, repositories ([`open`]), and comms, on which widgets are built.
//!
//! ```no_run
//! # fn main() -> std::io::Result<()> {
//! let bar = dds::display_id("progress", &dds::Mime::html("<b>0 %</b>"));
//! bar.update(&dds::Mime::html("<b>100 %</b>"));
//! dds::clear_output(true);
//! let name = dds::input("Name: ")?;
//! # Ok(()) }
//! ```
//!
//! Without a kernel (the same code in a program of its own) what would be shown is printed as
//! text, and questions are asked on the terminal.
//!
//! Assumes that every cell of a session uses the same copy of this crate, built as a dynamic
//! library: its statics are the session's. Depends on the standard library alone and compiles
//! with Rust 1.85, because the user's own compiler builds it.

mod bundle;
pub mod comm;
mod debug_text;
mod display;
mod entry;
mod events;
mod hooks;
mod input;
pub mod json;
mod lists;
mod port;
pub mod repo;
mod runtime;
#[doc(hidden)]
pub mod show;
mod table;
#[doc(hidden)]
pub mod testing;
pub mod widgets;
#[doc(hidden)]
pub mod wire;

#[doc(hidden)]
pub use entry::Host;

pub use bundle::{Bundle, Display, Mime};
pub use display::{Handle, clear_output, debug, display, display_id};
pub use input::{input, password};
pub use json::Json;
pub use repo::{
    Column, Entry, Error, ErrorKind, File, Files, Repo, Result, Table, Value, open, read, read_to_string,
};
