//! The `%dds` command language: one grammar behind the cell, the shell and the form.
//!
//! The registry is clap's command tree ([`grammar`]). Parser, help, Tab completion, Shift-Tab
//! documentation and "did you mean" all read it; nothing lists the commands a second time except
//! the themes and examples of [`theme`], which a test holds against the tree.
//!
//! Assumes nothing about engines beyond the traits of `dds-core`. Does no I/O: what lies on disk
//! and which names a session knows come in through [`complete::Surroundings`].

pub mod argument;
pub mod body;
pub mod complete;
pub mod dispatch;
pub mod grammar;
pub mod help;
pub mod inspect;
pub mod nearest;
pub mod raw;
pub mod split;
pub mod theme;
pub mod usage;
pub mod words;

pub use complete::complete;
pub use dispatch::{run, run_cell};
pub use grammar::{CellCommand, CellLine, Command, Door, ShellCommand, ShellLine};
pub use inspect::inspect;
pub use split::{Segment, split};
