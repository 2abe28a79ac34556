//! Where this program stands between evcxr and cargo: a folder on PATH, and the variables by which
//! the process in that role knows its caches.

use super::digest::Key;
use super::{described, library_source, record};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

/// The name under which evcxr looks for something to run cargo with.
const LINK: &str = "mold";
/// The folder that was put on PATH.
const TOOLS_VAR: &str = "DDS_TOOLS";
/// The folder of the caches.
pub(crate) const CACHE_VAR: &str = "DDS_COMPILE_CACHE";
/// The linker that the user has asked for.
pub(crate) const LINKER_VAR: &str = "DDS_LINKER";
/// Names of the variables that the user has set by `:build_env`, separated by commas.
pub(crate) const BUILD_ENV_VAR: &str = "DDS_BUILD_ENV";
/// Where the analysis looks for cargo first …
const HOME_VAR: &str = "CARGO_HOME";
/// … and what the user has set there; empty if nothing.
const USERS_HOME_VAR: &str = "DDS_CARGO_HOME";
const OURS: [&str; 6] = [TOOLS_VAR, CACHE_VAR, LINKER_VAR, BUILD_ENV_VAR, USERS_HOME_VAR, record::FILE_VAR];

/// What this process was started as.
pub(crate) enum Role {
    /// In cargo's place, for evcxr.
    Cargo,
    /// In cargo's place, for the analysis.
    Described,
    /// Between cargo and rustc, to note the arguments.
    Recorder,
}

pub(crate) fn started_as() -> Option<Role> {
    let name = std::env::args_os().next()?;
    match Path::new(&name).file_name()?.to_str()? {
        LINK if std::env::var_os(TOOLS_VAR).is_some() => Some(Role::Cargo),
        described::LINK if std::env::var_os(TOOLS_VAR).is_some() => Some(Role::Described),
        record::LINK if std::env::var_os(record::FILE_VAR).is_some() => Some(Role::Recorder),
        _ => None,
    }
}

/// Has cells compiled by way of this program: puts a folder below `place` (made if need be) on
/// this process's PATH. Compiled cells and dependencies are kept below `cache`.
///
/// # Errors
/// When the folder cannot be made, or when other threads run already, which might be reading the
/// environment: call it first in `main`. Without it cells are compiled too, by cargo.
pub fn stand_between(place: &Path, cache: &Path) -> io::Result<()> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("other threads are running"));
    }
    crate::memory::share();
    let exe = std::env::current_exe()?;
    // Several versions of this program may be in use.
    let mut key = Key::new("tools");
    key.part(exe.as_os_str().as_encoded_bytes());
    let folder = place.join(key.hex().get(..16).unwrap_or("tools"));
    set_up(&exe, &folder)?;
    let mut path = folder.as_os_str().to_owned();
    if path.as_encoded_bytes().contains(&b':') {
        return Err(io::Error::other("the folder's name has a colon in it"));
    }
    // Also without the folder of the process that has started this one.
    if let Some(before) = original_path() {
        path.push(":");
        path.push(without(&before, &folder));
    }
    let home = users_home();
    let is_told = std::env::var_os(library_source::SOURCE_VAR).is_some();
    let source = (!is_told).then(|| library_source::link_in(&folder));
    // SAFETY: this process has one thread, as was checked above.
    unsafe {
        if let Some(source) = source {
            std::env::set_var(library_source::SOURCE_VAR, source);
        }
        std::env::set_var("PATH", path);
        std::env::set_var(USERS_HOME_VAR, home.unwrap_or_default());
        std::env::set_var(HOME_VAR, folder.join(described::HOME));
        std::env::set_var(TOOLS_VAR, folder);
        std::env::set_var(CACHE_VAR, cache);
    }
    Ok(())
}

/// Where [`stand_between`] has told the analysis to look for the standard library's source.
pub(super) fn library_source() -> Option<PathBuf> {
    let source = PathBuf::from(std::env::var_os(library_source::SOURCE_VAR)?);
    source.starts_with(std::env::var_os(TOOLS_VAR)?).then_some(source)
}

fn set_up(exe: &Path, folder: &Path) -> io::Result<()> {
    let bin = folder.join(described::HOME).join("bin");
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&bin)?;
    [LINK, record::LINK].into_iter().try_for_each(|name| link(exe, folder, name))?;
    link(exe, &bin, described::LINK)
}

/// `CARGO_HOME` as the user has set it.
fn users_home() -> Option<OsString> {
    let name = if std::env::var_os(TOOLS_VAR).is_some() { USERS_HOME_VAR } else { HOME_VAR };
    std::env::var_os(name).filter(|home| !home.is_empty())
}

/// Cargo's own folder, `~/.cargo` if the user has not named another.
pub(super) fn cargo_home() -> Option<PathBuf> {
    let by_default = || Some(Path::new(&std::env::var_os("HOME")?).join(".cargo"));
    users_home().map(PathBuf::from).or_else(by_default)
}

/// Puts the folder back if it was removed meanwhile: it may lie where the system cleans up.
pub(crate) fn keep_standing() {
    let Some(folder) = std::env::var_os(TOOLS_VAR).map(PathBuf::from) else { return };
    if std::fs::symlink_metadata(folder.join(LINK)).is_ok() {
        return;
    }
    let done = std::env::current_exe().and_then(|exe| set_up(&exe, &folder));
    if let Err(error) = done {
        tracing::warn!("{} cannot be made: {error}", folder.display());
    }
}

/// The cache that this process was told.
pub(crate) fn cache() -> Option<PathBuf> {
    std::env::var_os(CACHE_VAR).filter(|path| !path.is_empty()).map(PathBuf::from)
}

pub(super) fn link(exe: &Path, folder: &Path, name: &str) -> io::Result<()> {
    let link = folder.join(name);
    if std::fs::read_link(&link).is_ok_and(|target| target == exe) {
        return Ok(());
    }
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let temporary = folder.join(format!(".{name}-{}-{number}", std::process::id()));
    let _ = std::fs::remove_file(&temporary);
    std::os::unix::fs::symlink(exe, &temporary)?;
    std::fs::rename(&temporary, &link)
}

fn without(path: &OsStr, folder: &Path) -> OsString {
    let kept = std::env::split_paths(path).filter(|entry| entry != folder);
    std::env::join_paths(kept).unwrap_or_else(|_| path.to_owned())
}

/// PATH as it was before [`stand_between`]: as the user's own programs should see it.
pub fn original_path() -> Option<OsString> {
    let path = std::env::var_os("PATH")?;
    Some(match std::env::var_os(TOOLS_VAR) {
        Some(folder) => without(&path, Path::new(&folder)),
        None => path,
    })
}

/// The link through which rustc's arguments are noted.
pub(super) fn recorder() -> Option<PathBuf> {
    std::env::var_os(TOOLS_VAR).map(|folder| Path::new(&folder).join(record::LINK))
}

/// Gives a program that is started for the user the environment from before [`stand_between`].
pub fn restore_environment(command: &mut Command) {
    if std::env::var_os(TOOLS_VAR).is_none() {
        return;
    }
    if let Some(path) = original_path() {
        command.env("PATH", path);
    }
    if library_source().is_some() {
        command.env_remove(library_source::SOURCE_VAR);
    }
    match users_home() {
        Some(home) => command.env(HOME_VAR, home),
        None => command.env_remove(HOME_VAR),
    };
    for name in OURS {
        command.env_remove(name);
    }
}

/// The same for this process.
///
/// # Safety
/// No other thread may exist.
pub(crate) unsafe fn leave() {
    let path = original_path();
    let (source, home) = (library_source(), users_home());
    let was_there = std::env::var_os(TOOLS_VAR).is_some();
    // SAFETY: the caller's promise.
    unsafe {
        match home {
            _ if !was_there => {}
            Some(home) => std::env::set_var(HOME_VAR, home),
            None => std::env::remove_var(HOME_VAR),
        }
        if source.is_some() {
            std::env::remove_var(library_source::SOURCE_VAR);
        }
        if let Some(path) = path {
            std::env::set_var("PATH", path);
        }
        for name in OURS {
            std::env::remove_var(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_taken_out_of_the_path() {
        let path = OsStr::new("/t:/usr/bin:/t:/bin");
        assert_eq!(without(path, Path::new("/t")), "/usr/bin:/bin");
        assert_eq!(without(path, Path::new("/x")), path);
    }

    #[test]
    fn a_link_follows_the_program() {
        let folder = tempfile::tempdir().unwrap();
        link(Path::new("/old"), folder.path(), "a").unwrap();
        link(Path::new("/new"), folder.path(), "a").unwrap();
        link(Path::new("/new"), folder.path(), "a").unwrap();
        assert_eq!(std::fs::read_link(folder.path().join("a")).unwrap(), Path::new("/new"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
