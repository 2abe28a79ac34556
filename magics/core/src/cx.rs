//! What a running command may reach outside itself: cancellation, progress and the current folder.

use crate::{Error, MimeBundle, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that the user's Interrupt sets. Long loops call [`Cancel::check`] at least every 100 ms.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    pub fn reset(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    /// `Err(Interrupted)` once the flag is set.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::interrupted()) } else { Ok(()) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Items,
    Bytes,
}

/// One state of a running task. Senders may send as often as they like; sinks limit the rate.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// What is being done, e.g. `"features"`.
    pub task: String,
    pub done: u64,
    pub total: Option<u64>,
    pub unit: Unit,
}

/// Where progress, and results that should appear before the command ends, go.
pub trait Sink: Send + Sync {
    fn progress(&self, progress: &Progress);
    /// Shows something while the command still runs.
    fn display(&self, bundle: &MimeBundle);
    /// A line of text (warnings, notes) while the command still runs.
    fn note(&self, text: &str);
}

/// A sink that drops everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Sink for Silent {
    fn progress(&self, _: &Progress) {}
    fn display(&self, _: &MimeBundle) {}
    fn note(&self, _: &str) {}
}

/// The context of one command.
#[derive(Clone)]
pub struct Cx {
    pub cancel: Cancel,
    pub sink: Arc<dyn Sink>,
    /// The folder that relative paths of the command refer to; absolute.
    pub cwd: PathBuf,
}

impl Cx {
    pub fn new(cwd: impl Into<PathBuf>, sink: Arc<dyn Sink>, cancel: Cancel) -> Self {
        Self { cancel, sink, cwd: cwd.into() }
    }

    /// No progress, never cancelled: for tests and inner calls.
    pub fn silent(cwd: impl Into<PathBuf>) -> Self {
        Self::new(cwd, Arc::new(Silent), Cancel::default())
    }

    /// `path` made absolute against the current folder; `.` and `..` are resolved by text alone.
    pub fn absolute(&self, path: impl AsRef<Path>) -> PathBuf {
        let mut out = PathBuf::new();
        for part in self.cwd.join(path).components() {
            match part {
                std::path::Component::CurDir => {}
                std::path::Component::ParentDir => {
                    out.pop();
                }
                other => out.push(other),
            }
        }
        out
    }

    pub fn items(&self, task: &str, done: usize, total: usize) {
        self.sink.progress(&Progress {
            task: task.to_owned(),
            done: done as u64,
            total: Some(total as u64),
            unit: Unit::Items,
        });
    }

    pub fn bytes(&self, task: &str, done: u64, total: Option<u64>) {
        self.sink.progress(&Progress { task: task.to_owned(), done, total, unit: Unit::Bytes });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_paths() {
        let cx = Cx::silent("/home/user");
        assert_eq!(cx.absolute("../other/./x"), PathBuf::from("/home/other/x"));
        assert_eq!(cx.absolute("/etc"), PathBuf::from("/etc"));
    }

    #[test]
    fn cancel_is_shared_between_clones() {
        let cx = Cx::silent("/");
        let other = cx.clone();
        assert!(cx.cancel.check().is_ok());
        other.cancel.cancel();
        assert_eq!(cx.cancel.check().unwrap_err().kind, crate::Kind::Interrupted);
    }
}
