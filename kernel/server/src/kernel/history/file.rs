//! The file of all sessions' cells: a JSON array of session, line, input and output a line.
//!
//! Kernels that run at once share it: every access holds a lock on a file beside it, which also
//! holds the number of the last session. Only whole lines are appended; what is no line of ours (a
//! crash, a full disk, an editor) is passed over. Past [`MAX_FILE_BYTES`] the older half goes. Nobody
//! but the user can read it: cells may hold secrets.

use super::Entry;
use dds_core::{Error, Kind, Result};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Size at which the older half of the file is left out.
pub const MAX_FILE_BYTES: u64 = 16 << 20;
/// Longest line that is written or read; a longer cell is remembered for its session only.
pub const MAX_LINE_BYTES: u64 = 1 << 20;
/// How long another kernel may hold the lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
/// While it does, how long until the next look.
const LOCK_RETRY: Duration = Duration::from_millis(5);
/// Longest content of the lock file that is read: a number.
const MAX_NUMBER_BYTES: u64 = 32;

pub(super) struct HistoryFile {
    path: PathBuf,
    /// Held locked during each access; holds the last session's number.
    lock: File,
}

/// The lock, for as long as this lives.
struct Locked<'a>(&'a HistoryFile);

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let _ = self.0.lock.unlock();
    }
}

impl HistoryFile {
    /// Opens the file, or makes it and its folder, and gives the number of a new session.
    pub(super) fn open(path: &Path) -> Result<(Self, i64)> {
        if let Some(dir) = path.parent() {
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
            made.map_err(|e| Error::io(dir, &e))?;
        }
        let lock = private(&path.with_extension("lock"), OpenOptions::new().read(true).write(true))?;
        let file = Self { path: path.to_owned(), lock };
        let session = {
            let locked = file.locked()?;
            let last = match locked.last_number() {
                Some(number) => number,
                None => locked.entries()?.iter().map(|e| e.session).max().unwrap_or(0),
            };
            let session = last.saturating_add(1).max(1);
            locked.set_number(session)?;
            session
        };
        Ok((file, session))
    }

    /// Appends one cell, if it is not too long.
    pub(super) fn append(&self, entry: &Entry) -> Result<()> {
        self.locked()?.append(entry)
    }

    /// The cells of all sessions, oldest first.
    pub(super) fn read(&self) -> Result<Vec<Entry>> {
        self.locked()?.entries()
    }

    fn locked(&self) -> Result<Locked<'_>> {
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            match self.lock.try_lock() {
                Ok(()) => return Ok(Locked(self)),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOCK_RETRY),
                Err(TryLockError::WouldBlock) => {
                    let path = self.path.display();
                    let held = format!("another process holds the lock of {path}");
                    return Err(Error::new(Kind::Unavailable, held));
                }
                Err(TryLockError::Error(e)) => return Err(Error::io(&self.path, &e)),
            }
        }
    }
}

impl Locked<'_> {
    fn io(&self, e: &std::io::Error) -> Error {
        Error::io(&self.0.path, e)
    }

    fn last_number(&self) -> Option<i64> {
        let mut text = String::new();
        let mut lock = &self.0.lock;
        lock.seek(SeekFrom::Start(0)).ok()?;
        lock.take(MAX_NUMBER_BYTES).read_to_string(&mut text).ok()?;
        text.trim().parse().ok().filter(|n| (1..i64::MAX).contains(n))
    }

    fn set_number(&self, number: i64) -> Result<()> {
        let text = format!("{number}\n");
        let lock = &self.0.lock;
        let written = lock.set_len(0).and_then(|()| lock.write_all_at(text.as_bytes(), 0));
        written.map_err(|e| self.io(&e))
    }

    fn append(&self, entry: &Entry) -> Result<()> {
        let Some(line) = encode(entry) else { return Ok(()) };
        let file = private(&self.0.path, OpenOptions::new().read(true).append(true))?;
        let mut size = file.metadata().map_err(|e| self.io(&e))?.len();
        let mut last = [b'\n'];
        if size > 0 {
            file.read_exact_at(&mut last, size - 1).map_err(|e| self.io(&e))?;
        }
        // A line that was cut short stays alone.
        let line = if last == [b'\n'] { line } else { format!("\n{line}") };
        (&file).write_all(line.as_bytes()).map_err(|e| self.io(&e))?;
        size += line.len() as u64;
        if size > MAX_FILE_BYTES { self.shrink() } else { Ok(()) }
    }

    fn entries(&self) -> Result<Vec<Entry>> {
        self.newest(MAX_FILE_BYTES + MAX_LINE_BYTES)
    }

    /// The cells of the file's last `bytes`; not one that begins before them.
    fn newest(&self, bytes: u64) -> Result<Vec<Entry>> {
        let file = match File::open(&self.0.path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(self.io(&e)),
        };
        let size = file.metadata().map_err(|e| self.io(&e))?.len();
        let mut reader = BufReader::new(file);
        if let Some(before) = size.checked_sub(bytes).filter(|n| *n > 0) {
            // From the byte before, so that a line that begins exactly there is whole.
            reader.seek(SeekFrom::Start(before - 1)).map_err(|e| self.io(&e))?;
            reader.skip_until(b'\n').map_err(|e| self.io(&e))?;
        }
        let mut entries = Vec::new();
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut reader).take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
            if read.map_err(|e| self.io(&e))? == 0 {
                return Ok(entries);
            }
            if line.last() != Some(&b'\n') {
                reader.skip_until(b'\n').map_err(|e| self.io(&e))?;
            }
            entries.extend(decode(&line));
        }
    }

    /// Leaves the older half out.
    fn shrink(&self) -> Result<()> {
        let path = &self.0.path;
        let dir = path.parent().unwrap_or(Path::new("."));
        // Temporary files are readable by their owner only.
        let mut kept = tempfile::Builder::new()
            .prefix(".history")
            .permissions(std::fs::Permissions::from_mode(0o600))
            .tempfile_in(dir)
            .map_err(|e| self.io(&e))?;
        for entry in self.newest(MAX_FILE_BYTES / 2)? {
            let line = encode(&entry).unwrap_or_default();
            kept.write_all(line.as_bytes()).map_err(|e| self.io(&e))?;
        }
        kept.as_file().sync_all().map_err(|e| self.io(&e))?;
        kept.persist(path).map_err(|e| self.io(&e.error))?;
        File::open(dir).and_then(|d| d.sync_all()).map_err(|e| self.io(&e))
    }
}

fn encode(entry: &Entry) -> Option<String> {
    let fields = (entry.session, entry.line, &entry.input, &entry.output);
    let line = serde_json::to_string(&fields).ok()? + "\n";
    (line.len() as u64 <= MAX_LINE_BYTES).then_some(line)
}

fn decode(line: &[u8]) -> Option<Entry> {
    let (session, line, input, output) = serde_json::from_slice(line).ok()?;
    Some(Entry { session, line, input, output })
}

/// Opens or makes a file that only its owner can read; one that is a link is refused.
fn private(path: &Path, how: &mut OpenOptions) -> Result<File> {
    let io = |e: std::io::Error| Error::io(path, &e);
    let file = how.create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path).map_err(io)?;
    let found = file.metadata().map_err(io)?;
    if found.mode() & 0o077 != 0 {
        file.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(io)?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(session: i64, line: u64, input: &str) -> Entry {
        Entry { session, line, input: input.to_owned(), output: None }
    }

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.jsonl");
        (dir, path)
    }

    #[test]
    fn sessions_are_numbered_and_survive_a_lost_counter() {
        let (_dir, path) = folder();
        let (first, number) = HistoryFile::open(&path).unwrap();
        assert_eq!(number, 1);
        first.append(&entry(1, 1, "a\n\"b\"\u{1f980}")).unwrap();
        let (second, number) = HistoryFile::open(&path).unwrap();
        assert_eq!(number, 2);
        second.append(&entry(2, 1, "c")).unwrap();
        for lost in ["", "garbage", "-7", "9223372036854775807"] {
            std::fs::write(path.with_extension("lock"), lost).unwrap();
            assert_eq!(HistoryFile::open(&path).unwrap().1, 3, "{lost}");
        }
        assert_eq!(first.read().unwrap(), [entry(1, 1, "a\n\"b\"\u{1f980}"), entry(2, 1, "c")]);
        for file in [&path, &path.with_extension("lock")] {
            assert_eq!(std::fs::metadata(file).unwrap().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn what_is_no_line_of_ours_is_passed_over() {
        let (_dir, path) = folder();
        let (file, _) = HistoryFile::open(&path).unwrap();
        file.append(&entry(1, 1, "a")).unwrap();
        let long = "x".repeat(2 * MAX_LINE_BYTES as usize);
        let mut text = std::fs::read(&path).unwrap();
        text.extend(b"\xff\xfe\n{}\n[1]\n[1,2,3,4]\n\n");
        text.extend(long.as_bytes());
        text.extend(b"\n[1,2,\"cut sho");
        std::fs::write(&path, text).unwrap();
        file.append(&entry(1, 2, "b")).unwrap();
        file.append(&entry(1, 3, &long)).unwrap();
        assert_eq!(file.read().unwrap(), [entry(1, 1, "a"), entry(1, 2, "b")]);
    }

    #[test]
    fn the_older_half_goes_when_the_file_is_full() {
        let (dir, path) = folder();
        let (file, _) = HistoryFile::open(&path).unwrap();
        let input = "x".repeat(MAX_LINE_BYTES as usize / 2);
        for line in 1..=40 {
            file.append(&entry(1, line, &input)).unwrap();
            assert!(std::fs::metadata(&path).unwrap().len() <= MAX_FILE_BYTES);
        }
        let lines: Vec<u64> = file.read().unwrap().iter().map(|e| e.line).collect();
        assert!(lines.len() >= 15, "{lines:?}");
        assert_eq!(lines.last(), Some(&40));
        assert!(lines.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{lines:?}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left behind");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn kernels_at_once_lose_no_line_of_each_other() {
        const LINES: u64 = 60;
        let (_dir, path) = folder();
        // Large enough that the file is shrunk while others append.
        let input = "y".repeat(300 << 10);
        let writers: Vec<_> = (0..4)
            .map(|_| {
                let (path, input) = (path.clone(), input.clone());
                std::thread::spawn(move || {
                    let (file, session) = HistoryFile::open(&path).unwrap();
                    for line in 1..=LINES {
                        file.append(&entry(session, line, &input)).unwrap();
                    }
                    session
                })
            })
            .collect();
        let mut sessions: Vec<i64> = writers.into_iter().map(|w| w.join().unwrap()).collect();
        sessions.sort_unstable();
        assert_eq!(sessions, [1, 2, 3, 4]);
        let (file, _) = HistoryFile::open(&path).unwrap();
        let kept = file.read().unwrap();
        assert!(kept.iter().all(|e| e.input == input), "every line is whole");
        for session in sessions {
            let lines: Vec<u64> = kept.iter().filter(|e| e.session == session).map(|e| e.line).collect();
            assert!(lines.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{session}: {lines:?}");
        }
    }

    #[test]
    fn a_link_in_its_place_is_refused() {
        let (dir, path) = folder();
        let target = dir.path().join("precious");
        std::fs::write(&target, "keep").unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        let (file, _) = HistoryFile::open(&path).unwrap();
        assert!(file.append(&entry(1, 1, "a")).is_err());
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "keep");
    }

    #[test]
    fn a_lock_that_is_never_given_back_is_an_error() {
        let (_dir, path) = folder();
        let (file, _) = HistoryFile::open(&path).unwrap();
        let (other, _) = HistoryFile::open(&path).unwrap();
        let _held = other.locked().unwrap();
        assert_eq!(file.append(&entry(1, 1, "a")).unwrap_err().kind, Kind::Unavailable);
    }
}
