//! A session with mounts, as the kernel has one, and the roles that the test executable plays when
//! it is started as `dds`.

use crate::repo::{self, Folders};
use dds_core::engine::MountEngine;
use dds_core::request as rq;
use dds_core::{Config, Cx, Error, Outcome};
use dds_mount::{Mounts, mount_point};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const WAYS: [&str; 2] = ["fuse", "copy"];

/// Whether this machine lets us mount. Where it does not, only the copies are tested.
pub fn fuse_works() -> bool {
    dds_mount::fuse::probe().is_ok()
}

/// The ways that work here.
pub fn ways() -> Vec<&'static str> {
    WAYS.into_iter().filter(|way| *way == "copy" || fuse_works()).collect()
}

pub fn config(root: &Path) -> Arc<Config> {
    Arc::new(Config {
        exe: std::env::current_exe().unwrap(),
        cache_dir: root.join("cache"),
        config_dir: root.join("config"),
        data_dir: root.join("data-home"),
        runtime_dir: root.join("run"),
        dagshub_host: "https://dagshub.invalid".into(),
        dagshub_token: None,
        dagshub_login: None,
        threads: 2,
        peers: Default::default(),
    })
}

pub struct Session {
    pub mounts: Arc<Mounts>,
    pub cx: Cx,
    pub root: PathBuf,
    // Last, so that it goes after the mounts in it.
    _folder: tempfile::TempDir,
}

impl Session {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        Self {
            mounts: Mounts::with_opener(config(&root), Arc::new(Folders)),
            cx: Cx::silent(&root),
            root,
            _folder: folder,
        }
    }

    pub fn repo(&self, kind: &str) -> PathBuf {
        repo::make(&self.root, kind)
    }

    pub fn mount(&self, repo: &Path, dir: &str, via: &str) -> Result<Outcome, Error> {
        let request = rq::Mount {
            url: repo.display().to_string(),
            dir: dir.into(),
            via: via.into(),
            ..Default::default()
        };
        self.mounts.mount(&request, &self.cx)
    }

    /// What is staged in a mount, as `dds status` tells it.
    pub fn status(&self, dir: &str) -> Outcome {
        self.mounts.status(&rq::Status { dir: dir.into() }, &self.cx).unwrap()
    }

    pub fn order(&self, dir: &str, list: Option<String>, clear: bool) -> String {
        self.mounts.order(&rq::Order { dir: dir.into(), list, clear }, &self.cx).unwrap().summary
    }

    pub fn unmount(&self, dir: &str) -> Result<Outcome, Error> {
        self.mounts.unmount(&rq::Unmount { dir: dir.into() }, &self.cx)
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.mounts.shutdown();
    }
}

/// Polls until `done` or ten seconds are over.
pub fn soon(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "not within ten seconds: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn is_mounted(dir: &Path) -> bool {
    mount_point::is_mounted(dir)
}

/// Names of a folder, sorted.
pub fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Plays `dds __mount`, when the executable was started as that.
pub fn play_mount_process() {
    if std::env::args().nth(1).as_deref() == Some(dds_mount::child::ROLE) {
        // Ends the line that the test harness may have begun.
        println!();
        // Only where a test wants to know.
        let file = std::fs::File::options().append(true).open(log_of(std::os::unix::process::parent_id()));
        if let Ok(file) = file {
            let _ = log::set_boxed_logger(Box::new(Log(file)));
            log::set_max_level(log::LevelFilter::Warn);
            log::warn!("listening");
        }
        dds_mount::child_main_with(Arc::new(Folders), || ());
    }
}

/// Where the mount processes that `pid` started write their warnings, if the file is there.
pub fn log_of(pid: u32) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("mount-{pid}.log"))
}

struct Log(std::fs::File);

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata) -> bool {
        true
    }

    fn log(&self, record: &log::Record) {
        let line = format!("{} {}\n", record.target(), record.args());
        let _ = (&self.0).write_all(line.as_bytes());
    }

    fn flush(&self) {}
}
