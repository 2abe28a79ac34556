//! Repositories as a folder: superblock, inodes, prefetch, FUSE session, verified copies.
//!
//! [`Mounts`] is the owner's side: the commands, the table that leads paths to repositories, the
//! numbers. Each FUSE mount is a process of its own, [`child_main`], which ends with its owner.
//! Where FUSE is not allowed, files come when programs open them ([`streams`]), or the folder is
//! filled with verified copies. What a mounted folder
//! promises is written in `SEMANTICS.md`, whose examples are run by the tests.
//!
//! Invariants: nothing is written outside the mounted folder; no bytes of a damaged file are served;
//! no dead mount point is left. Reads no environment; the mount process reads the clock for time
//! stamps.

pub mod block_cache;
pub mod child;
pub mod control;
pub mod copies;
mod counted;
pub mod engine;
pub mod fuse;
pub mod inode;
pub mod mount_point;
pub mod open;
pub mod order;
pub mod overlay;
pub mod pool;
pub mod prefetch;
pub mod process;
pub mod protocol;
pub mod reader;
pub mod stage;
pub mod staging;
pub mod stats;
pub mod streams;
pub mod superblock;
pub mod table;

pub use child::{child_main, child_main_with};
pub use engine::{Mounts, foreground};
pub use open::Opener;
pub use stats::Stats;

#[cfg(test)]
#[path = "../tests/support/memory.rs"]
mod memory;
