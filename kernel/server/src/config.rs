//! What the environment says: folders, tokens, threads. Read once, here; the libraries are handed
//! the result.

use dds_app::server::UPLOADS_ENV;
use dds_core::{Config, Error, Kind, PeerSettings, Result, Secret};
use std::ffi::OsString;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Host of the DagsHub API when `DAGSHUB_CLIENT_HOST` names no other.
const DAGSHUB: &str = "https://dagshub.com";

/// Environment variable that says where cells are remembered.
const HISTORY: &str = dds_app::kernel::HISTORY;

/// Reads one environment variable.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The process's own environment.
pub fn process_env(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// The environment as the user's own programs should see it: without what the kernel has put on `PATH`
/// for the compiler.
pub fn user_env(name: &str) -> Option<OsString> {
    if name == "PATH" { dds_eval::original_path() } else { process_env(name) }
}

/// The configuration of this process. Makes the runtime folder, mode 0700.
///
/// Errors: `Unavailable` when no private runtime folder can be made, `Usage` for a malformed
/// `DAGSHUB_CLIENT_HOST`.
pub fn load(env: Env<'_>) -> Result<Config> {
    let exe = std::env::current_exe()
        .map_err(|e| Error::new(Kind::Unavailable, format!("the path of the dds binary is unknown: {e}")))?;
    let runtime_dir = runtime_dir(env)?;
    let home = path(env, "HOME");
    let below_home = |name: &str, default: &str| {
        let dir = path(env, name).or_else(|| home.as_ref().map(|h| h.join(default)));
        dir.unwrap_or_else(|| runtime_dir.join(default)).join("dds")
    };
    let cache_dir = path(env, "DDS_CACHE").unwrap_or_else(|| below_home("XDG_CACHE_HOME", ".cache"));
    let login = text(env, "DAGSHUB_USERNAME").zip(text(env, "DAGSHUB_PASSWORD"));
    Ok(Config {
        exe,
        cache_dir,
        config_dir: below_home("XDG_CONFIG_HOME", ".config"),
        data_dir: below_home("XDG_DATA_HOME", ".local/share"),
        dagshub_host: dagshub_host(env)?,
        dagshub_token: text(env, "DAGSHUB_USER_TOKEN").map(Secret::new),
        dagshub_login: login.map(|(user, password)| (user, Secret::new(password))),
        // Knows the affinity mask and the cgroup's quota.
        threads: std::thread::available_parallelism().map_or(1, |n| n.get()),
        runtime_dir,
        peers: peers(env),
    })
}

/// Whether sessions keep a copy of the variables while a cell runs: not with `DDS_CHECKPOINTS=off`.
pub fn checkpoints(env: Env<'_>) -> bool {
    !text(env, "DDS_CHECKPOINTS").is_some_and(|value| matches!(value.as_str(), "off" | "0" | "no" | "false"))
}

/// The variables that the tools of AWS, Azure and Google and the `dagshub` client read, and where `fetch`
/// searches.
const PASSED_ON: [&str; 20] = [
    "AZURE_STORAGE_ACCOUNT",
    "AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "STORAGE_EMULATOR_HOST",
    "DDS_OPENVERSE_URL",
    "DDS_WIKIMEDIA_URL",
    "DAGSHUB_CLIENT_ID",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONFIG_FILE",
];

/// Where dvc and aws keep this user's settings.
fn peers(env: Env<'_>) -> PeerSettings {
    let home = path(env, "HOME");
    let user = path(env, "XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|h| h.join(".config")));
    let machine = text(env, "XDG_CONFIG_DIRS").and_then(|dirs| dirs.split(':').next().map(PathBuf::from));
    let machine = machine.filter(|d| d.is_absolute()).unwrap_or_else(|| PathBuf::from("/etc/xdg"));
    let dvc_global = path(env, "DVC_GLOBAL_CONFIG_DIR").or_else(|| user.map(|d| d.join("dvc")));
    let dvc_system = path(env, "DVC_SYSTEM_CONFIG_DIR").unwrap_or_else(|| machine.join("dvc"));
    PeerSettings {
        home,
        dvc_system: Some(dvc_system.join("config")),
        dvc_global: dvc_global.map(|d| d.join("config")),
        dagshub_tokens: path(env, "DAGSHUB_CLIENT_TOKENS_CACHE").or_else(|| {
            let cache = path(env, "XDG_CACHE_HOME").or_else(|| Some(path(env, "HOME")?.join(".cache")));
            Some(cache?.join("dagshub/tokens"))
        }),
        env: PASSED_ON
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), Secret::new(text(env, name)?))))
            .collect(),
    }
}

/// The folder in which the app server stores this visitor's uploads.
pub fn uploads(env: Env<'_>) -> Option<PathBuf> {
    path(env, UPLOADS_ENV)
}

/// The file in which a kernel remembers cells across sessions: `history.jsonl` in the data folder,
/// or the absolute path in `DDS_HISTORY`; none when that is `off`. Kernels that run a notebook for
/// somebody else (`dds exec`, `dds app`) are started with `off`.
pub fn history(env: Env<'_>) -> Option<PathBuf> {
    if text(env, HISTORY).is_some_and(|t| t == dds_app::kernel::NO_HISTORY) {
        return None;
    }
    let data = || path(env, "XDG_DATA_HOME").or_else(|| path(env, "HOME").map(|h| h.join(".local/share")));
    path(env, HISTORY).or_else(|| data().map(|dir| dir.join("dds").join("history.jsonl")))
}

fn text(env: Env<'_>, name: &str) -> Option<String> {
    env(name)?.into_string().ok().filter(|t| !t.is_empty())
}

/// An absolute path; relative ones are ignored, as the XDG specification asks.
fn path(env: Env<'_>, name: &str) -> Option<PathBuf> {
    env(name).map(PathBuf::from).filter(|p| p.is_absolute())
}

fn dagshub_host(env: Env<'_>) -> Result<String> {
    let Some(host) = text(env, "DAGSHUB_CLIENT_HOST") else { return Ok(DAGSHUB.to_owned()) };
    let host = host.trim().trim_end_matches('/').to_owned();
    let lower = host.to_ascii_lowercase();
    if lower.starts_with("http://") || lower.starts_with("https://") {
        return Ok(host);
    }
    Err(Error::usage("DAGSHUB_CLIENT_HOST does not begin with http:// or https://")
        .hint(format!("unset it, or set it to an address such as {DAGSHUB}")))
}

/// `$XDG_RUNTIME_DIR/dds`, else a folder of this user's in the temporary folder.
fn runtime_dir(env: Env<'_>) -> Result<PathBuf> {
    let temporary = path(env, "TMPDIR").unwrap_or_else(|| PathBuf::from("/tmp"));
    // SAFETY: geteuid has no preconditions and cannot fail.
    let user = unsafe { libc::geteuid() };
    let own = temporary.join(format!("dds-{user}"));
    let candidates = path(env, "XDG_RUNTIME_DIR").map(|d| d.join("dds")).into_iter().chain([own]);
    let mut refused = String::new();
    for dir in candidates {
        match private_dir(&dir, user) {
            Ok(()) => return Ok(dir),
            Err(e) => refused = e,
        }
    }
    // Somebody else owns the name: a fresh one.
    for attempt in 0..16u32 {
        let dir = temporary.join(format!("dds-{user}-{}-{attempt}", std::process::id()));
        match private_dir(&dir, user) {
            Ok(()) => return Ok(dir),
            Err(e) => refused = e,
        }
    }
    Err(Error::new(Kind::Unavailable, format!("no private folder for sockets: {refused}"))
        .hint("set XDG_RUNTIME_DIR to a folder that only you can read"))
}

/// Makes `dir` with mode 0700, or checks that it is ours already: a real folder, of this user, closed to others.
fn private_dir(dir: &Path, user: u32) -> std::result::Result<(), String> {
    let told = |e: std::io::Error| format!("{}: {e}", dir.display());
    match std::fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(told(e)),
        _ => {}
    }
    let meta = std::fs::symlink_metadata(dir).map_err(told)?;
    if !meta.is_dir() || meta.uid() != user {
        return Err(format!("{} belongs to somebody else", dir.display()));
    }
    if meta.mode() & 0o077 != 0 {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).map_err(told)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn load_with(vars: &[(&str, &str)]) -> Result<Config> {
        let map: HashMap<String, OsString> =
            vars.iter().map(|(k, v)| ((*k).to_owned(), OsString::from(v))).collect();
        load(&move |name| map.get(name).cloned())
    }

    #[test]
    fn checkpoints_are_taken_unless_told_otherwise() {
        for (value, on) in [(None, true), (Some("off"), false), (Some("0"), false), (Some("on"), true)] {
            let env = |name: &str| value.filter(|_| name == "DDS_CHECKPOINTS").map(std::ffi::OsString::from);
            assert_eq!(checkpoints(&env), on, "{value:?}");
        }
    }

    #[test]
    fn folders_follow_the_environment() {
        let tmp = tempfile::tempdir().unwrap();
        let t = tmp.path().to_str().unwrap();
        let c = load_with(&[("HOME", "/home/user"), ("XDG_RUNTIME_DIR", t)]).unwrap();
        assert_eq!(c.cache_dir, Path::new("/home/user/.cache/dds"));
        assert_eq!(c.config_dir, Path::new("/home/user/.config/dds"));
        assert_eq!(c.runtime_dir, tmp.path().join("dds"));
        assert!(c.threads >= 1);
        assert_eq!(c.peers.dvc_global.as_deref(), Some(Path::new("/home/user/.config/dvc/config")));
        assert_eq!(c.peers.dvc_system.as_deref(), Some(Path::new("/etc/xdg/dvc/config")));

        let c = load_with(&[
            ("HOME", "/home/user"),
            ("XDG_CACHE_HOME", "/c"),
            ("XDG_CONFIG_HOME", "relative"),
            ("TMPDIR", t),
        ])
        .unwrap();
        assert_eq!(
            (c.cache_dir.as_path(), c.config_dir.as_path()),
            (Path::new("/c/dds"), Path::new("/home/user/.config/dds"))
        );
        assert!(c.runtime_dir.starts_with(tmp.path()));
        assert_eq!(load_with(&[("DDS_CACHE", "/x"), ("TMPDIR", t)]).unwrap().cache_dir, Path::new("/x"));
    }

    #[test]
    fn the_runtime_folder_is_private() {
        let tmp = tempfile::tempdir().unwrap();
        let t = tmp.path().to_str().unwrap();
        std::fs::create_dir(tmp.path().join("dds")).unwrap();
        std::fs::set_permissions(tmp.path().join("dds"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let dir = load_with(&[("XDG_RUNTIME_DIR", t)]).unwrap().runtime_dir;
        assert_eq!(std::fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);

        // A link where the folder should be is not followed.
        let other = tempfile::tempdir().unwrap();
        let taken = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(other.path(), taken.path().join("dds")).unwrap();
        let vars = [("XDG_RUNTIME_DIR", taken.path().to_str().unwrap()), ("TMPDIR", t)];
        let dir = load_with(&vars).unwrap().runtime_dir;
        assert!(dir.starts_with(tmp.path()), "{}", dir.display());
    }

    #[test]
    fn the_history_is_in_the_data_folder_unless_told_otherwise() {
        for (vars, expected) in [
            (vec![("HOME", "/h")], Some("/h/.local/share/dds/history.jsonl")),
            (vec![("HOME", "/h"), ("XDG_DATA_HOME", "/d")], Some("/d/dds/history.jsonl")),
            (vec![("HOME", "/h"), ("DDS_HISTORY", "/x/y")], Some("/x/y")),
            (vec![("HOME", "/h"), ("DDS_HISTORY", "off")], None),
            (vec![], None),
        ] {
            let map: HashMap<&str, &str> = vars.into_iter().collect();
            let found = history(&|name| map.get(name).map(OsString::from));
            assert_eq!(found.as_deref(), expected.map(Path::new), "{map:?}");
        }
    }

    #[test]
    fn dagshub_settings() {
        let tmp = tempfile::tempdir().unwrap();
        let t = ("TMPDIR", tmp.path().to_str().unwrap());
        let c = load_with(&[t]).unwrap();
        assert_eq!(c.dagshub_host, "https://dagshub.com");
        assert!(c.dagshub_token.is_none() && c.dagshub_login.is_none());
        let c = load_with(&[
            t,
            ("DAGSHUB_CLIENT_HOST", "http://127.0.0.1:8080/"),
            ("DAGSHUB_USER_TOKEN", "s3cret"),
            ("DAGSHUB_USERNAME", "user"),
            ("DAGSHUB_PASSWORD", "pw"),
        ])
        .unwrap();
        assert_eq!(c.dagshub_host, "http://127.0.0.1:8080");
        assert_eq!(c.dagshub_token.as_ref().unwrap().expose(), "s3cret");
        assert!(!format!("{c:?}").contains("s3cret") && !format!("{c:?}").contains("pw\""));
        assert_eq!(load_with(&[t, ("DAGSHUB_CLIENT_HOST", "dagshub.com")]).unwrap_err().kind, Kind::Usage);
    }
}
