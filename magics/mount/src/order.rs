//! The order in which files will be read, told to a mount: one of this session, or of another process.
//!
//! The paths go through a file, so that an order of millions is one message.

use crate::control;
use crate::engine::Mounts;
use crate::protocol::{Command, What};
use crate::stage::area;
use crate::table::Way;
use dds_core::table::count as count_text;
use dds_core::{Cx, Error, Kind, Outcome, RepoPath, Result, request as rq};
use serde_json::json;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Most bytes of a list of paths.
const MAX_LIST_BYTES: u64 = 1 << 30;

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Followed {
    /// Files of the mount that it names.
    pub files: usize,
    /// Names that are none.
    pub unknown: usize,
}

/// Where a mount hears other processes, whether it can be written or not.
pub fn ear(runtime_dir: &Path, dir: &Path) -> PathBuf {
    use sha2::{Digest, Sha256};
    use std::os::unix::ffi::OsStrExt;
    let name: String = hex::encode(Sha256::digest(dir.as_os_str().as_bytes())).chars().take(32).collect();
    runtime_dir.join("mounts").join(name)
}

/// Reads what [`Mounts::follow`] wrote. Errors: `Io`, `Format`.
pub fn read(list: &Path) -> Result<Vec<RepoPath>> {
    let file = std::fs::File::open(list).map_err(|e| Error::io(list, &e))?;
    let mut paths = Vec::new();
    for line in BufReader::new(file).split(b'\n') {
        let line = line.map_err(|e| Error::io(list, &e))?;
        let text: String = serde_json::from_slice(&line)
            .map_err(|e| Error::new(Kind::Format, format!("{}: {e}", list.display())))?;
        paths.push(RepoPath::parse(&text)?);
    }
    Ok(paths)
}

impl Mounts {
    /// Files of the mount on `dir` will be read in this order; paths are those of the repository. No paths:
    /// in no order that is known.
    ///
    /// Errors: `NotFound`; `Unavailable` when its process is gone; `Io`.
    pub fn follow(&self, dir: &Path, paths: &[RepoPath]) -> Result<Followed> {
        let mount = self.find(dir)?;
        match &mount.way {
            Way::Fuse(process) => self.tell(paths, |command| process.ask(command, None)),
            Way::Copy(_) | Way::Stream(_) => Ok(Followed { files: 0, unknown: 0 }),
        }
    }

    pub(crate) fn announce_order(&self, r: &rq::Order, cx: &Cx) -> Result<Outcome> {
        let named = cx.absolute(&r.dir);
        // The parent only: the folder itself may be a mount that does not answer.
        let real = match (named.parent().map(Path::canonicalize), named.file_name()) {
            (Some(Ok(parent)), Some(name)) => parent.join(name),
            _ => named.clone(),
        };
        let lines = match (&r.list, r.clear) {
            (Some(list), false) => read_lines(&cx.absolute(list))?,
            (None, true) => Vec::new(),
            _ => {
                return Err(Error::usage("an order is a file with one path a line, or --clear")
                    .hint("%dds order DIR LIST; from a shell, LIST may be /dev/stdin"));
            }
        };
        let mounts = self.table().mounts();
        let root = |mounted: &Path| -> Option<PathBuf> {
            real.strip_prefix(mounted).or_else(|_| named.strip_prefix(mounted)).ok().map(Path::to_owned)
        };
        let ours = mounts.iter().find_map(|m| Some((m, root(&m.dir).or_else(|| root(&m.named))?)));
        let (told, unread) = if let Some((mount, below)) = ours {
            let (paths, strange) = within(&lines, &[&mount.dir, &mount.named], &below);
            match &mount.way {
                Way::Fuse(process) => (self.tell(&paths, |command| process.ask(command, Some(cx)))?, strange),
                Way::Copy(_) => {
                    let summary = format!("{} is a copy: all its files are here already", named.display());
                    return Ok(Outcome::new(summary, json!({"dir": named, "files": 0, "unknown": 0})));
                }
                Way::Stream(_) => {
                    return Err(Error::usage(format!(
                        "{} brings files when they are opened, and none ahead",
                        named.display()
                    ))
                    .hint("mount with --via fuse, where that works"));
                }
            }
        } else {
            let (mounted, ear) = self.elsewhere(&real).ok_or_else(|| {
                Error::not_found(format!("{} is not in a mounted folder", named.display()))
                    .hint("`%dds mounts` lists what is mounted")
            })?;
            let below = real.strip_prefix(&mounted).unwrap_or(Path::new("")).to_owned();
            let (paths, strange) = within(&lines, &[&mounted], &below);
            (self.tell(&paths, |command| control::ask(&ear, command, cx))?, strange)
        };
        let unknown = told.unknown + unread;
        let value = json!({"dir": named, "files": told.files, "unknown": unknown});
        if r.clear {
            return Ok(Outcome::new(format!("{}: no order is expected any more", named.display()), value));
        }
        if told.files == 0 {
            return Err(Error::usage(format!(
                "none of the {} is a file in {}",
                count_text(lines.len() as u64, "line"),
                named.display()
            ))
            .hint("each line is a path below that folder, or an absolute one"));
        }
        let mut summary =
            format!("{} of {} will be fetched in this order", count_text(told.files as u64, "file"), r.dir);
        if unknown > 0 {
            summary.push_str(&format!(
                "; {} no file of it",
                match unknown {
                    1 => "1 line names".to_owned(),
                    n => format!("{n} lines name"),
                }
            ));
        }
        Ok(Outcome::new(summary, value))
    }

    /// The mount of another process that holds a path, and where it hears us.
    fn elsewhere(&self, path: &Path) -> Option<(PathBuf, PathBuf)> {
        let config = self.table().config();
        let areas = area::areas(&area::home(&config.data_dir));
        path.ancestors().find_map(|dir| {
            let ear = ear(&config.runtime_dir, dir);
            if control::is_heard(&ear) {
                return Some((dir.to_owned(), ear));
            }
            let area = areas.iter().find(|area| area.held && area.about.dir == dir)?;
            Some((dir.to_owned(), area.path.clone()))
        })
    }

    fn tell(&self, paths: &[RepoPath], ask: impl FnOnce(Command) -> Result<What>) -> Result<Followed> {
        let dir = self.table().config().runtime_dir.clone();
        let io = |e: std::io::Error| Error::io(&dir, &e);
        let list = tempfile::NamedTempFile::new_in(&dir).map_err(io)?;
        let mut out = BufWriter::new(list.as_file());
        for path in paths {
            serde_json::to_writer(&mut out, path.as_str()).map_err(|e| Error::internal(e.to_string()))?;
            out.write_all(b"\n").map_err(io)?;
        }
        out.flush().map_err(io)?;
        drop(out);
        match ask(Command::Follow { list: list.path().to_owned() })? {
            What::Following { files, unknown } => Ok(Followed { files, unknown }),
            _ => Err(Error::internal("the mount process gave an unexpected answer")),
        }
    }
}

fn read_lines(list: &Path) -> Result<Vec<String>> {
    let io = |e: std::io::Error| Error::io(list, &e);
    let mut lines = Vec::new();
    let mut bytes = 0;
    for line in BufReader::new(std::fs::File::open(list).map_err(io)?).lines() {
        let line = line.map_err(io)?;
        bytes += line.len() as u64;
        if bytes > MAX_LIST_BYTES {
            return Err(Error::new(
                Kind::Limit,
                format!("{}: more than {MAX_LIST_BYTES} bytes of paths", list.display()),
            ));
        }
        if !line.trim().is_empty() {
            lines.push(line);
        }
    }
    Ok(lines)
}

/// The paths in the repository that lines stand for, absolute or below the folder that was named; and how
/// many are none.
fn within(lines: &[String], mounted: &[&PathBuf], below: &Path) -> (Vec<RepoPath>, usize) {
    let mut paths = Vec::with_capacity(lines.len());
    for line in lines {
        let line = Path::new(line.trim_end_matches('\r'));
        let inner = match line.is_absolute() {
            true => mounted.iter().find_map(|dir| line.strip_prefix(dir).ok()).map(Path::to_owned),
            false => Some(below.join(line.strip_prefix("./").unwrap_or(line))),
        };
        paths.extend(inner.and_then(|inner| RepoPath::parse(inner.to_str()?).ok()));
    }
    let strange = lines.len() - paths.len();
    (paths, strange)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_paths_below_the_folder_or_absolute() {
        let lines: Vec<String> =
            ["a.jpg", "./b c.jpg", "/m/data/sub/d", "/elsewhere/x", "../up", "/m/data", "e\r"]
                .map(str::to_owned)
                .into();
        let mounted = PathBuf::from("/m/data");
        let (paths, strange) = within(&lines, &[&mounted], Path::new("sub"));
        let paths: Vec<&str> = paths.iter().map(RepoPath::as_str).collect();
        assert_eq!(paths, ["sub/a.jpg", "sub/b c.jpg", "sub/d", "", "sub/e"]);
        assert_eq!(strange, 2);
    }

    #[test]
    fn an_order_survives_its_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "\"a\"\n\"new\\nline\"\n").unwrap();
        let paths: Vec<String> = read(file.path()).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(paths, ["a", "new\nline"]);
        std::fs::write(file.path(), "nonsense\n").unwrap();
        assert_eq!(read(file.path()).unwrap_err().kind, Kind::Format);
    }
}
