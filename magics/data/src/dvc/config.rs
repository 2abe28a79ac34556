//! `.dvc/config` and its neighbours: the cache folder and the remotes.
//!
//! The format is configobj's, of which DVC uses sections, `key = value` and comments. Four files are
//! merged, the later winning: the machine's, the user's, the repository's (which came with its commits)
//! and the repository's `config.local` (which did not). Values are credentials as often as not, so none
//! is ever printed.

use dds_core::{Error, Kind, Result, Secret};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// Remotes that point at other remotes (`remote://NAME/PATH`) are followed so far.
const MAX_REMOTE_HOPS: usize = 8;

/// Which file a setting came from, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    System,
    Global,
    /// `.dvc/config`: whoever commits to the repository writes it.
    Repo,
    Local,
}

/// What all files together say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DvcConfig {
    /// Lower case, as DVC compares names.
    pub default_remote: Option<String>,
    remotes: BTreeMap<String, RemoteConfig>,
    cache_dir: Option<(String, PathBuf)>,
}

#[derive(Clone, PartialEq, Eq)]
struct Setting {
    value: String,
    level: Level,
    /// The folder of the file that it stands in.
    dir: PathBuf,
}

/// One remote. Its `Debug` shows the names of its settings only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RemoteConfig {
    pub name: String,
    settings: BTreeMap<String, Setting>,
    /// Below the URL, for a remote that points at another one.
    below: String,
}

impl DvcConfig {
    /// Adds the settings of one file in the folder `dir`; later files win, as in DVC. Unknown sections
    /// and lines that are no settings are passed over.
    pub fn merge(&mut self, text: &str, level: Level, dir: &Path) {
        let mut section = String::new();
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[').and_then(|l| l.rsplit_once(']')).map(|(n, _)| n) {
                name.trim().trim_matches(['\'', '"']).clone_into(&mut section);
                continue;
            }
            let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else {
                continue;
            };
            let value = unquoted(value.trim());
            match (section.as_str(), key.trim()) {
                ("core", "remote") => self.default_remote = Some(value.to_lowercase()),
                ("cache", "dir") => self.cache_dir = Some((value, dir.to_owned())),
                (name, key) => {
                    let Some(name) = name.strip_prefix("remote") else { continue };
                    let name = name.trim().trim_matches(['\\', '"']).to_lowercase();
                    let remote = self.remotes.entry(name.clone()).or_default();
                    remote.name = name;
                    remote.settings.insert(key.to_lowercase(), Setting { value, level, dir: dir.to_owned() });
                }
            }
        }
    }

    /// The cache folder, when one is named.
    pub fn cache_dir(&self) -> Option<PathBuf> {
        let (dir, base) = self.cache_dir.as_ref()?;
        local_path(dir, base)
    }

    /// All remotes that have a URL; one that points at another has that one's settings. Remotes that
    /// point in a circle, or nowhere, are left out.
    pub fn remotes(&self) -> impl Iterator<Item = RemoteConfig> + '_ {
        self.remotes.keys().filter_map(|name| self.resolved(name))
    }

    fn resolved(&self, name: &str) -> Option<RemoteConfig> {
        let mut found = self.remotes.get(name)?.clone();
        for _ in 0..MAX_REMOTE_HOPS {
            let Some(rest) = found.url().strip_prefix("remote://").map(str::to_owned) else {
                return (!found.url().is_empty()).then_some(found);
            };
            let (next, below) = rest.split_once('/').unwrap_or((&rest, ""));
            let mut base = self.remotes.get(&next.to_lowercase())?.clone();
            let own = std::mem::take(&mut found.settings);
            base.settings.extend(own.into_iter().filter(|(key, _)| key != "url"));
            base.below = [below, found.below.as_str()]
                .into_iter()
                .filter(|p| !p.is_empty())
                .collect::<Vec<_>>()
                .join("/");
            base.name = found.name;
            found = base;
        }
        None
    }
}

impl RemoteConfig {
    /// As written; it may hold a user name and a password.
    pub fn url(&self) -> &str {
        self.settings.get("url").map_or("", |s| s.value.as_str())
    }

    /// What stands before `://`; empty for a folder.
    pub fn scheme(&self) -> &str {
        self.url().split_once("://").map_or("", |(scheme, _)| scheme)
    }

    /// The part below the URL of the remote that this one points at.
    pub fn below(&self) -> &str {
        &self.below
    }

    /// As a folder of this machine; none when the URL has a scheme other than `file`.
    pub fn local_path(&self) -> Option<PathBuf> {
        let url = self.settings.get("url")?;
        let path = local_path(&url.value, &url.dir)?;
        Some(if self.below.is_empty() { path } else { path.join(&self.below) })
    }

    /// A setting that is no secret.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.settings.get(key).map(|s| s.value.as_str()).filter(|v| !v.is_empty())
    }

    /// Whether a setting stands in a file that did not come with the repository.
    pub fn is_own(&self, key: &str) -> bool {
        self.settings.get(key).is_some_and(|s| s.level != Level::Repo)
    }

    /// A path setting, seen from the file that it stands in; `~` is `home`.
    pub fn path(&self, key: &str, home: Option<&Path>) -> Option<PathBuf> {
        let setting = self.settings.get(key)?;
        Some(match (setting.value.strip_prefix("~/"), home) {
            (Some(below), Some(home)) => home.join(below),
            _ => setting.dir.join(&setting.value),
        })
    }

    /// Whether a setting is on. Errors (`Format`) name a value that is neither.
    pub fn flag(&self, key: &str, default: bool) -> Result<bool> {
        match self.get(key).map(str::to_lowercase).as_deref() {
            None => Ok(default),
            Some("true" | "1" | "yes" | "on") => Ok(true),
            Some("false" | "0" | "no" | "off") => Ok(false),
            Some(_) => Err(self.broken(key, "is neither true nor false")),
        }
    }

    /// A number. Errors (`Format`) name a value that is none.
    pub fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>> {
        self.get(key).map(|v| v.parse().map_err(|_| self.broken(key, "is not a number"))).transpose()
    }

    /// A credential. One of the machine's or the user's own file goes only to an address that stands in
    /// a file of theirs as well: a repository that calls its remote by the same name does not get it.
    pub fn secret(&self, key: &str) -> Option<Secret> {
        let setting = self.settings.get(key).filter(|s| !s.value.is_empty())?;
        let places = ["url", "endpointurl", "account_name"].into_iter().filter_map(|k| self.settings.get(k));
        let foreign = setting.level < Level::Repo && places.into_iter().any(|p| p.level == Level::Repo);
        (!foreign).then(|| Secret::new(setting.value.clone()))
    }

    /// A broken setting, named without its value.
    pub fn broken(&self, key: &str, why: &str) -> Error {
        Error::new(Kind::Format, format!("the setting {key} of the DVC remote {:?} {why}", self.name))
            .hint(format!("set it with: dvc remote modify {} {key} VALUE", self.name))
    }
}

impl fmt::Debug for RemoteConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&String> = self.settings.keys().collect();
        f.debug_struct("RemoteConfig").field("name", &self.name).field("settings", &keys).finish()
    }
}

/// A URL as a folder of this machine, seen from `dir` when it is relative; none when it has a scheme
/// other than `file`.
fn local_path(url: &str, dir: &Path) -> Option<PathBuf> {
    let path = url.strip_prefix("file://").unwrap_or(url);
    (!path.contains("://") && !path.is_empty()).then(|| dir.join(path))
}

/// The text of a configuration with one local remote, which is the default.
pub fn encode(name: &str, folder: &Path) -> String {
    format!(
        "[core]\n    remote = {name}\n['remote \"{name}\"']\n    url = {}\n",
        quoted(&folder.display().to_string())
    )
}

fn quoted(value: &str) -> String {
    if !value.contains(['#', '\'', '"', ',']) && value.trim() == value {
        return value.to_owned();
    }
    if value.contains('"') { format!("'{value}'") } else { format!("\"{value}\"") }
}

fn unquoted(value: &str) -> String {
    for quote in ['"', '\''] {
        if let Some((inner, _)) = value.strip_prefix(quote).and_then(|v| v.split_once(quote)) {
            return inner.to_owned();
        }
    }
    value.split('#').next().unwrap_or("").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(files: &[(&str, Level)]) -> DvcConfig {
        let mut c = DvcConfig::default();
        for (text, level) in files {
            c.merge(text, *level, Path::new("/r/.dvc"));
        }
        c
    }

    fn remote(c: &DvcConfig, name: &str) -> RemoteConfig {
        c.remotes().find(|r| r.name == name).unwrap()
    }

    #[test]
    fn reads_what_dvc_writes() {
        let c = config(&[(
            "[core]\n    remote = Storage\n    autostage = true\n['remote \"storage\"']\n    url = ../../remote # near\n# url = x\n['remote \"s3\"']\nurl = s3://b/p\n[cache]\ndir = \"/x #1/c\"\n",
            Level::Repo,
        )]);
        assert_eq!(c.default_remote.as_deref(), Some("storage"));
        assert_eq!(remote(&c, "storage").url(), "../../remote");
        assert_eq!(c.cache_dir().as_deref(), Some(Path::new("/x #1/c")));
        assert_eq!(remote(&c, "storage").local_path(), Some("/r/.dvc/../../remote".into()));
        let s3 = remote(&c, "s3");
        assert_eq!((s3.scheme(), s3.local_path()), ("s3", None));
    }

    #[test]
    fn reads_what_it_writes() {
        for folder in ["/plain", "/a b/c", "/has#hash", "/it's", "/a,b"] {
            let c = config(&[(&encode("storage", Path::new(folder)), Level::Repo)]);
            assert_eq!(remote(&c, "storage").url(), folder);
            assert_eq!(c.default_remote.as_deref(), Some("storage"));
        }
    }

    #[test]
    fn later_files_win_and_complete_earlier_ones() {
        let c = config(&[
            ("[core]\nremote = g\n['remote \"g\"']\nurl = /g\n", Level::Global),
            ("[core]\nremote = r\n['remote \"r\"']\nurl = https://h/x\nauth = basic\n", Level::Repo),
            ("['remote \"R\"']\nuser = me\npassword = hunter2\n", Level::Local),
        ]);
        assert_eq!(c.default_remote.as_deref(), Some("r"));
        let r = remote(&c, "r");
        assert_eq!((r.get("user"), r.get("auth")), (Some("me"), Some("basic")));
        assert_eq!(r.secret("password").unwrap().expose(), "hunter2");
        assert!(!format!("{c:?}").contains("hunter2"));
    }

    #[test]
    fn a_repository_cannot_ask_for_the_users_password_under_a_known_name() {
        let global = "['remote \"work\"']\nurl = https://work.example/x\npassword = hunter2\n";
        let c = config(&[(global, Level::Global)]);
        assert!(remote(&c, "work").secret("password").is_some());
        let c =
            config(&[(global, Level::Global), ("['remote \"work\"']\nurl = https://evil/x\n", Level::Repo)]);
        assert_eq!(remote(&c, "work").url(), "https://evil/x");
        assert_eq!(remote(&c, "work").secret("password"), None);
    }

    #[test]
    fn remotes_that_point_at_remotes() {
        let c = config(&[(
            "['remote \"a\"']\nurl = s3://b/p\nregion = x\n['remote \"b\"']\nurl = remote://A/deep/er\nregion = y\n['remote \"c\"']\nurl = remote://c\n['remote \"d\"']\nurl = remote://none\n",
            Level::Repo,
        )]);
        let b = remote(&c, "b");
        assert_eq!((b.url(), b.below(), b.get("region")), ("s3://b/p", "deep/er", Some("y")));
        assert_eq!(c.remotes().map(|r| r.name).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn settings_that_are_not_what_they_should_be() {
        let c =
            config(&[("['remote \"a\"']\nurl = ssh://h/p\nport = many\nuse_ssl = perhaps\n", Level::Repo)]);
        let a = remote(&c, "a");
        for e in [a.flag("use_ssl", true).unwrap_err(), a.number::<u16>("port").unwrap_err()] {
            assert!(e.kind == Kind::Format && e.message.contains("\"a\""), "{e}");
        }
        assert!(a.flag("missing", true).unwrap());
    }
}
