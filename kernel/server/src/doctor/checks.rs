//! The checks one by one: each looks at one thing and says how it is.

use crate::config::Env;
use crate::kernel::install::KERNEL_NAME;
use dds_core::Config;
use dds_core::table::bytes;
use serde_json::Value;
use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Good,
    /// Not there, and not needed.
    Missing,
    /// Needed.
    Broken,
}

impl State {
    pub(super) fn word(self) -> &'static str {
        match self {
            State::Good => "ok",
            State::Missing => "missing",
            State::Broken => "broken",
        }
    }
}

/// What a check has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    pub name: String,
    pub state: State,
    pub detail: String,
    /// What to type; none when nothing is to be mended.
    pub fix: Option<String>,
}

impl Check {
    pub(super) fn good(name: &str, detail: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::Good, detail: detail.into(), fix: None }
    }

    pub(super) fn bad(name: &str, state: State, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name: name.into(), state, detail: detail.into(), fix: Some(fix.into()) }
    }
}

/// Least free space, in bytes: below the first nothing can be compiled, below the second not much.
const FULL: u64 = 200_000_000;
const NARROW: u64 = 2_000_000_000;

const RUSTUP: &str = "install Rust from https://rustup.rs";
/// Programs that are called: name, question, what happens without, and how to get it.
const PROGRAMS: &[(&str, &str, State, &str)] = &[
    ("rustc", "--version", State::Broken, RUSTUP),
    ("cargo", "--version", State::Broken, RUSTUP),
    (
        "cc",
        "--version",
        State::Broken,
        "install a C compiler, which links Rust cells: apt-get install gcc, or your system's way",
    ),
    (
        "git",
        "--version",
        State::Missing,
        "install git, which `clone` and `upload` call: apt-get install git, or your system's way",
    ),
];

/// Compilers and the like, as the cells' process would find them.
pub(super) fn programs(env: Env<'_>) -> Vec<Check> {
    PROGRAMS
        .iter()
        .map(|(program, question, without, fix)| match first_line(program, question, env) {
            Ok(version) => Check::good(program, version),
            Err(why) => Check::bad(program, *without, why, *fix),
        })
        .collect()
}

fn first_line(program: &str, question: &str, env: Env<'_>) -> Result<String, String> {
    let mut command = Command::new(program);
    if let Some(path) = env("PATH") {
        command.env("PATH", path);
    }
    let out = command.arg(question).stdin(Stdio::null()).output().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => "not on PATH".to_owned(),
        _ => format!("does not start: {e}"),
    })?;
    let text = String::from_utf8_lossy(if out.status.success() { &out.stdout } else { &out.stderr });
    let line = text.lines().next().unwrap_or_default().trim().to_owned();
    if out.status.success() { Ok(line) } else { Err(format!("does not run: {line}")) }
}

/// Whether Jupyter finds the kernel, and the kernel its program.
pub(super) fn kernelspec(config: &Config, env: Env<'_>) -> Check {
    const NAME: &str = "kernelspec";
    let found: Vec<PathBuf> = jupyter_folders(env)
        .into_iter()
        .map(|dir| dir.join("kernels").join(KERNEL_NAME).join("kernel.json"))
        .filter(|file| file.is_file())
        .collect();
    let Some(file) = found.first() else {
        return Check::bad(NAME, State::Missing, "Jupyter does not know the kernel", "dds install");
    };
    let parsed: Option<Value> = std::fs::read(file).ok().and_then(|t| serde_json::from_slice(&t).ok());
    let program = parsed.as_ref().and_then(|v| v.get("argv")?.get(0)?.as_str()).map(PathBuf::from);
    let Some(program) = program else {
        let why = format!("{} is damaged", file.display());
        return Check::bad(NAME, State::Broken, why, "write it anew: dds install");
    };
    let runs = std::fs::metadata(&program).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
    if !runs {
        let why = format!("{} names {}, which is no program", file.display(), program.display());
        return Check::bad(NAME, State::Broken, why, "write it anew: dds install");
    }
    if program.canonicalize().ok() != config.exe.canonicalize().ok() {
        let why = format!("{} starts {}, not this dds", file.display(), program.display());
        return Check::bad(NAME, State::Missing, why, "dds install, to start this one");
    }
    Check::good(NAME, file.display().to_string())
}

/// Where Jupyter looks, in its order.
fn jupyter_folders(env: Env<'_>) -> Vec<PathBuf> {
    let set = |name: &str| env(name).filter(|v| !v.is_empty());
    let mut out: Vec<PathBuf> = set("JUPYTER_PATH").iter().flat_map(std::env::split_paths).collect();
    let home = set("HOME").map(PathBuf::from);
    out.extend(set("JUPYTER_DATA_DIR").map(PathBuf::from));
    let data = set("XDG_DATA_HOME").map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(".local/share")));
    out.extend(data.map(|d| d.join("jupyter")));
    if cfg!(target_os = "macos") {
        out.extend(home.map(|h| h.join("Library/Jupyter")));
    }
    for prefix in ["VIRTUAL_ENV", "CONDA_PREFIX"] {
        out.extend(set(prefix).map(|p| PathBuf::from(p).join("share/jupyter")));
    }
    out.extend(["/usr/local/share/jupyter", "/usr/share/jupyter"].map(PathBuf::from));
    out
}

/// Whether mounts can stream.
pub(super) fn fuse() -> Check {
    match std::fs::File::options().read(true).write(true).open("/dev/fuse") {
        Ok(_) => Check::good("/dev/fuse", "mounts stream"),
        Err(e) => Check::bad(
            "/dev/fuse",
            State::Missing,
            format!(
                "cannot be opened ({e}): a notebook's mounts fetch files when its programs open them; those of a \
                 shell hold verified copies of up to 200 MB"
            ),
            "load the module (modprobe fuse); in a container: --device /dev/fuse --cap-add SYS_ADMIN",
        ),
    }
}

/// Whether what must be written can be.
pub(super) fn folders(config: &Config) -> Vec<Check> {
    let writable = |name: &str, dir: &Path, variable: &str| {
        // The folder itself, or the one that it would be made in.
        let there = dir.ancestors().find(|d| d.is_dir()).unwrap_or(dir);
        match tempfile::Builder::new().prefix(".dds-").tempfile_in(there) {
            Ok(_) => Check::good(name, dir.display().to_string()),
            Err(e) => Check::bad(
                name,
                State::Broken,
                format!("{} cannot be written: {}", there.display(), e.kind()),
                format!("make it writable, or set {variable} to a folder that is"),
            ),
        }
    };
    vec![
        writable("cache folder", &config.cache_dir, "DDS_CACHE"),
        writable("runtime folder", &config.runtime_dir, "XDG_RUNTIME_DIR"),
    ]
}

/// The crate `dds` of the cells.
pub(super) fn runtime(config: &Config) -> Check {
    let (folder, there) = dds_eval::runtime_folder(&config.cache_dir);
    let detail = if there {
        folder.display().to_string()
    } else {
        "the first notebook makes it, in seconds".to_owned()
    };
    Check::good("crate dds", detail)
}

/// Free space where caches and sessions lie.
pub(super) fn space(config: &Config, env: Env<'_>) -> Vec<Check> {
    let temporary = env("TMPDIR").filter(|d| !d.is_empty()).unwrap_or_else(|| OsString::from("/tmp"));
    [("space for caches", config.cache_dir.as_path()), ("space for sessions", Path::new(&temporary))]
        .into_iter()
        .map(|(name, dir)| match free(dir) {
            Some(n) => judged(name, dir, n),
            None => Check::good(name, "unknown"),
        })
        .collect()
}

fn judged(name: &str, dir: &Path, free: u64) -> Check {
    let detail = format!("{} free at {}", bytes(free), dir.display());
    let fix = "make room: dds cache --prune --older-than 30d";
    match free {
        n if n < FULL => Check::bad(name, State::Broken, detail, fix),
        n if n < NARROW => Check::bad(name, State::Missing, detail, fix),
        _ => Check::good(name, detail),
    }
}

/// Bytes that this user may still write at `dir`, or where it would be made.
fn free(dir: &Path) -> Option<u64> {
    let there = dir.ancestors().find(|d| d.is_dir())?;
    let path = CString::new(there.as_os_str().as_bytes()).ok()?;
    // SAFETY: all zeroes is a valid statvfs, a structure of numbers.
    let mut stat: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: `path` ends in NUL and `stat` is writable, both for the time of the call.
    if unsafe { libc::statvfs(path.as_ptr(), &mut stat) } != 0 {
        return None;
    }
    #[allow(clippy::unnecessary_cast, reason = "the types differ between systems")]
    (stat.f_bavail as u64).checked_mul(stat.f_frsize as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_judged_by_its_bounds() {
        let state = |n| judged("s", Path::new("/"), n).state;
        assert_eq!(
            [state(FULL - 1), state(FULL), state(NARROW)],
            [State::Broken, State::Missing, State::Good]
        );
        assert!(free(Path::new("/tmp/not/made/yet")).is_some_and(|n| n > 0));
    }
}
