//! Locks between sessions. The system lets go of them when a process ends, however it ends.

use super::layout;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

/// While this lives, dependencies are not removed.
pub(crate) struct InUse(File);

impl InUse {
    pub(crate) fn take(cache: &Path) -> io::Result<Self> {
        let file = open(&layout::deps(cache))?;
        file.lock_shared()?;
        Ok(Self(file))
    }

    /// Does `work` if no other session uses dependencies.
    pub(super) fn if_alone<T>(&self, work: impl FnOnce() -> io::Result<T>) -> io::Result<Option<T>> {
        match self.0.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let done = work();
        self.0.lock_shared()?;
        done.map(Some)
    }
}

/// The lock of `folder`, when it is free.
pub(super) fn wait(folder: &Path) -> io::Result<File> {
    let file = open(folder)?;
    file.lock()?;
    Ok(file)
}

fn open(folder: &Path) -> io::Result<File> {
    std::fs::create_dir_all(folder)?;
    OpenOptions::new().create(true).truncate(false).write(true).open(folder.join("lock"))
}
