//! Mount points as the kernel sees them: what is mounted where, unmounting, and the rules for the
//! folder that a user wants to mount on.
//!
//! Reads `/proc/self/mountinfo` and never looks into a mounted folder: a dead one would answer with
//! an error and a slow one not at all.

use crate::fuse::FS_NAME;
use dds_core::{Error, Kind, Result};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// One line of the kernel's mount table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountPoint {
    pub dir: PathBuf,
    pub fs_type: String,
    pub source: String,
}

impl MountPoint {
    /// Whether one of our mount processes made it.
    pub fn is_ours(&self) -> bool {
        self.fs_type.starts_with("fuse") && self.source == FS_NAME
    }
}

/// The mount table of this process, in the order of mounting.
pub fn table() -> Result<Vec<MountPoint>> {
    let path = "/proc/self/mountinfo";
    let text = std::fs::read(path).map_err(|e| Error::io(path, &e))?;
    Ok(parse(&text))
}

/// Fields of `proc(5)`: the mount point is the fifth, and after a lone `-` come type and source.
/// Space, tab, line feed and backslash are written as three octal digits.
fn parse(text: &[u8]) -> Vec<MountPoint> {
    text.split(|b| *b == b'\n')
        .filter_map(|line| {
            let mut fields = line.split(|b| *b == b' ');
            let dir = fields.nth(4)?;
            let mut rest = fields.skip_while(|field| *field != b"-").skip(1);
            let fs_type = String::from_utf8_lossy(rest.next()?).into_owned();
            let source = String::from_utf8_lossy(&unescape(rest.next()?)).into_owned();
            Some(MountPoint { dir: PathBuf::from(OsString::from_vec(unescape(dir))), fs_type, source })
        })
        .collect()
}

fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        rest = tail;
        out.push(match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                rest = tail;
                (a - b'0') * 64 + (b - b'0') * 8 + (c - b'0')
            }
            _ => *first,
        });
    }
    out
}

/// Whether one of our mounts, alive or dead, is on exactly `dir` (a canonical path).
pub fn is_mounted(dir: &Path) -> bool {
    table().is_ok_and(|table| table.iter().any(|point| point.dir == dir && point.is_ours()))
}

/// Takes the topmost mount off `dir`, also while files in it are open; their readers then get errors.
///
/// Without privileges this goes through `fusermount3`. Errors: `Io`.
pub fn detach(dir: &Path) -> Result<()> {
    use rustix::mount::{UnmountFlags, unmount};
    let Err(error) = unmount(dir, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) else { return Ok(()) };
    if error == rustix::io::Errno::PERM {
        for program in ["fusermount3", "fusermount"] {
            let status = std::process::Command::new(program)
                .args(["-u", "-z", "--"])
                .arg(dir)
                .stdin(std::process::Stdio::null())
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .status();
            if status.is_ok_and(|status| status.success()) {
                return Ok(());
            }
        }
    }
    Err(Error::new(Kind::Io, format!("cannot unmount {}: {error}", dir.display())))
}

/// Takes a dead mount off `dir`: one of ours whose process is gone. True when there was one.
pub fn reap(dir: &Path) -> bool {
    // A stat of a mount without a process fails at once with ENOTCONN; it cannot hang.
    let dead = std::fs::symlink_metadata(dir)
        .is_err_and(|error| error.raw_os_error() == Some(rustix::io::Errno::NOTCONN.raw_os_error()));
    dead && is_mounted(dir) && detach(dir).is_ok()
}

/// A folder that is ready to be mounted on.
#[derive(Debug)]
pub struct Target {
    /// Canonical: without links.
    pub dir: PathBuf,
    /// The folders that were made, outermost first.
    pub made: Vec<PathBuf>,
}

impl Target {
    /// Makes `dir` when it is missing; checks that it is an empty folder outside other mounts of ours.
    /// A dead mount on it is taken off first.
    ///
    /// Errors: `Usage` with what to do; `Io`.
    pub fn prepare(dir: &Path) -> Result<Self> {
        reap(dir);
        let mut missing: Vec<PathBuf> = Vec::new();
        for folder in dir.ancestors() {
            match std::fs::symlink_metadata(folder) {
                Ok(_) => break,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => missing.push(folder.to_owned()),
                Err(e) => return Err(Error::io(folder, &e)),
            }
        }
        missing.reverse();
        let standing = missing.first().and_then(|first| first.parent()).unwrap_or(dir);
        let real = standing.canonicalize().map_err(|e| Error::io(standing, &e))?;
        if let Some(other) =
            table()?.into_iter().rfind(|point| point.is_ours() && real.starts_with(&point.dir))
        {
            let shown = other.dir.display();
            return Err(match other.dir == real && missing.is_empty() {
                true => Error::usage(format!("{shown} is mounted already")).hint(format!(
                    "another kernel or shell holds it: mount on another folder, or end it in a shell with \
                         `dds unmount {shown}`"
                )),
                false => Error::usage(format!("{} lies inside the mounted folder {shown}", dir.display()))
                    .hint("mount on a folder outside it"),
            });
        }
        let mut made = Vec::new();
        for folder in missing {
            let mut builder = std::fs::DirBuilder::new();
            if folder == dir {
                // Copies may come from a private repository: nobody else may look inside.
                builder.mode(0o700);
            }
            if let Err(error) = builder.create(&folder) {
                remove_made(&made);
                return Err(Error::io(&folder, &error));
            }
            made.push(folder);
        }
        let target = Self { dir: dir.canonicalize().map_err(|e| Error::io(dir, &e))?, made };
        target.check_empty()?;
        Ok(target)
    }

    fn check_empty(&self) -> Result<()> {
        let shown = self.dir.display();
        let mut entries = match std::fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => {
                return Err(
                    Error::usage(format!("{shown} is a file")).hint("mount on a new or an empty folder")
                );
            }
            Err(e) => return Err(Error::io(&self.dir, &e)),
        };
        match entries.next() {
            None => Ok(()),
            Some(_) => Err(Error::usage(format!("{shown} is not empty"))
                .hint("mount on a new or an empty folder: what is in it now would be hidden")),
        }
    }

    /// Removes the folders that were made, as far as they are empty.
    pub fn undo(&self) {
        remove_made(&self.made);
    }
}

/// Removes folders, innermost first, as far as they are empty.
pub fn remove_made(made: &[PathBuf]) {
    for folder in made.iter().rev() {
        if std::fs::remove_dir(folder).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read_with_its_escapes() {
        let text = b"36 35 98:0 / /mnt/a\\040b\\134\\303\\274 rw,noatime shared:1 master:2 - fuse dds rw\n\
            37 35 0:5 / /proc rw - proc proc rw\nbroken\n\n38 35 0:6 / /x\\04 rw - ext4 /dev/dds rw\n";
        let table = parse(text);
        assert_eq!(table.len(), 3);
        assert_eq!(table[0].dir, Path::new("/mnt/a b\\ü"));
        assert_eq!(table.iter().map(MountPoint::is_ours).collect::<Vec<_>>(), [true, false, false]);
        assert_eq!(table[2].dir, Path::new("/x\\04"));
    }

    #[test]
    fn a_target_is_new_or_empty_and_leaves_no_trace_when_undone() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("a/b/c");
        let target = Target::prepare(&deep).unwrap();
        assert!(target.dir.ends_with("a/b/c") && target.made.len() == 3);
        let mode = std::os::unix::fs::PermissionsExt::mode(&deep.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o700, "for its owner alone");
        target.undo();
        assert!(!root.path().join("a").exists());

        let empty = root.path().join("empty");
        std::fs::create_dir(&empty).unwrap();
        let target = Target::prepare(&empty).unwrap();
        target.undo();
        assert!(empty.exists(), "a folder that was there stays");

        std::fs::write(empty.join("x"), "x").unwrap();
        let error = Target::prepare(&empty).unwrap_err();
        assert!(error.kind == Kind::Usage && error.message.contains("not empty") && error.hint.is_some());
        let error = Target::prepare(&empty.join("x")).unwrap_err();
        assert!(error.kind == Kind::Usage && error.message.contains("is a file"), "{error}");
        assert!(Target::prepare(&empty.join("x/y")).is_err());
        assert!(!reap(&empty));
    }

    #[test]
    fn the_folder_may_be_reached_over_a_link() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("real")).unwrap();
        std::os::unix::fs::symlink("real", root.path().join("link")).unwrap();
        let target = Target::prepare(&root.path().join("link/data")).unwrap();
        assert!(target.dir.ends_with("real/data"));
    }
}
