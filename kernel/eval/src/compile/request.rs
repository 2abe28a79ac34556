//! What evcxr wants of cargo: words and variables.

use super::layout::Session;
use super::stand::{self, BUILD_ENV_VAR, LINKER_VAR};
use super::toolchain::Toolchain;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

/// Set by evcxr when it wants to wrap rustc itself, for dependencies as shared objects.
const FORCE_DYLIB_VAR: &str = "EVCXR_FORCE_DYLIB";
const WRAPPER_VAR: &str = "EVCXR_RUSTC_WRAPPER";
/// Where evcxr reads the path of the result.
const RESULT_VAR: &str = "EVCXR_EXECUTION_SO_PATH";
const CORE_VAR: &str = "EVCXR_CORE_EXTERN";
/// Prefixes of variables that change what cargo and build scripts do.
const BUILD_VARS: [&str; 14] = [
    "CARGO",
    "RUST",
    "CC",
    "CXX",
    "CFLAGS",
    "CXXFLAGS",
    "CPPFLAGS",
    "LDFLAGS",
    "AR",
    "PKG_CONFIG",
    "OPENSSL",
    "LIBRARY_PATH",
    "LD_LIBRARY_PATH",
    "LIBCLANG_PATH",
];
/// Those of them that evcxr sets for its own folder, or that have nothing to do with the result.
const NOT_BUILD_VARS: [&str; 9] = [
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_BUILD_DIR",
    "CARGO_PROFILE_DEV_OPT_LEVEL",
    "CARGO_HOME",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "RUST_RECURSION_COUNT",
    // The analysis's own; another one in each session.
    "RUST_SRC_PATH",
    "RUSTC",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Build,
    Check,
    /// `cargo metadata`, which resolves dependencies.
    Metadata,
    Other,
}

pub(super) struct Request {
    pub cargo: PathBuf,
    /// What cargo is to be started with.
    pub words: Vec<OsString>,
    pub ask: Ask,
    pub offline: bool,
    pub target: String,
    pub session: Session,
    pub folder: PathBuf,
    pub cache: PathBuf,
    /// Variables that change the build.
    pub build_vars: Vec<(String, String)>,
    pub rustflags: String,
    pub linker: Option<String>,
    pub result: Option<PathBuf>,
    /// evcxr wants something done to every crate that only its own wrapper can do.
    pub needs_cargo: bool,
    /// The link between cargo and rustc.
    pub recorder: Option<PathBuf>,
    /// The compiler, and its standard library as a shared object.
    pub rustc: PathBuf,
    pub libstd: PathBuf,
}

impl Request {
    /// `words` are this program's, without its name: `-run CARGO WORDS…`.
    pub(super) fn read(words: Vec<OsString>) -> Option<Self> {
        let mut words = words.into_iter();
        if words.next()? != "-run" {
            return None;
        }
        let cargo = PathBuf::from(words.next()?);
        let words: Vec<OsString> = words.collect();
        let texts: Vec<&str> = words.iter().filter_map(|word| word.to_str()).collect();
        let (offline, texts) = match texts.split_first() {
            Some((&"--offline", rest)) => (true, rest.to_vec()),
            _ => (false, texts.clone()),
        };
        let target =
            texts.windows(2).find(|pair| pair.first() == Some(&"--target")).and_then(|pair| pair.get(1));
        let ask = match texts.first() {
            Some(&"build") => Ask::Build,
            Some(&"check") => Ask::Check,
            Some(&"metadata") => Ask::Metadata,
            _ => Ask::Other,
        };
        let target = target.map_or_else(String::new, |target| (*target).to_owned());
        let folder = std::env::current_dir().ok()?;
        let session = Session::new(&folder);
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let rustflags = text("RUSTFLAGS").unwrap_or_default();
        Some(Self {
            cache: stand::cache().unwrap_or_else(|| session.own_cache()),
            build_vars: build_vars(),
            linker: text(LINKER_VAR),
            result: std::env::var_os(RESULT_VAR).map(PathBuf::from),
            needs_cargo: std::env::var_os(FORCE_DYLIB_VAR).is_some() || rustflags.contains("time-passes"),
            recorder: stand::recorder(),
            rustc: std::env::var_os("RUSTC").map(PathBuf::from).unwrap_or_default(),
            libstd: std::env::var(CORE_VAR)
                .ok()
                .and_then(|core| Some(PathBuf::from(core.split_once('=')?.1)))
                .unwrap_or_default(),
            rustflags,
            cargo,
            words,
            ask,
            offline,
            target,
            session,
            folder,
        })
    }

    pub(super) fn toolchain(&self) -> std::io::Result<Toolchain> {
        Toolchain::of(&self.rustc, &self.libstd)
    }

    /// cargo, in the environment that it would have without us.
    pub(super) fn cargo(&self) -> Command {
        let mut command = Command::new(&self.cargo);
        stand::restore_environment(&mut command);
        command
    }

    /// Whether evcxr's wrapper is only there for its cache, which ours replaces.
    pub(super) fn has_idle_wrapper(&self) -> bool {
        std::env::var_os(WRAPPER_VAR).is_some() && !self.needs_cargo
    }
}

fn build_vars() -> Vec<(String, String)> {
    let named = std::env::var(BUILD_ENV_VAR).unwrap_or_default();
    let named: Vec<&str> = named.split(',').collect();
    let mut found: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        .filter(|(name, _)| named.contains(&name.as_str()) || changes_builds(name))
        .collect();
    found.sort();
    found
}

fn changes_builds(name: &str) -> bool {
    BUILD_VARS.iter().any(|prefix| name.starts_with(prefix)) && !NOT_BUILD_VARS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn words_are_understood() {
        let read = |words: &str| Request::read(words.split(' ').map(OsString::from).collect());
        let request = read("-run /c/cargo --offline build --target x --message-format=json").unwrap();
        assert_eq!((request.ask, request.offline, request.target.as_str()), (Ask::Build, true, "x"));
        assert_eq!(request.cargo, Path::new("/c/cargo"));
        assert_eq!(read("-run /c/cargo metadata --format-version=1").unwrap().ask, Ask::Metadata);
        assert_eq!(read("-run /c/cargo clean").unwrap().ask, Ask::Other);
        assert!(read("--version").is_none());
    }

    #[test]
    fn variables_of_builds() {
        assert!(changes_builds("CARGO_PROFILE_DEV_DEBUG") && changes_builds("CFLAGS_x86"));
        assert!(!changes_builds("CARGO_TARGET_DIR") && !changes_builds("HOME"));
        assert!(!changes_builds("RUST_SRC_PATH"), "sessions would not share what they compile");
    }
}
