//! Repositories as a folder: superblock, inodes, prefetch, FUSE session, verified copies.
//!
//! [`Mounts`] is the owner's side: the commands, the table that leads paths to repositories, the
//! numbers. Each FUSE mount is a process of its own, [`child_main`], which ends with its owner.
//! Where FUSE is not allowed, the folder is filled with verified copies. What a mounted folder
//! promises is written in `SEMANTICS.md`, whose examples are run by the tests.
//!
//! Invariants: nothing is written outside the mounted folder; no bytes of a damaged file are served;
//! no dead mount point is left. Reads no environment; the mount process reads the clock for time
//! stamps.

pub mod block_cache;
pub mod child;
pub mod copies;
mod counted;
pub mod engine;
pub mod fuse;
pub mod inode;
pub mod mount_point;
pub mod open;
pub mod pool;
pub mod prefetch;
pub mod process;
pub mod protocol;
pub mod reader;
pub mod stats;
pub mod superblock;
pub mod table;

pub use child::{child_main, child_main_with};
pub use engine::{Mounts, foreground};
pub use open::Opener;
pub use stats::Stats;

/// Bytes as people read them: `812 B`, `12.3 kB`, `200.0 MB`.
fn size_text(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `1 file`, `2 files`, `3 copies`.
fn count_text(count: u64, noun: &str) -> String {
    match (count, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        _ => format!("{count} {noun}s"),
    }
}

#[cfg(test)]
#[path = "../tests/support/memory.rs"]
mod memory;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_people_read_them() {
        let shown: Vec<String> =
            [0, 999, 1000, 12_345, 999_949, 999_950, 200_000_000, u64::MAX].map(size_text).into();
        assert_eq!(
            shown,
            ["0 B", "999 B", "1.0 kB", "12.3 kB", "999.9 kB", "1.0 MB", "200.0 MB", "18446.7 PB"]
        );
        assert_eq!(
            [count_text(1, "file"), count_text(0, "file"), count_text(2, "copy")],
            ["1 file", "0 files", "2 copies"]
        );
    }
}
