//! A file of a repository that is read piece by piece.

use super::{Repo, Result};
use std::fmt;
use std::io::{self, BufRead, Read, Seek, SeekFrom};

/// Bytes asked for at a time: at first, and for a reader who reads on in order.
const FIRST_PIECE: u64 = 256 << 10;
const MAX_PIECE: u64 = 8 << 20;

/// A file of a repository, opened by [`Repo::file`]: [`Read`], [`BufRead`] and [`Seek`], as
/// `std::fs::File` behind a `BufReader`. Only what is read is fetched.
///
/// Files of up to 8 MiB are verified before their first byte is given out, larger ones when the
/// last byte has come.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::io::BufRead;
/// let repo = dds::open("dagshub://owner/repo")?;
/// for line in repo.file("labels.txt")?.lines() {
///     println!("{}", line?);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct File {
    repo: Repo,
    path: String,
    len: u64,
    /// Of the version that was opened.
    digest: Option<String>,
    at: u64,
    /// Bytes from `start` on; `at` may lie anywhere.
    held: Vec<u8>,
    start: u64,
    /// How much is asked for next.
    stride: u64,
}

impl File {
    pub(super) fn new(repo: Repo, path: String, len: u64, digest: Option<String>) -> Self {
        Self { repo, path, len, digest, at: 0, held: Vec::new(), start: 0, stride: FIRST_PIECE }
    }

    /// One whose bytes are here already.
    pub(super) fn whole(repo: Repo, path: String, bytes: Vec<u8>) -> Self {
        let len = bytes.len() as u64;
        Self { held: bytes, ..Self::new(repo, path, len, None) }
    }

    /// The length of the whole file, in bytes.
    #[expect(clippy::len_without_is_empty, reason = "as std::fs::Metadata has it")]
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is held at the current place.
    fn rest(&self) -> &[u8] {
        let skip = self.at.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        skip.and_then(|skip| self.held.get(skip..)).unwrap_or_default()
    }

    fn fetch(&mut self) -> Result<()> {
        let end = self.start + self.held.len() as u64;
        self.stride = if self.at == end { (self.stride * 2).min(MAX_PIECE) } else { FIRST_PIECE };
        let to = self.len.min(self.at.saturating_add(self.stride));
        // All strides are of one version.
        self.held = self.repo.read_version(&self.path, self.at, to, self.digest.clone())?;
        self.start = self.at;
        Ok(())
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File")
            .field("path", &self.path)
            .field("len", &self.len)
            .field("at", &self.at)
            .finish()
    }
}

impl BufRead for File {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.rest().is_empty() && self.at < self.len {
            self.fetch()?;
            if self.rest().is_empty() {
                let text =
                    format!("{}: it is shorter than the {} bytes that were listed", self.path, self.len);
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            }
        }
        Ok(self.rest())
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount as u64;
    }
}

impl Read for File {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(out)?;
        self.consume(count);
        Ok(count)
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let (from, by) = match to {
            SeekFrom::Start(at) => (at, 0),
            SeekFrom::Current(by) => (self.at, by),
            SeekFrom::End(by) => (self.len, by),
        };
        let before = || io::Error::new(io::ErrorKind::InvalidInput, "a place before the file's beginning");
        self.at = from.checked_add_signed(by).ok_or_else(before)?;
        Ok(self.at)
    }
}
