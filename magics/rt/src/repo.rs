//! Repositories in Rust: read, list and upload without mounting anything.
//!
//! ```no_run
//! # fn main() -> dds::Result<()> {
//! let repo = dds::open("dagshub://owner/repo@main")?;
//! for entry in repo.list("images")? {
//!     println!("{entry} {:?}", entry.len);
//! }
//! let readme = repo.read_to_string("README.md")?;
//! let front = repo.read_range("images/large.tif", 0..1024)?;
//! for file in repo.files_below("images")? {
//!     let (path, bytes) = file?;
//!     println!("{path}: {} bytes", bytes.len());
//! }
//! let labels = repo.csv("labels.csv")?;
//! repo.upload(["result.csv"], "results", "Results of today")?;
//! # Ok(()) }
//! ```
//!
//! The kernel does the work, with its cache and the logins of `%dds login`: what a mount has fetched
//! is not fetched again, and every file is verified against its digest. Stop ends a read at once.
//! Nothing here holds a connection, so values of these types live through interrupts and crashes.
//! In a program of its own, without a kernel, the installed program `dds` takes its place.

mod csv;
mod entry;
mod error;
mod file;
mod files;
pub(crate) mod link;
#[doc(hidden)]
pub mod stand_in;
mod table;
#[doc(hidden)]
pub mod wire;

pub use entry::{Entry, Keeper};
pub use error::{Error, ErrorKind, Result};
pub use file::File;
pub use files::Files;
pub use table::{Column, Table, Value};

use std::fmt;
use std::io::{Cursor, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use wire::{Ask, Opened, Uploaded, What};

/// Largest file that [`Repo::read`] takes into memory, in bytes.
pub const MAX_READ: u64 = 4 << 30;

/// Opens a repository: whatever `%dds mount` takes (`dagshub://OWNER/REPO[@REV]`,
/// `http(s)://HOST/OWNER/REPO[@REV]`, a Git URL, the path of a local one), a mounted folder, or `"."`
/// for the repository around the working folder. With a path behind it (`URL:images`, a folder
/// inside a mount) all paths are relative to that folder.
///
/// The revision is pinned: a branch at its newest commit, which moves with your own uploads and with
/// [`Repo::refresh`]; a commit or tag never moves.
///
/// ```no_run
/// # fn main() -> dds::Result<()> {
/// let repo = dds::open("dagshub://owner/repo")?;
/// let names: Vec<String> = repo.list("images")?.into_iter().map(|entry| entry.path).collect();
/// for file in repo.files(&names) {
///     let (path, bytes) = file?;
///     println!("{path}: {} bytes", bytes.len());
/// }
/// repo.upload(["result.csv"], "results", "Results of today")?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// `Usage` (not a repository), `NotFound` (repository or revision), `Unauthorized`, `Unreachable`.
pub fn open(target: impl AsRef<str>) -> Result<Repo> {
    let cwd = std::env::current_dir().map_err(|error| Error::io("the working folder", &error))?;
    let repo = Repo { target: target.as_ref().to_owned(), cwd, opened: Opened::default() };
    let end = repo.ask(What::Open(true), &mut |_| Ok(()))?;
    Ok(Repo { opened: Opened::decode(&end).ok_or_else(Error::broken)?, ..repo })
}

/// The bytes of one file: `dds::read("dagshub://owner/repo", "README.md")`.
///
/// # Errors
/// As [`open`] and [`Repo::read`].
pub fn read(target: impl AsRef<str>, path: impl AsRef<str>) -> Result<Vec<u8>> {
    open(target)?.read(path)
}

/// The text of one file.
///
/// # Errors
/// As [`open`] and [`Repo::read_to_string`].
pub fn read_to_string(target: impl AsRef<str>, path: impl AsRef<str>) -> Result<String> {
    open(target)?.read_to_string(path)
}

/// A repository at a revision; see [`open`]. Cheap to clone; may be used by many threads at once.
#[derive(Clone, PartialEq, Eq)]
pub struct Repo {
    /// May hold credentials, so it is never shown.
    target: String,
    /// Where the target was named.
    cwd: PathBuf,
    opened: Opened,
}

impl Repo {
    /// All bytes of a file, verified.
    ///
    /// # Errors
    /// `NotFound` (with the nearest name), `Corrupt`, `Unreachable`; `Limit` past [`MAX_READ`].
    pub fn read(&self, path: impl AsRef<str>) -> Result<Vec<u8>> {
        self.read_between(path.as_ref(), 0, u64::MAX)
    }

    /// The text of a file.
    ///
    /// # Errors
    /// As [`Repo::read`], and `Format` for a file that is not UTF-8.
    pub fn read_to_string(&self, path: impl AsRef<str>) -> Result<String> {
        let path = path.as_ref();
        String::from_utf8(self.read(path)?).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Error::new(ErrorKind::Format, format!("{path} is not UTF-8 text: byte {at} is wrong"))
                .with_hint("`read` gives the bytes as they are")
        })
    }

    /// The bytes of a range, cut at the file's end. Of a large file only these are fetched.
    ///
    /// # Errors
    /// As [`Repo::read`].
    pub fn read_range(&self, path: impl AsRef<str>, range: Range<u64>) -> Result<Vec<u8>> {
        self.read_between(path.as_ref(), range.start, range.end.max(range.start))
    }

    /// The entries of a folder, sorted; `""` is the top.
    ///
    /// # Errors
    /// `NotFound`, also for a file; `Unreachable`.
    pub fn list(&self, folder: impl AsRef<str>) -> Result<Vec<Entry>> {
        self.listing(folder.as_ref(), false)
    }

    /// All files below a folder, sorted by path. One question, whatever the number of folders.
    ///
    /// # Errors
    /// As [`Repo::list`].
    pub fn walk(&self, folder: impl AsRef<str>) -> Result<std::vec::IntoIter<Entry>> {
        Ok(self.listing(folder.as_ref(), true)?.into_iter())
    }

    /// One file or folder, with its size.
    ///
    /// # Errors
    /// As [`Repo::read`].
    pub fn stat(&self, path: impl AsRef<str>) -> Result<Entry> {
        let end = self.ask(What::Stat(path.as_ref().to_owned()), &mut |_| Ok(()))?;
        wire::entries(&end).and_then(|mut found| found.pop()).ok_or_else(Error::broken)
    }

    /// Whether there is such a file or folder.
    ///
    /// # Errors
    /// Of [`Repo::stat`], all but `NotFound`.
    pub fn exists(&self, path: impl AsRef<str>) -> Result<bool> {
        match self.stat(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            found => found.map(|_| true),
        }
    }

    /// These files one after another, the next ones fetched ahead. Gives path and bytes.
    pub fn files<P: AsRef<str>>(&self, paths: impl IntoIterator<Item = P>) -> Files {
        Files::of_paths(self.clone(), paths.into_iter().map(|path| path.as_ref().to_owned()).collect())
    }

    /// All files below a folder one after another, sorted by path, the next ones fetched ahead.
    ///
    /// # Errors
    /// As [`Repo::list`].
    pub fn files_below(&self, folder: impl AsRef<str>) -> Result<Files> {
        Ok(Files::of_entries(self.clone(), self.listing(folder.as_ref(), true)?))
    }

    /// A file to be read piece by piece.
    ///
    /// # Errors
    /// As [`Repo::stat`]; `Usage` for a folder.
    pub fn file(&self, path: impl AsRef<str>) -> Result<File> {
        let path = path.as_ref();
        let entry = self.stat(path)?;
        if entry.is_folder {
            return Err(Error::new(ErrorKind::Usage, format!("{path} is a folder"))
                .with_hint("`list` and `walk` say what is in it"));
        }
        Ok(match entry.len {
            Some(len) => File::new(self.clone(), path.to_owned(), len, entry.digest),
            None => File::whole(self.clone(), path.to_owned(), self.read(path)?),
        })
    }

    /// A whole file, verified, as what the readers of `polars`, `zip`, `image` and others take.
    ///
    /// ```ignore
    /// let frame = ParquetReader::new(repo.cursor("table.parquet")?).finish()?;
    /// ```
    ///
    /// # Errors
    /// As [`Repo::read`].
    pub fn cursor(&self, path: impl AsRef<str>) -> Result<Cursor<Vec<u8>>> {
        self.read(path).map(Cursor::new)
    }

    /// A file in CSV or TSV as a table with types; the separator is found out.
    ///
    /// # Errors
    /// As [`Repo::read_to_string`].
    pub fn csv(&self, path: impl AsRef<str>) -> Result<Table> {
        let path = path.as_ref();
        let text = self.read_to_string(path)?;
        Ok(if path.to_ascii_lowercase().ends_with(".tsv") {
            Table::parse_with(&text, '\t')
        } else {
            Table::parse(&text)
        })
    }

    /// Writes a verified copy of a file, of any size, and returns its path: what libraries that want
    /// a file of this machine take. `to` is a file, or a folder that is there. An existing file is
    /// replaced when the copy is complete.
    ///
    /// # Errors
    /// As [`Repo::file`]; `Io` where it cannot be written.
    pub fn download(&self, path: impl AsRef<str>, to: impl AsRef<Path>) -> Result<PathBuf> {
        let mut file = self.file(path)?;
        let mut to = to.as_ref().to_owned();
        if to.is_dir() {
            to.push(file.path().rsplit('/').next().unwrap_or("file"));
        }
        let io = |error: std::io::Error| match error.downcast::<Error>() {
            Ok(ours) => ours,
            Err(error) => Error::io(to.display(), &error),
        };
        let name = to.file_name().unwrap_or_default().to_string_lossy();
        let draft = to.with_file_name(format!(".{name}.{}.part", std::process::id()));
        let copied = std::fs::File::create(&draft).and_then(|mut out| {
            std::io::copy(&mut file, &mut out)?;
            out.flush()?;
            out.sync_all()?;
            std::fs::rename(&draft, &to)
        });
        if let Err(error) = copied {
            let _ = std::fs::remove_file(&draft);
            return Err(io(error));
        }
        Ok(to)
    }

    /// Uploads files and folders of this machine into the folder `to` (`""` is the top) in one
    /// commit, and gives its hash. Folders bring everything below them. Large and binary files are
    /// kept by DVC, others by Git, as `%dds upload` does it. The repository follows: what it reads
    /// from then on has the new files.
    ///
    /// # Errors
    /// `Usage` (pinned to a commit, or nothing to write to), `Unauthorized`, `Conflict`, …
    pub fn upload<P: AsRef<Path>>(
        &self,
        files: impl IntoIterator<Item = P>,
        to: impl AsRef<str>,
        message: impl AsRef<str>,
    ) -> Result<String> {
        // The target belongs to the folder where it was named, the files to the one of now.
        let here = std::env::current_dir().map_err(|error| Error::io("the working folder", &error))?;
        let files = files.into_iter().map(|path| {
            let path = here.join(path);
            path.to_str().map(str::to_owned).ok_or_else(|| {
                Error::new(ErrorKind::Usage, format!("{}: its name is not UTF-8", path.display()))
            })
        });
        let message = Some(message.as_ref()).filter(|text| !text.is_empty()).map(str::to_owned);
        let what = What::Upload { files: files.collect::<Result<_>>()?, to: to.as_ref().to_owned(), message };
        let end = self.ask(what, &mut |_| Ok(()))?;
        Uploaded::decode(&end).map(|uploaded| uploaded.commit).ok_or_else(Error::broken)
    }

    /// Follows the branch to its newest commit, and gives that commit. Mounts of the same branch
    /// follow too. What was opened at a commit stays.
    ///
    /// # Errors
    /// As [`open`].
    pub fn refresh(&self) -> Result<String> {
        self.now(What::Refresh).map(|opened| commit(&opened.id).to_owned())
    }

    /// The commit that is read, a whole hash. It moves with your own uploads.
    ///
    /// # Errors
    /// As [`open`].
    pub fn commit(&self) -> Result<String> {
        self.now(What::Open(false)).map(|opened| commit(&opened.id).to_owned())
    }

    /// The branch that is followed; none where a commit or a tag was opened.
    pub fn branch(&self) -> Option<&str> {
        self.opened.branch.as_deref()
    }

    /// `URL@commit`, as it was when the repository was opened. Holds no credentials.
    pub fn id(&self) -> &str {
        &self.opened.id
    }

    fn now(&self, what: What) -> Result<Opened> {
        Opened::decode(&self.ask(what, &mut |_| Ok(()))?).ok_or_else(Error::broken)
    }

    fn read_between(&self, path: &str, from: u64, to: u64) -> Result<Vec<u8>> {
        self.read_version(path, from, to, None)
    }

    /// Errors: `Conflict` when the file has another digest by now.
    fn read_version(&self, path: &str, from: u64, to: u64, digest: Option<String>) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut take = |piece: Vec<u8>| {
            if bytes.is_empty() {
                bytes = piece;
            } else {
                bytes.extend_from_slice(&piece);
            }
            match bytes.len() as u64 > MAX_READ {
                true => Err(too_large(path)),
                false => Ok(()),
            }
        };
        self.ask(What::Read(path.to_owned(), from, to, digest), &mut take)?;
        Ok(bytes)
    }

    fn listing(&self, folder: &str, deep: bool) -> Result<Vec<Entry>> {
        let mut all = Vec::new();
        self.ask(What::List(folder.to_owned(), deep), &mut |piece| {
            all.append(&mut wire::entries(&piece).ok_or_else(Error::broken)?);
            Ok(())
        })?;
        Ok(all)
    }

    fn ask(&self, what: What, take: &mut dyn FnMut(Vec<u8>) -> Result<()>) -> Result<Vec<u8>> {
        let cwd = self.cwd.to_str().ok_or_else(|| {
            Error::new(ErrorKind::Usage, format!("{}: its name is not UTF-8", self.cwd.display()))
        })?;
        link::ask(&Ask { cwd: cwd.to_owned(), target: self.target.clone(), what }, take)
    }
}

/// The limit of [`Repo::read`] was passed.
#[doc(hidden)]
pub fn too_large(path: &str) -> Error {
    Error::new(ErrorKind::Limit, format!("{path} is larger than {} GiB", MAX_READ >> 30))
        .with_hint("read parts with `read_range` or `file`, or `download` it")
}

fn commit(id: &str) -> &str {
    id.rsplit_once('@').map_or(id, |(_, commit)| commit)
}

/// `URL@commit`, or the folder of it that was opened.
impl fmt::Display for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())?;
        if self.opened.path.is_empty() { Ok(()) } else { write!(f, ":{}", self.opened.path) }
    }
}

impl fmt::Debug for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Repo({self})")
    }
}

#[cfg(test)]
mod tests;
