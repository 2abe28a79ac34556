//! What a session leaves in a folder when it is killed: nodes that nobody can open any more, and files that
//! had come.
//!
//! A record in the session's folder says where they are. A process that outlives the session removes them;
//! should that be killed as well, whoever mounts next does. What is recognised: nodes and read-only files with
//! the time stamp that all of the mount have, so that what the user changed or made stays.

use crate::child::ROLE;
use crate::mount_point::remove_made;
use crate::protocol::{self, Role};
use dds_core::{Error, RepoPath, Result};
use dds_data::contain::Root;
use rustix::fs::FileType;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, SystemTime};

/// Of records, in the session's folder.
const SUFFIX: &str = "left";
/// Folders within each other that are looked into.
const MAX_DEPTH: usize = 256;

/// Where a mount is, and how its files are told.
#[derive(Serialize, Deserialize)]
struct Left {
    dir: PathBuf,
    /// Folders that were made for it, outermost first.
    made: Vec<PathBuf>,
    /// The time stamp of its files, since 1970.
    time: Duration,
    process: u32,
    /// When the process began, in the system's own ticks: numbers of processes come again.
    began: u64,
}

/// The record, and the process that waits for the end of this one. Dropped without [`Watched::dismiss`], the
/// files go.
pub(super) struct Watched {
    record: PathBuf,
    watcher: Option<Child>,
}

impl Watched {
    /// To be made before the first file. `record` has no suffix yet.
    pub fn new(record: &Path, dir: &Path, made: &[PathBuf], time: SystemTime, exe: &Path) -> Result<Self> {
        let record = record.with_extension(SUFFIX);
        let process = std::process::id();
        let left = Left {
            dir: dir.to_owned(),
            made: made.to_vec(),
            time: time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
            process,
            began: began(process).unwrap_or_default(),
        };
        let text = serde_json::to_vec(&left).map_err(|e| Error::internal(e.to_string()))?;
        std::fs::write(&record, text).map_err(|e| Error::io(&record, &e))?;
        let watcher = watcher(exe, &record);
        if let Err(e) = &watcher {
            tracing::warn!(
                "no watcher: should this process be killed, the next mount removes its files: {e}"
            );
        }
        Ok(Self { record, watcher: watcher.ok() })
    }

    /// The files are gone.
    pub fn dismiss(&mut self) {
        let _ = std::fs::remove_file(&self.record);
        let Some(mut watcher) = self.watcher.take() else { return };
        if let Some(stdin) = &mut watcher.stdin {
            let _ = stdin.write_all(b"done\n");
        }
        let _ = watcher.wait();
    }
}

fn watcher(exe: &Path, record: &Path) -> Result<Child> {
    let mut watcher = std::process::Command::new(exe)
        .arg(ROLE)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .current_dir("/")
        // It must see the nodes as they are.
        .env_remove(super::PRELOAD_VAR)
        .env_remove(super::STREAMS_VAR)
        // What kills our group must not kill the watcher.
        .process_group(0)
        .spawn()
        .map_err(|e| Error::io(exe, &e))?;
    if let Some(stdin) = &mut watcher.stdin {
        let role = Role::Sweep { record: record.to_owned() };
        protocol::send(stdin, &role).map_err(|e| Error::io(exe, &e))?;
    }
    Ok(watcher)
}

/// The watcher: stdin closes when the session is gone. A word before means that it went in peace.
pub(crate) fn watch(record: &Path, mut stdin: impl BufRead) -> i32 {
    let mut word = String::new();
    if stdin.read_line(&mut word).is_ok_and(|n| n > 0) {
        return 0;
    }
    sweep(record, |_| true);
    0
}

/// Removes what sessions with this folder left when they were killed.
pub(crate) fn sweep_dead(run: &Path) {
    for entry in std::fs::read_dir(run).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|suffix| suffix == SUFFIX) {
            sweep(&entry.path(), |left| began(left.process) != Some(left.began));
        }
    }
}

fn sweep(record: &Path, is_dead: impl Fn(&Left) -> bool) {
    let left = std::fs::read(record).ok().and_then(|text| serde_json::from_slice::<Left>(&text).ok());
    let Some(left) = left.filter(is_dead) else { return };
    if let Ok(root) = Root::open(&left.dir) {
        left.clear(&root, &RepoPath::root(), 0);
    }
    remove_made(&left.made);
    let _ = std::fs::remove_file(record);
}

impl Left {
    /// Whether something was removed in the folder.
    fn clear(&self, root: &Root, dir: &RepoPath, depth: usize) -> bool {
        let at = root.path().join(dir.as_str());
        let mut cleared = false;
        for entry in std::fs::read_dir(at).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(path) = name.to_str().and_then(|name| dir.child(name).ok()) else { continue };
            let Ok(Some(found)) = root.look(&path) else { continue };
            match FileType::from_raw_mode(found.st_mode) {
                // Only where something of ours was: an empty folder of the user stays.
                FileType::Directory if depth < MAX_DEPTH && self.clear(root, &path, depth + 1) => {
                    cleared = true;
                    let _ = root.remove_dir(&path);
                }
                FileType::Socket | FileType::RegularFile if self.made(&found) => {
                    cleared |= root.remove(&path).is_ok();
                }
                _ => {}
            }
        }
        cleared
    }

    fn made(&self, found: &rustix::fs::Stat) -> bool {
        let is_writable = found.st_mode & 0o222 != 0;
        let (seconds, nanos) = (self.time.as_secs(), u64::from(self.time.subsec_nanos()));
        let same_second = u64::try_from(found.st_mtime).is_ok_and(|at| at == seconds);
        // Some file systems keep microseconds, others seconds.
        let kept = found.st_mtime_nsec;
        !is_writable && same_second && [nanos, nanos / 100 * 100, nanos / 1000 * 1000, 0].contains(&kept)
    }
}

/// When a process began; none when there is none of that number.
fn began(process: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before may hold anything; see proc(5), field 22.
    text.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_a_killed_session_left_goes_and_what_the_user_made_stays() {
        let root = tempfile::tempdir().unwrap();
        let (run, data) = (root.path().join("run"), root.path().join("data"));
        std::fs::create_dir_all(data.join("mine")).unwrap();
        std::fs::create_dir(&run).unwrap();
        let time = SystemTime::now();
        let path = |text: &str| RepoPath::parse(text).unwrap();
        let inside = Root::open(&data).unwrap();
        for name in ["a", "d/b", "d/e/c"] {
            assert!(inside.node(&path(name)).unwrap());
            inside.set_modified(&path(name), time).unwrap();
        }
        for (name, mode, modified) in
            [("came", 0o444, time), ("d/changed", 0o644, time), ("mine/old", 0o444, SystemTime::UNIX_EPOCH)]
        {
            std::fs::write(data.join(name), name).unwrap();
            inside.set_modified(&path(name), modified).unwrap();
            std::fs::set_permissions(data.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let exe = Path::new("/nowhere/dds");
        let mut watched = Watched::new(&run.join("stream-1-0"), &data, &[], time, exe).unwrap();
        assert!(watched.watcher.is_none() && watched.record.exists());
        sweep_dead(&run);
        assert!(data.join("a").symlink_metadata().is_ok(), "its session lives");
        // As if it were that of another process with our number.
        let record = &watched.record;
        let text = std::fs::read_to_string(record).unwrap();
        let own = format!("\"began\":{}", began(std::process::id()).unwrap());
        assert!(text.contains(&own), "{text}");
        std::fs::write(record, text.replace(&own, "\"began\":1")).unwrap();
        sweep_dead(&run);
        let mut rest: Vec<String> = Vec::new();
        for dir in ["", "d", "mine"] {
            for entry in std::fs::read_dir(data.join(dir)).unwrap().flatten() {
                rest.push(format!("{dir}/{}", entry.file_name().to_string_lossy()));
            }
        }
        rest.sort();
        assert_eq!(rest, ["/d", "/mine", "d/changed", "mine/old"]);
        assert!(!record.exists());
        watched.dismiss();
    }
}
