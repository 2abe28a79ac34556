//! The one gate between a [`RepoPath`] and a file of this machine.
//!
//! Every component is opened by the handle of its folder and without following links, so neither a
//! link in a repository nor one swapped in while we work can lead outside. Writes go through a
//! temporary file in the target's folder, fsync and rename.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

use dds_core::{Error, Kind, RepoPath, Result};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, Timespec, Timestamps};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

const COPY_CHUNK: usize = 1 << 20;
const DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// A folder that nothing done through it can leave.
#[derive(Debug)]
pub struct Root {
    dir: OwnedFd,
    path: PathBuf,
}

/// What lies at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    File,
    Dir,
    /// A link, a device, a socket: nothing that we open.
    Other,
}

impl Root {
    /// Opens the folder itself, which may be reached through links: its owner named it.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| Error::io(path, &e.into()))?;
        Ok(Self { dir, path: path.to_owned() })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What lies at `path`; none when nothing does, or when a component before it is no folder.
    pub fn find(&self, path: &RepoPath) -> Result<Option<Found>> {
        let Some((dir, name)) = self.containing(path, false)? else { return Ok(None) };
        if name.is_empty() {
            return Ok(Some(Found::Dir));
        }
        match rustix::fs::statat(dir.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => Found::File,
                FileType::Directory => Found::Dir,
                _ => Found::Other,
            })),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(self.error(path, e)),
        }
    }

    /// Opens a regular file; none when there is none at `path`, or when a link is in the way.
    pub fn open_file(&self, path: &RepoPath) -> Result<Option<File>> {
        let Some((dir, name)) = self.containing(path, false)? else { return Ok(None) };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(dir.as_fd(), name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(None),
            Err(e) => return Err(self.error(path, e)),
        };
        let regular = file.metadata().map_err(|e| Error::io(self.path.join(path.as_str()), &e))?.is_file();
        Ok(regular.then_some(file))
    }

    /// All bytes of a regular file of at most `max` bytes. Errors: `Limit`, `Io`.
    pub fn read(&self, path: &RepoPath, max: u64) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.open_file(path)? else { return Ok(None) };
        let mut bytes = Vec::new();
        let shown = self.path.join(path.as_str());
        file.take(max.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| Error::io(&shown, &e))?;
        if bytes.len() as u64 > max {
            return Err(Error::new(Kind::Limit, format!("{}: larger than {max} bytes", shown.display())));
        }
        Ok(Some(bytes))
    }

    /// Makes the folders above `path` and replaces what is at `path` by a file with `content`.
    /// A link at `path` is replaced, never followed; a link above it is refused.
    pub fn write(&self, path: &RepoPath, content: &mut dyn Read, executable: bool) -> Result<()> {
        self.put(path, content, executable, true).map(drop)
    }

    /// As [`Root::write`], but leaves what is at `path` alone. Says whether there was nothing, also when
    /// it appears while we write.
    pub fn create(&self, path: &RepoPath, content: &mut dyn Read) -> Result<bool> {
        self.put(path, content, false, false)
    }

    fn put(&self, path: &RepoPath, content: &mut dyn Read, executable: bool, replace: bool) -> Result<bool> {
        let path = &RepoPath::parse_writable(path.as_str())?;
        let Some((dir, name)) = self.containing(path, true)?.filter(|(_, name)| !name.is_empty()) else {
            return Err(Error::internal(format!("{path:?} cannot be written")));
        };
        let temporary =
            format!(".dds-incoming-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(if executable { 0o755 } else { 0o644 });
        let fd =
            rustix::fs::openat(dir.as_fd(), &*temporary, flags, mode).map_err(|e| self.error(path, e))?;
        let done = copy(content, File::from(fd))
            .and_then(|file| file.sync_data())
            .map_err(|e| Error::io(self.path.join(path.as_str()), &e))
            .and_then(|()| settle(&dir, &temporary, name, replace).map_err(|e| self.error(path, e)));
        if !matches!(done, Ok(true)) {
            let _ = rustix::fs::unlinkat(dir.as_fd(), &*temporary, AtFlags::empty());
        }
        let done = done?;
        rustix::fs::fsync(dir.as_fd()).map_err(|e| self.error(path, e))?;
        Ok(done)
    }

    /// Adds `bytes` to the end of a file, which is made when it is missing. A link at `path` is refused.
    pub fn append(&self, path: &RepoPath, bytes: &[u8]) -> Result<()> {
        let path = &RepoPath::parse_writable(path.as_str())?;
        let Some((dir, name)) = self.containing(path, true)?.filter(|(_, name)| !name.is_empty()) else {
            return Err(Error::internal(format!("{path:?} cannot be written")));
        };
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(dir.as_fd(), name, flags | OFlags::NONBLOCK, Mode::from_raw_mode(0o644))
            .map_err(|e| self.error(path, e))?;
        let mut file = File::from(fd);
        let added = file.write_all(bytes).and_then(|()| file.sync_data());
        added.map_err(|e| Error::io(self.path.join(path.as_str()), &e))
    }

    /// Makes the folders above `path` and, where nothing is, a node of the kind "socket" that belongs to
    /// no program: nobody can open it. Says whether there was nothing.
    pub fn node(&self, path: &RepoPath) -> Result<bool> {
        let path = &RepoPath::parse_writable(path.as_str())?;
        let Some((dir, name)) = self.containing(path, true)?.filter(|(_, name)| !name.is_empty()) else {
            return Err(Error::internal(format!("{path:?} cannot be written")));
        };
        match rustix::fs::mknodat(dir.as_fd(), name, FileType::Socket, Mode::from_raw_mode(0o444), 0) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(e) => Err(self.error(path, e)),
        }
    }

    /// Gives the node at `path` a time stamp.
    pub fn set_modified(&self, path: &RepoPath, time: SystemTime) -> Result<()> {
        let Some((dir, name)) = self.containing(path, false)?.filter(|(_, name)| !name.is_empty()) else {
            return Ok(());
        };
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let stamp = Timespec {
            tv_sec: i64::try_from(since.as_secs()).unwrap_or_default(),
            tv_nsec: since.subsec_nanos().into(),
        };
        let times = Timestamps { last_access: stamp, last_modification: stamp };
        rustix::fs::utimensat(dir.as_fd(), name, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| self.error(path, e))
    }

    /// A file without a name in the folder of `path`, for [`Root::write_into`]; none where the file system
    /// has no such files, or the folder is missing.
    pub fn nameless(&self, path: &RepoPath) -> Result<Option<File>> {
        let Some((dir, _)) = self.containing(path, false)?.filter(|(_, name)| !name.is_empty()) else {
            return Ok(None);
        };
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(dir.as_fd(), ".", flags, Mode::from_raw_mode(0o644)).ok().map(File::from))
    }

    /// As [`Root::write`], into a file that was made by [`Root::nameless`] and is known by its number. The
    /// machine's fall may take it along: it is for what can be had again.
    pub fn write_into(&self, path: &RepoPath, file: File, content: &mut dyn Read) -> Result<()> {
        let path = &RepoPath::parse_writable(path.as_str())?;
        let Some((dir, name)) = self.containing(path, false)?.filter(|(_, name)| !name.is_empty()) else {
            return Err(Error::internal(format!("{path:?} cannot be written")));
        };
        let fd = file.try_clone().map_err(|e| Error::io(self.path.join(path.as_str()), &e))?;
        copy(content, file).map_err(|e| Error::io(self.path.join(path.as_str()), &e))?;
        let temporary =
            format!(".dds-incoming-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let by_number = format!("/proc/self/fd/{}", fd.as_raw_fd());
        rustix::fs::linkat(CWD, &*by_number, dir.as_fd(), &*temporary, AtFlags::SYMLINK_FOLLOW)
            .map_err(|e| self.error(path, e))?;
        let done = rustix::fs::renameat(dir.as_fd(), &*temporary, dir.as_fd(), name);
        if done.is_err() {
            let _ = rustix::fs::unlinkat(dir.as_fd(), &*temporary, AtFlags::empty());
        }
        done.map_err(|e| self.error(path, e))
    }

    /// What the system knows of `path` itself, links not followed; none when nothing is there.
    pub fn look(&self, path: &RepoPath) -> Result<Option<rustix::fs::Stat>> {
        let Some((dir, name)) = self.containing(path, false)?.filter(|(_, name)| !name.is_empty()) else {
            return Ok(None);
        };
        match rustix::fs::statat(dir.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(self.error(path, e)),
        }
    }

    /// Removes a file or a link; nothing when there is none.
    pub fn remove(&self, path: &RepoPath) -> Result<()> {
        let Some((dir, name)) = self.containing(path, false)? else { return Ok(()) };
        match rustix::fs::unlinkat(dir.as_fd(), name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(self.error(path, e)),
        }
    }

    /// Removes an empty folder. Says whether it did: false when it is missing, holds something or is none.
    pub fn remove_dir(&self, path: &RepoPath) -> Result<bool> {
        let Some((dir, name)) = self.containing(path, false)?.filter(|(_, name)| !name.is_empty()) else {
            return Ok(false);
        };
        match rustix::fs::unlinkat(dir.as_fd(), name, AtFlags::REMOVEDIR) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => Ok(false),
            Err(e) => Err(self.error(path, e)),
        }
    }

    /// The folder of `path` by handle, and the last name. None when a folder is missing and `make` is
    /// not set. A link or file where a folder should be is an error when writing, none when reading.
    fn containing<'a>(&self, path: &'a RepoPath, make: bool) -> Result<Option<(OwnedFd, &'a str)>> {
        let mut dir = self.dir.try_clone().map_err(|e| Error::io(&self.path, &e))?;
        let mut parts = path.components().peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return Ok(Some((dir, part)));
            }
            if make {
                match rustix::fs::mkdirat(dir.as_fd(), part, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(e) => return Err(self.error(path, e)),
                }
            }
            dir = match rustix::fs::openat(dir.as_fd(), part, DIR, Mode::empty()) {
                Ok(next) => next,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if !make => return Ok(None),
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    return Err(Error::new(
                        Kind::Conflict,
                        format!(
                            "refused to write {}: {part:?} on the way to it is a link or a file",
                            self.path.join(path.as_str()).display()
                        ),
                    )
                    .hint("nothing is written through links; remove it, or choose another folder"));
                }
                Err(e) => return Err(self.error(path, e)),
            };
        }
        Ok(Some((dir, "")))
    }

    fn error(&self, path: &RepoPath, e: Errno) -> Error {
        Error::io(self.path.join(path.as_str()), &e.into())
    }
}

/// Gives a finished file its name. Says whether it has it: without `replace`, another one may.
fn settle(dir: &OwnedFd, temporary: &str, name: &str, replace: bool) -> std::result::Result<bool, Errno> {
    let dir = dir.as_fd();
    if replace {
        return rustix::fs::renameat(dir, temporary, dir, name).map(|()| true);
    }
    match rustix::fs::renameat_with(dir, temporary, dir, name, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        // A file system that does not know this kind of rename: a second name tells the same.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            match rustix::fs::linkat(dir, temporary, dir, name, AtFlags::empty()) {
                Ok(()) => rustix::fs::unlinkat(dir, temporary, AtFlags::empty()).map(|()| true),
                Err(Errno::EXIST) => Ok(false),
                Err(e) => Err(e),
            }
        }
        Err(e) => Err(e),
    }
}

fn copy(from: &mut dyn Read, mut to: File) -> io::Result<File> {
    let mut chunk = vec![0; COPY_CHUNK];
    loop {
        let n = from.read(&mut chunk)?;
        let Some(part) = chunk.get(..n).filter(|p| !p.is_empty()) else { break };
        to.write_all(part)?;
    }
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn path(t: &str) -> RepoPath {
        RepoPath::parse(t).unwrap()
    }

    #[test]
    fn writes_below_and_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        for name in ["a.txt", "Größe 1/a..b/c.txt"] {
            root.write(&path(name), &mut &b"one"[..], false).unwrap();
            root.write(&path(name), &mut &b"two"[..], false).unwrap();
            assert_eq!(root.read(&path(name), 3).unwrap().unwrap(), b"two");
            assert_eq!(root.read(&path(name), 2).unwrap_err().kind, Kind::Limit);
        }
        assert_eq!(root.find(&path("Größe 1")).unwrap(), Some(Found::Dir));
        assert_eq!(root.find(&path("none/x")).unwrap(), None);
        root.write(&path("e/x"), &mut &b""[..], false).unwrap();
        assert!(!root.remove_dir(&path("e")).unwrap() && !root.remove_dir(&path("none")).unwrap());
        root.remove(&path("e/x")).unwrap();
        assert!(root.remove_dir(&path("e")).unwrap() && root.find(&path("e")).unwrap().is_none());
        assert!(root.write(&path("Größe 1"), &mut &b""[..], false).is_err());
        let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(names.len(), 2, "no temporary file is left: {names:?}");
    }

    #[test]
    fn what_is_there_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert!(root.create(&path("d/a"), &mut &b"one"[..]).unwrap());
        assert!(!root.create(&path("d/a"), &mut &b"two"[..]).unwrap());
        symlink("nowhere", dir.path().join("link")).unwrap();
        assert!(!root.create(&path("link"), &mut &b"x"[..]).unwrap());
        assert_eq!(root.read(&path("d/a"), 9).unwrap().unwrap(), b"one");
        assert_eq!(std::fs::read_dir(dir.path().join("d")).unwrap().count(), 1);
        root.append(&path("log"), b"1").unwrap();
        root.append(&path("log"), b"2").unwrap();
        assert_eq!(root.read(&path("log"), 9).unwrap().unwrap(), b"12");
        assert!(root.append(&path("link"), b"x").is_err() && !dir.path().join("nowhere").exists());
    }

    #[test]
    fn nodes_cannot_be_opened_and_are_replaced_by_files() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert!(root.node(&path("d/a")).unwrap() && !root.node(&path("d/a")).unwrap());
        assert_eq!(root.find(&path("d/a")).unwrap(), Some(Found::Other));
        assert_eq!(std::fs::read(dir.path().join("d/a")).unwrap_err().raw_os_error(), Some(6));
        assert!(root.open_file(&path("d/a")).unwrap().is_none());
        root.write(&path("d/a"), &mut &b"x"[..], false).unwrap();
        assert_eq!(root.look(&path("d/a")).unwrap().unwrap().st_size, 1);
        assert!(!root.node(&path("d/a")).unwrap() && root.look(&path("d/b")).unwrap().is_none());
        assert!(root.node(&path(".git/hooks/x")).is_err());
        root.node(&path("d/c")).unwrap();
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        root.set_modified(&path("d/c"), time).unwrap();
        assert_eq!(root.look(&path("d/c")).unwrap().unwrap().st_mtime, 1_000_000_000);
        // Where the file system has files without names, the number is known before the name is taken.
        if let Some(file) = root.nameless(&path("d/c")).unwrap() {
            let number = std::os::unix::fs::MetadataExt::ino(&file.metadata().unwrap());
            root.write_into(&path("d/c"), file, &mut &b"xyz"[..]).unwrap();
            assert_eq!(root.look(&path("d/c")).unwrap().unwrap().st_ino, number);
            assert_eq!(std::fs::read(dir.path().join("d/c")).unwrap(), b"xyz");
            assert_eq!(std::fs::read_dir(dir.path().join("d")).unwrap().count(), 2);
        }
    }

    #[test]
    fn links_lead_nowhere() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("canary"), "canary").unwrap();
        let dir = tempfile::tempdir().unwrap();
        symlink(outside.path(), dir.path().join("out")).unwrap();
        symlink(outside.path().join("canary"), dir.path().join("file")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert_eq!(root.read(&path("out/canary"), 99).unwrap(), None);
        assert_eq!(root.read(&path("file"), 99).unwrap(), None);
        let e = root.write(&path("out/canary"), &mut &b"x"[..], false).unwrap_err();
        assert_eq!(e.kind, Kind::Conflict);
        // A link at the target itself is replaced, its target stays.
        root.write(&path("file"), &mut &b"x"[..], false).unwrap();
        assert_eq!(std::fs::read(outside.path().join("canary")).unwrap(), b"canary");
        assert_eq!(root.read(&path("file"), 9).unwrap().unwrap(), b"x");
        assert!(root.write(&path(".git/hooks/pre-commit"), &mut &b"x"[..], false).is_err());
    }

    #[test]
    fn a_link_swapped_in_while_we_write_changes_nothing_outside() {
        let outside = tempfile::tempdir().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|s| {
            s.spawn(|| {
                let at = dir.path().join("d");
                while !stop.load(Ordering::SeqCst) {
                    let _ = std::fs::remove_dir_all(&at);
                    let _ = symlink(outside.path(), &at);
                    let _ = std::fs::remove_file(&at);
                }
            });
            for _ in 0..500 {
                let _ = root.write(&path("d/x"), &mut &b"x"[..], false);
            }
            stop.store(true, Ordering::SeqCst);
        });
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}
