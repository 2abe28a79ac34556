//! The folder of one run: `.dds/runs/<id>` with `spec.json` and `events.jsonl`.

use dds_core::timestamp::rfc3339;
use dds_core::{Error, Result};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// A run's folder, just made.
pub struct RunFolder {
    pub id: String,
    pub dir: PathBuf,
    /// `events.jsonl`, empty.
    pub events: File,
}

/// An id that sorts by time: `20250131-142507-1f3a9c`.
pub fn new_id() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = rfc3339(i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    let digits: String = time.chars().filter(char::is_ascii_digit).collect();
    let (day, clock) = digits.split_at_checked(8).unwrap_or((&digits, ""));
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("{day}-{clock}-{}", random.get(..6).unwrap_or_default())
}

impl RunFolder {
    /// Makes the folder below `folder` with the job file in it, byte for byte.
    pub fn create(folder: &Path, spec: &[u8]) -> Result<Self> {
        let root = folder.join(".dds");
        let told = |e: std::io::Error| {
            Error::io(&root, &e).hint("a job keeps its record there: choose a `folder` that you may write to")
        };
        std::fs::create_dir_all(root.join("runs")).map_err(told)?;
        match OpenOptions::new().write(true).create_new(true).open(root.join(".gitignore")) {
            Ok(mut ignore) => ignore.write_all(b"*\n").map_err(told)?,
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(told(e)),
        }
        let id = new_id();
        let dir = root.join("runs").join(&id);
        std::fs::create_dir(&dir).map_err(told)?;
        std::fs::write(dir.join("spec.json"), spec).map_err(told)?;
        let events = OpenOptions::new().append(true).create_new(true).open(dir.join("events.jsonl"));
        Ok(Self { id, events: events.map_err(told)?, dir })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_have_two_folders_and_git_sees_none() {
        let desk = tempfile::tempdir().unwrap();
        let (a, b) =
            (RunFolder::create(desk.path(), b"{}").unwrap(), RunFolder::create(desk.path(), b"{ }").unwrap());
        assert_ne!(a.id, b.id);
        assert_eq!(std::fs::read(b.dir.join("spec.json")).unwrap(), b"{ }");
        assert_eq!(std::fs::read_to_string(desk.path().join(".dds/.gitignore")).unwrap(), "*\n");
        assert!(a.id.len() == 22 && a.id.starts_with("20"), "{}", a.id);
    }
}
